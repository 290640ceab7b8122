//! Recursive doubling allreduce, in rank order.
//!
//! Idea: in round k partners whose runs of 2^k ranks are neighbours exchange their values, and both put
//! the lower run's on the left. When p is not a power of two, the first ranks combine in pairs before,
//! and the upper of each pair, who takes part, tells the lower the result after.
//!
//! Cost: ceil(log2 p) (alpha + m beta + m gamma), one or two rounds more when p is not a power of two.
//! Restrictions: none. Source: Thakur, Rabenseifner, Gropp, "Optimization of collective communication
//! operations in MPICH", 2005.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::fold::Fold;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Order, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Allreduce,
    name: "recursive_doubling",
    commutative_only: false,
    summary: "exchange with partners at distances 1, 2, 4, ..., whole vector",
    make: Make::Whole(build),
};

fn build(builder: &mut Builder, count: usize) {
    let (rank, size) = (builder.rank, builder.size);
    let whole = Span::output(count);
    let players = 1 << size.ilog2();
    // The ranks below this are pairs.
    let paired = 2 * (size - players);
    let mut fold = Fold::in_place(whole, Id::NONE);
    if rank < paired && rank % 2 == 0 {
        let sent = builder.send(rank + 1, whole, 0, &[]);
        builder.receive(rank + 1, whole, 0, &[sent]);
        return;
    }
    if rank < paired {
        fold.receive(builder, rank - 1, 0, Order::FromInto, Id::NONE);
    }
    let player = if rank < paired {
        rank / 2
    } else {
        rank - paired / 2
    };
    let rank_of = |player: usize| {
        if player < paired / 2 {
            2 * player + 1
        } else {
            player + paired / 2
        }
    };
    for round in 0..players.trailing_zeros() {
        let other = player ^ (1 << round);
        let order = if other < player {
            Order::FromInto
        } else {
            Order::IntoFrom
        };
        let partner = rank_of(other);
        let (_, ready) = fold.value();
        let sent = builder.send(partner, whole, 1 + round, &[ready]);
        fold.receive(builder, partner, 1 + round, order, sent);
    }
    if rank < paired {
        let (_, ready) = fold.value();
        builder.send(rank - 1, whole, 0, &[ready]);
    }
}
