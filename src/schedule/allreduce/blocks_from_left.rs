//! Allreduce from the left, shared among all ranks: `((x0 op x1) op x2) op ...` for each element.
//!
//! Idea: the vector is cut into a block for each rank. Everyone sends each block straight to its rank, which combines
//! them strictly in rank order; then the blocks are gathered on a circulant graph. The order is that of `from_left`,
//! so the bits are the same, but no rank receives more than the vector twice.
//!
//! Cost: (p - 1 + ceil(log2 p)) alpha + 2 (p-1)/p m beta + (p-1)/p m gamma. Restrictions: none.
//! Source: folklore; the allgather is Träff's, arXiv:2410.14234.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::halving;
use crate::schedule::{Kind, Order, Span, circulant};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Allreduce,
    name: "blocks_from_left",
    commutative_only: false,
    summary: "each rank combines a block as in shared memory, then allgather",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let size = builder.size;
    let blocks = Blocks::split(count, size);
    let whole = Span::output(count);
    builder.reserve(4 * size);
    // By distance; the nearest to the right is the first that waits for this rank.
    let mut sent = vec![Id::NONE; size];
    for (distance, sent) in sent.iter_mut().enumerate().skip(1) {
        let to = builder.right(distance);
        *sent = builder.send(to, blocks.one(whole, to), 0, &[]);
    }
    let ready = combine(builder, blocks.one(whole, builder.rank));
    // A round of the allgather fills the blocks of the ranks from `near` on to the right.
    let free: Vec<[Id; 2]> = halving(size)
        .map(|(near, far)| [builder.join(&sent[near..far]); 2])
        .collect();
    circulant::allgather(builder, &blocks, whole, &[ready], &free, 1);
}

/// Combines all contributions to the own block, where that of this rank is now. Gives the step after which it is
/// complete.
fn combine(builder: &mut Builder, own: Span) -> Id {
    let (rank, size) = (builder.rank, builder.size);
    let mut ready = Id::NONE;
    if rank > 0 {
        let left = builder.scratch(own.length);
        let mut fold = Fold::in_place(left, builder.receive(0, left, 0, &[]));
        for from in 1..rank {
            fold.receive(builder, from, 0, Order::IntoFrom, Id::NONE);
        }
        let (_, complete) = fold.value();
        ready = builder.reduce(left, own, Order::FromInto, &[complete]);
    }
    let mut fold = Fold::in_place(own, ready);
    for from in rank + 1..size {
        fold.receive(builder, from, 0, Order::IntoFrom, Id::NONE);
    }
    fold.value().1
}
