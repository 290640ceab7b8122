//! The protocols of shared memory under every interleaving, and every order of memory that the processor
//! may choose, as far as the model checker `loom` knows them.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread;

use phalanx::base::bell::{self, Asleep};
use phalanx::base::cell;
use phalanx::base::ring::{Consumer, Place, Producer, RING_HEADER_BYTES};
use phalanx::base::share::{self, End, TERMS_BYTES};
use phalanx::base::words::{LINE_BYTES, Words};

/// Shared memory in which the checker sees every access. Bytes are read and written as relaxed words.
struct Model(Vec<AtomicU32>);

impl Model {
    fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self((0..bytes / 4).map(|_| AtomicU32::new(0)).collect()))
    }
}

impl Words for Model {
    fn load(&self, at: usize, order: Ordering) -> u32 {
        self.0[at / 4].load(order)
    }
    fn store(&self, at: usize, value: u32, order: Ordering) {
        self.0[at / 4].store(value, order);
    }
    fn swap(&self, at: usize, value: u32) -> u32 {
        self.0[at / 4].swap(value, Ordering::SeqCst)
    }
    fn set_bits(&self, at: usize, bits: u32) -> u32 {
        self.0[at / 4].fetch_or(bits, Ordering::SeqCst)
    }
    fn clear_bits(&self, at: usize, bits: u32) -> u32 {
        self.0[at / 4].fetch_and(!bits, Ordering::SeqCst)
    }
    fn add(&self, at: usize, value: u32) -> u32 {
        self.0[at / 4].fetch_add(value, Ordering::SeqCst)
    }
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
    fn read(&self, at: usize, into: &mut [u8]) {
        for (index, bytes) in into.chunks_mut(4).enumerate() {
            let word = self.load(at + 4 * index, Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
    }
    fn write(&self, at: usize, from: &[u8]) {
        for (index, bytes) in from.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            self.store(at + 4 * index, u32::from_ne_bytes(word), Ordering::Relaxed);
        }
    }
}

const RING_BYTES: usize = RING_HEADER_BYTES + 16 * LINE_BYTES;

fn read(consumer: &mut Consumer, words: &Model) -> Option<u32> {
    let record = consumer.peek(words).expect("sound")?;
    let mut bytes = [0; 4];
    words.read(record.at, &mut bytes);
    consumer.pop(record);
    Some(u32::from_ne_bytes(bytes))
}

#[test]
fn what_is_read_from_a_ring_is_what_was_written() {
    loom::model(|| {
        let words = Model::new(RING_BYTES);
        let place = Place::new(0, RING_BYTES);
        let theirs = Arc::clone(&words);
        let writer = thread::spawn(move || {
            let mut producer = Producer::new(place);
            for value in [7_u32, 8] {
                let pushed = producer.push(&*theirs, 1, &value.to_ne_bytes(), &[]);
                assert_eq!(pushed, Ok(Some(0)));
            }
        });
        let mut consumer = Consumer::new(place);
        let mut seen: Vec<u32> = (0..2).filter_map(|_| read(&mut consumer, &words)).collect();
        writer.join().expect("writes");
        seen.extend(std::iter::from_fn(|| read(&mut consumer, &words)));
        assert_eq!(seen, [7, 8]);
    });
}

#[test]
fn a_producer_without_room_is_told_when_there_is_some() {
    loom::model(|| {
        let words = Model::new(RING_BYTES);
        let place = Place::new(0, RING_BYTES);
        let (mut producer, mut consumer) = (Producer::new(place), Consumer::new(place));
        while producer.push(&*words, 1, &[1; 4], &[]) == Ok(Some(0)) {}
        let theirs = Arc::clone(&words);
        let reader = thread::spawn(move || {
            read(&mut consumer, &theirs).expect("it is full");
            consumer.publish(&*theirs)
        });
        let sees_room = producer.want(&*words).expect("sound");
        let told = reader.join().expect("reads");
        assert!(sees_room || told, "it would wait for ever");
        assert_eq!(producer.push(&*words, 1, &[2; 4], &[]), Ok(Some(0)));
    });
}

/// Places for the sleeper: its parking word and doorbell, each on a line of its own, behind the ring.
const PARK: usize = RING_BYTES;
const BELL: usize = RING_BYTES + LINE_BYTES;
const BIT: u32 = 2;

/// A reader that listens to its bell only: sends and sleeps overlap.
#[test]
fn who_sleeps_is_woken_or_has_seen_the_bell() {
    loom::model(|| {
        let words = Model::new(RING_BYTES + 2 * LINE_BYTES);
        let place = Place::new(0, RING_BYTES);
        let theirs = Arc::clone(&words);
        let sender = thread::spawn(move || {
            let mut producer = Producer::new(place);
            producer
                .push(&*theirs, 1, &[1; 4], &[])
                .expect("sound")
                .expect("room");
            bell::notify(&*theirs, BELL, BIT, PARK).is_some()
        });
        bell::lie_down(&*words, PARK, Asleep::OnWord);
        let sleeps = bell::rung(&*words, BELL) == 0;
        let woken = sender.join().expect("sends");
        assert!(!sleeps || woken, "it would sleep for ever");
    });
}

/// A reader whose bit is set, because it looks at the ring anyway, and who now goes to sleep.
#[test]
fn who_stops_looking_at_a_ring_misses_nothing() {
    loom::model(|| {
        let words = Model::new(RING_BYTES + 2 * LINE_BYTES);
        let place = Place::new(0, RING_BYTES);
        words.store(BELL, BIT, Ordering::Relaxed);
        let theirs = Arc::clone(&words);
        let sender = thread::spawn(move || {
            let mut producer = Producer::new(place);
            producer
                .push(&*theirs, 1, &[1; 4], &[])
                .expect("sound")
                .expect("room");
            bell::notify(&*theirs, BELL, BIT, PARK).is_some()
        });
        let mut consumer = Consumer::new(place);
        bell::silence(&*words, BELL, BIT);
        let mut awake = consumer.peek(&*words).expect("sound").is_some();
        if !awake {
            bell::lie_down(&*words, PARK, Asleep::OnWord);
            awake = bell::rung(&*words, BELL) != 0;
        }
        let woken = sender.join().expect("sends");
        assert!(awake || woken, "it would sleep for ever");
        assert!(consumer.peek(&*words).expect("sound").is_some());
    });
}

/// Where the model notes what the operating system knows of a rank that sleeps in its poll: datagrams that it has
/// not read, and sockets that are ready.
const CALLS: usize = RING_BYTES + 2 * LINE_BYTES;
const READY: usize = CALLS + 4;

/// A reader that sleeps in its poll, where a socket may end its sleep at the same time, and that sleeps once
/// more: who brings news calls where it sleeps now, or it has seen the bell.
#[test]
fn who_sleeps_in_the_poll_is_called_or_has_seen_the_bell() {
    loom::model(|| {
        let words = Model::new(RING_BYTES + 3 * LINE_BYTES);
        let theirs = Arc::clone(&words);
        let sender = thread::spawn(move || {
            if let Some(place) = bell::notify(&*theirs, BELL, BIT, PARK) {
                assert_eq!(place, Asleep::InPoll, "nobody sleeps on the word");
                theirs.add(CALLS, 1);
            }
        });
        let theirs = Arc::clone(&words);
        let socket = thread::spawn(move || theirs.store(READY, 1, Ordering::Release));
        let mut sees_bell = false;
        for _ in 0..2 {
            bell::lie_down(&*words, PARK, Asleep::InPoll);
            sees_bell = bell::rung(&*words, BELL) != 0;
            let ready = words.swap(READY, 0) != 0;
            let called = words.swap(CALLS, 0) != 0;
            if sees_bell || called || !ready {
                sees_bell |= called;
                break; // It has the news, or sleeps until it is called.
            }
            words.store(PARK, 0, Ordering::SeqCst); // It gets up, finds nothing else, and lies down again.
        }
        sender.join().expect("sends");
        socket.join().expect("becomes ready");
        let called = words.load(CALLS, Ordering::Relaxed) != 0;
        assert!(sees_bell || called, "it would sleep for ever");
    });
}

/// Where the model has a shared copy: its owner's line, the helper's word, two chunks, and whether the owner uses the
/// memory for something else.
const SHARE: usize = 0;
const HELPING: usize = LINE_BYTES;
const CHUNK: usize = 2 * LINE_BYTES;
const REUSED: usize = CHUNK + 8;
const OWNER: u32 = 0;
const HELPER: u32 = 1;

fn copy_chunks(words: &Model, end: End, value: u32) {
    while let Some((index, last)) = share::claim(words, SHARE, end, 2) {
        let reused = words.load(REUSED, Ordering::Relaxed);
        assert_eq!(reused, 0, "the owner uses this memory for something else");
        let at = CHUNK + 4 * index as usize;
        let before = words.load(at, Ordering::Relaxed);
        assert_eq!(before, 0, "it was copied already");
        words.store(at, value, Ordering::Relaxed);
        if last {
            break;
        }
    }
}

/// One who helps, whenever it comes; and an owner that uses the memory for something else afterwards.
#[test]
fn what_two_copy_is_whole_and_nobody_writes_to_it_afterwards() {
    loom::model(|| {
        let words = Model::new(CHUNK + LINE_BYTES);
        let theirs = Arc::clone(&words);
        let helper = thread::spawn(move || {
            if !share::wants(&*theirs, SHARE, HELPER) {
                return;
            }
            let joined = share::join(&*theirs, (SHARE, OWNER), (HELPING, HELPER));
            if let Some(terms) = joined {
                let value = u32::from(terms[0]);
                copy_chunks(&theirs, End::Back, value);
                share::leave(&*theirs, HELPING);
            }
        });
        share::open(&*words, SHARE, HELPER, 2, &[7; TERMS_BYTES]);
        copy_chunks(&words, End::Front, 7);
        share::close(&*words, SHARE);
        while share::is_helped(&*words, HELPING, OWNER) {
            thread::yield_now();
        }
        for at in [CHUNK, CHUNK + 4] {
            assert_eq!(words.load(at, Ordering::Relaxed), 7);
        }
        words.store(REUSED, 1, Ordering::Relaxed);
        helper.join().expect("helps");
    });
}

/// Where the model has a cell, the result in it, and what its sleeper is woken by.
const CELL: usize = 0;
const RESULT: usize = LINE_BYTES;
const CELL_BELL: usize = 2 * LINE_BYTES;
const CELL_PARK: usize = 3 * LINE_BYTES;
const SIGNATURE: u32 = 7;

/// Looks twice, and lets others run between: where somebody comes too early even so there is nothing to be seen.
fn sees(ready: impl Fn() -> bool) -> bool {
    if ready() {
        return true;
    }
    thread::yield_now();
    ready()
}

/// One rank of a chain of so many adds to the result, when all before it have.
fn add_in_turn(words: &Model, (rank, ranks): (u32, u32), turn: u32) -> bool {
    if !sees(|| cell::turn(words, CELL) == turn && cell::arrived(words, CELL) == rank) {
        return false;
    }
    let before = match rank {
        0 => 0,
        _ => words.load(RESULT, Ordering::Relaxed),
    };
    assert_eq!(before, sum_of(turn, rank));
    words.store(RESULT, before + part_of(turn, rank), Ordering::Relaxed);
    if cell::arrive(words, CELL) + 1 == ranks {
        cell::finish(words, CELL);
    }
    true
}

/// Takes the result, if it is there, and leaves.
fn take_result(words: &Model, ranks: u32, turn: u32) -> bool {
    if !sees(|| cell::finished(words, CELL) > 0) {
        return false;
    }
    let sum = words.load(RESULT, Ordering::Relaxed);
    assert_eq!(sum, sum_of(turn, ranks));
    let all_agree = cell::leave(words, CELL, (ranks, turn + 1), SIGNATURE);
    assert_ne!(all_agree, Some(false));
    true
}

fn part_of(turn: u32, rank: u32) -> u32 {
    10 * turn + rank + 1
}

/// What so many ranks have added up.
fn sum_of(turn: u32, ranks: u32) -> u32 {
    (0..ranks).map(|rank| part_of(turn, rank)).sum()
}

/// All interleavings of what ranks do with a cell. In some of them all are in time.
fn chain(ranks: u32, play: fn(&Model, u32) -> bool) {
    let whole = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&whole);
    loom::model(move || {
        let words = Model::new(2 * LINE_BYTES);
        let others: Vec<_> = (0..ranks - 1)
            .map(|rank| {
                let words = Arc::clone(&words);
                thread::spawn(move || play(&words, rank))
            })
            .collect();
        let mut all = play(&words, ranks - 1);
        for rank in others {
            all &= rank.join().expect("adds");
        }
        if all {
            seen.store(true, Ordering::Relaxed);
        }
    });
    assert!(whole.load(Ordering::Relaxed), "they are never in time");
}

