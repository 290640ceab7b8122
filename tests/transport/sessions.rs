//! A TCP connection that breaks between living ranks is no failure: nothing is lost, doubled or reordered.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use phalanx::base::ids::Peer;
use phalanx::transport::{Fabric, Faults, Lost};
use phalanx::wire::handshake::{
    CHALLENGE_BYTES, HELLO_BYTES, Identity, Initiator, InitiatorError, Opening, PROOF_BYTES,
    Refusal,
};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::rig::{
    Job, Link, Node, answer_lookups, drive, drive_with, pattern, random, seed, watchdog,
};

/// Far longer than any test may take.
const FOREVER: Duration = Duration::from_secs(3600);

fn job(link: Link, size: u32, seed: u64) -> Job {
    let mut job = Job::new(link, size, seed);
    job.reconnect = FOREVER;
    job
}

fn start(job: &Job, faults: impl Fn(u32) -> Option<Faults>) -> Vec<Node> {
    (0..job.size)
        .map(|rank| job.start_with(rank, faults(rank)))
        .collect()
}

/// What one rank sends to another: tags count up, lengths are random.
struct Traffic {
    lengths: HashMap<(u32, u32), Vec<usize>>,
}

impl Traffic {
    fn new() -> Self {
        Self {
            lengths: HashMap::new(),
        }
    }

    fn send(&mut self, nodes: &mut [Node], from: u32, to: u32, length: usize, lend: bool) {
        let lengths = self.lengths.entry((from, to)).or_default();
        let tag = (u64::from(to) << 32) | lengths.len() as u64;
        lengths.push(length);
        let bytes = pattern(from, tag, length);
        if lend && length > 0 {
            nodes[from as usize].lend(to, tag, bytes);
        } else {
            nodes[from as usize].send(to, tag, &bytes);
        }
    }

    fn send_any(&mut self, nodes: &mut [Node], random: &mut SmallRng) {
        let size = nodes.len() as u32;
        let from = random.random_range(0..size);
        let to = (from + random.random_range(1..size)) % size;
        let most = [0, 8, 100, 3000, 70_000, 400_000][random.random_range(0..6)];
        let length = random.random_range(0..=most);
        self.send(nodes, from, to, length, random.random());
    }

    fn has_arrived(&self, nodes: &[Node]) -> bool {
        nodes.iter().all(|node| {
            let sent = self.lengths.iter();
            let mine = sent.filter(|((_, to), _)| *to == node.rank().0);
            node.sink.arrived.len() >= mine.map(|(_, lengths)| lengths.len()).sum()
        })
    }

    fn is_given_back(&self, nodes: &[Node]) -> bool {
        nodes.iter().all(|node| {
            let lent = node.sink.lent.iter();
            let back = &node.sink.given_back;
            lent.filter(|(tag, bytes)| back.get(tag) != Some(&(bytes.len() as u64)))
                .count()
                == 0
        })
    }

    /// Each frame once, in order, bit by bit.
    fn check(&self, nodes: &[Node]) {
        for node in nodes {
            let to = node.rank().0;
            let mut next = HashMap::<u32, usize>::new();
            for frame in &node.sink.arrived {
                let from = frame.from.0;
                let index = next.entry(from).or_default();
                let tag = (u64::from(to) << 32) | *index as u64;
                assert_eq!(frame.tag, tag, "from {from} to {to}: order");
                let length = self.lengths[&(from, to)][*index];
                assert!(frame.bytes == pattern(from, tag, length), "{from} to {to}");
                *index += 1;
            }
            for ((from, _), lengths) in self.lengths.iter().filter(|((_, t), _)| *t == to) {
                assert_eq!(next.get(from), Some(&lengths.len()), "{from} to {to}");
            }
        }
    }
}

fn resets(seed: u64, within: u64, pieces: usize) -> impl Fn(u32) -> Option<Faults> {
    move |rank| {
        Some(Faults {
            seed: seed ^ u64::from(rank) << 8,
            piece_bytes_max: pieces,
            pause_percent: 10,
            reset_within_bytes: Some(within),
            ..Faults::default()
        })
    }
}

