//! The public interface between ranks that are threads of this process: a round trip, and collectives.
//! `phalanx bench` measures the same between processes, beside the machine's bounds.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use phalanx::{Communicator, Result, Sum};

/// The time that rank 0 needs for `count` calls, which all ranks make; each rank prepares its own.
fn together<C: FnMut(&Communicator) -> Result<()>>(
    ranks: usize,
    count: u64,
    prepare: impl Fn() -> C + Sync,
) -> Duration {
    let times = phalanx::threads(ranks, |world| {
        let mut call = prepare();
        call(&world)?;
        world.barrier()?;
        let start = Instant::now();
        for _ in 0..count {
            call(&world)?;
        }
        Ok(start.elapsed())
    });
    times.expect("nothing fails")[0]
}

fn ping_pong(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads/round trip");
    for bytes in [8, 1 << 20] {
        group.throughput(Throughput::Bytes(2 * bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter_custom(|count| {
                let times = phalanx::threads(2, |world| {
                    let (other, mut block) = (1 - world.rank(), vec![1_u8; bytes]);
                    world.barrier()?;
                    let start = Instant::now();
                    for _ in 0..count {
                        if world.rank() == 0 {
                            world.send(&block, other, 0)?;
                            world.recv_into(&mut block, other, 0)?;
                        } else {
                            world.recv_into(&mut block, other, 0)?;
                            world.send(&block, other, 0)?;
                        }
                    }
                    Ok(start.elapsed())
                });
                times.expect("nothing fails")[0]
            });
        });
    }
}

fn collectives(criterion: &mut Criterion) {
    for ranks in [2, 4] {
        let mut group = criterion.benchmark_group(format!("threads/{ranks} ranks"));
        group.bench_function("barrier", |bencher| {
            bencher.iter_custom(|count| together(ranks, count, || Communicator::barrier));
        });
        group.bench_function("allreduce 8 B", |bencher| {
            bencher.iter_custom(|count| {
                together(ranks, count, || {
                    |world: &Communicator| world.allreduce(1.0_f64, Sum).map(drop)
                })
            });
        });
        group.throughput(Throughput::Bytes(1 << 20));
        group.bench_function("allreduce 1 MiB", |bencher| {
            bencher.iter_custom(|count| {
                together(ranks, count, || {
                    let mut block = vec![0.0_f64; (1 << 20) / 8];
                    move |world: &Communicator| world.allreduce_into(&mut block, Sum)
                })
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = ping_pong, collectives
}
criterion_main!(benches);
