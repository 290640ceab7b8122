//! Binomial tree gather.
//!
//! Idea: each rank of a binomial tree collects the blocks of its subtree, which lie one after the other,
//! and sends them on in one message; the root receives into place. (The one subtree that contains both
//! the last rank and rank 0 comes in two messages.)
//!
//! Cost: ceil(log2 p) alpha + (p-1) m beta at the root, m the length of a block.
//! Restrictions: all counts known to all ranks, so not for gatherv. Source: folklore.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::{Binomial, absolute, relative};
use crate::schedule::{Counts, Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Gather,
    name: "binomial",
    commutative_only: false,
    summary: "binomial tree, each subtree's blocks together",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let (rank, size) = (builder.rank, builder.size);
    let blocks = Blocks::new(Counts::Equal(count), size);
    let tree = Binomial {
        node: relative(rank, root, size),
        size,
    };
    let own = Span::input(count);
    let (buffer, ready) = if rank == root {
        let all = Span::output(blocks.total());
        (all, builder.copy(own, blocks.one(all, root), &[]))
    } else if tree.span() == 1 {
        (own, Id::NONE)
    } else {
        let buffer = builder.scratch(blocks.run_length(rank, tree.span()));
        (buffer, builder.copy(own, buffer.part(0, count), &[]))
    };
    let place = |first: usize, number: usize| {
        if rank == root {
            blocks.run(buffer, first + root, number)
        } else {
            let offset = blocks.run_length(rank, first - tree.node);
            blocks.packed(buffer, offset, absolute(first, root, size), number)
        }
    };
    upwards(builder, root, place, &[ready], Id::NONE, 0);
}

/// Collects the blocks of all ranks at the root. `place` says where this rank has a run of blocks,
/// counted from the root; its own is there after `ready`, and the others' may be written after `free`.
pub(crate) fn upwards(
    builder: &mut Builder,
    root: usize,
    place: impl Fn(usize, usize) -> [Span; 2],
    ready: &[Id],
    free: Id,
    first_round: u32,
) {
    let size = builder.size;
    let tree = Binomial {
        node: relative(builder.rank, root, size),
        size,
    };
    let mut held = ready.to_vec();
    for child in tree.children() {
        let from = absolute(child.node, root, size);
        for (round, part) in (first_round..).zip(place(child.node, child.span())) {
            held.push(builder.receive(from, part, round, &[free]));
        }
    }
    if let Some(parent) = tree.parent() {
        let to = absolute(parent, root, size);
        for (round, part) in (first_round..).zip(place(tree.node, tree.span())) {
            builder.send(to, part, round, &held);
        }
    }
}
