//! Hosts that fall silent. Every one is heard of several times a second; one that is silent for the
//! time-out is lost, whatever the reason: nobody waits for it any longer.

use std::time::Duration;

use phalanx::wire::control::{BEAT_MILLIS, ToDaemon};

use super::{Action, Job, report};

const BEAT: Duration = Duration::from_millis(BEAT_MILLIS);
/// When we look this late we were stopped ourselves, and silence means nothing.
const STALL: Duration = Duration::from_millis(4 * BEAT_MILLIS);

/// When each host was last heard of.
#[derive(Debug)]
pub(super) struct Liveness {
    /// None when the job has a single host: then its daemon's end says everything.
    timeout: Option<Duration>,
    heard: Vec<Option<Duration>>,
    next_beat: Option<Duration>,
    looked: Duration,
}

impl Liveness {
    pub(super) fn new(hosts: usize, timeout: Option<Duration>, now: Duration) -> Self {
        Self {
            timeout,
            heard: vec![None; hosts],
            next_beat: None,
            looked: now,
        }
    }

    /// A daemon has said its name, or anything after that.
    pub(super) fn hear(&mut self, node: u32, now: Duration) {
        if self.timeout.is_some() {
            self.heard[node as usize] = Some(now);
            self.next_beat.get_or_insert(now);
        }
    }

    /// It is over with this one.
    pub(super) fn forget(&mut self, node: u32) {
        self.heard[node as usize] = None;
    }

    pub(super) fn is_heard(&self, node: u32) -> bool {
        self.heard[node as usize].is_some()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let timeout = self.timeout?;
        let silent = self.heard.iter().flatten().map(|heard| *heard + timeout);
        silent.chain(self.next_beat).min()
    }

    /// The hosts that are lost by now.
    fn silent(&mut self, now: Duration) -> Vec<u32> {
        let Some(timeout) = self.timeout else {
            return Vec::new();
        };
        let late = now.saturating_sub(self.looked);
        self.looked = now;
        if late >= STALL {
            for heard in self.heard.iter_mut().flatten() {
                *heard += late;
            }
        }
        let nodes = (0..).zip(&self.heard);
        let silent = nodes.filter(|(_, heard)| heard.is_some_and(|heard| heard + timeout <= now));
        silent.map(|(node, _)| node).collect()
    }

    fn beats(&mut self, now: Duration) -> bool {
        let due = self.next_beat.is_some_and(|beat| beat <= now);
        if due {
            self.next_beat = Some(now + BEAT);
        }
        due
    }
}

impl Job {
    /// Bytes came from a daemon that has said its name.
    pub(super) fn host_heard(&mut self, node: u32, now: Duration) {
        if self.liveness.is_heard(node) && !self.daemons[node as usize].over {
            self.liveness.hear(node, now);
        }
    }

    pub(super) fn look_after_hosts(&mut self, now: Duration) {
        let timeout = self.liveness.timeout.unwrap_or_default();
        for node in self.liveness.silent(now) {
            self.host_lost(node, &report::silent(timeout));
        }
        if self.liveness.beats(now) {
            self.beat();
        }
    }

    /// Tells every daemon that we are there, and for how long silence is to be suffered.
    pub(super) fn beat(&mut self) {
        if let Some(timeout) = self.liveness.timeout {
            let fence = timeout.saturating_sub(timeout / 6);
            let fence_millis = u64::try_from(fence.as_millis()).unwrap_or(u64::MAX);
            for (node, daemon) in (0..).zip(&self.daemons) {
                if !daemon.over && self.liveness.is_heard(node) {
                    let message = ToDaemon::Beat { fence_millis };
                    self.actions.push(Action::Send { node, message });
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "liveness_tests.rs"]
mod tests;
