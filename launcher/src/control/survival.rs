//! Jobs that go on after a rank has failed: who wants to, revocations, and agreements.
//!
//! The launcher alone decides what ranks agree on. It hears every contribution and every death in one
//! order, and decides each agreement once, when every member has contributed or cannot any more: so all
//! members get the same answer, and get it although members die meanwhile.

use std::collections::{BTreeSet, HashMap};

use phalanx::wire::control::{Agreed, ToRank};

use super::{Job, report};
use crate::exit;

/// A communicator's message space and the number of an agreement there.
type Key = (u64, u64);

#[derive(Debug)]
struct Open {
    members: Vec<u32>,
    contributed: BTreeSet<u32>,
    flags: u64,
}

/// What the job knows of ranks that go on.
#[derive(Debug, Default)]
pub(super) struct Survival {
    returns: Vec<bool>,
    open: HashMap<Key, Open>,
}

impl Survival {
    pub(super) fn new(size: usize) -> Self {
        Self {
            returns: vec![false; size],
            open: HashMap::new(),
        }
    }

    pub(super) fn set_returns(&mut self, rank: u32, returns: bool) {
        self.returns[rank as usize] = returns;
    }
}

impl Job {
    /// Whether those who live want to go on after a failure. Who has finalized has no say.
    pub(super) fn goes_on(&self) -> bool {
        let ranks = self.ranks.iter().zip(&self.survival.returns);
        let mut deciding = ranks
            .filter(|(rank, _)| !rank.has_ended() && !rank.finalized)
            .map(|(_, returns)| *returns)
            .peekable();
        deciding.peek().is_some() && deciding.all(|returns| returns)
    }

    /// The exit code of a job that nobody had to end: the failures that the survivors went on after do not
    /// count if anybody finalized and ended well.
    pub(super) fn code_of_survivors(&self) -> u8 {
        let Some(first) = self.failed.first() else {
            return 0;
        };
        let finalized = |rank: &&u32| self.ranks[**rank as usize].finalized;
        if let Some(rank) = self.failed.iter().find(finalized) {
            return report::exit_code(&self.ranks[*rank as usize]);
        }
        if self.ranks.iter().any(|rank| rank.finalized) {
            return 0;
        }
        report::exit_code(&self.ranks[*first as usize])
    }

    pub(super) fn revoke(&mut self, by: u32, context: u64) {
        let size = u32::try_from(self.ranks.len()).unwrap_or(u32::MAX);
        for rank in (0..size).filter(|rank| *rank != by) {
            self.tell_rank(rank, ToRank::Revoked { context });
        }
    }

    pub(super) fn contribute(&mut self, rank: u32, key: Key, members: Vec<u32>, flags: u64) {
        let size = self.ranks.len();
        let open = self.survival.open.entry(key).or_insert_with(|| Open {
            members: members.clone(),
            contributed: BTreeSet::new(),
            flags: u64::MAX,
        });
        let sound = open.members == members
            && members.contains(&rank)
            && members.iter().all(|member| (*member as usize) < size)
            && !open.contributed.contains(&rank);
        if !sound {
            self.survival.open.remove(&key);
            let line = report::other_members(&self.name(rank));
            self.end(exit::WIRE, Some(line));
            return;
        }
        open.contributed.insert(rank);
        open.flags &= flags;
        self.decide(key);
    }

    /// Decides what waited only for ranks that have gone.
    pub(super) fn decide_all(&mut self) {
        let keys: Vec<Key> = self.survival.open.keys().copied().collect();
        keys.into_iter().for_each(|key| self.decide(key));
    }

    fn decide(&mut self, key: Key) {
        let Some(open) = self.survival.open.get(&key) else {
            return;
        };
        let ended = |member: u32| self.ranks[member as usize].has_ended();
        let left = |member: u32| ended(member) || self.ranks[member as usize].finalized;
        let absent = |member: &u32| !open.contributed.contains(member);
        let mut waited_for = open.members.iter().filter(|member| absent(member));
        if !waited_for.all(|&member| left(member)) {
            return;
        }
        let failed = open.members.iter().copied();
        let agreed = Agreed {
            context: key.0,
            sequence: key.1,
            flags: open.flags,
            failed: failed
                .filter(|member| absent(member) || ended(*member))
                .collect(),
        };
        let contributed = open.contributed.clone();
        self.survival.open.remove(&key);
        for member in contributed {
            self.tell_rank(member, ToRank::Agreed(agreed.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
