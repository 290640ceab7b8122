//! Signatures of collectives: catches ranks that call different ones.
//!
//! Every frame of a collective carries a 64-bit signature of what its sender believes the collective
//! to be. Frames are told apart by communicator and sequence number; two signatures for one sequence
//! number are a mismatch, found at the first frame, without any message of its own.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use super::{Action, Engine};
use crate::base::ids::{Context, Peer};

/// Bits of a collective's tag that hold the round; the sequence number is above them.
pub const ROUND_BITS: u32 = 24;

/// The tag of a frame: which collective of the communicator, which round of it.
pub const fn tag(sequence: u64, round: u32) -> u64 {
    sequence << ROUND_BITS | round as u64
}

/// Two ranks disagree about what their `sequence`-th collective on a communicator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The communicator.
    pub context: Context,
    /// Number of the collective on it, from 0.
    pub sequence: u64,
    /// The other rank.
    pub peer: Peer,
    /// What this rank called.
    pub ours: u64,
    /// What the other rank called.
    pub theirs: u64,
}

#[derive(Debug, Default)]
struct Record {
    ours: Option<u64>,
    /// Up to two different signatures that arrived before this rank's own.
    early: [Option<(Peer, u64)>; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Collectives {
    records: HashMap<(Context, u64), Record, FxBuildHasher>,
}

impl Engine {
    /// This rank enters a collective. A disagreement with frames that came before is told as an action.
    pub fn collective_begins(&mut self, context: Context, sequence: u64, signature: u64) {
        let record = self
            .collectives
            .records
            .entry((context, sequence))
            .or_default();
        record.ours = Some(signature);
        let other = record
            .early
            .iter()
            .flatten()
            .find(|(_, theirs)| *theirs != signature);
        if let Some(&(peer, theirs)) = other {
            let mismatch = Mismatch {
                context,
                sequence,
                peer,
                ours: signature,
                theirs,
            };
            self.actions.push_back(Action::Mismatch(mismatch));
        }
    }

    /// This rank has done its part of a collective.
    pub fn collective_ends(&mut self, context: Context, sequence: u64) {
        self.collectives.records.remove(&(context, sequence));
    }

    /// Looks at the signature of an arriving frame.
    pub(crate) fn collective_frame(&mut self, context: Context, peer: Peer, tag: u64, theirs: u64) {
        let sequence = tag >> ROUND_BITS;
        let record = self
            .collectives
            .records
            .entry((context, sequence))
            .or_default();
        match record.ours {
            Some(ours) if ours != theirs => {
                let mismatch = Mismatch {
                    context,
                    sequence,
                    peer,
                    ours,
                    theirs,
                };
                self.actions.push_back(Action::Mismatch(mismatch));
            }
            Some(_) => {}
            None => {
                let known = record
                    .early
                    .iter()
                    .flatten()
                    .any(|(_, seen)| *seen == theirs);
                if let (false, Some(free)) =
                    (known, record.early.iter_mut().find(|early| early.is_none()))
                {
                    *free = Some((peer, theirs));
                }
            }
        }
    }
}
