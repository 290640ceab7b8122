//! Files that the launcher has sent, kept for the next time in a directory of the user's own.
//!
//! An entry is named by the hash of its contents. What is not finished, and the directories of jobs,
//! carry the name of their host and of the process that needs them, so that the next daemon of this
//! host can tell what was left by one that was killed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use phalanx::wire::control::SentFile;
#[cfg(target_os = "linux")]
use rustix::fs::OFlags;
use rustix::fs::{AtFlags, CWD, linkat};
use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

use crate::ship::Content;

/// Entries that are kept at most, and their bytes together.
const ENTRIES_MAX: usize = 32;
const BYTES_MAX: u64 = 2 << 30;
/// Letters in the name of an entry.
const NAME_LETTERS: usize = 32;

/// Opens a file without a name in a directory; elsewhere a directory cannot be opened so at all.
#[cfg(target_os = "linux")]
const NAMELESS: u32 = OFlags::TMPFILE.bits();
#[cfg(not(target_os = "linux"))]
const NAMELESS: u32 = 0;

/// The directory.
#[derive(Debug)]
pub(super) struct Cache {
    place: PathBuf,
    /// Directory of the ranks, if they need one of their own.
    job: Option<PathBuf>,
}

/// A file that is coming in.
pub(super) struct Incoming {
    /// Its name meanwhile; none where the file system knows files without.
    path: Option<PathBuf>,
    to: PathBuf,
    file: File,
    state: Xxh3,
    left: u64,
    hash: u128,
    kept: bool,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Incoming({}, {} bytes left)",
            self.to.display(),
            self.left
        )
    }
}

impl Cache {
    /// Takes over the directory, and removes what others have left there.
    pub(super) fn open(place: PathBuf) -> Self {
        let cache = Self { place, job: None };
        // What cannot be removed now can be the next time.
        let _ = cache.clean();
        let _ = cache.prune();
        cache
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Where an entry is, or would be.
    pub(super) fn path(&self, file: &SentFile) -> PathBuf {
        let content = Content {
            hash: file.hash,
            bytes: file.bytes,
        };
        self.place.join(content.name())
    }

    /// Whether it is there. Being asked for makes it young.
    pub(super) fn has(&self, file: &SentFile) -> bool {
        let found = File::open(self.path(file));
        found.is_ok_and(|found| {
            let _ = found.set_modified(SystemTime::now());
            found
                .metadata()
                .is_ok_and(|found| found.len() == file.bytes)
        })
    }

    /// Begins to take in a file.
    pub(super) fn receive(&self, file: &SentFile) -> io::Result<Incoming> {
        // Without a name it goes with this process, whatever becomes of it.
        let nameless = File::options()
            .write(true)
            .mode(0o700)
            .custom_flags(NAMELESS as i32)
            .open(&self.place);
        let (open, path) = match nameless {
            Ok(open) => (open, None),
            Err(_) => {
                let path = self.place.join(own_name(".new"));
                let open = File::options()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o700)
                    .open(&path)?;
                (open, Some(path))
            }
        };
        Ok(Incoming {
            to: self.path(file),
            path,
            file: open,
            state: Xxh3::new(),
            left: file.bytes,
            hash: file.hash,
            kept: false,
        })
    }

    /// An empty directory for the ranks, which goes when the daemon does.
    pub(super) fn job(&mut self) -> io::Result<PathBuf> {
        let path = self.place.join(own_name(".job"));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        self.job = Some(path.clone());
        Ok(path)
    }

    /// Gives the ranks a file under its name in their directory.
    pub(super) fn lay_out(&self, file: &SentFile, directory: &Path) -> io::Result<()> {
        let path = directory.join(&file.name);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        fs::copy(self.path(file), path).map(|_| ())
    }

    fn clean(&self) -> io::Result<()> {
        let here = host();
        for entry in fs::read_dir(&self.place)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let mark = [".new-", ".job-"]
                .iter()
                .find_map(|mark| name.strip_prefix(mark));
            let owner = mark.and_then(|rest| rest.rsplit_once('-'));
            let Some((host, pid)) = owner else { continue };
            let lives = Path::new("/proc").join(pid).exists();
            if host == here && !lives {
                let _ = fs::remove_file(entry.path());
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }

    /// Removes the oldest entries beyond the bounds.
    fn prune(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.place)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours =
                name.len() == NAME_LETTERS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if let (true, Ok(about)) = (ours, entry.metadata()) {
                entries.push((about.modified()?, about.len(), entry.path()));
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.0));
        let mut bytes = 0;
        for (number, (_, length, path)) in entries.into_iter().enumerate() {
            bytes += length;
            if number > 0 && (number >= ENTRIES_MAX || bytes > BYTES_MAX) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            // What is left is removed by the next daemon here.
            let _ = fs::remove_dir_all(job);
        }
    }
}

