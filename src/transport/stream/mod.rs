//! Links through sockets: Unix within a host, TCP between hosts; one implementation for both.
//!
//! # The state of a link
//!
//! ```text
//!            first frame                 Hello written             Proof written
//!   Idle ----------------> waiting ----------------> greeting ----------------> Open --> Ended
//!    ^                     (address, pause,              |  refused: pause        ^
//!    |                      connect)  <------------------+                        |
//!    +--- the peer's own connection was granted (below) --- its Proof is right ---+
//! ```
//!
//! # Two connections at once
//!
//! Both sides may open a connection at the same moment; one must stay, and no frame may be lost or
//! doubled. Frames are only written to a connection whose handshake is complete, so it suffices that
//! at most one handshake of a pair completes. The lower rank L decides alone. When a valid `Hello`
//! of the higher rank H reaches L, then L
//!
//! 1. has an open connection to H: `Duplicate`;
//! 2. has written its own `Hello` to H and waits: `Yield`. H drops its attempt and tries again after a
//!    pause, unless L's connection completes first, as it will;
//! 3. else drops what it has prepared (an address lookup, a connection on its way, which bears no
//!    `Hello` yet and so can never complete) and grants H's connection. It does not try again by itself
//!    before the granted one has broken, however long H takes to answer.
//!
//! H grants every `Hello` of L, unless it has an open connection, and goes on with its own attempt,
//! which L will refuse (2). So L never has both an attempt with a `Hello` and a grant; a handshake
//! that L started completes only if L did not grant, and one that H started only if L granted. A
//! connection that breaks before it is complete carried no frame: the attempt starts again, and a new
//! `Hello` of a rank replaces its older one. That L tries while H can reach it but not the other way
//! round is case 3: the connection that works wins.
//!
//! # Nothing left behind
//!
//! On Linux Unix sockets have *abstract* names: they live in the kernel and vanish with the last
//! descriptor, so that no file stays behind, whoever was killed. They have no permissions either,
//! therefore names hold 128 bits derived from the job's secret, the user of the other process is
//! checked (`SO_PEERCRED`), and the handshake is the same as for TCP. They are visible only within one
//! network namespace; containers without a common one count as different hosts. On other
//! systems the socket is a file in a directory that only the user can enter.
//!
//! # The end
//!
//! After the farewell a socket is closed when the peer's *kernel* has everything; the peer's program
//! need not move. On Unix sockets that is the case once it is written: what lies in the peer's
//! receive queue stays readable; only behind it does `ECONNRESET` instead of an end show up if we left
//! something unread (checked on Linux 6.18). On TCP closing early, or with unread bytes, sends a reset
//! which destroys what the peer has not acknowledged: so the stream is shut down, arriving
//! bytes are read and thrown away, and the socket is closed when nothing is unacknowledged
//! (`SIOCOUTQ`), or the peer has closed. Whoever fails to write does not call the connection broken
//! before having read to its end: a farewell may lie there.

mod accept;
mod cipher;
mod config;
mod dial;
mod door;
#[cfg(fuzzing)]
pub mod fuzzing;
mod greet;
mod leave;
mod link;
mod names;
mod outbox;
mod session;
mod socket;
mod write;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::faulty::Plan;
use super::inbox::Rules;
use super::waiter::{Event, Hub};
use super::{Lost, Sink, traced};
use crate::base::ids::Peer;
use crate::limits::{HOT_MISSES_MAX, HOT_PEERS_MAX, STREAM_READ_BYTES, TURN_PEERS_MAX};
use crate::wire::handshake::Identity;
pub use config::{Route, SocketsConfig};
use door::Door;
use leave::Closing;
use link::{Link, State};
use outbox::Spare;

/// The links of one rank to its peers.
pub(super) struct Sockets {
    me: Identity,
    hub: Arc<Hub>,
    route: Box<dyn Fn(Peer) -> Route + Send + Sync>,
    encrypt: bool,
    start_limit: Option<Duration>,
    reconnect: Duration,
    faults: Option<Plan>,
    door: Door,
    links: FxHashMap<Peer, Box<Link>>,
    /// Links with something to do.
    active: VecDeque<Peer>,
    /// Links from which something came recently: read without waiting for an event.
    hot: Vec<Peer>,
    /// Links that wait for a time.
    timed: Vec<Peer>,
    /// No later than the earliest of all times waited for.
    due: Option<Instant>,
    closing: Vec<Closing>,
    staging: Box<[u8]>,
    spare: Spare,
    /// Links whose payloads are lent after they were written.
    lenders: Vec<Peer>,
    leaving: bool,
    /// Frames wait for others that follow at once,
    holding: bool,
    /// and that to these peers.
    held: Vec<Peer>,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets")
            .field("links", &self.links)
            .field("due", &self.due)
            .field("leaving", &self.leaving)
            .finish_non_exhaustive()
    }
}

