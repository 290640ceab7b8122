//! Frames that wait to be written to one peer, and those that were and may have to be written again.
//!
//! ```text
//!          written, not acknowledged          being written     waiting
//!   | frame | frame | ........... | frame | fra|me | frame | frame | ...
//!   ^ start                               ^ at      sent: bytes of this one that were written
//! ```
//!
//! Positions count all bytes of all frames since the first one, whatever connections they went through. A
//! link through a Unix socket keeps nothing: there `start` and `at` are the same.
//!
//! A borrowed payload is copied behind the call that has written it: then the peer reads it meanwhile. A lent one
//! stays lent until it is acknowledged; when its owner has nothing else to do but to wait for that it is copied, as
//! far as copies may be kept: a peer that computes holds nobody up.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::super::parcel::{Body, SMALL_BYTES};
use super::super::{Payload, Sink};
use super::socket::{Moved, Socket};
use crate::base::ids::Peer;
use crate::limits::{
    ACKNOWLEDGE_BYTES, RESEND_BYTES_MAX, SPARE_BYTES_MAX, TURN_CALLS_MAX, WRITE_BYTES_MAX,
    WRITE_HALVES_BYTES_MIN, WRITE_PIECES_MAX,
};
use crate::wire::header::{HEADER_BYTES, Header, Kind};

const HEAD: u64 = HEADER_BYTES as u64;

#[derive(Debug)]
struct Frame {
    head: [u8; HEADER_BYTES],
    /// Whole, however much of it was written.
    body: Body,
}

/// Memory for copies, used again and again: what the allocator gives back to the operating system has to be
/// faulted in again.
#[derive(Debug, Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    fn copy(&mut self, bytes: &[u8]) -> Body {
        if bytes.len() <= SMALL_BYTES {
            return Body::copied(bytes);
        }
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= bytes.len();
        let mut buffer = match self.buffers.iter().rposition(fits) {
            Some(at) => {
                let buffer = self.buffers.remove(at);
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(bytes.len().next_power_of_two()),
        };
        buffer.extend_from_slice(bytes);
        Body::Copy(buffer)
    }

    fn take_back(&mut self, body: Body) {
        if let Body::Copy(mut buffer) = body {
            if self.bytes + buffer.capacity() <= SPARE_BYTES_MAX {
                buffer.clear();
                self.bytes += buffer.capacity();
                self.buffers.push(buffer);
            }
        }
    }
}

impl Frame {
    fn length(&self) -> u64 {
        HEAD + self.body.remaining()
    }

    /// Bytes of memory that it costs to keep it.
    fn cost(&self) -> usize {
        size_of::<Self>() + self.body.heap_bytes()
    }

    const fn is_acknowledgement(&self) -> bool {
        self.head[0] == Kind::Acknowledge as u8
    }

    /// Gives the payload back, all but the first `given` bytes, which were before.
    fn give_back(&self, given: u64, peer: Peer, sink: &mut impl Sink) {
        if let Body::Lent { id, length, .. } = &self.body {
            if *length > given {
                sink.sent(peer, *id, *length - given);
            }
        }
    }
}

/// Where a frame is written at once, and where its copy comes from.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) peer: Peer,
    pub(super) socket: &'a mut Socket,
    pub(super) spare: &'a mut Spare,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Everything was written, or must wait for an acknowledgement.
    Empty,
    /// The turn's work is done; the socket would take more.
    More,
    /// The socket takes no more: an event will tell when it does.
    Blocked,
}

/// The peer says that it has bytes which it cannot have, or wants some again that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Impossible;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Frame>,
    /// So many of them were written whole.
    written: usize,
    /// Bytes of the next one that were written.
    sent: u64,
    start: u64,
    at: u64,
    /// Whether frames are kept until they are acknowledged.
    pub(super) keeps: bool,
    /// What the written ones cost.
    kept_bytes: usize,
    /// How many of the written ones are still lent.
    loans: usize,
}

