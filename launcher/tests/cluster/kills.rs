//! Launcher, daemons and ranks of a job over several hosts are killed at random moments, again and again: nothing
//! is left on any host.
//!
//! `PHALANX_KILLS=200 cargo test -p phalanx-launcher --test cluster kills -- --nocapture` kills so many of each.

use std::time::{Duration, Instant, SystemTime};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::bed::{Bed, bed};
use crate::{common, ranked};

/// From the start of the launcher on; a job takes about this long to be at work.
const MOMENTS_MILLIS: u64 = 900;

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn again_and_again(who: &str, kill: fn(&Bed, &mut SmallRng) -> bool) {
    let Some(bed) = bed(2) else { return };
    let first = number("PHALANX_SEED").unwrap_or_else(now);
    let kills = number("PHALANX_KILLS").unwrap_or(3);
    println!("{who}: PHALANX_SEED={first}");
    let endless = ranked("endless");
    let endless: Vec<&str> = endless.iter().map(String::as_str).collect();
    let mut times = Vec::new();
    for seed in first..first + kills {
        let mut dice = SmallRng::seed_from_u64(seed);
        let job = bed.start(
            &[
                &["--host", "head:1,node1:2,node2:2", "-n", "5"],
                &endless[..],
            ]
            .concat(),
        );
        std::thread::sleep(Duration::from_millis(dice.random_range(0..MOMENTS_MILLIS)));
        // The moment may be too early to hit anybody.
        while !kill(&bed, &mut dice) {}
        let killed = Instant::now();
        let outcome = job.finish();
        assert_ne!(outcome.code, Some(0), "seed {seed}: {}", outcome.stderr);
        bed.assert_clean();
        times.push(killed.elapsed());
    }
    println!(
        "{who}: {kills} killed; nothing left on any host after {}",
        common::times(times)
    );
}

fn host(dice: &mut SmallRng) -> &'static str {
    ["head", "node1", "node2"][dice.random_range(0..3)]
}

#[test]
fn nothing_is_left_after_kills_of_the_launcher() {
    again_and_again("launcher", |bed, dice| {
        bed.kill_one("head", "phalanx", dice.random_range(0..2))
    });
}

#[test]
fn nothing_is_left_after_kills_of_a_daemon() {
    again_and_again("daemon", |bed, dice| {
        // On nodes it goes by the name of its content.
        let node = ["node1", "node2"][dice.random_range(0..2)];
        bed.kill_one(node, "[0-9a-f]{15}", dice.random_range(0..4))
    });
}

#[test]
fn nothing_is_left_after_kills_of_a_rank() {
    again_and_again("rank", |bed, dice| {
        let host = host(dice);
        let name = if host == "head" {
            "cluster"
        } else {
            "[0-9a-f]{15}"
        };
        bed.kill_one(host, name, dice.random_range(0..4))
    });
}
