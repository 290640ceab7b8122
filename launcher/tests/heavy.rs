//! Much at once, over every transport: messages beyond 2 GiB, and a flood that nobody receives.
//!
//! One after the other, because each wants the memory or the cores for itself.

mod common;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{TRANSPORTS, leave, part, run_part};
use phalanx::limits::UNEXPECTED_BYTES_MAX;
use phalanx::{Communicator, Result, Source};

/// After this a run is stuck.
const LIMIT: Duration = Duration::from_secs(240);
const GIB: usize = 1 << 30;
/// Memory that sender and receiver of 3 GiB need on one machine, and some for others.
const NEEDED: usize = 7 * GIB;

static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn ranked_program() {
    let Some(part) = part() else {
        return; // This process is the one that tests.
    };
    leave(phalanx::run(|world| match part.as_str() {
        "big" => big(&world),
        _ => flood(&world),
    }))
}

fn everywhere(part: &str, ranks: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (transport, words) in TRANSPORTS {
        let outcome = run_part(part, ranks, words, LIMIT);
        let (text, stderr) = (outcome.text(), &outcome.stderr);
        println!("over {transport}:\n{text}");
        assert!(
            outcome.code == Some(0) && text.contains(&format!("{part}: all is well")),
            "{part} over {transport}: code {:?}\n{text}\n{stderr}",
            outcome.code
        );
    }
}

#[test]
fn messages_of_one_and_three_gibibytes_arrive_bit_exact() {
    let available = memory("/proc/meminfo", "MemAvailable:");
    if available < NEEDED {
        println!("not run: {available} bytes of memory are available, {NEEDED} are needed");
        return;
    }
    everywhere("big", 2);
}

#[test]
fn a_flood_does_not_pass_the_cap_and_is_received_in_order() {
    everywhere("flood", 3);
}

/// A number of kilobytes from a file of Linux, in bytes.
fn memory(file: &str, field: &str) -> usize {
    let text = std::fs::read_to_string(file).expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.map_or(0, |kilobytes: usize| kilobytes * 1024)
}

/// The most memory that this process has had so far.
fn peak() -> usize {
    memory("/proc/self/status", "VmHWM:")
}

/// Bytes that are different in every place: piece `i` begins at another offset of one random block.
struct Pattern {
    block: Vec<u8>,
}

impl Pattern {
    /// Not a power of two, so that nothing of the transports' sizes is a multiple of it.
    const PIECE: usize = (1 << 20) - 3;

    fn new(seed: u64) -> Self {
        let mut state = seed | 1;
        let mut block = Vec::with_capacity(2 * Self::PIECE + 8);
        while block.len() < 2 * Self::PIECE {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        Self { block }
    }

    fn piece(&self, index: usize) -> &[u8] {
        let offset = index * 7919 % Self::PIECE;
        &self.block[offset..offset + Self::PIECE]
    }

    fn make(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        let mut index = 0;
        while bytes.len() < length {
            let take = Self::PIECE.min(length - bytes.len());
            bytes.extend_from_slice(&self.piece(index)[..take]);
            index += 1;
        }
        bytes
    }

    fn check(&self, bytes: &[u8]) {
        for (index, piece) in bytes.chunks(Self::PIECE).enumerate() {
            assert!(
                piece == &self.piece(index)[..piece.len()],
                "piece {index} of {} bytes is another one",
                bytes.len()
            );
        }
    }
}

/// Rank 0 sends 1 GiB into a buffer of rank 1, and 3 GiB into a vector that grows.
fn big(world: &Communicator) -> Result<()> {
    let pattern = Pattern::new(0x5eed_0001);
    if world.rank() == 0 {
        for gibibytes in [1, 3] {
            let bytes = pattern.make(gibibytes * GIB);
            world.barrier()?;
            world.send(&bytes, 1, gibibytes)?;
        }
        return Ok(());
    }
    let mut bytes = vec![0; GIB];
    world.barrier()?;
    let begun = Instant::now();
    let status = world.recv_into(&mut bytes, 0, 1)?;
    println!("1 GiB in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(status.count, GIB);
    pattern.check(&bytes);
    drop(bytes);
    world.barrier()?;
    let begun = Instant::now();
    let (bytes, status) = world.recv_vec::<u8>(0, 3)?;
    println!("3 GiB in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!((bytes.len(), status.count), (3 * GIB, 3 * GIB));
    pattern.check(&bytes);
    if alone_in_its_process() {
        // It lands where it belongs: there is no second copy on the way.
        assert!(peak() < 3 * GIB + GIB / 8, "{} bytes", peak());
    }
    println!("big: all is well");
    Ok(())
}

fn alone_in_its_process() -> bool {
    std::env::var_os("PHALANX_THREADS").is_none()
}

const MESSAGES: u64 = 1_000_000;
const FLOOD: u64 = 1;
const DONE: u64 = 2;

/// All other ranks flood rank 0, which for a while does nothing, and then makes progress without
/// receiving anything.
fn flood(world: &Communicator) -> Result<()> {
    let senders = world.size() as u64 - 1;
    let each = MESSAGES / senders;
    world.barrier()?;
    if world.rank() > 0 {
        for number in 0..each {
            world.send(&[number], 0, FLOOD)?;
        }
        return world.send(&[each], 0, DONE);
    }
    let before = peak();
    std::thread::sleep(Duration::from_millis(500));
    world.progress(Duration::from_secs(3), || false);
    assert_eq!(
        world.iprobe(Source::Any, DONE)?,
        None,
        "the senders are slowed"
    );
    let flooded = peak() - before;
    let begun = Instant::now();
    let mut next = vec![0; world.size()];
    for _ in 0..each * senders {
        let mut number = [0_u64];
        let status = world.recv_into(&mut number, Source::Any, FLOOD)?;
        assert_eq!(
            number[0], next[status.source],
            "from rank {}",
            status.source
        );
        next[status.source] += 1;
    }
    assert!(next[1..].iter().all(|next| *next == each));
    for source in 1..world.size() {
        world.recv_vec::<u64>(source, DONE)?;
    }
    let grown = peak() - before;
    println!(
        "grown by {} KiB in the flood, by {} KiB until all was received, {:.1} s",
        flooded >> 10,
        grown >> 10,
        begun.elapsed().as_secs_f64()
    );
    assert!(grown <= UNEXPECTED_BYTES_MAX, "grown by {grown} bytes");
    println!("flood: all is well");
    Ok(())
}
