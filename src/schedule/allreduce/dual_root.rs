//! Doubly pipelined dual-root allreduce, in rank order.
//!
//! Idea: two in-order binary trees, of the lower and of the upper half of the ranks. Segments go up;
//! the two roots exchange their values, put the lower half's on the left, and send the result down while
//! later segments still go up.
//!
//! Cost: about (4 log2 p + 3 n) (alpha + m/n beta) with n segments, both directions of a link in use.
//! Restrictions: none: the one for long vectors and operators that do not commute.
//! Source: Träff, "A doubly-pipelined, dual-root reduction-to-all algorithm", arXiv:2109.12626.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::segment::{Segments, WINDOW};
use crate::schedule::shape::in_order;
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Allreduce,
    name: "dual_root",
    commutative_only: false,
    summary: "segments up and down two in-order binary trees",
    make: Make::Whole(build),
};

/// Someone whose segments are combined with the own, and the buffers for that.
struct Source {
    rank: usize,
    order: Order,
    /// A segment each.
    spares: [Span; WINDOW],
    free: [Id; WINDOW],
}

impl Source {
    fn new(builder: &mut Builder, rank: usize, order: Order, segments: Segments) -> Self {
        let spares = std::array::from_fn(|slot| {
            builder.scratch(if slot < segments.number() {
                segments.length()
            } else {
                0
            })
        });
        Self {
            rank,
            order,
            spares,
            free: [Id::NONE; WINDOW],
        }
    }

    fn combine(&mut self, builder: &mut Builder, part: Span, round: u32, after: [Id; 2]) -> Id {
        let slot = round as usize % WINDOW;
        let spare = self.spares[slot].part(0, part.length);
        let received = builder.receive(self.rank, spare, round, &[self.free[slot]]);
        let [one, two] = after;
        self.free[slot] = builder.reduce(spare, part, self.order, &[received, one, two]);
        self.free[slot]
    }
}

fn build(builder: &mut Builder, count: usize) {
    let (rank, size) = (builder.rank, builder.size);
    if size == 1 {
        return;
    }
    let half = size.div_ceil(2);
    let lower = (0, half, half / 2, Order::IntoFrom);
    let upper = (half, size, half + (size - half) / 2, Order::FromInto);
    let (mine, other) = if rank < half {
        (lower, upper)
    } else {
        (upper, lower)
    };
    let (first, end, top, order) = mine;
    let family = in_order(rank, first, end, top);
    let segments = Segments::new(count, builder.element_bytes);
    builder.reserve(9 * segments.number());

    let mut source = |rank, order| Source::new(builder, rank, order, segments);
    let mut left = family.left.map(|rank| source(rank, Order::FromInto));
    let mut right = family.right.map(|rank| source(rank, Order::IntoFrom));
    let mut opposite = family.parent.is_none().then(|| source(other.2, order));
    for (round, offset, length) in segments.iter() {
        let part = Span::output(count).part(offset, length);
        let mut ready = Id::NONE;
        for child in [&mut left, &mut right].into_iter().flatten() {
            ready = child.combine(builder, part, round, [ready, Id::NONE]);
        }
        let above = family.parent.unwrap_or(other.2);
        let sent = builder.send(above, part, round, &[ready]);
        let result = match &mut opposite {
            Some(opposite) => opposite.combine(builder, part, round, [ready, sent]),
            None => builder.receive(above, part, round, &[sent]),
        };
        for child in [family.left, family.right].into_iter().flatten() {
            builder.send(child, part, round, &[result]);
        }
    }
}
