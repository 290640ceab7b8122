//! How an operation is timed.
//!
//! A repetition: one operation that is not timed, as writing and checking the data has left something in the caches that is no part of
//! it; then all ranks meet, and each times a batch of operations. What is kept is the time of the
//! slowest rank, divided by the operations of the batch. The ranks meet in a dissemination barrier of empty
//! messages, so that the barrier of the library, which may be what is measured, has no part in it. They
//! leave it some microseconds apart (more when they share cores) and the clock itself costs some
//! nanoseconds; batches are so long that neither matters. Times stay with their ranks until the last
//! repetition, so that nothing but the operation and the meeting is on the wire.

use std::time::Instant;

use phalanx::{Communicator, Max};

use super::{Trouble, Work};
use crate::bench::order::Pace;

/// What was measured, alike on all ranks.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) batch: usize,
    /// Microseconds of one operation on the slowest rank, one for each repetition.
    pub(super) micros: Vec<f64>,
}

/// Shortest batch, in microseconds: with a core for each rank, and without.
const BATCH_MICROS: [f64; 2] = [200.0, 1000.0];
const BATCH_MAX: usize = 100_000;
/// Repetitions that the budget decides about.
const REPETITIONS: std::ops::RangeInclusive<usize> = 5..=1000;
/// Part of the budget that goes into the warm-up.
const WARM_UP: f64 = 0.2;
const WARM_UP_ROUNDS_MIN: usize = 3;

/// Measures one operation. A collective.
pub(super) fn measure(
    world: &Communicator,
    control: &Communicator,
    work: &mut dyn Work,
    pace: &Pace,
) -> Result<Measured, Trouble> {
    let crowded = world.size() > crate::bench::machine::cores();
    let enough = BATCH_MICROS[usize::from(crowded)];
    let mut runner = Runner {
        world,
        control,
        work,
        done: 0,
        salt: 0,
    };
    let (mut batch, mut spent, mut rounds, mut each) = (1, 0.0, 0, f64::INFINITY);
    // All ranks see the same times, and so decide alike.
    loop {
        let micros = control.allreduce(runner.batch(batch)?, Max)?;
        rounds += 1;
        spent += micros;
        // Other programs can only make it longer.
        each = f64::min(each, micros / batch as f64).max(1e-3);
        let long_enough = micros >= enough || batch >= BATCH_MAX;
        if rounds >= WARM_UP_ROUNDS_MIN
            && long_enough
            && spent >= WARM_UP * pace.budget_seconds * 1e6
        {
            break;
        }
        if !long_enough {
            batch = ((enough / each) as usize)
                .clamp(batch + 1, (2 * batch).max(8))
                .min(BATCH_MAX);
        }
    }
    let batch = ((enough / each).ceil() as usize).clamp(1, BATCH_MAX);
    let affordable = pace.budget_seconds * 1e6 / (each * batch as f64);
    let repetitions = pace
        .repetitions
        .unwrap_or_else(|| (affordable as usize).clamp(*REPETITIONS.start(), *REPETITIONS.end()));
    let mut micros = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        micros.push(runner.batch(batch)?);
    }
    control.allreduce_into(&mut micros, Max)?;
    let operations = (batch * runner.work.parts()) as f64;
    micros.iter_mut().for_each(|time| *time /= operations);
    Ok(Measured { batch, micros })
}

struct Runner<'a> {
    world: &'a Communicator,
    control: &'a Communicator,
    work: &'a mut dyn Work,
    /// Operations so far.
    done: usize,
    salt: usize,
}

impl Runner<'_> {
    /// One repetition: the microseconds that this rank took for the whole batch.
    fn batch(&mut self, operations: usize) -> Result<f64, Trouble> {
        let Self { world, .. } = *self;
        self.work.prepare(world, self.salt, self.done);
        self.salt += 1;
        let mut right = self.work.operate(world, self.done)?;
        self.done += 1;
        meet(self.control)?;
        let begun = Instant::now();
        for _ in 0..operations {
            right &= self.work.operate(world, self.done)?;
            self.done += 1;
        }
        let micros = begun.elapsed().as_secs_f64() * 1e6;
        // A rank that checks takes the core from one that shares it and is not done yet.
        meet(self.control)?;
        self.work.check(world, self.done - 1)?;
        if right {
            return Ok(micros);
        }
        Err(Trouble::Wrong(format!(
            "one of the operations {} to {} gave an old or a torn result",
            self.done - operations - 1,
            self.done - 1
        )))
    }
}

