//! How ranks end, over every transport: what was sent is drained, a panic waits for nobody, an abort
//! ends everything, time limits of the environment hold.

mod common;

use std::time::Duration;

use common::{Outcome, TRANSPORTS, leave, part, run_part};
use phalanx::{Communicator, ErrorKind, Result, Source};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(60);
const LONG: usize = 2 << 20;
const SHORT: u64 = 1000;

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    if part == "drain without run" {
        let world = phalanx::init().expect("started by the launcher");
        drain(&world).expect("no rank fails");
        drop(world);
        std::process::exit(0);
    }
    leave(phalanx::run(|world| match part.as_str() {
        "drain" => drain(&world),
        "panic" => panics(&world),
        "fail" => fails(&world),
        "abort" => aborts(&world),
        "wait" => world.recv_vec::<u8>(Source::Any, 1).map(|_| ()),
        _ => finalize(world),
    }))
}

fn everywhere(part: &str, words: &[&str], check: impl Fn(&str, &Outcome)) {
    for (transport, choice) in TRANSPORTS {
        let words = [choice, words].concat();
        let outcome = run_part(part, 3, &words, LIMIT);
        println!(
            "{part} over {transport}: {:?}\n{}",
            outcome.code, outcome.stderr
        );
        check(transport, &outcome);
    }
}

/// Rank 0 leaves at once; the others come late and find everything.
fn drain(world: &Communicator) -> Result<()> {
    if world.rank() == 0 {
        for other in 1..world.size() {
            drop(world.isend(vec![other as u8; LONG], other, 1)?);
            drop(world.issend(vec![1_u8], other, 2)?);
            for number in 0..SHORT {
                world.send(&[number], other, 3)?;
            }
        }
        return Ok(());
    }
    std::thread::sleep(Duration::from_millis(200));
    let (long, _) = world.recv_vec::<u8>(0, 1)?;
    assert!(long == vec![world.rank() as u8; LONG]);
    world.recv_vec::<u8>(0, 2)?;
    for number in 0..SHORT {
        assert_eq!(world.recv_vec::<u64>(0, 3)?.0, [number]);
    }
    println!("rank {}: everything came", world.rank());
    Ok(())
}

fn everything_came(transport: &str, outcome: &Outcome) {
    assert_eq!(outcome.code, Some(0), "{transport}: {}", outcome.stderr);
    let came = outcome.text().matches(": everything came").count();
    assert_eq!(came, 2, "{transport}: {}", outcome.text());
}

#[test]
fn what_was_sent_is_delivered_after_the_sender_has_ended() {
    everywhere("drain", &[], everything_came);
}

#[test]
fn what_was_sent_is_delivered_when_the_last_handle_is_dropped() {
    for (transport, words) in TRANSPORTS.iter().filter(|(name, _)| *name != "threads") {
        let outcome = run_part("drain without run", 3, words, LIMIT);
        everything_came(transport, &outcome);
    }
}

/// Rank 0 has operations of every sort under way that nobody will ever complete, in scopes and out.
fn panics(world: &Communicator) -> Result<()> {
    if world.rank() > 0 {
        return world.recv_vec::<u8>(world.rank(), 1).map(|_| ());
    }
    let _long = world.isend(vec![1_u8; LONG], 1, 1)?;
    let _receive = world.irecv(vec![1_u8; LONG], 2, 1)?;
    let _sum = world.iallreduce(vec![1_u64; 9000], phalanx::Sum)?;
    let (given, mut room) = (vec![1_u8; LONG], vec![1_u8; LONG]);
    world.scope(|scope| {
        scope.isend(&given, 2, 1)?;
        scope.irecv_into(&mut room, 1, 1)?;
        panic!("enough is enough")
    })
}

