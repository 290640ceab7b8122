//! Far more ranks than cores compute and exchange for long: nobody is taken for dead, stuck or out of step.
//! `PHALANX_CALM_SECONDS=300` makes it long.

mod common;

use std::time::{Duration, Instant};

use common::{leave, part, run_part};
use phalanx::{Communicator, Max, Result, Sum};

const RANKS: usize = 64;
/// Time for starting and ending, on a machine that does much else.
const SLACK: Duration = Duration::from_secs(180);

fn seconds() -> u64 {
    let asked = std::env::var("PHALANX_CALM_SECONDS").ok();
    asked.map_or(3, |text| text.parse().expect("seconds"))
}

#[test]
fn ranked_program() {
    if part().is_none() {
        return; // This process is the one that tests.
    }
    leave(phalanx::run(|world| {
        let rounds = calm(&world, Duration::from_secs(seconds()))?;
        if world.rank() == 0 {
            println!("{rounds} rounds");
        }
        world.finalize()
    }))
}

/// Uneven computation, borders to both sides, a sum; until the time is over for one of them.
fn calm(world: &Communicator, time: Duration) -> Result<u64> {
    let (rank, size) = (world.rank(), world.size());
    let (left, right) = ((rank + size - 1) % size, (rank + 1) % size);
    let begun = Instant::now();
    let mut border = vec![0_u64; 128];
    for round in 0_u64.. {
        let busy = Duration::from_micros(100 * ((round + rank as u64) % 11));
        let until = Instant::now() + busy;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        world.sendrecv_into(&[round; 128], right, 1, &mut border, left, 1)?;
        assert!(border.iter().all(|it| *it == round));
        let sum = world.allreduce(rank as u64 + round, Sum)?;
        assert_eq!(sum, (size * (size - 1) / 2) as u64 + size as u64 * round);
        let over = u8::from(begun.elapsed() > time);
        if world.allreduce(over, Max)? == 1 {
            return Ok(round);
        }
    }
    Ok(0)
}

#[test]
fn nobody_is_taken_for_dead_or_stuck() {
    let limit = Duration::from_secs(seconds()) + SLACK;
    let outcome = run_part("calm", RANKS, &[], limit);
    let text = outcome.text();
    assert!(
        outcome.code == Some(0) && text.contains("rounds"),
        "code {:?}\n{text}\n{}",
        outcome.code,
        outcome.stderr
    );
    let alarms = ["computing", "waits for", "lost", "died", "deadlock"];
    let told = alarms.iter().find(|word| outcome.stderr.contains(**word));
    assert!(told.is_none(), "{}", outcome.stderr);
    print!("{text}");
}
