//! Brings ranks together that nobody launched, and afterwards plays the launcher's part for them. Pure:
//! what ranks say and `now` in, what is to be said and done out.
//!
//! It lives in the process of rank 0, which is a member like the others. When rank 0 itself is lost, the
//! others see their connection break, and have been told before ([`FromMeeting::IfLost`]) what that
//! means and which one of them says so.

mod company;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::Audit;
use crate::base::ids::JobId;
use crate::wire::control::{
    Arrival, Cause, FailureClass, FromMeeting, FromRank, NodeMap, PROTOCOL, Secret, ToRank,
    TransportChoice, Welcome,
};

/// A rank that lives on for so long after it finalized does so by itself.
const LIVES_ON: Duration = Duration::from_secs(1);
/// How long the cause of a rank's failure may still show when it blames another one.
const JUDGEMENT: Duration = Duration::from_millis(300);

const LAUNCH: u8 = 71;
const LOST: u8 = 72;
const MISMATCH: u8 = 73;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Say this to a rank.
    Send(u32, FromMeeting),
    /// Print this line, and end this process with this code once all is sent.
    End { code: u8, line: String },
    /// Everybody has finalized.
    Over,
}

#[derive(Debug)]
struct Member {
    arrival: Arrival,
    addresses: Option<Vec<String>>,
    finalized: Option<Duration>,
    left: bool,
    announced: bool,
    complaint: Option<(u8, Cause)>,
}

/// The job as rank 0's process knows it.
#[derive(Debug)]
pub(super) struct Coordinator {
    job: JobId,
    secret: Secret,
    members: Vec<Option<Member>>,
    /// When all must have arrived, and after which time that is.
    deadline: Option<(Duration, Duration)>,
    /// Who was turned away, and what else may explain that ranks are missing.
    turned_away: Vec<String>,
    lookups: Vec<BTreeSet<u32>>,
    watchers: Vec<BTreeSet<u32>>,
    watch_all: BTreeSet<u32>,
    victim: Option<(Duration, u8, String)>,
    actions: Vec<Action>,
    audit: Audit,
    over: bool,
}

impl Coordinator {
    pub(super) fn new(
        job: JobId,
        secret: Secret,
        size: u32,
        now: Duration,
        limit: Duration,
    ) -> Self {
        let size = size as usize;
        Self {
            job,
            secret,
            members: std::iter::repeat_with(|| None).take(size).collect(),
            deadline: Some((now + limit, limit)),
            turned_away: Vec::new(),
            lookups: vec![BTreeSet::new(); size],
            watchers: vec![BTreeSet::new(); size],
            watch_all: BTreeSet::new(),
            victim: None,
            actions: Vec::new(),
            audit: Audit::default(),
            over: false,
        }
    }

