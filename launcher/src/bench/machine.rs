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
    /// Part of the cores that other programs used while the benchmark ran; `None` where it is not known.
    pub(crate) others: Option<f64>,
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
            others: None,
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
                "{} of {} cores may be used; load before: {:.2}{}",
                self.cores,
                self.cores_online,
                self.load,
                self.others.map_or_else(String::new, |others| {
                    format!(
                        "; used by other programs meanwhile: {:.0} %",
                        others * 100.0
                    )
                })
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

/// Processor time since the machine was started, in ticks of the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ticks {
    /// Of all cores, and whatever they did.
    all: u64,
    /// Of all cores, when they had something to do, or were taken away by a host.
    busy: u64,
    /// Of this process and of those that it started and that have ended.
    ours: u64,
}

impl Ticks {
    /// Now. `None` where the kernel does not tell.
    pub(crate) fn now() -> Option<Self> {
        let machine = std::fs::read_to_string("/proc/stat").ok()?;
        let process = std::fs::read_to_string("/proc/self/stat").ok()?;
        Self::read(&machine, &process)
    }

    fn read(machine: &str, process: &str) -> Option<Self> {
        let numbers = |text: &str| -> Vec<u64> {
            let words = text.split_whitespace();
            // A process without a terminal has -1 there.
            let numbers = words.filter_map(|word| word.parse::<i64>().ok());
            numbers.map(|number| number.max(0) as u64).collect()
        };
        // user nice system idle iowait irq softirq steal; what follows is contained in these.
        let cores = numbers(machine.lines().next()?.strip_prefix("cpu ")?);
        let cores = cores.get(..8)?;
        // The name in brackets may contain anything; a letter and 10 numbers follow.
        let (_, fields) = process.rsplit_once(')')?;
        let ours = numbers(fields);
        let all = cores.iter().sum();
        Some(Self {
            all,
            busy: all - cores[3] - cores[4],
            ours: ours.get(10..14)?.iter().sum(),
        })
    }

    /// The part of the cores that others have used since.
    pub(crate) fn others_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let (busy, ours) = (self.busy - before.busy, self.ours - before.ours);
        Some(busy.saturating_sub(ours) as f64 / all as f64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_others_is_what_is_left() {
        let process = |ours: u64| format!("7 (a ) b) S 1 2 3 4 -1 6 7 8 9 10 {ours} 2 3 4 20 0 1");
        let machine =
            |user: u64, idle: u64| format!("cpu  {user} 0 10 {idle} 5 0 0 0 0 0\ncpu0 1\n");
        let before = Ticks::read(&machine(100, 1000), &process(1)).expect("read");
        let expected = Ticks {
            all: 1115,
            busy: 110,
            ours: 10,
        };
        assert_eq!(before, expected);
        let after = Ticks::read(&machine(160, 1040), &process(31)).expect("read");
        assert_eq!(after.others_since(before), Some(0.3));
        assert_eq!(before.others_since(before), None);
        assert!(Ticks::now().is_some(), "Linux");
    }
}
