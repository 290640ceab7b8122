//! Two engines and a network between them.

use phalanx::base::ids::{Context, Epoch, Peer};
use phalanx::engine::{
    Action, BufferId, Capacity, Engine, EngineConfig, Failure, Incoming, Mode, OpenWork, Outgoing,
    Owner, Pattern, Route, SendId, SendStart,
};
use phalanx::wire::header::{Header, Kind};

pub(crate) const A: Peer = Peer(0);
pub(crate) const B: Peer = Peer(1);
pub(crate) const USER: Context = Context(16);
pub(crate) const WINDOW: u64 = 16 * 1024;

pub(crate) fn engine(me: Peer, size: u32) -> Engine {
    Engine::new(EngineConfig {
        me,
        size,
        epoch: Epoch(0),
        route: Route {
            eager_bytes_max: 1000,
            pull: false,
        },
        unexpected_bytes_max: 0,
    })
}

/// Two ranks and an instant network between them that loses no time and no order.
pub(crate) struct Pair {
    pub(crate) ends: [Engine; 2],
    /// Frames that were transmitted, for the story to look at.
    pub(crate) wire: Vec<(Peer, Header)>,
    /// What was completed, and where.
    pub(crate) done: Vec<(Peer, Action)>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            ends: [engine(A, 2), engine(B, 2)],
            wire: Vec::new(),
            done: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, from: Peer, message: Outgoing) -> SendStart {
        let start = self.ends[from.index()].send(message);
        if let SendStart::Now(header) = start {
            self.deliver(from, header);
        }
        start
    }

    pub(crate) fn later(&mut self, from: Peer, message: Outgoing) -> SendId {
        match self.send(from, message) {
            SendStart::Later(id) => id,
            other => panic!("expected to go on later: {other:?}"),
        }
    }

    pub(crate) fn deliver(&mut self, from: Peer, header: Header) {
        self.wire.push((from, header));
        let to = &mut self.ends[1 - from.index()];
        let landing = to.arrive(from, &header).expect("sense");
        to.landed(landing);
    }

    /// Performs everything until nothing happens any more.
    pub(crate) fn run(&mut self) {
        while let Some((me, action)) = self.step() {
            match action {
                Action::Transmit { header, .. } => self.deliver(me, header),
                Action::TransmitPart { header, send, .. } => {
                    self.deliver(me, header);
                    self.ends[me.index()].part_sent(send, header.length);
                }
                Action::Pull { recv, .. } => self.ends[me.index()].pulled(recv, true),
                other => self.done.push((me, other)),
            }
        }
    }

    pub(crate) fn step(&mut self) -> Option<(Peer, Action)> {
        let a = self.ends[0].poll_action().map(|action| (A, action));
        a.or_else(|| self.ends[1].poll_action().map(|action| (B, action)))
    }

    pub(crate) fn kinds(&mut self) -> Vec<(Peer, Kind)> {
        self.wire
            .drain(..)
            .map(|(from, header)| (from, header.kind))
            .collect()
    }

    pub(crate) fn received(&self) -> Vec<Result<u64, Failure>> {
        let outcome = |(_, action): &(Peer, Action)| match action {
            Action::RecvDone { outcome, .. } => Some(outcome.map(|envelope| envelope.tag)),
            _ => None,
        };
        self.done.iter().filter_map(outcome).collect()
    }

    pub(crate) fn assert_idle(&self) {
        for end in &self.ends {
            assert_eq!(end.open_work(), OpenWork::default());
        }
    }
}

pub(crate) fn message(tag: u64, length: u64) -> Outgoing {
    Outgoing {
        to: B,
        context: USER,
        tag,
        check: 7,
        length,
        mode: Mode::Standard,
        buffer: BufferId(tag),
        owner: Owner {
            request: tag,
            step: Owner::WHOLE,
        },
    }
}

pub(crate) fn from_a(tag: u64) -> Incoming {
    Incoming {
        pattern: Pattern {
            context: USER,
            source: Some(A),
            tag: Some(tag),
        },
        check: 7,
        capacity: Capacity::Growable,
        buffer: BufferId(1000 + tag),
        owner: Owner {
            request: tag,
            step: Owner::WHOLE,
        },
    }
}

pub(crate) fn header(kind: Kind, source: Peer) -> Header {
    Header {
        context: USER,
        check: 7,
        ..Header::new(kind, Epoch(0), source)
    }
}