/// Lets the operating system find out what these processes are, and give each a core where there are
/// enough: new ones often share one for a while.
pub(super) fn settle(control: &Communicator) -> Result<(), Trouble> {
    const SECONDS: f64 = 0.05;
    let begun = Instant::now();
    while control.allreduce(begun.elapsed().as_secs_f64(), Max)? < SECONDS {
        meet(control)?;
    }
    Ok(())
}

/// A dissemination barrier of empty messages.
fn meet(control: &Communicator) -> phalanx::Result<()> {
    let (rank, size) = (control.rank(), control.size());
    let mut distance = 1;
    while distance < size {
        let (to, from) = ((rank + distance) % size, (rank + size - distance) % size);
        control.sendrecv_into::<u8, u8>(&[], to, distance, &mut [], from, distance)?;
        distance *= 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::work;
    use super::*;
    use crate::bench::case::Case;
    use crate::bench::order::Point;
    use crate::bench::recipe::Recipe;

    const PACE: Pace = Pace {
        budget_seconds: 1e-4,
        repetitions: Some(3),
        idle_seconds: 0.1,
    };

    /// Runs a case on threads and gives the outcome of rank 0.
    fn on_threads(ranks: usize, case: Case, bytes: usize) -> Result<Measured, String> {
        of_point(ranks, Point::of(case, bytes))
    }

    fn of_point(ranks: usize, point: Point) -> Result<Measured, String> {
        let outcomes = phalanx::threads(ranks, |world| {
            let control = world.dup();
            let mut work = work(&world, &point).expect("an operation");
            let outcome = measure(&world, &control, &mut *work, &PACE);
            Ok(outcome.map_err(|trouble| trouble.to_string()))
        });
        outcomes.expect("runs").swap_remove(0)
    }

    #[test]
    fn every_operation_gives_right_results() {
        for (case, ranks, bytes) in [
            (Case::Pingpong, 2, 1),
            (Case::Pingpong, 2, 70_000),
            (Case::Echo, 2, 1),
            (Case::Echo, 2, 70_000),
            (Case::Bandwidth, 2, 100),
            (Case::MessageRate, 5, 8),
            (Case::Barrier, 3, 0),
            (Case::Allreduce, 3, 8),
            (Case::Allreduce, 3, 40_000),
            (Case::Bcast, 3, 1),
            (Case::Bcast, 3, 3000),
            (Case::Reduce, 3, 800),
            (Case::Allgather, 3, 100),
            (Case::Alltoall, 3, 100),
            (Case::Iterate, 3, 0),
            (Case::Iterate, 1, 0),
        ] {
            let measured = on_threads(ranks, case, bytes).expect("right");
            assert_eq!(measured.micros.len(), 3, "{case:?}");
            assert!(measured.micros.iter().all(|time| *time > 0.0), "{case:?}");
        }
    }

    #[test]
    fn every_recipe_gives_right_results() {
        for recipe in Recipe::ALL {
            for (ranks, bytes) in [(1, 8), (3, 8), (3, 5000)] {
                let point = Point {
                    recipe: Some(recipe),
                    ..Point::of(Case::Guidelines, bytes)
                };
                let outcome = of_point(ranks, point);
                assert!(outcome.is_ok(), "{recipe:?}: {outcome:?}");
            }
        }
    }

    /// An operation that does nothing from its fifth call on.
    struct Lazy;

    impl Work for Lazy {
        fn prepare(&mut self, _: &Communicator, _: usize, _: usize) {}
        fn operate(&mut self, _: &Communicator, index: usize) -> phalanx::Result<bool> {
            Ok(index < 5)
        }
        fn check(&mut self, _: &Communicator, _: usize) -> Result<(), Trouble> {
            Ok(())
        }
    }

    #[test]
    fn a_wrong_result_within_a_batch_is_an_error() {
        let outcome = phalanx::threads(1, |world| {
            Ok(measure(&world, &world.dup(), &mut Lazy, &PACE)
                .expect_err("wrong")
                .to_string())
        });
        let message = outcome.expect("runs").swap_remove(0);
        assert!(
            message.starts_with("wrong result: one of the operations"),
            "{message}"
        );
    }
}
