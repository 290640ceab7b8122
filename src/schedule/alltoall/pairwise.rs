//! Pairwise alltoall(v).
//!
//! Idea: in step k a rank sends to the one k to the right and receives from the one k to the left;
//! one exchange at a time, so each message has its links for itself.
//!
//! Cost: (p-1) (alpha + m beta). Restrictions: none. Source: folklore.

use super::exchange;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Counts, Kind};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Alltoall,
    name: "pairwise",
    commutative_only: false,
    summary: "one exchange at a time",
    make: Make::Whole(build),
};

pub(crate) static ALGORITHM_V: Algorithm = Algorithm {
    kind: Kind::Alltoallv,
    name: "pairwise",
    commutative_only: false,
    summary: "one exchange at a time",
    make: Make::Exchange(build_v),
};

fn build(builder: &mut Builder, count: usize) {
    exchange(builder, Counts::Equal(count), Counts::Equal(count), 1);
}

fn build_v(builder: &mut Builder, sends: &[usize], receives: &[usize]) {
    exchange(builder, Counts::Each(sends), Counts::Each(receives), 1);
}
