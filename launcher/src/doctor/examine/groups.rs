//! Limits that control groups set, of both versions.

use std::path::{Path, PathBuf};

/// The file of a controller in the group of this process and in every group around it, the innermost first.
/// In a container the path as the host sees it may not exist; then the container's own root is meant.
pub(super) fn files(controller: &str, name: &str) -> Vec<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    directories(&groups, controller)
        .into_iter()
        .map(|directory| directory.join(name))
        .filter(|file| file.exists())
        .collect()
}

fn directories(groups: &str, controller: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let root = if controllers.is_empty() {
            Path::new("/sys/fs/cgroup").to_owned()
        } else if controllers.split(',').any(|one| one == controller) {
            Path::new("/sys/fs/cgroup").join(controllers)
        } else {
            continue;
        };
        let inside = path.trim_start_matches('/');
        let around = Path::new(inside).ancestors();
        all.extend(around.map(|group| root.join(group)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_around_counts() {
        let groups = "4:cpu,cpuacct:/a/b\n3:pids:/\n0::/user.slice/x\n";
        let found = directories(groups, "cpu");
        let shown: Vec<String> = found.iter().map(|p| p.display().to_string()).collect();
        assert_eq!(
            shown,
            [
                "/sys/fs/cgroup/cpu,cpuacct/a/b",
                "/sys/fs/cgroup/cpu,cpuacct/a",
                "/sys/fs/cgroup/cpu,cpuacct/",
                "/sys/fs/cgroup/user.slice/x",
                "/sys/fs/cgroup/user.slice",
                "/sys/fs/cgroup/",
            ]
        );
    }
}