    /// Something to be said when ranks are missing.
    pub(super) fn note(&mut self, text: &str) {
        self.turned_away.push(text.to_owned());
    }

    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When [`Coordinator::tick`] wants to be called.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let arrivals = self.deadline.map(|(until, _)| until);
        let victim = self.victim.as_ref().map(|(until, ..)| *until);
        let silent = self.members().filter(|(_, member)| !member.announced);
        let finalized = silent.filter_map(|(_, member)| Some(member.finalized? + LIVES_ON));
        finalized.chain(arrivals).chain(victim).min()
    }

    /// Whether all have arrived.
    pub(super) const fn is_complete(&self) -> bool {
        self.deadline.is_none()
    }

    fn members(&self) -> impl Iterator<Item = (u32, &Member)> {
        let ranks = (0..).zip(&self.members);
        ranks.filter_map(|(rank, member)| Some((rank, member.as_ref()?)))
    }

    fn member(&mut self, rank: u32) -> Option<&mut Member> {
        self.members.get_mut(rank as usize)?.as_mut()
    }

    fn send(&mut self, rank: u32, message: FromMeeting) {
        let here = self.member(rank).is_some_and(|member| !member.left);
        if here {
            self.actions.push(Action::Send(rank, message));
        }
    }

    /// Somebody who knows the secret says who it is.
    ///
    /// # Errors
    ///
    /// What it is to be told when it cannot take part.
    pub(super) fn arrived(&mut self, arrival: Arrival) -> Result<(), String> {
        if let Err(reason) = self.judge_arrival(&arrival) {
            self.turned_away.push(reason.clone());
            self.turned_away.truncate(8);
            return Err(reason);
        }
        let rank = arrival.rank as usize;
        self.members[rank] = Some(Member {
            arrival,
            addresses: None,
            finalized: None,
            left: false,
            announced: false,
            complaint: None,
        });
        if self.members.iter().all(Option::is_some) {
            self.deadline = None;
            self.welcome();
            self.say_what_loss_means();
        }
        Ok(())
    }

    fn judge_arrival(&self, arrival: &Arrival) -> Result<(), String> {
        let who = name(arrival);
        let size = self.members.len();
        if arrival.protocol != PROTOCOL {
            return Err(format!(
                "{who} was built with a phalanx library of protocol {}, rank 0 with {PROTOCOL}; build \
                 all ranks from the same version",
                arrival.protocol
            ));
        }
        if arrival.size as usize != size {
            return Err(format!(
                "{who} was told that the job has {} ranks, rank 0 that it has {size}; give all of them \
                 the same size",
                arrival.size
            ));
        }
        match self.members.get(arrival.rank as usize) {
            None => Err(format!("{who} does not exist in a job of {size} ranks")),
            Some(Some(first)) => Err(format!(
                "{who} claims a rank that is taken by {}; give each process a rank of its own",
                name(&first.arrival)
            )),
            Some(None) => Ok(()),
        }
    }

    fn welcome(&mut self) {
        let arrivals: Vec<Arrival> = self.members().map(|(_, it)| it.arrival.clone()).collect();
        let mut nodes: Vec<&str> = Vec::new();
        let mut map = NodeMap::default();
        for arrival in &arrivals {
            let known = nodes.iter().position(|node| *node == arrival.node);
            let node = known.unwrap_or_else(|| {
                nodes.push(&arrival.node);
                map.hosts.push(arrival.host.clone());
                nodes.len() - 1
            });
            map.node_of.push(u32::try_from(node).unwrap_or(u32::MAX));
        }
        for (arrival, node) in arrivals.iter().zip(&map.node_of) {
            let nodes = map.node_of.iter();
            let mates = nodes.zip(&arrivals).filter(|(other, _)| *other == node);
            let welcome = Welcome {
                protocol: PROTOCOL,
                job: self.job,
                secret: self.secret.clone(),
                epoch: 0,
                rank: arrival.rank,
                size: arrival.size,
                nodes: map.clone(),
                transport: TransportChoice::Auto,
                programs: Vec::new(),
                cores: cores(mates.map(|(_, mate)| mate.processors.as_slice())),
                shared: None,
                boxes: None,
            };
            let message = FromMeeting::Tell(ToRank::Welcome(Box::new(welcome)));
            self.send(arrival.rank, message);
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Duration) {
        if let Some((_, limit)) = self.deadline.filter(|(until, _)| *until <= now) {
            self.deadline = None;
            let reason = self.who_is_missing(limit);
            let arrived: Vec<u32> = self.members().map(|(rank, _)| rank).collect();
            for rank in arrived {
                let reason = reason.clone();
                self.send(rank, FromMeeting::Refused { reason });
            }
            self.over = true;
            self.actions.push(Action::Over);
        }
        if let Some((_, code, line)) = self.victim.take_if(|(until, ..)| *until <= now) {
            self.end(code, line);
        }
        let due: Vec<u32> = self
            .members()
            .filter(|(_, member)| !member.announced)
            .filter(|(_, member)| member.finalized.is_some_and(|at| at + LIVES_ON <= now))
            .map(|(rank, _)| rank)
            .collect();
        for rank in due {
            self.announce(rank);
        }
    }

    fn who_is_missing(&self, limit: Duration) -> String {
        let size = self.members.len();
        let missing = (0..size).filter(|&rank| self.members[rank].is_none());
        let missing: Vec<String> = missing.map(|rank| rank.to_string()).collect();
        let mut hosts: Vec<&str> = self
            .members()
            .map(|(_, it)| it.arrival.host.as_str())
            .collect();
        hosts.dedup();
        let (noun, verb) = if missing.len() == 1 {
            ("rank", "has")
        } else {
            ("ranks", "have")
        };
        let mut text = format!(
            "{noun} {} of {size} {verb} not arrived within {} s; {} arrived, on {}",
            missing.join(", "),
            limit.as_secs_f64(),
            size - missing.len(),
            hosts.join(", "),
        );
        for reason in &self.turned_away {
            text += "; ";
            text += reason;
        }
        text + " (PHALANX_RENDEZVOUS_TIMEOUT gives them more time, in seconds)"
    }

    /// A member says something.
    pub(super) fn said(&mut self, rank: u32, message: FromRank, now: Duration) {
        if self.over || !self.is_complete() {
            return;
        }
        match message {
            FromRank::Join { addresses, .. } => {
                if let Some(member) = self.member(rank) {
                    member.addresses = Some(addresses);
                }
                for asker in std::mem::take(&mut self.lookups[rank as usize]) {
                    self.lookup(asker, rank);
                }
            }
            FromRank::Lookup { rank: wanted } => self.lookup(rank, wanted),
            FromRank::Watch { ranks } => self.watch(rank, &ranks),
            FromRank::Account(account) => {
                let found = self.audit.enter(rank, *account);
                let quiet = self.members().all(|(_, member)| member.complaint.is_none());
                if let Some(found) = found.filter(|_| quiet) {
                    self.end(MISMATCH, found);
                }
            }
            FromRank::Finalized => {
                if let Some(member) = self.member(rank) {
                    member.finalized = Some(now);
                }
                self.finish_if_over();
            }
            FromRank::Panicked { message, location } => {
                self.complain(rank, 101, Cause::Panicked { message, location });
            }
            FromRank::Failed { message, class } => self.failed(rank, message, class, now),
            FromRank::Revoke { context } => {
                for other in (0..self.size()).filter(|other| *other != rank) {
                    self.send(other, FromMeeting::Tell(ToRank::Revoked { context }));
                }
            }
            FromRank::Agree { .. } => {
                let line = format!(
                    "{} wants to agree with others on going on after a failure, which only a job that \
                     `phalanx run` started can do",
                    self.name(rank)
                );
                self.end(LAUNCH, line);
            }
            FromRank::Abort { code, message } => {
                let colon = if message.is_empty() { "" } else { ": " };
                let line = format!(
                    "{} aborted the job with code {}{colon}{}",
                    self.name(rank),
                    code.max(1),
                    flat(&message)
                );
                self.end(code.max(1), line);
            }
            FromRank::Policy { .. } | FromRank::Blocked | FromRank::Answer(_) => {}
        }
    }

    /// The first complaint counts.
    fn complain(&mut self, rank: u32, code: u8, cause: Cause) {
        if let Some(member) = self.member(rank) {
            member.complaint.get_or_insert((code, cause));
        }
        if rank == 0 {
            self.say_what_loss_means();
        }
    }

    fn failed(&mut self, rank: u32, message: String, class: FailureClass, now: Duration) {
        let code = class.exit_code().unwrap_or(1);
        self.complain(rank, code, Cause::Failed { message });
        let (code, line) = self.verdict(rank);
        if matches!(
            class,
            FailureClass::PeerGone | FailureClass::Deserted { .. }
        ) {
            self.victim.get_or_insert((now + JUDGEMENT, code, line));
        } else {
            self.end(code, line);
        }
    }

    /// What is to be said of a rank that failed or was lost.
    fn verdict(&self, rank: u32) -> (u8, String) {
        let who = self.name(rank);
        let member = self.members.get(rank as usize).and_then(Option::as_ref);
        match member.and_then(|member| member.complaint.as_ref()) {
            Some((code, Cause::Panicked { message, location })) => (
                *code,
                format!("{who} panicked at {location}: {}", flat(message)),
            ),
            Some((code, Cause::Failed { message })) => {
                (*code, format!("{who} failed: {}", flat(message)))
            }
            _ => (
                LOST,
                format!(
                    "{who} was lost before it finalized: its connection broke, because it ended, was \
                     killed, or its host cannot be reached"
                ),
            ),
        }
    }

    /// A member's connection is broken.
    pub(super) fn lost(&mut self, rank: u32) {
        if !self.is_complete() {
            // It may come again.
            self.members[rank as usize] = None;
            return;
        }
        let Some(member) = self.member(rank) else {
            return;
        };
        member.left = true;
        let finalized = member.finalized.is_some();
        if self.over {
            return;
        }
        if finalized {
            self.announce(rank);
            self.say_what_loss_means();
        } else {
            let (code, line) = self.verdict(rank);
            self.end(code, line);
        }
        self.finish_if_over();
    }

    fn finish_if_over(&mut self) {
        let over = self.members().all(|(_, member)| member.finalized.is_some());
        if over && !self.over {
            self.over = true;
            for rank in 0..self.size() {
                self.send(rank, FromMeeting::Over);
            }
            self.actions.push(Action::Over);
        }
    }

    fn end(&mut self, code: u8, line: String) {
        if self.over {
            return;
        }
        self.over = true;
        for rank in 1..self.size() {
            self.send(rank, FromMeeting::End { code });
        }
        let alive = self.members().filter(|(_, member)| !member.left).count();
        let line = format!("{line}; the job was ended ({alive} ranks were still there)");
        self.actions.push(Action::End { code, line });
    }

    /// Rank 0 may be lost at any moment, and this with it: the first of the others speaks then.
    fn say_what_loss_means(&mut self) {
        let (code, text) = self.verdict(0);
        let others = self
            .members()
            .filter(|(rank, member)| *rank > 0 && !member.left);
        let others: Vec<u32> = others.map(|(rank, _)| rank).collect();
        for (index, rank) in others.into_iter().enumerate() {
            let line =
                (index == 0).then(|| format!("{text}; the job was ended, which it held together"));
            self.send(rank, FromMeeting::IfLost { code, line });
        }
    }

    fn size(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    fn name(&self, rank: u32) -> String {
        let member = self.members.get(rank as usize).and_then(Option::as_ref);
        member.map_or_else(|| format!("rank {rank}"), |member| name(&member.arrival))
    }
}

/// How many processors the ranks of a host have together, when all say which they may use.
fn cores<'a>(sets: impl Iterator<Item = &'a [u8]>) -> Option<u32> {
    let mut all = Vec::new();
    for set in sets {
        if set.is_empty() {
            return None;
        }
        all.resize(all.len().max(set.len()), 0_u8);
        for (all, byte) in all.iter_mut().zip(set) {
            *all |= byte;
        }
    }
    Some(all.iter().map(|byte| byte.count_ones()).sum())
}

fn name(arrival: &Arrival) -> String {
    let Arrival {
        rank, host, pid, ..
    } = arrival;
    format!("rank {rank} on {} (pid {pid})", flat(host))
}

/// A rank's own words in one line of bounded length.
fn flat(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    line.chars()
        .filter(|char| !char.is_control())
        .take(2000)
        .collect()
}

#[cfg(test)]
mod tests;
