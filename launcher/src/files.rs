//! `--output-dir`: the output of each rank in files of its own, written as it comes.
//!
//! A thread writes, because a file may be on a slow disk; ranks get no more credit while it lags behind.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use mio::Waker;
use phalanx::wire::control::Stream;

use crate::job::Refusal;

/// Credit is held back while more than this waits to be written.
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// Files that are open at once; more are opened again when something is written to them.
const OPEN_FILES_MAX: usize = 128;

/// A piece of output on its way to a file.
type Piece = (u32, Stream, Vec<u8>);

/// The files of all ranks.
#[derive(Debug)]
pub(crate) struct Files {
    to_writer: Sender<Piece>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes handed over and not yet written. Only the writer lowers it, and then wakes the loop.
    waiting: AtomicUsize,
    /// Why nothing is written any more; set once by the writer.
    failure: OnceLock<String>,
}

/// The names of the files: `rank-03.out`, all of one length.
#[derive(Clone, Debug)]
struct Names {
    directory: PathBuf,
    digits: usize,
}

impl Names {
    fn new(directory: &Path, ranks: usize) -> Self {
        let last = ranks.saturating_sub(1);
        Self {
            directory: directory.to_owned(),
            digits: last.to_string().len(),
        }
    }

    fn path(&self, rank: u32, stream: Stream) -> PathBuf {
        let ending = match stream {
            Stream::Output => "out",
            Stream::Error => "err",
        };
        let digits = self.digits;
        self.directory
            .join(format!("rank-{rank:0digits$}.{ending}"))
    }
}

/// Makes the directory and an empty file for each rank and stream, so that what cannot work is known before
/// anything runs.
///
/// # Errors
///
/// One line that says what to do.
pub(crate) fn create(directory: &Path, ranks: usize) -> Result<(), Refusal> {
    let refuse = |path: &Path, error: &io::Error| {
        Refusal::launch(format!(
            "--output-dir {}: cannot create {}: {error}; give a directory that you can write to",
            directory.display(),
            path.display()
        ))
    };
    std::fs::create_dir_all(directory).map_err(|error| refuse(directory, &error))?;
    let names = Names::new(directory, ranks);
    for rank in 0..u32::try_from(ranks).unwrap_or(u32::MAX) {
        for stream in [Stream::Output, Stream::Error] {
            let path = names.path(rank, stream);
            File::create(&path).map_err(|error| refuse(&path, &error))?;
        }
    }
    Ok(())
}

impl Files {
    /// Starts the writer into files that [`create`] has made. It wakes the loop when it has made progress.
    pub(crate) fn new(directory: &Path, ranks: usize, waker: Arc<Waker>) -> io::Result<Self> {
        let (to_writer, from_loop) = channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let names = Names::new(directory, ranks);
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || write_all(&from_loop, &theirs, &waker, &names))?;
        Ok(Self { to_writer, shared })
    }

    /// Hands a piece over; after a failure it is dropped.
    pub(crate) fn write(&self, rank: u32, stream: Stream, bytes: Vec<u8>) {
        if self.failure().is_none() {
            let waiting = &self.shared.waiting;
            waiting.fetch_add(bytes.len(), Ordering::Relaxed);
            // The writer lives as long as we do.
            let _ = self.to_writer.send((rank, stream, bytes));
        }
    }

    /// Whether the writer keeps up.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) <= WAITING_BYTES_MAX
    }

    /// Whether everything was written.
    pub(crate) fn is_drained(&self) -> bool {
        // Acquire pairs with the writer's release: what it wrote is in the files when we then exit.
        self.shared.waiting.load(Ordering::Acquire) == 0
    }

    /// Why nothing is written any more, in one line.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }
}

fn write_all(from: &Receiver<Piece>, shared: &Shared, waker: &Waker, names: &Names) {
    let mut open = HashMap::new();
    for (rank, stream, bytes) in from {
        if shared.failure.get().is_none() {
            let path = names.path(rank, stream);
            if let Err(error) = append(&mut open, &path, &bytes) {
                let line = format!(
                    "cannot write {}: {error}; the job was ended",
                    path.display()
                );
                shared.failure.get_or_init(|| line);
            }
        }
        shared.waiting.fetch_sub(bytes.len(), Ordering::Release);
        // The loop is gone only when the process is about to be.
        let _ = waker.wake();
    }
}

fn append(open: &mut HashMap<PathBuf, File>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(mut file) = open.get(path) {
        return file.write_all(bytes);
    }
    if open.len() >= OPEN_FILES_MAX {
        open.clear();
    }
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(bytes)?;
    open.insert(path.to_owned(), file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_so_that_they_sort() {
        let names = Names::new(Path::new("d"), 11);
        assert_eq!(names.path(3, Stream::Output), Path::new("d/rank-03.out"));
        let names = Names::new(Path::new("d"), 10);
        assert_eq!(names.path(3, Stream::Error), Path::new("d/rank-3.err"));
    }
}
