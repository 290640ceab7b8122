//! Which processors a thread may use, on which it runs, and how to leave that.

use std::io;

/// Processors by number, as a set that the operating system understands.
#[derive(Clone, Debug)]
pub struct Processors {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    set: rustix::thread::CpuSet,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Processors {
    /// A set of these.
    ///
    /// # Errors
    ///
    /// When a number is larger than such sets have room for.
    pub fn of(numbers: &[u32]) -> io::Result<Self> {
        let mut set = rustix::thread::CpuSet::new();
        for number in numbers {
            let place = *number as usize;
            if place >= rustix::thread::CpuSet::MAX_CPU {
                return Err(io::Error::other(format!(
                    "processor {number} is beyond what can be bound to"
                )));
            }
            set.set(place);
        }
        Ok(Self { set })
    }

    /// Those that this thread may use, which its children inherit.
    ///
    /// # Errors
    ///
    /// What the operating system returns, as for more processors than such sets have room for.
    pub fn allowed() -> io::Result<Self> {
        let set = rustix::thread::sched_getaffinity(None)?;
        Ok(Self { set })
    }

    /// Their numbers, in order.
    pub fn numbers(&self) -> Vec<u32> {
        let numbers = 0..rustix::thread::CpuSet::MAX_CPU;
        let members = numbers.filter(|place| self.set.is_set(*place));
        members.map(|place| place as u32).collect()
    }

    /// Binds this thread, and what it starts from now on. One system call, which allocates nothing and takes no
    /// lock: a child may use it between `fork` and `exec`.
    ///
    /// # Errors
    ///
    /// What the operating system returns, as for processors that are not there.
    pub fn bind(&self) -> io::Result<()> {
        rustix::thread::sched_setaffinity(None, &self.set)?;
        Ok(())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Processors {
    /// A set of these.
    ///
    /// # Errors
    ///
    /// Always: this operating system does not bind threads.
    pub fn of(_numbers: &[u32]) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Those that this thread may use.
    ///
    /// # Errors
    ///
    /// Always: this operating system does not tell.
    pub fn allowed() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Their numbers, in order.
    pub fn numbers(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Binds this thread.
    ///
    /// # Errors
    ///
    /// Always: this operating system does not bind threads.
    pub fn bind(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

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
    move_to(|set| set.unset(processor as usize));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = processor;
}

/// Moves this thread to a processor, if it may use that: as [`leave`] does.
pub fn go_to(processor: u32) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    move_to(|set| {
        let allowed = set.is_set(processor as usize);
        set.clear();
        if allowed {
            set.set(processor as usize);
        }
    });
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = processor;
}

/// Moves this thread to one of the processors that are left of those that it may use, if any are.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn move_to(choose: impl FnOnce(&mut rustix::thread::CpuSet)) {
    use rustix::thread::{sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let mut chosen = allowed;
    choose(&mut chosen);
    if chosen.count() == 0 || sched_setaffinity(None, &chosen).is_err() {
        return;
    }
    if let Err(error) = sched_setaffinity(None, &allowed) {
        tracing::warn!(%error, "this thread stays bound to the processors it was moved to");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_leaves_may_come_back() {
        let before = Processors::allowed().expect("a set").numbers();
        let here = current().expect("some processor");
        leave(here);
        assert_eq!(Processors::allowed().expect("a set").numbers(), before);
        for one in &before {
            go_to(*one);
            assert_eq!(Processors::allowed().expect("a set").numbers(), before);
        }
        go_to(1000);
        assert_eq!(Processors::allowed().expect("a set").numbers(), before);
    }

    #[test]
    fn a_thread_can_be_bound_and_then_sees_no_more() {
        let bound = std::thread::spawn(|| {
            let one = Processors::allowed().expect("a set").numbers()[0];
            Processors::of(&[one])
                .expect("a set")
                .bind()
                .expect("binds");
            (one, Processors::allowed().expect("a set").numbers())
        });
        let (one, seen) = bound.join().expect("no panic");
        assert_eq!(seen, [one]);
        assert!(Processors::of(&[1 << 20]).is_err());
    }
}
