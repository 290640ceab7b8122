//! Reduce-scatter and allgather on a circulant graph: logarithmically many rounds, each block moved
//! once, any number of ranks. Source: Träff, "Optimal, non-pipelined reduce-scatter and allreduce
//! algorithms", arXiv:2410.14234.
//!
//! In each round a rank that is concerned with the `far` blocks from its own on, around the circle,
//! gives the upper `far - near` to the rank at distance `near`, for which they are its first ones, and
//! receives as many for its own first ones. Blocks stay where they are in rank order, so a run may be
//! cut in two at the end of the buffer: the two halves of a round are two messages.

use super::blocks::Blocks;
use super::builder::{Builder, Id};
use super::shape::halving;
use super::{Order, Span};

/// What a reduce-scatter leaves.
#[derive(Debug)]
pub(crate) struct Scattered {
    /// The steps after which the own block is complete.
    pub(crate) ready: [Id; 3],
    /// The sends of each round; nothing in `work` but the own block may be written before them.
    pub(crate) sends: Vec<[Id; 2]>,
}

/// Number of rounds, in the sense of [`super::Step`], that one such phase takes.
pub(crate) fn rounds(size: usize) -> u32 {
    2 * super::shape::ceil_log2(size)
}

/// Leaves in `work`, which holds all blocks, the combination of this rank's block; the others there are
/// garbage. The contribution is in `source`, which may be `work` itself. Commutative operators only.
pub(crate) fn reduce_scatter(
    builder: &mut Builder,
    blocks: &Blocks,
    source: Span,
    work: Span,
) -> Scattered {
    let (rank, size) = (builder.rank, builder.size);
    builder.reserve(3 * rounds(size) as usize);
    let mut ready = [Id::NONE; 3];
    let mut sends = Vec::with_capacity(rounds(size) as usize / 2);
    if size == 1 && source != work {
        ready[0] = builder.copy(source, work, &[]);
    }
    for (number, (near, far)) in halving(size).enumerate() {
        let (to, from, given) = (builder.right(near), builder.left(near), far - near);
        let fresh = number == 0 && source != work;
        let away = blocks.run(if fresh { source } else { work }, rank + near, given);
        let kept = blocks.run(work, rank, given);
        let own = blocks.run(source, rank, given);
        let (mut sent, mut next) = ([Id::NONE; 2], [Id::NONE; 3]);
        for half in 0..2 {
            let round = (2 * number + half) as u32;
            sent[half] = builder.send(to, away[half], round, &ready);
            next[half] = if fresh {
                let received = builder.receive(from, kept[half], round, &[]);
                builder.reduce(own[half], kept[half], Order::FromInto, &[received])
            } else {
                let incoming = builder.scratch(kept[half].length);
                let received = builder.receive(from, incoming, round, &[]);
                let [one, two, three] = ready;
                builder.reduce(
                    incoming,
                    kept[half],
                    Order::IntoFrom,
                    &[received, one, two, three],
                )
            };
        }
        if fresh && given < near {
            // The number of blocks is odd: the middle one is not combined in this round.
            let middle = (rank + given) % size;
            next[2] = builder.copy(blocks.one(source, middle), blocks.one(work, middle), &[]);
        }
        sends.push(sent);
        if next.iter().any(|id| id.is_some()) {
            ready = next;
        }
    }
    Scattered { ready, sends }
}

/// Fills `work`, which holds all blocks, from the own block of every rank.
///
/// The own block is complete after `ready`; the blocks that a round fills are free after the sends that
/// the same round of a reduce-scatter made of them, if there was one.
pub(crate) fn allgather(
    builder: &mut Builder,
    blocks: &Blocks,
    work: Span,
    ready: &[Id],
    sends: &[[Id; 2]],
    first_round: u32,
) {
    let (rank, size) = (builder.rank, builder.size);
    builder.reserve(2 * rounds(size) as usize);
    let mut held = Vec::with_capacity(ready.len() + rounds(size) as usize);
    held.extend_from_slice(ready);
    for (number, (near, far)) in halving(size).enumerate().rev() {
        let (to, from, taken) = (builder.left(near), builder.right(near), far - near);
        let away = blocks.run(work, rank, taken);
        let home = blocks.run(work, rank + near, taken);
        let free = sends.get(number).copied().unwrap_or([Id::NONE; 2]);
        let mut received = [Id::NONE; 2];
        for half in 0..2 {
            let round = first_round + (2 * number + half) as u32;
            received[half] = builder.receive(from, home[half], round, &[free[half]]);
            builder.send(to, away[half], round, &held);
        }
        held.extend(received.into_iter().filter(|id| id.is_some()));
    }
}
