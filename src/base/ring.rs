//! A ring with one producer and one consumer, over any shared memory.
//!
//! # Layout
//!
//! ```text
//!   0   wanted      the producer waits for room              (producer's line)
//!   4   withdrawn   announcements that the producer took back
//!  64   head        bytes consumed so far, modulo 2^32       (consumer's line)
//! 128   data        records, each at a multiple of 64 bytes
//! ```
//!
//! A record is a word, `kind << 28 | length`, followed by `length` bytes, padded to whole cache lines:
//! a short message travels in one line, together with the word that announces it.
//!
//! # Why it is sound
//!
//! * The word of a record is what publishes it. The producer first writes the content, then a zero where
//!   the next record will begin, then the word (release). The consumer polls the word at its own cursor
//!   (acquire): nothing else changes hands for a message that is consumed in time.
//! * The producer never writes where the consumer may read: it keeps one line free for the zero, and
//!   counts a byte as free only after `head` (release) says so (acquire).
//! * Cursors are private to each side and never read from shared memory. `head` and the words are
//!   checked before they are used: a peer that writes nonsense is [`Corrupt`], and hurts nobody else.
//! * A producer that dies between any two stores leaves either a whole record or none. A consumer that
//!   dies leaves a ring that fills up.
//!
//! # Near and far
//!
//! While records are short, the producer goes round in the *near* part of the ring: it stays in the caches, and
//! memory that was never written costs nothing. A long record lets it go round the whole ring once. By the
//! time that it comes back the lines have left the consumer's cache: to write into lines that another core has
//! just read is three to four times slower, and that decides how fast long messages stream (measured on two
//! cores with caches of 1 MiB each: 8 GB/s through 64 KiB, 30 GB/s through 2 MiB). For the same reason it stays
//! within a quarter of the ring ahead of the consumer then: or, once the ring were full, it would follow right
//! behind the consumer again.
//!
//! A producer whose records are answered one by one has time to fetch the lines of the next one while it waits for the
//! answer ([`Producer::prepare`]): then long records too are faster in the near part.
//!
//! # Nobody waits for ever
//!
//! * Room: the producer sets `wanted`, then looks at `head` again; the consumer moves `head`, then looks
//!   at `wanted`. Both have a sequentially consistent fence between, so one of them sees the other.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::words::{LINE_BYTES, Words};

/// Bytes before the records.
pub const RING_HEADER_BYTES: usize = 2 * LINE_BYTES;

const WANTED: usize = 0;
const WITHDRAWN: usize = 4;
const HEAD: usize = LINE_BYTES;
const WORD_BYTES: usize = 4;
const LENGTH_MASK: u32 = (1 << 28) - 1;
/// Kind of a record without content: go on at the beginning of the ring.
const SKIP: u32 = 15;

/// The other side has written what it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared ring holds {what} {value:#x}, which makes no sense")]
pub struct Corrupt {
    what: &'static str,
    value: u32,
}

/// Where a ring lies in its memory.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    base: usize,
    capacity: u32,
}

impl Place {
    /// The ring at `base` with `bytes` bytes in all, header included.
    ///
    /// # Panics
    ///
    /// When the bytes are not whole lines, or less than a header and 16 lines, or 2^28 or more.
    pub const fn new(base: usize, bytes: usize) -> Self {
        assert!(bytes % LINE_BYTES == 0 && base % LINE_BYTES == 0);
        assert!(bytes >= RING_HEADER_BYTES + 16 * LINE_BYTES && bytes < 1 << 28);
        Self {
            base,
            capacity: (bytes - RING_HEADER_BYTES) as u32,
        }
    }

    /// Longest content of one record.
    pub const fn content_max(self) -> usize {
        self.quarter() as usize / LINE_BYTES * LINE_BYTES - WORD_BYTES
    }

    /// A quarter of the ring, or what is enough of a large one.
    const fn quarter(self) -> u32 {
        if self.capacity as usize / 4 < CONTENT_BYTES_MAX {
            self.capacity / 4
        } else {
            CONTENT_BYTES_MAX as u32
        }
    }

    const fn data(self, at: u32) -> usize {
        self.base + RING_HEADER_BYTES + at as usize
    }
}

/// Bytes that a record with so much content takes.
const fn record_bytes(content: usize) -> u32 {
    (WORD_BYTES + content).next_multiple_of(LINE_BYTES) as u32
}

/// Content from which on a record is long.
pub const LONG_RECORD_BYTES: usize = 2 * 1024;
/// Consumed bytes that the producer can do without for a while.
const SOME_BYTES: u32 = 1024;
/// Longest content of a record: several of them overlap when both sides copy a long message.
const CONTENT_BYTES_MAX: usize = 16 * 1024;

