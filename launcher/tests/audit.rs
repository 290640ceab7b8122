//! Programs that are wrong and yet run to their end, over every transport.
//!
//! The ranks are this test program itself, which then runs only [`ranked_program`].

mod common;

use std::time::Duration;

use common::{Outcome, TRANSPORTS, leave, part, run_part};
use phalanx::{Communicator, Result};

/// After this a job hangs.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn ranked_program() {
    let Some(part) = part() else { return };
    leave(phalanx::run(|world| program(&part, &world)))
}

fn program(part: &str, world: &Communicator) -> Result<()> {
    let rank = world.rank();
    match part {
        "another root at the end" => world.bcast(1_u8, usize::from(rank == 1)).map(drop),
        "a collective left out" if rank == 1 => Ok(()),
        "a collective left out" => world.allreduce(1, phalanx::Sum).map(drop),
        "a message too many" if rank == 0 => {
            world.send(&[1_u8], 1, 7)?;
            world.barrier()
        }
        _ => world.barrier(),
    }
}

fn everywhere(part: &str, words: &[&str], check: impl Fn(&Outcome) -> bool) {
    for (transport, choice) in TRANSPORTS.iter().filter(|(name, _)| *name != "threads") {
        let outcome = run_part(part, 3, &[choice, words].concat(), LIMIT);
        assert!(check(&outcome), "{transport}: {outcome:?}");
    }
}

#[test]
fn another_root_in_the_last_call_is_found_out() {
    everywhere("another root at the end", &[], |outcome| {
        let places = outcome.stderr.matches("audit.rs:").count();
        outcome.code == Some(73) && outcome.reports().len() == 1 && places >= 2
    });
}

#[test]
fn a_rank_that_leaves_a_collective_out_is_named() {
    everywhere("a collective left out", &[], |outcome| {
        outcome.code == Some(73) && outcome.stderr.contains("allreduce")
    });
}

#[test]
fn a_message_that_nobody_received_is_a_warning_and_an_error_in_strict_mode() {
    everywhere("a message too many", &[], |outcome| {
        let told = outcome
            .stderr
            .contains("warning: rank 1 never received 1 message from rank 0");
        outcome.code == Some(0) && (told || outcome.stderr.contains("never received"))
    });
    everywhere("a message too many", &["--check"], |outcome| {
        outcome.code == Some(73)
    });
}

#[test]
fn a_correct_program_is_left_alone() {
    for words in [&[][..], &["--check"]] {
        everywhere("a barrier", words, |outcome| {
            outcome.code == Some(0) && outcome.reports().is_empty()
        });
    }
}
