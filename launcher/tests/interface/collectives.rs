//! Collectives that move elements, blocking and nonblocking, for several types of elements.

use std::fmt::Debug;

use phalanx::{Communicator, Pod, Result};

/// From nothing to more than is sent without asking.
pub(crate) const COUNTS: [usize; 5] = [0, 1, 7, 1000, 12_000];

/// An element that can be made from a number.
pub(crate) trait Element: Pod + PartialEq + Debug {
    fn of(number: usize) -> Self;
}

macro_rules! elements {
    ($($type:ty: |$n:ident| $make:expr;)*) => {$(
        impl Element for $type {
            fn of($n: usize) -> Self {
                $make
            }
        }
    )*};
}

elements! {
    u8: |n| n as u8;
    i32: |n| n as i32 - 500;
    u64: |n| n as u64 * 0x0001_0000_0001;
    f64: |n| n as f64;
    [i16; 3]: |n| [n as i16, -(n as i16), 1];
}

/// What rank `rank` contributes.
pub(crate) fn part<T: Element>(rank: usize, count: usize) -> Vec<T> {
    let element = |i: usize| T::of((rank * 37 + i * 5 + 1) % 251);
    (0..count).map(element).collect()
}

/// What all ranks contribute, in their order, when rank `rank` contributes `length(rank)` elements.
fn all<T: Element>(size: usize, length: impl Fn(usize) -> usize) -> Vec<T> {
    (0..size)
        .flat_map(|rank| part(rank, length(rank)))
        .collect()
}

pub(crate) fn roots(size: usize) -> Vec<usize> {
    let mut roots = vec![0, size / 2, size - 1];
    roots.dedup();
    roots
}

pub(crate) fn check(world: &Communicator) -> Result<()> {
    for count in COUNTS {
        each_type::<u8>(world, count)?;
        each_type::<i32>(world, count)?;
        each_type::<u64>(world, count)?;
        each_type::<f64>(world, count)?;
        each_type::<[i16; 3]>(world, count)?;
    }
    several_at_once(world)
}

fn each_type<T: Element>(world: &Communicator, count: usize) -> Result<()> {
    for root in roots(world.size()) {
        from_one::<T>(world, count, root)?;
        to_one::<T>(world, count, root)?;
    }
    world.barrier()?;
    between_all::<T>(world, count)?;
    world.ibarrier()?.wait()
}

fn from_one<T: Element>(world: &Communicator, count: usize, root: usize) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let here = rank == root;
    let own = |count: usize| {
        if here {
            part::<T>(77, count)
        } else {
            vec![T::zeroed(); count]
        }
    };
    let mut shared = own(count);
    world.bcast_into(&mut shared, root)?;
    assert_eq!(shared, part(77, count), "bcast_into");
    assert_eq!(world.ibcast(own(count), root)?.wait()?, shared, "ibcast");
    let given = if here {
        part::<T>(77, count)
    } else {
        vec![T::of(9); rank]
    };
    assert_eq!(world.bcast_vec(given, root)?, shared, "bcast_vec");
    let value = if here { T::of(5) } else { T::of(6) };
    assert_eq!(world.bcast(value, root)?, T::of(5), "bcast");

    let blocks: Vec<T> = all(size, |_| count);
    let mut block = vec![T::zeroed(); count];
    world.scatter(here.then_some(&blocks[..]), &mut block, root)?;
    assert_eq!(block, part(rank, count), "scatter");
    let pending = world.iscatter(here.then(|| blocks.clone()), count, root)?;
    assert_eq!(pending.wait()?, block, "iscatter");
    let length = |rank: usize| if rank % 2 == 1 { count } else { rank };
    let blocks: Vec<T> = all(size, length);
    let counts: Vec<usize> = (0..size).map(length).collect();
    let given = here.then_some((&blocks[..], &counts[..]));
    let block = world.scatterv(given, root)?;
    assert_eq!(block, part(rank, length(rank)), "scatterv");
    Ok(())
}

