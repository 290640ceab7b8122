//! Control messages: launcher to daemon to rank, and back.
//!
//! Each travels as a little-endian `u32` length followed by the message in postcard form. One
//! daemon runs on every host. It talks to the launcher over a byte stream (its standard input and
//! output, whether it was started locally or through ssh) and to each of its ranks over a socket
//! that the rank inherits. The first message in each direction names the protocol version.
//!
//! This module is public for the launcher only; it promises no stability to others.

mod framing;

use serde::{Deserialize, Serialize};

pub use framing::{ControlError, Decoder, encode};

use crate::base::ids::JobId;

/// The version of everything in this module and of the frame header; both sides must agree exactly.
pub const PROTOCOL: u32 = 2;

/// Environment variable that holds the number of the inherited control descriptor.
pub const CONTROL_FD_VARIABLE: &str = "PHALANX_CONTROL_FD";

/// Output that a daemon may have sent to the launcher, of one stream of all its ranks, before the
/// launcher has taken it. So a slow reader of the output stops the ranks that print, and nothing
/// else: other control messages keep flowing.
pub const OUTPUT_WINDOW_BYTES: usize = 512 * 1024;

/// Input that the launcher may have sent before rank 0 has taken it.
pub const INPUT_WINDOW_BYTES: usize = 256 * 1024;

/// The secret that the processes of one job share. Never printed, never in argv or environment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Which transport connects ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransportChoice {
    /// The best one for each pair: shared memory within a host (Unix sockets where the operating system
    /// does not allow it), TCP between hosts.
    #[default]
    Auto,
    /// Unix sockets; the job must fit on one host.
    Unix,
    /// TCP everywhere, over the loopback interface within a host.
    Tcp,
    /// Shared memory; the job must fit on one host.
    Shm,
}

/// Where the ranks of the job run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMap {
    /// Host names, in the order of the nodes.
    pub hosts: Vec<String>,
    /// For each rank the index of its host.
    pub node_of: Vec<u32>,
}

/// The first message from the daemon to a rank: all that it needs to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL`] of the launcher.
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
    /// How they talk.
    pub transport: TransportChoice,
    /// Descriptor of the memory that the ranks of this host share, inherited; none with other transports.
    pub shared: Option<i32>,
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
}

/// From a rank to its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRank {
    /// The rank has called `init`. Sent once, before anything else.
    Join {
        /// [`PROTOCOL`] of the library in the program.
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
    /// End the whole job with this exit code.
    Abort {
        /// Exit code of the job, 1..=255.
        code: u8,
        /// Why.
        message: String,
    },
}

/// What sort of error a rank ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// An error of the program, or a wrong use of the library.
    Program,
    /// The consequence of another rank's end: never the first cause.
    PeerGone,
    /// Collectives that do not match.
    Mismatch,
    /// A time limit of the program.
    Timeout,
    /// Bytes that make no sense, or another version.
    Wire,
    /// A peer that could not prove that it belongs to the job.
    Authentication,
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
    /// Its host was lost.
    HostLost,
}

/// The ranks that one daemon starts, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// [`PROTOCOL`] of the launcher.
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
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables set on top of the environment that the daemon has.
    pub environment: Vec<(String, String)>,
    /// Working directory.
    pub directory: Option<String>,
    /// Time between the polite and the final signal when ranks are ended.
    pub kill_grace_millis: u64,
    /// Instead of ranks, one process that runs this many ranks as its threads; it gets no control
    /// stream and is spoken of as rank 0.
    pub threads: Option<u32>,
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
    /// Standard input for rank 0; empty at its end.
    Input(#[serde(with = "raw_bytes")] Vec<u8>),
    /// End all ranks: SIGTERM, and after the grace SIGKILL. At once when `now`.
    End {
        /// Without grace.
        now: bool,
    },
    /// So many bytes of output were taken; see [`OUTPUT_WINDOW_BYTES`].
    Taken {
        /// Of which stream.
        stream: Stream,
        /// How many.
        bytes: u32,
    },
}

/// One of the two output streams of a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
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
        /// [`PROTOCOL`] of the daemon.
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
        #[serde(with = "raw_bytes")]
        bytes: Vec<u8>,
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
    /// Rank 0 took so many bytes of its input; see [`INPUT_WINDOW_BYTES`].
    InputTaken {
        /// How many.
        bytes: u32,
    },
    /// Nobody will read any more input.
    InputClosed,
}

/// Byte strings in one piece. On the wire this is the same as a sequence of `u8`.
mod raw_bytes {
    use std::fmt;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }

        from.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests;
