//! Scatter and allgather broadcast.
//!
//! Idea: the message is cut into a block for each rank; a binomial scatter gives each rank the blocks of
//! its subtree, then a circulant allgather brings to everyone what it does not have yet. (The root gets
//! nothing back, and a rank with a subtree never gets a block of it again.)
//!
//! Cost: 2 ceil(log2 p) alpha + 2 (p-1)/p m beta. Restrictions: none.
//! Source: van de Geijn et al., with the exchange of arXiv:2410.14234 in place of the ring.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::{Binomial, absolute, halving, relative};
use crate::schedule::{Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Bcast,
    name: "scatter_allgather",
    commutative_only: false,
    summary: "binomial scatter, circulant allgather",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let size = builder.size;
    let blocks = Blocks::split(count, size);
    let whole = Span::output(count);
    let tree = Binomial {
        node: relative(builder.rank, root, size),
        size,
    };
    builder.reserve(20);
    let mut held = Vec::with_capacity(24);

    // Blocks are numbered from the root too, so what a subtree gets is never cut.
    let subtree = |tree: Binomial| blocks.run(whole, tree.node, tree.span())[0];
    if let Some(parent) = tree.parent() {
        held.push(builder.receive(absolute(parent, root, size), subtree(tree), 0, &[]));
    }
    for child in tree.children().rev() {
        builder.send(absolute(child.node, root, size), subtree(child), 0, &held);
    }

    // Before a round, the rank `node` has its subtree and the `near` blocks from its own on. It lacks,
    // of the `far` blocks that it has afterwards, those past both.
    let lacks = |node: usize, near: usize, far: usize| {
        let first = near.max(Binomial { node, size }.span());
        blocks.run(whole, node + first, far.saturating_sub(first))
    };
    for (number, (near, far)) in halving(size).rev().enumerate() {
        let to = (tree.node + size - near) % size;
        let from = (tree.node + near) % size;
        let (away, home) = (lacks(to, near, far), lacks(tree.node, near, far));
        let mut received = Vec::with_capacity(2);
        for half in 0..2 {
            let round = (1 + 2 * number + half) as u32;
            received.push(builder.receive(absolute(from, root, size), home[half], round, &[]));
            builder.send(absolute(to, root, size), away[half], round, &held);
        }
        held.append(&mut received);
    }
}
