//! `--report-json`: the end of a job in a file, for programs. Described in `docs/report.md`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::control::Summary;
use crate::job::Refusal;

/// The version of the form of the file; higher when something is renamed or taken away.
const SCHEMA: u32 = 1;
/// Lines of the launcher that are repeated.
const LINES_MAX: usize = 1000;

/// A file to be written when the job is over.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    began: SystemTime,
    job: String,
    command: String,
    /// What the launcher has said.
    said: Vec<String>,
}

#[derive(Serialize)]
struct Whole<'a> {
    schema: u32,
    phalanx: &'static str,
    job: &'a str,
    command: &'a str,
    began_unix_seconds: f64,
    seconds: f64,
    said: &'a [String],
    #[serde(flatten)]
    summary: Summary,
}

impl Document {
    /// Sees to it that the file can be written.
    ///
    /// # Errors
    ///
    /// One line that says why not.
    pub(crate) fn new(path: &Path, job: String, command: String) -> Result<Self, Refusal> {
        let document = Self {
            path: path.to_owned(),
            began: SystemTime::now(),
            job,
            command,
            said: Vec::new(),
        };
        document.try_out().map_err(|error| {
            Refusal::usage(format!(
                "--report-json {}: {error}; give the name of a file in a directory that you can write to",
                path.display()
            ))
        })?;
        Ok(document)
    }

    fn try_out(&self) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::other("it is there, and no file"));
        }
        File::create_new(self.beside())?;
        fs::remove_file(self.beside())
    }

    /// What is renamed once it is complete.
    fn beside(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        self.path.with_file_name(name)
    }

    /// The launcher has told the user this.
    pub(crate) fn said(&mut self, line: &str) {
        if self.said.len() < LINES_MAX {
            self.said.push(line.to_owned());
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// One line.
    pub(crate) fn write(&self, summary: Summary) -> Result<(), String> {
        let now = SystemTime::now();
        let seconds = |from, to: SystemTime| to.duration_since(from).unwrap_or_default();
        let whole = Whole {
            schema: SCHEMA,
            phalanx: env!("CARGO_PKG_VERSION"),
            job: &self.job,
            command: &self.command,
            began_unix_seconds: seconds(UNIX_EPOCH, self.began).as_secs_f64(),
            seconds: seconds(self.began, now).as_secs_f64(),
            said: &self.said,
            summary,
        };
        let beside = self.beside();
        let written = serde_json::to_vec_pretty(&whole)
            .map_err(io::Error::from)
            .and_then(|mut bytes| {
                bytes.push(b'\n');
                let mut file = File::create(&beside)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                fs::rename(&beside, &self.path)
            });
        written.map_err(|error| {
            // What is there of it helps nobody.
            let _ = fs::remove_file(&beside);
            format!(
                "cannot write --report-json {}: {error}",
                self.path.display()
            )
        })
    }
}
