//! Sleeping costs nothing and misses nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use phalanx::base::ids::Peer;
use phalanx::transport::{Fabric, Payload, Waiter};

use crate::rig::{Job, Link, Node, TestSink, answer_lookups, drive, eager, seed, watchdog};

/// Without a limit of its own: a lost wake-up hangs, and the watchdog barks.
fn sleep_until(
    node: &mut Node,
    addresses: &HashMap<u32, Vec<SocketAddr>>,
    mut enough: impl FnMut(&mut Node) -> bool,
) {
    while !enough(node) {
        let moved = node.turn();
        answer_lookups(node, addresses);
        if !moved && !enough(node) && node.fabric.rest() {
            let limit = node
                .fabric
                .next_deadline()
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            node.waiter.wait(limit).expect("polls");
        }
    }
}

fn addresses(nodes: &[Node]) -> HashMap<u32, Vec<SocketAddr>> {
    nodes
        .iter()
        .map(|node| (node.rank().0, node.fabric.addresses()))
        .filter(|(_, list)| !list.is_empty())
        .collect()
}

#[test]
fn ping_pong_between_sleepers_never_stalls() {
    let _watchdog = watchdog("ping_pong");
    for link in Link::ALL {
        let nodes = Job::new(link, 2, seed("ping_pong")).start_all();
        let addresses = addresses(&nodes);
        let rounds = if link.is_faulty() { 300 } else { 10_000 };
        std::thread::scope(|scope| {
            for mut node in nodes {
                let addresses = &addresses;
                scope.spawn(move || {
                    let me = node.rank().0;
                    for round in 0..rounds {
                        if round % 2 == u64::from(me) {
                            node.send(1 - me, round, &round.to_le_bytes());
                        } else {
                            sleep_until(&mut node, addresses, |node| {
                                node.sink.arrived.pop_front().is_some_and(|frame| {
                                    assert_eq!(frame.tag, round);
                                    true
                                })
                            });
                        }
                    }
                    node.fabric.farewell(&mut node.sink);
                    sleep_until(&mut node, addresses, |node| node.fabric.drained());
                });
            }
        });
    }
}

#[test]
fn large_frames_both_ways_between_sleepers() {
    let _watchdog = watchdog("large");
    for link in Link::ALL {
        let nodes = Job::new(link, 2, seed("large")).start_all();
        let addresses = addresses(&nodes);
        std::thread::scope(|scope| {
            for mut node in nodes {
                let addresses = &addresses;
                scope.spawn(move || {
                    let me = node.rank().0;
                    for tag in 0..8 {
                        let tag = tag + 100 * u64::from(me);
                        node.lend(1 - me, tag, crate::rig::pattern(me, tag, 2_000_000));
                    }
                    sleep_until(&mut node, addresses, |node| node.sink.arrived.len() == 8);
                    for frame in &node.sink.arrived {
                        let expected = crate::rig::pattern(1 - me, frame.tag, 2_000_000);
                        assert!(frame.bytes == expected, "{link:?}");
                    }
                    node.fabric.farewell(&mut node.sink);
                    sleep_until(&mut node, addresses, |node| node.fabric.drained());
                });
            }
        });
    }
}

/// One thread sleeps in the waiter, the other sends through the same fabric.
#[test]
fn one_thread_sleeps_while_another_sends() {
    let _watchdog = watchdog("two_threads");
    for link in Link::ALL {
        let mut nodes = Job::new(link, 2, seed("two_threads")).start_all();
        let addresses = addresses(&nodes);
        let mut echo = nodes.pop().expect("two");
        let Node {
            fabric,
            mut waiter,
            sink,
        } = nodes.pop().expect("two");
        let shared = Arc::new(Mutex::new((fabric, sink)));
        let count = 500;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..count {
                    sleep_until(&mut echo, &addresses, |node| !node.sink.arrived.is_empty());
                    let frame = echo.sink.arrived.pop_front().expect("arrived");
                    echo.send(0, frame.tag, &frame.bytes);
                }
                sleep_until(&mut echo, &addresses, |node| !node.fabric.has_unsent());
                echo.fabric.farewell(&mut echo.sink);
                sleep_until(&mut echo, &addresses, |node| node.fabric.drained());
            });
            let sender = shared.clone();
            scope.spawn(move || {
                for tag in 0..count {
                    {
                        let (fabric, sink) = &mut *sender.lock().expect("no panic");
                        let bytes = [1; 900];
                        let header = eager(Peer(0), tag, bytes.len());
                        fabric.send(Peer(1), &header, Payload::Borrowed(&bytes), sink);
                    }
                    if tag % 7 == 0 {
                        std::thread::sleep(Duration::from_micros(300));
                    }
                }
            });
            receive_all(&shared, &mut waiter, &addresses, count as usize);
        });
    }
}

