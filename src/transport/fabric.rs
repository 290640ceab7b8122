//! One rank's view of all others.

mod direct;
mod ending;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Interest;

use super::mixed::Mixed;
use super::parcel::{Body, Parcel};
use super::shm::cells::Area;
use super::shm::{Shared, SharedConfig};
use super::stream::{Sockets, SocketsConfig};
use super::threads::Threads;
use super::waiter::{Berth, CONTROL, Event, Hub, Waiter, Waker};
use super::{Lost, Payload, Sink, traced};
use crate::base::ids::{Epoch, Peer};
use crate::limits::{CONTROL_LOOK_MILLIS, TURN_FRAMES_MAX, TURNS_PER_POLL};
use crate::wire::header::Header;

/// What one turn found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Something arrived, left, or changed: another turn may find more.
    pub moved: bool,
    /// The control source has become readable: read it until it would block. Told once.
    pub control: bool,
}

#[derive(Debug)]
enum Links {
    Threads(Threads),
    Sockets(Box<Sockets>),
    Shared(Box<Shared>),
    Mixed(Box<Mixed>),
}

/// One rank's links to all ranks of the job, itself included.
///
/// See the [module](super) for what holds for all of them.
#[derive(Debug)]
pub struct Fabric {
    rank: Peer,
    size: u32,
    epoch: Epoch,
    hub: Arc<Hub>,
    own: VecDeque<Parcel>,
    own_lost: bool,
    links: Links,
    events: Vec<Event>,
    watches_control: bool,
    /// When ranks that share memory looked last whether the control source is still there.
    looked: Option<Instant>,
    turns: u32,
}

impl Fabric {
    /// The fabrics of `size` ranks that are threads of this process.
    ///
    /// # Errors
    ///
    /// When the operating system has no descriptors left.
    pub fn threads(size: u32) -> io::Result<Vec<(Self, Waiter)>> {
        let hubs = (0..size)
            .map(|_| Hub::new())
            .collect::<io::Result<Vec<_>>>()?;
        let links = Threads::all(&hubs).into_iter().map(Links::Threads);
        let ranks = (0..).map(Peer);
        Ok(ranks
            .zip(links.zip(hubs))
            .map(|(rank, (links, hub))| Self::new(rank, size, Epoch(0), hub, links))
            .collect())
    }

    /// The fabric of a rank that is a process and reaches the others through sockets. It listens
    /// when this returns.
    ///
    /// # Errors
    ///
    /// When it cannot listen, or the operating system has no descriptors left.
    pub fn sockets(config: SocketsConfig) -> io::Result<(Self, Waiter)> {
        let hub = Hub::new()?;
        let (rank, size, epoch) = (config.rank, config.size, config.epoch);
        let links = Links::Sockets(Box::new(Sockets::new(config, hub.clone())?));
        Ok(Self::new(rank, size, epoch, hub, links))
    }

    /// The fabric of a rank that is a process and shares memory with all others, which run on the same
    /// host.
    ///
    /// # Errors
    ///
    /// When the memory was made for other ranks, or the operating system has no descriptors left.
    pub fn shared(config: SharedConfig) -> io::Result<(Self, Waiter)> {
        let (rank, size, epoch) = (config.rank, config.size, config.epoch);
        let shared = Shared::new(config).map_err(io::Error::other)?;
        let hub = Hub::in_berth(Berth {
            segment: Arc::clone(shared.segment()),
            me: shared.me(),
        })?;
        let links = Links::Shared(Box::new(shared));
        Ok(Self::new(rank, size, epoch, hub, links))
    }

    /// The fabric of a rank that is a process, shares memory with those of its host, and reaches the others
    /// through sockets. It listens when this returns. Of ranks of its host `sockets.route` is not asked.
    ///
    /// # Errors
    ///
    /// When the memory was made for other ranks, it cannot listen, or the operating system has no descriptors
    /// left.
    pub fn mixed(shared: SharedConfig, sockets: SocketsConfig) -> io::Result<(Self, Waiter)> {
        let (rank, size, epoch) = (sockets.rank, sockets.size, sockets.epoch);
        let shared = Shared::new(shared).map_err(io::Error::other)?;
        let hub = Hub::in_poll(Berth {
            segment: Arc::clone(shared.segment()),
            me: shared.me(),
        })?;
        let sockets = Sockets::new(sockets, hub.clone())?;
        let links = Links::Mixed(Box::new(Mixed::new(shared, sockets)));
        Ok(Self::new(rank, size, epoch, hub, links))
    }

