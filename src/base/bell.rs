//! How a rank is told of news, and how it sleeps without missing any: a doorbell and a parking word.
//!
//! # Roles
//!
//! * The *doorbell* of a rank is a bit for each of the others. A sender sets its own after it has written
//!   something; the rank clears it, and looks once more at what that sender may have written.
//! * The *parking word* is [`PARKED`] while the rank sleeps, or is about to.
//!
//! # No wake-up is lost
//!
//! Who brings news writes it, passes a fence, rings, and then looks at the parking word. Who goes to sleep
//! sets the parking word, passes a fence, and then looks at the doorbell. Both fences are sequentially
//! consistent, so at least one of the two sees the other: either the sleeper stays awake, or the other
//! wakes it. A bit that is set already needs no writing: it is cleared only by a rank that looks again.
//! `tests/shm_model.rs` tries all interleavings.

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use super::words::Words;

/// The parking word of a rank that sleeps, or is about to. Zero: it is awake.
pub const PARKED: u32 = 1;

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

/// Ends the sleep of a rank. `true` when it has to be woken by the operating system.
#[inline]
pub fn rouse<W: Words>(words: &W, park: usize) -> bool {
    words.load(park, Relaxed) == PARKED && words.swap(park, 0) == PARKED
}

/// Something was written: rings, and ends the sleep of its reader. `true` when the reader has to be woken
/// by the operating system.
#[inline]
pub fn notify<W: Words>(words: &W, bell: usize, bit: u32, park: usize) -> bool {
    words.fence();
    ring(words, bell, bit);
    rouse(words, park)
}

/// Says that this rank is about to sleep; look at the doorbell afterwards.
pub fn lie_down<W: Words>(words: &W, park: usize) {
    words.store(park, PARKED, SeqCst);
    words.fence();
}
