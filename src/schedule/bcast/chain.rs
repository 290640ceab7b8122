//! Pipelined chain broadcast.
//!
//! Idea: the ranks stand in a row, counted from the root; each passes every segment on as soon as it has
//! it.
//!
//! Cost: (p - 2 + n) (alpha + m/n beta) with n segments: m beta for long messages and few ranks.
//! Restrictions: none. Source: folklore.

use super::relay;
use crate::schedule::Kind;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::{Family, relative};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Bcast,
    name: "chain",
    commutative_only: false,
    summary: "segments through a row of ranks",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let node = relative(builder.rank, root, builder.size);
    let left = (node + 1 < builder.size).then_some(node + 1);
    let family = Family {
        parent: node.checked_sub(1),
        left,
        right: None,
    };
    relay(builder, root, count, family);
}
