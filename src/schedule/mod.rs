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
//! `Input` is never written. Blocks lie in rank order, without gaps.
#![forbid(unsafe_code)]

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

/// Which operand of a reduction stands on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `into = into op from`.
    IntoFrom,
    /// `into = from op into`.
    FromInto,
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
    /// Copy a span to another of equal length that does not overlap it.
    Copy {
        /// Source.
        from: Span,
        /// Destination.
        into: Span,
    },
}

/// What one rank does for one collective.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The algorithm that built it.
    pub algorithm: &'static str,
    /// The steps; each depends on earlier ones only.
    pub steps: Vec<Step>,
    /// For each step the indices of the earlier steps that must be complete before it starts.
    pub after: Vec<Vec<u32>>,
    /// Elements of scratch memory.
    pub scratch: usize,
}
