//! Several programs in one job, through the real launcher.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Running, leave, part, part_command, phalanx, run};
use phalanx::{Communicator, Result, Sum};

const SAY: &str = "echo $0 $PHALANX_RANK $PHALANX_APPNUM $K $(pwd)";

#[test]
fn each_program_has_its_own_ranks_variables_and_directory() {
    let here = std::env::current_dir().expect("a directory");
    let here = here.display();
    let first = ["run", "-n", "2", "--env", "K=one", "sh", "-c", SAY, "a"];
    let second = [":", "-n", "1", "--wdir", "/", "sh", "-c", SAY, "b"];
    let third = [":", "-n", "2", "--env", "K=three", "sh", "-c", SAY, "c"];
    let outcome = run(&[&first[..], &second, &third].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(
        outcome.sorted_lines(),
        [
            format!("a 0 0 one {here}"),
            format!("a 1 0 one {here}"),
            "b 2 1 /".to_owned(),
            format!("c 3 2 three {here}"),
            format!("c 4 2 three {here}"),
        ]
    );
}

#[test]
fn ranked_program() {
    if part().is_some() {
        leave(phalanx::run(|world| together(&world)));
    }
}

/// Programs of 2, 1 and 3 ranks: each rank knows what all others run, and each program has a sum of its own.
fn together(world: &Communicator) -> Result<()> {
    let programs: Vec<_> = (0..world.size()).map(|rank| world.appnum(rank)).collect();
    assert_eq!(programs, [0, 0, 1, 2, 2, 2].map(Some));
    assert_eq!(world.appnum(world.size()), None);
    let own = world.appnum(world.rank()).expect("one of ours") as u64;
    let ours = world.split(Some(own), -(world.rank() as i64))?;
    let ours = ours.expect("everyone has a colour");
    assert_eq!(ours.appnum(0), Some(own as usize));
    let sum = ours.allreduce(world.rank() as u64, Sum)?;
    assert_eq!(sum, [1, 2, 12][own as usize]);
    assert_eq!(world.allreduce(own, Sum)?, 7);
    println!("rank {} is well", world.rank());
    Ok(())
}

#[test]
fn ranks_of_several_programs_talk_and_know_which_is_which() {
    for hosts in ["1", "3"] {
        let mut command = part_command("together", 2, &["--pretend-hosts", hosts]);
        let program = std::env::current_exe().expect("this program has a path");
        for ranks in ["1", "3"] {
            command.args([":", "-n", ranks, "--env", "PHALANX_TEST_PART=together"]);
            command
                .arg(&program)
                .args(["--exact", "ranked_program", "--nocapture"]);
        }
        let outcome = Running::start_within(Duration::from_secs(60), command).finish();
        let text = outcome.text();
        assert_eq!(outcome.code, Some(0), "{text}{}", outcome.stderr);
        assert_eq!(text.matches("is well").count(), 6, "{text}");
    }
}

#[test]
fn the_map_shows_which_rank_runs_what() {
    let words = "run --dry-run --host a.invalid:2,b.invalid:2 -n 1 /no/such x : -n 3 other";
    let dry = run(&words.split(' ').collect::<Vec<_>>());
    let programs = "program 0, rank 0: \"/no/such\" \"x\"\nprogram 1, ranks 1-3: \"other\"\n";
    let hosts = "a.invalid (slots 2): ranks 0-1\nb.invalid (slots 2): ranks 2-3\n";
    assert_eq!(dry.text(), format!("{hosts}{programs}"), "{}", dry.stderr);
    let programs = "program 0, rank 0: \"true\"\nprogram 1, rank 1: \"true\" \"x\"\n";
    let shown = run(&[
        "run",
        "--display-map",
        "-n",
        "1",
        "true",
        ":",
        "-n",
        "1",
        "true",
        "x",
    ]);
    assert!(shown.stderr.ends_with(programs), "{}", shown.stderr);
}

#[test]
fn a_program_that_is_missing_or_fails_is_named() {
    let missing = run(&[
        "run",
        "-n",
        "1",
        "true",
        ":",
        "-n",
        "1",
        "./no-such-program",
    ]);
    assert_eq!(missing.code, Some(71));
    let line = "cannot start `./no-such-program`";
    assert!(missing.stderr.contains(line), "{}", missing.stderr);
    let failed = run(&[
        "run", "-n", "2", "sleep", "600", ":", "-n", "1", "sh", "-c", "exit 9",
    ]);
    assert_eq!(failed.code, Some(9));
    assert!(failed.stderr.contains("rank 2 "), "{}", failed.stderr);
}

#[test]
fn mistakes_are_told_before_anything_is_started() {
    for (words, needle) in [
        (
            "run -n 1 true : -n 1 --timeout 3 true",
            "--timeout counts for the whole job",
        ),
        ("run -n 1 true : true", "program 2 has none"),
        ("run -n 1 true :", "none follows"),
        ("run -n 1 true : -n 1", "what shall be run?"),
        (
            "run --as threads -n 1 true : -n 1 true",
            "threads of one process",
        ),
    ] {
        let outcome = run(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(outcome.code, Some(2), "{words}: {}", outcome.stderr);
        let reports = outcome.reports();
        assert!(
            reports.len() == 1 && reports[0].contains(needle),
            "{words}: {reports:?}"
        );
    }
}

/// A directory with an agent that takes this machine for another host, and two programs of ours.
struct Bench(PathBuf);

impl Bench {
    fn new() -> Self {
        let name = format!("phalanx-programs-{}", std::process::id());
        let bench = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&bench.0).expect("it is not there");
        bench.script("agent", "shift; cd /; exec \"$@\"");
        bench.script("one", "echo one $PHALANX_RANK");
        bench.script("two", "echo two $PHALANX_RANK");
        bench
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("writes");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("ours");
    }

    fn contents(&self) -> Vec<String> {
        let cache: &Path = &self.0.join(".cache/phalanx");
        let files = std::fs::read_dir(cache).expect("the agent's host keeps files");
        let small = files
            .flatten()
            .filter(|file| file.metadata().is_ok_and(|it| it.len() < 999));
        let texts = small.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("ours");
    }
}

#[test]
fn every_program_is_sent_to_hosts_that_lack_it_and_once() {
    let bench = Bench::new();
    let words =
        "run --launch-agent ./agent --host other.invalid -n 1 ./one : -n 2 ./two : -n 1 ./one";
    let mut command = phalanx(&words.split(' ').collect::<Vec<_>>());
    command
        .current_dir(&bench.0)
        .env("HOME", &bench.0)
        .env_remove("XDG_CACHE_HOME");
    let outcome = Running::start(command).finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.sorted_lines(), ["one 0", "one 3", "two 1", "two 2"]);
    let sent = bench.contents();
    for name in ["one", "two"] {
        let copies = sent
            .iter()
            .filter(|text| text.contains(&format!("echo {name}")));
        assert_eq!(copies.count(), 1, "{sent:?}");
    }
}
