//! Layer 3: joins the pure core and the edges.
//!
//! A [`Runtime`] is one rank: its engine, its transports, its memory, its connection to the launcher,
//! behind one lock. There are no globals, so ranks can be threads of one process.

mod account;
mod broken;
pub(crate) mod buffers;
mod collectives;
mod control;
mod direct;
mod dispute;
mod execute;
pub(crate) mod group;
pub(crate) mod join;
mod kin;
pub(crate) mod meeting;
mod perform;
mod progress;
mod record;
mod requests;
mod retired;
mod stall;
mod state;
mod survival;
mod vigil;
mod wait;

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use account::Ledger;
pub(crate) use control::Reporter;
pub(crate) use dispute::{CollectiveCall, describe_mismatch};
pub(crate) use execute::Setting;
pub(crate) use state::{CollectiveKey, Fault, JobFailure, JobFailureKind, RequestKey};
pub(crate) use survival::{NoLauncher, Reach};
pub(crate) use vigil::Errand;

use crate::base::ids::{Context, Peer};
use crate::engine::{BufferId, Mode, Pattern};
use crate::error::{Error, ErrorKind};
use crate::limits::{EAGER_SHARED_BYTES_MAX, FINALIZE_LOOKS_MAX};
use crate::wire::control::{FailureClass, FromRank, NodeMap};
use progress::Core;
use vigil::{Subject, Vigil};
use wait::Station;

/// A message to be sent, as far as the public layer knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendArgs {
    pub(crate) to: Peer,
    pub(crate) context: Context,
    pub(crate) tag: u64,
    pub(crate) check: u64,
    pub(crate) mode: Mode,
    /// Where it was called.
    pub(crate) site: &'static Location<'static>,
}

/// A message to be received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecvArgs {
    pub(crate) pattern: Pattern,
    pub(crate) check: u64,
    /// Where it was called.
    pub(crate) site: &'static Location<'static>,
}

/// Who this rank is and where the others are.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) me: Peer,
    pub(crate) size: u32,
    pub(crate) nodes: Arc<NodeMap>,
    /// The lowest rank of each program; empty when there is one.
    pub(crate) programs: Vec<u32>,
    /// Processors that the ranks of this host may use together; what this process sees when not known.
    pub(crate) cores: Option<u32>,
}

impl RecvArgs {
    const fn reach(&self) -> Reach {
        match self.pattern.source {
            Some(_) => Reach::One,
            None => Reach::Any,
        }
    }
}

impl Identity {
    /// The number of the program that a rank runs.
    pub(crate) fn program(&self, peer: Peer) -> usize {
        let begun = self.programs.partition_point(|first| *first <= peer.0);
        begun.saturating_sub(1)
    }

    /// The host of a rank.
    pub(crate) fn host(&self, peer: Peer) -> &str {
        let node = self.nodes.node_of.get(peer.index()).copied().unwrap_or(0);
        self.nodes
            .hosts
            .get(node as usize)
            .map_or("an unknown host", String::as_str)
    }
}

/// One rank.
#[derive(Debug)]
pub(crate) struct Runtime {
    station: Arc<Station>,
    identity: Identity,
    reporter: Option<Reporter>,
    /// Where ranks that are threads give their accounts.
    ledger: Option<Ledger>,
    driver: AtomicBool,
    /// Whether all ranks of the world share memory.
    meets: bool,
    /// The last error of an operation.
    last_error: Mutex<Option<(FailureClass, String)>>,
}

/// Takes borrowed buffers and what uses them off the tables, whatever happens.
struct Borrowed<'a> {
    runtime: &'a Runtime,
    request: Option<RequestKey>,
    collective: Option<CollectiveKey>,
    buffers: Vec<BufferId>,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.runtime.station.act(|core| {
            if let Some(key) = self.request {
                core.remove_request(key);
            }
            if let Some(key) = self.collective {
                core.remove_collective(key);
            }
            for &buffer in &self.buffers {
                core.state.buffers.take(buffer);
            }
        });
    }
}

impl Runtime {
    fn new(
        station: Station,
        identity: Identity,
        reporter: Option<Reporter>,
        ledger: Option<Ledger>,
    ) -> Arc<Self> {
        let station = Arc::new(station);
        let meets = station.lock().meetings.is_some();
        Arc::new(Self {
            meets,
            station,
            identity,
            reporter,
            ledger,
            driver: AtomicBool::new(false),
            last_error: Mutex::new(None),
        })
    }

    /// Sees to it that somebody makes progress while tasks await operations: a thread that sleeps
    /// until something arrives, started at the first use. It does not keep the runtime alive.
    fn drive(&self) {
        if self.driver.swap(true, Ordering::AcqRel) {
            return;
        }
        let station = Arc::clone(&self.station);
        let driver = std::thread::Builder::new().name("phalanx-progress".into());
        let started = driver.spawn(move || {
            station.wait(None::<Instant>, |core| {
                (core.finalized || core.state.failure.is_some()).then_some(())
            });
        });
        if let Err(error) = started {
            tracing::warn!(%error, "cannot start a thread for awaited operations");
            self.driver.store(false, Ordering::Release);
        }
    }

    /// A call that waits is about to begin operations of this length.
    pub(crate) fn will_wait(&self, length: usize) {
        if length > EAGER_SHARED_BYTES_MAX {
            self.station.lock().will_wait(length);
        }
    }

    /// Whether all ranks of the world share memory: then their collectives may meet there.
    pub(crate) const fn meets(&self) -> bool {
        self.meets
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) const fn reporter(&self) -> Option<&Reporter> {
        self.reporter.as_ref()
    }

