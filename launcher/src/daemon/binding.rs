//! Which processors each rank of this host is bound to.
//!
//! Only those count that the daemon may use itself: so the limits of a container, of a batch system and of
//! `taskset` hold. Each rank has a physical core with all its hardware threads while there are enough; else each
//! has a hardware thread, the first ones of all cores before the second ones.

use std::collections::BTreeMap;

use phalanx::sys::processor::Processors;
use phalanx::wire::control::Binding;

use crate::place::ranges;

/// A physical core.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Core {
    package: u32,
    /// Its hardware threads that may be used.
    processors: Vec<u32>,
}

/// What the ranks of this host are bound to, in their order.
#[derive(Debug)]
pub(super) struct Bindings {
    /// None when they are free.
    sets: Option<Vec<Processors>>,
    /// A line for each of `sets`, or the one for all when they are free.
    lines: Vec<String>,
}

impl Bindings {
    /// Decides for that many ranks; `quota` is the number of processors whose time they may have.
    ///
    /// # Errors
    ///
    /// One line, when cores are asked for and there are too few.
    pub(super) fn new(binding: Binding, ranks: usize, quota: usize) -> Result<Self, String> {
        let allowed = Processors::allowed().map(|allowed| allowed.numbers());
        let allowed = match allowed {
            Ok(allowed) => allowed,
            Err(error) if binding == Binding::Core => {
                return Err(format!("ranks cannot be bound to cores here: {error}"));
            }
            Err(_) => Vec::new(),
        };
        let cores = cores(&allowed, |path| std::fs::read_to_string(path).ok());
        let crowded = ranks > cores.len() || quota < allowed.len();
        let places = match binding {
            Binding::Free => None,
            Binding::Auto if crowded => None,
            Binding::Auto => places(&cores, ranks),
            Binding::Core => Some(places(&cores, ranks).ok_or_else(|| too_few(ranks, &allowed))?),
        };
        let Some(places) = places else {
            let line = format!("is not bound: it may use {}", named(&allowed));
            return Ok(Self {
                sets: None,
                lines: vec![line],
            });
        };
        let sets: Result<Vec<_>, _> = places
            .iter()
            .map(|it| Processors::of(&it.processors))
            .collect();
        let shared = ranks > cores.len();
        let line = |place: &Core| {
            let shared = if shared {
                ", a hardware thread of a core"
            } else {
                ""
            };
            format!(
                "is bound to {}{shared} (package {})",
                named(&place.processors),
                place.package
            )
        };
        Ok(Self {
            sets: Some(sets.map_err(|error| error.to_string())?),
            lines: places.iter().map(line).collect(),
        })
    }

    /// What the `local`-th rank of this host is bound to.
    pub(super) fn of(&self, local: usize) -> Option<Processors> {
        self.sets.as_ref()?.get(local).cloned()
    }

    /// What is to be said of it.
    pub(super) fn line(&self, rank: u32, local: usize) -> String {
        let line = self.lines.get(local).or_else(|| self.lines.first());
        format!("rank {rank} {}", line.map_or("", String::as_str))
    }
}

fn named(processors: &[u32]) -> String {
    let plural = if processors.len() == 1 { "" } else { "s" };
    format!("processor{plural} {}", ranges(processors))
}

fn too_few(ranks: usize, allowed: &[u32]) -> String {
    format!(
        "{ranks} ranks cannot have a core each (--bind-to core): they may use {} only; start fewer here, or \
         use --bind-to auto, which binds where there are enough, or --bind-to none",
        named(allowed)
    )
}