/// A roaming producer is ahead by less than this part of the ring, and one record.
const WINDOWS: u32 = 4;

/// The writing end.
#[derive(Debug)]
pub struct Producer {
    place: Place,
    at: u32,
    tail: u32,
    /// `head` when it was last read.
    head: u32,
    /// Bytes of the near part.
    near: u32,
    /// Bytes that it may still write before it goes back to the near part.
    roam: u32,
    /// Whether long records may go beyond the near part.
    far: bool,
    /// Long records since the consumer has answered.
    unanswered: u32,
    /// It answers them one by one: nothing is gained by going far.
    converses: bool,
    /// Bytes of the record that was written last.
    last: u32,
}

impl Producer {
    /// The writing end of a ring of zeros, all of which is near.
    pub const fn new(place: Place) -> Self {
        Self::nearby(place, place.capacity as usize)
    }

    /// The writing end of a ring of zeros. It writes only the first `near` bytes after the header, and one
    /// line behind them, until [`go_far`](Self::go_far).
    ///
    /// # Panics
    ///
    /// When the longest record does not fit there.
    pub const fn nearby(place: Place, near: usize) -> Self {
        let near = if near < place.capacity as usize {
            near / LINE_BYTES * LINE_BYTES
        } else {
            place.capacity as usize
        };
        assert!(near > record_bytes(place.content_max()) as usize);
        Self {
            place,
            at: 0,
            tail: 0,
            head: 0,
            near: near as u32,
            roam: 0,
            far: false,
            unanswered: 0,
            converses: false,
            last: 0,
        }
    }

    /// From now on long records may go beyond the near part: there is memory behind the whole ring.
    pub const fn go_far(&mut self) {
        self.far = true;
    }

    /// The consumer has answered what was written.
    pub const fn answered(&mut self) {
        if self.unanswered > 0 {
            self.converses = self.unanswered == 1;
            self.unanswered = 0;
        }
    }

    /// Writes one record: all of `head` and the beginning of `body`, as much as one record may hold.
    /// Gives how much of the body that was; `None` when there is no room now.
    ///
    /// # Errors
    ///
    /// When the consumer has written nonsense.
    ///
    /// # Panics
    ///
    /// When the kind is none of 1..=14, or `head` alone does not fit into a record.
    pub fn push<W: Words>(
        &mut self,
        words: &W,
        kind: u32,
        head: &[u8],
        body: &[u8],
    ) -> Result<Option<usize>, Corrupt> {
        assert!(kind > 0 && kind < SKIP);
        let part = body.len().min(self.place.content_max() - head.len());
        let bytes = record_bytes(head.len() + part);
        if self.far && part + head.len() >= LONG_RECORD_BYTES {
            let near = self.converses && self.unanswered == 0;
            self.roam = if near { 0 } else { self.place.capacity };
            self.unanswered = self.unanswered.saturating_add(1);
        }
        let end = if self.roam > 0 {
            self.place.capacity
        } else {
            self.near
        };
        let skipped = if self.at + bytes > end {
            self.place.capacity - self.at
        } else {
            0
        };
        let ahead = if self.roam > 0 {
            self.place.capacity / WINDOWS
        } else {
            self.place.capacity
        };
        if !self.has_room(words, skipped + bytes, ahead)? {
            return Ok(None);
        }
        if skipped > 0 {
            words.store(self.place.data(0), 0, Relaxed);
            words.store(self.place.data(self.at), SKIP << 28, Release);
            self.at = 0;
            self.tail = self.tail.wrapping_add(skipped);
        }
        let start = self.place.data(self.at);
        words.write(start + WORD_BYTES, head);
        words.write(start + WORD_BYTES + head.len(), &body[..part]);
        self.at += bytes;
        if self.at == self.place.capacity {
            self.at = 0;
        }
        words.store(self.place.data(self.at), 0, Relaxed);
        words.store(start, kind << 28 | (head.len() + part) as u32, Release);
        self.tail = self.tail.wrapping_add(bytes);
        self.roam = self.roam.saturating_sub(bytes);
        self.last = bytes;
        Ok(Some(part))
    }

    /// After a record has been written and told of: fetches the lines of the next one, if that is as long. The
    /// consumer has had them, and to write them would have to wait.
    pub fn prepare<W: Words>(&self, words: &W) {
        // The first one was fetched for the zero, and is being looked at.
        let rest = self.last.saturating_sub(LINE_BYTES as u32);
        if rest > 0 && self.roam == 0 && self.at + self.last <= self.near {
            words.will_write(self.place.data(self.at) + LINE_BYTES, rest as usize);
        }
    }

