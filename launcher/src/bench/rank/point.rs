//! Messages between pairs of ranks, and the iteration that is made of them.

use std::hint::black_box;

use phalanx::{Communicator, Sum};

use super::{Trouble, Work, pattern};
use crate::bench::case::{HALO_BYTES, WINDOW};

const TO: u8 = 1;
const BACK: u8 = 2;

/// A message to rank 1, and another one back. What is sent is not written in between, but for its first byte.
pub(super) struct Pingpong {
    out: Vec<u8>,
    back: Vec<u8>,
    salt: usize,
}

impl Pingpong {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            out: vec![0; bytes],
            back: vec![0; bytes],
            salt: 0,
        }
    }
}

impl Work for Pingpong {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        pattern::fill(&mut self.out, world.rank(), salt);
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        pattern::stamp(&mut self.out, index);
        match world.rank() {
            0 => {
                world.send(&self.out, 1, TO)?;
                world.recv_into(&mut self.back, 1, BACK)?;
            }
            1 => {
                world.recv_into(&mut self.back, 0, TO)?;
                world.send(&self.out, 0, BACK)?;
            }
            _ => return Ok(true),
        }
        Ok(pattern::is_stamped(&self.back, index))
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        if world.rank() > 1 {
            return Ok(());
        }
        let other = 1 - world.rank();
        pattern::check("pingpong", &self.back, other, self.salt, last)
    }

    fn parts(&self) -> usize {
        2
    }
}

/// A message to rank 1 and back, from and to the same memory: no rank sends what it has not just received.
pub(super) struct Echo {
    ball: Vec<u8>,
    salt: usize,
}

impl Echo {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            ball: vec![0; bytes],
            salt: 0,
        }
    }
}

impl Work for Echo {
    fn prepare(&mut self, _: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        pattern::fill(&mut self.ball, 0, salt);
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        match world.rank() {
            0 => {
                pattern::stamp(&mut self.ball, index);
                world.send(&self.ball, 1, TO)?;
                world.recv_into(&mut self.ball, 1, BACK)?;
            }
            1 => {
                world.recv_into(&mut self.ball, 0, TO)?;
                world.send(&self.ball, 0, BACK)?;
            }
            _ => return Ok(true),
        }
        Ok(pattern::is_stamped(&self.ball, index))
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        if world.rank() > 1 {
            return Ok(());
        }
        pattern::check("echo", &self.ball, 0, self.salt, last)
    }

    fn parts(&self) -> usize {
        2
    }
}

/// Many messages under way at once, from the lower half of the ranks to the upper half.
pub(super) struct Window {
    bytes: usize,
    pairs: usize,
    buffer: Vec<u8>,
    answer: [u8; 8],
    salt: usize,
}

impl Window {
    /// Between ranks 0 and 1.
    pub(super) fn pair(bytes: usize) -> Self {
        Self::pairs(bytes, 2)
    }

    /// Between as many pairs as there are.
    pub(super) fn pairs(bytes: usize, ranks: usize) -> Self {
        Self {
            bytes: bytes.max(1),
            pairs: ranks / 2,
            buffer: Vec::new(),
            answer: [0; 8],
            salt: 0,
        }
    }

    /// The rank that sends to this one.
    fn sender(&self, world: &Communicator) -> Option<usize> {
        let sender = world.rank().checked_sub(self.pairs)?;
        (sender < self.pairs).then_some(sender)
    }
}

impl Work for Window {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        if world.rank() < self.pairs {
            self.buffer.resize(self.bytes, 0);
            pattern::fill(&mut self.buffer, world.rank(), salt);
        } else if self.sender(world).is_some() {
            // What was received before must not pass for what will be.
            self.buffer.clear();
            self.buffer.resize(self.bytes * WINDOW, 0xee);
        }
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        let (pairs, sender) = (self.pairs, self.sender(world));
        let Self {
            bytes,
            buffer,
            answer,
            ..
        } = self;
        if world.rank() < pairs {
            let receiver = world.rank() + pairs;
            pattern::stamp(buffer, index);
            let message = &buffer[..];
            world.scope(|scope| {
                for _ in 0..WINDOW {
                    scope.isend(message, receiver, TO)?;
                }
                Ok(())
            })?;
            world.recv_into(answer, receiver, BACK)?;
            return Ok(pattern::is_stamped(answer, index));
        }
        let Some(sender) = sender else {
            return Ok(true);
        };
        world.scope(|scope| {
            for slot in buffer.chunks_exact_mut(*bytes) {
                scope.irecv_into(slot, sender, TO)?;
            }
            Ok(())
        })?;
        pattern::stamp(answer, index);
        world.send(&answer[..], sender, BACK)?;
        Ok(pattern::is_stamped(buffer, index))
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        let Some(sender) = self.sender(world) else {
            return Ok(());
        };
        self.buffer
            .chunks_exact(self.bytes)
            .try_for_each(|slot| pattern::check("window", slot, sender, self.salt, last))
    }

    fn parts(&self) -> usize {
        WINDOW * self.pairs
    }
}

/// Compute, exchange with both neighbours in a ring, agree on a number.
pub(super) struct Iterate {
    border: Vec<u8>,
    ghosts: [Vec<u8>; 2],
    value: f64,
    work: usize,
    salt: usize,
}

impl Iterate {
    pub(super) fn new(work: usize) -> Self {
        let block = || vec![0; HALO_BYTES];
        Self {
            border: block(),
            ghosts: [block(), block()],
            value: 1.0,
            work,
            salt: 0,
        }
    }
}

/// The computation of one iteration: a chain of multiply-adds, none of which can begin before the last.
pub(in crate::bench) fn compute(mut value: f64, work: usize) -> f64 {
    value = black_box(value);
    for _ in 0..work {
        value = value * 0.999_999 + 1e-6;
    }
    black_box(value)
}

impl Work for Iterate {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        pattern::fill(&mut self.border, world.rank(), salt);
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        let (rank, size) = (world.rank(), world.size());
        let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
        self.value = compute(self.value, self.work);
        pattern::stamp(&mut self.border, index);
        let [from_left, from_right] = &mut self.ghosts;
        world.sendrecv_into(&self.border, right, TO, from_left, left, TO)?;
        world.sendrecv_into(&self.border, left, BACK, from_right, right, BACK)?;
        let counted = (index & 0xffff) as f64;
        let total = world.allreduce(counted, Sum)?;
        Ok(total == counted * size as f64
            && pattern::is_stamped(from_left, index)
            && pattern::is_stamped(from_right, index))
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        let (rank, size) = (world.rank(), world.size());
        let neighbours = [(rank + size - 1) % size, (rank + 1) % size];
        self.ghosts
            .iter()
            .zip(neighbours)
            .try_for_each(|(ghost, from)| pattern::check("iterate", ghost, from, self.salt, last))
    }
}
