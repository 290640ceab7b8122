//! Whether the system has killed processes of this group for lack of memory.

use std::fs;
use std::path::PathBuf;

/// The counter of such kills.
#[derive(Debug)]
pub(super) struct Kills {
    file: Option<PathBuf>,
    seen: u64,
}

impl Kills {
    /// Reads the counter of the group that this process, and with it its ranks, belongs to.
    pub(super) fn count() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = candidates(&groups)
            .into_iter()
            .find(|file| read(file).is_some());
        let seen = file.as_ref().and_then(read).unwrap_or(0);
        Self { file, seen }
    }

    /// Whether it has risen since the last look.
    pub(super) fn rose(&mut self) -> bool {
        let now = self.file.as_ref().and_then(read).unwrap_or(self.seen);
        std::mem::replace(&mut self.seen, now) < now
    }
}

fn read(file: &PathBuf) -> Option<u64> {
    parse(&fs::read_to_string(file).ok()?)
}

fn parse(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    value?.trim().parse().ok()
}

/// Files that may hold the counter, of both versions of control groups. In a container the path as the host
/// sees it may not exist; then the container's own root is meant.
fn candidates(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.events")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.oom_control")
        } else {
            continue;
        };
        files.push(PathBuf::from(format!("{root}{path}/{file}")));
        files.push(PathBuf::from(format!("{root}/{file}")));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_both_versions_are_found_and_read() {
        let second = candidates("0::/user.slice/job\n");
        assert_eq!(
            second[0],
            PathBuf::from("/sys/fs/cgroup/user.slice/job/memory.events")
        );
        let first = candidates("5:cpu:/a\n4:memory:/b\nnonsense\n");
        assert_eq!(
            first[0],
            PathBuf::from("/sys/fs/cgroup/memory/b/memory.oom_control")
        );
        assert_eq!(parse("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n"), Some(2));
        assert_eq!(
            parse("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"),
            Some(7)
        );
        assert_eq!(parse("oom_kill many"), None);
    }

    #[test]
    fn a_rise_is_seen_once() {
        let file = std::env::temp_dir().join(format!("phalanx-kills-{}", std::process::id()));
        fs::write(&file, "oom_kill 1\n").expect("writes");
        let mut kills = Kills {
            file: Some(file.clone()),
            seen: 1,
        };
        assert!(!kills.rose());
        fs::write(&file, "oom_kill 2\n").expect("writes");
        assert!(kills.rose());
        assert!(!kills.rose());
        fs::remove_file(&file).expect("removes");
        assert!(!kills.rose());
    }
}
