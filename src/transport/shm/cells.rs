//! Where the ranks of one host meet for collectives: cells of shared memory.
//!
//! # Layout
//!
//! A communicator has an area of [`CELLS`] cells, used in turn. The `number`-th meeting on it takes cell
//! `number % CELLS`, for the `number / CELLS`-th time:
//!
//! ```text
//! counts     in one line, which changes hands a few times for each meeting: see [`cell`]
//! slots      for each rank, and for the result: signature and a short payload in one line, or a long one
//! ```
//!
//! # Why it is sound
//!
//! * A slot is written by its rank before it arrives (release), and read by others only after all have
//!   arrived (acquire); the result is written by whoever claimed a piece of it before that piece is
//!   counted as finished. A cell is opened again only when all have left.
//! * In a chain ranks arrive in their order, and `arrived` says whose turn it is: that rank alone writes the result, after
//!   it has seen that its predecessor has arrived (acquire), and before it arrives itself (release). It then calls its
//!   successor by its bell, and the last one calls all sleepers.
//!   `tests/shm_model.rs` tries all interleavings.
//! * Nobody else waits for a particular rank once all have arrived: whoever runs makes the pieces. A rank that
//!   is not scheduled holds nobody up but itself.
//! * A rank that dies leaves the counts as they are: the others learn of its death otherwise, and never
//!   use the area again.
//! * What a rank reads it has copied first: a slot may be overwritten only by a peer that breaks the rules.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::boards::boards_bytes;
use super::segment::Segment;
use crate::base::cell;
use crate::base::words::{LINE_BYTES, SharedBytes, Words};
use crate::limits::LOCAL_RANKS_MAX;
use crate::sys::shared_memory::SharedMemory;

/// Meetings that may be under way at once. A power of two: numbers of meetings wrap around.
pub(crate) const CELLS: u32 = 8;
/// Longest payload of one slot.
pub(crate) const SLOT_BYTES: usize = 64 * 1024;

/// Payloads up to this length share a line with the signature.
pub(crate) const SHORT_BYTES: usize = LINE_BYTES - 8;
/// Slots lie so far apart: not a power of two, which would crowd all of them into a few lines of a cache.
pub(super) const SLOT_STRIDE: usize = SLOT_BYTES + LINE_BYTES;

const SHORT_SLOTS: usize = LINE_BYTES;
const PAGE_BYTES: usize = 4096;

/// Calls of each rank that others can look up.
const CALLS: u64 = 32;
/// Of one call: a version, which is odd while it is written, the sequence number, and the signature.
const CALL_BYTES: usize = 32;

const _: () = assert!(CELLS.is_power_of_two() && LOCAL_RANKS_MAX < 1 << cell::LEFT_BITS);

const fn long_slots(ranks: usize) -> usize {
    (SHORT_SLOTS + (ranks + 1) * LINE_BYTES).next_multiple_of(PAGE_BYTES)
}

pub(super) const fn cell_bytes(ranks: usize) -> usize {
    long_slots(ranks) + ((ranks + 1) * SLOT_STRIDE).next_multiple_of(PAGE_BYTES)
}

pub(super) const fn calls_bytes(ranks: usize) -> usize {
    (ranks * CALLS as usize * CALL_BYTES).next_multiple_of(PAGE_BYTES)
}

/// How often the cell of this meeting has been used before it.
const fn turn(number: u32) -> u32 {
    number / CELLS
}

/// Bytes of the area of one communicator.
pub(super) const fn area_bytes(ranks: usize) -> usize {
    calls_bytes(ranks) + CELLS as usize * cell_bytes(ranks) + boards_bytes(ranks)
}

