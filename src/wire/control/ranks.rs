//! What passes between a daemon and one of its ranks.

use serde::{Deserialize, Serialize};

use super::{Account, Answer, NodeMap, Secret, TransportChoice};
use crate::base::ids::JobId;

/// The first message from the daemon to a rank: all that it needs to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL`](super::PROTOCOL) of the launcher.
    pub protocol: u32,
    /// The job.
    pub job: JobId,
    /// What its processes share.
    pub secret: Secret,
    /// The life of the job.
    pub epoch: u16,
    /// Rank in the world communicator.
    pub rank: u32,
    /// Number of ranks in the job.
    pub size: u32,
    /// Where each of them runs.
    pub nodes: NodeMap,
    /// The lowest rank of each program, in order; empty when all run the same one.
    pub programs: Vec<u32>,
    /// How they talk.
    pub transport: TransportChoice,
    /// Processors that the ranks of this host may use together, where somebody knows it: a rank that is bound to
    /// one sees only that.
    pub cores: Option<u32>,
    /// Descriptor of the memory that the ranks of this host share, inherited; none with other transports.
    pub shared: Option<i32>,
    /// Descriptor of the black boxes of this host, inherited.
    pub boxes: Option<i32>,
}

/// From a daemon to one of its ranks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRank {
    /// The first message, written before the rank is started.
    Welcome(Box<Welcome>),
    /// Answer to [`FromRank::Lookup`]: where `rank` listens (`ip:port`).
    Address {
        /// The rank that was asked for.
        rank: u32,
        /// The addresses, best first.
        addresses: Vec<String>,
    },
    /// A rank that was watched, or died, will not answer any more.
    Gone(Departure),
    /// All ranks are to give up what they do on a communicator.
    Revoked {
        /// The message space of the communicator.
        context: u64,
    },
    /// What [`FromRank::Agree`] of all members has come to.
    Agreed(Agreed),
    /// What do you wait for? Answered with [`FromRank::Answer`] once there is nothing to do but to wait.
    Ask {
        /// The number of the question.
        number: u32,
    },
}

/// From a rank to its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRank {
    /// The rank has called `init`. Sent once, before anything else.
    Join {
        /// [`PROTOCOL`](super::PROTOCOL) of the library in the program.
        protocol: u32,
        /// Process id, as the rank sees it.
        pid: u32,
        /// Where it listens for TCP (`ip:port`), if it does.
        addresses: Vec<String>,
    },
    /// Where does this rank listen? Answered when it is known.
    Lookup {
        /// The rank that is asked for.
        rank: u32,
    },
    /// Tell me when one of these ranks is gone; of all ranks when empty. Answered once for each.
    Watch {
        /// World ranks.
        ranks: Vec<u32>,
    },
    /// What the rank has called; before `Finalized` or `Failed`.
    Account(Box<Account>),
    /// Everything was sent; the rank takes no further part.
    Finalized,
    /// A thread of the rank panicked. The process may still live; this explains its end if not.
    Panicked {
        /// The panic's message.
        message: String,
        /// `file:line:column`.
        location: String,
    },
    /// The rank ends with an error, which this message explains.
    Failed {
        /// One line.
        message: String,
        /// The kind of error, for the exit code.
        class: FailureClass,
    },
    /// Whether this rank goes on when others fail.
    Policy {
        /// It does.
        returns: bool,
    },
    /// All ranks are to give up what they do on a communicator.
    Revoke {
        /// The message space of the communicator.
        context: u64,
    },
    /// This rank's part of an agreement, which is decided when all members that live have said theirs.
    Agree {
        /// The message space of the communicator.
        context: u64,
        /// The number of this agreement there.
        sequence: u64,
        /// World ranks of all members.
        members: Vec<u32>,
        /// The bits that are combined by AND.
        flags: u64,
    },
    /// A blocking operation has lasted for long, with nothing happening.
    Blocked,
    /// Answer to [`ToRank::Ask`].
    Answer(Box<Answer>),
    /// End the whole job with this exit code.
    Abort {
        /// Exit code of the job, 1..=255.
        code: u8,
        /// Why.
        message: String,
    },
}

/// What the members of a communicator have agreed on: the same for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The message space of the communicator.
    pub context: u64,
    /// The number of the agreement there.
    pub sequence: u64,
    /// The AND of what the members that took part have said.
    pub flags: u64,
    /// World ranks of the members that have failed.
    pub failed: Vec<u32>,
}

/// What sort of error a rank ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// An error of the program, or a wrong use of the library.
    Program,
    /// The consequence of another rank's end: never the first cause.
    PeerGone,
    /// It waited for a rank that had finalized: one of the two lacks a call, or has one too many.
    Deserted {
        /// The rank that had finalized.
        rank: u32,
    },
    /// Collectives that do not match.
    Mismatch,
    /// A time limit of the program.
    Timeout,
    /// Bytes that make no sense, or another version.
    Wire,
    /// A peer that could not prove that it belongs to the job.
    Authentication,
}

impl FailureClass {
    /// The exit code of a job that such a failure ends; none where it is the program's own.
    pub const fn exit_code(self) -> Option<u8> {
        match self {
            Self::Program | Self::PeerGone => None,
            Self::Mismatch | Self::Deserted { .. } => Some(73),
            Self::Timeout => Some(75),
            Self::Wire => Some(76),
            Self::Authentication => Some(77),
        }
    }
}

/// How a rank left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// World rank.
    pub rank: u32,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// How its process ended.
    pub cause: Cause,
}

/// Why a rank is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It finalized, and either ended with exit code 0 or lives on by itself.
    Finalized,
    /// It ended with this exit code; `finalized` says whether it had finalized before.
    Exited {
        /// The exit code.
        code: u8,
        /// Whether `Finalized` came first.
        finalized: bool,
    },
    /// A signal ended it.
    Killed {
        /// Number of the signal.
        signal: u8,
    },
    /// It panicked.
    Panicked {
        /// The panic's message.
        message: String,
        /// `file:line:column`.
        location: String,
    },
    /// It ended with an error of its own.
    Failed {
        /// One line.
        message: String,
    },
    /// It has ended; how is not known yet.
    Died,
    /// Its host was lost.
    HostLost,
}
