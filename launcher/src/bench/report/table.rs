//! Tables of text.

use comfy_table::{CellAlignment, Table, presets};

use super::{Report, bytes, number};
use crate::bench::case::Case;
use crate::bench::plan::is_of_tradeoff;
use crate::bench::recipe::Recipe;
use crate::bench::rows::{Row, heading};

/// Rows that are shown in one table, and its title.
pub(super) struct Section<'a> {
    pub(super) title: String,
    pub(super) rows: Vec<&'a Row>,
}

/// One table for each case, number of ranks and transport; cases without lengths share one for all.
pub(super) fn sections<'a>(rows: &'a [Row]) -> Vec<Section<'a>> {
    let together = |one: &Row, other: &Row| {
        one.case == other.case
            && (!one.case.is_sized()
                || (one.ranks == other.ranks && one.transport == other.transport))
    };
    rows.chunk_by(together)
        .filter_map(|rows| {
            let first = rows.first()?;
            let (name, what) = (first.case.name(), heading(first.case));
            let title = if first.case.is_sized() {
                format!("{name}, {} ranks, {}: {what}", first.ranks, first.transport)
            } else {
                format!("{name}: {what}")
            };
            Some(Section {
                title,
                rows: rows.iter().collect(),
            })
        })
        .collect()
}

/// A heading, and what stands under it.
struct Column(String, Box<dyn Fn(&Row) -> String>);

impl Column {
    fn new(name: impl Into<String>, cell: impl Fn(&Row) -> String + 'static) -> Self {
        Self(name.into(), Box::new(cell))
    }
}

/// Headings and cells of a section.
pub(super) fn cells(section: &Section<'_>) -> (Vec<String>, Vec<Vec<String>>) {
    let columns = columns(&section.rows);
    let head = columns.iter().map(|column| column.0.clone()).collect();
    let line = |row: &&Row| columns.iter().map(|column| (column.1)(row)).collect();
    (head, section.rows.iter().map(line).collect())
}

/// Which columns these rows need.
fn columns(rows: &[&Row]) -> Vec<Column> {
    let any = |has: fn(&Row) -> bool| rows.iter().any(|row| has(row));
    let (unit, scale) = match rows.first().map(|row| row.case) {
        Some(Case::Memory) => ("MiB", 1.0),
        Some(Case::Startup) => ("ms", 1e-3),
        Some(Case::Idle) => ("% of a core", 1e-4),
        _ => ("us", 1.0),
    };
    let mut columns = Vec::new();
    if any(|row| !row.case.is_sized()) {
        columns.push(Column::new("ranks", |row| row.ranks.to_string()));
        columns.push(Column::new("over", |row| row.transport.clone()));
    }
    if any(|row| row.bytes > 0) {
        columns.push(Column::new("bytes", |row| bytes(row.bytes)));
    }
    if any(|row| row.recipe.is_some()) {
        columns.push(Column::new("operation", |row| {
            row.recipe.map_or("", Recipe::label).to_owned()
        }));
    }
    columns.push(Column::new(format!("min {unit}"), move |row| {
        number(row.min * scale)
    }));
    columns.push(Column::new("median", move |row| number(row.median * scale)));
    columns.push(Column::new("p99", move |row| number(row.p99 * scale)));
    if any(|row| row.launches.len() > 1) {
        columns.push(Column::new("launches' medians", move |row| {
            let (least, most) = row.spread();
            format!("{} .. {}", number(least * scale), number(most * scale))
        }));
    }
    if any(|row| row.bandwidth_mb_s.is_some()) {
        columns.push(Column::new("MB/s", |row| {
            row.bandwidth_mb_s.map_or_else(String::new, number)
        }));
    }
    if any(|row| row.bound.is_some()) {
        columns.push(Column::new("of bound", |row| {
            let percent = row.percent_of_bound();
            percent.map_or_else(String::new, |percent| format!("{percent:.0} %"))
        }));
        columns.push(Column::new("bound", move |row| {
            let bound = row.bound.as_ref();
            bound.map_or_else(String::new, |bound| {
                format!("{}: {}", bound.name, number(bound.value * scale))
            })
        }));
    }
    columns.push(Column::new("samples", |row| {
        format!("{} x {}", row.repetitions, row.batch)
    }));
    if any(|row| !row.algorithm.is_empty()) {
        columns.push(Column::new("algorithm", |row| row.algorithm.clone()));
    }
    columns
}

