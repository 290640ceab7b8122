//! What the machine itself can do, measured in the same run: no message passing can be faster.

mod copy;
mod lines;
mod partner;
mod sockets;

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx::sys::processor::Processors;
use serde::Serialize;

pub(crate) use partner::answer_the_call;

use super::case::{Case, HALO_BYTES};
use super::interrupt::Interrupt;
use super::order::Point;
use super::{machine, statistics};

/// A limit for a row, in the row's unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// Time for one bound.
const TIME: Duration = Duration::from_millis(40);
/// Above this the sockets' limit is the stream, which was measured up to here.
const SOCKET_BYTES_MAX: usize = 16 << 20;

/// Measures bounds when they are first asked for, and remembers them.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    known: BTreeMap<String, Option<f64>>,
    interrupt: Interrupt,
}

impl Bounds {
    /// Bounds that are measured until then, and none afterwards.
    pub(crate) fn until(interrupt: &Interrupt) -> Self {
        Self {
            known: BTreeMap::new(),
            interrupt: interrupt.clone(),
        }
    }

    /// The limit for a case between `ranks` ranks over this transport, as the ranks named it.
    pub(crate) fn of(&mut self, point: Point, ranks: usize, transport: &str) -> Option<Bound> {
        let cores = machine::cores();
        match point.case {
            Case::Memory
            | Case::Idle
            | Case::Oversubscribed
            | Case::Tradeoff
            | Case::Guidelines => None,
            Case::Startup => self.startup(ranks, cores),
            Case::Iterate => self.iterate(point.work, ranks, cores),
            Case::Bandwidth => self.stream(point.bytes, 1, transport),
            Case::MessageRate => {
                let pairs = ranks.min(cores) / 2;
                self.stream(point.bytes, pairs.max(1), transport)
            }
            _ if ranks > cores => {
                let others = match point.case {
                    Case::Allgather | Case::Alltoall => ranks - 1,
                    _ => 1,
                };
                self.crowded(point.bytes * others, ranks, cores)
            }
            Case::Pingpong | Case::Echo => self.hops(1, point.bytes, transport),
            Case::Bcast | Case::Reduce => self.hops(1, point.bytes, transport),
            Case::Barrier => self.hops(rounds(ranks), 0, transport),
            Case::Allreduce => self.hops(rounds(ranks), point.bytes, transport),
            Case::Allgather | Case::Alltoall => {
                self.hops(1, point.bytes * ranks.saturating_sub(1), transport)
            }
        }
    }

    /// All that were measured, by name, in microseconds.
    pub(crate) fn known(&self) -> BTreeMap<&str, f64> {
        let known = self.known.iter();
        known
            .filter_map(|(name, value)| Some((name.as_str(), (*value)?)))
            .collect()
    }

    /// One switch between processes of one core.
    pub(crate) fn switch(&mut self) -> Option<f64> {
        self.get("switch between processes of one core", || {
            partner::switch(TIME)
        })
    }

    fn get(&mut self, name: &str, measure: impl FnOnce() -> Option<f64>) -> Option<f64> {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        if self.interrupt.came().is_some() {
            return None;
        }
        let value = measure();
        self.known.insert(name.to_owned(), value);
        value
    }

    fn startup(&mut self, ranks: usize, cores: usize) -> Option<Bound> {
        let spawn = self.get("start and end of a process", || partner::spawn(TIME))?;
        Some(Bound {
            name: "N/cores x process".to_owned(),
            value: spawn * (ranks as f64 / cores as f64).max(1.0),
        })
    }

    fn iterate(&mut self, work: usize, ranks: usize, cores: usize) -> Option<Bound> {
        let compute = self.get(&format!("{work} multiply-adds"), || {
            let mut value = 1.0;
            sample(TIME, || {
                value = std::hint::black_box(super::rank::compute(value, work));
                1
            })
        })?;
        Some(Bound {
            name: "compute x N/cores".to_owned(),
            value: compute * (ranks as f64 / cores as f64).max(1.0),
        })
    }

    /// With more ranks than cores every rank has to be run at least once, and to move its data.
    fn crowded(&mut self, bytes: usize, ranks: usize, cores: usize) -> Option<Bound> {
        let times = ranks as f64 / cores as f64;
        let switch = self.switch()?;
        if bytes < HALO_BYTES {
            return Some(Bound {
                name: "N/cores x switch".to_owned(),
                value: times * switch,
            });
        }
        Some(Bound {
            name: "N/cores x (switch + copy)".to_owned(),
            value: times * (switch + self.copy(bytes)?),
        })
    }

