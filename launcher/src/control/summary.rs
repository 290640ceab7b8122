//! The job after its end, for programs: what `--report-json` writes. Described in `docs/report.md`.

use std::time::Duration;

use phalanx::stall::{self, Standing};
use phalanx::wire::control::{Exit, FailureClass};
use serde::Serialize;

use super::{Complaint, Job, Rank};
use crate::exit;

/// The first cause, as far as the end of a job has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Because {
    /// A rank exited with a code above 0.
    Exit,
    Signal,
    OutOfMemory,
    Panic,
    /// A rank returned an error.
    Error,
    /// A rank left with 0 before it had finalized.
    LeftEarly,
    Abort,
    Mismatch,
    Deadlock,
    /// A rank waited for one that had finalized.
    Deserted,
    /// With `--check`: what nobody received or waited for.
    Leftovers,
    Timeout,
    Stall,
    HostLost,
    Start,
    Wire,
    Authentication,
    Interrupted,
    OutputClosed,
}

/// What ended a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    because: Because,
    rank: Option<u32>,
    at: Duration,
}

/// One rank of a deadlock.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Waiting {
    rank: u32,
    operation: String,
    communicator: String,
    site: String,
    waits_for: Vec<u32>,
}

/// What is known of a job when it is over.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    exit_code: u8,
    cause: Option<Culprit>,
    deadlock: Vec<Waiting>,
    hosts: Vec<String>,
    hosts_lost: Vec<String>,
    ranks: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
struct Culprit {
    class: Because,
    after_seconds: f64,
    rank: Option<u32>,
    host: Option<String>,
    pid: Option<u32>,
    exit_code: Option<u8>,
    signal: Option<i32>,
    message: Option<String>,
    operation: Option<String>,
    site: Option<String>,
    /// Ranks that ended because of it.
    consequences: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    rank: u32,
    host: String,
    pid: Option<u32>,
    outcome: &'static str,
    exit_code: Option<u8>,
    signal: Option<i32>,
    finalized: bool,
    last_operation: Option<String>,
    after_seconds: Option<f64>,
}

impl Job {
    /// Notes the first cause.
    pub(super) fn blame(&mut self, because: Because, rank: Option<u32>) {
        let at = self.now;
        let verdict = Verdict { because, rank, at };
        self.verdict.get_or_insert(verdict);
    }

    /// The first cause, where only the code says it.
    pub(super) fn blame_by_code(&mut self, code: u8) {
        let because = match code {
            exit::LAUNCH => Because::Start,
            exit::HOST_LOST => Because::HostLost,
            exit::MISMATCH => Because::Mismatch,
            exit::TIMEOUT => Because::Timeout,
            exit::WIRE => Because::Wire,
            exit::OUTPUT_CLOSED => Because::OutputClosed,
            _ => Because::Interrupted,
        };
        self.blame(because, None);
    }

    /// A rank is the first cause.
    pub(super) fn blame_rank(&mut self, rank: u32) {
        let because = because(&self.ranks[rank as usize]);
        self.blame(because, Some(rank));
    }

    /// Who waits for whom.
    pub(super) fn note_deadlock(&mut self, stuck: &[u32], ranks: &[Standing]) {
        let waiting = |rank: &u32| {
            let wait = ranks[*rank as usize].waits().first()?;
            Some(Waiting {
                rank: *rank,
                operation: wait.operation.clone(),
                communicator: wait.on.clone().unwrap_or_else(|| "world".to_owned()),
                site: wait.site.clone(),
                waits_for: stall::needed(ranks, *rank, wait).ranks(),
            })
        };
        self.deadlock = stuck.iter().filter_map(waiting).collect();
    }

    /// The job as it ended.
    pub(crate) fn summary(&self, exit_code: u8) -> Summary {
        let daemons = self.daemons.iter();
        let lost = daemons.clone().filter(|daemon| daemon.lost);
        let ranks = (0..).zip(&self.ranks);
        Summary {
            exit_code,
            cause: self.verdict.map(|verdict| self.culprit(verdict)),
            deadlock: self.deadlock.clone(),
            hosts: daemons.map(|daemon| daemon.host.clone()).collect(),
            hosts_lost: lost.map(|daemon| daemon.host.clone()).collect(),
            ranks: ranks.map(|(rank, it)| self.outcome(rank, it)).collect(),
        }
    }

