//! Symmetric matrices from Matrix Market files (coordinate; real, integer or pattern).
//!
//! Of the crates that read this format none says in which line a file is wrong, and what was
//! expected there; so this is done by hand.

use std::collections::BTreeMap;
use std::path::Path;

/// For each row its entries: column and value, by column.
pub(crate) type Rows = Vec<Vec<(usize, f64)>>;

/// A header can claim any size, and is not believed beyond this.
const ORDER_MAX: usize = 10_000_000;

/// Line and what was expected there.
type Wrong = (usize, String);

/// Reads a matrix; with `laplacian`, makes the graph Laplacian of its pattern plus the identity.
///
/// An error is one line that says file, line, and what was expected.
pub(crate) fn read(file: &Path, laplacian: bool) -> Result<Rows, String> {
    let file_name = file.display();
    let bytes = std::fs::read(file).map_err(|error| {
        format!("cannot read {file_name}: {error}; give the path of a Matrix Market file")
    })?;
    parse(&String::from_utf8_lossy(&bytes), laplacian)
        .map_err(|(line, expected)| format!("{file_name}:{line}: expected {expected}"))
}

fn parse(text: &str, laplacian: bool) -> Result<Rows, Wrong> {
    let mut lines = (1..).zip(text.lines().map(str::trim));
    let (_, header) = lines.next().unwrap_or_default();
    let pattern = header_is_of_pattern(header).map_err(|expected| (1, expected))?;
    if pattern && !laplacian {
        return Err((1, "numbers: give --laplacian for a pattern".into()));
    }
    if laplacian && !pattern {
        return Err((1, "a pattern: leave out --laplacian for numbers".into()));
    }
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('%'));
    let missing = || (text.lines().count() + 1, sizes_expected());
    let (line, sizes) = lines.next().ok_or_else(missing)?;
    let (order, count) = order_and_count(sizes).map_err(|expected| (line, expected))?;

    // By row and column, both triangles.
    let mut entries = BTreeMap::new();
    let (mut seen, mut last) = (0, line);
    for (line, text) in lines {
        let wrong = |expected: String| (line, expected);
        if seen == count {
            return Err(wrong(format!("the end of the file after {count} entries")));
        }
        let (row, column, value) = entry(text, order, pattern).map_err(wrong)?;
        if entries.insert((row, column), value).is_some() {
            return Err(wrong("each entry once".into()));
        }
        entries.insert((column, row), value);
        (seen, last) = (seen + 1, line);
    }
    if seen < count {
        let expected = format!("{count} entries, found {seen}: is the file complete?");
        return Err((last, expected));
    }
    let mut rows = vec![Vec::new(); order];
    for ((row, column), value) in entries {
        rows[row].push((column, value));
    }
    if laplacian {
        let row = |(row, entries)| laplacian_row(row, entries);
        rows = rows.into_iter().enumerate().map(row).collect();
    }
    Ok(rows)
}

fn header_is_of_pattern(header: &str) -> Result<bool, String> {
    let header = header.to_lowercase();
    let words: Vec<&str> = header.split_whitespace().collect();
    match words[..] {
        [
            "%%matrixmarket",
            "matrix",
            "coordinate",
            field @ ("real" | "integer" | "pattern"),
            "symmetric",
        ] => Ok(field == "pattern"),
        _ => {
            Err("`%%MatrixMarket matrix coordinate real symmetric` (or integer, or pattern)".into())
        }
    }
}

fn sizes_expected() -> String {
    "the numbers of rows, columns and entries".into()
}

fn order_and_count(line: &str) -> Result<(usize, usize), String> {
    let numbers: Option<Vec<usize>> = line.split_whitespace().map(|n| n.parse().ok()).collect();
    let Some([rows, columns, count]) = numbers.as_deref() else {
        return Err(sizes_expected());
    };
    if rows != columns || *rows == 0 || *rows > ORDER_MAX {
        return Err(format!("as many columns as rows, from 1 to {ORDER_MAX}"));
    }
    Ok((*rows, *count))
}

