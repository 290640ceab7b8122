//! Where the secret of a job comes from that nobody launched.

use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::wire::control::Secret;

/// Under which ranks meet that have no secret: it keeps the form, and nobody out.
const OPEN: Secret = Secret(*b"phalanx: ranks without a secret.");
const FILE_BYTES_MAX: u64 = 4096;

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    /// Who knows this.
    pub(super) secret: Secret,
    /// From these addresses, or from a loopback interface; from everywhere when there are none.
    pub(super) only: Option<Vec<IpAddr>>,
}

impl Door {
    /// For all who know the secret.
    pub(super) const fn of(secret: Secret) -> Self {
        Self { secret, only: None }
    }

    /// Whether it opens for connections from there.
    pub(super) fn admits(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        let only = self.only.as_ref();
        only.is_none_or(|only| from.is_loopback() || only.contains(&from))
    }
}

/// The door of a rendezvous at this address. `own` are the addresses of this machine.
///
/// # Errors
///
/// When there is no secret and there must be one, or its file cannot be used.
pub(super) fn of_rendezvous(
    address: &str,
    variable: impl Fn(&str) -> Option<String>,
    own: &[IpAddr],
) -> Result<Door, String> {
    if let Some(file) = variable("PHALANX_SECRET_FILE") {
        return from_file(Path::new(&file))
            .map(Door::of)
            .map_err(|why| format!("PHALANX_SECRET_FILE={file}: {why}"));
    }
    if variable("PHALANX_INSECURE").is_some_and(|text| text == "1") {
        return Ok(Door::of(OPEN));
    }
    let here = || {
        let mut found = address.to_socket_addrs().ok()?;
        let is_own = |ip: IpAddr| ip.is_loopback() || own.contains(&ip);
        found.all(|address| is_own(address.ip())).then_some(())
    };
    if is_loopback(address) || here().is_some() {
        // Others cannot connect with an address of this machine, even if they reach the port.
        return Ok(Door {
            secret: OPEN,
            only: Some(own.to_vec()),
        });
    }
    Err(format!(
        "ranks meet at {address}, which is not known to be this machine, and have no secret to know each \
         other by. Make one and give it to all ranks:\n\
         \x20   head -c 32 /dev/urandom > secret && chmod 600 secret\n\
         \x20   (copy it to every host, or mount it as a Kubernetes Secret)\n\
         \x20   export PHALANX_SECRET_FILE=$PWD/secret\n\
         or set PHALANX_INSECURE=1 to let everybody in who can reach the port"
    ))
}

/// Whether nobody on another machine can be meant.
pub(super) fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let literal = host.parse::<IpAddr>();
    host == "localhost" || literal.is_ok_and(|address| address.is_loopback())
}

/// A fresh secret.
pub(super) fn fresh() -> Result<Secret, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(Secret(bytes))
}

fn from_file(path: &Path) -> Result<Secret, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    // A Secret that Kubernetes mounts is a link through `..data`, belongs to root, and is often readable
    // for all: only the pod sees it.
    let mounted = path
        .parent()
        .is_some_and(|directory| directory.join("..data").is_dir());
    if metadata.mode() & 0o077 != 0 && !mounted {
        return Err(format!(
            "others may read it (mode {:03o}): chmod 600 it",
            metadata.mode() & 0o777
        ));
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(FILE_BYTES_MAX);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    parse(&bytes).ok_or_else(|| "it must hold 32 bytes, or 64 hexadecimal digits".into())
}

fn parse(bytes: &[u8]) -> Option<Secret> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(Secret(raw));
    }
    from_hex(std::str::from_utf8(bytes).ok()?.trim())
}

/// As 64 hexadecimal digits.
pub(super) fn to_hex(secret: &Secret) -> String {
    secret.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// From 64 hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<Secret> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(Secret(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_bytes_or_digits_of_a_file_that_others_cannot_read() {
        let secret = fresh().expect("random numbers");
        assert_eq!(parse(&secret.0), Some(secret.clone()));
        let text = to_hex(&secret) + "\n";
        assert_eq!(parse(text.as_bytes()), Some(secret.clone()));
        assert_eq!(parse(b"short"), None);
        let directory = std::env::temp_dir();
        let file = directory.join(format!("phalanx-secret-{}", std::process::id()));
        std::fs::write(&file, text).expect("written");
        let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode));
        mode(0o644).expect("chmod");
        let open = from_file(&file).expect_err("others may read it");
        assert!(open.contains("644") && open.contains("chmod 600"), "{open}");
        mode(0o600).expect("chmod");
        assert_eq!(from_file(&file), Ok(secret));
        std::fs::remove_file(&file).expect("removed");
    }

    #[test]
    fn without_a_secret_ranks_meet_on_one_machine_only() {
        let own = IpAddr::from([192, 0, 2, 1]);
        let nothing = |_: &str| None;
        for address in ["127.0.0.1:7", "[::1]:7", "localhost:7", "192.0.2.1:7"] {
            let door = of_rendezvous(address, nothing, &[own]).expect("this machine");
            assert!(door.admits(own), "{address}");
            assert!(door.admits(IpAddr::from([127, 0, 0, 1])), "{address}");
            let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
            assert!(door.admits(mapped.into()), "{address}");
            assert!(!door.admits(IpAddr::from([192, 0, 2, 2])), "{address}");
        }
        let other = "192.0.2.2:7";
        let error = of_rendezvous(other, nothing, &[own]).expect_err("another machine");
        assert!(error.contains("PHALANX_SECRET_FILE"), "{error}");
        let insecure = |name: &str| (name == "PHALANX_INSECURE").then(|| "1".to_owned());
        let door = of_rendezvous(other, insecure, &[own]).expect("the user wants it");
        assert!(door.admits(IpAddr::from([192, 0, 2, 2])));
    }
}
