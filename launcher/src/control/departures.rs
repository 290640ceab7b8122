//! Who wants to know of whom: addresses that are not known yet, and ranks that are watched.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use phalanx::wire::control::{Cause, Departure, ToRank};

use super::{Job, report};
use crate::exit;

/// A rank that lives on for so long after it finalized does so by itself.
const LIVES_ON: Duration = Duration::from_secs(1);

/// What is asked about each rank, and what was answered.
#[derive(Debug)]
pub(super) struct Departures {
    lookups: Vec<BTreeSet<u32>>,
    watchers: Vec<BTreeSet<u32>>,
    watch_all: BTreeSet<u32>,
    /// Once a rank is gone, every question about it is answered at once.
    gone: Vec<Option<Cause>>,
    finalized: VecDeque<(Duration, u32)>,
}

impl Departures {
    pub(super) fn new(size: usize) -> Self {
        Self {
            lookups: vec![BTreeSet::new(); size],
            watchers: vec![BTreeSet::new(); size],
            watch_all: BTreeSet::new(),
            gone: vec![None; size],
            finalized: VecDeque::new(),
        }
    }

    /// The rank may live on.
    pub(super) fn finalized(&mut self, rank: u32, now: Duration) {
        self.finalized.push_back((now + LIVES_ON, rank));
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.finalized.front().map(|(deadline, _)| *deadline)
    }

    /// The ranks that finalized long enough ago.
    pub(super) fn due(&mut self, now: Duration) -> Vec<u32> {
        let due = self.finalized.iter().take_while(|(at, _)| *at <= now);
        let due = due.count();
        self.finalized.drain(..due).map(|(_, rank)| rank).collect()
    }

    pub(super) fn take_lookups(&mut self, rank: u32) -> BTreeSet<u32> {
        std::mem::take(&mut self.lookups[rank as usize])
    }

    /// A failure concerns all.
    pub(super) fn everyone_watches(&mut self, rank: u32) {
        let size = u32::try_from(self.gone.len()).unwrap_or(u32::MAX);
        self.watchers[rank as usize] = (0..size).collect();
    }
}

impl Job {
    /// A rank is gone: tells those who asked, once.
    pub(super) fn announce(&mut self, rank: u32, cause: &Cause) {
        let departures = &mut self.departures;
        let known = departures.gone[rank as usize].replace(cause.clone());
        let mut told = std::mem::take(&mut departures.watchers[rank as usize]);
        if known.is_none() {
            told.extend(&departures.watch_all);
        }
        told.extend(departures.take_lookups(rank));
        told.remove(&rank);
        for watcher in told {
            self.tell_gone(watcher, rank, cause.clone());
        }
    }

    fn tell_gone(&mut self, watcher: u32, rank: u32, cause: Cause) {
        let departure = Departure {
            rank,
            host: self.host(rank).to_owned(),
            pid: self.ranks[rank as usize].pid,
            cause,
        };
        self.tell_rank(watcher, ToRank::Gone(departure));
    }

    pub(super) fn watch(&mut self, watcher: u32, ranks: &[u32]) {
        let size = u32::try_from(self.ranks.len()).unwrap_or(u32::MAX);
        if let Some(wrong) = ranks.iter().find(|rank| **rank >= size) {
            self.nonsense(watcher, *wrong);
            return;
        }
        let all: Vec<u32>;
        let ranks = if ranks.is_empty() {
            self.departures.watch_all.insert(watcher);
            all = (0..size).collect();
            &all
        } else {
            ranks
        };
        let everyone = self.departures.watch_all.contains(&watcher);
        for rank in ranks.iter().copied().filter(|rank| *rank != watcher) {
            match self.departures.gone[rank as usize].clone() {
                Some(cause) => self.tell_gone(watcher, rank, cause),
                None if everyone => {}
                None => {
                    self.departures.watchers[rank as usize].insert(watcher);
                }
            }
        }
    }

    pub(super) fn lookup(&mut self, asker: u32, rank: u32) {
        let Some(state) = self.ranks.get(rank as usize) else {
            self.nonsense(asker, rank);
            return;
        };
        let gone = self.departures.gone[rank as usize].clone();
        match (&state.joined, gone) {
            (_, Some(cause)) => self.tell_gone(asker, rank, cause),
            (Some(addresses), None) => {
                let addresses = addresses.clone();
                self.tell_rank(asker, ToRank::Address { rank, addresses });
            }
            (None, None) => {
                self.departures.lookups[rank as usize].insert(asker);
            }
        }
    }

    fn nonsense(&mut self, rank: u32, wrong: u32) {
        let line = report::no_such_rank(&self.name(rank), wrong, self.ranks.len());
        self.end(exit::WIRE, Some(line));
    }
}
