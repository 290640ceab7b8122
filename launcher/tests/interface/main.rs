//! The public interface over every transport, as ranks that the launcher starts.
//!
//! Each rank runs this test program itself, which then is [`ranked_program`] and checks one part of the
//! interface against what it can compute alone.

#[path = "../common/mod.rs"]
mod common;

mod collectives;
mod derived;
mod messages;
mod nonblocking;
mod reductions;

use std::time::Duration;

use common::{SINGLE_COPY, TRANSPORTS, leave, part, run_part};
use phalanx::{Communicator, Result};

/// Odd numbers, powers of two, alone, and more than this machine may have cores.
const RANKS: [usize; 5] = [1, 2, 3, 5, 8];
/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);

type Check = fn(&Communicator) -> Result<()>;

const PARTS: &[(&str, Check)] = &[
    ("collectives", collectives::check),
    ("reductions", reductions::check),
    ("messages", messages::check),
    ("nonblocking", nonblocking::check),
    ("derived", derived::check),
];

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    let (_, check) = PARTS
        .iter()
        .find(|(name, _)| *name == part)
        .expect("a part");
    leave(phalanx::run(|world| {
        check(&world)?;
        world.barrier()?;
        if world.rank() == 0 {
            println!("{part}: all is well");
        }
        world.finalize()
    }))
}

fn everywhere(part: &str) {
    for (transport, words) in TRANSPORTS.iter().chain([&SINGLE_COPY]) {
        for ranks in RANKS {
            let outcome = run_part(part, ranks, words, LIMIT);
            let well = outcome.text().contains(&format!("{part}: all is well"));
            assert!(
                well && outcome.code == Some(0),
                "{part} over {transport} with {ranks} ranks: code {:?}\n{}\n{}",
                outcome.code,
                outcome.text(),
                outcome.stderr
            );
        }
    }
}

#[test]
fn collectives_that_move_elements() {
    everywhere("collectives");
}

#[test]
fn collectives_that_combine_elements() {
    everywhere("reductions");
}

#[test]
fn messages_in_all_shapes() {
    everywhere("messages");
}

#[test]
fn operations_that_go_on_meanwhile() {
    everywhere("nonblocking");
}

#[test]
fn communicators_derived_from_others_and_time_limits() {
    everywhere("derived");
}
