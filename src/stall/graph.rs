//! The graph of waits, and the ranks that nothing can release.

use std::collections::HashMap;

use super::Standing;
use crate::wire::control::{Awaits, Wait};

/// What a wait needs in order to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing of others.
    Nothing,
    /// All of these ranks.
    All(Vec<u32>),
    /// One of these ranks.
    One(Vec<u32>),
}

impl Need {
    /// The ranks that it names.
    pub fn ranks(self) -> Vec<u32> {
        match self {
            Self::Nothing => Vec::new(),
            Self::All(ranks) | Self::One(ranks) => ranks,
        }
    }

    fn is_met(&self, goes_on: &[bool]) -> bool {
        let can = |rank: &u32| goes_on.get(*rank as usize).copied().unwrap_or(true);
        match self {
            Self::Nothing => true,
            Self::All(ranks) => ranks.iter().all(can),
            Self::One(ranks) => ranks.iter().any(can),
        }
    }
}

/// Waits with the same key need the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Collective(u64, u64),
    Agreement(u64, u64),
    /// By rank and the number of its wait.
    Own(u32, u64),
}

fn key(rank: u32, wait: &Wait) -> Key {
    match wait.awaits {
        Awaits::Collective {
            context, sequence, ..
        } => Key::Collective(context, sequence),
        Awaits::Agreement {
            context, sequence, ..
        } => Key::Agreement(context, sequence),
        _ => Key::Own(rank, wait.id),
    }
}

/// The ranks that can never go on by themselves, in ascending order.
pub fn stuck(ranks: &[Standing]) -> Vec<u32> {
    let mut needs: HashMap<Key, Need> = HashMap::new();
    for (rank, standing) in (0..).zip(ranks) {
        for wait in standing.waits() {
            let need = || needed(ranks, rank, wait);
            needs.entry(key(rank, wait)).or_insert_with(need);
        }
    }
    let free = |standing: &Standing| match standing {
        Standing::Busy => true,
        // Whoever counts on one that has gone is told by its own rank.
        Standing::Gone => false,
        Standing::Idle(answer) => {
            answer.waits.is_empty() || answer.waits.iter().any(|wait| wait.limited)
        }
    };
    let mut goes_on: Vec<bool> = ranks.iter().map(free).collect();
    loop {
        let released: Vec<u32> = (0..)
            .zip(ranks)
            .filter(|(rank, standing)| {
                let met = |wait: &Wait| {
                    let need = needs.get(&key(*rank, wait));
                    need.is_none_or(|need| need.is_met(&goes_on))
                };
                !goes_on[*rank as usize] && standing.waits().iter().any(met)
            })
            .map(|(rank, _)| rank)
            .collect();
        if released.is_empty() {
            break;
        }
        for rank in released {
            goes_on[rank as usize] = true;
        }
    }
    let idle = |(rank, standing): &(u32, &Standing)| {
        matches!(standing, Standing::Idle(_)) && !goes_on[*rank as usize]
    };
    let stuck = (0..).zip(ranks).filter(idle);
    stuck.map(|(rank, _)| rank).collect()
}

/// What a wait of `rank` needs.
pub fn needed(ranks: &[Standing], rank: u32, wait: &Wait) -> Need {
    let gone = |rank: u32| ranks.get(rank as usize) == Some(&Standing::Gone);
    match &wait.awaits {
        Awaits::Itself => Need::Nothing,
        // One that has gone ends the wait: its own rank will say so.
        Awaits::Message {
            source: Some(source),
            ..
        } if gone(*source) => Need::Nothing,
        Awaits::Message {
            source: Some(source),
            ..
        } => Need::All(vec![*source]),
        // Nor is there anybody left: as before.
        Awaits::Message { .. } if ranks.len() > 1 && others_are_gone(ranks, rank) => Need::Nothing,
        Awaits::Message { members, .. } => {
            let others = each(members, ranks).filter(|&other| other != rank && !gone(other));
            Need::One(others.collect())
        }
        Awaits::Receiver { rank, .. } if gone(*rank) => Need::Nothing,
        Awaits::Receiver { rank, .. } => Need::All(vec![*rank]),
        Awaits::Receivers { ranks: named } if named.iter().any(|&rank| gone(rank)) => Need::Nothing,
        Awaits::Receivers { ranks: named } => Need::All(named.clone()),
        Awaits::Collective {
            context,
            sequence,
            members,
            ..
        } => {
            let absent = each(members, ranks).filter(|&member| {
                let standing = ranks.get(member as usize);
                standing.is_some_and(|standing| is_absent(standing, *context, *sequence))
            });
            all(absent.collect())
        }
        Awaits::Agreement {
            context,
            sequence,
            members,
        } => {
            let takes_part = |wait: &Wait| {
                matches!(wait.awaits, Awaits::Agreement { context: other, sequence: number, .. }
                    if (other, number) == (*context, *sequence))
            };
            let absent = each(members, ranks).filter(|&member| {
                let standing = ranks.get(member as usize);
                standing.is_some_and(|it| !gone(member) && !it.waits().iter().any(takes_part))
            });
            all(absent.collect())
        }
    }
}

fn others_are_gone(ranks: &[Standing], rank: u32) -> bool {
    let mut others = (0..).zip(ranks).filter(|(other, _)| *other != rank);
    others.all(|(_, standing)| *standing == Standing::Gone)
}

fn all(ranks: Vec<u32>) -> Need {
    if ranks.is_empty() {
        Need::Nothing
    } else {
        Need::All(ranks)
    }
}

/// Whether a rank has not begun a collective, as far as that is certain; one that is busy may have.
fn is_absent(standing: &Standing, context: u64, sequence: u64) -> bool {
    match standing {
        Standing::Gone => false,
        Standing::Busy => true,
        Standing::Idle(answer) => {
            let known = answer.begun.iter().find(|(of, _)| *of == context);
            match known {
                Some((_, begun)) => *begun <= sequence,
                None => answer.begun_is_complete,
            }
        }
    }
}

/// The members of a list in which nobody means everybody.
fn each<'a>(members: &'a [u32], ranks: &[Standing]) -> impl Iterator<Item = u32> + 'a {
    let everybody = if members.is_empty() {
        u32::try_from(ranks.len()).unwrap_or(u32::MAX)
    } else {
        0
    };
    (0..everybody).chain(members.iter().copied())
}
