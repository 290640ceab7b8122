//! A word in shared memory that tells, at once, that a process has ended.
//!
//! The kernel closes the files of a killed process, and tells its parent, only when it has taken down its
//! memory, which for gigabytes takes hundreds of milliseconds. What it does first is to walk the list of the
//! robust futexes of each thread: it marks the words that the thread holds, and wakes who waits for them. So a
//! thread that lives as long as the rank holds one word, and the daemon waits for the words of all its ranks.
//!
//! A word is 0 while nobody holds it, or nobody does any more; else the id of the thread that holds it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::black_box::Boxes;

/// Set in the word of a process that has ended.
const OWNER_DIED: u32 = 0x4000_0000;
/// Somebody waits for the word: the kernel wakes them.
#[cfg(target_os = "linux")]
const WAITERS: u32 = 0x8000_0000;
/// Words that one call waits for.
pub const WATCHED_MAX: usize = 128;

/// A word that is held. Dropping it gives the word back, without a sign of death.
#[derive(Debug)]
pub struct Held {
    boxes: Arc<Boxes>,
    rank: usize,
    /// The thread ends when this is dropped.
    _release: std::sync::mpsc::Sender<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let word = self.boxes.life(self.rank);
        word.store(0, Ordering::SeqCst);
        system::wake(word);
    }
}

/// Whether the word says that its holder has ended without giving it back.
pub fn has_died(word: u32) -> bool {
    word & OWNER_DIED != 0
}

#[cfg(target_os = "linux")]
mod system {
    use super::*;
    use crate::sys::threads::{OWN_PREFIX, this_thread};
    use rustix::thread::futex;
    use std::ptr;
    use std::sync::mpsc;

    /// Bytes of the stack of the thread that holds a word.
    const STACK_BYTES: usize = 64 * 1024;

    /// The kernel's `struct robust_list`.
    #[repr(C)]
    struct Node {
        next: *const Self,
    }

    /// The kernel's `struct robust_list_head`.
    #[repr(C)]
    struct Head {
        list: Node,
        futex_offset: libc::c_long,
        pending: *const Node,
    }

    /// Holds the word of a rank until the result is dropped or this process ends. A program that replaces
    /// itself (`execve`) ends in this sense.
    ///
    /// # Errors
    ///
    /// When there can be no further thread, or the kernel has no such lists.
    pub fn hold(boxes: Arc<Boxes>, rank: usize) -> io::Result<Held> {
        let (release, released) = mpsc::channel::<()>();
        let (ready, is_ready) = mpsc::channel::<io::Result<()>>();
        let held = Held {
            boxes: Arc::clone(&boxes),
            rank,
            _release: release,
        };
        std::thread::Builder::new()
            .name(format!("{OWN_PREFIX}life"))
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let word = boxes.life(rank);
                let mut node = Node { next: ptr::null() };
                let mut head = Head {
                    list: Node {
                        next: &raw const node,
                    },
                    futex_offset: 0,
                    pending: ptr::null(),
                };
                // The list ends where it began.
                node.next = &raw const head.list;
                let offset = word.as_ptr() as isize - (&raw const node) as isize;
                head.futex_offset = offset as libc::c_long;
                let registered = register(&raw const head);
                let holds = registered.is_ok();
                if holds {
                    word.store(this_thread() as u32 | WAITERS, Ordering::SeqCst);
                    wake(word);
                }
                let _ = ready.send(registered);
                if holds {
                    // Until the sender is dropped, or the process ends.
                    let _ = released.recv();
                    // Before the list goes out of scope. The thread holds nothing else, and ends now.
                    let _ = register(ptr::null());
                }
            })?;
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that holds it has ended")))?;
        Ok(held)
    }

    /// Makes this the list of robust futexes of the calling thread, which uses no others.
    fn register(head: *const Head) -> io::Result<()> {
        // SAFETY: the call stores the pointer; the kernel reads the list when the thread ends or replaces
        // the program, with checks, and writes only to the futex word, by compare-and-swap, if it holds
        // this thread's id. The caller keeps list and word in place until it registers another list.
        let code = unsafe { libc::syscall(libc::SYS_set_robust_list, head, size_of::<Head>()) };
        if code == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub(super) fn wake(word: &AtomicU32) {
        // Nobody may wait for it.
        let _ = futex::wake(word, futex::Flags::empty(), u32::MAX);
    }

    /// Waits until one of these words, at most [`WATCHED_MAX`], has another value than the one given.
    ///
    /// # Errors
    ///
    /// When the kernel (before 5.16) cannot wait for several words.
    pub fn wait_for_change(words: &[(&AtomicU32, u32)]) -> io::Result<()> {
        let waits: Vec<futex::Wait> = words
            .iter()
            .map(|(word, value)| {
                let mut wait = futex::Wait::new();
                wait.val = u64::from(*value);
                wait.uaddr = futex::WaitPtr::new(word.as_ptr().cast());
                wait.flags = futex::WaitFlags::SIZE_U32;
                wait
            })
            .collect();
        let flags = futex::WaitvFlags::empty();
        match futex::waitv(&waits, flags, None, futex::ClockId::Monotonic) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;

    pub(super) fn wake(_word: &AtomicU32) {}

    /// There is no such thing here.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn hold(_boxes: Arc<Boxes>, _rank: usize) -> io::Result<Held> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is no such thing here.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn wait_for_change(_words: &[(&AtomicU32, u32)]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub use system::{hold, wait_for_change};

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn boxes() -> Arc<Boxes> {
        Arc::new(Boxes::create(2).expect("memory"))
    }

    #[test]
    fn a_word_that_is_given_back_shows_no_death_and_wakes_who_waits() {
        let boxes = boxes();
        let held = hold(Arc::clone(&boxes), 1).expect("holds");
        let value = boxes.life(1).load(Ordering::SeqCst);
        assert!(value != 0 && !has_died(value));
        let waits = {
            let boxes = Arc::clone(&boxes);
            std::thread::spawn(move || {
                while boxes.life(1).load(Ordering::SeqCst) == value {
                    let words = [(boxes.life(0), 0), (boxes.life(1), value)];
                    wait_for_change(&words).expect("the kernel can");
                }
            })
        };
        drop(held);
        waits.join().expect("woken");
        assert_eq!(boxes.life(1).load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_change_before_the_wait_is_not_missed() {
        let boxes = boxes();
        boxes.life(0).store(7, Ordering::SeqCst);
        wait_for_change(&[(boxes.life(0), 0)]).expect("at once");
    }
}
