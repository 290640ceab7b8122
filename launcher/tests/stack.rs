//! What a running job does, asked from outside: `phalanx ps`, `phalanx stack`, and SIGQUIT.
//!
//! The ranks are this test program itself, which then runs only [`ranked_program`].

mod common;

use std::time::Duration;

use common::{Running, leave, part, part_command, run};
use phalanx::Sum;
use rustix::process::{Pid, Signal, kill_process};

/// After this a job hangs.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn ranked_program() {
    let Some(_) = part() else { return };
    leave(phalanx::run(|world| {
        if world.rank() == 0 {
            std::thread::sleep(Duration::from_millis(50));
            world.send(&[0_u8], 1, 0)?;
        } else if world.rank() == 1 {
            world.recv_vec::<u8>(0, 0)?;
        }
        world.barrier()?;
        println!("\nready");
        if world.rank() == 1 {
            std::thread::sleep(LIMIT);
        }
        world.allreduce(1, Sum).map(drop)
    }))
}

fn shows(table: &str, what: &str) -> bool {
    table.contains("waits")
        && table.contains("allreduce<i32>(1, sum) #1 at ")
        && table.contains(what)
}

#[test]
fn a_running_job_is_listed_and_shows_what_every_rank_does() {
    let mut running = Running::start_within(LIMIT, part_command("wait", 3, &[]));
    while running.lines(1)[0] != "ready" {}
    let pid = running.child.id();
    let launcher = pid.to_string();
    let listed = run(&["ps"]);
    assert!(listed.text().contains(&launcher), "{listed:?}");
    // Until both have slept for a moment.
    let table = loop {
        let outcome = run(&["stack", &launcher]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        if shows(&outcome.text(), "computes") {
            break outcome.text();
        }
    };
    assert_eq!(table.lines().count(), 4, "{table}");
    let row = table
        .lines()
        .find(|line| line.starts_with('1'))
        .expect("rank 1");
    assert!(
        row.contains("computes") && row.contains("last in "),
        "{table}"
    );
    let rank: i32 = row
        .split_whitespace()
        .nth(2)
        .and_then(|pid| pid.parse().ok())
        .expect("a pid");
    let rank = Pid::from_raw(rank).expect("a process");
    kill_process(rank, Signal::STOP).expect("stops");
    while !shows(&run(&["stack", &launcher]).text(), "stopped") {}
    let launcher = Pid::from_child(&running.child);
    kill_process(launcher, Signal::QUIT).expect("asks");
    kill_process(launcher, Signal::QUIT).expect("asks");
    std::thread::sleep(Duration::from_secs(1));
    kill_process(launcher, Signal::TERM).expect("ends");
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(143), "{outcome:?}");
    assert!(shows(&outcome.stderr, "stopped"), "{outcome:?}");
    let gone = run(&["stack", &pid.to_string()]);
    assert_eq!(gone.code, Some(2), "{gone:?}");
}
