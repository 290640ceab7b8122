//! Pi by throwing darts: every rank throws its own, one reduction adds up the hits.

use std::process::ExitCode;

use phalanx::Sum;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const DARTS: u64 = 2_000_000;

fn main() -> ExitCode {
    phalanx::run(|world| -> phalanx::Result<()> {
        // A stream of random numbers of its own for each rank, the same in every run.
        let mut random = StdRng::seed_from_u64(world.rank() as u64);
        let mut hit = || {
            let (x, y): (f64, f64) = (random.random(), random.random());
            x * x + y * y < 1.0
        };
        let hits = (0..DARTS).filter(|_| hit()).count() as u64;
        if let Some(hits) = world.reduce(hits, Sum, 0)? {
            let darts = (DARTS * world.size() as u64) as f64;
            let share = hits as f64 / darts;
            let error = 4.0 * (share * (1.0 - share) / darts).sqrt();
            println!("pi is {:.6}, give or take {error:.6}", 4.0 * share);
        }
        Ok(())
    })
}
