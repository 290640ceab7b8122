//! The threads of this process, and which of them may still do something by themselves.
//!
//! A thread that sleeps on a futex of this process without a time limit can only be woken by another thread
//! of the process. So when all of them sleep so, or wait for other ranks, none will ever act.

#[cfg(target_os = "linux")]
use std::fs;

/// How the threads that the library starts are called.
pub const OWN_PREFIX: &str = "phalanx-";

/// How many threads of this process may act by themselves, besides those with these ids and the library's
/// own. All of them count when the operating system does not tell.
pub fn free_threads(besides: &[i32]) -> u32 {
    count(besides).unwrap_or(u32::MAX)
}

/// The id of the calling thread, for [`free_threads`].
pub fn this_thread() -> i32 {
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid().as_raw_nonzero().get();
    #[cfg(not(target_os = "linux"))]
    0
}

#[cfg(target_os = "linux")]
fn count(besides: &[i32]) -> Option<u32> {
    let entries = fs::read_dir("/proc/self/task").ok()?;
    let ids: Option<Vec<i32>> = entries
        .map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let ids = ids?;
    let others = ids.iter().filter(|id| !besides.contains(id));
    let free = others.filter(|id| {
        let read = |what: &str| fs::read_to_string(format!("/proc/self/task/{id}/{what}"));
        let name = read("comm").unwrap_or_default();
        let call = read("syscall").unwrap_or_default();
        !name.starts_with(OWN_PREFIX) && !sleeps_for_good(&call, &ids)
    });
    u32::try_from(free.count()).ok()
}

#[cfg(not(target_os = "linux"))]
fn count(_besides: &[i32]) -> Option<u32> {
    None
}

/// Whether a thread in this system call (`number argument ...`) sleeps until another thread of the process
/// wakes it, or ends.
#[cfg(target_os = "linux")]
fn sleeps_for_good(call: &str, threads: &[i32]) -> bool {
    const COMMANDS: i64 = 127;
    let mut words = call.split_whitespace();
    let number = words.next().and_then(|word| word.parse::<i64>().ok());
    if number != Some(libc::SYS_futex) {
        return false;
    }
    let arguments: Option<Vec<i64>> = words
        .take(4)
        .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok())
        .map(|word| word.map(|word| word as i64))
        .collect();
    let Some([_, operation, value, limit]) = arguments.as_deref() else {
        return false;
    };
    let command = operation & COMMANDS;
    let waits = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET].map(i64::from);
    let private = operation & i64::from(libc::FUTEX_PRIVATE_FLAG) != 0;
    // A thread that joins another one waits for its id to be cleared, which the kernel does.
    let joins = threads.iter().any(|id| i64::from(*id) == *value);
    waits.contains(&command) && *limit == 0 && (private || joins)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn only_untimed_sleep_on_a_futex_of_this_process_is_for_good() {
        let futex = libc::SYS_futex;
        for (call, expected) in [
            (
                format!("{futex} 0x7f00 0x80 0x2 0x0 0x0 0x0 0x7ffe 0x7f01"),
                true,
            ),
            (
                format!("{futex} 0x7f00 0x189 0x2 0x0 0x0 0xffffffff 0x7ffe 0x7f01"),
                true,
            ),
            (
                format!("{futex} 0x7f00 0x80 0x2 0x7ff0 0x0 0x0 0x7ffe 0x7f01"),
                false,
            ),
            (
                format!("{futex} 0x7f00 0x109 0x4d2 0x0 0x0 0xffffffff 0x7ffe 0x7f01"),
                true,
            ),
            (
                format!("{futex} 0x7f00 0x109 0x4d3 0x0 0x0 0xffffffff 0x7ffe 0x7f01"),
                false,
            ),
            (
                "0 0x3 0x7f00 0x1000 0x0 0x0 0x0 0x7ffe 0x7f01".into(),
                false,
            ),
            ("running".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(sleeps_for_good(&call, &[1234]), expected, "{call}");
        }
    }

    #[test]
    fn a_thread_that_sleeps_for_a_while_counts_and_one_that_waits_for_a_word_does_not() {
        let (tell, told) = mpsc::channel::<()>();
        let (ready, is_ready) = mpsc::channel::<i32>();
        let waits = {
            let ready = ready.clone();
            std::thread::spawn(move || {
                let _ = ready.send(rustix::thread::gettid().as_raw_nonzero().get());
                let _ = told.recv();
            })
        };
        let waiting = is_ready.recv().expect("its id");
        let state = |id: i32| fs::read_to_string(format!("/proc/self/task/{id}/syscall"));
        let for_good = |id: i32| sleeps_for_good(&state(id).unwrap_or_default(), &[]);
        while !for_good(waiting) {
            std::thread::yield_now();
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let sleeps = std::thread::spawn(move || {
            let _ = ready.send(rustix::thread::gettid().as_raw_nonzero().get());
            let _ = stopped.recv_timeout(Duration::from_secs(60));
        });
        let sleeping = is_ready.recv().expect("its id");
        for _ in 0..100 {
            assert!(!for_good(sleeping));
        }
        drop((tell, stop));
        waits.join().expect("ends");
        sleeps.join().expect("ends");
    }
}
