//! Credit: how a flood slows its sender instead of eating the receiver's memory.
//!
//! Each receiver grants each sender a window of bytes (64 MiB divided by the number of peers, within
//! 16 and 256 KiB). What is sent without being asked for is charged: an envelope, and its payload
//! when it travels along. The charge comes back when a receive takes the message, in `Credit` frames
//! of at least half a window.
//!
//! * Credit for envelope and payload: the message goes out whole.
//! * Credit for the envelope only: it is announced, and its payload stays at the sender.
//! * No credit: it is *held* at the sender, in order, and the receiver is told once by `Starved`.
//!
//! A receiver may be waiting for the very message that is held behind others. So whoever is starving
//! its peer while it has an unmatched receive that this peer could serve asks for more announcements,
//! on top of the window: memory then grows by envelopes, and only as far as the program's own order of
//! receives demands.
//!
//! Messages of collectives are never held: each is expected by a receive that is certain to be posted,
//! and a barrier must not wait behind a flood. Without credit they are announced, uncharged.

use super::{
    Action, Engine, Mode, Nonsense, Outgoing, SendId, SendPhase, SendStart, SendState, send_token,
};
use crate::base::ids::Peer;
use crate::limits::ENVELOPE_CREDIT_BYTES;
use crate::wire::header::{Flags, Header, Kind};

pub(super) const ENVELOPE: u64 = ENVELOPE_CREDIT_BYTES as u64;
/// Announcements that are asked for at a time.
const ENVELOPES_GRANT: u64 = 256;
/// Messages of collectives that a peer may announce without credit before they are received: that
/// many nonblocking collectives ahead of this rank.
const COLLECTIVES_ANNOUNCED_MAX: u64 = 1 << 16;

/// How a message may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Whole,
    Announced { charged: bool },
    Held,
}

impl Engine {
    /// Decides how a message leaves, and pays for it.
    pub(crate) fn pay(&mut self, to: Peer, length: u64, eager: bool, collective: bool) -> Leave {
        let state = self.peer_mut(to);
        if eager && state.credit >= ENVELOPE + length {
            state.credit -= ENVELOPE + length;
            return Leave::Whole;
        }
        if collective {
            return Leave::Announced { charged: false };
        }
        if state.credit >= ENVELOPE {
            state.credit -= ENVELOPE;
            return Leave::Announced { charged: true };
        }
        if state.envelopes > 0 {
            state.envelopes -= 1;
            return Leave::Announced { charged: false };
        }
        Leave::Held
    }

    pub(crate) fn hold(&mut self, to: Peer, id: SendId) {
        let state = self.peer_mut(to);
        state.held.push_back(id);
        if !state.starved_told {
            state.starved_told = true;
            let header = self.header(Kind::Starved);
            self.transmit(to, header);
        }
    }

    pub(crate) fn arrive_credit(&mut self, from: Peer, header: &Header) {
        let window = self.window;
        let state = self.peer_mut(from);
        if header.flags.contains(Flags::ENVELOPES) {
            state.envelopes = state.envelopes.saturating_add(header.length);
        } else {
            state.credit = state.credit.saturating_add(header.length).min(window);
        }
        state.starved_told = false;
        self.release_held(from);
    }

    /// Sends what was held, as far as the credit goes.
    fn release_held(&mut self, to: Peer) {
        while let Some(&id) = self.peer_mut(to).held.front() {
            let Some(send) = self.sends.get(id) else {
                self.peer_mut(to).held.pop_front();
                continue;
            };
            let outgoing = send.outgoing;
            let eager = self.is_eager(&outgoing);
            match self.pay(to, outgoing.length, eager, false) {
                Leave::Held => break,
                Leave::Whole => self.transmit_whole(id, outgoing),
                Leave::Announced { charged } => self.announce(id, charged),
            }
            self.peer_mut(to).held.pop_front();
        }
        let state = self.peer_mut(to);
        if !state.held.is_empty() && !state.starved_told {
            state.starved_told = true;
            let header = self.header(Kind::Starved);
            self.transmit(to, header);
        }
    }

    fn transmit_whole(&mut self, id: SendId, outgoing: Outgoing) {
        let to = outgoing.to;
        let header = self.message_header(Kind::Eager, &outgoing);
        let body = Some((outgoing.buffer, 0));
        self.actions
            .push_back(Action::Transmit { to, header, body });
        self.send_done(id, Ok(()));
    }

    pub(crate) fn announce(&mut self, id: SendId, charged: bool) {
        let Some(send) = self.sends.get_mut(id) else {
            return;
        };
        send.phase = SendPhase::Requested;
        let outgoing = send.outgoing;
        let mut header = self.message_header(Kind::Request, &outgoing);
        header.token = send_token(id);
        if charged {
            header.flags = header.flags.with(Flags::CHARGED);
        }
        if self.peer_mut(outgoing.to).route.pull {
            header.flags = header.flags.with(Flags::PULL);
            header.place = outgoing.buffer.0;
        }
        self.transmit(outgoing.to, header);
    }

