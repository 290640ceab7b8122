//! Layer 3: joins the pure core and the edges.
//!
//! A [`Runtime`] is one rank: its engine, its transports, its memory, its connection to the launcher,
//! behind one lock. There are no globals, so ranks can be threads of one process.

pub(crate) mod buffers;
mod control;
mod dispute;
mod execute;
pub(crate) mod group;
pub(crate) mod join;
mod progress;
mod state;
mod wait;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use slotmap::Key;

pub(crate) use control::Reporter;
pub(crate) use dispute::{CollectiveCall, describe_mismatch};
pub(crate) use execute::Setting;
pub(crate) use state::{CollectiveKey, Fault, JobFailureKind, RequestKey};

use crate::base::ids::{Context, Peer};
use crate::engine::{
    BufferId, Capacity, Envelope, Incoming, Mode, Outgoing, Owner, Pattern, SendStart,
};
use crate::error::{Error, ErrorKind};
use crate::pod::OwnedElements;
use crate::schedule::Schedule;
use crate::wire::control::{FailureClass, FromRank, NodeMap};
use progress::Core;
use state::{Handle, Request};
use wait::Station;

/// A message to be sent, as far as the public layer knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendArgs {
    pub(crate) to: Peer,
    pub(crate) context: Context,
    pub(crate) tag: u64,
    pub(crate) check: u64,
    pub(crate) mode: Mode,
}

/// A message to be received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecvArgs {
    pub(crate) pattern: Pattern,
    pub(crate) check: u64,
}

/// Who this rank is and where the others are.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) me: Peer,
    pub(crate) size: u32,
    pub(crate) nodes: Arc<NodeMap>,
}

impl Identity {
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
    driver: AtomicBool,
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
    fn new(station: Station, identity: Identity, reporter: Option<Reporter>) -> Arc<Self> {
        let station = Arc::new(station);
        Arc::new(Self {
            station,
            identity,
            reporter,
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
            station.wait(None, |core| {
                (core.finalized || core.state.failure.is_some()).then_some(())
            });
        });
        if let Err(error) = started {
            tracing::warn!(%error, "cannot start a thread for awaited operations");
            self.driver.store(false, Ordering::Release);
        }
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
            ErrorKind::PeerGone { .. } => FailureClass::PeerGone,
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
        self.station.act(|core| {
            core.finalized = true;
            core.state.completions += 1;
            core.fabric.die(reason, &mut core.state);
        });
    }

    /// How a peer left, if it is known.
    pub(crate) fn departure(&self, peer: Peer) -> Option<String> {
        self.station.lock().state.departures.get(&peer).cloned()
    }

    /// Sends, and waits until the bytes may be used again.
    pub(crate) fn send(
        &self,
        args: SendArgs,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), Fault> {
        let mut guard = Borrowed {
            runtime: self,
            request: None,
            collective: None,
            buffers: vec![],
        };
        let begun = self.station.act(|core| {
            core.check_alive()?;
            // SAFETY: `guard` takes the entry out before this function returns or unwinds.
            let buffer = unsafe { core.state.buffers.lend(bytes) };
            guard.buffers.push(buffer);
            core.begin_send(args, bytes.len() as u64, buffer)
        })?;
        let Some(key) = begun else { return Ok(()) };
        guard.request = Some(key);
        self.wait_request(key, deadline).map(|_| ())
    }

