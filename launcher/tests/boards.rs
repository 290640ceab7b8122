//! Collectives of few ranks go over boards, of many over cells: those that block by a shorter way, others and those that have to
//! wait by the general one. Whatever the way, all of them come out as they should, in the order in which they
//! were called.

mod common;

use std::time::Duration;

use common::{Part, run_part};
use phalanx::{Communicator, ErrorKind, Operator, Pending, Result, Sum, ordered};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);
/// More than one call in so many that takes the general way in any case.
const REPEATS: u64 = 100;
/// More collectives under way than there are rounds.
const MANY: u64 = 40;

const PARTS: &[(&str, Part)] = &[
    ("several at once", several_at_once),
    ("rank order", rank_order),
    ("given up", given_up),
    ("dropped", dropped),
    ("halves", halves),
];

#[test]
fn ranked_program() {
    common::play(PARTS);
}

fn play(part: &str) {
    for ranks in [2, 3, 8, 20] {
        play_with(part, ranks, &[]);
    }
}

fn play_with(part: &str, ranks: usize, words: &[&str]) {
    let outcome = run_part(part, ranks, words, LIMIT);
    let text = outcome.text();
    assert!(
        text.matches("is well").count() == ranks && outcome.code == Some(0),
        "{part} with {ranks} ranks, {words:?}: code {:?}\n{text}\n{}",
        outcome.code,
        outcome.stderr
    );
}

/// Composition of `x -> a x + b`: associative, but not commutative.
fn compose() -> impl Operator<[u64; 2]> + Copy {
    ordered(|f: [u64; 2], g: [u64; 2]| {
        let constant = f[1].wrapping_mul(g[0]).wrapping_add(g[1]);
        [f[0].wrapping_mul(g[0]), constant]
    })
}

fn functions(rank: usize, count: usize, round: u64) -> Vec<[u64; 2]> {
    let function = |index: usize| [(rank * 2 + index % 7 + 3) as u64, rank as u64 + round];
    (0..count).map(function).collect()
}

/// What all ranks' functions come to, one after the other.
fn composed(size: usize, count: usize, round: u64) -> Vec<[u64; 2]> {
    let mut sum = functions(0, count, round);
    for rank in 1..size {
        let next = functions(rank, count, round);
        for (sum, next) in sum.iter_mut().zip(next) {
            *sum = compose().combine(*sum, next);
        }
    }
    sum
}

/// Short ones, and ones that two ranks cut into parts; some in elements that no piece holds.
fn rank_order(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for round in 0..REPEATS {
        let lengths = [0, 1, 3, 4, 1000, 4095, 4096, 4097, 13_001];
        let count = lengths[round as usize % lengths.len()];
        if (round + rank as u64) % 16 == 0 {
            std::thread::sleep(Duration::from_micros(300));
        }
        let mut elements = functions(rank, count, round);
        if round % 2 == 0 {
            world.allreduce_into(&mut elements, compose())?;
        } else {
            let own = elements.clone();
            world.allreduce_from(&own, &mut elements, compose())?;
            assert!(own == functions(rank, count, round), "what it gave stays");
        }
        assert!(elements == composed(size, count, round), "{count}");
        let large = ordered(|left: [u64; 2048], right: [u64; 2048]| {
            let mut both = left;
            both[0] = left[0].wrapping_mul(right[1]).wrapping_add(right[0]);
            both[2047] = right[2047];
            both
        });
        let mut mine = [[7; 2048]; 2];
        mine[1][0] = rank as u64 + 1;
        mine[1][1] = 31;
        mine[1][2047] = rank as u64;
        world.allreduce_into(&mut mine, large)?;
        let digit = |sum: u64, digit| sum.wrapping_mul(31).wrapping_add(digit);
        let digits = (1..=size as u64).fold(0, digit);
        assert_eq!(mine[1][0], digits);
        assert_eq!((mine[1][2], mine[1][2047]), (7, size as u64 - 1));
    }
    Ok(())
}

