//! Whoever does not belong to the job is kept out, and disturbs nobody.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use phalanx::base::ids::{Epoch, JobId, Peer};
use phalanx::limits::{HANDSHAKE_MILLIS_MAX, HANDSHAKES_MAX};
use phalanx::transport::{Fabric, Lost};
use phalanx::wire::control::Secret;
use phalanx::wire::handshake::{
    CHALLENGE_BYTES, HELLO_BYTES, Identity, Initiator, InitiatorError, Opening, Refusal,
};
use rand::Rng;

use crate::rig::{Job, Link, Node, drive, random, seed, watchdog};

fn identity(job: &Job, rank: u32) -> Identity {
    Identity {
        job: job.id,
        secret: job.secret.clone(),
        epoch: Epoch(0),
        rank: Peer(rank),
        size: job.size,
    }
}

fn knock(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("a timeout");
    // It may be closed in our face.
    let _ = socket.write_all(bytes);
    socket
}

/// Turns the nodes until the knocking side has an answer, or the end of the stream.
fn answer(nodes: &mut [Node], socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    drive(nodes, |_| {
        let mut bytes = [0; 200];
        match socket.read(&mut bytes) {
            Ok(0) => true,
            Ok(count) => {
                all.extend_from_slice(&bytes[..count]);
                all.len() >= CHALLENGE_BYTES
            }
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        }
    });
    all
}

fn still_works(nodes: &mut [Node]) {
    let before = nodes[1].sink.arrived.len();
    nodes[0].send(1, 1, b"not disturbed");
    drive(nodes, |nodes| nodes[1].sink.arrived.len() > before);
    assert!(nodes.iter().all(|node| node.sink.lost.is_empty()));
}

#[test]
fn garbage_and_wrong_secrets_get_no_answer() {
    let _watchdog = watchdog("garbage");
    let seed = seed("garbage");
    let mut random = random(seed);
    let job = Job::new(Link::Tcp, 3, seed);
    let mut nodes = job.start_all();
    let address = nodes[1].fabric.addresses()[0];
    for round in 0..50 {
        let mut bytes = vec![0; random.random_range(HELLO_BYTES..2000)];
        random.fill(&mut bytes[..]);
        if round % 2 == 0 {
            bytes[..8].copy_from_slice(b"PHALANX\n");
            bytes[8..12].copy_from_slice(&phalanx::wire::control::PROTOCOL.to_le_bytes());
        }
        let mut socket = knock(address, &bytes);
        assert_eq!(answer(&mut nodes, &mut socket), b"");
    }
    let mut wrong = identity(&job, 2);
    wrong.secret = Secret([1; 32]);
    let (_, hello) = Initiator::new(&wrong, Peer(1), &Opening::first([5; 16]));
    let mut socket = knock(address, &hello);
    assert_eq!(answer(&mut nodes, &mut socket), b"");
    still_works(&mut nodes);
}

#[test]
fn members_of_another_life_job_or_rank_are_told_why() {
    let _watchdog = watchdog("told_why");
    let job = Job::new(Link::Tcp, 3, seed("told_why"));
    let mut nodes = job.start_all();
    let address = nodes[1].fabric.addresses()[0];
    let me = identity(&job, 2);
    let cases = [
        (
            Identity {
                epoch: Epoch(7),
                ..me.clone()
            },
            1,
            Refusal::Epoch,
        ),
        (
            Identity {
                job: JobId(7),
                ..me.clone()
            },
            1,
            Refusal::Job,
        ),
        (
            Identity {
                rank: Peer(9),
                ..me.clone()
            },
            1,
            Refusal::Rank,
        ),
        (me, 0, Refusal::Rank),
    ];
    for (who, to, why) in cases {
        let (initiator, hello) = Initiator::new(&who, Peer(to), &Opening::first([5; 16]));
        let mut socket = knock(address, &hello);
        let answer = answer(&mut nodes, &mut socket);
        let answer = answer.as_slice().try_into().expect("a challenge");
        assert_eq!(initiator.answer(answer), Err(InitiatorError::Refused(why)));
    }
    still_works(&mut nodes);
}

#[test]
fn another_version_is_told_so() {
    let _watchdog = watchdog("version");
    let job = Job::new(Link::Tcp, 3, seed("version"));
    let mut nodes = job.start_all();
    let (_, mut hello) = Initiator::new(&identity(&job, 2), Peer(1), &Opening::first([5; 16]));
    hello[8] ^= 0x40;
    let mut socket = knock(nodes[1].fabric.addresses()[0], &hello);
    let answer = answer(&mut nodes, &mut socket);
    assert_eq!(
        (answer.len(), answer[4]),
        (CHALLENGE_BYTES, Refusal::Version as u8)
    );
    still_works(&mut nodes);
}

