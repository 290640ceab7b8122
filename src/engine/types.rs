//! The words of the engine: what goes in, what comes out.

use slotmap::new_key_type;

use super::collective::Mismatch;
use super::matching::NodeId;
use crate::base::ids::{Context, Epoch, Peer};
use crate::wire::header::{Header, Kind};

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
pub struct Owner {
    /// The request or collective.
    pub request: u64,
    /// The step of a collective; [`Owner::WHOLE`] for a request of the program.
    pub step: u32,
}

impl Owner {
    /// Not a step of a collective.
    pub const WHOLE: u32 = u32::MAX;
}

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

/// The end of a withdrawn message, which a transport is still writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// Its memory.
    pub buffer: BufferId,
    /// First byte that is not written.
    pub offset: u64,
    /// Bytes from there to the end of the message: at most one part.
    pub length: u64,
}

/// What became of [`Engine::send`](super::Engine::send).
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
    pub(crate) const fn take(self, length: u64) -> u64 {
        match self {
            Self::Fixed(capacity) if capacity < length => capacity,
            _ => length,
        }
    }

    pub(crate) const fn truncates(self, length: u64) -> bool {
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
    /// [`Engine::part_sent`](super::Engine::part_sent).
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
    /// Read `length` bytes from the sender's memory at `address`, then call
    /// [`Engine::pulled`](super::Engine::pulled).
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
    /// A message was announced without credit, beyond what was asked for.
    #[error("a message was announced that neither credit nor a request of ours paid for")]
    Unpaid,
    /// A message was announced under a token that still names another message.
    #[error("a message was announced as {0:#x}, which still names another message")]
    Repeated(u64),
    /// A length that the protocol does not allow here.
    #[error("a {0:?} frame announces {1} bytes")]
    Length(Kind, u64),
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
    /// How peers are reached unless [`Engine::set_route`](super::Engine::set_route) says otherwise.
    pub route: Route,
    /// Unexpected payload that is held at most, in bytes, for all peers together.
    pub unexpected_bytes_max: u64,
}

impl Failure {
    /// The message that the failure is about, if one had matched.
    pub fn envelope(&self) -> Option<Envelope> {
        match *self {
            Self::Truncated { envelope, .. }
            | Self::Type { envelope }
            | Self::Withdrawn(envelope) => Some(envelope),
            Self::PeerGone(_) | Self::Cancelled => None,
        }
    }
}
