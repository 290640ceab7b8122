//! The judge: matching as the MPI standard describes it, with two plain lists for each rank.
//!
//! It is told what is posted and what arrives, and says which receive must get which message. It
//! shares nothing with the engine but the words.

use std::collections::{HashMap, HashSet};

use phalanx::base::ids::{Context, Peer};
use phalanx::engine::Pattern;

/// A message of the simulation; `serial` rises in the order in which its sender sent.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub from: Peer,
    pub to: Peer,
    pub context: Context,
    pub tag: u64,
    pub length: u64,
    pub check: u64,
    pub synchronous: bool,
}

impl Message {
    pub fn fits(&self, pattern: &Pattern) -> bool {
        self.context == pattern.context
            && pattern.source.is_none_or(|source| source == self.from)
            && pattern.tag.is_none_or(|tag| tag == self.tag)
    }
}

/// What must be true of one rank.
#[derive(Debug, Default)]
pub struct Judge {
    posted: Vec<(u64, Pattern)>,
    unexpected: Vec<(usize, Message)>,
    whole: HashSet<usize>,
    gone: HashSet<Peer>,
    last: HashMap<(Peer, Context), usize>,
    /// Receives and their messages.
    pub pairs: HashMap<u64, usize>,
    /// Messages that a receive has got.
    pub matched: HashSet<usize>,
}

impl Judge {
    /// A receive is posted; `false` when it can never match because its source is gone.
    pub fn post(&mut self, owner: u64, pattern: Pattern, everybody_gone: bool) -> bool {
        let found = self
            .unexpected
            .iter()
            .position(|(_, message)| message.fits(&pattern));
        if let Some(index) = found {
            let (serial, _) = self.unexpected.remove(index);
            self.pair(owner, serial);
            return true;
        }
        let gone = |source| self.gone.contains(&source);
        if pattern.source.map_or(everybody_gone, gone) {
            return false;
        }
        self.posted.push((owner, pattern));
        true
    }

    /// An envelope arrives.
    pub fn arrive(&mut self, serial: usize, message: Message) {
        let last = self.last.insert((message.from, message.context), serial);
        assert!(
            last < Some(serial),
            "message {serial} was overtaken by {last:?}: {message:?}"
        );
        let found = self
            .posted
            .iter()
            .position(|(_, pattern)| message.fits(pattern));
        match found {
            Some(index) => {
                let (owner, _) = self.posted.remove(index);
                self.pair(owner, serial);
            }
            None => self.unexpected.push((serial, message)),
        }
    }

    fn pair(&mut self, owner: u64, serial: usize) {
        assert!(
            self.matched.insert(serial),
            "message {serial} matches twice"
        );
        assert!(
            self.pairs.insert(owner, serial).is_none(),
            "receive {owner} matches twice"
        );
    }

    /// An eager message is here in full.
    pub fn landed(&mut self, serial: usize) {
        self.whole.insert(serial);
    }

    /// The first message that a probe must find.
    pub fn probe(&self, pattern: &Pattern) -> Option<Message> {
        let mut fitting = self
            .unexpected
            .iter()
            .filter(|(_, message)| message.fits(pattern));
        fitting.next().map(|(_, message)| *message)
    }

    /// The oldest message that nobody has asked for.
    pub fn oldest_unexpected(&self) -> Option<Message> {
        self.unexpected.first().map(|(_, message)| *message)
    }

    /// Takes a receive back; `true` if nothing has matched it.
    pub fn cancel(&mut self, owner: u64) -> bool {
        let before = self.posted.len();
        self.posted.retain(|(other, _)| *other != owner);
        self.posted.len() < before
    }

    /// Receives that wait.
    pub fn posted(&self) -> Vec<u64> {
        self.posted.iter().map(|(owner, _)| *owner).collect()
    }

    /// An announced message is withdrawn.
    pub fn withdrawn(&mut self, serial: usize) {
        self.unexpected.retain(|(other, _)| *other != serial);
    }

    /// A peer is declared gone.
    pub fn peer_gone(&mut self, peer: Peer, wild: bool) {
        self.gone.insert(peer);
        self.posted.retain(|(_, pattern)| {
            !(pattern.source == Some(peer) || wild && pattern.source.is_none())
        });
        let whole = &self.whole;
        self.unexpected
            .retain(|(serial, message)| message.from != peer || whole.contains(serial));
    }

    pub fn is_gone(&self, peer: Peer) -> bool {
        self.gone.contains(&peer)
    }

    pub fn gone_count(&self) -> usize {
        self.gone.len()
    }
}
