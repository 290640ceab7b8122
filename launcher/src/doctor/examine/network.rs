//! Connections between hosts, made as ranks make them: the same addresses and ports, the same handshake.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use phalanx::base::ids::{Epoch, Peer};
use phalanx::transport::{Interface, interfaces, usable};
use phalanx::wire::handshake::{
    CHALLENGE_BYTES, Greeting, HELLO_BYTES, Identity, Initiator, Opening, PROOF_BYTES,
};

use crate::doctor::words::{Attempt, Finding, Outcome, Target, Task};

/// Time for a connection, and then for the handshake.
pub(crate) const REACH_LIMIT: Duration = Duration::from_secs(3);
/// Attempts that are made at the same time.
pub(crate) const REACHES_AT_ONCE: usize = 64;
/// Ports of a range that are tried.
const PORTS_TRIED_MAX: u32 = 8;
/// Connections that are looked at, at the same time.
const GUESTS_MAX: usize = 1024;
const STACK_BYTES: usize = 128 * 1024;

/// Where others knock, and who we are to them.
#[derive(Debug)]
pub(super) struct Doorstep {
    identity: Arc<Identity>,
    addresses: Vec<SocketAddr>,
}

impl Doorstep {
    /// Listens where ranks would.
    pub(super) fn open(task: &Task) -> (Self, Finding) {
        let identity = Arc::new(Identity {
            job: task.job,
            secret: task.secret.clone(),
            epoch: Epoch(0),
            rank: Peer(task.host),
            size: task.hosts,
        });
        let mut doorstep = Self {
            identity,
            addresses: Vec::new(),
        };
        let found = doorstep.listen(task);
        (doorstep, found)
    }

    fn listen(&mut self, task: &Task) -> Finding {
        let all = match interfaces() {
            Ok(all) => all,
            Err(error) => {
                return Finding::wrong(
                    format!("the operating system does not tell them: {error}"),
                    "is /proc mounted, and are network sockets allowed there?",
                );
            }
        };
        let chosen = match usable(&all, task.interface.as_deref()) {
            Ok(chosen) => chosen,
            Err(why) if task.hosts == 1 && task.interface.is_none() => {
                return Finding::ok(format!("{why}: only needed with several hosts"));
            }
            Err(why) => {
                return Finding::wrong(
                    why,
                    "connect the host to the others' network, or choose what it has with --interface",
                );
            }
        };
        let mut trouble = Vec::new();
        for &address in &chosen {
            for listener in listeners(address, task.ports, &mut trouble) {
                self.addresses.extend(listener.local_addr().ok());
                let identity = Arc::clone(&self.identity);
                std::thread::spawn(move || receive(&listener, &identity));
            }
        }
        let named: Vec<String> = chosen.iter().map(|one| named(*one, &all)).collect();
        let named = named.join(", ");
        if trouble.is_empty() {
            return Finding::ok(named);
        }
        let found = format!("{named}; {}", trouble.join("; "));
        let mend =
            "choose other ports or a wider range with --ports; `ss -tlnp` shows who has them";
        if self.addresses.is_empty() {
            Finding::wrong(found, mend)
        } else {
            Finding::warning(found, mend)
        }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }
}

fn named(address: IpAddr, all: &[Interface]) -> String {
    let owner = all.iter().find(|one| one.address == address);
    owner.map_or_else(
        || address.to_string(),
        |owner| format!("{address} ({})", owner.name),
    )
}

/// Sockets at an address: one, or some that are spread over the range of ports.
fn listeners(
    address: IpAddr,
    ports: Option<(u16, u16)>,
    trouble: &mut Vec<String>,
) -> Vec<TcpListener> {
    let Some((low, high)) = ports else {
        return match TcpListener::bind(SocketAddr::new(address, 0)) {
            Ok(listener) => vec![listener],
            Err(error) => {
                trouble.push(format!("cannot listen at {address}: {error}"));
                Vec::new()
            }
        };
    };
    let mut all = Vec::new();
    let mut last = None;
    for part in parts(low, high) {
        // Some may be in use: then the next one stands for its part of the range.
        for port in part {
            match TcpListener::bind(SocketAddr::new(address, port)) {
                Ok(listener) => {
                    all.push(listener);
                    break;
                }
                Err(error) => last = Some(error),
            }
        }
    }
    if let (true, Some(error)) = (all.is_empty(), last) {
        trouble.push(format!(
            "no port of {low}-{high} can be had at {address}: {error}"
        ));
    }
    all
}

