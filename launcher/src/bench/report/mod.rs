//! What the benchmark says: on the terminal, and in files for programs and for people.

mod html;
mod plot;
mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::args::BenchArgs;
use super::guidelines::Findings;
use super::machine::Machine;
use super::rows::Row;
use crate::job::Refusal;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// Not all that was asked for was measured.
    pub(crate) interrupted: bool,
    pub(crate) machine: &'a Machine,
    /// Microseconds.
    pub(crate) bounds: BTreeMap<&'a str, f64>,
    pub(crate) rows: &'a [Row],
    pub(crate) guidelines: &'a Findings,
}

impl Report<'_> {
    /// Prints it, and writes the files that were asked for.
    pub(crate) fn publish(&self, args: &BenchArgs) -> Result<(), Refusal> {
        let text = table::render(self);
        // A reader that has gone does not need the rest.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
        if let Some(path) = &args.json {
            let json = serde_json::to_vec_pretty(self).map_err(|error| refusal(path, &error))?;
            write(path, &json)?;
        }
        if let Some(path) = &args.csv {
            write(
                path,
                &csv(self.rows).map_err(|error| refusal(path, &*error))?,
            )?;
        }
        if let Some(path) = &args.html {
            let page = html::render(self).map_err(|error| refusal(path, &*error))?;
            write(path, page.as_bytes())?;
        }
        Ok(())
    }
}

/// Whether the files that were asked for can be written: better known before measuring than after it.
pub(crate) fn check(args: &BenchArgs) -> Result<(), Refusal> {
    let files = [&args.json, &args.csv, &args.html];
    files.into_iter().flatten().try_for_each(|path| {
        let is_new = !path.exists();
        let opened = File::options().append(true).create(true).open(path);
        opened.map_err(|error| refusal(path, &error))?;
        if is_new {
            // It is made when there is something to write.
            std::fs::remove_file(path).map_err(|error| refusal(path, &error))?;
        }
        Ok(())
    })
}

fn write(path: &Path, content: &[u8]) -> Result<(), Refusal> {
    std::fs::write(path, content).map_err(|error| refusal(path, &error))
}

fn refusal(path: &Path, error: &dyn std::error::Error) -> Refusal {
    Refusal::launch(format!("cannot write {}: {error}", path.display()))
}

/// Any error of a writer.
type Failure = Box<dyn std::error::Error>;

fn csv(rows: &[Row]) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "case",
        "ranks",
        "bytes",
        "work",
        "transport",
        "algorithm",
        "unit",
        "min",
        "median",
        "p99",
        "launches",
        "launch_min",
        "launch_max",
        "bandwidth_mb_s",
        "bound",
        "bound_value",
    ])?;
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for row in rows {
        let (least, most) = row.spread();
        let bound = row.bound.as_ref();
        writer.write_record([
            row.case.name(),
            row.ranks.to_string(),
            row.bytes.to_string(),
            row.work.to_string(),
            row.transport.clone(),
            row.algorithm.clone(),
            row.unit.to_owned(),
            row.min.to_string(),
            row.median.to_string(),
            row.p99.to_string(),
            row.launches.len().to_string(),
            least.to_string(),
            most.to_string(),
            optional(row.bandwidth_mb_s),
            bound.map_or_else(String::new, |bound| bound.name.clone()),
            optional(bound.map(|bound| bound.value)),
        ])?;
    }
    Ok(writer.into_inner()?)
}

/// A number of bytes as in `64 KiB`.
pub(crate) fn bytes(bytes: usize) -> String {
    for (unit, name) in [(1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes % unit == 0 {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

/// Three digits that count, or more before the point.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [1234.56, 12.345, 1.234, 0.1234, 0.0].map(number);
        assert_eq!(shown, ["1235", "12.3", "1.23", "0.123", "0.000"]);
        assert_eq!(
            [8, 1024, 1536, 4 << 20].map(bytes),
            ["8 B", "1 KiB", "1536 B", "4 MiB"]
        );
    }
}
