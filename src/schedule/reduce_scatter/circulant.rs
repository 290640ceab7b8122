//! Circulant reduce-scatter.
//!
//! Idea: see [`crate::schedule`]'s `circulant`: in each round a rank gives away about half of the blocks it
//! is still concerned with, and combines as many that it is given.
//!
//! Cost: ceil(log2 p) alpha + (p-1)/p m beta + (p-1)/p m gamma, m the length of all blocks.
//! Restrictions: commutative operators. Source: Träff, arXiv:2410.14234.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Span, circulant};

const EACH: Algorithm = Algorithm {
    kind: Kind::ReduceScatter,
    name: "circulant",
    commutative_only: true,
    summary: "log p rounds, half of the blocks in each",
    make: Make::Blocks(build),
};
pub(crate) static ALGORITHM: Algorithm = EACH;
pub(crate) static ALGORITHM_BLOCK: Algorithm = Algorithm {
    kind: Kind::ReduceScatterBlock,
    ..EACH
};

fn build(builder: &mut Builder, blocks: &Blocks) {
    let rank = builder.rank;
    let (all, output) = (
        Span::input(blocks.total()),
        Span::output(blocks.length(rank)),
    );
    if builder.size == 1 {
        builder.copy(all, output, &[]);
        return;
    }
    let work = builder.scratch(blocks.total());
    let scattered = circulant::reduce_scatter(builder, blocks, all, work);
    builder.copy(blocks.one(work, rank), output, &scattered.ready);
}
