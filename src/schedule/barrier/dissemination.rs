//! Dissemination barrier.
//!
//! Idea: in round k a rank tells the one at distance 2^k to the right that it, and everyone it has heard
//! of, is there. After all rounds everyone has heard of everyone.
//!
//! Cost: ceil(log2 p) alpha; p ceil(log2 p) messages. Restrictions: none.
//! Source: Hensgen, Finkel, Manber, "Two algorithms for barrier synchronization", 1988.

use crate::schedule::builder::{Builder, Id};
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::shape::ceil_log2;
use crate::schedule::{Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Barrier,
    name: "dissemination",
    commutative_only: false,
    summary: "log p rounds, distances 1, 2, 4, ...",
    make: Make::Nothing(build),
};

fn build(builder: &mut Builder) {
    let nothing = Span::output(0);
    let (mut sent, mut heard) = (Id::NONE, Id::NONE);
    for round in 0..ceil_log2(builder.size) {
        let (to, from) = (builder.right(1 << round), builder.left(1 << round));
        let received = builder.await_notice(from, nothing, round, &[]);
        // The send before has waited for everything heard before.
        sent = builder.notify(to, nothing, round, &[sent, heard]);
        heard = received;
    }
}
