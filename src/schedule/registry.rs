//! The algorithms, as a table. Each describes itself in its own file.

use super::blocks::Blocks;
use super::builder::Builder;
use super::{
    Kind, Operation, Schedule, allgather, allreduce, alltoall, barrier, bcast, exscan, gather,
    reduce, reduce_scatter, scan, scatter,
};

/// One way to do one operation.
#[derive(Debug)]
pub struct Algorithm {
    /// What it does.
    pub kind: Kind,
    /// Its name, unique among those of its kind.
    pub name: &'static str,
    /// Whether it changes operands' places, and so is for commutative operators only. All others
    /// combine in rank order.
    pub commutative_only: bool,
    /// The idea in a line.
    pub summary: &'static str,
    pub(crate) make: Make,
}

/// The function that adds the steps, by what it needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Make {
    /// Barrier.
    Nothing(fn(&mut Builder)),
    /// Root and count.
    Rooted(fn(&mut Builder, usize, usize)),
    /// Count.
    Whole(fn(&mut Builder, usize)),
    /// Root, own count, and all counts at the root.
    Varying(fn(&mut Builder, usize, usize, Option<&[usize]>)),
    /// All counts.
    Blocks(fn(&mut Builder, &Blocks)),
    /// Counts to and from each rank.
    Exchange(fn(&mut Builder, &[usize], &[usize])),
}

impl Algorithm {
    /// Whether it does this operation, with this operator.
    pub fn accepts(&self, operation: &Operation<'_>) -> bool {
        self.kind == operation.kind() && (operation.commutative() || !self.commutative_only)
    }

    /// The schedule of one rank.
    ///
    /// # Panics
    ///
    /// When the algorithm is for another kind of operation, or the rank, the root or the number of
    /// counts does not fit `size`.
    pub fn build(
        &self,
        operation: &Operation<'_>,
        rank: usize,
        size: usize,
        element_bytes: usize,
    ) -> Schedule {
        assert!(
            self.accepts(operation),
            "{} {} cannot do {operation:?}",
            self.kind,
            self.name
        );
        let mut builder = Builder::new(self.name, rank, size, element_bytes);
        let b = &mut builder;
        match (self.make, *operation) {
            (Make::Nothing(make), Operation::Barrier) => make(b),
            (
                Make::Rooted(make),
                Operation::Bcast { root, count }
                | Operation::Reduce { root, count, .. }
                | Operation::Gather { root, count }
                | Operation::Scatter { root, count },
            ) => {
                assert!(root < size, "root {root} of {size}");
                make(b, root, count);
            }
            (
                Make::Whole(make),
                Operation::Allreduce { count, .. }
                | Operation::Scan { count }
                | Operation::Exscan { count }
                | Operation::Alltoall { count },
            ) => make(b, count),
            (
                Make::Varying(make),
                Operation::Gatherv { root, own, all } | Operation::Scatterv { root, own, all },
            ) => {
                assert!(root < size, "root {root} of {size}");
                assert!(
                    rank != root || all.is_some_and(|all| all.len() == size && all[rank] == own)
                );
                make(b, root, own, all);
            }
            (
                Make::Blocks(make),
                Operation::Allgather { counts } | Operation::ReduceScatter { counts, .. },
            ) => make(b, &Blocks::new(counts, size)),
            (Make::Exchange(make), Operation::Alltoallv { sends, receives }) => {
                make(b, sends, receives);
            }
            _ => unreachable!(
                "{} {} is registered with a wrong function",
                self.kind, self.name
            ),
        }
        builder.finish()
    }

    /// The algorithm of that kind and name.
    pub fn find(kind: Kind, name: &str) -> Option<&'static Self> {
        Self::of(kind).find(|algorithm| algorithm.name == name)
    }

    /// All of one kind.
    pub fn of(kind: Kind) -> impl Iterator<Item = &'static Self> {
        ALGORITHMS
            .into_iter()
            .filter(move |algorithm| algorithm.kind == kind)
    }
}

/// All there are.
pub static ALGORITHMS: [&Algorithm; 47] = [
    &barrier::dissemination::ALGORITHM,
    &barrier::flat::ALGORITHM,
    &bcast::binomial::ALGORITHM,
    &bcast::scatter_allgather::ALGORITHM,
    &bcast::chain::ALGORITHM,
    &bcast::pipelined_tree::ALGORITHM,
    &reduce::binomial::ALGORITHM,
    &reduce::in_order::ALGORITHM,
    &reduce::reduce_scatter_gather::ALGORITHM,
    &reduce::pipelined_tree::ALGORITHM,
    &reduce::from_left::ALGORITHM,
    &allreduce::recursive_doubling::ALGORITHM,
    &allreduce::tree::ALGORITHM,
    &allreduce::circulant::ALGORITHM,
    &allreduce::ring::ALGORITHM,
    &allreduce::dual_root::ALGORITHM,
    &allreduce::from_left::ALGORITHM,
    &allreduce::blocks_from_left::ALGORITHM,
    &scan::recursive_doubling::ALGORITHM,
    &scan::linear::ALGORITHM,
    &exscan::recursive_doubling::ALGORITHM,
    &exscan::linear::ALGORITHM,
    &gather::binomial::ALGORITHM,
    &gather::linear::ALGORITHM,
    &gather::linear::ALGORITHM_V,
    &scatter::binomial::ALGORITHM,
    &scatter::linear::ALGORITHM,
    &scatter::linear::ALGORITHM_V,
    &allgather::bruck::ALGORITHM,
    &allgather::bruck::ALGORITHM_V,
    &allgather::circulant::ALGORITHM,
    &allgather::circulant::ALGORITHM_V,
    &allgather::ring::ALGORITHM,
    &allgather::ring::ALGORITHM_V,
    &alltoall::bruck::ALGORITHM,
    &alltoall::linear::ALGORITHM,
    &alltoall::linear::ALGORITHM_V,
    &alltoall::scattered::ALGORITHM,
    &alltoall::scattered::ALGORITHM_V,
    &alltoall::pairwise::ALGORITHM,
    &alltoall::pairwise::ALGORITHM_V,
    &reduce_scatter::circulant::ALGORITHM,
    &reduce_scatter::circulant::ALGORITHM_BLOCK,
    &reduce_scatter::linear::ALGORITHM,
    &reduce_scatter::linear::ALGORITHM_BLOCK,
    &reduce_scatter::tree::ALGORITHM,
    &reduce_scatter::tree::ALGORITHM_BLOCK,
];
