//! A layer between the bytes of a socket and frames: what goes through it is sealed.
//!
//! Reading gives bytes of the stream as soon as their piece is whole and has opened. Writing takes as many
//! bytes as fit into a few pieces, and keeps what the socket does not take of these: a socket has written
//! everything only when its cipher [holds](Cipher::holds) nothing. All buffers are bounded.

use std::io::{self, IoSlice};

use super::socket::{Moved, Socket};
use crate::wire::noise::NoiseError;
use crate::wire::sealed::{EXTRA_BYTES, Keys, PLAIN_BYTES_MAX, piece_bytes, plain_bytes};

/// Room for pieces that arrive, and for those that leave.
const BATCH_PIECES: usize = 4;
const BATCH_BYTES: usize = BATCH_PIECES * (PLAIN_BYTES_MAX + EXTRA_BYTES);
/// Before every piece.
const PREFIX_BYTES: usize = 2;

#[derive(Debug)]
pub(super) struct Cipher {
    keys: Keys,
    /// As it comes from the socket: `taken..arrived` is not opened yet.
    arriving: Box<[u8]>,
    taken: usize,
    arrived: usize,
    /// A piece that was opened; from `given` on it is not yet given away.
    plain: Vec<u8>,
    given: usize,
    /// Sealed; from `sent` on the socket has not taken it yet.
    sealed: Vec<u8>,
    sent: usize,
    /// The next piece, where it comes from several places.
    gathered: Vec<u8>,
}

