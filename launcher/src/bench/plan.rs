//! Which ranks have to be started, and what they measure.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueEnum;

use super::args::BenchArgs;
use super::case::Case;
use super::launch::Setting;
use super::machine;
use super::order::{Order, Pace, Point};
use super::recipe::Recipe;
use crate::cli::{Style, Transport};

/// Ranks that are started alike in each launch, and what they measure.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) setting: Setting,
    pub(crate) points: BTreeSet<Point>,
    /// Its ranks must have done nothing else before, or it is measured from outside.
    alone: bool,
}

/// Times the ranks of `startup` are started for each launch: quick and not.
const STARTS: [usize; 2] = [3, 10];

/// How often `startup` starts its ranks in each launch.
pub(crate) fn starts(quick: bool) -> usize {
    STARTS[usize::from(!quick)]
}

/// The lengths at which transports are compared.
const TRADEOFF: [(Case, &[usize]); 3] = [
    (Case::Pingpong, &[8, 64 << 10, 1 << 20]),
    (Case::Barrier, &[0]),
    (Case::Allreduce, &[8, 1 << 20]),
];

/// Divides what is asked for into parts.
pub(crate) fn plan(args: &BenchArgs) -> Vec<Part> {
    let mut plan = Plan::default();
    let setting = |ranks| Setting {
        ranks,
        style: Style::Processes,
        transport: args.transport,
    };
    let (size, sizes, cores) = (args.size(), args.sizes(), machine::cores());
    for case in args.cases() {
        match case {
            Case::Tradeoff => plan.tradeoff(),
            Case::Guidelines => {
                for bytes in args.guideline_sizes() {
                    plan.recipes(setting(size), bytes);
                }
            }
            Case::Oversubscribed => {
                for ranks in [cores.max(2), 2 * cores, 4 * cores, 8 * cores] {
                    plan.add(setting(ranks), Case::Barrier, 0);
                    plan.add(setting(ranks), Case::Allreduce, 8);
                }
            }
            Case::Startup | Case::Memory | Case::Idle => {
                let ranks = if case == Case::Idle {
                    size.max(2)
                } else {
                    size
                };
                plan.add_alone(setting(ranks), case);
            }
            Case::MessageRate => plan.add(setting(size.max(2)), case, 8),
            case if case.is_sized() => {
                let ranks = if case.is_for_two() { 2 } else { size };
                for bytes in sizes.iter().filter_map(|bytes| case.bytes(*bytes, ranks)) {
                    plan.add(setting(ranks), case, bytes);
                }
            }
            Case::Iterate => plan.add_point(
                setting(size),
                Point {
                    work: args.steps as usize,
                    ..Point::of(case, 0)
                },
            ),
            case => plan.add(setting(size), case, 0),
        }
    }
    plan.parts
}

#[derive(Default)]
struct Plan {
    parts: Vec<Part>,
}

impl Plan {
    fn add(&mut self, setting: Setting, case: Case, bytes: usize) {
        self.add_point(setting, Point::of(case, bytes));
    }

    fn add_point(&mut self, setting: Setting, point: Point) {
        let known = self.parts.iter_mut();
        if let Some(part) = known
            .into_iter()
            .find(|part| part.setting == setting && !part.alone)
        {
            part.points.insert(point);
            return;
        }
        self.parts.push(Part {
            setting,
            points: BTreeSet::from([point]),
            alone: false,
        });
    }

    fn add_alone(&mut self, setting: Setting, case: Case) {
        self.parts.push(Part {
            setting,
            points: BTreeSet::from([Point::of(case, 0)]),
            alone: true,
        });
    }

    /// Everything that the guidelines compare.
    fn recipes(&mut self, setting: Setting, asked: usize) {
        let ranks = setting.ranks;
        for recipe in Recipe::ALL {
            let asked = if recipe.has_data() { asked } else { 0 };
            if let Some(bytes) = Case::Guidelines.bytes(asked, ranks) {
                let point = Point {
                    recipe: Some(recipe),
                    ..Point::of(Case::Guidelines, bytes)
                };
                self.add_point(setting, point);
            }
        }
    }

    /// Two ranks, over everything there is.
    fn tradeoff(&mut self) {
        let threads = Setting {
            ranks: 2,
            style: Style::Threads,
            transport: Transport::Auto,
        };
        let processes = Transport::value_variants()
            .iter()
            .filter(|transport| **transport != Transport::Auto)
            .map(|transport| Setting {
                ranks: 2,
                style: Style::Processes,
                transport: *transport,
            });
        for setting in [threads].into_iter().chain(processes) {
            for (case, sizes) in TRADEOFF {
                sizes
                    .iter()
                    .for_each(|bytes| self.add(setting, case, *bytes));
            }
        }
    }
}

/// Whether a row belongs into the table of the trade-off.
pub(crate) fn is_of_tradeoff(case: Case, bytes: usize, ranks: usize) -> bool {
    let listed = TRADEOFF.iter().find(|(listed, _)| *listed == case);
    ranks == 2 && listed.is_some_and(|(_, sizes)| sizes.contains(&bytes))
}

impl Part {
    /// The one case that has its ranks for itself.
    pub(crate) fn alone(&self) -> Option<Case> {
        let point = self.points.first().filter(|_| self.alone)?;
        Some(point.case)
    }

    /// What its ranks are told.
    pub(crate) fn order(&self, pace: Pace) -> Order {
        Order {
            points: self.points.iter().copied().collect(),
            pace,
        }
    }

    /// After this a launch must be stuck: generously, for operations may be slower than the budget.
    pub(crate) fn limit(&self, pace: &Pace) -> Duration {
        const EACH: f64 = 120.0;
        let each = pace.budget_seconds.max(pace.idle_seconds) * 10.0 + EACH;
        Duration::from_secs_f64(60.0 + each * self.points.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn planned(words: &[&str]) -> Vec<Part> {
        let words = ["bench"].iter().chain(words);
        plan(&Typed::try_parse_from(words).expect("parses").args)
    }

    #[test]
    fn cases_share_ranks_where_they_can() {
        let parts = planned(&[
            "-n",
            "4",
            "barrier",
            "allreduce",
            "pingpong",
            "--sizes",
            "8,9",
        ]);
        let shapes = parts
            .iter()
            .map(|part| (part.setting.ranks, part.points.len()));
        let shapes: Vec<_> = shapes.collect();
        assert_eq!(
            shapes,
            [(2, 2), (4, 3)],
            "8 and 9 bytes of pingpong; 8 and 16 of allreduce"
        );
    }

    #[test]
    fn memory_has_its_ranks_for_itself() {
        let parts = planned(&["-n", "4", "barrier", "memory", "startup"]);
        let alone: Vec<_> = parts.iter().map(Part::alone).collect();
        assert_eq!(alone, [None, Some(Case::Startup), Some(Case::Memory)]);
    }

    #[test]
    fn the_tradeoff_knows_every_transport() {
        let parts = planned(&["tradeoff"]);
        assert_eq!(parts.len(), Transport::value_variants().len());
        assert_eq!(parts[0].setting.style, Style::Threads);
        for part in &parts {
            assert_eq!(part.points.len(), 6);
            for point in &part.points {
                assert!(is_of_tradeoff(point.case, point.bytes, 2));
            }
        }
    }
}
