//! Which messages a receive accepts, and what it tells of the one it got.

use crate::engine::Envelope;

/// From whom a message is accepted.
///
/// Ranks convert into it: `world.recv_vec::<f64>(3, 7)`.
#[doc(alias = "MPI_ANY_SOURCE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// From this rank of the communicator.
    Rank(usize),
    /// From any rank.
    Any,
}

impl From<usize> for Source {
    fn from(rank: usize) -> Self {
        Self::Rank(rank)
    }
}

/// So that literals work. A negative rank does not exist, and the receive says so.
impl From<i32> for Source {
    fn from(rank: i32) -> Self {
        Self::Rank(rank as isize as usize)
    }
}

/// What a message is about: a number from 0 to 2^63-1 that sender and receiver agree on.
///
/// Integers convert into it: `world.send(&x, 1, 7)`.
#[doc(alias = "MPI_ANY_TAG")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// This tag.
    Is(u64),
    /// Any tag; only for receiving and probing.
    Any,
}

macro_rules! tags {
    ($($type:ty)*) => {$(
        impl From<$type> for Tag {
            fn from(tag: $type) -> Self {
                Self::Is(tag as u64)
            }
        }
    )*};
}

tags! { u8 u16 u32 u64 usize i32 i64 }

/// What is known of a received message besides its elements.
#[doc(alias = "MPI_Status")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Rank of the sender in the communicator.
    pub source: usize,
    /// Its tag.
    pub tag: u64,
    /// Number of elements.
    pub count: usize,
}

/// What is known of a message that waits to be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Rank of the sender in the communicator.
    pub source: usize,
    /// Its tag.
    pub tag: u64,
    /// Length in bytes.
    pub bytes: usize,
}

impl Probe {
    /// Number of elements of type `T`; `None` if that is not a whole number.
    #[doc(alias = "MPI_Get_count")]
    pub fn count<T>(&self) -> Option<usize> {
        let size = size_of::<T>().max(1);
        (self.bytes % size == 0).then_some(self.bytes / size)
    }
}

impl Status {
    pub(super) fn of(envelope: &Envelope, source: usize, size: usize) -> Self {
        let count = envelope.length as usize / size.max(1);
        Self {
            source,
            tag: envelope.tag,
            count,
        }
    }
}