#[test]
fn random_resets_lose_nothing() {
    let _watchdog = watchdog("random_resets");
    let seed = seed("random_resets");
    for (round, (link, within, pieces, frames)) in (0..).zip([
        (Link::Tcp, 700, 0, 30),
        (Link::Tcp, 5_000, 100, 40),
        (Link::Tcp, 60_000, 0, 300),
        (Link::Tcp, 900_000, 40_000, 400),
        (Link::Mixed, 200_000, 0, 300),
        (Link::Sealed, 200_000, 0, 300),
    ]) {
        let seed = seed ^ round;
        let mut random = random(seed);
        let mut nodes = start(&job(link, 3, seed), resets(seed, within, pieces));
        let mut traffic = Traffic::new();
        for _ in 0..frames {
            if random.random_ratio(1, 4) {
                nodes[random.random_range(0..3)].fabric.hold();
            }
            if within < 10_000 {
                let (from, length) = (random.random_range(0..3), random.random_range(0..900));
                traffic.send(&mut nodes, from, (from + 1) % 3, length, random.random());
            } else {
                traffic.send_any(&mut nodes, &mut random);
            }
            let index = random.random_range(0..3);
            nodes[index].release();
            nodes[index].turn();
        }
        nodes.iter_mut().for_each(Node::release);
        drive(&mut nodes, |nodes| {
            traffic.has_arrived(nodes) && traffic.is_given_back(nodes)
        });
        traffic.check(&nodes);
        assert!(nodes.iter().all(|node| node.sink.lost.is_empty()));
    }
}

#[test]
fn a_connection_may_break_at_any_byte_on_either_side() {
    let _watchdog = watchdog("any_byte");
    let seed = seed("any_byte");
    for breaks in 0..2 {
        for bytes in (0..700).step_by(if breaks == 0 { 1 } else { 3 }) {
            let job = job(Link::Tcp, 2, seed);
            let faults = |rank| {
                (rank == breaks).then(|| Faults {
                    break_after_bytes: Some(bytes),
                    broken_connections_max: Some(1),
                    ..Faults::default()
                })
            };
            let mut nodes = start(&job, faults);
            let mut traffic = Traffic::new();
            for length in [0, 30, 90, 200] {
                traffic.send(&mut nodes, 0, 1, length, length == 90);
                traffic.send(&mut nodes, 1, 0, length, length == 200);
                nodes[0].turn();
            }
            drive(&mut nodes, |nodes| {
                traffic.has_arrived(nodes) && traffic.is_given_back(nodes)
            });
            traffic.check(&nodes);
            assert!(nodes.iter().all(|node| node.sink.lost.is_empty()));
        }
    }
}

#[test]
fn what_an_encrypted_connection_took_before_it_broke_counts() {
    let _watchdog = watchdog("sealed_breaks");
    let seed = seed("sealed_breaks");
    let mut random = random(seed);
    for round in 0..80 {
        // Several pieces are sealed and written one after the other in one call.
        let bytes = random.random_range(0..[1_000, 300_000][round % 2]);
        let resets: bool = random.random();
        let faults = |rank| {
            (rank == 0).then(|| Faults {
                seed,
                break_after_bytes: (!resets).then_some(bytes),
                reset_within_bytes: resets.then_some(bytes),
                broken_connections_max: Some(2),
                ..Faults::default()
            })
        };
        let mut nodes = start(&job(Link::Sealed, 2, seed), faults);
        let mut traffic = Traffic::new();
        for (length, lend) in [(10, false), (200_000, false), (400_000, true), (30, false)] {
            traffic.send(&mut nodes, 0, 1, length, lend);
            traffic.send(&mut nodes, 1, 0, length / 7, lend);
        }
        drive(&mut nodes, |nodes| {
            traffic.has_arrived(nodes) && traffic.is_given_back(nodes)
        });
        traffic.check(&nodes);
        assert!(nodes.iter().all(|node| node.sink.lost.is_empty()));
    }
}

