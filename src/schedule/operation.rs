//! What is wanted: a collective with its counts, and its kind.

use std::fmt;
use std::str::FromStr;

/// Elements of each rank's block, where all ranks know all counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts<'a> {
    /// The same for every rank.
    Equal(usize),
    /// One for each rank.
    Each(&'a [usize]),
}

impl Counts<'_> {
    /// Elements of all blocks together.
    pub fn total(self, size: usize) -> usize {
        match self {
            Counts::Equal(count) => count.saturating_mul(size),
            Counts::Each(counts) => counts.iter().sum(),
        }
    }

    /// Elements of one rank's block.
    ///
    /// # Panics
    ///
    /// When there is no count for that rank.
    pub fn of(self, rank: usize) -> usize {
        match self {
            Counts::Equal(count) => count,
            Counts::Each(counts) => counts[rank],
        }
    }
}

/// A collective operation as one rank calls it. Counts are elements.
///
/// Every field is equal on all ranks, but for the ones that say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// No rank leaves before all have entered.
    Barrier,
    /// The root's elements, to all.
    Bcast {
        /// Who has the data.
        root: usize,
        /// Elements.
        count: usize,
    },
    /// The combination of all contributions, at the root.
    Reduce {
        /// Who gets the result.
        root: usize,
        /// Elements of each contribution.
        count: usize,
        /// Whether the operands of the operator may change places.
        commutative: bool,
    },
    /// The combination of all contributions, everywhere, with the same bits.
    Allreduce {
        /// Elements of each contribution.
        count: usize,
        /// Whether the operands of the operator may change places.
        commutative: bool,
    },
    /// Combination of the contributions of this rank and the ones before.
    Scan {
        /// Elements of each contribution.
        count: usize,
    },
    /// Combination of the contributions of the ranks before this one; rank 0 keeps its own.
    Exscan {
        /// Elements of each contribution.
        count: usize,
    },
    /// A block of each rank, of equal length, to the root.
    Gather {
        /// Who gets the blocks.
        root: usize,
        /// Elements of one block.
        count: usize,
    },
    /// A block of each rank to the root, which alone knows all lengths.
    Gatherv {
        /// Who gets the blocks.
        root: usize,
        /// Elements of this rank's block; differs among ranks.
        own: usize,
        /// Elements of all blocks; only at the root.
        all: Option<&'a [usize]>,
    },
    /// A block for each rank, of equal length, from the root.
    Scatter {
        /// Who has the blocks.
        root: usize,
        /// Elements of one block.
        count: usize,
    },
    /// A block for each rank from the root, which alone knows all lengths.
    Scatterv {
        /// Who has the blocks.
        root: usize,
        /// Elements of this rank's block; differs among ranks.
        own: usize,
        /// Elements of all blocks; only at the root.
        all: Option<&'a [usize]>,
    },
    /// A block of each rank, to all. (Also allgatherv.)
    Allgather {
        /// Elements of the blocks.
        counts: Counts<'a>,
    },
    /// A block from each rank for each rank, all of equal length.
    Alltoall {
        /// Elements of one block.
        count: usize,
    },
    /// A block from each rank for each rank; what one sends another is what the other receives.
    Alltoallv {
        /// Elements for each rank; differ among ranks.
        sends: &'a [usize],
        /// Elements from each rank; differ among ranks.
        receives: &'a [usize],
    },
    /// A block of the combination of all contributions to each rank. (Also `reduce_scatter_block`.)
    ReduceScatter {
        /// Elements of the blocks.
        counts: Counts<'a>,
        /// Whether the operands of the operator may change places.
        commutative: bool,
    },
}

