//! Which addresses of this host other hosts are told.
//!
//! A rank advertises every address at which another host may reach it, and listens at these only. What
//! no other host can reach is left out: loopback, link-local addresses (they mean something only together
//! with an interface of this host), and interfaces that are down. Bridges and tunnels that containers
//! and virtual machines bring along have private addresses that often exist on every host: they count
//! only when nothing else is left. Whoever connects tries one address after the other, and the
//! handshake tells whether the right rank has answered.

use std::io;
use std::net::IpAddr;

use crate::limits::ADDRESSES_MAX;

/// An address of this host, and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What the operating system calls the interface.
    pub name: String,
    /// One of its addresses.
    pub address: IpAddr,
    /// Whether it is up.
    pub up: bool,
}

/// All addresses of this host.
///
/// # Errors
///
/// When the operating system does not tell.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    use if_addrs::IfOperStatus as Status;
    let all = if_addrs::get_if_addrs()?;
    let interface = |found: if_addrs::Interface| Interface {
        address: found.ip(),
        up: !matches!(
            found.oper_status,
            Status::Down | Status::LowerLayerDown | Status::NotPresent
        ),
        name: found.name,
    };
    Ok(all.into_iter().map(interface).collect())
}

/// The addresses to listen at and to advertise, best first, at most [`ADDRESSES_MAX`]. `wanted` names
/// interfaces or networks, separated by commas: `eth0`, `10.1.0.0/16`, `fd00::/8`.
///
/// # Errors
///
/// One line: `wanted` makes no sense, matches nothing, or there is no usable address at all.
pub fn usable(all: &[Interface], wanted: Option<&str>) -> Result<Vec<IpAddr>, String> {
    let mut found = match wanted {
        Some(wanted) => chosen(all, wanted)?,
        None => {
            let foreign: Vec<&Interface> = all.iter().filter(|one| is_reachable(one)).collect();
            let real = |one: &&Interface| !is_made_for_guests(&one.name);
            let best: Vec<IpAddr> = foreign.iter().copied().filter(real).map(address).collect();
            if best.is_empty() {
                foreign.into_iter().map(address).collect()
            } else {
                best
            }
        }
    };
    // Stable: the order of the operating system within a family.
    found.sort_by_key(|address| (is_self_assigned(*address), address.is_ipv6()));
    let mut seen = std::collections::HashSet::new();
    found.retain(|address| seen.insert(*address));
    found.truncate(ADDRESSES_MAX);
    if found.is_empty() {
        return Err(format!(
            "this host has no address that another host could reach (it has {}); name an interface \
             with --interface or PHALANX_INTERFACE",
            listed(all)
        ));
    }
    Ok(found)
}

/// Sorts the addresses of a peer so that those come first that share the longest beginning with one of
/// our own: most likely they are on a network of ours.
pub(super) fn nearest_first(addresses: &mut [std::net::SocketAddr], own: &[IpAddr]) {
    let nearness = |to: IpAddr| own.iter().map(|from| common_bits(*from, to)).max();
    addresses.sort_by_key(|address| std::cmp::Reverse(nearness(address.ip())));
}

const fn address(interface: &Interface) -> IpAddr {
    interface.address
}

fn chosen(all: &[Interface], wanted: &str) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    for word in wanted
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        let before = found.len();
        match network(word)? {
            None => found.extend(
                all.iter()
                    .filter(|one| one.name == word && !is_link_local(one.address))
                    .map(address),
            ),
            Some((net, bits)) => found.extend(
                all.iter()
                    .filter(|one| common_bits(net, one.address) >= bits && is_same_family(net, one))
                    .map(address),
            ),
        }
        if found.len() == before {
            return Err(format!(
                "this host has no interface or address that matches {word}; it has {}",
                listed(all)
            ));
        }
    }
    Ok(found)
}

const fn is_same_family(net: IpAddr, interface: &Interface) -> bool {
    net.is_ipv4() == interface.address.is_ipv4()
}

/// `10.1.0.0/16`, or a single address; `None` for a name.
fn network(word: &str) -> Result<Option<(IpAddr, u32)>, String> {
    let (net, bits) = match word.split_once('/') {
        Some((net, bits)) => (net, Some(bits)),
        None => (word, None),
    };
    let Ok(net) = net.parse::<IpAddr>() else {
        return match bits {
            None => Ok(None),
            Some(_) => Err(format!("{word} is no network: write it like 10.1.0.0/16")),
        };
    };
    let most = if net.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), str::parse);
    match bits {
        Ok(bits) if bits <= most => Ok(Some((net, bits))),
        _ => Err(format!(
            "{word} is no network: after the slash comes a number up to {most}"
        )),
    }
}

