//! Goes to all hosts at the same time, and brings back what was seen there.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll};
use phalanx::wire::control::{PROTOCOL, encode};

use super::examine::{LOOK_LIMIT, REACH_LIMIT, REACHES_AT_ONCE};
use super::words::{Attempt, Check, Finding, FromExaminer, Report, Target, Task, ToExaminer};
use crate::job::{Identity, Refusal};
use crate::launch::link::{Link, TOKENS_PER_DAEMON};
use crate::nodes::Host;
use crate::ship::Freight;
use crate::start::remote::Known;
use crate::start::{self, Options, Role, bootstrap};
use crate::stream::{Read, read};

/// Time that a host has for its answer on top of what its looks may take.
const SLACK: Duration = Duration::from_secs(5);
/// Looks at the clock of a host; the quickest counts.
const CLOCK_LOOKS: u32 = 5;

/// What the user has asked for.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) options: Options,
    /// Counts more than what a hostfile says of a host, and that more than the usual one.
    pub(super) interface: Option<String>,
    pub(super) usual_interface: Option<String>,
    pub(super) ports: Option<(u16, u16)>,
}

/// How far the visit of a host has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Examining,
    /// The others are not as far yet.
    Waiting,
    Connecting,
    Over,
}

/// The clock of a host, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// How far it is ahead of ours.
    pub(super) ahead_nanos: i128,
    /// By so much that may be wrong, either way.
    pub(super) doubt: Duration,
}

/// A host, and what is known of it.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) host: Host,
    /// How it is reached.
    pub(super) way: String,
    pub(super) was_sent: bool,
    pub(super) greeted_after: Option<Duration>,
    pub(super) clock: Option<Clock>,
    pub(super) report: Option<Report>,
    pub(super) attempts: Vec<Attempt>,
    /// What went wrong with the visit itself.
    pub(super) trouble: Option<(Check, Finding)>,
    link: Link,
    stage: Stage,
    deadline: Duration,
    asked_at: (Instant, SystemTime),
    clock_looks: u32,
}

/// A visit of all hosts.
#[derive(Debug)]
pub(super) struct Visit {
    wishes: Wishes,
    identity: Identity,
    began: Instant,
    poll: Poll,
    own: Option<Freight>,
    guests: Vec<Guest>,
}

impl Visit {
    /// Begins to go to every host.
    pub(super) fn begin(
        hosts: &[Host],
        wishes: Wishes,
        identity: Identity,
    ) -> Result<Self, Refusal> {
        let cannot = |error: io::Error| Refusal::launch(format!("cannot visit hosts: {error}"));
        let (script, own) = match hosts.iter().all(|host| host.here) {
            true => (String::new(), None),
            false => bootstrap::prepare(&wishes.options, Role::Examiner).map_err(cannot)?,
        };
        let mut visit = Self {
            wishes,
            identity,
            began: Instant::now(),
            poll: Poll::new().map_err(cannot)?,
            own,
            guests: Vec::new(),
        };
        let known = Known::about(&visit.wishes.options);
        for host in hosts {
            let link = visit.link(known, host, &script)?;
            let base = visit.guests.len() * TOKENS_PER_DAEMON;
            link.register(visit.poll.registry(), base).map_err(cannot)?;
            visit.guests.push(Guest {
                host: host.clone(),
                way: visit.wishes.options.name().to_owned(),
                was_sent: false,
                greeted_after: None,
                clock: None,
                report: None,
                attempts: Vec::new(),
                trouble: None,
                link,
                stage: Stage::Starting,
                // Elsewhere the link itself has patience for as long as there are signs of life.
                deadline: match host.here {
                    true => visit.wishes.options.patience,
                    false => Duration::MAX,
                },
                asked_at: (Instant::now(), UNIX_EPOCH),
                clock_looks: 0,
            });
        }
        Ok(visit)
    }

    fn link(&self, known: Known, host: &Host, script: &str) -> Result<Link, Refusal> {
        let name = host.name.clone();
        if host.here {
            return Ok(Link::local(name, start::local::start(Role::Examiner)?));
        }
        let options = &self.wishes.options;
        let started = start::remote::start(options, known, host)?;
        let (script, now) = (script.to_owned(), self.began.elapsed());
        Ok(Link::remote(
            name,
            options.name(),
            started,
            script,
            options.patience,
            now,
        ))
    }

