//! Signatures of collectives: catches ranks that call different ones.
//!
//! Every frame of a collective carries a 64-bit signature of what its sender believes the collective
//! to be. Frames are told apart by communicator and sequence number; two signatures for one sequence
//! number are a mismatch, found at the first frame, without any message of its own.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use rustc_hash::FxBuildHasher;

use super::{Action, Engine};
use crate::base::ids::{Context, Peer};
use crate::wire::header::Header;

/// Bits of a collective's tag that hold the round; the sequence number is above them.
pub const ROUND_BITS: u32 = 24;

/// The tag of a frame: which collective of the communicator, which round of it.
pub const fn tag(sequence: u64, round: u32) -> u64 {
    sequence << ROUND_BITS | round as u64
}

/// Collectives whose signature is still known after this rank has done its part of them.
const ENDED_REMEMBERED: usize = 64;

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
    /// Frames that wait for this rank to begin. Without any, the record is dropped: what a peer can
    /// make this rank remember here is bounded by what it can make it hold.
    waiting: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Collectives {
    records: HashMap<(Context, u64), Record, FxBuildHasher>,
    /// Context, number and signature of the last ones that this rank has done its part of.
    ended: VecDeque<(Context, u64, u64)>,
}

impl Collectives {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The signature of a collective that has ended not long ago.
    fn past(&self, context: Context, sequence: u64) -> Option<u64> {
        let (latest, number, _) = self.ended.back()?;
        if *latest == context && *number < sequence {
            return None; // The usual case: a frame of a rank that is ahead.
        }
        let mut ended = self.ended.iter().rev();
        ended
            .find(|(of, number, _)| (*of, *number) == (context, sequence))
            .map(|it| it.2)
    }
}

impl Engine {
    /// This rank enters a collective. A disagreement with frames that came before is told as an action.
    pub fn collective_begins(&mut self, context: Context, sequence: u64, signature: u64) {
        if cfg!(bare) {
            return;
        }
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
        if cfg!(bare) {
            return;
        }
        let record = self.collectives.records.remove(&(context, sequence));
        let Some(signature) = record.and_then(|record| record.ours) else {
            return;
        };
        let ended = &mut self.collectives.ended;
        if ended.len() == ENDED_REMEMBERED {
            ended.pop_front();
        }
        ended.push_back((context, sequence, signature));
    }

    /// Looks at the signature of an arriving frame. A frame that has not found its receive waits, until
    /// [`collective_taken`](Self::collective_taken).
    pub(crate) fn collective_frame(&mut self, peer: Peer, header: &Header, waits: bool) {
        if cfg!(bare) {
            return;
        }
        let (context, theirs) = (header.context, header.check);
        let sequence = header.tag >> ROUND_BITS;
        let late = self.late(context, sequence, theirs).filter(|_| waits);
        if let Some(ours) = late {
            let mismatch = Mismatch {
                context,
                sequence,
                peer,
                ours,
                theirs,
            };
            self.actions.push_back(Action::Mismatch(mismatch));
        }
        let records = &mut self.collectives.records;
        let record = match records.entry((context, sequence)) {
            Entry::Occupied(record) => record.into_mut(),
            Entry::Vacant(vacant) if waits => vacant.insert(Record::default()),
            Entry::Vacant(_) => return,
        };
        if let Some(ours) = record.ours {
            if ours != theirs {
                let mismatch = Mismatch {
                    context,
                    sequence,
                    peer,
                    ours,
                    theirs,
                };
                self.actions.push_back(Action::Mismatch(mismatch));
            }
            return;
        }
        record.waiting += u64::from(waits);
        let mut seen = record.early.iter().flatten();
        let known = seen.any(|(_, signature)| *signature == theirs);
        if !known {
            if let Some(free) = record.early.iter_mut().find(|early| early.is_none()) {
                *free = Some((peer, theirs));
            }
        }
    }

    /// The signature of the collective that a frame comes too late for, if it is another one.
    fn late(&self, context: Context, sequence: u64, theirs: u64) -> Option<u64> {
        let ours = self.collectives.past(context, sequence)?;
        (ours != theirs).then_some(ours)
    }

    /// A frame waits no longer: a receive took it, or it was withdrawn.
    pub(crate) fn collective_taken(&mut self, context: Context, tag: u64) {
        let key = (context, tag >> ROUND_BITS);
        let Entry::Occupied(mut entry) = self.collectives.records.entry(key) else {
            return;
        };
        let record = entry.get_mut();
        if record.ours.is_none() {
            record.waiting = record.waiting.saturating_sub(1);
            if record.waiting == 0 {
                entry.remove();
            }
        }
    }
}