/// Headings and cells of the trade-off: operations down, transports across. `None` when there is only one.
pub(super) fn tradeoff(rows: &[Row]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    let listed = || {
        rows.iter()
            .filter(|row| is_of_tradeoff(row.case, row.bytes, row.ranks))
    };
    let mut transports: Vec<&str> = Vec::new();
    let mut points: Vec<(Case, usize)> = Vec::new();
    for row in listed() {
        if !transports.contains(&row.transport.as_str()) {
            transports.push(&row.transport);
        }
        if !points.contains(&(row.case, row.bytes)) {
            points.push((row.case, row.bytes));
        }
    }
    if transports.len() < 2 {
        return None;
    }
    let place = |name: &str| {
        ["threads", "shm", "unix", "tcp"]
            .iter()
            .position(|known| *known == name)
    };
    transports.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    points.sort_unstable();
    let mut head = vec!["median us, 2 ranks".to_owned()];
    head.extend(transports.iter().map(|name| (*name).to_owned()));
    let lines = points.into_iter().map(|(case, length)| {
        let name = match length {
            0 => case.name(),
            length => format!("{} {}", case.name(), bytes(length)),
        };
        let times = transports.iter().map(|transport| {
            let found = listed().find(|row| {
                (row.case, row.bytes) == (case, length) && row.transport == **transport
            });
            found.map_or_else(|| "-".to_owned(), |row| number(row.median))
        });
        [name].into_iter().chain(times).collect()
    });
    Some((head, lines.collect()))
}

/// Headings and cells of the violated guidelines.
pub(super) fn violations(report: &Report<'_>) -> (Vec<String>, Vec<Vec<String>>) {
    let head = ["guideline", "left us", "right us", "ratio", "chance"];
    let lines = report.guidelines.violations.iter().map(|found| {
        let chance = found.chance.map(|chance| format!("{chance:.1e}"));
        vec![
            found.guideline.clone(),
            number(found.left),
            number(found.right),
            format!("{:.2}", found.ratio),
            chance.unwrap_or_else(|| "too few samples".to_owned()),
        ]
    });
    (head.map(str::to_owned).to_vec(), lines.collect())
}

/// What is said of the guidelines.
pub(super) fn verdict(report: &Report<'_>) -> String {
    let found = report.guidelines;
    format!(
        "Guidelines: {} checked, {} violated (more than 5 % slower, chance below 1 %)",
        found.checked,
        found.violations.len()
    )
}

/// Headings and cells of the bounds.
pub(super) fn bounds(report: &Report<'_>) -> (Vec<String>, Vec<Vec<String>>) {
    let lines = report.bounds.iter();
    (
        vec!["bound".to_owned(), "us".to_owned()],
        lines
            .map(|(name, value)| vec![(*name).to_owned(), number(*value)])
            .collect(),
    )
}

fn draw(head: Vec<String>, lines: Vec<Vec<String>>) -> String {
    let columns = head.len();
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(head)
        .add_rows(lines);
    // Figures to the right; words, which are the names at the ends, to the left.
    for (index, column) in table.column_iter_mut().enumerate() {
        let name = index + 1 == columns && columns > 3;
        if index > 0 && !name {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let lines = text.lines().map(|line| format!("  {}\n", line.trim_end()));
    lines.collect()
}

/// The whole report.
pub(super) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    let mut block = |title: &str, body: String| {
        text.push_str(&format!("{title}\n{body}\n"));
    };
    let machine: String = report
        .machine
        .lines()
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect();
    block("Machine", machine);
    for section in sections(report.rows) {
        let (head, lines) = cells(&section);
        block(&section.title, draw(head, lines));
    }
    if let Some((head, lines)) = tradeoff(report.rows) {
        block(
            "The trade-off: one operation over all transports",
            draw(head, lines),
        );
    }
    let (head, lines) = bounds(report);
    if !lines.is_empty() {
        block("Bounds, measured in this run", draw(head, lines));
    }
    let (head, lines) = violations(report);
    let listed = if lines.is_empty() {
        String::new()
    } else {
        draw(head, lines)
    };
    if report.guidelines.checked > 0 {
        block(&verdict(report), listed);
    }
    text
}
