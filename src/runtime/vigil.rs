//! Who waits, for what, and since when: kept for waits that last.
//!
//! A wait enters the list when it has slept in vain for [`WATCH_AFTER`](super::progress::WATCH_AFTER), so
//! that short ones pay nothing.

use std::panic::Location;
use std::time::{Duration, Instant};

use slotmap::{SlotMap, new_key_type};

use super::progress::Core;
use super::state::{CollectiveKey, RequestKey};
use crate::base::ids::{Context, Peer};
use crate::engine::Pattern;
use crate::limits::{BLOCKED_AFTER_MILLIS, LOOKS_PER_WATCH};

new_key_type! {
    pub(crate) struct WaitKey;
}

/// A blocking call of the program, for reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    pub(crate) operation: &'static str,
    pub(crate) site: &'static Location<'static>,
    /// When it gives up.
    pub(crate) deadline: Option<Instant>,
}

/// What a blocking call waits for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Request(RequestKey),
    Collective(CollectiveKey),
    Probe(Pattern),
    Agreement {
        context: Context,
        sequence: u64,
        members: Vec<u32>,
    },
    /// All that was sent, to be received.
    Receivers,
}

/// A wait: until when, and what it is about if it is a call of the program.
#[derive(Debug)]
pub(crate) struct Vigil {
    pub(crate) deadline: Option<Instant>,
    call: Option<(Errand, Subject)>,
    begun: Option<Instant>,
    entered: Option<WaitKey>,
    /// The launcher was told that it lasts.
    told: bool,
}

/// A wait that lasts.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Never given twice.
    pub(crate) id: u64,
    pub(crate) errand: Errand,
    pub(crate) subject: Subject,
    pub(crate) begun: Instant,
    /// The thread.
    pub(crate) thread: i32,
}

/// All waits of a rank that last.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    pub(crate) list: SlotMap<WaitKey, Waiting>,
    entered: u64,
}

impl From<Option<Instant>> for Vigil {
    fn from(deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            call: None,
            begun: None,
            entered: None,
            told: false,
        }
    }
}

impl Vigil {
    pub(crate) fn new(errand: Errand, subject: Subject) -> Self {
        Self {
            deadline: errand.deadline,
            call: Some((errand, subject)),
            begun: None,
            entered: None,
            told: false,
        }
    }

    /// Notes when it began.
    /// `true` the first time.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        let first = self.begun.is_none();
        if first {
            self.begun = Some(now);
        }
        first
    }

    /// The call of the program that waits.
    pub(crate) const fn call(&self) -> Option<&(Errand, Subject)> {
        self.call.as_ref()
    }

    /// When to look next whether others have to be told that it lasts.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let due = self.begun? + BLOCKED_AFTER;
        (self.entered.is_some() && !self.told).then_some(due)
    }

    /// Whether that moment has passed. News that were not for this wait make its stages begin anew, but not itself.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.next_look().is_some_and(|due| due <= now)
    }
}

const BLOCKED_AFTER: Duration = Duration::from_millis(BLOCKED_AFTER_MILLIS);

impl Core {
    /// Asks to be told when one of the peers that operations wait for leaves.
    pub(crate) fn watch_awaited(&mut self) {
        let (mut peers, wild) = self.state.engine.awaited();
        peers.append(&mut self.fabric.unsettled());
        let mut wild = wild || self.is_meeting();
        let waiting = self.waits.list.values().map(|it| &it.subject);
        let probes = waiting.filter_map(|subject| match subject {
            Subject::Probe(pattern) => Some(*pattern),
            _ => None,
        });
        for pattern in probes.chain(self.probed.take()) {
            peers.extend(pattern.source);
            wild |= pattern.source.is_none();
        }
        if let Some(control) = &mut self.control {
            control.watch(&peers, wild);
        }
        let record = self.record.as_ref();
        let lives = |local| record.is_some_and(|record| record.shows_life(local));
        self.fabric.look_for_dead(lives);
        self.compare_calls();
    }

    /// The program has looked for something that is not there: it may look again and again, for what a peer
    /// that has left will never do.
    pub(crate) fn looked_in_vain(&mut self) {
        self.vain = self.vain.wrapping_add(1);
        if self.vain % LOOKS_PER_WATCH == 0 {
            self.watch_awaited();
        }
    }

    /// The wait lasts: enters it into the list. `true`, once, when it is time to tell others.
    pub(crate) fn keep(&mut self, vigil: &mut Vigil, now: Instant) -> bool {
        let (Some((errand, subject)), Some(begun)) = (&vigil.call, vigil.begun) else {
            return false;
        };
        if vigil.entered.is_none() {
            self.record_blocked(true);
            self.waits.entered += 1;
            vigil.entered = Some(self.waits.list.insert(Waiting {
                id: self.waits.entered,
                errand: *errand,
                subject: subject.clone(),
                begun,
                thread: crate::sys::threads::this_thread(),
            }));
        }
        let due = !vigil.told && now.saturating_duration_since(begun) >= BLOCKED_AFTER;
        vigil.told |= due;
        due
    }

    /// The wait is over.
    pub(crate) fn end_vigil(&mut self, vigil: &mut Vigil) {
        if vigil.begun.take().is_some() {
            self.count_waiting(false);
        } else {
            self.fabric.attend(self.waiting > 0); // It was over before it began.
        }
        if let Some(key) = vigil.entered.take() {
            self.waits.list.remove(key);
            self.record_blocked(false);
        }
    }
}

/// World ranks of peers.
pub(crate) fn ranks(peers: impl IntoIterator<Item = Peer>) -> Vec<u32> {
    peers.into_iter().map(|peer| peer.0).collect()
}
