//! Memory of this process alone, in place of a mapping.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::SharedMemory;

const PAGE_BYTES: usize = 4096;

fn layout(bytes: usize) -> io::Result<Layout> {
    Layout::from_size_align(bytes, PAGE_BYTES).map_err(io::Error::other)
}

impl SharedMemory {
    /// New memory of zeros.
    ///
    /// # Errors
    ///
    /// When there is none, or none is asked for.
    pub fn create(_name: &str, bytes: usize) -> io::Result<Self> {
        let layout = layout(bytes)?;
        if bytes == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: it is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        // Nobody attaches to it: any descriptor will do.
        let descriptor = UnixStream::pair()?.0.into();
        Ok(Self {
            base,
            bytes,
            descriptor,
        })
    }

    /// Threads share what one of them has created instead.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn attach(_descriptor: OwnedFd) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// It is there.
    ///
    /// # Errors
    ///
    /// None.
    pub fn reserve(&self, _at: usize, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    /// A place is for one process.
    ///
    /// # Errors
    ///
    /// None.
    pub fn hold(&self, _place: usize) -> io::Result<()> {
        Ok(())
    }

    /// There is no other process.
    ///
    /// # Errors
    ///
    /// None.
    pub fn is_held(&self, _place: usize) -> io::Result<bool> {
        Ok(false)
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        if let Ok(layout) = layout(self.bytes) {
            // SAFETY: it was allocated with this layout, and whoever reaches it borrows `self`.
            unsafe { dealloc(self.base.as_ptr(), layout) };
        }
    }
}

/// Lets others run, which may wake this thread: it may return without cause.
pub fn sleep_on(word: &AtomicU32, value: u32, _limit: Option<Duration>) {
    if word.load(Ordering::Relaxed) == value {
        std::thread::yield_now();
    }
}

/// Nobody sleeps for longer.
pub fn wake(_word: &AtomicU32) {}
