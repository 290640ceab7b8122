//! How long it takes to build a schedule, with the choice of the algorithm.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use phalanx::schedule::{Counts, Operation, Selection, build};

fn construction(criterion: &mut Criterion) {
    let selection = Selection::default();
    let mut group = criterion.benchmark_group("schedule");
    group
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    let mut bench = |name: String, operation: Operation<'_>, size: usize| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| build(black_box(&operation), size / 2, size, 8, &selection));
        });
    };
    for size in [2, 16, 64, 512] {
        for (what, count) in [("8 B", 1), ("1 MiB", 128 * 1024)] {
            let operation = Operation::Allreduce {
                count,
                commutative: true,
            };
            bench(format!("allreduce {what}, {size} ranks"), operation, size);
        }
    }
    bench("barrier, 64 ranks".into(), Operation::Barrier, 64);
    bench(
        "bcast 8 B, 64 ranks".into(),
        Operation::Bcast { root: 0, count: 1 },
        64,
    );
    bench(
        "alltoall 8 B, 64 ranks".into(),
        Operation::Alltoall { count: 1 },
        64,
    );
    bench(
        "alltoall 8 KiB, 64 ranks".into(),
        Operation::Alltoall { count: 1024 },
        64,
    );
    bench(
        "allgather 8 B, 64 ranks".into(),
        Operation::Allgather {
            counts: Counts::Equal(1),
        },
        64,
    );
}

criterion_group!(benches, construction);
criterion_main!(benches);