/// The range in a few parts, of each of which one port is wanted: the first and the last of the range among them.
fn parts(low: u16, high: u16) -> Vec<Vec<u16>> {
    let size = u32::from(high.saturating_sub(low)) + 1;
    let count = size.min(PORTS_TRIED_MAX);
    let begin = |index: u32| u32::from(low) + index * size / count;
    let part = |index: u32| {
        let ports = begin(index)..begin(index + 1);
        let mut ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port).ok()).collect();
        if index + 1 == count {
            ports.reverse();
        }
        ports
    };
    (0..count).map(part).collect()
}

/// Answers whoever knocks, for ever.
fn receive(listener: &TcpListener, identity: &Arc<Identity>) {
    static GUESTS: AtomicUsize = AtomicUsize::new(0);
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Descriptors have run out, most likely.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        if GUESTS.fetch_add(1, Ordering::Relaxed) >= GUESTS_MAX {
            GUESTS.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let identity = Arc::clone(identity);
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            // Who cannot prove to be one of us is of no interest.
            let _ = answer(&stream, &identity);
            GUESTS.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            GUESTS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn answer(mut stream: &TcpStream, identity: &Identity) -> io::Result<()> {
    stream.set_read_timeout(Some(REACH_LIMIT))?;
    stream.set_write_timeout(Some(REACH_LIMIT))?;
    let mut hello = [0; HELLO_BYTES];
    stream.read_exact(&mut hello)?;
    let Ok(greeting) = Greeting::read(identity, &hello, nonce()?) else {
        return Ok(());
    };
    let (_, challenge) = greeting.proceed(identity, nonce()?, 0, 0);
    stream.write_all(&challenge)?;
    let mut proof = [0; PROOF_BYTES];
    // The other side has what it wanted to know, and closes.
    stream.read_exact(&mut proof)
}

fn nonce() -> io::Result<[u8; 16]> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

/// Tries to reach every address of every target, many at the same time.
pub(super) fn reach(identity: &Arc<Identity>, targets: &[Target]) -> Vec<Attempt> {
    let mut wanted = targets
        .iter()
        .flat_map(|target| target.addresses.iter().map(|at| (target.host, *at)))
        .collect::<Vec<_>>();
    // The first host is not overrun by all others at once.
    let own = identity.rank.0;
    wanted.sort_by_key(|(host, _)| (*host < own, *host));
    let threads = wanted.len().min(REACHES_AT_ONCE);
    let queue = Mutex::new(wanted.into_iter());
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = lock(&queue).next();
            let Some((to, address)) = next else { return };
            let outcome = reach_one(identity, to, address);
            lock(&done).push(Attempt {
                to,
                address,
                outcome,
            });
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            if thread.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        // And if there are no threads to be had, it takes longer.
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reach_one(identity: &Identity, to: u32, address: SocketAddr) -> Outcome {
    let began = Instant::now();
    let stream = match TcpStream::connect_timeout(&address, REACH_LIMIT) {
        Ok(stream) => stream,
        Err(error) => return told(&error),
    };
    match shake_hands(&stream, identity, to) {
        Ok(true) => Outcome::Reached {
            micros: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        },
        Ok(false) => Outcome::Stranger,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Outcome::Stranger,
        Err(error) => told(&error),
    }
}

/// Whether it is the right one.
fn shake_hands(mut stream: &TcpStream, identity: &Identity, to: u32) -> io::Result<bool> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(REACH_LIMIT))?;
    stream.set_write_timeout(Some(REACH_LIMIT))?;
    let (initiator, hello) = Initiator::new(identity, Peer(to), &Opening::first(nonce()?));
    stream.write_all(&hello)?;
    let mut challenge = [0; CHALLENGE_BYTES];
    stream.read_exact(&mut challenge)?;
    match initiator.answer(&challenge) {
        Ok(wanted) => stream.write_all(&wanted.proof).map(|()| true),
        Err(_) => Ok(false),
    }
}

fn told(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::Silence,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Outcome::Refused,
        _ => Outcome::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::words::State;
    use phalanx::base::ids::JobId;
    use phalanx::wire::control::Secret;

    fn task(host: u32, secret: u8) -> Task {
        Task {
            host,
            hosts: 2,
            slots: 1,
            ranks: 2,
            job: JobId(5),
            secret: Secret([secret; 32]),
            interface: Some("lo".to_owned()),
            ports: None,
        }
    }

    fn outcomes(from: &Doorstep, to: u32, addresses: Vec<SocketAddr>) -> Vec<Outcome> {
        let target = Target {
            host: to,
            addresses,
        };
        let attempts = reach(&from.identity(), &[target]);
        attempts.into_iter().map(|one| one.outcome).collect()
    }

    /// A port that nobody else can get, and at which nobody listens.
    fn bound_only() -> (rustix::fd::OwnedFd, SocketAddr) {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
        let bound = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        bind(&bound, &any).expect("some port is free");
        let address = getsockname(&bound).expect("it has one");
        let address = SocketAddr::try_from(address).expect("IPv4");
        (bound, address)
    }

    #[test]
    fn hosts_reach_each_other_and_nobody_else() {
        let (one, found) = Doorstep::open(&task(0, 1));
        assert_eq!(found.state, State::Ok, "{found:?}");
        let (other, _) = Doorstep::open(&task(1, 1));
        let reached = outcomes(&one, 1, other.addresses());
        assert!(!reached.is_empty());
        for outcome in reached {
            assert!(matches!(outcome, Outcome::Reached { .. }), "{outcome:?}");
        }
        let (stranger, _) = Doorstep::open(&task(1, 2));
        for outcome in outcomes(&one, 1, stranger.addresses()) {
            assert_eq!(outcome, Outcome::Stranger);
        }
        let (_bound, closed) = bound_only();
        assert_eq!(outcomes(&one, 1, vec![closed]), [Outcome::Refused]);
    }

    #[test]
    fn ports_are_spread_over_their_range() {
        assert_eq!(parts(7, 7), [[7]]);
        assert_eq!(parts(20, 22), [[20], [21], [22]]);
        let many = parts(20_000, 20_999);
        assert_eq!((many.len(), many[0][0], many[7][0]), (8, 20_000, 20_999));
        let ports: usize = many.iter().map(Vec::len).sum();
        assert_eq!(ports, 1000, "each of them is in one part");
        assert_eq!(parts(1, u16::MAX)[7][0], u16::MAX);
    }

    #[test]
    fn a_port_that_is_in_use_is_passed_over() {
        let (_bound, taken) = bound_only();
        let low = taken.port() - 1;
        let mut trouble = Vec::new();
        let found = listeners(taken.ip(), Some((low, low.saturating_add(2))), &mut trouble);
        let has = |one: &TcpListener| one.local_addr().is_ok_and(|at| at.port() == taken.port());
        assert!(!found.iter().any(has));
        let alone = Some((taken.port(), taken.port()));
        assert!(listeners(taken.ip(), alone, &mut trouble).is_empty());
        assert!(
            trouble.iter().any(|line| line.contains("no port of")),
            "{trouble:?}"
        );
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let mut task = task(0, 1);
        task.interface = Some("no-such".to_owned());
        let (doorstep, found) = Doorstep::open(&task);
        assert!(doorstep.addresses().is_empty());
        assert_eq!(found.state, State::Wrong);
        assert!(found.found.contains("no-such"), "{found:?}");
    }
}
