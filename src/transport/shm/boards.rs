//! Boards: where each rank of a communicator posts its part of a collective, and all others read it.
//!
//! The shortest way when everybody needs what everybody has: a rank writes one line that nobody else writes,
//! and reads one of each other rank. Nothing is counted, and no line is written by two.
//!
//! # Layout
//!
//! ```text
//! sleepers   whether somebody sleeps who waits for a post, or for room
//! cleared    for each rank: rounds of which it needs nothing any more
//! posts      for each rank, for each of ROUNDS rounds in turn: stamp, signature, a short payload; in one line
//! long       the same for long payloads, of two ranks
//! ```
//!
//! # Why it is sound
//!
//! * A post is written by its rank before its stamp (release), and read by others after they have seen the
//!   stamp of that round (acquire). Stamps of one place differ by [`ROUNDS`], and zeros are no stamp of the first
//!   round.
//! * A rank writes round `n` when all have cleared round `n - ROUNDS`, which was in the same place. It posts
//!   and clears its rounds in order, so all posts of a round are there when those of a later one are.
//! * Before a rank sleeps it sets `sleepers`, then looks once more; whoever posts, or clears a round that makes
//!   room, looks at `sleepers` afterwards. A sequentially consistent fence lies between the two on both sides. Of
//!   those who post for one round, the last one to pass its fence sees all others, and calls.
//! * What a rank reads it has copied first: a post may be overwritten only by a peer that breaks the rules.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::cells::{Area, CELLS, SLOT_BYTES, SLOT_STRIDE, calls_bytes, cell_bytes};
use crate::base::words::{LINE_BYTES, Words};
use crate::limits::{BOARDS_LONG_RANKS, BOARDS_RANKS_MAX};

/// Rounds that may be under way at once. A power of two: their numbers wrap around.
pub(crate) const ROUNDS: u32 = 16;
/// Longest payload that shares a line with its stamp.
pub(crate) const POST_BYTES: usize = LINE_BYTES - PAYLOAD;

/// Lines of different writers lie two lines apart: processors like to fetch lines in pairs.
const APART: usize = 2 * LINE_BYTES;
/// Within a post.
const SIGNATURE: usize = 8;
const PAYLOAD: usize = 16;
const PAGE_BYTES: usize = 4096;
/// After so many rounds a rank looks whether somebody waits for the room that it has made.
const ROOM_ROUNDS: u32 = ROUNDS / 4;

const _: () = assert!(ROUNDS.is_power_of_two());

const fn short_bytes(ranks: usize) -> usize {
    let posts = ranks * ROUNDS as usize;
    ((1 + ranks + posts) * APART).next_multiple_of(PAGE_BYTES)
}

/// Bytes of the boards of one communicator.
pub(super) const fn boards_bytes(ranks: usize) -> usize {
    if ranks > BOARDS_RANKS_MAX {
        return 0;
    }
    let long = if ranks == BOARDS_LONG_RANKS {
        (ranks * ROUNDS as usize * SLOT_STRIDE).next_multiple_of(PAGE_BYTES)
    } else {
        0
    };
    short_bytes(ranks) + long
}

/// Whether boards are made for parts of this length.
pub(crate) const fn boards_take(ranks: usize, bytes: usize) -> bool {
    ranks == BOARDS_LONG_RANKS || (ranks <= BOARDS_RANKS_MAX && bytes <= POST_BYTES)
}

impl Area {
    fn boards(&self) -> usize {
        let ranks = self.layout_ranks();
        self.base() + calls_bytes(ranks) + CELLS as usize * cell_bytes(ranks)
    }

    fn cleared_at(&self, rank: usize) -> usize {
        self.boards() + (1 + rank) * APART
    }

    pub(super) fn post_at(&self, number: u32, rank: usize) -> usize {
        let index = rank * ROUNDS as usize + (number % ROUNDS) as usize;
        self.boards() + (1 + self.layout_ranks() + index) * APART
    }

    fn payload_at(&self, number: u32, rank: usize, length: usize) -> usize {
        if length <= POST_BYTES {
            return self.post_at(number, rank) + PAYLOAD;
        }
        let index = rank * ROUNDS as usize + (number % ROUNDS) as usize;
        self.boards() + short_bytes(self.layout_ranks()) + index * SLOT_STRIDE
    }

    /// Rounds before this one have room: all have cleared what was in their places.
    pub(crate) fn room(&self) -> u32 {
        let cleared = |rank| self.memory().load(self.cleared_at(rank), Acquire);
        let mine = cleared(self.me());
        // Counted from this rank's: the numbers wrap around.
        let least = (0..self.ranks()).map(|rank| cleared(rank).wrapping_sub(mine) as i32);
        let least = least.min().unwrap_or(0).min(0);
        mine.wrapping_add_signed(least).wrapping_add(ROUNDS)
    }

