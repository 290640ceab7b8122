//! One rank of the virtual network: an engine, its memory, and what it has been told.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use phalanx::base::ids::Peer;
use phalanx::engine::matching::NodeId;
use phalanx::engine::{
    Action, BufferId, Capacity, Engine, Envelope, Failure, Incoming, Pattern, RecvId, SendId,
};
use phalanx::wire::header::Header;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use super::judge::{Judge, Message};

/// Random bytes; a prime number of them, so that no part of a message resembles another part.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; 4099];
    SmallRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
});

/// The bytes of a message.
pub fn payload(serial: usize, length: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length as usize);
    let mut begin = serial * 37 % NOISE.len();
    while bytes.len() < length as usize {
        let piece = (NOISE.len() - begin).min(length as usize - bytes.len());
        bytes.extend_from_slice(&NOISE[begin..begin + piece]);
        begin = 0;
    }
    bytes
}

pub fn send_buffer(serial: usize) -> BufferId {
    BufferId(serial as u64 * 2)
}

pub fn serial_of(buffer: BufferId) -> usize {
    assert!(buffer.0 % 2 == 0, "a receive buffer is sent");
    (buffer.0 / 2) as usize
}

fn recv_buffer(owner: u64) -> BufferId {
    BufferId(owner * 2 + 1)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvFate {
    Open,
    Done,
    GivenUp,
}

#[derive(Clone, Copy, Debug)]
pub struct Recv {
    pub id: RecvId,
    pub incoming: Incoming,
    pub fate: RecvFate,
}

/// What is still to be done, in order.
#[derive(Debug)]
pub enum Todo {
    Engine(Action),
    Eager(Header, usize),
}

pub struct Node {
    pub me: Peer,
    pub size: u32,
    pub alive: bool,
    pub engine: Engine,
    pub judge: Judge,
    /// Buffers of sends and receives that the program has lent to the engine.
    pub memory: HashMap<BufferId, Vec<u8>>,
    /// Ends of withdrawn messages that are still being written.
    pub kept: HashMap<BufferId, Vec<u8>>,
    pub staged: HashMap<NodeId, (Peer, Vec<u8>)>,
    pub todo: VecDeque<Todo>,
    /// Sends that are not complete.
    pub sends: HashMap<usize, SendId>,
    pub tokens: HashMap<u64, usize>,
    pub recvs: Vec<Recv>,
    /// Messages for this rank that its last receives have to take.
    pub leftovers: Vec<usize>,
}

impl Node {
    pub fn new(engine: Engine, me: Peer, size: u32) -> Self {
        Self {
            me,
            size,
            alive: true,
            engine,
            judge: Judge::default(),
            memory: HashMap::new(),
            kept: HashMap::new(),
            staged: HashMap::new(),
            todo: VecDeque::new(),
            sends: HashMap::new(),
            tokens: HashMap::new(),
            recvs: Vec::new(),
            leftovers: Vec::new(),
        }
    }

    pub fn everybody_gone(&self) -> bool {
        self.size > 1 && self.judge.gone_count() + 1 >= self.size as usize
    }

    pub fn post(&mut self, pattern: Pattern, check: u64, capacity: Capacity) -> u64 {
        let owner = self.recvs.len() as u64;
        let buffer = recv_buffer(owner);
        let bytes = match capacity {
            Capacity::Fixed(bytes) => vec![0xEE; bytes as usize],
            Capacity::Growable => Vec::new(),
        };
        self.memory.insert(buffer, bytes);
        self.judge.post(owner, pattern, self.everybody_gone());
        let incoming = Incoming {
            pattern,
            check,
            capacity,
            buffer,
            owner: phalanx::engine::Owner {
                request: owner,
                step: phalanx::engine::Owner::WHOLE,
            },
        };
        let id = self.engine.recv(incoming);
        let fate = RecvFate::Open;
        self.recvs.push(Recv { id, incoming, fate });
        owner
    }

    pub fn cancel(&mut self, owner: u64) -> bool {
        let recv = &mut self.recvs[owner as usize];
        let unmatched = self.judge.cancel(owner);
        if recv.fate != RecvFate::Open {
            return false;
        }
        let pair = self.judge.pairs.get(&owner);
        let answer = self.engine.cancel(recv.id);
        assert_eq!(
            answer, unmatched,
            "cancel of {recv:?}, paired with {pair:?}"
        );
        if unmatched {
            recv.fate = RecvFate::GivenUp;
            self.memory.remove(&recv_buffer(owner));
        }
        unmatched
    }

    pub fn abandon(&mut self, owner: u64) {
        let recv = &mut self.recvs[owner as usize];
        if recv.fate == RecvFate::Open {
            self.judge.cancel(owner);
            self.engine.abandon(recv.id);
            recv.fate = RecvFate::GivenUp;
            self.memory.remove(&recv_buffer(owner));
        }
    }

    pub fn probe(&mut self, pattern: &Pattern) -> bool {
        let found = self.engine.probe(pattern);
        let expected = self.judge.probe(pattern);
        assert_eq!(found, expected.map(envelope), "probe of {pattern:?}");
        found.is_some()
    }

    /// Memory for a message that lands at once; `None` when the program has given it up.
    pub fn landing_memory(&mut self, buffer: BufferId, message: u64) -> Option<&mut Vec<u8>> {
        let recv = self.recvs[(buffer.0 / 2) as usize].incoming;
        let bytes = self.memory.get_mut(&buffer)?;
        if recv.capacity == Capacity::Growable && bytes.is_empty() {
            bytes.resize(message as usize, 0xEE);
        }
        Some(bytes)
    }

    pub fn check_recv_done(
        &mut self,
        owner: u64,
        outcome: Result<Envelope, Failure>,
        messages: &[Message],
        withdrawn: &[bool],
    ) {
        let recv = &mut self.recvs[owner as usize];
        if recv.fate == RecvFate::GivenUp {
            return; // The action was on its way when the program gave the receive up.
        }
        assert_eq!(recv.fate, RecvFate::Open, "{recv:?} completes twice");
        recv.fate = RecvFate::Done;
        let bytes = self
            .memory
            .remove(&recv_buffer(owner))
            .expect("an open receive has memory");
        let incoming = recv.incoming;
        let Some(&serial) = self.judge.pairs.get(&owner) else {
            let Err(Failure::PeerGone(peer)) = outcome else {
                panic!("{incoming:?} matched nothing but ends with {outcome:?}");
            };
            assert!(self.judge.is_gone(peer));
            assert!(incoming.pattern.source.is_none_or(|source| source == peer));
            return;
        };
        let message = messages[serial];
        let expected = envelope(message);
        match outcome {
            Err(Failure::Withdrawn(envelope)) => {
                assert_eq!(envelope, expected);
                assert!(withdrawn[serial], "message {serial} was not withdrawn");
                return;
            }
            Err(Failure::PeerGone(peer)) => {
                assert!(peer == message.from && self.judge.is_gone(peer));
                return;
            }
            _ => {}
        }
        check_message(serial, message, &incoming, outcome, &bytes);
    }
}

fn check_message(
    serial: usize,
    message: Message,
    incoming: &Incoming,
    outcome: Result<Envelope, Failure>,
    bytes: &[u8],
) {
    let expected = envelope(message);
    let room = match incoming.capacity {
        Capacity::Fixed(bytes) => bytes,
        Capacity::Growable => u64::MAX,
    };
    let due = if incoming.check != message.check {
        Err(Failure::Type { envelope: expected })
    } else if message.length > room {
        Err(Failure::Truncated {
            envelope: expected,
            capacity: room,
        })
    } else {
        Ok(expected)
    };
    assert_eq!(
        outcome, due,
        "{incoming:?} got message {serial} {message:?}"
    );
    if !matches!(due, Err(Failure::Type { .. })) {
        let taken = message.length.min(room) as usize;
        let sent = payload(serial, message.length);
        assert!(
            bytes[..taken] == sent[..taken],
            "message {serial} {message:?} is damaged"
        );
        assert!(
            bytes[taken..].iter().take(64).all(|byte| *byte == 0xEE),
            "written beyond the message"
        );
    }
}

pub fn envelope(message: Message) -> Envelope {
    Envelope {
        source: message.from,
        tag: message.tag,
        length: message.length,
        check: message.check,
    }
}
