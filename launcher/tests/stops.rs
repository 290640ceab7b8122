//! Ranks that are stopped: no deaths. When others wait for one it is named, once, and when it goes on so does
//! the job; a row of the fault matrix, whose other rows are in `faults.rs`.
//!
//! The ranks are this test program itself, which then runs only [`ranked_program`].
//! `PHALANX_FAULT_ROUNDS=100 cargo test -p phalanx-launcher --test stops -- --nocapture` goes through the
//! row a hundred times, and says how many cells were right.

mod common;

use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use common::{Mark, Outcome, Running, TRANSPORTS, await_that, leave, part, part_command, state_of};
use phalanx::{Communicator, Max, Result, Source};
use rustix::process::{Pid, Signal, getpid, kill_process};
use rustix::thread::gettid;

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(60);
const RANKS: usize = 4;
/// The rank that is stopped.
const VICTIM: usize = 2;
/// Steps of work before the stop.
const STEPS: u64 = 5;

/// When it is stopped, and whether others wait for it then.
const PHASES: &[(&str, bool)] = &[
    ("before init", true),
    ("after init", true),
    ("in a receive", true),
    ("in a reduction", true),
    ("at work", true),
    ("before finalize", true),
    ("after finalize", false),
];

/// Stops this process until it is continued.
fn stop() {
    let continued = Arc::new(AtomicBool::new(false));
    let registered = signal_hook::flag::register(signal_hook::consts::SIGCONT, continued.clone());
    registered.expect("a signal");
    println!("\nstops {}", std::process::id());
    kill_process(getpid(), Signal::STOP).expect("it may");
    // The signal may have gone to another thread: then this one is stopped a little later.
    while !continued.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn ranked_program() {
    let Some(phase) = part() else {
        return; // This process is the one that tests.
    };
    let rank = std::env::var("PHALANX_RANK").expect("set by the launcher");
    let victim = rank == VICTIM.to_string();
    if victim && phase == "before init" {
        stop();
    }
    let code = phalanx::run(|world| {
        play(&world, &phase, victim)?;
        world.finalize()
    });
    if victim && phase == "after finalize" {
        stop();
    }
    leave(code)
}

fn play(world: &Communicator, phase: &str, victim: bool) -> Result<()> {
    match phase {
        "in a receive" if victim => {
            stop_in_a_receive(world)?;
            release(world)
        }
        "before finalize" if victim => {
            stop();
            release(world)
        }
        "in a receive" | "before finalize" => world.recv_vec::<u8>(VICTIM, 1).map(drop),
        "in a reduction" => {
            let stops = AtomicBool::new(victim);
            let operator = phalanx::ordered(move |a: u64, b: u64| {
                if stops.swap(false, SeqCst) {
                    stop();
                }
                a + b
            });
            // In a scan every rank but the first combines something.
            let sum = world.scan(1_u64, operator)?;
            assert_eq!(sum, world.rank() as u64 + 1);
            world.barrier()
        }
        "at work" => work(world, victim),
        _ => {
            if victim && phase == "after init" {
                stop();
            }
            world.barrier()
        }
    }
}

fn release(world: &Communicator) -> Result<()> {
    let mut others = (0..RANKS).filter(|rank| *rank != VICTIM);
    others.try_for_each(|rank| world.send(&[1_u8], rank, 1))
}

/// Another thread stops the process when this one sleeps in its receive, and then sends what it waits for.
fn stop_in_a_receive(world: &Communicator) -> Result<()> {
    let receives = AtomicBool::new(false);
    let receiver = gettid().as_raw_nonzero();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let state = format!("/proc/self/task/{receiver}/stat");
            await_that("it sleeps in its receive", || {
                let stat = read_to_string(&state).expect("this process");
                receives.load(SeqCst) && stat.contains(") S ")
            });
            stop();
            world.send(&[7_u8], VICTIM, 1).expect("sends");
        });
        receives.store(true, SeqCst);
        let (bytes, _) = world.recv_vec::<u8>(Source::Any, 1)?;
        assert_eq!(bytes, [7]);
        Ok(())
    })
}

