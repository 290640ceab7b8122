//! The examples through the real launcher: right results with any number of ranks and over any
//! transport, bad input told in one line, and a killed rank that ends the job.

#[path = "common/examples.rs"]
mod built;
mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use built::{example, root};
use common::{Mark, Outcome, Running, phalanx, run};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

/// A directory for the files of one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("phalanx-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("creates");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The next run uses another one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn matrix(name: &str) -> String {
    let path = root().join("examples/data").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// Runs an example with options of the launcher and its own.
fn job(options: &[&str], name: &str, arguments: &[&str]) -> Outcome {
    let words = [&["run"], options, &[example(name)], arguments].concat();
    run(&words)
}

/// The rest of the line that begins with a word.
fn value_of(outcome: &Outcome, word: &str) -> String {
    let text = outcome.text();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(word));
    let value = values.next().map(|value| value.trim().to_owned());
    value.unwrap_or_else(|| panic!("no {word}: {text}{}", outcome.stderr))
}

fn number_of(outcome: &Outcome, word: &str) -> f64 {
    value_of(outcome, word).parse().expect("a number")
}

/// Ways to start a job that must not make a difference.
const WAYS: [&[&str]; 7] = [
    &["-n", "1"],
    &["-n", "2"],
    &["-n", "3"],
    &["-n", "5"],
    &["-n", "7"],
    &["-n", "3", "--transport", "tcp"],
    &["-n", "3", "--as", "threads"],
];

#[test]
fn the_launcher_builds_and_runs_them() {
    let matrix = matrix("bcsstk01.mtx");
    for (name, arguments, says) in [
        ("hello", vec![], "hello from rank 3 of 4"),
        ("ring", vec![], "40 hops over 4 ranks"),
        ("pi", vec![], "pi is 3.14"),
        ("heat", vec!["--size", "20"], "checksum "),
        ("cg", vec![matrix.as_str()], "residual "),
    ] {
        // Built before, so that the watchdog does not watch a compiler.
        example(name);
        let profile = if cfg!(debug_assertions) {
            "--debug"
        } else {
            "--release"
        };
        let words = ["run", "-n", "4", profile, "--example", name, "--"];
        let mut command = phalanx(&[&words[..], &arguments].concat());
        command.current_dir(root());
        let outcome = Running::start(command).finish();
        assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.stderr);
        assert!(outcome.text().contains(says), "{name}: {}", outcome.text());
    }
}

#[test]
fn cg_finds_the_same_solution_however_it_is_started() {
    let directory = Directory::new("cg");
    for (name, laplacian) in [
        ("bcsstk01.mtx", None),
        ("bcsstk02.mtx", None),
        ("bcspwr10.mtx", Some("--laplacian")),
    ] {
        let (matrix, solution) = (matrix(name), directory.file("solution.txt"));
        let mut arguments = vec![matrix.as_str(), "--output", &solution];
        arguments.extend(laplacian);
        let mut first: Option<Vec<f64>> = None;
        for way in WAYS {
            let outcome = job(way, "cg", &arguments);
            assert_eq!(outcome.code, Some(0), "{name} {way:?}: {}", outcome.stderr);
            let residual = number_of(&outcome, "residual");
            assert!(residual < 1e-10, "{name} {way:?}: residual {residual}");
            let error = number_of(&outcome, "error");
            assert!(error < 1e-9, "{name} {way:?}: error {error}");
            let text = std::fs::read_to_string(&solution).expect("written");
            std::fs::remove_file(&solution).expect("removes");
            let numbers = text.lines().map(|line| line.parse().expect("a number"));
            let numbers: Vec<f64> = numbers.collect();
            let Some(first) = &first else {
                first = Some(numbers);
                continue;
            };
            assert_eq!(numbers.len(), first.len(), "{name} {way:?}");
            let differences = first.iter().zip(&numbers).map(|(a, b)| (a - b).abs());
            let largest = differences.fold(0.0, f64::max);
            assert!(largest < 1e-9, "{name} {way:?}: differs by {largest}");
        }
    }
}

#[test]
fn cg_finds_the_same_bits_wherever_ranks_run() {
    let directory = Directory::new("cg-hosts");
    let solution = directory.file("solution.txt");
    let matrix = matrix("bcsstk01.mtx");
    let mut first: Option<(String, Vec<u8>)> = None;
    for hosts in ["1", "2", "3", "6"] {
        let way = ["-n", "6", "--pretend-hosts", hosts];
        let outcome = job(&way, "cg", &[&matrix, "--output", &solution]);
        assert_eq!(outcome.code, Some(0), "{hosts} hosts: {}", outcome.stderr);
        let written = std::fs::read(&solution).expect("written");
        std::fs::remove_file(&solution).expect("removes");
        let order = value_of(&outcome, "order");
        let (iterations, _) = order.split_once(" iterations").expect("they are counted");
        let (at_first, bytes) = first.get_or_insert_with(|| (iterations.into(), written.clone()));
        assert_eq!(*at_first, iterations, "{hosts} hosts");
        assert!(*bytes == written, "{hosts} hosts: another solution");
    }
}

