//! Linear reduce-scatter, in rank order.
//!
//! Idea: everyone sends each block straight to its rank, which combines them from its own leftwards and
//! then rightwards.
//!
//! Cost: (p-1) alpha + (p-1)/p m (beta + gamma), m the length of all blocks. Restrictions: none.
//! Source: MPICH's pairwise exchange, ordered.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Order, Span};

const EACH: Algorithm = Algorithm {
    kind: Kind::ReduceScatter,
    name: "linear",
    commutative_only: false,
    summary: "every block straight to its rank, combined in rank order",
    make: Make::Blocks(build),
};
pub(crate) static ALGORITHM: Algorithm = EACH;
pub(crate) static ALGORITHM_BLOCK: Algorithm = Algorithm {
    kind: Kind::ReduceScatterBlock,
    ..EACH
};

fn build(builder: &mut Builder, blocks: &Blocks) {
    let (rank, size) = (builder.rank, builder.size);
    let (all, output) = (
        Span::input(blocks.total()),
        Span::output(blocks.length(rank)),
    );
    let own = blocks.one(all, rank);
    if size == 1 {
        builder.copy(own, output, &[]);
        return;
    }
    builder.reserve(3 * size);
    // The nearest to the right is the first that waits for this rank.
    for distance in 1..size {
        let to = builder.right(distance);
        builder.send(to, blocks.one(all, to), 0, &[]);
    }
    let mut fold = Fold::new(own, Some(output));
    for from in (0..rank).rev() {
        fold.receive(builder, from, 0, Order::FromInto, Id::NONE);
    }
    for from in rank + 1..size {
        fold.receive(builder, from, 0, Order::IntoFrom, Id::NONE);
    }
}