#[test]
fn a_replayed_greeting_proves_nothing() {
    let _watchdog = watchdog("replay");
    let job = Job::new(Link::Tcp, 3, seed("replay"));
    let mut nodes = job.start_all();
    let (_, hello) = Initiator::new(&identity(&job, 0), Peer(1), &Opening::first([5; 16]));
    let mut bytes = hello.to_vec();
    // A proof that is none, and a frame behind it.
    bytes.resize(HELLO_BYTES + 32, 0);
    bytes.extend_from_slice(&crate::rig::eager(Peer(0), 666, 0).encode());
    let mut socket = knock(nodes[1].fabric.addresses()[0], &bytes);
    assert_eq!(answer(&mut nodes, &mut socket).len(), CHALLENGE_BYTES);
    still_works(&mut nodes);
    assert!(nodes[1].sink.arrived.iter().all(|frame| frame.tag == 1));
}

#[test]
fn a_flood_of_silent_connections_is_bounded_and_members_get_through() {
    let _watchdog = watchdog("flood");
    let job = Job::new(Link::Tcp, 2, seed("flood"));
    let mut nodes = job.start_all();
    let address = nodes[1].fabric.addresses()[0];
    let mut flood: Vec<TcpStream> = Vec::new();
    for _ in 0..HANDSHAKES_MAX * 3 {
        flood.push(knock(address, b"PHALANX\n"));
        nodes[1].turn();
    }
    still_works(&mut nodes);
    // The oldest have been driven out, and the rest goes when its time is over.
    let closed = |socket: &mut TcpStream| {
        !matches!(socket.read(&mut [0]), Err(error) if matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ))
    };
    let open = flood
        .iter_mut()
        .map(closed)
        .filter(|closed| !closed)
        .count();
    assert!(open <= HANDSHAKES_MAX, "{open} are still open");
    let until = Instant::now() + Duration::from_millis(HANDSHAKE_MILLIS_MAX + 100);
    drive(&mut nodes, |_| Instant::now() > until);
    assert!(flood.iter_mut().all(closed));
    still_works(&mut nodes);
}

#[test]
fn a_peer_with_another_secret_is_not_one_of_us() {
    let _watchdog = watchdog("another_secret");
    for link in [Link::Tcp, Link::Sealed] {
        let job = Job::new(link, 2, seed("another_secret"));
        let mut config = job.config(0);
        config.secret = Secret([9; 32]);
        let (fabric, waiter) = Fabric::sockets(config).expect("listens");
        let mut nodes = vec![Node::new(fabric, waiter), job.start(1)];
        nodes[0].send(1, 1, b"let me in");
        drive(&mut nodes, |nodes| nodes[0].lost(1).is_some());
        assert!(matches!(nodes[0].lost(1), Some(Lost::Authentication(_))));
        assert!(nodes[1].sink.lost.is_empty() && nodes[1].sink.arrived.is_empty());
    }
}

#[test]
fn nobody_at_the_address_is_told_after_a_while() {
    let _watchdog = watchdog("nobody");
    let job = Job::new(Link::Tcp, 2, seed("nobody"));
    let mut node = job.start(0);
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        listener.local_addr().expect("bound")
    };
    node.send(1, 1, b"anybody?");
    let addresses = HashMap::from([(1, vec![nobody, nobody])]);
    while node.sink.lost.is_empty() {
        if !node.turn() {
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::rig::answer_lookups(&mut node, &addresses);
    }
    assert!(
        matches!(node.lost(1), Some(Lost::Unreachable(_))),
        "{:?}",
        node.lost(1)
    );
}

/// Somebody who owns the peer's address in our network, and what he does with a connection.
fn foreigner(does: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || listener.incoming().flatten().for_each(does));
    address
}

