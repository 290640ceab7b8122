//! Sends, receives and probes of one rank.

use std::panic::Location;
use std::task::Waker;

use slotmap::Key;

use super::progress::Core;
use super::state::{Fault, Handle, Request, RequestKey};
use super::vigil::{Subject, Vigil};
use super::{Borrowed, Errand, Reach, RecvArgs, Runtime, SendArgs};
use crate::base::ids::Context;
use crate::engine::{
    BufferId, Capacity, Envelope, Failure, Incoming, Mode, Outgoing, Owner, Pattern, SendStart,
};
use crate::pod::OwnedElements;

impl Runtime {
    /// Sends, and waits until the bytes may be used again.
    pub(crate) fn send(&self, args: SendArgs, bytes: &[u8], errand: Errand) -> Result<(), Fault> {
        let mut guard = Borrowed {
            runtime: self,
            request: None,
            collective: None,
            buffers: vec![],
        };
        let begun = self.station.act(|core| {
            core.check_open(args.context, Reach::One)?;
            // SAFETY: `guard` takes the entry out before this function returns or unwinds.
            let buffer = unsafe { core.state.buffers.lend(bytes) };
            guard.buffers.push(buffer);
            core.will_wait(bytes.len());
            core.begin_send(args, bytes.len() as u64, buffer)
        })?;
        let Some(key) = begun else { return Ok(()) };
        guard.request = Some(key);
        self.wait_request(key, errand).map(|_| ())
    }

    /// Receives into `bytes`, and waits until they are there.
    pub(crate) fn recv(
        &self,
        args: RecvArgs,
        bytes: &mut [u8],
        errand: Errand,
    ) -> Result<Envelope, Fault> {
        let mut guard = Borrowed {
            runtime: self,
            request: None,
            collective: None,
            buffers: vec![],
        };
        let key = self.station.act(|core| {
            core.check_open(args.pattern.context, args.reach())?;
            let capacity = Capacity::Fixed(bytes.len() as u64);
            // SAFETY: `guard` takes the entry out before this function returns or unwinds.
            let buffer = unsafe { core.state.buffers.lend_mut(bytes) };
            guard.buffers.push(buffer);
            Ok(core.begin_recv(args, capacity, buffer))
        })?;
        guard.request = Some(key);
        self.wait_request(key, errand)
    }

