//! What a local daemon leaves when it is killed: the kernel ends its ranks, but not what those
//! have started.
//!
//! On Linux the launcher asks to inherit all orphans among its descendants (it becomes their
//! "subreaper"), so it can find and kill them, whether or not it has ever heard of them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process};

/// Time that killed processes have to disappear; only the kernel can make it longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Claims the orphans of daemons.
#[derive(Debug)]
pub(crate) struct Orphans {
    /// Children that we were born with, as after `server & exec phalanx run`: not ours to end.
    before: HashSet<i32>,
}

impl Orphans {
    /// From now on orphans among our descendants become our children.
    pub(crate) fn claim() -> Self {
        #[cfg(target_os = "linux")]
        {
            // Without it, a kernel older than 3.4, what ranks have started may be left.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        }
        Self {
            before: children().into_iter().collect(),
        }
    }

    /// Kills all that came to us, and what comes to us when those have gone. `spare` are the
    /// daemons that still live.
    pub(crate) fn kill(&self, spare: &[u32]) {
        let deadline = Instant::now() + PATIENCE;
        let spared = |pid: &i32| self.before.contains(pid) || spare.contains(&pid.unsigned_abs());
        while Instant::now() < deadline {
            let mut found = children();
            found.retain(|pid| !spared(pid));
            if found.is_empty() {
                return;
            }
            for pid in found.into_iter().filter_map(Pid::from_raw) {
                // A child that has ended keeps its number until it is waited for, just below.
                let _ = kill_process(pid, Signal::KILL);
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Our children, as far as the system tells.
fn children() -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let list = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children"));
    let lists = threads.flatten().filter_map(|thread| list(thread).ok());
    let numbers = |list: String| -> Vec<i32> {
        list.split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    lists.flat_map(numbers).collect()
}
