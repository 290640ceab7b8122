//! What outlives a connection: a TCP link goes on where its last connection broke.
//!
//! Between living hosts a connection that breaks is no failure. Both ranks count the bytes of either
//! direction through all connections that they have had, keep what they have written until the other one has
//! acknowledged it (see [`outbox`](super::outbox)), and say in the greeting of the next connection how much has
//! arrived: there the other one goes on, in the middle of a frame if need be.
//!
//! ```text
//!             read or write fails,                 it is our turn
//!   Open ---- no farewell was read ---> broken ------------------> Dialing ----> Open
//!     \                                 (Idle)                        |
//!      \-- the peer greets anew,          |  ^---- the peer's own ----/
//!          and knows this connection      |        was granted
//!                                         '---> nothing heard from its host for the window: lost
//! ```
//!
//! * Whoever made the last connection makes the next one, at once. The other one does the same a little later, in
//!   case that only one of the two has seen the break, or only one can reach the other. At most one of two
//!   simultaneous attempts completes, as explained in [`super`].
//! * Connections are numbered. A greeting that knows the number of the connection which is open here says that its
//!   sender has left that one, so it is replaced. One that does not know it is older than this connection, or its
//!   sender never learned that the connection is complete: it is told to try again, and we shall see its end.
//! * The window is the time without a sign of life, or, when connections are made and break at once, without
//!   anything that arrives although something waits to be sent. A peer whose host has taken our connection and that does not answer
//!   our greeting computes, which is no failure however long it takes.
//! * That its process has ended is for the launcher to say. The layer above is told of the break and
//!   asks; [`gone`](super::Sockets::gone) ends all attempts.
//! * A farewell that was read is an end, not a break. One that has not reached the peer's host when its
//!   connection breaks is sent again.
//!
//! Acknowledgements go with the next frame to the peer, or alone in the turn after the one that has read so much,
//! or a lent payload.

use std::time::{Duration, Instant};

use super::super::inbox::Inbox;
use super::super::{Lost, Sink, traced};
use super::Sockets;
use super::leave::Closing;
use super::link::{Link, State};
use super::outbox::{Impossible, Outbox, Spare};
use super::socket::Socket;
use crate::base::ids::Peer;
use crate::limits::{RECONNECT_YIELD_MILLIS, RETRY_MILLIS_MAX};
use crate::wire::handshake::{Opening, Refusal};

/// The state of a link that its connections have in common.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Number of the latest connection that was complete; 0: there was none.
    pub(super) number: u32,
    /// This rank has made it.
    pub(super) made: bool,
    /// Bytes that have arrived.
    pub(super) received: u64,
    /// How many the peer was told of.
    pub(super) told: u64,
    /// How many the peer has told of.
    pub(super) heard: u64,
    pub(super) broken: Option<Box<Broken>>,
    /// The latest break after which something has moved.
    flap: Option<Flap>,
    /// It is in the list of those that lend what was written.
    lends: bool,
}

/// The latest connection broke, and there is no other one yet.
#[derive(Debug)]
pub(super) struct Broken {
    why: String,
    since: Instant,
    /// When to begin to make another one.
    dial: Instant,
    /// When to give up.
    until: Instant,
}

/// The first of a row of breaks between which nothing has moved.
#[derive(Clone, Copy, Debug)]
struct Flap {
    since: Instant,
    /// Bytes that had arrived on both sides.
    moved: u64,
}

impl Session {
    pub(super) const fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// What the peer has, as it says, is kept no longer.
    pub(super) fn hear(
        &mut self,
        inbox: &Inbox,
        outbox: &mut Outbox,
        peer: Peer,
        spare: &mut Spare,
        sink: &mut impl Sink,
    ) -> Result<(), Lost> {
        if inbox.acknowledged == self.heard {
            return Ok(());
        }
        self.heard = inbox.acknowledged;
        let result = outbox.acknowledge(self.heard, peer, spare, sink);
        result.map_err(|Impossible| {
            let text = format!("{peer} acknowledges {} bytes, which cannot be", self.heard);
            Lost::Wire(text)
        })
    }