    pub(crate) fn is_eager(&mut self, outgoing: &Outgoing) -> bool {
        outgoing.mode == Mode::Standard
            && outgoing.length <= self.peer_mut(outgoing.to).route.eager_bytes_max
    }

    pub(crate) fn message_header(&self, kind: Kind, outgoing: &Outgoing) -> Header {
        Header {
            context: outgoing.context,
            tag: outgoing.tag,
            length: outgoing.length,
            check: outgoing.check,
            ..self.header(kind)
        }
    }

    /// Notes what a peer has sent unasked.
    pub(crate) fn charge(&mut self, from: Peer, payload: u64) -> Result<(), Nonsense> {
        let window = self.window;
        let state = self.peer_mut(from);
        state.taken = state.taken.saturating_add(ENVELOPE.saturating_add(payload));
        if state.taken > window {
            return Err(Nonsense::OverCredit {
                held: state.taken,
                credit: window,
            });
        }
        Ok(())
    }

    /// Whether an announcement is paid for: with credit, by a grant of this rank, or, within bounds, by
    /// being a collective's.
    pub(crate) fn charge_request(&mut self, from: Peer, header: &Header) -> Result<(), Nonsense> {
        if header.flags.contains(Flags::CHARGED) {
            return self.charge(from, 0);
        }
        let state = self.peer_mut(from);
        if header.context.is_collective() {
            if state.collectives >= COLLECTIVES_ANNOUNCED_MAX {
                return Err(Nonsense::Unpaid);
            }
        } else {
            state.granted = state.granted.checked_sub(1).ok_or(Nonsense::Unpaid)?;
        }
        Ok(())
    }

    /// A message that was charged has found its receive: the credit goes back, in half windows.
    pub(crate) fn give_back(&mut self, from: Peer, payload: u64) {
        let window = self.window;
        let state = self.peer_mut(from);
        state.owed += ENVELOPE + payload;
        if state.owed >= window / 2 {
            state.taken -= state.owed;
            let length = std::mem::take(&mut state.owed);
            state.starving = false;
            let header = Header {
                length,
                ..self.header(Kind::Credit)
            };
            self.transmit(from, header);
        }
    }

    pub(crate) fn arrive_starved(&mut self, from: Peer) {
        let any = self.posted_any > 0;
        let state = self.peer_mut(from);
        if state.granted > 0 {
            return; // It wrote this before it had the last grant; if that is not enough it will say so.
        }
        state.starving = true;
        let wanted = any || state.posted > 0;
        self.any_starving = true;
        if wanted {
            self.feed(from);
        }
    }

    /// Asks a starving peer for more: a receive or a probe waits for what it may hold.
    pub(crate) fn feed(&mut self, peer: Peer) {
        let state = self.peer_mut(peer);
        if !state.starving {
            return;
        }
        state.starving = false;
        state.granted = ENVELOPES_GRANT;
        let length = std::mem::take(&mut state.owed);
        state.taken -= length;
        if length > 0 {
            let header = Header {
                length,
                ..self.header(Kind::Credit)
            };
            self.transmit(peer, header);
        }
        let flags = Flags::ENVELOPES;
        let header = Header {
            length: ENVELOPES_GRANT,
            flags,
            ..self.header(Kind::Credit)
        };
        self.transmit(peer, header);
    }

    /// Asks every starving peer for more: a receive or a probe of any source waits.
    pub(crate) fn feed_all(&mut self) {
        if !std::mem::take(&mut self.any_starving) {
            return;
        }
        for index in 0..self.peers.len() {
            if self.peers[index]
                .as_ref()
                .is_some_and(|state| state.starving)
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "there are at most 2^20 ranks"
                )]
                self.feed(Peer(index as u32));
            }
        }
    }

    /// Begins a send whose peer is alive.
    pub(crate) fn start_send(&mut self, outgoing: Outgoing) -> SendStart {
        let eager = self.is_eager(&outgoing);
        let collective = outgoing.context.is_collective();
        let peer = self.peer_mut(outgoing.to);
        peer.messages[0] += u64::from(!collective);
        let queue = !collective && !peer.held.is_empty();
        let leave = if queue {
            Leave::Held
        } else {
            self.pay(outgoing.to, outgoing.length, eager, collective)
        };
        if leave == Leave::Whole && self.actions.is_empty() {
            return SendStart::Now(self.message_header(Kind::Eager, &outgoing));
        }
        let id = self.sends.insert(SendState {
            outgoing,
            phase: SendPhase::Held,
        });
        match leave {
            Leave::Announced { charged } => self.announce(id, charged),
            // It must not overtake what waits to be transmitted.
            Leave::Whole => self.transmit_whole(id, outgoing),
            Leave::Held => self.hold(outgoing.to, id),
        }
        SendStart::Later(id)
    }
}
