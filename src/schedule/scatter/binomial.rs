//! Binomial tree scatter.
//!
//! Idea: the binomial gather, backwards: each rank receives the blocks of its subtree and passes its
//! children's on, the largest subtree first.
//!
//! Cost: ceil(log2 p) alpha + (p-1) m beta at the root, m the length of a block.
//! Restrictions: all counts known to all ranks, so not for scatterv. Source: folklore.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::{Binomial, absolute, relative};
use crate::schedule::{Counts, Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Scatter,
    name: "binomial",
    commutative_only: false,
    summary: "binomial tree, each subtree's blocks together",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let blocks = Blocks::new(Counts::Equal(count), builder.size);
    downwards(
        builder,
        &blocks,
        root,
        Span::input(blocks.total()),
        Id::NONE,
        0,
    );
}

/// Brings each rank its block to the output. `all` is where the root has all blocks, after `ready`.
pub(crate) fn downwards(
    builder: &mut Builder,
    blocks: &Blocks,
    root: usize,
    all: Span,
    ready: Id,
    first_round: u32,
) {
    let (rank, size) = (builder.rank, builder.size);
    let tree = Binomial {
        node: relative(rank, root, size),
        size,
    };
    let output = Span::output(blocks.length(rank));
    let buffer = if rank == root {
        all
    } else if tree.span() == 1 {
        output
    } else {
        builder.scratch(blocks.run_length(rank, tree.span()))
    };
    let place = |first: usize, number: usize| {
        if rank == root {
            blocks.run(buffer, first + root, number)
        } else {
            let offset = blocks.run_length(rank, first - tree.node);
            blocks.packed(buffer, offset, absolute(first, root, size), number)
        }
    };
    let mut held = [ready, Id::NONE];
    if let Some(parent) = tree.parent() {
        let from = absolute(parent, root, size);
        for (half, part) in place(tree.node, tree.span()).into_iter().enumerate() {
            held[half] = builder.receive(from, part, first_round + half as u32, &[]);
        }
    }
    for child in tree.children().rev() {
        let to = absolute(child.node, root, size);
        for (round, part) in (first_round..).zip(place(child.node, child.span())) {
            builder.send(to, part, round, &held);
        }
    }
    if buffer != output {
        builder.copy(place(tree.node, 1)[0], output, &held);
    }
}
