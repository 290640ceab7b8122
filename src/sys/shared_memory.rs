//! Memory that the processes of one host share: a sealed, sparse, nameless file, mapped.
//!
//! It belongs to no file system that could be full or need cleaning: the kernel frees it when the
//! last process that has it open ends. Its size is sealed, so no process can make another one
//! fault by cutting it. Only Linux has this.

#[cfg(not(miri))]
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
#[cfg(not(miri))]
use std::sync::atomic::AtomicU32;
#[cfg(not(miri))]
use std::time::Duration;

use crate::base::words::RawMemory;

/// Shared memory, mapped into this process until it is dropped.
#[derive(Debug)]
pub struct SharedMemory {
    base: NonNull<u8>,
    bytes: usize,
    descriptor: OwnedFd,
}

// SAFETY: a mapping can be used and unmapped from any thread; its content is only reached through
// `RawMemory`, as atomics and raw copies.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

// SAFETY: the mapping has that many bytes, page-aligned, until `self` is dropped, and no reference is
// ever made to it. The size of the file is sealed, so every page of it can be touched.
unsafe impl RawMemory for SharedMemory {
    #[inline]
    fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
mod system {
    use super::*;
    use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
    use rustix::mm::{MapFlags, ProtFlags};
    use rustix::thread::futex;
    use std::os::fd::AsRawFd;

    impl SharedMemory {
        /// New memory of zeros. Pages that nobody touches cost nothing.
        ///
        /// # Errors
        ///
        /// When the operating system does not allow it, or there is not enough address space.
        pub fn create(name: &str, bytes: usize) -> io::Result<Self> {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
            if limit.current.is_some_and(|limit| bytes as u64 > limit) {
                // The kernel would end this process.
                return Err(io::Error::other(format!(
                    "a file of {bytes} bytes is larger than allowed (`ulimit -f`)"
                )));
            }
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let descriptor = rustix::fs::memfd_create(name, flags)?;
            rustix::fs::ftruncate(&descriptor, bytes as u64)?;
            let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
            rustix::fs::fcntl_add_seals(&descriptor, seals)?;
            Self::map(descriptor, bytes)
        }

        /// Memory that another process has created.
        ///
        /// # Errors
        ///
        /// When the descriptor is not such memory, or there is not enough address space.
        pub fn attach(descriptor: OwnedFd) -> io::Result<Self> {
            let seals = rustix::fs::fcntl_get_seals(&descriptor)?;
            if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
                return Err(io::Error::other("its size is not sealed"));
            }
            let bytes = rustix::fs::fstat(&descriptor)?.st_size;
            let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
            Self::map(descriptor, bytes)
        }

