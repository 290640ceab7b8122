//! Layer 2, pure: compares what ranks say of their calls when they end.
//!
//! A program may be wrong and yet run to its end: two ranks that disagree about the root of their last
//! broadcast, a rank that leaves out a collective in which it only sends, a message that nobody receives. So
//! each rank gives an [`Account`] before it finalizes or fails, and whoever collects them compares: the
//! launcher, or [`threads`](crate::threads).
//!
//! A contradiction between two accounts is an error of the program. Messages that nobody received and
//! operations that nobody waited for are told as warnings.
#![forbid(unsafe_code)]

mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::wire::control::{Account, Call, Race, Unmatched};

/// Warnings of a job that are told one by one.
const WARNINGS_MAX: usize = 16;

/// The accounts that have come in, as far as they still matter.
#[derive(Debug, Default)]
pub struct Audit {
    /// For each communicator, who was the first to say how many collectives there were.
    counts: BTreeMap<u64, Count>,
    /// For each collective, who was the first to say what it was.
    calls: BTreeMap<(u64, u64), (u32, Call)>,
    /// How each rank left, in words.
    ends: BTreeMap<u32, String>,
    /// For each pair of sender and receiver, messages sent and arrived.
    traffic: BTreeMap<(u32, u32), (u64, u64)>,
    unmatched: Vec<(u32, Unmatched)>,
    unmatched_more: u64,
    /// How many, and where some of them were begun.
    unfinished: Vec<(u32, u64, Vec<String>)>,
    races: Vec<(u32, Race)>,
}

/// How many collectives a rank has begun on a communicator.
#[derive(Clone, Debug)]
struct Count {
    rank: u32,
    begun: u64,
    /// The calls there that are known.
    calls: Vec<Call>,
    site: Option<String>,
}

impl Audit {
    /// Takes in the account of a rank. A contradiction with an earlier one is told in words.
    pub fn enter(&mut self, rank: u32, account: Account) -> Option<String> {
        self.ends.insert(rank, words::end(&account));
        let other_calls = self.compare_calls(rank, &account.calls);
        let other_counts = self.compare_counts(rank, &account);
        for traffic in &account.traffic {
            self.traffic.entry((rank, traffic.peer)).or_default().0 += traffic.sent;
            self.traffic.entry((traffic.peer, rank)).or_default().1 += traffic.received;
        }
        let unmatched = account.unmatched.into_iter();
        self.unmatched.extend(unmatched.map(|group| (rank, group)));
        self.unmatched_more += account.unmatched_more;
        let races = account.races.into_iter();
        self.races.extend(races.map(|race| (rank, race)));
        if account.unfinished > 0 {
            let (count, places) = (account.unfinished, account.unfinished_at);
            self.unfinished.push((rank, count, places));
        }
        other_calls.or(other_counts)
    }

    /// How a rank left: what it had called, and where it finalized. None when it gave no account.
    pub fn end_of(&self, rank: u32) -> Option<&str> {
        self.ends.get(&rank).map(String::as_str)
    }

    /// Messages of `from` that were waiting at `rank` when it ended, in words.
    pub fn unreceived(&self, rank: u32, from: u32) -> Option<String> {
        let mut groups = self.unmatched.iter();
        let group = groups.find(|(at, group)| *at == rank && group.source == from);
        group.map(|(rank, group)| words::unmatched(*rank, group))
    }

    /// Receives whose result depends on which message comes first, as far as strict mode has seen them. A
    /// correct program may have them.
    pub fn races(&self) -> Vec<String> {
        let races = self.races.iter().take(WARNINGS_MAX);
        races.map(|(rank, race)| words::race(*rank, race)).collect()
    }

    /// What is left over at the end of a job in which nothing failed; for each kind one line.
    pub fn warnings(&self) -> Vec<String> {
        let unmatched = self.unmatched.iter();
        let unmatched = unmatched.map(|(rank, group)| words::unmatched(*rank, group));
        let lost = self
            .traffic
            .iter()
            .filter_map(|(&(from, to), &(sent, arrived))| {
                // Only who has given an account can be compared.
                let both = self.ends.contains_key(&from) && self.ends.contains_key(&to);
                (both && sent > arrived).then(|| words::lost(from, to, sent - arrived))
            });
        let unfinished = self.unfinished.iter();
        let unfinished =
            unfinished.map(|(rank, count, places)| words::unfinished(*rank, *count, places));
        let mut lines: Vec<String> = unmatched.chain(lost).chain(unfinished).collect();
        let more = lines.len().saturating_sub(WARNINGS_MAX) as u64 + self.unmatched_more;
        lines.truncate(WARNINGS_MAX);
        if more > 0 {
            lines.push(format!("and {more} more warnings like these"));
        }
        lines
    }

    fn compare_calls(&mut self, rank: u32, calls: &[Call]) -> Option<String> {
        let mut found = None;
        for call in calls {
            let key = (call.context, call.sequence);
            let (first, known) = self
                .calls
                .entry(key)
                .or_insert_with(|| (rank, call.clone()));
            if known.signature != call.signature && found.is_none() {
                found = Some(words::different(
                    (*first, &known.words),
                    (rank, &call.words),
                ));
            }
        }
        found
    }

    fn compare_counts(&mut self, rank: u32, account: &Account) -> Option<String> {
        if !account.complete {
            return None;
        }
        let mut found = None;
        for &(context, begun) in &account.begun {
            let here = account.calls.iter().filter(|call| call.context == context);
            let count = || Count {
                rank,
                begun,
                calls: here.cloned().collect(),
                site: account.site.clone(),
            };
            let Some(known) = self.counts.get(&context) else {
                self.counts.insert(context, count());
                continue;
            };
            if known.begun != begun && found.is_none() {
                found = Some(words::numbers(context, known, &count()));
            }
        }
        found
    }
}
