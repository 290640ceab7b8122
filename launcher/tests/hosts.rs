//! Jobs of several hosts, all of which are this machine: a daemon and a memory for each, TCP between them.

mod common;

use std::time::Duration;

use common::{Running, leave, part, part_command, run_part};
use phalanx::{Communicator, Result, Sum};
use rustix::process::{Pid, Signal, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(60);
const RANKS: usize = 6;

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    leave(phalanx::run(|world| match part.as_str() {
        "everything" => everything(&world),
        "blocked" => blocked(&world),
        other => panic!("there is no part {other}"),
    }))
}

/// Says the bits of sums that depend on the order of their terms.
fn everything(world: &Communicator) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let mut bits = 0_u64;
    for round in 0..200 {
        let own = 1.0 / (1.0 + (rank * 7 + round) as f64).powi(rank as i32 - 2);
        let sum = world.allreduce(own, Sum)?;
        let at_root = world.reduce(own, Sum, round % size)?;
        assert!(at_root.is_none_or(|value| value.to_bits() == sum.to_bits()));
        bits = bits.rotate_left(5) ^ sum.to_bits();
    }
    bits = [bits, other_bits(world)?, other_bits(&halves(world)?)?]
        .into_iter()
        .fold(0, |bits, more| bits.rotate_left(5) ^ more);
    let bits = world.allreduce(bits, phalanx::BitXor)?;
    for length in [1, 1000, 300_000] {
        let mut values = vec![rank as u64; length];
        world.allreduce_into(&mut values, Sum)?;
        assert!(
            values
                .iter()
                .all(|value| *value == (size * (size - 1) / 2) as u64)
        );
        let block = vec![rank as u64; length];
        for distance in 1..size {
            let (to, from) = ((rank + distance) % size, (rank + size - distance) % size);
            let pending = world.isend(block.clone(), to, 1)?;
            let (received, _) = world.recv_vec::<u64>(from, 1)?;
            assert_eq!(received, vec![from as u64; length]);
            pending.wait()?;
        }
        world.barrier()?;
    }
    println!("bits {bits:016x}");
    Ok(())
}

/// Even and odd ranks, from the last to the first.
fn halves(world: &Communicator) -> Result<Communicator> {
    let half = world.split(Some(world.rank() as u64 % 2), -(world.rank() as i64))?;
    Ok(half.expect("everyone has a colour"))
}

/// The bits of all reductions, of short and long vectors.
fn other_bits(communicator: &Communicator) -> Result<u64> {
    let (rank, size) = (communicator.rank(), communicator.size());
    let mut bits = 0_u64;
    let mut note = |values: &[f64]| {
        for value in values {
            bits = bits.rotate_left(7) ^ value.to_bits();
        }
    };
    for block in [1, 50, 1000, 20_000] {
        let own: Vec<f64> = (0..block * size)
            .map(|index| 1.0 / (3.0 + (index * 13 + rank * 7) as f64))
            .collect();
        let mut values = own.clone();
        communicator.allreduce_into(&mut values, Sum)?;
        note(&values);
        let mut values = own.clone();
        communicator.scan_into(&mut values, Sum)?;
        note(&values);
        let mut values = own.clone();
        communicator.exscan_into(&mut values, Sum)?;
        note(&values);
        note(&communicator.reduce_scatter_block(&own, Sum)?);
        note(&communicator.reduce_scatter(&own, &vec![block; size], Sum)?);
    }
    Ok(bits)
}

fn blocked(world: &Communicator) -> Result<()> {
    println!("up: {} {}", world.rank(), std::process::id());
    world.recv_vec::<u8>((world.rank() + 1) % world.size(), 1)?;
    Ok(())
}

fn bits(hosts: &str, words: &[&str]) -> Vec<String> {
    let words = [&["--pretend-hosts", hosts], words].concat();
    let outcome = run_part("everything", RANKS, &words, LIMIT);
    assert_eq!(outcome.code, Some(0), "{hosts} hosts: {}", outcome.stderr);
    let lines = outcome.sorted_lines().into_iter();
    let words = lines.filter_map(|line| line.split_once("bits ").map(|(_, bits)| bits.to_owned()));
    words.collect()
}

#[test]
fn sums_have_the_same_bits_wherever_ranks_run() {
    let one = bits("1", &[]);
    assert_eq!(one.len(), RANKS);
    assert!(one.iter().all(|other| *other == one[0]));
    for hosts in ["2", "3", "6"] {
        assert_eq!(bits(hosts, &[]), one, "{hosts} hosts");
    }
    assert_eq!(bits("2", &["--encrypt"]), one, "encrypted");
}

#[test]
fn a_rank_that_is_killed_on_any_host_is_named() {
    for hosts in 2..=3 {
        for node in 0..hosts {
            let victim = node * RANKS / hosts;
            let words = ["--pretend-hosts", &hosts.to_string()];
            let mut running = Running::start_within(LIMIT, part_command("blocked", RANKS, &words));
            let mut process = None;
            let mut up = 0;
            while up < RANKS {
                let line = running.lines(1).remove(0);
                let Some((_, words)) = line.split_once("up: ") else {
                    continue;
                };
                up += 1;
                let (rank, pid) = words.split_once(' ').expect("two numbers");
                if rank == victim.to_string() {
                    process = pid.parse().ok().and_then(Pid::from_raw);
                }
            }
            kill_process(process.expect("it is up"), Signal::KILL).expect("it runs");
            let outcome = running.finish();
            assert!(outcome.code.is_some_and(|code| code != 0));
            let named = outcome.stderr.contains(&format!("rank {victim}"));
            assert!(named, "{}", outcome.stderr);
        }
    }
}
