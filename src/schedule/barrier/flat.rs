//! Flat barrier.
//!
//! Idea: everyone reports to rank 0, which then releases everyone. A rank sleeps at most once, so with
//! many ranks on few cores this beats algorithms of fewer rounds.
//!
//! Cost: 2(p-1) messages, all at rank 0. Restrictions: none. Source: folklore.

use crate::schedule::builder::Builder;
use crate::schedule::registry::{Algorithm, Make};
use crate::schedule::{Kind, Span};

pub(crate) static ALGORITHM: Algorithm = Algorithm {
    kind: Kind::Barrier,
    name: "flat",
    commutative_only: false,
    summary: "report to rank 0, which releases all: one sleep per rank",
    make: Make::Nothing(build),
};

fn build(builder: &mut Builder) {
    let nothing = Span::output(0);
    if builder.rank == 0 {
        let others = 1..builder.size;
        let heard: Vec<_> = others
            .clone()
            .map(|from| builder.await_notice(from, nothing, 0, &[]))
            .collect();
        if builder.size > 1 {
            let all = builder.join(&heard);
            for to in others {
                builder.notify(to, nothing, 0, &[all]);
            }
        }
    } else {
        builder.notify(0, nothing, 0, &[]);
        builder.await_notice(0, nothing, 0, &[]);
    }
}
