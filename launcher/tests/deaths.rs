//! Ranks that die: the others learn it before the system has taken the process down, and the report waits for how
//! it ended and tells its last call.
//!
//! The ranks are this test program itself, which then runs only [`ranked_program`].
//! `cargo test --release -p phalanx-launcher --test deaths -- --ignored --nocapture --test-threads=1` measures how
//! long it takes.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::{TRANSPORTS, leave, nanos, part, run_part, stamps};
use phalanx::{Communicator, ErrorKind, Result, Sum};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// After this a job hangs.
const LIMIT: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

#[test]
fn ranked_program() {
    let Some(part) = part() else { return };
    leave(phalanx::run(|world| play(&part, &world)));
}

fn play(part: &str, world: &Communicator) -> Result<()> {
    // The launcher ends those who live, too: they shall have their say before.
    let ended = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, ended).expect("a signal");
    let last = world.size() - 1;
    let victim = world.rank() == last;
    let (name, amount) = part.split_once(' ').unwrap_or((part, "0"));
    let memory = vec![
        1_u8;
        if victim {
            amount.parse::<usize>().expect("a number") * MIB
        } else {
            0
        }
    ];
    std::hint::black_box(&memory);
    let own = [getpid().as_raw_nonzero().get()];
    let pids = world.allgather(&own)?;
    world.allreduce(1, Sum)?;
    match name {
        "killed" if world.rank() == 0 => {
            std::thread::sleep(Duration::from_millis(100));
            println!("\nkilled at {}", nanos());
            let victim = Pid::from_raw(pids[last]).expect("a process");
            kill_process(victim, Signal::KILL).expect("kills");
        }
        "exits" if victim => std::process::exit(3),
        "replaced" if victim => {
            let error = Command::new("sh").args(["-c", "sleep 1; exit 0"]).exec();
            panic!("{error}");
        }
        _ => {}
    }
    if victim {
        world.recv_vec::<u8>(0, 9)?;
    }
    let error = world.recv_vec::<u8>(last, 9).expect_err("it is dead");
    println!("\ntold at {}", nanos());
    let gone =
        matches!(error.kind(), ErrorKind::PeerGone { world_rank, .. } if *world_rank == last);
    assert!(gone, "{error}");
    Err(error)
}

#[test]
fn the_first_cause_and_its_last_call_are_told_whatever_the_memory() {
    for (name, words) in TRANSPORTS.iter().filter(|(name, _)| *name != "threads") {
        for amount in ["0", "600"] {
            let outcome = run_part(&format!("killed {amount}"), 3, words, LIMIT);
            assert_eq!(outcome.code, Some(137), "{name}: {outcome:?}");
            assert_eq!(stamps(&outcome.text(), "told at").len(), 2, "{outcome:?}");
            let reports = outcome.reports();
            assert_eq!(reports.len(), 1, "{name}: {reports:?}");
            assert!(reports[0].contains("rank 2 on "), "{reports:?}");
            assert!(
                reports[0].contains("was killed by signal 9 (SIGKILL); last in recv_vec at "),
                "{reports:?}"
            );
            assert!(reports[0].contains("deaths.rs:"), "{reports:?}");
        }
    }
}

#[test]
fn an_exit_and_another_program_are_ends_too() {
    let outcome = run_part("exits", 3, &[], LIMIT);
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.reports()[0].contains("rank 2 on "), "{outcome:?}");
    assert!(
        outcome.reports()[0].contains("exited with code 3"),
        "{outcome:?}"
    );
    let outcome = run_part("replaced", 3, &[], LIMIT);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(stamps(&outcome.text(), "told at").len(), 2, "{outcome:?}");
    assert!(
        outcome.reports()[0].contains("left with exit code 0 before finalize"),
        "{outcome:?}"
    );
}

fn figures(transport: &str) {
    let (_, words) = TRANSPORTS
        .iter()
        .find(|(name, _)| *name == transport)
        .expect("one");
    println!(
        "SIGKILL of one of 4 ranks, until all others are told, and until the job is over, in ms"
    );
    println!(
        "| transport | resident | runs | told p50 | told p99 | told max | over p50 | over max |"
    );
    for (amount, runs) in [("0", 100), ("1024", 40), ("4096", 20)] {
        let mut told = Vec::new();
        let mut over = Vec::new();
        for _ in 0..runs {
            let outcome = run_part(&format!("killed {amount}"), 4, words, LIMIT);
            let ended = nanos();
            assert_eq!(outcome.code, Some(137), "{outcome:?}");
            let killed = stamps(&outcome.text(), "killed at")[0];
            let last = stamps(&outcome.text(), "told at").into_iter().max();
            told.push(last.expect("told") - killed);
            over.push(ended - killed);
        }
        told.sort_unstable();
        over.sort_unstable();
        let at = |list: &[i64], percent: usize| {
            let index = (list.len() * percent).div_ceil(100).max(1) - 1;
            list[index] as f64 / 1e6
        };
        println!(
            "| {transport} | {amount} MiB | {runs} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} |",
            at(&told, 50),
            at(&told, 99),
            at(&told, 100),
            at(&over, 50),
            at(&over, 100)
        );
    }
}

#[test]
#[ignore = "measures; run it on a quiet machine"]
fn figures_over_shared_memory() {
    figures("shm");
}

#[test]
#[ignore = "measures; run it on a quiet machine"]
fn figures_over_unix_sockets() {
    figures("unix");
}

#[test]
#[ignore = "measures; run it on a quiet machine"]
fn figures_over_tcp() {
    figures("tcp");
}
