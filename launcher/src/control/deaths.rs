//! Ranks that have died, before it is known how.

use std::time::Duration;

use super::{Job, Phase, report};

/// Time that the system has to take a dead process down; only then it is known how it ended.
const TAKING_DOWN: Duration = Duration::from_secs(10);

impl Job {
    /// A rank will not do anything any more. The others learn it at once; judgement waits for its end.
    pub(super) fn died(&mut self, rank: u32, now: Duration) {
        let entry = &mut self.ranks[rank as usize];
        if entry.exit.is_some() || entry.finalized || entry.died || !self.is_undecided() {
            return;
        }
        self.events += 1;
        let entry = &mut self.ranks[rank as usize];
        entry.died = true;
        if entry.complaint.is_none() {
            entry.order = self.events;
        }
        let cause = report::cause(&self.ranks[rank as usize]);
        self.departures.everyone_watches(rank);
        self.announce(rank, &cause);
        self.decide_all();
        if self.phase != Phase::Running {
            return;
        }
        if self.goes_on() {
            self.ranks[rank as usize].outlived = true;
        } else {
            let until = now + TAKING_DOWN;
            self.phase = Phase::Judging { until };
        }
    }

    /// What is known of a rank besides how it ended.
    pub(super) fn traces(&mut self, rank: u32, last: Option<String>, out_of_memory: bool) {
        let entry = &mut self.ranks[rank as usize];
        entry.last = last;
        entry.out_of_memory = out_of_memory;
    }

    /// Ranks that died, and whose processes are still there, count as failed now.
    pub(super) fn count_the_dead(&mut self) {
        for (rank, state) in (0..).zip(&self.ranks) {
            if state.died && state.exit.is_none() && !self.failed.contains(&rank) {
                self.failed.push(rank);
            }
        }
    }
}
