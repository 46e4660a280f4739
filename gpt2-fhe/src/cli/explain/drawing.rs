//! Pictures: SVG, drawn shape by shape.
//!
//! Coordinates are rounded to tenths of a pixel, so that a picture has the same bytes on every kind of CPU. Colours are names of classes: the
//! same picture is for light and dark.

use std::fmt::Write as _;

use crate::cli::page::escaped;

/// What the names of classes mean.
pub(super) const STYLE: &str = "
.picture { --p-paper: #ffffff; --p-ink: #1c1f24; --p-soft: #5b6470; --p-line: #c3cad2; --p-blue: #2a6ab0; --p-blues: #c4dbf2; --p-orange: #b4500f;
  --p-oranges: #f6d3b5; --p-green: #1a7f37; --p-greens: #c5e8cd; --p-red: #c62828; --p-reds: #f7cdc9; font-family: system-ui, sans-serif }
@media (prefers-color-scheme: dark) { .picture { --p-paper: #14171b; --p-ink: #e6e8eb; --p-soft: #a3adb8; --p-line: #3c444d; --p-blue: #78b4f0;
  --p-blues: #24496f; --p-orange: #f2a56b; --p-oranges: #6a3b14; --p-green: #62cc78; --p-greens: #1d4a28; --p-red: #ff8078; --p-reds: #66262a } }
.picture text { fill: var(--p-ink) } .picture .soft { fill: var(--p-soft) } .picture .mono { font-family: ui-monospace, monospace }
.picture .paper { fill: var(--p-paper) } .picture .box { fill: var(--p-paper); stroke: var(--p-line) }
.picture .line { stroke: var(--p-line); fill: none } .picture .thin { stroke: var(--p-soft); fill: none }
.picture .ink { stroke: var(--p-ink); fill: none; stroke-width: 1.5 } .picture .tip { fill: var(--p-ink) }
.picture .blues { fill: var(--p-blues) } .picture .oranges { fill: var(--p-oranges) } .picture .greens { fill: var(--p-greens) }
.picture .reds { fill: var(--p-reds) } .picture .blue { fill: var(--p-blue) } .picture .orange { fill: var(--p-orange) }
.picture .green { fill: var(--p-green) } .picture .red { fill: var(--p-red) }
.picture .to-blue { stroke: var(--p-blue); fill: none; stroke-width: 2 } .picture .to-orange { stroke: var(--p-orange); fill: none; stroke-width: 2 }
.picture .to-green { stroke: var(--p-green); fill: none; stroke-width: 2 } .picture .to-red { stroke: var(--p-red); fill: none; stroke-width: 2 }
";

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    size: [f64; 2],
    shapes: String,
}

/// A coordinate.
fn at(x: f64) -> String {
    let rounded = (x * 10.0).round() / 10.0;
    // No minus zero.
    format!("{}", rounded + 0.0)
}

impl Drawing {
    /// An empty one, so many pixels wide and high.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { size: [width, height], shapes: String::new() }
    }

    pub(super) fn line(&mut self, class: &str, [x, y]: [f64; 2], [to_x, to_y]: [f64; 2]) {
        let [x, y, to_x, to_y] = [x, y, to_x, to_y].map(at);
        let _ = writeln!(self.shapes, r#"<path class="{class}" d="M{x} {y}L{to_x} {to_y}"/>"#);
    }

    /// A line with a tip at its end.
    pub(super) fn arrow(&mut self, class: &str, from: [f64; 2], to: [f64; 2]) {
        self.line(class, from, to);
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length = dx.hypot(dy).max(1e-9);
        let (dx, dy) = (6.0 * dx / length, 6.0 * dy / length);
        let sides = [-0.5, 0.5].map(|side| [to[0] - dx - side * dy, to[1] - dy + side * dx]);
        self.path(class, &[sides[0], to, sides[1]]);
    }

    /// A line through points.
    pub(super) fn path(&mut self, class: &str, points: &[[f64; 2]]) {
        let start = |index: usize| if index == 0 { 'M' } else { 'L' };
        let points =
            points.iter().enumerate().map(|(i, point)| format!("{}{} {}", start(i), at(point[0]), at(point[1])));
        let _ = writeln!(self.shapes, r#"<path class="{class}" d="{}"/>"#, points.collect::<String>());
    }

    /// What is within a line through points, which ends where it began.
    pub(super) fn area(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = points.iter().map(|point| format!("{},{}", at(point[0]), at(point[1])));
        let _ =
            writeln!(self.shapes, r#"<polygon class="{class}" points="{}"/>"#, points.collect::<Vec<_>>().join(" "));
    }

    pub(super) fn rectangle(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2]) {
        let [x, y, width, height] = [x, y, width, height].map(at);
        let _ = writeln!(
            self.shapes,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="2"/>"#
        );
    }

    pub(super) fn circle(&mut self, class: &str, [x, y]: [f64; 2], radius: f64) {
        let [x, y, radius] = [x, y, radius].map(at);
        let _ = writeln!(self.shapes, r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"/>"#);
    }

    /// A text whose foot is at a place.
    pub(super) fn text(&mut self, class: &str, anchor: Anchor, size: f64, [x, y]: [f64; 2], text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let [x, y, size] = [x, y, size].map(at);
        let text = escaped(text);
        let _ = writeln!(
            self.shapes,
            r#"<text class="{class}" text-anchor="{anchor}" font-size="{size}" x="{x}" y="{y}">{text}</text>"#
        );
    }

    /// A box with a text in its middle.
    pub(super) fn cell(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2], size: f64, text: &str) {
        self.rectangle(class, [x, y], [width, height]);
        self.text("mono", Anchor::Middle, size, [x + width / 2.0, y + height / 2.0 + size * 0.35], text);
    }

    /// As an element of a page that has [`STYLE`].
    pub(super) fn element(&self, title: &str) -> String {
        // On a narrow page it is moved to and fro rather than made too small to be read.
        let least = format!(" style=\"min-width: {}px\"", at(0.86 * self.size[0]));
        self.svg(&least, title, "")
    }

    /// As a file of its own.
    pub(super) fn file(&self, title: &str) -> String {
        let style = format!("<style>{STYLE}</style>\n");
        self.svg(" xmlns=\"http://www.w3.org/2000/svg\"", title, &style)
    }

    fn svg(&self, attributes: &str, title: &str, style: &str) -> String {
        let ([width, height], title) = (self.size.map(at), escaped(title));
        format!(
            "<svg{attributes} class=\"picture\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
             aria-label=\"{title}\">\n{style}<rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n{}</svg>\n",
            self.shapes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_short_coordinates_and_texts_are_escaped() {
        let mut drawing = Drawing::new(100.0, 50.0);
        drawing.line("ink", [1.0 / 3.0, -0.001], [20.0, 2.0 / 3.0]);
        drawing.text("soft", Anchor::Middle, 11.0, [50.0, 25.0], "a < b");
        let svg = drawing.element("what \"one\" sees");
        assert!(svg.contains(r#"d="M0.3 0L20 0.7""#) && svg.contains(">a &lt; b</text>"), "{svg}");
        assert!(svg.contains("what &quot;one&quot; sees") && !svg.contains("http"), "{svg}");
        assert!(drawing.file("t").contains("xmlns") && drawing.file("t").contains("prefers-color-scheme"));
    }
}