/// The physical cores of these processors, package by package. `read` gives the contents of a file.
fn cores(allowed: &[u32], read: impl Fn(&str) -> Option<String>) -> Vec<Core> {
    let mut found: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    for processor in allowed {
        let topology = format!("/sys/devices/system/cpu/cpu{processor}/topology");
        let first_number = |name: &str| {
            let text = read(&format!("{topology}/{name}"))?;
            let first = text.trim().split([',', '-']).next()?;
            first.parse::<u32>().ok()
        };
        // Linux has had the second name for longer. Without either, it is a core by itself.
        let siblings =
            first_number("core_cpus_list").or_else(|| first_number("thread_siblings_list"));
        let package = first_number("physical_package_id").unwrap_or(0);
        let core = (package, siblings.unwrap_or(*processor));
        found.entry(core).or_default().push(*processor);
    }
    let core = |((package, _), processors)| Core {
        package,
        processors,
    };
    found.into_iter().map(core).collect()
}

/// A place for each rank, none when there are too few.
fn places(cores: &[Core], ranks: usize) -> Option<Vec<Core>> {
    if ranks <= cores.len() {
        return Some(cores[..ranks].to_vec());
    }
    let threads = cores.iter().map(|core| core.processors.len()).max()?;
    let of_round = |round: usize| {
        cores.iter().filter_map(move |core| {
            let processor = *core.processors.get(round)?;
            Some(Core {
                package: core.package,
                processors: vec![processor],
            })
        })
    };
    let places: Vec<Core> = (0..threads).flat_map(of_round).take(ranks).collect();
    (places.len() == ranks).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two packages of two cores, each with two threads: n and n + 4 are one core.
    fn machine(path: &str) -> Option<String> {
        let (_, rest) = path.split_once("/cpu/cpu")?;
        let (number, name) = rest.split_once("/topology/")?;
        let core = number.parse::<u32>().ok()? % 4;
        match name {
            "physical_package_id" => Some(format!("{}\n", core / 2)),
            "thread_siblings_list" => Some(format!("{core},{}\n", core + 4)),
            _ => None,
        }
    }

    fn sets(allowed: &[u32], ranks: usize) -> Option<Vec<Vec<u32>>> {
        let places = places(&cores(allowed, machine), ranks)?;
        Some(places.into_iter().map(|place| place.processors).collect())
    }

    #[test]
    fn whole_cores_come_first_and_then_their_threads() {
        let all: Vec<u32> = (0..8).collect();
        assert_eq!(
            sets(&all, 3),
            Some(vec![vec![0, 4], vec![1, 5], vec![2, 6]])
        );
        let threads = [0, 1, 2, 3, 4, 5].map(|processor| vec![processor]);
        assert_eq!(sets(&all, 6), Some(threads.to_vec()));
        assert_eq!(sets(&all, 8).map(|sets| sets.len()), Some(8));
        assert_eq!(sets(&all, 9), None);
    }

    #[test]
    fn only_what_the_daemon_may_use_counts() {
        assert_eq!(sets(&[4, 5, 6], 2), Some(vec![vec![4], vec![5]]));
        assert_eq!(sets(&[1, 5], 2), Some(vec![vec![1], vec![5]]));
        assert_eq!(sets(&[1, 5], 3), None);
        assert_eq!(cores(&[1, 5, 7], machine).len(), 2);
    }

    #[test]
    fn processors_of_which_nothing_is_known_are_cores() {
        let cores = cores(&[3, 8], |_| None);
        assert_eq!(cores.len(), 2);
        assert_eq!(cores[1].processors, [8]);
    }

    #[test]
    fn auto_leaves_ranks_free_where_they_are_more_than_cores_or_time_is_limited() {
        let allowed = Processors::allowed().expect("Linux").numbers().len();
        let free = |ranks, quota| {
            let bindings = Bindings::new(Binding::Auto, ranks, quota).expect("no error");
            bindings.of(0).is_none()
        };
        assert!(!free(1, allowed));
        assert!(free(1, allowed - 1));
        assert!(free(allowed + 1, allowed));
        let error = Bindings::new(Binding::Core, allowed + 1, allowed).expect_err("too many");
        assert!(error.contains("--bind-to auto"), "{error}");
    }
}
