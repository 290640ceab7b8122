//! Exit codes, messages and the environment of ranks, through the real launcher.

mod common;

use common::{Mark, run, run_script};

#[test]
fn the_code_is_the_first_failing_ranks_and_it_is_named() {
    let outcome = run_script(4, "[ $PHALANX_RANK = 2 ] && exit 3; sleep 600");
    assert_eq!(outcome.code, Some(3));
    let reports = outcome.reports();
    assert_eq!(reports.len(), 1, "{}", outcome.stderr);
    assert!(
        reports[0].starts_with("phalanx: rank 2 on "),
        "{}",
        reports[0]
    );
    assert!(
        reports[0].ends_with(" exited with code 3; the other 3 ranks were ended"),
        "{}",
        reports[0]
    );
}

#[test]
fn a_signal_gives_128_and_its_number() {
    let outcome = run_script(3, "[ $PHALANX_RANK = 1 ] && kill -9 $$; sleep 600");
    assert_eq!(outcome.code, Some(137));
    assert!(outcome.stderr.contains("was killed by signal 9 (SIGKILL)"));
}

#[test]
fn ranks_that_ignore_the_polite_signal_are_killed() {
    let mark = Mark::new();
    let script = "trap '' TERM; [ $PHALANX_RANK = 0 ] && exit 4; while :; do sleep 1; done";
    let words = [
        "run",
        "-n",
        "3",
        "--env",
        mark.variable(),
        "sh",
        "-c",
        script,
    ];
    assert_eq!(run(&words).code, Some(4));
    mark.assert_gone();
}

#[test]
fn success_is_quiet() {
    let outcome = run_script(3, "true");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn ranks_know_who_they_are() {
    let outcome = run_script(
        3,
        "echo $PHALANX_RANK/$PHALANX_SIZE/$PHALANX_LOCAL_RANK/${#PHALANX_JOB}; [ -S \
         /proc/self/fd/$PHALANX_CONTROL_FD ]",
    );
    assert_eq!(outcome.sorted_lines(), ["0/3/0/16", "1/3/1/16", "2/3/2/16"]);
    assert_eq!(outcome.code, Some(0));
}

#[test]
fn the_secret_is_in_neither_arguments_nor_environment() {
    let outcome = run_script(
        1,
        "cat /proc/self/environ | tr '\\0' '\\n' | grep ^PHALANX_ | cut -d= -f1",
    );
    let mut added = outcome.sorted_lines();
    // What was there before: cargo gives tests the variables that its build scripts set.
    added.retain(|name| std::env::var_os(name).is_none());
    assert_eq!(
        added,
        [
            "PHALANX_APPNUM",
            "PHALANX_CONTROL_FD",
            "PHALANX_JOB",
            "PHALANX_LOCAL_RANK",
            "PHALANX_RANK",
            "PHALANX_SIZE"
        ]
    );
}

#[test]
fn variables_and_the_directory_can_be_set() {
    let words = [
        "run",
        "-n",
        "2",
        "--env",
        "A=b=c",
        "--env",
        "B=",
        "--wdir",
        "/",
        "sh",
        "-c",
        "echo $A,$B,$PWD",
    ];
    assert_eq!(run(&words).sorted_lines(), ["b=c,,/", "b=c,,/"]);
}

#[test]
fn threads_are_one_process_whose_code_passes_through() {
    let script = "echo $PHALANX_THREADS,$PHALANX_RANK,$PHALANX_CONTROL_FD; exit 5";
    let outcome = run(&["run", "-n", "3", "--as", "threads", "sh", "-c", script]);
    assert_eq!((outcome.text().as_str(), outcome.code), ("3,,\n", Some(5)));
}

#[test]
fn a_missing_program_is_told_once_with_advice() {
    for name in ["phalanx-no-such-program", "./phalanx-no-such-program"] {
        let outcome = run(&["run", "-n", "8", name]);
        assert_eq!(outcome.code, Some(71));
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("there is no such program"));
        assert!(outcome.stderr.contains("--example"));
    }
}

#[test]
fn what_cannot_be_run_says_why() {
    for (words, needle) in [
        (&["run", "/"][..], "it is a directory"),
        (&["run", "/etc/passwd"], "permission denied"),
        (
            &["run", "--wdir", "/no/such/directory", "true"],
            "--wdir /no/such/directory",
        ),
        (
            &["run", "--example", "no-such-example"],
            "cargo could not build example no-such-example",
        ),
    ] {
        let outcome = run(words);
        assert_eq!(outcome.code, Some(71), "{words:?}: {}", outcome.stderr);
        let reports = outcome.reports();
        assert!(
            reports.len() == 1 && reports[0].contains(needle),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_wrong_command_line_is_told_in_one_line() {
    for words in [
        &["run", "-n", "0", "true"][..],
        &["run", "-n", "-3", "true"],
        &["run", "-n", "many", "true"],
        &["run", "-n", "4"],
        &["run", "--timeout", "x", "true"],
        &["run", "--transport", "pigeon", "true"],
        &["run", "--env", "PHALANX_RANK=3", "true"],
        &["run", "--release", "true"],
        &["run", "--no-such-option", "true"],
        &["walk"],
    ] {
        let outcome = run(words);
        assert_eq!(outcome.code, Some(2), "{words:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(
            outcome.stderr.starts_with("phalanx: "),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let outcome = run(&["run", "--help"]);
    assert_eq!(outcome.code, Some(0));
    for needle in ["Examples:", "--example cg", "Exit codes:", "SIGTERM"] {
        assert!(outcome.text().contains(needle), "{needle}");
    }
    assert!(run(&["--version"]).text().starts_with("phalanx 0."));
}

#[test]
fn a_timeout_ends_the_job() {
    let mark = Mark::new();
    let words = [
        "run",
        "-n",
        "3",
        "--timeout",
        "0.3",
        "--env",
        mark.variable(),
        "sleep",
        "600",
    ];
    let outcome = run(&words);
    assert_eq!(outcome.code, Some(75));
    assert!(outcome.reports()[0].contains("did not end within 0.3 s"));
    mark.assert_gone();
}

#[test]
fn many_ranks_start_and_end() {
    let outcome = run(&["run", "-n", "256", "true"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn too_few_descriptors_are_told_with_numbers() {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" run -n 50 true"]);
    command.arg(env!("CARGO_BIN_EXE_phalanx"));
    let output = command.output().expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{said}");
    assert!(said.contains("only 100 are allowed"), "{said}");
}

#[test]
fn what_a_rank_leaves_in_the_background_is_ended() {
    let mark = Mark::new();
    let words = [
        "run",
        "-n",
        "2",
        "--env",
        mark.variable(),
        "sh",
        "-c",
        "sleep 600 & echo up",
    ];
    let outcome = run(&words);
    assert_eq!(
        (outcome.text().as_str(), outcome.code),
        ("up\nup\n", Some(0))
    );
    mark.assert_gone();
}

#[test]
fn nothing_is_written_to_disk() {
    let name = format!("phalanx-empty-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).expect("creates");
    let outcome = {
        let mut command = common::phalanx(&["run", "-n", "4", "sh", "-c", "exit 1"]);
        command.current_dir(&directory);
        command.env("TMPDIR", &directory).env("HOME", &directory);
        command.env("XDG_RUNTIME_DIR", &directory);
        common::Running::start(command).finish()
    };
    assert_eq!(outcome.code, Some(1));
    std::fs::remove_dir(&directory).expect("still empty");
}
