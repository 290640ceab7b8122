//! The daemon: one on every host, between the launcher and the ranks there.
//!
//! One thread and one poll. The launcher's messages come in on standard input and answers go out
//! on standard output, so that it makes no difference whether it was started here or through ssh.
//! The end of standard input means that the launcher has gone: everything is killed at once.
//!
//! Output is read from ranks only while the launcher has given credit for it, one piece of one
//! stream at a time, so a slow reader stops those who print and nobody else.

mod beat;
mod binding;
mod cache;
mod child;
mod deaths;
mod events;
mod feed;
mod fetch;
mod glances;
mod memory;
pub(crate) mod spawn;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use phalanx::limits::OUTPUT_PIECE_BYTES_MAX;
use phalanx::wire::control::{
    Assignment, Decoder, FromDaemon, OUTPUT_WINDOW_BYTES, PROTOCOL, Stream, encode,
};
use rustix::process::{Pid, Signal};
use signal_hook_mio::v1_0::Signals;

use crate::ship::Content;
use crate::stream::{Outbox, set_nonblocking};
use beat::Fence;
use cache::Cache;
use child::Child;
use deaths::Deaths;
use feed::Feed;
use fetch::Fetch;
use spawn::{Failure, Spawner};

const LAUNCHER_IN: Token = Token(0);
const LAUNCHER_OUT: Token = Token(1);
const SIGNALS: Token = Token(2);
const DEATHS: Token = Token(3);
const FIRST_RANK: usize = 4;
const TOKENS_PER_RANK: usize = 4;

/// Ranks that are started before other events get a turn.
const SPAWN_BATCH: usize = 16;
/// Time that the rest of a process group has to finish its output once the rank has ended.
const LINGER: Duration = Duration::from_secs(1);

/// What of a rank is ready to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Printed(Stream),
    Control,
}

struct Daemon {
    poll: Poll,
    signals: Signals,
    inbox: Decoder,
    outbox: Outbox,
    buffer: Vec<u8>,
    spawner: Option<Spawner>,
    deaths: Option<Deaths>,
    /// Ranks of this host that are not started yet.
    unborn: VecDeque<u32>,
    feed: Feed,
    /// Signals that came while some ranks were not started yet.
    deferred: Vec<i32>,
    children: Vec<Child>,
    by_pid: HashMap<Pid, usize>,
    by_rank: HashMap<u32, usize>,
    /// Sources with something to read, each once.
    ready: VecDeque<(usize, Source)>,
    /// Sources that wait for credit.
    stalled: [Vec<usize>; 2],
    credit: [usize; 2],
    grace: Duration,
    kill_at: Option<Instant>,
    ending: bool,
    started: bool,
    /// Where files from the launcher are kept; it has none for us when this is none.
    cache: Option<Cache>,
    fetching: Option<Fetch>,
    fence: Fence,
}

/// What a daemon on another host is started with.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct DaemonArgs {
    /// Where files from the launcher are kept
    #[arg(long)]
    cache: Option<PathBuf>,
    /// This program has just been sent, and should have this hash
    #[arg(long)]
    verify: Option<String>,
}

/// Runs the daemon until its ranks have ended, or the launcher has.
pub(crate) fn run(args: DaemonArgs) -> u8 {
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        eprintln!("phalanx: `daemon` is started by `phalanx run`, not by hand");
        return crate::exit::USAGE;
    }
    // Away from the terminal: its signals are for the launcher. It fails for a group's leader,
    // who has done the same before.
    let _ = rustix::process::setsid();
    if let Err(code) = verify(args.verify.as_deref(), args.cache.as_deref()) {
        return code;
    }
    match Daemon::new(args.cache.map(Cache::open)).and_then(Daemon::serve) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("phalanx: daemon: {error}");
            crate::exit::HOST_LOST
        }
    }
}

/// Makes sure that this program arrived as it was sent. The error is an exit code.
pub(crate) fn verify(hash: Option<&str>, cache: Option<&Path>) -> Result<(), u8> {
    let Some(hash) = hash.filter(|hash| !is_own_hash(hash)) else {
        return Ok(());
    };
    eprintln!("phalanx: the copy {hash} of the launcher is damaged");
    if let Some(place) = cache {
        // Then the next start sends it again.
        let _ = std::fs::remove_file(place.join(hash));
    }
    Err(crate::exit::LAUNCH)
}

