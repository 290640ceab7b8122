//! Frames arrive whole, once, in order, bit by bit, whatever connects the ranks.

use rand::Rng;

use phalanx::base::ids::{Epoch, Peer};
use phalanx::transport::{Lost, Payload};
use phalanx::wire::header::{Header, Kind};

use crate::rig::{Job, Link, drive, eager, pattern, random, seed, watchdog};

const SIZES: [usize; 16] = [
    0,
    1,
    7,
    8,
    55,
    56,
    57,
    511,
    512,
    4096,
    65_480,
    65_536,
    65_537,
    300_001,
    1 << 20,
    3_333_333,
];

#[test]
fn every_size_arrives_bit_by_bit_borrowed_and_lent() {
    let _watchdog = watchdog("every_size");
    for link in Link::ALL {
        let mut nodes = Job::new(link, 2, seed("every_size")).start_all();
        for (index, size) in SIZES.into_iter().enumerate() {
            let tag = index as u64;
            nodes[0].send(1, tag, &pattern(0, tag, size));
            nodes[1].lend(0, 100 + tag, pattern(1, 100 + tag, size.max(1)));
        }
        // Over TCP a long loan comes back when the peer has acknowledged it.
        drive(&mut nodes, |nodes| {
            let back: u64 = nodes[1].sink.given_back.values().sum();
            back == SIZES.iter().map(|size| *size.max(&1) as u64).sum()
                && nodes
                    .iter()
                    .all(|node| node.sink.arrived.len() == SIZES.len())
        });
        for (index, size) in SIZES.into_iter().enumerate() {
            let tag = index as u64;
            let one = nodes[1].sink.arrived.pop_front().expect("counted");
            assert_eq!((one.tag, one.from), (tag, Peer(0)), "{link:?}");
            assert!(one.bytes == pattern(0, tag, size), "{link:?} {size}");
            let other = nodes[0].sink.arrived.pop_front().expect("counted");
            assert_eq!(other.tag, 100 + tag, "{link:?}");
            assert!(
                other.bytes == pattern(1, 100 + tag, size.max(1)),
                "{link:?} {size}"
            );
            assert_eq!(nodes[1].sink.given_back[&(100 + tag)], size.max(1) as u64);
        }
    }
}

#[test]
fn held_frames_leave_together() {
    let _watchdog = watchdog("held");
    for link in [Link::Unix, Link::Tcp, Link::Sealed] {
        let mut nodes = Job::new(link, 2, seed("held")).start_all();
        nodes[0].send(1, 0, &pattern(0, 0, 8)); // Connects the two.
        drive(&mut nodes, |nodes| nodes[1].sink.arrived.len() == 1);
        nodes[0].fabric.hold();
        for tag in 1..40 {
            nodes[0].send(1, tag, &pattern(0, tag, 8));
        }
        nodes[0].lend(1, 40, pattern(0, 40, 100_000));
        for _ in 0..1000 {
            nodes[1].turn();
        }
        assert_eq!(nodes[1].sink.arrived.len(), 1, "{link:?}: held");
        nodes[0].release();
        // The one that held them need not do anything for what the sockets take.
        while nodes[1].sink.arrived.len() < 40 {
            nodes[1].turn();
        }
        drive(&mut nodes, |nodes| nodes[1].sink.arrived.len() == 41);
        for (tag, frame) in (0..).zip(&nodes[1].sink.arrived) {
            let length = if tag == 40 { 100_000 } else { 8 };
            assert_eq!(frame.tag, tag, "{link:?}: order");
            assert!(frame.bytes == pattern(0, tag, length), "{link:?} {tag}");
        }
    }
}

#[test]
fn frames_to_oneself_arrive() {
    let _watchdog = watchdog("oneself");
    for link in Link::ALL {
        let mut nodes = Job::new(link, 2, seed("oneself")).start_all();
        for tag in 0..1000 {
            nodes[0].send(0, tag, &pattern(0, tag, tag as usize));
        }
        nodes[0].lend(0, 1000, pattern(0, 1000, 100_000));
        assert_eq!(nodes[0].sink.given_back[&1000], 100_000);
        drive(&mut nodes, |nodes| nodes[0].sink.arrived.len() == 1001);
        for (tag, frame) in (0..).zip(&nodes[0].sink.arrived) {
            assert_eq!(frame.tag, tag);
            let size = if tag == 1000 { 100_000 } else { tag as usize };
            assert!(frame.bytes == pattern(0, tag, size));
        }
    }
}

