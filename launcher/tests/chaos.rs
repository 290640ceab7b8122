//! Launcher, daemon or a rank is killed at a random moment of a job at work, again and again: the others end,
//! nothing is left behind, and the report, where somebody is left to give it, names who died.
//!
//! `PHALANX_KILLS=1000 cargo test -p phalanx-launcher --test chaos -- --nocapture` kills so many of each, and
//! prints how long it took until all were gone. `PHALANX_SEED=17` begins with that seed.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use common::{Mark, Outcome, Running, leave, part, part_command};
use phalanx::{Result, Sum};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);
const RANKS: usize = 5;
/// A job is at work after so long; kills may come before.
const MOMENTS_MICROS: u64 = 60_000;

#[test]
fn ranked_program() {
    if part().is_none() {
        return; // This process is the one that tests.
    }
    leave(phalanx::run(|world| -> Result<()> {
        let (right, left) = (
            (world.rank() + 1) % RANKS,
            (world.rank() + RANKS - 1) % RANKS,
        );
        let edge = vec![world.rank() as u64; 3000];
        let mut ghost = vec![0_u64; 3000];
        loop {
            world.sendrecv_into(&edge, right, 0, &mut ghost, left, 0)?;
            assert!(ghost.iter().all(|&value| value == left as u64));
            let sum = world.allreduce(ghost[0], Sum)?;
            assert_eq!(sum, 10);
        }
    }))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A seed that nobody has chosen.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Names in the places where jobs of this machine might leave something.
fn left_behind() -> BTreeSet<String> {
    let places = ["/tmp", "/dev/shm", "/var/tmp", "/run"];
    let of = |place: &&str| std::fs::read_dir(Path::new(*place)).ok();
    let entries = places.iter().filter_map(of).flatten().flatten();
    let names = entries.map(|entry| entry.path().display().to_string());
    names
        .filter(|name| name.to_lowercase().contains("phalanx"))
        .collect()
}

/// Who is killed, given the job and the processes that carry its mark: none, when it is not there yet.
type Choose = fn(&Running, &[Pid], &mut SmallRng) -> Option<Pid>;

fn kill_again_and_again(who: &str, choose: Choose, check: fn(&Outcome) -> bool) {
    let kills = number("PHALANX_KILLS").unwrap_or(12);
    let first = number("PHALANX_SEED").unwrap_or_else(now);
    println!("{who}: PHALANX_SEED={first}");
    let before = left_behind();
    let mut times = Vec::new();
    let mut missed = 0;
    for seed in first..first + kills {
        let mut dice = SmallRng::seed_from_u64(seed);
        let transport = ["shm", "unix", "tcp"][dice.random_range(0..3)];
        let mark = Mark::new();
        let words = ["--transport", transport, "--env", mark.variable()];
        let running = Running::start_within(LIMIT, part_command("work", RANKS, &words));
        std::thread::sleep(Duration::from_micros(dice.random_range(0..MOMENTS_MICROS)));
        let victim = loop {
            match choose(&running, &mark.bearers(), &mut dice) {
                Some(victim) => break victim,
                None => std::thread::yield_now(),
            }
        };
        let killed = Instant::now();
        // It may have ended by itself only because of an earlier kill, and there is none.
        kill_process(victim, Signal::KILL).expect("it runs");
        let outcome = running.finish();
        mark.assert_gone();
        times.push(killed.elapsed());
        if !check(&outcome) {
            missed += 1;
            println!(
                "{who}, seed {seed}, {transport}: code {:?}\n{}",
                outcome.code, outcome.stderr
            );
        }
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!(
        "{who}: {kills} killed; all gone after {:.1} ms (median), {:.1} (p99), {:.1} (longest)",
        at(50),
        at(99),
        at(100)
    );
    let new: Vec<_> = left_behind().difference(&before).cloned().collect();
    assert!(new.is_empty(), "left behind: {new:?}");
    assert_eq!(missed, 0, "reports that do not name the cause");
}

#[test]
fn nothing_is_left_when_the_launcher_is_killed() {
    kill_again_and_again(
        "launcher",
        |running, _, _| {
            i32::try_from(running.child.id())
                .ok()
                .and_then(Pid::from_raw)
        },
        |outcome| outcome.code.is_none(),
    );
}

#[test]
fn nothing_is_left_when_the_daemon_is_killed() {
    kill_again_and_again(
        "daemon",
        |running, _, _| Some(running.daemon()),
        |outcome| outcome.code == Some(72) && outcome.stderr.contains("lost the daemon"),
    );
}

#[test]
fn nothing_is_left_when_a_rank_is_killed() {
    kill_again_and_again(
        "rank",
        |_, ranks, dice| {
            let some = !ranks.is_empty();
            some.then(|| ranks[dice.random_range(0..ranks.len())])
        },
        |outcome| outcome.code == Some(137) && outcome.stderr.contains("killed by signal 9"),
    );
}
