//! Long messages: copied by both ranks out of the sender's memory into the receiver's, by the receiver alone, or streamed through the
//! ring.
//!
//! While the receiver copies, it lets the sender help ([`share`]): a sender that waits for its message
//! has a core that does nothing. Of two ranks the one with the lower number takes the front, whoever sends: what a rank
//! has copied is in its cache, should the bytes come back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::segment::{Segment, State, Token};
use crate::base::ids::Peer;
use crate::base::share::{self, End};
use crate::limits::{
    SHARE_CHUNK_BYTES_MAX, SHARE_CHUNK_BYTES_MIN, SHARE_LOOKS_MAX, SHARE_MILLIS_MAX, SHARE_NEXT_MAX,
};
use crate::sys::clock::monotonic_nanos;
use crate::sys::peer_memory::{read_process, write_process};

/// How a long message between processes of one host travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongMessages {
    /// The sender writes it through the ring, and the receiver reads it there.
    Streamed,
    /// The receiver copies it from the sender's memory.
    Pulled,
    /// The receiver copies it from the sender's memory, and the sender helps if it waits for that. When ranks
    /// outnumber cores: streamed while the sender waits, else pulled.
    AsItSuits,
}

/// What is copied from one memory to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) from: u64,
    pub(super) into: u64,
    pub(super) length: u64,
    /// When the copy was opened.
    since: u64,
    /// Of the collective, where memory is exposed for one.
    pub(super) signature: u64,
}

impl Terms {
    pub(super) fn now(from: u64, into: u64, length: u64, signature: u64) -> Self {
        Self {
            from,
            into,
            length,
            since: monotonic_nanos(),
            signature,
        }
    }

    pub(super) fn encode(self) -> [u8; share::TERMS_BYTES] {
        let mut bytes = [0; share::TERMS_BYTES];
        let Self {
            from,
            into,
            length,
            since,
            signature,
        } = self;
        let fields = [from, into, length, since, signature];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8; share::TERMS_BYTES]) -> Self {
        let field = |index: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[8 * index..8 * index + 8]);
            u64::from_ne_bytes(field)
        };
        Self {
            from: field(0),
            into: field(1),
            length: field(2),
            since: field(3),
            signature: field(4),
        }
    }

    /// Whether it was opened a moment ago: else its owner may have died, and its number belong to a process that
    /// has nothing to do with us.
    pub(super) fn are_fresh(self) -> bool {
        let age = Duration::from_nanos(monotonic_nanos().saturating_sub(self.since));
        age < Duration::from_millis(SHARE_MILLIS_MAX)
    }
}

/// A length in chunks: of one size, or the first and the last one six times as long as the four between them.
/// Calls cost as much as copying 8 KiB, and the smaller the last chunk, the sooner one is done after the other.
#[derive(Clone, Copy, Debug)]
struct Chunks {
    length: u64,
    bytes: u64,
    graded: bool,
}

impl Chunks {
    fn of(length: u64) -> Self {
        let part = |parts: u64| length.div_ceil(parts).next_multiple_of(4096);
        let (least, most) = (SHARE_CHUNK_BYTES_MIN as u64, SHARE_CHUNK_BYTES_MAX as u64);
        let graded = (8 * least..=8 * most).contains(&length);
        let usual = part(8).clamp(least, most).min(part(2));
        let bytes = if graded {
            part(16)
        } else {
            usual.max(length.div_ceil(u64::from(share::CHUNKS_MAX)))
        };
        Self {
            length,
            bytes,
            graded,
        }
    }

    fn count(self) -> u32 {
        if self.graded {
            return 6;
        }
        self.length.div_ceil(self.bytes) as u32
    }

    fn start(self, index: u32) -> u64 {
        let start = match index {
            0 => 0,
            index if index == self.count() => self.length,
            index if self.graded => u64::from(index + 5) * self.bytes,
            index => u64::from(index) * self.bytes,
        };
        start.min(self.length)
    }

