//! What can go wrong, and where it did.
//!
//! Every call that communicates returns [`Result`]. An [`Error`] is one line that says what happened,
//! in which operation on which communicator, with which peer on which host, where in the program, after
//! how long, and what can be done about it. [`ErrorKind`] is what a program decides on.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// What calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of error it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A rank outside the communicator. The caller's code is wrong.
    InvalidRank {
        /// What was given; negative numbers appear as such.
        rank: i64,
        /// Ranks of the communicator.
        size: usize,
    },
    /// A tag outside `0..=2^63-1`, or `Tag::Any` where a message is sent. The caller's code is wrong.
    InvalidTag {
        /// What was given; negative numbers appear as such. `None` is `Tag::Any`.
        tag: Option<i64>,
    },
    /// Lengths of the arguments do not fit each other. The caller's code is wrong.
    InvalidArgument {
        /// What does not fit.
        reason: String,
    },
    /// The message is longer than the buffer.
    Truncated {
        /// Elements in the message.
        sent: usize,
        /// Elements that fit.
        capacity: usize,
    },
    /// The elements of the message are of another type than the receiver asked for.
    WrongType {
        /// The type that was asked for.
        expected: &'static str,
    },
    /// The bytes of an object message do not decode as the type that was asked for.
    Object {
        /// What the decoder or encoder says.
        reason: String,
    },
    /// Ranks called different collectives.
    Mismatch {
        /// What is known of the difference.
        reason: String,
    },
    /// A rank died, or left before it did its part.
    PeerGone {
        /// Rank in the world communicator.
        world_rank: usize,
        /// How it ended.
        cause: String,
    },
    /// A rank has revoked the communicator: nothing can be done with it any more but to agree and to shrink.
    Revoked,
    /// The sender took the message back.
    Withdrawn,
    /// The time limit of the communicator passed.
    Timeout,
    /// A peer sent bytes that make no sense, or runs another version.
    Wire {
        /// What was wrong.
        reason: String,
    },
    /// A peer could not prove that it belongs to the job.
    Authentication {
        /// What was wrong.
        reason: String,
    },
    /// No connection to a peer could be established.
    Unreachable {
        /// What was tried.
        reason: String,
    },
    /// There is not enough memory for a message.
    OutOfMemory {
        /// Bytes that were needed.
        bytes: u64,
    },
    /// The runtime was finalized before.
    Finalized,
    /// The process could not join a job.
    Start {
        /// What was wrong and what to do.
        reason: String,
    },
    /// The operating system refused something.
    System {
        /// What was tried and what it said.
        reason: String,
    },
}

/// An error with its circumstances.
#[derive(Clone)]
pub struct Error(Box<Details>);

#[derive(Clone)]
struct Details {
    kind: ErrorKind,
    operation: &'static str,
    communicator: Option<String>,
    peer: Option<(usize, String)>,
    tag: Option<u64>,
    site: Option<&'static Location<'static>>,
    elapsed: Option<Duration>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Details {
            kind,
            operation,
            communicator: None,
            peer: None,
            tag: None,
            site: None,
            elapsed: None,
        }))
    }

    pub(crate) fn at(mut self, site: &'static Location<'static>) -> Self {
        self.0.site = Some(site);
        self
    }

    /// The same circumstances of something else.
    pub(crate) fn recast(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn on(mut self, communicator: &str) -> Self {
        self.0.communicator = Some(communicator.to_owned());
        self
    }

    pub(crate) fn with_peer(mut self, rank: usize, host: &str) -> Self {
        self.0.peer = Some((rank, host.to_owned()));
        self
    }

    pub(crate) fn with_tag(mut self, tag: Option<u64>) -> Self {
        self.0.tag = tag;
        self
    }

    pub(crate) fn after(mut self, elapsed: Duration) -> Self {
        self.0.elapsed = Some(elapsed);
        self
    }

    /// What sort of error it is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The operation that failed, by the name of its method.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The other rank, as a rank of the communicator, if there is one.
    pub fn peer(&self) -> Option<usize> {
        self.0.peer.as_ref().map(|(rank, _)| *rank)
    }

    /// Where in the program the operation was called.
    pub fn site(&self) -> Option<&'static Location<'static>> {
        self.0.site
    }

    /// How long the operation had taken.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRank { rank, size } => {
                write!(
                    f,
                    "there is no rank {rank}: ranks go from 0 to {}",
                    size - 1
                )
            }
            Self::InvalidTag { tag: None } => {
                f.write_str("Tag::Any is for receiving: a message is sent with one tag")
            }
            Self::InvalidTag { tag: Some(tag) } => {
                write!(f, "tag {tag} is out of range: tags go from 0 to 2^63-1")
            }
            Self::InvalidArgument { reason }
            | Self::Object { reason }
            | Self::Mismatch { reason }
            | Self::Wire { reason }
            | Self::Authentication { reason }
            | Self::Unreachable { reason }
            | Self::Start { reason }
            | Self::System { reason } => f.write_str(reason),
            Self::Truncated { sent, capacity } => write!(
                f,
                "the message has {sent} elements, the buffer holds {capacity}: \
                 give a larger buffer, or use recv_vec, which makes its own"
            ),
            Self::WrongType { expected } => write!(
                f,
                "the message does not hold elements of type {expected}: \
                 sender and receiver must name the same type"
            ),
            Self::PeerGone { world_rank, cause } => write!(f, "rank {world_rank} {cause}"),
            Self::Withdrawn => f.write_str("the sender gave the message up before it was complete"),
            Self::Revoked => f.write_str(
                "the communicator was revoked, as ranks do after a failure: go on with shrink()",
            ),
            Self::Timeout => f.write_str("the time limit passed"),
            Self::OutOfMemory { bytes } => {
                write!(f, "there is no memory for a message of {bytes} bytes")
            }
            Self::Finalized => f.write_str("the runtime was finalized before this call"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &self.0;
        write!(f, "{}: {}", details.operation, details.kind)?;
        let mut facts = Vec::new();
        if let Some((rank, host)) = &details.peer {
            facts.push(format!("peer rank {rank} on {host}"));
        }
        if let Some(tag) = details.tag {
            facts.push(format!("tag {tag}"));
        }
        if let Some(communicator) = &details.communicator {
            facts.push(format!("communicator {communicator}"));
        }
        if let Some(elapsed) = details.elapsed {
            facts.push(format!("after {:.3} s", elapsed.as_secs_f64()));
        }
        if !facts.is_empty() {
            write!(f, " ({})", facts.join(", "))?;
        }
        if let Some(site) = details.site {
            write!(f, " at {}:{}:{}", site.file(), site.line(), site.column())?;
        }
        Ok(())
    }
}

/// The same line as `Display`: `main` prints errors with `Debug`, and users should not have to read a
/// structure.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_circumstances() {
        let error = Error::new(
            ErrorKind::Truncated {
                sent: 5,
                capacity: 3,
            },
            "recv_into",
        )
        .with_peer(2, "alpha")
        .with_tag(Some(7))
        .on("world")
        .after(Duration::from_millis(1500))
        .at(Location::caller());
        let text = error.to_string();
        assert!(text.starts_with("recv_into: the message has 5 elements, the buffer holds 3"));
        assert!(text.contains("(peer rank 2 on alpha, tag 7, communicator world, after 1.500 s)"));
        assert!(text.contains("error.rs:"));
        assert!(!text.contains('\n'));
        assert_eq!(format!("{error:?}"), text);
    }
}
