//! Layer 2, pure: collectives as data.
//!
//! A collective is a [`Schedule`]: a small directed acyclic graph of steps for one rank, built by a
//! pure function of the operation, the rank, the number of ranks and the counts. Blocking,
//! nonblocking and persistent forms execute the same schedule; the interpreter executes the schedules
//! of all ranks in memory, for tests.
//!
//! # Buffers
//!
//! All offsets and lengths count elements. Per operation:
//!
//! | operation        | [`Place::Input`]                 | [`Place::Output`]                          |
//! |------------------|----------------------------------|--------------------------------------------|
//! | barrier          | -                                | -                                          |
//! | bcast            | -                                | count, everywhere; the root's holds the data |
//! | reduce           | count                            | count at the root, empty elsewhere         |
//! | allreduce        | -                                | count; contribution before, result after   |
//! | scan, exscan     | -                                | count; contribution before, result after   |
//! | gather(v)        | own count                        | sum of counts at the root, empty elsewhere |
//! | scatter(v)       | sum of counts at the root        | own count                                  |
//! | allgather(v)     | own count                        | sum of counts                              |
//! | alltoall(v)      | sum of send counts               | sum of receive counts                      |
//! | reduce_scatter   | sum of counts                    | own count                                  |
//!
//! `Input` is never written. Blocks lie in rank order, without gaps. In exscan the output of rank 0 is
//! left as it is.
//!
//! # Rules that every schedule keeps
//!
//! The [`interpret`] module checks them, for every algorithm:
//!
//! * Sends and receives match one to one by (sender, receiver, round), with equal lengths. No two
//!   messages from one rank to another share a round, and rounds are below [`ROUNDS_MAX`].
//! * A step depends on earlier steps only, so that the order of the steps is one legal order.
//! * Steps that may run at the same time do not write what the other reads or writes.
//! * Nothing deadlocks when every send waits for its receive.
//! * A message of no elements is left out on both sides, except in a barrier.
//!
//! # Finding one's way
//!
//! [`Operation`] says what is wanted, [`Selection`] is the printable table that picks an
//! [`Algorithm`], and [`build`] makes the schedule. There is a folder for each operation and a file
//! for each algorithm; what several of them share lies beside this file (`shape`, `blocks`, `fold`,
//! `circulant`, `segment`).
#![forbid(unsafe_code)]

mod allgather;
mod allreduce;
mod alltoall;
mod barrier;
mod bcast;
mod blocks;
mod builder;
mod circulant;
mod exscan;
mod fold;
mod gather;
pub mod interpret;
mod operation;
mod reduce;
mod reduce_scatter;
mod registry;
mod scan;
mod scatter;
mod segment;
mod selection;
mod shape;

pub use operation::{Counts, Kind, Operation, UnknownKind};
pub use registry::{ALGORITHMS, Algorithm};
pub use segment::{SEGMENT_BYTES, SEGMENTS_MAX};

pub use selection::{Choice, Rule, SHARED_MEMORY, Selection, SelectionError};

/// Rounds are below this: they travel in 24 bits.
pub const ROUNDS_MAX: u32 = 1 << 24;

/// Which buffer a span lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// What the caller gives; never written.
    Input,
    /// What the caller gets.
    Output,
    /// Memory of the schedule's own, `Schedule::scratch` elements.
    Scratch,
}

/// A run of elements in one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The buffer.
    pub place: Place,
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub length: usize,
}

impl Span {
    /// The first `length` elements of the input.
    pub(crate) const fn input(length: usize) -> Self {
        Self {
            place: Place::Input,
            offset: 0,
            length,
        }
    }

    /// The first `length` elements of the output.
    pub(crate) const fn output(length: usize) -> Self {
        Self {
            place: Place::Output,
            offset: 0,
            length,
        }
    }

    /// `length` elements from the `offset`-th of this span.
    pub(crate) fn part(self, offset: usize, length: usize) -> Self {
        debug_assert!(
            offset + length <= self.length,
            "{offset}+{length} of {self:?}"
        );
        Self {
            place: self.place,
            offset: self.offset + offset,
            length,
        }
    }

    /// One past the last element.
    pub const fn end(self) -> usize {
        self.offset + self.length
    }

