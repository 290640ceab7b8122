//! Where a rank's Unix socket is found.

use std::io;
use std::os::unix::net::SocketAddr;

use crate::base::ids::Peer;
use crate::wire::handshake::{Identity, derived_name};

/// The address of the Unix socket of `rank`.
pub(super) fn of(me: &Identity, rank: Peer) -> io::Result<SocketAddr> {
    let secret_part: String = derived_name(&me.secret, me.job, me.epoch, rank)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    address(me, rank, &secret_part)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn address(me: &Identity, rank: Peer, secret_part: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(format!("phalanx-{}-{}-{secret_part}", me.job, rank.0))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn address(_me: &Identity, _rank: Peer, secret_part: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(directory()?.join(secret_part))
}

/// A directory that only this user can enter.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn directory() -> io::Result<std::path::PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    // Short, because the whole path must fit into 104 bytes.
    let user = rustix::process::geteuid().as_raw();
    let directory = std::path::PathBuf::from(format!("/tmp/phalanx-{user}"));
    match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&directory)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        let text = format!(
            "{} is not a directory of this user alone",
            directory.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(directory)
}

/// Removes what a listening socket leaves behind, where it leaves anything.
pub(super) fn remove(address: &SocketAddr) {
    if let Some(path) = address.as_pathname() {
        let _ = std::fs::remove_file(path);
    }
}
