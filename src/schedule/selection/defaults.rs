//! The table of defaults.

use super::Rule;
use crate::schedule::{
    Kind, allgather, allreduce, alltoall, barrier, bcast, exscan, gather, reduce, reduce_scatter,
    scan, scatter,
};

pub(super) const KIB: usize = 1024;
pub(super) const MIB: usize = 1024 * KIB;

/// The defaults. Links may be anything from shared memory (a message about 1 us, 0.1 ns a byte) to TCP
/// between hosts (30 us, 1 ns a byte); where the best limits differ, these lie between, nearer to what
/// costs less when it is wrong.
pub(super) fn defaults(kind: Kind) -> &'static [Rule] {
    match kind {
        Kind::Barrier => {
            static RULES: [Rule; 2] = [
                Rule::new(&barrier::flat::ALGORITHM, "one sleep per rank")
                    .ranks(3, 512)
                    .crowded(),
                Rule::new(&barrier::dissemination::ALGORITHM, "fewest rounds"),
            ];
            &RULES
        }
        Kind::Bcast => {
            static RULES: [Rule; 6] = [
                Rule::new(
                    &bcast::binomial::ALGORITHM,
                    "nothing to share the work with",
                )
                .ranks(1, 2),
                Rule::new(&bcast::binomial::ALGORITHM, "latency counts").up_to(12 * KIB),
                Rule::new(&bcast::binomial::ALGORITHM, "two or three rounds only")
                    .ranks(3, 7)
                    .up_to(128 * KIB),
                Rule::new(&bcast::pipelined_tree::ALGORITHM, "waits for one rank only")
                    .from(128 * KIB)
                    .crowded(),
                Rule::new(&bcast::chain::ALGORITHM, "each byte sent once; short row")
                    .ranks(3, 8)
                    .from(128 * KIB),
                Rule::new(
                    &bcast::scatter_allgather::ALGORITHM,
                    "each byte sent twice in few rounds",
                ),
            ];
            &RULES
        }
        Kind::Reduce => {
            static RULES: [Rule; 4] = [
                Rule::new(
                    &reduce::reduce_scatter_gather::ALGORITHM,
                    "shares bytes and arithmetic",
                )
                .ranks(4, usize::MAX)
                .from(64 * KIB),
                Rule::new(&reduce::binomial::ALGORITHM, "fewest rounds"),
                Rule::new(&reduce::in_order::ALGORITHM, "rank order, latency counts")
                    .up_to(128 * KIB),
                Rule::new(
                    &reduce::pipelined_tree::ALGORITHM,
                    "rank order, bandwidth counts",
                ),
            ];
            &RULES
        }
        Kind::Allreduce => {
            static RULES: [Rule; 5] = [
                Rule::new(&allreduce::tree::ALGORITHM, "fewest messages and sleeps")
                    .ranks(4, usize::MAX)
                    .up_to(32 * KIB)
                    .crowded(),
                Rule::new(
                    &allreduce::recursive_doubling::ALGORITHM,
                    "fewest rounds; the limit is 12 KiB in shared memory and 100 KiB on TCP",
                )
                .up_to(32 * KIB),
                Rule::new(
                    &allreduce::ring::ALGORITHM,
                    "few ranks: hardly more rounds, whole blocks",
                )
                .ranks(3, 4)
                .from(4 * MIB),
                Rule::new(
                    &allreduce::circulant::ALGORITHM,
                    "each byte twice, any number of ranks",
                ),
                Rule::new(
                    &allreduce::dual_root::ALGORITHM,
                    "rank order, bandwidth counts",
                ),
            ];
            &RULES
        }
        Kind::Scan => {
            static RULES: [Rule; 2] = [
                Rule::new(&scan::linear::ALGORITHM, "each byte passes each rank once")
                    .from(256 * KIB),
                Rule::new(&scan::recursive_doubling::ALGORITHM, "fewest rounds"),
            ];
            &RULES
        }
        Kind::Exscan => {
            static RULES: [Rule; 2] = [
                Rule::new(
                    &exscan::linear::ALGORITHM,
                    "each byte passes each rank once",
                )
                .from(256 * KIB),
                Rule::new(&exscan::recursive_doubling::ALGORITHM, "fewest rounds"),
            ];
            &RULES
        }
        _ => defaults_of_blocks(kind),
    }
}