#[test]
fn many_peers_at_once_keep_order() {
    let _watchdog = watchdog("many_peers");
    for link in Link::ALL {
        let seed = seed("many_peers");
        let mut random = random(seed);
        let (size, rounds) = (9, 120);
        let mut nodes = Job::new(link, size, seed).start_all();
        let mut tag = 0;
        for _ in 0..rounds {
            for node in nodes.iter_mut().filter(|_| random.random()) {
                node.fabric.hold();
            }
            for from in 0..size {
                for to in 0..size {
                    tag += 1;
                    let length = if random.random_ratio(1, 40) {
                        80_000
                    } else {
                        24
                    };
                    let length = random.random_range(1..=length);
                    let bytes = pattern(from, tag, length);
                    if random.random() {
                        nodes[from as usize].send(to, tag, &bytes);
                    } else {
                        nodes[from as usize].lend(to, tag, bytes);
                    }
                }
            }
            for node in &mut nodes {
                node.release();
                node.turn();
            }
        }
        let all = (rounds * size) as usize;
        drive(&mut nodes, |nodes| {
            nodes.iter().all(|node| node.sink.arrived.len() == all)
        });
        for node in &nodes {
            let mut last = vec![0; size as usize];
            for frame in &node.sink.arrived {
                assert!(frame.tag > last[frame.from.index()], "{link:?}: order");
                last[frame.from.index()] = frame.tag;
                let expected = pattern(frame.from.0, frame.tag, frame.bytes.len());
                assert!(frame.bytes == expected, "{link:?}: bytes");
                assert_eq!(frame.length, frame.bytes.len() as u64);
            }
            assert!(node.sink.lost.is_empty());
        }
    }
}

#[test]
fn what_has_no_space_is_thrown_away_and_the_stream_stays_in_step() {
    let _watchdog = watchdog("truncated");
    for link in Link::ALL {
        for (space, discard) in [
            (Some(0), false),
            (Some(10), false),
            (Some(70_000), false),
            (None, true),
        ] {
            let mut nodes = Job::new(link, 2, seed("truncated")).start_all();
            nodes[1].sink.space_max = space;
            nodes[1].sink.discard = discard;
            for (tag, size) in (0..).zip(SIZES) {
                nodes[0].send(1, tag, &pattern(0, tag, size));
            }
            drive(&mut nodes, |nodes| {
                nodes[1].sink.arrived.len() == SIZES.len()
            });
            for (tag, size) in (0..).zip(SIZES) {
                let frame = nodes[1].sink.arrived.pop_front().expect("counted");
                assert_eq!((frame.tag, frame.length), (tag, size as u64));
                let kept = if discard {
                    0
                } else {
                    size.min(space.unwrap_or(size))
                };
                assert!(
                    frame.bytes == pattern(0, tag, size)[..kept],
                    "{link:?} {space:?} {size}"
                );
            }
        }
    }
}

#[test]
fn simultaneous_connections_leave_one_and_lose_nothing() {
    let _watchdog = watchdog("simultaneous");
    for link in Link::PROCESSES {
        let seed = seed("simultaneous");
        let mut random = random(seed);
        let rounds = if link.is_faulty() { 40 } else { 150 };
        for round in 0..rounds {
            let mut nodes = Job::new(link, 3, seed ^ round).start_all();
            let mut sent = vec![0_usize; 3];
            for tag in 0..30 {
                for from in 0..3_u32 {
                    for to in (0..3).filter(|to| *to != from) {
                        if random.random_ratio(2, 3) {
                            nodes[from as usize].send(to, tag, &tag.to_le_bytes());
                            sent[to as usize] += 1;
                        }
                        if random.random_ratio(1, 4) {
                            nodes[random.random_range(0..3)].turn();
                        }
                    }
                }
            }
            drive(&mut nodes, |nodes| {
                nodes
                    .iter()
                    .zip(&sent)
                    .all(|(node, sent)| node.sink.arrived.len() >= *sent)
            });
            for (node, sent) in nodes.iter().zip(&sent) {
                assert_eq!(node.sink.arrived.len(), *sent, "{link:?} round {round}");
                assert!(node.sink.lost.is_empty(), "{link:?} {:?}", node.sink.lost);
                for from in 0..3 {
                    let tags: Vec<u64> = node
                        .sink
                        .arrived
                        .iter()
                        .filter(|frame| frame.from == Peer(from))
                        .map(|frame| frame.tag)
                        .collect();
                    assert!(tags.is_sorted(), "{link:?} round {round}");
                }
            }
        }
    }
}

