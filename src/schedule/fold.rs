//! Combining what other ranks send, one contribution after the other.

use super::builder::{Builder, Id};
use super::{Order, Span};

/// Contributions that may be on their way at once besides the first.
const SPARES: usize = 2;

/// A reduction that grows at its left or right end by what is received.
///
/// The first contribution is received into the place of the result and combined with the own one there,
/// so the input is never copied; later ones go through spare buffers.
#[derive(Debug)]
pub(crate) struct Fold {
    own: Span,
    into: Option<Span>,
    begun: bool,
    latest: Id,
    spares: [(Option<Span>, Id); SPARES],
    turn: usize,
}

impl Fold {
    /// Folds into `into`, or into scratch memory when that is `None` and anything is received at all.
    pub(crate) fn new(own: Span, into: Option<Span>) -> Self {
        let spares = [(None, Id::NONE); SPARES];
        Self {
            own,
            into,
            begun: false,
            latest: Id::NONE,
            spares,
            turn: 0,
        }
    }

    /// Folds into the own contribution, which may be read by no one else before `ready`.
    pub(crate) fn in_place(own: Span, ready: Id) -> Self {
        Self {
            begun: true,
            latest: ready,
            ..Self::new(own, Some(own))
        }
    }

    /// Where the value so far lies, and the step that has it complete.
    pub(crate) fn value(&self) -> (Span, Id) {
        let into = if self.begun { self.into } else { None };
        (into.unwrap_or(self.own), self.latest)
    }

    /// Receives a contribution and combines it; `IntoFrom` puts it on the right of the value so far.
    /// The reduction also waits for `also`, a step that reads the value so far.
    pub(crate) fn receive(
        &mut self,
        builder: &mut Builder,
        from: usize,
        round: u32,
        order: Order,
        also: Id,
    ) {
        let into = *self
            .into
            .get_or_insert_with(|| builder.scratch(self.own.length));
        if !self.begun {
            self.begun = true;
            let received = builder.receive(from, into, round, &[]);
            self.latest = builder.reduce(self.own, into, order.flipped(), &[received, also]);
            return;
        }
        let (spare, free) = &mut self.spares[self.turn % SPARES];
        let spare = *spare.get_or_insert_with(|| builder.scratch(self.own.length));
        let received = builder.receive(from, spare, round, &[*free]);
        self.latest = builder.reduce(spare, into, order, &[received, self.latest, also]);
        *free = self.latest;
        self.turn += 1;
    }
}
