//! Pipelined linear exclusive scan.
//!
//! Idea: the ranks stand in a row; what comes from the left is the result, and combined with the own it
//! is what goes on to the right, segment by segment.
//!
//! Cost: (p - 2 + n) (alpha + m/n beta + m/n gamma) with n segments. Restrictions: none.
//! Source: folklore.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::segment::{Segments, WINDOW};
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Exscan,
    name: "linear",
    commutative_only: false,
    summary: "segments through the row of ranks",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let (rank, size) = (builder.rank, builder.size);
    let segments = Segments::new(count, builder.element_bytes);
    builder.reserve(4 * segments.number());
    let spares: [Option<Span>; WINDOW] = std::array::from_fn(|slot| {
        let needed = rank > 0 && rank + 1 < size && slot < segments.number();
        needed.then(|| builder.scratch(segments.length()))
    });
    let mut free = [Id::NONE; WINDOW];
    for (round, offset, length) in segments.iter() {
        let part = Span::output(count).part(offset, length);
        if rank == 0 {
            if size > 1 {
                builder.send(1, part, round, &[]);
            }
            continue;
        }
        let slot = round as usize % WINDOW;
        let Some(spare) = spares[slot] else {
            // The last rank: its own contribution is nobody's result.
            builder.receive(rank - 1, part, round, &[]);
            continue;
        };
        let before = spare.part(0, length);
        let received = builder.receive(rank - 1, before, round, &[free[slot]]);
        let combined = builder.reduce(before, part, Order::FromInto, &[received]);
        let sent = builder.send(rank + 1, part, round, &[combined]);
        free[slot] = builder.copy(before, part, &[sent]);
    }
}
