//! Processors that ranks may use.

use super::groups;
use crate::doctor::words::Finding;

/// Compares the processors that may be used with the ranks that are wanted.
pub(super) fn look(slots: u32) -> Finding {
    judge(slots, allowed(), quota())
}

/// By affinity.
fn allowed() -> u32 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Ok(set) = rustix::thread::sched_getaffinity(None) {
        return set.count();
    }
    crate::nodes::cores_here()
}

/// The smallest number of processors whose time the groups around us leave to this process.
fn quota() -> Option<f64> {
    let second = groups::files("cpu", "cpu.max").into_iter();
    let second = second.filter_map(|file| std::fs::read_to_string(file).ok());
    let first = groups::files("cpu", "cpu.cfs_quota_us").into_iter();
    let first = first.filter_map(|file| {
        let quota = std::fs::read_to_string(&file).ok()?;
        let period = std::fs::read_to_string(file.with_file_name("cpu.cfs_period_us")).ok()?;
        Some(format!("{} {}", quota.trim(), period.trim()))
    });
    let all = second.chain(first).filter_map(|text| processors(&text));
    all.reduce(f64::min)
}

/// `QUOTA PERIOD`; `None` when it is without limit.
fn processors(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let quota: f64 = quota.parse().ok().filter(|quota| *quota > 0.0)?;
    let period: f64 = period.parse().ok().filter(|period| *period > 0.0)?;
    Some(quota / period)
}

fn judge(slots: u32, allowed: u32, quota: Option<f64>) -> Finding {
    let plural = if allowed == 1 { "" } else { "s" };
    let cores = format!("{allowed} core{plural}");
    let ranks = format!("{slots} rank{}", if slots == 1 { "" } else { "s" });
    if let Some(quota) = quota.filter(|quota| *quota < f64::from(allowed)) {
        let found = format!("{cores}, but a control group allows the time of {quota:.1} only");
        if f64::from(slots) <= quota {
            return Finding::ok(format!("{found}, for {ranks}"));
        }
        return Finding::warning(
            format!("{found}, for {ranks}"),
            "ranks are stopped again and again when the time is used up: raise the limit of the \
             container (`resources.limits.cpu`, `docker run --cpus`), or start fewer ranks",
        );
    }
    let found = format!("{cores} for {ranks}");
    if slots <= allowed {
        return Finding::ok(found);
    }
    Finding::warning(
        found,
        format!("ranks take turns; give this host `slots={allowed}`, or let it use more cores"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::words::State;

    #[test]
    fn quotas_of_both_versions_are_read() {
        assert_eq!(processors("150000 100000\n"), Some(1.5));
        assert_eq!(processors("max 100000"), None);
        assert_eq!(processors("-1 100000"), None);
    }

    #[test]
    fn fewer_processors_than_ranks_are_told() {
        assert_eq!(judge(4, 4, None).state, State::Ok);
        assert_eq!(judge(4, 4, Some(8.0)).state, State::Ok);
        assert_eq!(judge(1, 4, Some(1.5)).state, State::Ok);
        let crowded = judge(5, 4, None);
        assert!(crowded.mend.contains("slots=4"), "{crowded:?}");
        let throttled = judge(4, 4, Some(1.5));
        assert_eq!(throttled.state, State::Warning);
        assert!(throttled.found.contains("the time of 1.5"), "{throttled:?}");
    }
}