impl Outbox {
    /// Whether nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.len() == self.written
    }

    /// Whether something waits, and may be written before the peer has acknowledged more.
    pub(super) fn has_work(&self) -> bool {
        self.frames
            .get(self.written)
            .is_some_and(|frame| self.may_go(frame, self.sent))
    }

    fn may_go(&self, frame: &Frame, sent: u64) -> bool {
        !self.is_full() || sent > 0 || frame.is_acknowledgement()
    }

    /// Whether something was not written, or not acknowledged.
    pub(super) fn waits(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Whether frames must wait for an acknowledgement.
    pub(super) const fn is_full(&self) -> bool {
        self.kept_bytes >= RESEND_BYTES_MAX
    }

    /// The end of what was written.
    pub(super) const fn end(&self) -> u64 {
        self.at + self.sent
    }

    /// Whether the peer may have received so many bytes, and no more.
    pub(super) const fn can_go_on_from(&self, received: u64) -> bool {
        self.start <= received && received <= self.end()
    }

    /// Whether payloads that were written are still lent.
    pub(super) const fn has_loans(&self) -> bool {
        self.loans > 0
    }

    pub(super) fn push(&mut self, header: &Header, payload: Payload<'_>) {
        let body = Body::queued(header, payload);
        self.frames.push_back(Frame {
            head: header.encode(),
            body,
        });
    }

    /// Puts a frame without payload before all of which nothing was written.
    pub(super) fn push_first(&mut self, header: &Header) {
        let at = self.written + usize::from(self.sent > 0);
        let frame = Frame {
            head: header.encode(),
            body: Body::NONE,
        };
        self.frames.insert(at, frame);
    }

    /// Writes a frame at once, behind `first` if there is one; nothing may wait before it. What is not
    /// written is queued.
    pub(super) fn write_through(
        &mut self,
        first: Option<&Header>,
        header: &Header,
        payload: &[u8],
        way: Way<'_>,
        sink: &mut impl Sink,
    ) -> io::Result<Flush> {
        let head = header.encode();
        let before = first.map(Header::encode);
        let idle = self.keeps && self.end() - self.start < ACKNOWLEDGE_BYTES;
        let (front, back) = match payload.len() {
            length if idle && length >= WRITE_HALVES_BYTES_MIN => payload.split_at(length / 2),
            _ => (payload, &[][..]),
        };
        let (head_piece, front_piece) = (IoSlice::new(&head), IoSlice::new(front));
        let mut result = match &before {
            None => way.socket.write(&[head_piece, front_piece]),
            Some(before) => {
                let pieces = [IoSlice::new(before), head_piece, front_piece];
                way.socket.write(&pieces)
            }
        };
        let heads = HEADER_BYTES * (1 + usize::from(first.is_some()));
        if let Ok(moved) = &mut result {
            moved.go_on(way.socket, heads + front.len(), back);
        }
        let bytes = result.as_ref().map_or(0, |moved| moved.bytes);
        let all = heads + payload.len();
        if self.keeps || bytes < all {
            if let Some(head) = before {
                let body = Body::NONE;
                self.frames.push_back(Frame { head, body });
            }
            let body = way.spare.copy(payload);
            self.frames.push_back(Frame { head, body });
            self.advance(bytes, way.peer, sink);
        }
        let moved = result?;
        Ok(self.come_to(moved, way.socket))
    }

    /// How far writing has come.
    fn come_to(&self, last: Moved, socket: &Socket) -> Flush {
        if !last.more {
            Flush::Blocked
        } else if !self.has_work() && !socket.holds() {
            Flush::Empty
        } else {
            Flush::More
        }
    }

    /// Writes what waits: many frames with one system call, but only a bounded number of calls.
    pub(super) fn flush(
        &mut self,
        peer: Peer,
        socket: &mut Socket,
        sink: &mut impl Sink,
    ) -> io::Result<(Flush, bool)> {
        let mut any = false;
        for _ in 0..TURN_CALLS_MAX {
            if !self.has_work() && !socket.holds() {
                return Ok((Flush::Empty, any));
            }
            let moved = {
                let mut pieces = [IoSlice::new(&[]); WRITE_PIECES_MAX];
                let count = self.gather(&mut pieces, sink);
                socket.write(&pieces[..count])?
            };
            any |= moved.bytes > 0;
            self.advance(moved.bytes, peer, sink);
            if !moved.more {
                return Ok((Flush::Blocked, any));
            }
        }
        let last = Moved {
            bytes: 0,
            more: true,
        };
        Ok((self.come_to(last, socket), any))
    }

    fn gather<'a>(
        &'a self,
        pieces: &mut [IoSlice<'a>; WRITE_PIECES_MAX],
        sink: &'a impl Sink,
    ) -> usize {
        let mut count = 0;
        let mut sent = self.sent;
        let mut room = WRITE_BYTES_MAX;
        for frame in self.frames.range(self.written..) {
            if room == 0 || count + 2 > WRITE_PIECES_MAX || !self.may_go(frame, sent) {
                break;
            }
            if let Some(head) = usize::try_from(sent)
                .ok()
                .and_then(|sent| frame.head.get(sent..))
                .filter(|head| !head.is_empty())
            {
                pieces[count] = IoSlice::new(head);
                count += 1;
            }
            let of_body = sent.saturating_sub(HEAD);
            let left = frame.body.remaining() - of_body;
            sent = 0;
            if left > 0 {
                let bytes = frame.body.peek_from(of_body, sink);
                let bytes = &bytes[..bytes.len().min(room)];
                room -= bytes.len();
                pieces[count] = IoSlice::new(bytes);
                count += 1;
                if (bytes.len() as u64) < left {
                    break;
                }
            }
        }
        count
    }

    /// So many more bytes were written.
    fn advance(&mut self, count: usize, peer: Peer, sink: &mut impl Sink) {
        let mut left = count as u64;
        while let Some(frame) = self.frames.get_mut(self.written) {
            let length = frame.length();
            let before = self.sent;
            self.sent += left.min(length - before);
            left -= self.sent - before;
            if let Body::Lent { id, .. } = &frame.body {
                match self.sent.saturating_sub(HEAD) - before.saturating_sub(HEAD) {
                    0 => {}
                    written if self.keeps => sink.written(peer, *id, written),
                    written => sink.sent(peer, *id, written),
                }
            }
            if self.sent < length {
                return;
            }
            self.sent = 0;
            self.at += length;
            if self.keeps {
                self.loans += usize::from(matches!(frame.body, Body::Lent { .. }));
                self.kept_bytes += frame.cost();
                self.written += 1;
            } else {
                self.frames.pop_front();
                self.start = self.at;
            }
        }
    }

    /// Gives back what was written and is still lent, in payloads of at most so many bytes: copies it, as far as
    /// copies may be kept. `true` when there was any.
    pub(super) fn settle_loans(
        &mut self,
        most: u64,
        peer: Peer,
        spare: &mut Spare,
        sink: &mut impl Sink,
    ) -> bool {
        let mut any = false;
        for frame in self.frames.range_mut(..self.written) {
            let Body::Lent { length, .. } = &frame.body else {
                continue;
            };
            if *length > most || self.kept_bytes as u64 + *length > RESEND_BYTES_MAX as u64 {
                continue;
            }
            let all = frame.body.peek_from(0, sink);
            let copy = if all.len() as u64 == *length {
                spare.copy(all)
            } else {
                frame.body.copy_of_loan(sink)
            };
            frame.give_back(0, peer, sink);
            frame.body = copy;
            self.kept_bytes += frame.body.heap_bytes();
            self.loans -= 1;
            any = true;
        }
        any
    }

    /// So many bytes have reached the peer: what they belong to is kept no longer.
    pub(super) fn acknowledge(
        &mut self,
        received: u64,
        peer: Peer,
        spare: &mut Spare,
        sink: &mut impl Sink,
    ) -> Result<(), Impossible> {
        if received > self.end() {
            return Err(Impossible);
        }
        while self.written > 0 {
            let Some(frame) = self.frames.front() else {
                break;
            };
            if self.start + frame.length() > received {
                break;
            }
            self.start += frame.length();
            self.kept_bytes -= frame.cost();
            self.loans -= usize::from(matches!(frame.body, Body::Lent { .. }));
            frame.give_back(0, peer, sink);
            if let Some(frame) = self.frames.pop_front() {
                spare.take_back(frame.body);
            }
            self.written -= 1;
        }
        Ok(())
    }

    /// There is a new connection to the peer, which has received so many bytes: what follows is written
    /// again.
    pub(super) fn go_on_from(
        &mut self,
        received: u64,
        peer: Peer,
        spare: &mut Spare,
        sink: &mut impl Sink,
    ) -> Result<(), Impossible> {
        if !self.can_go_on_from(received) {
            return Err(Impossible);
        }
        self.acknowledge(received, peer, spare, sink)?;
        self.at = self.start;
        self.sent = received - self.start;
        (self.written, self.kept_bytes, self.loans) = (0, 0, 0);
        Ok(())
    }

    /// Nothing of this will be written any more.
    pub(super) fn give_up(&mut self, peer: Peer, sink: &mut impl Sink) {
        let mut given = if self.keeps {
            0
        } else {
            self.sent.saturating_sub(HEAD)
        };
        for frame in std::mem::take(&mut self.frames) {
            frame.give_back(std::mem::take(&mut given), peer, sink);
        }
        (self.written, self.kept_bytes, self.loans, self.sent) = (0, 0, 0, 0);
    }
}
