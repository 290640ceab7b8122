//! Ring allreduce.
//!
//! Idea: each block goes round the ring once to be combined and once more to be copied.
//!
//! Cost: 2 (p-1) (alpha + m/p beta) + (p-1)/p m gamma. Restrictions: commutative operators.
//! Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
//! 2009.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Allreduce,
    name: "ring",
    commutative_only: true,
    summary: "blocks around a ring, twice: neighbours only",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let size = builder.size;
    if size == 1 {
        return;
    }
    let blocks = Blocks::split(count, size);
    let whole = Span::output(count);
    let (next, previous) = (builder.right(1), builder.left(1));
    builder.reserve(5 * size);
    let spares = [0, 1].map(|_| builder.scratch(blocks.length(0)));
    let (mut free, mut ready) = ([Id::NONE; 2], Id::NONE);
    // The send that gave each block away: only then may it be overwritten.
    let mut given = vec![Id::NONE; size];
    for step in 0..size - 1 {
        let (away, home) = (builder.left(step), builder.left(step + 1));
        given[away] = builder.send(next, blocks.one(whole, away), step as u32, &[ready]);
        let slot = step % 2;
        let spare = spares[slot].part(0, blocks.length(home));
        let received = builder.receive(previous, spare, step as u32, &[free[slot]]);
        // The block that was given away had its last change in `ready`; this one is another.
        ready = builder.reduce(spare, blocks.one(whole, home), Order::IntoFrom, &[received]);
        if ready.is_some() {
            free[slot] = ready;
        }
    }
    // This rank now has the combination of the block after its own.
    for step in 0..size - 1 {
        let (away, home) = (builder.left((step + size - 1) % size), builder.left(step));
        let round = (size - 1 + step) as u32;
        builder.send(next, blocks.one(whole, away), round, &[ready]);
        ready = builder.receive(previous, blocks.one(whole, home), round, &[given[home]]);
    }
}
