//! What the fuzz targets share.

use std::alloc::{GlobalAlloc, Layout, System};

/// More than any decoder may ask for at once: lengths from the wire are checked before they are believed,
/// and serde believes at most 1 MiB of them in advance.
const ALLOCATION_BYTES_MAX: usize = 4 << 20;

/// The system's allocator, which ends the process when more is asked for than any input justifies.
#[derive(Debug)]
pub struct Bounded;

// SAFETY: every call is passed on to `System` with the arguments that came.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn check(bytes: usize) {
    if bytes > ALLOCATION_BYTES_MAX {
        eprintln!("an allocation of {bytes} bytes");
        std::process::abort();
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// Cuts `bytes` into pieces whose lengths follow from `lengths`, over and over.
pub fn pieces<'a>(bytes: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let wanted = lengths
            .next()
            .map_or(rest.len(), |length| 1 + usize::from(*length));
        let (piece, behind) = rest.split_at(wanted.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}
