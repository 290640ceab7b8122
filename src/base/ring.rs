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
        self.capacity as usize / 4 / LINE_BYTES * LINE_BYTES - WORD_BYTES
    }

    const fn data(self, at: u32) -> usize {
        self.base + RING_HEADER_BYTES + at as usize
    }
}

/// Bytes that a record with so much content takes.
const fn record_bytes(content: usize) -> u32 {
    (WORD_BYTES + content).next_multiple_of(LINE_BYTES) as u32
}

/// The writing end.
#[derive(Debug)]
pub struct Producer {
    place: Place,
    at: u32,
    tail: u32,
    /// `head` when it was last read.
    head: u32,
}

impl Producer {
    /// The writing end of a ring of zeros.
    pub const fn new(place: Place) -> Self {
        Self {
            place,
            at: 0,
            tail: 0,
            head: 0,
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
        let to_end = self.place.capacity - self.at;
        let skipped = if to_end < bytes { to_end } else { 0 };
        if !self.has_room(words, skipped + bytes)? {
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
        Ok(Some(part))
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

    fn has_room<W: Words>(&mut self, words: &W, bytes: u32) -> Result<bool, Corrupt> {
        let needed = bytes + LINE_BYTES as u32;
        if self.room() < needed {
            self.look(words)?;
        }
        Ok(self.room() >= needed)
    }

    const fn room(&self) -> u32 {
        self.place.capacity - self.tail.wrapping_sub(self.head)
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
        self.head.wrapping_sub(self.published) >= self.place.capacity / 4
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
mod tests {
    use super::super::words::HeapWords;
    use super::*;

    const BYTES: usize = RING_HEADER_BYTES + 1024;

    fn drain(consumer: &mut Consumer, words: &HeapWords, into: &mut Vec<u8>) {
        while let Some(record) = consumer.peek(words).expect("sound") {
            let mut bytes = vec![0; record.length];
            words.read(record.at, &mut bytes);
            into.extend_from_slice(&bytes);
            consumer.pop(record);
        }
    }

    #[test]
    fn bytes_come_out_in_order_round_and_round() {
        let words = HeapWords::new(BYTES);
        let place = Place::new(0, BYTES);
        let (mut producer, mut consumer) = (Producer::new(place), Consumer::new(place));
        let (mut sent, mut seen) = (Vec::new(), Vec::new());
        for round in 0..500_usize {
            let bytes: Vec<u8> = (0..round % 250).map(|i| (i + round) as u8).collect();
            while producer
                .push(&words, 1, &bytes, &[])
                .expect("sound")
                .is_none()
            {
                assert!(
                    !producer.want(&words).expect("sound"),
                    "nothing was consumed"
                );
                drain(&mut consumer, &words, &mut seen);
                assert!(consumer.publish(&words), "the producer waits");
            }
            sent.extend_from_slice(&bytes);
        }
        drain(&mut consumer, &words, &mut seen);
        assert!(sent == seen);
    }

    #[test]
    fn a_long_body_goes_in_pieces() {
        let words = HeapWords::new(BYTES);
        let place = Place::new(0, BYTES);
        let (mut producer, mut consumer) = (Producer::new(place), Consumer::new(place));
        let body = vec![7; 10_000];
        let (mut rest, mut seen) = (&body[..], Vec::new());
        while !rest.is_empty() {
            match producer.push(&words, 2, b"head", rest).expect("sound") {
                Some(taken) => rest = &rest[taken..],
                None => {
                    drain(&mut consumer, &words, &mut seen);
                    consumer.publish(&words);
                }
            }
        }
        drain(&mut consumer, &words, &mut seen);
        assert_eq!(seen.iter().filter(|&&byte| byte == 7).count(), 10_000);
    }

    #[test]
    fn nonsense_is_found() {
        let words = HeapWords::new(BYTES);
        let place = Place::new(0, BYTES);
        let mut consumer = Consumer::new(place);
        for word in [5, 1 << 28 | 100_000, 15 << 28] {
            words.store(RING_HEADER_BYTES, word, Relaxed);
            assert!(consumer.peek(&words).is_err(), "{word:#x}");
        }
        let mut producer = Producer::new(place);
        words.store(HEAD, 4000, Relaxed);
        while let Ok(pushed) = producer.push(&words, 1, &[0; 100], &[]) {
            assert!(
                pushed.is_some(),
                "the ring cannot fill up before head is read"
            );
        }
    }
}
