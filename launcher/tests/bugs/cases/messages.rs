//! Messages that do not find each other: tags, peers, communicators, types, lengths, missing halves, and
//! ranks that wait for each other.

use super::{Case, Class, Expected};
use crate::program::{Collective, Element, HowToReceive, HowToSend, Kind, On, Program};
use crate::program::{Receive, Send, Step};

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for send in HowToSend::AT_ONCE {
        for receive in HowToReceive::AT_ONCE {
            pairs(&mut cases, send, receive);
            peers(&mut cases, send, receive);
        }
        alone(&mut cases, send);
    }
    for receive in HowToReceive::AT_ONCE {
        unsent(&mut cases, receive);
        cycles_of_receives(&mut cases, receive);
    }
    for receive in HowToReceive::POLLING {
        polls(&mut cases, receive);
    }
    cycles_of_sends(&mut cases);
    races(&mut cases);
    cases
}

/// Rank 0 sends, rank 1 receives.
fn pair(send: Send, receive: Receive) -> Program {
    vec![vec![Step::Send(send)], vec![Step::Receive(receive)]]
}

/// A receive that no message fits: the sender may have gone, or wait as well.
fn unmet(send: HowToSend, sends: &[(usize, usize)], receives: (usize, usize)) -> Expected {
    let class = if send.waits() {
        Class::Deadlock
    } else {
        Class::Deserted
    };
    let places = if send.waits() { sends } else { &[] };
    Expected::new(class, &[places, &[receives]].concat())
}

fn pairs(cases: &mut Vec<Case>, send: HowToSend, receive: HowToReceive) {
    let (sends, receives) = (Send::new(send, 1), Receive::new(receive, 0));
    let name = format!("{send:?} and {receive:?}");
    cases.push(Case::correct(&name, pair(sends, receives)));
    cases.push(Case::correct(&name, pair(sends, receives)).checked());
    let any = Receive {
        from: None,
        tag: None,
        ..receives
    };
    cases.push(Case::correct(
        &format!("{name} of anything"),
        pair(sends, any),
    ));

    let tag = Receive {
        tag: Some(6),
        ..receives
    };
    let expected = unmet(send, &[(0, 0)], (1, 0));
    cases.push(Case::wrong(
        format!("tag: {name}"),
        pair(sends, tag),
        expected.clone(),
    ));
    let there = Receive {
        on: On::Dup,
        ..receives
    };
    cases.push(Case::wrong(
        format!("communicator: {name}"),
        pair(sends, there),
        expected,
    ));

    let element = Receive {
        element: Element::F64,
        ..receives
    };
    let expected = Expected::new(Class::Message, &[(1, 0)]);
    let expected = expected
        .saying("does not hold elements of type f64")
        .saying("rank 0");
    cases.push(Case::wrong(
        format!("type: {name}"),
        pair(sends, element),
        expected,
    ));
    if matches!(receive, HowToReceive::RecvInto | HowToReceive::Irecv) {
        let short = Receive {
            count: 3,
            ..receives
        };
        let expected = Expected::new(Class::Message, &[(1, 0)]);
        let expected = expected
            .saying("has 4 elements, the buffer holds 3")
            .saying("rank 0");
        cases.push(Case::wrong(
            format!("count: {name}"),
            pair(sends, short),
            expected,
        ));
        let long = Receive {
            count: 9,
            ..receives
        };
        cases.push(Case::correct(&format!("count: {name}"), pair(sends, long)));
    }
}

/// A rank that looks again and again is busy, as far as the others can see; but it learns that the one who was
/// to send has left.
fn polls(cases: &mut Vec<Case>, how: HowToReceive) {
    let send = Send::new(HowToSend::Send, 1);
    let receive = Receive::new(how, 0);
    let name = format!("polling: Send and {how:?}");
    cases.push(Case::correct(&name, pair(send, receive)));
    let tag = Receive {
        tag: Some(6),
        ..receive
    };
    let expected = Expected::new(Class::Deserted, &[(1, 0)]).saying("rank 0");
    let program = pair(send, tag);
    cases.push(Case::wrong(
        format!("tag: {name}"),
        program,
        expected.clone(),
    ));
    let any = Receive {
        from: None,
        ..receive
    };
    for (whom, receive) in [("rank 0", receive), ("anybody", any)] {
        let name = format!("polling: {how:?} from {whom}, unsent");
        let program = vec![vec![], vec![Step::Receive(receive)]];
        cases.push(Case::wrong(name, program, expected.clone()));
    }
}

/// A message to somebody else than the one who waits.
fn peers(cases: &mut Vec<Case>, send: HowToSend, receive: HowToReceive) {
    let name = format!("peer: {send:?} to another, {receive:?}");
    let receives = Receive::new(receive, 0);
    let program = vec![
        vec![Step::Send(Send::new(send, 2))],
        vec![Step::Receive(receives)],
        vec![Step::Pause],
    ];
    let mut expected = unmet(send, &[], (1, 0));
    if send.waits() {
        // Rank 2 has left, so whoever notices first is told.
        expected = Expected::new(Class::Deserted, &[]);
        expected.places = vec![vec![(0, 0), (1, 0)]];
    }
    cases.push(Case::wrong(name, program, expected));
}

