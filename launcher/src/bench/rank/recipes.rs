//! Collectives alone and in pairs that do the same work.

use phalanx::{Communicator, Sum};

use super::pattern::addends;
use super::{Trouble, Work};
use crate::bench::recipe::Recipe;

/// Does one recipe. Elements are doubles; the root rotates.
pub(super) struct Cook {
    recipe: Recipe,
    /// Elements of one rank's block.
    block: usize,
    /// The data of this rank: a message, or a block for each rank.
    mine: Vec<f64>,
    result: Vec<f64>,
    counts: Vec<usize>,
    salt: usize,
}

/// What a rank has afterwards.
#[derive(Clone, Copy)]
enum Outcome {
    Nothing,
    /// All sums.
    Sums,
    /// The sums of this rank's block.
    SumsOfBlock,
    /// The sums over this rank and those before.
    Prefix,
    /// The first block of every rank.
    Blocks,
    /// This rank's block of every rank.
    Transposed,
    /// Everything that this rank has.
    Message(usize),
    /// This rank's block of what that rank has.
    Block(usize),
}

impl Cook {
    /// With about that many bytes in all.
    pub(super) fn new(recipe: Recipe, bytes: usize, ranks: usize) -> Self {
        let block = (bytes / size_of::<f64>()).div_ceil(ranks).max(1);
        Self {
            recipe,
            block,
            mine: vec![0.0; block * ranks],
            result: Vec::new(),
            counts: vec![block; ranks],
            salt: 0,
        }
    }

    /// The buffer of the last result, with this rank's data in it.
    fn copy_of_mine(&mut self) -> Vec<f64> {
        let mut buffer = std::mem::take(&mut self.result);
        buffer.clear();
        buffer.extend_from_slice(&self.mine);
        buffer
    }

    /// The buffer of the last result, with room for everything.
    fn room(&mut self) -> Vec<f64> {
        let mut buffer = std::mem::take(&mut self.result);
        buffer.resize(self.mine.len(), 0.0);
        buffer
    }

    fn scatter(
        &self,
        world: &Communicator,
        all: Option<&[f64]>,
        root: usize,
    ) -> phalanx::Result<Vec<f64>> {
        let mut block = vec![0.0; self.block];
        world.scatter(all, &mut block, root)?;
        Ok(block)
    }

    /// Recipes whose data are moved.
    fn exchange(&mut self, world: &Communicator, root: usize) -> phalanx::Result<Vec<f64>> {
        let here = world.rank() == root;
        let own = &self.mine[..self.block];
        let all = here.then_some(&self.mine[..]);
        Ok(match self.recipe {
            Recipe::Bcast => {
                let mut buffer = self.copy_of_mine();
                world.bcast_into(&mut buffer, root)?;
                buffer
            }
            Recipe::BcastPending => {
                let buffer = self.copy_of_mine();
                world.ibcast(buffer, root)?.wait()?
            }
            Recipe::ScatterAllgather => {
                let block = self.scatter(world, all, root)?;
                let mut buffer = self.room();
                world.allgather_into(&block, &mut buffer)?;
                buffer
            }
            Recipe::Scatter => self.scatter(world, all, root)?,
            Recipe::Scatterv => world.scatterv(all.map(|all| (all, &self.counts[..])), root)?,
            Recipe::Gather => world.gather(own, root)?.unwrap_or_default(),
            Recipe::Gatherv => world.gatherv(own, root)?.unwrap_or_default().0,
            Recipe::GatherBcast => {
                let gathered = world.gather(own, root)?;
                let mut buffer = gathered.unwrap_or_else(|| self.room());
                world.bcast_into(&mut buffer, root)?;
                buffer
            }
            Recipe::Allgatherv => world.allgatherv(own)?.0,
            Recipe::AllgatherPending => world.iallgather(own.to_vec())?.wait()?,
            Recipe::Alltoall => world.alltoall(&self.mine)?,
            Recipe::Alltoallv => world.alltoallv(&self.mine, &self.counts)?.0,
            _ => {
                let mut buffer = self.room();
                world.allgather_into(&self.mine[..self.block], &mut buffer)?;
                buffer
            }
        })
    }

