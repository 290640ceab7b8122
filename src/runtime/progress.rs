//! One bounded turn of progress: read what has arrived, do what the engine asks for, tell who waits.

use std::time::{Duration, Instant};

use super::control::Control;
use super::meeting::Meetings;
use super::record::Record;
use super::state::{CollectiveKey, Fault, JobFailure, JobFailureKind, State};
use super::vigil::Waits;
use crate::base::ids::{Context, Peer};
use crate::engine::Pattern;
use crate::limits::{EAGER_SHARED_BYTES_MAX, VERDICT_MILLIS_MAX, WATCH_AFTER_MILLIS};
use crate::transport::{Fabric, Lost};
use crate::wire::control::{Cause, Departure, Race, ToRank};

/// Everything that one lock guards.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) fabric: Fabric,
    pub(crate) state: State,
    pub(crate) control: Option<Control>,
    /// Collectives of the world in shared memory, when all its ranks share it.
    pub(crate) meetings: Option<Meetings>,
    /// Peers whose connection broke, and when patience with the launcher's verdict ends.
    suspects: Vec<(Peer, Instant, String)>,
    /// A thread sleeps in the waiter.
    pub(crate) polling: bool,
    /// Threads that wait for something.
    pub(crate) waiting: usize,
    /// Threads that sleep until another one has made progress.
    pub(crate) sleepers: usize,
    /// `State::completions` when sleepers were last told.
    pub(crate) told: u64,
    /// Nothing more can be begun.
    pub(crate) finalized: bool,
    /// This rank's black box, if it has one.
    pub(crate) record: Option<Record>,
    /// Waits that last.
    pub(crate) waits: Waits,
    /// What the launcher has asked and was not told yet.
    pub(crate) question: Option<u32>,
    /// Counts receives that were tried without a request.
    pub(crate) direct: u32,
    /// What the program has looked for last, in vain.
    pub(crate) probed: Option<Pattern>,
    /// Counts looks of the program for what was not there.
    pub(crate) vain: u32,
    /// Counts turns in which anything happened.
    pub(crate) activity: u64,
    /// Strict mode: every send waits for its receiver.
    pub(crate) strict: bool,
    /// Receives from any source that could have taken messages of several ranks, seen in strict mode.
    pub(crate) races: Vec<Race>,
}

impl Core {
    pub(crate) fn new(fabric: Fabric, state: State, control: Option<Control>) -> Self {
        Self {
            meetings: fabric.world_area().map(Meetings::new),
            fabric,
            state,
            control,
            suspects: Vec::new(),
            polling: false,
            waiting: 0,
            sleepers: 0,
            told: 0,
            finalized: false,
            record: None,
            waits: Waits::default(),
            question: None,
            direct: 0,
            probed: None,
            vain: 0,
            activity: 0,
            strict: false,
            races: Vec::new(),
        }
    }

    /// Looks once for what has arrived and acts on it. `true` when anything moved.
    pub(crate) fn turn(&mut self, now: Instant) -> bool {
        let turn = self.fabric.progress(now, &mut self.state);
        let moved = turn.moved | self.meet();
        self.activity += u64::from(moved);
        let told = turn.control && self.read_control();
        self.settle();
        moved | told
    }

    /// Does all that arrivals and calls have led to. It reads the clock only when something is wrong.
    pub(crate) fn settle(&mut self) {
        self.perform();
        while let Some(peer) = self.state.lookups.pop() {
            if let Some(control) = &mut self.control {
                control.lookup(peer);
            }
        }
        let quiet = self.state.lost.is_empty()
            && self.state.broken.is_empty()
            && self.state.disputes.is_quiet()
            && self.suspects.is_empty();
        if !quiet {
            self.settle_troubles(Instant::now());
        }
    }

    fn settle_troubles(&mut self, now: Instant) {
        let broken = std::mem::take(&mut self.state.broken);
        if let Some(control) = self.control.as_mut().filter(|_| !broken.is_empty()) {
            control.watch(&broken, false);
        }
        while let Some((peer, why)) = self.state.lost.pop() {
            self.peer_lost(peer, why, now);
            self.perform();
        }
        if !self.state.disputes.is_quiet() {
            self.settle_disputes(now);
            self.perform();
        }
        if !self.suspects.is_empty() {
            self.judge_suspects(now);
        }
    }

    /// Before this rank sleeps. `false` when there is something to do after all: take another turn.
    pub(crate) fn rest(&mut self) -> bool {
        self.fabric.rest() && self.rest_from_meetings()
    }

    /// A thread is about to wait, or waits no longer: others see whether this rank attends to them.
    pub(crate) fn count_waiting(&mut self, waits: bool) {
        self.waiting = if waits {
            self.waiting + 1
        } else {
            self.waiting.saturating_sub(1)
        };
        self.fabric.attend(self.waiting > 0);
    }

    /// The wait for a message of this length is about to begin: the receiver may look before it has.
    pub(crate) fn will_wait(&mut self, length: usize) {
        if length > EAGER_SHARED_BYTES_MAX {
            self.fabric.attend(true);
        }
    }

