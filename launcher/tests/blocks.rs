//! Blocks that ranks of one host give each other: over boards, through slots, fetched from where they lie. Whatever the way, each rank has
//! those that are meant for it, its own stay as they are, and nobody takes for a block what has become of its memory later.

mod common;

use std::time::{Duration, Instant};

use common::{Part, Running, TRANSPORTS, part_command, run_part};
use phalanx::{Communicator, ErrorKind, Pending, Policy, Result, Sum};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);
/// More than one call in so many that takes the general way in any case.
const REPEATS: usize = 70;
/// Elements of blocks: of nothing, boards, slots, what is longer than a slot's part, and a few parts of slots.
const LENGTHS: &[usize] = &[0, 1, 3, 7, 100, 512, 513, 2049, 9000, 30_000];
/// What is always fetched, where that is possible.
const LONG: usize = 10_000;

const PARTS: &[(&str, Part)] = &[
    ("blocks", blocks),
    ("other elements", other_elements),
    ("several at once", several_at_once),
    ("given up", given_up),
    ("wrong arguments", wrong_arguments),
    ("for ever", for_ever),
    ("dies", dies),
];

#[test]
fn ranked_program() {
    common::play(PARTS);
}

fn play(part: &str, ranks: &[usize], ways: &[&[&str]]) {
    for &count in ranks {
        for words in ways {
            let outcome = run_part(part, count, words, LIMIT);
            assert!(
                outcome.text().matches("is well").count() == count && outcome.code == Some(0),
                "{part} with {count} ranks, {words:?}: code {:?}\n{}\n{}",
                outcome.code,
                outcome.text(),
                outcome.stderr
            );
        }
    }
}

/// What a rank has for another one.
fn block(from: usize, to: usize, count: usize, round: usize) -> impl Iterator<Item = u64> {
    let first = (from << 40) + (to << 20) + round;
    (0..count).map(move |index| (first + index * 0x1_0001) as u64)
}

fn given(rank: usize, size: usize, count: usize, round: usize) -> Vec<u64> {
    let blocks = (0..size).flat_map(|to| block(rank, to, count, round));
    blocks.collect()
}

fn due(rank: usize, size: usize, count: usize, round: usize) -> Vec<u64> {
    let blocks = (0..size).flat_map(|from| block(from, rank, count, round));
    blocks.collect()
}

/// What each rank has for all.
fn gathered(size: usize, count: usize, round: usize) -> Vec<u64> {
    let blocks = (0..size).flat_map(|from| block(from, size, count, round));
    blocks.collect()
}