    fn new(rank: Peer, size: u32, epoch: Epoch, hub: Arc<Hub>, links: Links) -> (Self, Waiter) {
        let waiter = Waiter { hub: hub.clone() };
        let fabric = Self {
            rank,
            size,
            epoch,
            hub,
            own: VecDeque::new(),
            own_lost: false,
            links,
            events: Vec::new(),
            watches_control: false,
            looked: None,
            turns: 0,
        };
        (fabric, waiter)
    }

    /// This rank.
    pub const fn rank(&self) -> Peer {
        self.rank
    }

    /// Number of ranks in the job.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The life of the job; frames of an earlier one are dropped on arrival.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A handle that interrupts the waiter, from any thread.
    pub fn waker(&self) -> Waker {
        Waker {
            hub: self.hub.clone(),
        }
    }

    /// What connects this rank with a peer: `own`, `threads`, `shm`, `unix` or `tcp`.
    pub fn link_name(&self, peer: Peer) -> &'static str {
        match &self.links {
            _ if peer == self.rank => "own",
            Links::Threads(_) => "threads",
            Links::Sockets(sockets) => sockets.route_name(peer),
            Links::Shared(_) => "shm",
            Links::Mixed(mixed) => mixed.link_name(peer),
        }
    }

    /// Where this rank listens for TCP; empty when it does not.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match &self.links {
            Links::Threads(_) | Links::Shared(_) => Vec::new(),
            Links::Sockets(sockets) => sockets.addresses(),
            Links::Mixed(mixed) => mixed.sockets.addresses(),
        }
    }

    /// From now on [`Turn::control`] tells when `source` becomes readable. Edge-triggered: it is told
    /// again only after it was read until it would block. One source at a time; detach it with
    /// [`detach_control`](Self::detach_control) before it is closed.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn attach_control(&mut self, source: &mut impl mio::event::Source) -> io::Result<()> {
        source.register(self.hub.registry(), CONTROL, Interest::READABLE)?;
        self.watches_control = true;
        Ok(())
    }

    /// Ends [`attach_control`](Self::attach_control).
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn detach_control(&mut self, source: &mut impl mio::event::Source) -> io::Result<()> {
        self.watches_control = false;
        source.deregister(self.hub.registry())
    }

    /// Sends a frame: at once if possible, else later, by [`progress`](Self::progress). Never blocks.
    ///
    /// It may call [`Sink::lent`] and [`Sink::sent`], nothing else of the sink.
    ///
    /// # Panics
    ///
    /// When `to` is not a rank of the job, or `payload` does not have `header.payload()` bytes.
    pub fn send(&mut self, to: Peer, header: &Header, payload: Payload<'_>, sink: &mut impl Sink) {
        assert!(to.0 < self.size, "{to} is not one of {} ranks", self.size);
        match payload {
            Payload::None => assert_eq!(header.payload(), 0, "the payload is missing"),
            Payload::Borrowed(bytes) => {
                assert_eq!(
                    header.payload(),
                    bytes.len() as u64,
                    "the payload has another length"
                );
            }
            Payload::Lent { .. } => {}
        }
        traced::leaves(to, header);
        if to == self.rank {
            if self.own_lost {
                Body::queued(header, payload).give_up(to, sink);
                return;
            }
            let parcel = Parcel::copy(to, header, payload, sink);
            self.own.push_back(parcel);
            self.hub.notify();
            return;
        }
        match &mut self.links {
            Links::Threads(threads) => threads.send(to, header, payload, sink),
            Links::Sockets(sockets) => sockets.send(to, header, payload, sink),
            Links::Shared(shared) => shared.send(to, header, payload, sink),
            Links::Mixed(mixed) => mixed.send(to, header, payload, sink),
        }
    }

    /// Several frames follow: they need not be written one by one. [`release`](Self::release) ends it.
    pub fn hold(&mut self) {
        match &mut self.links {
            Links::Threads(_) | Links::Shared(_) => {}
            Links::Sockets(sockets) => sockets.hold(),
            Links::Mixed(mixed) => mixed.sockets.hold(),
        }
    }

    /// What was sent since [`hold`](Self::hold) leaves now.
    pub fn release(&mut self, sink: &mut impl Sink) {
        match &mut self.links {
            Links::Threads(_) | Links::Shared(_) => {}
            Links::Sockets(sockets) => sockets.release(sink),
            Links::Mixed(mixed) => mixed.sockets.release(sink),
        }
    }

    /// One turn: takes what has arrived and writes what was queued, as far as that goes without
    /// blocking, but no more than a bounded amount of work. `now` must not run backwards.
    pub fn progress(&mut self, now: Instant, sink: &mut impl Sink) -> Turn {
        let mut turn = Turn::default();
        let deadline_before = self.next_deadline();
        self.turns = self.turns.wrapping_add(1);
        let asks_now = self.turns % TURNS_PER_POLL == 0;
        match &mut self.links {
            Links::Threads(_) if !(self.watches_control && asks_now) => {}
            Links::Sockets(sockets) if sockets.is_hot() && !asks_now => {}
            Links::Threads(_) | Links::Sockets(_) => {
                self.look();
            }
            Links::Mixed(mixed) => {
                if mixed.is_due(now) {
                    self.look();
                }
            }
            Links::Shared(_) => self.look_for_control(now),
        }
        let news = self.hub.take_pending();
        if news {
            self.hub.take_events(&mut self.events);
            self.events.retain(|event| {
                turn.control |= event.token == CONTROL;
                event.token != CONTROL
            });
        }
        let mut more = self.deliver_own(&mut turn, sink);
        match &mut self.links {
            Links::Threads(threads) => {
                let (moved, left) = threads.progress(news, self.epoch, sink);
                turn.moved |= moved;
                more |= left;
            }
            Links::Sockets(sockets) => {
                let (moved, left) = sockets.progress(&mut self.events, now, sink);
                turn.moved |= moved;
                more |= left;
            }
            Links::Shared(shared) => turn.moved |= shared.progress(sink),
            Links::Mixed(mixed) => {
                let (moved, left) = mixed.progress(&mut self.events, now, sink);
                turn.moved |= moved;
                more |= left;
            }
        }
        self.events.clear();
        let sooner = match (self.next_deadline(), deadline_before) {
            (Some(after), Some(before)) => after < before,
            (after, _) => after.is_some(),
        };
        // Another thread may sleep, with a limit chosen before this turn.
        if more || sooner {
            self.hub.notify();
        }
        turn
    }

    fn look(&self) -> bool {
        self.hub.look().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot poll");
            true
        })
    }

    /// The daemon rings after it has written. Its end rings no bell: even a rank that always has
    /// something to do looks for it now and then.
    fn look_for_control(&mut self, now: Instant) {
        let Links::Shared(shared) = &self.links else {
            return;
        };
        let called = shared.take_control();
        let pause = Duration::from_millis(CONTROL_LOOK_MILLIS);
        let looked = *self.looked.get_or_insert(now);
        let due = now.saturating_duration_since(looked) >= pause;
        if !self.watches_control || !(called || due) {
            return;
        }
        self.looked = Some(now);
        if !self.look() && called {
            // The thread that is about to sleep must not miss it.
            shared.segment().announce_control(shared.me());
        }
    }

    fn deliver_own(&mut self, turn: &mut Turn, sink: &mut impl Sink) -> bool {
        for _ in 0..TURN_FRAMES_MAX {
            let Some(parcel) = self.own.pop_front() else {
                return false;
            };
            turn.moved = true;
            if parcel.header.epoch < self.epoch {
                continue;
            }
            if let Err(text) = parcel.deliver(self.rank, sink) {
                self.own.clear();
                self.own_lost = true;
                sink.lost(self.rank, Lost::Wire(text));
            }
        }
        !self.own.is_empty()
    }

    /// Gives payloads of at most so many bytes back that were lent, are written, and would be read again if the
    /// connection broke: they are copied. `true` when there were any. To be called while somebody waits for them
    /// and a turn has found nothing, with no limit before the [`Waiter`] is used.
    pub fn settle_loans(&mut self, most: u64, sink: &mut impl Sink) -> bool {
        let sockets = match &mut self.links {
            Links::Threads(_) | Links::Shared(_) => return false,
            Links::Sockets(sockets) => sockets,
            Links::Mixed(mixed) => &mut mixed.sockets,
        };
        sockets.has_loans() && sockets.settle_loans(most, sink)
    }

    /// To be called, with nothing done in between, before the [`Waiter`] is used. `false` when there is
    /// something to do after all: call [`progress`](Self::progress) instead.
    pub fn rest(&mut self) -> bool {
        match &mut self.links {
            Links::Threads(_) | Links::Sockets(_) => true,
            Links::Shared(shared) => shared.rest(),
            Links::Mixed(mixed) => mixed.shared.rest(),
        }
    }

    /// To be called now and then while this rank waits: it leaves its processor when another rank of the
    /// host runs there and there are enough for all. `false` when no other rank does, so that there is
    /// nobody to offer it to.
    pub fn step_aside(&mut self, now: Instant) -> bool {
        match &mut self.links {
            Links::Shared(shared) => shared.step_aside(now),
            Links::Mixed(mixed) => mixed.shared.step_aside(now),
            Links::Threads(_) | Links::Sockets(_) => true,
        }
    }

    /// To be called now and then where ranks outnumber cores: a rank too many leaves its processor.
    pub fn spread(&mut self, now: Instant) {
        match &mut self.links {
            Links::Shared(shared) => shared.spread(now),
            Links::Mixed(mixed) => mixed.shared.spread(now),
            Links::Threads(_) | Links::Sockets(_) => {}
        }
    }

    /// Whether more ranks of this host are awake than there are cores, where that is known.
    pub fn is_crowded(&self) -> Option<bool> {
        self.memory().map(|shared| shared.segment().is_crowded())
    }

    /// The links through shared memory, if there are any.
    fn memory(&self) -> Option<&Shared> {
        match &self.links {
            Links::Shared(shared) => Some(shared),
            Links::Mixed(mixed) => Some(&mixed.shared),
            Links::Threads(_) | Links::Sockets(_) => None,
        }
    }

    /// Where all ranks of the job meet for collectives, when they share memory.
    pub(crate) fn world_area(&self) -> Option<Area> {
        self.memory().and_then(Shared::world_area)
    }

    /// Whether this peer may be able to copy long messages straight out of this process's memory: an
    /// announcement then names their address.
    pub fn lends_memory_to(&self, peer: Peer) -> bool {
        let memory = self.memory();
        peer != self.rank && memory.is_some_and(|shared| shared.reaches(peer))
    }

    /// Whether long messages between ranks of this host are copied straight out of their senders' memory.
    pub fn pulls(&self) -> bool {
        self.memory().is_some_and(Shared::pulls)
    }

    /// Tells the others of this host whether this rank waits for something, and so serves them.
    pub fn attend(&mut self, attends: bool) {
        match &mut self.links {
            Links::Shared(shared) => shared.attend(attends),
            Links::Mixed(mixed) => mixed.shared.attend(attends),
            Links::Threads(_) | Links::Sockets(_) => {}
        }
    }

    /// Copies bytes that a peer has announced, from their address in its memory. `false` when that
    /// cannot be done, or it takes the announcement back, or streaming suits better: then they have to be sent.
    pub fn pull(&mut self, from: Peer, address: u64, into: &mut [u8]) -> bool {
        match &mut self.links {
            Links::Shared(shared) => shared.pull(from, address, into),
            Links::Mixed(mixed) if mixed.shared.reaches(from) => {
                mixed.shared.pull(from, address, into)
            }
            Links::Threads(_) | Links::Sockets(_) | Links::Mixed(_) => false,
        }
    }

    /// When [`progress`](Self::progress) must be called even if nothing happens. `None`: never.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.links {
            Links::Threads(_) | Links::Shared(_) => None,
            Links::Sockets(sockets) => sockets.next_deadline(),
            Links::Mixed(mixed) => mixed.sockets.next_deadline(),
        }
    }

    /// Answers [`Sink::lookup`]: where `peer` listens, best first. An empty list counts as unreachable.
    pub fn resolve(&mut self, peer: Peer, addresses: Vec<SocketAddr>) {
        match &mut self.links {
            Links::Sockets(sockets) => sockets.resolve(peer, addresses),
            Links::Mixed(mixed) => mixed.sockets.resolve(peer, addresses),
            Links::Threads(_) | Links::Shared(_) => return,
        }
        self.hub.notify();
    }

    /// Where nothing else tells of the end of a peer's process: looks for processes that have ended. To
    /// be called now and then by a rank that waits for long. `lives` tells of a rank, counted within the host,
    /// whether it is known to live: looking at one takes the system a time that grows with the number of ranks.
    pub fn look_for_dead(&self, lives: impl Fn(usize) -> bool) {
        if let Some(shared) = self.memory() {
            shared.look_for_dead(lives);
        }
    }
}
