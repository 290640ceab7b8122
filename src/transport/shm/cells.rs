//! Where the ranks of one host meet for collectives: cells of shared memory.
//!
//! # Layout
//!
//! A communicator has an area of [`CELLS`] cells, used in turn. The `number`-th meeting on it takes cell
//! `number % CELLS`, for the `number / CELLS`-th time:
//!
//! ```text
//! in one line, which changes hands a few times for each meeting:
//! turn       how often the cell has been used; it is open when that is the meeting's turn
//! arrived    ranks that have put in their contribution
//! claimed    pieces of the result that somebody makes or has made
//! finished   pieces that are made; all of them: the result is there
//! left       ranks that need nothing of it any more; the last one opens the cell for its next use
//! sleepers   whether somebody sleeps who waits for a change here
//!
//! slots      for each rank, and for the result: signature and a short payload in one line, or a long one
//! ```
//!
//! # Why it is sound
//!
//! * A slot is written by its rank before it arrives (release), and read by others only after all have
//!   arrived (acquire); the result is written by whoever claimed a piece of it before that piece is
//!   counted as finished. A cell is opened again only when all have left.
//! * Nobody waits for a particular rank once all have arrived: whoever runs makes the pieces. A rank that
//!   is not scheduled holds nobody up but itself.
//! * Before a rank sleeps it sets `sleepers`, then looks once more; whoever changes something looks at
//!   `sleepers` afterwards. A sequentially consistent fence lies between the two on both sides.
//! * A rank that dies leaves the counts as they are: the others learn of its death otherwise, and never
//!   use the area again.
//! * What a rank reads it has copied first: a slot may be overwritten only by a peer that breaks the rules.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::segment::Segment;
use crate::base::words::{LINE_BYTES, Words};

/// Meetings that may be under way at once.
pub(crate) const CELLS: u32 = 4;
/// Longest payload of one slot.
pub(crate) const SLOT_BYTES: usize = 64 * 1024;

/// Payloads up to this length share a line with the signature.
pub(crate) const SHORT_BYTES: usize = LINE_BYTES - 8;
/// Slots lie so far apart: not a power of two, which would crowd all of them into a few lines of a cache.
const SLOT_STRIDE: usize = SLOT_BYTES + LINE_BYTES;

const TURN: usize = 0;
const SLEEPERS: usize = 4;
const ARRIVED: usize = 8;
const CLAIMED: usize = 12;
const FINISHED: usize = 16;
const LEFT: usize = 20;
const SHORT_SLOTS: usize = LINE_BYTES;
const PAGE_BYTES: usize = 4096;

const fn long_slots(ranks: usize) -> usize {
    (SHORT_SLOTS + (ranks + 1) * LINE_BYTES).next_multiple_of(PAGE_BYTES)
}

const fn cell_bytes(ranks: usize) -> usize {
    long_slots(ranks) + ((ranks + 1) * SLOT_STRIDE).next_multiple_of(PAGE_BYTES)
}

const fn calls_bytes(ranks: usize) -> usize {
    (ranks * LINE_BYTES).next_multiple_of(PAGE_BYTES)
}

/// Bytes of the area of one communicator.
pub(super) const fn area_bytes(ranks: usize) -> usize {
    calls_bytes(ranks) + CELLS as usize * cell_bytes(ranks)
}

/// What a rank has called last on a communicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastCall {
    pub(crate) sequence: u64,
    pub(crate) signature: u64,
}

/// One rank's view of a communicator's cells. Ranks are those of the communicator.
#[derive(Clone, Debug)]
pub(crate) struct Area {
    segment: Arc<Segment>,
    base: usize,
    me: usize,
    /// Their places in the segment.
    members: Arc<[usize]>,
}

impl Area {
    pub(super) fn new(
        segment: Arc<Segment>,
        index: usize,
        me: usize,
        members: Arc<[usize]>,
    ) -> Self {
        let base = segment.area(index);
        Self {
            segment,
            base,
            me,
            members,
        }
    }

    /// Number of ranks.
    pub(crate) fn ranks(&self) -> usize {
        self.members.len()
    }

    /// This rank.
    pub(crate) const fn me(&self) -> usize {
        self.me
    }

    /// The slot of the result.
    pub(crate) fn result(&self) -> usize {
        self.ranks()
    }

    fn cell(&self, number: u32) -> usize {
        let (ranks, index) = (self.segment.ranks(), (number % CELLS) as usize);
        self.base + calls_bytes(ranks) + index * cell_bytes(ranks)
    }

    fn load(&self, number: u32, field: usize) -> u32 {
        self.segment
            .memory()
            .load(self.cell(number) + field, Acquire)
    }

    /// Whether this meeting may begin: everybody has left the last one in its cell.
    pub(crate) fn is_open(&self, number: u32) -> bool {
        self.load(number, TURN) == number / CELLS
    }

    fn slot(&self, number: u32, slot: usize, length: usize) -> usize {
        let cell = self.cell(number);
        if length <= SHORT_BYTES {
            cell + SHORT_SLOTS + slot * LINE_BYTES + 8
        } else {
            cell + long_slots(self.segment.ranks()) + slot * SLOT_STRIDE
        }
    }

    /// Writes a slot's signature.
    pub(crate) fn sign(&self, number: u32, slot: usize, signature: u64) {
        let at = self.cell(number) + SHORT_SLOTS + slot * LINE_BYTES;
        self.segment.memory().write(at, &signature.to_ne_bytes());
    }

