//! Hosts that cannot be started, and hosts that are lost: one line with host and cause, the exit code that is
//! promised, and nothing left anywhere.

use std::time::Duration;

use rustix::process::Signal;

use crate::bed::{Bed, bed};
use crate::common::Outcome;

/// A job on two hosts that only ends because something happens.
const JOB: &[&str] = &["--host", "node1,node2", "-n", "2"];
const ENDLESS: &[&str] = &["sh", "-c", "echo up; sleep 1000"];

fn expect(bed: &Bed, outcome: &Outcome, code: i32, needles: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    let reports = outcome.reports();
    assert_eq!(reports.len(), 1, "one line: {}", outcome.stderr);
    for needle in needles {
        assert!(reports[0].contains(needle), "{needle}: {}", outcome.stderr);
    }
    bed.assert_clean();
}

/// Tries to start, with further words.
fn refused(bed: &Bed, words: &[&str], code: i32, needles: &[&str]) {
    let outcome = bed.run(&[JOB, words, ENDLESS].concat());
    expect(bed, &outcome, code, needles);
}

#[test]
fn a_host_that_cannot_be_started_is_named_with_the_cause() {
    let Some(bed) = bed(2) else { return };
    let other = |host: &str| bed.run(&[&["--host", host, "-n", "2"], ENDLESS].concat());
    let unreachable = other("node1,nowhere");
    expect(&bed, &unreachable, 71, &["on nowhere", "No route to host"]);
    let unknown = other("node1,no-such-host");
    expect(&bed, &unknown, 71, &["on no-such-host", "does not resolve"]);

    let keys = bed.state().join("keys");
    let wrong = std::fs::read_to_string(keys.join("other.pub")).expect("made");
    let wrong: Vec<&str> = wrong.split_whitespace().take(2).collect();
    let line = format!("node1,node2 {}\n", wrong.join(" "));
    std::fs::write(keys.join("wrong"), line).expect("writes");
    let option = format!("-oUserKnownHostsFile={}", keys.join("wrong").display());
    let words = ["--ssh-option", &option];
    refused(
        &bed,
        &words,
        71,
        &["on node", "host key is not the one", "ssh-keygen -R"],
    );
    let words = ["--ssh-option", "-oUserKnownHostsFile=/dev/null"];
    refused(&bed, &words, 71, &["on node", "host key is not known"]);

    bed.fault(&["stop-sshd", "node2"]);
    refused(&bed, &[], 71, &["on node2", "Connection refused"]);
    bed.fault(&["start-sshd", "node2"]);
    bed.fault(&["cut", "node2"]);
    refused(&bed, &[], 71, &["on node2", "timed out"]);
    bed.fault(&["heal"]);
}

#[test]
fn a_host_without_room_is_named_with_every_place_that_was_tried() {
    let Some(bed) = bed(2) else { return };
    let home = bed.on("node2", &["sh", "-c", "echo $HOME"]);
    let mount = |place: &str, option: &str| {
        bed.on("node2", &["mount", "-o", option, "none", place]);
    };
    for place in ["/tmp", "/var/tmp"] {
        mount(place, "remount,ro");
    }
    for place in [home.trim(), "/dev/shm"] {
        mount(place, "remount,size=1m");
    }
    let needles = [
        "on node2",
        "No space left on device",
        "Read-only file system",
        "/tmp/",
    ];
    refused(&bed, &[], 71, &needles);
    // The next place is taken when the first one is full.
    mount("/tmp", "remount,rw");
    let outcome = bed.run(&[JOB, &["hostname"]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    bed.assert_clean();
}

#[test]
fn another_phalanx_on_the_path_of_a_host_is_refused_by_name() {
    let Some(bed) = bed(2) else { return };
    let path = "/usr/local/bin/phalanx";
    // What a daemon of protocol 2 says first: its Hello.
    let old = r#"#!/bin/sh
printf '\011\000\000\000\000\002\005node2\007'
exec cat >/dev/null
"#;
    let launcher = env!("CARGO_BIN_EXE_phalanx");
    let directory = std::path::Path::new(launcher).parent().expect("built");
    let script = format!(
        "mount -t tmpfs none /usr/local/bin; printf '%s' \"$1\" >{path}; chmod +x {path}; \
         mkdir -p {}",
        directory.display()
    );
    bed.on("node2", &["sh", "-c", &script, "sh", old]);
    let words = ["--host", "node2", "-n", "1", "--no-ship", "true"];
    let outcome = bed.run(&words);
    expect(&bed, &outcome, 76, &["node2", "protocol 2"]);
    bed.on("node2", &["rm", path]);
    let outcome = bed.run(&words);
    expect(&bed, &outcome, 71, &["on node2", "no phalanx there"]);
}

/// Starts the endless job and waits until both ranks run.
fn running(bed: &Bed) -> crate::common::Running {
    let mut running = bed.start(&[JOB, ENDLESS].concat());
    assert_eq!(running.lines(2), ["up", "up"]);
    running
}

#[test]
fn a_host_that_is_lost_ends_the_job_and_its_own_ranks() {
    let Some(bed) = bed(2) else { return };
    let job = running(&bed);
    bed.fault(&["cut", "node2"]);
    let outcome = job.finish();
    let needles = ["lost host node2", "nothing was heard", "rank 1"];
    expect(&bed, &outcome, 72, &needles);
    bed.fault(&["heal"]);

    let job = running(&bed);
    bed.fault(&["end-sessions", "node2"]);
    expect(&bed, &job.finish(), 72, &["node2", "rank 1"]);
    bed.fault(&["start-sshd", "node2"]);

    let job = running(&bed);
    bed.fault(&["freeze", "node2"]);
    let outcome = job.finish();
    bed.fault(&["thaw", "node2"]);
    expect(&bed, &outcome, 72, &["lost host node2"]);
}

#[test]
fn a_launcher_that_is_killed_leaves_nothing_on_any_host() {
    let Some(bed) = bed(2) else { return };
    for signal in ["KILL", "INT"] {
        let job = running(&bed);
        bed.signal(signal);
        job.finish();
        bed.assert_clean();
    }
}

#[test]
fn a_launcher_that_is_stopped_by_its_terminal_loses_no_host() {
    let Some(bed) = bed(2) else { return };
    let script = "echo up; sleep 6; echo done";
    let mut job = bed.start(&[JOB, &["sh", "-c", script]].concat());
    job.lines(2);
    bed.signal("TSTP");
    // Longer than any silence that is suffered otherwise.
    std::thread::sleep(Duration::from_secs(5));
    // What brought it to the head has stopped with it, and continues it.
    job.signal(Signal::CONT);
    let outcome = job.finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.text().matches("done").count(), 2);
    bed.assert_clean();
}
