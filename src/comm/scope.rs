//! Nonblocking operations on borrowed buffers.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Call, Communicator, Source, Status, Tag};
use crate::engine::Mode;
use crate::error::{Error, Result};
use crate::pod::Pod;
use crate::runtime::{Fault, RecvArgs, RequestKey};

/// Where nonblocking operations on borrowed buffers live; see [`Communicator::scope`].
pub struct Scope<'scope, 'env: 'scope> {
    communicator: &'scope Communicator,
    open: Mutex<Vec<Open>>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl std::fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope")
            .field("communicator", self.communicator)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Open {
    key: RequestKey,
    call: Call,
    receives: Option<RecvArgs>,
    explain: fn(&Communicator, &Call, Option<&RecvArgs>, Fault) -> Error,
}

/// An operation of a [`Scope`]. Unless it is waited for, it is complete when the scope ends.
#[derive(Debug)]
pub struct ScopedRequest<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It is on the table, and its elements have so many bytes.
    Begun(RequestKey, usize),
    /// It was done when it was begun.
    Done(Status),
}

impl Communicator {
    /// Runs `body`, which may begin nonblocking operations on buffers that it borrows; all of them are
    /// complete when `scope` returns. If the body fails or panics, what is not complete is given up
    /// without waiting, and the buffers are not touched any more.
    ///
    /// # Errors
    ///
    /// The body's error, or the first one of an operation.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// phalanx::threads(2, |world| {
    ///     let other = 1 - world.rank();
    ///     let edge = [world.rank() as f64; 4];
    ///     let mut ghost = [0.0; 4];
    ///     let interior = world.scope(|scope| {
    ///         scope.irecv_into(&mut ghost, other, 0)?;
    ///         scope.isend(&edge, other, 0)?;
    ///         Ok((1..=10).sum::<i32>()) // compute meanwhile
    ///     })?;
    ///     assert_eq!((ghost, interior), ([other as f64; 4], 55));
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn scope<'env, R>(
        &self,
        body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<R>,
    ) -> Result<R> {
        let scope = Scope {
            communicator: self,
            open: Mutex::new(Vec::new()),
            scope: PhantomData,
            env: PhantomData,
        };
        // However this function is left, the guard takes every request off the table.
        let guard = Guard {
            communicator: self,
            open: &scope.open,
        };
        let result = body(&scope)?;
        guard.wait_all()?;
        Ok(result)
    }
}

struct Guard<'a> {
    communicator: &'a Communicator,
    open: &'a Mutex<Vec<Open>>,
}

impl Guard<'_> {
    /// Waits for all that is open, in its order. What is left after a failure is for `drop`.
    fn wait_all(&self) -> Result<()> {
        let (communicator, runtime) = (self.communicator, &self.communicator.inner.runtime);
        let mut open = lock(self.open);
        let (mut finished, mut begun) = (0, None);
        while finished < open.len() {
            // Most are done when one is: they are taken off the table together.
            let keys = open[finished..].iter().map(|open| open.key);
            let (done, fault) = runtime.finish_in_order(keys);
            finished += done;
            if let Some(fault) = fault {
                let failed = &open[finished - 1];
                return Err(failed.error(communicator, &failed.call, fault));
            }
            if let Some(next) = open.get(finished) {
                begun = begun.or_else(|| Some(Instant::now()));
                let begun = next.call.begun.or(begun);
                let call = Call { begun, ..next.call };
                let waited = runtime.wait_request(next.key, communicator.errand(&call));
                waited.map_err(|fault| next.error(communicator, &call, fault))?;
            }
        }
        open.clear();
        Ok(())
    }
}

impl Open {
    fn error(&self, communicator: &Communicator, call: &Call, fault: Fault) -> Error {
        (self.explain)(communicator, call, self.receives.as_ref(), fault)
    }
}