#[test]
fn a_lost_acknowledgement_gives_the_payload_back_later_and_doubles_nothing() {
    let _watchdog = watchdog("lost_acknowledgement");
    // The acceptor may answer the greeting, and write no more; or a part of an acknowledgement.
    for bytes in [CHALLENGE_BYTES as u64, CHALLENGE_BYTES as u64 + 20] {
        let job = job(Link::Tcp, 2, seed("lost_acknowledgement"));
        let faults = |rank| {
            (rank == 1).then(|| Faults {
                break_after_bytes: Some(bytes),
                broken_connections_max: Some(1),
                ..Faults::default()
            })
        };
        let mut nodes = start(&job, faults);
        let mut traffic = Traffic::new();
        traffic.send(&mut nodes, 0, 1, 3_000_000, true);
        traffic.send(&mut nodes, 0, 1, 10, false);
        drive(&mut nodes, |nodes| {
            traffic.has_arrived(nodes) && traffic.is_given_back(nodes)
        });
        traffic.check(&nodes);
    }
}

#[test]
fn a_farewell_among_resets_loses_nothing() {
    let _watchdog = watchdog("farewell_resets");
    let seed = seed("farewell_resets");
    for round in 0..60 {
        let seed = seed ^ round;
        let mut random = random(seed);
        let within = [500, 3000, 50_000, 1_000_000][random.random_range(0..4)];
        // What a host has acknowledged its ranks can read: no network takes it back, so that whoever leaves does
        // not wait for them. The fault does where it strikes, therefore it strikes the one who leaves.
        let faults = |rank| resets(seed, within, 0)(rank).filter(|_| rank == 0);
        let mut nodes = start(&job(Link::Tcp, 3, seed), faults);
        let mut traffic = Traffic::new();
        for _ in 0..random.random_range(1..40) {
            let (to, length) = (random.random_range(1..3), random.random_range(0..2000));
            traffic.send(&mut nodes, 0, to, length, random.random());
            if random.random() {
                nodes[0].turn();
            }
        }
        let first = &mut nodes[0];
        first.fabric.farewell(&mut first.sink);
        drive(&mut nodes, |nodes| {
            let told = |to: u32| {
                !traffic.lengths.contains_key(&(0, to)) || nodes[to as usize].lost(0).is_some()
            };
            nodes[0].fabric.drained() && told(1) && told(2)
        });
        traffic.check(&nodes);
        for node in &nodes[1..] {
            let lost = node.lost(0);
            assert!(lost.is_none_or(|why| *why == Lost::Closed), "{lost:?}");
        }
    }
}

#[test]
fn all_may_say_farewell_among_resets() {
    let _watchdog = watchdog("all_farewell_resets");
    let seed = seed("all_farewell_resets");
    for round in 0..30 {
        let seed = seed ^ round;
        let mut random = random(seed);
        let within = [500, 3000, 50_000][random.random_range(0..3)];
        let mut nodes = start(&job(Link::Tcp, 4, seed), resets(seed, within, 0));
        let mut traffic = Traffic::new();
        for _ in 0..random.random_range(1..40) {
            let from = random.random_range(0..4);
            let length = random.random_range(0..2000);
            traffic.send(&mut nodes, from, (from + 1) % 4, length, random.random());
        }
        drive(&mut nodes, |nodes| traffic.has_arrived(nodes));
        traffic.check(&nodes);
        for node in &mut nodes {
            node.fabric.farewell(&mut node.sink);
        }
        drive(&mut nodes, |nodes| {
            nodes.iter().all(|node| node.fabric.drained())
        });
        assert!(traffic.is_given_back(&nodes));
    }
}

