//! Standard input for one rank, for all, and for none, through the real launcher.

mod common;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use common::{Mark, Running, await_that, run, run_with_input};
use rustix::process::Signal;

fn pattern(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|place| (place % 251) as u8).collect()
}

/// The launcher with these words, which gets this input and writes its own lines to a file.
fn start(words: &[&str], said: &str, input: Vec<u8>) -> Running {
    let mut command = Command::new("sh");
    command
        .args(["-c", "said=$1; shift; exec \"$0\" \"$@\" 2>\"$said\""])
        .args([env!("CARGO_BIN_EXE_phalanx"), said])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.child.stdin.take().expect("piped");
    // It ends with the launcher, which reads all or goes.
    std::thread::spawn(move || drop(stdin.write_all(&input)));
    running
}

#[test]
fn all_ranks_of_all_hosts_get_all_of_it() {
    let input = pattern(5_000_000);
    for hosts in ["1", "2", "3"] {
        let script = "[ $PHALANX_RANK = 2 ] && exec cat; wc -c >&2";
        let words = ["run", "--stdin", "all", "--pretend-hosts", hosts, "-n", "4"];
        let words = [&words[..], &["sh", "-c", script]].concat();
        let outcome = run_with_input(&words, input.clone());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout == input, "{} bytes", outcome.stdout.len());
        assert_eq!(outcome.stderr, "5000000\n".repeat(3));
    }
}

#[test]
fn a_rank_that_does_not_read_holds_up_nobody_and_loses_nothing() {
    for hosts in ["1", "2"] {
        let mark = Mark::new();
        let script = "[ $PHALANX_RANK = 1 ] && { trap 'exec wc -c' USR1; echo waits; \
                      while :; do sleep 0.05; done; }; trap '' USR1; cat | wc -c";
        let words = ["run", "--stdin", "all", "--pretend-hosts", hosts, "-n", "2"];
        let words = [&words[..], &["--env", mark.variable(), "sh", "-c", script]].concat();
        let mut running = start(&words, "/dev/null", pattern(9_000_000));
        let mut lines = running.lines(2);
        lines.sort();
        assert_eq!(lines, ["9000000", "waits"]);
        running.signal(Signal::USR1);
        let outcome = running.finish();
        assert_eq!(outcome.text(), "9000000\n");
        assert_eq!(outcome.code, Some(0));
        mark.assert_gone();
    }
}

#[test]
fn a_rank_that_is_too_far_behind_is_named_and_when_it_ends_the_others_go_on() {
    let file = std::env::temp_dir().join(format!("phalanx-behind-{}", std::process::id()));
    let path = file.to_str().expect("text");
    let script = "[ $PHALANX_RANK = 1 ] && { trap 'exit 0' USR1; while :; do sleep 0.05; done; }; \
                  trap '' USR1; cat | wc -c";
    let words = ["run", "--stdin", "all", "-n", "3", "sh", "-c", script];
    let running = start(&words, path, vec![0; 80 << 20]);
    let said = || std::fs::read_to_string(&file).unwrap_or_default();
    await_that("a line that names the rank", || {
        said().contains("rank 1 does not read its standard input: 64 MiB")
    });
    running.signal(Signal::USR1);
    let outcome = running.finish();
    let said = said();
    std::fs::remove_file(&file).expect("removes");
    assert_eq!(outcome.text(), format!("{0}\n{0}\n", 80 << 20), "{said}");
    // A shell may tell of the signal as well.
    let ours = said.lines().filter(|line| line.starts_with("phalanx: "));
    assert_eq!(ours.count(), 1, "{said}");
    assert_eq!(outcome.code, Some(0), "{said}");
}

#[test]
fn those_who_close_it_are_not_waited_for() {
    let script = "[ $PHALANX_RANK = 0 ] && exec wc -c; exec <&-; sleep 0.3";
    let words = ["run", "--stdin", "all", "-n", "3", "sh", "-c", script];
    let outcome = run_with_input(&words, vec![0; 80 << 20]);
    assert_eq!(outcome.text(), format!("{}\n", 80 << 20));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}

#[test]
fn one_rank_may_be_any_on_any_host() {
    for hosts in ["1", "3"] {
        let script = "wc -c | sed s/^/$PHALANX_RANK:/";
        let words = ["run", "--stdin", "2", "--pretend-hosts", hosts, "-n", "3"];
        let words = [&words[..], &["sh", "-c", script]].concat();
        let outcome = run_with_input(&words, pattern(1_000_000));
        assert_eq!(outcome.sorted_lines(), ["0:0", "1:0", "2:1000000"]);
    }
    let outcome = run(&["run", "--stdin", "3", "-n", "3", "true"]);
    assert_eq!(outcome.code, Some(2));
    let line = "phalanx: --stdin 3: there is no such rank, the last one is 2";
    assert_eq!(outcome.reports(), [line]);
}

#[test]
fn nobody_gets_it_and_it_stays_for_who_comes_next() {
    let script = "\"$0\" run --stdin none -n 2 wc -c; cat";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_phalanx")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.child.stdin.take().expect("piped");
    stdin.write_all(b"left").expect("writes");
    drop(stdin);
    let mut text = String::new();
    running.out.read_to_string(&mut text).expect("reads");
    assert_eq!(text, "0\n0\nleft");
    assert_eq!(running.finish().code, Some(0));
}
