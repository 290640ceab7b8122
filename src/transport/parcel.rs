//! Frames that stay within the process, and payloads that have to be kept.

use bytes::{Buf, Bytes};

use super::{Accept, LentId, Payload, Sink};
use crate::base::ids::Peer;
use crate::wire::header::Header;

/// Payloads up to this length are kept inside their parcel, without an allocation of their own.
pub(super) const SMALL_BYTES: usize = 62;

/// Sent in place of a lent payload that was withdrawn.
pub(super) static ZEROS: [u8; 4096] = [0; 4096];

/// What is still to be sent of a payload.
#[derive(Debug)]
pub(super) enum Body {
    /// `bytes[at..end]`.
    Small {
        bytes: [u8; SMALL_BYTES],
        at: u8,
        end: u8,
    },
    Kept(Bytes),
    /// The same in memory that is used again; only ever read as a whole.
    Copy(Vec<u8>),
    Lent {
        id: LentId,
        offset: u64,
        length: u64,
    },
}

impl Body {
    pub(super) const NONE: Self = Self::Small {
        bytes: [0; SMALL_BYTES],
        at: 0,
        end: 0,
    };

    pub(super) fn copied(from: &[u8]) -> Self {
        match u8::try_from(from.len()) {
            Ok(end) if from.len() <= SMALL_BYTES => {
                let mut bytes = [0; SMALL_BYTES];
                bytes[..from.len()].copy_from_slice(from);
                Self::Small { bytes, at: 0, end }
            }
            _ => Self::Kept(Bytes::copy_from_slice(from)),
        }
    }

    /// The payload of a frame that is sent later; nothing that is lent is copied.
    pub(super) fn queued(header: &Header, payload: Payload<'_>) -> Self {
        match payload {
            Payload::None => Self::NONE,
            Payload::Borrowed(bytes) => Self::copied(bytes),
            Payload::Lent { id, offset } => Self::Lent {
                id,
                offset,
                length: header.payload(),
            },
        }
    }

    pub(super) fn remaining(&self) -> u64 {
        match self {
            Self::Small { at, end, .. } => u64::from(end - at),
            Self::Kept(bytes) => bytes.len() as u64,
            Self::Copy(bytes) => bytes.len() as u64,
            Self::Lent { length, .. } => *length,
        }
    }

    /// The bytes that remain of a payload that is not lent.
    fn kept(&self) -> &[u8] {
        match self {
            Self::Small { bytes, at, end } => &bytes[usize::from(*at)..usize::from(*end)],
            Self::Kept(bytes) => bytes,
            Self::Copy(bytes) => bytes,
            Self::Lent { .. } => &[],
        }
    }

    /// The next bytes: all that remain, or fewer when zeros stand in for them.
    pub(super) fn peek<'a>(&'a self, sink: &'a impl Sink) -> &'a [u8] {
        self.peek_from(0, sink)
    }

    /// The same without the first `at` bytes.
    pub(super) fn peek_from<'a>(&'a self, at: u64, sink: &'a impl Sink) -> &'a [u8] {
        match self {
            Self::Small { .. } | Self::Kept(_) | Self::Copy(_) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                self.kept().get(at..).unwrap_or_default()
            }
            Self::Lent { id, offset, length } => {
                let length = length.saturating_sub(at);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                match sink.lent(*id, *offset + at, length) {
                    Some(bytes) if !bytes.is_empty() => &bytes[..bytes.len().min(length)],
                    _ => &ZEROS[..ZEROS.len().min(length)],
                }
            }
        }
    }

    /// `count` bytes were written, or are given up.
    pub(super) fn advance(&mut self, count: usize, to: Peer, sink: &mut impl Sink) {
        match self {
            #[expect(clippy::cast_possible_truncation, reason = "at most SMALL_BYTES")]
            Self::Small { at, .. } => *at += count as u8,
            Self::Kept(bytes) => bytes.advance(count),
            Self::Copy(bytes) => drop(bytes.drain(..count)),
            Self::Lent { id, offset, length } => {
                *offset += count as u64;
                *length -= count as u64;
                if count > 0 {
                    sink.sent(to, *id, count as u64);
                }
            }
        }
    }

    /// A copy of what is lent; zeros where it was withdrawn.
    pub(super) fn copy_of_loan(&self, sink: &impl Sink) -> Self {
        let length = self.remaining();
        let mut copy = Vec::with_capacity(usize::try_from(length).unwrap_or(usize::MAX));
        while (copy.len() as u64) < length {
            copy.extend_from_slice(self.peek_from(copy.len() as u64, sink));
        }
        Self::Kept(copy.into())
    }

    /// Bytes that it occupies outside of itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Kept(bytes) => bytes.len(),
            Self::Copy(bytes) => bytes.capacity(),
            Self::Small { .. } | Self::Lent { .. } => 0,
        }
    }

    /// The rest will not be sent: whoever lent it gets it back.
    pub(super) fn give_up(&self, to: Peer, sink: &mut impl Sink) {
        match self {
            Self::Lent { id, length, .. } if *length > 0 => sink.sent(to, *id, *length),
            _ => {}
        }
    }
}

/// A frame on its way within the process.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) header: Header,
    body: Body,
}

impl Parcel {
    /// Copies the payload; what was lent is given back at once.
    pub(super) fn copy(
        to: Peer,
        header: &Header,
        payload: Payload<'_>,
        sink: &mut impl Sink,
    ) -> Self {
        let body = match payload {
            Payload::Lent { .. } => {
                let mut lent = Body::queued(header, payload);
                let length = usize::try_from(lent.remaining()).unwrap_or(usize::MAX);
                let mut copy = Vec::with_capacity(length);
                while lent.remaining() > 0 {
                    let bytes = lent.peek(sink);
                    copy.extend_from_slice(bytes);
                    let count = bytes.len();
                    lent.advance(count, to, sink);
                }
                Body::Kept(copy.into())
            }
            other => Body::queued(header, other),
        };
        Self {
            header: *header,
            body,
        }
    }

    /// Hands the frame to the sink.
    pub(super) fn deliver(&self, from: Peer, sink: &mut impl Sink) -> Result<(), String> {
        super::traced::arrived(from, &self.header);
        let accept = sink.header(from, &self.header)?;
        let mut rest = self.body.kept();
        if let (Accept::Into(key), false) = (accept, rest.is_empty()) {
            let mut at = 0;
            while !rest.is_empty() {
                let space = sink.space(key, at);
                let count = space.len().min(rest.len());
                if count == 0 {
                    break;
                }
                space[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                at += count as u64;
            }
            sink.done(from, key);
        }
        Ok(())
    }
}
