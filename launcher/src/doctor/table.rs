//! Findings as text: a table of everything that was looked at, and below it how to mend what is wrong.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets};

use super::Entry;
use super::words::State;

/// Places that one row names.
const PLACES_SHOWN: usize = 3;

/// Columns of the terminal, if it is one.
pub(super) fn width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns >= 40)
}

/// All of it.
pub(super) fn text(entries: &[Entry], verbose: bool, width: Option<u16>) -> String {
    let mut text = table(entries, verbose, width);
    text.push('\n');
    for entry in entries {
        let finding = &entry.finding;
        if finding.state != State::Ok {
            let state = finding.state.name();
            let (place, check) = (entry.place(), entry.check.name());
            writeln!(text, "{state}: {place}: {check}: {}", finding.found).expect("memory");
            writeln!(text, "  mend: {}", finding.mend).expect("memory");
        }
    }
    let count = |state| {
        let same = entries.iter().filter(|entry| entry.finding.state == state);
        same.count()
    };
    let warnings = match count(State::Warning) {
        1 => "1 warning".to_owned(),
        many => format!("{many} warnings"),
    };
    let looked = match entries.len() {
        1 => "1 check".to_owned(),
        many => format!("{many} checks"),
    };
    match count(State::Wrong) {
        0 => writeln!(text, "nothing is wrong: {looked}, {warnings}"),
        1 => writeln!(text, "1 thing is wrong: {looked}, {warnings}"),
        many => writeln!(text, "{many} things are wrong: {looked}, {warnings}"),
    }
    .expect("memory");
    text
}

fn table(entries: &[Entry], verbose: bool, width: Option<u16>) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["check", "where", "state", "found"]);
    if let Some(width) = width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    for entries in entries.chunk_by(|one, other| one.check == other.check) {
        for row in rows(entries, verbose) {
            table.add_row(row);
        }
    }
    let trimmed = table.to_string();
    let trimmed = trimmed
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n");
    trimmed.collect()
}

/// The rows of one check: what is not well first; what is well in one row, unless all shall be seen.
fn rows(entries: &[Entry], verbose: bool) -> Vec<[String; 4]> {
    let row = |entry: &Entry, place: String, found: String| {
        let check = entry.check.name().to_owned();
        [check, place, entry.finding.state.name().to_owned(), found]
    };
    let alone = |entry: &Entry| row(entry, entry.place(), entry.finding.found.clone());
    let (well, unwell): (Vec<&Entry>, Vec<&Entry>) = entries
        .iter()
        .partition(|entry| entry.finding.state == State::Ok);
    let mut rows: Vec<_> = unwell.into_iter().map(alone).collect();
    if verbose {
        rows.extend(well.into_iter().map(alone));
    } else if let Some(first) = well.first() {
        let mut places: Vec<String> = well.iter().map(|entry| entry.place()).collect();
        let more = places.len().saturating_sub(PLACES_SHOWN);
        places.truncate(PLACES_SHOWN);
        let mut place = places.join(", ");
        if more > 0 {
            write!(place, " and {more} more").expect("memory");
        }
        let mut found = first.finding.found.clone();
        if well.iter().any(|entry| entry.finding.found != found) {
            found += ", and alike (--verbose)";
        }
        rows.push(row(first, place, found));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::words::{Check, Finding};
    use crate::nodes::Host;

    fn entry(check: Check, host: &str, finding: Finding) -> Entry {
        Entry::of(check, &Host::new(host, 1), finding)
    }

    #[test]
    fn what_is_well_takes_one_row_and_what_is_not_has_its_cure() {
        let hosts = ["a", "b", "c", "d", "e"];
        let mut entries: Vec<Entry> = hosts
            .iter()
            .map(|host| entry(Check::Cores, host, Finding::ok("4 cores")))
            .collect();
        entries[1].finding = Finding::wrong("no cores", "buy some");
        let shown = text(&entries, false, None);
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 7, "{shown}");
        assert!(lines[1].contains("no cores"), "{shown}");
        assert!(lines[2].contains("a, c, d and 1 more"), "{shown}");
        assert_eq!(lines[4], "wrong: b: cores: no cores");
        assert_eq!(lines[5], "mend: buy some");
        assert_eq!(lines[6], "1 thing is wrong: 5 checks, 0 warnings");
        assert_eq!(text(&entries, true, None).lines().count(), 10);
    }

    #[test]
    fn connections_are_shown_with_both_ends() {
        let mut one = entry(Check::Connections, "a", Finding::ok("fine"));
        one.to = Some("b".to_owned());
        let shown = text(&[one], false, Some(80));
        assert!(shown.contains("a -> b"), "{shown}");
        assert!(
            shown.ends_with("nothing is wrong: 1 check, 0 warnings\n"),
            "{shown}"
        );
    }
}
