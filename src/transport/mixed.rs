//! Links of a rank whose job spans hosts: shared memory to the others of its host, sockets to the rest.
//!
//! Nothing passes between the two: a peer belongs to one of them from the beginning, and each keeps its order. They share
//! the hub, which sleeps in the poll (see [`waiter`](super::waiter)). A look at shared memory is a few loads, a
//! look at the poll is a system call: a turn looks at the first each time, at the second when some
//! microseconds have passed, or the daemon has rung.

use std::time::{Duration, Instant};

use super::shm::Shared;
use super::stream::Sockets;
use super::waiter::Event;
use super::{Payload, Sink};
use crate::base::ids::Peer;
use crate::limits::MIXED_LOOK_MICROS;
use crate::wire::header::Header;

#[derive(Debug)]
pub(super) struct Mixed {
    pub(super) shared: Shared,
    pub(super) sockets: Sockets,
    /// When the poll was looked at last.
    looked: Option<Instant>,
}

impl Mixed {
    pub(super) const fn new(shared: Shared, sockets: Sockets) -> Self {
        Self {
            shared,
            sockets,
            looked: None,
        }
    }

    pub(super) fn link_name(&self, peer: Peer) -> &'static str {
        if self.shared.reaches(peer) {
            "shm"
        } else {
            self.sockets.route_name(peer)
        }
    }

    pub(super) fn send(
        &mut self,
        to: Peer,
        header: &Header,
        payload: Payload<'_>,
        sink: &mut impl Sink,
    ) {
        if self.shared.reaches(to) {
            self.shared.send(to, header, payload, sink);
        } else {
            self.sockets.send(to, header, payload, sink);
        }
    }

    /// Whether it is time to look at the poll.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let pause = Duration::from_micros(MIXED_LOOK_MICROS);
        let called = self.shared.take_control();
        let recent = self
            .looked
            .is_some_and(|last| now.saturating_duration_since(last) < pause);
        if recent && !called {
            return false;
        }
        self.looked = Some(now);
        true
    }

    /// One turn. Gives whether anything moved, and whether something is left for the next one.
    pub(super) fn progress(
        &mut self,
        events: &mut Vec<Event>,
        now: Instant,
        sink: &mut impl Sink,
    ) -> (bool, bool) {
        let near = self.shared.progress(sink);
        let (far, more) = self.sockets.progress(events, now, sink);
        (near | far, more)
    }

    pub(super) fn gone(&mut self, peer: Peer, reason: &str) {
        if self.shared.reaches(peer) {
            self.shared.gone(peer, reason);
        } else {
            self.sockets.gone(peer, reason);
        }
    }

    pub(super) fn farewell(&mut self, sink: &mut impl Sink) {
        self.shared.farewell(sink);
        self.sockets.farewell(sink);
    }

    pub(super) fn drained(&self) -> bool {
        self.shared.drained() && self.sockets.drained()
    }

    pub(super) fn unsettled(&self) -> Vec<Peer> {
        let mut peers = self.shared.unsettled();
        peers.extend(self.sockets.unsettled());
        peers
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.shared.has_unsent() || self.sockets.has_unsent()
    }

    pub(super) fn die(&mut self, sink: &mut impl Sink) {
        self.shared.die(sink);
        self.sockets.die(sink);
    }
}
