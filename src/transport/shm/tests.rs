//! Ranks that are threads of one process share a segment: what each of them does to it at the same time as the others.
//! `.ci/races` runs these with tools that see every access, over memory of the heap where the tool knows no other.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use super::boards::POST_BYTES;
use super::cells::{Area, CELLS, PastCall, SHORT_BYTES};
use super::long::{pull_together, push_together};
use super::segment::{Segment, State, Token};
use crate::base::bell::Asleep;
use crate::base::ring::{Consumer, Producer};
use crate::base::words::Words;

const RANKS: usize = 3;
/// How often each of them does its part.
const TIMES: u32 = if cfg!(miri) { 2 * CELLS + 1 } else { 2000 };
const SIGNATURE: u64 = 7;
/// A test that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(300);

fn await_until(what: &str, mut ready: impl FnMut() -> bool) {
    let since = Instant::now();
    while !ready() {
        assert!(since.elapsed() < PATIENCE, "waits for ever: {what}");
        thread::yield_now();
    }
}

/// Runs `act` as each rank of a segment of so many.
fn each(ranks: usize, act: impl Fn(usize, &Arc<Segment>) + Sync) {
    let segment = Arc::new(Segment::create(ranks, ranks, 0).expect("memory"));
    thread::scope(|scope| {
        for me in 0..ranks {
            let (act, segment) = (&act, &segment);
            scope.spawn(move || act(me, segment));
        }
    });
}

/// As [`each`], with the area of a communicator.
fn each_of_an_area(ranks: usize, act: impl Fn(&Area) + Sync) {
    let members: Arc<[usize]> = (0..ranks).collect();
    each(ranks, |me, segment| {
        act(&Area::new(Arc::clone(segment), 0, me, Arc::clone(&members)));
    });
}

/// What a rank puts in: short and long payloads in turn.
fn part(number: u32, rank: usize) -> Vec<u8> {
    let bytes = [SHORT_BYTES, SHORT_BYTES + 20][number as usize % 2];
    vec![(number as usize + rank) as u8; bytes]
}

fn sum(number: u32, ranks: usize) -> Vec<u8> {
    let mut sum = part(number, 0);
    (1..ranks).for_each(|rank| add(&mut sum, &part(number, rank)));
    sum
}

fn add(sum: &mut [u8], part: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(part) {
        *sum = sum.wrapping_add(*byte);
    }
}

#[test]
fn all_put_in_their_parts_and_make_the_pieces_of_the_result() {
    const PIECES: u32 = 2;
    each_of_an_area(RANKS, |area| {
        for number in 0..TIMES {
            let own = part(number, area.me());
            let (length, half) = (own.len(), own.len() / 2);
            await_until("room", || area.is_open(number));
            area.sign(number, area.me(), SIGNATURE);
            area.write(number, area.me(), length, 0, &own);
            area.arrive(number);
            await_until("the parts", || area.is_full(number));
            while let Some(piece) = area.claim(number, PIECES) {
                let mut made = vec![0; half];
                for rank in 0..RANKS {
                    assert_eq!(area.signature(number, rank), SIGNATURE);
                    let mut other = vec![0; half];
                    area.read(number, rank, length, piece as usize * half, &mut other);
                    add(&mut made, &other);
                }
                area.write(number, area.result(), length, piece as usize * half, &made);
                area.finish(number, PIECES);
            }
            await_until("the result", || area.is_finished(number, PIECES));
            let mut result = vec![0; length];
            area.read(number, area.result(), length, 0, &mut result);
            assert!(result == sum(number, RANKS), "{number}");
            assert!(area.leave(number, SIGNATURE));
        }
    });
}

#[test]
fn one_after_the_other_adds_its_part_to_the_result() {
    each_of_an_area(RANKS, |area| {
        for number in 0..TIMES {
            let mut own = part(number, area.me());
            let length = own.len();
            await_until("its turn", || {
                area.is_open(number) && area.arrived(number) == area.me()
            });
            if area.me() == 0 {
                area.sign(number, area.result(), SIGNATURE);
            } else {
                assert_eq!(area.signature(number, area.result()), SIGNATURE);
                let mut before = vec![0; length];
                area.read(number, area.result(), length, 0, &mut before);
                add(&mut own, &before);
            }
            area.write(number, area.result(), length, 0, &own);
            if area.arrive(number) {
                area.finish(number, 1);
            }
            await_until("the result", || area.is_finished(number, 1));
            let mut result = vec![0; length];
            area.read(number, area.result(), length, 0, &mut result);
            assert!(result == sum(number, RANKS), "{number}");
            assert!(area.leave(number, SIGNATURE));
        }
    });
}

#[test]
fn what_all_post_all_read_however_far_some_are_ahead() {
    each_of_an_area(RANKS, |area| {
        for number in 0..2 * TIMES {
            let own = [(number as usize + area.me()) as u8; POST_BYTES];
            await_until("room", || (area.room().wrapping_sub(number) as i32) > 0);
            area.post(number, SIGNATURE, &own);
            await_until("the posts", || area.all_posted(number));
            assert!(area.all_signed(number, SIGNATURE));
            for rank in 0..RANKS {
                let mut other = [0; POST_BYTES];
                area.read_post(number, rank, (POST_BYTES, 0), &mut other);
                assert_eq!(other, [(number as usize + rank) as u8; POST_BYTES]);
            }
            area.clear(number);
        }
    });
}