    /// The next moment at which something has to be done even if nothing arrives.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let verdict = self.suspects.iter().map(|(_, until, _)| *until).min();
        let dispute = self.state.disputes.next_deadline();
        [self.fabric.next_deadline(), verdict, dispute]
            .into_iter()
            .flatten()
            .min()
    }

    fn read_control(&mut self) -> bool {
        let Some(control) = &mut self.control else {
            return false;
        };
        let (messages, end) = control.read();
        let moved = !messages.is_empty();
        for message in messages {
            match message {
                ToRank::Welcome(_) => {}
                ToRank::Address { rank, addresses } => {
                    let addresses = addresses
                        .iter()
                        .filter_map(|text| text.parse().ok())
                        .collect();
                    self.fabric.resolve(Peer(rank), addresses);
                }
                ToRank::Gone(departure) => self.departed(&departure),
                ToRank::Revoked { context } => self.revoked(Context(context)),
                ToRank::Agreed(agreed) => self.agreed(agreed),
                ToRank::Ask { number } => self.asked(number),
            }
        }
        if let Some(why) = end {
            if let Some(mut control) = self.control.take() {
                // A closed connection would stay readable for ever.
                let _ = self.fabric.detach_control(&mut control.stream);
            }
            let me = self.state.me;
            self.state.fail_job(JobFailure {
                peer: me,
                cause: format!("lost its launcher: {why}"),
                kind: JobFailureKind::Gone,
            });
        }
        moved
    }

    fn departed(&mut self, departure: &Departure) {
        let peer = Peer(departure.rank);
        if departure.rank >= self.state.size || peer == self.state.me {
            return;
        }
        self.suspects.retain(|(suspect, ..)| *suspect != peer);
        let cause = describe(departure);
        self.fabric.gone(peer, &cause);
        if matches!(
            departure.cause,
            Cause::Finalized
                | Cause::Exited {
                    code: 0,
                    finalized: true
                }
        ) {
            self.state.departures.insert(peer, cause);
            if self.state.closed.contains(&peer) {
                self.state.engine.peer_gone(peer, false);
                self.perform();
            } // Otherwise when the last of what it sent has been read.
        } else {
            self.peer_failed(peer, cause);
        }
    }

    fn peer_lost(&mut self, peer: Peer, why: Lost, now: Instant) {
        let (cause, kind) = match why {
            Lost::Closed => return self.peer_closed(peer),
            _ if self.state.departures.contains_key(&peer) => return self.peer_closed(peer),
            Lost::Broken(text) => {
                if let Some(control) = &mut self.control {
                    control.watch(&[peer], false);
                    let patience = now + Duration::from_millis(VERDICT_MILLIS_MAX);
                    self.suspects.push((peer, patience, text));
                    return;
                }
                (text, JobFailureKind::Gone)
            }
            Lost::Wire(text) => (text, JobFailureKind::Wire),
            Lost::Authentication(text) => (text, JobFailureKind::Authentication),
            Lost::Unreachable(text) => (text, JobFailureKind::Unreachable),
        };
        self.state.fail_job(JobFailure { peer, cause, kind });
    }

    /// Everything that a peer sent before it finalized has been read. Only the launcher knows whether
    /// its process ended well.
    fn peer_closed(&mut self, peer: Peer) {
        self.state.closed.insert(peer);
        if self.control.is_none() {
            self.state.departures.insert(peer, "has finalized".into());
        }
        if self.state.departures.contains_key(&peer) {
            self.state.engine.peer_gone(peer, false);
        } else if let Some(control) = &mut self.control {
            control.watch(&[peer], false);
        }
    }

    /// The launcher has not said anything about a peer whose connection broke: believe the break.
    fn judge_suspects(&mut self, now: Instant) {
        let due = self.suspects.iter().position(|(_, until, _)| *until <= now);
        if let Some((peer, _, text)) = due.map(|index| self.suspects.swap_remove(index)) {
            let cause = format!("does not answer: {text}");
            self.peer_failed(peer, cause);
        }
    }

    /// A collective's outcome, if it has one.
    pub(crate) fn collective_outcome(&self, key: CollectiveKey) -> Option<Result<(), Fault>> {
        self.state
            .collectives
            .get(key)
            .and_then(|running| running.outcome.clone())
    }
}

/// How long a rank waits before it asks to be told of departures.
pub(crate) const WATCH_AFTER: Duration = Duration::from_millis(WATCH_AFTER_MILLIS);

/// How a rank left, as the end of a sentence that begins with it.
fn describe(departure: &Departure) -> String {
    let Departure {
        host, pid, cause, ..
    } = departure;
    let how = match cause {
        Cause::Finalized
        | Cause::Exited {
            code: 0,
            finalized: true,
        } => {
            return format!("on {host} has finalized and will not answer any more");
        }
        Cause::Exited {
            code,
            finalized: false,
        } => {
            format!("ended with exit code {code} before it finalized")
        }
        Cause::Exited { code, .. } => format!("ended with exit code {code}"),
        Cause::Killed { signal } => format!("was killed by signal {signal}"),
        Cause::Panicked { message, location } => format!("panicked at {location}: {message}"),
        Cause::Failed { message } => format!("failed: {message}"),
        Cause::Died => "has died".into(),
        Cause::HostLost => "was lost with its host".into(),
    };
    format!("on {host} (pid {pid}) {how}")
}