/// Bits at the beginning that two addresses have in common; none between two families.
fn common_bits(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u32::from(one) ^ u32::from(other)).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (u128::from(one) ^ u128::from(other)).leading_zeros()
        }
        _ => 0,
    }
}

fn is_reachable(interface: &Interface) -> bool {
    let address = interface.address;
    interface.up && !address.is_loopback() && !address.is_unspecified() && !is_link_local(address)
}

/// Means nothing without the number of an interface of this host.
const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The last resort of a network without a server that gives addresses.
const fn is_self_assigned(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(_) => false,
    }
}

/// Whether an interface leads to containers or virtual machines of this host, by its name.
fn is_made_for_guests(name: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "docker", "br-", "veth", "virbr", "vnet", "lxcbr", "lxdbr", "podman", "cni", "cali",
        "flannel", "cilium", "vboxnet", "vmnet",
    ];
    BEGINNINGS
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

fn listed(all: &[Interface]) -> String {
    if all.is_empty() {
        return "none at all".into();
    }
    let one = |interface: &Interface| {
        let down = if interface.up { "" } else { ", down" };
        format!("{} ({}{down})", interface.name, interface.address)
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(all: &[(&str, &str)]) -> Vec<Interface> {
        let interface = |(name, address): &(&str, &str)| Interface {
            name: name.trim_end_matches('!').into(),
            address: address.parse().expect("an address"),
            up: !name.ends_with('!'),
        };
        all.iter().map(interface).collect()
    }

    fn texts(addresses: &[IpAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    fn office() -> Vec<Interface> {
        host(&[
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("docker0", "172.17.0.1"),
            ("eth0", "fe80::1"),
            ("eth0", "fd00::5"),
            ("eth1!", "10.9.9.9"),
            ("eth0", "10.1.2.3"),
            ("ib0", "192.168.7.1"),
        ])
    }

    #[test]
    fn only_what_another_host_can_reach_is_told() {
        let found = usable(&office(), None).expect("some");
        assert_eq!(texts(&found), ["10.1.2.3", "192.168.7.1", "fd00::5"]);
    }

    #[test]
    fn bridges_count_when_nothing_else_is_left() {
        let found = usable(&host(&[("lo", "127.0.0.1"), ("veth1", "10.0.0.2")]), None);
        assert_eq!(texts(&found.expect("one")), ["10.0.0.2"]);
        let alone = host(&[("lo", "127.0.0.1"), ("eth0", "fe80::1")]);
        let error = usable(&alone, None).expect_err("nothing");
        assert!(error.contains("--interface") && error.contains("fe80::1"));
    }

    #[test]
    fn interfaces_and_networks_can_be_asked_for() {
        let asked = |wanted| usable(&office(), Some(wanted)).map(|found| texts(&found));
        assert_eq!(asked("ib0"), Ok(vec!["192.168.7.1".into()]));
        assert_eq!(asked("10.0.0.0/8, docker0"), {
            Ok(vec![
                "10.9.9.9".into(),
                "10.1.2.3".into(),
                "172.17.0.1".into(),
            ])
        });
        assert_eq!(asked("eth0"), Ok(vec!["10.1.2.3".into(), "fd00::5".into()]));
        assert_eq!(asked("fd00::/8"), Ok(vec!["fd00::5".into()]));
        assert_eq!(asked("lo"), Ok(vec!["127.0.0.1".into(), "::1".into()]));
        for (nonsense, needle) in [
            ("eth7", "docker0 (172.17.0.1)"),
            ("10.0.0.0/33", "up to 32"),
            ("ten/8", "10.1.0.0/16"),
            ("0.0.0.0/x", "a number"),
        ] {
            let error = asked(nonsense).expect_err("nonsense");
            assert!(error.contains(needle), "{error}");
        }
    }

    #[test]
    fn a_network_of_our_own_comes_first() {
        let mut theirs: Vec<_> = ["192.168.7.2:1", "10.1.9.9:1", "[fd00::9]:1"]
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        let own = ["10.1.2.3".parse().expect("an address")];
        nearest_first(&mut theirs, &own);
        assert_eq!(theirs[0].ip().to_string(), "10.1.9.9");
    }
}
