//! Operations that are begun and not waited for, as far as that can be written, and ranks that leave early.

use super::{Case, Class, Expected};
use crate::program::{Collective, HowToReceive, HowToSend, Kind, Receive, Send, Step};

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    messages(&mut cases);
    for call in Collective::all().filter(|call| call.nonblocking) {
        collectives(&mut cases, call);
    }
    for call in Collective::all() {
        early(&mut cases, call);
    }
    cases
}

fn messages(cases: &mut Vec<Case>) {
    let begun = Step::Receive(Receive::new(HowToReceive::BeginIrecv, 0));
    let receive = Step::Receive(Receive::new(HowToReceive::RecvInto, 0));
    let barrier = Step::Collective(Collective::new(Kind::Barrier, false));
    for (how, words) in [
        (HowToSend::BeginIsend, "isend"),
        (HowToSend::BeginIssend, "issend"),
    ] {
        let send = Step::Send(Send::new(how, 1));
        for (end, step) in [("waited for", Step::WaitAll), ("dropped", Step::DropAll)] {
            let name = format!("request: {words} {end}");
            let program = vec![vec![send.clone(), step], vec![receive.clone()]];
            cases.push(Case::correct(&name, program));
        }
        let name = format!("request: {words} overlaps a barrier");
        let program = vec![
            vec![send.clone(), barrier.clone(), Step::WaitAll],
            vec![begun.clone(), barrier.clone(), Step::WaitAll],
        ];
        cases.push(Case::correct(&name, program));
    }
    let send = Step::Send(Send::new(HowToSend::Send, 1));
    for (end, step) in [("dropped", Step::DropAll), ("forgotten", Step::ForgetAll)] {
        let name = format!("request: irecv {end}, nothing sent");
        let program = vec![vec![], vec![begun.clone(), step.clone()]];
        if end == "dropped" {
            cases.push(Case::correct(&name, program));
        } else {
            let expected = Expected::new(Class::Unfinished, &[(1, 0)]).saying("rank 1");
            cases.push(Case::wrong(name.clone(), program.clone(), expected));
            let expected = Expected::new(Class::UnfinishedChecked, &[(1, 0)]).saying("rank 1");
            cases.push(Case::wrong(name, program, expected).checked());
        }
    }
    let name = "request: irecv dropped, then sent".to_owned();
    let program = vec![
        vec![barrier.clone(), send],
        vec![begun, Step::DropAll, barrier, Step::Pause],
    ];
    let expected = Expected::new(Class::Unreceived, &[]).saying("rank 1");
    cases.push(Case::wrong(name, program, expected));
}

/// A nonblocking collective that nobody waits for goes on by itself.
fn collectives(cases: &mut Vec<Case>, call: Collective) {
    let begin = Step::Begin(call);
    for (end, step) in [("waited for", Step::WaitAll), ("dropped", Step::DropAll)] {
        let name = format!("request: {} {end}", call.name());
        let steps = vec![begin.clone(), begin.clone(), step];
        cases.push(Case::correct(&name, vec![steps; 3]));
    }
    let name = format!("request: {} begun by two of three", call.name());
    let steps = vec![begin, Step::WaitAll];
    let program = vec![steps.clone(), steps, vec![]];
    let mut expected = Expected::new(Class::Missing, &[]).saying("rank 2");
    expected.places = vec![vec![(0, 0), (1, 0)]];
    cases.push(Case::wrong(name, program, expected));
}

/// A process that ends before it has finalized.
fn early(cases: &mut Vec<Case>, call: Collective) {
    let step = Step::Collective(call);
    let barrier = Step::Collective(Collective::new(Kind::Barrier, false));
    let others = vec![step.clone(), barrier];
    let expected = Expected::new(Class::Early, &[]).saying("rank 1");
    let name = format!("early: exit instead of {}", call.name());
    let program = vec![others.clone(), vec![Step::Exit], others.clone()];
    cases.push(Case::wrong(name, program, expected.clone()));
    let name = format!("early: exit after {}", call.name());
    let program = vec![others.clone(), vec![step, Step::Exit], others];
    cases.push(Case::wrong(name, program, expected));
}