    /// Stays until all is known, or has taken too long.
    pub(super) fn finish(mut self) -> Result<Vec<Guest>, Refusal> {
        let cannot = |error: io::Error| Refusal::launch(format!("cannot visit hosts: {error}"));
        let mut events = Events::with_capacity(64);
        while !self.is_over() {
            for at in 0..self.guests.len() {
                self.flush(at);
            }
            match self.poll.poll(&mut events, Some(self.patience())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(cannot(error));
                }
                _ => {}
            }
            let tokens: Vec<usize> = events.iter().map(|event| event.token().0).collect();
            for token in tokens {
                let at = token / TOKENS_PER_DAEMON;
                match token % TOKENS_PER_DAEMON {
                    0 => self.listen(at),
                    2 => {
                        for line in self.guests[at].link.hear_errors() {
                            eprintln!("phalanx: {line}");
                        }
                    }
                    _ => {}
                }
            }
            self.look_at_the_clock();
            self.go_on();
        }
        Ok(self.take_leave())
    }

    fn is_over(&self) -> bool {
        self.guests.iter().all(|guest| guest.stage == Stage::Over)
    }

    fn patience(&self) -> Duration {
        let running = self.guests.iter().filter(|one| one.stage != Stage::Over);
        let deadlines = running.flat_map(|one| [Some(one.deadline), one.link.next_deadline()]);
        let next = deadlines.flatten().min().unwrap_or_default();
        // Rounded up, because the poll counts in whole milliseconds.
        next.saturating_sub(self.began.elapsed())
            .min(Duration::from_secs(60))
            + Duration::from_micros(999)
    }

    fn flush(&mut self, at: usize) {
        let now = self.began.elapsed();
        if let Err(error) = self.guests[at].link.flush(self.own.as_ref(), now) {
            self.not_started(at, &format!("this program cannot be read: {error}"));
        }
    }

    fn listen(&mut self, at: usize) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let now = self.began.elapsed();
            let link = &mut self.guests[at].link;
            let Some(from) = &link.from else { return };
            let heard = match read(from, &mut buffer) {
                Read::Later => return,
                Read::End => return self.ended(at),
                Read::Bytes(count) => link.hear(&buffer[..count], self.own.as_ref(), now),
            };
            if let Err(why) = heard {
                return self.not_started(at, &why);
            }
            loop {
                match self.guests[at].link.inbox.next::<FromExaminer>() {
                    Ok(Some(message)) => self.hear(at, message),
                    Ok(None) => break,
                    Err(error) => {
                        let what = format!("what it says makes no sense: {error}");
                        return self.fail(at, Check::Phalanx, Finding::wrong(what, SAME_BUILD));
                    }
                }
            }
        }
    }

    fn hear(&mut self, at: usize, message: FromExaminer) {
        let now = self.began.elapsed();
        match (message, self.guests[at].stage) {
            (
                FromExaminer::Hello {
                    protocol, version, ..
                },
                Stage::Starting,
            ) => {
                let guest = &mut self.guests[at];
                guest.link.greeted();
                guest.was_sent = guest.link.was_sent();
                guest.greeted_after = Some(now);
                let ours = env!("CARGO_PKG_VERSION");
                if protocol != PROTOCOL || version != ours {
                    let what = format!(
                        "it has phalanx {version} of protocol {protocol}, this is {ours} of {PROTOCOL}"
                    );
                    return self.fail(at, Check::Phalanx, Finding::wrong(what, SAME_BUILD));
                }
                guest.stage = Stage::Examining;
                guest.deadline = now + LOOK_LIMIT + SLACK;
                let task = self.task(at);
                self.send(at, &ToExaminer::Examine(Box::new(task)));
                self.ask_for_time(at);
            }
            (FromExaminer::Clock(theirs), Stage::Examining | Stage::Waiting) => {
                self.guests[at].take_time(theirs);
                self.ask_for_time(at);
            }
            (FromExaminer::Examined(report), Stage::Examining) => {
                self.guests[at].report = Some(*report);
                self.guests[at].stage = Stage::Waiting;
            }
            (FromExaminer::Connected(attempts), Stage::Connecting) => {
                self.guests[at].attempts = attempts;
                self.guests[at].stage = Stage::Over;
            }
            // It was given up meanwhile.
            _ => {}
        }
    }

    fn task(&self, at: usize) -> Task {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let host = &self.guests[at].host;
        let wishes = &self.wishes;
        let own = host.interface.as_ref();
        let interface = wishes.interface.as_ref().or(own);
        let slots = self.guests.iter().map(|guest| guest.host.slots);
        Task {
            host: narrow(at),
            hosts: narrow(self.guests.len()),
            slots: host.slots,
            ranks: slots.fold(0, u32::saturating_add),
            job: self.identity.job,
            secret: self.identity.secret.clone(),
            interface: interface.or(wishes.usual_interface.as_ref()).cloned(),
            ports: wishes.ports,
        }
    }

    fn ask_for_time(&mut self, at: usize) {
        let guest = &mut self.guests[at];
        if guest.host.here || guest.clock_looks == CLOCK_LOOKS {
            return;
        }
        guest.clock_looks += 1;
        guest.asked_at = (Instant::now(), SystemTime::now());
        self.send(at, &ToExaminer::Clock);
        self.flush(at);
    }

    fn send(&mut self, at: usize, message: &ToExaminer) {
        match encode(message) {
            Ok(bytes) => self.guests[at].link.outbox.push(bytes),
            Err(error) => self.fail(
                at,
                Check::Phalanx,
                Finding::wrong(
                    format!("too much to ask: {error}"),
                    "look at fewer hosts at once",
                ),
            ),
        }
    }

    /// Lets hosts reach each other as soon as all of them listen.
    fn go_on(&mut self) {
        let early = [Stage::Starting, Stage::Examining];
        let waiting = |guest: &Guest| guest.stage == Stage::Waiting;
        if self.guests.iter().any(|one| early.contains(&one.stage))
            || !self.guests.iter().any(waiting)
        {
            return;
        }
        let targets: Vec<Target> = (0..)
            .zip(&self.guests)
            .filter(|(_, guest)| guest.stage == Stage::Waiting)
            .map(|(host, guest)| Target {
                host,
                addresses: guest.listens_at(),
            })
            .collect();
        let attempts: usize = targets.iter().map(|one| one.addresses.len()).sum();
        let rounds = u32::try_from(attempts.div_ceil(REACHES_AT_ONCE)).unwrap_or(u32::MAX);
        // A connection and the handshake have a deadline each.
        let limit = REACH_LIMIT.saturating_mul(rounds.saturating_mul(2)) + SLACK;
        for at in 0..self.guests.len() {
            if self.guests[at].stage != Stage::Waiting {
                continue;
            }
            let others = targets.iter().filter(|one| one.host as usize != at);
            let others: VecDeque<Target> = others.cloned().collect();
            if others.iter().all(|one| one.addresses.is_empty()) {
                self.guests[at].stage = Stage::Over;
                continue;
            }
            self.guests[at].stage = Stage::Connecting;
            self.guests[at].deadline = self.began.elapsed().saturating_add(limit);
            self.send(at, &ToExaminer::Connect(others.into()));
        }
    }

    /// Gives up on hosts that have taken too long.
    fn look_at_the_clock(&mut self) {
        let now = self.began.elapsed();
        for at in 0..self.guests.len() {
            let guest = &self.guests[at];
            let is_silent = guest.link.next_deadline().is_some_and(|end| end <= now);
            if guest.stage == Stage::Over || (guest.deadline > now && !is_silent) {
                continue;
            }
            if guest.stage == Stage::Starting {
                let seconds = self.wishes.options.patience.as_secs_f64();
                self.not_started(at, &format!("it does not answer within {seconds} s"));
            } else {
                let (check, what) = match guest.stage {
                    Stage::Connecting => (Check::Connections, "its attempts to reach others"),
                    _ => (Check::Phalanx, "looks at it"),
                };
                let what = format!("{what} have not ended in time");
                self.fail(
                    at,
                    check,
                    Finding::wrong(what, "is the host overloaded, or the network to it slow?"),
                );
            }
        }
    }

    fn ended(&mut self, at: usize) {
        self.guests[at].link.from = None;
        match self.guests[at].stage {
            Stage::Over => {}
            Stage::Starting => self.not_started(at, ""),
            _ => {
                let words = self.guests[at].link.last_words();
                let what = format!("it was lost while it was looked at{words}");
                let mend = "try again; look into the log of sshd and `dmesg` there";
                self.fail(at, Check::Phalanx, Finding::wrong(what, mend));
            }
        }
    }

    /// There is nobody to examine a host. What was seen is said, or what ssh says of it.
    fn not_started(&mut self, at: usize, what: &str) {
        let explained = self.guests[at].link.failure(what);
        let Guest { host, way, .. } = &self.guests[at];
        let mend = explained.remedy.unwrap_or_else(|| match host.here {
            true => {
                "are more processes allowed, and is this program still where it was?".to_owned()
            }
            false => format!(
                "`{way}` has to run `sh` on {} without a question",
                host.name
            ),
        });
        self.fail(at, Check::Start, Finding::wrong(explained.what, mend));
    }

    fn fail(&mut self, at: usize, check: Check, finding: Finding) {
        let guest = &mut self.guests[at];
        guest.trouble.get_or_insert((check, finding));
        guest.stage = Stage::Over;
        guest.link.abandon();
    }

    /// Ends all visits.
    fn take_leave(mut self) -> Vec<Guest> {
        for guest in &mut self.guests {
            guest.link.to = None;
            guest.link.from = None;
        }
        for guest in &mut self.guests {
            guest.link.leave();
        }
        self.guests
    }
}

const SAME_BUILD: &str = "install the same build on all hosts, or leave out --no-ship to send it";

impl Guest {
    fn listens_at(&self) -> Vec<std::net::SocketAddr> {
        let report = self.report.as_ref();
        report.map_or_else(Vec::new, |report| report.listens_at.clone())
    }

    fn take_time(&mut self, theirs: i128) {
        let (asked, wall) = self.asked_at;
        let doubt = asked.elapsed() / 2;
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default() + doubt;
        let ours = i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
        let clock = Clock {
            ahead_nanos: theirs.saturating_sub(ours),
            doubt,
        };
        if self.clock.is_none_or(|before| doubt < before.doubt) {
            self.clock = Some(clock);
        }
    }
}
