//! The way to one daemon: its streams, and how far its start has come.

use std::io;
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use phalanx::wire::control::{Decoder, ToDaemon};
use rustix::process::{Pid, Signal, kill_process};

use super::freight::Sending;
use crate::ship::{Freight, PIECE_BYTES};
use crate::start::Started;
use crate::start::bootstrap::{Answer, Listener};
use crate::start::failure::{self, Explained};
use crate::stream::{Outbox, Read, read, set_nonblocking};

/// Descriptors of a link in the poll.
pub(crate) const TOKENS_PER_DAEMON: usize = 3;
/// So much of what ssh and the like say is kept.
const SAID_BYTES_MAX: usize = 16 * 1024;
/// Time that a way has to end by itself, and then when it is asked to.
const LEAVE: Duration = Duration::from_millis(300);

/// How far the start of a daemon has come.
#[derive(Debug)]
enum Stage {
    /// The script is there, or on its way; what does it say?
    Asking(Listener),
    /// Our own bytes go there, from this place on.
    Sending(u64),
    /// A daemon, or its complaint, is all that can come.
    Speaking,
}

/// A daemon and the streams to it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) host: String,
    pub(crate) is_local: bool,
    /// What brings us there, as it is called in messages.
    way: String,
    pub(crate) child: Child,
    pub(crate) to: Option<ChildStdin>,
    pub(crate) from: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    said: Vec<u8>,
    /// How much of `said` the user knows already.
    told: usize,
    stage: Stage,
    /// It has asked for our bytes.
    was_sent: bool,
    patience: Duration,
    /// A sign of life is due until then.
    deadline: Option<Duration>,
    is_greeted: bool,
    pub(crate) inbox: Decoder,
    pub(crate) outbox: Outbox,
    /// Output that was taken from it and not yet credited, of each stream.
    pub(crate) owed: [usize; 2],
    pub(super) sending: Option<Sending>,
}

impl Link {
    /// A daemon here, which is what it is from the start.
    pub(crate) fn local(host: String, started: Started) -> Self {
        Self::new(host, started, true, Stage::Speaking)
    }

    /// A daemon elsewhere, where `script` runs first.
    pub(crate) fn remote(
        host: String,
        way: &str,
        started: Started,
        script: String,
        patience: Duration,
        now: Duration,
    ) -> Self {
        let mut link = Self::new(host, started, false, Stage::Asking(Listener::default()));
        link.way = way.to_owned();
        link.patience = patience;
        link.deadline = Some(now + patience);
        link.outbox.push(script.into_bytes());
        link
    }

    fn new(host: String, started: Started, is_local: bool, stage: Stage) -> Self {
        Self {
            host,
            is_local,
            way: String::new(),
            child: started.child,
            to: Some(started.to),
            from: Some(started.from),
            errors: started.errors,
            said: Vec::new(),
            told: 0,
            stage,
            was_sent: false,
            patience: Duration::ZERO,
            deadline: None,
            is_greeted: false,
            inbox: Decoder::default(),
            outbox: Outbox::default(),
            owed: [0; 2],
            sending: None,
        }
    }

