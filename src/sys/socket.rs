//! Sockets: what neither `std` nor `rustix` tells about them.

use std::os::fd::BorrowedFd;

/// Bytes written to a TCP socket that the other host has not acknowledged yet; `None` where the
/// operating system cannot tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    use std::os::fd::AsRawFd;
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ for sockets) writes one `int` through the pointer, which is valid for
    // that; the descriptor is open as long as it is borrowed.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    (result == 0).then(|| usize::try_from(count).unwrap_or(0))
}

/// Bytes written to a TCP socket that the other host has not acknowledged yet; `None` where the
/// operating system cannot tell.
#[cfg(target_vendor = "apple")]
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    use std::os::fd::AsRawFd;
    let mut count: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: SO_NWRITE writes one `int` of the announced length through the pointer, which is valid
    // for that; the descriptor is open as long as it is borrowed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NWRITE,
            (&raw mut count).cast(),
            &raw mut length,
        )
    };
    (result == 0).then(|| usize::try_from(count).unwrap_or(0))
}

/// Bytes written to a TCP socket that the other host has not acknowledged yet; `None` where the
/// operating system cannot tell.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub const fn unacknowledged(_socket: BorrowedFd<'_>) -> Option<usize> {
    None
}
