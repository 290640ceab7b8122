//! A host is cut off at random moments, again and again: it is named, with the code of a lost host, its ranks end,
//! and the job is over in time.
//!
//! `PHALANX_CUTS=30 cargo test --release -p phalanx-launcher --test cluster cuts -- --nocapture` cuts so often.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::bed::bed;
use crate::common::times;
use crate::kills::{now, number};
use crate::ranked;

/// From the first line of a rank on.
const MOMENTS_MILLIS: u64 = 1_000;

#[test]
fn a_host_that_is_cut_off_is_named_again_and_again() {
    let Some(bed) = bed(2) else { return };
    let first = number("PHALANX_SEED").unwrap_or_else(now);
    let cuts = number("PHALANX_CUTS").unwrap_or(2);
    println!("cuts: PHALANX_SEED={first}");
    let endless = ranked("endless");
    let endless: Vec<&str> = endless.iter().map(String::as_str).collect();
    let mut over = Vec::new();
    for seed in first..first + cuts {
        let mut dice = SmallRng::seed_from_u64(seed);
        let place = ["--host", "head:1,node1:2,node2:2", "-n", "5"];
        let mut job = bed.start(&[&place, &endless[..]].concat());
        while !job.lines(1)[0].contains("of 5: sum 15") {}
        std::thread::sleep(Duration::from_millis(dice.random_range(0..MOMENTS_MILLIS)));
        let node = ["node1", "node2"][dice.random_range(0..2)];
        // Before the script that cuts, which takes its time: the figures are upper limits.
        let cut = Instant::now();
        bed.fault(&["cut", node]);
        let outcome = job.finish();
        over.push(cut.elapsed());
        bed.fault(&["heal"]);
        assert_eq!(outcome.code, Some(72), "seed {seed}: {}", outcome.stderr);
        let reports = outcome.reports();
        let named = format!("lost host {node}");
        assert!(
            reports.len() == 1 && reports[0].contains(&named),
            "seed {seed}: {}",
            outcome.stderr
        );
        bed.assert_clean();
    }
    println!(
        "a host is cut off, {cuts} times: the job is over after {}",
        times(over)
    );
}
