//! Small jobs, with their verdicts.

use super::*;
use crate::wire::control::Traffic;

fn wait(id: u64, awaits: Awaits) -> Wait {
    Wait {
        id,
        millis: 2_000,
        limited: false,
        operation: "call".into(),
        on: None,
        site: format!("prog.rs:{id}:1"),
        awaits,
    }
}

fn from(source: impl Into<Option<u32>>) -> Awaits {
    Awaits::Message {
        context: 0,
        source: source.into(),
        tag: Some(7),
        members: Vec::new(),
    }
}

fn collective(sequence: u64, signature: u64) -> Awaits {
    Awaits::Collective {
        context: 1,
        sequence,
        signature,
        members: Vec::new(),
    }
}

/// A rank that has begun so many collectives of the world.
fn idle(begun: u64, waits: Vec<Wait>) -> Standing {
    Standing::Idle(Box::new(Answer {
        begun: vec![(1, begun)],
        begun_is_complete: true,
        waits,
        ..Answer::default()
    }))
}

#[test]
fn ranks_that_receive_from_each_other_are_stuck_and_told_as_a_cycle() {
    let ranks = [
        idle(0, vec![wait(10, from(1))]),
        idle(0, vec![wait(11, from(2))]),
        idle(0, vec![wait(12, from(0))]),
        idle(0, vec![wait(13, from(2))]),
        Standing::Busy,
    ];
    let found = stuck(&ranks);
    assert_eq!(found, [0, 1, 2, 3]);
    assert_eq!(
        describe_cycle(&found, &ranks),
        "rank 0 waits in call from rank 1, tag 7, at prog.rs:10:1; rank 1 waits in call from rank 2, \
         tag 7, at prog.rs:11:1; rank 2 waits in call from rank 0, tag 7, at prog.rs:12:1; 1 more rank \
         waits for them"
    );
}

#[test]
fn whoever_may_still_act_keeps_the_others_from_being_stuck() {
    let mut limited = wait(11, from(0));
    limited.limited = true;
    for other in [
        Standing::Busy,
        idle(0, vec![]),
        idle(0, vec![limited]),
        idle(0, vec![wait(11, Awaits::Itself)]),
        // Another thread of the rank waits for something that comes.
        idle(0, vec![wait(11, from(0)), wait(12, from(2))]),
    ] {
        let ranks = [idle(0, vec![wait(10, from(1))]), other, Standing::Busy];
        assert_eq!(stuck(&ranks), [0_u32; 0], "{ranks:?}");
    }
}

#[test]
fn a_receive_from_any_source_needs_only_one() {
    let any = || idle(0, vec![wait(10, from(None))]);
    assert_eq!(stuck(&[any(), any(), Standing::Busy]), [0_u32; 0]);
    assert_eq!(stuck(&[any(), any(), Standing::Gone]), [0, 1]);
    assert_eq!(stuck(&[any()]), [0], "nobody else could send");
    let left = [any(), Standing::Gone, Standing::Gone];
    assert_eq!(stuck(&left), [0_u32; 0], "its own rank says so");
    assert!(describe_cycle(&[0], &[any()]).starts_with("rank 0 waits in call from any rank"));
}

#[test]
fn a_collective_waits_for_those_who_have_not_begun_it() {
    let arrived = || idle(5, vec![wait(10, collective(4, 9))]);
    let absent = |awaits| idle(4, vec![wait(11, awaits)]);
    assert_eq!(
        stuck(&[arrived(), arrived(), arrived()]),
        [0_u32; 0],
        "it goes on"
    );
    assert_eq!(stuck(&[arrived(), absent(from(0)), arrived()]), [0, 1, 2]);
    // It has taken part already, and may wait for what it likes.
    let beyond = idle(6, vec![wait(11, collective(5, 1))]);
    assert_eq!(stuck(&[arrived(), beyond, Standing::Busy]), [0_u32; 0]);
    // Nobody knows whether it has: it had more communicators than it can name.
    let mut unknown = Answer {
        waits: vec![wait(11, from(0))],
        ..Answer::default()
    };
    let ranks = |it: &Answer| [arrived(), Standing::Idle(Box::new(it.clone()))];
    assert_eq!(stuck(&ranks(&unknown)), [0_u32; 0]);
    unknown.begun_is_complete = true;
    assert_eq!(stuck(&ranks(&unknown)), [0, 1]);
}

#[test]
fn a_collective_that_was_called_differently_is_found() {
    let ranks = [
        idle(5, vec![wait(10, collective(4, 9))]),
        idle(5, vec![wait(11, collective(4, 9))]),
        idle(5, vec![wait(12, collective(4, 8))]),
    ];
    let found = disagreement(&ranks).expect("it differs");
    assert_eq!((found.one.0, found.other.0), (0, 2));
    assert!(disagreement(&ranks[..2]).is_none());
}

#[test]
fn activity_new_waits_and_frames_under_way_forbid_a_verdict() {
    let answer = Answer {
        waits: vec![wait(10, from(1))],
        activity: 3,
        traffic: vec![Traffic {
            peer: 1,
            sent: 5,
            received: 2,
        }],
        ..Answer::default()
    };
    let other = Answer {
        waits: vec![wait(11, from(0))],
        traffic: vec![Traffic {
            peer: 0,
            sent: 2,
            received: 5,
        }],
        ..Answer::default()
    };
    let both = |one: &Answer, two: &Answer| {
        [one, two].map(|answer| Standing::Idle(Box::new(answer.clone())))
    };
    let before = both(&answer, &other);
    assert_eq!(stuck(&unchanged(&before, &before)), [0, 1]);
    assert!(settled(&[0, 1], &before));
    let mut active = answer.clone();
    active.activity += 1;
    assert!(stuck(&unchanged(&before, &both(&active, &other))).is_empty());
    let mut later = answer.clone();
    later.waits[0].id += 1;
    assert!(stuck(&unchanged(&before, &both(&later, &other))).is_empty());
    let mut sent = answer.clone();
    sent.traffic[0].sent += 1;
    assert!(!settled(&[0, 1], &both(&sent, &other)));
    assert!(settled(&[0], &both(&sent, &other)), "not among the stuck");
}

#[test]
fn a_straggler_is_named_with_the_longest_wait_for_it() {
    let mut longest = wait(11, collective(4, 9));
    longest.millis = 9_000;
    let ranks = [
        idle(5, vec![wait(10, collective(4, 9))]),
        idle(5, vec![longest]),
        Standing::Busy,
        idle(4, vec![]),
    ];
    let found = stragglers(&ranks, 8_000);
    assert_eq!(found.len(), 1, "{found:?}");
    let (rank, (waiting, _), count) = &found[0];
    assert_eq!((*rank, *waiting, *count), (2, 1, 2));
    assert!(stragglers(&ranks, 10_000).is_empty());
}
