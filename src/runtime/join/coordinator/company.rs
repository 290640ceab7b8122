//! What members are told of each other: where one listens, and that it has left.

use super::Coordinator;
use crate::wire::control::{Cause, Departure, FromMeeting, ToRank};

impl Coordinator {
    fn departure(&self, rank: u32) -> Option<Departure> {
        let member = self.members.get(rank as usize)?.as_ref()?;
        Some(Departure {
            rank,
            host: member.arrival.host.clone(),
            pid: member.arrival.pid,
            cause: Cause::Finalized,
        })
    }

    pub(super) fn announce(&mut self, rank: u32) {
        let Some(departure) = self.departure(rank) else {
            return;
        };
        let Some(member) = self.member(rank) else {
            return;
        };
        if std::mem::replace(&mut member.announced, true) {
            return;
        }
        let mut told = std::mem::take(&mut self.watchers[rank as usize]);
        told.extend(&self.watch_all);
        told.extend(std::mem::take(&mut self.lookups[rank as usize]));
        told.remove(&rank);
        for watcher in told {
            self.send(watcher, FromMeeting::Tell(ToRank::Gone(departure.clone())));
        }
    }

    /// How a rank left that has been announced as gone.
    fn gone(&self, rank: u32) -> Option<Departure> {
        let member = self.members.get(rank as usize)?.as_ref()?;
        member.announced.then(|| self.departure(rank)).flatten()
    }

    pub(super) fn watch(&mut self, watcher: u32, ranks: &[u32]) {
        let all: Vec<u32> = (0..self.size()).collect();
        let ranks = if ranks.is_empty() {
            self.watch_all.insert(watcher);
            &all[..]
        } else {
            ranks
        };
        for &rank in ranks.iter().filter(|rank| **rank != watcher) {
            if let Some(departure) = self.gone(rank) {
                self.send(watcher, FromMeeting::Tell(ToRank::Gone(departure)));
            } else if let Some(watchers) = self.watchers.get_mut(rank as usize) {
                watchers.insert(watcher);
            }
        }
    }

    pub(super) fn lookup(&mut self, asker: u32, rank: u32) {
        if let Some(departure) = self.gone(rank) {
            self.send(asker, FromMeeting::Tell(ToRank::Gone(departure)));
            return;
        }
        let known = self
            .member(rank)
            .and_then(|member| member.addresses.clone());
        if let Some(addresses) = known {
            let address = ToRank::Address { rank, addresses };
            self.send(asker, FromMeeting::Tell(address));
        } else if let Some(askers) = self.lookups.get_mut(rank as usize) {
            askers.insert(asker);
        }
    }
}
