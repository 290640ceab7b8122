//! Alltoall and alltoallv: each block of everyone's input to its place in its rank's output.

pub(super) mod bruck;
pub(super) mod linear;
pub(super) mod pairwise;
pub(super) mod scattered;

use super::blocks::Blocks;
use super::builder::{Builder, Id};
use super::{Counts, Span};

/// Sends each rank its block, nearest to the right first, and receives from each, nearest to the left
/// first; the exchange of a step waits for the one `window` steps before.
fn exchange(builder: &mut Builder, sends: Counts<'_>, receives: Counts<'_>, window: usize) {
    let (rank, size) = (builder.rank, builder.size);
    let (sends, receives) = (Blocks::new(sends, size), Blocks::new(receives, size));
    let (input, output) = (Span::input(sends.total()), Span::output(receives.total()));
    builder.reserve(2 * size);
    builder.copy(sends.one(input, rank), receives.one(output, rank), &[]);
    // With few ranks nothing ever waits, and nothing is remembered.
    let mut done = vec![[Id::NONE; 2]; if window < size { window } else { 0 }];
    for step in 1..size {
        let (to, from) = (builder.right(step), builder.left(step));
        let slot = step % window;
        let after = done.get(slot).copied().unwrap_or([Id::NONE; 2]);
        let received = builder.receive(from, receives.one(output, from), 0, &after);
        let sent = builder.send(to, sends.one(input, to), 0, &after);
        if let Some(done) = done.get_mut(slot) {
            *done = [received, sent];
        }
    }
}