#[test]
fn heat_paints_the_same_plate_however_it_is_started() {
    let directory = Directory::new("heat");
    let file = directory.file("heat.png");
    let mut first: Option<(String, Vec<u8>)> = None;
    for way in WAYS {
        let arguments = ["--size", "43", "--iterations", "321", "--output", &file];
        let outcome = job(way, "heat", &arguments);
        assert_eq!(outcome.code, Some(0), "{way:?}: {}", outcome.stderr);
        assert!(
            outcome.text().contains("321 iterations"),
            "{}",
            outcome.text()
        );
        let picture = std::fs::read(&file).expect("written");
        std::fs::remove_file(&file).expect("removes");
        assert!(picture.starts_with(b"\x89PNG"), "{way:?}");
        let checksum = value_of(&outcome, "checksum");
        let first = first.get_or_insert_with(|| (checksum.clone(), picture.clone()));
        assert_eq!(first.0, checksum, "{way:?}");
        assert!(first.1 == picture, "{way:?}: another picture");
    }
}

#[test]
fn more_ranks_than_rows() {
    let outcome = job(&["-n", "50"], "cg", &[&matrix("bcsstk01.mtx")]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(number_of(&outcome, "residual") < 1e-10);
    let said = mistake("heat", &["--size", "2"]);
    assert!(said.contains("give at least --size 3"), "{said}");
}

/// What is said when three ranks of an example, as processes and as threads, meet a mistake.
fn mistake(name: &str, arguments: &[&str]) -> String {
    let threads = job(&["-n", "3", "--as", "threads"], name, arguments);
    assert_eq!(threads.code, Some(1), "{arguments:?}: {}", threads.stderr);
    // What the program says, and what the launcher says of its end: whichever arrives first.
    let mut lines: Vec<&str> = threads.stderr.lines().collect();
    lines.sort_unstable();
    assert!(
        lines.len() == 2 && lines[0].starts_with("Error: rank "),
        "{lines:?}"
    );
    let outcome = job(&["-n", "3"], name, arguments);
    assert_eq!(outcome.code, Some(1), "{arguments:?}: {}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let said = outcome.stderr;
    assert!(said.starts_with("phalanx: rank "), "{said}");
    said
}

#[test]
fn malformed_matrices_are_told_in_one_line() {
    let directory = Directory::new("malformed");
    let whole = std::fs::read(matrix("bcsstk01.mtx")).expect("reads");
    let text = String::from_utf8(whole.clone()).expect("UTF-8");
    let (header, sizes) = (
        "%%MatrixMarket matrix coordinate real symmetric",
        "48 48 224",
    );
    assert!(text.contains(sizes) && text.contains(header));
    let noise: Vec<u8> = (0..5_000_u32).map(|i| (i * i * 31 / 7) as u8).collect();
    for (kind, bytes, expected) in [
        ("empty", vec![], ":1: expected `%%MatrixMarket matrix"),
        ("noise", noise, ":1: expected `%%MatrixMarket matrix"),
        ("cut", whole[..whole.len() / 2].to_vec(), ": expected "),
        (
            "more",
            text.replace(sizes, "48 48 223").into(),
            "the end of the file after 223",
        ),
        (
            "fewer",
            text.replace(sizes, "48 48 225").into(),
            "expected 225 entries, found 224",
        ),
        (
            "small",
            text.replace(sizes, "40 40 224").into(),
            "a row and a column from 1 to 40",
        ),
        (
            "huge",
            text.replace(sizes, "48 48 99999999999999999999").into(),
            "the numbers of rows",
        ),
        (
            "vast",
            text.replace(sizes, "99999999999 99999999999 1").into(),
            "from 1 to",
        ),
        (
            "oblong",
            text.replace(sizes, "48 49 224").into(),
            "as many columns as rows",
        ),
        (
            "general",
            text.replace("symmetric", "general").into(),
            ":1: expected",
        ),
        (
            "word",
            text.replacen("1 1 ", "1 1 x", 1).into(),
            "expected a finite number",
        ),
    ] {
        let file = directory.file(kind);
        std::fs::write(&file, bytes).expect("writes");
        let said = mistake("cg", &[&file]);
        assert!(
            said.contains(&file) && said.contains(expected),
            "{kind}: {said}"
        );
    }
}

#[test]
fn a_matrix_that_cannot_be_read_is_told_in_one_line() {
    let directory = Directory::new("unreadable");
    let absent = directory.file("absent");
    let said = mistake("cg", &[&absent]);
    assert!(
        said.contains(&format!("cannot read {absent}: No such file")),
        "{said}"
    );
    assert!(
        said.contains("give the path of a Matrix Market file"),
        "{said}"
    );
    let said = mistake("cg", &[&directory.file(".")]);
    assert!(said.contains("Is a directory"), "{said}");
}

#[test]
fn what_cg_cannot_solve_is_told() {
    let directory = Directory::new("unsolvable");
    let file = directory.file("indefinite.mtx");
    let text = "%%MatrixMarket matrix coordinate integer symmetric\n2 2 2\n1 1 1\n2 2 -1\n";
    std::fs::write(&file, text).expect("writes");
    let said = mistake("cg", &[&file]);
    assert!(said.contains("is the matrix positive definite?"), "{said}");
    let said = mistake("cg", &[&matrix("bcspwr10.mtx")]);
    assert!(said.contains("give --laplacian for a pattern"), "{said}");
    let said = mistake("cg", &["--laplacian", &matrix("bcsstk01.mtx")]);
    assert!(said.contains("leave out --laplacian"), "{said}");
}

#[test]
fn wrong_options_are_told_in_one_line() {
    for (name, arguments, says) in [
        ("cg", &[][..], "<FILE.mtx>"),
        ("cg", &["x.mtx", "y.mtx"], "unexpected argument 'y.mtx'"),
        ("heat", &["--size", "0"], "1..=32768"),
        ("heat", &["--sise", "9"], "'--size'"),
        (
            "heat",
            &["--output", "/no/such/directory/heat.png"],
            "cannot write /no/such",
        ),
    ] {
        let said = mistake(name, arguments);
        assert!(said.contains(says), "{said}");
    }
    let outcome = job(&["-n", "3"], "heat", &["--help"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert_eq!(outcome.text().matches("Usage: heat").count(), 1);
}

/// The process of a rank, when it is there.
fn process_of(mark: &Mark, rank: usize) -> Option<Pid> {
    let variable = format!("PHALANX_RANK={rank}");
    let is_rank = |pid: &Pid| {
        let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
        environment
            .unwrap_or_default()
            .split(|byte| *byte == 0)
            .any(|entry| entry == variable.as_bytes())
    };
    mark.bearers().into_iter().find(is_rank)
}

/// A rank of `heat` is killed; how long the job still lasts.
fn kill_one(random: &mut SmallRng, program: &str) -> Duration {
    const RANKS: usize = 4;
    let (rank, delay) = (random.random_range(0..RANKS), random.random_range(0..200));
    let transport = ["auto", "unix", "tcp"][random.random_range(0..3)];
    let case = format!("rank {rank} after {delay} ms, {transport}");
    let mark = Mark::new();
    let ranks = RANKS.to_string();
    let options = ["run", "-n", &ranks, "--transport", transport, "--env"];
    // Never done.
    let endless = ["--size=64", "--iterations=1000000000000", "--tolerance=-1"];
    let words = [&options[..], &[mark.variable(), program], &endless].concat();
    let running = Running::start(phalanx(&words));
    std::thread::sleep(Duration::from_millis(delay));
    let victim = loop {
        // It may not have started yet; the watchdog ends a job that never starts it.
        if let Some(victim) = process_of(&mark, rank) {
            break victim;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    kill_process(victim, Signal::KILL).expect("it runs");
    let killed = Instant::now();
    let outcome = running.finish();
    let lasted = killed.elapsed();
    assert_eq!(outcome.code, Some(137), "{case}: {}", outcome.stderr);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let [line] = lines[..] else {
        panic!("{case}: {}", outcome.stderr);
    };
    assert!(
        line.starts_with(&format!("phalanx: rank {rank} on ")),
        "{case}: {line}"
    );
    let process = format!("(pid {})", victim.as_raw_nonzero());
    assert!(line.contains(&process), "{case}: {line}");
    assert!(
        line.contains("was killed by signal 9 (SIGKILL)"),
        "{case}: {line}"
    );
    mark.assert_gone();
    lasted
}

#[test]
fn a_rank_of_heat_that_is_killed_ends_the_job() {
    let seed = match std::env::var("PHALANX_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        }
    };
    println!("PHALANX_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let program = example("heat");
    let mut times: Vec<Duration> = (0..100).map(|_| kill_one(&mut random, program)).collect();
    times.sort();
    println!(
        "from the kill to the end: median {:?}, longest {:?}",
        times[50], times[99]
    );
}