    /// Recipes whose data are combined.
    fn combine(&mut self, world: &Communicator, root: usize) -> phalanx::Result<Vec<f64>> {
        Ok(match self.recipe {
            Recipe::Reduce => world.reduce_vec(&self.mine, Sum, root)?.unwrap_or_default(),
            Recipe::ReduceScatterGather => {
                let sums = world.reduce_scatter_block(&self.mine, Sum)?;
                world.gather(&sums, root)?.unwrap_or_default()
            }
            Recipe::ReduceBcast => {
                let sums = world.reduce_vec(&self.mine, Sum, root)?;
                let mut buffer = sums.unwrap_or_else(|| self.room());
                world.bcast_into(&mut buffer, root)?;
                buffer
            }
            Recipe::ReduceScatterAllgather => {
                let sums = world.reduce_scatter_block(&self.mine, Sum)?;
                let mut buffer = self.room();
                world.allgather_into(&sums, &mut buffer)?;
                buffer
            }
            Recipe::AllreducePending => {
                let buffer = self.copy_of_mine();
                world.iallreduce(buffer, Sum)?.wait()?
            }
            Recipe::ReduceScatterBlock => world.reduce_scatter_block(&self.mine, Sum)?,
            Recipe::ReduceScatter => world.reduce_scatter(&self.mine, &self.counts, Sum)?,
            Recipe::ReduceThenScatter => {
                let sums = world.reduce_vec(&self.mine, Sum, root)?;
                self.scatter(world, sums.as_deref(), root)?
            }
            Recipe::Scan => {
                let mut buffer = self.copy_of_mine();
                world.scan_into(&mut buffer, Sum)?;
                buffer
            }
            Recipe::ExscanAdd => {
                let mut buffer = self.copy_of_mine();
                world.exscan_into(&mut buffer, Sum)?;
                if world.rank() > 0 {
                    let places = buffer.iter_mut().zip(&self.mine);
                    places.for_each(|(sum, mine)| *sum += mine);
                }
                buffer
            }
            _ => {
                let mut buffer = self.copy_of_mine();
                world.allreduce_into(&mut buffer, Sum)?;
                buffer
            }
        })
    }

    /// What this rank should have after an operation with this root.
    fn outcome(&self, rank: usize, root: usize) -> Outcome {
        match self.recipe {
            Recipe::Barrier | Recipe::BarrierPending => Outcome::Nothing,
            Recipe::Gather | Recipe::Gatherv | Recipe::Reduce | Recipe::ReduceScatterGather
                if rank != root =>
            {
                Outcome::Nothing
            }
            Recipe::Bcast | Recipe::ScatterAllgather | Recipe::BcastPending => {
                Outcome::Message(root)
            }
            Recipe::Scatter | Recipe::Scatterv => Outcome::Block(root),
            Recipe::Gather
            | Recipe::Gatherv
            | Recipe::Allgather
            | Recipe::GatherBcast
            | Recipe::Allgatherv
            | Recipe::AllgatherPending => Outcome::Blocks,
            Recipe::Alltoall | Recipe::Alltoallv => Outcome::Transposed,
            Recipe::Reduce
            | Recipe::ReduceScatterGather
            | Recipe::Allreduce
            | Recipe::ReduceBcast
            | Recipe::ReduceScatterAllgather
            | Recipe::AllreducePending => Outcome::Sums,
            Recipe::ReduceScatterBlock | Recipe::ReduceThenScatter | Recipe::ReduceScatter => {
                Outcome::SumsOfBlock
            }
            Recipe::Scan | Recipe::ExscanAdd => Outcome::Prefix,
        }
    }

    fn length(&self, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Nothing => 0,
            Outcome::SumsOfBlock | Outcome::Block(_) => self.block,
            _ => self.mine.len(),
        }
    }

    fn element(&self, outcome: Outcome, world: &Communicator, at: usize) -> f64 {
        let (rank, block) = (world.rank(), self.block);
        let of = |from: usize, at: usize| addends::of(from, self.salt, at);
        let sum = |ranks: usize, at: usize| (0..ranks).map(|from| of(from, at)).sum();
        match outcome {
            Outcome::Nothing => 0.0,
            Outcome::Sums => sum(world.size(), at),
            Outcome::SumsOfBlock => sum(world.size(), rank * block + at),
            Outcome::Prefix => sum(rank + 1, at),
            Outcome::Blocks => of(at / block, at % block),
            Outcome::Transposed => of(at / block, rank * block + at % block),
            Outcome::Message(root) => of(root, at),
            Outcome::Block(root) => of(root, rank * block + at),
        }
    }
}

impl Work for Cook {
    fn prepare(&mut self, world: &Communicator, salt: usize, _: usize) {
        self.salt = salt;
        addends::fill(&mut self.mine, world.rank(), salt);
    }

    fn operate(&mut self, world: &Communicator, index: usize) -> phalanx::Result<bool> {
        let root = index % world.size();
        match self.recipe {
            Recipe::Barrier => world.barrier()?,
            Recipe::BarrierPending => world.ibarrier()?.wait()?,
            recipe if recipe < Recipe::Reduce => self.result = self.exchange(world, root)?,
            _ => self.result = self.combine(world, root)?,
        }
        let outcome = self.outcome(world.rank(), root);
        Ok(self.result.len() == self.length(outcome))
    }

    fn check(&mut self, world: &Communicator, last: usize) -> Result<(), Trouble> {
        let outcome = self.outcome(world.rank(), last % world.size());
        let found = self.result.iter().enumerate();
        let mut wrong = found.filter(|(at, found)| **found != self.element(outcome, world, *at));
        wrong.next().map_or(Ok(()), |(at, found)| {
            Err(Trouble::Wrong(format!(
                "{} of {} doubles, operation {last}: element {at} is {found} instead of {}",
                self.recipe.label(),
                self.mine.len(),
                self.element(outcome, world, at)
            )))
        })
    }
}
