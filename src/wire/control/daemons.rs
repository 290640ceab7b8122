//! What passes between the launcher and its daemons.

use serde::{Deserialize, Serialize};

use super::{FromRank, NodeMap, Secret, ToRank, TransportChoice, bytes};
use crate::base::ids::JobId;

/// The ranks that one daemon starts, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// [`PROTOCOL`](super::PROTOCOL) of the launcher.
    pub protocol: u32,
    /// The job.
    pub job: JobId,
    /// What its processes share.
    pub secret: Secret,
    /// The life of the job.
    pub epoch: u16,
    /// Number of ranks in the whole job.
    pub size: u32,
    /// Where each of them runs.
    pub nodes: NodeMap,
    /// Index in `nodes.hosts` of the host of this daemon.
    pub node: u32,
    /// How ranks talk.
    pub transport: TransportChoice,
    /// What ranks run: one program, or several with consecutive ranks each, the first from rank 0 on.
    pub programs: Vec<Program>,
    /// Which ranks get the launcher's standard input.
    pub input: InputFor,
    /// To which processors ranks are bound.
    pub binding: Binding,
    /// Say of each rank what it is bound to.
    pub report_bindings: bool,
    /// Time between the polite and the final signal when ranks are ended.
    pub kill_grace_millis: u64,
    /// Instead of ranks, one process that runs this many ranks as its threads; it gets no control
    /// stream and is spoken of as rank 0.
    pub threads: Option<u32>,
    /// Files that the host gets from the launcher.
    pub files: Vec<SentFile>,
}

impl Assignment {
    /// The place in `programs` of what a rank runs.
    pub fn program_of(&self, rank: u32) -> usize {
        let begun = self
            .programs
            .partition_point(|program| program.first_rank <= rank);
        begun.saturating_sub(1)
    }
}

/// What some of the ranks run, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The lowest of its ranks.
    pub first_rank: u32,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables set on top of the environment that the daemon has.
    pub environment: Vec<(String, String)>,
    /// Working directory.
    pub directory: Option<String>,
    /// It must exist on this host; otherwise the home directory takes its place.
    pub directory_required: bool,
    /// Which of the files of the assignment is the program; otherwise the host has it.
    pub sent: Option<u32>,
}

/// To which processors the ranks of a host are bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// They may use all that the daemon may use.
    #[default]
    Free,
    /// Each has a core of its own; it is an error when there are too few.
    Core,
    /// The same when there are enough, and no limit on processor time says that others use them too.
    Auto,
}

/// Which ranks get the launcher's standard input; the others get an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputFor {
    /// None of them.
    Nobody,
    /// This one.
    Rank(u32),
    /// Each of them gets all of it.
    Everybody,
}

impl InputFor {
    /// Whether this rank gets it.
    pub fn reaches(self, rank: u32) -> bool {
        match self {
            Self::Nobody => false,
            Self::Rank(one) => one == rank,
            Self::Everybody => true,
        }
    }
}

/// A file that the launcher has and a host may need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentFile {
    /// Its name for the ranks, relative to their working directory.
    pub name: String,
    /// The hash of its contents.
    pub hash: u128,
    /// Its length.
    pub bytes: u64,
}

/// From the launcher to a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDaemon {
    /// Start these ranks. Sent once, first.
    Start(Box<Assignment>),
    /// For one of your ranks.
    ToRank {
        /// World rank of the addressee.
        rank: u32,
        /// The message.
        message: ToRank,
    },
    /// Send this signal to all your ranks.
    Signal(i32),
    /// Standard input for those of your ranks that get it; empty at its end.
    Input(#[serde(with = "bytes")] Vec<u8>),
    /// End all ranks: SIGTERM, and after the grace SIGKILL. At once when `now`.
    End {
        /// Without grace.
        now: bool,
    },
    /// What do your ranks seem to do? Answered with [`FromDaemon::Glances`].
    Glance,
    /// So many bytes of output were taken; see [`OUTPUT_WINDOW_BYTES`](super::OUTPUT_WINDOW_BYTES).
    Taken {
        /// Of which stream.
        stream: Stream,
        /// How many.
        bytes: u32,
    },
    /// The next piece of the file that was asked for.
    File(#[serde(with = "bytes")] Vec<u8>),
    /// The launcher is there. A daemon that has heard this once and then hears nothing for so long is cut off, and
    /// ends its ranks.
    Beat {
        /// Longest silence.
        fence_millis: u64,
    },
    /// The launcher is about to be stopped: silence means nothing until it speaks again.
    Quiet,
}

/// One of the two output streams of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What can be seen of a rank from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    /// World rank.
    pub rank: u32,
    /// Its process is stopped, as by SIGSTOP or a debugger.
    pub stopped: bool,
    /// Its last call that had to wait: `allreduce #812 at solve.rs:57:9`.
    pub last: Option<String>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// From a daemon to the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromDaemon {
    /// First message.
    Hello {
        /// [`PROTOCOL`](super::PROTOCOL) of the daemon.
        protocol: u32,
        /// Name of the host, as it calls itself.
        host: String,
        /// Process id of the daemon.
        pid: u32,
    },
    /// A rank runs.
    Started {
        /// World rank.
        rank: u32,
        /// Process id on its host.
        pid: u32,
    },
    /// A rank could not be started; none of this daemon's ranks runs.
    StartFailed {
        /// World rank.
        rank: u32,
        /// Whether the program itself was not found.
        missing: bool,
        /// One line.
        message: String,
    },
    /// A rank says this.
    FromRank {
        /// World rank.
        rank: u32,
        /// The message.
        message: FromRank,
    },
    /// A rank printed this.
    Printed {
        /// World rank.
        rank: u32,
        /// To which stream.
        stream: Stream,
        /// What; empty at the end of the stream.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// Answer to [`ToDaemon::Glance`]: all ranks of this daemon that live.
    Glances(Vec<Glance>),
    /// A rank will not do anything any more; its process has not been taken down yet.
    Died {
        /// World rank.
        rank: u32,
    },
    /// What is known of a rank that did not end well. It comes before its end.
    Traces {
        /// World rank.
        rank: u32,
        /// Its last call that had to wait: `allreduce #812 at solve.rs:57:9`.
        last: Option<String>,
        /// The system killed a process of this group because memory was short.
        out_of_memory: bool,
    },
    /// A rank's process ended. Its output may still follow.
    Exited {
        /// World rank.
        rank: u32,
        /// How.
        exit: Exit,
    },
    /// All ranks have ended and all their output was forwarded; the daemon leaves.
    Done,
    /// How many bytes of the input ranks of this daemon took since the job began; see
    /// [`INPUT_WINDOW_BYTES`](super::INPUT_WINDOW_BYTES) and [`INPUT_LAG_BYTES_MAX`](super::INPUT_LAG_BYTES_MAX).
    InputTaken {
        /// The one that took most.
        most: u64,
        /// The one that took least of those that may still read.
        least: u64,
        /// The rank that took least.
        laggard: u32,
    },
    /// None of this daemon's ranks will read any more input.
    InputClosed,
    /// Send this file of the assignment.
    NeedFile {
        /// Its place there.
        file: u32,
    },
    /// So many bytes of a file were kept; see [`FILE_WINDOW_BYTES`](super::FILE_WINDOW_BYTES).
    FileTaken {
        /// How many.
        bytes: u32,
    },
    /// The daemon is there.
    Beat,
    /// The user should know this.
    Note {
        /// One line.
        message: String,
    },
    /// Somebody there has told the daemon to end, and it ends its ranks.
    Cancelled,
}
