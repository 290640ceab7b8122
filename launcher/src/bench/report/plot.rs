//! Time against length, both logarithmic, as SVG.

use plotters::prelude::*;

use super::{Failure, bytes, number};
use crate::bench::rows::Row;

/// A line of a plot.
pub(super) struct Line {
    pub(super) label: String,
    /// Bytes and microseconds.
    pub(super) points: Vec<(f64, f64)>,
    /// A limit, drawn thin.
    pub(super) is_bound: bool,
}

const SIZE: (u32, u32) = (760, 460);
/// Distinguishable for everybody (after Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];

/// Lines for rows of one case: each transport and number of ranks, each with its bound.
pub(super) fn lines(rows: &[&Row]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows
        .iter()
        .filter(|row| row.bytes > 0 && row.recipe.is_none())
    {
        let label = format!("{}, {} ranks", row.transport, row.ranks);
        let mut add = |label: String, value: f64, is_bound: bool| {
            let point = (row.bytes as f64, value);
            match lines.iter_mut().find(|line| line.label == label) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    label,
                    points: vec![point],
                    is_bound,
                }),
            }
        };
        add(label.clone(), row.median, false);
        if let Some(bound) = &row.bound {
            add(format!("{label}: bound"), bound.value, true);
        }
    }
    lines.retain(|line| line.points.len() > 1);
    lines
}

/// Draws lines. `None` when there are none.
pub(super) fn draw(title: &str, lines: &[Line]) -> Result<Option<String>, Failure> {
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return Ok(None);
    }
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let (least, most) = points()
            .map(pick)
            .fold((f64::INFINITY, 0.0), |(least, most), value| {
                (f64::min(least, value), f64::max(most, value))
            });
        (least.max(1e-3) / 1.3)..(most.max(1e-3) * 1.3)
    };
    let (x, y) = (range(|point| point.0), range(|point| point.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(70)
            .build_cartesian_2d(x.log_scale().base(2.0), y.log_scale())?;
        chart
            .configure_mesh()
            .x_desc("bytes")
            .y_desc("microseconds")
            .x_labels(12)
            .x_label_formatter(&|value| bytes(value.round() as usize))
            .y_label_formatter(&|value| number(*value))
            .light_line_style(RGBColor(240, 240, 240))
            .label_style(("sans-serif", 13))
            .draw()?;
        let measured = |index: usize| lines[..=index].iter().filter(|line| !line.is_bound).count();
        for (index, line) in lines.iter().enumerate() {
            // A bound has the colour of the line it belongs to, which comes before it.
            let colour = COLOURS[measured(index).saturating_sub(1) % COLOURS.len()];
            if line.is_bound {
                let style = colour.mix(0.6).stroke_width(1);
                let dashed = DashedLineSeries::new(line.points.iter().copied(), 5, 4, style);
                chart.draw_series(dashed)?;
                continue;
            }
            let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            chart
                .draw_series(series.point_size(3))?
                .label(line.label.clone())
                .legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 13))
            .draw()?;
        area.present()?;
    }
    Ok(Some(svg))
}
