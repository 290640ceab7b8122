//! The receiving half: what arrives, and where it lands.

use super::matching::NodeId;
use super::search::envelope;
use super::{
    Action, Announced, Engine, Failure, Landing, Nonsense, RecvId, RecvPhase, UnexpectedKind,
    recv_id,
};
use crate::base::ids::Peer;
use crate::wire::header::{Flags, Header};

impl Engine {
    /// The payload that followed a header is there in full.
    pub fn landed(&mut self, landing: Landing) {
        match landing {
            Landing::Nothing | Landing::Discard => {}
            Landing::Posted { recv, part, .. } => self.landed_posted(recv, part),
            Landing::Staged { staged, .. } => self.landed_staged(staged),
        }
    }
    pub(crate) fn arrive_eager(
        &mut self,
        from: Peer,
        header: &Header,
    ) -> Result<Landing, Nonsense> {
        self.charge(from, header.length)?;
        let envelope = envelope(from, header);
        let posted = self.find_posted(header.context, from, header.tag);
        if header.context.is_collective() {
            self.collective_frame(from, header, posted.is_none());
        } else {
            self.peer_mut(from).messages[1] += 1;
        }
        let Some(id) = posted else {
            let complete = header.length == 0;
            let kind = UnexpectedKind::Staged {
                complete,
                claimed: None,
            };
            let staged = self.push_unexpected(header.context, envelope, kind);
            return Ok(if complete {
                Landing::Nothing
            } else {
                Landing::Staged {
                    staged,
                    length: header.length,
                }
            });
        };
        self.unpost(id);
        self.give_back(from, header.length);
        let incoming = self.recvs[id].incoming;
        if incoming.check != header.check {
            self.recv_done(id, Err(Failure::Type { envelope }));
            return Ok(Landing::Discard);
        }
        self.recvs[id].phase = RecvPhase::Landing { envelope };
        if header.length == 0 {
            self.recv_received(id, envelope);
            return Ok(Landing::Nothing);
        }
        Ok(Landing::Posted {
            recv: id,
            buffer: incoming.buffer,
            offset: 0,
            take: incoming.capacity.take(header.length),
            message: header.length,
            part: header.length,
        })
    }

    pub(crate) fn arrive_request(
        &mut self,
        from: Peer,
        header: &Header,
    ) -> Result<Landing, Nonsense> {
        let token = header.token;
        if self.announced.contains_key(&(from, token)) {
            return Err(Nonsense::Repeated(token));
        }
        self.charge_request(from, header)?;
        let envelope = envelope(from, header);
        let charged = header.flags.contains(Flags::CHARGED);
        let pull = header.flags.contains(Flags::PULL).then_some(header.place);
        let posted = self.find_posted(header.context, from, header.tag);
        if header.context.is_collective() {
            self.collective_frame(from, header, posted.is_none());
        } else {
            self.peer_mut(from).messages[1] += 1;
        }
        if let Some(id) = posted {
            self.unpost(id);
            if charged {
                self.give_back(from, 0);
            }
            self.start_transfer(id, envelope, token, pull);
            return Ok(Landing::Nothing);
        }
        let kind = UnexpectedKind::Requested {
            token,
            pull,
            charged,
        };
        if header.context.is_collective() && !charged {
            self.peer_mut(from).collectives += 1;
        }
        let node = self.push_unexpected(header.context, envelope, kind);
        self.announced
            .insert((from, token), Announced::Waiting(node));
        Ok(Landing::Nothing)
    }

    pub(crate) fn arrive_data(&mut self, from: Peer, header: &Header) -> Result<Landing, Nonsense> {
        let id = recv_id(header.token);
        let recv = self.recvs.get(id).ok_or(Nonsense::Unasked(header.kind))?;
        let RecvPhase::Streaming {
            envelope,
            wanted,
            arrived,
            ..
        } = recv.phase
        else {
            return Err(Nonsense::Unasked(header.kind));
        };
        if envelope.source != from || header.length == 0 {
            return Err(Nonsense::Unasked(header.kind));
        }
        if header.place != arrived || header.length > wanted - arrived {
            return Err(Nonsense::OutOfOrder {
                offset: header.place,
                expected: arrived,
            });
        }
        Ok(Landing::Posted {
            recv: id,
            buffer: recv.incoming.buffer,
            offset: arrived,
            take: header.length,
            message: envelope.length,
            part: header.length,
        })
    }

    pub(crate) fn arrive_withdrawn(&mut self, from: Peer, token: u64) {
        match self.announced.get(&(from, token)) {
            Some(&Announced::Waiting(node)) => self.take_request(node),
            Some(&Announced::Matched(id)) => {
                if let Some(
                    RecvPhase::Streaming { envelope, .. } | RecvPhase::Pulling { envelope, .. },
                ) = self.recvs.get(id).map(|recv| recv.phase)
                {
                    self.recv_done(id, Err(Failure::Withdrawn(envelope)));
                }
            }
            None => {} // It was received while this was under way.
        }
    }

    pub(crate) fn fail_receives_from(&mut self, peer: Peer, wild: bool) {
        let lost: Vec<_> = self
            .recvs
            .iter()
            .filter(|(_, recv)| match recv.phase {
                RecvPhase::Posted(_) => {
                    let source = recv.incoming.pattern.source;
                    source == Some(peer) || (wild && source.is_none())
                }
                RecvPhase::Landing { envelope }
                | RecvPhase::Streaming { envelope, .. }
                | RecvPhase::Pulling { envelope, .. } => envelope.source == peer,
            })
            .map(|(id, _)| id)
            .collect();
        for id in lost {
            if matches!(self.recvs[id].phase, RecvPhase::Posted(_)) {
                self.unpost(id);
            }
            self.recv_done(id, Err(Failure::PeerGone(peer)));
        }
        for node in self.unexpected.in_order() {
            let Some(entry) = self.unexpected.get(node) else {
                continue;
            };
            let whole = matches!(entry.kind, UnexpectedKind::Staged { complete: true, .. });
            if entry.envelope.source != peer || whole {
                continue;
            }
            let (context, tag) = (entry.context, entry.envelope.tag);
            match entry.kind {
                UnexpectedKind::Requested { .. } => self.take_request(node),
                UnexpectedKind::Staged { claimed, .. } => {
                    self.unexpected.remove(node);
                    self.actions.push_back(Action::Deliver {
                        staged: node,
                        into: None,
                        take: 0,
                    });
                    if claimed.is_none() && context.is_collective() {
                        self.collective_taken(context, tag);
                    }
                }
            }
        }
    }

    fn landed_posted(&mut self, id: RecvId, part: u64) {
        let Some(recv) = self.recvs.get_mut(id) else {
            return;
        };
        match &mut recv.phase {
            RecvPhase::Landing { envelope } => {
                let envelope = *envelope;
                self.recv_received(id, envelope);
            }
            RecvPhase::Streaming {
                envelope,
                wanted,
                arrived,
                ..
            } => {
                *arrived += part;
                if arrived == wanted {
                    let envelope = *envelope;
                    self.recv_received(id, envelope);
                }
            }
            RecvPhase::Posted(_) | RecvPhase::Pulling { .. } => {}
        }
    }

    fn landed_staged(&mut self, staged: NodeId) {
        let Some(entry) = self.unexpected.get_mut(staged) else {
            return;
        };
        let UnexpectedKind::Staged { complete, claimed } = &mut entry.kind else {
            return;
        };
        *complete = true;
        let (claimed, envelope) = (*claimed, entry.envelope);
        if let Some(id) = claimed {
            self.deliver(id, staged, envelope);
        }
    }
}
