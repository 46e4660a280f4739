//! The figures of `evaluate` as an SVG picture.
//!
//! A color means the same in all panels: one for each count of likeliest tokens, one for each circuit, of which lighter shades are fewer
//! bits. What is dashed is a control.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::anyhow;
use gpt2_fhe::run::Circuit;
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::figures::{Row, RowLabel};

/// Pixels of a picture's width: about what a page shows it at, so that texts keep their sizes.
const WIDTH: u32 = 880;
/// Pixels of the heights of the title and of a row of panels.
const TITLE: u32 = 44;
const HEIGHT: u32 = 400;
/// Panels side by side.
const COLUMNS: usize = 2;
/// Pixels of the height of a line of a legend, of the width of an entry, and left of all.
const LEGEND_LINE: u32 = 22;
const LEGEND_ENTRY: u32 = 136;
const LEGEND_LEFT: u32 = 20;
/// Sizes of texts in the drawing library's units: 1.24 of them are a pixel.
const TEXT: u32 = 16;
const HEADING: u32 = 20;
/// The most characters of the title.
const TITLE_LENGTH: usize = 90;
/// What the points of a line are no smaller than on a logarithmic axis.
const LEAST: f64 = 1e-4;

/// Dark paper where the reader's is dark. Colors are those that the drawing library writes.
const STYLE: &str = "<style>@media (prefers-color-scheme: dark) {\
    rect[fill=\"#FFFFFF\"] { fill: #16191d }\
    text { fill: #e8e8e8 }\
    line[stroke=\"#000000\"], polyline[stroke=\"#000000\"] { stroke: #e8e8e8 }\
    }</style>";

/// Colors that can be told apart without red and green, on white and on black.
const EXACT: RGBColor = RGBColor(0, 114, 178);
const PACKED: RGBColor = RGBColor(213, 94, 0);
const COUNTS: [RGBColor; 3] = [RGBColor(0, 158, 115), RGBColor(204, 121, 167), RGBColor(150, 110, 60)];
const ZEROED: RGBColor = RGBColor(120, 120, 120);
const SHUFFLED: RGBColor = RGBColor(170, 150, 40);

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

/// How the vertical axis is divided and labelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// Evenly, in per cent.
    Percent,
    /// By factors of two.
    Logarithmic,
}

/// A diagram.
struct Panel {
    title: String,
    x: &'static str,
    y: &'static str,
    /// The most numbers on the horizontal axis.
    x_labels: usize,
    axis: Axis,
    lines: Vec<Line>,
}

/// A picture of all rows.
pub(super) fn svg(title: &str, rows: &[Row]) -> anyhow::Result<String> {
    let mut panels: Vec<Panel> =
        [Circuit::Exact, Circuit::Packed].into_iter().filter_map(|circuit| agreement(rows, circuit)).collect();
    panels.push(error_by_bits(rows));
    panels.extend(error_by_noise(rows));
    let mut picture = String::new();
    draw(&mut picture, title, &panels).map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
    // The style belongs inside of the outermost element.
    let inside = picture.find("<rect").unwrap_or(picture.len());
    picture.insert_str(inside, STYLE);
    Ok(picture)
}

fn draw(picture: &mut String, title: &str, panels: &[Panel]) -> Result<(), Box<dyn std::error::Error>> {
    let rows: Vec<&[Panel]> = panels.chunks(COLUMNS).collect();
    let size = (WIDTH, TITLE + HEIGHT * rows.len() as u32);
    let root = SVGBackend::with_string(picture, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(TITLE);
    let title = match title.chars().count() {
        0..=TITLE_LENGTH => title.to_owned(),
        // The end says what was measured.
        length => format!("…{}", title.chars().skip(length - TITLE_LENGTH).collect::<String>()),
    };
    head.draw(&Text::new(title, (LEGEND_LEFT as i32, 14), ("sans-serif", HEADING + 2)))?;
    // A row that is not full gives its panels more room.
    for (area, panels) in body.split_evenly((rows.len(), 1)).iter().zip(rows) {
        for (area, panel) in area.split_evenly((1, panels.len())).iter().zip(panels) {
            panel.draw(area)?;
        }
    }
    root.present()?;
    Ok(())
}

fn of(circuit: Circuit) -> RGBColor {
    match circuit {
        Circuit::Exact => EXACT,
        Circuit::Packed => PACKED,
    }
}

/// What numbers of bits are of.
fn bits_of(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Exact => "bits of inputs, weights and intermediates",
        Circuit::Packed => "bits of inputs",
    }
}