    /// Posts this rank's part of a round for which there is [`room`](Self::room).
    ///
    /// # Panics
    ///
    /// When a part is longer than boards take.
    pub(crate) fn post(&self, number: u32, signature: u64, part: &[u8]) {
        assert!(part.len() <= POST_BYTES || part.len() <= SLOT_BYTES && self.takes_long());
        let (memory, at) = (self.memory(), self.post_at(number, self.me()));
        memory.write(at + SIGNATURE, &signature.to_ne_bytes());
        memory.write(self.payload_at(number, self.me(), part.len()), part);
        memory.store(at, number.wrapping_add(1), Release);
        memory.fence();
        if self.all_posted(number) {
            self.call_readers();
        }
        if part.len() > POST_BYTES {
            // They are in the caches of those who have read them.
            let next = number.wrapping_add(1);
            memory.will_write(self.post_at(next, self.me()), LINE_BYTES);
            memory.will_write(self.payload_at(next, self.me(), part.len()), part.len());
        }
    }

    fn takes_long(&self) -> bool {
        self.layout_ranks() == BOARDS_LONG_RANKS
    }

    /// Whether all parts of a round are there.
    #[inline]
    pub(crate) fn all_posted(&self, number: u32) -> bool {
        let stamp = number.wrapping_add(1);
        (0..self.ranks())
            .all(|rank| self.memory().load(self.post_at(number, rank), Acquire) == stamp)
    }

    /// Whether all who have posted believe that they do the same.
    pub(crate) fn all_signed(&self, number: u32, signature: u64) -> bool {
        (0..self.ranks()).all(|rank| {
            let mut bytes = [0; 8];
            let at = self.post_at(number, rank) + SIGNATURE;
            self.memory().read(at, &mut bytes);
            u64::from_ne_bytes(bytes) == signature
        })
    }

    /// Reads from `offset` on in a rank's part, which is `length` bytes long in all.
    pub(crate) fn read_post(
        &self,
        number: u32,
        rank: usize,
        (length, offset): (usize, usize),
        into: &mut [u8],
    ) {
        let at = self.payload_at(number, rank, length) + offset;
        self.memory().read(at, into);
    }

    /// This rank needs nothing of a round any more, nor of those before it.
    pub(crate) fn clear(&self, number: u32) {
        let memory = self.memory();
        let cleared = number.wrapping_add(1);
        memory.store(self.cleared_at(self.me()), cleared, Release);
        if cleared % ROOM_ROUNDS == 0 {
            memory.fence();
            self.call_readers();
        }
    }

    /// This rank needs nothing of the rounds before this one, some of which it has not posted.
    pub(crate) fn pass(&self, cleared: u32) {
        let memory = self.memory();
        memory.store(self.cleared_at(self.me()), cleared, Release);
        memory.fence();
        self.call_readers();
    }

    /// Wakes those who sleep over the boards. A fence has passed since there is something to see.
    fn call_readers(&self) {
        let (memory, at) = (self.memory(), self.boards());
        if memory.load(at, Relaxed) != 0 && memory.swap(at, 0) != 0 {
            self.notify_all();
        }
    }

    /// This rank is about to sleep until something is posted, or there is room: look once more afterwards.
    pub(crate) fn will_sleep_over_boards(&self) {
        self.memory().store(self.boards(), 1, Relaxed);
        self.memory().fence();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::transport::shm::segment::Segment;
    use std::sync::Arc;

    fn areas(ranks: usize) -> Vec<Area> {
        let segment = Arc::new(Segment::create(ranks, 1, 0).expect("memory"));
        let members: Arc<[usize]> = (0..ranks).collect();
        let area = |me| Area::new(Arc::clone(&segment), 0, me, Arc::clone(&members));
        (0..ranks).map(area).collect()
    }

    #[test]
    fn rounds_go_on_when_their_numbers_wrap_around() {
        let pair = areas(2);
        let first = u32::MAX - 20;
        for (area, rank) in pair.iter().zip(0..) {
            let at = area.cleared_at(rank);
            area.memory().store(at, first, Relaxed);
        }
        for number in (0..60).map(|index| first.wrapping_add(index)) {
            for area in &pair {
                assert_eq!(area.room(), number.wrapping_add(ROUNDS), "{number}");
                assert!(!area.all_posted(number), "{number}");
            }
            for (area, byte) in pair.iter().zip(b"ab") {
                area.post(number, 7, &[*byte; 100]);
            }
            let mut part = [0; 40];
            pair[0].read_post(number, 1, (100, 60), &mut part);
            assert!(pair[0].all_posted(number) && part == [b'b'; 40]);
            pair.iter().for_each(|area| area.clear(number));
        }
    }

    #[test]
    fn there_is_room_only_for_what_the_slowest_has_cleared() {
        let three = areas(3);
        for number in 0..5 {
            three[0].clear(number);
            three[1].clear(number + 1);
        }
        assert_eq!(three[0].room(), ROUNDS, "the last one has cleared nothing");
        three[2].clear(1);
        assert_eq!(three[1].room(), 2 + ROUNDS);
    }

    #[test]
    fn a_round_is_whole_when_all_have_posted_and_agreed_when_all_have_signed_the_same() {
        let three = areas(3);
        three[0].post(0, 7, &[]);
        three[2].post(0, 7, &[]);
        assert!(!three[1].all_posted(0));
        three[1].post(0, 8, &[]);
        assert!(three[1].all_posted(0) && !three[1].all_signed(0, 7));
    }

    #[test]
    #[should_panic(expected = "POST_BYTES")]
    fn long_parts_are_for_two_ranks() {
        areas(3)[0].post(0, 7, &[0; POST_BYTES + 1]);
    }
}
