//! Every rank resets all its TCP connections again and again, while all of them talk: nothing is lost, doubled,
//! reordered or altered. `PHALANX_RESET_SECONDS` says for how long; 2 unless it is set.

mod common;

use std::time::{Duration, Instant};

use common::{Outcome, Running, leave, part, part_command};
use phalanx::{Communicator, Result, Sum, Tag};

const RANKS: usize = 4;
/// So often every rank breaks its connections.
const MILLIS: &str = "100";
/// Messages to each of the others in a round, of growing lengths.
const LENGTHS: [usize; 5] = [1, 40, 700, 9_000, 60_000];
const TAG: i64 = 5;

fn seconds() -> u64 {
    let set = std::env::var("PHALANX_RESET_SECONDS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Word `at` of message `number` from one rank to another.
fn word(from: usize, to: usize, number: u64, at: usize) -> u64 {
    let place = (from * RANKS + to) as u64;
    (number ^ place << 48 ^ (at as u64) << 24).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn message(from: usize, to: usize, number: u64, length: usize) -> Vec<u64> {
    let words = (1..length).map(|at| word(from, to, number, at));
    std::iter::once(number).chain(words).collect()
}

#[test]
fn ranked_program() {
    if part().is_none() {
        return; // This process is the one that tests.
    }
    leave(phalanx::run(|world| {
        talk(&world)?;
        world.finalize()
    }))
}

/// Rounds of messages of all to all others, checked word by word; then how many there were.
fn talk(world: &Communicator) -> Result<()> {
    let (me, begun) = (world.rank(), Instant::now());
    let (mut number, mut bytes) = (0_u64, 0_u64);
    let others = || (0..RANKS).filter(|rank| *rank != me);
    loop {
        // Now and then one that is longer than anything that is sent without being asked for.
        let long = if number % 100 == 0 { 400_000 } else { 20_000 };
        let lengths = || LENGTHS.into_iter().chain([long]).zip(number..);
        let mut pending = Vec::new();
        for to in others() {
            for (length, number) in lengths() {
                pending.push(world.isend(message(me, to, number, length / 8 + 1), to, TAG)?);
            }
        }
        for from in others() {
            for (length, number) in lengths() {
                let (words, _) = world.recv_vec::<u64>(from, Tag::from(TAG))?;
                let expected = message(from, me, number, length / 8 + 1);
                assert_eq!(words.first(), expected.first(), "order of {from} to {me}");
                assert!(words == expected, "message {number} of {from} to {me}");
                bytes += 8 * words.len() as u64;
            }
        }
        for one in pending {
            one.wait()?;
        }
        number += LENGTHS.len() as u64 + 1;
        let mut over = [u64::from(begun.elapsed().as_secs() >= seconds())];
        world.bcast_into(&mut over, 0)?;
        let total = world.allreduce(number, Sum)?;
        assert_eq!(total, RANKS as u64 * number);
        if over[0] == 1 {
            break;
        }
    }
    let total = world.allreduce(bytes, Sum)?;
    if me == 0 {
        let messages = number * (RANKS * (RANKS - 1)) as u64;
        println!("{messages} messages, {} MB", total / 1_000_000);
    }
    Ok(())
}

fn run(options: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let options = [&["--transport", "tcp"], options].concat();
    let mut command = part_command("talk", RANKS, &options);
    command.envs(variables.iter().copied());
    Running::start_within(Duration::from_secs(120 + 2 * seconds()), command).finish()
}

#[test]
fn a_job_survives_resets_of_all_its_connections() {
    survives("open", &[]);
}

#[test]
fn an_encrypted_job_survives_resets_of_all_its_connections() {
    survives("encrypted", &["--encrypt"]);
}

fn survives(name: &str, options: &[&str]) {
    let outcome = run(options, &[("PHALANX_FAULT_RESET_MILLIS", MILLIS)]);
    let text = outcome.text();
    assert!(
        outcome.code == Some(0) && text.contains(" messages, "),
        "code {:?}\n{text}\n{}",
        outcome.code,
        outcome.stderr
    );
    let count = text.lines().find(|line| line.contains(" messages, "));
    println!(
        "{name}: every rank reset all its connections each {MILLIS} ms for {} s: {}, all right",
        seconds(),
        count.unwrap_or_default()
    );
}

#[test]
fn without_the_window_a_reset_ends_the_job_and_is_named() {
    let (fault, window) = ("PHALANX_FAULT_RESET_MILLIS", "PHALANX_RECONNECT");
    let outcome = run(&[], &[(fault, MILLIS), (window, "0")]);
    let (code, told) = (outcome.code, &outcome.stderr);
    assert!(
        code.is_some_and(|code| code != 0) && told.contains("does not answer"),
        "code {code:?}\n{told}"
    );
}
