//! Operators of the program that panic: a program that catches the panic and goes on is told that it cannot, and
//! nobody waits for what was left half done.
//!
//! The ranks are this test program itself, which then runs only [`ranked_program`].

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{TRANSPORTS, leave, part, run_part};
use phalanx::{Communicator, ErrorKind, Result, commutative};

/// After this a job hangs.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn ranked_program() {
    let Some(part) = part() else { return };
    leave(phalanx::run(|world| play(&part, &world)));
}

fn play(part: &str, world: &Communicator) -> Result<()> {
    let (how, length) = part.split_once(' ').expect("two words");
    let length: usize = length.parse().expect("a number");
    let never = commutative(|_: u64, _: u64| panic!("these cannot be combined"));
    let combined = catch_unwind(AssertUnwindSafe(|| match how {
        "blocking" => world.allreduce_into(&mut vec![1; length], never),
        _ => world.iallreduce(vec![1; length], never)?.wait().map(drop),
    }));
    let rank = world.rank();
    let ended = match combined {
        // It goes on as if nothing had happened.
        Err(_) => {
            let error = world.barrier().expect_err("something is half done");
            let broken = matches!(error.kind(), ErrorKind::System { .. });
            assert!(broken && error.to_string().contains("an operator panicked"));
            println!("\nrank {rank} has caught it: {error}");
            Err(error)
        }
        Ok(ended) => ended,
    };
    let error = ended.expect_err("nothing was combined");
    world.barrier().expect_err("it stays so");
    Err(error)
}

fn everywhere(how: &str) {
    for (transport, words) in TRANSPORTS {
        for (ranks, length) in [(2, 1), (2, 300_000), (4, 1), (4, 300_000)] {
            let outcome = run_part(&format!("{how} {length}"), ranks, words, LIMIT);
            let (text, stderr) = (outcome.text(), &outcome.stderr);
            let place = format!("{ranks} ranks, {length} elements, {transport}: {text}\n{stderr}");
            assert!(stderr.contains("these cannot be combined"), "{place}");
            let told = text.lines().filter(|line| line.contains("has caught it"));
            let told: Vec<&str> = told.collect();
            assert!(!told.is_empty(), "{place}");
            for line in told {
                assert!(line.contains("in the middle of "), "{place}");
                assert!(line.contains("allreduce<u64>("), "{place}");
                assert!(line.contains("operators.rs:"), "{place}");
            }
            if *transport == "threads" {
                assert_eq!(outcome.code, Some(1), "{place}");
                continue;
            }
            assert_eq!(outcome.code, Some(101), "{place}");
            let reports = outcome.reports();
            assert_eq!(reports.len(), 1, "{place}");
            assert!(reports[0].contains(" panicked at "), "{place}");
            assert!(reports[0].contains("operators.rs:"), "{place}");
        }
    }
}

#[test]
fn a_blocking_collective() {
    everywhere("blocking");
}

#[test]
fn a_nonblocking_collective() {
    everywhere("nonblocking");
}
