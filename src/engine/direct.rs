//! Messages that are sent and received without a request: the shortest way for calls that block.

use super::credit::ENVELOPE;
use super::{Engine, Envelope, Pattern};
use crate::base::ids::{Context, Peer};
use crate::wire::header::{Header, Kind};

/// A message that may leave at once, without a name for its memory.
#[derive(Clone, Copy, Debug)]
pub struct Letter {
    /// The receiver.
    pub to: Peer,
    /// Communicator and message space.
    pub context: Context,
    /// Its tag.
    pub tag: u64,
    /// Fingerprint of the element type.
    pub check: u64,
    /// Bytes.
    pub length: u64,
}

impl Engine {
    /// The header with which a message may leave at once and whole; then it is sent. `None`: begin it with
    /// [`send`](Self::send).
    pub fn send_now(&mut self, letter: &Letter) -> Option<Header> {
        let template = self.header(Kind::Eager);
        if !self.actions.is_empty() {
            return None; // It must not overtake what waits to be transmitted.
        }
        let state = self.peer_mut(letter.to);
        let price = ENVELOPE + letter.length;
        let eager = letter.length <= state.route.eager_bytes_max;
        if !eager || state.gone || !state.held.is_empty() || state.credit < price {
            return None;
        }
        state.credit -= price;
        state.messages[0] += u64::from(!letter.context.is_collective());
        Some(Header {
            context: letter.context,
            tag: letter.tag,
            check: letter.check,
            length: letter.length,
            ..template
        })
    }

    /// Whether the next message of a source is the one for a receive with this pattern, if the pattern
    /// accepts it: nothing else is under way that could have a claim to it, and nothing that came before
    /// it would be received first.
    pub fn receives_next(&mut self, pattern: &Pattern) -> bool {
        let starving = pattern
            .source
            .is_none_or(|source| self.peer_mut(source).starving);
        self.gone == 0
            && !starving
            && self.recvs.is_empty()
            && self.sends.is_empty()
            && self.actions.is_empty()
            && (self.unexpected.is_empty() || self.find_unexpected(pattern).is_none())
    }

    /// Takes a message that has just arrived whole, for a receive that was not posted, after
    /// [`receives_next`](Self::receives_next) and with nothing done in between. `None` when it is not for
    /// this pattern, or not allowed: let it [`arrive`](Self::arrive).
    pub fn receive_now(
        &mut self,
        from: Peer,
        header: &Header,
        pattern: &Pattern,
    ) -> Option<Envelope> {
        let accepted = header.kind == Kind::Eager
            && header.context == pattern.context
            && pattern.source == Some(from)
            && pattern.tag.is_none_or(|tag| tag == header.tag);
        let window = self.window;
        let state = self.peer_mut(from);
        let price = ENVELOPE.saturating_add(header.length);
        if !accepted || state.taken.saturating_add(price) > window {
            return None;
        }
        state.taken += price;
        state.messages[1] += u64::from(!header.context.is_collective());
        self.give_back(from, header.length);
        Some(Envelope {
            source: from,
            tag: header.tag,
            length: header.length,
            check: header.check,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BufferId, Capacity, EngineConfig, Incoming, Landing, Owner, Route};
    use super::*;
    use crate::base::ids::Epoch;

    const HIM: Peer = Peer(1);

    fn engine() -> Engine {
        Engine::new(EngineConfig {
            me: Peer(0),
            size: 2,
            epoch: Epoch(0),
            route: Route {
                eager_bytes_max: 1024,
                pull: false,
            },
            unexpected_bytes_max: 1 << 20,
        })
    }

    fn message(tag: u64, length: u64) -> Header {
        Header {
            tag,
            length,
            check: 7,
            ..Header::new(Kind::Eager, Epoch(0), HIM)
        }
    }

    fn pattern(tag: Option<u64>) -> Pattern {
        Pattern {
            context: Context::WORLD,
            source: Some(HIM),
            tag,
        }
    }

    #[test]
    fn what_came_or_was_posted_before_has_the_first_claim() {
        let mut engine = engine();
        assert!(engine.receives_next(&pattern(Some(5))));
        let landing = engine.arrive(HIM, &message(5, 0)).expect("sound");
        assert_eq!(landing, Landing::Nothing);
        assert!(!engine.receives_next(&pattern(Some(5))), "one waits");
        assert!(!engine.receives_next(&pattern(None)), "of any tag, too");
        assert!(engine.receives_next(&pattern(Some(6))), "another is next");
        engine.recv(Incoming {
            pattern: pattern(Some(8)),
            check: 7,
            capacity: Capacity::Fixed(8),
            buffer: BufferId(1),
            owner: Owner {
                request: 1,
                step: Owner::WHOLE,
            },
        });
        assert!(!engine.receives_next(&pattern(Some(6))), "one is posted");
    }

    #[test]
    fn only_what_the_pattern_accepts_is_taken_and_its_credit_comes_back() {
        let mut engine = engine();
        let wanted = pattern(Some(5));
        assert!(engine.receive_now(HIM, &message(6, 8), &wanted).is_none());
        let mut collective = message(5, 8);
        collective.context = Context::WORLD.collective();
        assert!(engine.receive_now(HIM, &collective, &wanted).is_none());
        for _ in 0..10_000 {
            let taken = engine.receive_now(HIM, &message(5, 8), &wanted);
            assert_eq!(taken.map(|envelope| envelope.tag), Some(5));
            while engine.poll_action().is_some() {}
        }
        let (_, taken, owed) = engine.credit_state(HIM);
        assert_eq!(taken, owed, "all of it was received");
    }

    #[test]
    fn a_message_leaves_at_once_only_with_credit_and_nothing_before_it() {
        let mut engine = engine();
        let letter = Letter {
            to: HIM,
            context: Context::WORLD,
            tag: 5,
            check: 7,
            length: 1000,
        };
        let sent = (0..).take_while(|_| engine.send_now(&letter).is_some());
        let sent = sent.count() as u64;
        let (credit, ..) = engine.credit_state(HIM);
        assert!(sent > 0 && credit < ENVELOPE + letter.length);
        let mut credit = Header::new(Kind::Credit, Epoch(0), HIM);
        credit.length = sent * (ENVELOPE + letter.length);
        engine.arrive(HIM, &credit).expect("sound");
        assert!(engine.send_now(&letter).is_some(), "there is credit again");
        let long = Letter {
            length: 1025,
            ..letter
        };
        assert!(engine.send_now(&long).is_none(), "that is to be announced");
        engine.peer_gone(HIM, true);
        assert!(engine.send_now(&letter).is_none(), "nobody is there");
    }
}
