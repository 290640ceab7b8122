//! `phalanx bench`, end to end. Nothing is asserted about how long anything takes.

mod common;

use std::path::PathBuf;

use common::{Mark, Running, await_that, phalanx, run};
use rustix::process::Signal;
use serde_json::Value;

/// A file that is removed when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("phalanx-bench-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).expect("written")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs a short benchmark, and gives its text and its JSON.
fn bench(words: &[&str]) -> (String, Value) {
    let json = Scratch::new(&format!("{}.json", words.join("-").replace('/', "_")));
    let quick = [
        "bench",
        "--quick",
        "--repetitions",
        "5",
        "--budget",
        "0.001",
    ];
    let words: Vec<&str> = quick.iter().chain(words).copied().collect();
    let words = [&words[..], &["--json", json.path()]].concat();
    let outcome = run(&words);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let found = serde_json::from_str(&json.text()).expect("JSON");
    (outcome.text(), found)
}

/// Case, ranks, bytes and transport of each row, which must be sound.
fn keys(found: &Value) -> Vec<(String, u64, u64, String)> {
    let rows = found["rows"].as_array().expect("rows");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let number = |value: &Value| value.as_f64().expect("a number");
    rows.iter()
        .map(|row| {
            let (min, median, p99) = (
                number(&row["min"]),
                number(&row["median"]),
                number(&row["p99"]),
            );
            assert!(0.0 <= min && min <= median && median <= p99, "{row}");
            assert!(!row["launches"].as_array().expect("launches").is_empty());
            assert!(["us", "MiB"].contains(&row["unit"].as_str().expect("unit")));
            if let Some(bound) = row["bound"].as_object() {
                assert!(number(&bound["value"]) > 0.0 && bound["name"].is_string());
            }
            (
                text(&row["case"]),
                row["ranks"].as_u64().expect("ranks"),
                row["bytes"].as_u64().expect("bytes"),
                text(&row["transport"]),
            )
        })
        .collect()
}

#[test]
fn operations_are_measured_and_shown() {
    let words = "pingpong echo bandwidth message-rate barrier allreduce bcast reduce allgather alltoall \
                 iterate -n 3 --transport unix --sizes 8,2K --launches 2 --steps 700";
    let (text, found) = bench(&words.split_whitespace().collect::<Vec<_>>());
    let keys = keys(&found);
    let mut expected = Vec::new();
    let mut expect = |case: &str, ranks, lengths: &[u64]| {
        let of = |bytes: &u64| (case.to_owned(), ranks, *bytes, "unix".to_owned());
        expected.extend(lengths.iter().map(of));
    };
    expect("pingpong", 2, &[8, 2048]);
    expect("echo", 2, &[8, 2048]);
    expect("bandwidth", 2, &[8, 2048]);
    expect("message-rate", 3, &[8]);
    expect("barrier", 3, &[0]);
    for case in ["allreduce", "bcast", "reduce", "allgather", "alltoall"] {
        expect(case, 3, &[8, 2048]);
    }
    expect("iterate", 3, &[0]);
    assert_eq!(keys, expected);
    for row in found["rows"].as_array().expect("rows") {
        assert_eq!(row["launches"].as_array().map(Vec::len), Some(2), "{row}");
        let point_to_point = ["pingpong", "echo", "bandwidth", "message-rate", "iterate"];
        let case = row["case"].as_str().expect("text");
        let work = if case == "iterate" { 700 } else { 0 };
        assert_eq!(row["work"], work, "{row}");
        let algorithm = row["algorithm"].as_str().expect("text");
        assert_eq!(
            algorithm.is_empty(),
            point_to_point.contains(&case),
            "{row}"
        );
    }
    assert!(found["machine"]["cores"].as_u64() >= Some(1));
    assert!(found["guidelines"]["checked"].as_u64() > Some(10));
    for needle in [
        "Machine",
        "allreduce, 3 ranks, unix",
        "2 KiB",
        "of bound",
        "Guidelines: ",
    ] {
        assert!(text.contains(needle), "{needle}: {text}");
    }
}

#[test]
fn jobs_are_measured_from_outside_and_inside() {
    let words = ["startup", "memory", "idle", "-n", "2", "--seconds", "0.05"];
    let (_, found) = bench(&words);
    let keys = keys(&found);
    let cases: Vec<&str> = keys.iter().map(|key| key.0.as_str()).collect();
    assert_eq!(cases, ["startup", "memory", "idle"]);
    let rows = found["rows"].as_array().expect("rows");
    assert_eq!(rows[1]["unit"], "MiB");
    // Less than its own executable, and more than nothing.
    let memory = rows[1]["median"].as_f64().expect("a number");
    assert!((0.01..1000.0).contains(&memory), "{memory}");
}

