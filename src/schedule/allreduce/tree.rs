//! Reduce and broadcast allreduce.
//!
//! Idea: a binomial tree at rank 0, in rank order, upwards and then downwards. Twice the rounds of
//! recursive doubling, but 2(p-1) messages in all instead of p log2 p, and half of the ranks are leaves
//! that sleep once: for more ranks than cores.
//!
//! Cost: ceil(log2 p) (2 alpha + 2 m beta + m gamma). Restrictions: none. Source: folklore.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::reduce::in_order::upwards;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::Binomial;
use crate::schedule::{Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Allreduce,
    name: "tree",
    commutative_only: false,
    summary: "binomial tree up and down: fewest messages",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let whole = Span::output(count);
    let (_, ready, sent) = upwards(builder, 0, Fold::in_place(whole, Id::NONE));
    let tree = Binomial {
        node: builder.rank,
        size: builder.size,
    };
    let complete = match tree.parent() {
        Some(parent) => builder.receive(parent, whole, 0, &[sent]),
        None => ready,
    };
    for child in tree.children().rev() {
        builder.send(child.node, whole, 0, &[complete]);
    }
}