/// Borders and an agreement in each step, until the victim has been stopped amid them and goes on.
fn work(world: &Communicator, victim: bool) -> Result<()> {
    let steps = AtomicU64::new(0);
    let over = AtomicBool::new(!victim);
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    std::thread::scope(|scope| {
        if victim {
            scope.spawn(|| {
                await_that("it works", || steps.load(SeqCst) >= STEPS);
                stop();
                over.store(true, SeqCst);
            });
        }
        let mut goes_on = true;
        while goes_on {
            let step = steps.fetch_add(1, SeqCst);
            let mut ghost = [0];
            world.sendrecv_into(&[step], right, 0, &mut ghost, left, 0)?;
            assert_eq!(ghost, [step]);
            goes_on = world.allreduce(u64::from(!over.load(SeqCst)), Max)? == 1;
        }
        Ok(())
    })
}

/// Starts ranks and waits until one of them is stopped: its process.
fn start(phase: &str, words: &[&str]) -> (Running, Pid) {
    let mut running = Running::start_within(LIMIT, part_command(phase, RANKS, words));
    let pid = loop {
        // The harness of the ranks has lines of its own.
        let line = running.lines(1).remove(0);
        if let Some(pid) = line.strip_prefix("stops ") {
            break pid.parse().expect("a number");
        }
    };
    await_that("it is stopped", || state_of(pid) == 'T');
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    (running, pid.expect("a process"))
}

fn check(outcome: &Outcome, pid: Pid, waited_for: bool) -> std::result::Result<(), String> {
    let reports = outcome.reports();
    let number = pid.as_raw_nonzero();
    let named = |line: &str| {
        line.starts_with(&format!("phalanx: rank {VICTIM} on "))
            && line.contains(&format!(
                "(pid {number}) is stopped (state T; `kill -CONT {number}`"
            ))
            && line.contains(" for it in ")
            && line.contains("stops.rs:")
    };
    let told = match reports[..] {
        [] => !waited_for,
        [line] => waited_for && named(line),
        _ => false,
    };
    if outcome.code == Some(0) && told {
        Ok(())
    } else {
        Err(format!("{outcome:?}"))
    }
}

/// One cell of the matrix.
fn cell(phase: &str, waited_for: bool, words: &[&str]) -> std::result::Result<(), String> {
    let mark = Mark::new();
    let (running, pid) = start(phase, &[words, &["--env", mark.variable()]].concat());
    if waited_for {
        running.wait_for_words("is stopped");
    }
    kill_process(pid, Signal::CONT).expect("it is there");
    let outcome = running.finish();
    mark.assert_gone();
    check(&outcome, pid, waited_for)
}

#[test]
fn a_rank_that_is_stopped_is_named_and_the_job_goes_on_with_it() {
    let rounds = std::env::var("PHALANX_FAULT_ROUNDS").ok();
    let rounds = rounds.map_or(1, |text| text.parse().expect("a number of rounds"));
    for (transport, words) in TRANSPORTS.iter().filter(|(name, _)| *name != "threads") {
        let (mut right, mut wrong) = (0, Vec::new());
        for _ in 0..rounds {
            // Most of the time is patience of the launcher.
            std::thread::scope(|scope| {
                let cells = PHASES.iter().map(|&(phase, waited_for)| {
                    let cell = scope.spawn(move || cell(phase, waited_for, words));
                    (phase, cell)
                });
                for (phase, cell) in cells.collect::<Vec<_>>() {
                    match cell.join().expect("a verdict") {
                        Ok(()) => right += 1,
                        Err(why) => {
                            wrong.push(format!("SIGSTOP / {phase} over {transport}: {why}"))
                        }
                    }
                }
            });
        }
        println!(
            "{transport}: {right} of {} cells right",
            right + wrong.len()
        );
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn a_limit_ends_the_job_of_a_rank_that_is_stopped() {
    let mark = Mark::new();
    let words = ["--stall-timeout", "2", "--env", mark.variable()];
    let (running, _) = start("after init", &words);
    let outcome = running.finish();
    mark.assert_gone();
    assert_eq!(outcome.code, Some(75), "{outcome:?}");
    let reports = outcome.reports();
    let words = format!("(--stall-timeout 2); rank {VICTIM}, for which it waits, is stopped");
    assert!(reports[0].contains(&words), "{outcome:?}");
}