fn altered(error: NoiseError) -> io::Error {
    let text = match error {
        NoiseError::Authentication | NoiseError::TooLong(_) => {
            "what the peer has encrypted was altered on its way".to_owned()
        }
        other => other.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Cipher {
    pub(super) fn new(keys: Keys) -> Box<Self> {
        Box::new(Self {
            keys,
            arriving: vec![0; BATCH_BYTES].into(),
            taken: 0,
            arrived: 0,
            plain: Vec::new(),
            given: 0,
            sealed: Vec::with_capacity(BATCH_BYTES),
            sent: 0,
            gathered: Vec::new(),
        })
    }

    /// Whether the socket has not taken all that was written.
    pub(super) fn holds(&self) -> bool {
        self.sent < self.sealed.len()
    }

    /// Reads into `first`, then into `second`, with one system call at most. `Ok(None)`: the stream has ended.
    pub(super) fn read(
        &mut self,
        socket: &mut Socket,
        first: &mut [u8],
        second: &mut [u8],
    ) -> io::Result<Option<Moved>> {
        let bytes = self.give(first, second)?;
        if bytes > 0 {
            // What the socket has is for the next call to find out.
            return Ok(Some(Moved { bytes, more: true }));
        }
        self.arriving.copy_within(self.taken..self.arrived, 0);
        self.arrived -= std::mem::take(&mut self.taken);
        let Some(moved) = socket.read_raw(&mut self.arriving[self.arrived..], &mut [])? else {
            return match self.arrived {
                0 => Ok(None),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        };
        self.arrived += moved.bytes;
        let bytes = self.give(first, second)?;
        // A piece that is not whole yet is news for us, and none for the caller: it must ask again.
        let partial = bytes == 0 && moved.bytes > 0;
        let more = moved.more || partial || self.has_more();
        Ok(Some(Moved { bytes, more }))
    }

    /// Whether something can be given without asking the socket, if only an error.
    fn has_more(&self) -> bool {
        self.given < self.plain.len() || !matches!(self.whole_piece(), Ok(None))
    }

    /// Bytes of the next piece behind its length, if it is there whole.
    fn whole_piece(&self) -> Result<Option<usize>, NoiseError> {
        let there = &self.arriving[self.taken..self.arrived];
        let length = piece_bytes(there)?;
        Ok(length.filter(|length| there.len() >= PREFIX_BYTES + length))
    }

    /// Gives what is there. An error comes only when nothing was before it.
    fn give(&mut self, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
        let mut bytes = 0_usize;
        loop {
            let into = match bytes.checked_sub(first.len()) {
                None => &mut first[bytes..],
                Some(at) => &mut second[at..],
            };
            if into.is_empty() {
                return Ok(bytes);
            }
            if self.given < self.plain.len() {
                let count = into.len().min(self.plain.len() - self.given);
                into[..count].copy_from_slice(&self.plain[self.given..][..count]);
                self.given += count;
                bytes += count;
                continue;
            }
            match self.open_next(into) {
                Ok(None) => return Ok(bytes),
                Ok(Some(count)) => bytes += count,
                // It will be the same error again.
                Err(_) if bytes > 0 => return Ok(bytes),
                Err(error) => return Err(altered(error)),
            }
        }
    }

    /// Opens the next piece, straight into place if there is room for all of it.
    fn open_next(&mut self, into: &mut [u8]) -> Result<Option<usize>, NoiseError> {
        let Some(length) = self.whole_piece()? else {
            return Ok(None);
        };
        let piece = &self.arriving[self.taken + PREFIX_BYTES..][..length];
        let direct = into.len() >= plain_bytes(length);
        if direct {
            self.keys.open(piece, into)?;
        } else {
            self.plain.resize(plain_bytes(length), 0);
            self.given = self.plain.len();
            self.keys.open(piece, &mut self.plain)?;
            self.given = 0;
        }
        self.taken += PREFIX_BYTES + length;
        Ok(Some(if direct { plain_bytes(length) } else { 0 }))
    }

    /// Takes the pieces as far as they can be sealed and kept; nothing of them when the socket takes nothing.
    pub(super) fn write(
        &mut self,
        socket: &mut Socket,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<Moved> {
        let mut moved = Moved {
            bytes: 0,
            more: self.drain(socket)?,
        };
        let mut rest = Rest { pieces, at: 0 };
        while !self.holds() && self.seal(&mut rest, &mut moved.bytes)? {
            // The peer may have what was taken before: it counts, and an error comes again.
            moved.more = self.drain(socket).unwrap_or(true);
        }
        Ok(moved)
    }

    /// Hands what is sealed to the socket. Gives whether the socket may take more at once.
    fn drain(&mut self, socket: &mut Socket) -> io::Result<bool> {
        while self.holds() {
            let moved = socket.write_raw(&[IoSlice::new(&self.sealed[self.sent..])])?;
            self.sent += moved.bytes;
            if self.holds() && (!moved.more || moved.bytes == 0) {
                return Ok(moved.more);
            }
        }
        self.sealed.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Seals some of what is left; `false`: there is nothing.
    fn seal(&mut self, rest: &mut Rest<'_>, bytes: &mut usize) -> io::Result<bool> {
        let mut any = false;
        for _ in 0..BATCH_PIECES {
            let plain = match rest.next() {
                None => break,
                Some(plain) if plain.len() == PLAIN_BYTES_MAX => plain,
                Some(plain) => {
                    self.gathered.clear();
                    self.gathered.extend_from_slice(plain);
                    while let Some(more) = rest.up_to(PLAIN_BYTES_MAX - self.gathered.len()) {
                        self.gathered.extend_from_slice(more);
                    }
                    &self.gathered
                }
            };
            match self.keys.seal(plain, &mut self.sealed) {
                Ok(_) => *bytes += plain.len(),
                // What was sealed before counts; it will be the same error again.
                Err(_) if *bytes > 0 => break,
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
            any = true;
        }
        Ok(any)
    }
}

/// What is not sealed yet.
struct Rest<'a> {
    pieces: &'a [IoSlice<'a>],
    /// Bytes of the first one that are.
    at: usize,
}

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.up_to(PLAIN_BYTES_MAX)
    }

    /// The next bytes that stand together, at most so many; `None` when there are none, or none are wanted.
    fn up_to(&mut self, most: usize) -> Option<&'a [u8]> {
        if most == 0 {
            return None;
        }
        loop {
            let (first, others) = self.pieces.split_first()?;
            let bytes = &first[self.at..];
            if bytes.is_empty() {
                (self.pieces, self.at) = (others, 0);
                continue;
            }
            let count = bytes.len().min(most);
            self.at += count;
            return Some(&bytes[..count]);
        }
    }
}
