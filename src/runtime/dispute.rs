//! Two ranks called different collectives: how each learns what the other one called.
//!
//! The rank that first meets a frame with another signature sends its own call in words, in a `Dispute`
//! frame, to the rank that sent it. That rank answers with its call, from the collective that it is in or
//! from the last ones that it completed. Each fails its collective when it has the other's words, or when
//! none come for a while: the other may be computing.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::progress::Core;
use super::state::{Fault, JobFailure, JobFailureKind};
use crate::base::ids::{Context, Peer};
use crate::engine::Mismatch;
use crate::limits::{DISPUTE_BYTES_MAX, DISPUTE_MILLIS_MAX, DISPUTES_REMEMBERED};
use crate::transport::Payload;
use crate::wire::header::{Header, Kind};

/// A collective as the program called it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectiveCall {
    pub(crate) operation: &'static str,
    /// Blocking and nonblocking calls do not match each other, as in MPI.
    pub(crate) nonblocking: bool,
    pub(crate) element: Option<&'static str>,
    pub(crate) count: Option<usize>,
    pub(crate) operator: Option<&'static str>,
    pub(crate) root: Option<usize>,
    pub(crate) algorithm: &'static str,
    pub(crate) site: &'static Location<'static>,
}

impl CollectiveCall {
    /// The call without its place: `allreduce<f64>(1, sum)`.
    pub(crate) fn words(&self) -> String {
        let mut words = self.operation.to_owned();
        if let Some(element) = self.element {
            words += &format!("<{element}>");
        }
        let count = self.count.map(|count| count.to_string());
        let root = self.root.map(|root| format!("root {root}"));
        let facts = [count, self.operator.map(str::to_owned), root];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        if !facts.is_empty() {
            words += &format!("({})", facts.join(", "));
        }
        words
    }
}

impl fmt::Display for CollectiveCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.words(), self.site)
    }
}

/// Both sides of a mismatch in words: ranks and what they called.
pub(crate) fn describe_mismatch(
    (rank, ours): (usize, Option<&str>),
    (other, theirs): (usize, Option<&str>),
) -> String {
    let [ours, theirs] = [ours, theirs].map(|call| call.unwrap_or("another collective"));
    format!(
        "ranks called different collectives: rank {rank}: {ours}; rank {other}: {theirs}; operation, \
         operator, element type, count, root and order of calls must agree"
    )
}

/// What a rank knows of disputes.
#[derive(Debug, Default)]
pub(crate) struct Disputes {
    /// The last collectives that this rank began.
    past: VecDeque<Past>,
    /// Communicators on which a collective of this rank has failed or was given up, and the number of the first
    /// one: after it this rank may be out of step.
    spoiled: HashMap<Context, u64>,
    /// To whom this rank's call was told already.
    told: Vec<(Context, u64, Peer)>,
    /// Collectives that wait for the other side's words.
    open: Vec<Open>,
    /// Words that have arrived in full.
    pub(crate) arrived: Vec<(Peer, Header, Vec<u8>)>,
}

/// A collective that this rank began: its communicator, number and signature, and the call.
pub(crate) type Past = (Context, u64, u64, CollectiveCall);

#[derive(Debug)]
struct Open {
    context: Context,
    sequence: u64,
    peer: Peer,
    until: Instant,
}

impl Disputes {
    pub(crate) fn remember(&mut self, past: Past) {
        if cfg!(bare) {
            return;
        }
        if self.past.len() == DISPUTES_REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(past);
    }

    /// The last collectives that this rank began, in order.
    pub(crate) fn past(&self) -> impl DoubleEndedIterator<Item = &Past> + ExactSizeIterator {
        self.past.iter()
    }

    /// A collective of this rank has failed, was given up, or could not begin.
    pub(crate) fn spoil(&mut self, context: Context, sequence: u64) {
        let first = self.spoiled.entry(context).or_insert(sequence);
        *first = sequence.min(*first);
    }

    /// Whether this rank may be out of step there.
    pub(crate) fn is_spoiled(&self, context: Context) -> bool {
        self.spoiled.contains_key(&context)
    }

