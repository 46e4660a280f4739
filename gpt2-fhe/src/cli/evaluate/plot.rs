//! The figures of `evaluate` as an SVG picture.

use std::collections::BTreeSet;

use anyhow::anyhow;
use gpt2_fhe::run::Circuit;
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::report::Row;

/// Pixels of a panel.
const PANEL: (u32, u32) = (480, 420);
/// Panels side by side.
const COLUMNS: usize = 2;
/// Pixels of the height of a line of a legend, and how many entries are on it.
const LEGEND_LINE: u32 = 18;
const LEGEND_COLUMNS: usize = 3;
/// What the points of a line are no smaller than on a logarithmic axis.
const LEAST: f64 = 1e-4;

/// An area of a picture.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A diagram whose horizontal axis is linear.
type Chart<'a, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, Y>>;

/// A figure of a row.
type Figure = fn(&Row) -> f64;

/// One line of a panel.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    color: RGBColor,
    dashed: bool,
}

/// A diagram.
struct Panel {
    title: String,
    x: &'static str,
    y: &'static str,
    /// The most numbers on the horizontal axis.
    x_labels: usize,
    logarithmic: bool,
    lines: Vec<Line>,
}

/// A picture of all rows.
pub(super) fn svg(rows: &[Row]) -> anyhow::Result<String> {
    let mut panels: Vec<Panel> =
        [Circuit::Exact, Circuit::Packed].into_iter().filter_map(|circuit| agreement(rows, circuit)).collect();
    panels.push(error_by_bits(rows));
    panels.extend(error_by_noise(rows));
    let lines = panels.len().div_ceil(COLUMNS);
    let size = (PANEL.0 * panels.len().min(COLUMNS) as u32, PANEL.1 * lines as u32);
    let mut picture = String::new();
    draw(&mut picture, size, (lines, panels.len().min(COLUMNS)), &panels)
        .map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
    Ok(picture)
}

fn draw(
    picture: &mut String,
    size: (u32, u32),
    grid: (usize, usize),
    panels: &[Panel],
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(picture, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, panel) in root.split_evenly(grid).iter().zip(panels) {
        panel.draw(area)?;
    }
    root.present()?;
    Ok(())
}

/// The colors of lines, distinguishable without red and green.
fn color(index: usize) -> RGBColor {
    const COLORS: [(u8, u8, u8); 8] = [
        (0, 114, 178),
        (213, 94, 0),
        (0, 158, 115),
        (204, 121, 167),
        (86, 180, 233),
        (230, 159, 0),
        (90, 90, 90),
        (150, 90, 40),
    ];
    let (red, green, blue) = COLORS[index % COLORS.len()];
    RGBColor(red, green, blue)
}

/// The rows of a circuit with the noise that is predicted, or none.
fn of_circuit(rows: &[Row], circuit: Circuit) -> Vec<&Row> {
    let as_it_is =
        |row: &&Row| row.label.circuit == Some(circuit) && row.label.noise.is_none_or(|factor| factor == 1.0);
    rows.iter().filter(as_it_is).collect()
}

fn by_bits(rows: &[&Row], figure: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
    rows.iter().filter_map(|row| Some((f64::from(row.label.bits?), figure(row)))).collect()
}

/// Agreement of the likeliest tokens, and with zeros.
fn agreement(rows: &[Row], circuit: Circuit) -> Option<Panel> {
    let figures: [(&str, Figure); 3] = [
        ("top-1", |row| row.accuracy.top_1),
        ("top-5", |row| row.accuracy.top_5),
        ("top-10", |row| row.accuracy.top_10),
    ];
    let of_circuit = of_circuit(rows, circuit);
    let zeroed = rows.iter().find(|row| row.label.control == Some("zeroed"))?;
    let mut lines = Vec::new();
    for (index, (name, figure)) in figures.into_iter().enumerate() {
        let points = by_bits(&of_circuit, figure);
        let control = points.iter().map(|&(bits, _)| (bits, figure(zeroed))).collect();
        lines.push(Line { name: name.into(), points, color: color(index), dashed: false });
        lines.push(Line { name: format!("{name}, zeroed"), points: control, color: color(index), dashed: true });
    }
    // Legends are filled line by line: first what is evaluated, then controls.
    lines.sort_by_key(|line| line.dashed);
    let title = format!("Agreement with f32: {}", circuit.name());
    let x_labels = bits_labels(&lines);
    let panel = Panel { title, x: "bits", y: "share of tokens", x_labels, logarithmic: false, lines };
    (!of_circuit.is_empty()).then_some(panel)
}

/// The error of the output of both circuits, and of controls.
fn error_by_bits(rows: &[Row]) -> Panel {
    let error = |row: &Row| row.accuracy.relative_error;
    let mut lines = Vec::new();
    for (index, circuit) in [Circuit::Exact, Circuit::Packed].into_iter().enumerate() {
        let points = by_bits(&of_circuit(rows, circuit), error);
        lines.push(Line { name: circuit.name().into(), points, color: color(index), dashed: false });
    }
    lines.retain(|line| !line.points.is_empty());
    let (least, most) = range(&lines, |point| point.0);
    for (index, name) in ["zeroed", "shuffled"].into_iter().enumerate() {
        let control = rows.iter().find(|row| row.label.control == Some(name));
        let points = control.map(|row| [least, most].map(|bits| (bits, error(row))).to_vec()).unwrap_or_default();
        lines.push(Line { name: name.into(), points, color: color(2 + index), dashed: true });
    }
    let (title, x_labels) = ("Error of the output".into(), bits_labels(&lines));
    Panel { title, x: "bits", y: "relative error", x_labels, logarithmic: true, lines }
}

