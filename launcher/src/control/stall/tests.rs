//! Looks at a job on paper.

use super::super::tests::{Bed, said};
use super::super::{Action, exit};
use phalanx::wire::control::{
    Answer, Awaits, FromDaemon, FromRank, Glance, ToDaemon, ToRank, Wait,
};

fn asked(actions: &[Action]) -> Vec<(u32, u32)> {
    let question = |action: &Action| match action {
        Action::Send {
            message:
                ToDaemon::ToRank {
                    rank,
                    message: ToRank::Ask { number },
                },
            ..
        } => Some((*rank, *number)),
        _ => None,
    };
    actions.iter().filter_map(question).collect()
}

/// A rank that has waited for so long for a message of another one.
fn waits_for(source: u32, millis: u64, free_threads: u32) -> Answer {
    Answer {
        waits: vec![Wait {
            on: None,
            id: 1,
            millis,
            limited: false,
            operation: "recv_vec".into(),
            site: "prog.rs:3:1".into(),
            awaits: Awaits::Message {
                context: 0,
                source: Some(source),
                tag: Some(5),
                members: Vec::new(),
            },
        }],
        free_threads,
        begun_is_complete: true,
        ..Answer::default()
    }
}

fn joined(ranks: u32) -> Bed {
    let mut bed = Bed::new(ranks);
    bed.join_all();
    bed
}

fn answers(bed: &mut Bed, rank: u32, number: u32, mut answer: Answer) -> Vec<Action> {
    answer.number = number;
    bed.says(rank, FromRank::Answer(Box::new(answer)))
}

#[test]
fn two_equal_pictures_of_ranks_that_wait_for_each_other_end_the_job() {
    let mut bed = joined(2);
    let actions = bed.says(0, FromRank::Blocked);
    assert_eq!(asked(&actions), [(0, 1), (1, 1)]);
    assert_eq!(answers(&mut bed, 0, 1, waits_for(1, 1_000, 0)), []);
    assert_eq!(
        answers(&mut bed, 1, 1, waits_for(0, 1_000, 0)),
        [],
        "once is not enough"
    );
    assert_eq!(asked(&bed.after(150)), [(0, 2), (1, 2)]);
    answers(&mut bed, 0, 2, waits_for(1, 1_150, 0));
    let actions = answers(&mut bed, 1, 2, waits_for(0, 1_150, 0));
    assert!(said(&actions)[0].starts_with("deadlock: rank 0 waits in recv_vec from rank 1"));
    assert!(actions.contains(&super::super::tests::send(ToDaemon::End { now: false })));
    bed.killed(0, 15);
    bed.killed(1, 15);
    assert_eq!(bed.done(), [Action::Finish(exit::MISMATCH)]);
}

#[test]
fn a_rank_that_moved_between_the_pictures_is_not_stuck() {
    let mut bed = joined(2);
    bed.says(0, FromRank::Blocked);
    answers(&mut bed, 0, 1, waits_for(1, 1_000, 0));
    answers(&mut bed, 1, 1, waits_for(0, 1_000, 0));
    bed.after(150);
    let mut moved = waits_for(1, 1_150, 0);
    moved.activity = 1;
    answers(&mut bed, 0, 2, moved);
    assert_eq!(answers(&mut bed, 1, 2, waits_for(0, 1_150, 0)), []);
    assert_eq!(asked(&bed.after(1_000)).len(), 2, "it is looked at again");
}

#[test]
fn with_another_thread_it_is_only_said_and_only_once() {
    let mut bed = joined(2);
    bed.says(0, FromRank::Blocked);
    let mut lines = Vec::new();
    for number in 1..=4 {
        answers(&mut bed, 0, number, waits_for(1, 1_000, 1));
        let actions = answers(&mut bed, 1, number, waits_for(0, 1_000, 0));
        lines.extend(said(&actions).into_iter().map(str::to_owned));
        bed.after(if number % 2 == 1 { 150 } else { 1_000 });
    }
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("this looks like a deadlock"));
}

/// For 20 s ranks 0 and 1 wait for rank 2, which does not answer; what is said. `is_stopped` tells when its
/// daemon sees it stopped, in steps of a quarter of a second, and `None` when the daemon does not say.
fn watched(is_stopped: impl Fn(u64) -> Option<bool>) -> Vec<String> {
    let mut bed = joined(3);
    let mut looks = 0;
    let mut lines = Vec::new();
    let mut actions = bed.says(0, FromRank::Blocked);
    for step in 0..80 {
        if let Some((_, number)) = asked(&actions).first() {
            looks = *number;
            answers(&mut bed, 0, looks, waits_for(2, 1_000 + step * 250, 0));
            answers(&mut bed, 1, looks, waits_for(2, 1_000 + step * 250, 0));
        }
        let glance = super::super::tests::send(ToDaemon::Glance);
        if let (true, Some(stopped)) = (actions.contains(&glance), is_stopped(step)) {
            let (rank, last) = (2, None);
            let glances = vec![Glance {
                rank,
                stopped,
                last,
            }];
            bed.daemon(FromDaemon::Glances(glances));
        }
        actions = bed.after(250);
        lines.extend(said(&actions).into_iter().map(str::to_owned));
    }
    assert!((4..30).contains(&looks), "{looks} looks in 20 s");
    lines
}

#[test]
fn whoever_does_not_answer_is_named_after_a_while_and_only_once() {
    let lines = watched(|_| Some(false));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("rank 2 on h (pid 102) has been computing outside the runtime"));
    assert!(
        lines[0].contains("; 2 ranks wait for it in recv_vec from rank 2"),
        "{lines:?}"
    );
}

#[test]
fn one_that_is_stopped_is_named_as_such_and_only_once_also_when_it_has_computed_before() {
    let stopped = "rank 2 on h (pid 102) is stopped (state T; `kill -CONT 102` on its host";
    let lines = watched(|step| Some(step < 60));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(stopped), "{lines:?}");
    let lines = watched(|step| Some(step >= 30));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(" has been computing "), "{lines:?}");
    assert!(lines[1].starts_with(stopped), "{lines:?}");
    // What it does is not told before it is known.
    let lines = watched(|step| (step >= 30).then_some(true));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(stopped), "{lines:?}");
}

#[test]
fn late_and_foreign_answers_do_not_count() {
    let mut bed = joined(2);
    assert_eq!(answers(&mut bed, 0, 0, waits_for(1, 1_000, 0)), []);
    bed.says(0, FromRank::Blocked);
    answers(&mut bed, 0, 7, waits_for(1, 1_000, 0));
    answers(&mut bed, 0, 1, waits_for(1, 1_000, 0));
    assert_eq!(bed.after(1_000), [], "rank 1 is busy");
    answers(&mut bed, 1, 1, waits_for(0, 1_000, 0));
    assert!(bed.job.looks.next_deadline().is_some());
}
