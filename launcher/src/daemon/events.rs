//! What the daemon does when something happens: messages, output, ends of processes.

use std::io;
use std::time::{Duration, Instant};

use phalanx::wire::control::{Exit, FromDaemon, FromRank, Stream, ToDaemon, ToRank, encode};
use rustix::process::{Signal, WaitOptions, WaitStatus};
use signal_hook::consts::SIGTERM;

use super::child::index;
use super::spawn::Spawner;
use super::{Daemon, LINGER, Source, TOKENS_PER_RANK};
use crate::stream::{Read, read};

/// A rank's messages are not read while more than this waits for the launcher.
const OUTBOX_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Daemon {
    /// Takes in what the launcher says; false when it has gone.
    pub(super) fn listen_to_launcher(&mut self) -> io::Result<bool> {
        loop {
            match read(rustix::stdio::stdin(), &mut self.buffer) {
                Read::Later => return Ok(true),
                Read::End => return Ok(false),
                Read::Bytes(count) => {
                    self.fence.hear(Instant::now());
                    self.inbox.extend(&self.buffer[..count]);
                    while let Some(message) = self.inbox.next().map_err(io::Error::other)? {
                        self.obey(message)?;
                    }
                }
            }
        }
    }

    fn obey(&mut self, message: ToDaemon) -> io::Result<()> {
        match message {
            ToDaemon::Start(assignment) if !self.started && !self.ending => {
                self.started = true;
                self.fetch(*assignment)
            }
            ToDaemon::Start(_) => Ok(()),
            ToDaemon::ToRank { rank, message } => self.tell_rank(rank, &message),
            ToDaemon::Signal(signal) => {
                if self.unborn.is_empty() {
                    self.signal_everyone(signal);
                } else {
                    self.deferred.push(signal);
                }
                Ok(())
            }
            ToDaemon::Glance => self.glance(),
            ToDaemon::File(piece) => self.file_piece(&piece),
            ToDaemon::Beat { fence_millis } => {
                let patience = Duration::from_millis(fence_millis);
                self.fence.arm(patience, Instant::now());
                Ok(())
            }
            ToDaemon::Quiet => {
                self.fence.disarm();
                Ok(())
            }
            ToDaemon::Input(bytes) => self.input(&bytes),
            ToDaemon::End { now } => {
                self.end(now);
                Ok(())
            }
            ToDaemon::Taken { stream, bytes } => {
                let place = index(stream);
                self.credit[place] += bytes as usize;
                let stalled = std::mem::take(&mut self.stalled[place]);
                let source = Source::Printed(stream);
                self.ready
                    .extend(stalled.into_iter().map(|local| (local, source)));
                Ok(())
            }
        }
    }

    pub(super) fn signal_everyone(&mut self, number: i32) {
        let Some(signal) = Signal::from_named_raw(number) else {
            return;
        };
        for child in &mut self.children {
            child.signal(signal);
        }
    }

    /// Something happened to one of a rank's streams.
    pub(super) fn rank_event(&mut self, token: usize) -> io::Result<()> {
        let local = token / TOKENS_PER_RANK;
        match token % TOKENS_PER_RANK {
            0 => self.flush_input(local),
            1 => self.becomes_ready(local, Source::Printed(Stream::Output)),
            2 => self.becomes_ready(local, Source::Printed(Stream::Error)),
            _ => {
                self.flush_control(local);
                self.becomes_ready(local, Source::Control)
            }
        }
    }

    fn becomes_ready(&mut self, local: usize, source: Source) -> io::Result<()> {
        let stalled = match source {
            Source::Printed(stream) => self.stalled[index(stream)].contains(&local),
            Source::Control => false,
        };
        if !stalled && !self.ready.contains(&(local, source)) {
            self.ready.push_back((local, source));
        }
        Ok(())
    }

    /// Reads once from each source that has something.
    pub(super) fn read_ready(&mut self) -> io::Result<()> {
        for _ in 0..self.ready.len() {
            let Some((local, source)) = self.ready.pop_front() else {
                break;
            };
            let more = match source {
                Source::Printed(stream) => self.read_output(local, stream)?,
                Source::Control if self.outbox.len() > OUTBOX_BYTES_MAX => true,
                Source::Control => self.read_control(local)?,
            };
            if more {
                self.ready.push_back((local, source));
            }
        }
        Ok(())
    }

    /// Forwards a piece of output; true when there may be more.
    fn read_output(&mut self, local: usize, stream: Stream) -> io::Result<bool> {
        let place = index(stream);
        let child = &mut self.children[local];
        let Some(output) = &child.outputs[place] else {
            return Ok(false);
        };
        let most = self.buffer.len().min(self.credit[place]);
        if most == 0 {
            self.stalled[place].push(local);
            return Ok(false);
        }
        let rank = child.rank;
        match read(output, &mut self.buffer[..most]) {
            Read::Bytes(count) => {
                self.credit[place] -= count;
                let bytes = self.buffer[..count].to_vec();
                self.tell(&FromDaemon::Printed {
                    rank,
                    stream,
                    bytes,
                })?;
                Ok(true)
            }
            Read::Later if !child.last_words => Ok(false),
            Read::Later | Read::End => {
                child.outputs[place] = None;
                if child.exit.is_some() && !child.has_open_output() {
                    child.kill_rest();
                }
                let bytes = Vec::new();
                self.tell(&FromDaemon::Printed {
                    rank,
                    stream,
                    bytes,
                })?;
                Ok(false)
            }
        }
    }

    /// Takes in what a rank says; true when there may be more.
    fn read_control(&mut self, local: usize) -> io::Result<bool> {
        let child = &mut self.children[local];
        let Some(control) = &child.control else {
            return Ok(false);
        };
        let rank = child.rank;
        match read(control, &mut self.buffer) {
            Read::Later => return Ok(false),
            Read::End => {
                child.control = None;
                return Ok(false);
            }
            Read::Bytes(count) => child.control_in.extend(&self.buffer[..count]),
        }
        loop {
            match self.children[local].control_in.next::<FromRank>() {
                Ok(Some(message)) => self.tell(&FromDaemon::FromRank { rank, message })?,
                Ok(None) => return Ok(true),
                Err(error) => {
                    self.children[local].control = None;
                    let message = FromRank::Abort {
                        code: crate::exit::WIRE,
                        message: format!("its control stream makes no sense: {error}"),
                    };
                    self.tell(&FromDaemon::FromRank { rank, message })?;
                    return Ok(false);
                }
            }
        }
    }

    fn tell_rank(&mut self, rank: u32, message: &ToRank) -> io::Result<()> {
        if let Some(&local) = self.by_rank.get(&rank) {
            let child = &mut self.children[local];
            if child.control.is_some() {
                let bytes = encode(message).map_err(io::Error::other)?;
                child.control_out.push(bytes);
                self.flush_control(local);
            }
        }
        Ok(())
    }

    fn flush_control(&mut self, local: usize) {
        let child = &mut self.children[local];
        if let Some(control) = &child.control {
            if child.control_out.flush(control).is_err() {
                // What it said before it went is still to be read.
                child.control_out.clear();
            }
        }
        // A rank that sleeps in shared memory does not see its control stream.
        if let Some(segment) = self.spawner.as_ref().and_then(Spawner::segment) {
            segment.announce_control(local);
        }
    }

    /// Waits for all processes that have ended.
    pub(super) fn reap(&mut self) -> io::Result<()> {
        // Whoever cancels a job elsewhere than at its launcher, as `scancel` does, means all of it.
        if self.signals.pending().any(|signal| signal == SIGTERM) {
            self.tell(&FromDaemon::Cancelled)?;
            self.end(false);
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(exit) = exit_of(status) {
                        if let Some(local) = self.by_pid.remove(&pid) {
                            self.ended(local, exit)?;
                        }
                    }
                }
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A rank's last messages come before its end. Others may hold the stream, hence the bound.
    pub(super) fn hear_last_words(&mut self, local: usize) -> io::Result<()> {
        for _ in 0..1024 {
            if !self.read_control(local)? {
                break;
            }
        }
        Ok(())
    }

    fn ended(&mut self, local: usize, exit: Exit) -> io::Result<()> {
        self.hear_last_words(local)?;
        self.tell_traces(local, exit)?;
        self.close_input(local)?;
        if let Some(segment) = self.spawner.as_ref().and_then(Spawner::segment) {
            segment.departed(local);
        }
        let child = &mut self.children[local];
        child.leaves(exit);
        let rank = child.rank;
        if !child.has_open_output() {
            child.kill_rest();
        } else if self.ending {
            self.give_up_on_rest(local);
        } else {
            child.linger = Some(Instant::now() + LINGER);
        }
        self.tell(&FromDaemon::Exited { rank, exit })
    }

    /// Kills what is left of a rank's group, and takes what is in its pipes as its last words.
    pub(super) fn give_up_on_rest(&mut self, local: usize) {
        let child = &mut self.children[local];
        child.kill_rest();
        child.last_words = true;
        for stream in [Stream::Output, Stream::Error] {
            let source = (local, Source::Printed(stream));
            let stalled = self.stalled[index(stream)].contains(&local);
            if self.children[local].outputs[index(stream)].is_some()
                && !stalled
                && !self.ready.contains(&source)
            {
                self.ready.push_back(source);
            }
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    let narrow = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    let code = status.exit_status().map(|code| Exit::Code(narrow(code)));
    code.or_else(|| {
        status
            .terminating_signal()
            .map(|signal| Exit::Signal(narrow(signal)))
    })
}
