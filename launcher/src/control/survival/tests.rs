//! Failures that others go on after, and agreements.

use super::super::Action;
use super::super::tests::{Bed, said, send};
use phalanx::wire::control::{Agreed, FromDaemon, FromRank, ToDaemon, ToRank};

fn going_on(ranks: u32) -> Bed {
    let mut bed = Bed::new(ranks);
    bed.join_all();
    for rank in 0..ranks {
        bed.says(rank, FromRank::Policy { returns: true });
    }
    bed
}

fn agree(bed: &mut Bed, rank: u32, members: &[u32], flags: u64) -> Vec<Action> {
    let agree = FromRank::Agree {
        context: 4,
        sequence: 0,
        members: members.to_vec(),
        flags,
    };
    bed.says(rank, agree)
}

fn agreed(actions: &[Action]) -> Vec<(u32, Agreed)> {
    let mut found = Vec::new();
    for action in actions {
        if let Action::Send {
            message:
                ToDaemon::ToRank {
                    rank,
                    message: ToRank::Agreed(agreed),
                },
            ..
        } = action
        {
            found.push((*rank, agreed.clone()));
        }
    }
    found
}

#[test]
fn a_failure_is_told_and_the_others_go_on() {
    let mut bed = going_on(3);
    let actions = bed.killed(1, 9);
    assert!(said(&actions)[0].contains("rank 1"), "{actions:?}");
    assert!(said(&actions)[0].contains("2 ranks go on without it"));
    let gone = |rank: u32| {
        actions.iter().any(|action| {
            matches!(action, Action::Send { message: ToDaemon::ToRank { rank: to, message: ToRank::Gone(_) }, .. } if *to == rank)
        })
    };
    assert!(gone(0) && gone(2));
    for rank in [0, 2] {
        bed.says(rank, FromRank::Finalized);
        assert_eq!(bed.exits(rank, 0), []);
    }
    assert_eq!(bed.done(), [Action::Finish(0)]);
}

#[test]
fn who_goes_on_may_be_done_before_it_is_known_how_the_other_one_ended() {
    let mut bed = going_on(2);
    bed.daemon(FromDaemon::Died { rank: 1 });
    bed.says(0, FromRank::Finalized);
    assert_eq!(bed.exits(0, 0), []);
    let actions = bed.killed(1, 9);
    assert!(said(&actions)[0].ends_with("(SIGKILL)"), "{actions:?}");
    assert_eq!(bed.done(), [Action::Finish(0)]);
}

#[test]
fn one_rank_that_did_not_choose_to_go_on_ends_the_job() {
    let mut bed = going_on(3);
    bed.says(2, FromRank::Policy { returns: false });
    let actions = bed.killed(1, 9);
    assert!(actions.contains(&send(ToDaemon::End { now: false })));
}

#[test]
fn the_last_failure_ends_the_job_and_the_first_one_is_named() {
    let mut bed = going_on(2);
    bed.killed(1, 9);
    let actions = bed.exits(0, 3);
    assert!(said(&actions)[0].contains("rank 1"), "{actions:?}");
    assert_eq!(bed.done(), [Action::Finish(137)]);
}

#[test]
fn the_code_of_a_rank_that_finalized_counts() {
    let mut bed = going_on(3);
    bed.killed(1, 9);
    bed.says(0, FromRank::Finalized);
    bed.exits(0, 5);
    bed.says(2, FromRank::Finalized);
    bed.exits(2, 0);
    assert_eq!(bed.done(), [Action::Finish(5)]);
}

#[test]
fn all_members_get_the_same_answer_once_all_have_contributed() {
    let mut bed = going_on(3);
    assert_eq!(agree(&mut bed, 0, &[0, 2], 0b110), []);
    let answers = agreed(&agree(&mut bed, 2, &[0, 2], 0b011));
    let answer = Agreed {
        context: 4,
        sequence: 0,
        flags: 0b010,
        failed: vec![],
    };
    assert_eq!(answers, [(0, answer.clone()), (2, answer)]);
}

#[test]
fn a_death_decides_what_waited_for_the_dead() {
    let mut bed = going_on(3);
    agree(&mut bed, 0, &[0, 1, 2], 7);
    agree(&mut bed, 2, &[0, 1, 2], 5);
    let actions = bed.killed(1, 9);
    let answers = agreed(&actions);
    assert_eq!(answers.len(), 2);
    for (_, answer) in answers {
        assert_eq!((answer.flags, answer.failed), (5, vec![1]));
    }
    let place = |wanted: fn(&ToRank) -> bool| {
        actions.iter().position(|action| {
            matches!(action, Action::Send { message: ToDaemon::ToRank { rank: 0, message }, .. } if wanted(message))
        })
    };
    let gone = place(|message| matches!(message, ToRank::Gone(_)));
    let agreed = place(|message| matches!(message, ToRank::Agreed(_)));
    assert!(
        gone < agreed,
        "the death is told before what follows from it"
    );
}

#[test]
fn who_contributed_and_died_is_among_the_failed() {
    let mut bed = going_on(3);
    agree(&mut bed, 1, &[0, 1, 2], 1);
    agree(&mut bed, 0, &[0, 1, 2], 3);
    assert_eq!(agreed(&bed.killed(1, 11)), []);
    let answers = agreed(&agree(&mut bed, 2, &[0, 1, 2], 3));
    let told: Vec<u32> = answers.iter().map(|(rank, _)| *rank).collect();
    assert_eq!(told, [0, 2]);
    assert_eq!((answers[0].1.flags, &answers[0].1.failed), (1, &vec![1]));
}

#[test]
fn a_member_that_finalized_does_not_hold_the_others_up() {
    let mut bed = going_on(2);
    agree(&mut bed, 0, &[0, 1], 1);
    let answers = agreed(&bed.says(1, FromRank::Finalized));
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].1.failed, [1]);
}

#[test]
fn nonsense_ends_the_job() {
    for members in [&[0, 1][..], &[1, 2], &[0, 9]] {
        let mut bed = going_on(3);
        agree(&mut bed, 2, &[0, 1, 2], 1);
        let actions = agree(&mut bed, 0, members, 1);
        assert!(actions.contains(&send(ToDaemon::End { now: false })));
    }
}

#[test]
fn a_revocation_reaches_all_others() {
    let mut bed = going_on(3);
    let actions = bed.says(1, FromRank::Revoke { context: 4 });
    let told = |rank| {
        let message = ToRank::Revoked { context: 4 };
        actions.contains(&send(ToDaemon::ToRank { rank, message }))
    };
    assert!(told(0) && told(2) && !told(1));
}
