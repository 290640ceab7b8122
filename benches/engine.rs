//! What matching and the small-message path cost, without any network.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use phalanx::base::ids::{Context, Epoch, Peer};
use phalanx::engine::{
    BufferId, Capacity, Engine, EngineConfig, Incoming, Mode, Outgoing, Owner, Pattern, Route,
    SendStart,
};
use phalanx::wire::header::{Flags, Header, Kind};

const A: Peer = Peer(0);
const B: Peer = Peer(1);
const DEPTHS: [u64; 3] = [1, 100, 4000];

fn engine(me: Peer) -> Engine {
    Engine::new(EngineConfig {
        me,
        size: 2,
        epoch: Epoch(0),
        route: Route {
            eager_bytes_max: 4096,
            pull: false,
        },
        unexpected_bytes_max: 64 << 20,
    })
}

fn incoming(source: Peer, tag: Option<u64>) -> Incoming {
    Incoming {
        pattern: Pattern {
            context: Context::WORLD,
            source: Some(source),
            tag,
        },
        check: 0,
        capacity: Capacity::Fixed(8),
        buffer: BufferId(0),
        owner: Owner {
            request: 0,
            step: Owner::WHOLE,
        },
    }
}

fn outgoing(to: Peer, tag: u64, length: u64) -> Outgoing {
    Outgoing {
        to,
        context: Context::WORLD,
        tag,
        check: 0,
        length,
        mode: Mode::Standard,
        buffer: BufferId(0),
        owner: Owner {
            request: 0,
            step: Owner::WHOLE,
        },
    }
}

fn drain(engine: &mut Engine) {
    while let Some(action) = engine.poll_action() {
        black_box(action);
    }
}

fn eager(source: Peer, tag: u64) -> Header {
    Header {
        tag,
        length: 8,
        ..Header::new(Kind::Eager, Epoch(0), source)
    }
}

/// Arrives, lands, completes.
fn land(engine: &mut Engine, from: Peer, header: &Header) {
    let landing = engine.arrive(from, header).unwrap();
    engine.landed(landing);
    drain(engine);
}

/// A message arrives for the receive that was posted last, behind `depth` others.
fn posted(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/arriving against posted");
    for depth in DEPTHS {
        let mut receiver = engine(B);
        for tag in 0..depth {
            receiver.recv(incoming(A, Some(tag)));
        }
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter(|| {
                receiver.recv(incoming(A, Some(depth)));
                land(&mut receiver, A, &eager(A, depth));
            });
        });
    }
}

/// A receive comes for the message that arrived last, behind `depth` others.
fn unexpected(c: &mut Criterion, name: &str, wild: bool) {
    let mut group = c.benchmark_group(name);
    for depth in DEPTHS {
        let mut receiver = engine(B);
        // Announced by grants: the window holds fewer.
        let grant = Header::new(Kind::Starved, Epoch(0), A);
        for tag in 0..depth {
            if tag % 256 == 0 {
                let waits = receiver.recv(incoming(A, Some(u64::MAX >> 1)));
                receiver.arrive(A, &grant).unwrap();
                receiver.cancel(waits);
            }
            let request = Header {
                kind: Kind::Request,
                flags: Flags::NONE,
                token: (1 << 32) | tag,
                ..eager(A, tag)
            };
            receiver.arrive(A, &request).unwrap();
            drain(&mut receiver);
        }
        if wild {
            let anything = Pattern {
                tag: None,
                ..incoming(A, None).pattern
            };
            black_box(receiver.probe(&anything));
        }
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter(|| {
                land(&mut receiver, A, &eager(A, depth));
                receiver.recv(incoming(A, Some(depth)));
                drain(&mut receiver);
            });
        });
    }
}

fn unexpected_exact(c: &mut Criterion) {
    unexpected(c, "engine/receive against unexpected", false);
}

fn unexpected_wild(c: &mut Criterion) {
    unexpected(
        c,
        "engine/receive against unexpected, wildcards in use",
        true,
    );
}

fn eager_send(c: &mut Criterion) {
    let mut sender = engine(A);
    let credit = Header {
        length: 256 + 8,
        ..Header::new(Kind::Credit, Epoch(0), B)
    };
    c.bench_function("engine/eager send with its credit", |bencher| {
        bencher.iter(|| {
            let start = sender.send(black_box(outgoing(B, 7, 8)));
            assert!(matches!(black_box(start), SendStart::Now(_)));
            sender.arrive(B, &credit).unwrap();
        });
    });
}

/// One message from `from` to the other, with everything that it causes.
fn pass(ends: &mut [Engine; 2], from: usize, length: u64) {
    let (me, to) = (Peer(from as u32), Peer(1 - from as u32));
    ends[1 - from].recv(incoming(me, Some(7)));
    if let SendStart::Now(header) = ends[from].send(outgoing(to, 7, length)) {
        let landing = ends[1 - from].arrive(me, &header).unwrap();
        ends[1 - from].landed(landing);
    }
    loop {
        let mut idle = true;
        for end in 0..2 {
            while let Some(action) = ends[end].poll_action() {
                idle = false;
                perform(ends, end, action);
            }
        }
        if idle {
            break;
        }
    }
}

fn perform(ends: &mut [Engine; 2], end: usize, action: phalanx::engine::Action) {
    use phalanx::engine::Action;
    let from = Peer(end as u32);
    let header = match action {
        Action::Transmit { header, .. } | Action::TransmitPart { header, .. } => header,
        other => {
            black_box(other);
            return;
        }
    };
    let landing = ends[1 - end].arrive(from, &header).unwrap();
    ends[1 - end].landed(landing);
    if let Action::TransmitPart { send, header, .. } = action {
        ends[end].part_sent(send, header.length);
    }
}

fn ping_pong(c: &mut Criterion) {
    for (name, length) in [("eager", 8), ("rendezvous", 100_000)] {
        let mut ends = [engine(A), engine(B)];
        c.bench_function(&format!("engine/ping-pong, {name}"), |bencher| {
            bencher.iter(|| {
                pass(&mut ends, 0, length);
                pass(&mut ends, 1, length);
            });
        });
    }
}

criterion_group!(
    benches,
    posted,
    unexpected_exact,
    unexpected_wild,
    eager_send,
    ping_pong
);
criterion_main!(benches);
