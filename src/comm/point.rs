//! Point-to-point messages that block until they are done.

use std::panic::Location;

use super::faults::in_elements;
use super::{Call, Communicator, Probe, Source, Status, Tag};
use crate::engine::{Capacity, Envelope, Mode, Pattern};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::TAG_MAX;
use crate::pod::{OwnedElements, Pod, fingerprint};
use crate::runtime::{Fault, RecvArgs, SendArgs};

impl Communicator {
    /// Sends elements to rank `dest`. Blocks until they may be used again: a message of up to 64 KiB
    /// usually leaves at once; a longer one, or one to a receiver that is far behind, waits until it is
    /// being received.
    ///
    /// # Errors
    ///
    /// A bad rank or tag; the receiver's or the job's end; the time limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(2, |world| match world.rank() {
    ///     0 => world.send(&[3_u32, 4], 1, 0),
    ///     _ => {
    ///         let mut pair = [0_u32; 2];
    ///         let status = world.recv_into(&mut pair, 0, 0)?;
    ///         assert_eq!((pair, status.count), ([3, 4], 2));
    ///         Ok(())
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Send")]
    #[track_caller]
    pub fn send<T: Pod>(&self, elements: &[T], dest: usize, tag: impl Into<Tag>) -> Result<()> {
        let (site, tag) = (Location::caller(), tag.into());
        if self.send_directly(site, elements, dest, tag) {
            return Ok(());
        }
        let call = Call::new("send", site);
        self.send_mode(&call, elements, dest, tag, Mode::Standard)
    }

    /// Sends elements to rank `dest` and blocks until the receiver has begun to receive them.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    #[doc(alias = "MPI_Ssend")]
    #[track_caller]
    pub fn ssend<T: Pod>(&self, elements: &[T], dest: usize, tag: impl Into<Tag>) -> Result<()> {
        let call = Call::new("ssend", Location::caller());
        self.send_mode(&call, elements, dest, tag.into(), Mode::Synchronous)
    }

