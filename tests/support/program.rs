//! Random programs that are correct by construction: every rank begins all its sends and some receives
//! of a round before it waits for anything.
//!
//! In the *strict* contexts, whatever is posted has to complete. In the *wild* one, receives with any
//! pattern are posted, cancelled and abandoned and sends are withdrawn; at the end of a round each rank
//! takes what is left with receives of anything.

use phalanx::base::ids::Context;
use phalanx::engine::{Capacity, Pattern};
use rand::Rng;
use rand::rngs::SmallRng;

use super::judge::Message;
use super::network::{Network, Weather};
use super::node::RecvFate;
use super::random::add_round;

pub const STRICT: Context = Context(16);
pub const WILD: Context = Context(32);
pub const COLLECTIVE: Context = Context(17);

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Send(Message),
    Post(Pattern, u64, Capacity),
    /// Posts, and waits for it.
    Receive(Pattern, u64, Capacity),
    /// Waits until a probe finds something.
    ProbeUntil(Pattern),
    Probe(Pattern),
    Cancel,
    Abandon,
    Withdraw,
    Begin(u64),
    End(u64),
    /// Waits for all receives in the strict contexts.
    Await,
    /// Takes what is left in the wild context.
    MopUp(usize),
    AwaitSends,
}

#[derive(Default)]
pub struct Program {
    pub steps: Vec<Step>,
    at: usize,
    /// Steps at a time.
    pace: u32,
    waiting: Option<u64>,
    mop: Option<u64>,
    /// Rounds in which all sends are begun.
    begun: usize,
}

