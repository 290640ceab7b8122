//! The job as a pure state machine: events in, actions out, time as an argument.
//!
//! It knows what every rank has said and how its process ended, and from that decides when the job
//! has failed, which rank is to blame, and with which code to exit.
//!
//! The first cause is the earliest complaint of a rank whose process then ended without success: a
//! panic, an error, or the end itself. A rank that only says that a peer has gone is a victim, so
//! judgement waits a little for the culprit.

mod audit;
mod deaths;
mod departures;
mod ending;
mod hosts;
mod liveness;
mod names;
mod report;
mod stall;
mod summary;
mod survival;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use phalanx::audit::Audit;
use phalanx::wire::control::{
    Cause, Exit, FailureClass, FromDaemon, FromRank, PROTOCOL, ToDaemon, ToRank,
};

use crate::exit;
use crate::place::Placement;
use departures::Departures;
use liveness::Liveness;
use stall::Looks;
pub(crate) use summary::Summary;
use summary::{Because, Verdict, Waiting};
use survival::Survival;
use table::Inquiry;

/// Time that a victim's end waits for its cause.
const JUDGEMENT: Duration = Duration::from_millis(300);
/// Time that ranks have to end by themselves once one of them has ended after an interrupt.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

/// What happens to the job.
#[derive(Debug)]
pub(crate) enum Event {
    /// A daemon said this. Output and credit never come here.
    Daemon { node: u32, message: FromDaemon },
    /// A daemon is gone without a word.
    DaemonLost { node: u32, why: String },
    /// Bytes came from a daemon, whatever they mean.
    Heard { node: u32 },
    /// There will be no daemon on a host, for this reason.
    NotStarted { node: u32, line: String },
    /// The launcher got this signal.
    Signal(i32),
    /// Nobody reads our standard output any more.
    OutputClosed,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The daemon is up: give it its assignment.
    Start { node: u32 },
    /// Tell a daemon.
    Send { node: u32, message: ToDaemon },
    /// Tell whoever has asked what the ranks do.
    Table(String),
    /// Tell the user, in one line.
    Say(String),
    /// A daemon that would have ended these cannot do it any more.
    KillGroups { node: u32, pids: Vec<u32> },
    /// Exit with this code once all output is written.
    Finish(u8),
    /// Exit with this code now.
    Leave(u8),
}

/// What a job is, as far as judging it goes.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) placement: Placement,
    /// The ranks are threads of one process.
    pub(crate) threads: bool,
    pub(crate) timeout: Option<Duration>,
    /// How long a rank may be blocked.
    pub(crate) stall_timeout: Option<Duration>,
    /// Messages that nobody received make the job fail.
    pub(crate) check: bool,
    /// A host that is silent for so long is lost; none in a job of one host.
    pub(crate) host_timeout: Option<Duration>,
}

#[derive(Debug, Default)]
struct Rank {
    pid: u32,
    joined: Option<Vec<String>>,
    finalized: bool,
    complaint: Option<Complaint>,
    exit: Option<Exit>,
    /// It has died, and how will be known soon.
    died: bool,
    /// The others were going on when they learnt of that, and may have finalized since.
    outlived: bool,
    /// Its last call that had to wait.
    last: Option<String>,
    /// It was killed for lack of memory.
    out_of_memory: bool,
    /// When it complained, or else ended, as a place in the order of such events.
    order: u64,
    /// Its end is that of its host.
    host_lost: bool,
    /// When its process had ended.
    ended: Option<Duration>,
}

impl Rank {
    /// It does nothing any more.
    const fn has_ended(&self) -> bool {
        self.exit.is_some() || self.died
    }
}

/// What a rank said about its own trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Complaint {
    Panicked {
        message: String,
        location: String,
    },
    Failed {
        message: String,
        class: FailureClass,
    },
}

#[derive(Debug)]
struct DaemonState {
    host: String,
    pid: u32,
    greeted: bool,
    over: bool,
    /// It or its host was lost.
    lost: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// A victim ended; until then its cause may still show.
    Judging {
        until: Duration,
    },
    /// A signal was passed on.
    Interrupted {
        signal: i32,
        until: Option<Duration>,
        code: Option<u8>,
    },
    /// The ranks were told to end.
    Ending {
        code: u8,
        insisted: bool,
    },
    Over,
}

/// One job, from its start to its exit code.
#[derive(Debug)]
pub(crate) struct Job {
    setup: Setup,
    ranks: Vec<Rank>,
    daemons: Vec<DaemonState>,
    phase: Phase,
    failed: Vec<u32>,
    departures: Departures,
    survival: Survival,
    looks: Looks,
    inquiry: Option<Inquiry>,
    inquiries: u32,
    audit: Audit,
    /// Between accounts of ranks, when something else had happened before.
    contradiction: Option<String>,
    liveness: Liveness,
    events: u64,
    /// The time, as of the last event or tick.
    now: Duration,
    /// What has ended the job, and how the user was told.
    verdict: Option<Verdict>,
    reason: Option<String>,
    deadlock: Vec<Waiting>,
    timeout: Option<Duration>,
    actions: Vec<Action>,
}

