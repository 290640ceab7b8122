//! A copy that two processes make together: the owner opens it, another one helps, and each takes chunks from
//! its end until they meet.
//!
//! # Layout
//!
//! ```text
//! in the owner's line:
//!   0   helper    who may help, and one; zero: the copy is closed   (owner)
//!   4   claims    chunks taken from the front, and << 16 those taken from the back   (both)
//!   8   chunks    how many there are   (owner)
//!  12   marked    the helper could not copy what it had taken; or has begun to write   (helper)
//!  16   terms     what is copied   (owner)
//! in a line of the helper:
//!   0   helping   whom it helps, and one   (helper)
//! ```
//!
//! # Why it is sound
//!
//! * Who helps touches the owner's memory. The owner closes the copy, passes a fence, and waits while the helper
//!   says that it helps; a helper says so, passes a fence, and then looks whether the copy is open. Both fences
//!   are sequentially consistent: either the helper sees that it is closed and touches nothing, or the owner
//!   sees the helper and waits. So nothing is written to the memory once the owner has seen nobody help, and the
//!   terms do not change while anybody acts on them.
//! * A chunk is taken by adding to `claims`, so by one of the two. What the helper has copied is there when
//!   the owner sees (acquire) that it does not help any more (release).
//! * Nobody has to help: an owner that finds no helper copies everything. A helper that has died is
//!   for the owner to notice; a dead process writes no more.
//! * What a peer writes into these words can make the copy wrong, not the process: a chunk's number is checked.
//!
//! `tests/shm_model.rs` tries all interleavings.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::words::Words;

const HELPER: usize = 0;
const CLAIMS: usize = 4;
const CHUNKS: usize = 8;
const MARKED: usize = 12;
const TERMS: usize = 16;

const BACK: u32 = 16;
const FRONT_MASK: u32 = (1 << BACK) - 1;

/// Most chunks of a copy: their numbers share a word.
pub const CHUNKS_MAX: u32 = 4096;
/// Bytes that say what is copied.
pub const TERMS_BYTES: usize = 40;

/// From which end somebody takes chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first ones first.
    Front,
    /// The last ones first.
    Back,
}

/// The owner opens its line for this helper.
///
/// # Panics
///
/// When there are more than [`CHUNKS_MAX`] chunks.
pub fn open<W: Words>(words: &W, line: usize, helper: u32, chunks: u32, terms: &[u8; TERMS_BYTES]) {
    assert!(chunks <= CHUNKS_MAX, "chunks have numbers");
    words.write(line + TERMS, terms);
    words.store(line + CLAIMS, 0, Relaxed);
    words.store(line + CHUNKS, chunks, Relaxed);
    words.store(line + MARKED, 0, Relaxed);
    words.store(line + HELPER, helper + 1, Release);
}

/// Takes a chunk, of so many, and says whether it is the last one; `None` when all are taken.
#[inline]
pub fn claim<W: Words>(words: &W, line: usize, end: End, chunks: u32) -> Option<(u32, bool)> {
    let one = match end {
        End::Front => 1,
        End::Back => 1 << BACK,
    };
    let taken = words.add(line + CLAIMS, one);
    let (front, back) = (taken & FRONT_MASK, taken >> BACK);
    let left = chunks.checked_sub(front + back)?.checked_sub(1)?;
    let index = match end {
        End::Front => front,
        End::Back => front + left,
    };
    Some((index, left == 0))
}

/// The owner lets nobody begin to help any more. Afterwards it waits while it [is helped](is_helped).
pub fn close<W: Words>(words: &W, line: usize) {
    words.store(line + HELPER, 0, Relaxed);
    words.fence();
}

/// Whether the one with this line helps `owner`, and may touch its memory.
#[inline]
pub fn is_helped<W: Words>(words: &W, helping: usize, owner: u32) -> bool {
    words.load(helping, Acquire) == owner + 1
}

/// Whether the helper has left a [`mark`].
pub fn is_marked<W: Words>(words: &W, line: usize) -> bool {
    words.load(line + MARKED, Relaxed) != 0
}

/// Whether there is something to help with. It may be over at any moment.
#[inline]
pub fn wants<W: Words>(words: &W, line: usize, me: u32) -> bool {
    if words.load(line + HELPER, Relaxed) != me + 1 {
        return false;
    }
    let taken = words.load(line + CLAIMS, Relaxed);
    (taken & FRONT_MASK) + (taken >> BACK) < words.load(line + CHUNKS, Relaxed)
}

/// Begins to help `owner`, if its copy is open to `me`: gives its terms. [`leave`] afterwards.
pub fn join<W: Words>(
    words: &W,
    (line, owner): (usize, u32),
    (helping, me): (usize, u32),
) -> Option<[u8; TERMS_BYTES]> {
    words.store(helping, owner + 1, Relaxed);
    words.fence();
    if words.load(line + HELPER, Acquire) != me + 1 {
        leave(words, helping);
        return None;
    }
    let mut terms = [0; TERMS_BYTES];
    words.read(line + TERMS, &mut terms);
    Some(terms)
}

/// The helper tells the owner something: it could not copy a chunk that it has taken; or, where there are no chunks,
/// it has begun to write.
pub fn mark<W: Words>(words: &W, line: usize) {
    words.store(line + MARKED, 1, Relaxed);
}

/// The helper touches the owner's memory no more.
pub fn leave<W: Words>(words: &W, helping: usize) {
    words.store(helping, 0, Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::words::HeapWords;

    #[test]
    fn chunks_are_taken_once_from_both_ends() {
        let words = HeapWords::new(64);
        open(&words, 0, 1, 5, &[7; TERMS_BYTES]);
        let taken: Vec<_> = [End::Back, End::Front, End::Front, End::Back, End::Back]
            .map(|end| claim(&words, 0, end, 5))
            .into_iter()
            .collect();
        let last = |index| Some((index, index == 2));
        assert_eq!(taken, [4, 0, 1, 3, 2].map(last));
        for end in [End::Front, End::Back, End::Front] {
            assert_eq!(claim(&words, 0, end, 5), None);
        }
        assert!(!wants(&words, 0, 1), "nothing is left");
    }

    #[test]
    fn only_whom_it_was_opened_for_helps_and_only_while_it_is_open() {
        let words = HeapWords::new(192);
        let helping = (128, 1);
        assert_eq!(join(&words, (0, 0), helping), None);
        open(&words, 0, 1, 2, &[7; TERMS_BYTES]);
        assert!(wants(&words, 0, 1) && !wants(&words, 0, 2));
        assert_eq!(join(&words, (0, 0), (64, 2)), None);
        assert_eq!(join(&words, (0, 0), helping), Some([7; TERMS_BYTES]));
        close(&words, 0);
        assert!(is_helped(&words, 128, 0) && !is_helped(&words, 128, 1));
        mark(&words, 0);
        leave(&words, 128);
        assert!(!is_helped(&words, 128, 0) && is_marked(&words, 0));
        assert_eq!(join(&words, (0, 0), helping), None);
        assert!(!is_helped(&words, 128, 0));
    }
}
