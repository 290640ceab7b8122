//! Bruck's alltoall.
//!
//! Idea: the block for the rank at distance d to the right travels the powers of two in d: in round k all
//! blocks with bit k in their distance go 2^k to the right, in one message.
//!
//! Cost: ceil(log2 p) alpha + p/2 ceil(log2 p) m beta, and as many copies: for small blocks.
//! Restrictions: none. Source: Bruck et al., "Efficient algorithms for all-to-all communications in
//! multiport message-passing systems", 1997.

use crate::schedule::blocks::Blocks;
use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Counts, Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Alltoall,
    name: "bruck",
    commutative_only: false,
    summary: "log p rounds, blocks travel together",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let (rank, size) = (builder.rank, builder.size);
    let blocks = Blocks::new(Counts::Equal(count), size);
    let (input, output) = (Span::input(blocks.total()), Span::output(blocks.total()));
    builder.copy(blocks.one(input, rank), blocks.one(output, rank), &[]);
    if size == 1 || count == 0 {
        return;
    }
    builder.reserve(4 * size);

    // The blocks by the distance that they still have, or had, to go.
    let waiting = builder.scratch(blocks.total());
    let run =
        |buffer: Span, first: usize, number: usize| buffer.part(first * count, number * count);
    let [above, below] = blocks.run(input, rank, size);
    let rotated = [
        builder.copy(above, waiting.part(0, above.length), &[]),
        builder.copy(below, waiting.part(above.length, below.length), &[]),
    ];
    let most = size.div_ceil(2);
    let packet = builder.scratch(most * count);
    let arrivals = [0, 1].map(|_| builder.scratch(most * count));

    let mut ready = builder.join(&rotated);
    let (mut sent, mut unpacked, mut copies) = (Id::NONE, [Id::NONE; 2], Vec::with_capacity(most));
    let mut bit = 1;
    while bit < size {
        let (round, slot) = (bit.trailing_zeros(), bit.trailing_zeros() as usize % 2);
        // Those with the bit lie in runs of `bit` blocks.
        let runs = || {
            (bit..size).step_by(2 * bit).scan(0, |packed, first| {
                let (place, number) = (*packed, bit.min(size - first));
                *packed += number;
                Some((first, place, number))
            })
        };
        copies.clear();
        let mut total = 0;
        for (first, place, number) in runs() {
            let (from, into) = (run(waiting, first, number), run(packet, place, number));
            copies.push(builder.copy(from, into, &[ready, sent]));
            total += number;
        }
        let packed = builder.join(&copies);
        let arrival = run(arrivals[slot], 0, total);
        let received = builder.receive(builder.left(bit), arrival, round, &[unpacked[slot]]);
        sent = builder.send(builder.right(bit), run(packet, 0, total), round, &[packed]);

        copies.clear();
        for (first, place, number) in runs() {
            if first == bit {
                // Their last journey: each has come from the rank at its distance to the left.
                for distance in first..first + number {
                    let from = run(arrival, place + distance - first, 1);
                    let into = blocks.one(output, builder.left(distance));
                    copies.push(builder.copy(from, into, &[received]));
                }
            } else {
                let (from, into) = (run(arrival, place, number), run(waiting, first, number));
                copies.push(builder.copy(from, into, &[received, packed]));
            }
        }
        copies.push(packed);
        ready = builder.join(&copies);
        unpacked[slot] = ready;
        bit *= 2;
    }
}
