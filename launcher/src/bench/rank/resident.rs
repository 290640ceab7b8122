//! What a rank costs while it does nothing.

use std::time::Duration;

use phalanx::Communicator;
use rustix::time::{ClockId, clock_gettime};

use super::Trouble;

const RELEASE: u8 = 3;

/// MiB of each rank: its proportional share of memory, which the kernel knows, while it is blocked in a
/// receive. Known at rank 0 only.
pub(super) fn memory(world: &Communicator) -> Result<Vec<f64>, Trouble> {
    let processes = world.gather(&[std::process::id()], 0)?;
    let Some(processes) = processes else {
        world.recv_into::<u8>(&mut [0], 0, RELEASE)?;
        return Ok(Vec::new());
    };
    // The others arrive in their receive.
    std::thread::sleep(Duration::from_millis(20));
    let shares = processes.into_iter().map(share).collect();
    release(world)?;
    shares
}

fn release(world: &Communicator) -> phalanx::Result<()> {
    (1..world.size()).try_for_each(|rank| world.send(&[1_u8], rank, RELEASE))
}

fn share(process: u32) -> Result<f64, Trouble> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Trouble::System(format!("cannot read {path}: {error}")))?;
    share_in(&text).ok_or_else(|| Trouble::System(format!("{path} has no line `Pss:`")))
}

/// MiB in the line `Pss:            1234 kB`.
fn share_in(rollup: &str) -> Option<f64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Microseconds of CPU for each second of being blocked, of every rank but the first, which wakes them.
/// Known at rank 0 only.
pub(super) fn idle(world: &Communicator, seconds: f64) -> Result<Vec<f64>, Trouble> {
    world.barrier()?;
    let mut used = 0.0;
    if world.rank() == 0 {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        release(world)?;
    } else {
        let before = process_micros();
        world.recv_into::<u8>(&mut [0], 0, RELEASE)?;
        used = (process_micros() - before) / seconds;
    }
    let all = world.gather(&[used], 0)?.unwrap_or_default();
    Ok(all.into_iter().skip(1).collect())
}

/// CPU time of this process so far.
fn process_micros() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_read() {
        let text = "55d-7ffe ---p 00000000 00:00 0  [rollup]\nRss:   4096 kB\nPss:   1536 kB\nPss_Dirty: 9 kB\n";
        assert_eq!(share_in(text), Some(1.5));
        assert_eq!(share_in("Rss: 1 kB"), None);
    }

    #[test]
    fn a_blocked_rank_is_watched() {
        let used = phalanx::threads(3, |world| {
            Ok(idle(&world, 0.01).map_err(|trouble| trouble.to_string()))
        });
        let used = used.expect("runs").swap_remove(0).expect("measured");
        assert_eq!(used.len(), 2);
        assert!(used.iter().all(|micros| *micros >= 0.0));
    }
}