impl Sockets {
    pub(super) fn new(config: SocketsConfig, hub: Arc<Hub>) -> io::Result<Self> {
        let me = Identity {
            job: config.job,
            secret: config.secret,
            epoch: config.epoch,
            rank: config.rank,
            size: config.size,
        };
        let others = || (0..me.size).map(Peer).filter(|peer| *peer != me.rank);
        let unix = others().any(|peer| (config.route)(peer) == Route::Unix);
        let tcp = others().any(|peer| (config.route)(peer) == Route::Tcp);
        let listen = if tcp { &config.listen[..] } else { &[] };
        let door = Door::open(&me, unix, listen, config.ports, hub.registry())?;
        Ok(Self {
            me,
            hub,
            route: config.route,
            encrypt: config.encrypt,
            start_limit: config.start_limit,
            reconnect: config.reconnect,
            faults: config.faults.map(Plan::new),
            door,
            links: FxHashMap::default(),
            active: VecDeque::new(),
            hot: Vec::with_capacity(HOT_PEERS_MAX),
            timed: Vec::new(),
            due: None,
            closing: Vec::new(),
            staging: vec![0; STREAM_READ_BYTES].into(),
            spare: Spare::default(),
            lenders: Vec::new(),
            leaving: false,
            holding: false,
            held: Vec::new(),
        })
    }

