//! The virtual network: links that are in order each, and in no order with each other.

use std::collections::VecDeque;

use phalanx::base::ids::{Epoch, Peer};
use phalanx::engine::{
    BufferId, Engine, EngineConfig, Landing, Mode, Outgoing, Owner, Route, SendId, SendStart,
};
use phalanx::wire::header::{Header, Kind};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use slotmap::Key;

use super::judge::Message;
use super::node::{Node, Todo, payload, send_buffer};
use super::storms::Storms;

/// Memory of the sender that is read while the frame is being written.
pub struct Lent {
    pub send: SendId,
    pub buffer: BufferId,
    pub offset: u64,
}

struct Frame {
    header: Header,
    /// The message that an `Eager`, `Request` or `Withdrawn` is about.
    serial: Option<usize>,
    body: Vec<u8>,
    lent: Option<Lent>,
    landing: Option<Landing>,
    landed: usize,
}

impl Frame {
    fn written(&self) -> bool {
        self.body.len() as u64 == self.header.payload()
    }
}

/// The words of a network that decide its weather.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub size: u32,
    pub unexpected_bytes_max: u64,
    /// Percent of pulls that do not work.
    pub pull_fails: u32,
}

pub struct Network {
    pub rng: SmallRng,
    pub nodes: Vec<Node>,
    pub messages: Vec<Message>,
    pub withdrawn: Vec<bool>,
    pub deaths: Vec<Peer>,
    links: Vec<VecDeque<Frame>>,
    /// Links with frames, and perhaps some that have lost theirs.
    busy: Vec<usize>,
    /// Percent of the turns that a link uses.
    speeds: Vec<u32>,
    pub weather: Weather,
    pub storms: Storms,
    window: u64,
    pub staged_peak: usize,
    pub held_seen: usize,
    pub pulls: usize,
}

