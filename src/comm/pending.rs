//! Operations under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Call, Communicator};
use crate::engine::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::pod::OwnedElements;
use crate::runtime::{CollectiveKey, Fault, RecvArgs, RequestKey};

/// What an operation left behind.
pub(super) struct Remains {
    pub(super) envelope: Option<Envelope>,
    pub(super) elements: Option<Box<dyn OwnedElements>>,
}

type Finish<T> = fn(&Communicator, &Call, Remains) -> Result<T>;
type Explain = fn(&Communicator, &Call, Option<&RecvArgs>, Fault) -> Error;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Request(RequestKey),
    Collective(CollectiveKey),
    /// The result was handed out.
    Over,
}

/// A nonblocking operation. It owns its buffer until it is done.
///
/// [`wait`](Self::wait) for it, [`test`](Self::test) it, or `.await` it with any executor. Progress is
/// made in calls to the library; while a task awaits, by a thread of the runtime.
///
/// Dropping it does not undo the operation: a send or a collective goes on by itself; a receive that
/// nothing has matched is cancelled.
#[doc(alias = "MPI_Request")]
#[must_use = "an operation that nobody waits for may never be complete"]
pub struct Pending<T> {
    communicator: Communicator,
    call: Call,
    operation: Operation,
    receives: Option<RecvArgs>,
    finish: Finish<T>,
    explain: Explain,
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("operation", &self.call.operation)
            .field("begun_at", &self.call.site)
            .finish_non_exhaustive()
    }
}

impl<T> Pending<T> {
    pub(super) fn request(
        communicator: &Communicator,
        call: Call,
        key: RequestKey,
        receives: Option<RecvArgs>,
        finish: Finish<T>,
        explain: Explain,
    ) -> Self {
        let operation = Operation::Request(key);
        Self {
            communicator: communicator.clone(),
            call,
            operation,
            receives,
            finish,
            explain,
        }
    }

    pub(super) fn collective(
        communicator: &Communicator,
        call: Call,
        key: CollectiveKey,
        finish: Finish<T>,
    ) -> Self {
        let operation = Operation::Collective(key);
        let explain: Explain = |communicator, call, _, fault| communicator.error(call, fault, "");
        let receives = None;
        Self {
            communicator: communicator.clone(),
            call,
            operation,
            receives,
            finish,
            explain,
        }
    }

    /// Waits until the operation is done and gives its result, and the buffer with it.
    ///
    /// # Errors
    ///
    /// Those of the blocking operation. The time limit of the communicator counts from here.
    #[doc(alias = "MPI_Wait")]
    pub fn wait(mut self) -> Result<T> {
        let runtime = &self.communicator.inner.runtime;
        let begun = std::time::Instant::now();
        let errand = self.communicator.errand(&Call { begun, ..self.call });
        let outcome = match self.operation {
            Operation::Request(key) => runtime.wait_request(key, errand).map(Some),
            Operation::Collective(key) => runtime.wait_collective(key, errand).map(|()| None),
            Operation::Over => return Err(self.over()),
        };
        self.conclude(outcome)
    }

    /// Looks whether the operation is done, and gives its result if so. Afterwards there is nothing
    /// left to wait for.
    ///
    /// # Errors
    ///
    /// Those of the blocking operation; when the result was given before.
    #[doc(alias = "MPI_Test")]
    pub fn test(&mut self) -> Result<Option<T>> {
        let runtime = &self.communicator.inner.runtime;
        let outcome = match self.operation {
            Operation::Request(key) => runtime.test_request(key).map(|it| it.map(Some)),
            Operation::Collective(key) => runtime.test_collective(key).map(|it| it.map(|()| None)),
            Operation::Over => return Err(self.over()),
        };
        outcome.map(|outcome| self.conclude(outcome)).transpose()
    }

    /// Withdraws the operation as far as that is possible: `true` for a receive that nothing has
    /// matched. Otherwise the operation goes on and can be waited for.
    #[doc(alias = "MPI_Cancel")]
    pub fn cancel(&mut self) -> bool {
        let Operation::Request(key) = self.operation else {
            return false;
        };
        let cancelled = self.communicator.inner.runtime.cancel_request(key);
        if cancelled {
            self.operation = Operation::Over;
        }
        cancelled
    }

    fn conclude(&mut self, outcome: Result<Option<Envelope>, Fault>) -> Result<T> {
        let runtime = &self.communicator.inner.runtime;
        let elements = match std::mem::replace(&mut self.operation, Operation::Over) {
            Operation::Request(key) => runtime.take_request(key),
            Operation::Collective(key) => runtime.take_collective(key),
            Operation::Over => None,
        };
        match outcome {
            Ok(envelope) => (self.finish)(
                &self.communicator,
                &self.call,
                Remains { envelope, elements },
            ),
            Err(fault) => Err((self.explain)(
                &self.communicator,
                &self.call,
                self.receives.as_ref(),
                fault,
            )),
        }
    }

    fn over(&self) -> Error {
        let reason = "the operation is over: its result was given, or it was cancelled".into();
        let kind = ErrorKind::InvalidArgument { reason };
        Error::new(kind, self.call.operation).at(self.call.site)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let runtime = &this.communicator.inner.runtime;
        let outcome = match this.operation {
            Operation::Request(key) => runtime
                .poll_request(key, context.waker())
                .map(|it| it.map(Some)),
            Operation::Collective(key) => runtime
                .poll_collective(key, context.waker())
                .map(|it| it.map(|()| None)),
            Operation::Over => return Poll::Ready(Err(this.over())),
        };
        match outcome {
            Some(outcome) => Poll::Ready(this.conclude(outcome)),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        let runtime = &self.communicator.inner.runtime;
        match self.operation {
            Operation::Request(key) => runtime.forget_request(key),
            Operation::Collective(key) => runtime.forget_collective(key),
            Operation::Over => {}
        }
    }
}