/// A message that nobody receives.
fn alone(cases: &mut Vec<Case>, how: HowToSend) {
    let send = Step::Send(Send::new(how, 1));
    let barrier = Step::Collective(Collective::new(Kind::Barrier, false));
    let name = format!("unreceived: {how:?} before a barrier");
    let program = vec![vec![send.clone(), barrier.clone()], vec![barrier]];
    let expected = if how.waits() {
        Expected::new(Class::Deadlock, &[(0, 0), (1, 0)])
    } else {
        Expected::new(Class::Unreceived, &[])
            .saying("rank 1")
            .saying("rank 0")
            .saying("tag 5")
    };
    cases.push(Case::wrong(name.clone(), program.clone(), expected));
    let expected = Expected::new(Class::Deadlock, &[(0, 0), (1, 0)]);
    cases.push(Case::wrong(name, program, expected).checked());
    let name = format!("unreceived: {how:?} at the end");
    let program = vec![vec![send], vec![]];
    let expected = if how.waits() {
        Expected::new(Class::Deserted, &[(0, 0)])
    } else {
        Expected::new(Class::Unreceived, &[])
            .saying("rank 1")
            .saying("rank 0")
    };
    cases.push(Case::wrong(name.clone(), program.clone(), expected));
    let expected = Expected::new(Class::Deserted, &[(0, 0)]);
    cases.push(Case::wrong(name, program, expected).checked());
}

/// A receive for which nothing is sent.
fn unsent(cases: &mut Vec<Case>, how: HowToReceive) {
    let receive = Step::Receive(Receive::new(how, 0));
    let barrier = Step::Collective(Collective::new(Kind::Barrier, false));
    let name = format!("unsent: {how:?} before a barrier");
    let program = vec![vec![barrier.clone()], vec![receive.clone(), barrier]];
    let expected = Expected::new(Class::Deadlock, &[(0, 0), (1, 0)]);
    cases.push(Case::wrong(name, program, expected));
    let name = format!("unsent: {how:?} at the end");
    let expected = Expected::new(Class::Deserted, &[(1, 0)]).saying("rank 0");
    cases.push(Case::wrong(name, vec![vec![], vec![receive]], expected));
    let any = Receive {
        from: None,
        ..Receive::new(how, 0)
    };
    let name = format!("unsent: {how:?} from anybody");
    let expected = Expected::new(Class::Deserted, &[(1, 0)]);
    let program = vec![vec![], vec![Step::Receive(any)]];
    cases.push(Case::wrong(name, program, expected));
}

/// All receive before they send.
fn cycles_of_receives(cases: &mut Vec<Case>, how: HowToReceive) {
    for ranks in [2, 3, 4] {
        let name = format!("cycle: {how:?} before send, {ranks} ranks");
        let rank = |rank: usize, straight: bool| {
            let send = Step::Send(Send::new(HowToSend::Send, (rank + 1) % ranks));
            let receive = Step::Receive(Receive::new(how, (rank + ranks - 1) % ranks));
            if straight {
                vec![send, receive]
            } else {
                vec![receive, send]
            }
        };
        let every: Vec<(usize, usize)> = (0..ranks).map(|rank| (rank, 0)).collect();
        let expected = Expected::new(Class::Deadlock, &every);
        let program = (0..ranks).map(|number| rank(number, false)).collect();
        cases.push(Case::wrong(name.clone(), program, expected));
        let program = (0..ranks).map(|number| rank(number, number == 0)).collect();
        cases.push(Case::correct(&name, program));
    }
}

/// All send, waiting for the receiver, before they receive.
fn cycles_of_sends(cases: &mut Vec<Case>) {
    for how in HowToSend::AT_ONCE {
        for ranks in [2, 3, 4] {
            let name = format!("cycle: {how:?} before recv, {ranks} ranks");
            let rank = |rank: usize| {
                let send = Step::Send(Send::new(how, (rank + 1) % ranks));
                let receive = Receive::new(HowToReceive::RecvInto, (rank + ranks - 1) % ranks);
                vec![send, Step::Receive(receive)]
            };
            let every: Vec<(usize, usize)> = (0..ranks).map(|rank| (rank, 0)).collect();
            let expected = Expected::new(Class::Deadlock, &every);
            let program: Program = (0..ranks).map(rank).collect();
            if how.waits() {
                cases.push(Case::wrong(name, program, expected));
            } else {
                // It needs messages to be buffered, which short ones are.
                cases.push(Case::correct(&name, program.clone()));
                cases.push(Case::wrong(name, program, expected).checked());
            }
        }
    }
    for ranks in [2, 3, 4] {
        let rank = |rank: usize| {
            let send = Send::new(HowToSend::Send, (rank + 1) % ranks);
            let receive = Receive::new(HowToReceive::RecvInto, (rank + ranks - 1) % ranks);
            vec![Step::Exchange(send, receive)]
        };
        let name = format!("cycle: sendrecv, {ranks} ranks");
        let program: Program = (0..ranks).map(rank).collect();
        cases.push(Case::correct(&name, program.clone()));
        cases.push(Case::correct(&name, program).checked());
    }
}

/// Two messages that fit one receive.
fn races(cases: &mut Vec<Case>) {
    for how in HowToReceive::AT_ONCE {
        let anything = Receive {
            from: None,
            ..Receive::new(how, 0)
        };
        let send = |how| vec![Step::Send(Send::new(how, 0))];
        let receiver = vec![
            Step::Sight(vec![1, 2]),
            Step::Receive(anything),
            Step::Receive(anything),
        ];
        let name = format!("race: {how:?} from anybody");
        let sends = send(HowToSend::Send);
        let program = vec![receiver, sends.clone(), sends.clone()];
        cases.push(Case::correct(&name, program.clone()));
        let expected = Expected::new(Class::Race, &[(0, 1)])
            .saying("rank 0")
            .saying("1, 2");
        cases.push(Case::wrong(name.clone(), program, expected).checked());
        let one = |from| Step::Receive(Receive::new(how, from));
        let receiver = vec![Step::Sight(vec![1, 2]), one(2), one(1)];
        let program = vec![receiver, sends.clone(), sends];
        cases.push(Case::correct(&name, program).checked());
    }
}
