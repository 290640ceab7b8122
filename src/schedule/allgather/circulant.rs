//! Circulant allgather(v) in place.
//!
//! Idea: Bruck's rounds, but blocks are received where they belong: nothing is copied, and the run that
//! passes the end of the output travels as two messages.
//!
//! Cost: ceil(log2 p) alpha (up to twice the messages) + (p-1) m beta. Restrictions: none.
//! Source: Träff, arXiv:2410.14234.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Span, circulant};

const EQUAL: Algorithm = Algorithm {
    kind: Kind::Allgather,
    name: "circulant",
    commutative_only: false,
    summary: "log p rounds, blocks received into place",
    make: Make::Blocks(build),
};
pub(crate) static ALGORITHM: Algorithm = EQUAL;
pub(crate) static ALGORITHM_V: Algorithm = Algorithm {
    kind: Kind::Allgatherv,
    ..EQUAL
};

fn build(builder: &mut Builder, blocks: &Blocks) {
    let rank = builder.rank;
    let own = Span::input(blocks.length(rank));
    let output = Span::output(blocks.total());
    let ready = builder.copy(own, blocks.one(output, rank), &[]);
    circulant::allgather(builder, blocks, output, &[ready], &[], 0);
}
