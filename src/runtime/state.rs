//! What one rank knows, and how arriving frames change it.

use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use rustc_hash::FxBuildHasher;
use slotmap::{Key, KeyData, SlotMap, new_key_type};

use super::buffers::{Buffers, Exposed};
use super::dispute::Disputes;
use super::execute::Running;
use super::survival::{Reach, Survival};
use crate::base::ids::{Context, Peer};
use crate::engine::matching::NodeId;
use crate::engine::{BufferId, Engine, Envelope, Failure, Landing, Owner, RecvId, SendId};
use crate::limits::DISPUTE_BYTES_MAX;
use crate::transport::{Accept, LentId, Lost, Sink};
use crate::wire::header::{Header, Kind};

new_key_type! {
    /// A point-to-point operation of the program.
    pub(crate) struct RequestKey;
    /// A collective operation of the program.
    pub(crate) struct CollectiveKey;
}

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The engine says why.
    Message(Failure),
    /// There is no memory for this many bytes.
    OutOfMemory(u64),
    /// Another rank called another collective.
    Mismatch {
        peer: Peer,
        ours: Option<String>,
        theirs: Option<String>,
    },
    /// The job cannot go on.
    Job(Arc<JobFailure>),
    /// The communicator was revoked.
    Revoked,
    /// The runtime was finalized before.
    Finalized,
    /// The time limit passed.
    Timeout,
}

/// Why no operation of this rank can succeed any more.
#[derive(Clone, Debug)]
pub(crate) struct JobFailure {
    /// The rank that caused it.
    pub(crate) peer: Peer,
    /// What happened to it, as the end of a sentence that begins with the rank.
    pub(crate) cause: String,
    /// What sort of failure it is.
    pub(crate) kind: JobFailureKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobFailureKind {
    Gone,
    Wire,
    Authentication,
    Unreachable,
    Mismatch,
    /// This rank itself has broken off.
    Broken,
}

/// What the engine knows an operation by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handle {
    None,
    Send(SendId),
    Recv(RecvId),
}

/// A point-to-point operation under way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) handle: Handle,
    pub(crate) buffer: BufferId,
    /// Its message space, and whom it counts on.
    pub(crate) place: (Context, Reach),
    /// Where it was called.
    pub(crate) site: &'static Location<'static>,
    pub(crate) outcome: Option<Result<Envelope, Fault>>,
    pub(crate) waker: Option<Waker>,
    /// Nobody will ask for the outcome.
    pub(crate) forgotten: bool,
}

/// A part of a long message that a transport is writing.
#[derive(Debug)]
pub(crate) struct Part {
    buffer: BufferId,
    base: u64,
    length: u64,
    /// The bytes themselves, when the send was given up and its buffer is gone.
    copy: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) me: Peer,
    pub(crate) size: u32,
    pub(crate) engine: Engine,
    pub(crate) buffers: Buffers,
    pub(crate) requests: SlotMap<RequestKey, Request>,
    pub(crate) collectives: SlotMap<CollectiveKey, Running>,
    pub(crate) exposed: Exposed,
    pub(crate) exposing: HashMap<SendId, (), FxBuildHasher>,
    landings: Vec<Landing>,
    staged: HashMap<NodeId, Vec<u8>, FxBuildHasher>,
    parts: HashMap<SendId, Part, FxBuildHasher>,
    /// Peers whose address a transport asks for.
    pub(crate) lookups: Vec<Peer>,
    /// Peers whose connections have broken: the launcher knows whether they live.
    pub(crate) broken: Vec<Peer>,
    /// Connections that ended since the last look.
    pub(crate) lost: Vec<(Peer, Lost)>,
    pub(crate) failure: Option<Arc<JobFailure>>,
    /// How peers left, for messages to people.
    pub(crate) departures: HashMap<Peer, String, FxBuildHasher>,
    /// Peers from which nothing more will arrive, because they finalized.
    pub(crate) closed: HashSet<Peer, FxBuildHasher>,
    pub(crate) disputes: Disputes,
    /// What this rank goes on with after failures.
    pub(crate) survival: Survival,
    /// Words of a dispute that are arriving.
    words: HashMap<Peer, (Header, Vec<u8>), FxBuildHasher>,
    /// Counts completed operations, so that threads that wait can be woken.
    pub(crate) completions: u64,
}

