//! The table of defaults.
//!
//! Links may be anything from shared memory (a message about 1 us, 0.1 ns a byte) to TCP between hosts
//! (30 us, 1 ns a byte). Where the best limits differ, these lie between, nearer to what costs less when
//! it is wrong.

use super::Rule;
use crate::schedule::{
    Kind, allgather, allreduce, alltoall, barrier, bcast, exscan, gather, reduce, reduce_scatter,
    scan, scatter,
};

pub(super) const KIB: usize = 1024;
pub(super) const MIB: usize = 1024 * KIB;
/// No limit.
const ANY: usize = usize::MAX;

/// The rules of one kind, in the order in which they are tried; the last applies to everything.
pub(super) fn defaults(kind: Kind) -> &'static [Rule] {
    match kind {
        Kind::Barrier => BARRIER,
        Kind::Bcast => BCAST,
        Kind::Reduce => REDUCE,
        Kind::Allreduce => ALLREDUCE,
        Kind::Scan => SCAN,
        Kind::Exscan => EXSCAN,
        Kind::Gather => GATHER,
        Kind::Gatherv => GATHERV,
        Kind::Scatter => SCATTER,
        Kind::Scatterv => SCATTERV,
        Kind::Allgather => ALLGATHER,
        Kind::Allgatherv => ALLGATHERV,
        Kind::Alltoall => ALLTOALL,
        Kind::Alltoallv => ALLTOALLV,
        Kind::ReduceScatterBlock => REDUCE_SCATTER_BLOCK,
        Kind::ReduceScatter => REDUCE_SCATTER,
    }
}

/// The longest message for which ranks that all share memory meet there, for operations that can; each is
/// a contribution, of allgather all of them together. With 2 to 16 ranks on 2 cores meeting was as fast as
/// the best schedule or faster at every length up to 1 MiB, but for allgather of 2 ranks from 512 KiB on.
pub(super) const fn shared_bytes_max(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Barrier
        | Kind::Bcast
        | Kind::Reduce
        | Kind::Allreduce
        | Kind::Allgather
        | Kind::Alltoall => Some(ANY),
        _ => None,
    }
}

// Past some hundred ranks the messages at rank 0 cost more than rounds of sleeping do.
static BARRIER: &[Rule] = &[
    Rule::new(&barrier::flat::ALGORITHM, "one sleep per rank")
        .ranks(3, 512)
        .crowded(),
    Rule::new(&barrier::dissemination::ALGORITHM, "fewest rounds"),
];

static BCAST: &[Rule] = &[
    Rule::new(&bcast::binomial::ALGORITHM, "nobody to share the work with").ranks(1, 2),
    Rule::new(&bcast::binomial::ALGORITHM, "latency counts").up_to(12 * KIB),
    Rule::new(&bcast::binomial::ALGORITHM, "two or three rounds")
        .ranks(3, 7)
        .up_to(128 * KIB),
    // With fewer cores than ranks exchanges wait for ranks that do not run; a tree waits for one.
    Rule::new(&bcast::pipelined_tree::ALGORITHM, "waits for one rank")
        .from(128 * KIB)
        .crowded(),
    Rule::new(&bcast::chain::ALGORITHM, "each byte sent once")
        .ranks(3, 8)
        .from(128 * KIB),
    Rule::new(
        &bcast::scatter_allgather::ALGORITHM,
        "each byte sent twice in few rounds",
    ),
];

static REDUCE: &[Rule] = &[
    Rule::new(
        &reduce::from_left::ALGORITHM,
        "the same bits as on one host",
    )
    .across_hosts(),
    Rule::new(
        &reduce::reduce_scatter_gather::ALGORITHM,
        "shares bytes and arithmetic",
    )
    .ranks(4, ANY)
    .from(64 * KIB),
    Rule::new(&reduce::binomial::ALGORITHM, "fewest rounds"),
    Rule::new(&reduce::in_order::ALGORITHM, "rank order, latency counts").up_to(128 * KIB),
    Rule::new(
        &reduce::pipelined_tree::ALGORITHM,
        "rank order, bandwidth counts",
    ),
];