fn lock(open: &Mutex<Vec<Open>>) -> MutexGuard<'_, Vec<Open>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let open = std::mem::take(&mut *lock(self.open));
        for operation in open {
            self.communicator.inner.runtime.discard(operation.key);
        }
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Begins to send elements to rank `dest`. Does not block.
    ///
    /// # Errors
    ///
    /// As for [`Communicator::send`], as far as they are known at once.
    #[doc(alias = "MPI_Isend")]
    #[track_caller]
    pub fn isend<T: Pod>(
        &'scope self,
        elements: &'scope [T],
        dest: usize,
        tag: impl Into<Tag>,
    ) -> Result<ScopedRequest<'scope, 'env>> {
        let call = self.call("isend", Location::caller());
        self.begin_send(call, elements, dest, tag.into())
    }

    /// [`isend`](Self::isend) on behalf of this call.
    pub(super) fn begin_send<T: Pod>(
        &'scope self,
        call: Call,
        elements: &'scope [T],
        dest: usize,
        tag: Tag,
    ) -> Result<ScopedRequest<'scope, 'env>> {
        let communicator = self.communicator;
        let args = communicator.send_args::<T>(&call, dest, tag, Mode::Standard)?;
        let bytes = bytemuck::cast_slice(elements);
        if communicator.inner.runtime.send_directly(&args, bytes) {
            let (source, tag, count) = (communicator.rank(), 0, 0);
            return Ok(self.done(Status { source, tag, count }));
        }
        let call = call.with(Some(dest), Some(args.tag));
        // SAFETY: the request is entered below, and the guard of the scope, which outlives every use
        // of it, takes it off the table before `'scope` ends, also when the stack unwinds.
        let key = unsafe { communicator.inner.runtime.start_send_borrowed(args, bytes) };
        let key = key.map_err(|fault| communicator.error(&call, fault, ""))?;
        let explain = |communicator: &Communicator, call: &Call, _: Option<&RecvArgs>, fault| {
            communicator.error(call, fault, std::any::type_name::<T>())
        };
        Ok(self.enter(
            Open {
                key,
                call,
                receives: None,
                explain,
            },
            size_of::<T>(),
        ))
    }

    /// Begins to receive a message into a buffer. Does not block.
    ///
    /// # Errors
    ///
    /// A bad rank or tag, or what is known at once.
    #[doc(alias = "MPI_Irecv")]
    #[track_caller]
    pub fn irecv_into<T: Pod>(
        &'scope self,
        buffer: &'scope mut [T],
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<ScopedRequest<'scope, 'env>> {
        let call = self.call("irecv_into", Location::caller());
        self.begin_recv(call, buffer, source.into(), tag.into())
    }

    /// [`irecv_into`](Self::irecv_into) on behalf of this call.
    pub(super) fn begin_recv<T: Pod>(
        &'scope self,
        call: Call,
        buffer: &'scope mut [T],
        source: Source,
        tag: Tag,
    ) -> Result<ScopedRequest<'scope, 'env>> {
        let communicator = self.communicator;
        let args = communicator.recv_args::<T>(&call, source, tag)?;
        let bytes = bytemuck::cast_slice_mut(buffer);
        // SAFETY: as in `isend`.
        let key = unsafe { communicator.inner.runtime.start_recv_borrowed(args, bytes) };
        let key = key.map_err(|fault| communicator.recv_error::<T>(&call, &args, fault))?;
        let explain =
            |communicator: &Communicator, call: &Call, args: Option<&RecvArgs>, fault| match args {
                Some(args) => communicator.recv_error::<T>(call, args, fault),
                None => communicator.error(call, fault, ""),
            };
        Ok(self.enter(
            Open {
                key,
                call,
                receives: Some(args),
                explain,
            },
            size_of::<T>(),
        ))
    }

    /// Only a time limit needs the clock before the wait begins.
    fn call(&self, operation: &'static str, site: &'static Location<'static>) -> Call {
        match self.communicator.timeout {
            Some(_) => Call::new(operation, site),
            None => Call::timeless(operation, site),
        }
    }

    const fn done(&'scope self, status: Status) -> ScopedRequest<'scope, 'env> {
        let state = State::Done(status);
        ScopedRequest { scope: self, state }
    }

    fn enter(&'scope self, open: Open, size: usize) -> ScopedRequest<'scope, 'env> {
        let state = State::Begun(open.key, size);
        lock(&self.open).push(open);
        ScopedRequest { scope: self, state }
    }
}

impl ScopedRequest<'_, '_> {
    /// Waits until the operation is done. The status of a send counts 0 elements.
    ///
    /// # Errors
    ///
    /// Those of the blocking operation.
    pub fn wait(self) -> Result<Status> {
        let (key, size) = match self.state {
            State::Begun(key, size) => (key, size),
            State::Done(status) => return Ok(status),
        };
        let mut open = lock(&self.scope.open);
        let found = open.iter().position(|open| open.key == key);
        let operation = found.map(|index| open.swap_remove(index));
        drop(open);
        let communicator = self.scope.communicator;
        let Some(operation) = operation else {
            let call = Call::new("wait", Location::caller());
            return Err(communicator.error(&call, Fault::Finalized, ""));
        };
        let guard = Discard { communicator, key };
        let begun = operation.call.begun.or_else(|| Some(Instant::now()));
        let call = Call {
            begun,
            ..operation.call
        };
        let runtime = &communicator.inner.runtime;
        let outcome = runtime.wait_request(key, communicator.errand(&call));
        drop(guard);
        let envelope = outcome.map_err(|fault| operation.error(communicator, &call, fault))?;
        let source = communicator.inner.group.rank(envelope.source).unwrap_or(0);
        Ok(Status::of(&envelope, source, size))
    }
}

/// Takes one request off the table, whatever happens.
struct Discard<'a> {
    communicator: &'a Communicator,
    key: RequestKey,
}

impl Drop for Discard<'_> {
    fn drop(&mut self) {
        self.communicator.inner.runtime.discard(self.key);
    }
}
