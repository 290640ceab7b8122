//! Ranks in one process, whatever connects them, and a sink that remembers everything.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use phalanx::base::ids::{Epoch, JobId, Peer};
use phalanx::transport::{
    Accept, Fabric, Faults, LentId, LongMessages, Lost, Payload, Route, Segment, SharedConfig,
    Sink, SocketsConfig, Waiter,
};
use phalanx::wire::control::Secret;
use phalanx::wire::header::{Header, Kind};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub(crate) const WATCHDOG: Duration = Duration::from_secs(180);

/// Ends the whole test process, with a name, when a test takes far too long.
pub(crate) struct Watchdog(#[allow(dead_code, reason = "dropping it is its use")] mpsc::Sender<()>);

pub(crate) fn watchdog(name: &'static str) -> Watchdog {
    let (keep, dropped) = mpsc::channel();
    std::thread::spawn(move || {
        if dropped.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("test {name} hangs");
            std::process::abort();
        }
    });
    Watchdog(keep)
}

/// A seed, printed so that a failure can be repeated.
pub(crate) fn seed(name: &str) -> u64 {
    let seed = std::env::var("PHALANX_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(fresh);
    println!("{name}: PHALANX_TEST_SEED={seed}");
    seed
}

pub(crate) fn fresh() -> u64 {
    getrandom::u64().expect("random bytes")
}

pub(crate) fn random(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Threads,
    Shared,
    /// Shared memory where both ranks are even or both odd, TCP between those.
    Mixed,
    Unix,
    Tcp,
    /// TCP, encrypted.
    Sealed,
    FaultyUnix,
    FaultyTcp,
    FaultySealed,
}

impl Link {
    pub(crate) const ALL: [Self; 9] = [
        Self::Threads,
        Self::Shared,
        Self::Mixed,
        Self::Unix,
        Self::Tcp,
        Self::Sealed,
        Self::FaultyUnix,
        Self::FaultyTcp,
        Self::FaultySealed,
    ];
    /// What connects processes.
    pub(crate) const PROCESSES: [Self; 8] = [
        Self::Shared,
        Self::Mixed,
        Self::Unix,
        Self::Tcp,
        Self::Sealed,
        Self::FaultyUnix,
        Self::FaultyTcp,
        Self::FaultySealed,
    ];

    pub(crate) fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::FaultyTcp) || self.is_encrypted()
    }

    pub(crate) fn is_encrypted(self) -> bool {
        matches!(self, Self::Sealed | Self::FaultySealed)
    }

    pub(crate) fn is_faulty(self) -> bool {
        matches!(
            self,
            Self::FaultyUnix | Self::FaultyTcp | Self::FaultySealed
        )
    }
}

/// What one job has in common.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) link: Link,
    pub(crate) id: JobId,
    pub(crate) secret: Secret,
    pub(crate) size: u32,
    pub(crate) seed: u64,
    pub(crate) epoch: Epoch,
    /// How long a TCP connection that breaks is made again: short, because nobody here says who has died.
    pub(crate) reconnect: Duration,
    /// The memory that the ranks share, if they do.
    segments: Vec<Arc<Segment>>,
}

impl Job {
    pub(crate) fn new(link: Link, size: u32, seed: u64) -> Self {
        let id = JobId(fresh());
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("random bytes");
        Self {
            link,
            id,
            secret: Secret(secret),
            size,
            seed,
            epoch: Epoch(0),
            reconnect: Duration::from_millis(300),
            segments: match link {
                Link::Shared => vec![segment(size)],
                Link::Mixed => vec![segment(size.div_ceil(2)), segment((size / 2).max(1))],
                _ => Vec::new(),
            },
        }
    }

    pub(crate) fn config(&self, rank: u32) -> SocketsConfig {
        let route = if self.link.is_tcp() || self.link == Link::Mixed {
            Route::Tcp
        } else {
            Route::Unix
        };
        SocketsConfig {
            job: self.id,
            secret: self.secret.clone(),
            epoch: self.epoch,
            rank: Peer(rank),
            size: self.size,
            route: Box::new(move |_| route),
            listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            ports: None,
            encrypt: self.link.is_encrypted(),
            start_limit: None,
            reconnect: self.reconnect,
            faults: self.link.is_faulty().then(|| Faults {
                seed: self.seed ^ u64::from(rank),
                piece_bytes_max: 5000,
                pause_percent: 20,
                refused_connections: 2,
                ..Faults::default()
            }),
        }
    }

    pub(crate) fn start(&self, rank: u32) -> Node {
        self.start_with(rank, self.config(rank).faults)
    }