    /// Receives into `bytes`, and waits until they are there.
    pub(crate) fn recv(
        &self,
        args: RecvArgs,
        bytes: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<Envelope, Fault> {
        let mut guard = Borrowed {
            runtime: self,
            request: None,
            collective: None,
            buffers: vec![],
        };
        let key = self.station.act(|core| {
            core.check_alive()?;
            let capacity = Capacity::Fixed(bytes.len() as u64);
            // SAFETY: `guard` takes the entry out before this function returns or unwinds.
            let buffer = unsafe { core.state.buffers.lend_mut(bytes) };
            guard.buffers.push(buffer);
            Ok(core.begin_recv(args, capacity, buffer))
        })?;
        guard.request = Some(key);
        self.wait_request(key, deadline)
    }

    /// Begins a send of elements that the runtime keeps until it is done.
    pub(crate) fn start_send(
        &self,
        args: SendArgs,
        elements: Box<dyn OwnedElements>,
    ) -> Result<RequestKey, Fault> {
        self.station.act(|core| {
            core.check_alive()?;
            let length = elements.bytes().len() as u64;
            let buffer = core.state.buffers.own(elements);
            match core.begin_send(args, length, buffer) {
                Ok(Some(key)) => Ok(key),
                Ok(None) => Ok(core.completed_request(buffer)),
                Err(fault) => {
                    core.state.buffers.take(buffer);
                    Err(fault)
                }
            }
        })
    }

    /// Begins a receive into elements that the runtime keeps until it is done.
    pub(crate) fn start_recv(
        &self,
        args: RecvArgs,
        elements: Box<dyn OwnedElements>,
        capacity: Capacity,
    ) -> Result<RequestKey, Fault> {
        self.station.act(|core| {
            core.check_alive()?;
            let buffer = core.state.buffers.own(elements);
            Ok(core.begin_recv(args, capacity, buffer))
        })
    }

    /// Begins a send of borrowed bytes.
    ///
    /// # Safety
    ///
    /// [`discard`](Self::discard) or [`take_request`](Self::take_request) is called with the result
    /// before the borrow of `bytes` ends.
    pub(crate) unsafe fn start_send_borrowed(
        &self,
        args: SendArgs,
        bytes: &[u8],
    ) -> Result<RequestKey, Fault> {
        self.station.act(|core| {
            core.check_alive()?;
            // SAFETY: the caller sees to it that the request, and with it the entry, is taken out.
            let buffer = unsafe { core.state.buffers.lend(bytes) };
            match core.begin_send(args, bytes.len() as u64, buffer) {
                Ok(Some(key)) => Ok(key),
                Ok(None) => Ok(core.completed_request(buffer)),
                Err(fault) => {
                    core.state.buffers.take(buffer);
                    Err(fault)
                }
            }
        })
    }

    /// Begins a receive into borrowed bytes.
    ///
    /// # Safety
    ///
    /// As for [`start_send_borrowed`](Self::start_send_borrowed).
    pub(crate) unsafe fn start_recv_borrowed(
        &self,
        args: RecvArgs,
        bytes: &mut [u8],
    ) -> Result<RequestKey, Fault> {
        self.station.act(|core| {
            core.check_alive()?;
            let capacity = Capacity::Fixed(bytes.len() as u64);
            // SAFETY: the caller sees to it that the request, and with it the entry, is taken out.
            let buffer = unsafe { core.state.buffers.lend_mut(bytes) };
            Ok(core.begin_recv(args, capacity, buffer))
        })
    }

    /// Waits for a request; it stays on the table.
    pub(crate) fn wait_request(
        &self,
        key: RequestKey,
        deadline: Option<Instant>,
    ) -> Result<Envelope, Fault> {
        self.station
            .wait(deadline, |core| core.request_outcome(key))
            .unwrap_or(Err(Fault::Timeout))
    }

    /// Looks whether a request is done.
    pub(crate) fn test_request(&self, key: RequestKey) -> Option<Result<Envelope, Fault>> {
        self.station.poll(|core| core.request_outcome(key))
    }

    /// Looks whether a request is done; if not, `waker` is called when it is.
    pub(crate) fn poll_request(
        &self,
        key: RequestKey,
        waker: &Waker,
    ) -> Option<Result<Envelope, Fault>> {
        self.drive();
        self.station.poll(|core| {
            let outcome = core.request_outcome(key);
            if let (None, Some(request)) = (&outcome, core.state.requests.get_mut(key)) {
                request.waker = Some(waker.clone());
            }
            outcome
        })
    }

    /// Takes a request off the table and gives its elements back, done or not.
    pub(crate) fn take_request(&self, key: RequestKey) -> Option<Box<dyn OwnedElements>> {
        self.station.act(|core| {
            let request = core.remove_request(key)?;
            core.state.buffers.take(request.buffer)
        })
    }

    /// Takes a receive off the table if nothing has matched it.
    pub(crate) fn cancel_request(&self, key: RequestKey) -> bool {
        self.station.act(|core| {
            let Some(request) = core.state.requests.get(key) else {
                return false;
            };
            let Handle::Recv(id) = request.handle else {
                return false;
            };
            let buffer = request.buffer;
            let cancelled = request.outcome.is_none() && core.state.engine.cancel(id);
            if cancelled {
                core.state.requests.remove(key);
                core.state.buffers.take(buffer);
            }
            cancelled
        })
    }

    /// Takes a request off the table whose outcome nobody wants: a receive that nothing has matched is
    /// cancelled; everything else goes on by itself if it owns its buffer.
    pub(crate) fn forget_request(&self, key: RequestKey) {
        self.station.act(|core| {
            let Some(request) = core.state.requests.get_mut(key) else {
                return;
            };
            request.waker = None;
            let done = request.outcome.is_some();
            let unmatched = match request.handle {
                Handle::Recv(id) => core.state.engine.cancel(id),
                _ => false,
            };
            if done || unmatched {
                if let Some(request) = core.state.requests.remove(key) {
                    core.state.buffers.take(request.buffer);
                }
            } else {
                request.forgotten = true;
            }
        });
    }

    /// Takes a request off the table whose buffer is borrowed: afterwards the buffer is not touched.
    pub(crate) fn discard(&self, key: RequestKey) {
        drop(self.take_request(key));
    }

    /// Waits for a message without receiving it.
    pub(crate) fn probe(
        &self,
        pattern: Pattern,
        deadline: Option<Instant>,
    ) -> Result<Envelope, Fault> {
        self.station
            .wait(deadline, |core| core.probe_outcome(&pattern))
            .unwrap_or(Err(Fault::Timeout))
    }

    /// Looks for a message without receiving it.
    pub(crate) fn poll_probe(&self, pattern: Pattern) -> Option<Result<Envelope, Fault>> {
        self.station.poll(|core| core.probe_outcome(&pattern))
    }

    /// Executes a collective on borrowed buffers.
    pub(crate) fn collective(
        &self,
        schedule: Schedule,
        mut setting: Setting,
        scratch: Box<dyn OwnedElements>,
        input: Option<&[u8]>,
        output: Option<&mut [u8]>,
        deadline: Option<Instant>,
    ) -> Result<(), Fault> {
        let mut guard = Borrowed {
            runtime: self,
            request: None,
            collective: None,
            buffers: vec![],
        };
        let key = self.station.act(|core| {
            core.check_alive()?;
            let buffers = &mut core.state.buffers;
            // SAFETY: `guard` takes the entries out before this function returns or unwinds.
            let input = input.map(|bytes| unsafe { buffers.lend(bytes) });
            // SAFETY: as above.
            let output = output.map(|bytes| unsafe { buffers.lend_mut(bytes) });
            guard.buffers.extend(input.into_iter().chain(output));
            setting.buffers = [input, output, Some(buffers.own(scratch))];
            Ok(core.begin_collective(schedule, setting))
        })?;
        guard.collective = Some(key);
        self.wait_collective(key, deadline)
    }

    /// Begins a collective on elements that the runtime keeps until it is done.
    pub(crate) fn start_collective(
        &self,
        schedule: Schedule,
        mut setting: Setting,
        scratch: Box<dyn OwnedElements>,
        input: Option<Box<dyn OwnedElements>>,
        output: Option<Box<dyn OwnedElements>>,
    ) -> Result<CollectiveKey, Fault> {
        self.station.act(|core| {
            core.check_alive()?;
            let buffers = &mut core.state.buffers;
            let [input, output] =
                [input, output].map(|it| it.map(|elements| buffers.own(elements)));
            setting.buffers = [input, output, Some(buffers.own(scratch))];
            Ok(core.begin_collective(schedule, setting))
        })
    }

    /// Waits for a collective; it stays on the table.
    pub(crate) fn wait_collective(
        &self,
        key: CollectiveKey,
        deadline: Option<Instant>,
    ) -> Result<(), Fault> {
        self.station
            .wait(deadline, |core| core.collective_result(key))
            .unwrap_or(Err(Fault::Timeout))
    }

    /// Looks whether a collective is done.
    pub(crate) fn test_collective(&self, key: CollectiveKey) -> Option<Result<(), Fault>> {
        self.station.poll(|core| core.collective_result(key))
    }

    /// Looks whether a collective is done; if not, `waker` is called when it is.
    pub(crate) fn poll_collective(
        &self,
        key: CollectiveKey,
        waker: &Waker,
    ) -> Option<Result<(), Fault>> {
        self.drive();
        self.station.poll(|core| {
            let outcome = core.collective_result(key);
            if let (None, Some(running)) = (&outcome, core.state.collectives.get_mut(key)) {
                running.waker = Some(waker.clone());
            }
            outcome
        })
    }

    /// Takes a collective off the table and gives its output back.
    pub(crate) fn take_collective(&self, key: CollectiveKey) -> Option<Box<dyn OwnedElements>> {
        self.station.act(|core| {
            let running = core.remove_collective(key)?;
            let [input, output, _] = running.buffers();
            if let Some(input) = input {
                core.state.buffers.take(input);
            }
            core.state.buffers.take(output?)
        })
    }

    /// Lets a collective go on by itself: the other ranks need this one's part.
    pub(crate) fn forget_collective(&self, key: CollectiveKey) {
        let done = self
            .station
            .act(|core| match core.state.collectives.get_mut(key) {
                Some(running) if running.outcome.is_none() => {
                    running.waker = None;
                    running.forgotten = true;
                    false
                }
                _ => true,
            });
        if done {
            drop(self.take_collective(key));
        }
    }

    /// Makes progress for all that is under way until `done` says so or the time is over.
    pub(crate) fn progress_until(&self, limit: Duration, done: impl Fn() -> bool) {
        let deadline = Instant::now() + limit;
        self.station.wait(Some(deadline), |_| done().then_some(()));
    }

    /// Sends what is still to be sent, says goodbye, and tells the launcher. Afterwards nothing can be
    /// begun. Does nothing the second time.
    pub(crate) fn finalize(&self) -> Result<(), Fault> {
        let already = self.station.act(|core| {
            core.state.completions += 1; // Whoever makes progress for awaited operations ends.
            std::mem::replace(&mut core.finalized, true)
        });
        if already {
            return Ok(());
        }
        let drained = self.station.wait(None, |core| {
            if let Some(failure) = &core.state.failure {
                return Some(Err(Fault::Job(failure.clone())));
            }
            core.is_quiet().then_some(Ok(()))
        });
        self.station
            .act(|core| core.fabric.farewell(&mut core.state));
        let _ = self.station.wait(None, |core| {
            (core.fabric.drained() || core.state.failure.is_some()).then_some(())
        });
        let outcome = drained.unwrap_or(Ok(()));
        if let (Ok(()), Some(reporter)) = (&outcome, &self.reporter) {
            reporter.say(&FromRank::Finalized);
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
            let _ = self.finalize();
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

    /// Begins a send; `None` when it is complete already.
    fn begin_send(
        &mut self,
        args: SendArgs,
        length: u64,
        buffer: BufferId,
    ) -> Result<Option<RequestKey>, Fault> {
        let key = self.new_request(buffer);
        let started = self.state.engine.send(Outgoing {
            to: args.to,
            context: args.context,
            tag: args.tag,
            check: args.check,
            length,
            mode: args.mode,
            buffer,
            owner: Owner {
                request: key.data().as_ffi(),
                step: Owner::WHOLE,
            },
        });
        match started {
            SendStart::Now(header) => {
                self.state.requests.remove(key);
                self.transmit_from(args.to, &header, buffer, 0);
                Ok(None)
            }
            SendStart::Later(id) => {
                if let Some(request) = self.state.requests.get_mut(key) {
                    request.handle = Handle::Send(id);
                }
                Ok(Some(key))
            }
            SendStart::Gone => {
                self.state.requests.remove(key);
                Err(Fault::Message(crate::engine::Failure::PeerGone(args.to)))
            }
        }
    }

    fn begin_recv(&mut self, args: RecvArgs, capacity: Capacity, buffer: BufferId) -> RequestKey {
        let key = self.new_request(buffer);
        let id = self.state.engine.recv(Incoming {
            pattern: args.pattern,
            check: args.check,
            capacity,
            buffer,
            owner: Owner {
                request: key.data().as_ffi(),
                step: Owner::WHOLE,
            },
        });
        if let Some(request) = self.state.requests.get_mut(key) {
            request.handle = Handle::Recv(id);
        }
        key
    }

    fn new_request(&mut self, buffer: BufferId) -> RequestKey {
        self.state.requests.insert(Request {
            handle: Handle::None,
            buffer,
            outcome: None,
            waker: None,
            forgotten: false,
        })
    }

    fn completed_request(&mut self, buffer: BufferId) -> RequestKey {
        let key = self.new_request(buffer);
        let source = self.state.me;
        self.state.requests[key].outcome = Some(Ok(Envelope {
            source,
            tag: 0,
            length: 0,
            check: 0,
        }));
        key
    }

    fn request_outcome(&self, key: RequestKey) -> Option<Result<Envelope, Fault>> {
        let outcome = self
            .state
            .requests
            .get(key)
            .and_then(|request| request.outcome.clone());
        outcome.or_else(|| self.failed())
    }

    fn collective_result(&self, key: CollectiveKey) -> Option<Result<(), Fault>> {
        self.collective_outcome(key).or_else(|| self.failed())
    }

    fn probe_outcome(&mut self, pattern: &Pattern) -> Option<Result<Envelope, Fault>> {
        if let Some(envelope) = self.state.engine.probe(pattern) {
            return Some(Ok(envelope));
        }
        let gone = self.state.engine.nobody_left(pattern.source);
        let gone = gone.map(|peer| Err(Fault::Message(crate::engine::Failure::PeerGone(peer))));
        gone.or_else(|| self.failed())
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
