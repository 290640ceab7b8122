//! Both ends of a ring in one thread.

use super::super::words::HeapWords;
use super::*;

const BYTES: usize = RING_HEADER_BYTES + 1024;

fn drain(consumer: &mut Consumer, words: &HeapWords, into: &mut Vec<u8>) {
    while let Some(record) = consumer.peek(words).expect("sound") {
        let mut bytes = vec![0; record.length];
        words.read(record.at, &mut bytes);
        into.extend_from_slice(&bytes);
        consumer.pop(record);
    }
}

#[test]
fn bytes_come_out_in_order_round_and_round() {
    let words = HeapWords::new(BYTES);
    let place = Place::new(0, BYTES);
    let (mut producer, mut consumer) = (Producer::new(place), Consumer::new(place));
    let (mut sent, mut seen) = (Vec::new(), Vec::new());
    for round in 0..if cfg!(miri) { 60 } else { 500_usize } {
        let bytes: Vec<u8> = (0..round % 250).map(|i| (i + round) as u8).collect();
        while producer
            .push(&words, 1, &bytes, &[])
            .expect("sound")
            .is_none()
        {
            assert!(
                !producer.want(&words).expect("sound"),
                "nothing was consumed"
            );
            drain(&mut consumer, &words, &mut seen);
            assert!(consumer.publish(&words), "the producer waits");
        }
        sent.extend_from_slice(&bytes);
    }
    drain(&mut consumer, &words, &mut seen);
    assert!(sent == seen);
}

#[test]
fn a_long_body_goes_in_pieces() {
    let words = HeapWords::new(BYTES);
    let place = Place::new(0, BYTES);
    let (mut producer, mut consumer) = (Producer::new(place), Consumer::new(place));
    let body = vec![7; 10_000];
    let (mut rest, mut seen) = (&body[..], Vec::new());
    while !rest.is_empty() {
        match producer.push(&words, 2, b"head", rest).expect("sound") {
            Some(taken) => rest = &rest[taken..],
            None => {
                drain(&mut consumer, &words, &mut seen);
                consumer.publish(&words);
            }
        }
    }
    drain(&mut consumer, &words, &mut seen);
    assert_eq!(seen.iter().filter(|&&byte| byte == 7).count(), 10_000);
}

#[test]
#[cfg_attr(miri, ignore = "too long for Miri, and one thread only")]
fn long_records_go_round_the_whole_ring_and_short_ones_stay_near() {
    const NEAR: usize = 40 * 1024;
    const WHOLE: usize = RING_HEADER_BYTES + 256 * 1024;
    let words = HeapWords::new(WHOLE);
    let place = Place::new(0, WHOLE);
    let mut producer = Producer::nearby(place, NEAR);
    let mut consumer = Consumer::new(place);
    let mut farthest = |producer: &mut Producer, body: &[u8], count: usize| {
        let (mut farthest, mut seen) = (0, Vec::new());
        for _ in 0..count {
            let mut rest = body;
            while !rest.is_empty() {
                let pushed = producer.push(&words, 2, &[], rest).expect("sound");
                rest = &rest[pushed.unwrap_or(0)..];
                while let Some(record) = consumer.peek(&words).expect("sound") {
                    farthest = farthest.max(record.at + record.length);
                    let mut bytes = vec![0; record.length];
                    words.read(record.at, &mut bytes);
                    seen.extend_from_slice(&bytes);
                    consumer.pop(record);
                }
                consumer.publish(&words);
            }
        }
        assert!(seen == body.repeat(count));
        farthest
    };
    let limit = RING_HEADER_BYTES + NEAR;
    assert!(
        farthest(&mut producer, &[7; 30_000], 20) <= limit,
        "not yet"
    );
    producer.go_far();
    assert!(farthest(&mut producer, &[8; 30_000], 20) > WHOLE - NEAR);
    // Once round, and then near again.
    farthest(&mut producer, &[9; 900], 300);
    assert!(farthest(&mut producer, &[9; 900], 300) <= limit);
}

#[test]
fn long_records_that_are_answered_one_by_one_stay_near() {
    const NEAR: usize = 40 * 1024;
    const WHOLE: usize = RING_HEADER_BYTES + 256 * 1024;
    let words = HeapWords::new(WHOLE);
    let place = Place::new(0, WHOLE);
    let mut producer = Producer::nearby(place, NEAR);
    let mut consumer = Consumer::new(place);
    producer.go_far();
    let mut farthest = |producer: &mut Producer, at_once: usize, count: usize| {
        let mut farthest = 0;
        for index in 1..=count {
            let body = [index as u8; 8000];
            let pushed = producer.push(&words, 2, &[], &body).expect("sound");
            assert_eq!(pushed, Some(body.len()), "there is room");
            producer.prepare(&words);
            if index % at_once == 0 {
                while let Some(record) = consumer.peek(&words).expect("sound") {
                    farthest = farthest.max(record.at + record.length);
                    consumer.pop(record);
                }
                consumer.publish(&words);
                producer.answered();
                producer.answered();
            }
        }
        farthest
    };
    let limit = RING_HEADER_BYTES + NEAR;
    farthest(&mut producer, 1, 2);
    assert!(farthest(&mut producer, 1, 100) <= limit);
    assert!(farthest(&mut producer, 4, 100) > WHOLE - NEAR, "a stream");
    farthest(&mut producer, 1, 2);
    assert!(farthest(&mut producer, 1, 100) <= limit, "no more");
}

#[test]
fn a_roaming_producer_does_not_run_far_ahead() {
    const WHOLE: usize = RING_HEADER_BYTES + 256 * 1024;
    let words = HeapWords::new(WHOLE);
    let mut producer = Producer::nearby(Place::new(0, WHOLE), 40 * 1024);
    producer.go_far();
    let mut written = 0;
    while let Some(count) = producer.push(&words, 2, &[], &[1; 100_000]).expect("sound") {
        written += count;
    }
    assert!((64 * 1024 - 100..96 * 1024).contains(&written), "{written}");
}

#[test]
fn nonsense_is_found() {
    let words = HeapWords::new(BYTES);
    let place = Place::new(0, BYTES);
    let mut consumer = Consumer::new(place);
    for word in [5, 1 << 28 | 100_000, 15 << 28] {
        words.store(RING_HEADER_BYTES, word, Relaxed);
        assert!(consumer.peek(&words).is_err(), "{word:#x}");
    }
    let mut producer = Producer::new(place);
    words.store(HEAD, 4000, Relaxed);
    while let Ok(pushed) = producer.push(&words, 1, &[0; 100], &[]) {
        assert!(
            pushed.is_some(),
            "the ring cannot fill up before head is read"
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "too long for Miri, and one thread only")]
fn a_consumer_may_keep_a_little_room_back() {
    for (near, bytes) in [(40 * 1024, 256 * 1024), (BYTES, BYTES)] {
        let words = HeapWords::new(bytes);
        let place = Place::new(0, bytes);
        let mut producer = Producer::nearby(place, near.min(bytes - RING_HEADER_BYTES));
        let mut consumer = Consumer::new(place);
        let longest = vec![1; place.content_max()];
        for index in 0..1000_usize {
            let body = &longest[..index * 97 % (longest.len() + 1)];
            let pushed = producer.push(&words, 2, &[], body).expect("sound");
            assert_eq!(pushed, Some(body.len()), "there is room: {index}");
            let record = consumer.peek(&words).expect("sound").expect("there");
            consumer.pop(record);
            if consumer.owes_some() {
                consumer.publish(&words);
            }
        }
    }
}
