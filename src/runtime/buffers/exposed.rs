//! Memory that other ranks of the same process may read: how threads exchange long messages with a
//! single copy.
//!
//! # Why it is sound
//!
//! A sender exposes a buffer before it announces the message and withdraws it before the buffer is
//! given back. A reader copies while it holds the read lock of the sender's table; withdrawing takes
//! the write lock, and so waits until no copy is under way. What is not in the table is not read.

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError, RwLock};

use super::Pinned;
use crate::base::ids::Peer;

#[derive(Debug)]
struct Span {
    pointer: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is only read while it is in a table, and it may be read from any thread.
unsafe impl Send for Span {}
// SAFETY: as above; a shared span is only read.
unsafe impl Sync for Span {}

type Table = RwLock<HashMap<u64, Span>>;

/// The tables of all ranks of this process.
#[derive(Clone, Debug)]
pub(crate) struct Exposures(Arc<[Table]>);

/// One rank's own table, and its access to the others'.
#[derive(Clone, Debug)]
pub(crate) struct Exposed {
    me: usize,
    all: Exposures,
}

impl Exposures {
    /// Tables for `ranks` ranks.
    pub(crate) fn new(ranks: usize) -> Self {
        Self((0..ranks).map(|_| Table::default()).collect())
    }

    /// What the rank at `index` sees.
    pub(crate) fn of(&self, index: usize) -> Exposed {
        Exposed {
            me: index,
            all: self.clone(),
        }
    }
}

impl Exposed {
    /// Lets others read these bytes under the name `token`.
    ///
    /// # Safety
    ///
    /// [`withdraw`](Self::withdraw) is called before the bytes are written or given back.
    pub(crate) unsafe fn expose(&self, token: u64, bytes: Pinned) {
        let span = Span {
            pointer: bytes.pointer,
            length: bytes.length,
        };
        self.own()
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token, span);
    }

    /// Ends what [`expose`](Self::expose) began; waits for a copy that is under way.
    pub(crate) fn withdraw(&self, token: u64) {
        self.own()
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&token);
    }

    /// Copies the beginning of what the rank at `index` exposes under `token`. `false` when it does
    /// not, or exposes less.
    pub(crate) fn copy(&self, from: usize, token: u64, into: &mut [u8]) -> bool {
        let Some(table) = self.all.0.get(from) else {
            return false;
        };
        let table = table.read().unwrap_or_else(PoisonError::into_inner);
        let Some(span) = table.get(&token).filter(|span| span.length >= into.len()) else {
            return false;
        };
        // SAFETY: the span is in the table, whose lock is held: its owner keeps the bytes valid and
        // unwritten until it has withdrawn them.
        let bytes = unsafe { std::slice::from_raw_parts(span.pointer.as_ptr(), into.len()) };
        into.copy_from_slice(bytes);
        true
    }

    /// Index of a peer's table, when the peer lives in this process.
    pub(crate) fn index_of(&self, me: Peer, peer: Peer) -> Option<usize> {
        if self.all.0.len() > 1 {
            Some(peer.index())
        } else {
            (peer == me).then_some(self.me)
        }
    }

    fn own(&self) -> &Table {
        &self.all.0[self.me]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::buffers::Buffers;

    #[test]
    fn what_is_withdrawn_is_not_read() {
        let mut buffers = Buffers::default();
        let id = buffers.own(Box::new(vec![1_u8, 2, 3]));
        let exposures = Exposures::new(2);
        let (one, other) = (exposures.of(0), exposures.of(1));
        let pinned = buffers.pinned(id, 0, 3).expect("there");
        // SAFETY: withdrawn below, before the buffer is dropped.
        unsafe { one.expose(7, pinned) };
        let mut into = [0; 2];
        assert!(other.copy(0, 7, &mut into));
        assert_eq!(into, [1, 2]);
        assert!(
            !other.copy(0, 7, &mut [0; 4]),
            "longer than what is exposed"
        );
        assert!(!other.copy(1, 7, &mut into), "another rank's table");
        one.withdraw(7);
        assert!(!other.copy(0, 7, &mut into));
    }
}
