//! Taking over a descriptor that was inherited from the process that started this one.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::io::FdFlags;

/// Why an inherited descriptor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// No such descriptor is open.
    #[error("descriptor {0} is not open")]
    Closed(RawFd),
    /// It is not a socket.
    #[error("descriptor {0} is not a socket")]
    NotASocket(RawFd),
    /// It was taken over before.
    #[error("descriptor {0} was taken over before")]
    Taken(RawFd),
    /// The operating system refuses.
    #[error("descriptor {0}: {1}")]
    System(RawFd, io::Error),
}

/// A copy of an inherited socket, which children of this process will not inherit.
///
/// The inherited number itself stays open, marked close-on-exec, so that it can be recognised as taken
/// and is never mistaken for something else.
///
/// # Errors
///
/// When the number is not an open socket that was inherited, or was taken over before.
pub fn inherit_socket(number: RawFd) -> Result<OwnedFd, InheritError> {
    inherit(number, true)
}

/// A copy of an inherited descriptor of whatever kind: as [`inherit_socket`].
///
/// # Errors
///
/// When the number is not an open descriptor that was inherited, or was taken over before.
pub fn inherit_any(number: RawFd) -> Result<OwnedFd, InheritError> {
    inherit(number, false)
}

fn inherit(number: RawFd, socket: bool) -> Result<OwnedFd, InheritError> {
    if number < 0 {
        return Err(InheritError::Closed(number));
    }
    // SAFETY: the number is not negative. If no such descriptor is open, the calls below fail with
    // EBADF; this function keeps none of it, and nothing in this process closes a descriptor that it
    // has not opened itself.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(inherited).map_err(|_| InheritError::Closed(number))?;
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(InheritError::Taken(number));
    }
    let system = |error: rustix::io::Errno| InheritError::System(number, error.into());
    let status = rustix::fs::fstat(inherited).map_err(system)?;
    if socket && !rustix::fs::FileType::from_raw_mode(status.st_mode).is_socket() {
        return Err(InheritError::NotASocket(number));
    }
    rustix::io::fcntl_setfd(inherited, flags | FdFlags::CLOEXEC).map_err(system)?;
    rustix::io::fcntl_dupfd_cloexec(inherited, 3).map_err(system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_socket_is_taken_once_and_other_things_never() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        rustix::io::fcntl_setfd(&one, FdFlags::empty()).expect("cleared");
        assert!(inherit_socket(one.as_raw_fd()).is_ok());
        assert!(matches!(
            inherit_socket(one.as_raw_fd()),
            Err(InheritError::Taken(_))
        ));
        assert!(matches!(inherit_socket(-1), Err(InheritError::Closed(_))));
        assert!(matches!(
            inherit_socket(1_000_000),
            Err(InheritError::Closed(_))
        ));
        let file = std::fs::File::open("/dev/null").expect("there");
        rustix::io::fcntl_setfd(&file, FdFlags::empty()).expect("cleared");
        assert!(matches!(
            inherit_socket(file.as_raw_fd()),
            Err(InheritError::NotASocket(_))
        ));
    }
}
