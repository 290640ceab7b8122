//! What passes between ranks that nobody launched and the rank that brings them together.

use serde::{Deserialize, Serialize};

use super::{FromRank, ToRank};

/// Who a rank says that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// [`PROTOCOL`](super::PROTOCOL) of its library.
    pub protocol: u32,
    /// World rank.
    pub rank: u32,
    /// Number of ranks in the job, as it was told.
    pub size: u32,
    /// Process id, as the rank sees it.
    pub pid: u32,
    /// Name of its host.
    pub host: String,
    /// Equal for ranks that can reach each other without a network.
    pub node: String,
    /// The processors that it may use, a bit for each, eight to a byte; empty when it does not know, or when its
    /// time on them is limited.
    pub processors: Vec<u8>,
}

/// From a rank to the one that brings them together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToMeeting {
    /// The first message.
    Arrive(Arrival),
    /// What a launched rank would say to its daemon.
    Say(FromRank),
}

/// From the one that brings ranks together to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromMeeting {
    /// The rank cannot take part.
    Refused {
        /// One line.
        reason: String,
    },
    /// What a daemon would say to the rank that it launched.
    Tell(ToRank),
    /// What it means if this connection breaks.
    IfLost {
        /// Exit code of the job.
        code: u8,
        /// What this rank is then to print, if anything.
        line: Option<String>,
    },
    /// The job has failed; the process is to end with this code.
    End {
        /// Exit code of the job.
        code: u8,
    },
    /// All ranks have finalized.
    Over,
}
