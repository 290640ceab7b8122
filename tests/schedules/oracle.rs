//! What each rank brings to an operation and must have after it.

use std::ops::Range;

use phalanx::schedule::interpret::Memory;
use phalanx::schedule::{Counts, Kind, Operation};

/// An element that knows where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// What `source` has for `target`.
    Block {
        source: usize,
        target: usize,
        index: usize,
    },
    /// The contributions of these ranks, combined in rank order: an operator that does not commute.
    Ordered {
        first: usize,
        last: usize,
        index: usize,
    },
    /// The contributions of these ranks, a bit for each, combined in any order.
    Any { ranks: u64, index: usize },
    /// Operands that may not meet.
    Broken,
}

use Value::{Any, Block, Broken, Ordered};

impl Value {
    pub(crate) fn combine(&self, right: &Self) -> Self {
        match (*self, *right) {
            (
                Ordered { first, last, index },
                Ordered {
                    first: next,
                    last: end,
                    index: other,
                },
            ) if last + 1 == next && index == other => Ordered {
                first,
                last: end,
                index,
            },
            (
                Any { ranks, index },
                Any {
                    ranks: more,
                    index: other,
                },
            ) if ranks & more == 0 && index == other => Any {
                ranks: ranks | more,
                index,
            },
            _ => Broken,
        }
    }

    /// The combination of the contributions of `ranks`.
    fn of(ranks: Range<usize>, index: usize, commutative: bool) -> Self {
        if commutative {
            Any {
                ranks: ranks.fold(0, |bits, rank| bits | 1 << rank),
                index,
            }
        } else {
            Ordered {
                first: ranks.start,
                last: ranks.end - 1,
                index,
            }
        }
    }
}

/// What a rank brings to the operation.
pub(crate) fn brought(operation: &Operation<'_>, rank: usize, size: usize) -> Memory<Value> {
    let commutative = operation.commutative();
    let own = |length: usize| -> Vec<_> {
        (0..length)
            .map(|index| Some(Value::of(rank..rank + 1, index, commutative)))
            .collect()
    };
    let blocks = |lengths: &[usize]| -> Vec<_> {
        let elements = lengths.iter().enumerate().flat_map(|(target, length)| {
            (0..*length).map(move |index| {
                Some(Block {
                    source: rank,
                    target,
                    index,
                })
            })
        });
        elements.collect()
    };
    let input_length = operation.input_length(rank, size);
    let output_length = operation.output_length(rank, size);
    let nothing = vec![None; output_length];
    let (input, output) = match *operation {
        Operation::Barrier => (vec![], vec![]),
        Operation::Bcast { root, count } if rank == root => (vec![], blocks(&[count])),
        Operation::Bcast { .. } => (vec![], nothing),
        Operation::Reduce { count, .. } => (own(count), nothing),
        Operation::ReduceScatter { .. } => (own(input_length), nothing),
        Operation::Allreduce { count, .. } => (vec![], own(count)),
        Operation::Scan { count } | Operation::Exscan { count } => {
            let contribution = |index| Some(Value::of(rank..rank + 1, index, false));
            (vec![], (0..count).map(contribution).collect())
        }
        Operation::Gather { .. } | Operation::Gatherv { .. } | Operation::Allgather { .. } => {
            (blocks(&[input_length]), nothing)
        }
        Operation::Scatter { count, .. } if input_length > 0 => {
            (blocks(&vec![count; size]), nothing)
        }
        Operation::Scatterv { root, all, .. } if rank == root => {
            (blocks(all.expect("counts at the root")), nothing)
        }
        Operation::Scatter { .. } | Operation::Scatterv { .. } => (vec![], nothing),
        Operation::Alltoall { count } => (blocks(&vec![count; size]), nothing),
        Operation::Alltoallv { sends, .. } => (blocks(sends), nothing),
    };
    assert_eq!((input.len(), output.len()), (input_length, output_length));
    Memory { input, output }
}