fn receive_all(
    shared: &Mutex<(Fabric, TestSink)>,
    waiter: &mut Waiter,
    addresses: &HashMap<u32, Vec<SocketAddr>>,
    count: usize,
) {
    loop {
        let (busy, limit) = {
            let (fabric, sink) = &mut *shared.lock().expect("no panic");
            let turn = fabric.progress(Instant::now(), sink);
            for peer in std::mem::take(&mut sink.lookups) {
                fabric.resolve(peer, addresses[&peer.0].clone());
            }
            if sink.arrived.len() == count {
                assert!(sink.arrived.iter().map(|frame| frame.tag).is_sorted());
                return;
            }
            (turn.moved || !fabric.rest(), fabric.next_deadline())
        };
        if !busy {
            let limit = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
            waiter.wait(limit).expect("polls");
        }
    }
}

#[test]
fn a_waker_interrupts_the_current_or_the_next_sleep() {
    let _watchdog = watchdog("waker");
    for link in [Link::Threads, Link::Shared, Link::Unix] {
        let mut nodes = Job::new(link, 1, seed("waker")).start_all();
        let mut node = nodes.pop().expect("one");
        let waker = node.fabric.waker();
        waker.wake();
        node.waiter.wait(None).expect("polls");
        for _ in 0..2000 {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    done.store(true, Ordering::SeqCst);
                    waker.wake();
                });
                while !done.load(Ordering::SeqCst) {
                    node.waiter.wait(None).expect("polls");
                }
            });
        }
    }
}

#[test]
fn a_sleep_ends_at_its_limit() {
    let _watchdog = watchdog("sleep_limit");
    let mut node = Job::new(Link::Unix, 1, 0).start(0);
    let before = Instant::now();
    while before.elapsed() < Duration::from_millis(20) {
        node.waiter
            .wait(Some(Duration::from_millis(5)))
            .expect("polls");
    }
}

#[test]
fn the_control_source_wakes_and_is_told_once() {
    use std::io::{Read, Write};
    let _watchdog = watchdog("control");
    for link in [Link::Threads, Link::Unix] {
        let mut node = Job::new(link, 1, seed("control"))
            .start_all()
            .pop()
            .expect("one");
        let (mut daemon, ours) = std::os::unix::net::UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("nonblocking");
        let mut ours = mio::net::UnixStream::from_std(ours);
        node.fabric.attach_control(&mut ours).expect("registers");
        for round in 0..50_u8 {
            std::thread::scope(|scope| {
                scope.spawn(|| daemon.write_all(&[round]).expect("writes"));
                while !node.fabric.progress(Instant::now(), &mut node.sink).control {
                    node.waiter.wait(None).expect("polls");
                }
            });
            let mut bytes = [0; 8];
            assert_eq!(ours.read(&mut bytes).expect("readable"), 1);
            assert_eq!(bytes[0], round);
            assert_eq!(
                ours.read(&mut bytes).expect_err("empty").kind(),
                std::io::ErrorKind::WouldBlock
            );
        }
        node.fabric.detach_control(&mut ours).expect("registered");
    }
}

#[test]
fn idle_peers_cost_next_to_nothing() {
    let _watchdog = watchdog("idle");
    let job = Job::new(Link::Unix, 100_000, seed("idle"));
    let mut nodes = vec![job.start(0), job.start(99_999)];
    nodes[0].send(99_999, 1, b"far away");
    drive(&mut nodes, |nodes| nodes[1].sink.arrived.len() == 1);
}
