//! Bruck's allgather(v).
//!
//! Idea: a rank collects blocks from its own on, around the circle, in scratch memory, where they are one
//! message in each round however they lie in the output; two copies put them there at the end.
//!
//! Cost: ceil(log2 p) alpha + (p-1) m beta, and a copy of the whole. Restrictions: none.
//! Source: Bruck et al., "Efficient algorithms for all-to-all communications in multiport message-passing
//! systems", 1997.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::halving;
use crate::schedule::{Kind, Span};

const EQUAL: Algorithm = Algorithm {
    kind: Kind::Allgather,
    name: "bruck",
    commutative_only: false,
    summary: "log p rounds of one message each, then a rotation",
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
    if size == 1 {
        builder.copy(own, output, &[]);
        return;
    }
    let collected = builder.scratch(blocks.total());
    let run_length = |number: usize| blocks.run_length(rank, number);
    let mut held = Vec::with_capacity(16);
    held.push(builder.copy(own, collected.part(0, own.length), &[]));
    for (round, (near, far)) in (0..).zip(halving(size).rev()) {
        let (to, from, taken) = (builder.left(near), builder.right(near), far - near);
        let start = run_length(near);
        let home = collected.part(start, run_length(far) - start);
        let received = builder.receive(from, home, round, &[]);
        if taken == 1 {
            builder.send(to, own, round, &[]);
        } else {
            builder.send(to, collected.part(0, run_length(taken)), round, &held);
        }
        held.push(received);
    }
    let [above, below] = blocks.run(output, rank, size);
    builder.copy(collected.part(0, above.length), above, &held);
    builder.copy(collected.part(above.length, below.length), below, &held);
}