impl Operation<'_> {
    /// Which operation this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Barrier => Kind::Barrier,
            Self::Bcast { .. } => Kind::Bcast,
            Self::Reduce { .. } => Kind::Reduce,
            Self::Allreduce { .. } => Kind::Allreduce,
            Self::Scan { .. } => Kind::Scan,
            Self::Exscan { .. } => Kind::Exscan,
            Self::Gather { .. } => Kind::Gather,
            Self::Gatherv { .. } => Kind::Gatherv,
            Self::Scatter { .. } => Kind::Scatter,
            Self::Scatterv { .. } => Kind::Scatterv,
            Self::Allgather {
                counts: Counts::Equal(_),
            } => Kind::Allgather,
            Self::Allgather {
                counts: Counts::Each(_),
            } => Kind::Allgatherv,
            Self::Alltoall { .. } => Kind::Alltoall,
            Self::Alltoallv { .. } => Kind::Alltoallv,
            Self::ReduceScatter {
                counts: Counts::Equal(_),
                ..
            } => Kind::ReduceScatterBlock,
            Self::ReduceScatter {
                counts: Counts::Each(_),
                ..
            } => Kind::ReduceScatter,
        }
    }

    /// Whether operands may change places; true where there is no operator. Scans never change them.
    pub fn commutative(&self) -> bool {
        match *self {
            Self::Reduce { commutative, .. }
            | Self::Allreduce { commutative, .. }
            | Self::ReduceScatter { commutative, .. } => commutative,
            _ => true,
        }
    }

    /// The length that algorithms are chosen by, equal on all ranks: the message of bcast, reduce,
    /// allreduce and scans; one block of gather, scatter and alltoall; all blocks together of
    /// allgather(v) and `reduce_scatter`; 0 where ranks know only their own counts (gatherv, scatterv,
    /// alltoallv).
    pub fn message_bytes(&self, size: usize, element_bytes: usize) -> usize {
        let count = match *self {
            Self::Barrier
            | Self::Gatherv { .. }
            | Self::Scatterv { .. }
            | Self::Alltoallv { .. } => 0,
            Self::Bcast { count, .. }
            | Self::Reduce { count, .. }
            | Self::Allreduce { count, .. }
            | Self::Scan { count }
            | Self::Exscan { count }
            | Self::Gather { count, .. }
            | Self::Scatter { count, .. }
            | Self::Alltoall { count } => count,
            Self::Allgather { counts } | Self::ReduceScatter { counts, .. } => counts.total(size),
        };
        count.saturating_mul(element_bytes)
    }

    /// Elements of [`super::Place::Input`] at `rank`.
    pub fn input_length(&self, rank: usize, size: usize) -> usize {
        match *self {
            Self::Barrier
            | Self::Bcast { .. }
            | Self::Allreduce { .. }
            | Self::Scan { .. }
            | Self::Exscan { .. } => 0,
            Self::Reduce { count, .. } | Self::Gather { count, .. } => count,
            Self::Gatherv { own, .. } => own,
            Self::Scatter { root, count } if rank == root => count * size,
            Self::Scatterv {
                root,
                all: Some(all),
                ..
            } if rank == root => all.iter().sum(),
            Self::Scatter { .. } | Self::Scatterv { .. } => 0,
            Self::Allgather { counts } => counts.of(rank),
            Self::Alltoall { count } => count * size,
            Self::Alltoallv { sends, .. } => sends.iter().sum(),
            Self::ReduceScatter { counts, .. } => counts.total(size),
        }
    }

    /// Elements of [`super::Place::Output`] at `rank`.
    pub fn output_length(&self, rank: usize, size: usize) -> usize {
        match *self {
            Self::Barrier => 0,
            Self::Bcast { count, .. }
            | Self::Allreduce { count, .. }
            | Self::Scan { count }
            | Self::Exscan { count }
            | Self::Scatter { count, .. } => count,
            Self::Reduce { root, count, .. } if rank == root => count,
            Self::Gather { root, count } if rank == root => count * size,
            Self::Gatherv {
                root,
                all: Some(all),
                ..
            } if rank == root => all.iter().sum(),
            Self::Reduce { .. } | Self::Gather { .. } | Self::Gatherv { .. } => 0,
            Self::Scatterv { own, .. } => own,
            Self::Allgather { counts } => counts.total(size),
            Self::Alltoall { count } => count * size,
            Self::Alltoallv { receives, .. } => receives.iter().sum(),
            Self::ReduceScatter { counts, .. } => counts.of(rank),
        }
    }
}

/// A collective operation without its data. Shown and parsed by MPI's name in small letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "MPI's names")]
pub enum Kind {
    Barrier,
    Bcast,
    Reduce,
    Allreduce,
    Scan,
    Exscan,
    Gather,
    Gatherv,
    Scatter,
    Scatterv,
    Allgather,
    Allgatherv,
    Alltoall,
    Alltoallv,
    ReduceScatterBlock,
    ReduceScatter,
}

impl Kind {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Barrier,
        Self::Bcast,
        Self::Reduce,
        Self::Allreduce,
        Self::Scan,
        Self::Exscan,
        Self::Gather,
        Self::Gatherv,
        Self::Scatter,
        Self::Scatterv,
        Self::Allgather,
        Self::Allgatherv,
        Self::Alltoall,
        Self::Alltoallv,
        Self::ReduceScatterBlock,
        Self::ReduceScatter,
    ];

    /// MPI's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Bcast => "bcast",
            Self::Reduce => "reduce",
            Self::Allreduce => "allreduce",
            Self::Scan => "scan",
            Self::Exscan => "exscan",
            Self::Gather => "gather",
            Self::Gatherv => "gatherv",
            Self::Scatter => "scatter",
            Self::Scatterv => "scatterv",
            Self::Allgather => "allgather",
            Self::Allgatherv => "allgatherv",
            Self::Alltoall => "alltoall",
            Self::Alltoallv => "alltoallv",
            Self::ReduceScatterBlock => "reduce_scatter_block",
            Self::ReduceScatter => "reduce_scatter",
        }
    }

    /// Of what the length counts by which an algorithm is chosen, in words; `None` where none does,
    /// because ranks know only their own. See [`Operation::message_bytes`].
    pub const fn measure(self) -> Option<&'static str> {
        match self {
            Self::Barrier | Self::Gatherv | Self::Scatterv | Self::Alltoallv => None,
            Self::Bcast | Self::Reduce | Self::Allreduce | Self::Scan | Self::Exscan => {
                Some("the message")
            }
            Self::Gather | Self::Scatter | Self::Alltoall => Some("one block"),
            Self::Allgather | Self::Allgatherv | Self::ReduceScatterBlock | Self::ReduceScatter => {
                Some("all blocks together")
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no collective of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no collective operation is called {name:?}; there are {}", Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let name = text.trim().to_ascii_lowercase().replace('-', "_");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownKind {
                name: text.trim().to_owned(),
            })
    }
}
