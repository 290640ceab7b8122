//! The farewell: nothing that was sent may be lost because its sender ends.

use std::time::{Duration, Instant};

use super::super::{Payload, Sink};
use super::link::State;
use super::socket::Socket;
use super::{Link, Sockets};
use crate::base::ids::Peer;
use crate::limits::{DRAIN_LOOK_MILLIS_MAX, DRAIN_LOOK_MILLIS_MIN, TURN_CALLS_MAX};
use crate::wire::header::{Header, Kind};

/// A socket to which everything was written, and whose peer's host may not have it yet.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) peer: Peer,
    socket: Socket,
    look_at: Instant,
    pause: Duration,
}

impl Closing {
    /// Whether it may be closed.
    fn is_over(&mut self, staging: &mut [u8], now: Instant) -> bool {
        for _ in 0..TURN_CALLS_MAX {
            match self.socket.read(staging, &mut []) {
                Ok(Some(moved)) if moved.bytes == 0 && !moved.more => break,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return true,
            }
        }
        if self.socket.unacknowledged() == Some(0) {
            return true;
        }
        if self.look_at <= now {
            self.look_at = now + self.pause;
            self.pause = (self.pause * 2).min(Duration::from_millis(DRAIN_LOOK_MILLIS_MAX));
        }
        false
    }
}

impl Sockets {
    pub(super) fn goodbye(&self) -> Header {
        Header::new(Kind::Goodbye, self.me.epoch, self.me.rank)
    }

    pub(in super::super) fn farewell(&mut self, sink: &mut impl Sink) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        for peer in self.door.granted() {
            // Nothing is to be sent to this peer, whose connection is not complete: it may learn that,
            // whoever it is, and need not prove itself first.
            let link = self.links.entry(peer).or_insert_with(|| Link::new(peer));
            if matches!(link.state, State::Idle) && link.outbox.is_empty() {
                if let Some(socket) = self.door.take_granted(peer) {
                    link.state = State::Open(socket);
                }
            }
        }
        let goodbye = self.goodbye();
        let mut peers: Vec<Peer> = self.links.keys().copied().collect();
        peers.sort_unstable();
        for peer in peers {
            let Some(link) = self.links.get_mut(&peer) else {
                continue;
            };
            match link.state {
                State::Ended => continue,
                State::Idle | State::Dialing(_) if link.outbox.is_empty() => {
                    link.state = State::Ended;
                }
                _ => link.outbox.push(&goodbye, Payload::None),
            }
            self.write_out(peer, sink);
        }
    }

    /// Everything was written to this peer: what remains is its kernel's matter.
    pub(super) fn hang_up_when_written(&mut self, peer: Peer) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        if !matches!(link.state, State::Open(_)) || link.has_unsent() || link.mute {
            return;
        }
        let State::Open(socket) = std::mem::replace(&mut link.state, State::Ended) else {
            return;
        };
        self.hot.retain(|other| *other != peer);
        socket.shutdown_write();
        if !socket.is_tcp() {
            return;
        }
        let pause = Duration::from_millis(DRAIN_LOOK_MILLIS_MIN);
        let now = Instant::now();
        self.closing.push(Closing {
            peer,
            socket,
            look_at: now,
            pause,
        });
        self.close_what_can_be(now);
    }

    pub(super) fn close_what_can_be(&mut self, now: Instant) {
        let staging = &mut self.staging;
        self.closing
            .retain_mut(|closing| !closing.is_over(staging, now));
        if let Some(next) = self.closing.iter().map(|closing| closing.look_at).min() {
            self.at(next);
        }
    }

    /// Peers that have not got everything: it may be that they never will.
    pub(in super::super) fn unsettled(&self) -> Vec<Peer> {
        let waits = |link: &Link| match link.state {
            State::Ended => false,
            State::Idle => !link.outbox.is_empty(),
            State::Dialing(_) => true,
            State::Open(_) => self.leaving,
        };
        self.links
            .values()
            .filter(|link| waits(link))
            .map(|link| link.peer)
            .collect()
    }

    pub(in super::super) fn drained(&self) -> bool {
        self.closing.is_empty()
            && self.links.values().all(|link| match link.state {
                State::Ended => true,
                State::Idle => link.outbox.is_empty(),
                State::Dialing(_) | State::Open(_) => false,
            })
    }
}
