//! Running out of descriptors: in a process of its own, because the limit holds for all of it.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use phalanx::base::ids::{Epoch, JobId, Peer};
use phalanx::transport::{Accept, Fabric, LentId, Lost, Payload, Route, Sink, SocketsConfig};
use phalanx::wire::control::Secret;
use phalanx::wire::header::{Header, Kind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Default)]
struct Counter(u32);

impl Sink for Counter {
    fn header(&mut self, _: Peer, _: &Header) -> Result<Accept, String> {
        self.0 += 1;
        Ok(Accept::Discard)
    }
    fn space(&mut self, _: u64, _: u64) -> &mut [u8] {
        &mut []
    }
    fn done(&mut self, _: Peer, _: u64) {}
    fn lent(&self, _: LentId, _: u64, _: usize) -> Option<&[u8]> {
        None
    }
    fn sent(&mut self, _: Peer, _: LentId, _: u64) {}
    fn lookup(&mut self, _: Peer) {}
    fn lost(&mut self, peer: Peer, why: Lost) {
        panic!("{peer}: {why:?}");
    }
}

fn start(rank: u32) -> Fabric {
    let config = SocketsConfig {
        job: JobId(u64::from(std::process::id())),
        secret: Secret([3; 32]),
        epoch: Epoch(0),
        rank: Peer(rank),
        size: 2,
        route: Box::new(|_| Route::Tcp),
        listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ports: None,
        encrypt: false,
        start_limit: None,
        reconnect: Duration::from_secs(30),
        faults: None,
    };
    Fabric::sockets(config).expect("listens").0
}

#[test]
fn without_descriptors_nothing_is_lost_and_nothing_spins() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(120));
        eprintln!("the test hangs");
        std::process::abort();
    });
    let (mut one, mut other) = (start(0), start(1));
    let (mut of_one, mut of_other) = (Counter::default(), Counter::default());
    let address = other.addresses()[0];
    // The connection exists, but there is no descriptor to accept it with.
    let stranger = TcpStream::connect(address).expect("it listens");
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(3),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, none).expect("lowering is allowed");
    let mut moved = 0;
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        moved += u32::from(other.progress(Instant::now(), &mut of_other).moved);
        assert!(moved < 100, "it spins");
    }
    assert!(other.next_deadline().is_some(), "it will try again");
    // Connecting fails for the same reason, and is tried again as well.
    let header = Header::new(Kind::Credit, Epoch(0), Peer(0));
    one.send(Peer(1), &header, Payload::None, &mut of_one);
    one.progress(Instant::now(), &mut of_one);
    one.resolve(Peer(1), vec![address]);
    for _ in 0..20 {
        one.progress(Instant::now(), &mut of_one);
        std::thread::sleep(Duration::from_millis(1));
    }
    setrlimit(Resource::Nofile, before).expect("within the maximum");
    while of_other.0 == 0 {
        one.progress(Instant::now(), &mut of_one);
        other.progress(Instant::now(), &mut of_other);
    }
    drop(stranger);
}
