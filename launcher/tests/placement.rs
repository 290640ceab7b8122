//! Where ranks are put, and how that is shown, through the real launcher.

mod common;

use common::{Running, phalanx, run};

#[test]
fn a_dry_run_shows_the_map_and_starts_nothing() {
    let words = "run --dry-run --host a.invalid:2,b.invalid:1 -n 4 --map-by node /no/such x";
    let outcome = run(&words.split(' ').collect::<Vec<_>>());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let map = "a.invalid (slots 2): ranks 0,2\nb.invalid (slots 1): ranks 1,3\n";
    assert_eq!(
        outcome.text(),
        format!("{map}command: \"/no/such\" \"x\"\n")
    );
    assert_eq!(
        outcome.reports(),
        ["phalanx: more ranks than slots on b.invalid (2 in 1)"]
    );
}

#[test]
fn a_limit_of_the_hostfile_is_kept_and_the_number_of_ranks_comes_from_it() {
    let directory = std::env::temp_dir();
    let file = directory.join(format!("phalanx-hosts-{}", std::process::id()));
    std::fs::write(&file, "localhost slots=2 max_slots=3\n").expect("writes");
    let path = file.to_str().expect("text");
    let few = run(&[
        "run",
        "--hostfile",
        path,
        "sh",
        "-c",
        "echo $PHALANX_RANK of $PHALANX_SIZE",
    ]);
    let many = run(&["run", "--hostfile", path, "-n", "4", "true"]);
    std::fs::remove_file(&file).expect("removes");
    assert_eq!(few.sorted_lines(), ["0 of 2", "1 of 2"], "{}", few.stderr);
    assert_eq!(many.code, Some(2), "{}", many.stderr);
    assert!(
        many.stderr.contains("4 ranks do not fit"),
        "{}",
        many.stderr
    );
}

#[test]
fn the_hosts_of_an_allocation_are_found_and_the_command_line_goes_before() {
    let slurm = [
        ("SLURM_JOB_ID", "7"),
        ("SLURM_JOB_NODELIST", "n[08-09].invalid"),
    ];
    let dry = |words: &[&str], list: &str| {
        let mut command = phalanx(words);
        command.envs(slurm).env("SLURM_JOB_NODELIST", list);
        command.env("SLURM_TASKS_PER_NODE", "2(x2)");
        Running::start(command).finish()
    };
    let found = dry(&["run", "--dry-run", "x"], "n[08-09]");
    assert_eq!(
        found.text(),
        "n08 (slots 2): ranks 0-1\nn09 (slots 2): ranks 2-3\ncommand: \"x\"\n"
    );
    let typed = dry(&["run", "--dry-run", "-H", "other:3", "x"], "n[08-09]");
    assert!(
        typed.text().starts_with("other (slots 3): ranks 0-2\n"),
        "{}",
        typed.text()
    );
    let wrong = dry(&["run", "--dry-run", "x"], slurm[1].1);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("SLURM_JOB_NODELIST, column 9 "),
        "{}",
        wrong.stderr
    );
}

#[test]
fn lines_can_begin_with_rank_and_host() {
    let host = hostname();
    let outcome = run(&["run", "-n", "2", "--tag-output=host", "echo", "x"]);
    assert_eq!(
        outcome.sorted_lines(),
        [format!("[0 {host}] x"), format!("[1 {host}] x")]
    );
}

fn hostname() -> String {
    run(&["run", "-n", "1", "hostname"])
        .text()
        .trim()
        .to_owned()
}
