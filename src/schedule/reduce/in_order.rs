//! Binomial tree reduction in rank order.
//!
//! Idea: the subtrees of a binomial tree are runs of ranks, and combining the children in ascending order
//! is combining in rank order. So there are two trees: one of the ranks from the root on, at the root,
//! and one of the ranks before it, at rank 0, whose result the root puts on the left.
//!
//! Cost: at most (ceil(log2 p) + 1) (alpha + m beta + m gamma). Restrictions: none.
//! Source: the observation is folklore; MPICH instead reduces to rank 0 and sends the result on.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::Binomial;
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Reduce,
    name: "in_order",
    commutative_only: false,
    summary: "two binomial trees, left and right of the root, in rank order",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let (own, output) = (Span::input(count), Span::output(count));
    if builder.size == 1 {
        builder.copy(own, output, &[]);
        return;
    }
    let fold = Fold::new(own, (builder.rank == root).then_some(output));
    upwards(builder, root, fold);
}

/// Combines the folds of all ranks into the root's. Says where the value of this rank's subtree lies,
/// the step that has it complete, and the step that has sent it to the parent.
pub(crate) fn upwards(builder: &mut Builder, root: usize, mut fold: Fold) -> (Span, Id, Id) {
    let first = if builder.rank < root { 0 } else { root };
    let size = if builder.rank < root {
        root
    } else {
        builder.size - root
    };
    let tree = Binomial {
        node: builder.rank - first,
        size,
    };
    for child in tree.children() {
        fold.receive(builder, first + child.node, 0, Order::IntoFrom, Id::NONE);
    }
    if builder.rank == root && root > 0 {
        fold.receive(builder, 0, 0, Order::FromInto, Id::NONE);
    }
    let (value, ready) = fold.value();
    let parent = tree
        .parent()
        .map(|node| first + node)
        .or_else(|| (builder.rank < root).then_some(root));
    let sent = parent.map_or(Id::NONE, |parent| builder.send(parent, value, 0, &[ready]));
    (value, ready, sent)
}
