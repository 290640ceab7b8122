//! Limits of the operating system.

use rustix::process::{Resource, Rlimit, getrlimit};

use super::files::bytes;
use super::groups;
use crate::daemon::spawn::files_for;
use crate::doctor::words::Finding;

/// Files that a rank opens by itself, generously, before it has a connection.
const OWN_FILES: u64 = 32;
/// Processes and threads besides the ranks: the daemon, the way to it, and what users run.
const OWN_PROCESSES: u64 = 16;

/// How many files daemon and ranks may open.
pub(super) fn open_files(slots: u32, ranks: u32) -> Finding {
    judge_files(slots, ranks, getrlimit(Resource::Nofile))
}

fn judge_files(slots: u32, ranks: u32, limit: Rlimit) -> Finding {
    let soft = limit.current.unwrap_or(u64::MAX);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let daemon = files_for(slots as usize);
    let rank = OWN_FILES + u64::from(ranks);
    let found = format!("{} (at most {})", number(soft), number(hard));
    if hard < daemon {
        return Finding::wrong(
            format!("{found}; {slots} ranks need {daemon}"),
            "raise the limit (`ulimit -Hn`, /etc/security/limits.conf, LimitNOFILE= of sshd's \
             service), or start fewer ranks there",
        );
    }
    if soft < rank {
        return Finding::warning(
            format!("{found}; a rank that speaks to all {ranks} needs {rank}"),
            "raise the limit (`ulimit -Sn`, /etc/security/limits.conf) unless ranks speak to few",
        );
    }
    Finding::ok(found)
}

/// How many processes there may be.
pub(super) fn processes(slots: u32) -> Finding {
    let mut limits: Vec<(u64, u64, String)> = Vec::new();
    let user = rustix::process::getuid();
    // Root is not held to it.
    if let (false, Some(limit)) = (user.is_root(), getrlimit(Resource::Nproc).current) {
        limits.push((limit, threads_of(user.as_raw()), "this user".to_owned()));
    }
    for file in groups::files("pids", "pids.max") {
        let number = |file: &std::path::Path| -> Option<u64> {
            std::fs::read_to_string(file).ok()?.trim().parse().ok()
        };
        // Anything but a number is no limit.
        if let Some(limit) = number(&file) {
            let used = number(&file.with_file_name("pids.current")).unwrap_or(0);
            limits.push((limit, used, "a control group".to_owned()));
        }
    }
    let tightest = limits
        .into_iter()
        .min_by_key(|(limit, used, _)| limit.saturating_sub(*used));
    match tightest {
        None => Finding::ok("without limit"),
        Some((limit, used, whose)) => judge_processes(slots, limit, used, &whose),
    }
}

fn judge_processes(slots: u32, limit: u64, used: u64, whose: &str) -> Finding {
    let found = format!("{limit} for {whose}, {used} in use");
    let needed = u64::from(slots) + OWN_PROCESSES;
    if limit.saturating_sub(used) >= needed {
        return Finding::ok(found);
    }
    Finding::wrong(
        format!("{found}; {slots} ranks need {needed}"),
        "raise the limit (`ulimit -u`, or `pids.max` of the container), or end what is not needed",
    )
}

/// Threads of a user, which are what the kernel counts.
fn threads_of(user: u32) -> u64 {
    let field = |status: &str, name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let statuses =
        entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok());
    statuses
        .filter(|status| field(status, "Uid:") == Some(u64::from(user)))
        .map(|status| field(&status, "Threads:").unwrap_or(1))
        .sum()
}

/// How much memory may be locked, which Phalanx does not do itself.
pub(super) fn locked_memory() -> Finding {
    let limit = getrlimit(Resource::Memlock).current;
    let limit = limit.map_or_else(|| "without limit".to_owned(), bytes);
    Finding::ok(format!("{limit}; ranks need none"))
}

fn number(limit: u64) -> String {
    match limit {
        u64::MAX => "without limit".to_owned(),
        limit => limit.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::words::State;

    fn limit(soft: u64, hard: u64) -> Rlimit {
        Rlimit {
            current: Some(soft),
            maximum: Some(hard),
        }
    }

    #[test]
    fn too_few_files_for_the_daemon_are_wrong_and_for_a_rank_a_warning() {
        assert_eq!(judge_files(4, 64, limit(1024, 4096)).state, State::Ok);
        assert_eq!(
            judge_files(4, 2000, limit(1024, 4096)).state,
            State::Warning
        );
        let wrong = judge_files(100, 100, limit(128, 256));
        assert_eq!(wrong.state, State::Wrong);
        assert!(wrong.mend.contains("ulimit -Hn"), "{wrong:?}");
    }

    #[test]
    fn processes_in_use_count() {
        assert_eq!(judge_processes(4, 100, 50, "x").state, State::Ok);
        assert_eq!(judge_processes(40, 100, 50, "x").state, State::Wrong);
        let own = threads_of(rustix::process::getuid().as_raw());
        assert!(own >= 1, "this very thread");
    }
}
