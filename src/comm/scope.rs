//! Nonblocking operations on borrowed buffers.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use super::{Call, Communicator, Source, Status, Tag};
use crate::engine::Mode;
use crate::error::Result;
use crate::pod::Pod;
use crate::runtime::{RecvArgs, RequestKey};

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
    explain: fn(&Communicator, &Call, Option<&RecvArgs>, crate::runtime::Fault) -> crate::Error,
}

/// An operation of a [`Scope`]. Unless it is waited for, it is complete when the scope ends.
#[derive(Debug)]
pub struct ScopedRequest<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    key: RequestKey,
    size: usize,
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
    fn wait_all(&self) -> Result<()> {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        let mut first = Ok(());
        for operation in open {
            let Open {
                key,
                call,
                receives,
                explain,
            } = operation;
            let runtime = &self.communicator.inner.runtime;
            if first.is_ok() {
                let errand = self.communicator.errand(&call);
                first = runtime
                    .wait_request(key, errand)
                    .map(|_| ())
                    .map_err(|fault| explain(self.communicator, &call, receives.as_ref(), fault));
            }
            runtime.discard(key);
        }
        first
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
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
        let call = Call::new("isend", Location::caller());
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
        let call = call.with(Some(dest), Some(args.tag));
        let bytes = bytemuck::cast_slice(elements);
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
        let call = Call::new("irecv_into", Location::caller());
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

    fn enter(&'scope self, open: Open, size: usize) -> ScopedRequest<'scope, 'env> {
        let key = open.key;
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(open);
        ScopedRequest {
            scope: self,
            key,
            size,
        }
    }
}

impl ScopedRequest<'_, '_> {
    /// Waits until the operation is done. The status of a send counts 0 elements.
    ///
    /// # Errors
    ///
    /// Those of the blocking operation.
    pub fn wait(self) -> Result<Status> {
        let mut open = self
            .scope
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = open.iter().position(|open| open.key == self.key);
        let operation = found.map(|index| open.swap_remove(index));
        drop(open);
        let communicator = self.scope.communicator;
        let Some(Open {
            key,
            call,
            receives,
            explain,
        }) = operation
        else {
            return Err(communicator.error(
                &Call::new("wait", Location::caller()),
                crate::runtime::Fault::Finalized,
                "",
            ));
        };
        let guard = Discard { communicator, key };
        let outcome = communicator
            .inner
            .runtime
            .wait_request(key, communicator.errand(&call));
        drop(guard);
        let envelope =
            outcome.map_err(|fault| explain(communicator, &call, receives.as_ref(), fault))?;
        let source = communicator.inner.group.rank(envelope.source).unwrap_or(0);
        Ok(Status::of(&envelope, source, self.size))
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
