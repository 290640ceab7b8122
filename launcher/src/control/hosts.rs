//! What daemons say, and hosts that are not there, or not there any more.

use std::time::Duration;

use phalanx::wire::control::{Cause, Exit, FromDaemon, PROTOCOL};

use super::{Action, Job, Phase, report};
use crate::exit;

impl Job {
    pub(super) fn daemon_said(&mut self, node: u32, message: FromDaemon, now: Duration) {
        match message {
            FromDaemon::Hello {
                protocol,
                host,
                pid,
            } => {
                let daemon = &mut self.daemons[node as usize];
                daemon.host = host;
                daemon.pid = pid;
                daemon.greeted = true;
                self.liveness.hear(node, now);
                if !self.is_undecided() {
                    // It was told to end already.
                } else if protocol == PROTOCOL {
                    self.start_when_all_are_there();
                } else {
                    let line = report::other_daemon(&self.daemons[node as usize].host, protocol);
                    self.end(exit::WIRE, Some(line));
                }
            }
            FromDaemon::Done => {
                self.liveness.forget(node);
                self.daemons[node as usize].over = true;
                self.finish_if_over();
            }
            FromDaemon::StartFailed {
                missing, message, ..
            } => {
                let host = &self.daemons[node as usize].host;
                let line = report::start_failed(&message, host, missing);
                self.end(exit::LAUNCH, Some(line));
            }
            FromDaemon::Started { rank, .. }
            | FromDaemon::FromRank { rank, .. }
            | FromDaemon::Died { rank }
            | FromDaemon::Traces { rank, .. }
            | FromDaemon::Exited { rank, .. }
                if self.setup.placement.node_of.get(rank as usize) != Some(&node) =>
            {
                let why = format!("it spoke of rank {rank}, which it does not have");
                self.daemon_lost(node, &why);
            }
            FromDaemon::Started { rank, pid } => self.ranks[rank as usize].pid = pid,
            FromDaemon::FromRank { rank, message } => self.rank_said(rank, message, now),
            FromDaemon::Glances(glances) => self.glanced(node, glances, now),
            FromDaemon::Died { rank } => self.died(rank, now),
            FromDaemon::Traces {
                rank,
                last,
                out_of_memory,
            } => self.traces(rank, last, out_of_memory),
            FromDaemon::Exited { rank, exit } => self.exited(rank, exit, now),
            FromDaemon::Note { message } => {
                let host = &self.daemons[node as usize].host;
                self.actions.push(Action::Say(format!("{host}: {message}")));
            }
            FromDaemon::Cancelled => self.cancelled(node),
            FromDaemon::Beat
            | FromDaemon::NeedFile { .. }
            | FromDaemon::FileTaken { .. }
            | FromDaemon::Printed { .. }
            | FromDaemon::InputTaken { .. }
            | FromDaemon::InputClosed => {}
        }
    }

    /// Ranks are started everywhere or nowhere.
    fn start_when_all_are_there(&mut self) {
        if self.daemons.iter().all(|daemon| daemon.greeted) {
            // Before the first rank runs: a host that is cut off then has to know that it counts.
            self.beat();
            let nodes = u32::try_from(self.daemons.len()).unwrap_or(u32::MAX);
            let start = |node| Action::Start { node };
            self.actions.extend((0..nodes).map(start));
        }
    }

    /// A host never came to run a daemon.
    pub(super) fn not_started(&mut self, node: u32, line: String) {
        self.daemons[node as usize].over = true;
        self.liveness.forget(node);
        self.end(exit::LAUNCH, Some(line));
        self.finish_if_over();
    }

    pub(super) fn daemon_lost(&mut self, node: u32, why: &str) {
        let daemon = &self.daemons[node as usize];
        let ranks = self.ranks_at(node);
        let line = report::daemon_lost(&daemon.host, daemon.pid, why, &ranks);
        self.loses(node, &ranks, line);
    }

    pub(super) fn host_lost(&mut self, node: u32, why: &str) {
        let ranks = self.ranks_at(node);
        let line = report::host_lost(&self.daemons[node as usize].host, why, &ranks);
        self.loses(node, &ranks, line);
    }

    /// The ranks of a host that have not ended.
    fn ranks_at(&self, node: u32) -> Vec<u32> {
        let places = (0..).zip(self.ranks.iter().zip(&self.setup.placement.node_of));
        let here = places.filter(|(_, (rank, at))| **at == node && rank.exit.is_none());
        here.map(|(number, _)| number).collect()
    }

    fn loses(&mut self, node: u32, ranks: &[u32], line: String) {
        if self.daemons[node as usize].over {
            return;
        }
        self.daemons[node as usize].over = true;
        self.daemons[node as usize].lost = true;
        self.liveness.forget(node);
        let mut pids = Vec::new();
        for rank in ranks {
            self.events += 1;
            let state = &mut self.ranks[*rank as usize];
            pids.extend((state.pid != 0).then_some(state.pid));
            state.exit = Some(Exit::Signal(9));
            state.order = self.events;
            state.host_lost = true;
            state.ended = Some(self.now);
            if !self.failed.contains(rank) {
                self.failed.push(*rank);
            }
        }
        self.actions.push(Action::KillGroups { node, pids });
        for rank in ranks {
            self.departures.everyone_watches(*rank);
            self.announce(*rank, &Cause::HostLost);
        }
        self.decide_all();
        if self.phase == Phase::Running && !ranks.is_empty() && self.goes_on() {
            let line = line + &report::go_on(self.alive());
            self.actions.push(Action::Say(line));
        } else {
            self.end(exit::HOST_LOST, Some(line));
        }
        self.finish_if_over();
    }
}
