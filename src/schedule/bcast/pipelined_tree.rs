//! Pipelined binary tree broadcast.
//!
//! Idea: a binary tree, counted from the root; each rank passes every segment on to its two children as
//! soon as it has it.
//!
//! Cost: about 2 (log2 p - 1 + n) (alpha + m/n beta) with n segments: 2 m beta, any number of ranks.
//! Restrictions: none. Source: folklore; Open MPI's `bintree`.

use super::relay;
use crate::schedule::Kind;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::{heap, relative};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Bcast,
    name: "pipelined_tree",
    commutative_only: false,
    summary: "segments down a binary tree",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let family = heap(relative(builder.rank, root, builder.size), builder.size);
    relay(builder, root, count, family);
}
