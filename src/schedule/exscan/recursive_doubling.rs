//! Recursive doubling exclusive scan.
//!
//! Idea: every contribution moves one rank to the right; the ranks from 1 on then do an inclusive scan of
//! what they have got, beside the output, and copy it there.
//!
//! Cost: (1 + ceil(log2 (p-1))) (alpha + m beta) + ceil(log2 (p-1)) m gamma. Restrictions: none.
//! Source: folklore; MPICH saves the first round with a second buffer and twice the reductions.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::scan::recursive_doubling::prefixes;
use crate::schedule::{Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Exscan,
    name: "recursive_doubling",
    commutative_only: false,
    summary: "shift by one rank, then an inclusive scan",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let (rank, size) = (builder.rank, builder.size);
    let whole = Span::output(count);
    let mut given = Id::NONE;
    if rank + 1 < size {
        given = builder.send(rank + 1, whole, 0, &[]);
    }
    if rank == 0 {
        return;
    }
    let shifted = builder.scratch(count);
    let received = builder.receive(rank - 1, shifted, 0, &[]);
    let fold = prefixes(builder, 1, Fold::in_place(shifted, received));
    let (value, ready) = fold.value();
    builder.copy(value, whole, &[ready, given]);
}