/// Whether this program is the one that was to be sent.
fn is_own_hash(hash: &str) -> bool {
    Content::of_file(Path::new("/proc/self/exe")).is_ok_and(|own| own.name() == hash)
}

impl Daemon {
    fn new(cache: Option<Cache>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = crate::signals::of_daemon()?;
        set_nonblocking(rustix::stdio::stdin())?;
        set_nonblocking(rustix::stdio::stdout())?;
        let registry = poll.registry();
        registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
        let (input, output) = (0, 1);
        registry.register(&mut SourceFd(&input), LAUNCHER_IN, Interest::READABLE)?;
        registry.register(&mut SourceFd(&output), LAUNCHER_OUT, Interest::WRITABLE)?;
        let mut daemon = Self {
            poll,
            signals,
            inbox: Decoder::default(),
            outbox: Outbox::default(),
            buffer: vec![0; OUTPUT_PIECE_BYTES_MAX],
            spawner: None,
            deaths: None,
            unborn: VecDeque::new(),
            feed: Feed::default(),
            deferred: Vec::new(),
            children: Vec::new(),
            by_pid: HashMap::new(),
            by_rank: HashMap::new(),
            ready: VecDeque::new(),
            stalled: [Vec::new(), Vec::new()],
            credit: [OUTPUT_WINDOW_BYTES; 2],
            grace: Duration::ZERO,
            kill_at: None,
            ending: false,
            started: false,
            cache,
            fetching: None,
            fence: Fence::default(),
        };
        daemon.tell(&FromDaemon::Hello {
            protocol: PROTOCOL,
            host: crate::nodes::own_name(),
            pid: std::process::id(),
        })?;
        Ok(daemon)
    }

    fn serve(mut self) -> io::Result<()> {
        let served = self.turns();
        if served.is_err() {
            self.kill_everyone();
        }
        served
    }

