//! The network between two hosts is broken for a while, or for good, while both live and the launcher reaches them.

use std::time::Duration;

use phalanx::{Communicator, Result, Tag};

use crate::bed::{Bed, bed};
use crate::common::Running;
use crate::ranked;

const JOB: &[&str] = &["--host", "node1,node2", "-n", "2"];
/// When rank 0 finds this on its host, it ends the job.
const ENOUGH: &str = "/tmp/enough";
const COUNT: u64 = 20_000;
/// What distinguishes the messages of one round from those of the next.
const STRIDE: u64 = 100_000;

/// Rounds of messages that both ranks check until somebody has made [`ENOUGH`].
pub(crate) fn rounds(world: &Communicator) -> Result<()> {
    let (me, other) = (world.rank(), 1 - world.rank());
    let message = |round: u64, from: usize| {
        let first = round * STRIDE + from as u64;
        first..first + COUNT
    };
    for round in 0.. {
        let pending = world.isend(message(round, me).collect::<Vec<u64>>(), other, 1)?;
        let (theirs, _) = world.recv_vec::<u64>(other, Tag::from(1))?;
        assert!(
            theirs.into_iter().eq(message(round, other)),
            "round {round}"
        );
        pending.wait()?;
        if round == 0 {
            println!("up");
        }
        let mut over = [u8::from(std::path::Path::new(ENOUGH).exists())];
        world.bcast_into(&mut over, 0)?;
        if over[0] == 1 {
            println!("right to the end");
            break;
        }
    }
    Ok(())
}

fn start(bed: &Bed, words: &[&str]) -> Running {
    let ranked = ranked("rounds");
    let ranked: Vec<&str> = ranked.iter().map(String::as_str).collect();
    let mut running = bed.start(&[JOB, words, &ranked[..]].concat());
    while running.lines(1) != ["up"] {}
    running
}

#[test]
fn a_network_that_is_down_for_a_while_costs_time_and_nothing_else() {
    let Some(bed) = bed(2) else { return };
    for (fault, seconds) in [("break", 2), ("cut-between", 2), ("break", 0)] {
        let job = start(&bed, &[]);
        bed.fault(&[fault, "node1", "node2"]);
        std::thread::sleep(Duration::from_secs(seconds));
        bed.fault(&["heal"]);
        bed.on("node1", &["touch", ENOUGH]);
        let outcome = job.finish();
        assert_eq!(outcome.code, Some(0), "{fault}: {}", outcome.stderr);
        assert_eq!(outcome.text().matches("right to the end").count(), 2);
        assert_eq!(outcome.reports(), [""; 0]);
        bed.on("node1", &["rm", ENOUGH]);
    }
    bed.assert_clean();
}

#[test]
fn a_network_that_stays_down_is_told_with_what_was_tried() {
    let Some(bed) = bed(2) else { return };
    let job = start(&bed, &["--env", "PHALANX_RECONNECT=1.5"]);
    bed.fault(&["break", "node1", "node2"]);
    let outcome = job.finish();
    let told = &outcome.stderr;
    assert_ne!(outcome.code, Some(0), "{told}");
    for needle in [
        "could not be made again in 1.",
        "Connection refused",
        "10.77.0.",
    ] {
        assert!(told.contains(needle), "{needle}: {told}");
    }
    bed.assert_clean();
}

#[test]
fn a_rank_that_dies_while_its_link_is_down_is_told_as_dead() {
    let Some(bed) = bed(2) else { return };
    for fault in ["break", "cut-between"] {
        // Nobody would wait for this.
        let job = start(&bed, &["--env", "PHALANX_RECONNECT=100000"]);
        bed.fault(&[fault, "node1", "node2"]);
        bed.on("node2", &["pkill", "-KILL", "-f", "ranked_program"]);
        let outcome = job.finish();
        bed.fault(&["heal"]);
        let told = &outcome.stderr;
        assert_eq!(outcome.code, Some(137), "{fault}: {told}");
        for needle in ["rank 1", "node2", "signal 9"] {
            assert!(told.contains(needle), "{fault}: {needle}: {told}");
        }
        bed.assert_clean();
    }
}
