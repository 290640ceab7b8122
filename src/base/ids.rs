//! Identities: who talks to whom, about what, in which life of the job.
//!
//! Each is a newtype, so that a rank of a sub-communicator can never be taken for a rank of the
//! job, nor a context for a tag.

use std::fmt;

/// A process of the job: its rank in the world communicator.
///
/// Inside the runtime everything is addressed by `Peer`; ranks of other communicators are
/// translated at the public interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub u32);

impl Peer {
    /// The peer as an index into per-peer tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {}", self.0)
    }
}

/// What separates the messages of one communicator from those of all others.
///
/// Contexts are derived, not negotiated: a communicator's context is a 64-bit hash of its parent's
/// context, the number of communicators derived from that parent before it, and its colour. Bit 0
/// tells the two message spaces of a communicator apart: point-to-point (0) and collective (1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context(pub u64);

impl Context {
    /// The point-to-point context of the world communicator.
    pub const WORLD: Self = Self(0);

    /// The point-to-point context of the communicator derived from this one as its `sequence`-th
    /// child with `colour`.
    pub fn derive(self, sequence: u64, colour: u64) -> Self {
        let mut bytes = [0_u8; 24];
        bytes[..8].copy_from_slice(&self.point_to_point().0.to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16..].copy_from_slice(&colour.to_le_bytes());
        Self(xxhash_rust::xxh3::xxh3_64(&bytes) & !1)
    }

    /// The space of this communicator's point-to-point messages.
    pub const fn point_to_point(self) -> Self {
        Self(self.0 & !1)
    }

    /// The space of this communicator's collective messages.
    pub const fn collective(self) -> Self {
        Self(self.0 | 1)
    }

    /// Whether messages here belong to collectives.
    pub const fn is_collective(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The life of the job: it rises by one whenever ranks are replaced, so that frames from before
/// a recovery can be told from those after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u16);

/// Names one run of one program: drawn at random by the launcher.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_contexts_differ_and_keep_the_collective_bit_free() {
        let mut seen = std::collections::HashSet::new();
        for sequence in 0..100 {
            for colour in 0..100 {
                let context = Context::WORLD.derive(sequence, colour);
                assert!(!context.is_collective());
                assert!(context.collective().is_collective());
                assert!(seen.insert(context), "{sequence} {colour}");
            }
        }
    }

    #[test]
    fn deriving_from_either_space_of_a_communicator_is_the_same() {
        let context = Context::WORLD.derive(3, 1);
        assert_eq!(context.derive(1, 2), context.collective().derive(1, 2));
    }
}
