//! Layer 2, pure: point-to-point messages between ranks.
//!
//! An [`Engine`] is one rank's half of the protocol. It knows headers, requests and credit, but no
//! sockets, clocks or memory: a buffer is a number that only the layer above can look up. Calls and
//! arriving headers go in; [`Action`]s come out, to be performed in order.
//!
//! # The protocol
//!
//! * A message up to the eager limit goes out at once with its header, if the receiver has given
//!   enough credit. [`Engine::send`] then is one call that returns a ready header, and nothing is kept.
//! * A longer one is announced by a `Request`. When a receive matches, the receiver answers `Clear`
//!   and the sender streams the message in `Data` parts straight into the posted buffer; or, where it
//!   can read the sender's memory, it pulls the message and answers `Finished`.
//! * Messages from one sender in one context are matched in the order in which they were sent.
//!   Matching is hashed: its cost does not grow with the number of waiting messages or receives.
//! * Unexpected payload is bounded by credit (see [`credit`]). Without credit a message is announced
//!   only; without even that it is held at its sender.
//!
//! Matching rules are those of the MPI standard 4.1, section 3.5.
#![forbid(unsafe_code)]

pub mod collective;
pub mod credit;
pub mod matching;
mod peer;
mod receive;
mod send;

use std::collections::VecDeque;

use slotmap::{KeyData, SlotMap, new_key_type};

use crate::base::ids::{Context, Epoch, Peer};
use crate::limits;
use crate::wire::header::{Header, Kind};

use collective::Collectives;
pub use collective::Mismatch;
use matching::{MatchQueue, NodeId};
use peer::PeerState;

new_key_type! {
    /// A send that is not complete.
    pub struct SendId;
    /// A receive that is not complete.
    pub struct RecvId;
}

/// Memory of the layer above; the engine only passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId(pub u64);

/// The layer above's name for an operation; handed back when it completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

/// How one peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Longest message that is sent at once.
    pub eager_bytes_max: u64,
    /// Whether the peer can read this rank's memory, and this rank the peer's.
    pub pull: bool,
}

/// When a send counts as complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the buffer may be used again.
    Standard,
    /// When, besides, the receiver has matched the message.
    Synchronous,
}

/// A message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// The receiver.
    pub to: Peer,
    /// Communicator and message space.
    pub context: Context,
    /// User tag, or sequence and round.
    pub tag: u64,
    /// Element type fingerprint or signature of the collective.
    pub check: u64,
    /// Bytes of the message.
    pub length: u64,
    /// When it is complete.
    pub mode: Mode,
    /// Where the bytes are, if the send is not done at once.
    pub buffer: BufferId,
    /// Whose it is.
    pub owner: Owner,
}

/// What became of [`Engine::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStart {
    /// Transmit this header with the whole payload now; the send is complete.
    Now(Header),
    /// The send goes on by itself; [`Action::SendDone`] will tell.
    Later(SendId),
    /// The peer is gone.
    Gone,
}

/// Room for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// At most so many bytes; a longer message is truncated, which is an error.
    Fixed(u64),
    /// Whatever comes: memory is made when the length is known.
    Growable,
}

impl Capacity {
    const fn take(self, length: u64) -> u64 {
        match self {
            Self::Fixed(capacity) if capacity < length => capacity,
            _ => length,
        }
    }

    const fn truncates(self, length: u64) -> bool {
        matches!(self, Self::Fixed(capacity) if capacity < length)
    }
}

/// Which messages a receive or a probe accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// Communicator and message space.
    pub context: Context,
    /// The sender; `None` for any.
    pub source: Option<Peer>,
    /// The tag; `None` for any.
    pub tag: Option<u64>,
}

/// A receive to be posted.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// What is accepted.
    pub pattern: Pattern,
    /// Expected element type or signature.
    pub check: u64,
    /// Room.
    pub capacity: Capacity,
    /// Where the bytes go.
    pub buffer: BufferId,
    /// Whose it is.
    pub owner: Owner,
}

/// What is known of a message besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender.
    pub source: Peer,
    /// Its tag.
    pub tag: u64,
    /// Bytes of the message.
    pub length: u64,
    /// Element type fingerprint, or signature, that the sender gave.
    pub check: u64,
}

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The message is longer than the buffer; the buffer holds its beginning, or nothing.
    Truncated {
        /// The message.
        envelope: Envelope,
        /// Bytes of the buffer.
        capacity: u64,
    },
    /// The elements of the message are of another type.
    Type {
        /// The message.
        envelope: Envelope,
    },
    /// The peer is gone.
    PeerGone(Peer),
    /// The sender withdrew the message after it had matched.
    Withdrawn(Envelope),
    /// The receive was cancelled before anything matched.
    Cancelled,
}

