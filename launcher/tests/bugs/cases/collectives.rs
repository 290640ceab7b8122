//! Collectives that do not match: order, missing and surplus calls, roots, operators, types, counts,
//! communicators.

use std::slice::from_ref;

use super::{Case, Class, Expected, odd_one};
use crate::program::{Collective, Element, HowToReceive, HowToSend, Kind, On, Operator};
use crate::program::{Receive, Send, Step};

const RANKS: [usize; 3] = [2, 3, 4];

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    order(&mut cases);
    for call in Collective::all() {
        missing(&mut cases, call);
        communicators(&mut cases, call);
        messages(&mut cases, call);
        for ranks in RANKS {
            facts(&mut cases, call, ranks);
        }
    }
    cases
}

/// Every two different operations in another order on one rank.
fn order(cases: &mut Vec<Case>) {
    let calls: Vec<Collective> = Collective::all().collect();
    for (index, &one) in calls.iter().enumerate() {
        for (place, &other) in calls.iter().enumerate().skip(index + 1) {
            let ranks = RANKS[(index + place) % RANKS.len()];
            let odd = place % ranks;
            let name = format!("order: {} and {}, {ranks} ranks", one.name(), other.name());
            let straight = [Step::Collective(one), Step::Collective(other)];
            let crossed = [Step::Collective(other), Step::Collective(one)];
            cases.push(Case::correct(&name, vec![straight.to_vec(); ranks]));
            let mut expected = Expected::odd(Class::Mismatch, ranks, (odd, 0), 0);
            if one.kind.is_two() || other.kind.is_two() {
                // The second half of the one call may meet the second call.
                let others = (0..ranks).filter(|rank| *rank != odd);
                expected.places[1].extend(others.map(|rank| (rank, 1)));
            }
            let program = odd_one(ranks, odd, &crossed, &straight);
            cases.push(Case::wrong(name, program, expected));
        }
    }
}

/// A call that one rank leaves out, or makes once more.
fn missing(cases: &mut Vec<Case>, call: Collective) {
    let step = Step::Collective(call);
    let closing = Step::Collective(Collective::new(Kind::Allreduce, !call.nonblocking));
    for (ranks, odd) in [(2, 1), (3, 0), (4, 2)] {
        let name = format!("{} left out at the end, {ranks} ranks", call.name());
        let with = [closing.clone(), step.clone()];
        let program = odd_one(ranks, odd, &with[..1], &with);
        cases.push(Case::correct(&name, vec![with.to_vec(); ranks]));
        let expected = Expected::odd(Class::Missing, ranks, (odd, 0), 1);
        cases.push(Case::wrong(name, program, expected));

        let name = format!("{} left out at the beginning, {ranks} ranks", call.name());
        let with = [step.clone(), closing.clone()];
        let program = odd_one(ranks, odd, &with[1..], &with);
        cases.push(Case::correct(&name, vec![with.to_vec(); ranks]));
        let expected = Expected::odd(Class::Mismatch, ranks, (odd, 0), 0);
        cases.push(Case::wrong(name, program, expected));

        let name = format!("{} once too often, {ranks} ranks", call.name());
        let twice = [step.clone(), step.clone()];
        let program = odd_one(ranks, odd, &twice, &twice[..1]);
        let expected = Expected::odd(Class::Missing, ranks, (odd, 1), 0);
        cases.push(Case::wrong(name, program, expected));
    }
}

