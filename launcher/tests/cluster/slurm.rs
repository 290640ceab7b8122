//! A real Slurm: its allocations, ranks that it starts itself, and jobs that it cancels.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::bed::{Bed, root, slurm};
use crate::built;
use crate::common::{Outcome, Running};
use crate::kills::{now, number};
use crate::ranked;

const NODES: u32 = 2;
/// Of each node: what `docs/jobs/slurm.sbatch` asks for.
const PROCESSORS: u32 = 4;
/// Three ranks on one node and one on the other.
const ALLOCATE: &[&str] = &["salloc", "--quiet", "-N2", "-n4"];
const STEP: &[&str] = &["srun", "--quiet", "--mpi=pmi2", "-N2", "-n4"];

/// From the command on; in an allocation a job takes about this long to be at work.
const MOMENTS_MILLIS: u64 = 2500;

/// A command on the head, in a directory that all hosts have.
fn start(bed: &Bed, words: &[&str]) -> Running {
    let mut command = bed.command("slurm.sh", &[&["on", "head"], words].concat());
    command.current_dir(bed.state());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command)
}

fn run(bed: &Bed, words: &[&str]) -> Outcome {
    start(bed, words).finish()
}

/// Begins to run this test program as ranks, by our launcher in an allocation.
fn start_in_allocation(bed: &Bed, part: &str) -> Running {
    let launcher = env!("CARGO_BIN_EXE_phalanx");
    let ranked = ranked(part);
    let ranked: Vec<&str> = ranked.iter().map(String::as_str).collect();
    let shell = [
        "sh",
        "-c",
        "\"$@\"; code=$?; echo code $code; exit $code",
        "sh",
    ];
    let words = [launcher, "run", "--tag-output=host"];
    start(bed, &[ALLOCATE, &shell, &words, &ranked].concat())
}

/// Begins to run this test program as ranks, by `srun` and words of `env` alone.
fn start_step(bed: &Bed, step: &[&str], part: &str, env: &[&str]) -> Running {
    let program = on_all_hosts(bed);
    let part = format!("PHALANX_TEST_PART={part}");
    let words = ["--exact", "ranked_program", "--nocapture"];
    let program: &[&str] = &[&part, program.to_str().expect("UTF-8")];
    start(bed, &[step, &["env"], env, program, &words].concat())
}

/// This test program, where a file system that hosts share would have it.
fn on_all_hosts(bed: &Bed) -> PathBuf {
    let place = bed.state().join("ranked");
    if !place.exists() {
        let program = std::env::current_exe().expect("this program has a path");
        std::fs::copy(program, &place).expect("there is room");
    }
    place
}

/// Waits until so many ranks have found each other.
fn wait_for_ranks(job: &mut Running, ranks: usize) {
    let mut up = 0;
    while up < ranks {
        let line = job.lines(1).remove(0);
        up += usize::from(line.contains(&format!("of {ranks}: sum")));
    }
}

/// Whether there is a job that was not cancelled yet; when there is, it is.
fn cancel(bed: &Bed) -> bool {
    let script = "job=$(squeue --noheader --format=%i --states=PD,CF,R) && [ -n \"$job\" ] && \
                  scancel $job && echo hit; true";
    run(bed, &["sh", "-c", script]).text().contains("hit")
}

#[test]
fn an_allocation_of_slurm_gives_its_hosts_to_the_launcher() {
    let Some(bed) = slurm(NODES, PROCESSORS) else {
        return;
    };
    let outcome = start_in_allocation(&bed, "sum").finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let text = outcome.text();
    assert_eq!(text.matches("of 4: sum 10").count(), 4, "{text}");
    for tag in ["[0 node1]", "[1 node1]", "[2 node1]", "[3 node2]"] {
        assert!(text.contains(&format!("{tag} rank ")), "{tag}: {text}");
    }
    assert_eq!(outcome.reports(), [""; 0]);
    let launcher = [env!("CARGO_BIN_EXE_phalanx"), "run", "sh", "-c"];
    let words = [ALLOCATE, &launcher, &["exit $((PHALANX_RANK * 5 % 13))"]];
    let outcome = run(&bed, &words.concat());
    let first = [Some(5), Some(10), Some(2)];
    assert!(first.contains(&outcome.code), "{}", outcome.stderr);
    assert_eq!(outcome.reports().len(), 1, "{}", outcome.stderr);
    bed.assert_clean();
}

#[test]
fn a_batch_script_has_its_ranks_started_by_slurm() {
    let Some(bed) = slurm(NODES, PROCESSORS) else {
        return;
    };
    // The paths that the script has when it is given no program.
    let matrix = "examples/data/bcsstk01.mtx";
    let files = [
        (
            PathBuf::from(built::example("cg")),
            "target/release/examples/cg",
        ),
        (root().join(matrix), matrix),
        (root().join("docs/jobs/slurm.sbatch"), "slurm.sbatch"),
    ];
    for (from, to) in files {
        let to = bed.state().join(to);
        std::fs::create_dir_all(to.parent().expect("below")).expect("makes");
        std::fs::copy(from, to).expect("there is room");
    }
    let outcome = run(&bed, &["sbatch", "--wait", "--parsable", "slurm.sbatch"]);
    let job = outcome.text();
    let printed = bed.state().join(format!("solver-{}.out", job.trim()));
    let printed = std::fs::read_to_string(printed).unwrap_or_default();
    assert_eq!(outcome.code, Some(0), "{}\n{printed}", outcome.stderr);
    assert!(printed.contains(", 8 ranks, "), "{printed}");
    assert_eq!(printed.matches("residual").count(), 1, "{printed}");
    let words = ["slurm.sbatch", "sh", "-c", "exit $SLURM_PROCID"];
    let outcome = run(&bed, &[&["sbatch", "--wait"], &words[..]].concat());
    assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
    bed.assert_clean();
}

