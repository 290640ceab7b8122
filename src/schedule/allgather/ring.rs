//! Ring allgather(v).
//!
//! Idea: each block goes round the ring; a rank passes on what it has just received.
//!
//! Cost: (p-1) (alpha + m beta). Restrictions: none. Source: folklore.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Span};

const EQUAL: Algorithm = Algorithm {
    kind: Kind::Allgather,
    name: "ring",
    commutative_only: false,
    summary: "blocks around a ring: neighbours only",
    make: Make::Blocks(build),
};
pub(crate) static ALGORITHM: Algorithm = EQUAL;
pub(crate) static ALGORITHM_V: Algorithm = Algorithm {
    kind: Kind::Allgatherv,
    ..EQUAL
};

fn build(builder: &mut Builder, blocks: &Blocks) {
    let (rank, size) = (builder.rank, builder.size);
    let own = Span::input(blocks.length(rank));
    let output = Span::output(blocks.total());
    builder.reserve(2 * size);
    builder.copy(own, blocks.one(output, rank), &[]);
    let (mut away, mut ready) = (own, Id::NONE);
    for step in 1..size {
        let (next, previous) = (builder.right(1), builder.left(1));
        let home = blocks.one(output, builder.left(step));
        let received = builder.receive(previous, home, step as u32, &[]);
        builder.send(next, away, step as u32, &[ready]);
        (away, ready) = (home, received);
    }
}