    /// The next time at which something has to be done about it.
    pub(super) fn when(&self, state: &State) -> Option<Instant> {
        let broken = self.broken.as_ref()?;
        Some(match state {
            State::Idle => broken.dial.min(broken.until),
            _ => broken.until,
        })
    }
}

impl Sockets {
    /// Reading from a peer has come to an end.
    pub(super) fn stream_over(&mut self, peer: Peer, why: Lost, sink: &mut impl Sink) {
        let link = self.links.get(&peer);
        let goes_on = link.is_some_and(|link| link.outbox.keeps && link.gone.is_none());
        match why {
            Lost::Broken(text) if goes_on => self.broke(peer, text, sink),
            other => self.end(peer, other, sink),
        }
    }

    /// The connection to a peer has broken: another one is to take its place.
    pub(super) fn broke(&mut self, peer: Peer, why: String, sink: &mut impl Sink) {
        let now = Instant::now();
        if !self.lay_down(peer, why, now) {
            return;
        }
        traced::broken(peer);
        sink.broken(peer);
        self.hub.notify();
    }

    /// Notes that a link has no connection any more, and does not want one for now.
    pub(super) fn lay_down(&mut self, peer: Peer, why: String, now: Instant) -> bool {
        let Some(link) = self.links.get_mut(&peer) else {
            return false;
        };
        tracing::debug!(peer = peer.0, why, "the connection has broken");
        link.state = State::Idle;
        (link.readable, link.blocked, link.mute) = (false, false, false);
        let moved = link.session.received + link.session.heard;
        let last = link.session.flap.filter(|_| link.outbox.waits());
        let (since, again) = match last {
            Some(flap) if flap.moved == moved => (flap.since, true),
            _ => (now, false),
        };
        link.session.flap = Some(Flap { since, moved });
        let pause = match (again, link.session.made) {
            (true, true) => RETRY_MILLIS_MAX,
            (false, true) => 0,
            (_, false) => RECONNECT_YIELD_MILLIS,
        };
        let dial = now + Duration::from_millis(pause);
        link.session.broken = Some(Box::new(Broken {
            why,
            since,
            dial,
            until: since + self.reconnect,
        }));
        self.hot.retain(|other| *other != peer);
        self.link_at(peer, dial);
        true
    }

    /// The time that a link waited for may have come: `true` when it has ended.
    pub(super) fn reconnect_on_time(
        &mut self,
        peer: Peer,
        now: Instant,
        sink: &mut impl Sink,
    ) -> bool {
        let granted = self.door.has_granted(peer);
        let window = self.reconnect;
        let Some(link) = self.links.get_mut(&peer) else {
            return false;
        };
        let Some(broken) = &mut link.session.broken else {
            return false;
        };
        let mut story = String::new();
        match &link.state {
            State::Dialing(dialing) if dialing.has_greeted() => {
                broken.until = now + window;
            }
            State::Dialing(dialing) => story = dialing.story(),
            State::Idle if granted => broken.until = now + window,
            State::Idle | State::Open(_) | State::Ended => {}
        }
        if broken.until <= now {
            let tried = now.saturating_duration_since(broken.since).as_secs_f64();
            let text = format!(
                "the connection broke ({}) and could not be made again in {tried:.1} s{}{story}",
                broken.why,
                if story.is_empty() { "" } else { ": " }
            );
            self.end(peer, Lost::Broken(text), sink);
            return true;
        }
        if matches!(link.state, State::Idle) && broken.dial <= now {
            broken.dial = now + Duration::from_millis(RECONNECT_YIELD_MILLIS);
            if !granted {
                self.start_dialing(peer, now);
            }
        }
        false
    }

