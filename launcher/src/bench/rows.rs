//! The figures: what all launches found for one case, length, number of ranks and transport.

use serde::Serialize;

use super::bounds::{Bound, Bounds};
use super::case::{Case, WINDOW};
use super::order::{Answer, Point};
use super::recipe::Recipe;
use super::statistics::{Summary, median};

/// One line of a table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) ranks: usize,
    /// 0 where it has no meaning.
    pub(crate) bytes: usize,
    /// Multiply-adds of an iteration; 0 for what does not compute.
    pub(crate) work: usize,
    pub(crate) transport: String,
    pub(crate) algorithm: String,
    /// What exactly was done, for `guidelines`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recipe: Option<Recipe>,
    pub(crate) unit: &'static str,
    /// Of all launches.
    pub(crate) min: f64,
    /// Of the launches' medians.
    pub(crate) median: f64,
    /// Median of the launches' 99th percentiles.
    pub(crate) p99: f64,
    /// The median of each launch.
    pub(crate) launches: Vec<f64>,
    pub(crate) bound: Option<Bound>,
    /// Repetitions of one launch.
    pub(crate) repetitions: usize,
    /// Operations timed together in the first launch.
    pub(crate) batch: usize,
    pub(crate) bandwidth_mb_s: Option<f64>,
    #[serde(skip)]
    pub(crate) samples: Vec<Vec<f64>>,
}

impl Row {
    /// Smallest and largest median of a launch.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let fold =
            |start: f64, pick: fn(f64, f64) -> f64| self.launches.iter().copied().fold(start, pick);
        (fold(f64::INFINITY, f64::min), fold(0.0, f64::max))
    }

    /// Where it stands among others.
    fn place(&self) -> impl Ord + '_ {
        (
            self.case,
            self.ranks,
            &self.transport,
            self.bytes,
            self.recipe,
        )
    }

    /// How much of what is possible was reached, in percent.
    pub(crate) fn percent_of_bound(&self) -> Option<f64> {
        let bound = self.bound.as_ref()?;
        (self.median > 0.0).then(|| 100.0 * bound.value / self.median)
    }

    /// The samples that a test compares: the launches' medians when there are enough launches, for
    /// repetitions of one launch resemble each other.
    pub(crate) fn compared(&self) -> Vec<f64> {
        const LAUNCHES_MIN: usize = 5;
        if self.launches.len() >= LAUNCHES_MIN {
            return self.launches.clone();
        }
        self.samples.concat()
    }
}

/// Gathers answers into rows.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    /// Takes in what one launch found.
    pub(crate) fn add(&mut self, ranks: usize, answer: Answer) {
        if answer.samples.is_empty() {
            return;
        }
        let Point {
            case,
            bytes,
            work,
            recipe,
        } = answer.point;
        let same = |row: &&mut Row| {
            (row.case, row.bytes, row.recipe, row.ranks) == (case, bytes, recipe, ranks)
                && row.transport == answer.transport
        };
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.samples.push(answer.samples);
            return;
        }
        self.rows.push(Row {
            case,
            ranks,
            bytes,
            work,
            transport: answer.transport,
            algorithm: answer.algorithm,
            recipe,
            unit: if case == Case::Memory { "MiB" } else { "us" },
            min: 0.0,
            median: 0.0,
            p99: 0.0,
            launches: Vec::new(),
            bound: None,
            repetitions: answer.samples.len(),
            batch: answer.batch,
            bandwidth_mb_s: None,
            samples: vec![answer.samples],
        });
    }

    /// The rows with their statistics and bounds, in the order of cases, ranks, transports and lengths.
    pub(crate) fn finish(mut self, bounds: &mut Bounds) -> Vec<Row> {
        for row in &mut self.rows {
            summarise(row);
            let point = Point {
                work: row.work,
                ..Point::of(row.case, row.bytes)
            };
            row.bound = bounds.of(point, row.ranks, &row.transport);
        }
        self.rows
            .sort_by(|one, other| one.place().cmp(&other.place()));
        self.rows
    }
}

fn summarise(row: &mut Row) {
    let of_launches: Vec<Summary> = row
        .samples
        .iter()
        .filter_map(|samples| Summary::of(samples))
        .collect();
    row.launches = of_launches.iter().map(|launch| launch.median).collect();
    row.min = of_launches
        .iter()
        .map(|launch| launch.min)
        .fold(f64::INFINITY, f64::min);
    row.median = median(&row.launches).unwrap_or_default();
    let tails: Vec<f64> = of_launches.iter().map(|launch| launch.p99).collect();
    row.p99 = median(&tails).unwrap_or_default();
    let moves_bytes = matches!(
        row.case,
        Case::Pingpong | Case::Echo | Case::Bandwidth | Case::MessageRate
    );
    if moves_bytes && row.median > 0.0 {
        row.bandwidth_mb_s = Some(row.bytes as f64 / row.median);
    }
}

/// The length of a window, for headings.
pub(crate) fn heading(case: Case) -> String {
    match case {
        Case::Bandwidth => format!("{} ({WINDOW} at once)", case.help()),
        _ => case.help(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(samples: &[f64]) -> Answer {
        Answer {
            point: Point::of(Case::Pingpong, 100),
            transport: "threads".to_owned(),
            algorithm: String::new(),
            batch: 1,
            samples: samples.to_vec(),
        }
    }

    #[test]
    fn launches_are_put_together() {
        let mut rows = Rows::default();
        rows.add(2, answer(&[1.0, 2.0, 3.0]));
        rows.add(2, answer(&[4.0, 5.0, 60.0]));
        rows.add(4, answer(&[9.0]));
        rows.add(2, answer(&[]));
        rows.add(2, answer(&[0.5, 4.0, 5.0]));
        let rows = rows.finish(&mut Bounds::default());
        assert_eq!(rows.len(), 2);
        let row = &rows[0];
        assert_eq!((row.min, row.median, row.p99), (0.5, 4.0, 5.0));
        assert_eq!(row.launches, [2.0, 5.0, 4.0]);
        assert_eq!(row.spread(), (2.0, 5.0));
        assert_eq!(row.bandwidth_mb_s, Some(25.0));
        assert_eq!(row.compared().len(), 9);
        assert_eq!(rows[1].ranks, 4);
    }
}
