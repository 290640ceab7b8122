//! One page that needs nothing else: tables and plots.

use super::table::{self, Section};
use super::{Failure, Report, plot};
use crate::bench::rows::{Row, heading};

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #ddd}
h3{font-size:1rem;margin-bottom:.3rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13.5px;margin:.4rem 0 1rem}
th,td{padding:.18rem .7rem;text-align:right;border-bottom:1px solid #eee;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{border-bottom:1px solid #999;font-weight:600}
svg{max-width:100%;height:auto}.note{color:#555}
.wide{overflow-x:auto}";

/// The page.
pub(super) fn render(report: &Report<'_>) -> Result<String, Failure> {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width\"><title>phalanx bench</title>\n";
    page += &format!("<style>{STYLE}</style></head><body>\n<h1>phalanx bench</h1>\n");
    for line in report.machine.lines() {
        page += &format!("{}<br>\n", escape(&line));
    }
    page += "<p class=\"note\">Times are those of the slowest rank, in microseconds unless the table says \
             otherwise. Plots show medians; dashed lines are what the machine itself can do, measured in \
             the same run.</p>\n";
    if let Some((head, lines)) = table::tradeoff(report.rows) {
        page += "<h2>The trade-off: one operation over all transports</h2>\n";
        page += &table_of(&head, &lines);
    }
    for rows in report.rows.chunk_by(|one, other| one.case == other.case) {
        page += &case(rows)?;
    }
    let (head, lines) = table::bounds(report);
    page += "<h2>Bounds, measured in this run</h2>\n";
    page += &table_of(&head, &lines);
    page += &format!("<h2>{}</h2>\n", escape(&table::verdict(report)));
    let (head, lines) = table::violations(report);
    if !lines.is_empty() {
        page += &table_of(&head, &lines);
    }
    page += "</body></html>\n";
    Ok(page)
}

/// All that belongs to one case.
fn case(rows: &[Row]) -> Result<String, Failure> {
    let Some(first) = rows.first() else {
        return Ok(String::new());
    };
    let name = first.case.name();
    let mut part = format!("<h2 id=\"{name}\">{name}</h2>\n");
    part += &format!("<p class=\"note\">{}</p>\n", escape(&heading(first.case)));
    if first.case.is_sized() {
        let all: Vec<&Row> = rows.iter().collect();
        if let Some(svg) = plot::draw(&name, &plot::lines(&all))? {
            part += &svg;
        }
    }
    for section in table::sections(rows) {
        let Section { rows, .. } = &section;
        if let Some(first) = rows.first().filter(|row| row.case.is_sized()) {
            part += &format!(
                "<h3>{} ranks, {}</h3>\n",
                first.ranks,
                escape(&first.transport)
            );
        }
        let (head, lines) = table::cells(&section);
        part += &table_of(&head, &lines);
    }
    Ok(part)
}

fn table_of(head: &[String], lines: &[Vec<String>]) -> String {
    let row = |cells: &[String], tag: &str| -> String {
        let cells = cells.iter();
        let cells: String = cells
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)))
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let body: String = lines.iter().map(|line| row(line, "td")).collect();
    format!(
        "<div class=\"wide\"><table>\n{}{body}</table></div>\n",
        row(head, "th")
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
