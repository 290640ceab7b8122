//! Linear gather and gatherv.
//!
//! Idea: everyone sends its block to the root, which receives each into place.
//!
//! Cost: (p-1) (alpha + m beta) at the root. Restrictions: none; nobody but the root needs to know the
//! counts of others. Source: folklore.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Counts, Kind, Span};

const EQUAL: Algorithm = Algorithm {
    kind: Kind::Gather,
    name: "linear",
    commutative_only: false,
    summary: "everyone sends to the root",
    make: Make::Rooted(build),
};
pub(crate) static ALGORITHM: Algorithm = EQUAL;
pub(crate) static ALGORITHM_V: Algorithm = Algorithm {
    kind: Kind::Gatherv,
    make: Make::Varying(build_v),
    ..EQUAL
};

fn build(builder: &mut Builder, root: usize, count: usize) {
    collect(builder, root, count, Counts::Equal(count));
}

fn build_v(builder: &mut Builder, root: usize, own: usize, all: Option<&[usize]>) {
    collect(builder, root, own, Counts::Each(all.unwrap_or_default()));
}

/// Only the root looks at `counts`.
fn collect(builder: &mut Builder, root: usize, own: usize, counts: Counts<'_>) {
    let (rank, size) = (builder.rank, builder.size);
    let input = Span::input(own);
    if rank != root {
        builder.send(root, input, 0, &[]);
        return;
    }
    let blocks = Blocks::new(counts, size);
    let all = Span::output(blocks.total());
    builder.reserve(size);
    for from in (0..size).filter(|from| *from != root) {
        builder.receive(from, blocks.one(all, from), 0, &[]);
    }
    builder.copy(input, blocks.one(all, root), &[]);
}
