//! The receiving half: posting, matching, landing, cancelling.

use super::matching::NodeId;
use super::{
    Action, Engine, Envelope, Failure, Incoming, Landing, Nonsense, Pattern, RecvId, RecvPhase,
    RecvState, Unexpected, UnexpectedKind, recv_id, recv_token,
};
use crate::base::ids::{Context, Peer};
use crate::wire::header::{Flags, Header, Kind};

/// Lists of the unexpected queue: as sent, any source, any tag, anything.
const EXACT: usize = 0;
const ANY_SOURCE: usize = 1;
const ANY_TAG: usize = 2;
const ANYTHING: usize = 3;

impl Engine {
    /// Posts a receive. It may be complete at once: the actions tell.
    pub fn recv(&mut self, incoming: Incoming) -> RecvId {
        let pattern = incoming.pattern;
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
        self.want_more(pattern.source);
        id
    }

    /// A message that a receive with this pattern would get now, without taking it.
    pub fn probe(&mut self, pattern: &Pattern) -> Option<Envelope> {
        let Some(node) = self.find_unexpected(pattern) else {
            self.want_more(pattern.source);
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

    /// The payload that followed a header is there in full.
    pub fn landed(&mut self, landing: Landing) {
        match landing {
            Landing::Nothing | Landing::Discard => {}
            Landing::Posted { recv, part, .. } => self.landed_posted(recv, part),
            Landing::Staged { staged, .. } => self.landed_staged(staged),
        }
    }

    /// The layer above has read the sender's memory, or found it withdrawn.
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
            self.recv_done(id, Err(Failure::Withdrawn(envelope)));
        }
    }