/// One label for each number of bits.
fn bits_labels(lines: &[Line]) -> usize {
    let (least, most) = range(lines, |point| point.0);
    (most - least).max(0.0) as usize + 1
}

/// The least and the largest coordinate of all points.
fn range(lines: &[Line], coordinate: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| &line.points).map(coordinate);
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)))
}

/// The error against the factor of the noise, where there are several.
fn error_by_noise(rows: &[Row]) -> Option<Panel> {
    let packed = || rows.iter().filter(|row| row.label.circuit == Some(Circuit::Packed) && row.label.noise.is_some());
    let widths: BTreeSet<u32> = packed().filter_map(|row| row.label.bits).collect();
    let mut lines = Vec::new();
    for (index, bits) in widths.into_iter().enumerate() {
        let of_width = packed().filter(|row| row.label.bits == Some(bits));
        let mut points: Vec<(f64, f64)> =
            of_width.filter_map(|row| Some((row.label.noise?, row.accuracy.relative_error))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        lines.push(Line { name: format!("{bits} bits"), points, color: color(index), dashed: false });
    }
    let several = lines.iter().any(|line| line.points.len() > 1);
    let (title, x) = ("Error against noise: packed".into(), "noise, in units of the predicted");
    several.then_some(Panel { title, x, y: "relative error", x_labels: 10, logarithmic: true, lines })
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let legend_height = LEGEND_LINE * self.lines.len().div_ceil(LEGEND_COLUMNS) as u32 + 10;
        let (diagram, legend) = area.split_vertically(PANEL.1 - legend_height);
        let (x, y) = (self.x_range(), self.y_range());
        let mut builder = ChartBuilder::on(&diagram);
        builder.caption(&self.title, ("sans-serif", 17)).margin(14).x_label_area_size(38).y_label_area_size(56);
        if self.logarithmic {
            self.draw_lines(builder.build_cartesian_2d(x, y.log_scale().base(2.0))?)?;
        } else {
            self.draw_lines(builder.build_cartesian_2d(x, y)?)?;
        }
        self.draw_legend(&legend)
    }

    fn draw_lines<Y>(&self, mut chart: Chart<'_, Y>) -> Result<(), Box<dyn std::error::Error>>
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let number = |value: &f64| format!("{}", (value * 1e6).round() / 1e6);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x).y_desc(self.y).x_labels(self.x_labels).y_labels(12).max_light_lines(0);
        mesh.x_label_formatter(&number).y_label_formatter(&number).draw()?;
        for line in &self.lines {
            let points = line.points.iter().map(|&(x, y)| (x, if self.logarithmic { y.max(LEAST) } else { y }));
            if line.dashed {
                chart.draw_series(DashedLineSeries::new(points, 6, 5, line.color.stroke_width(1)))?;
            } else {
                let style = line.color.stroke_width(2);
                chart.draw_series(LineSeries::new(points.clone(), style))?;
                chart.draw_series(points.map(|point| Circle::new(point, 3, line.color.filled())))?;
            }
        }
        Ok(())
    }

    /// Below the diagram, where it hides nothing.
    fn draw_legend(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let width = (PANEL.0 - 70) as i32 / LEGEND_COLUMNS as i32;
        for (index, line) in self.lines.iter().enumerate() {
            let x = 62 + width * (index % LEGEND_COLUMNS) as i32;
            let y = 6 + LEGEND_LINE as i32 * (index / LEGEND_COLUMNS) as i32;
            if line.dashed {
                area.draw(&PathElement::new([(x, y), (x + 10, y)], line.color))?;
                area.draw(&PathElement::new([(x + 14, y), (x + 24, y)], line.color))?;
            } else {
                area.draw(&PathElement::new([(x, y), (x + 24, y)], line.color.stroke_width(2)))?;
            }
            area.draw(&Text::new(line.name.clone(), (x + 30, y - 6), ("sans-serif", 13)))?;
        }
        Ok(())
    }

    fn x_range(&self) -> std::ops::Range<f64> {
        let (least, most) = range(&self.lines, |point| point.0);
        let margin = (0.03 * (most - least)).max(0.1);
        if least <= most { least - margin..most + margin } else { 0.0..1.0 }
    }

    fn y_range(&self) -> std::ops::Range<f64> {
        let (least, most) = range(&self.lines, |point| point.1);
        match (least <= most, self.logarithmic) {
            (false, _) => LEAST..1.0,
            (true, true) => least.max(LEAST) / 1.3..most.max(2.0 * LEAST) * 1.3,
            (true, false) => least - 0.03..1.01,
        }
    }
}