/// The rows of a circuit with the noise that is predicted, or none; of encrypted rows with simulated ones beside them, the encrypted.
fn of_circuit(rows: &[Row], circuit: Circuit) -> Vec<&Row> {
    let mode = rows.iter().find_map(|row| row.label.mode);
    let as_it_is = |row: &&Row| {
        let RowLabel { circuit: found, mode: how, noise, .. } = row.label;
        found == Some(circuit) && how == mode && noise.is_none_or(|factor| factor == 1.0)
    };
    rows.iter().filter(as_it_is).collect()
}

/// What is the same for all bits, as the points of a line over all those of `lines`.
fn everywhere(lines: &[Line], value: f64) -> Vec<(f64, f64)> {
    let (least, most) = range(lines, |point| point.0);
    // A line of one point would not be seen.
    let margin = if least < most { 0.0 } else { 1.0 };
    if least <= most { vec![(least - margin, value), (most + margin, value)] } else { Vec::new() }
}

fn by_bits(rows: &[&Row], figure: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
    rows.iter().filter_map(|row| Some((f64::from(row.label.bits?), figure(row)))).collect()
}

/// Agreement of the likeliest tokens, and with zeros.
fn agreement(rows: &[Row], circuit: Circuit) -> Option<Panel> {
    let figures: [(&str, Figure); 3] = [
        ("top-1", |row| 100.0 * row.accuracy.top_1),
        ("top-5", |row| 100.0 * row.accuracy.top_5),
        ("top-10", |row| 100.0 * row.accuracy.top_10),
    ];
    let of_circuit = of_circuit(rows, circuit);
    let zeroed = rows.iter().find(|row| row.label.control == Some("zeroed"))?;
    let mut lines = Vec::new();
    for ((name, figure), color) in figures.into_iter().zip(COUNTS) {
        lines.push(Line { name: name.into(), points: by_bits(&of_circuit, figure), color, dashed: false });
    }
    for ((name, figure), color) in figures.into_iter().zip(COUNTS) {
        let points = everywhere(&lines[..figures.len()], figure(zeroed));
        lines.push(Line { name: format!("{name}, zeroed"), points, color, dashed: true });
    }
    let (title, x_labels) = (format!("Same likeliest tokens as f32: {}", circuit.name()), bits_labels(&lines));
    let panel = Panel { title, x: bits_of(circuit), y: "% of tokens", x_labels, axis: Axis::Percent, lines };
    (!of_circuit.is_empty()).then_some(panel)
}

