//! Ranks that wait for each other, or for one that is busy: deadlocks are proved and named, stragglers are
//! named and left alone, and a correct program that is slow is never accused.
//!
//! The ranks are this test program itself, which then runs only [`ranked_program`].
//! `cargo test --release -p phalanx-launcher --test stalls -- --ignored --nocapture` measures how long it takes to
//! name a deadlock.

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use common::{
    Outcome, Running, TRANSPORTS, leave, nanos, part, part_command, run_part, stamps, times,
};
use phalanx::{Communicator, Result, Source, Sum};

/// After this a job hangs.
const LIMIT: Duration = Duration::from_secs(60);
const LONG: usize = 1 << 20;

#[test]
fn ranked_program() {
    let Some(part) = part() else { return };
    let (part, pause) = part.split_once(", rank 0 late by ").unwrap_or((&part, "0"));
    let pause = Duration::from_millis(pause.parse().expect("milliseconds"));
    leave(phalanx::run(|world| {
        if world.rank() == 0 {
            std::thread::sleep(pause);
        }
        println!("\nbegins at {}", nanos());
        if !wait_for_each_other(part, &world)? {
            go_on_slowly(part, &world)?;
        }
        Ok::<(), phalanx::Error>(())
    }))
}

/// Parts in which ranks are stuck; `false` when it is none of them.
fn wait_for_each_other(part: &str, world: &Communicator) -> Result<bool> {
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    match part {
        "receive in a ring" => {
            let _: (Vec<u8>, _) = world.recv_vec(left, 5)?;
            world.send(&[0_u8], right, 5)?;
        }
        "send in a ring" => {
            world.ssend(&vec![0_u8; LONG], right, 5)?;
            world.recv_into(&mut vec![0_u8; LONG], left, 5)?;
        }
        "any source" => drop(world.recv_vec::<u8>(Source::Any, 5)?),
        "barrier and receive" if rank == 1 => {
            let _: (Vec<u8>, _) = world.recv_vec(0, 5)?;
            world.barrier()?;
        }
        "barrier and receive" => {
            world.barrier()?;
            world.send(&[0_u8], 1, 5)?;
        }
        "crossed communicators" => {
            let (one, two) = (world.dup(), world.dup());
            let (first, second) = if rank == 0 {
                (&one, &two)
            } else {
                (&two, &one)
            };
            first.barrier()?;
            second.barrier()?;
        }
        "finalize with a message that nobody wants" if rank == 0 => {
            drop(world.isend(vec![0_u8; LONG], 1, 5)?);
        }
        "finalize with a message that nobody wants" => drop(world.recv_vec::<u8>(0, 6)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Parts of correct programs.
fn go_on_slowly(part: &str, world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    match part {
        "compute" => {
            if rank == size - 1 {
                std::thread::sleep(Duration::from_secs(9));
            }
            world.allreduce(1, Sum).map(drop)
        }
        "patience" => {
            let patient = world.with_timeout(Duration::from_secs(3));
            patient.recv_vec::<u8>(left, 5).expect_err("nobody sends");
            world.barrier()
        }
        "another thread" => std::thread::scope(|scope| {
            if rank == 0 {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_secs(4));
                    world.send(&[0_u8], 1, 5).expect("sends");
                });
            }
            world.recv_vec::<u8>(left, 5)?;
            if rank == 1 {
                world.send(&[0_u8], 0, 5)
            } else {
                Ok(())
            }
        }),
        "input" => {
            if rank == 0 {
                std::io::stdin()
                    .read_line(&mut String::new())
                    .expect("reads");
            }
            world.barrier()
        }
        "slow steps" => {
            for step in 0..30_u64 {
                let millis = (rank as u64 * 37 + step * 53) % 400;
                let busy = Instant::now() + Duration::from_millis(millis);
                while Instant::now() < busy {
                    std::hint::spin_loop();
                }
                let pending = world.irecv_vec::<u64>(left, step)?;
                world.send(&[step], right, step)?;
                world.allreduce(1, Sum)?;
                assert_eq!(pending.wait()?.0, [step]);
            }
            Ok(())
        }
        other => panic!("{other}"),
    }
}

fn over_all_transports(part: &str, ranks: usize, check: impl Fn(&str, &Outcome)) {
    for (name, words) in TRANSPORTS.iter().filter(|(name, _)| *name != "threads") {
        check(name, &run_part(part, ranks, words, LIMIT));
    }
}