/// Long ones, of ranks that come at the same time or one after the other; in place, and from elements that stay.
fn halves(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for round in 0..REPEATS {
        let lengths = [8192, 8193, 20_000, 30_001, 65_536];
        let count = lengths[round as usize % lengths.len()];
        let late = [0, 0, 20, 200, 3_000][(round as usize + 3 * rank) % 5];
        std::thread::sleep(Duration::from_micros(late));
        let mine = functions(rank, count, round);
        let expected = composed(size, count, round);
        let mut result = vec![[0; 2]; count];
        world.allreduce_from(&mine, &mut result, compose())?;
        assert!(result == expected, "{count}, round {round}");
        assert!(mine == functions(rank, count, round), "{count}: it stays");
        result.copy_from_slice(&mine);
        world.allreduce_into(&mut result, compose())?;
        assert!(result == expected, "{count}, in place, round {round}");
        let sum = world.iallreduce(mine, compose())?.wait()?;
        assert!(sum == expected, "{count}, not blocking, round {round}");
        assert_eq!(world.allreduce(1, Sum)?, size);
    }
    let error = world.allreduce_from(&[1; 3], &mut [0; 2], Sum);
    let kind = error.expect_err("another length").kind().clone();
    assert!(matches!(kind, ErrorKind::InvalidArgument { .. }), "{kind}");
    Ok(())
}

/// More under way than boards have rounds, and blocking ones among them.
fn several_at_once(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank() as u64, world.size() as u64);
    let ranks = size * (size - 1) / 2;
    for round in 0..REPEATS / 10 {
        let begin = |number: u64| {
            let count = if number % 5 == 0 { 20_000 } else { 3 };
            world.iallreduce(vec![rank + number + round; count], Sum)
        };
        let mut open: Vec<Pending<Vec<u64>>> = Vec::new();
        for number in 0..MANY {
            open.push(begin(number)?);
            if number % 7 == 0 {
                world.barrier()?;
                assert_eq!(world.allreduce(rank + number, Sum)?, ranks + size * number);
            }
        }
        let last = world.ibarrier()?;
        for (pending, number) in open.into_iter().zip(0..) {
            let sum = ranks + size * (number + round);
            assert!(pending.wait()?.into_iter().all(|it| it == sum), "{number}");
        }
        last.wait()?;
    }
    Ok(())
}

/// Who loses patience has taken part; the others are not held up, and the next one is sound.
fn given_up(world: &Communicator) -> Result<()> {
    let hurried = world.with_timeout(Duration::from_millis(1));
    for round in 0..REPEATS / 5 {
        if world.rank() == 0 {
            let error = hurried.barrier().expect_err("nobody");
            assert_eq!(*error.kind(), ErrorKind::Timeout);
            let error = hurried.allreduce(round, Sum).expect_err("nobody");
            assert_eq!(*error.kind(), ErrorKind::Timeout);
            for other in 1..world.size() {
                world.send(&[round], other, 1)?;
            }
        } else {
            world.recv_into(&mut [0_u64], 0, 1)?;
            world.barrier()?;
            let sum = round * world.size() as u64;
            assert_eq!(world.allreduce(round, Sum)?, sum);
        }
        assert_eq!(world.allreduce(1, Sum)?, world.size());
    }
    Ok(())
}

/// What is dropped goes on by itself.
fn dropped(world: &Communicator) -> Result<()> {
    for round in 0..REPEATS {
        drop(world.ibarrier()?);
        drop(world.iallreduce(vec![round; 10], Sum)?);
        drop(world.iallreduce(vec![round; 30_000], Sum)?);
        assert_eq!(world.allreduce(1, Sum)?, world.size());
    }
    Ok(())
}

#[test]
fn more_than_there_are_rounds_go_on_at_once() {
    play("several at once");
}

#[test]
fn operands_stay_in_the_order_of_the_ranks() {
    play("rank order");
}

#[test]
fn two_ranks_make_the_same_sum_in_each_others_memory_and_without() {
    for copies in ["PHALANX_SINGLE_COPY=0", "PHALANX_SINGLE_COPY=1"] {
        play_with("halves", 2, &["--env", copies]);
    }
    play_with("halves", 2, &[]);
    play_with("halves", 3, &[]);
}

#[test]
fn a_rank_that_gives_up_holds_nobody_up() {
    play("given up");
}

#[test]
fn what_is_dropped_goes_on() {
    play("dropped");
}
