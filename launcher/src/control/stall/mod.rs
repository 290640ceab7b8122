//! Ranks that wait for long: is it a deadlock, a mismatch, or is somebody slow?
//!
//! A rank that has been blocked for a second, with nothing happening, says so. Then all ranks are asked what
//! they wait for; those that are in the library, with nothing to do, answer. If some are stuck in each other
//! they are asked once more, and when nothing has moved the job is ended with the proof: see
//! [`phalanx::stall`]. Ranks that do not answer compute, or are stopped, which their daemons are asked: that is
//! no error, but after a while it is told, once, who they are and who waits for them.

mod looks;
mod words;

#[cfg(test)]
mod tests;

use std::time::Duration;

use phalanx::stall::{self, Standing};
use phalanx::wire::control::{Answer, ToDaemon, ToRank};

use super::summary::Because;
use super::{Action, Job, Phase};
use crate::exit;
pub(super) use looks::Looks;
use looks::Step;

/// A wait is told of when it has lasted for so long and somebody who is waited for is busy.
const NOTICE: Duration = Duration::from_secs(5);

impl Job {
    /// A rank has been blocked for a while.
    pub(super) fn blocked(&mut self, now: Duration) {
        if self.phase == Phase::Running {
            self.looks.wanted(now);
            self.look(now);
        }
    }

    pub(super) fn answered(&mut self, rank: u32, answer: Answer, now: Duration) {
        self.looks.answered(rank, answer, now);
        self.look(now);
    }

    /// Does what is due.
    pub(super) fn look(&mut self, now: Duration) {
        if self.phase != Phase::Running {
            self.looks.stop();
            return;
        }
        match self.looks.step(now) {
            Step::Nothing => {}
            Step::Ask => {
                let asked: Vec<u32> = (0..)
                    .zip(&self.ranks)
                    .filter(|(_, it)| it.joined.is_some() && !it.finalized && !it.has_ended())
                    .map(|(rank, _)| rank)
                    .collect();
                if self.looks.wants_glances() {
                    self.everywhere(&ToDaemon::Glance);
                }
                let number = self.looks.ask(asked.len(), now);
                for rank in asked {
                    self.tell_rank(rank, ToRank::Ask { number });
                }
            }
            Step::Judge(answers) => {
                let ranks = self.standings(answers);
                self.judge_stall(ranks, now);
            }
        }
    }

    fn standings(&self, mut answers: Vec<Option<Box<Answer>>>) -> Vec<Standing> {
        let ranks = self.ranks.iter().enumerate();
        ranks
            .map(|(rank, state)| {
                let answer = answers.get_mut(rank).and_then(Option::take);
                match answer {
                    _ if state.has_ended() || state.finalized => Standing::Gone,
                    Some(answer) => Standing::Idle(answer),
                    None => Standing::Busy,
                }
            })
            .collect()
    }

    fn judge_stall(&mut self, ranks: Vec<Standing>, now: Duration) {
        if let Some(found) = stall::disagreement(&ranks) {
            self.blame(Because::Mismatch, Some(found.one.0));
            self.end(exit::MISMATCH, Some(words::disagreement(&found)));
            return;
        }
        let before = self.looks.take_before();
        let picture = match &before {
            Some(before) => stall::unchanged(before, &ranks),
            None => ranks.clone(),
        };
        let stuck = stall::stuck(&picture);
        match before {
            None if !stuck.is_empty() => {
                self.looks.look_again(ranks, now);
                return;
            }
            Some(_) if !stuck.is_empty() && stall::settled(&stuck, &picture) => {
                self.is_stuck(&stuck, &picture);
            }
            _ => {}
        }
        self.looks.note_silent(&ranks, now);
        self.name_stragglers(&ranks, now);
        self.limit_stalls(&ranks);
        self.looks
            .judged(&ranks, now, NOTICE, self.setup.stall_timeout);
    }

    /// These ranks will never go on, unless another thread of one of them helps.
    fn is_stuck(&mut self, stuck: &[u32], ranks: &[Standing]) {
        let free = stuck.iter().copied().find(|rank| {
            matches!(&ranks[*rank as usize], Standing::Idle(answer) if answer.free_threads > 0)
        });
        let cycle = stall::describe_cycle(stuck, ranks);
        match free {
            None => {
                self.note_deadlock(stuck, ranks);
                self.blame(Because::Deadlock, None);
                self.end(exit::MISMATCH, Some(words::deadlock(&cycle)));
            }
            Some(rank) if self.looks.is_news(stuck, ranks) => {
                let line = words::perhaps(&cycle, rank);
                self.actions.push(Action::Say(line));
            }
            Some(_) => {}
        }
    }

    fn name_stragglers(&mut self, ranks: &[Standing], now: Duration) {
        let millis = u64::try_from(NOTICE.as_millis()).unwrap_or(u64::MAX);
        for (rank, (waiting, wait), count) in stall::stragglers(ranks, millis) {
            if !self.looks.may_name(rank, now) {
                continue;
            }
            let state = &self.ranks[rank as usize];
            let what = match &state.joined {
                _ if self.looks.is_stopped(rank) => words::Straggler::Stopped { pid: state.pid },
                Some(_) => words::Straggler::Computes,
                None => words::Straggler::HasNotJoined,
            };
            let line = words::straggler(&self.name(rank), what, (waiting, &wait), count);
            self.actions.push(Action::Say(line));
        }
    }

    fn limit_stalls(&mut self, ranks: &[Standing]) {
        let Some(limit) = self.setup.stall_timeout else {
            return;
        };
        let waits = (0..).zip(ranks).flat_map(|(rank, standing)| {
            let waits = standing.waits().iter();
            waits.map(move |wait| (rank, wait))
        });
        let over = waits
            .filter(|(_, wait)| u128::from(wait.millis) >= limit.as_millis())
            .max_by_key(|(_, wait)| wait.millis);
        if let Some((rank, wait)) = over {
            let name = self.name(rank);
            let busy = stall::needed(ranks, rank, wait).ranks().into_iter();
            let busy = busy.filter(|rank| ranks.get(*rank as usize) == Some(&Standing::Busy));
            let busy: Vec<_> = busy.map(|it| (it, self.looks.is_stopped(it))).collect();
            let line = words::stalled(&name, wait, limit, &busy);
            self.blame(Because::Stall, Some(rank));
            self.end(exit::TIMEOUT, Some(line));
        }
    }
}