impl State {
    pub(crate) fn new(me: Peer, size: u32, engine: Engine, exposed: Exposed) -> Self {
        Self {
            me,
            size,
            engine,
            buffers: Buffers::default(),
            requests: SlotMap::with_key(),
            collectives: SlotMap::with_key(),
            exposed,
            exposing: HashMap::default(),
            landings: vec![Landing::Nothing; size as usize],
            staged: HashMap::default(),
            parts: HashMap::default(),
            lookups: Vec::new(),
            broken: Vec::new(),
            lost: Vec::new(),
            failure: None,
            departures: HashMap::default(),
            closed: HashSet::default(),
            disputes: Disputes::default(),
            survival: Survival::default(),
            words: HashMap::default(),
            completions: 0,
        }
    }

    /// Notes that a transport will read a part of a long message.
    pub(crate) fn lend_part(&mut self, send: SendId, buffer: BufferId, base: u64, length: u64) {
        self.parts.insert(
            send,
            Part {
                buffer,
                base,
                length,
                copy: None,
            },
        );
    }

    /// Notes that no transport reads this send's memory any more.
    pub(crate) fn end_part(&mut self, send: SendId) {
        self.parts.remove(&send);
    }

    /// Gives a send up whose buffer is about to go. If its last part was handed to a transport already,
    /// which cannot be called back, the bytes that are not written yet are copied.
    pub(crate) fn withdraw(&mut self, send: SendId) {
        let unwritten = self.engine.withdraw(send);
        let Some(part) = self.parts.get_mut(&send) else {
            return;
        };
        let Some(rest) = unwritten else {
            self.parts.remove(&send); // Anything may be sent in place of what is missing.
            return;
        };
        let range = index(rest.offset)..index(rest.offset + rest.length);
        let bytes = self
            .buffers
            .bytes(rest.buffer)
            .and_then(|bytes| bytes.get(range));
        part.copy = bytes.map(<[u8]>::to_vec);
        part.base = rest.offset;
        part.length = rest.length;
    }

    /// Hands a staged payload to a posted buffer, or throws it away.
    pub(crate) fn deliver(
        &mut self,
        staged: NodeId,
        into: Option<BufferId>,
        take: u64,
    ) -> Result<(), Fault> {
        let Some(bytes) = self.staged.remove(&staged) else {
            return Ok(());
        };
        let Some(buffer) = into else { return Ok(()) };
        let take = index(take).min(bytes.len());
        let Some(space) = self.room(buffer, take, bytes.len()) else {
            return Err(Fault::OutOfMemory(bytes.len() as u64));
        };
        space.copy_from_slice(&bytes[..take]);
        Ok(())
    }

    /// The first `take` bytes of a buffer for a message of `message` bytes, made if it grows.
    pub(crate) fn room(
        &mut self,
        buffer: BufferId,
        take: usize,
        message: usize,
    ) -> Option<&mut [u8]> {
        if self.buffers.bytes(buffer)?.len() < take && !self.buffers.resize(buffer, message) {
            return None;
        }
        self.buffers.bytes_mut(buffer)?.get_mut(..take)
    }

    /// Notes how a point-to-point operation ended.
    pub(crate) fn complete(&mut self, owner: Owner, outcome: Result<Envelope, Fault>) {
        let key = RequestKey::from(KeyData::from_ffi(owner.request));
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        self.completions += 1;
        if request.forgotten {
            let buffer = request.buffer;
            self.requests.remove(key);
            self.buffers.take(buffer);
            return;
        }
        if request.outcome.is_none() {
            request.outcome = Some(outcome);
        }
        request.handle = Handle::None;
        if let Some(waker) = request.waker.take() {
            waker.wake();
        }
    }

    /// The job cannot go on: everything that waits is told, now and from now on.
    pub(crate) fn fail_job(&mut self, failure: JobFailure) {
        self.engine.peer_gone(failure.peer, true);
        self.departures.insert(failure.peer, failure.cause.clone());
        self.failure.get_or_insert_with(|| Arc::new(failure));
        self.completions += 1;
        let of_requests = self
            .requests
            .values_mut()
            .filter_map(|request| request.waker.take());
        let of_collectives = self
            .collectives
            .values_mut()
            .filter_map(|running| running.waker.take());
        of_requests.chain(of_collectives).for_each(Waker::wake);
    }

    fn landing_space(&mut self, peer: Peer, offset: u64) -> Option<&mut [u8]> {
        if let Some((_, words)) = self.words.get_mut(&peer) {
            return words.get_mut(index(offset)..);
        }
        match self.landings[peer.index()] {
            Landing::Posted {
                buffer,
                offset: base,
                take,
                message,
                ..
            } => {
                let end = index(base + take);
                let from = index(base + offset).min(end);
                let long = self.buffers.bytes(buffer)?.len() < end;
                if long && !self.buffers.resize(buffer, index(message)) {
                    return None;
                }
                self.buffers.bytes_mut(buffer)?.get_mut(from..end)
            }
            Landing::Staged { staged, .. } => {
                let bytes = self.staged.get_mut(&staged)?;
                let from = index(offset).min(bytes.len());
                Some(&mut bytes[from..])
            }
            Landing::Nothing | Landing::Discard => None,
        }
    }
}

