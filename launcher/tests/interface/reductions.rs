//! Collectives that combine elements, blocking and nonblocking, with many operators, against a loop
//! over the ranks.

use phalanx::{
    BitAnd, BitOr, BitXor, Communicator, ErrorKind, Located, LogicalAnd, LogicalOr, LogicalXor,
    Max, MaxLoc, Min, MinLoc, Operator, Pod, Product, Result, Sum, commutative, ordered,
};

use super::collectives::{COUNTS, part, roots};

pub(crate) fn check(world: &Communicator) -> Result<()> {
    for count in COUNTS {
        each_root(world, Sum, count, part::<f64>)?;
        each_root(world, Sum, count, part::<u8>)?;
        each_root(world, Max, count, part::<i32>)?;
        each_root(world, BitXor, count, part::<u64>)?;
        each_root(world, compose(), count, functions)?;
    }
    for count in [0, 3] {
        other_operators(world, count)?;
    }
    Ok(())
}

fn other_operators(world: &Communicator, count: usize) -> Result<()> {
    each_root(world, Min, count, part::<f64>)?;
    each_root(world, Product, count, part::<u64>)?;
    each_root(world, BitAnd, count, part::<u8>)?;
    each_root(world, BitOr, count, part::<u8>)?;
    each_root(world, LogicalAnd, count, part::<u8>)?;
    each_root(world, LogicalOr, count, part::<i32>)?;
    each_root(world, LogicalXor, count, part::<i32>)?;
    let located = |rank: usize, count: usize| {
        let locate = |value| Located {
            value,
            index: rank as u64,
        };
        part::<f64>(rank % 2, count)
            .into_iter()
            .map(locate)
            .collect()
    };
    each_root(world, MinLoc, count, located)?;
    each_root(world, MaxLoc, count, located)?;
    let larger = commutative(|a: i32, b: i32| a.max(b));
    each_root(world, larger, count, part::<i32>)
}

/// Composition of `x -> a x + b`: associative, but not commutative.
fn compose() -> impl Operator<[u64; 2]> + Copy {
    ordered(|f: [u64; 2], g: [u64; 2]| {
        [
            f[0].wrapping_mul(g[0]),
            f[1].wrapping_mul(g[0]).wrapping_add(g[1]),
        ]
    })
}

fn functions(rank: usize, count: usize) -> Vec<[u64; 2]> {
    let function = |i: usize| [(rank * 2 + i % 7 + 3) as u64, (rank + i) as u64];
    (0..count).map(function).collect()
}

fn each_root<T: Pod + PartialEq + std::fmt::Debug, O: Operator<T> + Copy>(
    world: &Communicator,
    operator: O,
    count: usize,
    part: impl Fn(usize, usize) -> Vec<T>,
) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let mine = || part(rank, count);
    let expected = serial(operator, 0..size, |rank| part(rank, count));
    for root in roots(size) {
        let here = (rank == root).then(|| expected.clone());
        let name = operator.name();
        assert_eq!(world.reduce_vec(&mine(), operator, root)?, here, "{name}");
        assert_eq!(
            world.ireduce(mine(), operator, root)?.wait()?,
            here,
            "{name}"
        );
        if count > 0 {
            let one = world.reduce(mine()[0], operator, root)?;
            assert_eq!(one, here.map(|all| all[0]), "{name}");
        }
    }
    to_all(world, operator, &mine(), &expected)?;
    prefixes(world, operator, count, &part)?;
    blocks(world, operator, count, &part)
}

fn to_all<T: Pod + PartialEq + std::fmt::Debug, O: Operator<T> + Copy>(
    world: &Communicator,
    operator: O,
    mine: &[T],
    expected: &[T],
) -> Result<()> {
    let name = operator.name();
    let mut all = mine.to_vec();
    world.allreduce_into(&mut all, operator)?;
    assert_eq!(all, expected, "allreduce_into {name}");
    all.fill(T::zeroed());
    world.allreduce_from(mine, &mut all, operator)?;
    assert_eq!(all, expected, "allreduce_from {name}");
    all.push(T::zeroed());
    let longer = world.allreduce_from(mine, &mut all, operator);
    let error = longer.expect_err("it does not fit");
    let told = matches!(error.kind(), ErrorKind::InvalidArgument { .. });
    assert!(told, "{name}: {error}");
    let pending = world.iallreduce(mine.to_vec(), operator)?;
    assert_eq!(pending.wait()?, expected, "iallreduce {name}");
    if let Some(&first) = mine.first() {
        let one = world.allreduce(first, operator)?;
        assert_eq!(one, expected[0], "allreduce {name}");
    }
    Ok(())
}

fn prefixes<T: Pod + PartialEq + std::fmt::Debug, O: Operator<T> + Copy>(
    world: &Communicator,
    operator: O,
    count: usize,
    part: &impl Fn(usize, usize) -> Vec<T>,
) -> Result<()> {
    let rank = world.rank();
    let name = operator.name();
    let mine = || part(rank, count);
    let expected = serial(operator, 0..rank + 1, |rank| part(rank, count));
    let mut prefix = mine();
    world.scan_into(&mut prefix, operator)?;
    assert_eq!(prefix, expected, "scan_into {name}");
    assert_eq!(
        world.iscan(mine(), operator)?.wait()?,
        expected,
        "iscan {name}"
    );
    // Rank 0, which has nobody before it, keeps its own.
    let before = serial(operator, 0..rank.max(1), |rank| part(rank, count));
    let mut prefix = mine();
    world.exscan_into(&mut prefix, operator)?;
    assert_eq!(prefix, before, "exscan_into {name}");
    assert_eq!(
        world.iexscan(mine(), operator)?.wait()?,
        before,
        "iexscan {name}"
    );
    if count > 0 {
        assert_eq!(world.scan(mine()[0], operator)?, expected[0], "scan {name}");
        let one = world.exscan(mine()[0], operator)?;
        assert_eq!(one, (rank > 0).then(|| before[0]), "exscan {name}");
    }
    Ok(())
}

fn blocks<T: Pod + PartialEq + std::fmt::Debug, O: Operator<T> + Copy>(
    world: &Communicator,
    operator: O,
    count: usize,
    part: &impl Fn(usize, usize) -> Vec<T>,
) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let name = operator.name();
    let equal = part(rank, count * size);
    let expected = serial(operator, 0..size, |rank| part(rank, count * size));
    let block = &expected[rank * count..(rank + 1) * count];
    let here = world.reduce_scatter_block(&equal, operator)?;
    assert_eq!(here, block, "reduce_scatter_block {name}");
    let pending = world.ireduce_scatter_block(equal, operator)?;
    assert_eq!(pending.wait()?, block, "ireduce_scatter_block {name}");

    let counts: Vec<usize> = (0..size)
        .map(|rank| if rank % 2 == 0 { count } else { 3 * rank })
        .collect();
    let total = counts.iter().sum();
    let begin: usize = counts[..rank].iter().sum();
    let expected = serial(operator, 0..size, |rank| part(rank, total));
    let here = world.reduce_scatter(&part(rank, total), &counts, operator)?;
    assert_eq!(
        here,
        expected[begin..begin + counts[rank]],
        "reduce_scatter {name}"
    );
    Ok(())
}

/// The parts of some ranks combined by one, in their order.
fn serial<T: Pod, O: Operator<T>>(
    operator: O,
    ranks: std::ops::Range<usize>,
    part: impl Fn(usize) -> Vec<T>,
) -> Vec<T> {
    let mut parts = ranks.map(part);
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        for (left, right) in all.iter_mut().zip(part) {
            *left = operator.combine(*left, right);
        }
    }
    all
}
