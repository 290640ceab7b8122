//! What a rank says of its calls when it ends; see [`audit`](crate::audit).

use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::Runtime;
use super::progress::Core;
use crate::audit::Audit;
use crate::base::ids::Context;
use crate::engine::Pattern;
use crate::limits::{ACCOUNT_CALLS_MAX, ACCOUNT_UNMATCHED_MAX};
use crate::wire::control::{Account, Call, FailureClass, FromRank, Race, Traffic, Unmatched};

/// Where ranks that are threads of one process leave their accounts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    audit: Audit,
    contradiction: Option<(u32, String)>,
}

impl Ledger {
    fn enter(&self, rank: u32, account: Account) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = book.audit.enter(rank, account);
        if let (Some(words), None) = (found, &book.contradiction) {
            book.contradiction = Some((rank, words));
        }
    }

    /// A contradiction between two accounts, and the rank that brought the second one.
    pub(crate) fn contradiction(&self) -> Option<(u32, String)> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.contradiction.clone()
    }

    /// What is known besides the words of a rank that failed, because it waited for one that had finalized.
    pub(crate) fn explanation(&self, class: FailureClass) -> Option<String> {
        let FailureClass::Deserted { rank } = class else {
            return None;
        };
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = book.audit.end_of(rank);
        let end = end.map(|end| format!("rank {rank} {end}"));
        book.contradiction.as_ref().map(|it| it.1.clone()).or(end)
    }

    /// What is left over.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.audit.warnings()
    }
}

impl Runtime {
    /// Says what this rank has called. `complete` when it has finalized and nothing has failed.
    pub(super) fn give_account(&self, site: Option<&Location<'_>>, complete: bool) {
        if self.reporter.is_none() && self.ledger.is_none() {
            return;
        }
        let account = Account {
            site: site.map(ToString::to_string),
            ..self.station.lock().account(complete)
        };
        if let Some(ledger) = &self.ledger {
            ledger.enter(self.identity.me.0, account);
        } else if let Some(reporter) = &self.reporter {
            reporter.say(&FromRank::Account(Box::new(account)));
        }
    }
}

impl Core {
    fn account(&self, complete: bool) -> Account {
        let disputes = &self.state.disputes;
        let calls = disputes.past();
        let skipped = calls.len().saturating_sub(ACCOUNT_CALLS_MAX);
        let calls = calls.skip(skipped);
        let calls = calls.map(|(context, sequence, signature, call)| Call {
            context: context.0,
            sequence: *sequence,
            signature: *signature,
            words: call.to_string(),
        });
        let (begun, _) = self.state.survival.begun();
        let excused = |context: u64| self.state.survival.excuses(Context(context));
        let spoiled = |context: u64| disputes.is_spoiled(Context(context)) || excused(context);
        // A program that got over a failed call may be right; one that ended with it was told of both sides.
        let counts = |call: &Call| {
            let ended_with_it = !complete && disputes.in_step(Context(call.context), call.sequence);
            !spoiled(call.context) || (ended_with_it && !excused(call.context))
        };
        let (unmatched, unmatched_more) = self.unmatched();
        let requests = self.state.requests.values();
        let unfinished = requests.filter(|it| !it.forgotten && it.outcome.is_none());
        let sites: Vec<String> = unfinished.map(|it| it.site.to_string()).collect();
        let places: BTreeSet<&String> = sites.iter().take(ACCOUNT_UNMATCHED_MAX).collect();
        let messages = self.state.engine.messages().into_iter();
        Account {
            site: None,
            complete,
            begun: begun.into_iter().filter(|it| !spoiled(it.0)).collect(),
            calls: calls.filter(counts).collect(),
            unmatched,
            unmatched_more,
            unfinished: sites.len() as u64,
            unfinished_at: places.into_iter().cloned().collect(),
            traffic: messages
                .map(|(peer, sent, received)| Traffic {
                    peer: peer.0,
                    sent,
                    received,
                })
                .collect(),
            races: self.races.clone(),
        }
    }

    fn unmatched(&self) -> (Vec<Unmatched>, u64) {
        let mut groups: BTreeMap<(u64, u32, u64), (u64, u64)> = BTreeMap::new();
        for (context, envelope) in self.state.engine.leftovers() {
            let key = (context.0, envelope.source.0, envelope.tag);
            let group = groups.entry(key).or_default();
            group.0 += 1;
            group.1 += envelope.length;
        }
        let more = groups.len().saturating_sub(ACCOUNT_UNMATCHED_MAX) as u64;
        let groups = groups.into_iter().take(ACCOUNT_UNMATCHED_MAX);
        let groups = groups.map(|((context, source, tag), (messages, bytes))| Unmatched {
            context,
            source,
            tag,
            messages,
            bytes,
        });
        (groups.collect(), more)
    }

    /// In strict mode, before a receive or a probe: messages of several ranks that it could take.
    pub(super) fn note_race(&mut self, pattern: &Pattern, site: &Location<'_>) {
        if !self.strict || pattern.source.is_some() || self.races.len() >= ACCOUNT_UNMATCHED_MAX {
            return;
        }
        // What is there may not have been read yet.
        self.turn(Instant::now());
        let fits = |tag| pattern.tag.is_none_or(|wanted| wanted == tag);
        let waiting = self.state.engine.leftovers().into_iter();
        let mut sources: Vec<u32> = waiting
            .filter(|(context, envelope)| *context == pattern.context && fits(envelope.tag))
            .map(|(_, envelope)| envelope.source.0)
            .collect();
        sources.sort_unstable();
        sources.dedup();
        sources.truncate(ACCOUNT_UNMATCHED_MAX);
        let race = Race {
            tag: pattern.tag,
            sources,
            site: site.to_string(),
        };
        let known = |other: &Race| other.tag == race.tag && other.site == race.site;
        if race.sources.len() > 1 && !self.races.iter().any(known) {
            self.races.push(race);
        }
    }
}