/// A program for every rank, on a network.
pub struct Simulation {
    pub network: Network,
    programs: Vec<Program>,
    /// Ranks die.
    deadly: bool,
    pub turn: u64,
    kill_at: Vec<u64>,
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let mut dice: SmallRng = rand::SeedableRng::seed_from_u64(seed ^ 0x5eed);
        let size = match seed % 1000 {
            // Large ones are rare: their links are the square.
            999 => 512,
            499 => 128,
            _ if seed % 100 == 49 => 33,
            _ => [2, 2, 3, 4, 5, 8, 16][dice.random_range(0..7)],
        };
        let weather = Weather {
            size,
            unexpected_bytes_max: [0, 100_000, 64 << 20][dice.random_range(0..3)],
            pull_fails: [0, 10, 100][dice.random_range(0..3)],
        };
        let mut network = Network::new(seed, weather);
        let deadly = dice.random_ratio(1, 3);
        let deaths = if deadly {
            dice.random_range(1..size.max(2)).min(3)
        } else {
            0
        };
        let kill_at = (0..deaths).map(|_| dice.random_range(0..6_000)).collect();
        let rounds = dice.random_range(1..3);
        let mut programs: Vec<_> = (0..size).map(|_| Program::default()).collect();
        for round in 0..rounds {
            add_round(&mut network.rng, &mut programs, round);
        }
        for program in &mut programs {
            program.pace = [1, 1, 3, 1000][network.rng.random_range(0..4)];
        }
        Self {
            network,
            programs,
            deadly,
            turn: 0,
            kill_at,
        }
    }

    /// Runs all programs to their ends.
    pub fn run(&mut self) {
        let size = self.programs.len();
        loop {
            self.turn += 1;
            assert!(self.turn < 20_000_000, "no end in sight");
            if self.kill_at.contains(&self.turn) {
                let victim = self.network.rng.random_range(0..size);
                self.network.kill(victim);
            }
            let Network { storms, rng, .. } = &mut self.network;
            storms.pass(self.turn, rng);
            let rank = rng.random_range(0..size);
            let moved = match self.network.rng.random_range(0..8) {
                0..4 => self.network.flow(),
                _ if self.network.storms.stops(rank) => true,
                4..6 => self.network.nodes[rank].alive && self.network.act(rank),
                6 => self.network.nodes[rank].alive && self.run_ahead(rank),
                _ => self.network.rng.random_ratio(1, 50) && self.notice(rank),
            };
            if !moved && !self.network.storms.rage() && !self.sweep() && !self.rescue() {
                break;
            }
        }
        self.network.check_clean();
        for (rank, program) in self.programs.iter().enumerate() {
            let node = &self.network.nodes[rank];
            let open = node
                .recvs
                .iter()
                .filter(|recv| recv.fate == RecvFate::Open)
                .count();
            assert!(!node.alive || program.at == program.steps.len() && open == 0);
        }
    }

    /// Some ranks run ahead of the others: they wait for messages that nobody has sent yet.
    fn run_ahead(&mut self, rank: usize) -> bool {
        let steps = self.programs[rank].pace;
        (0..steps).take_while(|_| self.advance(rank)).count() > 0
    }

    fn notice(&mut self, rank: usize) -> bool {
        self.network.nodes[rank].alive && self.network.notice(rank)
    }

    /// Whether anything moves anywhere.
    fn sweep(&mut self) -> bool {
        let ranks = 0..self.programs.len();
        let alive: Vec<_> = ranks
            .filter(|rank| self.network.nodes[*rank].alive)
            .collect();
        self.network.flow()
            || alive.iter().any(|rank| self.network.act(*rank))
            || alive.iter().any(|rank| self.advance(*rank))
            || alive.iter().any(|rank| self.notice(*rank))
            // A probe that found nothing may have asked for more.
            || alive.iter().any(|rank| self.network.act(*rank))
    }

    /// After deaths a program may wait for what will never come: gives that up. Also takes what nobody
    /// has asked for. Without deaths, to wait here is a failure of the engine.
    fn rescue(&mut self) -> bool {
        assert!(self.deadly || !self.is_waiting(), "waits for ever");
        let mut moved = false;
        for rank in 0..self.programs.len() {
            let node = &mut self.network.nodes[rank];
            if !node.alive {
                continue;
            }
            for owner in node.judge.posted() {
                assert!(node.cancel(owner));
                moved = true;
            }
            if let Some(message) = node.judge.oldest_unexpected() {
                let (source, tag) = (Some(message.from), Some(message.tag));
                let pattern = Pattern {
                    context: message.context,
                    source,
                    tag,
                };
                node.post(pattern, message.check, Capacity::Growable);
                moved = true;
            }
        }
        moved
    }

    /// Whether any program is not at its end; says where.
    fn is_waiting(&self) -> bool {
        let mut waiting = false;
        for (rank, program) in self.programs.iter().enumerate() {
            let node = &self.network.nodes[rank];
            if let Some(step) = program.steps.get(program.at).filter(|_| !self.deadly) {
                waiting = true;
                let open = node.recvs.iter().filter(|recv| recv.fate == RecvFate::Open);
                eprintln!(
                    "rank {rank} waits in {step:?}, for {:?}, has sends {:?}, leftovers {:?}; {:?}",
                    open.map(|recv| (
                        recv.incoming.pattern,
                        node.judge.pairs.get(&recv.incoming.owner.request)
                    ))
                    .collect::<Vec<_>>(),
                    node.sends.keys(),
                    node.leftovers,
                    node.engine.open_work(),
                );
            }
        }
        waiting
    }

    /// Does a rank's next step, if it does not have to wait.
    fn advance(&mut self, rank: usize) -> bool {
        let Some(&step) = self.programs[rank].steps.get(self.programs[rank].at) else {
            return false;
        };
        let network = &mut self.network;
        let node = &mut network.nodes[rank];
        let done = match step {
            Step::Send(message) => {
                if message.context == WILD {
                    let serial = network.messages.len();
                    network.nodes[message.to.index()].leftovers.push(serial);
                }
                network.send(message);
                true
            }
            Step::Post(pattern, check, capacity) => {
                node.post(pattern, check, capacity);
                true
            }
            Step::Receive(pattern, check, capacity) => {
                let program = &mut self.programs[rank];
                match program.waiting {
                    None => {
                        program.waiting = Some(node.post(pattern, check, capacity));
                        return true;
                    }
                    Some(owner) if node.recvs[owner as usize].fate == RecvFate::Open => false,
                    Some(_) => program.waiting.take().is_some(),
                }
            }
            Step::ProbeUntil(pattern) => {
                let lost = pattern
                    .source
                    .is_some_and(|source| node.judge.is_gone(source));
                node.probe(&pattern) || lost || self.deadly
            }
            Step::Probe(pattern) => {
                node.probe(&pattern);
                true
            }
            Step::Cancel | Step::Abandon => {
                self.give_up(rank, matches!(step, Step::Cancel));
                true
            }
            Step::Withdraw => {
                self.withdraw_one(rank);
                true
            }
            Step::Begin(sequence) => {
                node.engine
                    .collective_begins(COLLECTIVE, sequence, sequence);
                true
            }
            Step::End(sequence) => {
                node.engine.collective_ends(COLLECTIVE, sequence);
                true
            }
            Step::Await => node
                .recvs
                .iter()
                .all(|recv| recv.fate != RecvFate::Open || recv.incoming.pattern.context == WILD),
            Step::MopUp(round) => return self.mop_up(rank, round),
            Step::AwaitSends => node.sends.is_empty(),
        };
        self.programs[rank].at += usize::from(done);
        done
    }

    fn withdraw_one(&mut self, rank: usize) {
        let network = &mut self.network;
        let node = &network.nodes[rank];
        let wild = |serial: &&usize| network.messages[**serial].context == WILD;
        let mut open: Vec<_> = node.sends.keys().filter(wild).copied().collect();
        open.sort_unstable();
        if !open.is_empty() {
            let pick = network.rng.random_range(0..open.len());
            network.withdraw(rank, open[pick]);
        }
    }

    fn give_up(&mut self, rank: usize, cancel: bool) {
        let network = &mut self.network;
        let node = &mut network.nodes[rank];
        let wild = |recv: &&super::node::Recv| {
            recv.incoming.pattern.context == WILD && recv.fate == RecvFate::Open
        };
        let open: Vec<_> = node
            .recvs
            .iter()
            .filter(wild)
            .map(|recv| recv.incoming.owner.request)
            .collect();
        if open.is_empty() {
            return;
        }
        let owner = open[network.rng.random_range(0..open.len())];
        if cancel {
            node.cancel(owner);
        } else {
            node.abandon(owner);
        }
    }

    fn mop_up(&mut self, rank: usize, round: usize) -> bool {
        let program = &mut self.programs[rank];
        let first = program.begun <= round;
        program.begun = round + 1;
        if let Some(owner) = program.mop {
            if self.network.nodes[rank].recvs[owner as usize].fate != RecvFate::Open {
                self.programs[rank].mop = None;
                return true;
            }
        }
        let mut leftovers = std::mem::take(&mut self.network.nodes[rank].leftovers);
        leftovers.retain(|serial| !self.network.is_settled(*serial));
        let more = !leftovers.is_empty();
        self.network.nodes[rank].leftovers = leftovers;
        let network = &self.network;
        let mut others = self.programs.iter().enumerate();
        let all_begun =
            others.all(|(rank, other)| other.begun > round || !network.nodes[rank].alive);
        let node = &mut self.network.nodes[rank];
        if more {
            if self.programs[rank].mop.is_some() {
                return first;
            }
            let anything = Pattern {
                context: WILD,
                source: None,
                tag: None,
            };
            if node.everybody_gone() {
                return first;
            }
            self.programs[rank].mop = Some(node.post(anything, 0, Capacity::Growable));
            return true;
        }
        if !all_begun {
            return first;
        }
        for owner in node.judge.posted() {
            if node.recvs[owner as usize].incoming.pattern.context == WILD {
                assert!(node.cancel(owner));
            }
        }
        self.programs[rank].mop = None;
        self.programs[rank].at += 1;
        true
    }
}
