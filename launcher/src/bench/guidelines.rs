//! What should hold whatever the machine: performance guidelines, checked on the rows that were measured.
//!
//! A special operation should not be slower than a general one that does its work, and more work should
//! not take less time. A guideline is violated when the left side takes more than 1.05 times the right
//! one, and a rank test finds less than one chance in a hundred that this is noise. After Träff and others,
//! "Self-consistent MPI performance guidelines", and Hunold's `PGMPI`.

use serde::Serialize;

use super::bounds::Bounds;
use super::case::Case;
use super::machine;
use super::recipe::GUIDELINES;
use super::rows::Row;
use super::statistics::{larger_by_chance, median};

/// A guideline that does not hold.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Violation {
    pub(crate) guideline: String,
    /// Microseconds of what should be the faster one.
    pub(crate) left: f64,
    /// Microseconds of what it should not exceed.
    pub(crate) right: f64,
    pub(crate) ratio: f64,
    /// The chance that this is noise; `None` with too few samples to tell.
    pub(crate) chance: Option<f64>,
}

/// What the check found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Findings {
    pub(crate) checked: usize,
    pub(crate) violations: Vec<Violation>,
}

const RATIO_MAX: f64 = 1.05;
const CHANCE_MAX: f64 = 0.01;
/// How much more than its parts an operation of more ranks than cores may cost.
const CROWDED_FACTOR: f64 = 3.0;

/// Checks all guidelines for which there are rows.
pub(crate) fn check(rows: &[Row], bounds: &mut Bounds) -> Findings {
    let mut checker = Checker {
        rows,
        findings: Findings::default(),
    };
    for row in rows.iter().filter(|row| row.unit == "us") {
        if row.recipe.is_some() {
            checker.recipes(row);
            continue;
        }
        checker.compositions(row);
        checker.longer_messages(row);
        checker.more_ranks(row);
        checker.other_transports(row);
        checker.crowd(row, bounds);
    }
    let violations = &mut checker.findings.violations;
    violations.sort_by(|one, other| other.ratio.total_cmp(&one.ratio));
    checker.findings
}

struct Checker<'a> {
    rows: &'a [Row],
    findings: Findings,
}

