//! Latency and bandwidth between two threads, next to bare sockets of the same kind in the same run.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use phalanx::base::ids::{Epoch, JobId, Peer};
use phalanx::transport::{
    Accept, Fabric, LentId, Lost, Payload, Route, Sink, SocketsConfig, Waiter,
};
use phalanx::wire::control::Secret;
use phalanx::wire::header::{HEADER_BYTES, Header, Kind};

const BIG: usize = 1 << 20;
const STOP: u64 = u64::MAX;

/// Takes one frame at a time into one buffer, and lends from another.
struct Slot {
    buffer: Vec<u8>,
    lent: Vec<u8>,
    arrived: Option<u64>,
    pending_tag: u64,
    lookups: Vec<Peer>,
}

impl Slot {
    fn new() -> Self {
        Self {
            buffer: vec![0; BIG],
            lent: vec![1; BIG],
            arrived: None,
            pending_tag: 0,
            lookups: Vec::new(),
        }
    }
}

impl Sink for Slot {
    fn header(&mut self, _: Peer, header: &Header) -> Result<Accept, String> {
        self.pending_tag = header.tag;
        if header.payload() == 0 {
            self.arrived = Some(header.tag);
        }
        Ok(Accept::Into(0))
    }
    fn space(&mut self, _: u64, offset: u64) -> &mut [u8] {
        &mut self.buffer[offset as usize..]
    }
    fn done(&mut self, _: Peer, _: u64) {
        self.arrived = Some(self.pending_tag);
    }
    fn lent(&self, _: LentId, offset: u64, length: usize) -> Option<&[u8]> {
        Some(&self.lent[offset as usize..offset as usize + length])
    }
    fn sent(&mut self, _: Peer, _: LentId, _: u64) {}
    fn lookup(&mut self, peer: Peer) {
        self.lookups.push(peer);
    }
    fn lost(&mut self, peer: Peer, why: Lost) {
        assert_eq!(why, Lost::Closed, "{peer}");
    }
}

struct End {
    fabric: Fabric,
    waiter: Waiter,
    slot: Slot,
    others: Vec<std::net::SocketAddr>,
    sleeps: bool,
}

impl End {
    fn send(&mut self, tag: u64, length: usize) {
        let me = self.fabric.rank();
        let mut header = Header::new(Kind::Eager, Epoch(0), me);
        header.tag = tag;
        header.length = length as u64;
        let small = [7; 64];
        let payload = match length {
            0 => Payload::None,
            length if length <= small.len() => Payload::Borrowed(&small[..length]),
            _ => Payload::Lent {
                id: LentId(0),
                offset: 0,
            },
        };
        self.fabric
            .send(Peer(1 - me.0), &header, payload, &mut self.slot);
    }

    fn turn(&mut self) -> bool {
        let moved = self.fabric.progress(Instant::now(), &mut self.slot).moved;
        for peer in std::mem::take(&mut self.slot.lookups) {
            self.fabric.resolve(peer, self.others.clone());
        }
        moved
    }

    fn receive(&mut self) -> u64 {
        loop {
            if let Some(tag) = self.slot.arrived.take() {
                return tag;
            }
            if !self.turn() && self.sleeps && self.slot.arrived.is_none() {
                let limit = self.fabric.next_deadline().map(|at| at - Instant::now());
                self.waiter.wait(limit).expect("polls");
            }
        }
    }

    fn finish(mut self) {
        while self.fabric.has_unsent() {
            self.turn();
        }
        self.fabric.farewell(&mut self.slot);
        while !self.fabric.drained() {
            self.turn();
        }
    }
}

fn ends(route: Option<Route>, sleeps: bool) -> [End; 2] {
    let fabrics = match route {
        None => Fabric::threads(2).expect("descriptors"),
        Some(route) => {
            let job = JobId(getrandom::u64().expect("random"));
            (0..2)
                .map(|rank| {
                    Fabric::sockets(SocketsConfig {
                        job,
                        secret: Secret([1; 32]),
                        epoch: Epoch(0),
                        rank: Peer(rank),
                        size: 2,
                        route: Box::new(move |_| route),
                        listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                        ports: None,
                        encrypt: false,
                        start_limit: None,
                        reconnect: Duration::from_secs(30),
                        faults: None,
                    })
                    .expect("listens")
                })
                .collect()
        }
    };
    let addresses: Vec<_> = fabrics
        .iter()
        .map(|(fabric, _)| fabric.addresses())
        .collect();
    let mut ends =
        fabrics
            .into_iter()
            .zip(addresses.into_iter().rev())
            .map(|((fabric, waiter), others)| End {
                fabric,
                waiter,
                slot: Slot::new(),
                others,
                sleeps,
            });
    [ends.next().expect("two"), ends.next().expect("two")]
}

