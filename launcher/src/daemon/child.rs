//! One rank as its daemon sees it: a process, its group, and the streams to it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ChildStdin;
use std::time::Instant;

use phalanx::wire::control::{Decoder, Exit, Stream};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::spawn::Spawned;
use crate::stream::Outbox;

/// A rank that was started.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) rank: u32,
    pub(super) pid: Pid,
    pub(super) input: Option<ChildStdin>,
    /// How much of the input it has got.
    pub(super) input_at: u64,
    pub(super) outputs: [Option<OwnedFd>; 2],
    pub(super) control: Option<UnixStream>,
    pub(super) control_in: Decoder,
    pub(super) control_out: Outbox,
    pub(super) exit: Option<Exit>,
    /// The process has ended but others of its group hold its output; they have until then.
    pub(super) linger: Option<Instant>,
    /// No more waiting for output: what is in the pipes is all.
    pub(super) last_words: bool,
    group_is_over: bool,
}

impl Child {
    pub(super) fn new(rank: u32, spawned: Spawned) -> Self {
        let (control, control_out) = spawned.control.unzip();
        Self {
            rank,
            pid: spawned.pid,
            input: spawned.input,
            input_at: 0,
            outputs: spawned.outputs,
            control,
            control_in: Decoder::default(),
            control_out: control_out.unwrap_or_default(),
            exit: None,
            linger: None,
            last_words: false,
            group_is_over: false,
        }
    }

    /// Sends a signal to the process and all that it has started.
    ///
    /// The number of a group cannot be given to another while the process is not waited for, nor
    /// while the group has members; after that nothing is sent.
    pub(super) fn signal(&mut self, signal: Signal) {
        if !self.group_is_over {
            // It fails when the last member is gone, which is as good.
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Right after the process was waited for: is anyone of its group left?
    pub(super) fn leaves(&mut self, exit: Exit) {
        self.exit = Some(exit);
        self.control = None;
        self.group_is_over = test_kill_process_group(self.pid).is_err();
    }

    /// Kills what is left of the group of a process that has ended.
    pub(super) fn kill_rest(&mut self) {
        self.signal(Signal::KILL);
        self.group_is_over = true;
        self.linger = None;
    }

    pub(super) fn has_open_output(&self) -> bool {
        self.outputs.iter().any(Option::is_some)
    }

    /// Nothing more will come from it.
    pub(super) fn is_over(&self) -> bool {
        self.exit.is_some() && self.group_is_over && !self.has_open_output()
    }
}

/// The place of a stream in tables of two.
pub(super) fn index(stream: Stream) -> usize {
    match stream {
        Stream::Output => 0,
        Stream::Error => 1,
    }
}