// Doubling or circulant: they meet at about 100 KiB on TCP, at 12 to 45 KiB in shared memory. Rings take
// 2(p-1) rounds, so never with more than a few ranks.
static ALLREDUCE: &[Rule] = &[
    Rule::new(
        &allreduce::blocks_from_left::ALGORITHM,
        "the same bits as on one host, the work shared",
    )
    .ranks(3, ANY)
    .from(16 * KIB)
    .across_hosts(),
    Rule::new(
        &allreduce::from_left::ALGORITHM,
        "the same bits as on one host",
    )
    .across_hosts(),
    Rule::new(&allreduce::tree::ALGORITHM, "fewest messages and sleeps")
        .ranks(4, ANY)
        .up_to(32 * KIB)
        .crowded(),
    Rule::new(&allreduce::recursive_doubling::ALGORITHM, "fewest rounds").up_to(32 * KIB),
    Rule::new(&allreduce::ring::ALGORITHM, "few ranks: whole blocks")
        .ranks(3, 4)
        .from(4 * MIB),
    Rule::new(
        &allreduce::circulant::ALGORITHM,
        "each byte sent twice in few rounds",
    ),
    Rule::new(
        &allreduce::dual_root::ALGORITHM,
        "rank order, bandwidth counts",
    ),
];

static SCAN: &[Rule] = &[
    Rule::new(&scan::linear::ALGORITHM, "each byte sent once").from(256 * KIB),
    Rule::new(&scan::recursive_doubling::ALGORITHM, "fewest rounds"),
];

static EXSCAN: &[Rule] = &[
    Rule::new(&exscan::linear::ALGORITHM, "each byte sent once").from(256 * KIB),
    Rule::new(&exscan::recursive_doubling::ALGORITHM, "fewest rounds"),
];

// A tree moves a block several times, which is cheaper than a message at the root only while it is short.
static GATHER: &[Rule] = &[
    Rule::new(&gather::binomial::ALGORITHM, "latency counts")
        .ranks(8, ANY)
        .up_to(2 * KIB),
    Rule::new(&gather::linear::ALGORITHM, "each byte sent once"),
];

static SCATTER: &[Rule] = &[
    Rule::new(&scatter::binomial::ALGORITHM, "latency counts")
        .ranks(8, ANY)
        .up_to(2 * KIB),
    Rule::new(&scatter::linear::ALGORITHM, "each byte sent once"),
];

static GATHERV: &[Rule] = &[Rule::new(
    &gather::linear::ALGORITHM_V,
    "only the root knows",
)];

static SCATTERV: &[Rule] = &[Rule::new(
    &scatter::linear::ALGORITHM_V,
    "only the root knows",
)];

// 80 KiB is where MPICH stops too.
static ALLGATHER: &[Rule] = &[
    Rule::new(&allgather::bruck::ALGORITHM, "fewest messages").up_to(80 * KIB),
    Rule::new(&allgather::ring::ALGORITHM, "few ranks: whole blocks")
        .ranks(1, 8)
        .from(512 * KIB),
    Rule::new(&allgather::circulant::ALGORITHM, "no copies, few rounds"),
];

// No ring: it waits for the longest block in every round.
static ALLGATHERV: &[Rule] = &[
    Rule::new(&allgather::bruck::ALGORITHM_V, "fewest messages").up_to(80 * KIB),
    Rule::new(&allgather::circulant::ALGORITHM_V, "no copies, few rounds"),
];

static ALLTOALL: &[Rule] = &[
    Rule::new(&alltoall::bruck::ALGORITHM, "latency counts")
        .ranks(8, ANY)
        .up_to(256),
    Rule::new(&alltoall::scattered::ALGORITHM, "many messages on the way").up_to(32 * KIB),
    Rule::new(
        &alltoall::pairwise::ALGORITHM,
        "each message has its link for itself",
    ),
];

static ALLTOALLV: &[Rule] = &[Rule::new(
    &alltoall::scattered::ALGORITHM_V,
    "many messages on the way",
)];

static REDUCE_SCATTER_BLOCK: &[Rule] = &[
    Rule::new(
        &reduce_scatter::circulant::ALGORITHM_BLOCK,
        "each byte sent once in few rounds",
    ),
    Rule::new(
        &reduce_scatter::tree::ALGORITHM_BLOCK,
        "rank order, latency counts",
    )
    .ranks(8, ANY)
    .up_to(8 * KIB),
    Rule::new(
        &reduce_scatter::linear::ALGORITHM_BLOCK,
        "rank order, each byte sent once",
    ),
];

static REDUCE_SCATTER: &[Rule] = &[
    Rule::new(
        &reduce_scatter::circulant::ALGORITHM,
        "each byte sent once in few rounds",
    ),
    Rule::new(
        &reduce_scatter::tree::ALGORITHM,
        "rank order, latency counts",
    )
    .ranks(8, ANY)
    .up_to(8 * KIB),
    Rule::new(
        &reduce_scatter::linear::ALGORITHM,
        "rank order, each byte sent once",
    ),
];
