//! Scattered alltoall(v).
//!
//! Idea: as linear, but only so many exchanges are on the way at a time, which bounds what
//! arrives before it is wanted.
//!
//! Cost: (p-1) (alpha / W + m beta) with W exchanges at a time. Restrictions: none. Source: Iannello's algorithm in MPICH (`scattered`).

use super::exchange;
use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Counts, Kind};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Alltoall,
    name: "scattered",
    commutative_only: false,
    summary: "a bounded number of exchanges at a time",
    make: Make::Whole(build),
};

pub(crate) static ALGORITHM_V: Algorithm = Algorithm {
    kind: Kind::Alltoallv,
    name: "scattered",
    commutative_only: false,
    summary: "a bounded number of exchanges at a time",
    make: Make::Exchange(build_v),
};

/// Exchanges of one rank that are on the way at a time: MPICH's throttle, 32 messages.
const WINDOW: usize = 16;

fn build(builder: &mut Builder, count: usize) {
    exchange(builder, Counts::Equal(count), Counts::Equal(count), WINDOW);
}

fn build_v(builder: &mut Builder, sends: &[usize], receives: &[usize]) {
    exchange(builder, Counts::Each(sends), Counts::Each(receives), WINDOW);
}
