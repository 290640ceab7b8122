//! How a rank is told of news, and how it sleeps without missing any: a doorbell and a parking word.
//!
//! # Roles
//!
//! * The *doorbell* of a rank is a bit for each of the others. A sender sets its own after it has written
//!   something; the rank clears it, and looks once more at what that sender may have written.
//! * The *parking word* says while the rank sleeps, or is about to, where it does: on the word itself
//!   ([`PARKED`]), or in its poll ([`POLLING`]), where it waits for sockets at the same time.
//!
//! # No wake-up is lost
//!
//! Who brings news writes it, passes a fence, rings, and then looks at the parking word. Who goes to sleep
//! sets the parking word, passes a fence, and then looks at the doorbell. Both fences are sequentially
//! consistent, so at least one of the two sees the other: either the sleeper stays awake, or the other
//! wakes it. Whoever takes the word back wakes the rank where it said that it sleeps: on the word by the
//! operating system, which compares the word once more; in the poll by a datagram, which stays readable until
//! the rank polls, so that it does not matter whether the rank sleeps already. A datagram may come after the rank has got
//! up for another reason: then its next sleep ends without cause. A bit that is set already needs no writing: it is cleared only by a rank that looks again.
//! `tests/shm_model.rs` tries all interleavings.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use super::words::Words;

/// The parking word of a rank that sleeps on it, or is about to. Zero: it is awake.
pub const PARKED: u32 = 1;
/// The parking word of a rank that sleeps in its poll, or is about to.
pub const POLLING: u32 = 2;

/// Where a rank sleeps that has to be woken by the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asleep {
    /// On its parking word.
    OnWord,
    /// In its poll.
    InPoll,
}

/// Rings: sets a bit of a doorbell, unless it is set. What it announces must have been written, and a fence
/// passed.
#[inline]
pub fn ring<W: Words>(words: &W, bell: usize, bit: u32) {
    if words.load(bell, Relaxed) & bit == 0 {
        words.set_bits(bell, bit);
        words.fence();
    }
}

/// Takes back what [`ring`] said; look again afterwards at what the bit announces.
pub fn silence<W: Words>(words: &W, bell: usize, bit: u32) {
    words.clear_bits(bell, bit);
    words.fence();
}

/// Who has rung, of those with bits in this word.
#[inline]
pub fn rung<W: Words>(words: &W, bell: usize) -> u32 {
    words.load(bell, Acquire)
}

/// Ends the sleep of a rank. Says where the operating system has to wake it, if it has to.
#[inline]
pub fn rouse<W: Words>(words: &W, park: usize) -> Option<Asleep> {
    if words.load(park, Relaxed) == 0 {
        return None;
    }
    match words.swap(park, 0) {
        PARKED => Some(Asleep::OnWord),
        POLLING => Some(Asleep::InPoll),
        _ => None,
    }
}

/// Something was written: rings, and ends the sleep of its reader. Says where the operating system has to
/// wake the reader, if it has to.
#[inline]
pub fn notify<W: Words>(words: &W, bell: usize, bit: u32, park: usize) -> Option<Asleep> {
    words.fence();
    ring(words, bell, bit);
    rouse(words, park)
}

/// Says that this rank is about to sleep, and where; look at the doorbell afterwards.
pub fn lie_down<W: Words>(words: &W, park: usize, place: Asleep) {
    let word = match place {
        Asleep::OnWord => PARKED,
        Asleep::InPoll => POLLING,
    };
    words.store(park, word, SeqCst);
    words.fence();
}
