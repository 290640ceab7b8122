//! The receiving half: posting, taking what is there, cancelling.

use super::matching::NodeId;
use super::{
    Action, Announced, Engine, Envelope, Failure, Incoming, Pattern, RecvId, RecvPhase, RecvState,
    UnexpectedKind, recv_token,
};
use crate::base::ids::Peer;
use crate::wire::header::{Header, Kind};

impl Engine {
    /// Posts a receive. It may be complete at once: the actions tell.
    ///
    /// In the message space of a collective a receive names its source and tag.
    pub fn recv(&mut self, incoming: Incoming) -> RecvId {
        let pattern = incoming.pattern;
        debug_assert!(
            !pattern.context.is_collective() || pattern.source.is_some() && pattern.tag.is_some(),
            "a collective knows what it waits for"
        );
        let phase = RecvPhase::Posted(NodeId::default());
        let id = self.recvs.insert(RecvState {
            incoming,
            phase,
            abandoned: false,
        });
        if let Some(node) = self.find_unexpected(&pattern) {
            self.take_unexpected(id, node);
            return id;
        }
        if let Some(peer) = self.nobody_left(pattern.source) {
            self.recv_done(id, Err(Failure::PeerGone(peer)));
            return id;
        }
        let node = self.posted.push([Some(pattern)], id);
        self.recvs[id].phase = RecvPhase::Posted(node);
        self.count_posted(&pattern, true);
        self.want_more(&pattern);
        id
    }

    /// A message that a receive with this pattern would get now, without taking it. Who waits for one
    /// asks again whenever something has arrived: asking is what makes a starving peer announce more.
    pub fn probe(&mut self, pattern: &Pattern) -> Option<Envelope> {
        let Some(node) = self.find_unexpected(pattern) else {
            self.want_more(pattern);
            return None;
        };
        self.unexpected.get(node).map(|entry| entry.envelope)
    }

    /// A peer whose absence means that nothing can match this source any more.
    pub fn nobody_left(&self, source: Option<Peer>) -> Option<Peer> {
        match source {
            Some(peer) => self.is_gone(peer).then_some(peer),
            None => {
                let alone = self.config.size > 1 && self.gone + 1 >= self.config.size;
                let first = u32::from(self.config.me.0 == 0);
                alone.then_some(Peer(first))
            }
        }
    }

    /// Cancels a receive that nothing has matched; `true` if so, and nobody is told of it any more.
    pub fn cancel(&mut self, id: RecvId) -> bool {
        let Some(recv) = self.recvs.get(id) else {
            return false;
        };
        let RecvPhase::Posted(_) = recv.phase else {
            return false;
        };
        self.unpost(id);
        self.recvs.remove(id);
        true
    }

    /// Gives a receive up, matched or not: its buffer is gone, what still comes is thrown away, and
    /// nobody will be told how it ended.
    pub fn abandon(&mut self, id: RecvId) {
        if self.cancel(id) {
            return;
        }
        if let Some(recv) = self.recvs.get_mut(id) {
            recv.abandoned = true;
        }
    }
    /// The layer above has read the sender's memory; or it could not, or has no use for it any more: the
    /// sender is then asked to send.
    pub fn pulled(&mut self, id: RecvId, success: bool) {
        let Some(recv) = self.recvs.get(id) else {
            return;
        };
        let RecvPhase::Pulling { envelope, token } = recv.phase else {
            return;
        };
        if success {
            let header = Header {
                token,
                ..self.header(Kind::Finished)
            };
            self.transmit(envelope.source, header);
            self.recv_received(id, envelope);
        } else {
            self.start_stream(id, envelope, token);
        }
    }
    /// Hands a complete staged payload to the receive that took it.
    pub(crate) fn deliver(&mut self, id: RecvId, staged: NodeId, envelope: Envelope) {
        self.unexpected.remove(staged);
        let recv = self.recvs.get(id);
        if envelope.length > 0 {
            let into = recv
                .filter(|recv| !recv.abandoned)
                .map(|recv| (id, recv.incoming.buffer));
            let take = recv.map_or(0, |recv| recv.incoming.capacity.take(envelope.length));
            self.actions
                .push_back(Action::Deliver { staged, into, take });
        }
        self.recv_received(id, envelope);
    }

