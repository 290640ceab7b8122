//! Reduce-scatter and allgather allreduce on a circulant graph.
//!
//! Idea: the vector is cut into a block for each rank; the reduce-scatter leaves each rank the
//! combination of its block, and the allgather takes the same way back.
//!
//! Cost: 2 ceil(log2 p) alpha + 2 (p-1)/p m beta + (p-1)/p m gamma, any p. Restrictions: commutative
//! operators. Source: Träff, arXiv:2410.14234.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Span, circulant};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Allreduce,
    name: "circulant",
    commutative_only: true,
    summary: "reduce-scatter and allgather in log p rounds each",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let size = builder.size;
    let blocks = Blocks::split(count, size);
    let whole = Span::output(count);
    let scattered = circulant::reduce_scatter(builder, &blocks, whole, whole);
    let first_round = circulant::rounds(size);
    circulant::allgather(
        builder,
        &blocks,
        whole,
        &scattered.ready,
        &scattered.sends,
        first_round,
    );
}
