//! What a hostile peer can do to an engine: waste its own credit, and nothing else.

use phalanx::engine::{
    Action, Engine, Incoming, Landing, Nonsense, OpenWork, Outgoing, Pattern, RecvId, SendId,
    SendStart, collective,
};
use phalanx::wire::header::{Flags, Header, Kind};
use proptest::prelude::*;

use crate::pair::*;

#[test]
fn nothing_is_delivered_for_a_message_of_no_bytes() {
    let mut receiver = engine(B, 2);
    let landing = receiver.arrive(A, &header(Kind::Eager, A)).unwrap();
    assert_eq!(landing, Landing::Nothing);
    receiver.recv(from_a(0));
    assert!(matches!(
        receiver.poll_action(),
        Some(Action::RecvDone { .. })
    ));
    assert_eq!(receiver.open_work(), OpenWork::default());
}

#[test]
fn collectives_that_do_not_match_are_told_at_the_first_frame() {
    let context = USER.collective();
    let frame = Header {
        context,
        tag: collective::tag(4, 0),
        ..header(Kind::Eager, A)
    };
    let mut early = engine(B, 2);
    early.arrive(A, &frame).unwrap();
    early.collective_begins(context, 4, 8);
    let mut late = engine(B, 2);
    late.collective_begins(context, 4, 8);
    late.arrive(A, &frame).unwrap();
    for engine in [&mut early, &mut late] {
        let Some(Action::Mismatch(mismatch)) = engine.poll_action() else {
            panic!("unnoticed")
        };
        assert_eq!((mismatch.ours, mismatch.theirs, mismatch.peer), (8, 7, A));
    }
}

#[test]
fn collectives_that_never_begin_are_not_remembered_for_ever() {
    let mut receiver = engine(B, 2);
    let context = USER.collective();
    for sequence in 0..1000 {
        let tag = collective::tag(sequence, 0);
        let request = Header {
            context,
            tag,
            token: 5,
            ..header(Kind::Request, A)
        };
        receiver.arrive(A, &request).unwrap();
        let withdrawn = Header {
            token: 5,
            ..header(Kind::Withdrawn, A)
        };
        receiver.arrive(A, &withdrawn).unwrap();
    }
    assert_eq!(receiver.open_work(), OpenWork::default());
}

#[test]
fn announcements_beyond_credit_and_grants_are_nonsense() {
    let mut receiver = engine(B, 2);
    let request = Header {
        length: 9,
        ..header(Kind::Request, A)
    };
    assert_eq!(receiver.arrive(A, &request), Err(Nonsense::Unpaid));
    let paid = Header {
        flags: Flags::CHARGED,
        ..request
    };
    assert_eq!(receiver.arrive(A, &paid), Ok(Landing::Nothing));
    assert_eq!(receiver.arrive(A, &paid), Err(Nonsense::Repeated(0)));
    let context = USER.collective();
    let refused = (1..).find(|token| {
        let uncharged = Header {
            context,
            token: *token,
            ..request
        };
        receiver.arrive(A, &uncharged).is_err()
    });
    assert_eq!(refused, Some((1 << 16) + 1));
}

/// Any word from a hostile peer, with numbers that are likely to hit something.
fn words() -> impl Strategy<Value = (u8, u8, bool, u64, u64, u64, u64)> {
    let number = || {
        prop_oneof![
            0..4_u64,
            (0..4_u64).prop_map(|low| (1 << 32) | low),
            Just(1000),
            Just(WINDOW),
            Just(i64::MAX as u64),
            Just(u64::MAX),
            any::<u64>(),
        ]
    };
    (
        1..10_u8,
        0..8_u8,
        any::<bool>(),
        number(),
        number(),
        number(),
        number(),
    )
}

fn hostile(word: (u8, u8, bool, u64, u64, u64, u64)) -> Header {
    let (kind, flags, collective, tag, length, token, place) = word;
    let mut bytes = header(Kind::Eager, A).encode();
    bytes[0] = kind;
    bytes[1] = flags;
    let kind = Header::decode(&bytes).unwrap().kind;
    let context = if collective { USER.collective() } else { USER };
    let check = tag % 3;
    Header {
        flags: Flags(flags),
        context,
        tag,
        length,
        check,
        token,
        place,
        ..header(kind, A)
    }
}

/// What the program does between two words of the peer.
fn live(engine: &mut Engine, choice: u64, recvs: &mut Vec<RecvId>, sends: &mut Vec<SendId>) {
    let tag = choice % 4;
    match choice % 7 {
        0 => recvs.push(engine.recv(from_a(tag))),
        1 => {
            let pattern = Pattern {
                context: USER,
                source: None,
                tag: None,
            };
            recvs.push(engine.recv(Incoming {
                pattern,
                ..from_a(0)
            }));
        }
        2 => {
            let start = engine.send(Outgoing {
                to: A,
                ..message(tag, choice % 5000)
            });
            if let SendStart::Later(id) = start {
                sends.push(id);
            }
        }
        3 => drop(sends.pop().map(|id| engine.withdraw(id))),
        4 => drop(recvs.pop().map(|id| engine.abandon(id))),
        5 => drop(engine.probe(&Pattern {
            context: USER,
            source: Some(A),
            tag: None,
        })),
        _ => {
            let context = USER.collective();
            engine.collective_begins(context, choice % 3, choice % 2);
            engine.collective_ends(context, choice % 2);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_words_confuses_an_engine(
        words in proptest::collection::vec((words(), any::<u64>()), 1..200),
        dies in any::<bool>(),
    ) {
        let mut engine = engine(B, 3);
        let (mut recvs, mut sends) = (Vec::new(), Vec::new());
        for (word, choice) in words {
            live(&mut engine, choice, &mut recvs, &mut sends);
            if let Ok(landing) = engine.arrive(A, &hostile(word)) {
                engine.landed(landing);
            }
            while let Some(action) = engine.poll_action() {
                match action {
                    Action::Pull { recv, .. } => engine.pulled(recv, choice % 2 == 0),
                    Action::TransmitPart { send, header, .. } => {
                        engine.part_sent(send, header.length);
                    }
                    _ => {}
                }
            }
            let open = engine.open_work();
            prop_assert!(open.unexpected <= 1000 && open.announced <= 1000, "{open:?}");
            prop_assert!(open.collectives <= open.unexpected + 3, "{open:?}");
            prop_assert!(engine.credit_state(A).0 <= WINDOW);
        }
        if dies {
            engine.peer_gone(A, true);
            sends.clear();
            while engine.poll_action().is_some() {}
            let open = engine.open_work();
            prop_assert_eq!((open.sends, open.receives, open.posted_counts), (0, 0, 0));
        }
    }
}
