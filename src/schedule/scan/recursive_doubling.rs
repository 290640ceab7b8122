//! Recursive doubling scan.
//!
//! Idea: before round k the output holds the combination of the last 2^k ranks up to this one; it goes to
//! the rank 2^k further on, and the one that comes from 2^k before goes on the left.
//!
//! Cost: ceil(log2 p) (alpha + m beta + m gamma). Restrictions: none. Source: Hillis and Steele, "Data
//! parallel algorithms", 1986.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Scan,
    name: "recursive_doubling",
    commutative_only: false,
    summary: "log p rounds, distances 1, 2, 4, ..., whole vector",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    prefixes(builder, 0, Fold::in_place(Span::output(count), Id::NONE));
}

/// Scan of what the ranks from `first` on have in their folds.
pub(crate) fn prefixes(builder: &mut Builder, first: usize, mut fold: Fold) -> Fold {
    use crate::schedule::Order::FromInto;
    let (rank, size) = (builder.rank, builder.size);
    let mut distance = 1;
    while distance < size - first {
        let round = distance.trailing_zeros() + 1;
        let (value, ready) = fold.value();
        let mut sent = Id::NONE;
        if rank + distance < size {
            sent = builder.send(rank + distance, value, round, &[ready]);
        }
        if rank >= first + distance {
            fold.receive(builder, rank - distance, round, FromInto, sent);
        }
        distance *= 2;
    }
    fold
}