impl Job {
    /// A job that starts at `now`.
    pub(crate) fn new(setup: Setup, now: Duration) -> Self {
        let size = setup.placement.node_of.len();
        let daemon = |name: &str| DaemonState {
            host: name.to_owned(),
            pid: 0,
            greeted: false,
            over: false,
            lost: false,
        };
        Self {
            ranks: std::iter::repeat_with(Rank::default).take(size).collect(),
            daemons: setup.placement.names().map(daemon).collect(),
            phase: Phase::Running,
            failed: Vec::new(),
            departures: Departures::new(size),
            survival: Survival::new(size),
            looks: Looks::new(size),
            inquiry: None,
            inquiries: 0,
            audit: Audit::default(),
            contradiction: None,
            liveness: Liveness::new(setup.placement.hosts.len(), setup.host_timeout, now),
            events: 0,
            now,
            verdict: None,
            reason: None,
            deadlock: Vec::new(),
            timeout: setup.timeout.map(|timeout| now + timeout),
            actions: Vec::new(),
            setup,
        }
    }

    /// What is to be done, in this order.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Job::tick`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let phase = match self.phase {
            Phase::Judging { until } => Some(until),
            Phase::Interrupted { until, .. } => until,
            _ => None,
        };
        let timeout = self.timeout.filter(|_| self.is_undecided());
        let looks = self.looks.next_deadline().filter(|_| self.is_undecided());
        let liveness = self.liveness.next_deadline();
        [
            phase,
            timeout,
            self.departures.next_deadline(),
            looks,
            self.table_deadline(),
            liveness,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
        self.look_after_hosts(now);
        for rank in self.departures.due(now) {
            if self.ranks[rank as usize].exit.is_none() {
                self.announce(rank, &Cause::Finalized);
            }
        }
        if self.is_undecided() && self.timeout.is_some_and(|deadline| deadline <= now) {
            let line = report::timed_out(self.setup.timeout.unwrap_or_default(), self.alive());
            self.end(exit::TIMEOUT, Some(line));
        }
        match self.phase {
            Phase::Judging { until } if until <= now => self.judge(),
            Phase::Interrupted {
                signal,
                until: Some(until),
                ..
            } if until <= now => {
                let line = report::ignored_interrupt(signal, INTERRUPT_GRACE, self.alive());
                self.end(exit::of_signal(signal), Some(line));
            }
            _ => {}
        }
        self.look(now);
        self.finish_table(now);
    }

    /// Something has happened.
    pub(crate) fn handle(&mut self, event: Event, now: Duration) {
        self.now = now;
        match event {
            Event::Daemon { node, message } => self.daemon_said(node, message, now),
            Event::DaemonLost { node, why } => self.daemon_lost(node, &why),
            Event::Heard { node } => self.host_heard(node, now),
            Event::NotStarted { node, line } => self.not_started(node, line),
            Event::Signal(signal) => self.signalled(signal, now),
            Event::OutputClosed => self.end(exit::OUTPUT_CLOSED, None),
        }
    }

    fn rank_said(&mut self, rank: u32, message: FromRank, now: Duration) {
        match message {
            FromRank::Join {
                protocol,
                pid: _,
                addresses,
            } => self.joined(rank, protocol, addresses, now),
            FromRank::Lookup { rank: wanted } => self.lookup(rank, wanted),
            FromRank::Watch { ranks } => self.watch(rank, &ranks),
            FromRank::Account(account) => self.accounted(rank, *account),
            FromRank::Finalized => {
                self.ranks[rank as usize].finalized = true;
                self.departures.finalized(rank, now);
                self.decide_all();
            }
            FromRank::Panicked { message, location } => {
                self.complain(rank, Complaint::Panicked { message, location });
            }
            FromRank::Failed { message, class } => {
                self.complain(rank, Complaint::Failed { message, class });
            }
            FromRank::Policy { returns } => self.survival.set_returns(rank, returns),
            FromRank::Revoke { context } => self.revoke(rank, context),
            FromRank::Agree {
                context,
                sequence,
                members,
                flags,
            } => self.contribute(rank, (context, sequence), members, flags),
            FromRank::Blocked => self.blocked(now),
            FromRank::Answer(answer) => self.heard(rank, *answer, now),
            FromRank::Abort { code, message } => {
                if self.is_undecided() {
                    let code = code.max(1);
                    let line = report::aborted(&self.name(rank), code, &message);
                    let line = line + &report::others(self.alive_besides(rank), self.ranks.len());
                    self.blame(Because::Abort, Some(rank));
                    self.end(code, Some(line));
                }
            }
        }
    }

    fn joined(&mut self, rank: u32, protocol: u32, addresses: Vec<String>, now: Duration) {
        if protocol != PROTOCOL {
            let line = report::other_library(&self.name(rank), protocol);
            self.end(exit::WIRE, Some(line));
            return;
        }
        self.ranks[rank as usize].joined = Some(addresses);
        for asker in self.departures.take_lookups(rank) {
            self.lookup(asker, rank);
        }
        let absent = |rank: &Rank| rank.joined.is_none() && rank.exit == Some(Exit::Code(0));
        if let Some(left) = self.ranks.iter().position(absent) {
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            self.fails(left, now);
        }
    }

    /// The first panic counts, and a panic says more than the error that caused it; but a victim
    /// that panics about its lost peer stays a victim.
    fn complain(&mut self, rank: u32, complaint: Complaint) {
        self.events += 1;
        let order = self.events;
        let entry = &mut self.ranks[rank as usize];
        if entry.complaint.is_none() {
            entry.complaint = Some(complaint);
            entry.order = order;
        }
    }

    fn exited(&mut self, rank: u32, exit: Exit, now: Duration) {
        self.events += 1;
        let waiting = self.anyone_waits();
        let entry = &mut self.ranks[rank as usize];
        if entry.exit.is_some() {
            return;
        }
        entry.exit = Some(exit);
        entry.ended = Some(now);
        if entry.complaint.is_none() && !entry.died {
            entry.order = self.events;
        }
        let fails = match exit {
            Exit::Code(0) => !entry.finalized && (entry.joined.is_some() || waiting),
            _ => true,
        };
        if fails {
            self.fails(rank, now);
        } else {
            let cause = report::cause(&self.ranks[rank as usize]);
            self.announce(rank, &cause);
            self.decide_all();
        }
    }

    /// Whether a rank has joined and still counts on others.
    fn anyone_waits(&self) -> bool {
        let waits = |rank: &Rank| rank.joined.is_some() && !rank.finalized && rank.exit.is_none();
        self.ranks.iter().any(waits)
    }

    /// A rank's process has ended, and not well.
    fn fails(&mut self, rank: u32, now: Duration) {
        if matches!(self.phase, Phase::Ending { .. } | Phase::Over) {
            return;
        }
        self.failed.push(rank);
        let cause = report::cause(&self.ranks[rank as usize]);
        self.departures.everyone_watches(rank);
        self.announce(rank, &cause);
        self.decide_all();
        let goes_on = self.ranks[rank as usize].outlived || self.goes_on();
        if self.phase == Phase::Running && goes_on {
            let line = report::failed(&self.name(rank), &self.ranks[rank as usize], self.alive());
            let line = line + &report::go_on(self.alive());
            self.actions.push(Action::Say(line));
            return;
        }
        match self.phase {
            Phase::Interrupted { .. } => self.fails_after_interrupt(rank, now),
            _ if self.is_victim(rank) || self.an_earlier_one_still_dies(rank) => {
                if self.phase == Phase::Running {
                    let until = now + JUDGEMENT;
                    self.phase = Phase::Judging { until };
                }
                if self.alive() == 0 {
                    self.judge();
                }
            }
            _ => self.judge(),
        }
    }

    /// Names the first cause and ends the job.
    fn judge(&mut self) {
        self.count_the_dead();
        let key = |rank: &u32| (self.victimhood(*rank), self.ranks[*rank as usize].order);
        let Some(culprit) = self.failed.iter().copied().min_by_key(key) else {
            return;
        };
        let state = &self.ranks[culprit as usize];
        let alive = self.alive();
        let mut line = report::failed(&self.name(culprit), state, alive);
        if let Some(more) = self.explanation(culprit) {
            line = format!("{line}; {more}");
        }
        line += &report::others(alive, self.ranks.len());
        let code = report::exit_code(state);
        self.blame_rank(culprit);
        self.end(code, Some(line));
    }

    fn is_undecided(&self) -> bool {
        !matches!(self.phase, Phase::Ending { .. } | Phase::Over)
    }

    fn everywhere(&mut self, message: &ToDaemon) {
        for (node, daemon) in (0..).zip(&self.daemons) {
            if !daemon.over {
                let message = message.clone();
                self.actions.push(Action::Send { node, message });
            }
        }
    }

    fn tell_rank(&mut self, rank: u32, message: ToRank) {
        let node = self.setup.placement.node_of[rank as usize];
        if self.ranks[rank as usize].exit.is_none() && !self.daemons[node as usize].over {
            let message = ToDaemon::ToRank { rank, message };
            self.actions.push(Action::Send { node, message });
        }
    }
}
