//! Binomial tree reduction.
//!
//! Idea: the broadcast tree, upwards; each rank combines what its children send and passes it on. Ranks
//! are counted from the root, so the operands of the ranks before the root come last.
//!
//! Cost: ceil(log2 p) (alpha + m beta + m gamma). Restrictions: commutative operators.
//! Source: folklore; MPICH's short reduction.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::{Binomial, absolute, relative};
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Reduce,
    name: "binomial",
    commutative_only: true,
    summary: "binomial tree from the root",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let size = builder.size;
    let tree = Binomial {
        node: relative(builder.rank, root, size),
        size,
    };
    let (own, output) = (Span::input(count), Span::output(count));
    if size == 1 {
        builder.copy(own, output, &[]);
        return;
    }
    let mut fold = Fold::new(own, (builder.rank == root).then_some(output));
    for child in tree.children() {
        fold.receive(
            builder,
            absolute(child.node, root, size),
            0,
            Order::IntoFrom,
            Id::NONE,
        );
    }
    if let Some(parent) = tree.parent() {
        let (value, ready) = fold.value();
        builder.send(absolute(parent, root, size), value, 0, &[ready]);
    }
}
