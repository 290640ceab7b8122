//! Waiting for a fabric, and waking whoever waits.
//!
//! # Roles
//!
//! One [`Hub`] per rank is shared by its fabric, its [`Waiter`], its [`Waker`]s and, between threads
//! of one process, by all who put something into its mailbox.
//!
//! * `poll`: the operating system's readiness. Held by the waiter while it sleeps, and for a moment
//!   by a turn that looks for news without sleeping.
//! * `events`: readiness found by either, until the next turn takes it. Readiness is edge-triggered:
//!   an event that is thrown away never comes again, hence this queue, which any thread's turn empties.
//! * `pending`: there is something to do. Set after the thing itself was put where a turn finds it,
//!   cleared by a turn before it looks.
//! * `woken`: somebody asked for one return from `wait`; cleared by `wait` alone.
//! * `parked`: somebody sleeps or is about to.
//!
//! # No wake-up is lost
//!
//! Who brings news sets `pending` or `woken`, then reads `parked`; who goes to sleep sets `parked`, then
//! reads `pending` and `woken`. All four are sequentially consistent, so at least one of the two sees
//! the other: either the sleeper does not go to sleep, or the other wakes it. Only then is there a
//! system call.
//!
//! # Where a rank sleeps
//!
//! * With links between threads or sockets alone: in the poll, and `waker` wakes it.
//! * With shared memory alone: on its parking word there. Others of the host wake it by its word, without
//!   any descriptor.
//! * With both ([`Hub::in_poll`]): in the poll, which hears a datagram socket of its own as well. It says so in the parking
//!   word, so that others of the host know that they have to call (see [`bell`](crate::base::bell)). Threads of
//!   this process use `waker`. Before it polls it has looked at the doorbell, behind the word; what comes
//!   later finds the word, and its datagram ends the poll even when it was sent before the poll began. Sockets and
//!   control source need no word: their readiness waits in the poll. A caller that is killed between taking the word back and
//!   the call leaves a rank asleep that nobody wakes: it looks by itself every
//!   [`SHARED_SLEEP_MILLIS_MAX`], in either place.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use mio::net::UnixDatagram;
use mio::{Events, Interest, Poll, Registry, Token};

use super::shm::Segment;
use crate::base::bell::Asleep;
use crate::limits::SHARED_SLEEP_MILLIS_MAX;

/// Tokens: peers are their rank; the rest lies above every possible rank.
pub(super) const WAKE: Token = Token(usize::MAX);
pub(super) const CONTROL: Token = Token(usize::MAX - 1);
/// Far from what sockets listen at, which counts down from the end.
const CALLED: Token = Token(usize::MAX / 2);

const EVENTS_PER_POLL: usize = 128;

/// What the operating system said about one token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) token: Token,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The other side has closed: there will be no further event.
    pub(super) closed: bool,
}

struct Poller {
    poll: Poll,
    events: Events,
}

/// What a rank's fabric, waiter and wakers share.
pub(super) struct Hub {
    poller: Mutex<Poller>,
    registry: Registry,
    waker: mio::Waker,
    events: Mutex<Vec<Event>>,
    pending: AtomicBool,
    woken: AtomicBool,
    parked: AtomicBool,
    /// Where this rank sleeps when others reach it through shared memory.
    berth: Option<Berth>,
    /// What others of the host call, when this rank sleeps in the poll all the same.
    calls: Option<UnixDatagram>,
}

/// A rank's place in the memory that it shares with others.
#[derive(Debug)]
pub(super) struct Berth {
    pub(super) segment: Arc<Segment>,
    pub(super) me: usize,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("pending", &self.pending)
            .field("parked", &self.parked)
            .finish_non_exhaustive()
    }
}

