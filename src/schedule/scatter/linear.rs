//! Linear scatter and scatterv.
//!
//! Idea: the root sends each rank its block.
//!
//! Cost: (p-1) (alpha + m beta) at the root. Restrictions: none; nobody but the root needs to know the
//! counts of others. Source: folklore.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Counts, Kind, Span};

const EQUAL: Algorithm = Algorithm {
    kind: Kind::Scatter,
    name: "linear",
    commutative_only: false,
    summary: "the root sends to everyone",
    make: Make::Rooted(build),
};
pub(crate) static ALGORITHM: Algorithm = EQUAL;
pub(crate) static ALGORITHM_V: Algorithm = Algorithm {
    kind: Kind::Scatterv,
    make: Make::Varying(build_v),
    ..EQUAL
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    deal(builder, root, count, Counts::Equal(count));
}

fn build_v(builder: &mut Builder, root: usize, own: usize, all: Option<&[usize]>) {
    deal(builder, root, own, Counts::Each(all.unwrap_or_default()));
}

/// Only the root looks at `counts`.
fn deal(builder: &mut Builder, root: usize, own: usize, counts: Counts<'_>) {
    let size = builder.size;
    let output = Span::output(own);
    if builder.rank != root {
        builder.receive(root, output, 0, &[]);
        return;
    }
    let blocks = Blocks::new(counts, size);
    let all = Span::input(blocks.total());
    builder.reserve(size);
    for distance in 1..size {
        let to = builder.right(distance);
        builder.send(to, blocks.one(all, to), 0, &[]);
    }
    builder.copy(blocks.one(all, root), output, &[]);
}
