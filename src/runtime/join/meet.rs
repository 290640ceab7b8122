//! Joins a job that nobody launched: rank 0 lets the others in, and they go to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::guest::{self, Joined};
use super::host::{Host, Setup};
use super::pmi::Pmi;
use super::secret::{self, Door};
use super::way::{Place, Way};
use crate::base::ids::JobId;
use crate::config::Config;
use crate::sys::processor::Processors;
use crate::transport::{interfaces, usable};
use crate::wire::control::{Arrival, PROTOCOL};

const PAUSE: Duration = Duration::from_millis(100);

/// Takes part in the job that the environment describes.
pub(super) fn join(way: &Way, config: &Config) -> Result<Joined, String> {
    match way {
        Way::Pmi {
            descriptor,
            dialect,
            place,
        } => {
            let pmi = Pmi::begin(*descriptor, *dialect, place.rank, place.limit)?;
            through_pmi(pmi, *place, config)
        }
        Way::Rendezvous { address, place } => {
            let own: Vec<IpAddr> = interfaces()
                .unwrap_or_default()
                .into_iter()
                .map(|one| one.address)
                .collect();
            let door = secret::of_rendezvous(address, |name| std::env::var(name).ok(), &own)?;
            if place.rank == 0 {
                let listener = listen(address, door.only.is_some(), place.limit)?;
                host(listener, door, *place)?.join()
            } else {
                let places = std::slice::from_ref(address);
                guest::join(places, &door.secret, &arrival(*place), place.limit)
            }
        }
        Way::Alone => Err("a process that is alone joins nobody".into()),
    }
}

fn through_pmi(pmi: Pmi, place: Place, config: &Config) -> Result<Joined, String> {
    if place.rank > 0 {
        let value = pmi.exchange(None)?;
        let strange = || "rank 0 has published something else than where it listens".to_owned();
        let (door, places) = value.split_once('/').ok_or_else(strange)?;
        let door = secret::from_hex(door).ok_or_else(strange)?;
        let places: Vec<String> = places.split(',').map(str::to_owned).collect();
        return guest::join(&places, &door, &arrival(place), place.limit);
    }
    let door = secret::fresh()?;
    let all = interfaces().unwrap_or_default();
    let mut at = usable(&all, config.interface.as_deref()).unwrap_or_default();
    if at.is_empty() {
        at.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let any = if at.iter().any(IpAddr::is_ipv6) {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let listener = TcpListener::bind(SocketAddr::new(any, 0))
        .and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
    let (port, listener) = listener.map_err(|error| format!("cannot listen: {error}"))?;
    let places = at.iter().take(8);
    let places: Vec<String> = places
        .map(|address| SocketAddr::new(*address, port).to_string())
        .collect();
    let value = format!("{}/{}", secret::to_hex(&door), places.join(","));
    let host = host(listener, Door::of(door), place)?;
    pmi.exchange(Some(&value))?;
    host.join()
}

fn host(listener: TcpListener, door: Door, place: Place) -> Result<Host, String> {
    let secret = secret::fresh()?;
    let mut job = [0; 8];
    getrandom::fill(&mut job).map_err(|error| format!("no random numbers: {error}"))?;
    let setup = Setup {
        job: JobId(u64::from_le_bytes(job)),
        door,
        secret,
        arrival: arrival(place),
        limit: place.limit,
    };
    Host::start(listener, setup)
}

/// Listens where the others will look. The name may resolve late; it may stand for a loopback interface
/// only if all ranks are `here`.
fn listen(address: &str, here: bool, limit: Duration) -> Result<TcpListener, String> {
    let started = Instant::now();
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    let port = port.ok_or_else(|| format!("{address} has no port"))?;
    loop {
        let why = match resolve_and_bind(address, port, here) {
            Ok(listener) => return Ok(listener),
            Err(Trouble::Final(why)) => return Err(why),
            Err(Trouble::Early(why)) => why,
        };
        if started.elapsed() >= limit {
            return Err(format!("{why}, after {} s", limit.as_secs_f64()));
        }
        std::thread::sleep(PAUSE);
    }
}

enum Trouble {
    Early(String),
    Final(String),
}

fn resolve_and_bind(address: &str, port: u16, here: bool) -> Result<TcpListener, Trouble> {
    let found = address.to_socket_addrs().map_err(|error| {
        let text =
            format!("rank 0 is to listen at {address}, and the name does not resolve: {error}");
        Trouble::Early(text)
    })?;
    let found: Vec<SocketAddr> = found.collect();
    // A host's own name may mean its loopback interface to itself, but not to others.
    let misleading = !here && found.iter().all(|address| address.ip().is_loopback());
    let mut last = None;
    for address in found.iter().filter(|_| !misleading) {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let elsewhere = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrNotAvailable;
    if last.as_ref().is_none_or(elsewhere) {
        // The address is another one's that passes connections on, or has just changed.
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    Err(Trouble::Final(format!(
        "rank 0 cannot listen at {address}: {why}; give all ranks another port with PHALANX_RENDEZVOUS"
    )))
}

fn arrival(place: Place) -> Arrival {
    let host = hostname::get().map_or_else(
        |_| "localhost".to_owned(),
        |name| name.to_string_lossy().chars().take(255).collect(),
    );
    Arrival {
        protocol: PROTOCOL,
        rank: place.rank,
        size: place.size,
        pid: std::process::id(),
        node: node(&host),
        host,
        processors: processors(),
    }
}

/// See [`Arrival::processors`].
fn processors() -> Vec<u8> {
    let Ok(allowed) = Processors::allowed() else {
        return Vec::new();
    };
    let numbers = allowed.numbers();
    let quota = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    if quota < numbers.len() {
        return Vec::new();
    }
    let last = numbers.last().map_or(0, |last| *last as usize);
    let mut bits = vec![0_u8; last / 8 + 1];
    for number in numbers {
        bits[number as usize / 8] |= 1 << (number % 8);
    }
    bits
}

/// Equal for processes that can reach each other through abstract Unix sockets.
fn node(host: &str) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let network = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    format!("{host} {} {}", boot.trim(), network.display())
}