    /// Asks the consumer to tell when it has made room. `true` when it has already: push again.
    ///
    /// # Errors
    ///
    /// When the consumer has written nonsense.
    pub fn want<W: Words>(&mut self, words: &W) -> Result<bool, Corrupt> {
        words.store(self.place.base + WANTED, 1, Relaxed);
        words.fence();
        let before = self.head;
        self.look(words)?;
        Ok(self.head != before)
    }

    /// Counts an announcement that was taken back; the consumer sees it after whatever it reads later.
    pub fn count_withdrawn<W: Words>(&self, words: &W) {
        let place = self.place.base + WITHDRAWN;
        let count = words.load(place, Relaxed);
        words.store(place, count.wrapping_add(1), Release);
        words.fence();
    }

    /// Whether so many bytes fit, and the consumer is not more than `ahead` bytes behind.
    fn has_room<W: Words>(&mut self, words: &W, bytes: u32, ahead: u32) -> Result<bool, Corrupt> {
        if !self.fits(bytes, ahead) {
            self.look(words)?;
        }
        Ok(self.fits(bytes, ahead))
    }

    const fn fits(&self, bytes: u32, ahead: u32) -> bool {
        let unread = self.tail.wrapping_sub(self.head);
        let room = self.place.capacity - unread;
        room >= bytes + LINE_BYTES as u32 && (unread < ahead)
    }

    fn look<W: Words>(&mut self, words: &W) -> Result<(), Corrupt> {
        let head = words.load(self.place.base + HEAD, Acquire);
        if self.tail.wrapping_sub(head) > self.tail.wrapping_sub(self.head) {
            return Err(Corrupt {
                what: "head",
                value: head,
            });
        }
        self.head = head;
        Ok(())
    }
}

/// A record that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the producer said it is.
    pub kind: u32,
    /// Place of the content in the memory.
    pub at: usize,
    /// Bytes of the content.
    pub length: usize,
}

/// The reading end.
#[derive(Debug)]
pub struct Consumer {
    place: Place,
    at: u32,
    head: u32,
    /// `head` as the producer can see it.
    published: u32,
}

impl Consumer {
    /// The reading end of a ring of zeros.
    pub const fn new(place: Place) -> Self {
        Self {
            place,
            at: 0,
            head: 0,
            published: 0,
        }
    }

    /// The next record, if there is one. It stays where it is until [`pop`](Self::pop).
    ///
    /// # Errors
    ///
    /// When the producer has written nonsense.
    #[inline]
    pub fn peek<W: Words>(&mut self, words: &W) -> Result<Option<Record>, Corrupt> {
        let mut word = words.load(self.place.data(self.at), Acquire);
        if word == SKIP << 28 && self.at > 0 {
            self.head = self.head.wrapping_add(self.place.capacity - self.at);
            self.at = 0;
            word = words.load(self.place.data(0), Acquire);
        }
        if word == 0 {
            return Ok(None);
        }
        let (kind, length) = (word >> 28, (word & LENGTH_MASK) as usize);
        let fits = length <= self.place.content_max()
            && record_bytes(length) <= self.place.capacity - self.at;
        if kind == 0 || kind >= SKIP || !fits {
            return Err(Corrupt {
                what: "word",
                value: word,
            });
        }
        Ok(Some(Record {
            kind,
            at: self.place.data(self.at) + WORD_BYTES,
            length,
        }))
    }

    /// The record that was looked at last is not needed any more.
    pub fn pop(&mut self, record: Record) {
        let bytes = record_bytes(record.length);
        self.at += bytes;
        if self.at == self.place.capacity {
            self.at = 0;
        }
        self.head = self.head.wrapping_add(bytes);
    }

    /// Whether so much was consumed since the producer was last told that it might be waiting.
    pub const fn owes_room(&self) -> bool {
        self.head.wrapping_sub(self.published) >= self.place.quarter()
    }

    /// Whether more was consumed since then than the producer can do without: the rest has room for the longest
    /// record, wherever that has to begin.
    pub const fn owes_some(&self) -> bool {
        let some = if self.place.capacity / 16 < SOME_BYTES {
            self.place.capacity / 16
        } else {
            SOME_BYTES
        };
        self.head.wrapping_sub(self.published) >= some
    }

    /// Lets the producer use what was consumed. `true` when it waits for that and has to be woken.
    pub fn publish<W: Words>(&mut self, words: &W) -> bool {
        if self.head == self.published {
            return false;
        }
        self.published = self.head;
        words.store(self.place.base + HEAD, self.head, Release);
        words.fence();
        let wanted = self.place.base + WANTED;
        words.load(wanted, Relaxed) != 0 && words.swap(wanted, 0) != 0
    }

    /// How many announcements the producer has taken back, as of everything that happened before.
    pub fn withdrawn<W: Words>(&self, words: &W) -> u32 {
        words.fence();
        words.load(self.place.base + WITHDRAWN, Acquire)
    }
}

#[cfg(test)]
mod tests;
