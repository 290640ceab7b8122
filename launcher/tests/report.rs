//! `--report-json`: the end of a job for programs, in the form that `docs/report.md` describes.

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{Outcome, leave, part, run, run_part};
use phalanx::{Communicator, Result};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(60);
const DESCRIPTION: &str = include_str!("../../docs/report.md");

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    leave(phalanx::run(|world| program(&part, &world)))
}

fn program(part: &str, world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    match part {
        "panics" if rank == 1 => panic!("out of ink"),
        "exits" if rank == 1 => std::process::exit(3),
        "is killed" if rank == 1 => kill_process(getpid(), Signal::KILL).expect("it may"),
        "leaves" if rank == 1 => std::process::exit(0),
        "aborts" if rank == 1 => world.abort(9, "enough"),
        "fails" if rank == 1 => world.send(&[1_u8], 99, 0)?,
        "differs" if rank == 1 => drop(world.allreduce(1, phalanx::Sum)?),
        "deserts" if rank == 1 => return Ok(()),
        "deadlock" => drop(world.recv_vec::<u8>((rank + 1) % size, 7)?),
        "sends too much" if rank == 0 => world.send(&[1_u8], 1, 7)?,
        "sleeps" if rank == 1 => std::thread::sleep(2 * LIMIT),
        _ => {}
    }
    world.barrier()
}

/// A place for a report that is not there yet.
fn place(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = format!("phalanx-report-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(directory);
    std::fs::create_dir_all(&directory).expect("there is room for it");
    directory.join(name)
}

/// Takes a report away.
fn take(path: &PathBuf) -> Value {
    let text = std::fs::read_to_string(path).expect("it was written");
    std::fs::remove_file(path).expect("it is there");
    let directory = path.parent().expect("it has one");
    std::fs::remove_dir(directory).expect("nothing else was left in it");
    serde_json::from_str(&text).expect("it is JSON")
}

fn report(part: &str, words: &[&str]) -> (Outcome, Value) {
    let path = place(&part.replace(' ', "-"));
    let file = path.to_str().expect("UTF-8").to_owned();
    let words = [&["--report-json", &file], words].concat();
    let outcome = run_part(part, 3, &words, LIMIT);
    (outcome, take(&path))
}

/// The names of all fields, in the manner of the description.
fn fields(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                into.insert(path.clone());
                fields(inner, &path, into);
            }
        }
        Value::Array(list) => {
            for inner in list {
                fields(inner, &format!("{path}[]"), into);
            }
        }
        _ => {}
    }
}

/// Names and types that the description gives.
fn described() -> Vec<(String, String)> {
    let rows = DESCRIPTION.lines().filter(|line| line.starts_with("| `"));
    let columns = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let three = columns.map(|columns| {
        (
            columns[1].trim_matches('`').to_owned(),
            columns[2].to_owned(),
        )
    });
    let classes = "`cause.class` | code";
    let end = DESCRIPTION.find(classes).expect("the second table");
    let first = DESCRIPTION[..end].matches("\n| `").count();
    three.take(first).collect()
}

fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    path.split('.').fold(vec![value], |values, step| {
        let (name, each) = match step.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (step, false),
        };
        let found = values.into_iter().filter_map(|value| value.get(name));
        if each {
            let lists = found.filter_map(Value::as_array);
            lists.flatten().collect()
        } else {
            found.collect()
        }
    })
}

fn fits(value: &Value, kinds: &str) -> bool {
    kinds.split(" or ").any(|kind| match kind {
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        "array of strings" => items(value, Value::is_string),
        "array of integers" => items(value, Value::is_u64),
        "array of objects" => items(value, Value::is_object),
        other => panic!("{other}"),
    })
}

fn items(value: &Value, are: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(are))
}

fn assert_as_described(report: &Value) {
    let described = described();
    assert!(described.len() > 30, "the description was not understood");
    let names: BTreeSet<&str> = described.iter().map(|(name, _)| name.as_str()).collect();
    let mut there = BTreeSet::new();
    fields(report, "", &mut there);
    let strange: Vec<_> = there
        .iter()
        .filter(|name| !names.contains(&***name))
        .collect();
    assert!(strange.is_empty(), "not described: {strange:?}");
    for (name, kinds) in &described {
        let values = at(report, name);
        let inner = name.contains("deadlock[]") || name.contains("cause.");
        assert!(inner || !values.is_empty(), "{name} is missing: {report}");
        for value in values {
            assert!(fits(value, kinds), "{name} is {value}, no {kinds}");
        }
    }
    let class = &report["cause"]["class"];
    if let Some(class) = class.as_str() {
        assert!(
            DESCRIPTION.contains(&format!("\n| `{class}` | ")),
            "{class}"
        );
    }
}