/// What a rank has called on a communicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PastCall {
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
    /// Ranks may look for each other's memory.
    reaches: bool,
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
            reaches: true,
        }
    }

    /// The same, where nobody touches another one's memory.
    pub(super) fn apart(self) -> Self {
        Self {
            reaches: false,
            ..self
        }
    }

    pub(super) const fn reaches(&self) -> bool {
        self.reaches
    }

    /// Number of ranks.
    pub(crate) fn ranks(&self) -> usize {
        self.members.len()
    }

    /// This rank.
    pub(crate) const fn me(&self) -> usize {
        self.me
    }

    pub(super) fn memory(&self) -> &SharedMemory {
        self.segment.memory()
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// A rank's place in the segment.
    pub(super) fn member(&self, rank: usize) -> usize {
        self.members[rank]
    }

    pub(super) const fn base(&self) -> usize {
        self.base
    }

    /// The number of ranks that the memory is laid out for.
    pub(super) fn layout_ranks(&self) -> usize {
        self.segment.ranks()
    }

    /// The slot of the result.
    pub(crate) fn result(&self) -> usize {
        self.ranks()
    }

    fn cell(&self, number: u32) -> usize {
        let (ranks, index) = (self.segment.ranks(), (number % CELLS) as usize);
        self.base + calls_bytes(ranks) + index * cell_bytes(ranks)
    }

    /// Whether this meeting may begin: everybody has left the last one in its cell.
    pub(crate) fn is_open(&self, number: u32) -> bool {
        cell::turn(self.memory(), self.cell(number)) == turn(number)
    }

    fn slot(&self, number: u32, slot: usize, length: usize) -> usize {
        if length <= SHORT_BYTES {
            self.line(number, slot) + 8
        } else {
            self.cell(number) + long_slots(self.segment.ranks()) + slot * SLOT_STRIDE
        }
    }

    /// The line of a slot.
    pub(super) fn line(&self, number: u32, slot: usize) -> usize {
        self.cell(number) + SHORT_SLOTS + slot * LINE_BYTES
    }

    /// Writes a slot's signature.
    pub(crate) fn sign(&self, number: u32, slot: usize, signature: u64) {
        let at = self.line(number, slot);
        self.segment.memory().write(at, &signature.to_ne_bytes());
    }

    /// Reads a slot's signature.
    pub(crate) fn signature(&self, number: u32, slot: usize) -> u64 {
        let at = self.line(number, slot);
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

    /// The result of a chain, which is `length` bytes long in all, for the rank whose turn it is.
    pub(crate) fn sum(&self, number: u32, length: usize) -> SharedBytes<'_> {
        let at = self.slot(number, self.result(), length);
        SharedBytes::of(self.segment.memory(), at, length)
    }

    /// This rank's slot is written. `true` for the last rank: then all are.
    pub(crate) fn arrive(&self, number: u32) -> bool {
        let before = cell::arrive(self.memory(), self.cell(number));
        before as usize + 1 == self.ranks()
    }

    /// How many have put in their contributions.
    pub(crate) fn arrived(&self, number: u32) -> usize {
        cell::arrived(self.memory(), self.cell(number)) as usize
    }

    /// Whether all slots are written.
    pub(crate) fn is_full(&self, number: u32) -> bool {
        self.arrived(number) == self.ranks()
    }

    /// Whether there are more ranks than cores for them.
    pub(crate) fn outnumbers_cores(&self) -> bool {
        self.ranks() > self.segment.cores()
    }

    /// The next rank may have waited for this one.
    pub(crate) fn call_next(&self) {
        if let Some(next) = self.members.get(self.me + 1) {
            self.segment.notify(*next, self.members[self.me]);
        }
    }

    /// Whether there is a piece of the result that nobody makes yet.
    pub(crate) fn has_unclaimed(&self, number: u32, pieces: u32) -> bool {
        cell::claimed(self.memory(), self.cell(number)) < pieces
    }

    /// A piece of the result that nobody makes yet, if there is one. A result of one piece is made by the
    /// last to arrive, unasked.
    pub(crate) fn claim(&self, number: u32, pieces: u32) -> Option<u32> {
        let several = pieces > 1;
        several
            .then(|| cell::claim(self.memory(), self.cell(number), pieces))
            .flatten()
    }

    /// A piece is made. `true` for the last one.
    pub(crate) fn finish(&self, number: u32, pieces: u32) -> bool {
        let before = cell::finish(self.memory(), self.cell(number));
        before.wrapping_add(1) == pieces
    }

    /// How many pieces are made, or otherwise how many ranks have come to the end of how many stages.
    pub(super) fn finished(&self, number: u32) -> u32 {
        cell::finished(self.memory(), self.cell(number))
    }

    /// Whether the result is there.
    pub(crate) fn is_finished(&self, number: u32, pieces: u32) -> bool {
        self.finished(number) >= pieces
    }

    /// This rank needs nothing of the meeting any more. The last one opens the cell for its next use, and
    /// learns whether all who have left did the same; `false` when they did not.
    ///
    /// Who only gives, as a root that broadcasts or a rank that is no root of a reduction, leaves without
    /// a look at what the others do. Here somebody looks: the word that counts sums up signatures as well.
    #[must_use]
    pub(crate) fn leave(&self, number: u32, signature: u64) -> bool {
        let next = turn(number.wrapping_add(CELLS));
        let (ranks, signature) = (self.ranks() as u32, signature as u32);
        let last = cell::leave(self.memory(), self.cell(number), (ranks, next), signature);
        if last.is_some() {
            self.call_sleepers(number);
        }
        last.unwrap_or(true)
    }

    /// Something has changed: whoever sleeps over it is woken.
    pub(crate) fn call_sleepers(&self, number: u32) {
        if cell::has_sleepers(self.memory(), self.cell(number)) {
            self.notify_all();
        }
    }

    pub(super) fn notify_all(&self) {
        let from = self.members[self.me];
        for &local in self.members.iter().filter(|local| **local != from) {
            self.segment.notify(local, from);
        }
    }

    /// This rank is about to sleep until something changes: look once more afterwards.
    pub(crate) fn will_sleep(&self, number: u32) {
        cell::will_sleep(self.memory(), self.cell(number));
    }

    /// Publishes what this rank calls, for those who wait in vain and wonder why.
    pub(crate) fn note_call(&self, call: PastCall) {
        let (memory, at) = (self.segment.memory(), self.call_at(self.me, call.sequence));
        // Odd while it is written.
        let version = memory.load(at, Relaxed).wrapping_add(1) | 1;
        memory.store(at, version, Relaxed);
        std::sync::atomic::fence(Release);
        // Others may read it meanwhile: then they see that the version is another one.
        for (at, value) in [(at + 8, call.sequence), (at + 16, call.signature)] {
            memory.store(at, value as u32, Relaxed);
            memory.store(at + 4, (value >> 32) as u32, Relaxed);
        }
        memory.store(at, version.wrapping_add(1), Release);
    }

    /// What a rank has called with this sequence number, or with a later one that has taken its place;
    /// `None` when it has called nothing so late, or is about to.
    pub(crate) fn call(&self, rank: usize, sequence: u64) -> Option<PastCall> {
        let (memory, at) = (self.segment.memory(), self.call_at(rank, sequence));
        let number = |at: usize| {
            let half = |at| u64::from(memory.load(at, Relaxed));
            half(at) | half(at + 4) << 32
        };
        let before = memory.load(at, Acquire);
        let call = PastCall {
            sequence: number(at + 8),
            signature: number(at + 16),
        };
        std::sync::atomic::fence(Acquire);
        let after = memory.load(at, Relaxed);
        let whole = before == after && before > 0 && before % 2 == 0;
        (whole && call.sequence >= sequence).then_some(call)
    }

    const fn call_at(&self, rank: usize, sequence: u64) -> usize {
        let index = rank * CALLS as usize + (sequence % CALLS) as usize;
        self.base + index * CALL_BYTES
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Both ranks of a communicator.
    fn pair() -> [Area; 2] {
        let segment = Arc::new(Segment::create(2, 1, 0).expect("memory"));
        [0, 1].map(|me| Area::new(Arc::clone(&segment), 0, me, Arc::new([0, 1])))
    }

    #[test]
    fn meetings_go_on_when_their_numbers_wrap_around() {
        let [one, other] = pair();
        let first = u32::MAX - 5;
        for number in (0..CELLS).map(|index| first.wrapping_add(index)) {
            let cell = one.cell(number);
            one.segment
                .memory()
                .store(cell + cell::TURN, turn(number), Relaxed);
        }
        for number in (0..12).map(|index| first.wrapping_add(index)) {
            assert!(one.is_open(number), "{number}");
            assert!(!one.arrive(number) && other.arrive(number));
            assert!(one.leave(number, 7));
            assert!(!one.is_open(number.wrapping_add(CELLS)));
            assert!(other.leave(number, 7));
        }
    }

    impl Area {
        /// As if so many stages had been come to the end of.
        pub(in crate::transport::shm) fn set_finished(&self, number: u32, count: u32) {
            let at = self.cell(number) + cell::FINISHED;
            self.segment.memory().store(at, count, Relaxed);
        }
    }

    #[test]
    fn the_last_one_to_leave_sees_that_not_all_did_the_same() {
        let [one, other] = pair();
        assert!(one.leave(0, 7));
        assert!(!other.leave(0, 8));
        assert!(one.is_open(CELLS), "whatever they did");
    }

    #[test]
    fn counts_that_make_no_sense_hurt_nobody() {
        let [one, _] = pair();
        for field in [cell::ARRIVED, cell::CLAIMED, cell::FINISHED, cell::LEFT] {
            let at = one.cell(0) + field;
            one.segment.memory().store(at, u32::MAX, Relaxed);
        }
        assert!(!one.arrive(0));
        assert!(!one.finish(0, 1));
        assert_eq!(one.claim(0, 1), None);
        let _ = one.leave(0, u64::MAX);
    }

    #[test]
    fn calls_can_be_looked_up_until_others_take_their_place() {
        let [one, other] = pair();
        assert_eq!(other.call(0, 0), None);
        for sequence in 0..=CALLS {
            let signature = 100 + sequence;
            one.note_call(PastCall {
                sequence,
                signature,
            });
        }
        let signature = |sequence| other.call(0, sequence).map(|call| call.signature);
        assert_eq!(signature(1), Some(101));
        assert_eq!(signature(0), Some(100 + CALLS), "it was overwritten");
        assert_eq!(signature(CALLS + 1), None, "it was not called yet");
    }
}
