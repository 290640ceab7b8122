//! Ways to do the same work, and which of them should not be slower than which.

use serde::{Deserialize, Serialize};

/// One or two collectives. All move or combine the same number of elements: of one message, or of the
/// blocks of all ranks together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Recipe {
    Barrier,
    BarrierPending,
    Bcast,
    ScatterAllgather,
    BcastPending,
    Gather,
    Gatherv,
    Scatter,
    Scatterv,
    Allgather,
    GatherBcast,
    Allgatherv,
    AllgatherPending,
    Alltoall,
    Alltoallv,
    Reduce,
    ReduceScatterGather,
    Allreduce,
    ReduceBcast,
    ReduceScatterAllgather,
    AllreducePending,
    ReduceScatterBlock,
    ReduceThenScatter,
    ReduceScatter,
    Scan,
    ExscanAdd,
}

impl Recipe {
    pub(crate) const ALL: [Self; 26] = [
        Self::Barrier,
        Self::BarrierPending,
        Self::Bcast,
        Self::ScatterAllgather,
        Self::BcastPending,
        Self::Gather,
        Self::Gatherv,
        Self::Scatter,
        Self::Scatterv,
        Self::Allgather,
        Self::GatherBcast,
        Self::Allgatherv,
        Self::AllgatherPending,
        Self::Alltoall,
        Self::Alltoallv,
        Self::Reduce,
        Self::ReduceScatterGather,
        Self::Allreduce,
        Self::ReduceBcast,
        Self::ReduceScatterAllgather,
        Self::AllreducePending,
        Self::ReduceScatterBlock,
        Self::ReduceThenScatter,
        Self::ReduceScatter,
        Self::Scan,
        Self::ExscanAdd,
    ];

    /// In MPI's words.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::BarrierPending => "ibarrier + wait",
            Self::Bcast => "bcast",
            Self::ScatterAllgather => "scatter + allgather",
            Self::BcastPending => "ibcast + wait",
            Self::Gather => "gather",
            Self::Gatherv => "gatherv",
            Self::Scatter => "scatter",
            Self::Scatterv => "scatterv",
            Self::Allgather => "allgather",
            Self::GatherBcast => "gather + bcast",
            Self::Allgatherv => "allgatherv",
            Self::AllgatherPending => "iallgather + wait",
            Self::Alltoall => "alltoall",
            Self::Alltoallv => "alltoallv",
            Self::Reduce => "reduce",
            Self::ReduceScatterGather => "reduce_scatter_block + gather",
            Self::Allreduce => "allreduce",
            Self::ReduceBcast => "reduce + bcast",
            Self::ReduceScatterAllgather => "reduce_scatter_block + allgather",
            Self::AllreducePending => "iallreduce + wait",
            Self::ReduceScatterBlock => "reduce_scatter_block",
            Self::ReduceThenScatter => "reduce + scatter",
            Self::ReduceScatter => "reduce_scatter",
            Self::Scan => "scan",
            Self::ExscanAdd => "exscan + local sum",
        }
    }

    /// Whether it has data at all.
    pub(crate) const fn has_data(self) -> bool {
        !matches!(self, Self::Barrier | Self::BarrierPending)
    }
}

/// The first of each pair should not be slower than the second. (The table of `PGMPI`, and: blocking forms
/// are not slower than nonblocking ones.)
pub(crate) const GUIDELINES: [(Recipe, Recipe); 24] = [
    (Recipe::Barrier, Recipe::BarrierPending),
    (Recipe::Bcast, Recipe::ScatterAllgather),
    (Recipe::Bcast, Recipe::Allgatherv),
    (Recipe::Bcast, Recipe::BcastPending),
    (Recipe::Gather, Recipe::Allgather),
    (Recipe::Gather, Recipe::Gatherv),
    (Recipe::Gather, Recipe::Reduce),
    (Recipe::Scatter, Recipe::Bcast),
    (Recipe::Scatter, Recipe::Scatterv),
    (Recipe::Allgather, Recipe::GatherBcast),
    (Recipe::Allgather, Recipe::Allgatherv),
    (Recipe::Allgather, Recipe::Alltoall),
    (Recipe::Allgather, Recipe::Allreduce),
    (Recipe::Allgather, Recipe::AllgatherPending),
    (Recipe::Alltoall, Recipe::Alltoallv),
    (Recipe::Reduce, Recipe::Allreduce),
    (Recipe::Reduce, Recipe::ReduceScatterGather),
    (Recipe::Allreduce, Recipe::ReduceBcast),
    (Recipe::Allreduce, Recipe::ReduceScatterAllgather),
    (Recipe::Allreduce, Recipe::AllreducePending),
    (Recipe::ReduceScatterBlock, Recipe::ReduceThenScatter),
    (Recipe::ReduceScatterBlock, Recipe::Allreduce),
    (Recipe::ReduceScatterBlock, Recipe::ReduceScatter),
    (Recipe::Scan, Recipe::ExscanAdd),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_listed_once_and_compared() {
        for (place, recipe) in Recipe::ALL.iter().enumerate() {
            assert_eq!(*recipe as usize, place);
            let compared = |pair: &(Recipe, Recipe)| pair.0 == *recipe || pair.1 == *recipe;
            assert!(GUIDELINES.iter().any(compared), "{recipe:?}");
        }
        assert_eq!(Recipe::ALL.len(), Recipe::ExscanAdd as usize + 1);
    }
}
