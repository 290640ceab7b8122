//! Encrypted connections: what somebody between two hosts sees, and what comes of altering it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use phalanx::limits::STREAM_READ_BYTES;
use phalanx::transport::{Fabric, Lost};

use crate::rig::{Job, Link, Node, answer_lookups, drive, pattern, seed, watchdog};

/// Somebody between two ranks: passes bytes on both ways, and remembers them.
struct Relay {
    address: SocketAddr,
    /// From the one who connected, and back to it.
    seen: [Arc<Mutex<Vec<u8>>>; 2],
}

impl Relay {
    /// Turns over a bit of byte `alter` of what goes the first way.
    fn to(target: SocketAddr, alter: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("bound");
        let seen = [Arc::default(), Arc::default()];
        let [there, back] = seen.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.expect("a connection");
                let far = TcpStream::connect(target).expect("the rank listens");
                let ends = (near.try_clone(), far.try_clone());
                let (from, to) = (ends.0.expect("a copy"), ends.1.expect("a copy"));
                let (there, back) = (Arc::clone(&there), Arc::clone(&back));
                std::thread::spawn(move || pass(from, to, &there, alter));
                std::thread::spawn(move || pass(far, near, &back, None));
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<u8> {
        let all = self.seen.iter();
        let all = all.flat_map(|seen| seen.lock().expect("locked").clone());
        all.collect()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, seen: &Mutex<Vec<u8>>, alter: Option<usize>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut seen = seen.lock().expect("locked");
        if let Some(at) = alter.and_then(|at| at.checked_sub(seen.len())) {
            if at < count {
                bytes[at] ^= 0x10;
            }
        }
        seen.extend_from_slice(&bytes[..count]);
        drop(seen);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Turns two nodes, between which rank 0 is led through the relay, until `enough`.
fn drive_through(relay: &Relay, nodes: &mut [Node], mut enough: impl FnMut(&[Node]) -> bool) {
    let addresses = HashMap::from([(0, nodes[0].fabric.addresses()), (1, vec![relay.address])]);
    while !enough(nodes) {
        let mut moved = false;
        for node in &mut *nodes {
            moved |= node.turn();
            answer_lookups(node, &addresses);
        }
        if !moved {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    }
}

/// Sends both ways, short and long, through a relay, and gives what that has seen.
fn overheard(link: Link) -> Vec<u8> {
    let job = Job::new(link, 2, seed("overheard"));
    let mut nodes = job.start_all();
    let relay = Relay::to(nodes[1].fabric.addresses()[0], None);
    let long = 5 * STREAM_READ_BYTES;
    nodes[0].send(1, 1, b"the first thing that is said");
    nodes[0].send(1, 2, &pattern(0, 2, long));
    drive_through(&relay, &mut nodes, |nodes| nodes[1].sink.arrived.len() == 2);
    nodes[1].send(0, 3, b"what is said in return");
    nodes[1].send(0, 4, &pattern(1, 4, long));
    drive_through(&relay, &mut nodes, |nodes| nodes[0].sink.arrived.len() == 2);
    assert_eq!(nodes[1].sink.arrived[1].bytes, pattern(0, 2, long));
    assert_eq!(nodes[0].sink.arrived[1].bytes, pattern(1, 4, long));
    relay.seen()
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[test]
fn nothing_that_is_said_can_be_read_on_the_way() {
    let _watchdog = watchdog("overheard");
    let said = [
        b"the first thing that is said".to_vec(),
        b"what is said in return".to_vec(),
        pattern(0, 2, 5 * STREAM_READ_BYTES)[70_000..70_032].to_vec(),
        pattern(1, 4, 100)[..32].to_vec(),
    ];
    let plain = overheard(Link::Tcp);
    assert!(
        said.iter().all(|part| contains(&plain, part)),
        "the relay hears"
    );
    let sealed = overheard(Link::Sealed);
    assert!(sealed.len() > plain.len(), "it went through the relay");
    assert!(!said.iter().any(|part| contains(&sealed, part)));
    // Nor is one connection like another: keys are new each time.
    let again = overheard(Link::Sealed);
    let tail = |all: &[u8]| all[all.len() - 64..].to_vec();
    assert_ne!(tail(&again), tail(&sealed));
}

/// Whatever byte behind the handshake is altered, the receiver names the link, and takes nothing that is wrong.
#[test]
fn what_was_altered_on_the_way_is_an_error_and_never_data() {
    let _watchdog = watchdog("altered");
    // Behind the greeting with its key and the sealed proof: lengths, text and tags, near and far.
    let first = 96 + 48 + 50;
    for at in [0, 1, 2, 40, 100, 20_000, 59_999].map(|at| first + at) {
        let job = Job::new(Link::Sealed, 2, seed("altered"));
        let mut nodes = job.start_all();
        let relay = Relay::to(nodes[1].fabric.addresses()[0], Some(at));
        for tag in 0..3 {
            nodes[0].send(1, tag, &pattern(0, tag, 20_000));
        }
        // A length that was made larger takes in what follows.
        nodes[0].send(1, 3, &pattern(0, 3, 60_000));
        drive_through(&relay, &mut nodes, |nodes| nodes[1].lost(0).is_some());
        let Some(Lost::Wire(text)) = nodes[1].lost(0) else {
            panic!("byte {at}: {:?}", nodes[1].lost(0));
        };
        assert!(text.contains("altered on its way"), "{text}");
        for frame in &nodes[1].sink.arrived {
            assert!(frame.bytes == pattern(0, frame.tag, frame.bytes.len()));
        }
        assert!(nodes[1].sink.arrived.len() < 4);
    }
}

#[test]
fn an_altered_handshake_opens_nothing() {
    let _watchdog = watchdog("altered_handshake");
    // In the greeting, in the key that goes with it, in the proof.
    for at in [20, 96 + 5, 96 + 47, 96 + 48 + 20] {
        let job = Job::new(Link::Sealed, 2, seed("altered_handshake"));
        let mut nodes = job.start_all();
        let relay = Relay::to(nodes[1].fabric.addresses()[0], Some(at));
        nodes[0].send(1, 1, b"to the right one");
        // The relay alters its first bytes only: the next attempt comes through.
        drive_through(&relay, &mut nodes, |nodes| {
            !nodes[1].sink.arrived.is_empty() || !nodes[0].sink.lost.is_empty()
        });
        let arrived = nodes[1].sink.arrived.iter();
        let mut arrived = arrived.map(|frame| frame.bytes.as_slice());
        assert!(
            arrived.all(|bytes| bytes == b"to the right one"),
            "byte {at}"
        );
    }
}

#[test]
fn ranks_that_disagree_about_encryption_are_told_so() {
    let _watchdog = watchdog("disagree");
    for first in [true, false] {
        let job = Job::new(Link::Tcp, 2, seed("disagree"));
        let mut nodes: Vec<Node> = [(0, first), (1, !first)]
            .map(|(rank, encrypt)| {
                let mut config = job.config(rank);
                config.encrypt = encrypt;
                let (fabric, waiter) = Fabric::sockets(config).expect("listens");
                Node::new(fabric, waiter)
            })
            .into();
        nodes[0].send(1, 1, b"do you understand me?");
        drive(&mut nodes, |nodes| nodes[0].lost(1).is_some());
        let Some(Lost::Authentication(text)) = nodes[0].lost(1) else {
            panic!("{:?}", nodes[0].lost(1));
        };
        assert!(text.contains("--encrypt"), "{text}");
        assert!(nodes[1].sink.arrived.is_empty());
    }
}