#[test]
fn deadlocks_are_proved_and_told_as_a_cycle_with_code_73() {
    for (part, ranks, says) in [
        (
            "receive in a ring",
            3,
            &[
                "rank 0 waits in recv_vec from rank 2, tag 5, at ",
                "rank 2 waits in recv_vec",
            ][..],
        ),
        (
            "send in a ring",
            3,
            &["rank 0 waits in ssend to rank 1, tag 5, at "],
        ),
        (
            "any source",
            3,
            &["waits in recv_vec from any rank, tag 5, at "],
        ),
        (
            "barrier and receive",
            3,
            &[
                "rank 0 waits in barrier #0 at ",
                "rank 1 waits in recv_vec from rank 0, tag 5",
            ],
        ),
        (
            "crossed communicators",
            2,
            &["rank 0 waits in barrier #0 on world/dup 0 at "],
        ),
        (
            "finalize with a message that nobody wants",
            2,
            &[
                "rank 0 waits in finalize at ",
                "rank 1 waits in recv_vec from rank 0, tag 6",
            ],
        ),
    ] {
        over_all_transports(part, ranks, |name, outcome| {
            let reports = outcome.reports();
            assert_eq!(outcome.code, Some(73), "{part} over {name}: {outcome:?}");
            assert!(reports[0].contains("deadlock: "), "{part}: {reports:?}");
            for words in says {
                assert!(reports[0].contains(words), "{part}: {reports:?}");
            }
            assert!(reports[0].contains("stalls.rs:"), "{reports:?}");
        });
    }
}

#[test]
fn a_rank_that_computes_is_named_once_and_the_job_goes_on() {
    let outcome = run_part("compute", 3, &[], LIMIT);
    let reports = outcome.reports();
    assert_eq!((outcome.code, reports.len()), (Some(0), 1), "{outcome:?}");
    for words in [
        "rank 2 on ",
        "has been computing outside the runtime for ",
        "; 2 ranks wait for it in allreduce<i32>(1, sum) #0 at ",
    ] {
        assert!(reports[0].contains(words), "{reports:?}");
    }
}

#[test]
fn a_limit_makes_a_stall_an_error() {
    let outcome = run_part("compute", 3, &["--stall-timeout", "2"], LIMIT);
    assert_eq!(outcome.code, Some(75), "{outcome:?}");
    let reports = outcome.reports();
    assert!(
        reports[0].contains("(--stall-timeout 2); rank 2, for which it waits, is outside"),
        "{reports:?}"
    );
}

#[test]
fn whoever_may_still_go_on_is_not_accused() {
    for (part, ranks) in [("patience", 3), ("another thread", 2), ("slow steps", 8)] {
        let outcome = run_part(part, ranks, &[], LIMIT);
        assert_eq!(outcome.code, Some(0), "{part}: {outcome:?}");
        for report in outcome.reports() {
            assert!(
                report.contains("only another thread of rank 0 could help"),
                "{part}: {report}"
            );
        }
    }
}

#[test]
fn a_rank_that_waits_for_input_is_not_accused() {
    let mut command = part_command("input", 3, &[]);
    command.stdin(std::process::Stdio::piped());
    let mut running = Running::start_within(LIMIT, command);
    let mut input = running.child.stdin.take().expect("piped");
    std::thread::sleep(Duration::from_secs(3));
    input.write_all(b"go\n").expect("writes");
    drop(input);
    let outcome = running.finish();
    assert_eq!(
        (outcome.code, outcome.reports().len()),
        (Some(0), 0),
        "{outcome:?}"
    );
}

#[test]
#[ignore = "measures; run it on a quiet machine"]
fn figures() {
    const RUNS: u64 = 10;
    for part in ["receive in a ring", "send in a ring", "barrier and receive"] {
        for (name, words) in TRANSPORTS.iter().filter(|(name, _)| *name != "threads") {
            let mut named = Vec::new();
            for run in 0..RUNS {
                let part = format!("{part}, rank 0 late by {}", 97 * run);
                let running = Running::start_within(LIMIT, part_command(&part, 4, words));
                running.wait_for_words("deadlock: ");
                let told = nanos();
                let outcome = running.finish();
                assert_eq!(outcome.code, Some(73), "{outcome:?}");
                let last = stamps(&outcome.text(), "begins at").into_iter().max();
                let nanos = told - last.expect("they have begun");
                named.push(Duration::from_nanos(nanos.unsigned_abs()));
            }
            println!(
                "{part}, {name}, {RUNS} times: named {} after the last rank blocks",
                times(named)
            );
        }
    }
}
