//! Directories that have to take files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfs;
use rustix::io::Errno;

use crate::doctor::words::Finding;

/// With less than this programs may not find room.
const BYTES_FREE_MIN: u64 = 64 << 20;
/// A trial writes so much: more than a file system keeps in its own records.
const TRIAL_BYTES: usize = 64 * 1024;

/// The directory that keeps what is sent; none where nothing is.
pub(super) fn cache(place: Option<&Path>) -> Option<Finding> {
    let place = place?;
    let found = look(place, "files that are sent");
    let home = std::env::var_os("XDG_CACHE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let Some(first) = home.map(|home| home.join("phalanx")) else {
        return Some(found);
    };
    if first == place || found.state != crate::doctor::words::State::Ok {
        return Some(found);
    }
    let why = fs::create_dir_all(&first).and_then(|()| trial(&first));
    let why = match why {
        Err(error) => error.to_string(),
        // There is room for little things only, or somebody else could write to it.
        Ok(()) => format!(
            "{} free, or others may write to it",
            free(&first).map_or_else(|| "little".to_owned(), bytes)
        ),
    };
    Some(Finding::warning(
        format!(
            "{}, because {} cannot be used: {why}",
            found.found,
            first.display()
        ),
        "files are sent again after that directory was cleared; make the first one usable, or set \
         XDG_CACHE_HOME there",
    ))
}

/// The directory of temporary files.
pub(super) fn temporary() -> Finding {
    look(&std::env::temp_dir(), "temporary files")
}

fn look(place: &Path, purpose: &str) -> Finding {
    let shown = place.display();
    if let Err(error) = trial(place) {
        return Finding::wrong(
            format!("{shown} cannot take {purpose}: {error}"),
            remedy(place, &error),
        );
    }
    match free(place) {
        Some(few) if few < BYTES_FREE_MIN => Finding::warning(
            format!("{shown}, {} free", bytes(few)),
            format!("make room in {shown}"),
        ),
        Some(many) => Finding::ok(format!("{shown}, {} free", bytes(many))),
        None => Finding::ok(shown.to_string()),
    }
}

/// Writes a file that is gone afterwards, whatever happens.
fn trial(place: &Path) -> io::Result<()> {
    let path = place.join(format!(".phalanx-trial-{}", std::process::id()));
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    let removed = fs::remove_file(&path);
    file.write_all(&[0; TRIAL_BYTES])?;
    removed
}

fn remedy(place: &Path, error: &io::Error) -> String {
    let place = place.display();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ROFS) => {
            format!("mount it so that it can be written to: `mount -o remount,rw {place}`")
        }
        Some(Errno::NOSPC | Errno::DQUOT) => format!("make room in {place}: it is full"),
        Some(Errno::ACCESS | Errno::PERM) => {
            format!(
                "let this user write there; /tmp itself should have mode 1777 (`ls -ld {place}`)"
            )
        }
        Some(Errno::NOENT) => format!("make the directory {place}"),
        _ => format!("make {place} a directory that this user can write to"),
    }
}

/// Bytes that this user may still write.
fn free(place: &Path) -> Option<u64> {
    let StatVfs {
        f_bavail, f_frsize, ..
    } = rustix::fs::statvfs(place).ok()?;
    Some(f_bavail.saturating_mul(f_frsize))
}

/// A number of bytes for people.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes >> shift > 0);
    match unit {
        Some((shift, name)) => format!("{:.1} {name}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::words::State;

    #[test]
    fn a_directory_that_takes_files_is_left_as_it_was() {
        let place = crate::ship::scratch("doctor-files");
        assert_ne!(look(&place, "files").state, State::Wrong);
        assert_eq!(fs::read_dir(&place).expect("there").count(), 0);
        fs::remove_dir(&place).expect("empty");
        let missing = look(&place, "files");
        assert_eq!(missing.state, State::Wrong);
        assert!(
            missing.mend.starts_with("make the directory"),
            "{missing:?}"
        );
    }

    #[test]
    fn bytes_are_told_in_their_unit() {
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