/// `count` round trips: `there` bytes forth, `back` bytes back.
fn round_trips(
    route: Option<Route>,
    sleeps: bool,
    there: usize,
    back: usize,
    count: u64,
) -> Duration {
    let [mut ours, mut theirs] = ends(route, sleeps);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while theirs.receive() != STOP {
                theirs.send(0, back);
            }
            theirs.finish();
        });
        for _ in 0..100 {
            ours.send(0, there);
            ours.receive();
        }
        let start = Instant::now();
        for _ in 0..count {
            ours.send(0, there);
            ours.receive();
        }
        let elapsed = start.elapsed();
        ours.send(STOP, 0);
        ours.finish();
        elapsed
    })
}

trait Raw: Read + Write + Send {
    fn spin(&self);
}

impl Raw for UnixStream {
    fn spin(&self) {
        self.set_nonblocking(true).expect("nonblocking");
    }
}

impl Raw for TcpStream {
    fn spin(&self) {
        self.set_nonblocking(true).expect("nonblocking");
        self.set_nodelay(true).expect("nodelay");
    }
}

fn pair(route: Route) -> [Box<dyn Raw>; 2] {
    match route {
        Route::Unix => {
            let (one, other) = UnixStream::pair().expect("a pair");
            [Box::new(one), Box::new(other)]
        }
        Route::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
            let address = listener.local_addr().expect("bound");
            let one = TcpStream::connect(address).expect("listens");
            one.set_nodelay(true).expect("nodelay");
            let other = listener.accept().expect("connected").0;
            other.set_nodelay(true).expect("nodelay");
            [Box::new(one), Box::new(other)]
        }
    }
}

fn read_all(socket: &mut dyn Raw, mut bytes: &mut [u8]) -> bool {
    while !bytes.is_empty() {
        match socket.read(bytes) {
            Ok(0) => return false,
            Ok(count) => bytes = &mut bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

fn write_all(socket: &mut dyn Raw, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn raw_round_trips(route: Route, sleeps: bool, there: usize, back: usize, count: u64) -> Duration {
    let [mut ours, mut theirs] = pair(route);
    if !sleeps {
        ours.spin();
        theirs.spin();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut request, reply) = (vec![0; there], vec![1; back]);
            while read_all(&mut *theirs, &mut request) && !stop.load(Ordering::SeqCst) {
                write_all(&mut *theirs, &reply);
            }
        });
        let (request, mut reply) = (vec![1; there], vec![0; back]);
        let start = Instant::now();
        for _ in 0..count {
            write_all(&mut *ours, &request);
            read_all(&mut *ours, &mut reply);
        }
        let elapsed = start.elapsed();
        stop.store(true, Ordering::SeqCst);
        write_all(&mut *ours, &request);
        elapsed
    })
}

const KINDS: [(&str, Option<Route>); 3] = [
    ("threads", None),
    ("unix", Some(Route::Unix)),
    ("tcp", Some(Route::Tcp)),
];

/// The bare sockets move as many bytes as a frame has.
fn latency(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round_trip_8B");
    let frame = HEADER_BYTES + 8;
    for (name, route) in KINDS {
        for (manner, sleeps) in [("spin", false), ("sleep", true)] {
            group.bench_function(format!("{name}/{manner}"), |bencher| {
                bencher.iter_custom(|count| round_trips(route, sleeps, 8, 8, count));
            });
            if let Some(route) = route {
                group.bench_function(format!("{name}/{manner}/bare"), |bencher| {
                    bencher
                        .iter_custom(|count| raw_round_trips(route, sleeps, frame, frame, count));
                });
            }
        }
    }
}

fn bandwidth(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one_way_1MiB");
    group.throughput(Throughput::Bytes(BIG as u64));
    for (name, route) in KINDS {
        for (manner, sleeps) in [("spin", false), ("sleep", true)] {
            group.bench_function(format!("{name}/{manner}"), |bencher| {
                bencher.iter_custom(|count| round_trips(route, sleeps, BIG, 0, count));
            });
            if let Some(route) = route {
                group.bench_function(format!("{name}/{manner}/bare"), |bencher| {
                    bencher.iter_custom(|count| {
                        raw_round_trips(route, sleeps, BIG + HEADER_BYTES, HEADER_BYTES, count)
                    });
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = latency, bandwidth
}
criterion_main!(benches);
