//! Operations under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

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
enum Key {
    Request(RequestKey),
    Collective(CollectiveKey),
}

/// An operation with a place on a table of the runtime.
struct Begun<T> {
    communicator: Communicator,
    /// `None` when it was taken off the table.
    key: Option<Key>,
    receives: Option<RecvArgs>,
    finish: Finish<T>,
    explain: Explain,
}

enum State<T> {
    Begun(Begun<T>),
    /// It was done when it was begun.
    Done(T),
    /// The result was handed out, or the operation withdrawn.
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
    call: Call,
    state: State<T>,
}

// Nothing in it is ever pinned.
impl<T> Unpin for Pending<T> {}

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
        let state = State::Begun(Begun {
            communicator: communicator.clone(),
            key: Some(Key::Request(key)),
            receives,
            finish,
            explain,
        });
        Self { call, state }
    }

    pub(super) fn collective(
        communicator: &Communicator,
        call: Call,
        key: CollectiveKey,
        finish: Finish<T>,
    ) -> Self {
        let state = State::Begun(Begun {
            communicator: communicator.clone(),
            key: Some(Key::Collective(key)),
            receives: None,
            finish,
            explain: |communicator, call, _, fault| communicator.error(call, fault, ""),
        });
        Self { call, state }
    }

    /// An operation that was done at once.
    pub(super) const fn done(call: Call, result: T) -> Self {
        let state = State::Done(result);
        Self { call, state }
    }

    /// Waits until the operation is done and gives its result, and the buffer with it.
    ///
    /// # Errors
    ///
    /// Those of the blocking operation. The time limit of the communicator counts from here.
    #[doc(alias = "MPI_Wait")]
    pub fn wait(mut self) -> Result<T> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begun(begun) => begun.wait(&self.call),
            State::Done(result) => Ok(result),
            State::Over => Err(self.over()),
        }
    }

    /// Looks whether the operation is done, and gives its result if so. Afterwards there is nothing
    /// left to wait for.
    ///
    /// # Errors
    ///
    /// Those of the blocking operation; when the result was given before.
    #[doc(alias = "MPI_Test")]
    pub fn test(&mut self) -> Result<Option<T>> {
        let looked = match &mut self.state {
            State::Begun(begun) => begun.test(&self.call),
            State::Done(_) => None,
            State::Over => return Err(self.over()),
        };
        self.advance(looked).transpose()
    }

    /// Withdraws the operation as far as that is possible: `true` for a receive that nothing has
    /// matched. Otherwise the operation goes on and can be waited for.
    #[doc(alias = "MPI_Cancel")]
    pub fn cancel(&mut self) -> bool {
        let State::Begun(begun) = &mut self.state else {
            return false;
        };
        let cancelled = begun.cancel();
        if cancelled {
            self.state = State::Over;
        }
        cancelled
    }

    /// Hands out what is there after a look.
    fn advance(&mut self, looked: Option<Result<T>>) -> Option<Result<T>> {
        if let (State::Begun(_), None) = (&self.state, &looked) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Done(result) => Some(Ok(result)),
            State::Begun(_) | State::Over => looked,
        }
    }

    fn over(&self) -> Error {
        let reason = "the operation is over: its result was given, or it was cancelled".into();
        let kind = ErrorKind::InvalidArgument { reason };
        Error::new(kind, self.call.operation).at(self.call.site)
    }
}

impl<T> Begun<T> {
    fn wait(mut self, call: &Call) -> Result<T> {
        let runtime = &self.communicator.inner.runtime;
        if let Some(Key::Request(key)) = self.key {
            if let Some((outcome, elements)) = runtime.finish_request(key) {
                self.key = None;
                return self.result(call, outcome.map(Some), elements);
            }
        }
        let begun = Some(Instant::now());
        let call = Call { begun, ..*call };
        let errand = self.communicator.errand(&call);
        let outcome = match self.key {
            Some(Key::Request(key)) => runtime.wait_request(key, errand).map(Some),
            Some(Key::Collective(key)) => runtime.wait_collective(key, errand).map(|()| None),
            None => Ok(None),
        };
        self.conclude(&call, outcome)
    }

    fn test(&mut self, call: &Call) -> Option<Result<T>> {
        let runtime = &self.communicator.inner.runtime;
        let outcome = match self.key? {
            Key::Request(key) => runtime.test_request(key)?.map(Some),
            Key::Collective(key) => runtime.test_collective(key)?.map(|()| None),
        };
        Some(self.conclude(call, outcome))
    }

    fn poll(&mut self, call: &Call, context: &Context<'_>) -> Option<Result<T>> {
        let (runtime, waker) = (&self.communicator.inner.runtime, context.waker());
        let outcome = match self.key? {
            Key::Request(key) => runtime.poll_request(key, waker)?.map(Some),
            Key::Collective(key) => runtime.poll_collective(key, waker)?.map(|()| None),
        };
        Some(self.conclude(call, outcome))
    }

    fn cancel(&mut self) -> bool {
        let Some(Key::Request(key)) = self.key else {
            return false;
        };
        let cancelled = self.communicator.inner.runtime.cancel_request(key);
        if cancelled {
            self.key = None;
        }
        cancelled
    }

    /// Takes the operation off its table.
    fn conclude(&mut self, call: &Call, outcome: Result<Option<Envelope>, Fault>) -> Result<T> {
        let runtime = &self.communicator.inner.runtime;
        let elements = match self.key.take() {
            Some(Key::Request(key)) => runtime.take_request(key),
            Some(Key::Collective(key)) => runtime.take_collective(key),
            None => None,
        };
        self.result(call, outcome, elements)
    }

    fn result(
        &self,
        call: &Call,
        outcome: Result<Option<Envelope>, Fault>,
        elements: Option<Box<dyn OwnedElements>>,
    ) -> Result<T> {
        let communicator = &self.communicator;
        match outcome {
            Ok(envelope) => (self.finish)(communicator, call, Remains { envelope, elements }),
            Err(fault) => Err((self.explain)(
                communicator,
                call,
                self.receives.as_ref(),
                fault,
            )),
        }
    }
}

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        let runtime = &self.communicator.inner.runtime;
        match self.key {
            Some(Key::Request(key)) => runtime.forget_request(key),
            Some(Key::Collective(key)) => runtime.forget_collective(key),
            None => {}
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let looked = match &mut this.state {
            State::Begun(begun) => begun.poll(&this.call, context),
            State::Done(_) => None,
            State::Over => return Poll::Ready(Err(this.over())),
        };
        match this.advance(looked) {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        }
    }
}
