//! How ranks are counted and spoken of.

use super::Job;

impl Job {
    pub(super) fn alive(&self) -> usize {
        self.ranks.iter().filter(|rank| rank.exit.is_none()).count()
    }

    pub(super) fn alive_besides(&self, rank: u32) -> usize {
        self.alive() - usize::from(self.ranks[rank as usize].exit.is_none())
    }

    pub(super) fn host(&self, rank: u32) -> &str {
        &self.daemons[self.setup.placement.node_of[rank as usize] as usize].host
    }

    /// How a rank is spoken of: its number, host and process.
    pub(super) fn name(&self, rank: u32) -> String {
        let pid = self.ranks[rank as usize].pid;
        let what = if self.setup.threads {
            "the program".to_owned()
        } else {
            format!("rank {rank}")
        };
        format!("{what} on {} (pid {pid})", self.host(rank))
    }
}