/// What the rank must have in its output in the end.
pub(crate) fn wanted(operation: &Operation<'_>, rank: usize, size: usize) -> Vec<Value> {
    let commutative = operation.commutative();
    let combined = |ranks: Range<usize>, commutative, start: usize, length: usize| {
        (start..start + length)
            .map(|index| Value::of(ranks.clone(), index, commutative))
            .collect::<Vec<_>>()
    };
    let from = |source: usize, target: usize, length: usize| {
        (0..length).map(move |index| Block {
            source,
            target,
            index,
        })
    };
    let own = operation.output_length(rank, size);
    match *operation {
        Operation::Barrier => vec![],
        Operation::Bcast { root, count } => from(root, 0, count).collect(),
        Operation::Reduce { .. } | Operation::Allreduce { .. } => {
            combined(0..size, commutative, 0, own)
        }
        Operation::Scan { count } => combined(0..rank + 1, false, 0, count),
        Operation::Exscan { count } => combined(0..rank.max(1), false, 0, count),
        Operation::ReduceScatter { counts, .. } => {
            let start = (0..rank).map(|rank| counts.of(rank)).sum();
            combined(0..size, commutative, start, own)
        }
        Operation::Gather { root, .. } if rank != root => vec![],
        Operation::Gather { count, .. } => (0..size).flat_map(|r| from(r, 0, count)).collect(),
        Operation::Gatherv { all, .. } => {
            let all = all.unwrap_or_default().iter().enumerate();
            all.flat_map(|(source, count)| from(source, 0, *count))
                .collect()
        }
        Operation::Scatter { root, .. } | Operation::Scatterv { root, .. } => {
            from(root, rank, own).collect()
        }
        Operation::Allgather { counts } => (0..size)
            .flat_map(|source| from(source, 0, counts.of(source)))
            .collect(),
        Operation::Alltoall { count } => (0..size).flat_map(|s| from(s, rank, count)).collect(),
        Operation::Alltoallv { receives, .. } => {
            let all = receives.iter().enumerate();
            all.flat_map(|(source, count)| from(source, rank, *count))
                .collect()
        }
    }
}

/// The counts of each rank for the operations where they differ: uneven, with zeros.
fn uneven(size: usize, count: usize) -> Vec<usize> {
    (0..size)
        .map(|rank| (rank * 7 + count) % (count + 2))
        .collect()
}

/// The operation of each rank in one case; several cases where the operator matters.
pub(crate) fn with_cases(
    kind: Kind,
    size: usize,
    root: usize,
    count: usize,
    mut verify: impl FnMut(&[Operation<'_>]),
) {
    let all = uneven(size, count);
    let counts = Counts::Each(&all);
    let equal = Counts::Equal(count);
    // What rank `source` sends to `target` in alltoallv.
    let between = |source: usize, target: usize| (source * 3 + target * 5 + count) % (count + 2);
    let mut same = |operation: Operation<'_>| verify(&vec![operation; size]);
    match kind {
        Kind::Barrier => same(Operation::Barrier),
        Kind::Bcast => same(Operation::Bcast { root, count }),
        Kind::Scan => same(Operation::Scan { count }),
        Kind::Exscan => same(Operation::Exscan { count }),
        Kind::Gather => same(Operation::Gather { root, count }),
        Kind::Scatter => same(Operation::Scatter { root, count }),
        Kind::Allgather => same(Operation::Allgather { counts: equal }),
        Kind::Allgatherv => same(Operation::Allgather { counts }),
        Kind::Alltoall => same(Operation::Alltoall { count }),
        Kind::Reduce | Kind::Allreduce | Kind::ReduceScatterBlock | Kind::ReduceScatter => {
            for commutative in [true, false] {
                same(match kind {
                    Kind::Reduce => Operation::Reduce {
                        root,
                        count,
                        commutative,
                    },
                    Kind::Allreduce => Operation::Allreduce { count, commutative },
                    Kind::ReduceScatter => Operation::ReduceScatter {
                        counts,
                        commutative,
                    },
                    _ => Operation::ReduceScatter {
                        counts: equal,
                        commutative,
                    },
                });
            }
        }
        Kind::Gatherv | Kind::Scatterv => {
            let operation = |rank: usize| {
                let (own, all) = (all[rank], (rank == root).then_some(&all[..]));
                match kind {
                    Kind::Gatherv => Operation::Gatherv { root, own, all },
                    _ => Operation::Scatterv { root, own, all },
                }
            };
            verify(&(0..size).map(operation).collect::<Vec<_>>());
        }
        Kind::Alltoallv => {
            let sends: Vec<Vec<_>> = (0..size)
                .map(|rank| (0..size).map(|peer| between(rank, peer)).collect())
                .collect();
            let receives: Vec<Vec<_>> = (0..size)
                .map(|rank| (0..size).map(|peer| between(peer, rank)).collect())
                .collect();
            let operation = |rank: usize| Operation::Alltoallv {
                sends: &sends[rank],
                receives: &receives[rank],
            };
            verify(&(0..size).map(operation).collect::<Vec<_>>());
        }
    }
}