#[test]
fn success_is_described_too() {
    let (outcome, report) = report("nothing", &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_as_described(&report);
    assert_eq!(report["exit_code"], 0);
    assert!(report["cause"].is_null());
    let finished = |rank: &Value| rank["outcome"] == "finished" && rank["finalized"] == true;
    assert_eq!(at(&report, "ranks[]").len(), 3);
    assert!(at(&report, "ranks[]").into_iter().all(finished), "{report}");
}

#[test]
fn every_cause_has_its_class_and_its_rank() {
    for (part, words, code, class, rank) in [
        ("panics", &[][..], 101, "panic", Some(1)),
        ("exits", &[], 3, "exit", Some(1)),
        ("is killed", &[], 137, "signal", Some(1)),
        ("leaves", &[], 1, "left_early", Some(1)),
        ("aborts", &[], 9, "abort", Some(1)),
        ("fails", &[], 1, "error", Some(1)),
        ("differs", &[], 73, "mismatch", None),
        ("deserts", &[], 73, "deserted", None),
        ("deadlock", &[], 73, "deadlock", None),
        ("sleeps", &["--timeout", "1"], 75, "timeout", None),
        ("sleeps", &["--stall-timeout", "1"], 75, "stall", None),
    ] {
        let (outcome, report) = report(part, words);
        let told = format!("{part}: {report}\n{}", outcome.stderr);
        assert_eq!(outcome.code, Some(code), "{told}");
        assert_as_described(&report);
        let cause = &report["cause"];
        assert_eq!(report["exit_code"], code, "{told}");
        assert_eq!(cause["class"], class, "{told}");
        if let Some(rank) = rank {
            assert_eq!(cause["rank"], rank, "{told}");
            assert_eq!(cause["consequences"], serde_json::json!([0, 2]), "{told}");
            assert_eq!(report["ranks"][1]["outcome"], "failed", "{told}");
            assert_eq!(report["ranks"][1]["pid"], cause["pid"], "{told}");
        }
        let message = cause["message"].as_str().expect("there is one");
        assert!(outcome.stderr.contains(message), "{told}");
        assert!(
            at(&report, "said[]").iter().any(|line| *line == message),
            "{told}"
        );
    }
}

#[test]
fn calls_and_places_are_told_by_themselves() {
    let (_, failed) = report("fails", &[]);
    assert_eq!(failed["cause"]["operation"], "send", "{failed}");
    let site = failed["cause"]["site"].as_str().expect("there is one");
    assert!(site.contains("tests/report.rs:"), "{failed}");
    let (_, stuck) = report("deadlock", &["--transport", "tcp"]);
    let cycle = at(&stuck, "deadlock[]");
    assert_eq!(cycle.len(), 3, "{stuck}");
    for (rank, waiting) in (0..).zip(cycle) {
        assert_eq!(waiting["rank"], rank, "{stuck}");
        assert_eq!(waiting["operation"], "recv_vec", "{stuck}");
        assert_eq!(
            waiting["waits_for"],
            serde_json::json!([(rank + 1) % 3]),
            "{stuck}"
        );
    }
}

#[test]
fn a_job_that_cannot_be_started_is_described() {
    let path = place("no-program");
    let outcome = run(&[
        "run",
        "-n",
        "2",
        "--report-json",
        path.to_str().expect("UTF-8"),
        "no-such-program-here",
    ]);
    let report = take(&path);
    assert_eq!(outcome.code, Some(71), "{outcome:?}");
    assert_as_described(&report);
    assert_eq!(report["cause"]["class"], "start", "{report}");
}

#[test]
fn a_place_that_cannot_be_written_is_told_before_anything_runs() {
    for path in ["/no/such/directory/report", "/proc/report", "/tmp"] {
        let outcome = run(&["run", "-n", "2", "--report-json", path, "echo", "it runs"]);
        assert_eq!(
            (outcome.code, outcome.stdout.len()),
            (Some(2), 0),
            "{outcome:?}"
        );
        assert_eq!(outcome.reports().len(), 1, "{outcome:?}");
        assert!(outcome.reports()[0].contains(path), "{outcome:?}");
    }
}