#[test]
fn a_peer_that_computes_for_longer_than_the_window_is_not_lost() {
    let _watchdog = watchdog("computes");
    let mut job = Job::new(Link::Tcp, 2, seed("computes"));
    job.reconnect = Duration::from_millis(200);
    let faults = |rank| {
        (rank == 0).then(|| Faults {
            break_after_bytes: Some(1000),
            broken_connections_max: Some(1),
            ..Faults::default()
        })
    };
    let mut nodes = start(&job, faults);
    let mut traffic = Traffic::new();
    traffic.send(&mut nodes, 0, 1, 100, false);
    drive(&mut nodes, |nodes| traffic.has_arrived(nodes));
    traffic.send(&mut nodes, 0, 1, 100_000, true);
    let addresses = HashMap::from([(1, nodes[1].fabric.addresses())]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(900) {
        nodes[0].turn();
        answer_lookups(&mut nodes[0], &addresses);
        std::thread::sleep(Duration::from_millis(1));
    }
    drive(&mut nodes, |nodes| {
        traffic.has_arrived(nodes) && traffic.is_given_back(nodes)
    });
    traffic.check(&nodes);
    assert!(nodes.iter().all(|node| node.sink.lost.is_empty()));
}

#[test]
fn the_end_of_the_window_says_what_was_tried_for_how_long() {
    let _watchdog = watchdog("window");
    let mut nodes = Job::new(Link::Tcp, 2, seed("window")).start_all();
    let mut traffic = Traffic::new();
    traffic.send(&mut nodes, 0, 1, 100, false);
    drive(&mut nodes, |nodes| traffic.has_arrived(nodes));
    let addresses = HashMap::from([(1, nodes[1].fabric.addresses())]);
    drop(nodes.pop());
    nodes[0].lend(1, 99, pattern(0, 99, 500_000));
    drive_with(&mut nodes, &addresses, |nodes| nodes[0].lost(1).is_some());
    let Some(Lost::Broken(text)) = nodes[0].lost(1) else {
        panic!("{:?}", nodes[0].lost(1));
    };
    assert!(text.contains("could not be made again in 0."), "{text}");
    assert!(text.contains(&addresses[&1][0].to_string()), "{text}");
    assert_eq!(nodes[0].sink.given_back[&99], 500_000);
}

#[test]
fn the_launchers_word_ends_all_attempts() {
    let _watchdog = watchdog("word");
    for asks in [false, true] {
        let mut nodes = start(&job(Link::Tcp, 2, seed("word")), |_| None);
        let mut traffic = Traffic::new();
        traffic.send(&mut nodes, 0, 1, 100, false);
        traffic.send(&mut nodes, 1, 0, 100, false);
        drive(&mut nodes, |nodes| traffic.has_arrived(nodes));
        let addresses = HashMap::from([(1, nodes[1].fabric.addresses())]);
        drop(nodes.pop());
        // Told of the break, so that it can ask who has died.
        drive_with(&mut nodes, &addresses, |nodes| {
            nodes[0].sink.broken == [Peer(1)]
        });
        assert!(nodes[0].sink.lost.is_empty());
        if asks {
            nodes[0].send(1, 9, b"anybody?");
            assert!(nodes[0].fabric.unsettled() == [Peer(1)]);
        }
        nodes[0].fabric.gone(Peer(1), "killed by signal 9");
        drive(&mut nodes, |nodes| nodes[0].lost(1).is_some());
        let why = Lost::Broken("killed by signal 9".into());
        assert_eq!(nodes[0].lost(1), Some(&why));
        assert!(nodes[0].fabric.unsettled().is_empty());
    }
}

#[test]
fn only_who_was_connected_takes_a_link_up_again() {
    let _watchdog = watchdog("takes_up");
    let job = job(Link::Tcp, 2, seed("takes_up"));
    let mut nodes = start(&job, |_| None);
    let mut traffic = Traffic::new();
    traffic.send(&mut nodes, 1, 0, 5000, false);
    traffic.send(&mut nodes, 0, 1, 500, false);
    drive(&mut nodes, |nodes| traffic.has_arrived(nodes));
    let me = |secret| Identity {
        job: job.id,
        secret,
        epoch: job.epoch,
        rank: Peer(1),
        size: 2,
    };
    let opening = |attempt, connections, received| Opening {
        nonce: [7; 16],
        attempt,
        connections,
        received,
        encrypted: false,
    };
    let ask = |nodes: &mut [Node], secret, opening: &Opening| {
        let (initiator, hello) = Initiator::new(&me(secret), Peer(0), opening);
        let answer = ask(nodes, &hello);
        <&[u8; CHALLENGE_BYTES]>::try_from(&answer[..])
            .ok()
            .map(|answer| initiator.answer(answer))
    };
    let right = || job.secret.clone();
    let refused = |why| Some(Err(InitiatorError::Refused(why)));
    let mut wrong = right();
    wrong.0[5] ^= 1;
    // It knows the connection, but not the secret.
    assert_eq!(ask(&mut nodes, wrong, &opening(90, 1, 556)), None);
    // It claims what was never sent.
    let greedy = ask(&mut nodes, right(), &opening(91, 1, 9_000_000));
    assert_eq!(greedy, refused(Refusal::Session));
    // It has never heard of the connection that is open.
    let early = ask(&mut nodes, right(), &opening(92, 0, 0));
    assert_eq!(early, refused(Refusal::Duplicate));
    traffic.send(&mut nodes, 1, 0, 50_000, true);
    traffic.send(&mut nodes, 0, 1, 50_000, true);
    drive(&mut nodes, |nodes| traffic.has_arrived(nodes));
    traffic.check(&nodes);
    // The rank itself: the open connection gives way, and what was received is said.
    let wanted = ask(&mut nodes, right(), &opening(93, 1, 556));
    let wanted = wanted.expect("an answer").expect("wanted");
    assert_eq!((wanted.number, wanted.proof.len()), (2, PROOF_BYTES));
    assert_eq!(wanted.received, 5000 + 50_000 + 2 * 56);
    // It has shown no proof and goes: the rank that lives takes its place again.
    traffic.send(&mut nodes, 1, 0, 70_000, false);
    traffic.send(&mut nodes, 0, 1, 70_000, false);
    drive(&mut nodes, |nodes| traffic.has_arrived(nodes));
    traffic.check(&nodes);
    assert!(nodes.iter().all(|node| node.sink.lost.is_empty()));
}

/// Sends a greeting to rank 0, and reads the answer until the connection is closed or it is complete.
fn ask(nodes: &mut [Node], hello: &[u8; HELLO_BYTES]) -> Vec<u8> {
    let mut socket = TcpStream::connect(nodes[0].fabric.addresses()[0]).expect("connects");
    socket.write_all(hello).expect("sent");
    socket.set_nonblocking(true).expect("a socket");
    let mut answer = Vec::new();
    loop {
        nodes[0].turn();
        let mut bytes = [0; CHALLENGE_BYTES];
        match socket.read(&mut bytes) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return answer,
        }
        if answer.len() == CHALLENGE_BYTES {
            return answer;
        }
    }
}

#[test]
fn a_connection_that_always_breaks_at_once_is_lost_after_the_window() {
    let _watchdog = watchdog("flaps");
    let mut job = Job::new(Link::Tcp, 2, seed("flaps"));
    job.reconnect = Duration::from_millis(300);
    let mut config = job.config(0);
    // The greeting goes through, and never a byte more.
    config.faults = Some(Faults {
        break_after_bytes: Some((HELLO_BYTES + PROOF_BYTES) as u64),
        ..Faults::default()
    });
    let (fabric, waiter) = Fabric::sockets(config).expect("listens");
    let mut nodes = vec![Node::new(fabric, waiter), job.start(1)];
    nodes[0].send(1, 1, b"hello");
    drive(&mut nodes, |nodes| nodes[0].lost(1).is_some());
    assert!(matches!(nodes[0].lost(1), Some(Lost::Broken(_))));
}
