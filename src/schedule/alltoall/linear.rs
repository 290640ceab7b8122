//! Linear alltoall(v).
//!
//! Idea: all messages at once; whoever is ready goes first.
//!
//! Cost: alpha + (p-1) m beta at best; p (p-1) messages at a time. Restrictions: none. Source: folklore.

use super::exchange;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Counts, Kind};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Alltoall,
    name: "linear",
    commutative_only: false,
    summary: "all messages at once",
    make: Make::Whole(build),
};

pub(crate) static ALGORITHM_V: Algorithm = Algorithm {
    kind: Kind::Alltoallv,
    name: "linear",
    commutative_only: false,
    summary: "all messages at once",
    make: Make::Exchange(build_v),
};

fn build(builder: &mut Builder, count: usize) {
    exchange(
        builder,
        Counts::Equal(count),
        Counts::Equal(count),
        usize::MAX,
    );
}

fn build_v(builder: &mut Builder, sends: &[usize], receives: &[usize]) {
    exchange(
        builder,
        Counts::Each(sends),
        Counts::Each(receives),
        usize::MAX,
    );
}