    /// Reads a slot's signature.
    pub(crate) fn signature(&self, number: u32, slot: usize) -> u64 {
        let at = self.cell(number) + SHORT_SLOTS + slot * LINE_BYTES;
        let mut bytes = [0; 8];
        self.segment.memory().read(at, &mut bytes);
        u64::from_ne_bytes(bytes)
    }

    /// Writes a part of a slot's payload, which is `length` bytes long in all.
    pub(crate) fn write(
        &self,
        number: u32,
        slot: usize,
        length: usize,
        offset: usize,
        from: &[u8],
    ) {
        let at = self.slot(number, slot, length) + offset;
        self.segment.memory().write(at, from);
    }

    /// Reads a part of a slot's payload, which is `length` bytes long in all.
    pub(crate) fn read(
        &self,
        number: u32,
        slot: usize,
        length: usize,
        offset: usize,
        into: &mut [u8],
    ) {
        let at = self.slot(number, slot, length) + offset;
        self.segment.memory().read(at, into);
    }

    /// This rank's slot is written. `true` for the last rank: then all are.
    pub(crate) fn arrive(&self, number: u32) -> bool {
        let before = self.segment.memory().add(self.cell(number) + ARRIVED, 1);
        before as usize + 1 == self.ranks()
    }

    /// Whether all slots are written.
    pub(crate) fn is_full(&self, number: u32) -> bool {
        self.load(number, ARRIVED) as usize == self.ranks()
    }

    /// Whether there is a piece of the result that nobody makes yet.
    pub(crate) fn has_unclaimed(&self, number: u32, pieces: u32) -> bool {
        self.load(number, CLAIMED) < pieces
    }

    /// A piece of the result that nobody makes yet, if there is one. A result of one piece is made by the
    /// last to arrive, unasked.
    pub(crate) fn claim(&self, number: u32, pieces: u32) -> Option<u32> {
        if pieces <= 1 || self.load(number, CLAIMED) >= pieces {
            return None;
        }
        let piece = self.segment.memory().add(self.cell(number) + CLAIMED, 1);
        (piece < pieces).then_some(piece)
    }

    /// A piece is made. `true` for the last one.
    pub(crate) fn finish(&self, number: u32, pieces: u32) -> bool {
        let before = self.segment.memory().add(self.cell(number) + FINISHED, 1);
        before + 1 == pieces
    }

    /// Whether the result is there.
    pub(crate) fn is_finished(&self, number: u32, pieces: u32) -> bool {
        self.load(number, FINISHED) >= pieces
    }

    /// This rank needs nothing of the meeting any more. The last one opens the cell for its next use.
    pub(crate) fn leave(&self, number: u32) {
        let (memory, cell) = (self.segment.memory(), self.cell(number));
        let before = memory.add(cell + LEFT, 1);
        if before as usize + 1 < self.ranks() {
            return;
        }
        for field in [ARRIVED, CLAIMED, FINISHED, LEFT] {
            memory.store(cell + field, 0, Relaxed);
        }
        memory.store(cell + TURN, number / CELLS + 1, Release);
        self.call_sleepers(number);
    }

    /// Something has changed: whoever sleeps over it is woken.
    pub(crate) fn call_sleepers(&self, number: u32) {
        let (memory, at) = (self.segment.memory(), self.cell(number) + SLEEPERS);
        memory.fence();
        if memory.load(at, Relaxed) == 0 || memory.swap(at, 0) == 0 {
            return;
        }
        let from = self.members[self.me];
        for &local in self.members.iter().filter(|local| **local != from) {
            self.segment.notify(local, from);
        }
    }

    /// This rank is about to sleep until something changes: look once more afterwards.
    pub(crate) fn will_sleep(&self, number: u32) {
        let memory = self.segment.memory();
        memory.store(self.cell(number) + SLEEPERS, 1, Relaxed);
        memory.fence();
    }

    /// Publishes what this rank calls, for those who wait in vain and wonder why.
    pub(crate) fn note_call(&self, call: LastCall) {
        let (memory, at) = (self.segment.memory(), self.base + self.me * LINE_BYTES);
        // Odd while it is written.
        let version = memory.load(at, Relaxed).wrapping_add(1) | 1;
        memory.store(at, version, Relaxed);
        std::sync::atomic::fence(Release);
        memory.write(at + 8, &call.sequence.to_ne_bytes());
        memory.write(at + 16, &call.signature.to_ne_bytes());
        memory.store(at, version.wrapping_add(1), Release);
    }

    /// What a rank has called last; `None` when it has called nothing, or is about to.
    pub(crate) fn last_call(&self, rank: usize) -> Option<LastCall> {
        let (memory, at) = (self.segment.memory(), self.base + rank * LINE_BYTES);
        let number = |at: usize| {
            let mut bytes = [0; 8];
            memory.read(at, &mut bytes);
            u64::from_ne_bytes(bytes)
        };
        let before = memory.load(at, Acquire);
        let call = LastCall {
            sequence: number(at + 8),
            signature: number(at + 16),
        };
        std::sync::atomic::fence(Acquire);
        let after = memory.load(at, Relaxed);
        (before == after && before > 0 && before % 2 == 0).then_some(call)
    }
}
