//! Long messages: streamed through the ring, or copied out of the sender's memory.

use std::sync::Arc;

use super::Shared;
use super::segment::Token;
use crate::base::ids::Peer;
use crate::sys::peer_memory::read_process;

/// How a long message between processes of one host travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongMessages {
    /// The sender writes it through the ring, and the receiver reads it there.
    Streamed,
    /// The receiver copies it from the sender's memory.
    Pulled,
    /// Streamed while the sender waits for that, pulled while it does something else: streaming needs both,
    /// and is faster for bytes that were written just before.
    AsItSuits,
}

impl Shared {
    pub(in crate::transport) const fn pulls(&self) -> bool {
        !matches!(self.long, LongMessages::Streamed)
    }

    /// Tells the others of the host whether this rank waits for something.
    pub(in crate::transport) fn attend(&mut self, attends: bool) {
        if self.attends != attends {
            self.attends = attends;
            self.segment.set_attends(self.me, attends);
        }
    }

    /// Copies the bytes at an address of a peer's memory that it has announced. `false` when that
    /// cannot be done, or the peer takes the announcement back.
    pub(in crate::transport) fn pull(&mut self, from: Peer, address: u64, into: &mut [u8]) -> bool {
        let (local, segment) = (self.local(from), Arc::clone(&self.segment));
        match self.long {
            LongMessages::Streamed => return false,
            LongMessages::AsItSuits if segment.attends(local) => return false,
            LongMessages::AsItSuits | LongMessages::Pulled => {}
        }
        let token = segment.token(local);
        let link = self.link(local);
        let readable = *link.readable.get_or_insert_with(|| can_read(token));
        readable
            && read_process(token.pid, address, into).is_ok()
            && !link.takes_back(segment.memory())
    }
}

fn can_read(token: Token) -> bool {
    let mut bytes = [0; 8];
    let read = read_process(token.pid, token.address, &mut bytes);
    let can = read.is_ok() && u64::from_ne_bytes(bytes) == token.value;
    if !can {
        tracing::debug!(pid = token.pid, ?read, "long messages are copied twice");
    }
    can
}