impl Incoming {
    /// Keeps a piece; true when it was the last one and the file is complete.
    pub(super) fn keep(&mut self, piece: &[u8]) -> io::Result<bool> {
        self.left = self
            .left
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| io::Error::other("more came than was announced"))?;
        self.state.update(piece);
        self.file.write_all(piece)?;
        if self.left > 0 {
            return Ok(false);
        }
        if self.state.digest128() != self.hash {
            return Err(io::Error::other(
                "it arrived damaged, or changed while it was sent",
            ));
        }
        match &self.path {
            Some(path) => fs::rename(path, &self.to)?,
            None => self.give_name()?,
        }
        self.kept = true;
        Ok(true)
    }

    /// Another daemon may have been quicker with the same contents, or one before us may have left less.
    fn give_name(&self) -> io::Result<()> {
        let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let link = || linkat(CWD, &file, CWD, &self.to, AtFlags::SYMLINK_FOLLOW);
        match link() {
            Err(Errno::EXIST) => {
                let _ = fs::remove_file(&self.to);
                match link() {
                    Ok(()) | Err(Errno::EXIST) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            other => other.map_err(io::Error::from),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| !self.kept) {
            let _ = fs::remove_file(path);
        }
    }
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// A name that says whose it is.
fn own_name(mark: &str) -> String {
    format!("{mark}-{}-{}", host(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: &[u8]) -> SentFile {
        let content = Content::of_bytes(bytes);
        SentFile {
            name: "data/in.txt".to_owned(),
            hash: content.hash,
            bytes: content.bytes,
        }
    }

    #[test]
    fn a_file_is_kept_and_laid_out_under_its_name() {
        let room = crate::ship::scratch("cache");
        let mut cache = Cache::open(room.clone());
        let file = sent(b"hello world");
        assert!(!cache.has(&file));
        let mut incoming = cache.receive(&file).expect("room");
        assert!(!incoming.keep(b"hello ").expect("kept"));
        assert!(incoming.keep(b"world").expect("kept"));
        assert!(cache.has(&file));
        let job = cache.job().expect("a directory");
        cache.lay_out(&file, &job).expect("copies");
        let found = fs::read(job.join("data/in.txt")).expect("is there");
        assert_eq!(found, b"hello world");
        drop(cache);
        assert!(!job.exists());
        fs::remove_dir_all(room).expect("removes");
    }

    #[test]
    fn a_damaged_or_unfinished_file_is_not_kept() {
        let room = crate::ship::scratch("damaged");
        let cache = Cache::open(room.clone());
        let file = sent(b"hello");
        assert!(cache.receive(&file).expect("room").keep(b"hallo").is_err());
        cache
            .receive(&file)
            .expect("room")
            .keep(b"he")
            .expect("kept");
        assert!(!cache.has(&file));
        assert_eq!(fs::read_dir(&room).expect("is there").count(), 0);
        fs::remove_dir_all(room).expect("removes");
    }

    #[test]
    fn what_a_killed_one_has_left_is_removed_and_old_entries_go() {
        let room = crate::ship::scratch("prune");
        let here = host();
        // A number that no process has.
        fs::write(room.join(format!(".new-{here}-99999999")), b"x").expect("writes");
        fs::create_dir(room.join(format!(".job-{here}-99999999"))).expect("makes");
        fs::write(room.join(".new-another-99999999"), b"x").expect("writes");
        for number in 0..ENTRIES_MAX + 3 {
            fs::write(room.join(format!("{number:032x}")), b"x").expect("writes");
        }
        let _cache = Cache::open(room.clone());
        let left = fs::read_dir(&room).expect("is there").count();
        assert_eq!(left, ENTRIES_MAX + 1, "entries, and what is another host's");
        fs::remove_dir_all(room).expect("removes");
    }
}
