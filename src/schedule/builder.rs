//! Adding steps, with their dependencies, to a schedule.

use super::{Order, Place, ROUNDS_MAX, Schedule, Span, Step};

/// A step that was added, or nothing where an empty step was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u32);

impl Id {
    /// No step; waiting for it is no wait.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// Whether there is a step.
    pub(crate) fn is_some(self) -> bool {
        self != Self::NONE
    }
}

/// Builds the schedule of one rank.
///
/// Steps of no elements are left out; what would wait for them waits for nothing in their place. So an
/// algorithm that hands on "the latest step" must keep the one before when it gets [`Id::NONE`].
#[derive(Debug)]
pub(crate) struct Builder {
    /// This rank.
    pub(crate) rank: usize,
    /// Number of ranks.
    pub(crate) size: usize,
    /// Size of an element; only segmenting depends on it.
    pub(crate) element_bytes: usize,
    schedule: Schedule,
}

impl Builder {
    pub(crate) fn new(
        algorithm: &'static str,
        rank: usize,
        size: usize,
        element_bytes: usize,
    ) -> Self {
        assert!(rank < size, "rank {rank} of {size}");
        let schedule = Schedule {
            algorithm,
            ..Schedule::default()
        };
        Self {
            rank,
            size,
            element_bytes,
            schedule,
        }
    }

    pub(crate) fn finish(self) -> Schedule {
        self.schedule
    }

    /// Makes room for that many more steps.
    pub(crate) fn reserve(&mut self, steps: usize) {
        self.schedule.steps.reserve(steps);
        self.schedule.after.ends.reserve(steps);
        self.schedule.after.edges.reserve(steps);
    }

    /// New scratch memory.
    pub(crate) fn scratch(&mut self, length: usize) -> Span {
        let offset = self.schedule.scratch;
        self.schedule.scratch += length;
        Span {
            place: Place::Scratch,
            offset,
            length,
        }
    }

    /// The rank that is `distance` to the right, around the circle; `distance` is at most the size.
    pub(crate) fn right(&self, distance: usize) -> usize {
        (self.rank + distance) % self.size
    }

    /// The rank that is `distance` to the left, around the circle; `distance` is at most the size.
    pub(crate) fn left(&self, distance: usize) -> usize {
        (self.rank + self.size - distance) % self.size
    }

    pub(crate) fn send(&mut self, to: usize, from: Span, round: u32, after: &[Id]) -> Id {
        if from.length == 0 {
            Id::NONE
        } else {
            self.notify(to, from, round, after)
        }
    }

    pub(crate) fn receive(&mut self, from: usize, into: Span, round: u32, after: &[Id]) -> Id {
        if into.length == 0 {
            Id::NONE
        } else {
            self.await_notice(from, into, round, after)
        }
    }

    /// A send that is not left out when it is empty.
    pub(crate) fn notify(&mut self, to: usize, from: Span, round: u32, after: &[Id]) -> Id {
        debug_assert!(to < self.size && to != self.rank && round < ROUNDS_MAX);
        self.push(Step::Send { to, from, round }, after)
    }

    /// A receive that is not left out when it is empty.
    pub(crate) fn await_notice(&mut self, from: usize, into: Span, round: u32, after: &[Id]) -> Id {
        debug_assert!(from < self.size && from != self.rank && round < ROUNDS_MAX);
        self.push(Step::Receive { from, into, round }, after)
    }

    pub(crate) fn reduce(&mut self, from: Span, into: Span, order: Order, after: &[Id]) -> Id {
        debug_assert_eq!(from.length, into.length);
        if into.length == 0 {
            return Id::NONE;
        }
        self.push(Step::Reduce { from, into, order }, after)
    }

    pub(crate) fn copy(&mut self, from: Span, into: Span, after: &[Id]) -> Id {
        debug_assert_eq!(from.length, into.length);
        if into.length == 0 {
            return Id::NONE;
        }
        self.push(Step::Copy { from, into }, after)
    }

    /// A step that does nothing and stands for all of `after`.
    pub(crate) fn join(&mut self, after: &[Id]) -> Id {
        let nothing = Span {
            place: Place::Scratch,
            offset: 0,
            length: 0,
        };
        self.push(
            Step::Copy {
                from: nothing,
                into: nothing,
            },
            after,
        )
    }

    fn push(&mut self, step: Step, after: &[Id]) -> Id {
        let id = Id(self.schedule.steps.len() as u32);
        debug_assert!(
            after
                .iter()
                .all(|earlier| !earlier.is_some() || earlier.0 < id.0)
        );
        self.schedule.steps.push(step);
        self.schedule
            .after
            .push(after.iter().filter(|id| id.is_some()).map(|id| id.0));
        id
    }
}