/// What the layer above has to do next; in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Transmit a header; with a payload, `length` bytes of `buffer` from `offset` on.
    Transmit {
        /// The receiver.
        to: Peer,
        /// The frame.
        header: Header,
        /// The payload's memory and first byte.
        body: Option<(BufferId, u64)>,
    },
    /// Transmit the next part of a long message, without copying it; when it is written call
    /// [`Engine::part_sent`].
    TransmitPart {
        /// The receiver.
        to: Peer,
        /// The frame.
        header: Header,
        /// The send it belongs to.
        send: SendId,
        /// The payload's memory.
        buffer: BufferId,
        /// First byte.
        offset: u64,
    },
    /// Copy `take` bytes of a staged payload to the beginning of a buffer, and free it.
    Deliver {
        /// The staged payload.
        staged: NodeId,
        /// Destination; `None` when the payload is only freed.
        into: Option<(RecvId, BufferId)>,
        /// Bytes.
        take: u64,
    },
    /// Read `length` bytes from the sender's memory at `address`, then call [`Engine::pulled`].
    Pull {
        /// Whose memory.
        from: Peer,
        /// The receive.
        recv: RecvId,
        /// Destination.
        buffer: BufferId,
        /// The sender's name for its request, by which it exposes the memory.
        token: u64,
        /// The address that the sender gave.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// A send is complete.
    SendDone {
        /// Which; it exists no longer.
        send: SendId,
        /// Whose it was.
        owner: Owner,
        /// How it ended.
        outcome: Result<(), Failure>,
    },
    /// A receive is complete.
    RecvDone {
        /// Which; it exists no longer.
        recv: RecvId,
        /// Whose it was.
        owner: Owner,
        /// How it ended.
        outcome: Result<Envelope, Failure>,
    },
    /// Collectives do not match.
    Mismatch(Mismatch),
}

/// Where the payload that follows a header goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// The frame has no payload.
    Nothing,
    /// To a posted buffer: at most `take` bytes from `offset` on; the rest is discarded. The whole
    /// message has `message` bytes.
    Posted {
        /// The receive.
        recv: RecvId,
        /// Its memory.
        buffer: BufferId,
        /// First byte.
        offset: u64,
        /// Bytes that fit.
        take: u64,
        /// Bytes of the whole message.
        message: u64,
        /// Bytes of this part on the wire.
        part: u64,
    },
    /// To memory of its own, until a receive comes for it.
    Staged {
        /// Its name.
        staged: NodeId,
        /// Bytes.
        length: u64,
    },
    /// Nowhere.
    Discard,
}

/// Why a frame makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// It answers a request that is not waiting for it.
    #[error("a {0:?} frame answers a request that does not wait for it")]
    Unasked(Kind),
    /// A part is out of order or too long.
    #[error(
        "a part of a message begins at byte {offset} where byte {expected} was due, or is too long"
    )]
    OutOfOrder {
        /// Where it begins.
        offset: u64,
        /// Where it should begin.
        expected: u64,
    },
    /// More was sent without being asked for than there was credit.
    #[error("{held} bytes were sent unasked, over the credit of {credit} bytes")]
    OverCredit {
        /// Bytes held.
        held: u64,
        /// Bytes allowed.
        credit: u64,
    },
    /// A length that the protocol does not allow here.
    #[error("a {0:?} frame announces {1} bytes")]
    Length(Kind, u64),
}

#[derive(Debug)]
pub(crate) struct SendState {
    outgoing: Outgoing,
    phase: SendPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendPhase {
    /// Kept back for lack of credit.
    Held,
    /// Announced; waiting for `Clear` or `Finished`.
    Requested,
    /// `offset` of `length` bytes were handed out to be written, for request `place`; `unwritten` of
    /// them are not written yet.
    Sending {
        place: u64,
        offset: u64,
        length: u64,
        unwritten: u64,
    },
}

#[derive(Debug)]
pub(crate) struct RecvState {
    incoming: Incoming,
    phase: RecvPhase,
    /// The buffer is gone; what still comes is thrown away, and nobody is told.
    abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecvPhase {
    /// Nothing has matched.
    Posted(NodeId),
    /// An eager message is being read, or waits in staging to be complete.
    Landing { envelope: Envelope },
    /// Asked the sender for `wanted` bytes; `arrived` of them are here.
    Streaming {
        envelope: Envelope,
        token: u64,
        wanted: u64,
        arrived: u64,
    },
    /// The layer above reads the sender's memory.
    Pulling { envelope: Envelope, token: u64 },
}

/// A message for which no receive has been posted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unexpected {
    context: Context,
    envelope: Envelope,
    kind: UnexpectedKind,
}

#[derive(Clone, Copy, Debug)]
enum UnexpectedKind {
    /// Payload in staging; `complete` once it has been read in full.
    Staged {
        complete: bool,
        claimed: Option<RecvId>,
    },
    /// Announced.
    Requested {
        token: u64,
        pull: Option<u64>,
        charged: bool,
    },
}

/// What an engine is told at its birth.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// This rank.
    pub me: Peer,
    /// Ranks in the job.
    pub size: u32,
    /// Life of the job.
    pub epoch: Epoch,
    /// How peers are reached unless [`Engine::set_route`] says otherwise.
    pub route: Route,
    /// Unexpected payload that is held at most, in bytes, for all peers together.
    pub unexpected_bytes_max: u64,
}