    /// What the chunk with this number is, of those that there are.
    fn range(self, index: u32) -> Range<u64> {
        self.start(index)..self.start(index + 1)
    }
}

impl Shared {
    pub(in crate::transport) const fn pulls(&self) -> bool {
        !matches!(self.long, LongMessages::Streamed)
    }

    /// Tells the others of the host whether this rank waits for something.
    pub(in crate::transport) fn attend(&mut self, attends: bool) {
        if self.attends != attends {
            self.attends = attends;
            self.segment.set_attends(self.me, attends);
        }
    }

    /// Copies the bytes at an address of a peer's memory that it has announced. `false` when that
    /// cannot be done, or the peer takes the announcement back.
    pub(in crate::transport) fn pull(&mut self, from: Peer, address: u64, into: &mut [u8]) -> bool {
        let (local, segment) = (self.local(from), Arc::clone(&self.segment));
        let together = match self.long {
            LongMessages::Streamed => return false,
            LongMessages::Pulled => false,
            LongMessages::AsItSuits if !segment.is_crowded() => true,
            LongMessages::AsItSuits if segment.attends(local) => return false,
            LongMessages::AsItSuits => false,
        };
        let token = segment.token(local);
        let me = self.me;
        let link = self.link(local);
        let copied = link.access(token).reads
            && if together {
                pull_together(&segment, (me, local), (token, address), into)
            } else {
                read_process(token.pid, address, into).is_ok()
            };
        copied && !link.takes_back(segment.memory())
    }

    /// Helps a peer that copies out of this rank's memory, also with what it copies next. Gives whether there was anything to
    /// do.
    pub(super) fn help(&mut self, local: usize) -> bool {
        let segment = &*self.segment;
        let (me, owner) = (self.me, local);
        let wants = || share::wants(segment.memory(), segment.share_at(owner), me as u32);
        if !wants() {
            return false;
        }
        let Some(link) = self.links[owner].as_deref_mut() else {
            return false;
        };
        if segment.state(owner) != State::In {
            return false;
        }
        let token = segment.token(owner);
        if !link.access(token).writes {
            return false;
        }
        let next = link.lends_more();
        for _ in 0..SHARE_NEXT_MAX {
            push_together(segment, (me, owner), token);
            if !next || !(0..SHARE_LOOKS_MAX).any(|_| wants()) {
                break;
            }
        }
        true
    }
}

/// The end from which the first of two ranks takes chunks.
const fn end(me: usize, other: usize) -> End {
    if me < other { End::Front } else { End::Back }
}

/// The receiver's part.
pub(super) fn pull_together(
    segment: &Segment,
    (me, helper): (usize, usize),
    (token, address): (Token, u64),
    into: &mut [u8],
) -> bool {
    let (memory, line) = (segment.memory(), segment.share_at(me));
    let chunks = Chunks::of(into.len() as u64);
    let bytes = into.as_mut_ptr();
    let place = bytes.expose_provenance() as u64;
    let terms = Terms::now(address, place, into.len() as u64, 0);
    share::open(memory, line, helper as u32, chunks.count(), &terms.encode());
    segment.notify(helper, me);
    let mut copied = true;
    let claim = || share::claim(memory, line, end(me, helper), chunks.count());
    while let Some((index, last)) = claim() {
        let range = chunks.range(index);
        // SAFETY: chunks lie within `into`, which is lent to this function.
        let start = unsafe { bytes.add(range.start as usize) };
        let length = (range.end - range.start) as usize;
        // SAFETY: as above. This chunk is this rank's alone; a reference to more would cover what the helper writes.
        let chunk = unsafe { std::slice::from_raw_parts_mut(start, length) };
        copied = read_process(token.pid, address.wrapping_add(range.start), chunk).is_ok();
        if last || !copied {
            break;
        }
    }
    share::close(memory, line);
    let left = await_leave(segment, me, helper);
    copied && left && !share::is_marked(memory, line)
}

