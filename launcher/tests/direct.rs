//! Blocking calls whose messages come within a moment take a shorter way than others. What they promise
//! is the same on both, and for messages that must not take it: each part goes over both many times.

mod common;

use std::time::Duration;

use common::{Part, TRANSPORTS, run_part};
use phalanx::{Communicator, Error, ErrorKind, Policy, Result, Source, Tag};
use rustix::process::{Signal, getpid, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);
/// More than one receive in so many that takes the general way in any case.
const ROUNDS: u64 = 100;

/// More than a ring holds.
const BURSTS: &str = "bursts";
/// Parts in which something fails.
const REVOKED: &str = "revoked";
const KILLED: &str = "killed";

const PARTS: &[(&str, Part)] = &[
    ("wrong messages", wrong_messages),
    ("wildcards", wildcards),
    ("posted before", posted_before),
    ("probes", probes),
    ("timeouts", timeouts),
    ("threads", threads),
    ("lengths", lengths),
    ("begun and done", begun_and_done),
    (BURSTS, bursts),
    (REVOKED, revoked),
    (KILLED, killed),
];

#[test]
fn ranked_program() {
    common::play(PARTS);
}

/// Two ranks play a part over every transport.
fn everywhere(part: &str) {
    let well = if part == KILLED { 1 } else { 2 };
    for (transport, words) in TRANSPORTS {
        if [REVOKED, KILLED].contains(&part) && words.contains(&"threads") {
            continue; // Ranks that are threads fail together.
        }
        if part == BURSTS && *transport != "shm" {
            continue; // It is about rings.
        }
        let outcome = run_part(part, 2, words, LIMIT);
        let text = outcome.text();
        assert!(
            text.matches("is well").count() == well && outcome.code == Some(0),
            "{part} over {transport}: code {:?}\n{text}\n{}",
            outcome.code,
            outcome.stderr
        );
    }
}

fn other(world: &Communicator) -> usize {
    1 - world.rank()
}

/// Now the message is there before the receiver looks for it, now it comes later.
fn dawdle(round: u64) {
    if round % 4 == 0 {
        std::thread::sleep(Duration::from_micros(100 * (round % 3)));
    }
}

fn is_truncated(error: &Error, sent: usize, capacity: usize) {
    assert_eq!(*error.kind(), ErrorKind::Truncated { sent, capacity });
}

fn wrong_messages(world: &Communicator) -> Result<()> {
    for round in 0..ROUNDS {
        dawdle(round + world.rank() as u64);
        if world.rank() == 0 {
            world.send(&[round; 3], 1, 7)?;
            world.send(&[round as f64], 1, 7)?;
            world.send(&[round], 1, 7)?;
            world.send(&[round; 0], 1, 7)?;
            let (done, _) = world.recv_vec::<u64>(1, 8)?;
            assert_eq!(done, [round]);
            continue;
        }
        let mut buffer = [u64::MAX; 2];
        let error = world.recv_into(&mut buffer, 0, 7).expect_err("too long");
        is_truncated(&error, 3, 2);
        assert!(error.to_string().contains("direct.rs"), "{error}");
        buffer = [u64::MAX; 2];
        let error = world.recv_into(&mut buffer, 0, 7).expect_err("floats");
        let wrong = matches!(error.kind(), ErrorKind::WrongType { .. });
        assert!(wrong && buffer == [u64::MAX; 2], "{error}, {buffer:?}");
        let status = world.recv_into(&mut buffer, 0, 7)?;
        assert_eq!((status.source, status.tag, status.count), (0, 7, 1));
        assert_eq!(buffer, [round, u64::MAX], "the rest is left alone");
        let status = world.recv_into(&mut buffer, 0, 7)?;
        assert_eq!((status.count, buffer), (0, [round, u64::MAX]));
        world.send(&[round], 0, 8)?;
    }
    Ok(())
}

