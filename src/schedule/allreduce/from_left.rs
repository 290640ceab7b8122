//! Allreduce from the left: `((x0 op x1) op x2) op ...`, at rank 0, and then to everyone.
//!
//! Idea: rank 0 combines all contributions strictly in rank order, and a binomial tree brings the result to the
//! others. That is the order in which ranks that meet in shared memory combine, so the bits are the same wherever the
//! ranks run.
//!
//! Cost: (p-1) (alpha + m beta + m gamma) at rank 0, and ceil(log2 p) (alpha + m beta). Restrictions: none.
//! Source: folklore.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::Binomial;
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Allreduce,
    name: "from_left",
    commutative_only: false,
    summary: "all to rank 0, combined as in shared memory, and a tree back",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let whole = Span::output(count);
    let tree = Binomial {
        node: builder.rank,
        size: builder.size,
    };
    let complete = if let Some(parent) = tree.parent() {
        let sent = builder.send(0, whole, 0, &[]);
        builder.receive(parent, whole, 0, &[sent])
    } else {
        let mut fold = Fold::in_place(whole, Id::NONE);
        for rank in 1..builder.size {
            fold.receive(builder, rank, 0, Order::IntoFrom, Id::NONE);
        }
        fold.value().1
    };
    for child in tree.children().rev() {
        builder.send(child.node, whole, 0, &[complete]);
    }
}
