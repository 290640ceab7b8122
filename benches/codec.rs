//! What it costs to turn frame headers and control messages into bytes and back.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use phalanx::base::ids::{Epoch, Peer};
use phalanx::wire::control::{Decoder, FromDaemon, Stream, encode};
use phalanx::wire::header::{Header, Kind};

fn header(criterion: &mut Criterion) {
    let header = Header {
        tag: 7,
        length: 8,
        check: 0x0123_4567_89ab_cdef,
        ..Header::new(Kind::Eager, Epoch(1), Peer(3))
    };
    let bytes = header.encode();
    let mut group = criterion.benchmark_group("codec/frame header");
    group.bench_function("encode", |bencher| {
        bencher.iter(|| black_box(&header).encode());
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Header::decode(black_box(&bytes)));
    });
}

fn control(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec/control");
    for (name, length) in [("line of 80 B", 80), ("piece of 32 KiB", 32 * 1024)] {
        let message = FromDaemon::Printed {
            rank: 3,
            stream: Stream::Output,
            bytes: vec![b'x'; length],
        };
        let bytes = encode(&message).expect("short");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| encode(black_box(&message)).expect("short"));
        });
        let mut decoder = Decoder::default();
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| {
                decoder.extend(black_box(&bytes));
                decoder.next::<FromDaemon>().expect("sound").expect("whole")
            });
        });
    }
}

criterion_group!(benches, header, control);
criterion_main!(benches);
