//! Strangers under load: they cost a bounded number of descriptors, and members get through.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use phalanx::limits::{HANDSHAKE_MILLIS_MAX, HANDSHAKES_MAX};
use phalanx::wire::handshake::HELLO_BYTES;
use rand::Rng;

use crate::rig::{Job, Link, drive, pattern, random, seed, watchdog};

/// What a stranger does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Opens as many as it can, and says nothing.
    Silent,
    /// Says a byte now and then, of what could become a greeting.
    Slow,
    /// Says much that makes no sense, and goes.
    Garbage,
}

/// Connections that one stranger keeps open.
const KEPT: usize = 2 * HANDSHAKES_MAX;

/// Strangers at work until this is dropped.
struct Storm {
    over: Arc<AtomicBool>,
    knocks: Arc<AtomicUsize>,
    strangers: Vec<JoinHandle<()>>,
}

impl Storm {
    fn over(addresses: &[SocketAddr], seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let knocks = Arc::new(AtomicUsize::new(0));
        let manners = [Manner::Silent, Manner::Slow, Manner::Garbage];
        let strangers = manners.map(|manner| {
            let (over, knocks) = (Arc::clone(&over), Arc::clone(&knocks));
            let addresses = addresses.to_vec();
            std::thread::spawn(move || storm(manner, &addresses, seed, &over, &knocks))
        });
        Self {
            over,
            knocks,
            strangers: strangers.into(),
        }
    }

    fn knocks(&self) -> usize {
        self.knocks.load(Ordering::Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for stranger in self.strangers.drain(..) {
            let ended = stranger.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

fn storm(
    manner: Manner,
    addresses: &[SocketAddr],
    seed: u64,
    over: &AtomicBool,
    knocks: &AtomicUsize,
) {
    let mut random = random(seed ^ manner as u64);
    let mut open = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let address = addresses[random.random_range(0..addresses.len())];
        // The backlog may be full: then it waits, and others with it.
        let Ok(mut socket) = TcpStream::connect_timeout(&address, Duration::from_millis(200))
        else {
            continue;
        };
        knocks.fetch_add(1, Ordering::Relaxed);
        // Other tests need ports too.
        std::thread::sleep(Duration::from_micros(500));
        match manner {
            Manner::Garbage => {
                let mut bytes = vec![0; random.random_range(HELLO_BYTES..2000)];
                random.fill(&mut bytes[..]);
                // It may be closed in our face.
                let _ = socket.write_all(&bytes);
            }
            Manner::Silent | Manner::Slow => open.push(socket),
        }
        if open.len() > KEPT {
            open.remove(0);
        }
        if manner == Manner::Slow {
            for socket in &mut open {
                let _ = socket.write(b"P");
            }
        }
    }
}

/// Connections that this process has accepted at an address, and not closed.
#[cfg(target_os = "linux")]
fn accepted(address: SocketAddr) -> usize {
    const LISTENING: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let sockets: HashSet<String> = descriptors
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let number = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(number.to_owned())
        })
        .collect();
    let port = format!(":{:04X}", address.port());
    let lines = table.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[1], fields[3], fields[9])
    });
    let at_port = || lines.clone().filter(|(local, ..)| local.ends_with(&port));
    // Some kernels show those that wait to be accepted with the listener's own number.
    let listeners: HashSet<&str> = at_port()
        .filter(|(_, state, _)| *state == LISTENING)
        .map(|(.., inode)| inode)
        .collect();
    let open = at_port().map(|(.., inode)| inode);
    let open = open.filter(|inode| sockets.contains(*inode) && !listeners.contains(inode));
    // The table changes while it is read, and may show the same one several times.
    open.collect::<HashSet<&str>>().len()
}

#[test]
fn members_get_through_a_storm_which_costs_a_bounded_number_of_descriptors() {
    let _watchdog = watchdog("storm");
    let seed = seed("storm");
    let job = Job::new(Link::Tcp, 3, seed);
    let mut nodes = job.start_all();
    let addresses: Vec<SocketAddr> = nodes
        .iter()
        .flat_map(|node| node.fabric.addresses())
        .collect();
    let storm = Storm::over(&addresses, seed);
    drive(&mut nodes, |_| storm.knocks() > 5 * HANDSHAKES_MAX);
    // Only now do members make their connections, and the strangers go on meanwhile.
    let rounds = 12;
    for tag in 0..rounds {
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                let bytes = pattern(from, tag, 2000);
                nodes[from as usize].send(to, tag, &bytes);
            }
        }
        let all = 2 * (tag as usize + 1);
        drive(&mut nodes, |nodes| {
            nodes.iter().all(|node| node.sink.arrived.len() == all)
        });
        #[cfg(target_os = "linux")]
        for address in &addresses {
            // Besides strangers: the other two members, each with a connection that was granted at most.
            let open = accepted(*address);
            let most = HANDSHAKES_MAX + 4;
            assert!(open <= most, "{open} connections at {address}");
        }
    }
    let before = storm.knocks();
    drive(&mut nodes, |_| storm.knocks() > before + HANDSHAKES_MAX);
    drop(storm);
    for node in &nodes {
        assert!(node.sink.lost.is_empty(), "{:?}", node.sink.lost);
        for frame in &node.sink.arrived {
            assert!(frame.bytes == pattern(frame.from.0, frame.tag, 2000));
        }
    }
}

#[test]
fn a_byte_now_and_then_buys_no_time() {
    let _watchdog = watchdog("slow");
    let job = Job::new(Link::Tcp, 2, seed("slow"));
    let mut nodes = job.start_all();
    let address = nodes[1].fabric.addresses()[0];
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..HANDSHAKES_MAX / 2 {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_nonblocking(true).expect("a socket");
        slow.push(socket);
    }
    // As many bytes as make a greeting take longer than there is time.
    let pause = Duration::from_millis(2 * HANDSHAKE_MILLIS_MAX / HELLO_BYTES as u64);
    let mut next = Instant::now();
    let mut sent = 0;
    drive(&mut nodes, |_| {
        if next <= Instant::now() {
            next = Instant::now() + pause;
            sent += 1;
            for socket in &mut slow {
                let _ = socket.write(b"P");
            }
        }
        let ended = |socket: &mut TcpStream| match socket.read(&mut [0]) {
            Ok(_) => true,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        slow.retain_mut(|socket| !ended(socket));
        slow.is_empty()
    });
    assert!(
        sent < HELLO_BYTES,
        "they were closed before their greeting was whole"
    );
    nodes[0].send(1, 1, b"not disturbed");
    drive(&mut nodes, |nodes| nodes[1].sink.arrived.len() == 1);
}