impl Checker<'_> {
    /// The row that differs from this one in case and length only.
    fn like(&self, row: &Row, case: Case, bytes: usize) -> Option<&Row> {
        self.rows.iter().find(|other| {
            (other.case, other.bytes, other.ranks) == (case, bytes, row.ranks)
                && other.transport == row.transport
        })
    }

    /// Whether the operation is slower than another way to do the same, measured for this purpose.
    fn recipes(&mut self, row: &Row) {
        for (faster, slower) in GUIDELINES {
            let other = self.rows.iter().find(|other| {
                (other.ranks, other.bytes) == (row.ranks, row.bytes)
                    && other.recipe == Some(slower)
                    && other.transport == row.transport
            });
            if let Some(other) = other.filter(|_| row.recipe == Some(faster)) {
                self.compare(row, slower.label(), &other.compared());
            }
        }
    }

    /// Whether the operation is slower than one that does its work and more, or than two in a row.
    fn compositions(&mut self, row: &Row) {
        let (bytes, ranks) = (row.bytes, row.ranks);
        match row.case {
            Case::Allreduce => {
                let parts = [Case::Reduce, Case::Bcast].map(|case| self.like(row, case, bytes));
                if let [Some(reduce), Some(bcast)] = parts {
                    let sum = added(reduce, bcast);
                    self.compare(row, "reduce + bcast", &sum);
                }
            }
            Case::Reduce => self.not_slower(row, Case::Allreduce, bytes),
            Case::Bcast => self.not_slower(row, Case::Allgather, bytes),
            Case::Allgather => {
                self.not_slower(row, Case::Alltoall, bytes);
                self.not_slower(row, Case::Allreduce, bytes * ranks);
            }
            Case::Barrier => self.not_slower(row, Case::Allreduce, size_of::<f64>()),
            _ => {}
        }
    }

    fn not_slower(&mut self, row: &Row, than: Case, bytes: usize) {
        if let Some(other) = self.like(row, than, bytes) {
            let (what, samples) = (label(than, bytes), other.compared());
            self.compare(row, &what, &samples);
        }
    }

    /// T(m) <= T(M) for m < M, and T(k m) <= k T(m).
    fn longer_messages(&mut self, row: &Row) {
        let longer = self.rows.iter().filter(|other| {
            (other.case, other.ranks) == (row.case, row.ranks)
                && other.transport == row.transport
                && other.bytes > row.bytes
        });
        let Some(longer) = longer.min_by_key(|other| other.bytes) else {
            return;
        };
        self.compare(row, &label(longer.case, longer.bytes), &longer.compared());
        if row.bytes > 0 && longer.bytes % row.bytes == 0 {
            let times = longer.bytes / row.bytes;
            let split: Vec<f64> = row
                .compared()
                .iter()
                .map(|time| time * times as f64)
                .collect();
            self.compare(
                longer,
                &format!("{times} x {}", label(row.case, row.bytes)),
                &split,
            );
        }
    }

    /// T(p) <= T(P) for p < P.
    fn more_ranks(&mut self, row: &Row) {
        let more = self.rows.iter().filter(|other| {
            (other.case, other.bytes) == (row.case, row.bytes)
                && other.transport == row.transport
                && other.ranks > row.ranks
        });
        if let Some(more) = more.min_by_key(|other| other.ranks) {
            self.compare(
                row,
                &format!("the same on {} ranks", more.ranks),
                &more.compared(),
            );
        }
    }

    /// Memory is not slower than Unix sockets, and these not slower than TCP.
    fn other_transports(&mut self, row: &Row) {
        let slower = match row.transport.as_str() {
            "threads" | "shm" => "unix",
            "unix" => "tcp",
            _ => return,
        };
        let other = self.rows.iter().find(|other| {
            (other.case, other.bytes, other.ranks) == (row.case, row.bytes, row.ranks)
                && other.transport == slower
        });
        if let Some(other) = other {
            self.compare(row, &format!("the same over {slower}"), &other.compared());
        }
    }

    /// T(N on c) <= 3 (T(c on c) + (N/c) switches), for small messages.
    fn crowd(&mut self, row: &Row, bounds: &mut Bounds) {
        let cores = machine::cores();
        let small = row.bytes <= size_of::<f64>();
        if row.ranks <= cores || !small || !matches!(row.case, Case::Barrier | Case::Allreduce) {
            return;
        }
        let uncrowded = self.rows.iter().find(|other| {
            (other.case, other.bytes, other.ranks) == (row.case, row.bytes, cores)
                && other.transport == row.transport
        });
        let (Some(uncrowded), Some(switch)) = (uncrowded, bounds.switch()) else {
            return;
        };
        let switches = switch * row.ranks as f64 / cores as f64;
        let allowed: Vec<f64> = uncrowded
            .compared()
            .iter()
            .map(|time| CROWDED_FACTOR * (time + switches))
            .collect();
        let what = format!("{CROWDED_FACTOR} x ({cores} ranks + N/cores switches)");
        self.compare(row, &what, &allowed);
    }

    fn compare(&mut self, left: &Row, what: &str, right: &[f64]) {
        self.findings.checked += 1;
        let samples = left.compared();
        let (Some(left_time), Some(right_time)) = (median(&samples), median(right)) else {
            return;
        };
        let ratio = left_time / right_time;
        let chance = larger_by_chance(&samples, right);
        if ratio > RATIO_MAX && chance.is_none_or(|chance| chance < CHANCE_MAX) {
            let Row {
                ranks, transport, ..
            } = left;
            let label = left.recipe.map_or_else(
                || label(left.case, left.bytes),
                |recipe| sized(recipe.label(), left.bytes),
            );
            self.findings.violations.push(Violation {
                guideline: format!("{label} <= {what} ({ranks} ranks, {transport})"),
                left: left_time,
                right: right_time,
                ratio,
                chance,
            });
        }
    }
}

