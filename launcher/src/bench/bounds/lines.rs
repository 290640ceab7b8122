//! A cache line that goes to another core and back.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{on_two_cores, sample};
use crate::bench::machine;

#[repr(align(128))]
struct Line(AtomicU64);

const STOP: u64 = u64::MAX;

/// Microseconds one way. `None` with a single core.
pub(super) fn pingpong(time: Duration) -> Option<f64> {
    const ROUND_TRIPS: u64 = 1000;
    if machine::cores() < 2 {
        return None;
    }
    let (there, back) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let (there, back) = (&there.0, &back.0);
    let ask = move || {
        let mut turn = 0;
        let result = sample(time, || {
            for _ in 0..ROUND_TRIPS {
                turn += 1;
                // Pairs with the other thread's loads and stores: each waits for the other's value.
                there.store(turn, Ordering::Release);
                while back.load(Ordering::Acquire) != turn {
                    spin_loop();
                }
            }
            2 * ROUND_TRIPS as usize
        });
        there.store(STOP, Ordering::Release);
        result
    };
    let answer = move || {
        let mut seen = 0;
        while seen != STOP {
            let now = there.load(Ordering::Acquire);
            if now != seen {
                seen = now;
                back.store(now, Ordering::Release);
            } else {
                spin_loop();
            }
        }
    };
    on_two_cores(ask, answer)?
}
