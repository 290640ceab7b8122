//! Words of a cell, in which ranks of a host meet: counts that say whose turn it is, in one line.
//!
//! # Layout
//!
//! ```text
//!   0   turn       how often the cell has been used; it is open when that is the meeting's turn
//!   4   sleepers   whether somebody sleeps who waits for a change here
//!   8   arrived    ranks that have put in their contribution
//!  12   claimed    pieces of the result that somebody makes or has made
//!  16   finished   pieces that are made; all of them: the result is there
//!  20   left       ranks that need nothing of it any more; above them, a sum of signatures
//! ```
//!
//! # Why it is sound
//!
//! * What a rank has written before it arrives, finishes a piece or leaves is there for whoever sees the count
//!   (acquire) that this raised (sequentially consistent). The counts are zero again before the cell is opened
//!   for its next turn (release), by the last one to leave.
//! * Before a rank sleeps it sets `sleepers`, then looks once more; whoever changes something looks at
//!   `sleepers` afterwards. A sequentially consistent fence lies between the two on both sides.
//!
//! `tests/shm_model.rs` tries all interleavings.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::words::Words;

/// The word that counts uses of the cell.
pub const TURN: usize = 0;
const SLEEPERS: usize = 4;
/// The word that counts contributions.
pub const ARRIVED: usize = 8;
/// The word that counts pieces that were taken.
pub const CLAIMED: usize = 12;
/// The word that counts pieces that are made.
pub const FINISHED: usize = 16;
/// The word that counts who has left.
pub const LEFT: usize = 20;

/// Bits of the count of those who have left.
pub const LEFT_BITS: u32 = 12;

/// How often the cell was used before it was opened.
#[inline]
pub fn turn<W: Words>(words: &W, cell: usize) -> u32 {
    words.load(cell + TURN, Acquire)
}

/// A rank's contribution is there. Gives how many were before.
#[inline]
pub fn arrive<W: Words>(words: &W, cell: usize) -> u32 {
    words.add(cell + ARRIVED, 1)
}

/// How many contributions are there.
#[inline]
pub fn arrived<W: Words>(words: &W, cell: usize) -> u32 {
    words.load(cell + ARRIVED, Acquire)
}

/// How many pieces somebody makes or has made; more than there are when some looked in vain.
#[inline]
pub fn claimed<W: Words>(words: &W, cell: usize) -> u32 {
    words.load(cell + CLAIMED, Acquire)
}

/// Takes a piece of so many that nobody makes yet, if there is one.
#[inline]
pub fn claim<W: Words>(words: &W, cell: usize, pieces: u32) -> Option<u32> {
    if claimed(words, cell) >= pieces {
        return None;
    }
    let piece = words.add(cell + CLAIMED, 1);
    (piece < pieces).then_some(piece)
}

/// A piece is made. Gives how many were before.
#[inline]
pub fn finish<W: Words>(words: &W, cell: usize) -> u32 {
    words.add(cell + FINISHED, 1)
}

/// How many pieces are made.
#[inline]
pub fn finished<W: Words>(words: &W, cell: usize) -> u32 {
    words.load(cell + FINISHED, Acquire)
}

/// A rank needs nothing more. The last one of so many opens the cell for its next turn, and learns whether all
/// have left with the same signature; the others learn nothing.
#[inline]
pub fn leave<W: Words>(
    words: &W,
    cell: usize,
    (ranks, next): (u32, u32),
    signature: u32,
) -> Option<bool> {
    let mine = signature << LEFT_BITS;
    let before = words.add(cell + LEFT, mine | 1);
    let count = before & ((1 << LEFT_BITS) - 1);
    if count + 1 < ranks {
        return None;
    }
    for field in [ARRIVED, CLAIMED, FINISHED, LEFT] {
        words.store(cell + field, 0, Relaxed);
    }
    words.store(cell + TURN, next, Release);
    Some(before - count == mine.wrapping_mul(count))
}

/// Somebody is about to sleep until something changes: look once more afterwards.
pub fn will_sleep<W: Words>(words: &W, cell: usize) {
    words.store(cell + SLEEPERS, 1, Relaxed);
    words.fence();
}

/// Whether somebody sleeps over what has just changed: to be woken by who is told so, and nobody else.
#[inline]
pub fn has_sleepers<W: Words>(words: &W, cell: usize) -> bool {
    words.fence();
    words.load(cell + SLEEPERS, Relaxed) != 0 && words.swap(cell + SLEEPERS, 0) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::words::HeapWords;

    #[test]
    fn the_last_one_to_leave_opens_the_cell_and_sees_who_differed() {
        for (others, agree) in [(7, true), (8, false)] {
            let words = HeapWords::new(64);
            assert_eq!((arrive(&words, 0), arrive(&words, 0)), (0, 1));
            assert_eq!(claim(&words, 0, 1), Some(0));
            assert_eq!(claim(&words, 0, 1), None);
            assert_eq!((finish(&words, 0), finished(&words, 0)), (0, 1));
            assert_eq!(leave(&words, 0, (2, 1), 7), None);
            assert_eq!((turn(&words, 0), arrived(&words, 0)), (0, 2));
            assert_eq!(leave(&words, 0, (2, 1), others), Some(agree));
            assert_eq!((turn(&words, 0), arrived(&words, 0)), (1, 0));
            assert_eq!((claimed(&words, 0), finished(&words, 0)), (0, 0));
        }
    }

    #[test]
    fn one_of_those_who_change_something_wakes_who_sleeps() {
        let words = HeapWords::new(64);
        assert!(!has_sleepers(&words, 0));
        will_sleep(&words, 0);
        assert!(has_sleepers(&words, 0) && !has_sleepers(&words, 0));
    }
}
