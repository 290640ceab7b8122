//! Accounts that agree and accounts that do not.

use super::Audit;
use crate::base::ids::Context;
use crate::wire::control::{Account, Call, Traffic, Unmatched};

const WORLD: u64 = Context::WORLD.collective().0;

fn call(sequence: u64, signature: u64) -> Call {
    Call {
        context: WORLD,
        sequence,
        signature,
        words: format!("call {signature} at here.rs:{sequence}"),
    }
}

fn account(calls: &[Call]) -> Account {
    Account {
        site: Some("end.rs:9".into()),
        complete: true,
        begun: vec![(WORLD, calls.len() as u64)],
        calls: calls.to_vec(),
        ..Account::default()
    }
}

#[test]
fn equal_accounts_are_left_alone() {
    let mut audit = Audit::default();
    for rank in 0..5 {
        let equal = account(&[call(0, 7), call(1, 8)]);
        assert_eq!(audit.enter(rank, equal), None);
    }
    assert_eq!(audit.warnings(), Vec::<String>::new());
}

#[test]
fn another_call_is_told_with_both_places() {
    let mut audit = Audit::default();
    assert_eq!(audit.enter(3, account(&[call(0, 7), call(1, 8)])), None);
    let found = audit
        .enter(1, account(&[call(0, 7), call(1, 9)]))
        .expect("they differ");
    assert!(found.contains("rank 3: call 8 at here.rs:1"), "{found}");
    assert!(found.contains("rank 1: call 9 at here.rs:1"), "{found}");
}

#[test]
fn a_call_too_few_is_told_with_both_places_whoever_speaks_first() {
    for order in [[0, 1], [1, 0]] {
        let mut audit = Audit::default();
        let accounts = [account(&[call(0, 7)]), account(&[call(0, 7), call(1, 8)])];
        let mut found = None;
        for rank in order {
            let now = audit.enter(rank, accounts[rank as usize].clone());
            found = found.or(now);
        }
        let found = found.expect("they differ");
        assert!(
            found.contains("rank 0 did not take part in call 8 at here.rs:1"),
            "{found}"
        );
        assert!(
            found.contains("finalized at end.rs:9 after its last collective, call 7 at here.rs:0"),
            "{found}"
        );
    }
}

#[test]
fn who_failed_is_not_asked_for_what_it_would_have_called() {
    let mut audit = Audit::default();
    let failed = Account {
        complete: false,
        ..account(&[call(0, 7)])
    };
    assert_eq!(audit.enter(0, failed), None);
    assert_eq!(audit.enter(1, account(&[call(0, 7), call(1, 8)])), None);
}

#[test]
fn what_nobody_received_or_waited_for_is_a_warning_and_their_number_is_bounded() {
    let mut audit = Audit::default();
    let traffic = |peer, sent, received| Traffic {
        peer,
        sent,
        received,
    };
    let group = |tag| Unmatched {
        context: Context::WORLD.0,
        source: 0,
        tag,
        messages: 1,
        bytes: 8,
    };
    audit.enter(
        0,
        Account {
            traffic: vec![traffic(1, 5, 0)],
            unfinished: 2,
            ..account(&[])
        },
    );
    audit.enter(
        1,
        Account {
            traffic: vec![traffic(0, 0, 4)],
            unmatched: vec![group(3)],
            ..account(&[])
        },
    );
    let lines = audit.warnings();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("rank 1 never received 1 message from rank 0 with tag 3"));
    assert!(lines[1].contains("1 message of rank 0 to rank 1 was never received"));
    assert!(lines[2].contains("rank 0 finalized with 2 nonblocking operations"));
    let many = Account {
        unmatched: (0..40).map(group).collect(),
        unmatched_more: 60,
        ..account(&[])
    };
    audit.enter(2, many);
    assert_eq!(audit.warnings().len(), 17);
}
