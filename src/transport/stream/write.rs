//! Frames on their way out: written at once where nothing waits before them, else as soon as the socket takes them.

use std::io;
use std::time::Instant;

use mio::Token;

use super::super::parcel::Body;
use super::super::{Payload, Sink};
use super::Sockets;
use super::link::{Link, State};
use super::outbox::{Flush, Way};
use crate::base::ids::Peer;
use crate::wire::header::Header;

impl Sockets {
    pub(in super::super) fn send(
        &mut self,
        to: Peer,
        header: &Header,
        payload: Payload<'_>,
        sink: &mut impl Sink,
    ) {
        let link = self.links.entry(to).or_insert_with(|| Link::new(to));
        let mute = link.mute && !link.outbox.keeps;
        if self.leaving || mute || matches!(link.state, State::Ended) {
            Body::queued(header, payload).give_up(to, sink);
            return;
        }
        link.frames += 1;
        let free = link.outbox.is_empty() && !link.outbox.is_full() && !self.holding;
        let owed = (free && link.owes()).then(|| link.acknowledgement(self.me.epoch, self.me.rank));
        let result = match &mut link.state {
            State::Open(socket) if free => {
                let (outbox, first) = (&mut link.outbox, owed.as_ref());
                let way = Way {
                    peer: to,
                    socket: &mut *socket,
                    spare: &mut self.spare,
                };
                match payload {
                    Payload::None => outbox.write_through(first, header, &[], way, sink),
                    Payload::Borrowed(bytes) => {
                        outbox.write_through(first, header, bytes, way, sink)
                    }
                    Payload::Lent { .. } => {
                        if let Some(first) = first {
                            outbox.push_first(first);
                        }
                        outbox.push(header, payload);
                        outbox.flush(to, socket, sink).map(|(flush, _)| flush)
                    }
                }
            }
            State::Idle
                if link.outbox.is_empty()
                    && !link.session.is_broken()
                    && !self.door.has_granted(to) =>
            {
                link.outbox.push(header, payload);
                self.start_dialing(to, Instant::now());
                self.hub.notify();
                return;
            }
            _ => {
                link.outbox.push(header, payload);
                if self.holding && !self.held.contains(&to) {
                    self.held.push(to);
                }
                return;
            }
        };
        self.wrote(to, result, sink);
    }

    /// What a write that was not part of a turn leaves to do.
    fn wrote(&mut self, to: Peer, result: io::Result<Flush>, sink: &mut impl Sink) {
        let Some(link) = self.links.get_mut(&to) else {
            return;
        };
        match result {
            Ok(Flush::Empty) if link.outbox.has_loans() => self.note_loans(to),
            Ok(Flush::Empty) => {}
            Ok(Flush::Blocked) => self.wait_to_write(to, sink),
            Ok(Flush::More) => {
                self.activate(to);
                self.hub.notify();
            }
            Err(error) => {
                link.fall_silent(&error, sink);
                self.activate(to);
                self.hub.notify();
            }
        }
    }

    /// From now on frames are not written at once: more follow, and one system call may write many.
    pub(in super::super) const fn hold(&mut self) {
        self.holding = true;
    }

    /// Ends [`hold`](Self::hold): writes what has come together.
    pub(in super::super) fn release(&mut self, sink: &mut impl Sink) {
        self.holding = false;
        while let Some(peer) = self.held.pop() {
            self.write_out(peer, sink);
            if self.links.get(&peer).is_some_and(|link| link.active) {
                self.hub.notify();
            }
        }
    }

    /// The socket takes no more: asks to be told when it does again.
    fn wait_to_write(&mut self, peer: Peer, sink: &mut impl Sink) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        link.blocked = true;
        let State::Open(socket) = &mut link.state else {
            return;
        };
        if let Err(error) = socket.want_write(self.hub.registry(), Token(peer.index()), true) {
            link.fall_silent(&error, sink);
            self.activate(peer);
            self.hub.notify();
        }
    }

    pub(super) fn write_out(&mut self, peer: Peer, sink: &mut impl Sink) -> bool {
        let Some(link) = self.links.get_mut(&peer) else {
            return false;
        };
        let moved = link.flush(sink);
        if let State::Open(socket) = &mut link.state {
            // A registration that cannot be changed shows up as a failing write.
            let _ = socket.want_write(self.hub.registry(), Token(peer.index()), link.blocked);
        }
        // Those that are read directly have their turn anyway, after the program has had its own.
        let lends = link.outbox.has_loans();
        if link.has_work() || (link.owes() && !self.hot.contains(&peer)) {
            self.activate(peer);
        }
        if lends {
            self.note_loans(peer);
        }
        if self.leaving {
            self.hang_up_when_written(peer, sink);
        }
        moved
    }
}