#[test]
fn what_a_rank_calls_is_seen_whole_or_not_at_all() {
    each_of_an_area(2, |area| {
        for number in 0..u64::from(TIMES) {
            if area.me() == 0 {
                // All of them take the same place.
                let (sequence, signature) = (number * 32, !number);
                area.note_call(PastCall {
                    sequence,
                    signature,
                });
            } else if let Some(call) = area.call(0, 0) {
                assert_eq!(call.sequence % 32, 0);
                assert_eq!(call.signature, !(call.sequence / 32));
            }
        }
    });
}

#[test]
fn who_sleeps_on_its_word_reads_all_that_is_sent() {
    each(2, |me, segment| {
        let (memory, ring) = (segment.memory(), segment.ring(1, 0));
        if me == 0 {
            let mut producer = Producer::new(ring);
            for number in 0..TIMES {
                let pushed = producer.push(memory, 1, &number.to_ne_bytes(), &[1; 100]);
                assert_eq!(pushed, Ok(Some(100)), "there is room for all");
                segment.notify(1, 0);
            }
            return;
        }
        let mut consumer = Consumer::new(ring);
        for number in 0..TIMES {
            let mut record = consumer.peek(memory).expect("sound");
            await_until("a record", || {
                segment.silence(1, 0);
                record = consumer.peek(memory).expect("sound");
                if record.is_none() {
                    segment.lie_down(1, Asleep::OnWord);
                    if segment.bell(1, 0) == 0 {
                        segment.sleep(1, Some(PATIENCE));
                    }
                    segment.get_up(1);
                }
                record.is_some()
            });
            let record = record.expect("it is there");
            let mut bytes = [0; 104];
            memory.read(record.at, &mut bytes);
            assert_eq!(bytes[..4], number.to_ne_bytes());
            assert_eq!(bytes[4..], [1; 100]);
            consumer.pop(record);
            consumer.publish(memory);
        }
    });
}

/// Says where others can try this process's memory.
fn begin(segment: &Segment, me: usize) {
    let pid = std::process::id();
    let (value, address) = (0, 0);
    segment.set_token(
        me,
        Token {
            pid,
            value,
            address,
        },
    );
    segment.set_state(me, State::In);
    let other = 1 - me;
    await_until("the other one", || segment.state(other) == State::In);
}

#[test]
fn what_the_receiver_and_the_sender_copy_together_is_whole() {
    // Both take chunks of it.
    let length = if cfg!(miri) { 80 << 10 } else { 600 << 10 };
    let (barrier, done, address) = (Barrier::new(2), AtomicU32::new(0), AtomicU64::new(0));
    each(2, |me, segment| {
        begin(segment, me);
        let token = segment.token(1 - me);
        let mut bytes = vec![0; length];
        for number in 0..TIMES.min(200) {
            if me == 0 {
                bytes.fill(number as u8 + 1);
                let place = bytes.as_ptr().expose_provenance() as u64;
                address.store(place, SeqCst);
            }
            barrier.wait();
            if me == 0 {
                await_until("the receiver", || {
                    push_together(segment, (0, 1), token);
                    done.load(SeqCst) > number
                });
            } else {
                let place = address.load(SeqCst);
                assert!(pull_together(segment, (1, 0), (token, place), &mut bytes));
                assert!(bytes == vec![number as u8 + 1; length], "{number}");
                done.store(number + 1, SeqCst);
            }
            barrier.wait();
        }
    });
}

#[test]
fn two_make_one_half_each_in_the_memory_of_both() {
    const HALF: usize = 1000;
    let entered_both = Barrier::new(2);
    each_of_an_area(2, |area| {
        let me = area.me();
        begin(area.segment(), me);
        let halves = [0..HALF, HALF..2 * HALF];
        let mine = halves[me].clone();
        for number in 0..TIMES.min(500) {
            let input = vec![(number as usize + me) as u8; 2 * HALF];
            let mut own = vec![0; 2 * HALF];
            let signature = u64::from(number);
            let mut exposed = area.expose(Some(&input), &mut own, signature);
            let mut entered = None;
            await_until("what the other one exposes", || {
                entered = area.enter_other(2 * HALF, signature);
                entered.is_some()
            });
            let entered = entered.expect("it is exposed");
            entered_both.wait();
            let mut theirs = vec![0; HALF];
            entered.read(mine.start, &mut theirs).expect("exposed");
            let part = exposed.contribution(mine.clone());
            add(part, &theirs);
            entered.write(mine.start, part).expect("exposed");
            drop(entered);
            exposed.withdraw(halves.clone(), true);
            let sum = (2 * number as usize + 1) as u8;
            assert!(own == vec![sum; 2 * HALF], "{number}");
        }
    });
}
