//! Many engines on a virtual network, judged by a model of MPI's matching rules.
//!
//! Each seed is one network, one program and one weather. A failure prints its seed;
//! `PHALANX_SEED=17 cargo test --test simulation` runs that one alone, and `PHALANX_SEEDS=10000` more of
//! them.
#![allow(
    clippy::needless_range_loop,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use support::program::Simulation;

const SEEDS: u64 = 160;
/// The seeds are shared out among as many tests, so that they use as many cores.
const SHARES: u64 = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(share: u64) {
    let seeds = match number("PHALANX_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PHALANX_SEEDS").unwrap_or(SEEDS),
    };
    let (mut messages, mut pulls, mut turns) = (0, 0, 0);
    let (mut held, mut staged, mut storms) = (0, 0, 0);
    for seed in seeds.filter(|seed| seed % SHARES == share) {
        let mut simulation = Simulation::new(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| simulation.run())) {
            eprintln!("simulation failed: run it again with PHALANX_SEED={seed}");
            resume_unwind(panic);
        }
        messages += simulation.network.messages.len();
        pulls += simulation.network.pulls;
        turns += simulation.turn;
        storms += simulation.network.storms.begun;
        held = simulation.network.held_seen.max(held);
        staged = simulation.network.staged_peak.max(staged);
    }
    eprintln!(
        "{messages} messages, {pulls} pulls, {turns} turns, {storms} storms; at most {held} held back, {staged} bytes staged"
    );
}

#[test]
fn any_program_on_any_network_is_matched_as_mpi_demands() {
    run(0);
}

#[test]
fn any_program_on_any_network_is_matched_as_mpi_demands_second_share() {
    run(1);
}

#[test]
fn any_program_on_any_network_is_matched_as_mpi_demands_third_share() {
    run(2);
}

#[test]
fn any_program_on_any_network_is_matched_as_mpi_demands_fourth_share() {
    run(3);
}