/// The defaults of the operations whose buffers have a block for each rank.
fn defaults_of_blocks(kind: Kind) -> &'static [Rule] {
    macro_rules! rules {
        ($($rule:expr),* $(,)?) => {{
            static RULES: &[Rule] = &[$($rule),*];
            RULES
        }};
    }
    match kind {
        Kind::Gather => rules![
            Rule::new(&gather::binomial::ALGORITHM, "latency counts at the root")
                .ranks(8, usize::MAX)
                .up_to(2 * KIB),
            Rule::new(&gather::linear::ALGORITHM, "each byte moves once"),
        ],
        Kind::Scatter => rules![
            Rule::new(&scatter::binomial::ALGORITHM, "latency counts at the root")
                .ranks(8, usize::MAX)
                .up_to(2 * KIB),
            Rule::new(&scatter::linear::ALGORITHM, "each byte moves once"),
        ],
        Kind::Gatherv => rules![Rule::new(
            &gather::linear::ALGORITHM_V,
            "only the root knows"
        )],
        Kind::Scatterv => rules![Rule::new(
            &scatter::linear::ALGORITHM_V,
            "only the root knows"
        )],
        Kind::Allgather => rules![
            Rule::new(
                &allgather::bruck::ALGORITHM,
                "latency counts, copies are cheap"
            )
            .up_to(80 * KIB),
            Rule::new(&allgather::ring::ALGORITHM, "few ranks: neighbours only")
                .ranks(1, 8)
                .from(512 * KIB),
            Rule::new(&allgather::circulant::ALGORITHM, "no copies, few rounds"),
        ],
        Kind::Allgatherv => rules![
            Rule::new(
                &allgather::bruck::ALGORITHM_V,
                "latency counts, copies are cheap"
            )
            .up_to(80 * KIB),
            Rule::new(
                &allgather::circulant::ALGORITHM_V,
                "no copies, few rounds, uneven blocks"
            ),
        ],
        Kind::Alltoall => rules![
            Rule::new(&alltoall::bruck::ALGORITHM, "latency counts")
                .ranks(8, usize::MAX)
                .up_to(256),
            Rule::new(&alltoall::scattered::ALGORITHM, "many messages on the way").up_to(32 * KIB),
            Rule::new(
                &alltoall::pairwise::ALGORITHM,
                "each message has its link for itself"
            ),
        ],
        Kind::Alltoallv => rules![Rule::new(
            &alltoall::scattered::ALGORITHM_V,
            "lengths unknown"
        )],
        Kind::ReduceScatterBlock => rules![
            Rule::new(
                &reduce_scatter::circulant::ALGORITHM_BLOCK,
                "fewest rounds, each byte once"
            ),
            Rule::new(
                &reduce_scatter::tree::ALGORITHM_BLOCK,
                "rank order, latency counts"
            )
            .ranks(8, usize::MAX)
            .up_to(8 * KIB),
            Rule::new(
                &reduce_scatter::linear::ALGORITHM_BLOCK,
                "rank order, each byte once"
            ),
        ],
        _ => rules![
            Rule::new(
                &reduce_scatter::circulant::ALGORITHM,
                "fewest rounds, each byte once"
            ),
            Rule::new(
                &reduce_scatter::tree::ALGORITHM,
                "rank order, latency counts"
            )
            .ranks(8, usize::MAX)
            .up_to(8 * KIB),
            Rule::new(
                &reduce_scatter::linear::ALGORITHM,
                "rank order, each byte once"
            ),
        ],
    }
}
