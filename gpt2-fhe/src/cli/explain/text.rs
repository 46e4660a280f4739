//! A lesson as text.

use super::lesson::{Lesson, LessonPart, LessonTable, NoiseGauge};
use crate::cli::text::{WIDTH, table, wrapped};

/// Characters before paragraphs.
const MARGIN: usize = 2;

/// All steps.
pub(super) fn lesson(lesson: &Lesson) -> String {
    let mut out = heading(lesson);
    for index in 0..lesson.steps.len() {
        out += "\n";
        out += &step(lesson, index);
    }
    out
}

/// What stands above the first step.
pub(super) fn heading(lesson: &Lesson) -> String {
    let mut out = format!("{}\n{}\n\n", lesson.title, "=".repeat(lesson.title.chars().count()));
    out += &wrapped(&lesson.summary, MARGIN, MARGIN);
    if let Some(chapter) = lesson.chapter {
        out += &wrapped(&format!("In the book: the chapter \"{chapter}\"."), MARGIN, MARGIN);
    }
    out
}

/// One step, by its place among them.
pub(super) fn step(lesson: &Lesson, index: usize) -> String {
    let step = &lesson.steps[index];
    let heading = format!("{}. {}", index + 1, step.heading);
    let mut out = format!("{heading}\n{}\n", "-".repeat(heading.chars().count()));
    for part in &step.parts {
        out += "\n";
        out += &of_part(part);
    }
    out
}

fn of_part(part: &LessonPart) -> String {
    match part {
        LessonPart::Prose { text } => wrapped(text, MARGIN, MARGIN),
        LessonPart::Formula { lines } => lines.iter().map(|line| format!("{:6}{line}\n", "")).collect(),
        LessonPart::Table(table) => of_table(table),
        LessonPart::Picture(picture) => {
            let title = wrapped(&format!("[{}]", picture.title), MARGIN, MARGIN + 1);
            title + &picture.plain.iter().map(|line| format!("{:4}{line}\n", "")).collect::<String>()
        }
        LessonPart::Noise(gauge) => {
            wrapped(&gauge.sentence(), MARGIN, MARGIN + 2) + &format!("{:4}{}\n", "", bar(gauge))
        }
        LessonPart::Check(check) => {
            let verdict = if check.holds { "checked:" } else { "NOT SO: " };
            wrapped(&format!("{verdict} {}", check.sentence), MARGIN, MARGIN + 9)
        }
    }
}

/// With its caption; the columns that are too many for a line, below the others, with the first once more.
fn of_table(wide: &LessonTable) -> String {
    let mut rows = vec![wide.columns.clone()];
    rows.extend(wide.rows.iter().cloned());
    for column in 0..wide.columns.len() {
        if wide.marks.iter().any(|mark| mark[1] == column) {
            let cells = rows.iter_mut().enumerate().map(|(row, cells)| (row, &mut cells[column]));
            for (row, cell) in cells {
                let is_marked = row > 0 && wide.is_marked(row - 1, column);
                *cell = if is_marked { format!("[{cell}]") } else { format!("{cell} ") };
            }
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + 2;
    let mut out = wrapped(&format!("{}:", wide.caption), MARGIN, MARGIN);
    let mut next = 1;
    while next == 1 || next < wide.columns.len() {
        let (mut columns, mut used) = (vec![0], MARGIN + width(0));
        while next < wide.columns.len() && (columns.len() == 1 || used + width(next) <= WIDTH) {
            used += width(next);
            columns.push(next);
            next += 1;
        }
        let shown: Vec<Vec<String>> =
            rows.iter().map(|row| columns.iter().map(|&column| row[column].clone()).collect()).collect();
        table(&shown).lines().for_each(|line| out += &format!("{:MARGIN$}{line}\n", ""));
        if wide.columns.len() == 1 {
            break;
        }
    }
    out
}

/// Noise in characters, each a factor of two, up to what is allowed.
fn bar(gauge: &NoiseGauge) -> String {
    let [start, end] = gauge.scale();
    let places = ((end - start).ceil() as usize).clamp(1, 60);
    let octaves = (end - start) / places as f64;
    let place = |x: f64| ((x.log2() - start) / octaves).round().clamp(0.0, places as f64) as usize;
    let filled = if gauge.measured == 0.0 { 0 } else { place(gauge.measured.abs()) };
    let expected = (gauge.predicted > 0.0).then(|| place(gauge.predicted));
    let character = |index: usize| match expected {
        Some(expected) if index == expected => 'σ',
        _ if index < filled => '■',
        _ => '·',
    };
    let characters: String = (0..=places).map(character).collect();
    format!("2^{start:.0} {characters} 2^{end:.0}")
}

#[cfg(test)]
mod tests {
    use super::super::lesson::LessonStep;
    use super::*;

    #[test]
    fn a_step_has_its_parts_in_order_and_marked_cells_in_brackets() {
        let numbers = LessonTable::new("digits", ["level", "digit"]).row(["1", "-3"]).row(["2", "7"]).mark(1);
        let step = LessonStep::new("Digits").say("They are small.").table(numbers).check("the sum is x", true);
        let text = super::lesson(&Lesson::new("l", "Title", "What it is.").of_chapter("Gadgets").step(step));
        let expected = "Title\n=====\n\n  What it is.\n  In the book: the chapter \"Gadgets\".\n\n1. Digits\n---------\n\n  They are small.\n\n  \
                        digits:\n    level  digit\n    1         -3\n    2         [7]\n\n  checked: the sum is x\n";
        assert_eq!(text.lines().map(str::trim_end).collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    }

    #[test]
    fn tables_that_are_too_wide_are_cut() {
        let columns = (0..40).map(|column| format!("column {column}"));
        let wide = LessonTable::new("wide", columns.clone()).row(columns);
        let text = of_table(&wide);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!((1..40).all(|column| text.matches(&format!("column {column}\n")).count() <= 2));
        assert_eq!(text.matches("column 39").count(), 2, "{text}");
        let narrow = LessonTable::new("narrow", ["one"]).row(["x"]);
        assert_eq!(of_table(&narrow), "  narrow:\n    one\n    x\n");
    }

    #[test]
    fn bars_end_where_noise_is_too_much() {
        let gauge = NoiseGauge {
            what: "b".into(),
            measured: 2f64.powi(-10),
            predicted: 2f64.powi(-11),
            allowed: 2f64.powi(-4),
        };
        assert_eq!(bar(&gauge), "2^-13 ■■σ······· 2^-4");
    }
}