    pub(crate) fn start_with(&self, rank: u32, faults: Option<Faults>) -> Node {
        let config = SocketsConfig {
            faults,
            ..self.config(rank)
        };
        if !self.segments.is_empty() {
            let nodes = self.segments.len() as u32;
            let here = (0..self.size).filter(|peer| peer % nodes == rank % nodes);
            let shared = SharedConfig {
                segment: Arc::clone(&self.segments[(rank % nodes) as usize]),
                epoch: self.epoch,
                rank: Peer(rank),
                size: self.size,
                here: here.map(Peer).collect(),
                long: LongMessages::Pulled,
            };
            let started = match self.link {
                Link::Mixed => Fabric::mixed(shared, config),
                _ => Fabric::shared(shared),
            };
            let (fabric, waiter) = started.expect("starts");
            return Node::new(fabric, waiter);
        }
        let (fabric, waiter) = Fabric::sockets(config).expect("listens");
        Node::new(fabric, waiter)
    }

    pub(crate) fn start_all(&self) -> Vec<Node> {
        if self.link == Link::Threads {
            let all = Fabric::threads(self.size).expect("enough descriptors");
            return all
                .into_iter()
                .map(|(fabric, waiter)| Node::new(fabric, waiter))
                .collect();
        }
        (0..self.size).map(|rank| self.start(rank)).collect()
    }
}

fn segment(ranks: u32) -> Arc<Segment> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let segment = Segment::create(ranks as usize, cores, std::process::id());
    Arc::new(segment.expect("memory"))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) from: Peer,
    pub(crate) tag: u64,
    pub(crate) length: u64,
    pub(crate) bytes: Vec<u8>,
}

struct Arriving {
    frame: Arrived,
    header: Header,
    filled: usize,
}

/// Remembers everything, and checks that the fabric keeps its side of the contract.
#[derive(Default)]
pub(crate) struct TestSink {
    pub(crate) arrived: VecDeque<Arrived>,
    pub(crate) lost: Vec<(Peer, Lost)>,
    pub(crate) lookups: Vec<Peer>,
    pub(crate) broken: Vec<Peer>,
    pub(crate) lent: HashMap<u64, Vec<u8>>,
    pub(crate) given_back: HashMap<u64, u64>,
    /// Payloads get no more space than this.
    pub(crate) space_max: Option<usize>,
    /// Payloads are discarded.
    pub(crate) discard: bool,
    arriving: HashMap<u64, Arriving>,
    next_key: u64,
}

impl TestSink {
    /// The buffer is filled by what was written between two calls of `space`.
    fn finish(&mut self, key: u64) -> Arriving {
        self.arriving
            .remove(&key)
            .expect("done comes once, after header")
    }
}

impl Sink for TestSink {
    fn header(&mut self, peer: Peer, header: &Header) -> Result<Accept, String> {
        assert_eq!(header.source, peer);
        assert_ne!(header.kind, Kind::Goodbye);
        assert!(
            self.lost.iter().all(|(lost, _)| *lost != peer),
            "a frame after lost"
        );
        let busy = self
            .arriving
            .values()
            .any(|other| other.header.source == peer);
        assert!(!busy, "a frame within another one");
        let (tag, length) = (header.tag, header.length);
        let mut frame = Arrived {
            from: peer,
            tag,
            length,
            bytes: Vec::new(),
        };
        if header.payload() == 0 || self.discard {
            self.arrived.push_back(frame);
            return Ok(Accept::Discard);
        }
        let space = usize::try_from(header.payload()).expect("addressable");
        frame.bytes = vec![0xee; self.space_max.map_or(space, |most| most.min(space))];
        self.next_key += 1;
        self.arriving.insert(
            self.next_key,
            Arriving {
                frame,
                header: *header,
                filled: 0,
            },
        );
        Ok(Accept::Into(self.next_key))
    }

    fn space(&mut self, key: u64, offset: u64) -> &mut [u8] {
        let arriving = self.arriving.get_mut(&key).expect("a key that header gave");
        let offset = usize::try_from(offset).expect("addressable");
        assert!(offset >= arriving.filled, "space goes backwards");
        arriving.filled = offset;
        let all = &mut arriving.frame.bytes;
        let offset = offset.min(all.len());
        &mut all[offset..]
    }

    fn done(&mut self, peer: Peer, key: u64) {
        let arriving = self.finish(key);
        assert_eq!(arriving.header.source, peer);
        self.arrived.push_back(arriving.frame);
    }