/// A length or offset that was checked against memory that exists.
pub(crate) fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub(crate) fn lent_id(send: SendId) -> LentId {
    LentId(send.data().as_ffi())
}

fn send_of(id: LentId) -> SendId {
    SendId::from(KeyData::from_ffi(id.0))
}

impl Sink for State {
    fn header(&mut self, peer: Peer, header: &Header) -> Result<Accept, String> {
        if header.kind == Kind::Dispute {
            return self.words_begin(peer, header);
        }
        let landing = self
            .engine
            .arrive(peer, header)
            .map_err(|nonsense| nonsense.to_string())?;
        if header.payload() == 0 {
            return Ok(Accept::Discard);
        }
        self.landings[peer.index()] = landing;
        match landing {
            Landing::Nothing | Landing::Discard => Ok(Accept::Discard),
            Landing::Posted { .. } => Ok(Accept::Into(u64::from(peer.0))),
            Landing::Staged { staged, length } => {
                self.staged.insert(staged, vec![0; index(length)]);
                Ok(Accept::Into(u64::from(peer.0)))
            }
        }
    }

    fn space(&mut self, key: u64, offset: u64) -> &mut [u8] {
        #[expect(clippy::cast_possible_truncation, reason = "keys are made from peers")]
        let peer = Peer(key as u32);
        self.landing_space(peer, offset).unwrap_or_default()
    }

    fn done(&mut self, peer: Peer, _key: u64) {
        if let Some((header, words)) = self.words.remove(&peer) {
            self.disputes.arrived.push((peer, header, words));
            return;
        }
        let landing = std::mem::replace(&mut self.landings[peer.index()], Landing::Nothing);
        if let Landing::Posted {
            recv,
            buffer,
            message,
            take,
            offset,
            ..
        } = landing
        {
            let room = self.buffers.bytes(buffer).map(<[u8]>::len);
            if room.is_some_and(|room| room < index(offset + take)) {
                self.out_of_memory(recv, message);
            }
        }
        self.engine.landed(landing);
        if let Landing::Staged { staged, .. } = landing {
            let space = self.engine.space_of(staged);
            if let Some(context) = space.filter(|&context| self.survival.is_revoked(context)) {
                self.engine.discard(context);
            }
        }
    }

    fn lent(&self, id: LentId, offset: u64, length: usize) -> Option<&[u8]> {
        let part = self.parts.get(&send_of(id))?;
        if let Some(copy) = &part.copy {
            let from = index(offset.checked_sub(part.base)?);
            return copy.get(from..from.checked_add(length)?);
        }
        let from = index(offset);
        self.buffers
            .bytes(part.buffer)?
            .get(from..from.checked_add(length)?)
    }

    fn written(&mut self, _peer: Peer, id: LentId, length: u64) {
        self.engine.part_written(send_of(id), length);
    }

    fn sent(&mut self, _peer: Peer, id: LentId, length: u64) {
        let send = send_of(id);
        self.engine.part_sent(send, length);
        // The copy of a withdrawn send is kept until it is written.
        if let Some(part) = self.parts.get_mut(&send).filter(|part| part.copy.is_some()) {
            part.length = part.length.saturating_sub(length);
            if part.length == 0 {
                self.parts.remove(&send);
            }
        }
    }

    fn lookup(&mut self, peer: Peer) {
        self.lookups.push(peer);
    }

    fn broken(&mut self, peer: Peer) {
        self.broken.push(peer);
    }

    fn lost(&mut self, peer: Peer, why: Lost) {
        self.lost.push((peer, why));
    }
}

impl State {
    fn words_begin(&mut self, peer: Peer, header: &Header) -> Result<Accept, String> {
        let length = index(header.length);
        if length > DISPUTE_BYTES_MAX || !header.context.is_collective() {
            return Err(format!(
                "a dispute of {length} bytes is too long or about nothing"
            ));
        }
        if length == 0 {
            return Ok(Accept::Discard);
        }
        self.words.insert(peer, (*header, vec![0; length]));
        Ok(Accept::Into(u64::from(peer.0)))
    }

    /// A message arrived for which there was no memory: its receive will fail.
    pub(crate) fn out_of_memory(&mut self, recv: RecvId, bytes: u64) {
        let owner = self
            .requests
            .values_mut()
            .find(|request| matches!(request.handle, Handle::Recv(handle) if handle == recv));
        if let Some(request) = owner {
            request.outcome = Some(Err(Fault::OutOfMemory(bytes)));
        }
    }
}