#[test]
fn each_of_a_chain_adds_to_what_all_before_it_have_made() {
    chain(3, |words, rank| add_in_turn(words, (rank, 3), 0));
}

#[test]
fn nobody_adds_to_a_cell_that_others_still_read() {
    chain(2, |words, rank| {
        (0..2).all(|turn| add_in_turn(words, (rank, 2), turn) && take_result(words, 2, turn))
    });
}

/// Goes to sleep over a cell, unless it sees what it waits for. `true` when it sleeps.
fn sleeps_over_cell(words: &Model, ready: impl Fn() -> bool) -> bool {
    cell::will_sleep(words, CELL);
    if ready() {
        return false;
    }
    bell::lie_down(words, CELL_PARK, Asleep::OnWord);
    bell::rung(words, CELL_BELL) == 0
}

/// Two ranks change something, and the third sleeps over it: who waits for its turn is called by the one before it,
/// who waits for the result by the last one, who waits for room by the last one to leave.
fn somebody_wakes_the_sleeper(
    change: impl Fn(&Model) -> bool + Clone + Send + Sync + 'static,
    ready: impl Fn(&Model) -> bool + Send + Sync + 'static,
) {
    loom::model(move || {
        let words = Model::new(4 * LINE_BYTES);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (words, change) = (Arc::clone(&words), change.clone());
                thread::spawn(move || {
                    change(&words) && bell::notify(&*words, CELL_BELL, BIT, CELL_PARK).is_some()
                })
            })
            .collect();
        let sleeps = sleeps_over_cell(&words, || ready(&words));
        let woken = others
            .into_iter()
            .fold(false, |woken, rank| woken | rank.join().expect("changes"));
        assert!(!sleeps || woken, "it would sleep for ever");
    });
}

#[test]
fn who_sleeps_until_its_turn_is_called() {
    somebody_wakes_the_sleeper(
        |words| cell::arrive(words, CELL) == 1,
        |words| cell::arrived(words, CELL) == 2,
    );
}

#[test]
fn who_sleeps_until_the_result_is_there_is_called() {
    somebody_wakes_the_sleeper(
        |words| cell::finish(words, CELL) == 1 && cell::has_sleepers(words, CELL),
        |words| cell::finished(words, CELL) == 2,
    );
}

#[test]
fn who_sleeps_until_a_cell_is_open_is_called() {
    somebody_wakes_the_sleeper(
        |words| {
            let last = cell::leave(words, CELL, (2, 1), SIGNATURE).is_some();
            last && cell::has_sleepers(words, CELL)
        },
        |words| cell::turn(words, CELL) == 1,
    );
}
