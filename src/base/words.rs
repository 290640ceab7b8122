//! Memory that several processes write at once, as 32-bit atomic words and plain bytes.
//!
//! What lives in such memory (the rings, the doorbells, the parking words) is written against
//! [`Words`], so that the same code runs over a shared mapping, over the heap in tests, and over
//! the words of a model checker, which tries every interleaving (`tests/shm_model.rs`).

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a cache line: what two processors hand to each other as a whole.
pub const LINE_BYTES: usize = 64;

/// Shared memory. All places are byte offsets; those of words are multiples of four.
///
/// Whoever shares the memory may write anything at any time: nothing that is read from it may be
/// believed before it is checked, and what is checked must not be read again.
pub trait Words {
    /// Reads a word.
    fn load(&self, at: usize, order: Ordering) -> u32;
    /// Writes a word.
    fn store(&self, at: usize, value: u32, order: Ordering);
    /// Writes a word and gives what was there. Sequentially consistent.
    fn swap(&self, at: usize, value: u32) -> u32;
    /// Sets bits and gives what was there. Sequentially consistent.
    fn set_bits(&self, at: usize, bits: u32) -> u32;
    /// Clears bits and gives what was there. Sequentially consistent.
    fn clear_bits(&self, at: usize, bits: u32) -> u32;
    /// Adds to a word and gives what was there. Sequentially consistent.
    fn add(&self, at: usize, value: u32) -> u32;
    /// A sequentially consistent fence.
    fn fence(&self);
    /// A hint: this processor will soon write these bytes, all of them within the memory.
    fn will_write(&self, _at: usize, _bytes: usize) {}
    /// Copies bytes out.
    fn read(&self, at: usize, into: &mut [u8]);
    /// Copies bytes in.
    fn write(&self, at: usize, from: &[u8]);
}

/// Shared memory on the heap, for tests: behaves as a mapping does, with ordinary allocation.
#[derive(Debug)]
pub struct HeapWords {
    words: Box<[UnsafeCell<u32>]>,
}

// SAFETY: words are only reached through atomics and through raw copies, as in a shared mapping;
// whether these race is the subject of the protocols above it.
unsafe impl Sync for HeapWords {}

impl HeapWords {
    /// That many zero bytes, a multiple of four.
    pub fn new(bytes: usize) -> Self {
        assert_eq!(bytes % 4, 0, "whole words");
        let words = vec![0_u32; bytes / 4].into_boxed_slice();
        // SAFETY: a cell is laid out as what is in it, and nobody else has this box.
        let words = unsafe { Box::from_raw(Box::into_raw(words) as *mut [UnsafeCell<u32>]) };
        Self { words }
    }
}

// SAFETY: the pointer and the length describe the boxed words, which live as long as `self` and are
// only reached through cells.
unsafe impl RawMemory for HeapWords {
    fn base(&self) -> *mut u8 {
        self.words.as_ptr().cast_mut().cast()
    }

    fn bytes(&self) -> usize {
        self.words.len() * 4
    }
}

/// Memory with an address. Everything that has one is [`Words`].
///
/// # Safety
///
/// `base` points to `bytes` bytes, aligned to four, that stay valid for reads and writes as long as
/// `self` lives, and that no reference covers.
pub unsafe trait RawMemory {
    /// The first byte.
    fn base(&self) -> *mut u8;
    /// How many there are.
    fn bytes(&self) -> usize;

    /// One word, as an atomic.
    ///
    /// # Panics
    ///
    /// When `at` is not the place of a word.
    #[inline]
    fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at % 4 == 0 && at < self.bytes(), "a word in bounds");
        // SAFETY: in bounds and aligned by the assertion and the trait's contract; it is only
        // accessed as an atomic (payload bytes and words never share a place while both are used).
        let place = unsafe { self.base().add(at) };
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(place.cast()) }
    }
}

/// A part of shared memory in which something is computed in place. Others may write to it at any time, so there is
/// no reference to it: each byte is read once, into a value of one's own, and may be anything.
#[derive(Clone, Copy, Debug)]
pub struct SharedBytes<'a> {
    base: *mut u8,
    length: usize,
    memory: PhantomData<&'a UnsafeCell<u8>>,
}

impl<'a> SharedBytes<'a> {
    /// `length` bytes from `at` on.
    ///
    /// # Panics
    ///
    /// When they are not in bounds.
    pub fn of(memory: &'a impl RawMemory, at: usize, length: usize) -> Self {
        assert!(at <= memory.bytes() && length <= memory.bytes() - at);
        // SAFETY: in bounds by the assertion.
        let base = unsafe { memory.base().add(at) };
        Self {
            base,
            length,
            memory: PhantomData,
        }
    }

    /// The first byte: valid for reads and writes of [`length`](Self::length) bytes, aligned to nothing.
    #[inline]
    pub const fn base(&self) -> *mut u8 {
        self.base
    }

    /// How many there are.
    #[inline]
    pub const fn length(&self) -> usize {
        self.length
    }
}

impl<M: RawMemory> Words for M {
    #[inline]
    fn load(&self, at: usize, order: Ordering) -> u32 {
        self.word(at).load(order)
    }

    #[inline]
    fn store(&self, at: usize, value: u32, order: Ordering) {
        self.word(at).store(value, order);
    }

    #[inline]
    fn swap(&self, at: usize, value: u32) -> u32 {
        self.word(at).swap(value, Ordering::SeqCst)
    }

    #[inline]
    fn set_bits(&self, at: usize, bits: u32) -> u32 {
        self.word(at).fetch_or(bits, Ordering::SeqCst)
    }

    #[inline]
    fn clear_bits(&self, at: usize, bits: u32) -> u32 {
        self.word(at).fetch_and(!bits, Ordering::SeqCst)
    }

    #[inline]
    fn add(&self, at: usize, value: u32) -> u32 {
        self.word(at).fetch_add(value, Ordering::SeqCst)
    }

    #[inline]
    fn fence(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    #[inline]
    fn will_write(&self, at: usize, bytes: usize) {
        assert!(at <= self.bytes() && bytes <= self.bytes() - at);
        for line in (at..at + bytes).step_by(LINE_BYTES) {
            fetch_to_write(self.base().wrapping_add(line));
        }
    }

    #[inline]
    fn read(&self, at: usize, into: &mut [u8]) {
        assert!(at <= self.bytes() && into.len() <= self.bytes() - at);
        // SAFETY: in bounds by the assertion; `into` is ours alone, so the two do not overlap. A
        // process that breaks the protocol may write meanwhile: then the bytes are garbage, which
        // the caller has to expect of any peer.
        let from = unsafe { self.base().add(at) };
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    #[inline]
    fn write(&self, at: usize, from: &[u8]) {
        assert!(at <= self.bytes() && from.len() <= self.bytes() - at);
        // SAFETY: as for `read`.
        let into = unsafe { self.base().add(at) };
        // SAFETY: as for `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) }
    }
}

/// Brings a line into this processor's cache, and out of all others: to write it later will not have to wait.
#[inline]
fn fetch_to_write(line: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: it accesses nothing, wherever the address points; a processor that does not know it does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = line;
}