    /// Receives a message into a buffer, of which it fills the beginning. Blocks until it is there.
    ///
    /// # Errors
    ///
    /// A bad rank or tag; a message that is longer than the buffer or of another element type (it is
    /// consumed); the sender's or the job's end; the time limit.
    #[doc(alias = "MPI_Recv")]
    #[track_caller]
    pub fn recv_into<T: Pod>(
        &self,
        buffer: &mut [T],
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Status> {
        let (named, source, tag) = (("recv_into", Location::caller()), source.into(), tag.into());
        if let Some(status) = self.recv_directly(named, buffer, source, tag) {
            return status;
        }
        let call = Call::new(named.0, named.1);
        self.recv_slice(call, buffer, source, tag)
    }

    /// Receives a message of any length into a new vector. Blocks until it is there.
    ///
    /// # Errors
    ///
    /// As for [`recv_into`](Self::recv_into), but no length is too long; lack of memory.
    #[doc(alias = "MPI_Mprobe")]
    #[track_caller]
    pub fn recv_vec<T: Pod>(
        &self,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<(Vec<T>, Status)> {
        let call = Call::new("recv_vec", Location::caller());
        let mut elements = Vec::new();
        let status = self.recv_growing(call, &mut elements, source.into(), tag.into())?;
        Ok((elements, status))
    }

    /// Receives a message of any length into a vector, whose contents it replaces and whose memory it
    /// uses again. Blocks until it is there.
    ///
    /// # Errors
    ///
    /// As for [`recv_vec`](Self::recv_vec); the vector is then empty.
    #[track_caller]
    pub fn recv_into_vec<T: Pod>(
        &self,
        elements: &mut Vec<T>,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Status> {
        let call = Call::new("recv_into_vec", Location::caller());
        self.recv_growing(call, elements, source.into(), tag.into())
    }

    /// Sends one message and receives another, in whichever order they go: neighbours that exchange
    /// borders cannot block each other. `dest` and `source` may be the same rank, or this one.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send) and [`recv_into`](Self::recv_into).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(3, |world| {
    ///     let (right, left) = ((world.rank() + 1) % 3, (world.rank() + 2) % 3);
    ///     let mut from_left = [0];
    ///     world.sendrecv_into(&[world.rank()], right, 0, &mut from_left, left, 0)?;
    ///     assert_eq!(from_left, [left]);
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_Sendrecv")]
    #[track_caller]
    pub fn sendrecv_into<T: Pod, U: Pod>(
        &self,
        elements: &[T],
        dest: usize,
        send_tag: impl Into<Tag>,
        buffer: &mut [U],
        source: impl Into<Source>,
        recv_tag: impl Into<Tag>,
    ) -> Result<Status> {
        let (source, send_tag, recv_tag) = (source.into(), send_tag.into(), recv_tag.into());
        let call = Call::new("sendrecv_into", Location::caller());
        self.pattern(&call, source, recv_tag)?;
        if self.send_directly(call.site, elements, dest, send_tag) {
            let named = (call.operation, call.site);
            return match self.recv_directly(named, buffer, source, recv_tag) {
                Some(status) => status,
                None => self.recv_slice(call, buffer, source, recv_tag),
            };
        }
        self.scope(|scope| {
            self.inner.runtime.will_wait(size_of_val(elements));
            let receive = scope.begin_recv(call, buffer, source, recv_tag)?;
            let send = scope.begin_send(call, elements, dest, send_tag)?;
            send.wait()?;
            receive.wait()
        })
    }

    /// Waits for a message and tells of it without receiving it. With several threads or wildcards the
    /// next receive may get another one.
    ///
    /// # Errors
    ///
    /// A bad rank or tag; the sender's or the job's end; the time limit.
    #[doc(alias = "MPI_Probe")]
    #[track_caller]
    pub fn probe(&self, source: impl Into<Source>, tag: impl Into<Tag>) -> Result<Probe> {
        let call = Call::new("probe", Location::caller());
        let pattern = self.pattern(&call, source.into(), tag.into())?;
        let found = self.inner.runtime.probe(pattern, self.errand(&call));
        found
            .map(|envelope| self.probed(&envelope))
            .map_err(|fault| self.error(&call, fault, ""))
    }

    /// Tells of a message that waits, without waiting for one.
    ///
    /// # Errors
    ///
    /// A bad rank or tag; the sender's or the job's end.
    #[doc(alias = "MPI_Iprobe")]
    #[track_caller]
    pub fn iprobe(&self, source: impl Into<Source>, tag: impl Into<Tag>) -> Result<Option<Probe>> {
        let call = Call::new("iprobe", Location::caller());
        let pattern = self.pattern(&call, source.into(), tag.into())?;
        let found = self.inner.runtime.poll_probe(pattern).transpose();
        let found = found.map_err(|fault| self.error(&call, fault, ""))?;
        Ok(found.map(|envelope| self.probed(&envelope)))
    }

    /// Sends, if that can be done at once; `false` when nothing was done, whatever the reason.
    fn send_directly<T: Pod>(
        &self,
        site: &'static Location<'static>,
        elements: &[T],
        dest: usize,
        tag: Tag,
    ) -> bool {
        let (Some(to), Tag::Is(tag @ ..=TAG_MAX)) = (self.inner.group.peer(dest), tag) else {
            return false;
        };
        let args = SendArgs {
            to,
            context: self.inner.context.point_to_point(),
            tag,
            check: fingerprint::<T>(),
            mode: Mode::Standard,
            site,
        };
        let bytes = bytemuck::cast_slice(elements);
        self.inner.runtime.send_directly(&args, bytes)
    }

    /// Receives, if the message comes within a moment; `None` when nothing was done, whatever the reason.
    fn recv_directly<T: Pod>(
        &self,
        (operation, site): (&'static str, &'static Location<'static>),
        buffer: &mut [T],
        source: Source,
        tag: Tag,
    ) -> Option<Result<Status>> {
        let Source::Rank(source) = source else {
            return None;
        };
        let tag = match tag {
            Tag::Any => None,
            Tag::Is(tag @ ..=TAG_MAX) => Some(tag),
            Tag::Is(_) => return None,
        };
        let args = RecvArgs {
            pattern: Pattern {
                context: self.inner.context.point_to_point(),
                source: Some(self.inner.group.peer(source)?),
                tag,
            },
            check: fingerprint::<T>(),
            site,
        };
        let bytes = bytemuck::cast_slice_mut(buffer);
        let outcome = self.inner.runtime.recv_directly(&args, bytes)?;
        Some(match outcome {
            Ok(envelope) => Ok(self.status::<T>(&envelope)),
            Err(fault) => {
                let call = Call::new(operation, site);
                Err(self.recv_error::<T>(&call, &args, fault))
            }
        })
    }

    pub(super) fn send_mode<T: Pod>(
        &self,
        call: &Call,
        elements: &[T],
        dest: usize,
        tag: Tag,
        mode: Mode,
    ) -> Result<()> {
        let args = self.send_args::<T>(call, dest, tag, mode)?;
        let bytes = bytemuck::cast_slice(elements);
        let sent = self.inner.runtime.send(args, bytes, self.errand(call));
        sent.map_err(|fault| {
            self.error(
                &call.with(Some(dest), Some(args.tag)),
                fault,
                std::any::type_name::<T>(),
            )
        })
    }

    pub(super) fn send_args<T: 'static>(
        &self,
        call: &Call,
        dest: usize,
        tag: Tag,
        mode: Mode,
    ) -> Result<SendArgs> {
        Ok(SendArgs {
            to: self.peer(call, dest)?,
            context: self.inner.context.point_to_point(),
            tag: self.tag(call, tag)?,
            check: fingerprint::<T>(),
            mode,
            site: call.site,
        })
    }

    pub(super) fn recv_args<T: 'static>(
        &self,
        call: &Call,
        source: Source,
        tag: Tag,
    ) -> Result<RecvArgs> {
        Ok(RecvArgs {
            pattern: self.pattern(call, source, tag)?,
            check: fingerprint::<T>(),
            site: call.site,
        })
    }

    pub(super) fn status<T>(&self, envelope: &Envelope) -> Status {
        let source = self.inner.group.rank(envelope.source).unwrap_or(0);
        Status::of(envelope, source, size_of::<T>())
    }

    pub(super) fn recv_error<T>(&self, call: &Call, args: &RecvArgs, fault: Fault) -> Error {
        let peer = args
            .pattern
            .source
            .and_then(|peer| self.inner.group.rank(peer));
        let call = call.with(peer, args.pattern.tag);
        self.error(
            &call,
            in_elements(fault, size_of::<T>()),
            std::any::type_name::<T>(),
        )
    }

    fn recv_slice<T: Pod>(
        &self,
        call: Call,
        buffer: &mut [T],
        source: Source,
        tag: Tag,
    ) -> Result<Status> {
        let args = self.recv_args::<T>(&call, source, tag)?;
        let bytes = bytemuck::cast_slice_mut(buffer);
        let envelope = self.inner.runtime.recv(args, bytes, self.errand(&call));
        let envelope = envelope.map_err(|fault| self.recv_error::<T>(&call, &args, fault))?;
        Ok(self.status::<T>(&envelope))
    }

    fn recv_growing<T: Pod>(
        &self,
        call: Call,
        elements: &mut Vec<T>,
        source: Source,
        tag: Tag,
    ) -> Result<Status> {
        let args = self.recv_args::<T>(&call, source, tag)?;
        let runtime = &self.inner.runtime;
        let mut empty = std::mem::take(elements);
        empty.clear();
        let key = runtime
            .start_recv(args, Box::new(empty), Capacity::Growable)
            .map_err(|fault| self.recv_error::<T>(&call, &args, fault))?;
        let outcome = runtime.wait_request(key, self.errand(&call));
        let back = runtime.take_request(key);
        let envelope = outcome.map_err(|fault| self.recv_error::<T>(&call, &args, fault))?;
        *elements = self.elements(&call, back)?;
        Ok(self.status::<T>(&envelope))
    }

    /// Elements that the runtime kept, with their type again.
    pub(super) fn elements<T: Pod>(
        &self,
        call: &Call,
        back: Option<Box<dyn OwnedElements>>,
    ) -> Result<Vec<T>> {
        let elements = back.and_then(|elements| elements.into_any().downcast::<Vec<T>>().ok());
        elements.map(|elements| *elements).ok_or_else(|| {
            let reason = "the buffer of this operation was lost: report a bug".into();
            Error::new(ErrorKind::System { reason }, call.operation).at(call.site)
        })
    }

    fn probed(&self, envelope: &Envelope) -> Probe {
        Probe {
            source: self.inner.group.rank(envelope.source).unwrap_or(0),
            tag: envelope.tag,
            bytes: envelope.length as usize,
        }
    }
}
