//! The sending half: beginning a message, streaming it on demand, withdrawing it.

use super::{
    Action, Engine, Failure, Nonsense, Outgoing, SendId, SendPhase, SendStart, Unwritten, send_id,
    send_token,
};
use crate::base::ids::Peer;
use crate::limits::DATA_PART_BYTES_MAX;
use crate::wire::header::{Header, Kind};

impl Engine {
    /// Begins a send.
    pub fn send(&mut self, outgoing: Outgoing) -> SendStart {
        if self.is_gone(outgoing.to) {
            return SendStart::Gone;
        }
        self.start_send(outgoing)
    }

    /// So many bytes of the part that was handed out last are written, and will be read again if the
    /// connection breaks: the next part may follow.
    pub fn part_written(&mut self, id: SendId, written: u64) {
        self.part_moved(id, written, 0);
    }

    /// So many bytes, of the oldest that were handed out, are written and will not be read again.
    pub fn part_sent(&mut self, id: SendId, given_back: u64) {
        self.part_moved(id, 0, given_back);
    }

    fn part_moved(&mut self, id: SendId, written: u64, given_back: u64) {
        let Some(send) = self.sends.get_mut(id) else {
            return;
        };
        let SendPhase::Sending {
            offset,
            length,
            unwritten,
            lent,
            ..
        } = &mut send.phase
        else {
            return;
        };
        let before = *unwritten;
        *lent = lent.saturating_sub(given_back);
        *unwritten = unwritten.saturating_sub(written).min(*lent);
        let all = offset == length;
        if all && *lent == 0 {
            self.send_done(id, Ok(()));
        } else if !all && before > 0 && *unwritten == 0 {
            self.next_part(id);
        }
    }

    /// Gives a send up: nobody will be told how it ended. Perform all actions before it: one of them may
    /// be about to transmit this message.
    ///
    /// The receiver learns of it if the message was announced; unless its last part has been handed out
    /// already, which cannot be called back: the message then arrives in full, and the answer says which
    /// bytes of it are not written yet. Keep them readable, or a copy of them, until they are. Otherwise
    /// the buffer is not needed any more: in place of what is still to be written, anything will do.
    pub fn withdraw(&mut self, id: SendId) -> Option<Unwritten> {
        let send = self.sends.remove(id)?;
        let outgoing = send.outgoing;
        match send.phase {
            SendPhase::Held => {
                self.peer_mut(outgoing.to).messages[0] -=
                    u64::from(!outgoing.context.is_collective());
                self.trim_held(outgoing.to);
                None
            }
            SendPhase::Sending {
                offset,
                length,
                lent,
                ..
            } if offset == length => Some(Unwritten {
                buffer: outgoing.buffer,
                offset: offset - lent,
                length: lent,
            }),
            SendPhase::Requested | SendPhase::Sending { .. } => {
                let header = Header {
                    token: send_token(id),
                    ..self.header(Kind::Withdrawn)
                };
                self.transmit(outgoing.to, header);
                None
            }
        }
    }

    /// Forgets withdrawn sends at both ends of those held back: a program that tries again and again,
    /// each time giving up, leaves no trail.
    fn trim_held(&mut self, to: Peer) {
        let mut held = std::mem::take(&mut self.peer_mut(to).held);
        let withdrawn = |id: &SendId| !self.sends.contains_key(*id);
        while held.back().is_some_and(withdrawn) {
            held.pop_back();
        }
        while held.front().is_some_and(withdrawn) {
            held.pop_front();
        }
        self.peer_mut(to).held = held;
    }

    pub(crate) fn arrive_clear(&mut self, from: Peer, header: &Header) -> Result<(), Nonsense> {
        let id = send_id(header.token);
        let Some(send) = self.sends.get_mut(id) else {
            return Ok(()); // It was withdrawn while the answer was under way.
        };
        if send.outgoing.to != from || send.phase != SendPhase::Requested {
            return Err(Nonsense::Unasked(header.kind));
        }
        if header.length == 0 || header.length > send.outgoing.length {
            return Err(Nonsense::Length(header.kind, header.length));
        }
        let (place, length) = (header.place, header.length);
        send.phase = SendPhase::Sending {
            place,
            offset: 0,
            length,
            unwritten: 0,
            lent: 0,
        };
        self.next_part(id);
        Ok(())
    }

    pub(crate) fn arrive_finished(&mut self, from: Peer, header: &Header) -> Result<(), Nonsense> {
        let id = send_id(header.token);
        let Some(send) = self.sends.get(id) else {
            return Ok(());
        };
        if send.outgoing.to != from || send.phase != SendPhase::Requested {
            return Err(Nonsense::Unasked(header.kind));
        }
        self.send_done(id, Ok(()));
        Ok(())
    }

    pub(crate) fn send_done(&mut self, id: SendId, outcome: Result<(), Failure>) {
        if let Some(send) = self.sends.remove(id) {
            let owner = send.outgoing.owner;
            self.actions.push_back(Action::SendDone {
                send: id,
                owner,
                outcome,
            });
        }
    }

    pub(crate) fn fail_sends_to(&mut self, peer: Peer) {
        let lost: Vec<_> = self
            .sends
            .iter()
            .filter(|(_, send)| send.outgoing.to == peer)
            .map(|(id, _)| id)
            .collect();
        for id in lost {
            self.send_done(id, Err(Failure::PeerGone(peer)));
        }
        self.peer_mut(peer).held.clear();
    }

    fn next_part(&mut self, id: SendId) {
        let template = self.header(Kind::Data);
        let Some(send) = self.sends.get_mut(id) else {
            return;
        };
        let outgoing = send.outgoing;
        let SendPhase::Sending {
            place,
            offset,
            length,
            unwritten,
            lent,
        } = &mut send.phase
        else {
            return;
        };
        let part = (*length - *offset).min(DATA_PART_BYTES_MAX as u64);
        let header = Header {
            context: outgoing.context,
            check: outgoing.check,
            length: part,
            token: *place,
            place: *offset,
            ..template
        };
        let action = Action::TransmitPart {
            to: outgoing.to,
            header,
            send: id,
            buffer: outgoing.buffer,
            offset: *offset,
        };
        *offset += part;
        *unwritten = part;
        *lent += part;
        self.actions.push_back(action);
    }
}
