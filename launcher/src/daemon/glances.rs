//! What can be seen of ranks from outside: whether they are stopped, and their black boxes.

use std::fs;
use std::io;

use phalanx::wire::control::{FromDaemon, Glance};

use super::Daemon;
use super::deaths::last;

impl Daemon {
    /// Tells what all ranks of this host seem to do.
    pub(super) fn glance(&mut self) -> io::Result<()> {
        let boxes = self.spawner.as_ref().and_then(super::Spawner::boxes);
        let living = self.children.iter().enumerate();
        let living = living.filter(|(_, child)| child.exit.is_none());
        let glances = living.map(|(local, child)| Glance {
            rank: child.rank,
            stopped: is_stopped(child.pid.as_raw_nonzero().get()),
            last: boxes.and_then(|boxes| boxes.read(local)).and_then(last),
        });
        let glances = glances.collect();
        self.tell(&FromDaemon::Glances(glances))
    }
}

fn is_stopped(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything.
    let state = status.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| state.starts_with(['T', 't']))
}
