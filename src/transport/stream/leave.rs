//! The farewell: nothing that was sent may be lost because its sender ends.

use std::time::{Duration, Instant};

use super::super::inbox::Rules;
use super::super::{Payload, Sink};
use super::link::State;
use super::outbox::Spare;
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

/// What a look at such a socket has found.
enum Look {
    Wait,
    Over,
    /// The connection broke before the peer's host had everything.
    Broken(String),
}

impl Closing {
    /// Faults on purpose, for tests.
    pub(super) fn reset(&mut self) {
        self.socket.reset();
    }

    fn look(
        &mut self,
        link: &mut Link,
        rules: &Rules,
        staging: &mut [u8],
        spare: &mut Spare,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Look {
        for _ in 0..TURN_CALLS_MAX {
            match self.socket.read(staging, &mut []) {
                Ok(Some(moved)) if moved.bytes == 0 && !moved.more => break,
                Ok(Some(moved)) => {
                    // Of interest is only whether the peer says farewell as well, and what it has.
                    link.session.received += moved.bytes as u64;
                    let taken = link.inbox.take(&staging[..moved.bytes], rules, sink);
                    let (inbox, outbox) = (&link.inbox, &mut link.outbox);
                    let heard = taken
                        .and_then(|()| link.session.hear(inbox, outbox, link.peer, spare, sink));
                    if heard.is_err() {
                        return Look::Over;
                    }
                }
                Ok(None) => return self.after_end(link, "it was closed"),
                Err(error) => return self.after_end(link, &error.to_string()),
            }
        }
        if self.socket.unacknowledged() == Some(0) {
            return Look::Over;
        }
        if self.look_at <= now {
            self.look_at = now + self.pause;
            self.pause = (self.pause * 2).min(Duration::from_millis(DRAIN_LOOK_MILLIS_MAX));
        }
        Look::Wait
    }

    /// The connection has ended. A peer that has said farewell too wants no more, and what its host has it
    /// can read: only the mark of our end, which counts as a byte, may be missing.
    fn after_end(&self, link: &Link, why: &str) -> Look {
        let arrived = self.socket.unacknowledged().is_none_or(|bytes| bytes <= 1);
        if !link.outbox.keeps || link.inbox.finished || arrived {
            Look::Over
        } else {
            Look::Broken(why.into())
        }
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
            if matches!(link.state, State::Idle) && !link.wants_connection() {
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
                State::Idle | State::Dialing(_) if !link.wants_connection() => {
                    link.state = State::Ended;
                }
                _ => {
                    if link.outbox.keeps && link.session.received > link.session.told {
                        let owed = link.acknowledgement(self.me.epoch, self.me.rank);
                        link.outbox.push_first(&owed);
                    }
                    link.outbox.push(&goodbye, Payload::None);
                }
            }
            self.write_out(peer, sink);
        }
    }

    /// Everything was written to this peer: what remains is its kernel's matter.
    pub(super) fn hang_up_when_written(&mut self, peer: Peer, sink: &mut impl Sink) {
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
        self.close_what_can_be(now, sink);
    }

    pub(super) fn close_what_can_be(&mut self, now: Instant, sink: &mut impl Sink) {
        if self.closing.is_empty() {
            return;
        }
        let (staging, spare) = (&mut self.staging, &mut self.spare);
        let (links, epoch) = (&mut self.links, self.me.epoch);
        let mut broken = Vec::new();
        self.closing.retain_mut(|closing| {
            let Some(link) = links.get_mut(&closing.peer) else {
                return false;
            };
            let (peer, deaf) = (closing.peer, true);
            let rules = Rules { peer, epoch, deaf };
            match closing.look(link, &rules, staging, spare, now, sink) {
                Look::Wait => true,
                Look::Over => {
                    link.outbox.give_up(peer, sink);
                    false
                }
                Look::Broken(why) => {
                    broken.push((peer, why));
                    false
                }
            }
        });
        for (peer, why) in broken {
            self.broke(peer, why, sink);
        }
        if let Some(next) = self.closing.iter().map(|closing| closing.look_at).min() {
            self.at(next);
        }
    }

    /// Peers that have not got everything: it may be that they never will.
    pub(in super::super) fn unsettled(&self) -> Vec<Peer> {
        let waits = |link: &Link| match link.state {
            State::Ended => false,
            State::Idle => link.wants_connection(),
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
                State::Idle => !link.wants_connection(),
                State::Dialing(_) | State::Open(_) => false,
            })
    }
}
