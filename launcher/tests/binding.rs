//! Ranks that are bound to cores, through the real launcher.

mod common;

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use common::{Outcome, Running, leave, part, phalanx, run, run_part};
use phalanx::sys::descriptor::inherit_socket;
use phalanx::sys::processor::Processors;
use phalanx::wire::control::{CONTROL_FD_VARIABLE, Decoder, ToRank};

/// What this thread may use, and so the launcher that it starts.
fn allowed() -> Vec<u32> {
    Processors::allowed().expect("Linux").numbers()
}

const SHOW: &str = "echo $(sed -n 's/^Cpus_allowed_list://p' /proc/self/status)";

fn run_bound(words: &[&str], ranks: usize, script: &str) -> Outcome {
    let ranks = ranks.to_string();
    run(&[&["run", "-n", &ranks], words, &["sh", "-c", script]].concat())
}

/// The processors of `0-2,5`.
fn numbers(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        low.parse().expect("a number")..=high.parse().expect("a number")
    };
    text.split(',').flat_map(range).collect()
}

#[test]
fn each_rank_has_processors_of_its_own() {
    let allowed = allowed();
    for words in [&["--bind-to", "core"][..], &["--map-by", "core"]] {
        for ranks in [1, allowed.len()] {
            let outcome = run_bound(words, ranks, SHOW);
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
            let text = outcome.text();
            let all: Vec<u32> = text.lines().flat_map(numbers).collect();
            let distinct: BTreeSet<u32> = all.iter().copied().collect();
            assert_eq!(text.lines().count(), ranks);
            assert_eq!(distinct.len(), all.len(), "shared: {text}");
            assert!(all.iter().all(|it| allowed.contains(it)), "{text}");
        }
    }
}

#[test]
fn too_few_cores_are_an_error_and_auto_leaves_ranks_free() {
    let allowed = allowed();
    let ranks = allowed.len() + 1;
    let outcome = run_bound(&["--bind-to", "core"], ranks, SHOW);
    assert_eq!(outcome.code, Some(71), "{}", outcome.stderr);
    let reports = outcome.reports();
    let line = format!("{ranks} ranks cannot have a core each (--bind-to core)");
    assert!(
        reports.len() == 1 && reports[0].contains(&line),
        "{reports:?}"
    );
    for words in [
        &["--bind-to", "auto"][..],
        &["--bind-to", "none"],
        &["--map-by", "core", "--bind-to", "none"],
        &[],
    ] {
        let outcome = run_bound(words, ranks, SHOW);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let free = |line: &str| numbers(line) == allowed;
        assert!(outcome.text().lines().all(free), "{}", outcome.text());
    }
}

#[test]
fn a_launcher_that_is_bound_itself_gives_out_no_more_than_it_has() {
    let one = allowed()[0];
    let (alone, two) = std::thread::spawn(move || {
        let here = Processors::of(&[one]).expect("a set");
        here.bind().expect("it was allowed");
        let alone = run_bound(&["--bind-to", "core"], 1, SHOW);
        (alone, run_bound(&["--bind-to", "core"], 2, SHOW))
    })
    .join()
    .expect("no panic");
    assert_eq!(alone.text(), format!("{one}\n"), "{}", alone.stderr);
    assert_eq!(two.code, Some(71));
    let line = format!("they may use processor {one} only");
    assert!(two.stderr.contains(&line), "{}", two.stderr);
}

#[test]
fn bindings_are_reported_for_each_rank() {
    let host = run(&["run", "-n", "1", "hostname"]).text();
    let begin = format!("phalanx: {}: rank 0 ", host.trim());
    for (to, says) in [("core", "is bound to processor"), ("none", "is not bound")] {
        let outcome = run_bound(&["--bind-to", to, "--report-bindings"], 1, "true");
        let reports = outcome.reports();
        let first = reports.first().copied().unwrap_or_default();
        let begin = format!("{begin}{says}");
        assert!(
            reports.len() == 1 && first.starts_with(&begin),
            "{reports:?}"
        );
    }
}

#[test]
fn ranked_program() {
    if part().is_none() {
        return; // This process is the one that tests.
    }
    let number = std::env::var(CONTROL_FD_VARIABLE).expect("a rank");
    let socket = inherit_socket(number.parse().expect("a number")).expect("a socket");
    let mut stream = UnixStream::from(socket);
    let mut decoder = Decoder::default();
    let welcome = loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).expect("reads");
        decoder.extend(&bytes[..count]);
        match decoder.next().expect("a message") {
            Some(ToRank::Welcome(welcome)) => break welcome,
            Some(other) => panic!("{other:?} comes before the welcome"),
            None => {}
        }
    };
    println!("cores: {:?}, may use: {}", welcome.cores, allowed().len());
    leave(ExitCode::SUCCESS);
}

#[test]
fn a_bound_rank_is_told_how_many_cores_all_ranks_of_its_host_have() {
    let outcome = run_part(
        "welcome",
        1,
        &["--bind-to", "core"],
        Duration::from_secs(60),
    );
    let cores = std::thread::available_parallelism().expect("a number");
    let line = format!("cores: Some({cores}), may use: ");
    assert!(outcome.text().contains(&line), "{}", outcome.text());
}

#[test]
fn threads_are_not_bound() {
    let words = [
        "run",
        "--as",
        "threads",
        "-n",
        "2",
        "--bind-to",
        "core",
        "true",
    ];
    let outcome = Running::start(phalanx(&words)).finish();
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("threads of one process"));
}