#[test]
fn a_panic_waits_for_nobody_and_is_what_the_user_reads() {
    everywhere("panic", &[], |transport, outcome| {
        let stderr = &outcome.stderr;
        assert_ne!(outcome.code, Some(0), "{transport}");
        if transport != "threads" {
            assert_eq!(outcome.code, Some(101), "{transport}: {stderr}");
            let reports = outcome.reports();
            let first = reports.first().expect("a report");
            assert!(first.contains("rank 0"), "{transport}: {first}");
            assert!(first.contains("enough is enough"), "{transport}: {first}");
        }
        assert!(stderr.contains("enough is enough"), "{transport}: {stderr}");
    });
}

/// Rank 1 gives up with messages under way; the others wait for it and for each other.
fn fails(world: &Communicator) -> Result<()> {
    if world.rank() == 1 {
        let _long = world.isend(vec![1_u8; LONG], 0, 1)?;
        return world.send(&[1], world.size(), 0);
    }
    let error = world.barrier().expect_err("rank 1 does not come");
    assert!(
        matches!(error.kind(), ErrorKind::PeerGone { world_rank: 1, .. }),
        "{error}"
    );
    Err(error)
}

#[test]
fn the_error_of_the_rank_that_failed_first_is_what_the_user_reads() {
    everywhere("fail", &[], |transport, outcome| {
        assert_eq!(outcome.code, Some(1), "{transport}: {}", outcome.stderr);
        let message = outcome.stderr.lines().find(|line| line.contains("rank 1"));
        let message = message.unwrap_or_else(|| panic!("{transport}: {}", outcome.stderr));
        assert!(message.contains("endings.rs"), "{transport}: {message}");
        assert!(message.contains("rank 3"), "{transport}: {message}");
    });
}

fn aborts(world: &Communicator) -> Result<()> {
    if world.rank() == 2 {
        world.abort(7, "the plate has melted");
    }
    world.recv_vec::<u8>(Source::Any, 1).map(|_| ())
}

#[test]
fn an_abort_ends_every_rank_with_its_code() {
    everywhere("abort", &[], |transport, outcome| {
        let stderr = &outcome.stderr;
        assert_eq!(outcome.code, Some(7), "{transport}: {stderr}");
        let line = stderr
            .lines()
            .find(|line| line.contains("the plate has melted"));
        let line = line.unwrap_or_else(|| panic!("{transport}: {stderr}"));
        assert!(line.contains("rank 2"), "{transport}: {line}");
        assert!(line.contains("endings.rs"), "{transport}: {line}");
    });
}

#[test]
fn the_time_limit_of_the_environment_ends_a_wait() {
    let words = ["--env", "PHALANX_TIMEOUT=0.2"];
    everywhere("wait", &words, |transport, outcome| {
        let code = if transport == "threads" { 1 } else { 75 };
        assert_eq!(outcome.code, Some(code), "{transport}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("recv_vec"),
            "{transport}: {}",
            outcome.stderr
        );
    });
}

/// After the end nothing can be begun, and the end can come only once.
fn finalize(world: Communicator) -> Result<()> {
    let other = world.dup();
    let copy = world.clone();
    world.barrier()?;
    world.finalize()?;
    copy.clone().finalize()?;
    let finalized = |error: phalanx::Error| assert_eq!(*error.kind(), ErrorKind::Finalized);
    finalized(copy.send(&[1], 0, 1).expect_err("it is over"));
    finalized(copy.recv_vec::<u8>(0, 1).expect_err("it is over"));
    finalized(copy.irecv(vec![1], 0, 1).expect_err("it is over"));
    finalized(other.barrier().expect_err("it is over"));
    println!("rank {}: over", copy.rank());
    Ok(())
}

#[test]
fn nothing_begins_after_the_end() {
    everywhere("finalize", &[], |transport, outcome| {
        assert_eq!(outcome.code, Some(0), "{transport}: {}", outcome.stderr);
        let over = outcome.text().matches(": over").count();
        assert_eq!(over, 3, "{transport}: {}", outcome.text());
    });
}
