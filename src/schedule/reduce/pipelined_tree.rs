//! Pipelined binary tree reduction in rank order.
//!
//! Idea: a binary tree whose root is the root and whose every left (right) subtree is a run of ranks
//! just before (after) its parent: left, own, right is rank order. Segments follow each other upwards.
//!
//! Cost: about 2 (log2 p + n) (alpha + m/n beta + m/n gamma) with n segments. Restrictions: none.
//! Source: Open MPI's `in_order_binary`, but with any root at the top.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::segment::{Segments, WINDOW};
use crate::schedule::shape::in_order;
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Reduce,
    name: "pipelined_tree",
    commutative_only: false,
    summary: "segments up an in-order binary tree",
    make: Make::Rooted(build),
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    let (own, output) = (Span::input(count), Span::output(count));
    let family = in_order(builder.rank, 0, builder.size, root);
    let segments = Segments::new(count, builder.element_bytes);
    let window = WINDOW.min(segments.number());
    builder.reserve(5 * segments.number());
    // The first child's segment is received where the result is made, the second's beside it.
    let (first, second, order) = match (family.left, family.right) {
        (None, None) => {
            for (round, offset, length) in segments.iter() {
                let part = own.part(offset, length);
                match family.parent {
                    Some(parent) => builder.send(parent, part, round, &[]),
                    None => builder.copy(part, output.part(offset, length), &[]),
                };
            }
            return;
        }
        (Some(left), right) => (left, right, Order::IntoFrom),
        (None, Some(right)) => (right, None, Order::FromInto),
    };
    let results = family
        .parent
        .map(|_| builder.scratch(window * segments.length()));
    let spares = second.map(|_| builder.scratch(window * segments.length()));
    let (mut sent, mut free) = ([Id::NONE; WINDOW], [Id::NONE; WINDOW]);
    for (round, offset, length) in segments.iter() {
        let slot = round as usize % WINDOW;
        let in_slot = |buffer: Span| buffer.part(slot * segments.length(), length);
        let into = results.map_or_else(|| output.part(offset, length), in_slot);
        let received = builder.receive(first, into, round, &[sent[slot]]);
        let mut latest = builder.reduce(own.part(offset, length), into, order, &[received]);
        if let (Some(right), Some(spares)) = (second, spares) {
            let spare = in_slot(spares);
            let received = builder.receive(right, spare, round, &[free[slot]]);
            latest = builder.reduce(spare, into, Order::IntoFrom, &[received, latest]);
            free[slot] = latest;
        }
        if let Some(parent) = family.parent {
            sent[slot] = builder.send(parent, into, round, &[latest]);
        }
    }
}
