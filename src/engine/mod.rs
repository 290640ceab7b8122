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

mod arrive;
pub mod collective;
pub mod credit;
mod direct;
mod discard;
pub mod matching;
mod peer;
mod receive;
mod search;
mod send;
mod standing;
mod types;

use std::collections::{HashMap, VecDeque};

use rustc_hash::FxBuildHasher;
use slotmap::{KeyData, SlotMap};

use crate::base::ids::{Context, Peer};
use crate::limits;
use crate::wire::header::{Header, Kind};

use collective::Collectives;
pub use collective::Mismatch;
pub use direct::Letter;
use matching::{MatchQueue, NodeId};
use peer::PeerState;
pub use types::{
    Action, BufferId, Capacity, EngineConfig, Envelope, Failure, Incoming, Landing, Mode, Nonsense,
    Outgoing, Owner, Pattern, RecvId, Route, SendId, SendStart, Unwritten,
};

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
        /// Bytes handed out that whoever writes them may still read.
        lent: u64,
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
pub(crate) enum UnexpectedKind {
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

/// Where an announced message is in its life at the receiver.
#[derive(Clone, Copy, Debug)]
enum Announced {
    /// It waits for a receive.
    Waiting(NodeId),
    /// A receive fetches it.
    Matched(RecvId),
}

/// What an engine still holds: nothing, when all its messages are received.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenWork {
    pub sends: usize,
    pub held: usize,
    pub receives: usize,
    pub posted: usize,
    pub posted_counts: u64,
    pub unexpected: usize,
    pub announced: usize,
    pub collectives: usize,
    pub actions: usize,
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
    /// Posted receives with a wildcard in the source or the tag.
    posted_wild: u64,
    /// Posted receives from any source.
    posted_any: u64,
    unexpected: MatchQueue<Unexpected, 4>,
    unexpected_indexed: bool,
    /// Messages that were announced to this rank and whose senders still wait, by sender and token.
    announced: HashMap<(Peer, u64), Announced, FxBuildHasher>,
    collectives: Collectives,
    actions: VecDeque<Action>,
    any_starving: bool,
    gone: u32,
}

impl Engine {
    /// An engine that knows no messages.
    pub fn new(config: EngineConfig) -> Self {
        // A rank sends to itself too.
        let senders = u64::from(config.size.max(1));
        let window = (config.unexpected_bytes_max / senders).clamp(
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
            posted_any: 0,
            unexpected: MatchQueue::default(),
            unexpected_indexed: false,
            announced: HashMap::default(),
            collectives: Collectives::default(),
            actions: VecDeque::new(),
            any_starving: false,
            gone: 0,
        }
    }

    /// Whether so many things, or more, are to be done.
    pub fn has_actions(&self, count: usize) -> bool {
        self.actions.len() >= count
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

    /// Everything that is not finished, counted.
    #[doc(hidden)]
    pub fn open_work(&self) -> OpenWork {
        let peers = || self.peers.iter().flatten();
        OpenWork {
            sends: self.sends.len(),
            held: peers().map(|peer| peer.held.len()).sum(),
            receives: self.recvs.len(),
            posted: self.posted.len(),
            posted_counts: peers().map(|peer| peer.posted).sum::<u64>()
                + self.posted_wild
                + self.posted_any,
            unexpected: self.unexpected.len(),
            announced: self.announced.len(),
            collectives: self.collectives.len(),
            actions: self.actions.len(),
        }
    }

    /// The credit that is left for a peer; how much of this rank's window the peer has used; and how
    /// much of that is about to be given back.
    #[doc(hidden)]
    pub fn credit_state(&self, peer: Peer) -> (u64, u64, u64) {
        self.peers[peer.index()]
            .as_ref()
            .map_or((self.window, 0, 0), |state| {
                (state.credit, state.taken, state.owed)
            })
    }

    /// The peers that open requests wait for, and whether one waits for any source.
    pub fn awaited(&self) -> (Vec<Peer>, bool) {
        let mut peers: Vec<_> = self.sends.values().map(|send| send.outgoing.to).collect();
        let mut wild = false;
        for recv in self.recvs.values() {
            match (recv.phase, recv.incoming.pattern.source) {
                (RecvPhase::Posted(_), Some(source)) => peers.push(source),
                (RecvPhase::Posted(_), None) => wild = true,
                (
                    RecvPhase::Landing { envelope }
                    | RecvPhase::Streaming { envelope, .. }
                    | RecvPhase::Pulling { envelope, .. },
                    _,
                ) => peers.push(envelope.source),
            }
        }
        peers.sort_unstable();
        peers.dedup();
        (peers, wild)
    }

    /// A frame has arrived; the answer says where its payload goes. When it is there in full, call
    /// [`landed`](Self::landed) with the answer. Frames of a peer that is gone are thrown away.
    ///
    /// # Errors
    ///
    /// When the frame makes no sense; nothing from this peer can be trusted then.
    pub fn arrive(&mut self, from: Peer, header: &Header) -> Result<Landing, Nonsense> {
        if self.gone > 0 && self.is_gone(from) {
            return Ok(match header.payload() {
                0 => Landing::Nothing,
                _ => Landing::Discard,
            });
        }
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
            // Not about messages: the layer above deals with it.
            Kind::Dispute => Ok(Landing::Discard),
            Kind::Goodbye | Kind::Acknowledge => Ok(Landing::Nothing),
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
