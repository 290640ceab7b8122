//! Control messages: launcher to daemon to rank, and back.
//!
//! Each travels as a little-endian `u32` length followed by the message in postcard form. One
//! daemon runs on every host. It talks to the launcher over a byte stream (its standard input and
//! output, whether it was started locally or through ssh) and to each of its ranks over a socket
//! that the rank inherits. The first message in each direction names the protocol version.
//!
//! This module is public for the launcher only; it promises no stability to others.

use serde::{Deserialize, Serialize};

use crate::base::ids::JobId;
use crate::limits::CONTROL_FRAME_BYTES_MAX;

/// The version of everything in this module and of the frame header; both sides must agree exactly.
pub const PROTOCOL: u32 = 1;

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
    /// The best one for each pair: Unix sockets within a host, TCP between hosts.
    #[default]
    Auto,
    /// Unix sockets; the job must fit on one host.
    Unix,
    /// TCP everywhere, over the loopback interface within a host.
    Tcp,
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

/// Why bytes are not a control message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The announced length is beyond the limit.
    #[error("control message of {0} bytes is longer than the limit of {CONTROL_FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// The bytes do not decode.
    #[error("control message does not decode: {0}")]
    Malformed(postcard::Error),
    /// Bytes were left over after the message.
    #[error("control message has {0} bytes too many")]
    Surplus(usize),
}

/// The framed bytes of a message.
///
/// # Errors
///
/// When the message is longer than [`CONTROL_FRAME_BYTES_MAX`].
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, ControlError> {
    let mut bytes = postcard::to_extend(message, vec![0_u8; 4]).map_err(ControlError::Malformed)?;
    let length = bytes.len() - 4;
    if length > CONTROL_FRAME_BYTES_MAX {
        return Err(ControlError::TooLong(length));
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Takes messages out of a stream of bytes that arrives in arbitrary pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds bytes from the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one.
    ///
    /// # Errors
    ///
    /// When the stream does not make sense; it must not be read any further.
    #[expect(
        clippy::should_implement_trait,
        reason = "generic in the message, so it cannot be an iterator's"
    )]
    pub fn next<M: for<'a> Deserialize<'a>>(&mut self) -> Result<Option<M>, ControlError> {
        let rest = &self.bytes[self.taken..];
        let Some((prefix, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > CONTROL_FRAME_BYTES_MAX {
            return Err(ControlError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let (message, surplus) =
            postcard::take_from_bytes(body).map_err(ControlError::Malformed)?;
        if !surplus.is_empty() {
            return Err(ControlError::Surplus(surplus.len()));
        }
        self.taken += 4 + length;
        Ok(Some(message))
    }

    /// Whether bytes of an unfinished message are held.
    pub fn is_inside_message(&self) -> bool {
        self.taken < self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples() -> Vec<FromRank> {
        vec![
            FromRank::Join {
                protocol: PROTOCOL,
                pid: 7,
                addresses: vec!["127.0.0.1:9".into()],
            },
            FromRank::Watch { ranks: vec![] },
            FromRank::Abort {
                code: 9,
                message: "enough".into(),
            },
        ]
    }

    #[test]
    fn the_bytes_of_a_message_are_fixed() {
        let join = encode(&samples()[0]).expect("short");
        assert_eq!(join, b"\x10\0\0\0\x00\x01\x07\x01\x0b127.0.0.1:9");
    }

    #[test]
    fn messages_survive_any_fragmentation() {
        let stream: Vec<u8> = samples()
            .iter()
            .flat_map(|message| encode(message).expect("short"))
            .collect();
        for piece in 1..stream.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for bytes in stream.chunks(piece) {
                decoder.extend(bytes);
                while let Some(message) = decoder.next::<FromRank>().expect("well-formed") {
                    seen.push(message);
                }
            }
            assert_eq!(seen, samples());
            assert!(!decoder.is_inside_message());
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_anything_is_kept_for_it() {
        let mut decoder = Decoder::default();
        decoder.extend(&u32::MAX.to_le_bytes());
        assert_eq!(
            decoder.next::<FromRank>(),
            Err(ControlError::TooLong(u32::MAX as usize))
        );
    }

    #[test]
    fn byte_strings_are_a_length_and_the_bytes() {
        let printed = FromDaemon::Printed {
            rank: 3,
            stream: Stream::Error,
            bytes: b"hi\n".to_vec(),
        };
        let bytes = encode(&printed).expect("short");
        assert_eq!(bytes, b"\x07\0\0\0\x04\x03\x01\x03hi\n");
        let mut decoder = Decoder::default();
        decoder.extend(&bytes);
        assert_eq!(decoder.next::<FromDaemon>(), Ok(Some(printed)));
        let input = encode(&ToDaemon::Input(vec![1, 2])).expect("short");
        assert_eq!(input, b"\x04\0\0\0\x03\x02\x01\x02");
    }

    #[test]
    fn the_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret([7; 32])), "Secret(..)");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.extend(&bytes);
            while let Ok(Some(_)) = decoder.next::<FromDaemon>() {}
            let mut decoder = Decoder::default();
            decoder.extend(&bytes);
            while let Ok(Some(_)) = decoder.next::<ToDaemon>() {}
        }
    }
}