#[test]
fn the_right_peer_is_found_among_strangers() {
    let _watchdog = watchdog("among_strangers");
    let job = Job::new(Link::Tcp, 2, seed("among_strangers"));
    let mut nodes = job.start_all();
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        listener.local_addr().expect("bound")
    };
    let (keep, _kept) = std::sync::mpsc::channel();
    let silent = foreigner(move |socket| {
        let _ = keep.send(socket);
    });
    let polite = foreigner(|mut socket| {
        let _ = socket.write_all(&[b'?'; 4 * CHALLENGE_BYTES]);
    });
    let rude = foreigner(drop);
    let mut other = Job::new(Link::Tcp, 2, 1).start(1);
    let mut addresses = vec![nobody, silent, polite, rude];
    addresses.extend(other.fabric.addresses());
    addresses.extend(nodes[1].fabric.addresses());
    let addresses = HashMap::from([(1, addresses)]);
    nodes[0].send(1, 7, b"to the right one");
    while nodes[1].sink.arrived.is_empty() {
        for node in nodes.iter_mut().chain([&mut other]) {
            node.turn();
            crate::rig::answer_lookups(node, &addresses);
        }
    }
    assert_eq!(nodes[1].sink.arrived[0].bytes, b"to the right one");
    still_works(&mut nodes);
    assert!(other.sink.arrived.is_empty());
}

#[test]
fn each_address_is_named_with_its_own_error() {
    let _watchdog = watchdog("own_error");
    let job = Job::new(Link::Tcp, 2, seed("own_error"));
    let mut node = job.start(0);
    let polite = foreigner(|mut socket| {
        let _ = socket.write_all(&[b'?'; 4 * CHALLENGE_BYTES]);
    });
    let rude = foreigner(drop);
    node.send(1, 1, b"anybody?");
    let addresses = HashMap::from([(1, vec![polite, rude])]);
    while node.sink.lost.is_empty() {
        if !node.turn() {
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::rig::answer_lookups(&mut node, &addresses);
    }
    let Some(Lost::Authentication(text)) = node.lost(1) else {
        panic!("{:?}", node.lost(1));
    };
    for (address, needle) in [(polite, "makes no sense"), (rude, "without an answer")] {
        let part = text
            .split("; ")
            .find(|part| part.starts_with(&address.to_string()));
        assert!(part.is_some_and(|part| part.contains(needle)), "{text}");
    }
}

#[test]
fn a_recorded_greeting_gets_no_answer() {
    let _watchdog = watchdog("recorded");
    let job = Job::new(Link::Tcp, 3, seed("recorded"));
    let mut nodes = job.start_all();
    let address = nodes[1].fabric.addresses()[0];
    let me = identity(&job, 2);
    let (_, first) = Initiator::new(&me, Peer(1), &Opening::first([5; 16]));
    let mut socket = knock(address, &first);
    assert_eq!(answer(&mut nodes, &mut socket).len(), CHALLENGE_BYTES);
    let mut again = knock(address, &first);
    assert_eq!(answer(&mut nodes, &mut again), b"");
    let opening = Opening {
        attempt: 9,
        ..Opening::first([6; 16])
    };
    let (_, later) = Initiator::new(&me, Peer(1), &opening);
    let mut socket = knock(address, &later);
    assert_eq!(answer(&mut nodes, &mut socket).len(), CHALLENGE_BYTES);
    let (_, earlier) = Initiator::new(&me, Peer(1), &Opening::first([7; 16]));
    let mut early = knock(address, &earlier);
    assert_eq!(answer(&mut nodes, &mut early), b"");
    still_works(&mut nodes);
}

#[test]
fn ports_come_from_the_range() {
    let job = Job::new(Link::Tcp, 2, seed("ports"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = taken.local_addr().expect("bound").port();
    let with = |ports| {
        let mut config = job.config(0);
        config.ports = Some(ports);
        Fabric::sockets(config)
    };
    let error = with((port, port)).expect_err("it is taken").to_string();
    assert!(
        error.contains("PHALANX_PORTS") && error.contains(&port.to_string()),
        "{error}"
    );
    drop(taken);
    let (fabric, _) = with((port, port)).expect("it is free");
    assert_eq!(fabric.addresses()[0].port(), port);
}

#[test]
fn a_peer_without_an_address_is_unreachable() {
    let _watchdog = watchdog("no_address");
    let mut node = Job::new(Link::Tcp, 2, seed("no_address")).start(0);
    node.send(1, 1, b"anybody?");
    let addresses = HashMap::from([(1, vec![])]);
    while node.sink.lost.is_empty() {
        node.turn();
        crate::rig::answer_lookups(&mut node, &addresses);
    }
    assert!(
        matches!(node.lost(1), Some(Lost::Unreachable(_))),
        "{:?}",
        node.lost(1)
    );
}
