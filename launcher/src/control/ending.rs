//! How a job ends: by a signal, by the loss of a daemon, with one reason and one exit code.

use std::time::Duration;

use phalanx::wire::control::ToDaemon;
use signal_hook::consts::{SIGCONT, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2};

use super::summary::Because;
use super::{Action, INTERRUPT_GRACE, Job, Phase, Rank, report};
use crate::exit;

impl Job {
    pub(super) fn fails_after_interrupt(&mut self, rank: u32, now: Duration) {
        let mine = report::exit_code(&self.ranks[rank as usize]);
        let victim = self.is_victim(rank);
        let Phase::Interrupted {
            signal,
            until,
            code,
        } = &mut self.phase
        else {
            return;
        };
        until.get_or_insert(now + INTERRUPT_GRACE);
        let expected = mine == exit::of_signal(*signal) || victim;
        let first = code.is_none();
        if first && expected {
            *code = Some(exit::of_signal(*signal));
        } else if first {
            *code = Some(mine);
            let line = report::failed(&self.name(rank), &self.ranks[rank as usize], self.alive());
            self.actions.push(Action::Say(line));
        }
    }

    pub(super) fn signalled(&mut self, signal: i32, now: Duration) {
        match signal {
            SIGUSR1 | SIGUSR2 | SIGCONT => self.everywhere(&ToDaemon::Signal(signal)),
            SIGTSTP => {
                self.everywhere(&ToDaemon::Signal(SIGSTOP));
                if self.setup.host_timeout.is_some() {
                    self.everywhere(&ToDaemon::Quiet);
                }
            }
            SIGQUIT => self.want_table(now),
            _ => match self.phase {
                Phase::Running if self.ranks.iter().all(|rank| rank.pid == 0) => {
                    self.end(exit::of_signal(signal), None);
                }
                Phase::Running | Phase::Judging { .. } => {
                    let line = report::passed_on(signal, self.alive());
                    self.blame(Because::Interrupted, None);
                    self.actions.push(Action::Say(line));
                    self.everywhere(&ToDaemon::Signal(signal));
                    self.phase = Phase::Interrupted {
                        signal,
                        until: None,
                        code: None,
                    };
                }
                Phase::Interrupted { signal: first, .. } => self.insist(exit::of_signal(first)),
                Phase::Ending { code, .. } => self.insist(code),
                Phase::Over => self.actions.push(Action::Leave(exit::of_signal(signal))),
            },
        }
    }

    /// The daemon of a host was told to end, and not by us. Its ranks need not fail for that: they may not
    /// even have been started.
    pub(super) fn cancelled(&mut self, node: u32) {
        if let Phase::Interrupted { signal, code, .. } = &mut self.phase {
            code.get_or_insert(exit::of_signal(*signal));
            return;
        }
        let runs = |rank: &&Rank| rank.pid != 0 && rank.exit.is_none();
        let running = self.ranks.iter().filter(runs).count();
        let line = report::cancelled(&self.daemons[node as usize].host, running);
        self.end(exit::of_signal(SIGTERM), Some(line));
    }

    /// Kills everything; asked once more, leaves without looking back.
    pub(super) fn insist(&mut self, code: u8) {
        match self.phase {
            Phase::Ending { insisted: true, .. } | Phase::Over => {
                self.actions.push(Action::Leave(code));
            }
            _ => {
                self.everywhere(&ToDaemon::End { now: true });
                self.phase = Phase::Ending {
                    code,
                    insisted: true,
                };
                self.finish_if_over();
            }
        }
    }

    /// Ends the job with this code; only the first reason counts.
    pub(super) fn end(&mut self, code: u8, line: Option<String>) {
        if !self.is_undecided() {
            return;
        }
        self.blame_by_code(code);
        self.reason.clone_from(&line);
        self.actions.extend(line.map(Action::Say));
        self.everywhere(&ToDaemon::End { now: false });
        self.phase = Phase::Ending {
            code,
            insisted: false,
        };
        self.finish_if_over();
    }

    pub(super) fn finish_if_over(&mut self) {
        if !self.daemons.iter().all(|daemon| daemon.over) {
            return;
        }
        if matches!(self.phase, Phase::Judging { .. }) {
            self.judge();
        }
        let code = match self.phase {
            Phase::Ending { code, .. } => code,
            Phase::Interrupted { code, .. } => code.unwrap_or(0),
            Phase::Running | Phase::Judging { .. } => {
                let code = self.code_of_survivors();
                if let (1.., Some(&first)) = (code, self.failed.first()) {
                    self.blame_rank(first);
                }
                code
            }
            Phase::Over => return,
        };
        let code = self.final_code(code);
        self.phase = Phase::Over;
        self.actions.push(Action::Finish(code));
    }
}
