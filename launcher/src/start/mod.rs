//! How a daemon is started on a host: here as a child, or elsewhere through a program such as ssh.
//!
//! Whatever the way, the result is the same: a child of ours, a byte stream to the daemon and one
//! from it. Elsewhere a small script runs first, which looks for this very launcher in a cache there
//! and takes in a copy when it is missing: see `bootstrap`.

pub(crate) mod args;
pub(crate) mod bootstrap;
pub(crate) mod elsewhere;
pub(crate) mod failure;
pub(crate) mod local;
pub(crate) mod remote;

use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

/// A daemon that is being started, and the streams to it.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) to: ChildStdin,
    pub(crate) from: ChildStdout,
    /// What the way itself says, such as ssh; a local daemon shares our standard error.
    pub(crate) errors: Option<ChildStderr>,
}

/// By which program other hosts are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// The system's ssh, or the one in `PHALANX_SSH`.
    #[default]
    Ssh,
    /// A step of its own for each host of a Slurm allocation.
    Srun,
    /// `kubectl exec`; hosts are names of pods.
    Kubectl,
    /// These words, then the host, then the command.
    Agent(Vec<String>),
}

/// What this program is on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It starts ranks.
    Daemon,
    /// It looks whether it could.
    Examiner,
}

impl Role {
    /// The subcommand.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Examiner => "examine",
        }
    }
}

/// How other hosts are started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) way: Way,
    /// Words for ssh, put before the host.
    pub(crate) ssh_options: Vec<String>,
    /// Other hosts have the same files as this one: nothing is sent.
    pub(crate) no_ship: bool,
    /// A host that gives no sign of life for so long while it is being started has failed.
    pub(crate) patience: Duration,
}

impl Options {
    /// What the way is called in messages.
    pub(crate) fn name(&self) -> &str {
        match &self.way {
            Way::Ssh => "ssh",
            Way::Srun => "srun",
            Way::Kubectl => "kubectl",
            Way::Agent(words) => words.first().map_or("the agent", String::as_str),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            way: Way::default(),
            ssh_options: Vec::new(),
            no_ship: false,
            patience: Duration::from_secs(12),
        }
    }
}
