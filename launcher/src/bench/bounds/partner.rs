//! Other processes: what it costs to start one, and to switch to one.

use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use phalanx::sys::process::{Tether, spawn_tethered};

use super::{pin, sample};

/// The first argument of a process that helps to measure; the second says how.
const PARTNER_WORD: &str = "bench-partner";
/// It ends at once.
const LEAVE: &str = "leave";
/// It yields the first core until its standard input ends.
const YIELD: &str = "yield";

/// When this process was started as a partner, does what it is told.
pub(crate) fn answer_the_call() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != PARTNER_WORD {
        return None;
    }
    if words.next().is_some_and(|word| word == YIELD) {
        yield_until_told();
    }
    Some(ExitCode::SUCCESS)
}

fn yield_until_told() {
    let told = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            told.store(true, std::sync::atomic::Ordering::Release);
        });
        pin(0);
        // Pairs with the store of the thread that reads.
        while !told.load(std::sync::atomic::Ordering::Acquire) {
            std::thread::yield_now();
        }
    });
}

fn start(word: &str) -> Option<Child> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    command
        .args([PARTNER_WORD, word])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    spawn_tethered(&mut command, Tether::default()).ok()
}

/// Microseconds from the start to the end of a process of this program that does nothing.
pub(super) fn spawn(time: Duration) -> Option<f64> {
    sample(time, || {
        let ended = start(LEAVE).and_then(|mut child| child.wait().ok());
        usize::from(ended.is_some_and(|status| status.success()))
    })
}

/// Microseconds of one switch between two processes that yield one core to each other.
pub(super) fn switch(time: Duration) -> Option<f64> {
    let mut child = start(YIELD)?;
    let micros = std::thread::scope(|scope| {
        let measuring = scope.spawn(move || {
            pin(0);
            yields(time)
        });
        measuring.join().ok().flatten()
    });
    drop(child.stdin.take());
    child.wait().ok()?;
    micros
}

/// Yields for a while. Whoever yields twice has been switched away from and back to; how often that
/// really happened is what the kernel counts.
fn yields(time: Duration) -> Option<f64> {
    const STARTED_AFTER: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    while begun.elapsed() < STARTED_AFTER {
        std::thread::yield_now();
    }
    let (begun, before) = (Instant::now(), switches()?);
    while begun.elapsed() < time {
        (0..64).for_each(|_| std::thread::yield_now());
    }
    let (elapsed, away) = (begun.elapsed(), switches()?.checked_sub(before)?);
    (away > 0).then(|| elapsed.as_secs_f64() * 1e6 / (2 * away) as f64)
}

/// How often this thread was switched away from.
fn switches() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let count = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().parse().ok()
    };
    Some(count("voluntary_ctxt_switches")? + count("nonvoluntary_ctxt_switches")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_switches() {
        let before = switches().expect("Linux");
        std::thread::sleep(Duration::from_millis(1));
        assert!(switches().expect("Linux") > before);
    }
}