    pub(crate) fn arrive_eager(
        &mut self,
        from: Peer,
        header: &Header,
    ) -> Result<Landing, Nonsense> {
        if header.context.is_collective() {
            self.collective_frame(header.context, from, header.tag, header.check);
        }
        self.charge(from, header.length)?;
        let envelope = envelope(from, header);
        let Some(id) = self.find_posted(header.context, from, header.tag) else {
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
        if header.context.is_collective() {
            self.collective_frame(header.context, from, header.tag, header.check);
        }
        let charged = header.flags.contains(Flags::CHARGED);
        if charged {
            self.charge(from, 0)?;
        }
        let envelope = envelope(from, header);
        let pull = header.flags.contains(Flags::PULL).then_some(header.place);
        let token = header.token;
        if let Some(id) = self.find_posted(header.context, from, header.tag) {
            self.unpost(id);
            if charged {
                self.give_back(from, 0);
            }
            self.start_transfer(id, envelope, token, pull);
        } else {
            let kind = UnexpectedKind::Requested {
                token,
                pull,
                charged,
            };
            self.push_unexpected(header.context, envelope, kind);
        }
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
        let announced = self.unexpected.in_order().into_iter().find(|&node| {
            self.unexpected.get(node).is_some_and(|entry| {
                entry.envelope.source == from
                    && matches!(entry.kind, UnexpectedKind::Requested { token: t, .. } if t == token)
            })
        });
        if let Some(node) = announced {
            let entry = self.unexpected.remove(node);
            if let Some(Unexpected {
                kind: UnexpectedKind::Requested { charged: true, .. },
                ..
            }) = entry
            {
                self.give_back(from, 0);
            }
            return;
        }
        let matched = self.recvs.iter().find_map(|(id, recv)| match recv.phase {
            RecvPhase::Streaming {
                envelope, token: t, ..
            }
            | RecvPhase::Pulling { envelope, token: t }
                if t == token && envelope.source == from =>
            {
                Some((id, envelope))
            }
            _ => None,
        });
        if let Some((id, envelope)) = matched {
            self.recv_done(id, Err(Failure::Withdrawn(envelope)));
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
            if let UnexpectedKind::Staged { .. } = entry.kind {
                self.actions.push_back(Action::Deliver {
                    staged: node,
                    into: None,
                    take: 0,
                });
            }
            self.unexpected.remove(node);
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

    /// Hands a complete staged payload to the receive that took it.
    fn deliver(&mut self, id: RecvId, staged: NodeId, envelope: Envelope) {
        self.unexpected.remove(staged);
        let Some(recv) = self.recvs.get(id) else {
            self.actions.push_back(Action::Deliver {
                staged,
                into: None,
                take: 0,
            });
            return;
        };
        let into = (!recv.abandoned).then_some((id, recv.incoming.buffer));
        let take = recv.incoming.capacity.take(envelope.length);
        self.actions
            .push_back(Action::Deliver { staged, into, take });
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
            UnexpectedKind::Requested {
                token,
                pull,
                charged,
            } => {
                self.unexpected.remove(node);
                if charged {
                    self.give_back(envelope.source, 0);
                }
                self.start_transfer(id, envelope, token, pull);
            }
        }
    }

    /// Frees a staged payload that nobody wants; one that is still arriving is freed when it is there.
    fn drop_staged(&mut self, node: NodeId, complete: bool) {
        if complete {
            self.unexpected.remove(node);
            self.actions.push_back(Action::Deliver {
                staged: node,
                into: None,
                take: 0,
            });
        } else if let Some(entry) = self.unexpected.get_mut(node) {
            entry.kind = UnexpectedKind::Staged {
                complete,
                claimed: Some(RecvId::default()),
            };
        }
    }

    fn start_transfer(&mut self, id: RecvId, envelope: Envelope, token: u64, pull: Option<u64>) {
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
            return;
        }
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
    fn recv_received(&mut self, id: RecvId, envelope: Envelope) {
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

    fn recv_done(&mut self, id: RecvId, outcome: Result<Envelope, Failure>) {
        let Some(recv) = self.recvs.remove(id) else {
            return;
        };
        if !recv.abandoned {
            let owner = recv.incoming.owner;
            self.actions.push_back(Action::RecvDone {
                recv: id,
                owner,
                outcome,
            });
        }
    }

    fn unpost(&mut self, id: RecvId) {
        let Some(recv) = self.recvs.get(id) else {
            return;
        };
        let RecvPhase::Posted(node) = recv.phase else {
            return;
        };
        let pattern = recv.incoming.pattern;
        if self.posted.remove(node).is_some() {
            self.count_posted(&pattern, false);
        }
    }

    fn count_posted(&mut self, pattern: &Pattern, more: bool) {
        if pattern.source.is_none() || pattern.tag.is_none() {
            self.posted_wild = if more {
                self.posted_wild + 1
            } else {
                self.posted_wild - 1
            };
        }
        if let Some(source) = pattern.source {
            let state = self.peer_mut(source);
            state.posted = if more {
                state.posted + 1
            } else {
                state.posted - 1
            };
        }
    }

    fn want_more(&mut self, source: Option<Peer>) {
        if self.any_starving {
            match source {
                Some(peer) => self.feed(peer),
                None => self.feed_all(),
            }
        }
    }

    /// The oldest posted receive that accepts this message.
    fn find_posted(&self, context: Context, source: Peer, tag: u64) -> Option<RecvId> {
        let exact = Pattern {
            context,
            source: Some(source),
            tag: Some(tag),
        };
        let mut best = self.posted.first(0, &exact);
        if self.posted_wild > 0 {
            let wild = [
                Pattern {
                    source: None,
                    ..exact
                },
                Pattern { tag: None, ..exact },
                Pattern {
                    source: None,
                    tag: None,
                    ..exact
                },
            ];
            for pattern in &wild {
                let found = self.posted.first(0, pattern);
                best = match (best, found) {
                    (Some(one), Some(other)) => Some(if other.1 < one.1 { other } else { one }),
                    (one, other) => one.or(other),
                };
            }
        }
        best.and_then(|(node, _)| self.posted.get(node).copied())
    }

    /// The oldest unexpected message that this pattern accepts.
    fn find_unexpected(&mut self, pattern: &Pattern) -> Option<NodeId> {
        let list = match (pattern.source, pattern.tag) {
            (Some(_), Some(_)) => EXACT,
            (None, Some(_)) => ANY_SOURCE,
            (Some(_), None) => ANY_TAG,
            (None, None) => ANYTHING,
        };
        if list != EXACT && !self.unexpected_indexed {
            self.index_unexpected();
        }
        self.unexpected.first(list, pattern).map(|(node, _)| node)
    }

    /// From the first wildcard on, messages are threaded on all four lists: programs without
    /// wildcards do not pay for them.
    fn index_unexpected(&mut self) {
        self.unexpected_indexed = true;
        for node in self.unexpected.in_order() {
            let Some(entry) = self.unexpected.get(node) else {
                continue;
            };
            let claimed = matches!(
                entry.kind,
                UnexpectedKind::Staged {
                    claimed: Some(_),
                    ..
                }
            );
            if claimed || entry.context.is_collective() {
                continue;
            }
            let patterns = patterns(entry.context, &entry.envelope);
            for (list, pattern) in patterns.into_iter().enumerate().skip(1) {
                self.unexpected.append(list, pattern, node);
            }
        }
    }

    fn push_unexpected(
        &mut self,
        context: Context,
        envelope: Envelope,
        kind: UnexpectedKind,
    ) -> NodeId {
        let all = patterns(context, &envelope);
        let indexed = self.unexpected_indexed && !context.is_collective();
        let mut lists = all.map(|pattern| indexed.then_some(pattern));
        lists[EXACT] = Some(all[EXACT]);
        self.unexpected.push(
            lists,
            Unexpected {
                context,
                envelope,
                kind,
            },
        )
    }
}

fn envelope(source: Peer, header: &Header) -> Envelope {
    Envelope {
        source,
        tag: header.tag,
        length: header.length,
        check: header.check,
    }
}

fn patterns(context: Context, envelope: &Envelope) -> [Pattern; 4] {
    let (source, tag) = (Some(envelope.source), Some(envelope.tag));
    [
        Pattern {
            context,
            source,
            tag,
        },
        Pattern {
            context,
            source: None,
            tag,
        },
        Pattern {
            context,
            source,
            tag: None,
        },
        Pattern {
            context,
            source: None,
            tag: None,
        },
    ]
}