    /// Whether the number of a collective means the same on all ranks, as far as this one is concerned.
    pub(crate) fn in_step(&self, context: Context, sequence: u64) -> bool {
        let spoiled = self.spoiled.get(&context);
        spoiled.is_none_or(|&first| sequence <= first)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.until).min()
    }

    /// Whether this collective waits for another rank's words.
    pub(crate) fn is_open(&self, context: Context, sequence: u64) -> bool {
        let mut open = self.open.iter();
        open.any(|open| (open.context, open.sequence) == (context, sequence))
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.open.is_empty() && self.arrived.is_empty()
    }

    fn call(&self, context: Context, sequence: u64) -> Option<CollectiveCall> {
        let same = |past: &&Past| (past.0, past.1) == (context, sequence);
        self.past.iter().rev().find(same).map(|past| past.3)
    }
}

impl Core {
    /// A frame has another signature than the collective that it belongs to.
    pub(crate) fn dispute(&mut self, mismatch: &Mismatch) {
        let Mismatch {
            context,
            sequence,
            peer,
            ..
        } = *mismatch;
        if self.state.survival.excuses(context) {
            return;
        }
        self.tell_call(context, sequence, peer);
        let until = Instant::now() + Duration::from_millis(DISPUTE_MILLIS_MAX);
        self.state.disputes.open.push(Open {
            context,
            sequence,
            peer,
            until,
        });
    }

    /// Deals with what others have said, and with what they did not say in time.
    pub(crate) fn settle_disputes(&mut self, now: Instant) {
        while let Some((peer, header, words)) = self.state.disputes.arrived.pop() {
            let (context, sequence) = (header.context, header.tag);
            self.tell_call(context, sequence, peer);
            let theirs = String::from_utf8_lossy(&words).into_owned();
            self.lose_dispute(context, sequence, peer, Some(theirs));
        }
        let due = self
            .state
            .disputes
            .open
            .iter()
            .position(|open| open.until <= now);
        if let Some(index) = due {
            let Open {
                context,
                sequence,
                peer,
                ..
            } = self.state.disputes.open[index];
            self.lose_dispute(context, sequence, peer, None);
        }
    }

    /// Fails the collective in question, or everything that comes after it when it is over.
    pub(super) fn lose_dispute(
        &mut self,
        context: Context,
        sequence: u64,
        peer: Peer,
        theirs: Option<String>,
    ) {
        let same = |open: &Open| (open.context, open.sequence) == (context, sequence);
        self.state.disputes.open.retain(|open| !same(open));
        let ours = self
            .state
            .disputes
            .call(context, sequence)
            .map(|call| call.to_string());
        if let Some(key) = self.collective_of(context, sequence) {
            self.fail_collective(key, Fault::Mismatch { peer, ours, theirs });
            return;
        }
        let cause = describe_mismatch(
            (self.state.me.index(), ours.as_deref()),
            (peer.index(), theirs.as_deref()),
        );
        self.state.fail_job(JobFailure {
            peer,
            cause,
            kind: JobFailureKind::Mismatch,
        });
    }

    /// Tells a peer, once, what this rank called.
    fn tell_call(&mut self, context: Context, sequence: u64, peer: Peer) {
        let told = &mut self.state.disputes.told;
        if told.contains(&(context, sequence, peer)) || told.len() >= DISPUTES_REMEMBERED {
            return;
        }
        let Some(call) = self.state.disputes.call(context, sequence) else {
            return;
        };
        self.state.disputes.told.push((context, sequence, peer));
        let mut words = call.to_string();
        while words.len() > DISPUTE_BYTES_MAX {
            words.pop();
        }
        let header = Header {
            context,
            tag: sequence,
            length: words.len() as u64,
            ..Header::new(Kind::Dispute, self.fabric.epoch(), self.state.me)
        };
        self.fabric.send(
            peer,
            &header,
            Payload::Borrowed(words.as_bytes()),
            &mut self.state,
        );
    }
}