    fn culprit(&self, verdict: Verdict) -> Culprit {
        let rank = verdict.rank;
        let state = rank.map(|rank| &self.ranks[rank as usize]);
        let (exit_code, signal) = state.map_or((None, None), ending);
        let (operation, site) = state.map_or((None, None), call);
        let ended = (0..).zip(&self.ranks).filter(|(other, it)| {
            Some(*other) != rank && self.outcome_of(*other, it) != "finished"
        });
        Culprit {
            class: verdict.because,
            after_seconds: verdict.at.as_secs_f64(),
            rank,
            host: rank.map(|rank| self.host(rank).to_owned()),
            pid: state.map(|state| state.pid),
            exit_code,
            signal,
            message: self.reason.clone(),
            operation,
            site,
            consequences: ended.map(|(other, _)| other).collect(),
        }
    }

    fn outcome_of(&self, rank: u32, state: &Rank) -> &'static str {
        let culprit = self.verdict.is_some_and(|it| it.rank == Some(rank));
        match state.exit {
            _ if state.host_lost => "lost",
            None if state.pid == 0 => "not started",
            Some(Exit::Code(0)) if state.complaint.is_none() && !culprit => "finished",
            None => "ended",
            Some(_) if culprit || self.failed.contains(&rank) => "failed",
            Some(_) => "ended",
        }
    }

    fn outcome(&self, rank: u32, state: &Rank) -> Outcome {
        let (exit_code, signal) = ending(state);
        Outcome {
            rank,
            host: self.host(rank).to_owned(),
            pid: (state.pid != 0).then_some(state.pid),
            outcome: self.outcome_of(rank, state),
            exit_code,
            signal,
            finalized: state.finalized,
            last_operation: state.last.clone(),
            after_seconds: state.ended.map(|ended| ended.as_secs_f64()),
        }
    }
}

fn ending(rank: &Rank) -> (Option<u8>, Option<i32>) {
    match rank.exit {
        _ if rank.host_lost => (None, None),
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal.into())),
        None => (None, None),
    }
}

fn because(rank: &Rank) -> Because {
    match (&rank.complaint, rank.exit) {
        _ if rank.host_lost => Because::HostLost,
        (Some(Complaint::Panicked { .. }), _) => Because::Panic,
        (Some(Complaint::Failed { class, .. }), _) => match class {
            FailureClass::Mismatch => Because::Mismatch,
            FailureClass::Deserted { .. } => Because::Deserted,
            FailureClass::Timeout => Because::Timeout,
            FailureClass::Wire => Because::Wire,
            FailureClass::Authentication => Because::Authentication,
            _ => Because::Error,
        },
        (None, _) if rank.out_of_memory => Because::OutOfMemory,
        (None, Some(Exit::Code(0))) => Because::LeftEarly,
        (None, Some(Exit::Code(_))) => Because::Exit,
        (None, Some(Exit::Signal(_)) | None) => Because::Signal,
    }
}

/// The call that a rank failed in, or the last one in which it had to wait, and its place.
fn call(rank: &Rank) -> (Option<String>, Option<String>) {
    match &rank.complaint {
        Some(Complaint::Panicked { location, .. }) => (None, Some(location.clone())),
        Some(Complaint::Failed { message, .. }) => (operation(message, ':'), site(message)),
        None => {
            let last = rank.last.as_deref().unwrap_or_default();
            (operation(last, ' '), site(last))
        }
    }
}

/// The first word, if it is the name of a call, as errors of the library begin with it.
fn operation(text: &str, end: char) -> Option<String> {
    let (word, _) = text.split_once(end)?;
    let word = word.split(['<', '(']).next().unwrap_or(word);
    let named = word
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter == '_');
    (named && !word.is_empty()).then(|| word.to_owned())
}

/// The last place in a text, `file:line:column` after `at`.
fn site(text: &str) -> Option<String> {
    let words = text.rsplit(" at ").filter_map(|rest| {
        let word = rest.split([' ', ';', ',']).next()?;
        let mut parts = word.rsplitn(3, ':');
        let numbers = parts.next()?.parse::<u32>().is_ok() && parts.next()?.parse::<u32>().is_ok();
        (numbers && parts.next().is_some()).then(|| word.to_owned())
    });
    words.into_iter().next()
}

#[cfg(test)]
mod tests {
    #[test]
    fn call_and_place_are_found_in_the_words_of_a_rank() {
        let text = "recv_vec: rank 0 has gone (peer rank 0 on a, after 0.1 s) at src/main.rs:7:9";
        assert_eq!(super::operation(text, ':').as_deref(), Some("recv_vec"));
        assert_eq!(super::site(text).as_deref(), Some("src/main.rs:7:9"));
        let last = "allreduce<f64>(1, sum) #4 at a.rs:1:2, for 3 s";
        assert_eq!(super::operation(last, ' ').as_deref(), Some("allreduce"));
        assert_eq!(super::site(last).as_deref(), Some("a.rs:1:2"));
        assert_eq!(super::operation("Out of ink: at dawn", ':'), None);
        assert_eq!(super::site("out of ink at dawn"), None);
    }
}
