//! The machine that the figures belong to.

use serde::Serialize;

/// What a reader has to know to make sense of the figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) host: String,
    pub(crate) cpu: String,
    /// Cores that this process may use: by affinity and by quota.
    pub(crate) cores: usize,
    pub(crate) cores_online: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// Processes that wanted to run during the last minute, before the benchmark began.
    pub(crate) load: f64,
    pub(crate) version: &'static str,
    /// Empty when not built from a repository.
    pub(crate) commit: &'static str,
    /// Built with optimisation.
    pub(crate) optimised: bool,
}

impl Machine {
    /// Looks around.
    pub(crate) fn describe() -> Self {
        let system = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let kib = field(&memory, "MemTotal").and_then(|kib| first_number(&kib));
        Self {
            host: text(system.nodename()),
            cpu: field(&cpus, "model name").unwrap_or_else(|| text(system.machine())),
            cores: cores(),
            cores_online: cpus
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            memory_gib: kib.unwrap_or_default() / f64::from(1 << 20),
            kernel: format!("{} {}", text(system.sysname()), text(system.release())),
            load: first_number(&load).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("PHALANX_COMMIT"),
            optimised: !cfg!(debug_assertions),
        }
    }

    /// Lines for the head of a report.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{}: {}, {:.0} GiB, {}",
                self.host, self.cpu, self.memory_gib, self.kernel
            ),
            format!(
                "{} of {} cores may be used; load before: {:.2}",
                self.cores, self.cores_online, self.load
            ),
            format!("phalanx {} {}", self.version, self.commit)
                .trim_end()
                .to_owned(),
        ];
        if !self.optimised {
            lines.push("built without optimisation: the figures mean nothing".to_owned());
        }
        lines
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The text after `name` and a colon.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

fn first_number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}