/// Nonblocking sends that leave at once, between some that do not: they stay in their order, and each is over once.
fn begun_and_done(world: &Communicator) -> Result<()> {
    let long = 5000;
    for round in 0..ROUNDS {
        dawdle(round + world.rank() as u64);
        if world.rank() == 1 {
            let mut buffer = vec![0; long];
            for (number, count) in [(0, 3), (1, long), (2, 1), (3, 0), (4, long), (5, 2), (6, 1)] {
                let status = world.recv_into(&mut buffer, 0, 7)?;
                assert_eq!(status.count, count, "message {number}");
                assert!(buffer[..count].iter().all(|it| *it == round + number));
            }
            world.send(&[round], 0, 8)?;
            continue;
        }
        let mut first = world.isend(vec![round; 3], 1, 7)?;
        let second = world.isend(vec![round + 1; long], 1, 7)?;
        let mut third = world.isend(vec![round + 2], 1, 7)?;
        assert!(!third.cancel(), "a send cannot be taken back");
        drop(world.isend(Vec::<u64>::new(), 1, 7)?);
        let (block, words, last) = (vec![round + 4; long], [round + 5; 2], [round + 6]);
        world.scope(|scope| {
            scope.isend(&block, 1, 7)?;
            let status = scope.isend(&words, 1, 7)?.wait()?;
            assert_eq!((status.source, status.count), (0, 0));
            scope.isend(&last, 1, 7).map(drop)
        })?;
        let given = loop {
            match first.test()? {
                Some(given) => break given,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(given, [round; 3]);
        let again = first.test().expect_err("it is over");
        let text = again.to_string();
        assert!(
            text.contains("isend") && text.contains("direct.rs"),
            "{text}"
        );
        assert_eq!(second.wait()?.len(), long);
        assert_eq!(third.wait()?, [round + 2]);
        world.recv_into(&mut [0_u64], 1, 8)?;
    }
    Ok(())
}

/// A tag picks the first message that has it, a wildcard the first of all.
fn wildcards(world: &Communicator) -> Result<()> {
    let comm = world.dup();
    for round in 0..ROUNDS {
        dawdle(round + world.rank() as u64);
        if world.rank() == 0 {
            for (tag, comm) in [(1, world), (2, world), (1, &comm), (1, world)] {
                comm.send(&[round, tag], 1, tag)?;
            }
            world.recv_into(&mut [0_u64], 1, 3)?;
            continue;
        }
        let mut buffer = [0_u64; 2];
        world.recv_into(&mut buffer, 0, 2)?;
        assert_eq!(buffer, [round, 2]);
        let status = match round % 3 {
            0 => world.recv_into(&mut buffer, Source::Any, Tag::Any)?,
            1 => world.recv_into(&mut buffer, 0, Tag::Any)?,
            _ => world.recv_into(&mut buffer, Source::Any, 1)?,
        };
        assert_eq!((status.source, status.tag, buffer), (0, 1, [round, 1]));
        world.recv_into(&mut buffer, 0, 1)?;
        let status = comm.recv_into(&mut buffer, 0, Tag::Any)?;
        assert_eq!((status.tag, buffer), (1, [round, 1]));
        assert_eq!(world.iprobe(0, Tag::Any)?, None, "that was all");
        world.send(&[round], 0, 3)?;
    }
    Ok(())
}

/// A receive that was begun before has the first claim.
fn posted_before(world: &Communicator) -> Result<()> {
    for round in 0..ROUNDS {
        if world.rank() == 0 {
            world.recv_into(&mut [0_u8], 1, 1)?;
            dawdle(round);
            for number in 0..4 {
                world.send(&[round, number], 1, 2)?;
            }
            continue;
        }
        let source = if round % 2 == 0 {
            Source::Any
        } else {
            Source::Rank(0)
        };
        let first = world.irecv(vec![0_u64; 2], source, 2)?;
        let second = world.irecv(vec![0_u64; 2], source, Tag::Any)?;
        world.send(&[0_u8], 0, 1)?;
        let mut buffer = [0; 2];
        world.recv_into(&mut buffer, 0, 2)?;
        assert_eq!(buffer, [round, 2]);
        assert_eq!(first.wait()?.0, [round, 0]);
        world.recv_into(&mut buffer, 0, 2)?;
        assert_eq!(buffer, [round, 3]);
        assert_eq!(second.wait()?.0, [round, 1]);
    }
    Ok(())
}

/// What was seen by a probe is what is received next.
fn probes(world: &Communicator) -> Result<()> {
    for round in 0..ROUNDS {
        dawdle(round + world.rank() as u64);
        if world.rank() == 0 {
            world.send(&[round], 1, 5)?;
            world.send(&[round + 1], 1, 5)?;
            world.recv_into(&mut [0_u64], 1, 6)?;
            continue;
        }
        let found = world.probe(Source::Any, Tag::Any)?;
        assert_eq!((found.source, found.tag, found.bytes), (0, 5, 8));
        for number in [round, round + 1] {
            let mut buffer = [0_u64];
            world.recv_into(&mut buffer, 0, 5)?;
            assert_eq!(buffer, [number]);
        }
        world.send(&[round], 0, 6)?;
    }
    Ok(())
}

/// A receive that was given up takes nothing of what comes afterwards.
fn timeouts(world: &Communicator) -> Result<()> {
    let hurried = world.with_timeout(Duration::from_millis(1));
    for round in 0..ROUNDS / 4 {
        if world.rank() == 0 {
            world.recv_into(&mut [0_u64], 1, 1)?;
            world.send(&[round], 1, 2)?;
            continue;
        }
        let mut buffer = [u64::MAX];
        let error = hurried.recv_into(&mut buffer, 0, 2).expect_err("nobody");
        assert_eq!((error.kind(), buffer), (&ErrorKind::Timeout, [u64::MAX]));
        world.send(&[round], 0, 1)?;
        world.recv_into(&mut buffer, 0, 2)?;
        assert_eq!(buffer, [round]);
    }
    Ok(())
}

/// Several threads of a rank each get their own messages, in order.
fn threads(world: &Communicator) -> Result<()> {
    std::thread::scope(|scope| {
        let talk = |tag: u64| {
            move || -> Result<()> {
                for round in 0..10 * ROUNDS {
                    let mut buffer = [0];
                    if world.rank() == 0 {
                        world.send(&[round * tag], 1, tag)?;
                    }
                    world.recv_into(&mut buffer, other(world), tag)?;
                    assert_eq!(buffer, [round * tag]);
                    if world.rank() == 1 {
                        world.send(&buffer, 0, tag)?;
                    }
                }
                Ok(())
            }
        };
        let threads = [1, 2, 3].map(|tag| scope.spawn(talk(tag)));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic"))
    })
}

/// Around every length at which messages begin to travel in another way.
fn lengths(world: &Communicator) -> Result<()> {
    for power in 5..20 {
        for length in [
            (1 << power) - 70,
            (1 << power) - 1,
            1 << power,
            (1 << power) + 1,
        ] {
            let length = usize::try_from(length).unwrap_or(0);
            let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut buffer = vec![0; length];
            for _ in 0..3 {
                if world.rank() == 0 {
                    world.send(&sent, 1, 4)?;
                    world.send(&[length as u64], 1, 4)?;
                }
                world.recv_into(&mut buffer, other(world), 4)?;
                let mut last = [0_u64];
                world.recv_into(&mut last, other(world), 4)?;
                assert!(buffer == sent && last == [length as u64], "{length} bytes");
                buffer.fill(0);
                if world.rank() == 1 {
                    world.send(&sent, 0, 4)?;
                    world.send(&last, 0, 4)?;
                }
            }
        }
    }
    Ok(())
}

/// More than fits into a ring, and more than may be sent without being received.
fn bursts(world: &Communicator) -> Result<()> {
    const MESSAGES: u64 = 30_000;
    for round in 0..4 {
        if world.rank() as u64 == round % 2 {
            for number in 0..MESSAGES {
                world.send(&[number; 5], other(world), 9)?;
            }
            continue;
        }
        std::thread::sleep(Duration::from_millis(20 * (round / 2)));
        for number in 0..MESSAGES {
            let mut buffer = [0; 5];
            world.recv_into(&mut buffer, other(world), 9)?;
            assert_eq!(buffer, [number; 5]);
        }
    }
    Ok(())
}

/// Receives until that fails, while the other one sends a number and then does what ends it.
fn receive_until(world: &Communicator, comm: &Communicator) -> Error {
    for number in 0.. {
        let mut buffer = [0_u64];
        match comm.recv_into(&mut buffer, other(world), 3) {
            Ok(_) => assert_eq!(buffer, [number]),
            Err(error) => {
                assert!(number <= ROUNDS, "more than was sent");
                return error;
            }
        }
    }
    unreachable!("it ends")
}

fn revoked(world: &Communicator) -> Result<()> {
    world.set_policy(Policy::Return)?;
    for round in 0..10 {
        let comm = world.dup();
        if world.rank() == 0 {
            for number in 0..ROUNDS {
                comm.send(&[number], 1, 3)?;
            }
            dawdle(round);
            comm.revoke();
        } else {
            let error = receive_until(world, &comm);
            assert_eq!(*error.kind(), ErrorKind::Revoked);
        }
        let error = comm
            .send(&[1_u8], other(world), 0)
            .expect_err("it was revoked");
        assert_eq!(*error.kind(), ErrorKind::Revoked);
        world.barrier()?;
    }
    Ok(())
}

/// Everything that a rank has sent before it was killed can be received.
fn killed(world: &Communicator) -> Result<()> {
    world.set_policy(Policy::Return)?;
    if world.rank() == 0 {
        for number in 0..ROUNDS {
            world.send(&[number], 1, 3)?;
        }
        world.recv_into(&mut [0_u8], 1, 4)?;
        kill_process(getpid(), Signal::KILL).expect("it may");
        unreachable!("nobody survives that");
    }
    let mut buffer = [0_u64];
    for number in 0..ROUNDS {
        world.recv_into(&mut buffer, 0, 3)?;
        assert_eq!(buffer, [number]);
    }
    world.send(&[0_u8], 0, 4)?;
    let error = receive_until(world, world);
    let gone = matches!(error.kind(), ErrorKind::PeerGone { world_rank: 0, .. });
    assert!(gone, "{error}");
    let error = loop {
        match world.send(&[1_u8], 0, 5) {
            Ok(()) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    let gone = matches!(error.kind(), ErrorKind::PeerGone { world_rank: 0, .. });
    assert!(gone, "{error}");
    Ok(())
}

macro_rules! parts {
    ($($name:ident: $part:expr;)*) => {
        $(#[test]
        fn $name() {
            everywhere($part);
        })*
    };
}

parts! {
    wrong_messages_are_errors_and_the_next_is_received: "wrong messages";
    wildcards_and_tags_pick_the_first: "wildcards";
    receives_that_were_begun_before_come_first: "posted before";
    probed_messages_are_received: "probes";
    what_was_given_up_takes_nothing: "timeouts";
    threads_of_a_rank_get_their_own: "threads";
    every_length_arrives_in_order: "lengths";
    sends_that_are_done_at_once_stay_in_order: "begun and done";
    bursts_arrive_in_order: BURSTS;
    a_revocation_ends_a_receive: REVOKED;
    a_death_ends_a_receive: KILLED;
}
