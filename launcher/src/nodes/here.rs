//! Whether a host is the one we are on.

use std::net::{IpAddr, ToSocketAddrs};

use super::syntax::Host;

/// What this host calls itself.
pub(crate) fn own_name() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Whether this host is ours, and we need nobody's help to start a program there.
///
/// A port says that somebody else listens there, and another user is another place. A name is looked up
/// only when it begins as ours does, so that no name service can delay a start.
pub(crate) fn is_here(host: &Host) -> bool {
    if host.port.is_some() || host.user.as_deref().is_some_and(|user| !is_me(user)) {
        return false;
    }
    let name = host.name.to_ascii_lowercase();
    let own = own_name().to_ascii_lowercase();
    if name == own || matches!(name.as_str(), "localhost" | "localhost.localdomain") {
        return true;
    }
    if let Ok(address) = without_zone(&name).parse::<IpAddr>() {
        return is_ours(address);
    }
    if label(&own) != label(&name) {
        return false;
    }
    // Both may be the same host with and without its domain, or two hosts of two domains.
    let found = (name.as_str(), 0).to_socket_addrs();
    found.is_ok_and(|mut found| found.any(|found| is_ours(found.ip())))
}

fn label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn without_zone(name: &str) -> &str {
    name.split('%').next().unwrap_or(name)
}

fn is_ours(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback()
        || if_addrs::get_if_addrs()
            .is_ok_and(|all| all.iter().any(|interface| interface.ip() == address))
}

fn is_me(user: &str) -> bool {
    ["USER", "LOGNAME"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|name| name == user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_known_by_its_names_and_addresses() {
        for name in [
            own_name().as_str(),
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.3.2.1",
            "::1",
        ] {
            assert!(is_here(&Host::new(name, 1)), "{name}");
        }
        for interface in if_addrs::get_if_addrs().expect("interfaces") {
            assert!(is_here(&Host::new(interface.ip().to_string(), 1)));
        }
    }

    #[test]
    fn other_places_are_not_ours() {
        for name in ["192.0.2.1", "2001:db8::1", "another.invalid"] {
            assert!(!is_here(&Host::new(name, 1)), "{name}");
        }
        let port = Some(2222);
        let elsewhere = Host {
            port,
            ..Host::new("localhost", 1)
        };
        assert!(!is_here(&elsewhere), "a port leads into a container");
        let user = Some("nobody-that-we-are".to_owned());
        assert!(!is_here(&Host {
            user,
            ..Host::new("localhost", 1)
        }));
    }

    #[test]
    fn a_host_of_another_domain_is_not_taken_for_ours() {
        let name = format!("{}.no-such-domain.invalid", label(&own_name()));
        assert!(!is_here(&Host::new(name, 1)));
    }
}