    fn take_unexpected(&mut self, id: RecvId, node: NodeId) {
        self.unexpected.unlink(node);
        let Some(&entry) = self.unexpected.get(node) else {
            return;
        };
        let envelope = entry.envelope;
        match entry.kind {
            UnexpectedKind::Staged { complete, .. } => {
                self.give_back(envelope.source, envelope.length);
                if entry.context.is_collective() {
                    self.collective_taken(entry.context, envelope.tag);
                }
                if self.recvs[id].incoming.check != envelope.check {
                    self.recv_done(id, Err(Failure::Type { envelope }));
                    self.drop_staged(node, complete);
                    return;
                }
                self.recvs[id].phase = RecvPhase::Landing { envelope };
                if complete {
                    self.deliver(id, node, envelope);
                } else if let Some(entry) = self.unexpected.get_mut(node) {
                    entry.kind = UnexpectedKind::Staged {
                        complete,
                        claimed: Some(id),
                    };
                }
            }
            UnexpectedKind::Requested { token, pull, .. } => {
                self.take_request(node);
                self.start_transfer(id, envelope, token, pull);
            }
        }
    }

    /// Frees a staged payload that nobody wants; one that is still arriving is freed when it is there.
    pub(super) fn drop_staged(&mut self, node: NodeId, complete: bool) {
        let Some(entry) = self.unexpected.get_mut(node) else {
            return;
        };
        let (nobody, envelope) = (RecvId::default(), entry.envelope);
        entry.kind = UnexpectedKind::Staged {
            complete,
            claimed: Some(nobody),
        };
        if complete {
            self.deliver(nobody, node, envelope);
        }
    }

    pub(crate) fn start_transfer(
        &mut self,
        id: RecvId,
        envelope: Envelope,
        token: u64,
        pull: Option<u64>,
    ) {
        let incoming = self.recvs[id].incoming;
        let wanted = incoming.capacity.take(envelope.length);
        let wrong = incoming.check != envelope.check;
        if wanted == 0 || wrong {
            let header = Header {
                token,
                ..self.header(Kind::Finished)
            };
            self.transmit(envelope.source, header);
            if wrong {
                self.recv_done(id, Err(Failure::Type { envelope }));
            } else {
                self.recv_received(id, envelope);
            }
            return;
        }
        let key = (envelope.source, token);
        self.announced.insert(key, Announced::Matched(id));
        if let Some(address) = pull {
            self.recvs[id].phase = RecvPhase::Pulling { envelope, token };
            self.actions.push_back(Action::Pull {
                from: envelope.source,
                recv: id,
                buffer: incoming.buffer,
                token,
                address,
                length: wanted,
            });
        } else {
            self.start_stream(id, envelope, token);
        }
    }

    fn start_stream(&mut self, id: RecvId, envelope: Envelope, token: u64) {
        let wanted = self.recvs[id].incoming.capacity.take(envelope.length);
        self.recvs[id].phase = RecvPhase::Streaming {
            envelope,
            token,
            wanted,
            arrived: 0,
        };
        let header = Header {
            token,
            place: recv_token(id),
            length: wanted,
            ..self.header(Kind::Clear)
        };
        self.transmit(envelope.source, header);
    }

    /// The message is here, as far as there was room for it.
    pub(crate) fn recv_received(&mut self, id: RecvId, envelope: Envelope) {
        let Some(recv) = self.recvs.get(id) else {
            return;
        };
        let capacity = recv.incoming.capacity;
        let outcome = match capacity {
            super::Capacity::Fixed(bytes) if capacity.truncates(envelope.length) => {
                Err(Failure::Truncated {
                    envelope,
                    capacity: bytes,
                })
            }
            _ => Ok(envelope),
        };
        self.recv_done(id, outcome);
    }

    pub(crate) fn recv_done(&mut self, id: RecvId, outcome: Result<Envelope, Failure>) {
        let Some(recv) = self.recvs.remove(id) else {
            return;
        };
        if let RecvPhase::Streaming {
            envelope, token, ..
        }
        | RecvPhase::Pulling { envelope, token } = recv.phase
        {
            self.announced.remove(&(envelope.source, token));
        }
        if !recv.abandoned {
            let owner = recv.incoming.owner;
            self.actions.push_back(Action::RecvDone {
                recv: id,
                owner,
                outcome,
            });
        }
    }
}
