//! Ranks, tags and lengths that make no sense, in every call that takes them.

use std::slice::from_ref;

use super::{Case, Class, Expected, odd_one};
use crate::program::{Collective, HowToReceive, HowToSend, Kind, Receive, Send, Step};

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for call in Collective::all() {
        roots(&mut cases, call);
        lengths(&mut cases, call);
    }
    messages(&mut cases);
    cases
}

fn argument(places: &[(usize, usize)], says: &str) -> Expected {
    Expected::new(Class::Argument, places).saying(says)
}

fn roots(cases: &mut Vec<Case>, call: Collective) {
    if !call.kind.has_root() {
        return;
    }
    for (ranks, root) in [(2, 2), (3, 7), (4, usize::MAX)] {
        let number = root as i64;
        let says = format!(
            "there is no rank {number}: ranks go from 0 to {}",
            ranks - 1
        );
        let step = Step::Collective(call.rooted_at(root));
        let right = Step::Collective(call.rooted_at(ranks - 1));
        let name = format!(
            "argument: {} with root {number} of {ranks} on one",
            call.name()
        );
        let program = odd_one(ranks, 1, from_ref(&step), from_ref(&right));
        cases.push(Case::correct(&name, vec![vec![right]; ranks]));
        cases.push(Case::wrong(name, program, argument(&[(1, 0)], &says)));
        let name = format!(
            "argument: {} with root {number} of {ranks} on all",
            call.name()
        );
        let mut expected = argument(&[], &says);
        expected.places = vec![(0..ranks).map(|rank| (rank, 0)).collect()];
        cases.push(Case::wrong(name, vec![vec![step]; ranks], expected));
    }
}

fn lengths(cases: &mut Vec<Case>, call: Collective) {
    let says = match call.kind {
        Kind::Alltoall | Kind::ReduceScatterBlock => "cannot be divided into 3 equal blocks",
        Kind::Scatter => "the root gives 10 elements",
        Kind::Allgather if !call.nonblocking => "elements",
        Kind::Scatterv | Kind::Alltoallv | Kind::ReduceScatter => {
            "3 counts with the sum 9 for 3 ranks"
        }
        _ => return,
    };
    let name = format!("argument: {} with another length", call.name());
    let wrong = Collective {
        misfit: true,
        ..call
    };
    let step = Step::Collective(wrong);
    let right = Step::Collective(call);
    let program = odd_one(3, 0, &[step], from_ref(&right));
    cases.push(Case::correct(&name, vec![vec![right]; 3]));
    cases.push(Case::wrong(name, program, argument(&[(0, 0)], says)));
}

fn messages(cases: &mut Vec<Case>) {
    let barrier = Step::Collective(Collective::new(Kind::Barrier, false));
    let mut push = |name: String, step: Step, says: &str| {
        let program = odd_one(3, 2, &[step, barrier.clone()], from_ref(&barrier));
        cases.push(Case::wrong(name, program, argument(&[(2, 0)], says)));
    };
    sends(&mut push);
    receives(&mut push);
    exchanges(&mut push);
}

fn sends(push: &mut impl FnMut(String, Step, &str)) {
    for how in HowToSend::AT_ONCE {
        let right = Send::new(how, 0);
        let to = Step::Send(Send { to: 3, ..right });
        push(
            format!("argument: {how:?} to no rank"),
            to,
            "there is no rank 3",
        );
        let negative = Step::Send(Send {
            tag: Some(-1),
            ..right
        });
        push(
            format!("argument: {how:?} with a negative tag"),
            negative,
            "tag -1 is out of range",
        );
        let any = Step::Send(Send { tag: None, ..right });
        push(
            format!("argument: {how:?} with any tag"),
            any,
            "Tag::Any is for receiving",
        );
    }
}

fn receives(push: &mut impl FnMut(String, Step, &str)) {
    for how in HowToReceive::AT_ONCE {
        let right = Receive::new(how, 0);
        let from = Step::Receive(Receive {
            from: Some(3),
            ..right
        });
        push(
            format!("argument: {how:?} from no rank"),
            from,
            "there is no rank 3",
        );
        let tag = Some(i64::MIN);
        let negative = Step::Receive(Receive { tag, ..right });
        push(
            format!("argument: {how:?} with a negative tag"),
            negative,
            "is out of range",
        );
    }
}

fn exchanges(push: &mut impl FnMut(String, Step, &str)) {
    let (send, receive) = (
        Send::new(HowToSend::Send, 0),
        Receive::new(HowToReceive::RecvInto, 0),
    );
    let to = Step::Exchange(Send { to: 9, ..send }, receive);
    push(
        "argument: sendrecv to no rank".into(),
        to,
        "there is no rank 9",
    );
    let from = Step::Exchange(
        send,
        Receive {
            from: Some(9),
            ..receive
        },
    );
    push(
        "argument: sendrecv from no rank".into(),
        from,
        "there is no rank 9",
    );
    let tag = Step::Exchange(
        Send {
            tag: Some(-7),
            ..send
        },
        receive,
    );
    push(
        "argument: sendrecv with a negative tag".into(),
        tag,
        "tag -7 is out of range",
    );
}