/// One rank's half of the point-to-point protocol.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    window: u64,
    peers: Vec<Option<Box<PeerState>>>,
    sends: SlotMap<SendId, SendState>,
    recvs: SlotMap<RecvId, RecvState>,
    posted: MatchQueue<RecvId, 1>,
    posted_wild: u64,
    unexpected: MatchQueue<Unexpected, 4>,
    unexpected_indexed: bool,
    collectives: Collectives,
    actions: VecDeque<Action>,
    any_starving: bool,
    gone: u32,
}

impl Engine {
    /// An engine that knows no messages.
    pub fn new(config: EngineConfig) -> Self {
        let others = u64::from(config.size.max(2) - 1);
        let window = (config.unexpected_bytes_max / others).clamp(
            limits::CREDIT_BYTES_MIN as u64,
            limits::CREDIT_BYTES_MAX as u64,
        );
        Self {
            config,
            window,
            peers: (0..config.size).map(|_| None).collect(),
            sends: SlotMap::with_key(),
            recvs: SlotMap::with_key(),
            posted: MatchQueue::default(),
            posted_wild: 0,
            unexpected: MatchQueue::default(),
            unexpected_indexed: false,
            collectives: Collectives::default(),
            actions: VecDeque::new(),
            any_starving: false,
            gone: 0,
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Says how a peer is reached; before anything is sent to it.
    pub fn set_route(&mut self, peer: Peer, route: Route) {
        self.peer_mut(peer).route = route;
    }

    /// Whether a peer was declared gone.
    pub fn is_gone(&self, peer: Peer) -> bool {
        self.peers[peer.index()]
            .as_ref()
            .is_some_and(|state| state.gone)
    }

    /// Number of sends that are not complete.
    pub fn sends_open(&self) -> usize {
        self.sends.len()
    }

    /// Number of messages that nobody has asked for yet.
    pub fn unexpected_count(&self) -> usize {
        self.unexpected.len()
    }

    /// A frame has arrived; the answer says where its payload goes. When it is there in full, call
    /// [`landed`](Self::landed) with the answer.
    ///
    /// # Errors
    ///
    /// When the frame makes no sense; nothing from this peer can be trusted then.
    pub fn arrive(&mut self, from: Peer, header: &Header) -> Result<Landing, Nonsense> {
        match header.kind {
            Kind::Eager => self.arrive_eager(from, header),
            Kind::Request => self.arrive_request(from, header),
            Kind::Data => self.arrive_data(from, header),
            Kind::Clear => self.arrive_clear(from, header).map(|()| Landing::Nothing),
            Kind::Finished => self
                .arrive_finished(from, header)
                .map(|()| Landing::Nothing),
            Kind::Withdrawn => {
                self.arrive_withdrawn(from, header.token);
                Ok(Landing::Nothing)
            }
            Kind::Credit => {
                self.arrive_credit(from, header);
                Ok(Landing::Nothing)
            }
            Kind::Starved => {
                self.arrive_starved(from);
                Ok(Landing::Nothing)
            }
            Kind::Goodbye => Ok(Landing::Nothing),
        }
    }

    /// A peer is gone: whatever needs it fails. What it sent in full can still be received.
    ///
    /// `wild` says whether receives from any source fail too: a possible sender has failed.
    pub fn peer_gone(&mut self, peer: Peer, wild: bool) {
        if self.is_gone(peer) {
            return;
        }
        self.peer_mut(peer).gone = true;
        self.gone += 1;
        self.fail_sends_to(peer);
        let alone = self.gone + 1 >= self.config.size;
        self.fail_receives_from(peer, wild || alone);
    }

    fn header(&self, kind: Kind) -> Header {
        Header::new(kind, self.config.epoch, self.config.me)
    }

    fn peer_mut(&mut self, peer: Peer) -> &mut PeerState {
        let (route, window) = (self.config.route, self.window);
        self.peers[peer.index()].get_or_insert_with(|| Box::new(PeerState::new(route, window)))
    }

    fn transmit(&mut self, to: Peer, header: Header) {
        if !self.is_gone(to) {
            self.actions.push_back(Action::Transmit {
                to,
                header,
                body: None,
            });
        }
    }
}

fn send_token(id: SendId) -> u64 {
    slotmap::Key::data(&id).as_ffi()
}

fn recv_token(id: RecvId) -> u64 {
    slotmap::Key::data(&id).as_ffi()
}

fn send_id(token: u64) -> SendId {
    SendId::from(KeyData::from_ffi(token))
}

fn recv_id(token: u64) -> RecvId {
    RecvId::from(KeyData::from_ffi(token))
}