#[test]
fn frames_of_an_earlier_life_are_dropped() {
    let _watchdog = watchdog("earlier_life");
    for link in Link::PROCESSES {
        let mut job = Job::new(link, 2, seed("earlier_life"));
        job.epoch = Epoch(5);
        let mut nodes = job.start_all();
        for tag in 0..40 {
            let bytes = pattern(0, tag, 5000);
            let mut header = eager(Peer(0), tag, bytes.len());
            header.epoch = Epoch(if tag % 2 == 0 { 4 } else { 5 });
            let node = &mut nodes[0];
            node.fabric
                .send(Peer(1), &header, Payload::Borrowed(&bytes), &mut node.sink);
        }
        drive(&mut nodes, |nodes| nodes[1].sink.arrived.len() == 20);
        assert!(nodes[1].sink.arrived.iter().all(|frame| frame.tag % 2 == 1));
    }
}

#[test]
fn a_frame_under_another_name_loses_only_its_sender() {
    let _watchdog = watchdog("another_name");
    for link in Link::PROCESSES {
        let mut nodes = Job::new(link, 3, seed("another_name")).start_all();
        nodes[2].send(1, 1, b"right");
        let node = &mut nodes[0];
        let header = Header::new(Kind::Credit, Epoch(0), Peer(2));
        node.fabric
            .send(Peer(1), &header, Payload::None, &mut node.sink);
        drive(&mut nodes, |nodes| {
            nodes[1].lost(0).is_some() && nodes[0].lost(1).is_some()
        });
        assert!(matches!(nodes[1].lost(0), Some(Lost::Wire(_))));
        nodes[2].send(1, 2, b"still there");
        drive(&mut nodes, |nodes| nodes[1].sink.arrived.len() == 2);
        assert!(nodes[1].lost(2).is_none());
    }
}

#[test]
fn a_frame_waits_for_a_peer_that_does_not_listen_yet() {
    let _watchdog = watchdog("late_peer");
    for link in Link::PROCESSES {
        let job = Job::new(link, 2, seed("late_peer"));
        let mut nodes = vec![job.start(0)];
        nodes[0].send(1, 7, b"early");
        for _ in 0..50 {
            nodes[0].turn();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(nodes[0].sink.lost.is_empty());
        nodes.push(job.start(1));
        drive(&mut nodes, |nodes| nodes[1].sink.arrived.len() == 1);
    }
}

#[test]
fn a_withdrawn_loan_is_replaced_by_zeros() {
    // More than twice what shared memory holds.
    const LENGTH: usize = 5_000_000;
    let _watchdog = watchdog("withdrawn");
    for link in Link::PROCESSES {
        let mut nodes = Job::new(link, 2, seed("withdrawn")).start_all();
        nodes[0].lend(1, 1, pattern(0, 1, LENGTH));
        nodes[0].sink.lent.clear();
        nodes[0].send(1, 2, b"next");
        drive(&mut nodes, |nodes| {
            nodes[1].sink.arrived.len() == 2 && nodes[0].sink.given_back.contains_key(&1)
        });
        // Shared memory needs no connection: a part of it was written before.
        let written = if link == Link::Shared { LENGTH / 2 } else { 0 };
        let zeros = &nodes[1].sink.arrived[0].bytes[written..];
        assert!(zeros.iter().all(|byte| *byte == 0), "{link:?}");
        assert_eq!(nodes[1].sink.arrived[0].bytes.len(), LENGTH);
        assert_eq!(nodes[1].sink.arrived[1].bytes, b"next");
        assert_eq!(nodes[0].sink.given_back[&1], LENGTH as u64);
    }
}
