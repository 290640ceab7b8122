//! Binomial tree broadcast.
//!
//! Idea: in each round everyone who has the message sends it to one who has not; the child with the
//! largest subtree first.
//!
//! Cost: ceil(log2 p) (alpha + m beta). Restrictions: none. Source: folklore; MPICH's short broadcast.

use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::{Binomial, absolute, relative};
use crate::schedule::{Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Bcast,
    name: "binomial",
    commutative_only: false,
    summary: "binomial tree, whole message",
    make: Make::Rooted(build),
};

pub(crate) fn build(builder: &mut Builder, root: usize, count: usize) {
    let size = builder.size;
    let tree = Binomial {
        node: relative(builder.rank, root, size),
        size,
    };
    let whole = Span::output(count);
    let parent = tree.parent().map(|node| absolute(node, root, size));
    let here = parent.map(|parent| builder.receive(parent, whole, 0, &[]));
    for child in tree.children().rev() {
        builder.send(absolute(child.node, root, size), whole, 0, here.as_slice());
    }
}
