//! `phalanx algorithms` through the real launcher.

mod common;

use common::{Running, phalanx, run};

#[test]
fn one_operation_or_all_are_shown() {
    let outcome = run(&["algorithms", "-n", "4", "allreduce"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let text = outcome.text();
    assert!(text.starts_with("allreduce, 4 ranks"), "{text}");
    assert!(
        text.contains("recursive_doubling") && text.contains("allreduce=ring "),
        "{text}"
    );
    assert!(!text.contains("barrier"), "{text}");
    let all = run(&["algorithms"]).text();
    assert!(
        all.contains("barrier, ") && all.contains("reduce_scatter_block, "),
        "{all}"
    );
}

#[test]
fn what_is_forced_is_obeyed_and_shown() {
    let mut command = phalanx(&["algorithms", "-n", "4", "bcast"]);
    command.env("PHALANX_ALGORITHMS", "bcast=chain");
    let text = Running::start(command).finish().text();
    let chosen = text.lines().nth(1).unwrap_or_default();
    assert!(
        chosen.contains("any ") && chosen.contains("chain "),
        "{text}"
    );
    assert!(chosen.ends_with("forced"), "{text}");
}

#[test]
fn mistakes_name_what_there_is() {
    let outcome = run(&["algorithms", "allredoce"]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome
            .stderr
            .contains("there are barrier, bcast, reduce, allreduce")
    );
    assert!(
        outcome.stderr.contains("phalanx algorithms --help"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);

    let mut command = phalanx(&["algorithms"]);
    command.env("PHALANX_ALGORITHMS", "bcast=ring");
    let outcome = Running::start(command).finish();
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome
            .stderr
            .contains("PHALANX_ALGORITHMS: no algorithm for bcast")
    );
    assert!(
        outcome.stderr.contains("binomial, scatter_allgather"),
        "{}",
        outcome.stderr
    );

    assert_eq!(run(&["algorithms", "-n", "0"]).code, Some(2));
}