fn to_one<T: Element>(world: &Communicator, count: usize, root: usize) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let here = rank == root;
    let mine = part::<T>(rank, count);
    let expected = here.then(|| all::<T>(size, |_| count));
    assert_eq!(world.gather(&mine, root)?, expected, "gather");
    assert_eq!(world.igather(mine, root)?.wait()?, expected, "igather");
    let length = |rank: usize| if rank % 2 == 0 { count } else { rank };
    let counts: Vec<usize> = (0..size).map(length).collect();
    let gathered = world.gatherv(&part::<T>(rank, length(rank)), root)?;
    let expected = here.then(|| (all::<T>(size, length), counts));
    assert_eq!(gathered, expected, "gatherv");
    Ok(())
}

fn between_all<T: Element>(world: &Communicator, count: usize) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let mine = part::<T>(rank, count);
    let expected = all::<T>(size, |_| count);
    assert_eq!(world.allgather(&mine)?, expected, "allgather");
    let mut result = vec![T::zeroed(); count * size];
    world.allgather_into(&mine, &mut result)?;
    assert_eq!(result, expected, "allgather_into");
    assert_eq!(world.iallgather(mine)?.wait()?, expected, "iallgather");
    let length = |rank: usize| if rank % 3 == 0 { 0 } else { count + rank };
    let counts: Vec<usize> = (0..size).map(length).collect();
    let gathered = world.allgatherv(&part::<T>(rank, length(rank)))?;
    assert_eq!(gathered, (all(size, length), counts), "allgatherv");

    // Block `to` of rank `from` is the part number `from * size + to`.
    let sent: Vec<T> = (0..size)
        .flat_map(|to| part::<T>(rank * size + to, count))
        .collect();
    let due: Vec<T> = (0..size)
        .flat_map(|from| part::<T>(from * size + rank, count))
        .collect();
    assert_eq!(world.alltoall(&sent)?, due, "alltoall");
    assert_eq!(world.ialltoall(sent)?.wait()?, due, "ialltoall");
    let length = |from: usize, to: usize| if (from + to) % 2 == 0 { count } else { from };
    let sent: Vec<T> = (0..size)
        .flat_map(|to| part::<T>(rank * size + to, length(rank, to)))
        .collect();
    let counts: Vec<usize> = (0..size).map(|to| length(rank, to)).collect();
    let due: Vec<T> = (0..size)
        .flat_map(|from| part::<T>(from * size + rank, length(from, rank)))
        .collect();
    let from: Vec<usize> = (0..size).map(|from| length(from, rank)).collect();
    assert_eq!(world.alltoallv(&sent, &counts)?, (due, from), "alltoallv");
    Ok(())
}

/// Nonblocking collectives overlap, and are waited for in another order than they were begun.
fn several_at_once(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let gather = world.iallgather(part::<u64>(rank, 1000))?;
    let shared = if rank == 0 {
        part::<i32>(3, 9)
    } else {
        vec![0; 9]
    };
    let bcast = world.ibcast(shared, 0)?;
    let sum = world.iallreduce(vec![rank as u64], phalanx::Sum)?;
    let barrier = world.ibarrier()?;
    let blocks = world.ialltoall(vec![rank as u8; size])?;
    // A blocking one passes them.
    assert_eq!(world.allgather(&[rank])?, (0..size).collect::<Vec<_>>());
    let ranks: Vec<u8> = (0..size).map(|rank| rank as u8).collect();
    assert_eq!(blocks.wait()?, ranks);
    barrier.wait()?;
    assert_eq!(sum.wait()?, [(size * (size - 1) / 2) as u64]);
    assert_eq!(bcast.wait()?, part::<i32>(3, 9));
    assert_eq!(gather.wait()?, all::<u64>(size, |_| 1000));
    Ok(())
}
