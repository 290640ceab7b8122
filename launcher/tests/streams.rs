//! Output and input through the real launcher.

mod common;

use std::io::{BufRead, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use common::{Running, phalanx, run, run_script, run_with_input};

#[test]
fn lines_of_many_writers_never_mix() {
    let script = "i=0; while [ $i -lt 200 ]; do printf '<%s' $PHALANX_RANK; printf -- '-%s' $i; \
                  printf '>\\n'; i=$((i+1)); done";
    let outcome = run_script(8, script);
    let mut wanted: Vec<String> = (0..8)
        .flat_map(|rank| (0..200).map(move |line| format!("<{rank}-{line}>")))
        .collect();
    wanted.sort();
    assert_eq!(outcome.sorted_lines(), wanted);
}

#[test]
fn a_line_written_in_two_halves_stays_one() {
    let script = "printf 'a%s' $PHALANX_RANK; sleep 0.2; printf 'b%s\\n' $PHALANX_RANK";
    assert_eq!(
        run_script(3, script).sorted_lines(),
        ["a0b0", "a1b1", "a2b2"]
    );
}

#[test]
fn tags_name_the_rank_on_both_streams() {
    let script = "echo out; echo err >&2; printf end";
    let outcome = run(&["run", "-n", "2", "--tag-output", "sh", "-c", script]);
    assert_eq!(
        outcome.sorted_lines(),
        ["[0] end", "[0] out", "[1] end", "[1] out"]
    );
    let mut errors: Vec<&str> = outcome.stderr.lines().collect();
    errors.sort_unstable();
    assert_eq!(errors, ["[0] err", "[1] err"]);
}

#[test]
fn an_unfinished_last_line_is_kept_as_it_is() {
    assert_eq!(run_script(1, "printf 'no end'").stdout, b"no end");
}

#[test]
fn a_prompt_shows_before_its_answer() {
    let mut command = phalanx(&["run", "-n", "2", "sh", "-c"]);
    command.arg("[ $PHALANX_RANK = 1 ] && exit 0; printf 'name? '; read name; echo hello $name");
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut prompt = [0; 6];
    running.out.read_exact(&mut prompt).expect("the prompt");
    assert_eq!(&prompt, b"name? ");
    let mut stdin = running.child.stdin.take().expect("piped");
    stdin.write_all(b"you\n").expect("writes");
    let mut line = String::new();
    running.out.read_line(&mut line).expect("reads");
    assert_eq!(line, "hello you\n");
    assert_eq!(
        running.finish().code,
        Some(0),
        "with our end of the input still open"
    );
}

#[test]
fn much_output_arrives_complete() {
    let outcome = run(&["run", "-n", "1", "head", "-c", "30000000", "/dev/zero"]);
    assert_eq!(outcome.stdout.len(), 30_000_000);
    let outcome = run_script(4, "yes 0123456789abcdef | head -n 200000");
    let lines = outcome.text();
    assert_eq!(
        lines
            .lines()
            .filter(|line| *line == "0123456789abcdef")
            .count(),
        800_000
    );
}

#[test]
fn a_slow_reader_loses_nothing_and_holds_up_nothing_else() {
    // Rank 0 fills every buffer; the end of rank 1 must be noticed all the same.
    let script = "[ $PHALANX_RANK = 1 ] && { sleep 0.3; echo over >&2; exit 6; }; exec yes";
    let mut command = phalanx(&["run", "-n", "2", "sh", "-c", script]);
    command.stderr(Stdio::piped());
    let mut running = Running::start(command);
    running.lines(1);
    std::thread::sleep(Duration::from_millis(800));
    let outcome = running.finish();
    assert_eq!(outcome.code, Some(6), "{}", outcome.stderr);
    assert!(
        outcome
            .text()
            .lines()
            .all(|line| line == "y" || line.is_empty())
    );
}

#[test]
fn input_goes_to_rank_0_complete_and_ends() {
    let input: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    let outcome = run_with_input(&["run", "-n", "3", "cat"], input.clone());
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout == input, "{} bytes", outcome.stdout.len());
}

#[test]
fn input_from_a_file_works_too() {
    let mut command = phalanx(&["run", "-n", "2", "wc", "-c"]);
    let file = std::fs::File::open(env!("CARGO_BIN_EXE_phalanx")).expect("opens");
    let length = file.metadata().expect("has").len();
    command.stdin(file);
    let outcome = Running::start(command).finish();
    assert_eq!(
        outcome.sorted_lines().last().map(String::as_str),
        Some(length.to_string().as_str())
    );
}

#[test]
fn input_that_nobody_reads_hangs_nothing() {
    let much = vec![b'x'; 5_000_000];
    assert_eq!(
        run_with_input(&["run", "-n", "2", "true"], much.clone()).code,
        Some(0)
    );
    let script = "exec <&-; sleep 0.3; exit 0";
    let words = ["run", "-n", "2", "sh", "-c", script];
    assert_eq!(run_with_input(&words, much).code, Some(0));
}

#[test]
fn when_the_reader_goes_the_job_ends_like_any_filter() {
    let mut child = phalanx(&["run", "-n", "3", "yes"])
        .spawn()
        .expect("the launcher starts");
    drop(child.stdout.take());
    let mut said = String::new();
    let stderr = child.stderr.take();
    stderr
        .expect("piped")
        .read_to_string(&mut said)
        .expect("reads");
    assert_eq!(child.wait().expect("ends").code(), Some(141));
    assert_eq!(said, "");
}