/// A lock whose data stay sound when a holder panicked: every critical section here is a few moves.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Self::with(None, None)
    }

    /// A hub that sleeps in shared memory.
    pub(super) fn in_berth(berth: Berth) -> io::Result<Arc<Self>> {
        Self::with(Some(berth), None)
    }

    /// A hub of a rank that others reach through shared memory, but that sleeps in the poll, because it has
    /// sockets too.
    pub(super) fn in_poll(berth: Berth) -> io::Result<Arc<Self>> {
        let calls = berth.segment.hear_calls(berth.me)?;
        Self::with(Some(berth), Some(calls))
    }

    fn with(berth: Option<Berth>, mut calls: Option<UnixDatagram>) -> io::Result<Arc<Self>> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKE)?;
        if let Some(calls) = &mut calls {
            registry.register(calls, CALLED, Interest::READABLE)?;
        }
        Ok(Arc::new(Self {
            poller: Mutex::new(Poller {
                poll,
                events: Events::with_capacity(EVENTS_PER_POLL),
            }),
            registry,
            waker,
            events: Mutex::default(),
            pending: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            berth,
            calls,
        }))
    }

    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// There is something for the next turn: call after putting it where the turn finds it.
    pub(super) fn notify(&self) {
        self.pending.store(true, SeqCst);
        self.unpark();
    }

    /// Whether there may be something to do; the turn must look for it after this call.
    pub(super) fn take_pending(&self) -> bool {
        self.pending.load(SeqCst) && self.pending.swap(false, SeqCst)
    }

    /// Moves the events that were found so far to the end of `into`.
    pub(super) fn take_events(&self, into: &mut Vec<Event>) {
        into.append(&mut lock(&self.events));
    }

    /// Looks for events without sleeping. `false` when another thread is about to sleep, or sleeps, and
    /// would find them.
    pub(super) fn look(&self) -> io::Result<bool> {
        let mut poller = match self.poller.try_lock() {
            Ok(poller) => poller,
            Err(TryLockError::Poisoned(poller)) => poller.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        self.poll(&mut poller, Some(Duration::ZERO))?;
        Ok(true)
    }

    fn unpark(&self) {
        if self.parked.load(SeqCst) && self.parked.swap(false, SeqCst) {
            if let (Some(berth), None) = (&self.berth, &self.calls) {
                berth.segment.rouse(berth.me);
                return;
            }
            // An eventfd or a user event of kqueue: a wake-up that cannot be written because the
            // counter is full is there already.
            if let Err(error) = self.waker.wake() {
                tracing::warn!(%error, "cannot wake a waiting thread");
            }
        }
    }

    fn poll(&self, poller: &mut Poller, timeout: Option<Duration>) -> io::Result<()> {
        match poller.poll.poll(&mut poller.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let mut found = false;
        let mut queue = lock(&self.events);
        for event in poller.events.iter().filter(|event| event.token() != WAKE) {
            if event.token() == CALLED {
                self.forget_calls();
                continue;
            }
            found = true;
            queue.push(Event {
                token: event.token(),
                readable: event.is_readable(),
                writable: event.is_writable(),
                closed: event.is_read_closed() || event.is_error(),
            });
        }
        drop(queue);
        if found {
            self.pending.store(true, SeqCst);
        }
        Ok(())
    }

    /// The doorbell says what the calls were about.
    fn forget_calls(&self) {
        let mut nothing = [0; 1];
        while self
            .calls
            .as_ref()
            .is_some_and(|calls| calls.recv(&mut nothing).is_ok())
        {}
    }

    fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut poller = lock(&self.poller);
        self.parked.store(true, SeqCst);
        if let Some(berth) = &self.berth {
            let place = match self.calls {
                Some(_) => Asleep::InPoll,
                None => Asleep::OnWord,
            };
            berth.segment.lie_down(berth.me, place);
        }
        let news = self.woken.swap(false, SeqCst) || self.pending.load(SeqCst);
        let result = match &self.berth {
            _ if news => Ok(()),
            None => self.poll(&mut poller, timeout),
            Some(berth) => self.sleep(berth, timeout, &mut poller),
        };
        if let Some(berth) = &self.berth {
            berth.segment.get_up(berth.me);
        }
        self.parked.store(false, SeqCst);
        self.woken.store(false, SeqCst);
        result
    }
}

impl Hub {
    fn sleep(
        &self,
        berth: &Berth,
        timeout: Option<Duration>,
        poller: &mut Poller,
    ) -> io::Result<()> {
        if berth.segment.is_called(berth.me) {
            return Ok(());
        }
        let most = Duration::from_millis(SHARED_SLEEP_MILLIS_MAX);
        let limit = timeout.map_or(most, |timeout| timeout.min(most));
        if self.calls.is_some() {
            return self.poll(poller, Some(limit));
        }
        let begin = Instant::now();
        berth.segment.sleep(berth.me, Some(limit));
        if begin.elapsed() >= limit.min(Duration::from_millis(100)) {
            // The daemon rings after it has written; its end rings no bell.
            self.poll(poller, Some(Duration::ZERO))?;
        }
        Ok(())
    }
}

/// Sleeps until its fabric has something to do.
///
/// It does not hold the fabric: one thread may sleep here while others send or make progress.
#[derive(Debug)]
pub struct Waiter {
    pub(super) hub: Arc<Hub>,
}

impl Waiter {
    /// Sleeps until there may be something for [`Fabric::progress`](super::Fabric::progress), a
    /// [`Waker`] says so, a signal arrives, or `timeout` has passed (`None`: no limit). It returns at once
    /// when there is something already. It may return without cause.
    ///
    /// Choose `timeout` no longer than the time to [`Fabric::next_deadline`](super::Fabric::next_deadline).
    ///
    /// # Errors
    ///
    /// When the operating system cannot poll.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.hub.wait(timeout)
    }
}

/// Makes the current call of [`Waiter::wait`] return, or the next one if there is none.
#[derive(Clone, Debug)]
pub struct Waker {
    pub(super) hub: Arc<Hub>,
}

impl Waker {
    /// Wakes the waiter. A system call only if it sleeps.
    pub fn wake(&self) {
        self.hub.woken.store(true, SeqCst);
        self.hub.unpark();
    }
}
