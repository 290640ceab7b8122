//! The launcher at work: feeds what happens to `control`, and does what it says.

mod freight;
pub(crate) mod link;
mod links;
mod progress;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use phalanx::wire::control::{FromDaemon, Stream, ToDaemon};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook_mio::v1_0::Signals;

use crate::callers::Callers;
use crate::control::{Action, Event, Job, Setup};
use crate::document::Document;
use crate::files::{self, Files};
use crate::input::Input;
use crate::job::{Identity, Plan, Refusal};
use crate::orphans::Orphans;
use crate::output::Lines;
use crate::ship::Freight;
use crate::sink::Sink;
use crate::talk::wants_colours;
use freight::Sending;
use link::{Link, TOKENS_PER_DAEMON};
use progress::Progress;

const WAKER: Token = Token(0);
const SIGNALS: Token = Token(1);
const CALLERS: Token = Token(2);
const FIRST_DAEMON: usize = 3;

/// Bytes read from a daemon at once.
const READ_BYTES: usize = 64 * 1024;

struct Launcher {
    plan: Plan,
    identity: Identity,
    began: Instant,
    poll: Poll,
    signals: Signals,
    job: Job,
    links: Vec<Link>,
    /// This program, for hosts that do not have it.
    own: Option<Freight>,
    progress: Progress,
    orphans: Orphans,
    lines: [Lines; 2],
    sinks: [Sink; 2],
    /// They take the output of ranks when the user wants it there.
    files: Option<Files>,
    input: Input,
    callers: Callers,
    /// SIGQUIT has asked what the ranks do.
    shows: bool,
    /// The reader of our standard output has gone, or a file cannot be written, and the job knows.
    output_closed: bool,
    exit: Option<u8>,
    document: Option<Document>,
}

/// Runs the job and returns its exit code.
pub(crate) fn run(plan: Plan) -> Result<u8, Refusal> {
    let cannot = |error: io::Error| Refusal::launch(format!("cannot start the job: {error}"));
    if let Some(place) = &plan.output_dir {
        files::create(place, plan.placement.node_of.len())?;
    }
    let identity = Identity::draw()?;
    let document = match &plan.report_json {
        Some(path) => {
            let command = crate::programs::line(&plan.programs);
            Some(Document::new(path, identity.job.to_string(), command)?)
        }
        None => None,
    };
    let mut launcher = Launcher::new(plan, identity).map_err(cannot)?;
    launcher.document = document;
    let ended = launcher.start_daemons();
    let ended = ended.and_then(|()| launcher.serve().map_err(cannot));
    launcher.describe(ended)
}