    /// The peer's host has taken a connection that is to replace a broken one.
    pub(super) fn heard_of(&mut self, peer: Peer, now: Instant) {
        let window = self.reconnect;
        let link = self.links.get_mut(&peer);
        if let Some(broken) = link.and_then(|link| link.session.broken.as_deref_mut()) {
            broken.until = now + window;
        }
    }

    /// Whether a greeting fits what went through earlier connections, and what becomes of the one that
    /// is open.
    pub(super) fn judge_session(
        &mut self,
        from: Peer,
        opening: &Opening,
        now: Instant,
    ) -> Option<Refusal> {
        let Some(link) = self.links.get(&from) else {
            return (opening.received > 0).then_some(Refusal::Session);
        };
        if !link.outbox.can_go_on_from(opening.received) {
            return Some(Refusal::Session);
        }
        match &link.state {
            State::Open(_) if link.outbox.keeps && opening.connections >= link.session.number => {
                self.lay_down(from, "the peer has left it".into(), now);
                None
            }
            State::Open(_) => Some(Refusal::Duplicate),
            State::Idle | State::Dialing(_) | State::Ended => None,
        }
    }

    /// A connection is complete, whoever began it. It is registered under the peer's token.
    pub(super) fn opened(
        &mut self,
        peer: Peer,
        socket: Socket,
        made: bool,
        number: u32,
        received: u64,
        sink: &mut impl Sink,
    ) {
        let link = self.links.entry(peer).or_insert_with(|| Link::new(peer));
        link.outbox.keeps |= socket.is_tcp() && !self.reconnect.is_zero();
        link.state = State::Open(socket);
        link.session.broken = None;
        (link.session.made, link.session.number) = (made, number);
        // The greeting has said it.
        (link.session.told, link.session.heard) = (link.session.received, received);
        link.inbox.acknowledged = received;
        // What came during the handshake has had its event.
        link.readable = true;
        link.ending = true;
        link.blocked = false;
        self.door.forget(peer);
        if let Err(Impossible) = link
            .outbox
            .go_on_from(received, peer, &mut self.spare, sink)
        {
            let text = format!("{peer} has received {received} bytes, which cannot be");
            return self.end(peer, Lost::Wire(text), sink);
        }
        self.write_out(peer, sink);
    }

    /// Remembers that payloads are lent which were written to this peer.
    pub(super) fn note_loans(&mut self, peer: Peer) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        if link.outbox.has_loans() && !std::mem::replace(&mut link.session.lends, true) {
            self.lenders.push(peer);
        }
    }

    pub(in super::super) fn has_loans(&self) -> bool {
        !self.lenders.is_empty()
    }

    /// Whoever lent what was written would rather not wait for acknowledgements: copies payloads of at most so
    /// many bytes each; if these are not all, only where nothing else waits to be written. `true` when any was
    /// given back.
    pub(in super::super) fn settle_loans(&mut self, most: u64, sink: &mut impl Sink) -> bool {
        let mut any = false;
        for peer in std::mem::take(&mut self.lenders) {
            if let Some(link) = self.links.get_mut(&peer) {
                link.session.lends = false;
                if most == u64::MAX || link.outbox.is_empty() {
                    any |= link.outbox.settle_loans(most, peer, &mut self.spare, sink);
                }
                self.note_loans(peer);
            }
        }
        any
    }

    /// Faults on purpose, for tests: all connections break.
    pub(super) fn reset_on_purpose(&mut self, now: Instant) {
        let Some(due) = self.faults.as_mut().and_then(|plan| plan.resets_now(now)) else {
            return;
        };
        if let Err(when) = due {
            return self.at(when);
        }
        for link in self.links.values_mut() {
            if let State::Open(socket) = &mut link.state {
                socket.reset();
                link.readable = true;
            }
        }
        self.closing.iter_mut().for_each(Closing::reset);
        let peers: Vec<Peer> = self.links.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.activate(peer));
    }
}
