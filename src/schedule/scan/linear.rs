//! Pipelined linear scan.
//!
//! Idea: the ranks stand in a row; each puts what comes from the left on the left of its own and passes
//! the result on, segment by segment.
//!
//! Cost: (p - 2 + n) (alpha + m/n beta + m/n gamma) with n segments; for long vectors m beta instead of
//! log2 p times that. Restrictions: none. Source: folklore.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::segment::Segments;
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Scan,
    name: "linear",
    commutative_only: false,
    summary: "segments through the row of ranks",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let (rank, size) = (builder.rank, builder.size);
    let segments = Segments::new(count, builder.element_bytes);
    builder.reserve(3 * segments.number());
    for (round, offset, length) in segments.iter() {
        let part = Span::output(count).part(offset, length);
        let mut fold = Fold::in_place(part, Id::NONE);
        if rank > 0 {
            fold.receive(builder, rank - 1, round, Order::FromInto, Id::NONE);
        }
        if rank + 1 < size {
            let (value, ready) = fold.value();
            builder.send(rank + 1, value, round, &[ready]);
        }
    }
}
