//! Jobs over several hosts with real ssh: what works, and what is said when it does not.
//!
//! The hosts have nothing of ours: neither the checkout nor a home directory that they share.
//! Where such hosts cannot be made, the tests say so and do nothing.

mod bed;
#[path = "../common/examples.rs"]
mod built;
#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod doctor;
mod faults;
mod ipv6;
mod kills;
mod links;
mod slurm;

use std::sync::Arc;

use bed::bed;
use signal_hook::consts::SIGTERM;

/// This very program, as ranks: see [`common::run_part`].
#[test]
fn ranked_program() {
    let Some(part) = common::part() else {
        return; // This process is the one that tests.
    };
    common::leave(phalanx::run(|world| -> phalanx::Result<()> {
        if part == "rounds" {
            return links::rounds(&world);
        }
        if part == "deaf" {
            let heard = Arc::default();
            signal_hook::flag::register(SIGTERM, heard).expect("it can be caught");
        }
        let sum = world.allreduce(world.rank() as u64 + 1, phalanx::Sum)?;
        println!("rank {} of {}: sum {sum}", world.rank(), world.size());
        if part == "sum" {
            return Ok(());
        }
        loop {
            world.allreduce(1_u64, phalanx::Sum)?;
        }
    }))
}

/// Words that run `ranked_program` as ranks; the program comes from here.
fn ranked(part: &str) -> Vec<String> {
    let program = std::env::current_exe().expect("this program has a path");
    let program = program.to_str().expect("UTF-8").to_owned();
    ["--env".to_owned(), format!("PHALANX_TEST_PART={part}")]
        .into_iter()
        .chain([program])
        .chain(["--exact", "ranked_program", "--nocapture"].map(str::to_owned))
        .collect()
}

#[test]
fn a_job_runs_on_hosts_that_have_nothing() {
    let Some(bed) = bed(3) else { return };
    let ranked = ranked("sum");
    let ranked: Vec<&str> = ranked.iter().map(String::as_str).collect();
    for hosts in ["node1:2,node2:2,node3:2", "head:2,node1:2,node2:2"] {
        let words = [&["--host", hosts, "-n", "6"], &ranked[..]].concat();
        let outcome = bed.run(&words);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let lines = outcome.text().matches("of 6: sum 21").count();
        assert_eq!(lines, 6, "{}", outcome.text());
        assert_eq!(outcome.reports(), [""; 0]);
        bed.assert_clean();
    }
    let kept = bed.on("node1", &["sh", "-c", "ls $HOME/.cache/phalanx | wc -l"]);
    assert_eq!(kept.trim(), "2", "the launcher and the program, once each");
}

/// The same system, the same ranks: the same bits, wherever they run.
#[test]
fn a_system_is_solved_bit_for_bit_as_on_one_host() {
    let Some(bed) = bed(3) else { return };
    let matrix = "examples/data/bcsstk01.mtx";
    let solve = |hosts: &[&str], name: &str| {
        let solution = bed.state().join(name);
        let path = solution.to_str().expect("UTF-8");
        let program = [built::example("cg"), matrix, "--output", path];
        let words = [hosts, &["-n", "6"], &program[..]].concat();
        let outcome = bed.run(&words);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        bed.assert_clean();
        std::fs::read(solution).expect("rank 0 has written it")
    };
    let alone = solve(&[], "alone");
    for hosts in ["node1:2,node2:2,node3:2", "head:1,node1:3,node2:2"] {
        let words = ["--host", hosts, "--ship-file", matrix];
        assert!(solve(&words, "spread") == alone, "over {hosts}");
    }
}

#[test]
fn ranks_elsewhere_find_the_files_that_were_sent_along() {
    let Some(bed) = bed(2) else { return };
    let here = bed.state().join("keys/known_hosts");
    let file = here.to_str().expect("UTF-8");
    let directory = here.parent().and_then(|path| path.to_str()).expect("UTF-8");
    let words = ["--host", "node1,node2", "-n", "2", "--wdir", directory];
    let words = [
        &words[..],
        &["--ship-file", file, "sh", "-c", "pwd; cat known_hosts; ls"],
    ];
    let outcome = bed.run(&words.concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let text = outcome.text();
    let sent = std::fs::read_to_string(&here).expect("is there");
    assert_eq!(text.matches(sent.trim_end()).count(), 2, "{text}");
    assert_eq!(text.matches("/.job-").count(), 2, "{text}");
    bed.assert_clean();
}

#[test]
fn exit_codes_and_output_pass_from_hosts_to_the_launcher() {
    let Some(bed) = bed(2) else { return };
    let job = ["--host", "node1,node2", "-n", "2", "sh", "-c"];
    let long = "yes 0123456789abcdef | head -c 3400000";
    let outcome = bed.run(&[&job[..], &[long]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout.len(), 6_800_000, "all of it");
    let outcome = bed.run(&[&job[..], &["exit $((PHALANX_RANK * 5))"]].concat());
    assert_eq!(outcome.code, Some(5), "{}", outcome.stderr);
    assert!(
        outcome.reports()[0].contains("rank 1 on node2"),
        "{}",
        outcome.stderr
    );
    bed.assert_clean();
}
