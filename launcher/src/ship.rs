//! Files that other hosts need, known by their contents.

mod executable;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
#[cfg(test)]
use std::path::PathBuf;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// Bytes that are read and sent at once.
pub(crate) const PIECE_BYTES: usize = 128 * 1024;

/// What is in a file. Two files with the same contents are the same to us.
///
/// The hash finds copies and damage; it is no proof against somebody who can write to the cache,
/// which is the user alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub(crate) hash: u128,
    pub(crate) bytes: u64,
}

impl Content {
    /// Reads a file to its end.
    pub(crate) fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut state = Xxh3::new();
        let mut buffer = vec![0; PIECE_BYTES];
        let mut bytes = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => {
                    state.update(&buffer[..count]);
                    bytes += count as u64;
                }
            }
        }
        let hash = state.digest128();
        Ok(Self { hash, bytes })
    }

    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            hash: xxhash_rust::xxh3::xxh3_128(bytes),
            bytes: bytes.len() as u64,
        }
    }

    /// The name of the file in a cache.
    pub(crate) fn name(&self) -> String {
        format!("{:032x}", self.hash)
    }
}

/// A file that is sent to other hosts.
#[derive(Clone, Debug)]
pub(crate) struct Freight {
    pub(crate) content: Content,
    file: Arc<File>,
    /// What is sent in place of the first bytes.
    header: Vec<u8>,
}

impl Freight {
    /// Opens a file and reads it once for its hash.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        Ok(Self {
            content: Content::of_file(path)?,
            file: Arc::new(File::open(path)?),
            header: Vec::new(),
        })
    }

    /// This very program, without what only a debugger would read.
    pub(crate) fn own() -> io::Result<Self> {
        // Linux still has the file when it was replaced while it runs, as a build does.
        let linux = Path::new("/proc/self/exe");
        if linux.exists() {
            return Self::load_bare(linux);
        }
        Self::load_bare(&std::env::current_exe()?)
    }

    fn load_bare(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut head = Vec::new();
        (&file)
            .take(executable::HEAD_BYTES as u64)
            .read_to_end(&mut head)?;
        let Some(bare) = executable::bare(&head, bytes) else {
            return Self::load(path);
        };
        let mut freight = Self {
            content: Content {
                hash: 0,
                bytes: bare.bytes,
            },
            file: Arc::new(file),
            header: bare.header,
        };
        let (mut state, mut offset) = (Xxh3::new(), 0);
        while offset < bare.bytes {
            let piece = freight.piece(offset)?;
            state.update(&piece);
            offset += piece.len() as u64;
        }
        freight.content.hash = state.digest128();
        Ok(freight)
    }

    /// The piece that begins at `offset`; empty at the end.
    pub(crate) fn piece(&self, offset: u64) -> io::Result<Vec<u8>> {
        let left = self.content.bytes.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        let begun = usize::try_from(offset).unwrap_or(usize::MAX);
        let header = self.header.get(begun..).unwrap_or_default();
        let length = header.len().min(length);
        bytes[..length].copy_from_slice(&header[..length]);
        Ok(bytes)
    }
}

/// A fresh directory for a test.
#[cfg(test)]
pub(crate) fn scratch(what: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("phalanx-test-{what}-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).expect("a temporary directory");
    path
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn this_program_runs_without_what_was_left_out() {
        let own = Freight::own().expect("it can be read");
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < own.content.bytes {
            bytes.extend(own.piece(bytes.len() as u64).expect("it can be read"));
        }
        assert_eq!(Content::of_bytes(&bytes), own.content);
        let whole = std::env::current_exe().and_then(|path| path.metadata());
        assert!(own.content.bytes < whole.expect("it is there").len());
        let directory = scratch("bare");
        let copy = directory.join("copy");
        std::fs::write(&copy, bytes).expect("there is room");
        let executable = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&copy, executable).expect("it is ours");
        let ran = loop {
            match Command::new(&copy).arg("--list").output() {
                // A process that another test is just starting has it open still.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                ran => break ran.expect("it runs"),
            }
        };
        assert!(ran.status.success() && ran.stdout.ends_with(b"benchmarks\n"));
        std::fs::remove_dir_all(directory).expect("it is ours");
    }
}
