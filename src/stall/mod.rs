//! Layer 2, pure: who waits for whom, and whether that can ever end.
//!
//! Every rank that waits for long answers what it waits for. From the answers follows a graph: a wait for
//! one rank, or for all members of a collective that have not arrived, needs all of them; a receive from any
//! source needs one of its possible senders. A rank can go on if it did not answer (it is busy), if a thread
//! of it waits with a time limit, or if what one of its waits needs can go on. The ranks that remain are
//! stuck: each waits only for others that are stuck too.
//!
//! One set of answers is a picture taken at different instants. So a verdict takes two: between them no
//! stuck rank may have done anything, and in the second one no frame between two of them may be under way
//! (see [`settled`]). Then there was an instant at which all of them were stuck, and nothing was left that
//! could end it.
#![forbid(unsafe_code)]

mod graph;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::wire::control::{Answer, Awaits, Wait};

pub use graph::{needed, stuck};
pub use words::{describe_cycle, describe_wait};

/// What is known of a rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not answered: it computes, or is stopped.
    #[default]
    Busy,
    /// It has finalized or ended.
    Gone,
    /// It waits, or has nothing to do.
    Idle(Box<Answer>),
}

impl Standing {
    /// What it waits for.
    pub fn waits(&self) -> &[Wait] {
        match self {
            Self::Idle(answer) => &answer.waits,
            Self::Busy | Self::Gone => &[],
        }
    }
}

/// Two ranks that wait in the same collective of a communicator and called different operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// One of them: its rank and how it waits.
    pub one: (u32, Wait),
    /// The other.
    pub other: (u32, Wait),
}

/// Ranks that wait in the same collective with different signatures.
pub fn disagreement(ranks: &[Standing]) -> Option<Disagreement> {
    let mut seen: BTreeMap<(u64, u64), (u32, u64, &Wait)> = BTreeMap::new();
    for (rank, standing) in (0..).zip(ranks) {
        for wait in standing.waits() {
            let Awaits::Collective {
                context,
                sequence,
                signature,
                ..
            } = wait.awaits
            else {
                continue;
            };
            let first = seen
                .entry((context, sequence))
                .or_insert((rank, signature, wait));
            if first.1 != signature {
                return Some(Disagreement {
                    one: (first.0, first.2.clone()),
                    other: (rank, wait.clone()),
                });
            }
        }
    }
    None
}

/// The second picture, with ranks that have done anything since the first one as busy.
pub fn unchanged(before: &[Standing], after: &[Standing]) -> Vec<Standing> {
    let same = |before: &Standing, after: &Standing| match (before, after) {
        (Standing::Idle(before), Standing::Idle(after)) => {
            let ids = |answer: &Answer| answer.waits.iter().map(|wait| wait.id).collect::<Vec<_>>();
            before.activity == after.activity && ids(before) == ids(after)
        }
        _ => false,
    };
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| match after {
            Standing::Idle(_) if !same(before, after) => Standing::Busy,
            other => other.clone(),
        })
        .collect()
}

/// Whether everything that these ranks have sent to each other has arrived.
pub fn settled(stuck: &[u32], ranks: &[Standing]) -> bool {
    let mut under_way: BTreeMap<(u32, u32), i128> = BTreeMap::new();
    for &rank in stuck {
        let Some(Standing::Idle(answer)) = ranks.get(rank as usize) else {
            return false;
        };
        for traffic in &answer.traffic {
            if stuck.binary_search(&traffic.peer).is_ok() {
                *under_way.entry((rank, traffic.peer)).or_default() += i128::from(traffic.sent);
                *under_way.entry((traffic.peer, rank)).or_default() -= i128::from(traffic.received);
            }
        }
    }
    under_way.values().all(|frames| *frames == 0)
}

/// Ranks that others wait for while they are busy themselves, one of them for so long at least: for each the
/// longest wait for it, as the waiting rank and its wait, and how many waits for it there are.
pub fn stragglers(ranks: &[Standing], at_least_millis: u64) -> Vec<(u32, (u32, Wait), usize)> {
    let mut found: BTreeMap<u32, ((u32, &Wait), usize)> = BTreeMap::new();
    for (rank, standing) in (0..).zip(ranks) {
        for wait in standing.waits() {
            for peer in needed(ranks, rank, wait).ranks() {
                if ranks.get(peer as usize) != Some(&Standing::Busy) {
                    continue;
                }
                let entry = found.entry(peer).or_insert(((rank, wait), 0));
                entry.1 += 1;
                if wait.millis > entry.0.1.millis {
                    entry.0 = (rank, wait);
                }
            }
        }
    }
    found.retain(|_, ((_, wait), _)| wait.millis >= at_least_millis);
    let owned = |(peer, ((rank, wait), count)): (u32, ((u32, &Wait), usize))| {
        (peer, (rank, wait.clone()), count)
    };
    found.into_iter().map(owned).collect()
}