/// Does something else for a while that is not the same on all ranks.
fn dawdle(rank: usize, round: usize) {
    let micros = [0, 0, 0, 30, 300][(round + 3 * rank) % 5];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

fn blocks(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for round in 0..REPEATS {
        let count = LENGTHS[round % LENGTHS.len()].min(200_000 / size);
        let mine = given(rank, size, count, round);
        let mut into = vec![0; mine.len()];
        dawdle(rank, round);
        world.alltoall_into(&mine, &mut into)?;
        assert!(into == due(rank, size, count, round), "{count}, {round}");
        assert!(
            mine == given(rank, size, count, round),
            "they stay: {count}"
        );
        let one: Vec<u64> = block(rank, size, count, round).collect();
        world.allgather_into(&one, &mut into)?;
        assert!(into == gathered(size, count, round), "{count}, {round}");
        dawdle(rank, round + 1);
        if round % 3 == 0 {
            let blocks = world.ialltoall(mine)?.wait()?;
            assert!(blocks == due(rank, size, count, round), "{count}, {round}");
            let all = world.iallgather(one)?.wait()?;
            assert!(all == gathered(size, count, round), "{count}, {round}");
            assert_eq!(world.allreduce(1, Sum)?, size);
        }
    }
    Ok(())
}

/// Such as no slot's part divides, and such as few slots hold.
fn other_elements(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for count in [1, 2, 5, 1001] {
        let mine: Vec<[u8; 3]> = (0..size * count)
            .map(|index| [rank as u8, (index / count) as u8, index as u8])
            .collect();
        let all = world.alltoall(&mine)?;
        for (from, blocks) in all.chunks(count).enumerate() {
            for (index, element) in blocks.iter().enumerate() {
                let index = (rank * count + index) as u8;
                assert_eq!(*element, [from as u8, rank as u8, index], "{count}");
            }
        }
    }
    let mine: Vec<[u32; 4096]> = (0..3 * size)
        .map(|to| [(rank + 100 * to) as u32; 4096])
        .collect();
    let all = world.alltoall(&mine)?;
    for (place, element) in all.iter().enumerate() {
        let (from, index) = (place / 3, place % 3);
        assert_eq!(*element, [(from + 100 * (3 * rank + index)) as u32; 4096]);
    }
    Ok(())
}

/// More under way than there are cells, and others among them.
fn several_at_once(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for round in 0..REPEATS / 10 {
        let mut open: Vec<(usize, Pending<Vec<u64>>)> = Vec::new();
        for number in 0..30 {
            let count = LENGTHS[(number + round) % LENGTHS.len()].min(50_000 / size);
            open.push((count, world.ialltoall(given(rank, size, count, number))?));
            if number % 7 == 0 {
                assert_eq!(world.allreduce(number, Sum)?, number * size);
            }
            if number % 11 == 3 {
                let blocks = world.alltoall(&given(rank, size, LONG, number))?;
                assert!(blocks == due(rank, size, LONG, number));
            }
            if number % 13 == 0 {
                // It goes on by itself.
                drop(world.ialltoall(given(rank, size, count, number))?);
            }
        }
        for (number, (count, pending)) in open.into_iter().enumerate() {
            assert!(
                pending.wait()? == due(rank, size, count, number),
                "{number}"
            );
        }
    }
    Ok(())
}

/// Who loses patience uses its memory for something else. What the others get is either what it gave, or nothing.
fn given_up(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let mut mine = given(rank, size, LONG, 0);
    let patience = if rank == 0 { 3 } else { 300 };
    let hurried = world.with_timeout(Duration::from_millis(patience));
    // About when the others lose theirs or come.
    if rank > 0 {
        std::thread::sleep(Duration::from_micros(2_700 + 100 * rank as u64));
    }
    let mut into = vec![0; mine.len()];
    let outcome = hurried.alltoall_into(&mine, &mut into);
    if rank == 0 {
        mine.fill(u64::MAX);
    }
    match outcome {
        Ok(()) => assert!(into == due(rank, size, LONG, 0), "all have got everything"),
        Err(error) => assert_eq!(*error.kind(), ErrorKind::Timeout, "{error}"),
    }
    // Short ones stay in the slots: nobody is held up by one who has gone.
    if rank == 0 {
        let error = hurried.alltoall(&vec![7_u8; 100 * size]);
        assert_eq!(
            *error.expect_err("nobody is there").kind(),
            ErrorKind::Timeout
        );
        world.send(&[0_u8], 1, 1)?;
        (2..size).try_for_each(|other| world.send(&[0_u8], other, 1))?;
    } else {
        world.recv_into(&mut [0_u8], 0, 1)?;
        assert_eq!(
            world.alltoall(&vec![7_u8; 100 * size])?,
            vec![7; 100 * size]
        );
    }
    Ok(())
}

fn wrong_arguments(world: &Communicator) -> Result<()> {
    let size = world.size();
    let error = world.alltoall_into(&vec![1_u8; size], &mut vec![0; size + 1]);
    let kind = error.expect_err("another length").kind().clone();
    assert!(matches!(kind, ErrorKind::InvalidArgument { .. }), "{kind}");
    let error = world.alltoall_into(&vec![1_u8; size + 1], &mut vec![0; size + 1]);
    let kind = error.expect_err("no blocks").kind().clone();
    assert!(matches!(kind, ErrorKind::InvalidArgument { .. }), "{kind}");
    Ok(())
}

/// Exchanges without end; says once which process it is.
fn for_ever(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for round in 0.. {
        let blocks = world.alltoall(&given(rank, size, LONG, round))?;
        assert!(blocks == due(rank, size, LONG, round), "{round}");
        if round == 3 {
            println!("up: {rank} {}", std::process::id());
        }
    }
    Ok(())
}

/// One rank dies at some moment: each of the others has whole blocks, or is told so.
fn dies(world: &Communicator) -> Result<()> {
    let (rank, size, victim) = (world.rank(), world.size(), world.size() - 1);
    world.set_policy(Policy::Return)?;
    // A barrier could fail here: who leaves it first may die before it is over for the others.
    world.agree(0)?;
    if rank == victim {
        let micros = getrandom::u64().expect("randomness") % 3_000;
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(micros));
            kill_process(getpid(), Signal::KILL).expect("it runs");
        });
    }
    let error = (0..).find_map(|round| {
        let blocks = match world.alltoall(&given(rank, size, LONG, round)) {
            Ok(blocks) => blocks,
            Err(error) => return Some(error),
        };
        assert!(blocks == due(rank, size, LONG, round), "{round}");
        None
    });
    let error = error.expect("it ends");
    let gone =
        matches!(error.kind(), ErrorKind::PeerGone { world_rank, .. } if *world_rank == victim);
    assert!(gone || *error.kind() == ErrorKind::Revoked, "{error}");
    world.revoke();
    let rest = world.shrink()?;
    assert_eq!(rest.size(), size - 1);
    let blocks = rest.alltoall(&given(rank, rest.size(), LONG, 0))?;
    assert!(blocks == due(rank, rest.size(), LONG, 0));
    Ok(())
}

