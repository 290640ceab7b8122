//! What a rank says of itself when it is asked why it waits; see [`stall`](crate::stall).

use std::time::Instant;

use super::progress::Core;
use super::state::{Handle, RequestKey};
use super::vigil::{Subject, Waiting, ranks};
use crate::base::ids::Context;
use crate::engine::Pattern;
use crate::sys::threads::free_threads;
use crate::wire::control::{Answer, Awaits, FromRank, Traffic, Wait};

impl Core {
    /// The launcher wants to know; it is told when there is nothing to do but to wait.
    pub(crate) fn asked(&mut self, number: u32) {
        self.question = Some(number);
    }

    /// Before this rank sleeps, with nothing left to do: answers what was asked.
    pub(crate) fn answer(&mut self) {
        let Some(number) = self.question.take() else {
            return;
        };
        let answer = self.standing(number);
        if let Some(control) = &self.control {
            control.reporter().say(&FromRank::Answer(Box::new(answer)));
        }
    }

    /// A wait lasts, and the launcher should know.
    pub(crate) fn say_blocked(&self) {
        if let Some(control) = &self.control {
            control.reporter().say(&FromRank::Blocked);
        }
    }

    /// What this rank waits for.
    pub(crate) fn standing(&self, number: u32) -> Answer {
        let now = Instant::now();
        let waits: Vec<Wait> = self
            .waits
            .list
            .values()
            .map(|it| self.wait_of(it, now))
            .collect();
        let threads: Vec<i32> = self.waits.list.values().map(|it| it.thread).collect();
        let (begun, begun_is_complete) = self.state.survival.begun();
        Answer {
            number,
            free_threads: if waits.is_empty() {
                0
            } else {
                free_threads(&threads)
            },
            waits,
            activity: self.activity + self.state.completions,
            begun,
            begun_is_complete,
            traffic: self.traffic(),
        }
    }

    fn traffic(&self) -> Vec<Traffic> {
        let traffic = self.fabric.traffic().into_iter();
        traffic
            .map(|(peer, sent, received)| Traffic {
                peer: peer.0,
                sent,
                received,
            })
            .collect()
    }

    fn wait_of(&self, waiting: &Waiting, now: Instant) -> Wait {
        let errand = waiting.errand;
        let (operation, site, awaits) = match &waiting.subject {
            Subject::Request(key) => (None, None, self.request_awaits(*key)),
            Subject::Probe(pattern) => (None, None, self.message(pattern)),
            Subject::Collective(key) => match self.state.collectives.get(*key) {
                Some(running) if running.outcome.is_none() => {
                    let setting = &running.setting;
                    let awaits = Awaits::Collective {
                        context: setting.context.0,
                        sequence: setting.sequence,
                        signature: setting.signature,
                        members: setting.group.listed(),
                    };
                    let (words, site) = (setting.call.words(), setting.call.site);
                    (Some(words), Some(site), awaits)
                }
                _ => (None, None, Awaits::Itself),
            },
            Subject::Agreement {
                context,
                sequence,
                members,
            } => {
                let awaits = Awaits::Agreement {
                    context: context.0,
                    sequence: *sequence,
                    members: members.clone(),
                };
                (None, None, awaits)
            }
            Subject::Receivers => (None, None, self.receivers()),
        };
        let context = match &awaits {
            Awaits::Message { context, .. }
            | Awaits::Collective { context, .. }
            | Awaits::Agreement { context, .. } => Some(Context(*context)),
            _ => None,
        };
        let elapsed = now.saturating_duration_since(waiting.begun).as_millis();
        Wait {
            id: waiting.id,
            millis: u64::try_from(elapsed).unwrap_or(u64::MAX),
            limited: errand.deadline.is_some(),
            operation: operation.unwrap_or_else(|| errand.operation.to_owned()),
            on: context.and_then(|context| self.state.survival.name(context)),
            site: site.unwrap_or(errand.site).to_string(),
            awaits,
        }
    }

    fn request_awaits(&self, key: RequestKey) -> Awaits {
        let request = self.state.requests.get(key);
        let Some(request) = request.filter(|request| request.outcome.is_none()) else {
            return Awaits::Itself;
        };
        let engine = &self.state.engine;
        let awaits = match request.handle {
            Handle::None => None,
            Handle::Recv(id) => engine.unmatched_recv(id).map(|it| self.message(&it)),
            Handle::Send(id) => engine
                .unmatched_send(id)
                .map(|(peer, tag)| Awaits::Receiver { rank: peer.0, tag }),
        };
        awaits.unwrap_or(Awaits::Itself)
    }

    fn message(&self, pattern: &Pattern) -> Awaits {
        let Pattern {
            context,
            source,
            tag,
        } = *pattern;
        let members = match source {
            Some(_) => Vec::new(),
            None => self.state.survival.members(context),
        };
        Awaits::Message {
            context: context.0,
            source: source.map(|peer| peer.0),
            tag,
            members,
        }
    }

    fn receivers(&self) -> Awaits {
        let running = |context: Context| context.is_collective();
        let open = self.state.collectives.values();
        let mut open = open.filter(|running| running.outcome.is_none());
        if open.any(|it| running(it.setting.context)) {
            return Awaits::Itself;
        }
        match self.state.engine.receivers_if_all_wait() {
            Some(peers) if !peers.is_empty() => Awaits::Receivers {
                ranks: ranks(peers),
            },
            _ => Awaits::Itself,
        }
    }
}