    pub(super) fn route_name(&self, peer: Peer) -> &'static str {
        match (self.route)(peer) {
            Route::Unix => "unix",
            Route::Tcp => "tcp",
        }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.door.addresses()
    }

    pub(super) fn is_hot(&self) -> bool {
        !self.hot.is_empty()
    }

    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.links.values().any(|link| link.has_unsent())
    }

    /// Frames to and from each peer.
    pub(super) fn traffic(&self) -> Vec<(Peer, u64, u64)> {
        let links = self.links.values();
        links
            .map(|link| (link.peer, link.frames, link.inbox.frames))
            .collect()
    }

    /// One turn. Gives whether anything moved, and whether something is left for the next one.
    pub(super) fn progress(
        &mut self,
        events: &mut Vec<Event>,
        now: Instant,
        sink: &mut impl Sink,
    ) -> (bool, bool) {
        let mut moved = false;
        if self.faults.is_some() {
            self.reset_on_purpose(now);
        }
        for event in events.drain(..) {
            moved |= self.event(event, now, sink);
        }
        if self.due.is_some_and(|due| due <= now) {
            moved |= self.on_time(now, sink);
        }
        if self.door.may_accept() {
            moved |= self.accept(now, sink);
        }
        let mut index = 0;
        while let Some(&peer) = self.hot.get(index) {
            moved |= self.serve(peer, true, sink);
            index += usize::from(self.hot.get(index) == Some(&peer));
        }
        for _ in 0..self.active.len().min(TURN_PEERS_MAX) {
            let Some(peer) = self.active.pop_front() else {
                break;
            };
            if let Some(link) = self.links.get_mut(&peer) {
                link.active = false;
                moved |= self.serve(peer, false, sink);
            }
        }
        (moved, !self.active.is_empty() || self.door.may_accept())
    }

    fn event(&mut self, event: Event, now: Instant, sink: &mut impl Sink) -> bool {
        if self.door.knows(event.token) {
            return self.door_event(event.token, now, sink);
        }
        let Ok(peer) = u32::try_from(event.token.0).map(Peer) else {
            return false;
        };
        let Some(link) = self.links.get_mut(&peer) else {
            return false;
        };
        match &mut link.state {
            State::Open(_) => {
                link.readable |= event.readable || event.closed;
                link.ending |= event.closed;
                link.blocked &= !event.writable;
                self.activate(peer);
                false
            }
            State::Dialing(_) => self.dial_event(peer, now, sink),
            State::Idle | State::Ended => {
                self.close_what_can_be(now, sink);
                false
            }
        }
    }

    /// Reads from and writes to one peer.
    fn serve(&mut self, peer: Peer, hot: bool, sink: &mut impl Sink) -> bool {
        let Some(link) = self.links.get_mut(&peer) else {
            return false;
        };
        let rules = Rules {
            peer,
            epoch: self.me.epoch,
            deaf: self.leaving,
        };
        let mut moved = false;
        // What the last turn has read, and no frame has taken along since.
        if link.owes() && matches!(link.state, State::Open(_)) {
            let owed = link.acknowledgement(self.me.epoch, self.me.rank);
            link.outbox.push_first(&owed);
        }
        if hot || link.readable {
            match link.receive(&mut self.staging, &mut self.spare, &rules, sink) {
                Ok(true) => {
                    moved = true;
                    link.misses = 0;
                    if !hot && !self.hot.contains(&peer) {
                        if self.hot.len() == HOT_PEERS_MAX {
                            self.hot.remove(0);
                        }
                        self.hot.push(peer);
                    }
                }
                Ok(false) => {
                    link.misses += 1;
                    if hot && link.misses > HOT_MISSES_MAX {
                        self.hot.retain(|other| *other != peer);
                    }
                }
                Err(why) => {
                    self.stream_over(peer, why, sink);
                    return true;
                }
            }
        }
        moved | self.write_out(peer, sink)
    }

    fn activate(&mut self, peer: Peer) {
        if let Some(link) = self.links.get_mut(&peer) {
            if !std::mem::replace(&mut link.active, true) {
                self.active.push_back(peer);
            }
        }
    }

    /// `on_time` is called at `when` or earlier.
    fn at(&mut self, when: Instant) {
        self.due = Some(self.due.map_or(when, |due| due.min(when)));
    }

    /// `tick` is called for this link at `when` or earlier.
    fn link_at(&mut self, peer: Peer, when: Instant) {
        self.at(when);
        if let Some(link) = self.links.get_mut(&peer) {
            if !std::mem::replace(&mut link.timed, true) {
                self.timed.push(peer);
            }
        }
    }

    fn on_time(&mut self, now: Instant, sink: &mut impl Sink) -> bool {
        self.due = None;
        let mut moved = self.door_on_time(now);
        self.close_what_can_be(now, sink);
        for peer in std::mem::take(&mut self.timed) {
            if let Some(link) = self.links.get_mut(&peer) {
                link.timed = false;
                moved |= self.tick(peer, now, sink);
            }
        }
        moved
    }

    /// The connection to a peer, or the attempt to make one, has ended for good.
    fn end(&mut self, peer: Peer, why: Lost, sink: &mut impl Sink) {
        let link = self.links.entry(peer).or_insert_with(|| Link::new(peer));
        let was_open = match std::mem::replace(&mut link.state, State::Ended) {
            State::Ended => return,
            State::Open(_) => true,
            State::Idle | State::Dialing(_) => false,
        };
        if was_open {
            self.hot.retain(|other| *other != peer);
        }
        link.outbox.give_up(peer, sink);
        link.session.broken = None;
        self.door.forget(peer);
        traced::lost(peer, &why);
        sink.lost(peer, why);
    }

    /// The launcher says that the peer's process has ended.
    pub(super) fn gone(&mut self, peer: Peer, reason: &str) {
        self.closing.retain(|closing| closing.peer != peer);
        let until = Instant::now() + Duration::from_millis(crate::limits::VERDICT_MILLIS_MAX);
        let granted = self.door.has_granted(peer);
        let link = self.links.entry(peer).or_insert_with(|| Link::new(peer));
        let when = match link.state {
            State::Ended => return,
            State::Open(_) => {
                link.readable = true;
                until
            }
            // It may have proved itself, sent everything and left since: that is still to be read.
            State::Idle | State::Dialing(_) if granted => until,
            State::Idle | State::Dialing(_) => Instant::now(),
        };
        link.gone = Some(Box::new((Lost::Broken(reason.into()), until)));
        self.activate(peer);
        self.link_at(peer, when);
    }

    pub(super) fn die(&mut self, sink: &mut impl Sink) {
        self.leaving = true;
        self.door.close();
        self.closing.clear();
        self.hot.clear();
        for link in self.links.values_mut() {
            link.state = State::Ended;
            link.outbox.give_up(link.peer, sink);
        }
    }
}