    fn turns(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            self.outbox.flush(rustix::stdio::stdout())?;
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LAUNCHER_IN => {
                        if !self.listen_to_launcher()? {
                            self.kill_everyone();
                            return Ok(());
                        }
                    }
                    LAUNCHER_OUT | DEATHS => {}
                    SIGNALS => self.reap()?,
                    Token(token) => self.rank_event(token - FIRST_RANK)?,
                }
            }
            if !self.keep_in_touch()? {
                eprintln!("phalanx: cut off from the launcher; ranks were ended");
                self.kill_everyone();
                return Ok(());
            }
            self.spawn_some()?;
            self.read_ready()?;
            self.look_at_the_clock()?;
            if self.is_over() {
                self.tell(&FromDaemon::Done)?;
                return self.say_goodbye();
            }
        }
    }

    /// How long nothing needs to be done.
    fn patience(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !self.unborn.is_empty() {
            return Some(Duration::ZERO);
        }
        let lingers = self.children.iter().filter_map(|child| child.linger);
        let deaths = self.deaths.as_ref().and_then(Deaths::next_deadline);
        let fence = self.fence.next_deadline();
        let next = lingers
            .chain(self.kill_at)
            .chain(deaths)
            .chain(fence)
            .min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn tell(&mut self, message: &FromDaemon) -> io::Result<()> {
        self.outbox.push(encode(message).map_err(io::Error::other)?);
        Ok(())
    }

    /// Writes all that is left, however long the launcher takes.
    fn say_goodbye(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(16);
        loop {
            self.outbox.flush(rustix::stdio::stdout())?;
            if self.outbox.is_empty() || !self.keep_in_touch()? {
                return Ok(());
            }
            let fence = self.fence.next_deadline();
            let patience = fence.map(|at| at.saturating_duration_since(Instant::now()));
            self.poll.poll(&mut events, patience)?;
            if !self.listen_to_launcher()? {
                return Ok(());
            }
        }
    }

    fn is_over(&self) -> bool {
        (self.started || self.ending)
            && self.unborn.is_empty()
            && self.fetching.is_none()
            && self.children.iter().all(Child::is_over)
    }

    fn start(&mut self, assignment: Assignment) -> io::Result<()> {
        self.grace = Duration::from_millis(assignment.kill_grace_millis);
        let nodes = (0..).zip(&assignment.nodes.node_of);
        let mine = nodes.filter(|(_, node)| **node == assignment.node);
        self.unborn = mine.map(|(rank, _)| rank).collect();
        let first = self.unborn.front().copied().unwrap_or(0);
        let sent = self.sent_programs(&assignment);
        match Spawner::new(assignment, sent, self.unborn.len()) {
            Ok(spawner) => {
                let waker = Arc::new(Waker::new(self.poll.registry(), DEATHS)?);
                self.deaths = Some(Deaths::watch(spawner.boxes(), &waker));
                self.spawner = Some(spawner);
            }
            Err(failure) => self.start_failed(first, failure)?,
        }
        Ok(())
    }

    fn spawn_some(&mut self) -> io::Result<()> {
        for _ in 0..SPAWN_BATCH {
            let (Some(spawner), Some(rank)) = (&mut self.spawner, self.unborn.pop_front()) else {
                break;
            };
            let local = self.children.len();
            match spawner.spawn(rank, local) {
                Ok(spawned) => {
                    let pid = spawned.pid;
                    self.by_pid.insert(pid, local);
                    self.by_rank.insert(rank, local);
                    self.children.push(Child::new(rank, spawned));
                    self.register(local)?;
                    let pid = pid.as_raw_nonzero().get().unsigned_abs();
                    self.tell(&FromDaemon::Started { rank, pid })?;
                    self.report_binding(rank, local)?;
                }
                Err(failure) => self.start_failed(rank, failure)?,
            }
        }
        if self.unborn.is_empty() && !self.deferred.is_empty() {
            for signal in std::mem::take(&mut self.deferred) {
                self.signal_everyone(signal);
            }
        }
        Ok(())
    }

    fn report_binding(&mut self, rank: u32, local: usize) -> io::Result<()> {
        let spawner = self.spawner.as_ref();
        match spawner.and_then(|spawner| spawner.binding_report(rank, local)) {
            Some(message) => self.tell(&FromDaemon::Note { message }),
            None => Ok(()),
        }
    }

    fn register(&mut self, local: usize) -> io::Result<()> {
        let child = &self.children[local];
        let registry = self.poll.registry();
        let base = FIRST_RANK + local * TOKENS_PER_RANK;
        let add = |fd: i32, place: usize, interest: Interest| {
            registry.register(&mut SourceFd(&fd), Token(base + place), interest)
        };
        if let Some(input) = &child.input {
            add(input.as_raw_fd(), 0, Interest::WRITABLE)?;
        }
        for (place, output) in (1..).zip(&child.outputs) {
            if let Some(output) = output {
                add(output.as_raw_fd(), place, Interest::READABLE)?;
            }
        }
        if let Some(control) = &child.control {
            let both = Interest::READABLE.add(Interest::WRITABLE);
            add(control.as_raw_fd(), 3, both)?;
        }
        Ok(())
    }

    fn start_failed(&mut self, rank: u32, failure: Failure) -> io::Result<()> {
        self.unborn.clear();
        self.end(true);
        self.tell(&FromDaemon::StartFailed {
            rank,
            missing: failure.missing,
            message: failure.message,
        })
    }

    fn end(&mut self, now: bool) {
        self.ending = true;
        self.fetching = None;
        self.unborn.clear();
        self.deferred.clear();
        if now {
            self.kill_everyone();
            return;
        }
        for child in &mut self.children {
            child.signal(Signal::TERM);
            // One that was stopped shall hear it too.
            child.signal(Signal::CONT);
        }
        let kill_at = Instant::now() + self.grace;
        self.kill_at.get_or_insert(kill_at);
    }

    fn kill_everyone(&mut self) {
        self.kill_at = None;
        for local in 0..self.children.len() {
            self.children[local].signal(Signal::KILL);
            if self.children[local].exit.is_some() {
                self.give_up_on_rest(local);
            }
        }
    }

    fn look_at_the_clock(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.tell_deaths(now)?;
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_everyone();
        }
        for local in 0..self.children.len() {
            if self.children[local].linger.is_some_and(|at| at <= now) {
                let stalled = self.stalled.iter().any(|list| list.contains(&local));
                if stalled && !self.ending {
                    self.children[local].linger = Some(now + LINGER);
                } else {
                    self.give_up_on_rest(local);
                }
            }
        }
        Ok(())
    }
}