    /// Begins a send of elements that the runtime keeps until it is done.
    pub(crate) fn start_send(
        &self,
        args: SendArgs,
        elements: Box<dyn OwnedElements>,
    ) -> Result<RequestKey, Fault> {
        self.station.act(|core| {
            core.check_open(args.context, Reach::One)?;
            let length = elements.bytes().len() as u64;
            let buffer = core.state.buffers.own(elements);
            match core.begin_send(args, length, buffer) {
                Ok(Some(key)) => Ok(key),
                Ok(None) => Ok(core.completed_request(buffer, args.site)),
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
            core.check_open(args.pattern.context, args.reach())?;
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
            core.check_open(args.context, Reach::One)?;
            // SAFETY: the caller sees to it that the request, and with it the entry, is taken out.
            let buffer = unsafe { core.state.buffers.lend(bytes) };
            match core.begin_send(args, bytes.len() as u64, buffer) {
                Ok(Some(key)) => Ok(key),
                Ok(None) => Ok(core.completed_request(buffer, args.site)),
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
            core.check_open(args.pattern.context, args.reach())?;
            let capacity = Capacity::Fixed(bytes.len() as u64);
            // SAFETY: the caller sees to it that the request, and with it the entry, is taken out.
            let buffer = unsafe { core.state.buffers.lend_mut(bytes) };
            Ok(core.begin_recv(args, capacity, buffer))
        })
    }

    /// Waits for a request; it stays on the table.
    pub(crate) fn wait_request(&self, key: RequestKey, errand: Errand) -> Result<Envelope, Fault> {
        self.station
            .wait(Vigil::new(errand, Subject::Request(key)), |core| {
                core.request_outcome(key)
            })
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

    /// Takes a request off the table if it is done, and gives its elements back.
    #[expect(
        clippy::type_complexity,
        reason = "two things that belong to one request"
    )]
    pub(crate) fn finish_request(
        &self,
        key: RequestKey,
    ) -> Option<(Result<Envelope, Fault>, Option<Box<dyn OwnedElements>>)> {
        self.station.act(|core| {
            let outcome = core.request_outcome(key)?;
            let request = core.remove_request(key);
            let elements = request.and_then(|it| core.state.buffers.take(it.buffer));
            Some((outcome, elements))
        })
    }

    /// Takes requests off the table, the first of them that are done, up to one that has failed. Says how
    /// many, and why the last of these has failed.
    pub(crate) fn finish_in_order(
        &self,
        keys: impl Iterator<Item = RequestKey>,
    ) -> (usize, Option<Fault>) {
        self.station.act(|core| {
            let mut done = 0;
            for key in keys {
                let Some(outcome) = core.request_outcome(key) else {
                    break;
                };
                if let Some(request) = core.remove_request(key) {
                    core.state.buffers.take(request.buffer);
                }
                done += 1;
                if let Err(fault) = outcome {
                    return (done, Some(fault));
                }
            }
            (done, None)
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
    pub(crate) fn probe(&self, pattern: Pattern, errand: Errand) -> Result<Envelope, Fault> {
        if pattern.source.is_none() {
            self.station
                .act(|core| core.note_race(&pattern, errand.site));
        }
        self.station
            .wait(Vigil::new(errand, Subject::Probe(pattern)), |core| {
                core.probe_outcome(&pattern)
            })
            .unwrap_or(Err(Fault::Timeout))
    }

    /// Looks for a message without receiving it.
    pub(crate) fn poll_probe(&self, pattern: Pattern) -> Option<Result<Envelope, Fault>> {
        self.station.look(|core| {
            let found = core.probe_outcome(&pattern);
            if found.is_none() {
                core.probed = Some(pattern);
                core.looked_in_vain();
            }
            found
        })
    }
}

impl Core {
    /// Begins a send; `None` when it is complete already.
    fn begin_send(
        &mut self,
        args: SendArgs,
        length: u64,
        buffer: BufferId,
    ) -> Result<Option<RequestKey>, Fault> {
        let key = self.new_request(buffer, (args.context, Reach::One), args.site);
        let started = self.state.engine.send(Outgoing {
            to: args.to,
            context: args.context,
            tag: args.tag,
            check: args.check,
            length,
            mode: if self.strict {
                Mode::Synchronous
            } else {
                args.mode
            },
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
                Err(Fault::Message(Failure::PeerGone(args.to)))
            }
        }
    }

    fn begin_recv(&mut self, args: RecvArgs, capacity: Capacity, buffer: BufferId) -> RequestKey {
        self.note_race(&args.pattern, args.site);
        let place = (args.pattern.context, args.reach());
        let key = self.new_request(buffer, place, args.site);
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

    fn new_request(
        &mut self,
        buffer: BufferId,
        place: (Context, Reach),
        site: &'static Location<'static>,
    ) -> RequestKey {
        self.state.requests.insert(Request {
            handle: Handle::None,
            buffer,
            place,
            site,
            outcome: None,
            waker: None,
            forgotten: false,
        })
    }

    fn completed_request(
        &mut self,
        buffer: BufferId,
        site: &'static Location<'static>,
    ) -> RequestKey {
        let key = self.new_request(buffer, (Context::WORLD, Reach::One), site);
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

    fn probe_outcome(&mut self, pattern: &Pattern) -> Option<Result<Envelope, Fault>> {
        if let Some(envelope) = self.state.engine.probe(pattern) {
            return Some(Ok(envelope));
        }
        let gone = self.state.engine.nobody_left(pattern.source);
        let gone = gone.map(|peer| Err(Fault::Message(Failure::PeerGone(peer))));
        let reach = match pattern.source {
            Some(_) => Reach::One,
            None => Reach::Any,
        };
        let closed = || self.check_open(pattern.context, reach).err().map(Err);
        gone.or_else(closed)
    }
}
