//! From what one peer has sent to headers and payloads, wherever it is cut.

use super::{Accept, Lost, Sink, traced};
use crate::base::ids::{Epoch, Peer};
use crate::limits::STREAM_LONG_BYTES_MIN;
use crate::wire::header::{HEADER_BYTES, Header, Kind};

/// Whose bytes they are, and what is done with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) peer: Peer,
    pub(super) epoch: Epoch,
    /// New frames are thrown away.
    pub(super) deaf: bool,
}

/// A payload that has not arrived in full.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    /// `None`: thrown away.
    key: Option<u64>,
    /// Whether the sink still takes bytes of it.
    wanted: bool,
    at: u64,
    length: u64,
    /// Its sender may wait to hear that it has arrived.
    lent: bool,
}

#[derive(Debug)]
pub(super) struct Inbox {
    head: [u8; HEADER_BYTES],
    have: usize,
    body: Option<Incoming>,
    /// The peer has said that nothing follows.
    pub(super) finished: bool,
    /// Frames that have arrived, or begun to; without acknowledgements.
    pub(super) frames: u64,
    /// So many bytes have reached the peer, as it says.
    pub(super) acknowledged: u64,
    /// A payload has arrived that its sender may have lent until it knows.
    pub(super) owes: bool,
    /// The latest payload is a long one: the next one may be, too.
    pub(super) long: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            head: [0; HEADER_BYTES],
            have: 0,
            body: None,
            finished: false,
            frames: 0,
            acknowledged: 0,
            owes: false,
            long: false,
        }
    }
}

impl Inbox {
    /// Whether the stream may end here without a frame being cut.
    pub(super) const fn is_between_frames(&self) -> bool {
        self.have == 0 && self.body.is_none()
    }

    /// Where the next bytes of the stream go; empty when they are not payload, or not wanted.
    pub(super) fn space<'a>(&mut self, sink: &'a mut impl Sink) -> &'a mut [u8] {
        let Some(Incoming {
            key: Some(key),
            wanted,
            at,
            length,
            ..
        }) = &mut self.body
        else {
            return &mut [];
        };
        if !*wanted {
            return &mut [];
        }
        let space = sink.space(*key, *at);
        *wanted = !space.is_empty();
        let count =
            usize::try_from(*length - *at).map_or(space.len(), |left| left.min(space.len()));
        &mut space[..count]
    }

    /// Bytes of the payload under way that have not arrived.
    pub(super) fn missing(&self) -> u64 {
        self.body.map_or(0, |body| body.length - body.at)
    }

    /// `count` bytes of the payload were read, into the sink's space or to be thrown away.
    pub(super) fn advance(&mut self, count: usize, rules: &Rules, sink: &mut impl Sink) {
        let Some(body) = &mut self.body else {
            return;
        };
        body.at += count as u64;
        if body.at == body.length {
            let key = body.key;
            self.owes |= body.lent;
            self.body = None;
            if let Some(key) = key {
                sink.done(rules.peer, key);
            }
        }
    }

    /// Takes bytes of the stream.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        rules: &Rules,
        sink: &mut impl Sink,
    ) -> Result<(), Lost> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.finished {
            if let Some(body) = self.body {
                let left = usize::try_from(body.length - body.at).unwrap_or(usize::MAX);
                let space = self.space(sink);
                let mut count = left.min(rest.len());
                if !space.is_empty() {
                    count = count.min(space.len());
                    space[..count].copy_from_slice(&rest[..count]);
                }
                rest = &rest[count..];
                self.advance(count, rules, sink);
            } else if let (0, Some((head, behind))) = (self.have, rest.split_first_chunk()) {
                rest = behind;
                self.header(head, rules, sink)?;
            } else {
                let count = rest.len().min(HEADER_BYTES - self.have);
                self.head[self.have..self.have + count].copy_from_slice(&rest[..count]);
                self.have += count;
                rest = &rest[count..];
                if self.have == HEADER_BYTES {
                    self.have = 0;
                    let head = self.head;
                    self.header(&head, rules, sink)?;
                }
            }
        }
        Ok(())
    }

    fn header(
        &mut self,
        head: &[u8; HEADER_BYTES],
        rules: &Rules,
        sink: &mut impl Sink,
    ) -> Result<(), Lost> {
        let header = Header::decode(head).map_err(|error| Lost::Wire(error.to_string()))?;
        self.begin(&header, rules, sink)
    }

    /// Counts a frame.
    pub(super) fn note(&mut self, peer: Peer, header: &Header) {
        traced::arrived(peer, header);
        self.frames += 1;
    }

    /// A header has arrived; what follows is its payload.
    pub(super) fn begin(
        &mut self,
        header: &Header,
        rules: &Rules,
        sink: &mut impl Sink,
    ) -> Result<(), Lost> {
        if header.source != rules.peer {
            return Err(Lost::Wire(format!(
                "a frame of {} names {}",
                rules.peer, header.source
            )));
        }
        if header.epoch > rules.epoch {
            return Err(Lost::Wire(format!(
                "a frame of {} comes from life {} of the job, this is life {}",
                rules.peer, header.epoch.0, rules.epoch.0
            )));
        }
        if header.kind == Kind::Acknowledge {
            self.acknowledged = self.acknowledged.max(header.place);
            return Ok(());
        }
        self.note(rules.peer, header);
        if header.kind == Kind::Goodbye {
            self.finished = true;
            return Ok(());
        }
        let mut key = None;
        if !rules.deaf && header.epoch == rules.epoch {
            if let Accept::Into(into) = sink.header(rules.peer, header).map_err(Lost::Wire)? {
                key = Some(into);
            }
        }
        let length = header.payload();
        if length > 0 {
            self.long = length >= STREAM_LONG_BYTES_MIN;
            self.body = Some(Incoming {
                key,
                wanted: true,
                at: 0,
                length,
                lent: header.kind == Kind::Data,
            });
        }
        Ok(())
    }
}
