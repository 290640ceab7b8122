//! Long messages between ranks that share memory: whole, whoever copies them; and nobody writes to a buffer
//! after its receive has returned. A rank that is killed in the middle ends the job.

mod common;

use std::time::{Duration, Instant};

use common::{Running, SINGLE_COPY, leave, part, part_command, run_part};
use phalanx::{Communicator, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(120);
const TAG: i64 = 5;
const ROUNDS: u32 = 150;
const SEED: &str = "PHALANX_TEST_SEED";

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    leave(phalanx::run(|world| match part.as_str() {
        "rounds" => rounds(&world),
        "for ever" => for_ever(&world),
        other => panic!("there is no part {other}"),
    }))
}

/// What is at a place of the message of a round.
fn word(round: u32, place: usize) -> u32 {
    round.wrapping_mul(0x9e37_79b9) ^ place as u32
}

fn message(round: u32, length: usize) -> Vec<u32> {
    (0..length).map(|place| word(round, place)).collect()
}

fn assert_whole(words: &[u32], round: u32) {
    let wrong = (0..words.len()).find(|&place| words[place] != word(round, place));
    assert_eq!(wrong, None, "round {round}, {} words", words.len());
}

/// A rank that does something else for a moment.
fn compute(micros: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

/// Messages of lengths by chance, one way or both at once; senders that wait, and such as do something else.
fn rounds(world: &Communicator) -> Result<()> {
    let seed = std::env::var(SEED)
        .expect("given")
        .parse()
        .expect("a number");
    let mut dice = SmallRng::seed_from_u64(seed);
    let (me, other) = (world.rank(), 1 - world.rank());
    let mut buffer = vec![0_u32; 1 << 20];
    for round in 0..ROUNDS {
        let longest = if dice.random_bool(0.2) {
            1 << 20
        } else {
            1 << 16
        };
        let length = dice.random_range(8 * 1024..longest);
        let (busy, late) = (dice.random_range(0..200), dice.random_range(0..200));
        let sender = dice.random_range(0..2);
        match dice.random_range(0..3) {
            0 if me == sender => world.send(&message(round, length), other, TAG)?,
            1 if me == sender => {
                let sent = world.isend(message(round, length), other, TAG)?;
                compute(busy);
                sent.wait()?;
            }
            2 => {
                let sent = world.isend(message(round, length), other, TAG)?;
                world.recv_into(&mut buffer[..length], other, TAG)?;
                assert_whole(&buffer[..length], round);
                sent.wait()?;
            }
            _ => {
                compute(late);
                world.recv_into(&mut buffer[..length], other, TAG)?;
                assert_whole(&buffer[..length], round);
                // Whoever still wrote there would be found out.
                buffer[..length].fill(u32::MAX);
                compute(busy / 4);
                assert!(buffer[..length].iter().all(|&word| word == u32::MAX));
            }
        }
    }
    Ok(())
}

/// Sends and receives without end; says once which process it is.
fn for_ever(world: &Communicator) -> Result<()> {
    let other = 1 - world.rank();
    let mut buffer = vec![0_u32; 1 << 20];
    for round in 0_u32.. {
        for sender in 0..2 {
            if world.rank() == sender {
                world.send(&buffer, other, TAG)?;
            } else {
                world.recv_into(&mut buffer, other, TAG)?;
            }
        }
        if round == 0 {
            println!("up: {} {}", world.rank(), std::process::id());
        }
    }
    Ok(())
}

fn by_chance() -> u64 {
    let seed = getrandom::u64().expect("randomness");
    println!("seed {seed}");
    seed
}

#[test]
fn messages_are_whole_whoever_copies_them_and_buffers_are_their_owners_afterwards() {
    let seed = by_chance().to_string();
    let variable = format!("{SEED}={seed}");
    let alone = SINGLE_COPY.1;
    let streamed: &[&str] = &["--transport", "shm", "--env", "PHALANX_SINGLE_COPY=0"];
    for words in [&["--transport", "shm"], alone, streamed] {
        let words = [words, &["--env", &variable]].concat();
        let outcome = run_part("rounds", 2, &words, LIMIT);
        assert_eq!(outcome.code, Some(0), "seed {seed}: {}", outcome.stderr);
    }
}

#[test]
fn a_rank_that_is_killed_while_long_messages_are_copied_ends_the_job() {
    let seed = by_chance();
    let mut dice = SmallRng::seed_from_u64(seed);
    for _ in 0..8 {
        let command = part_command("for ever", 2, &["--transport", "shm"]);
        let mut running = Running::start_within(LIMIT, command);
        let mut ranks = Vec::new();
        while ranks.len() < 2 {
            let line = running.lines(1).remove(0);
            if let Some((_, words)) = line.split_once("up: ") {
                let numbers: Vec<i32> = words.split(' ').flat_map(str::parse).collect();
                ranks.push((numbers[0], numbers[1]));
            }
        }
        let (victim, process) = ranks[dice.random_range(0..2)];
        std::thread::sleep(Duration::from_micros(dice.random_range(0..3_000)));
        let process = Pid::from_raw(process).expect("a process");
        kill_process(process, Signal::KILL).expect("it runs");
        let outcome = running.finish();
        let named = outcome.stderr.contains(&format!("rank {victim}"));
        let ended = outcome.code.is_some_and(|code| code != 0);
        assert!(
            named && ended,
            "seed {seed}: {:?}: {}",
            outcome.code,
            outcome.stderr
        );
    }
}
