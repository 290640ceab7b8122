//! The fault matrix: how a rank ends x in which phase x over which transport. Every cell ends in one line
//! that names the rank and what became of it, with the right code, and leaves nothing behind.
//!
//! `PHALANX_FAULT_ROUNDS=100 cargo test -p phalanx-launcher --test faults -- --nocapture` goes through
//! the matrix a hundred times, and says how many cells were right.

mod common;

use std::time::Duration;

use common::{Mark, Outcome, Running, TRANSPORTS, leave, part, part_command};
use phalanx::{Communicator, Result, Source, Sum};
use rustix::process::{Signal, getpid, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(60);
const RANKS: usize = 4;
/// The rank that has the fault.
const VICTIM: usize = 2;

/// How a rank ends, the code of the job, and what its report must say.
const MODES: &[(&str, i32, &str)] = &[
    ("exit 0", 1, "exit code 0"),
    ("exit 3", 3, "code 3"),
    ("panic", 101, "it was planned"),
    ("abort", 134, "signal 6"),
    ("SIGSEGV", 139, "signal 11"),
    ("SIGKILL", 137, "signal 9"),
];

const PHASES: &[&str] = &[
    "before init",
    "after init",
    "in a receive",
    "in a reduction",
    "at work",
    "before finalize",
    "after finalize",
];

fn end(mode: &str) {
    let kill = |signal| kill_process(getpid(), signal).expect("it may");
    match mode {
        "exit 0" => std::process::exit(0),
        "exit 3" => std::process::exit(3),
        "panic" => panic!("it was planned"),
        "abort" => std::process::abort(),
        // The first one that is handled only ends what the standard library does about it.
        "SIGSEGV" => loop {
            kill(Signal::SEGV);
            std::thread::sleep(Duration::from_millis(1));
        },
        "SIGKILL" => kill(Signal::KILL),
        other => panic!("there is no mode {other}"),
    }
}

/// In another thread while this one goes on.
fn end_soon(mode: &str) {
    let mode = mode.to_owned();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        end(&mode);
    });
}

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    let (mode, phase) = part.split_once(" / ").expect("a mode and a phase");
    let rank = std::env::var("PHALANX_RANK").expect("set by the launcher");
    let victim = rank == VICTIM.to_string();
    if victim && phase == "before init" {
        end(mode);
    }
    let code = phalanx::run(|world| {
        play(&world, phase, victim.then_some(mode))?;
        world.finalize()
    });
    if victim && phase == "after finalize" {
        end(mode);
    }
    leave(code)
}

fn play(world: &Communicator, phase: &str, fault: Option<&str>) -> Result<()> {
    match (phase, fault) {
        ("after init", Some(mode)) => end(mode),
        ("after init" | "before init", None) => world.barrier()?,
        ("in a receive", Some(mode)) => {
            end_soon(mode);
            world.recv_vec::<u8>(Source::Any, 1)?;
        }
        ("in a receive", None) => {
            world.recv_vec::<u8>(VICTIM, 1)?;
        }
        ("in a reduction", _) => {
            let mode = fault.map(str::to_owned);
            let operator = phalanx::ordered(move |a: u64, b: u64| {
                if let Some(mode) = &mode {
                    end(mode);
                }
                a + b
            });
            // In a scan every rank but the first combines something.
            world.scan(1_u64, operator)?;
            world.barrier()?;
        }
        ("at work", _) => {
            fault.iter().for_each(|mode| end_soon(mode));
            for step in 0..u64::MAX {
                let (right, left) = (
                    (world.rank() + 1) % RANKS,
                    (world.rank() + RANKS - 1) % RANKS,
                );
                let mut ghost = [0_u64];
                world.sendrecv_into(&[step], right, 0, &mut ghost, left, 0)?;
                world.allreduce(ghost[0], Sum)?;
            }
        }
        ("before finalize", _) => {
            world.barrier()?;
            fault.iter().for_each(|mode| end(mode));
            world.recv_vec::<u8>(VICTIM, 1)?;
        }
        _ => world.barrier()?,
    }
    Ok(())
}

fn check(
    mode: &(&str, i32, &str),
    phase: &str,
    outcome: &Outcome,
) -> std::result::Result<(), String> {
    let (mode, mut code, mut words) = *mode;
    if (phase, mode) == ("before init", "panic") {
        // Nobody listens for panics yet; the usual message is there.
        words = "code 101";
    }
    let reports = outcome.reports();
    if (phase, mode) == ("after finalize", "exit 0") {
        code = 0;
    }
    let silent = code == 0;
    let named = reports.len() == 1
        && reports[0].contains(&format!("rank {VICTIM} "))
        && reports[0].contains(words);
    if outcome.code == Some(code) && (named || (silent && reports.is_empty())) {
        return Ok(());
    }
    Err(format!(
        "code {:?} instead of {code}, reports {reports:#?}\n{}",
        outcome.code, outcome.stderr
    ))
}

fn rounds() -> usize {
    let rounds = std::env::var("PHALANX_FAULT_ROUNDS").ok();
    rounds.map_or(1, |text| text.parse().expect("a number of rounds"))
}

/// Goes through all modes and phases.
fn matrix(transport: &str) {
    let (_, words) = TRANSPORTS
        .iter()
        .find(|(name, _)| *name == transport)
        .expect("a transport");
    let (mut right, mut wrong) = (0, Vec::new());
    for _ in 0..rounds() {
        for mode in MODES {
            for phase in PHASES {
                // A panic in a thread of its own is not the end of a process.
                if mode.0 == "panic" && ["in a receive", "at work"].contains(phase) {
                    continue;
                }
                let part = format!("{} / {phase}", mode.0);
                let mark = Mark::new();
                let words = [*words, &["--env", mark.variable()]].concat();
                let outcome =
                    Running::start_within(LIMIT, part_command(&part, RANKS, &words)).finish();
                mark.assert_gone();
                match check(mode, phase, &outcome) {
                    Ok(()) => right += 1,
                    Err(why) => wrong.push(format!("{part} over {transport}: {why}")),
                }
            }
        }
    }
    println!(
        "{transport}: {right} of {} cells right",
        right + wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fault_is_reported_over_shared_memory() {
    matrix("shm");
}

#[test]
fn every_fault_is_reported_over_unix_sockets() {
    matrix("unix");
}

#[test]
fn every_fault_is_reported_over_tcp() {
    matrix("tcp");
}
