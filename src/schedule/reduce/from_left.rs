//! Reduction from the left: `((x0 op x1) op x2) op ...`, at the root.
//!
//! Idea: everyone sends its contribution to the root, which combines them strictly in rank order. That is the order
//! in which ranks that meet in shared memory combine, so the bits are the same wherever the ranks run.
//!
//! Cost: (p-1) (alpha + m beta + m gamma) at the root. Restrictions: none. Source: folklore.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Reduce,
    name: "from_left",
    commutative_only: false,
    summary: "all to the root, combined as in shared memory",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let (own, output) = (Span::input(count), Span::output(count));
    let size = builder.size;
    if builder.rank != root {
        builder.send(root, own, 0, &[]);
        return;
    }
    let first = match root {
        0 => builder.copy(own, output, &[]),
        _ => builder.receive(0, output, 0, &[]),
    };
    let mut fold = Fold::in_place(output, first);
    let mut also = Id::NONE;
    for rank in 1..size {
        if rank == root {
            let (into, latest) = fold.value();
            also = builder.reduce(own, into, Order::IntoFrom, &[latest]);
        } else {
            fold.receive(builder, rank, 0, Order::IntoFrom, also);
            also = Id::NONE;
        }
    }
}