/// Samples of one operation after the other.
fn added(one: &Row, other: &Row) -> Vec<f64> {
    let (one, other) = (one.compared(), other.compared());
    one.iter()
        .zip(&other)
        .map(|(one, other)| one + other)
        .collect()
}

fn label(case: Case, bytes: usize) -> String {
    sized(&case.name(), bytes)
}

fn sized(name: &str, bytes: usize) -> String {
    match bytes {
        0 => name.to_owned(),
        bytes => format!("{name} {}", super::report::bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::{Answer, Point};
    use super::super::recipe::Recipe;
    use super::super::rows::Rows;
    use super::*;

    /// Rows of 2 ranks with these medians.
    fn rows(measured: &[(Case, usize, &str, f64)]) -> Vec<Row> {
        let mut rows = Rows::default();
        for &(case, bytes, transport, time) in measured {
            let answer = Answer {
                point: Point::of(case, bytes),
                transport: transport.to_owned(),
                algorithm: String::new(),
                batch: 1,
                samples: (0..20)
                    .map(|step| time * (1.0 + f64::from(step) / 1000.0))
                    .collect(),
            };
            rows.add(2, answer);
        }
        rows.finish(&mut Bounds::default())
    }

    fn violated(measured: &[(Case, usize, &str, f64)]) -> (usize, Vec<String>) {
        let findings = check(&rows(measured), &mut Bounds::default());
        let names = findings.violations.into_iter().map(|found| found.guideline);
        (findings.checked, names.collect())
    }

    #[test]
    fn an_allreduce_slower_than_its_parts_is_found() {
        let parts = [
            (Case::Reduce, 64, "unix", 2.0),
            (Case::Bcast, 64, "unix", 3.0),
        ];
        let with = |time| [(Case::Allreduce, 64, "unix", time), parts[0], parts[1]];
        let (checked, names) = violated(&with(5.5));
        assert_eq!(checked, 2, "also reduce against allreduce");
        assert_eq!(names, ["allreduce 64 B <= reduce + bcast (2 ranks, unix)"]);
        assert_eq!(
            violated(&with(5.1)),
            (2, Vec::new()),
            "within the tolerance"
        );
    }

    #[test]
    fn recipes_are_compared_with_each_other_only() {
        let mut rows = rows(&[
            (Case::Guidelines, 64, "unix", 4.0),
            (Case::Guidelines, 8, "unix", 4.0),
            (Case::Guidelines, 128, "unix", 2.0),
        ]);
        let recipes = [Recipe::Gather, Recipe::Scatter, Recipe::Allgather];
        for (row, recipe) in rows.iter_mut().zip(recipes) {
            (row.recipe, row.bytes) = (Some(recipe), 64);
        }
        let findings = check(&rows, &mut Bounds::default());
        assert_eq!(findings.checked, 1);
        let names: Vec<_> = findings
            .violations
            .iter()
            .map(|found| &found.guideline)
            .collect();
        assert_eq!(names, ["gather 64 B <= allgather (2 ranks, unix)"]);
    }

    #[test]
    fn length_and_transport_are_compared() {
        let (_, names) = violated(&[
            (Case::Pingpong, 8, "unix", 9.0),
            (Case::Pingpong, 64, "unix", 5.0),
            (Case::Pingpong, 128, "unix", 50.0),
            (Case::Pingpong, 8, "tcp", 6.0),
        ]);
        assert_eq!(
            names,
            [
                "pingpong 128 B <= 2 x pingpong 64 B (2 ranks, unix)",
                "pingpong 8 B <= pingpong 64 B (2 ranks, unix)",
                "pingpong 8 B <= the same over tcp (2 ranks, unix)",
            ]
        );
    }
}