    /// Notes an error that the program is given, in case the program ends with it.
    pub(crate) fn note_error(&self, error: &Error) {
        let class = match error.kind() {
            ErrorKind::PeerGone { world_rank, .. } => self.loss(*world_rank),
            ErrorKind::Mismatch { .. } => FailureClass::Mismatch,
            ErrorKind::Timeout => FailureClass::Timeout,
            ErrorKind::Wire { .. } => FailureClass::Wire,
            ErrorKind::Authentication { .. } => FailureClass::Authentication,
            _ => FailureClass::Program,
        };
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some((class, error.to_string()));
    }

    /// Whether a peer that is gone has failed, or finalized while this rank still needed it.
    fn loss(&self, world_rank: usize) -> FailureClass {
        let peer = Peer(u32::try_from(world_rank).unwrap_or(u32::MAX));
        let core = self.station.lock();
        if core.state.closed.contains(&peer) && core.state.failure.is_none() {
            FailureClass::Deserted { rank: peer.0 }
        } else {
            FailureClass::PeerGone
        }
    }

    /// What sort of failure it is when the program ends with this message: that of the last error of an
    /// operation, if the message is about it.
    pub(crate) fn failure_class(&self, message: &str) -> FailureClass {
        let last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let told = last
            .as_ref()
            .filter(|(_, text)| message.contains(text.as_str()));
        told.map_or(FailureClass::Program, |(class, _)| *class)
    }

    /// Takes no further part, without a farewell: others see that this rank broke off.
    pub(crate) fn die(&self, reason: &str) {
        if !self.station.lock().finalized {
            self.give_account(None, false);
        }
        self.station.act(|core| {
            core.finalized = true;
            core.state.completions += 1;
            core.fabric.die(reason, &mut core.state);
        });
    }

    /// Why the job has failed, if that says more than that this peer has gone.
    pub(crate) fn failure_instead_of(&self, peer: Peer) -> Option<Arc<JobFailure>> {
        let failure = self.station.lock().state.failure.clone();
        failure.filter(|it| it.peer == peer || it.kind != JobFailureKind::Gone)
    }

    /// How a peer left, if it is known.
    pub(crate) fn departure(&self, peer: Peer) -> Option<String> {
        self.station.lock().state.departures.get(&peer).cloned()
    }

    /// What connects this rank with a peer.
    pub(crate) fn link_name(&self, peer: Peer) -> &'static str {
        self.station.lock().fabric.link_name(peer)
    }

    /// Makes progress for all that is under way until `done` says so or the time is over.
    pub(crate) fn progress_until(&self, limit: Duration, done: impl Fn() -> bool) {
        let deadline = Instant::now() + limit;
        self.station.wait(Some(deadline), |_| done().then_some(()));
    }

    /// Sends what is still to be sent, says goodbye, and tells the launcher. Afterwards nothing can be
    /// begun. Does nothing the second time. `called`: by the program, at that place.
    pub(crate) fn finalize(&self, errand: Errand, called: bool) -> Result<(), Fault> {
        let (already, failure) = self.station.act(|core| {
            core.state.completions += 1; // Whoever makes progress for awaited operations ends.
            let already = std::mem::replace(&mut core.finalized, true);
            (already, core.state.failure.clone())
        });
        if already {
            return Ok(());
        }
        if let Some(failure) = failure.filter(|it| it.kind == JobFailureKind::Broken) {
            return Err(Fault::Job(failure)); // Without a farewell: it has left something half done.
        }
        let errand = Errand {
            deadline: None,
            ..errand
        };
        let vigil = Vigil::new(errand, Subject::Receivers);
        let drained = self.station.wait(vigil, |core| {
            if let Some(failure) = &core.state.failure {
                return Some(Err(Fault::Job(failure.clone())));
            }
            core.is_quiet().then_some(Ok(()))
        });
        // What has arrived and was not received yet will not be received any more.
        self.station.act(|core| {
            let mut looks = 0..FINALIZE_LOOKS_MAX;
            while looks.next().is_some() && core.turn(Instant::now()) {}
        });
        self.station
            .act(|core| core.fabric.farewell(&mut core.state));
        let _ = self.station.wait(None::<Instant>, |core| {
            (core.fabric.drained() || core.state.failure.is_some()).then_some(())
        });
        self.station.act(|core| {
            if let Some(record) = &mut core.record {
                record.finalized();
            }
        });
        let outcome = drained.unwrap_or(Ok(()));
        if outcome.is_ok() {
            // What has arrived meanwhile was not received either.
            let _ = self.station.poll(|_| None::<()>);
            self.give_account(called.then_some(errand.site), true);
            if let Some(reporter) = &self.reporter {
                reporter.say(&FromRank::Finalized);
            }
        }
        outcome
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The process or thread is on its way out: nobody must wait for the others now.
            self.die("panicked");
        } else {
            // An error was or will be reported by whoever noticed it first.
            let errand = Errand {
                operation: "finalize",
                site: Location::caller(),
                deadline: None,
            };
            let _ = self.finalize(errand, false);
        }
    }
}

impl Core {
    fn check_alive(&self) -> Result<(), Fault> {
        if let Some(failure) = &self.state.failure {
            return Err(Fault::Job(failure.clone()));
        }
        if self.finalized {
            Err(Fault::Finalized)
        } else {
            Ok(())
        }
    }

    fn failed<T>(&self) -> Option<Result<T, Fault>> {
        self.state
            .failure
            .as_ref()
            .map(|failure| Err(Fault::Job(failure.clone())))
    }

    /// Whether nothing of this rank is still to be sent.
    fn is_quiet(&self) -> bool {
        self.state.engine.sends_open() == 0
            && self
                .state
                .collectives
                .values()
                .all(|running| running.outcome.is_some())
    }
}
