//! What can be told from the steps alone.

use rustc_hash::FxHashMap;

use super::{Fault, Wrong};
use crate::schedule::{Place, ROUNDS_MAX, Schedule, Span, Step};

/// What a step reads and what it writes.
fn accesses(step: &Step) -> [Option<(Span, bool)>; 2] {
    match *step {
        Step::Send { from, .. } => [Some((from, false)), None],
        Step::Receive { into, .. } => [Some((into, true)), None],
        Step::Reduce { from, into, .. } | Step::Copy { from, into } => {
            [Some((from, false)), Some((into, true))]
        }
    }
}

pub(super) fn check_steps(
    schedule: &Schedule,
    rank: usize,
    size: usize,
    (input, output): (usize, usize),
) -> Result<(), (usize, Wrong)> {
    for (number, step) in schedule.steps.iter().enumerate() {
        let wrong = |wrong| Err((number, wrong));
        for (span, written) in accesses(step).into_iter().flatten() {
            let length = match span.place {
                Place::Input => input,
                Place::Output => output,
                Place::Scratch => schedule.scratch,
            };
            if span.end() > length {
                return wrong(Wrong::Bounds(span));
            }
            if written && span.place == Place::Input {
                return wrong(Wrong::InputWritten);
            }
        }
        match *step {
            Step::Send {
                to: peer, round, ..
            }
            | Step::Receive {
                from: peer, round, ..
            } => {
                if peer >= size || peer == rank {
                    return wrong(Wrong::Peer);
                }
                if round >= ROUNDS_MAX {
                    return wrong(Wrong::Round);
                }
            }
            Step::Reduce { from, into, .. } | Step::Copy { from, into } => {
                if from.length != into.length || from.overlaps(into) {
                    return wrong(Wrong::Operands);
                }
            }
        }
        if schedule
            .after
            .of(number)
            .iter()
            .any(|earlier| *earlier as usize >= number)
        {
            return wrong(Wrong::Forward);
        }
    }
    Ok(())
}

/// For each step the set of steps that are complete before it starts, as rows of bits.
fn earlier_steps(schedule: &Schedule) -> (Vec<u64>, usize) {
    let steps = schedule.steps.len();
    let words = steps.div_ceil(64);
    let mut rows = vec![0u64; steps * words];
    for number in 0..steps {
        let (before, row) = rows.split_at_mut(number * words);
        for &earlier in schedule.after.of(number) {
            let earlier = earlier as usize;
            for (word, other) in row.iter_mut().zip(&before[earlier * words..][..words]) {
                *word |= other;
            }
            row[earlier / 64] |= 1 << (earlier % 64);
        }
    }
    (rows, words)
}

pub(super) fn check_races(schedule: &Schedule) -> Result<(), (usize, Wrong)> {
    let (rows, words) = earlier_steps(schedule);
    let mut list: Vec<(u8, usize, usize, usize, bool)> = Vec::new();
    for (number, step) in schedule.steps.iter().enumerate() {
        for (span, written) in accesses(step).into_iter().flatten() {
            if span.length > 0 {
                list.push((span.place as u8, span.offset, span.end(), number, written));
            }
        }
    }
    list.sort_unstable();
    for (index, &(place, _, end, number, written)) in list.iter().enumerate() {
        for &(other_place, start, _, other, other_written) in &list[index + 1..] {
            if other_place != place || start >= end {
                break;
            }
            if other == number || !(written || other_written) {
                continue;
            }
            let (first, second) = (number.min(other), number.max(other));
            if rows[second * words + first / 64] & (1 << (first % 64)) == 0 {
                return Err((second, Wrong::Race(first)));
            }
        }
    }
    Ok(())
}

pub(super) fn match_messages(schedules: &[Schedule]) -> Result<Vec<Vec<usize>>, Fault> {
    let fault = |rank: usize, number: usize, wrong| {
        Err(Fault {
            rank,
            number,
            step: schedules[rank].steps[number],
            wrong,
        })
    };
    let mut sends = FxHashMap::default();
    let mut matching: Vec<_> = schedules
        .iter()
        .map(|schedule| vec![usize::MAX; schedule.steps.len()])
        .collect();
    for (rank, schedule) in schedules.iter().enumerate() {
        for (number, step) in schedule.steps.iter().enumerate() {
            if let Step::Send { to, from, round } = *step {
                if sends
                    .insert((rank, to, round), (number, from.length))
                    .is_some()
                {
                    return fault(rank, number, Wrong::RoundTwice);
                }
            }
        }
    }
    for (rank, schedule) in schedules.iter().enumerate() {
        for (number, step) in schedule.steps.iter().enumerate() {
            if let Step::Receive { from, into, round } = *step {
                let Some((send, length)) = sends.remove(&(from, rank, round)) else {
                    return fault(rank, number, Wrong::Unmatched);
                };
                if length != into.length {
                    return fault(rank, number, Wrong::Length);
                }
                matching[rank][number] = send;
                matching[from][send] = number;
            }
        }
    }
    match sends.into_iter().next() {
        Some(((rank, ..), (number, _))) => fault(rank, number, Wrong::Unmatched),
        None => Ok(matching),
    }
}