    fn lent(&self, id: LentId, offset: u64, length: usize) -> Option<&[u8]> {
        let offset = usize::try_from(offset).expect("addressable");
        self.lent
            .get(&id.0)
            .map(|bytes| &bytes[offset..offset + length])
    }

    fn sent(&mut self, _: Peer, id: LentId, length: u64) {
        assert!(length > 0);
        *self.given_back.entry(id.0).or_default() += length;
    }

    fn lookup(&mut self, peer: Peer) {
        self.lookups.push(peer);
    }

    fn broken(&mut self, peer: Peer) {
        self.broken.push(peer);
    }

    fn lost(&mut self, peer: Peer, why: Lost) {
        assert!(
            self.lost.iter().all(|(lost, _)| *lost != peer),
            "{peer} lost twice"
        );
        // What arrived in part will never be completed.
        self.arriving
            .retain(|_, arriving| arriving.header.source != peer);
        self.lost.push((peer, why));
    }
}

pub(crate) struct Node {
    pub(crate) fabric: Fabric,
    pub(crate) waiter: Waiter,
    pub(crate) sink: TestSink,
}

pub(crate) fn eager(from: Peer, tag: u64, length: usize) -> Header {
    let mut header = Header::new(Kind::Eager, Epoch(0), from);
    header.tag = tag;
    header.length = length as u64;
    header
}

impl Node {
    pub(crate) fn new(fabric: Fabric, waiter: Waiter) -> Self {
        Self {
            fabric,
            waiter,
            sink: TestSink::default(),
        }
    }

    pub(crate) fn rank(&self) -> Peer {
        self.fabric.rank()
    }

    pub(crate) fn send(&mut self, to: u32, tag: u64, bytes: &[u8]) {
        let header = eager(self.rank(), tag, bytes.len());
        let payload = if bytes.is_empty() {
            Payload::None
        } else {
            Payload::Borrowed(bytes)
        };
        self.fabric.send(Peer(to), &header, payload, &mut self.sink);
    }

    /// Lends `bytes` under the number `tag`, which must be new.
    pub(crate) fn lend(&mut self, to: u32, tag: u64, bytes: Vec<u8>) {
        let header = eager(self.rank(), tag, bytes.len());
        self.sink.lent.insert(tag, bytes);
        let payload = Payload::Lent {
            id: LentId(tag),
            offset: 0,
        };
        self.fabric.send(Peer(to), &header, payload, &mut self.sink);
    }

    pub(crate) fn release(&mut self) {
        self.fabric.release(&mut self.sink);
    }

    pub(crate) fn turn(&mut self) -> bool {
        self.fabric.progress(Instant::now(), &mut self.sink).moved
    }

    pub(crate) fn lost(&self, peer: u32) -> Option<&Lost> {
        self.sink
            .lost
            .iter()
            .find(|(lost, _)| lost.0 == peer)
            .map(|(_, why)| why)
    }
}

/// Answers the questions for addresses, as the launcher would.
pub(crate) fn answer_lookups(node: &mut Node, addresses: &HashMap<u32, Vec<SocketAddr>>) {
    let asked = std::mem::take(&mut node.sink.lookups);
    for peer in asked {
        match addresses.get(&peer.0) {
            Some(known) => node.fabric.resolve(peer, known.clone()),
            None => node.sink.lookups.push(peer),
        }
    }
}

/// Drives all ranks in turn until `enough`.
pub(crate) fn drive(nodes: &mut [Node], enough: impl FnMut(&mut [Node]) -> bool) {
    let addresses: HashMap<u32, Vec<SocketAddr>> = nodes
        .iter()
        .map(|node| (node.rank().0, node.fabric.addresses()))
        .filter(|(_, addresses)| !addresses.is_empty())
        .collect();
    drive_with(nodes, &addresses, enough);
}

/// The same, where others may be listening as well.
pub(crate) fn drive_with(
    nodes: &mut [Node],
    addresses: &HashMap<u32, Vec<SocketAddr>>,
    mut enough: impl FnMut(&mut [Node]) -> bool,
) {
    while !enough(nodes) {
        let mut moved = false;
        for node in &mut *nodes {
            moved |= node.turn();
            answer_lookups(node, addresses);
        }
        if !moved {
            for node in &mut *nodes {
                node.fabric.settle_loans(u64::MAX, &mut node.sink);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Bytes that tell their sender, tag and place.
pub(crate) fn pattern(from: u32, tag: u64, length: usize) -> Vec<u8> {
    let mut random = random(tag ^ (u64::from(from) << 40));
    let mut bytes = vec![0; length];
    random.fill(&mut bytes[..]);
    bytes
}
