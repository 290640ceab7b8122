//! The collectives of the public interface against what one rank computes alone.

use phalanx::{Communicator, Result, Sum, ordered, threads};

const RANKS: [usize; 6] = [1, 2, 3, 4, 5, 8];
const COUNTS: [usize; 4] = [0, 1, 7, 5000];

fn element(rank: usize, i: usize) -> u64 {
    (rank * 1_000_003 + i * 7 + 1) as u64
}

/// What rank `rank` contributes.
fn part(rank: usize, count: usize) -> Vec<u64> {
    (0..count)
        .map(|i| (rank * 1_000_003 + i * 7 + 1) as u64)
        .collect()
}

fn sum(ranks: std::ops::Range<usize>, count: usize) -> Vec<u64> {
    let add = |i: usize| ranks.clone().map(|rank| element(rank, i)).sum();
    (0..count).map(add).collect()
}

fn everywhere(check: impl Fn(&Communicator, usize) -> Result<()> + Send + Sync) {
    for n in RANKS {
        threads(n, |world| {
            COUNTS.iter().try_for_each(|&count| check(&world, count))
        })
        .unwrap_or_else(|error| panic!("{n} ranks: {error}"));
    }
}

#[test]
fn reductions_combine_what_all_ranks_give() {
    everywhere(|world, count| {
        let (rank, size) = (world.rank(), world.size());
        let mut all = part(rank, count);
        world.allreduce_into(&mut all, Sum)?;
        assert_eq!(all, sum(0..size, count));
        assert_eq!(world.iallreduce(part(rank, count), Sum)?.wait()?, all);
        let root = size / 2;
        let here = world.reduce_vec(&part(rank, count), Sum, root)?;
        assert_eq!(here, (rank == root).then(|| all.clone()));
        let mut before = part(rank, count);
        world.scan_into(&mut before, Sum)?;
        assert_eq!(before, sum(0..rank + 1, count));
        let blocks = world.reduce_scatter_block(&part(rank, count * size), Sum)?;
        assert_eq!(
            blocks,
            sum(0..size, count * size)[rank * count..(rank + 1) * count]
        );
        Ok(())
    });
}

#[test]
fn operands_stay_in_the_order_of_the_ranks() {
    // Composition of x -> a x + b: associative, but not commutative.
    let compose = ordered(|f: [u64; 2], g: [u64; 2]| {
        [
            f[0].wrapping_mul(g[0]),
            f[1].wrapping_mul(g[0]).wrapping_add(g[1]),
        ]
    });
    let function = |rank: usize| [rank as u64 * 2 + 3, rank as u64 + 1];
    for n in RANKS {
        let results = threads(n, move |world| {
            world.allreduce(function(world.rank()), compose)
        });
        let apply = |x: u64, rank: usize| {
            let [a, b] = function(rank);
            x.wrapping_mul(a).wrapping_add(b)
        };
        for [a, b] in results.expect("no rank fails") {
            for x in [0, 1, 99] {
                assert_eq!(
                    (0..n).fold(x, apply),
                    x.wrapping_mul(a).wrapping_add(b),
                    "{n} ranks"
                );
            }
        }
    }
}

#[test]
fn blocks_go_where_they_belong() {
    everywhere(|world, count| {
        let (rank, size) = (world.rank(), world.size());
        let all: Vec<u64> = (0..size).flat_map(|rank| part(rank, count)).collect();
        assert_eq!(world.allgather(&part(rank, count))?, all);
        assert_eq!(world.iallgather(part(rank, count))?.wait()?, all);
        let root = size - 1;
        let here = rank == root;
        assert_eq!(
            world.gather(&part(rank, count), root)?,
            here.then(|| all.clone())
        );
        let mut block = vec![0; count];
        world.scatter(here.then_some(&all[..]), &mut block, root)?;
        assert_eq!(block, part(rank, count));
        let mut shared = if here {
            part(77, count)
        } else {
            vec![0; count]
        };
        world.bcast_into(&mut shared, root)?;
        assert_eq!(shared, part(77, count));
        let sent: Vec<u64> = (0..size)
            .flat_map(|to| part(rank * size + to, count))
            .collect();
        let due: Vec<u64> = (0..size)
            .flat_map(|from| part(from * size + rank, count))
            .collect();
        assert_eq!(world.alltoall(&sent)?, due);
        world.barrier()
    });
}

#[test]
fn blocks_of_any_length_find_their_own_counts() {
    everywhere(|world, count| {
        let (rank, size) = (world.rank(), world.size());
        let length = |rank: usize| if rank % 2 == 0 { count } else { rank };
        let all: Vec<u64> = (0..size)
            .flat_map(|rank| part(rank, length(rank)))
            .collect();
        let counts: Vec<usize> = (0..size).map(length).collect();
        let gathered = world.allgatherv(&part(rank, length(rank)))?;
        assert_eq!(gathered, (all.clone(), counts.clone()));
        let at_root = world.gatherv(&part(rank, length(rank)), 0)?;
        assert_eq!(at_root, (rank == 0).then(|| (all.clone(), counts.clone())));
        let block = world.scatterv((rank == 0).then_some((&all[..], &counts[..])), 0)?;
        assert_eq!(block, part(rank, length(rank)));
        Ok(())
    });
}

#[test]
fn long_messages_arrive_bit_exact_in_any_shape() {
    threads(2, |world| {
        let other = 1 - world.rank();
        for count in [0, 1, 1023, 1024, 1025, 8192, 300_000] {
            let pending = world.isend(part(world.rank(), count), other, 3)?;
            let (elements, status) = world.recv_vec::<u64>(other, 3)?;
            assert_eq!((elements, status.count), (part(other, count), count));
            assert_eq!(pending.wait()?, part(world.rank(), count));
        }
        Ok(())
    })
    .expect("no rank fails");
}