    /// Makes its streams wake the poll with three tokens from `base` on.
    pub(crate) fn register(&self, registry: &Registry, base: usize) -> io::Result<()> {
        let add = |fd: i32, place: usize, interest: Interest| {
            registry.register(&mut SourceFd(&fd), Token(base + place), interest)
        };
        if let Some(from) = &self.from {
            set_nonblocking(from)?;
            add(from.as_raw_fd(), 0, Interest::READABLE)?;
        }
        if let Some(to) = &self.to {
            set_nonblocking(to)?;
            add(to.as_raw_fd(), 1, Interest::WRITABLE)?;
        }
        if let Some(errors) = &self.errors {
            set_nonblocking(errors)?;
            add(errors.as_raw_fd(), 2, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Whether messages can be sent to the daemon.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Speaking)
    }

    /// Whether the host did not have this program and got it from us.
    pub(crate) fn was_sent(&self) -> bool {
        self.was_sent
    }

    /// When patience with a start ends.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The daemon has said who it is: its start is over.
    pub(crate) fn greeted(&mut self) {
        self.deadline = None;
        self.is_greeted = true;
    }

    /// Whether the daemon has said who it is.
    pub(super) const fn is_greeted(&self) -> bool {
        self.is_greeted
    }

    /// Whether nothing will come from there any more.
    pub(super) const fn is_abandoned(&self) -> bool {
        self.from.is_none()
    }

    /// Takes in bytes from the host. An error says why there will be no daemon.
    pub(crate) fn hear(
        &mut self,
        bytes: &[u8],
        own: Option<&Freight>,
        now: Duration,
    ) -> Result<(), String> {
        if self.deadline.is_some() {
            self.deadline = Some(now + self.patience);
        }
        if let Stage::Asking(listener) = &mut self.stage {
            let Some((answer, rest)) = listener.hear(bytes) else {
                return Ok(());
            };
            let noise = listener.noise();
            self.stage = match answer {
                Answer::Have(system) => {
                    check(&system)?;
                    Stage::Speaking
                }
                Answer::Need(system) => {
                    check(&system)?;
                    self.was_sent = true;
                    own.map_or(Stage::Speaking, |_| Stage::Sending(0))
                }
                Answer::Nowhere(why) => {
                    return Err(format!("no place for a copy of phalanx: {why}"));
                }
                Answer::Missing => {
                    return Err(
                        "no phalanx there, neither at the path of this one nor on the \
                                PATH; leave out --no-ship to send it"
                            .to_owned(),
                    );
                }
                Answer::Babble => return Err(format!("its shell says something else: {noise}")),
            };
            self.inbox.extend(&rest);
            return Ok(());
        }
        if self.deadline.is_some()
            && bytes.first() == Some(&b'p')
            && !self.inbox.is_inside_message()
        {
            // The length of a first message is never such a number: it is the script that failed.
            self.stage = Stage::Asking(Listener::default());
            return self.hear(bytes, own, now);
        }
        self.inbox.extend(bytes);
        Ok(())
    }

    /// Writes what the stream takes now.
    pub(crate) fn flush(&mut self, own: Option<&Freight>, now: Duration) -> io::Result<()> {
        loop {
            if let (Stage::Sending(offset), Some(own)) = (&mut self.stage, own) {
                while self.outbox.len() < 2 * PIECE_BYTES && *offset < own.content.bytes {
                    let piece = own.piece(*offset)?;
                    *offset += piece.len() as u64;
                    self.outbox.push(piece);
                }
                if *offset == own.content.bytes {
                    self.stage = Stage::Speaking;
                }
            }
            let Some(to) = &self.to else {
                self.outbox.clear();
                return Ok(());
            };
            match self.outbox.flush(to) {
                Ok(0) => return Ok(()),
                Ok(_) if self.deadline.is_some() => self.deadline = Some(now + self.patience),
                Ok(_) => {}
                Err(_) => {
                    // Its end shows on the stream from it, after its last words.
                    self.to = None;
                }
            }
        }
    }

    /// Reads what ssh and the like say, and gives what the daemon has to tell the user.
    pub(crate) fn hear_errors(&mut self) -> Vec<String> {
        let mut buffer = [0_u8; 4096];
        while let Some(errors) = &self.errors {
            match read(errors, &mut buffer) {
                Read::Later => break,
                Read::End => self.errors = None,
                Read::Bytes(count) => self.said.extend_from_slice(&buffer[..count]),
            }
        }
        let whole = self.said.iter().rposition(|byte| *byte == b'\n');
        let end = whole.map_or(self.told, |at| at + 1).max(self.told);
        let text = String::from_utf8_lossy(&self.said[self.told..end]).into_owned();
        self.told = end;
        if self.said.len() > SAID_BYTES_MAX {
            let surplus = self.told.min(self.said.len() - SAID_BYTES_MAX / 2);
            self.said.drain(..surplus);
            self.told -= surplus;
        }
        let own = text
            .lines()
            .filter_map(|line| line.strip_prefix("phalanx: "));
        own.map(|line| format!("{}: {line}", self.host)).collect()
    }

    /// Why there is no daemon; `what` is what was seen.
    pub(crate) fn failure(&mut self, what: &str) -> Explained {
        let ended = self.leave();
        self.hear_errors();
        let said = String::from_utf8_lossy(&self.said);
        let what = match (&self.stage, ended) {
            (Stage::Asking(listener), Some(status)) if what.is_empty() => {
                let noise = listener.noise();
                let noise = if noise.is_empty() {
                    noise
                } else {
                    format!("; its shell said: {noise}")
                };
                format!(
                    "{} ended ({status}) before the host answered{noise}",
                    self.way
                )
            }
            (_, Some(status)) if what.is_empty() => {
                format!("{} ended ({status}) before the daemon spoke", self.way)
            }
            _ => what.to_owned(),
        };
        failure::explain(&self.host, &self.way, &what, &said)
    }

    /// The last words of a way that broke down, as an addition to a sentence.
    pub(crate) fn last_words(&mut self) -> String {
        if self.is_local {
            return String::new();
        }
        self.leave();
        self.hear_errors();
        let said = String::from_utf8_lossy(&self.said);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        last.map_or_else(String::new, |last| format!(" ({} says: {last})", self.way))
    }

    /// Ends our side of it, whatever state it is in.
    pub(crate) fn abandon(&mut self) {
        self.to = None;
        self.from = None;
        self.deadline = None;
        // It has ended, or is of no use; only when it is really gone are its orphans ours.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets the child end by itself, then asks it to, then ends it; for a short time each.
    pub(crate) fn leave(&mut self) -> Option<ExitStatus> {
        self.to = None;
        for signal in [Signal::TERM, Signal::KILL] {
            let deadline = Instant::now() + LEAVE;
            loop {
                match self.child.try_wait() {
                    Ok(Some(status)) => return Some(status),
                    Ok(None) => {}
                    Err(_) => return None,
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                await_end(&self.child, left);
            }
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            // It is not waited for yet, so the number is still its own.
            let _ = pid.map(|pid| kill_process(pid, signal));
        }
        self.child.wait().ok()
    }
}

/// Waits for the end of a child, which is not waited for yet, no longer than the limit; it may return early.
fn await_end(child: &Child, limit: Duration) {
    #[cfg(target_os = "linux")]
    {
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::process::{PidfdFlags, pidfd_open};

        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let end = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if let (Some(end), Ok(limit)) = (end, rustix::event::Timespec::try_from(limit)) {
            let _ = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&limit));
            return;
        }
    }
    // Nothing tells of it here.
    let _ = child;
    std::thread::sleep(limit.min(Duration::from_millis(1)));
}

/// Only the same sort of system can run our bytes.
fn check(theirs: &str) -> Result<(), String> {
    let own = rustix::system::uname();
    let ours = format!(
        "{}/{}",
        own.sysname().to_string_lossy(),
        own.machine().to_string_lossy()
    );
    if theirs == ours {
        return Ok(());
    }
    Err(format!(
        "it is {theirs}, and {} is {ours}; all hosts of a job have to be alike",
        own.nodename().to_string_lossy()
    ))
}

/// What to send when there is nothing else to say.
pub(super) fn is_end(message: &ToDaemon) -> bool {
    matches!(message, ToDaemon::End { .. })
}
