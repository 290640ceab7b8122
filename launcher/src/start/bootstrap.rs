//! The first words with another host: a script for its `sh`, and what it answers. Pure.
//!
//! The script looks for a copy of this launcher, known by its contents, in a directory that only the
//! user can write to: `$XDG_CACHE_HOME/phalanx`, `~/.cache/phalanx`, or `phalanx-UID` in `/tmp`,
//! `/var/tmp` or `/dev/shm`. It says `have` and becomes the daemon, or says `need`, takes exactly as
//! many bytes as it was told to, and then becomes the daemon. The launcher sends nothing ahead of
//! an answer, so it does not matter how far a shell reads ahead.

use std::io;

use super::{Options, Role};
use crate::ship::{Content, Freight};

/// What every answer begins with; before it a login shell may have said something.
const MARK: &str = "phalanx-bootstrap: ";
/// More than this before an answer is no answer.
const NOISE_BYTES_MAX: usize = 64 * 1024;
/// So much of what was said before is told when no answer comes.
const NOISE_TOLD_CHARS: usize = 300;

/// The script that runs first on other hosts, and our own bytes if it may ask for them.
///
/// # Errors
///
/// When this very program cannot be read.
pub(crate) fn prepare(options: &Options, role: Role) -> io::Result<(String, Option<Freight>)> {
    if options.no_ship {
        let program = std::env::current_exe()?;
        return Ok((shared_script(&program.to_string_lossy(), role), None));
    }
    let own = Freight::own()?;
    Ok((script(&own.content, role), Some(own)))
}

/// The script that gets along with what is on the host, or asks for `content`.
fn script(content: &Content, role: Role) -> String {
    include_str!("bootstrap.sh")
        .replace("@ROLE@", role.word())
        .replace("@HASH@", &content.name())
        .replace("@BYTES@", &content.bytes.to_string())
}

/// The script for hosts that have the same files: `program`, or else what is on the `PATH` there.
fn shared_script(program: &str, role: Role) -> String {
    let quoted = format!("'{}'", program.replace('\'', "'\\''"));
    include_str!("shared.sh")
        .replace("@ROLE@", role.word())
        .replace("@PROGRAM@", &quoted)
}

/// What the script said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The daemon is coming; the host is such a system.
    Have(String),
    /// The bytes are wanted; the host is such a system.
    Need(String),
    /// No directory can take them, and why.
    Nowhere(String),
    /// Neither the program nor another phalanx is there.
    Missing,
    /// Nothing that we know.
    Babble,
}

/// Finds the answer in what comes from the host.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    seen: Vec<u8>,
}

impl Listener {
    /// Takes in bytes; gives the answer, once it is whole, and what follows it.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Option<(Answer, Vec<u8>)> {
        self.seen.extend_from_slice(bytes);
        let mark = MARK.as_bytes();
        let found = self.seen.windows(mark.len()).position(|part| part == mark);
        let Some(start) = found.map(|at| at + mark.len()) else {
            let babble = self.seen.len() > NOISE_BYTES_MAX;
            return babble.then_some((Answer::Babble, Vec::new()));
        };
        let length = self.seen[start..].iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&self.seen[start..start + length]).into_owned();
        let rest = self.seen[start + length + 1..].to_vec();
        self.seen.truncate(start - mark.len());
        Some((parse(&line), rest))
    }

    /// What was said instead of an answer, or before it, in one line.
    pub(crate) fn noise(&self) -> String {
        let text = String::from_utf8_lossy(&self.seen);
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(NOISE_TOLD_CHARS).collect()
    }
}

fn parse(line: &str) -> Answer {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim().trim_end_matches(';').to_owned();
    match word {
        "have" => Answer::Have(rest),
        "need" => Answer::Need(rest),
        "nowhere" => Answer::Nowhere(rest),
        "missing" => Answer::Missing,
        _ => Answer::Babble,
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