const SHARED: &[&str] = &["--transport", "shm"];
const STREAMED: &[&str] = &["--transport", "shm", "--env", "PHALANX_SINGLE_COPY=0"];

#[test]
fn each_rank_gets_what_is_meant_for_it_whatever_the_length() {
    play("blocks", &[1, 2, 3, 4, 8], &[SHARED, STREAMED]);
    play("blocks", &[20], &[SHARED]);
    for (_, words) in TRANSPORTS {
        play("blocks", &[3], &[words]);
    }
}

#[test]
fn elements_may_have_any_size() {
    play("other elements", &[2, 3, 5], &[SHARED, STREAMED]);
}

#[test]
fn more_than_there_are_cells_go_on_at_once() {
    play("several at once", &[2, 3, 8], &[SHARED, STREAMED]);
}

#[test]
fn what_a_rank_does_with_its_memory_after_it_has_given_up_is_never_a_block() {
    for _ in 0..5 {
        play("given up", &[2, 3], &[SHARED, STREAMED]);
    }
}

#[test]
fn wrong_arguments_are_told() {
    play("wrong arguments", &[2, 3], &[SHARED]);
}

#[test]
fn a_rank_that_is_killed_in_an_exchange_ends_the_job() {
    for words in [SHARED, STREAMED] {
        for victim in [0, 1, 2] {
            let mut running = Running::start_within(LIMIT, part_command("for ever", 3, words));
            let mut processes = [None; 3];
            while processes.contains(&None) {
                let line = running.lines(1).remove(0);
                if let Some((_, words)) = line.split_once("up: ") {
                    let numbers: Vec<i32> = words.split(' ').flat_map(str::parse).collect();
                    processes[numbers[0] as usize] = Pid::from_raw(numbers[1]);
                }
            }
            let process = processes[victim].expect("a process");
            kill_process(process, Signal::KILL).expect("it runs");
            let outcome = running.finish();
            assert!(
                outcome.stderr.contains(&format!("rank {victim}")) && outcome.code != Some(0),
                "{words:?}: {:?}: {}",
                outcome.code,
                outcome.stderr
            );
        }
    }
}

#[test]
fn those_who_go_on_after_a_death_in_an_exchange_are_told_of_it() {
    for ranks in [2, 3, 5] {
        for words in [SHARED, STREAMED] {
            for _ in 0..3 {
                let outcome = run_part("dies", ranks, words, LIMIT);
                let well = outcome.text().matches("is well").count();
                assert!(
                    well == ranks - 1 && outcome.code == Some(0),
                    "{ranks} ranks, {words:?}: {:?}\n{}\n{}",
                    outcome.code,
                    outcome.text(),
                    outcome.stderr
                );
            }
        }
    }
}