        fn map(descriptor: OwnedFd, bytes: usize) -> io::Result<Self> {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping where the kernel likes: it replaces nothing.
            let base = unsafe {
                let flags = MapFlags::SHARED | MapFlags::NORESERVE;
                rustix::mm::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    protection,
                    flags,
                    &descriptor,
                    0,
                )?
            };
            let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Self {
                base,
                bytes,
                descriptor,
            })
        }

        /// Makes sure that these bytes have memory behind them: later accesses cannot fail.
        ///
        /// # Errors
        ///
        /// When there is not enough memory.
        pub fn reserve(&self, at: usize, bytes: usize) -> io::Result<()> {
            let (at, bytes) = (at as u64, bytes as u64);
            Ok(rustix::fs::fallocate(
                &self.descriptor,
                FallocateFlags::empty(),
                at,
                bytes,
            )?)
        }

        /// Takes possession of one place, until this process ends, however that happens. It also ends
        /// when the process closes any descriptor of this memory.
        ///
        /// # Errors
        ///
        /// When another process has it, or the operating system does not support it.
        pub fn hold(&self, place: usize) -> io::Result<()> {
            self.lock(libc::F_SETLK, place).map(drop)
        }

        /// Whether another process holds a place.
        ///
        /// # Errors
        ///
        /// When the operating system does not tell.
        pub fn is_held(&self, place: usize) -> io::Result<bool> {
            let found = self.lock(libc::F_GETLK, place)?;
            Ok(i32::from(found.l_type) != libc::F_UNLCK)
        }

        fn lock(&self, command: libc::c_int, place: usize) -> io::Result<libc::flock> {
            // SAFETY: all fields are numbers, for which zero is valid.
            let mut lock: libc::flock = unsafe { std::mem::zeroed() };
            lock.l_type = libc::F_WRLCK as libc::c_short;
            lock.l_whence = libc::SEEK_SET as libc::c_short;
            lock.l_start = libc::off_t::try_from(place).map_err(io::Error::other)?;
            lock.l_len = 1;
            // SAFETY: the descriptor is open, and both commands take a pointer to such a structure,
            // which is ours.
            let result =
                unsafe { libc::fcntl(self.descriptor.as_raw_fd(), command, &raw mut lock) };
            if result == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(lock)
        }
    }

    impl Drop for SharedMemory {
        fn drop(&mut self) {
            // SAFETY: the mapping was made by `map` and is unmapped once; whoever reaches it borrows
            // `self`.
            let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
            debug_assert!(unmapped.is_ok());
        }
    }

    /// Sleeps while the word has this value, until it is woken; no longer than `limit`.
    /// It may return without cause.
    pub fn sleep_on(word: &AtomicU32, value: u32, limit: Option<Duration>) {
        let limit = limit.and_then(|limit| rustix::fs::Timespec::try_from(limit).ok());
        // Whatever ends the wait, the caller looks for itself.
        let _ = futex::wait(word, futex::Flags::empty(), value, limit.as_ref());
    }

    /// Wakes who sleeps on the word, in whatever process.
    pub fn wake(word: &AtomicU32) {
        if let Err(error) = futex::wake(word, futex::Flags::empty(), 1) {
            tracing::warn!(%error, "cannot wake a sleeping rank");
        }
    }
}

#[cfg(all(not(any(target_os = "linux", target_os = "android")), not(miri)))]
mod system {
    use super::*;

    fn unsupported() -> io::Error {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "this operating system has no sealed shared memory",
        )
    }

    impl SharedMemory {
        /// There is no such memory here.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn create(_name: &str, _bytes: usize) -> io::Result<Self> {
            Err(unsupported())
        }

        /// There is no such memory here.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn attach(_descriptor: OwnedFd) -> io::Result<Self> {
            Err(unsupported())
        }

        /// There is no such memory here.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn reserve(&self, _at: usize, _bytes: usize) -> io::Result<()> {
            Err(unsupported())
        }

        /// There is no such memory here.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn hold(&self, _place: usize) -> io::Result<()> {
            Err(unsupported())
        }

        /// There is no such memory here.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn is_held(&self, _place: usize) -> io::Result<bool> {
            Err(unsupported())
        }
    }

    /// Never called: there is no such memory here.
    pub fn sleep_on(_word: &AtomicU32, _value: u32, limit: Option<Duration>) {
        std::thread::sleep(limit.unwrap_or(Duration::from_millis(1)));
    }

    /// Never called: there is no such memory here.
    pub fn wake(_word: &AtomicU32) {}
}

/// The twin on the heap: what lives in such memory runs between threads under Miri, which knows no mappings.
#[cfg(miri)]
mod heap;
#[cfg(miri)]
use heap as system;

pub use system::{sleep_on, wake};

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;
    use crate::base::words::Words;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering::SeqCst;

    #[test]
    fn two_mappings_see_each_other_and_the_size_is_sealed() {
        let one = SharedMemory::create("test", 8192).expect("memory");
        let copy = one.as_fd().try_clone_to_owned().expect("a descriptor");
        let other = SharedMemory::attach(copy).expect("attached");
        one.store(4096, 7, SeqCst);
        assert_eq!(other.load(4096, SeqCst), 7);
        one.reserve(4096, 4096).expect("memory");
        assert!(rustix::fs::ftruncate(one.as_fd(), 10).is_err(), "sealed");
        assert!(one.as_fd().as_raw_fd() > 2);
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("test", flags).expect("memory");
        assert!(SharedMemory::attach(file).is_err());
    }
}