/// Row, column (from 0) and value of a line.
fn entry(line: &str, order: usize, pattern: bool) -> Result<(usize, usize, f64), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (row, column, value) = match words[..] {
        [row, column] if pattern => (row, column, Some(1.0)),
        [row, column, value] if !pattern => (row, column, value.parse().ok()),
        _ if pattern => return Err("a row and a column".into()),
        _ => return Err("a row, a column and a number".into()),
    };
    let index = |word: &str| {
        let index = word
            .parse::<usize>()
            .ok()
            .filter(|i| (1..=order).contains(i));
        index.map(|index| index - 1)
    };
    let (Some(row), Some(column)) = (index(row), index(column)) else {
        return Err(format!("a row and a column from 1 to {order}"));
    };
    if column > row {
        return Err("an entry on or below the diagonal, as symmetric files have".into());
    }
    match value.filter(|value: &f64| value.is_finite()) {
        Some(value) => Ok((row, column, value)),
        None => Err("a finite number after row and column".into()),
    }
}

fn laplacian_row(row: usize, mut entries: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    entries.retain(|&(column, _)| column != row);
    let degree = entries.len() as f64;
    entries.iter_mut().for_each(|(_, value)| *value = -1.0);
    entries.push((row, degree + 1.0));
    entries.sort_unstable_by_key(|&(column, _)| column);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "%%MatrixMarket matrix coordinate real symmetric\n";

    #[test]
    fn both_triangles_are_filled() {
        let text = format!("{HEADER}% a comment\n\n2 2 3\n1 1 4.5\n2 1 -1e0\n2 2 3\n");
        let rows = vec![vec![(0, 4.5), (1, -1.0)], vec![(0, -1.0), (1, 3.0)]];
        assert_eq!(parse(&text, false), Ok(rows));
    }

    #[test]
    fn a_pattern_becomes_its_laplacian_and_the_identity() {
        let text = "%%MatrixMarket matrix coordinate pattern symmetric\n3 3 3\n1 1\n2 1\n3 1\n";
        let rows = vec![
            vec![(0, 3.0), (1, -1.0), (2, -1.0)],
            vec![(0, -1.0), (1, 2.0)],
            vec![(0, -1.0), (2, 2.0)],
        ];
        assert_eq!(parse(text, true), Ok(rows));
        assert!(
            parse(text, false)
                .expect_err("no numbers")
                .1
                .contains("--laplacian")
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (body, line, expected) in [
            ("", 2, "rows, columns and entries"),
            ("% only a comment\n", 3, "rows, columns and entries"),
            ("2 2\n", 2, "rows, columns and entries"),
            ("2 two 1\n", 2, "rows, columns and entries"),
            ("2 2 -1\n", 2, "rows, columns and entries"),
            ("2 3 1\n1 1 1\n", 2, "as many columns as rows"),
            ("0 0 0\n", 2, "from 1 to"),
            ("999999999999 999999999999 1\n1 1 1\n", 2, "from 1 to"),
            ("2 2 2\n1 1 1\n", 3, "2 entries, found 1"),
            ("2 2 1\n1 1 1\n2 2 1\n", 4, "the end of the file after 1"),
            ("2 2 2\n1 1 1\n2 2\n", 4, "a row, a column and a number"),
            ("2 2 1\n1 1 1 1\n", 3, "a row, a column and a number"),
            ("2 2 1\n0 1 1\n", 3, "from 1 to 2"),
            ("2 2 1\n3 1 1\n", 3, "from 1 to 2"),
            ("2 2 1\n1 -1 1\n", 3, "from 1 to 2"),
            ("2 2 1\n1 2 1\n", 3, "below the diagonal"),
            ("2 2 1\n1 1 x\n", 3, "a finite number"),
            ("2 2 1\n1 1 nan\n", 3, "a finite number"),
            ("2 2 1\n1 1 1e999\n", 3, "a finite number"),
            ("2 2 2\n2 1 1\n2 1 1\n", 4, "each entry once"),
        ] {
            let (at, said) = parse(&format!("{HEADER}{body}"), false).expect_err(body);
            assert!(said.contains(expected), "{body:?}: {said}");
            assert_eq!(at, line, "{body:?}: {said}");
        }
    }

    #[test]
    fn other_formats_are_refused() {
        for header in [
            "",
            "hello",
            "%%MatrixMarket matrix array real symmetric",
            "%%MatrixMarket matrix coordinate complex symmetric",
            "%%MatrixMarket matrix coordinate real general",
        ] {
            let (line, said) =
                parse(&format!("{header}\n1 1 1\n1 1 1\n"), false).expect_err(header);
            assert!(
                line == 1 && said.contains("%%MatrixMarket"),
                "{header}: {said}"
            );
        }
    }
}
