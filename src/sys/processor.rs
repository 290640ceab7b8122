//! Which processor this thread runs on, and how to leave it.

/// The processor that this thread runs on now; `None` where that cannot be told.
pub fn current() -> Option<u32> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return u32::try_from(rustix::thread::sched_getcpu()).ok();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

/// Moves this thread to another processor that it may use, if there is one. Which ones it may use stays as
/// it was: the operating system may move it back whenever it likes.
pub fn leave(processor: u32) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::thread::{sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else {
            return;
        };
        let mut others = allowed;
        others.unset(processor as usize);
        if others.count() == 0 || sched_setaffinity(None, &others).is_err() {
            return;
        }
        if let Err(error) = sched_setaffinity(None, &allowed) {
            tracing::warn!(%error, "this thread stays bound to the processors it was moved to");
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = processor;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_leaves_may_come_back() {
        let before = rustix::thread::sched_getaffinity(None).expect("a set");
        let here = current().expect("some processor");
        leave(here);
        let after = rustix::thread::sched_getaffinity(None).expect("a set");
        assert!((0..1024).all(|cpu| before.is_set(cpu) == after.is_set(cpu)));
    }
}