impl Launcher {
    fn new(plan: Plan, identity: Identity) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut signals = crate::signals::of_launcher()?;
        poll.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)?;
        let line = format!(
            "{} {}",
            plan.placement.node_of.len(),
            crate::programs::line(&plan.programs)
        );
        let job = identity.job.to_string();
        let callers = Callers::listen(&job, poll.registry(), CALLERS, line);
        let setup = Setup {
            placement: plan.placement.clone(),
            threads: plan.threads.is_some(),
            timeout: plan.timeout,
            stall_timeout: plan.stall_timeout,
            check: plan.check,
            host_timeout: plan.elsewhere.host_timeout,
        };
        Ok(Self {
            job: Job::new(setup, Duration::ZERO),
            lines: [
                Lines::new(plan.labels(wants_colours(&io::stdout()))),
                Lines::new(plan.labels(wants_colours(&io::stderr()))),
            ],
            files: match &plan.output_dir {
                Some(place) => Some(Files::new(
                    place,
                    plan.placement.node_of.len(),
                    Arc::clone(&waker),
                )?),
                None => None,
            },
            sinks: [
                Sink::new(Stream::Output, Arc::clone(&waker))?,
                Sink::new(Stream::Error, Arc::clone(&waker))?,
            ],
            input: Input::new(waker, &plan.nodes_with_input())?,
            links: Vec::new(),
            own: None,
            progress: Progress::new(plan.quiet),
            orphans: Orphans::claim(),
            callers,
            shows: false,
            output_closed: false,
            exit: None,
            document: None,
            began: Instant::now(),
            plan,
            identity,
            poll,
            signals,
        })
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn serve(&mut self) -> io::Result<u8> {
        let mut events = Events::with_capacity(64);
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    CALLERS => {
                        if self.callers.accept() {
                            let now = self.now();
                            self.job.want_table(now);
                        }
                    }
                    SIGNALS => self.take_signals(),
                    Token(token) => {
                        let token = token - FIRST_DAEMON;
                        let node = token / TOKENS_PER_DAEMON;
                        match token % TOKENS_PER_DAEMON {
                            0 => self.listen(node),
                            2 => self.listen_to_way(node),
                            _ => {}
                        }
                    }
                }
            }
            self.move_input();
            let now = self.now();
            self.look_after_starts(now);
            self.job.tick(now);
            for lines in &mut self.lines {
                lines.tick(now);
            }
            self.show_progress(now);
            if let Some(code) = self.act() {
                return Ok(code);
            }
            self.move_output();
            self.flush_links();
            if let Some(code) = self.exit.filter(|_| self.is_drained()) {
                return Ok(match self.file_failure() {
                    Some(_) if code == 0 => crate::exit::OUTPUT_CLOSED,
                    _ => code,
                });
            }
        }
    }

    /// Writes what the user wants to be written about the end.
    fn describe(&mut self, ended: Result<u8, Refusal>) -> Result<u8, Refusal> {
        let Some(document) = &mut self.document else {
            return ended;
        };
        let code = match &ended {
            Ok(code) => *code,
            Err(refusal) => {
                document.said(&refusal.message);
                refusal.code
            }
        };
        match document.write(self.job.summary(code)) {
            Err(line) if code == 0 => Err(Refusal {
                code: crate::exit::OUTPUT_CLOSED,
                message: line,
            }),
            Err(line) => {
                eprintln!("phalanx: {line}");
                ended
            }
            Ok(()) => ended,
        }
    }

    fn file_failure(&self) -> Option<&str> {
        self.files.as_ref().and_then(Files::failure)
    }

    /// Whether all output was written, or the user knows why not.
    fn is_drained(&self) -> bool {
        let files = self.files.as_ref().is_none_or(Files::is_drained);
        let told = self.output_closed || self.file_failure().is_none();
        files && told && self.sinks.iter().all(Sink::is_drained)
    }

    fn patience(&self) -> Option<Duration> {
        let lines = self.lines.iter().filter_map(Lines::next_deadline);
        let links = self.links.iter().filter_map(Link::next_deadline);
        let others = self.job.next_deadline().into_iter();
        let others = others.chain(self.input.next_deadline());
        let others = others.chain(self.progress.next_deadline());
        let next = lines.chain(links).chain(others).min()?;
        // Rounded up, because the poll counts in whole milliseconds.
        Some(next.saturating_sub(self.now()) + Duration::from_micros(999))
    }

    fn take_signals(&mut self) {
        let signals: Vec<i32> = self.signals.pending().collect();
        for signal in signals {
            let now = self.now();
            self.shows |= signal == signal_hook::consts::SIGQUIT;
            self.job.handle(Event::Signal(signal), now);
            if signal == signal_hook::consts::SIGTSTP {
                self.act();
                self.flush_links();
                crate::signals::stop_here();
            }
        }
    }

    fn hear(&mut self, node: usize, message: FromDaemon) {
        let now = self.now();
        match message {
            FromDaemon::Printed {
                rank,
                stream,
                bytes,
            } => {
                let place = place(stream);
                self.links[node].owed[place] += bytes.len();
                match &self.files {
                    Some(files) => files.write(rank, stream, bytes),
                    None if bytes.is_empty() => self.lines[place].end(rank),
                    None => self.lines[place].push(rank, &bytes, now),
                }
            }
            FromDaemon::InputTaken {
                most,
                least,
                laggard,
            } => self.input.taken(node, most, least, laggard),
            FromDaemon::InputClosed => self.input.close(node),
            FromDaemon::Beat => {}
            FromDaemon::NeedFile { file } => {
                self.links[node].sending = Some(Sending::of(file as usize));
                self.send_file(node);
            }
            FromDaemon::FileTaken { bytes } => {
                if let Some(sending) = &mut self.links[node].sending {
                    sending.taken(bytes as usize);
                }
                self.send_file(node);
            }
            message => {
                if let FromDaemon::Hello { host, pid, .. } = &message {
                    self.links[node].greeted();
                    if self.plan.verbose {
                        let line = format!("phalanx: daemon on {host}, process {pid}");
                        self.lines[1].say(&line);
                    }
                }
                if let FromDaemon::Started { rank, .. } = message {
                    if self.plan.input.reaches(rank) {
                        self.input.begin();
                    }
                }
                let node = narrow(node);
                self.job.handle(Event::Daemon { node, message }, now);
            }
        }
    }

    /// Does what the job wants done. A code means: leave at once.
    fn act(&mut self) -> Option<u8> {
        for action in self.job.take_actions() {
            match action {
                Action::Start { node } => {
                    let assignment = self.plan.assignment(node, &self.identity);
                    self.send(node as usize, &ToDaemon::Start(Box::new(assignment)));
                }
                Action::Send { node, message } => self.send(node as usize, &message),
                Action::Table(table) => self.show(&table),
                Action::Say(line) => {
                    if let Some(document) = &mut self.document {
                        document.said(&line);
                    }
                    self.lines[1].say(&format!("phalanx: {line}"));
                }
                Action::KillGroups { node, pids } => {
                    let link = &mut self.links[node as usize];
                    link.abandon();
                    // Elsewhere the numbers are others'; what was cut off there ends itself.
                    if link.is_local {
                        pids.into_iter().for_each(kill_group);
                        self.kill_orphans();
                    }
                }
                Action::Finish(code) => self.exit = Some(code),
                Action::Leave(code) => return Some(code),
            }
        }
        None
    }

    /// Tells whoever has asked what the ranks do.
    fn show(&mut self, table: &str) {
        self.callers.answer(self.began.elapsed().as_secs(), table);
        if std::mem::take(&mut self.shows) {
            for line in table.lines() {
                self.lines[1].say(&format!("phalanx: {line}"));
            }
        }
    }

    fn kill_orphans(&mut self) {
        let alive = self.links.iter_mut().filter_map(|link| {
            let lives = matches!(link.child.try_wait(), Ok(None));
            lives.then(|| link.child.id())
        });
        let alive: Vec<u32> = alive.collect();
        self.orphans.kill(&alive);
    }

    fn move_input(&mut self) {
        while let Some(piece) = self.input.next() {
            for node in self.input.takers() {
                self.send(node, &ToDaemon::Input(piece.clone()));
            }
        }
        if let Some(line) = self.input.tick(self.now()) {
            self.lines[1].say(&format!("phalanx: {line}"));
        }
    }

    /// Hands lines to the writers, and credit to the daemons when the writers keep up.
    fn move_output(&mut self) {
        let failure = self.file_failure().map(str::to_owned);
        if (self.sinks[0].is_closed() || failure.is_some()) && !self.output_closed {
            self.output_closed = true;
            if let Some(failure) = failure {
                self.lines[1].say(&format!("phalanx: {failure}"));
            }
            let now = self.now();
            self.job.handle(Event::OutputClosed, now);
            self.act();
        }
        for stream in [Stream::Output, Stream::Error] {
            let place = place(stream);
            self.sinks[place].write(self.lines[place].take());
            let files_have_room = self.files.as_ref().is_none_or(Files::has_room);
            if !self.sinks[place].has_room() || !files_have_room {
                continue;
            }
            for node in 0..self.links.len() {
                let owed = std::mem::take(&mut self.links[node].owed[place]);
                if let Ok(bytes @ 1..) = u32::try_from(owed) {
                    self.send(node, &ToDaemon::Taken { stream, bytes });
                }
            }
        }
    }
}

fn kill_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It fails when the group is gone, which is what we want.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn place(stream: Stream) -> usize {
    match stream {
        Stream::Output => 0,
        Stream::Error => 1,
    }
}

fn narrow(node: usize) -> u32 {
    u32::try_from(node).unwrap_or(u32::MAX)
}
