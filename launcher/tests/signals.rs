//! Signals, and the deaths of the launcher and its daemon.

mod common;

use common::{Mark, Running, await_that, phalanx, state_of};
use rustix::process::{Signal, kill_process};

/// Four ranks that run `prepare`, say that they are up, and then run `script`; all of them are up.
/// Also the process of one of them.
fn start(mark: &Mark, prepare: &str, script: &str) -> (Running, i32) {
    let script = format!("{prepare}; echo up $$; {script}");
    let mark = mark.variable();
    let words = ["run", "-n", "4", "--env", mark, "sh", "-c", &script];
    let mut running = Running::start(phalanx(&words));
    let lines = running.lines(4);
    assert!(
        lines.iter().all(|line| line.starts_with("up ")),
        "{lines:?}"
    );
    let pid = lines[0].trim_start_matches("up ").parse();
    (running, pid.expect("a process id"))
}

#[test]
fn interrupt_and_terminate_end_the_job_with_their_codes() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        if phalanx::sys::process::ignores_signal(signal.as_raw()) {
            println!(
                "not tried: {signal:?} is ignored here, as under nohup, and so by the launcher"
            );
            continue;
        }
        let mark = Mark::new();
        // Without `exec` dash may lose an interrupt that comes while it forks.
        let (running, _) = start(&mark, ":", "exec sleep 600");
        running.signal(signal);
        let outcome = running.finish();
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        assert!(outcome.reports().len() <= 1, "{}", outcome.stderr);
        mark.assert_gone();
    }
}

#[test]
fn a_daemon_that_is_terminated_ends_its_ranks_as_a_batch_system_means_it() {
    let mark = Mark::new();
    let (running, _) = start(&mark, ":", "exec sleep 600");
    kill_process(running.daemon(), Signal::TERM).expect("it runs");
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(143), "{}", outcome.stderr);
    let reports = outcome.reports();
    assert_eq!(reports.len(), 1, "{}", outcome.stderr);
    assert!(
        reports[0].contains("the job was cancelled on "),
        "{}",
        reports[0]
    );
    mark.assert_gone();
}

#[test]
fn ranks_can_end_well_on_a_signal() {
    let mark = Mark::new();
    let (running, _) = start(&mark, "trap 'echo saved; exit 0' TERM", "sleep 600 & wait");
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.sorted_lines(), ["saved"; 4]);
    mark.assert_gone();
}

#[test]
fn the_second_signal_kills_those_who_ignore_the_first() {
    let mark = Mark::new();
    let (mut running, _) = start(
        &mark,
        "trap '' INT; trap 'echo still here' USR1",
        "while :; do sleep 0.05; done",
    );
    running.signal(Signal::INT);
    running.signal(Signal::USR1);
    assert_eq!(running.lines(4), ["still here"; 4]);
    running.signal(Signal::INT);
    assert_eq!(running.finish().code, Some(130));
    mark.assert_gone();
}

#[test]
fn user_signals_are_passed_on() {
    let mark = Mark::new();
    let traps = "trap 'echo one' USR1; trap 'echo two; exit 0' USR2";
    let (mut running, _) = start(&mark, traps, "while :; do sleep 0.05; done");
    running.signal(Signal::USR1);
    assert_eq!(running.lines(4), ["one"; 4]);
    running.signal(Signal::USR2);
    let outcome = running.finish();
    assert_eq!(outcome.sorted_lines(), ["two"; 4]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}

#[test]
fn a_stopped_job_can_be_continued() {
    let mark = Mark::new();
    // A loop of `sleep` would not do: a shell in `vfork` is not stopped while its child is.
    let (mut running, _) = start(
        &mark,
        "trap 'echo went on' USR1; trap 'exit 0' USR2",
        "sleep 600 & while :; do wait; done",
    );
    running.signal(Signal::TSTP);
    mark.await_processes("stopped", |state| state == 'T');
    let launcher = running.child.id();
    await_that("the launcher is stopped too", || state_of(launcher) == 'T');
    running.signal(Signal::CONT);
    mark.await_processes("going on", |state| state != 'T');
    running.signal(Signal::USR1);
    assert_eq!(running.lines(4), ["went on"; 4]);
    running.signal(Signal::USR2);
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.reports(), [""; 0]);
}

#[test]
fn a_stopped_rank_is_ended_with_the_others() {
    let mark = Mark::new();
    let (running, _) = start(
        &mark,
        ":",
        "[ $PHALANX_RANK = 0 ] && { sleep 0.2; exit 3; }; kill -STOP $$",
    );
    assert_eq!(running.finish().code, Some(3));
    mark.assert_gone();
}

#[test]
fn killing_the_launcher_leaves_nothing() {
    for _ in 0..10 {
        let mark = Mark::new();
        let (running, _) = start(&mark, "trap '' TERM INT HUP", "sleep 600; sleep 600");
        running.signal(Signal::KILL);
        assert_eq!(running.finish().code, None);
        mark.assert_gone();
    }
}

#[test]
fn killing_the_launcher_while_it_starts_leaves_nothing() {
    for delay in 0..20 {
        let mark = Mark::new();
        let words = ["run", "-n", "30", "--env", mark.variable(), "sleep", "600"];
        let running = Running::start(phalanx(&words));
        std::thread::sleep(std::time::Duration::from_millis(2 * delay));
        running.signal(Signal::KILL);
        running.finish();
        mark.assert_gone();
    }
}

#[test]
fn killing_the_daemon_leaves_nothing_and_is_named() {
    for _ in 0..10 {
        let mark = Mark::new();
        let (running, _) = start(&mark, "trap '' TERM INT HUP", "sleep 600; sleep 600");
        kill_process(running.daemon(), Signal::KILL).expect("it runs");
        let outcome = running.finish();
        assert_eq!(outcome.code, Some(72), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("lost the daemon on "));
        mark.assert_gone();
    }
}

#[test]
fn killing_the_daemon_while_it_starts_leaves_nothing() {
    for delay in 0..20 {
        let mark = Mark::new();
        let script = "trap '' TERM; sleep 600 & sleep 600; true";
        let mark_it = mark.variable();
        let words = ["run", "-n", "30", "--env", mark_it, "sh", "-c", script];
        let running = Running::start(phalanx(&words));
        let daemon = running.daemon();
        std::thread::sleep(std::time::Duration::from_millis(2 * delay));
        kill_process(daemon, Signal::KILL).expect("it runs");
        assert_eq!(running.finish().code, Some(72));
        mark.assert_gone();
    }
}

#[test]
fn killing_a_rank_ends_the_job_and_names_it() {
    for _ in 0..20 {
        let mark = Mark::new();
        let (running, pid) = start(&mark, ":", "sleep 600; true");
        let victim = rustix::process::Pid::from_raw(pid).expect("not 0");
        kill_process(victim, Signal::KILL).expect("it runs");
        let outcome = running.finish();
        assert_eq!(outcome.code, Some(137));
        assert_eq!(outcome.reports().len(), 1, "{}", outcome.stderr);
        assert!(
            outcome
                .stderr
                .contains(&format!("(pid {pid}) was killed by signal 9"))
        );
        mark.assert_gone();
    }
}
