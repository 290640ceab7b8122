//! The classes of mistakes that the MPI Bugs Initiative collects, as programs of our own: each wrong one is
//! reported as what it is, with the places of the calls; no correct one is.
//!
//! The programs are tables ([`cases`]). The ranks are this test program itself, which then runs only
//! [`ranked_program`].
//!
//! `PHALANX_BUGS=all` runs every program over every transport instead of some of them over sockets, `PHALANX_BUGS=3/20`
//! the third of twenty parts of that, `PHALANX_BUGS_ONLY=WORDS` those that have the words in their names, and prints what came.

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod judge;
mod play;
mod program;
mod sites;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cases::Case;
use common::{Running, TRANSPORTS, leave, part, part_command};

/// After this a program hangs, which is what must not happen.
const LIMIT: Duration = Duration::from_secs(30);
/// Jobs at once. Most of the time they wait.
const JOBS: usize = 8;
/// Of the programs over sockets, one in so many runs by default.
const SOCKETS_EVERY: usize = 12;

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    let cases = cases::all();
    let case = cases.iter().find(|case| case.name == part);
    let case = case.expect("a program of this name");
    leave(phalanx::run(|world| {
        play::play(&world, &case.program[world.rank()])
    }))
}

/// Runs one program; what is wrong with what came, if anything.
fn run(case: &Case, transport: &str) -> Option<String> {
    let (_, words) = TRANSPORTS.iter().find(|(name, _)| *name == transport)?;
    let words = [*words, case.words].concat();
    let command = part_command(&case.name, case.program.len(), &words);
    let (outcome, hangs) = Running::start_within(LIMIT, command).finish_or_bite();
    let wrong = judge::judge(case, &outcome, hangs);
    if std::env::var_os("PHALANX_BUGS_ONLY").is_some() {
        let (code, stderr) = (outcome.code, &outcome.stderr);
        println!("{} over {transport}: {code:?} {stderr}", case.name);
    }
    wrong.map(|why| format!("{} over {transport}: {why}", case.name))
}

fn run_all(transport: &str, runs: impl Fn(usize) -> bool) {
    let only = std::env::var("PHALANX_BUGS_ONLY").unwrap_or_default();
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .enumerate()
        .filter(|(index, case)| runs(*index) && case.name.contains(&only))
        .map(|(_, case)| case)
        .collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(why) = run(case, transport) {
                        failures.lock().expect("no thread panics").push(why);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    let wrong = cases.iter().filter(|case| case.expected.is_some()).count();
    println!(
        "{transport}: {wrong} wrong and {} correct programs, {} not as they should be",
        cases.len() - wrong,
        failures.len()
    );
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

/// Whether a program runs: by default as told, else as the environment says.
fn chosen(index: usize, by_default: bool) -> bool {
    match std::env::var("PHALANX_BUGS").as_deref() {
        Err(_) => by_default,
        Ok("all") => true,
        Ok(part) => {
            let (part, parts) = part.split_once('/').expect("all, or a part as in 3/20");
            let [part, parts] = [part, parts].map(|it| it.parse::<usize>().expect("a number"));
            index % parts == part - 1
        }
    }
}

#[test]
fn mistakes_are_told_over_shared_memory() {
    run_all("shm", |index| chosen(index, true));
}

#[test]
fn mistakes_are_told_over_unix_sockets() {
    run_all("unix", |index| chosen(index, index % SOCKETS_EVERY == 0));
}

#[test]
fn mistakes_are_told_over_tcp() {
    let every = SOCKETS_EVERY;
    run_all("tcp", |index| chosen(index, index % every == every / 2));
}

#[test]
fn every_program_has_its_name_and_every_class_its_programs() {
    let cases = cases::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let class = case.expected.as_ref();
        let class = class.map_or_else(|| "correct".to_owned(), |it| format!("{:?}", it.class));
        *classes.entry(class).or_default() += 1;
    }
    println!("{} programs: {classes:?}", cases.len());
    assert_eq!(classes.len(), 12, "{classes:?}");
}
