//! What ranks that wait for long say of themselves when they are asked.

use serde::{Deserialize, Serialize};

/// A rank's answer to [`ToRank::Ask`](super::ToRank::Ask), given when it has nothing to do but to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the question.
    pub number: u32,
    /// What its threads wait for. Empty when none is in a blocking operation for long.
    pub waits: Vec<Wait>,
    /// Other threads of its process that may still do something by themselves.
    pub free_threads: u32,
    /// Grows whenever anything happens inside the rank.
    pub activity: u64,
    /// Message spaces (for collectives) of its communicators, and how many collectives it has begun there.
    pub begun: Vec<(u64, u64)>,
    /// `begun` names every communicator that the rank ever had.
    pub begun_is_complete: bool,
    /// Frames exchanged with peers, where they may be under way for long.
    pub traffic: Vec<Traffic>,
}

/// Frames between a rank and one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// World rank of the peer.
    pub peer: u32,
    /// Frames to it.
    pub sent: u64,
    /// Frames from it.
    pub received: u64,
}

/// One blocking operation of a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Tells it from every other one of this rank.
    pub id: u64,
    /// How long it has lasted.
    pub millis: u64,
    /// It has a time limit, after which the rank goes on.
    pub limited: bool,
    /// What was called, in words.
    pub operation: String,
    /// The communicator, by its name; none when it is the world.
    pub on: Option<String>,
    /// Where it was called: `file:line:column`.
    pub site: String,
    /// What has to happen.
    pub awaits: Awaits,
}

/// What ends a wait. Ranks are those of the world; a list of members that is empty means all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaits {
    /// A message from this rank, or from any member.
    Message {
        /// Message space.
        context: u64,
        /// The sender; any when none.
        source: Option<u32>,
        /// The tag; any when none.
        tag: Option<u64>,
        /// Who might send.
        members: Vec<u32>,
    },
    /// That this rank receives.
    Receiver {
        /// The receiver.
        rank: u32,
        /// The tag.
        tag: u64,
    },
    /// That all these ranks receive what was sent to them before.
    Receivers {
        /// The receivers.
        ranks: Vec<u32>,
    },
    /// That all members take part in a collective.
    Collective {
        /// Message space.
        context: u64,
        /// Its number there.
        sequence: u64,
        /// What all must agree on.
        signature: u64,
        /// Who takes part.
        members: Vec<u32>,
    },
    /// That all members take part in an agreement.
    Agreement {
        /// Message space.
        context: u64,
        /// Its number there.
        sequence: u64,
        /// Who takes part.
        members: Vec<u32>,
    },
    /// What happens by itself: a transfer under way, an operation that is over.
    Itself,
}
