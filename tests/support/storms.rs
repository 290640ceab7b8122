//! Bad weather that passes: ranks that stop for a while, and partitions that heal.

use rand::Rng;
use rand::rngs::SmallRng;

/// Longest time, in turns, that something is held up.
const TURNS_MAX: u64 = 20_000;
/// Then the weather stays fine, so that a run has an end.
const STORMS_MAX: usize = 12;

/// Who is held up, and until when.
#[derive(Debug)]
pub struct Storms {
    /// One in so many turns begins a storm; 0 for none.
    rarity: u32,
    now: u64,
    stopped_until: Vec<u64>,
    side: Vec<bool>,
    cut_until: u64,
    pub begun: usize,
}

impl Storms {
    pub fn new(rng: &mut SmallRng, size: usize) -> Self {
        Self {
            rarity: [0, 0, 3_000, 20_000][rng.random_range(0..4)],
            now: 0,
            stopped_until: vec![0; size],
            side: vec![false; size],
            cut_until: 0,
            begun: 0,
        }
    }

    /// Time goes on; perhaps something begins.
    pub fn pass(&mut self, now: u64, rng: &mut SmallRng) {
        self.now = now;
        if self.rarity == 0 || self.begun == STORMS_MAX || !rng.random_ratio(1, self.rarity) {
            return;
        }
        self.begun += 1;
        let until = now + rng.random_range(1..TURNS_MAX);
        if rng.random_bool(0.5) {
            let rank = rng.random_range(0..self.stopped_until.len());
            self.stopped_until[rank] = until;
        } else if self.cut_until <= now {
            self.side.fill_with(|| rng.random_bool(0.5));
            self.cut_until = until;
        }
    }

    /// Whether this rank is stopped.
    pub fn stops(&self, rank: usize) -> bool {
        self.now < self.stopped_until[rank]
    }

    /// Whether nothing passes between these ranks.
    pub fn cuts(&self, from: usize, to: usize) -> bool {
        self.now < self.cut_until && self.side[from] != self.side[to]
    }

    /// Whether anything is held up that will go on by itself.
    pub fn rage(&self) -> bool {
        self.now < self.cut_until || self.stopped_until.iter().any(|until| self.now < *until)
    }
}
