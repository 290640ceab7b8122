//! Symmetric matrices from Matrix Market files (coordinate, real, integer or pattern).

use std::collections::BTreeMap;

/// For each row its entries: column and value, by column.
pub(crate) type Rows = Vec<Vec<(usize, f64)>>;

/// Reads a matrix; with `laplacian`, makes the graph Laplacian of its pattern plus the identity.
///
/// An error is one line that says file, line, and what was expected.
pub(crate) fn read(file: &str, laplacian: bool) -> Result<Rows, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()));
    let wrong = |line: usize, expected: &str| format!("{file}:{line}: expected {expected}");
    let header = lines.next().map_or("", |(_, line)| line).to_lowercase();
    let words: Vec<&str> = header.split_whitespace().collect();
    let ["%%matrixmarket", "matrix", "coordinate", field, symmetry] = words[..] else {
        return Err(wrong(
            1,
            "`%%MatrixMarket matrix coordinate FIELD SYMMETRY`",
        ));
    };
    if !["real", "integer", "pattern"].contains(&field) || symmetry != "symmetric" {
        return Err(wrong(
            1,
            "a symmetric matrix of real or integer numbers or a pattern",
        ));
    }
    let pattern = field == "pattern";
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('%'));
    let (line, sizes) = lines.next().ok_or_else(|| wrong(2, "a line of sizes"))?;
    let sizes: Vec<usize> = sizes
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let [order, columns, count] = sizes[..] else {
        return Err(wrong(line, "rows, columns and number of entries"));
    };
    if order != columns || order == 0 {
        return Err(wrong(line, "as many columns as rows, and at least one"));
    }
    let mut entries = vec![BTreeMap::new(); order];
    let mut seen = 0;
    for (line, text) in lines {
        let mut words = text.split_whitespace();
        let mut index = || words.next()?.parse::<usize>().ok()?.checked_sub(1);
        let place = index()
            .zip(index())
            .filter(|&(i, j)| i < order && j < order);
        let (i, j) = place.ok_or_else(|| wrong(line, "a row and a column within the matrix"))?;
        let value = if pattern {
            Some(1.0)
        } else {
            words.next().and_then(|v| v.parse().ok())
        };
        let value: f64 = value.ok_or_else(|| wrong(line, "a number after row and column"))?;
        entries[i].insert(j, value);
        entries[j].insert(i, value);
        seen += 1;
    }
    if seen != count {
        return Err(format!("{file}: expected {count} entries, found {seen}"));
    }
    if pattern != laplacian {
        return Err(format!(
            "{file}: --laplacian is for patterns, and patterns need it"
        ));
    }
    Ok(rows(entries, laplacian))
}

fn rows(entries: Vec<BTreeMap<usize, f64>>, laplacian: bool) -> Rows {
    let rows = entries.into_iter().enumerate();
    rows.map(|(i, row)| {
        if laplacian {
            laplacian_row(i, row)
        } else {
            row.into_iter().collect()
        }
    })
    .collect()
}

fn laplacian_row(i: usize, mut row: BTreeMap<usize, f64>) -> Vec<(usize, f64)> {
    row.remove(&i);
    let degree = row.len() as f64;
    row.values_mut().for_each(|value| *value = -1.0);
    row.insert(i, degree + 1.0);
    row.into_iter().collect()
}
