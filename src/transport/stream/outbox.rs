//! Frames that wait to be written to one peer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::super::parcel::Body;
use super::super::{Payload, Sink};
use super::socket::{Moved, Socket};
use crate::base::ids::Peer;
use crate::limits::{TURN_CALLS_MAX, WRITE_PIECES_MAX};
use crate::wire::header::{HEADER_BYTES, Header};

#[derive(Debug)]
struct Frame {
    head: [u8; HEADER_BYTES],
    body: Body,
}

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Everything was written.
    Empty,
    /// The turn's work is done; the socket would take more.
    More,
    /// The socket takes no more: an event will tell when it does.
    Blocked,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame's header that were written.
    head_sent: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn push(&mut self, header: &Header, payload: Payload<'_>) {
        let body = Body::queued(header, payload);
        self.frames.push_back(Frame {
            head: header.encode(),
            body,
        });
    }

    /// Writes a frame at once if nothing waits before it; what is not written is queued.
    pub(super) fn write_through(
        &mut self,
        header: &Header,
        payload: &[u8],
        socket: &mut Socket,
    ) -> io::Result<Flush> {
        let head = header.encode();
        let moved = socket.write(&[IoSlice::new(&head), IoSlice::new(payload)])?;
        if moved.bytes == HEADER_BYTES + payload.len() {
            return Ok(self.come_to(moved, socket));
        }
        let rest = &payload[moved.bytes.saturating_sub(HEADER_BYTES)..];
        self.head_sent = moved.bytes.min(HEADER_BYTES);
        self.frames.push_back(Frame {
            head,
            body: Body::copied(rest),
        });
        Ok(self.come_to(moved, socket))
    }

    /// How far writing has come.
    fn come_to(&self, last: Moved, socket: &Socket) -> Flush {
        if !last.more {
            Flush::Blocked
        } else if self.is_empty() && !socket.holds() {
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
            if self.is_empty() && !socket.holds() {
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
        let mut head_sent = self.head_sent;
        for frame in &self.frames {
            if count + 2 > WRITE_PIECES_MAX {
                break;
            }
            pieces[count] = IoSlice::new(&frame.head[head_sent..]);
            head_sent = 0;
            count += 1;
            if frame.body.remaining() > 0 {
                let bytes = frame.body.peek(sink);
                pieces[count] = IoSlice::new(bytes);
                count += 1;
                if (bytes.len() as u64) < frame.body.remaining() {
                    break;
                }
            }
        }
        count
    }

    fn advance(&mut self, count: usize, peer: Peer, sink: &mut impl Sink) {
        let mut left = count;
        while let Some(frame) = self.frames.front_mut() {
            let head = left.min(HEADER_BYTES - self.head_sent);
            self.head_sent += head;
            left -= head;
            let body = usize::try_from(frame.body.remaining()).map_or(left, |all| all.min(left));
            frame.body.advance(body, peer, sink);
            left -= body;
            if self.head_sent < HEADER_BYTES || frame.body.remaining() > 0 {
                return;
            }
            self.head_sent = 0;
            self.frames.pop_front();
        }
    }

    /// Nothing of this will be written any more.
    pub(super) fn give_up(&mut self, peer: Peer, sink: &mut impl Sink) {
        for frame in std::mem::take(&mut self.frames) {
            frame.body.give_up(peer, sink);
        }
        self.head_sent = 0;
    }
}