#[test]
fn transports_are_compared_on_a_page() {
    let (page, sheet) = (Scratch::new("page.html"), Scratch::new("rows.csv"));
    let words = ["tradeoff", "--html", page.path(), "--csv", sheet.path()];
    let (text, found) = bench(&words);
    let keys = keys(&found);
    for transport in ["threads", "unix", "tcp"] {
        let rows = keys.iter().filter(|key| key.3 == transport);
        assert_eq!(rows.count(), 6, "{transport}: {keys:?}");
    }
    assert!(text.contains("The trade-off"), "{text}");
    let page = page.text();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<svg") && page.contains("<td>pingpong 64 KiB</td>"));
    assert!(!page.contains("http-equiv") && !page.contains("<script") && !page.contains("src="));
    let sheet = sheet.text();
    assert_eq!(sheet.lines().count(), keys.len() + 1);
    let columns = |line: &str| line.split(',').count();
    assert!(sheet.lines().all(|line| columns(line) == 16), "{sheet}");
}

#[test]
fn guidelines_are_checked() {
    let (text, found) = bench(&["guidelines", "-n", "2", "--sizes", "64"]);
    let rows = found["rows"].as_array().expect("rows");
    assert!(rows.iter().all(|row| row["recipe"].is_string()));
    let checked = found["guidelines"]["checked"].as_u64().expect("a number");
    assert!(
        checked >= 20 && rows.len() > 20,
        "{checked} of {}",
        rows.len()
    );
    let violations = found["guidelines"]["violations"]
        .as_array()
        .expect("a list");
    for violation in violations {
        assert!(violation["ratio"].as_f64() > Some(1.05), "{violation}");
    }
    assert!(text.contains("reduce_scatter_block + allgather"), "{text}");
}

#[test]
fn what_cannot_be_measured_or_written_is_said() {
    let outcome = run(&["bench", "levitation"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("pingpong"), "{}", outcome.stderr);
    let words = [
        "bench",
        "barrier",
        "--quick",
        "-n",
        "2",
        "--json",
        "/no/such/place",
    ];
    let outcome = run(&words);
    assert_eq!(outcome.code, Some(71));
    assert!(
        outcome.stderr.contains("/no/such/place"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn ranks_that_fail_fail_the_benchmark() {
    let mut command = phalanx(&["bench", "barrier", "--quick", "-n", "2"]);
    command.env("PHALANX_ALGORITHMS", "barrier=nonsense");
    let outcome = Running::start(command).finish();
    assert_ne!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("nonsense"), "{}", outcome.stderr);
}

#[test]
fn what_was_measured_before_an_interruption_is_shown() {
    let (mark, json) = (Mark::new(), Scratch::new("interrupted.json"));
    let words = "bench --quick --repetitions 5 -n 2 barrier idle --seconds 3600 --json";
    let words: Vec<&str> = words.split_whitespace().chain([json.path()]).collect();
    let mut command = phalanx(&words);
    let (name, value) = mark.variable().split_once('=').expect("a variable");
    command.env(name, value);
    let bench = Running::start(command);
    // The launcher and the ranks of the second part have it among their arguments.
    await_that("it watches idle ranks", || {
        let told = |pid: &&rustix::process::Pid| {
            let file = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
            let words = std::fs::read_to_string(file).unwrap_or_default();
            words.contains("\"idle\"")
        };
        mark.bearers().iter().filter(told).count() >= 3
    });
    bench.signal(Signal::INT);
    let outcome = bench.finish();
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("interrupted"), "{}", outcome.stderr);
    assert!(outcome.text().contains("barrier: "), "{}", outcome.text());
    let found: Value = serde_json::from_str(&json.text()).expect("JSON");
    assert_eq!(found["interrupted"], true);
    assert_eq!(found["rows"].as_array().map(Vec::len), Some(1));
    mark.assert_gone();
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_measured() {
    let outcome = run(&[
        "bench",
        "barrier",
        "--quick",
        "--json",
        "/no/such/rows.json",
    ]);
    assert_eq!(outcome.code, Some(71), "{}", outcome.stderr);
    let reports = outcome.reports();
    assert_eq!(reports.len(), 1, "{}", outcome.stderr);
    assert!(reports[0].contains("cannot write /no/such/rows.json: "));
}
