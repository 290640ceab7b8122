//! What the doctor and those who examine hosts for it say to each other.

use std::net::SocketAddr;

use phalanx::base::ids::JobId;
use phalanx::wire::control::Secret;
use serde::{Deserialize, Serialize};

/// What is looked at, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    /// Whether a program can be started there at all.
    Start,
    /// Which phalanx answers.
    Phalanx,
    /// System, processor, C library.
    System,
    /// The difference of the clocks.
    Clock,
    /// The directory that keeps what is sent.
    Cache,
    /// The directory for everybody's temporary files.
    Temporary,
    /// Processors that may be used.
    Cores,
    /// How many files a process may open.
    OpenFiles,
    /// How many processes there may be.
    Processes,
    /// How much memory may be locked.
    LockedMemory,
    /// Memory that ranks of a host share.
    SharedMemory,
    /// Long messages copied straight out of another rank's memory.
    SingleCopy,
    /// Where other hosts can reach ranks.
    Addresses,
    /// Connections from one host to another.
    Connections,
}

impl Check {
    /// As it is shown.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Phalanx => "phalanx",
            Self::System => "system",
            Self::Clock => "clock",
            Self::Cache => "cache",
            Self::Temporary => "temporary files",
            Self::Cores => "cores",
            Self::OpenFiles => "open files",
            Self::Processes => "processes",
            Self::LockedMemory => "locked memory",
            Self::SharedMemory => "shared memory",
            Self::SingleCopy => "single copy",
            Self::Addresses => "addresses",
            Self::Connections => "connections",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Jobs run, but not as well as they could.
    Warning,
    /// Jobs fail, or some of them.
    Wrong,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
        }
    }
}

/// What was found, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) state: State,
    /// In one line.
    pub(crate) found: String,
    /// How to mend it; empty when there is nothing to mend.
    pub(crate) mend: String,
}

impl Finding {
    pub(crate) fn ok(found: impl Into<String>) -> Self {
        Self {
            state: State::Ok,
            found: found.into(),
            mend: String::new(),
        }
    }

    pub(crate) fn warning(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            state: State::Warning,
            found: found.into(),
            mend: mend.into(),
        }
    }

    pub(crate) fn wrong(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            state: State::Wrong,
            found: found.into(),
            mend: mend.into(),
        }
    }
}

/// To the one who examines a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToExaminer {
    /// Look at everything. Sent once, first; answered with [`FromExaminer::Examined`].
    Examine(Box<Task>),
    /// What is the time? May be asked at any moment.
    Clock,
    /// Try to reach all of these. Answered with [`FromExaminer::Connected`].
    Connect(Vec<Target>),
}

/// What an examiner has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Its own number.
    pub(crate) host: u32,
    /// How many hosts there are.
    pub(crate) hosts: u32,
    /// Ranks that this host would run.
    pub(crate) slots: u32,
    /// Ranks that all hosts would run.
    pub(crate) ranks: u32,
    /// Examiners prove to each other that they belong together, as ranks do.
    pub(crate) job: JobId,
    pub(crate) secret: Secret,
    /// As in `--interface`.
    pub(crate) interface: Option<String>,
    /// As in `--ports`.
    pub(crate) ports: Option<(u16, u16)>,
}

/// A host that should be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) host: u32,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// From the one who examines a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromExaminer {
    /// First message. It is short: see [`Link::hear`](crate::launch::link::Link::hear).
    Hello {
        /// [`PROTOCOL`](phalanx::wire::control::PROTOCOL) of its library.
        protocol: u32,
        /// Its version.
        version: String,
        /// Name of the host, as it calls itself.
        host: String,
    },
    /// The time: nanoseconds since the beginning of 1970.
    Clock(i128),
    /// What was found.
    Examined(Box<Report>),
    /// How the attempts to reach others went.
    Connected(Vec<Attempt>),
}

/// What a host was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// System, release and processor.
    pub(crate) system: String,
    /// Such as `glibc 2.36`; empty when it is not known.
    pub(crate) c_library: String,
    pub(crate) findings: Vec<(Check, Finding)>,
    /// Where it listens for the others.
    pub(crate) listens_at: Vec<SocketAddr>,
}

/// One attempt to reach another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) to: u32,
    pub(crate) address: SocketAddr,
    pub(crate) outcome: Outcome,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Connected, and it was the right one, after so long.
    Reached { micros: u64 },
    /// No answer within a deadline.
    Silence,
    /// A clear no.
    Refused,
    /// Somebody else has answered, or nothing that makes sense.
    Stranger,
    /// Anything else, in the words of the operating system.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx::wire::control::{PROTOCOL, encode};

    #[test]
    fn the_first_message_is_too_short_to_be_taken_for_the_script() {
        let hello = FromExaminer::Hello {
            protocol: PROTOCOL,
            version: "100.100.100-a-long-one".to_owned(),
            host: "h".repeat(64),
        };
        let bytes = encode(&hello).expect("short");
        assert!(bytes.len() < usize::from(b'p'), "{}", bytes.len());
    }
}
