//! Bcast: the root's output to everyone's.

pub(super) mod binomial;
pub(super) mod chain;
pub(super) mod pipelined_tree;
pub(super) mod scatter_allgather;

use super::Span;
use super::builder::Builder;
use super::segment::Segments;
use super::shape::{Family, absolute};

/// Passes the message on, segment by segment, from the parent to the children; the family is counted
/// from the root.
fn relay(builder: &mut Builder, root: usize, count: usize, family: Family) {
    let size = builder.size;
    let segments = Segments::new(count, builder.element_bytes);
    builder.reserve(3 * segments.number());
    let parent = family.parent.map(|node| absolute(node, root, size));
    let children = [family.left, family.right].map(|node| node.map(|n| absolute(n, root, size)));
    for (round, offset, length) in segments.iter() {
        let part = Span::output(count).part(offset, length);
        let here = parent.map(|parent| builder.receive(parent, part, round, &[]));
        for child in children.into_iter().flatten() {
            builder.send(child, part, round, here.as_slice());
        }
    }
}