#[test]
fn ranks_that_srun_starts_find_each_other() {
    let Some(bed) = slurm(NODES, PROCESSORS) else {
        return;
    };
    // Slurm's PMI-2 server answers PMI-1 too; without the name of the job that is what ranks speak.
    for env in [&[][..], &["--unset=PMI_JOBID"]] {
        let outcome = start_step(&bed, STEP, "sum", env).finish();
        assert_eq!(outcome.code, Some(0), "{env:?}: {}", outcome.stderr);
        let text = outcome.text();
        assert_eq!(text.matches("of 4: sum 10").count(), 4, "{env:?}: {text}");
    }
    let alone = ["srun", "--quiet", "-n1"];
    let outcome = start_step(&bed, &alone, "sum", &[]).finish();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.text().contains("rank 0 of 1"), "{}", outcome.text());
    let strangers = ["srun", "--quiet", "-N2", "-n4"];
    let outcome = start_step(&bed, &strangers, "sum", &[]).finish();
    assert_ne!(outcome.code, Some(0));
    let advice = outcome.stderr.matches("srun --mpi=pmi2").count();
    assert_eq!(advice, 4, "{}", outcome.stderr);
    bed.assert_clean();
}

#[test]
fn a_rank_that_is_killed_in_an_allocation_is_named() {
    let Some(bed) = slurm(NODES, PROCESSORS) else {
        return;
    };
    let mut job = start_in_allocation(&bed, "endless");
    wait_for_ranks(&mut job, 4);
    // The first of that name is the daemon, whose child it is.
    assert!(bed.kill_one("node2", "[0-9a-f]{15}", 1), "both are there");
    let outcome = job.finish();
    assert_eq!(outcome.code, Some(137), "{}", outcome.stderr);
    let reports = outcome.reports();
    assert_eq!(reports.len(), 1, "{}", outcome.stderr);
    for needle in ["rank 3 on node2", "SIGKILL", "allreduce"] {
        assert!(reports[0].contains(needle), "{needle}: {}", reports[0]);
    }
    bed.assert_clean();

    let mut step = start_step(&bed, STEP, "endless", &[]);
    wait_for_ranks(&mut step, 4);
    assert!(bed.kill_one("node2", "ranked", 0), "it is there");
    let outcome = step.finish();
    assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
    let line = "rank 3 on node2";
    assert!(outcome.stderr.contains(line), "{}", outcome.stderr);
    bed.assert_clean();
}

#[test]
fn a_host_that_is_lost_from_an_allocation_ends_the_job() {
    let Some(bed) = slurm(NODES, PROCESSORS) else {
        return;
    };
    let mut job = start_in_allocation(&bed, "endless");
    wait_for_ranks(&mut job, 4);
    bed.fault(&["cut", "node2"]);
    let outcome = job.finish();
    assert_eq!(outcome.code, Some(72), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("lost host node2"),
        "{}",
        outcome.stderr
    );
    bed.fault(&["heal"]);
    bed.assert_clean();
}

#[test]
fn a_job_that_slurm_cancels_leaves_nothing() {
    let Some(bed) = slurm(NODES, PROCESSORS) else {
        return;
    };
    for part in ["endless", "deaf"] {
        let mut job = start_in_allocation(&bed, part);
        wait_for_ranks(&mut job, 4);
        assert!(cancel(&bed), "there is a job");
        let outcome = job.finish();
        assert_ne!(outcome.code, Some(0), "{part}: {}", outcome.stderr);
        bed.assert_clean();

        let mut step = start_step(&bed, STEP, part, &[]);
        wait_for_ranks(&mut step, 4);
        assert!(cancel(&bed), "there is a job");
        // srun's own code may be 0 then.
        step.finish();
        bed.assert_clean();
    }
}

/// `PHALANX_KILLS=200 cargo test -p phalanx-launcher --test cluster any_moment -- --nocapture` does it so often.
#[test]
fn a_job_that_slurm_cancels_at_any_moment_leaves_nothing() {
    let Some(bed) = slurm(NODES, PROCESSORS) else {
        return;
    };
    let first = number("PHALANX_SEED").unwrap_or_else(now);
    println!("scancel: PHALANX_SEED={first}");
    for seed in first..first + number("PHALANX_KILLS").unwrap_or(3) {
        let mut dice = SmallRng::seed_from_u64(seed);
        let job = start_in_allocation(&bed, "endless");
        let moment = dice.random_range(0..MOMENTS_MILLIS);
        std::thread::sleep(Duration::from_millis(moment));
        // The moment may be too early for there to be a job.
        while !cancel(&bed) {}
        let outcome = job.finish();
        // salloc's own code is 0 when it never came to run the command.
        let text = outcome.text();
        assert!(!text.contains("code 0"), "seed {seed}: {text}");
        bed.assert_clean();
    }
}
