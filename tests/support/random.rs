//! Draws programs: who sends what to whom, and how it is received.

use phalanx::base::ids::Peer;
use phalanx::engine::collective;
use phalanx::engine::{Capacity, Pattern};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::judge::Message;
use super::program::{COLLECTIVE, Program, STRICT, Step, WILD};

/// How a receiver's strict receives name their messages, so that any way of matching is complete.
#[derive(Clone, Copy)]
enum Family {
    Exact,
    AnySource,
    AnyTag,
    Anything,
}

fn length(rng: &mut SmallRng) -> u64 {
    match rng.random_range(0..40) {
        0..8 => 0,
        8..25 => rng.random_range(1..64),
        25..36 => rng.random_range(1..2_000),
        36..39 => rng.random_range(1..20_000),
        _ if rng.random_ratio(1, 40) => 2_200_000,
        _ => [65_536, 65_537, 100_000][rng.random_range(0..3)],
    }
}

fn capacity(rng: &mut SmallRng) -> Capacity {
    match rng.random_range(0..10) {
        0 => Capacity::Fixed(0),
        1 => Capacity::Fixed(rng.random_range(0..1_000)),
        2..5 => Capacity::Fixed(25_000),
        _ => Capacity::Growable,
    }
}

fn check(rng: &mut SmallRng) -> u64 {
    u64::from(rng.random_ratio(1, 20))
}

/// A message; the `number`-th of a flood, or any.
fn draw(rng: &mut SmallRng, from: usize, to: usize, number: Option<u64>) -> Message {
    let wild = number.is_none() && rng.random_ratio(1, 3);
    Message {
        from: Peer(from as u32),
        to: Peer(to as u32),
        context: if wild { WILD } else { STRICT },
        tag: number.unwrap_or_else(|| rng.random_range(0..5)),
        length: if number.is_some() {
            rng.random_range(0..400)
        } else {
            length(rng)
        },
        check: check(rng),
        synchronous: rng.random_ratio(1, 6),
    }
}

/// One round for every rank.
pub fn add_round(rng: &mut SmallRng, programs: &mut [Program], round: u64) {
    let size = programs.len();
    let mut early: Vec<Vec<Step>> = vec![Vec::new(); size];
    let mut late: Vec<Vec<Step>> = vec![Vec::new(); size];
    let families: Vec<_> = (0..size)
        .map(|_| {
            [
                Family::Exact,
                Family::Exact,
                Family::AnySource,
                Family::AnyTag,
                Family::Anything,
            ][rng.random_range(0..5)]
        })
        .collect();
    let mut sent: Vec<Vec<Message>> = vec![Vec::new(); size];
    for from in 0..size {
        for to in 0..size {
            if size > 4 && rng.random_ratio(size as u32 - 3, size as u32) {
                continue;
            }
            let flood = rng.random_ratio(1, 4) && size <= 4;
            let count = if flood {
                rng.random_range(70..200)
            } else {
                rng.random_range(0..12)
            };
            for number in 0..count {
                let message = draw(rng, from, to, flood.then_some(number));
                early[from].push(Step::Send(message));
                sent[to].push(message);
            }
        }
    }
    add_collective(rng, &mut early, &mut late, round);
    for rank in 0..size {
        add_receives(
            rng,
            &mut early[rank],
            &mut late[rank],
            &sent[rank],
            families[rank],
        );
        add_mischief(rng, &mut early[rank], size);
    }
    for (program, (mut early, late)) in programs.iter_mut().zip(early.into_iter().zip(late)) {
        shuffle_but_sends(rng, &mut early);
        program.steps.extend(early);
        program.steps.extend(late);
        program
            .steps
            .extend([Step::Await, Step::MopUp(round as usize), Step::AwaitSends]);
        program.steps.push(Step::End(round));
    }
}

/// Sends keep their order, so that floods have rising tags; anything may come in between.
fn shuffle_but_sends(rng: &mut SmallRng, steps: &mut [Step]) {
    let sends: Vec<_> = steps
        .iter()
        .copied()
        .filter(|step| matches!(step, Step::Send(_)))
        .collect();
    steps.shuffle(rng);
    let places = steps
        .iter_mut()
        .filter(|step| matches!(step, Step::Send(_)));
    places.zip(sends).for_each(|(place, send)| *place = send);
}

fn add_receives(
    rng: &mut SmallRng,
    early: &mut Vec<Step>,
    late: &mut Vec<Step>,
    sent: &[Message],
    family: Family,
) {
    let mut strict: Vec<_> = sent
        .iter()
        .filter(|message| message.context == STRICT)
        .collect();
    match rng.random_range(0..3) {
        0 => strict.reverse(),
        1 => strict.shuffle(rng),
        _ => {}
    }
    let all_late = rng.random_bool(0.5);
    for message in strict {
        let exact = Pattern {
            context: STRICT,
            source: Some(message.from),
            tag: Some(message.tag),
        };
        let pattern = match family {
            Family::Exact => exact,
            Family::AnySource => Pattern {
                source: None,
                ..exact
            },
            Family::AnyTag => Pattern { tag: None, ..exact },
            Family::Anything => Pattern {
                source: None,
                tag: None,
                ..exact
            },
        };
        let (check, capacity) = (check(rng), capacity(rng));
        if all_late || rng.random_bool(0.5) {
            if rng.random_ratio(1, 5) {
                late.push(Step::ProbeUntil(pattern));
            }
            late.push(Step::Receive(pattern, check, capacity));
        } else {
            early.push(Step::Post(pattern, check, capacity));
        }
    }
}

fn add_mischief(rng: &mut SmallRng, early: &mut Vec<Step>, size: usize) {
    for _ in 0..rng.random_range(0..40) {
        let source = rng
            .random_bool(0.5)
            .then(|| Peer(rng.random_range(0..size as u32)));
        let tag = rng.random_bool(0.5).then(|| rng.random_range(0..5));
        let pattern = Pattern {
            context: WILD,
            source,
            tag,
        };
        early.push(match rng.random_range(0..8) {
            0 => Step::Cancel,
            1 => Step::Abandon,
            2 | 3 => Step::Withdraw,
            4 => Step::Probe(pattern),
            _ => Step::Post(pattern, check(rng), capacity(rng)),
        });
    }
}

fn add_collective(
    rng: &mut SmallRng,
    early: &mut [Vec<Step>],
    late: &mut [Vec<Step>],
    sequence: u64,
) {
    let size = early.len();
    for from in 0..size {
        late[from].insert(0, Step::Begin(sequence));
        for to in 0..size {
            // About four for each rank of many.
            if rng.random_range(0..size.max(8)) >= 4 {
                continue;
            }
            let message = Message {
                from: Peer(from as u32),
                to: Peer(to as u32),
                context: COLLECTIVE,
                tag: collective::tag(sequence, rng.random_range(0..3)),
                length: length(rng),
                check: sequence,
                synchronous: false,
            };
            early[from].push(Step::Send(message));
            let (source, tag) = (Some(message.from), Some(message.tag));
            let pattern = Pattern {
                context: COLLECTIVE,
                source,
                tag,
            };
            late[to].push(Step::Post(pattern, sequence, Capacity::Growable));
        }
    }
}
