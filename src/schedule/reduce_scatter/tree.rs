//! Reduce and scatter.
//!
//! Idea: a binomial reduction to rank 0, in rank order, and a binomial scatter.
//!
//! Cost: 2 ceil(log2 p) alpha + (ceil(log2 p) + 1) m beta + ceil(log2 p) m gamma, m the length of all
//! blocks. Restrictions: none: for short blocks, many ranks and operators that do not commute.
//! Source: folklore.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::fold::Fold;
use crate::schedule::reduce::in_order::upwards;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::scatter::binomial::downwards;
use crate::schedule::{Kind, Span};

const EACH: Algorithm = Algorithm {
    kind: Kind::ReduceScatter,
    name: "tree",
    commutative_only: false,
    summary: "binomial reduction in rank order, binomial scatter",
    make: Make::Blocks(build),
};
pub(crate) static ALGORITHM: Algorithm = EACH;
pub(crate) static ALGORITHM_BLOCK: Algorithm = Algorithm {
    kind: Kind::ReduceScatterBlock,
    ..EACH
};

fn build(builder: &mut Builder, blocks: &Blocks) {
    let all = Span::input(blocks.total());
    let (value, ready, _) = upwards(builder, 0, Fold::new(all, None));
    downwards(builder, blocks, 0, value, ready, 1);
}