    /// Messages that have to follow one another, and the bytes that have to be moved at the end.
    fn hops(&mut self, hops: usize, bytes: usize, transport: &str) -> Option<Bound> {
        let times = if hops > 1 {
            format!("{hops} x ")
        } else {
            String::new()
        };
        if let Some(family) = sockets::Family::named(transport) {
            let bytes = bytes.clamp(8, SOCKET_BYTES_MAX);
            let name = format!("bare {transport} socket, {bytes} B, spinning");
            let spinning = self.get(&name, || sockets::pingpong(family, bytes, true, TIME));
            // Sleeping costs more with short messages and sometimes less with long ones.
            let name = format!("bare {transport} socket, {bytes} B, blocking");
            let blocking = self.get(&name, || sockets::pingpong(family, bytes, false, TIME))?;
            return Some(Bound {
                name: format!("{times}bare socket"),
                value: spinning.map_or(blocking, |spinning| spinning.min(blocking)) * hops as f64,
            });
        }
        let ping = self.cache_line()? * hops as f64;
        if bytes < HALO_BYTES {
            return Some(Bound {
                name: format!("{times}cache line"),
                value: ping,
            });
        }
        Some(Bound {
            name: format!("{times}cache line + copy"),
            value: ping + self.copy(bytes)?,
        })
    }

    /// Messages of several pairs at once, each of which is assumed to reach what one reaches alone.
    fn stream(&mut self, bytes: usize, pairs: usize, transport: &str) -> Option<Bound> {
        if let Some(family) = sockets::Family::named(transport) {
            let name = format!("bare {transport} stream, {bytes} B");
            let value = self.get(&name, || sockets::stream(family, bytes, TIME))?;
            return Some(Bound {
                name: "bare stream".to_owned(),
                value: value / pairs as f64,
            });
        }
        Some(Bound {
            name: "copy".to_owned(),
            value: self.copy(bytes)? / pairs as f64,
        })
    }

    fn cache_line(&mut self) -> Option<f64> {
        self.get("cache line to another core", || lines::pingpong(TIME))
    }

    fn copy(&mut self, bytes: usize) -> Option<f64> {
        self.get(&format!("copy of {bytes} B"), || copy::copy(bytes, TIME))
    }
}

/// Rounds in which a rank can hear of all others when each round doubles what it knows.
fn rounds(ranks: usize) -> usize {
    ranks.next_power_of_two().trailing_zeros().max(1) as usize
}

/// Repeats something that says how many operations it did, for about `time` after a first, unmeasured
/// time. The median of the microseconds of one operation.
fn sample(time: Duration, mut batch: impl FnMut() -> usize) -> Option<f64> {
    const BATCHES_MIN: usize = 3;
    batch();
    let begun = std::time::Instant::now();
    let mut micros = Vec::new();
    while micros.len() < BATCHES_MIN || begun.elapsed() < time {
        let started = std::time::Instant::now();
        let operations = batch();
        if operations == 0 {
            return None;
        }
        micros.push(started.elapsed().as_secs_f64() * 1e6 / operations as f64);
    }
    statistics::median(&micros)
}

/// Ties this thread to the core that is the `index`-th of those that may be used. Whether there is one.
fn pin(index: usize) -> bool {
    let allowed = Processors::allowed().map_or_else(|_| Vec::new(), |allowed| allowed.numbers());
    let core = allowed.get(index);
    core.is_some_and(|core| Processors::of(&[*core]).is_ok_and(|one| one.bind().is_ok()))
}

/// Runs `ours` and `theirs` on two threads, each with a core of its own where there are two.
fn on_two_cores<R: Send>(
    ours: impl FnOnce() -> R + Send,
    theirs: impl FnOnce() + Send,
) -> Option<R> {
    std::thread::scope(|scope| {
        // Both are new threads, so that the pinning ends with them.
        let ours = scope.spawn(move || {
            pin(0);
            ours()
        });
        let theirs = scope.spawn(move || {
            pin(1);
            theirs();
        });
        let result = ours.join().ok();
        theirs.join().ok()?;
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bounds: &mut Bounds, case: Case, bytes: usize, transport: &str) -> Bound {
        let bound = bounds.of(Point::of(case, bytes), 2, transport);
        bound.expect("can be measured")
    }

    #[test]
    fn rounds_double() {
        assert_eq!([1, 2, 3, 4, 5, 8, 9].map(rounds), [1, 1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn bounds_are_measured_once() {
        let mut bounds = Bounds::default();
        let first = of(&mut bounds, Case::Bandwidth, 4096, "threads");
        assert!(first.value > 0.0);
        assert_eq!(of(&mut bounds, Case::Bandwidth, 4096, "threads"), first);
        assert_eq!(bounds.known().len(), 1);
    }

    #[test]
    fn sockets_have_bounds_of_their_own() {
        let mut bounds = Bounds::default();
        for transport in ["unix", "tcp"] {
            let stream = of(&mut bounds, Case::Bandwidth, 64, transport);
            assert!(stream.value > 0.0 && stream.name == "bare stream");
            let ping = of(&mut bounds, Case::Pingpong, 100_000, transport);
            assert!(ping.value > 0.0 && ping.name == "bare socket");
        }
    }
}
