//! What a rank says of its calls when it ends, so that they can be compared with those of the others.

use serde::{Deserialize, Serialize};

/// A rank's account of itself, given before it finalizes or fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Where it finalized, `file:line:column`; none when the last handle was dropped, or when it failed.
    pub site: Option<String>,
    /// It begins no more collectives: it has finalized, and nothing of it had failed.
    pub complete: bool,
    /// Collectives that it has begun on each communicator: message space and number.
    pub begun: Vec<(u64, u64)>,
    /// The last collectives that it has begun.
    pub calls: Vec<Call>,
    /// Messages that it never received, in groups.
    pub unmatched: Vec<Unmatched>,
    /// Groups of such messages that are not listed.
    pub unmatched_more: u64,
    /// Operations that were begun and never waited for.
    pub unfinished: u64,
    /// Where some of them were begun: `file:line:column`, each place once.
    pub unfinished_at: Vec<String>,
    /// Messages of the program to and from each peer.
    pub traffic: Vec<super::Traffic>,
    /// In strict mode: receives from any source that could have taken messages of several ranks.
    pub races: Vec<Race>,
}

/// A collective that a rank has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Message space.
    pub context: u64,
    /// Its number there.
    pub sequence: u64,
    /// What all must agree on.
    pub signature: u64,
    /// The call in words, with its place.
    pub words: String,
}

/// Messages that a rank never received, alike in all of this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    /// Message space.
    pub context: u64,
    /// World rank of the sender.
    pub source: u32,
    /// The tag.
    pub tag: u64,
    /// How many messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A receive from any source for which messages of several ranks were waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Race {
    /// The tag that it asked for; any when none.
    pub tag: Option<u64>,
    /// World ranks of the senders.
    pub sources: Vec<u32>,
    /// Where it was called: `file:line:column`.
    pub site: String,
}
