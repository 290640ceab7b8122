//! Collectives with data whose results are known.

use std::time::{Duration, Instant};

use phalanx::{Communicator, Max, Min, Sum};
use rustix::time::{ClockId, clock_gettime};

use super::pattern::addends;
use super::{Trouble, Work, pattern};

/// Nobody leaves before all have come.
pub(super) struct Barrier;

impl Work for Barrier {
    fn prepare(&mut self, _: &Communicator, _: usize, _: usize) {}

    fn operate(&mut self, world: &Communicator, _: usize) -> phalanx::Result<bool> {
        world.barrier().map(|()| true)
    }

    /// One rank comes late; the clock of the host tells whether any other left before.
    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        if world.rank() == last % world.size() {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
        }
        let entered = host_nanos();
        world.barrier()?;
        let left = host_nanos();
        let (entered, left) = (world.allreduce(entered, Max)?, world.allreduce(left, Min)?);
        if left >= entered {
            return Ok(());
        }
        Err(Trouble::Wrong(format!(
            "barrier of {} ranks: one left {} ns before another had come",
            world.size(),
            entered - left
        )))
    }

    fn algorithm(&self, world: &Communicator) -> Option<&'static str> {
        world.algorithm_name("barrier", 0, 1)
    }
}

/// A clock that all processes of the host share.
fn host_nanos() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Sums of doubles, to all. The result is apart from the addends, as with `MPI_Allreduce`.
pub(super) struct Allreduce {
    addends: Vec<f64>,
    sums: Vec<f64>,
    salt: usize,
}

impl Allreduce {
    pub(super) fn new(bytes: usize) -> Self {
        let count = (bytes / size_of::<f64>()).max(1);
        Self {
            addends: vec![0.0; count],
            sums: vec![0.0; count],
            salt: 0,
        }
    }
}

impl Work for Allreduce {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        addends::fill(&mut self.addends, world.rank(), salt);
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        addends::stamp(&mut self.addends, world.rank(), index);
        world.allreduce_from(&self.addends, &mut self.sums, Sum)?;
        Ok(addends::is_stamped(&self.sums, world.size(), index))
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        addends::check("allreduce", &self.sums, world.size(), self.salt, last)
    }

    fn algorithm(&self, world: &Communicator) -> Option<&'static str> {
        world.algorithm_name("allreduce", self.sums.len(), size_of::<f64>())
    }
}

/// Sums of doubles, to one rank after the other.
pub(super) struct Reduce {
    addends: Vec<f64>,
    sums: Option<Vec<f64>>,
    salt: usize,
}

impl Reduce {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            addends: vec![0.0; (bytes / size_of::<f64>()).max(1)],
            sums: None,
            salt: 0,
        }
    }
}

impl Work for Reduce {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        addends::fill(&mut self.addends, world.rank(), salt);
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        let (rank, size, root) = (world.rank(), world.size(), index % world.size());
        addends::stamp(&mut self.addends, rank, index);
        self.sums = world.reduce_vec(&self.addends, Sum, root)?;
        let sums = self.sums.as_deref();
        Ok(match sums {
            Some(sums) => rank == root && addends::is_stamped(sums, size, index),
            None => rank != root,
        })
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        match &self.sums {
            Some(sums) => addends::check("reduce", sums, world.size(), self.salt, last),
            None => Ok(()),
        }
    }

    fn algorithm(&self, world: &Communicator) -> Option<&'static str> {
        world.algorithm_name("reduce", self.addends.len(), size_of::<f64>())
    }
}

/// Bytes of one rank after the other, to all.
pub(super) struct Bcast {
    buffer: Vec<u8>,
    salt: usize,
}

impl Bcast {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            buffer: vec![0; bytes],
            salt: 0,
        }
    }
}

impl Work for Bcast {
    /// Only the first root has the data; the others pass on what they have received.
    fn prepare(&mut self, world: &Communicator, salt: usize, first: usize) {
        self.salt = salt;
        if world.rank() == first % world.size() {
            pattern::fill(&mut self.buffer, 0, salt);
        } else {
            self.buffer.fill(0xee);
        }
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        let root = index % world.size();
        if world.rank() == root {
            pattern::stamp(&mut self.buffer, index);
        }
        world.bcast_into(&mut self.buffer, root)?;
        Ok(pattern::is_stamped(&self.buffer, index))
    }

    fn check(&mut self, _: &Communicator, last: usize) -> Result<(), Trouble> {
        pattern::check("bcast", &self.buffer, 0, self.salt, last)
    }

    fn algorithm(&self, world: &Communicator) -> Option<&'static str> {
        world.algorithm_name("bcast", self.buffer.len(), 1)
    }
}

/// A block of each rank, to all.
pub(super) struct Allgather {
    block: Vec<u8>,
    all: Vec<u8>,
    salt: usize,
}

impl Allgather {
    pub(super) fn new(bytes: usize, ranks: usize) -> Self {
        Self {
            block: vec![0; bytes],
            all: vec![0; bytes * ranks],
            salt: 0,
        }
    }
}

impl Work for Allgather {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        pattern::fill(&mut self.block, world.rank(), salt);
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        pattern::stamp(&mut self.block, index);
        world.allgather_into(&self.block, &mut self.all)?;
        let mut blocks = self.all.chunks_exact(self.block.len());
        Ok(blocks.all(|block| pattern::is_stamped(block, index)))
    }

    fn check(&mut self, _: &Communicator, last: usize) -> Result<(), Trouble> {
        let blocks = self.all.chunks_exact(self.block.len());
        blocks
            .enumerate()
            .try_for_each(|(from, block)| pattern::check("allgather", block, from, self.salt, last))
    }

    fn algorithm(&self, world: &Communicator) -> Option<&'static str> {
        world.algorithm_name("allgather", self.block.len(), 1)
    }
}

/// A block from each rank for each rank.
pub(super) struct Alltoall {
    bytes: usize,
    out: Vec<u8>,
    received: Vec<u8>,
    salt: usize,
}

impl Alltoall {
    pub(super) fn new(bytes: usize, ranks: usize) -> Self {
        Self {
            bytes,
            out: vec![0; bytes * ranks],
            received: vec![0; bytes * ranks],
            salt: 0,
        }
    }

    /// A number for each ordered pair of ranks.
    fn pair(from: usize, to: usize) -> usize {
        from + 101 * to
    }
}

impl Work for Alltoall {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        let blocks = self.out.chunks_exact_mut(self.bytes);
        for (to, block) in blocks.enumerate() {
            pattern::fill(block, Self::pair(world.rank(), to), salt);
        }
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        let blocks = self.out.chunks_exact_mut(self.bytes);
        blocks.for_each(|block| pattern::stamp(block, index));
        world.alltoall_into(&self.out, &mut self.received)?;
        let mut blocks = self.received.chunks_exact(self.bytes);
        Ok(blocks.all(|block| pattern::is_stamped(block, index)))
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        let blocks = self.received.chunks_exact(self.bytes).enumerate();
        for (from, block) in blocks {
            let pair = Self::pair(from, world.rank());
            pattern::check("alltoall", block, pair, self.salt, last)?;
        }
        Ok(())
    }

    fn algorithm(&self, world: &Communicator) -> Option<&'static str> {
        world.algorithm_name("alltoall", self.bytes, 1)
    }
}