impl Network {
    pub fn new(seed: u64, weather: Weather) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let size = weather.size;
        let default = Route {
            eager_bytes_max: 4096,
            pull: false,
        };
        let nodes = (0..size).map(|rank| {
            let mut engine = Engine::new(EngineConfig {
                me: Peer(rank),
                size,
                epoch: Epoch(1),
                route: default,
                unexpected_bytes_max: weather.unexpected_bytes_max,
            });
            for peer in 0..size {
                let eager = [0, 16, 600, 4096, 65_536];
                engine.set_route(
                    Peer(peer),
                    Route {
                        eager_bytes_max: eager[rng.random_range(0..eager.len())],
                        pull: rng.random_ratio(1, 3),
                    },
                );
            }
            Node::new(engine, Peer(rank), size)
        });
        let nodes: Vec<_> = nodes.collect();
        let pairs = (size * size) as usize;
        let speeds =
            (0..pairs).map(|_| *[100, 100, 50, 20, 3].get(rng.random_range(0..5)).unwrap());
        let speeds = speeds.collect();
        let storms = Storms::new(&mut rng, size as usize);
        let window = nodes[0].engine.credit_state(Peer(0)).0;
        Self {
            rng,
            nodes,
            messages: Vec::new(),
            withdrawn: Vec::new(),
            deaths: Vec::new(),
            links: (0..pairs).map(|_| VecDeque::new()).collect(),
            busy: Vec::new(),
            speeds,
            weather,
            storms,
            window,
            staged_peak: 0,
            held_seen: 0,
            pulls: 0,
        }
    }

    fn link(&self, from: Peer, to: Peer) -> usize {
        from.index() * self.nodes.len() + to.index()
    }

    pub fn send(&mut self, message: Message) {
        let serial = self.messages.len();
        self.messages.push(message);
        self.withdrawn.push(false);
        let node = &mut self.nodes[message.from.index()];
        node.memory
            .insert(send_buffer(serial), payload(serial, message.length));
        let start = node.engine.send(Outgoing {
            to: message.to,
            context: message.context,
            tag: message.tag,
            check: message.check,
            length: message.length,
            mode: if message.synchronous {
                Mode::Synchronous
            } else {
                Mode::Standard
            },
            buffer: send_buffer(serial),
            owner: Owner {
                request: serial as u64,
                step: Owner::WHOLE,
            },
        });
        match start {
            SendStart::Now(header) => {
                assert!(
                    !message.synchronous,
                    "a synchronous send waits for its match"
                );
                node.todo.push_back(Todo::Eager(header, serial));
            }
            SendStart::Later(id) => {
                node.sends.insert(serial, id);
                self.held_seen = self.held_seen.max(node.engine.open_work().held);
                node.tokens.insert(id.data().as_ffi(), serial);
            }
            SendStart::Gone => {
                assert!(node.judge.is_gone(message.to));
                node.memory.remove(&send_buffer(serial));
            }
        }
    }

    /// Whether nothing can still come of this message by itself.
    pub fn is_settled(&self, serial: usize) -> bool {
        let message = self.messages[serial];
        let to = &self.nodes[message.to.index()];
        self.withdrawn[serial]
            || to.judge.matched.contains(&serial)
            || !to.alive
            || !self.nodes[message.from.index()].alive
    }

    pub fn withdraw(&mut self, rank: usize, serial: usize) {
        while self.act(rank) {}
        let node = &mut self.nodes[rank];
        let Some(id) = node.sends.remove(&serial) else {
            return;
        };
        let buffer = send_buffer(serial);
        let bytes = node
            .memory
            .remove(&buffer)
            .expect("an open send has memory");
        match node.engine.withdraw(id) {
            None => self.withdrawn[serial] = true,
            Some(rest) => {
                assert_eq!(rest.buffer, buffer);
                let mut kept = vec![0xDD; bytes.len()];
                let range = rest.offset as usize..(rest.offset + rest.length) as usize;
                kept[range.clone()].copy_from_slice(&bytes[range]);
                node.kept.insert(buffer, kept);
            }
        }
    }

    pub fn transmit(
        &mut self,
        rank: usize,
        to: Peer,
        header: Header,
        serial: Option<usize>,
        body: Vec<u8>,
        lent: Option<Lent>,
    ) {
        let bytes = header.encode();
        assert_eq!(
            Header::decode(&bytes),
            Ok(header),
            "what is sent can be read"
        );
        if !self.nodes[to.index()].alive {
            return;
        }
        let link = self.link(Peer(rank as u32), to);
        if self.links[link].is_empty() && !self.busy.contains(&link) {
            self.busy.push(link);
        }
        self.links[link].push_back(Frame {
            header,
            serial,
            body,
            lent,
            landing: None,
            landed: 0,
        });
    }

    /// One turn of one link; `false` when all are empty.
    pub fn flow(&mut self) -> bool {
        let link = loop {
            if self.busy.is_empty() {
                return false;
            }
            let pick = self.rng.random_range(0..self.busy.len());
            if !self.links[self.busy[pick]].is_empty() {
                break self.busy[pick];
            }
            self.busy.swap_remove(pick);
        };
        let (from, to) = (link / self.nodes.len(), link % self.nodes.len());
        if self.storms.cuts(from, to) {
            return true;
        }
        if self.rng.random_range(0..100) < self.speeds[link] {
            if self.rng.random_bool(0.5) {
                if !self.storms.stops(from) {
                    self.write(link, from);
                }
            } else if !self.storms.stops(to) {
                let frames = self.rng.random_range(1..8);
                (0..frames).for_each(|_| self.read(link));
            }
        }
        true
    }

    /// The sender's side writes a piece of its first lent payload that is not written.
    fn write(&mut self, link: usize, from: usize) {
        let Some(frame) = self.links[link].iter_mut().find(|frame| !frame.written()) else {
            return;
        };
        let lent = frame
            .lent
            .as_ref()
            .expect("what is not lent is written at once");
        let done = frame.body.len();
        let rest = frame.header.payload() as usize - done;
        let piece = self.rng.random_range(1..=rest);
        let node = &mut self.nodes[from];
        let source = node
            .memory
            .get(&lent.buffer)
            .or_else(|| node.kept.get(&lent.buffer));
        let begin = lent.offset as usize + done;
        match source {
            Some(bytes) => frame.body.extend_from_slice(&bytes[begin..begin + piece]),
            None => frame.body.resize(done + piece, 0),
        }
        node.engine.part_sent(lent.send, piece as u64);
    }

    /// The receiver's side reads a header or a piece of a payload.
    fn read(&mut self, link: usize) {
        let (from, to) = (link / self.nodes.len(), link % self.nodes.len());
        let Some(frame) = self.links[link].front_mut() else {
            return;
        };
        let node = &mut self.nodes[to];
        if frame.landing.is_none() {
            let (header, serial) = (frame.header, frame.serial);
            match (header.kind, serial) {
                (Kind::Eager | Kind::Request, Some(serial)) => {
                    node.judge.arrive(serial, self.messages[serial]);
                }
                (Kind::Withdrawn, Some(serial)) => node.judge.withdrawn(serial),
                (Kind::Eager | Kind::Request | Kind::Withdrawn, None) => panic!("a lost identity"),
                _ => {}
            }
            let landing = node.engine.arrive(Peer(from as u32), &header);
            let landing = landing.unwrap_or_else(|nonsense| panic!("{nonsense}: {header:?}"));
            frame.landing = Some(landing);
            if let Landing::Staged { staged, length } = landing {
                let memory = vec![0; length as usize];
                node.staged.insert(staged, (Peer(from as u32), memory));
            }
        }
        let Some(landing) = frame.landing else { return };
        let available = frame.body.len() - frame.landed;
        let piece = self.rng.random_range(0..=available);
        node.land(
            landing,
            frame.landed,
            &frame.body[frame.landed..frame.landed + piece],
        );
        frame.landed += piece;
        if frame.written() && frame.landed == frame.body.len() {
            if let (Kind::Eager, Some(serial)) = (frame.header.kind, frame.serial) {
                node.judge.landed(serial);
            }
            node.engine.landed(landing);
            self.links[link].pop_front();
        }
    }

    /// Staged payload stays within the window of each sender; to be asked when nothing is about to be
    /// freed.
    pub fn check_staged(&mut self, to: usize) {
        let node = &self.nodes[to];
        let mut held = vec![0; self.nodes.len()];
        for (peer, bytes) in node.staged.values() {
            held[peer.index()] += bytes.len();
        }
        assert!(
            held.iter().all(|bytes| *bytes as u64 <= self.window),
            "over the window: {held:?}"
        );
        self.staged_peak = self.staged_peak.max(held.iter().sum());
    }

    /// A rank dies; some of what it has written still arrives.
    pub fn kill(&mut self, rank: usize) {
        self.nodes[rank].alive = false;
        self.deaths.push(Peer(rank as u32));
        for other in 0..self.nodes.len() {
            let away = rank * self.nodes.len() + other;
            let whole = self.links[away]
                .iter()
                .take_while(|frame| frame.written())
                .count();
            let arriving = self.rng.random_range(0..=whole);
            self.links[away].truncate(if other == rank { 0 } else { arriving });
            self.links[other * self.nodes.len() + rank].clear();
        }
    }

    /// Tells a survivor of a death of which it does not know, once nothing more can arrive.
    pub fn notice(&mut self, rank: usize) -> bool {
        let me = Peer(rank as u32);
        let news = self.deaths.iter().copied().find(|dead| {
            !self.nodes[rank].judge.is_gone(*dead) && self.links[self.link(*dead, me)].is_empty()
        });
        let Some(dead) = news else { return false };
        let wild = self.rng.random_bool(0.5);
        let node = &mut self.nodes[rank];
        let alone = node.judge.gone_count() + 2 >= node.size as usize;
        node.judge.peer_gone(dead, wild || alone);
        node.engine.peer_gone(dead, wild);
        true
    }

    /// Nothing is left anywhere, and every byte of credit is back or accounted for.
    pub fn check_clean(&self) {
        for node in self.nodes.iter().filter(|node| node.alive) {
            let me = node.me;
            assert_eq!(
                node.engine.open_work(),
                phalanx::engine::OpenWork::default(),
                "{me}"
            );
            assert_eq!(
                node.engine.sends_open() + node.engine.unexpected_count(),
                0,
                "{me}"
            );
            assert!(node.staged.is_empty(), "{me} forgot staged payload");
            assert!(
                node.sends.is_empty(),
                "{me} has open sends: {:?}",
                node.sends
            );
            assert!(
                node.memory.is_empty(),
                "{me} holds {:?}",
                node.memory.keys()
            );
            for other in self.nodes.iter().filter(|other| other.alive) {
                let credit = node.engine.credit_state(other.me).0;
                let (_, taken, owed) = other.engine.credit_state(me);
                assert_eq!(taken, owed, "{} keeps credit of {me}", other.me);
                assert_eq!(
                    credit + taken,
                    self.window,
                    "credit from {me} to {}",
                    other.me
                );
            }
        }
    }
}