/// Waits until the helper touches this rank's memory no more: it copies at most the chunks that it has taken. `false`
/// when it has died. One that is stopped in the middle of a chunk holds this rank up until it goes on.
pub(super) fn await_leave(segment: &Segment, me: usize, helper: usize) -> bool {
    let at = segment.helping_at(helper);
    let mut looks = 0_u32;
    while share::is_helped(segment.memory(), at, me as u32) {
        looks = looks.saturating_add(1);
        match looks {
            0..10_000 => std::hint::spin_loop(),
            10_000..11_000 => std::thread::yield_now(),
            _ => {
                std::thread::sleep(Duration::from_micros(200));
                segment.look_for_dead(|rank| rank != helper);
                if segment.state(helper) == State::Dead {
                    return false;
                }
            }
        }
    }
    true
}

/// The sender's part.
pub(super) fn push_together(segment: &Segment, (me, owner): (usize, usize), token: Token) {
    let (memory, line, helping) = (
        segment.memory(),
        segment.share_at(owner),
        segment.helping_at(me),
    );
    let terms = share::join(memory, (line, owner as u32), (helping, me as u32));
    let Some(terms) = terms.map(|bytes| Terms::decode(&bytes)) else {
        return;
    };
    let chunks = Chunks::of(terms.length);
    let claim = || share::claim(memory, line, end(me, owner), chunks.count());
    while let Some((index, last)) = terms.are_fresh().then(claim).flatten() {
        let range = chunks.range(index);
        let (from, into) = (
            terms.from.wrapping_add(range.start),
            terms.into.wrapping_add(range.start),
        );
        // SAFETY: the owner has opened that memory to this rank, of which it has seen that it helps: until it has
        // left, the owner keeps the memory, and this chunk of it is nobody else's.
        let written = unsafe { write_process(token.pid, into, from, range.end - range.start) };
        if written.is_err() {
            share::mark(memory, line);
        }
        if last || written.is_err() {
            break;
        }
    }
    share::leave(memory, helping);
}

/// What this rank may do with the memory of another one, as far as the kernel is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) reads: bool,
    pub(super) writes: bool,
}

/// Tries to read a process's token, and then to write it, as it is.
pub(super) fn try_access(token: Token) -> Access {
    let mut bytes = [0; 8];
    let read = read_process(token.pid, token.address, &mut bytes);
    let reads = read.is_ok() && u64::from_ne_bytes(bytes) == token.value;
    let from = bytes.as_ptr().expose_provenance() as u64;
    // SAFETY: it is a token, an atomic that is there for this, and keeps its value.
    let write = || unsafe { write_process(token.pid, token.address, from, 8) };
    let writes = reads && write().is_ok();
    if !writes {
        tracing::debug!(
            pid = token.pid,
            reads,
            ?read,
            "long messages are copied by one, or twice"
        );
    }
    Access { reads, writes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_length_once() {
        for length in [
            1,
            4096,
            65_535,
            65_536,
            1 << 20,
            (1 << 20) + 1,
            1 << 32,
            u64::MAX >> 8,
        ] {
            let chunks = Chunks::of(length);
            let count = chunks.count();
            assert!((1..=share::CHUNKS_MAX).contains(&count), "{length}");
            assert_eq!(chunks.range(0).start, 0);
            assert_eq!(chunks.range(count - 1).end, length);
            for index in 1..count {
                assert_eq!(chunks.range(index - 1).end, chunks.range(index).start);
            }
        }
    }

    #[test]
    fn terms_are_read_as_they_were_written() {
        let terms = Terms {
            from: 1,
            into: u64::MAX,
            length: 3,
            since: 4,
            signature: 5,
        };
        assert_eq!(Terms::decode(&terms.encode()), terms);
        assert!(!terms.are_fresh(), "of the time when this machine started");
    }
}