/// The error of the output of both circuits, and of controls.
fn error_by_bits(rows: &[Row]) -> Panel {
    let error = |row: &Row| row.accuracy.relative_error;
    let mut lines = Vec::new();
    for circuit in [Circuit::Exact, Circuit::Packed] {
        let points = by_bits(&of_circuit(rows, circuit), error);
        lines.push(Line { name: circuit.name().into(), points, color: of(circuit), dashed: false });
    }
    lines.retain(|line| !line.points.is_empty());
    let circuits = lines.len();
    for (name, color) in [("zeroed", ZEROED), ("shuffled", SHUFFLED)] {
        let control = rows.iter().find(|row| row.label.control == Some(name));
        let points = control.map(|row| everywhere(&lines[..circuits], error(row))).unwrap_or_default();
        lines.push(Line { name: name.into(), points, color, dashed: true });
    }
    let (title, x_labels) = ("Error of the attention's output".into(), bits_labels(&lines));
    let both = "bits of inputs (exact: also of weights and intermediates)";
    let x = if of_circuit(rows, Circuit::Exact).is_empty() { bits_of(Circuit::Packed) } else { both };
    Panel { title, x, y: "error / f32 output", x_labels, axis: Axis::Logarithmic, lines }
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
    for (index, bits) in widths.iter().copied().enumerate() {
        let of_width = packed().filter(|row| row.label.bits == Some(bits));
        let mut points: Vec<(f64, f64)> =
            of_width.filter_map(|row| Some((row.label.noise?, row.accuracy.relative_error))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let color = shade(PACKED, index, widths.len());
        lines.push(Line { name: format!("packed, {bits} bits"), points, color, dashed: false });
    }
    let several = lines.iter().any(|line| line.points.len() > 1);
    let (title, x) = ("Error against noise".into(), "noise (1: as predicted for ciphertexts)");
    several.then_some(Panel { title, x, y: "error / f32 output", x_labels: 10, axis: Axis::Logarithmic, lines })
}

/// One of `count` shades of a color, from light to the color itself.
fn shade(RGBColor(red, green, blue): RGBColor, index: usize, count: usize) -> RGBColor {
    let light = 0.6 * (1.0 - (index + 1) as f64 / count as f64);
    let mix = |part: u8| (f64::from(part) * (1.0 - light) + 255.0 * light) as u8;
    RGBColor(mix(red), mix(green), mix(blue))
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let (width, height) = area.dim_in_pixel();
        let columns = ((width - LEGEND_LEFT) / LEGEND_ENTRY).max(1) as usize;
        let legend_height = LEGEND_LINE * self.lines.len().div_ceil(columns) as u32 + 12;
        let (diagram, legend) = area.split_vertically(height - legend_height);
        let (x, y) = (self.x_range(), self.y_range());
        let mut builder = ChartBuilder::on(&diagram);
        builder.caption(&self.title, ("sans-serif", HEADING)).margin(12).x_label_area_size(46).y_label_area_size(66);
        match self.axis {
            Axis::Logarithmic => self.draw_lines(builder.build_cartesian_2d(x, y.log_scale().base(2.0))?)?,
            Axis::Percent => self.draw_lines(builder.build_cartesian_2d(x, y)?)?,
        }
        self.draw_legend(&legend, columns)
    }

    fn draw_lines<Y>(&self, mut chart: Chart<'_, Y>) -> Result<(), Box<dyn std::error::Error>>
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let number = |value: &f64| format!("{}", (value * 1e4).round() / 1e4);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x).y_desc(self.y).x_labels(self.x_labels).y_labels(10).max_light_lines(0);
        mesh.label_style(("sans-serif", TEXT)).axis_desc_style(("sans-serif", TEXT));
        mesh.x_label_formatter(&number).y_label_formatter(&number).draw()?;
        for line in &self.lines {
            let points =
                line.points.iter().map(|&(x, y)| (x, if self.axis == Axis::Logarithmic { y.max(LEAST) } else { y }));
            if line.dashed {
                chart.draw_series(DashedLineSeries::new(points, 6, 5, line.color.stroke_width(2)))?;
            } else {
                let style = line.color.stroke_width(2);
                chart.draw_series(LineSeries::new(points.clone(), style))?;
                chart.draw_series(points.map(|point| Circle::new(point, 3, line.color.filled())))?;
            }
        }
        Ok(())
    }

    /// Below the diagram, where it hides nothing.
    fn draw_legend(&self, area: &Area<'_>, columns: usize) -> Result<(), Box<dyn std::error::Error>> {
        for (index, line) in self.lines.iter().enumerate() {
            let x = (LEGEND_LEFT + LEGEND_ENTRY * (index % columns) as u32) as i32;
            let y = (8 + LEGEND_LINE * (index / columns) as u32) as i32;
            let strokes: &[(i32, i32)] = if line.dashed { &[(0, 10), (14, 24)] } else { &[(0, 24)] };
            for &(from, to) in strokes {
                area.draw(&PathElement::new([(x + from, y), (x + to, y)], line.color.stroke_width(2)))?;
            }
            area.draw(&Text::new(line.name.clone(), (x + 30, y - 6), ("sans-serif", TEXT)))?;
        }
        Ok(())
    }

    fn x_range(&self) -> Range<f64> {
        let (least, most) = range(&self.lines, |point| point.0);
        let margin = (0.03 * (most - least)).max(0.1);
        if least <= most { least - margin..most + margin } else { 0.0..1.0 }
    }

    fn y_range(&self) -> Range<f64> {
        let (least, most) = range(&self.lines, |point| point.1);
        match (least <= most, self.axis) {
            (false, _) => LEAST..1.0,
            (true, Axis::Logarithmic) => least.max(LEAST) / 1.3..most.max(2.0 * LEAST) * 1.3,
            (true, Axis::Percent) => least - 3.0..101.0,
        }
    }
}
