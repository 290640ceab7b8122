//! Reduce-scatter and gather reduction.
//!
//! Idea: the vector is cut into a block for each rank; a circulant reduce-scatter leaves each rank the
//! combination of its block, then a binomial gather brings the blocks to the root.
//!
//! Cost: 2 ceil(log2 p) alpha + 2 (p-1)/p m beta + (p-1)/p m gamma. Restrictions: commutative operators.
//! Source: Rabenseifner; the reduce-scatter of arXiv:2410.14234, for any number of ranks.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Span, circulant, gather};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Reduce,
    name: "reduce_scatter_gather",
    commutative_only: true,
    summary: "circulant reduce-scatter, binomial gather",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let size = builder.size;
    let blocks = Blocks::split(count, size);
    let own = Span::input(count);
    let work = if builder.rank == root {
        Span::output(count)
    } else {
        builder.scratch(count)
    };
    let scattered = circulant::reduce_scatter(builder, &blocks, own, work);
    if size == 1 {
        return;
    }
    let sends: Vec<_> = scattered.sends.into_iter().flatten().collect();
    let free = builder.join(&sends);
    let place = |first: usize, number: usize| blocks.run(work, first + root, number);
    let first_round = circulant::rounds(size);
    gather::binomial::upwards(builder, root, place, &scattered.ready, free, first_round);
}