    /// Whether the two have an element in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.place == other.place && self.offset < other.end() && other.offset < self.end()
    }
}

/// Which operand of a reduction stands on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `into = into op from`.
    IntoFrom,
    /// `into = from op into`.
    FromInto,
}

impl Order {
    /// The same reduction when the two operands have changed places.
    pub(crate) const fn flipped(self) -> Self {
        match self {
            Self::IntoFrom => Self::FromInto,
            Self::FromInto => Self::IntoFrom,
        }
    }
}

/// What a rank does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Send a span to a rank of the communicator. `round` tells messages between the same two ranks apart.
    Send {
        /// The receiver.
        to: usize,
        /// What is sent; it must not be written by a step that may run at the same time.
        from: Span,
        /// Matches the receiver's.
        round: u32,
    },
    /// Receive a span from a rank of the communicator; the lengths agree.
    Receive {
        /// The sender.
        from: usize,
        /// Where it goes.
        into: Span,
        /// Matches the sender's.
        round: u32,
    },
    /// Combine two spans of equal length, element by element.
    Reduce {
        /// The operand that is only read.
        from: Span,
        /// The operand that is replaced by the result.
        into: Span,
        /// Which one stands on the left.
        order: Order,
    },
    /// Copy a span to another of equal length that does not overlap it. With no elements it only
    /// joins the steps it depends on, so that others need to name one step instead of many.
    Copy {
        /// Source.
        from: Span,
        /// Destination.
        into: Span,
    },
}

/// For each step of a schedule the earlier steps that must be complete before it starts.
///
/// One flat list and the places where each step's part of it ends: two allocations, whatever the
/// number of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    edges: Vec<u32>,
    ends: Vec<u32>,
}

impl Dependencies {
    /// The steps that must be complete before `step` starts; all are smaller numbers.
    ///
    /// # Panics
    ///
    /// When there is no such step.
    pub fn of(&self, step: usize) -> &[u32] {
        let start = if step == 0 { 0 } else { self.ends[step - 1] };
        &self.edges[start as usize..self.ends[step] as usize]
    }

    /// For each step the later steps that wait for it, for an executor that walks forward.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let steps = self.ends.len();
        let mut ends = vec![0u32; steps];
        for &edge in &self.edges {
            ends[edge as usize] += 1;
        }
        let mut total = 0;
        for end in &mut ends {
            // For now the start of the part; filling it moves it to the end.
            let length = std::mem::replace(end, total);
            total += length;
        }
        let mut edges = vec![0u32; self.edges.len()];
        for step in 0..steps {
            for &earlier in self.of(step) {
                let next = &mut ends[earlier as usize];
                edges[*next as usize] = step as u32;
                *next += 1;
            }
        }
        Self { edges, ends }
    }

    /// Adds the next step.
    fn push(&mut self, after: impl Iterator<Item = u32>) {
        self.edges.extend(after);
        self.ends.push(self.edges.len() as u32);
    }
}

/// What one rank does for one collective.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The algorithm that built it.
    pub algorithm: &'static str,
    /// The steps; each depends on earlier ones only.
    pub steps: Vec<Step>,
    /// What each step waits for.
    pub after: Dependencies,
    /// Elements of scratch memory.
    pub scratch: usize,
}

/// Builds the schedule of `rank` with the algorithm that `selection` chooses.
///
/// All ranks must give the same operation (with their own counts where it says so), `size`,
/// `element_bytes` and selection.
///
/// # Panics
///
/// When the rank, the root or the number of counts does not fit `size`: the caller has checked them.
pub fn build(
    operation: &Operation<'_>,
    rank: usize,
    size: usize,
    element_bytes: usize,
    selection: &Selection,
) -> Schedule {
    selection
        .choose(operation, size, element_bytes)
        .build(operation, rank, size, element_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_reverse() {
        let mut forward = Dependencies::default();
        forward.push([].into_iter());
        forward.push([0].into_iter());
        forward.push([0, 1].into_iter());
        forward.push([1].into_iter());
        let backward = forward.reversed();
        assert_eq!(backward.of(0), [1, 2]);
        assert_eq!(backward.of(1), [2, 3]);
        assert!(backward.of(2).is_empty() && backward.of(3).is_empty());
    }
}