/// One rank gives another root, operator, type or count.
fn facts(cases: &mut Vec<Case>, call: Collective, ranks: usize) {
    let mut variants = Vec::new();
    if call.kind.has_root() {
        variants.push(("root", call.rooted_at(1)));
    }
    if call.kind.has_operator() {
        let operator = Operator::Max;
        variants.push(("operator", Collective { operator, ..call }));
    }
    if call.kind.has_elements() {
        let element = Element::I32;
        variants.push(("type", Collective { element, ..call }));
    }
    if call.kind.has_equal_counts() {
        let count = call.count + 1;
        variants.push(("count", Collective { count, ..call }));
    }
    let closing = Step::Collective(Collective::new(Kind::Barrier, false));
    for (fact, other) in variants {
        for (place, odd) in [("at the end", ranks - 1), ("before a barrier", 0)] {
            let name = format!("{fact}: {} {place}, {ranks} ranks", call.name());
            let length = if place == "at the end" { 1 } else { 2 };
            let right = &[Step::Collective(call), closing.clone()][..length];
            let wrong = &[Step::Collective(other), closing.clone()][..length];
            let expected = Expected::odd(Class::Mismatch, ranks, (odd, 0), 0);
            let program = odd_one(ranks, odd, wrong, right);
            cases.push(Case::wrong(name.clone(), program, expected));
            cases.push(Case::correct(&name, vec![wrong.to_vec(); ranks]));
        }
    }
    if call.kind.has_root() {
        let name = format!("root: {} with itself on each of {ranks} ranks", call.name());
        let own = |rank| vec![Step::Collective(call.rooted_at(rank)), closing.clone()];
        let expected = Expected {
            class: Class::Mismatch,
            says: Vec::new(),
            places: vec![vec![(0, 0)], (1..ranks).map(|rank| (rank, 0)).collect()],
        };
        let expected = if ranks == 2 { expected } else { any_two(ranks) };
        cases.push(Case::wrong(name, (0..ranks).map(own).collect(), expected));
    }
}

/// A mismatch between any two ranks in their first steps.
fn any_two(ranks: usize) -> Expected {
    let but = |left_out: usize| {
        let others = (0..ranks).filter(move |rank| *rank != left_out);
        others.map(|rank| (rank, 0)).collect()
    };
    Expected {
        class: Class::Mismatch,
        says: Vec::new(),
        places: (0..ranks).map(but).collect(),
    }
}

/// One rank takes another communicator, or takes two in another order.
fn communicators(cases: &mut Vec<Case>, call: Collective) {
    let here = Step::Collective(call);
    let there = Step::Collective(call.on(On::Dup));
    for (ranks, odd) in [(2, 1), (3, 0)] {
        let name = format!("communicator: {} on another, {ranks} ranks", call.name());
        let program = odd_one(ranks, odd, from_ref(&there), from_ref(&here));
        cases.push(Case::correct(&name, vec![vec![there.clone()]; ranks]));
        let class = if call.kind.synchronises() {
            Class::Deadlock
        } else {
            // Some go on, and leave before the others are served.
            Class::Missing
        };
        let expected = Expected::odd(class, ranks, (odd, 0), 0);
        cases.push(Case::wrong(name, program, expected));
    }
    let name = format!("communicator: {} on two, crossed", call.name());
    let straight = [here.clone(), there.clone()];
    cases.push(Case::correct(&name, vec![straight.to_vec(); 2]));
    if call.kind.synchronises() {
        let program = vec![straight.to_vec(), vec![there, here]];
        let expected =
            Expected::new(Class::Deadlock, &[(0, 0), (1, 0)]).saying(" on world/dup 0 at ");
        cases.push(Case::wrong(name, program, expected));
    }
}

/// A collective that waits for a rank, which first waits for a message that comes afterwards.
fn messages(cases: &mut Vec<Case>, call: Collective) {
    // The one that cannot leave the collective alone.
    let waiting = match call.kind {
        Kind::Gather | Kind::Reduce | Kind::Gatherv => 0,
        _ => 1,
    };
    let other = 1 - waiting;
    for (send, receive) in [
        (HowToSend::Send, HowToReceive::RecvInto),
        (HowToSend::Isend, HowToReceive::Irecv),
    ] {
        let collective = Step::Collective(call);
        let send = Step::Send(Send::new(send, other));
        let receive = Step::Receive(Receive::new(receive, waiting));
        let name = format!(
            "{} and a message, {:?}",
            call.name(),
            receive_name(&receive)
        );
        let straight = [collective.clone(), receive.clone()];
        let sender = [collective.clone(), send];
        cases.push(Case::correct(
            &name,
            odd_one(2, waiting, &sender, &straight),
        ));
        let program = odd_one(2, waiting, &sender, &[receive, collective]);
        let expected = Expected::new(Class::Deadlock, &[(0, 0), (1, 0)]);
        cases.push(Case::wrong(name, program, expected));
    }
}

fn receive_name(step: &Step) -> HowToReceive {
    match step {
        Step::Receive(what) => what.how,
        other => unreachable!("{other:?} receives nothing"),
    }
}
