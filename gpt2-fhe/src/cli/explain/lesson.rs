//! What a lesson is: steps, each with prose, numbers, pictures, and checks of what it says.
//!
//! How it is shown is decided elsewhere: as text ([`super::text`]), as a page ([`super::page`]), as JSON (by `serde`).

use serde::Serialize;

/// A lesson, or anything else that is shown step by step.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Lesson {
    r#type: &'static str,
    /// Its name on the command line; letters, digits and hyphens, for it is part of the names of a page's places.
    pub(super) name: String,
    pub(super) title: String,
    /// What it shows, in one line.
    pub(super) summary: String,
    /// Where the book says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chapter: Option<&'static str>,
    pub(super) steps: Vec<LessonStep>,
}

impl Lesson {
    /// One without steps.
    pub(super) fn new(name: impl Into<String>, title: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            r#type: "lesson",
            name: name.into(),
            title: title.into(),
            summary: summary.into(),
            chapter: None,
            steps: Vec::new(),
        }
    }

    /// That a chapter of the book says more.
    #[must_use]
    pub(super) fn of_chapter(self, chapter: &'static str) -> Self {
        Self { chapter: Some(chapter), ..self }
    }

    /// With one step more.
    #[must_use]
    pub(super) fn step(mut self, step: LessonStep) -> Self {
        self.steps.push(step);
        self
    }

    /// All pictures, each with its name.
    pub(super) fn pictures(&self) -> impl Iterator<Item = &LessonPicture> {
        self.parts().filter_map(|part| match part {
            LessonPart::Picture(picture) => Some(picture),
            _ => None,
        })
    }

    /// Everything that is checked and is not so, in a sentence each.
    pub(super) fn broken(&self) -> Vec<String> {
        let broken = |part: &LessonPart| match part {
            LessonPart::Check(check) if !check.holds => Some(check.sentence.clone()),
            LessonPart::Noise(gauge) if !gauge.is_as_predicted() => {
                Some(format!("the noise of {} is as predicted", gauge.what))
            }
            _ => None,
        };
        self.parts().filter_map(broken).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &LessonPart> {
        self.steps.iter().flat_map(|step| &step.parts)
    }
}

/// What is read at once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LessonStep {
    pub(super) heading: String,
    pub(super) parts: Vec<LessonPart>,
}

impl LessonStep {
    /// One with a heading and nothing else.
    pub(super) fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), parts: Vec::new() }
    }

    fn with(mut self, part: LessonPart) -> Self {
        self.parts.push(part);
        self
    }

    /// And a paragraph.
    #[must_use]
    pub(super) fn say(self, text: impl Into<String>) -> Self {
        self.with(LessonPart::Prose { text: text.into() })
    }

    /// And lines as they stand, of formulas and sums.
    #[must_use]
    pub(super) fn formula<Line: Into<String>>(self, lines: impl IntoIterator<Item = Line>) -> Self {
        self.with(LessonPart::Formula { lines: lines.into_iter().map(Into::into).collect() })
    }

    /// And a table.
    #[must_use]
    pub(super) fn table(self, table: LessonTable) -> Self {
        self.with(LessonPart::Table(table))
    }

    /// And a picture.
    #[must_use]
    pub(super) fn picture(self, picture: LessonPicture) -> Self {
        self.with(LessonPart::Picture(picture))
    }

    /// And the noise of a result beside its prediction and what it may be.
    #[must_use]
    pub(super) fn noise(self, gauge: NoiseGauge) -> Self {
        self.with(LessonPart::Noise(gauge))
    }

    /// And a sentence that is true or not.
    #[must_use]
    pub(super) fn check(self, sentence: impl Into<String>, holds: bool) -> Self {
        self.with(LessonPart::Check(LessonCheck { sentence: sentence.into(), holds }))
    }
}

/// A part of a step.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum LessonPart {
    /// A paragraph.
    Prose {
        text: String,
    },
    /// Lines whose columns are to line up.
    Formula {
        lines: Vec<String>,
    },
    Table(LessonTable),
    Picture(LessonPicture),
    Noise(NoiseGauge),
    Check(LessonCheck),
}

/// Rows of cells, all of one length.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LessonTable {
    pub(super) caption: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// Cells to look at: row and column.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) marks: Vec<[usize; 2]>,
}

impl LessonTable {
    /// One without rows.
    pub(super) fn new<Name: Into<String>>(caption: impl Into<String>, columns: impl IntoIterator<Item = Name>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { caption: caption.into(), columns, rows: Vec::new(), marks: Vec::new() }
    }

    /// With one row more, of as many cells as there are columns; what is missing is empty.
    #[must_use]
    pub(super) fn row<Cell: Into<String>>(mut self, cells: impl IntoIterator<Item = Cell>) -> Self {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert!(cells.len() <= self.columns.len(), "{:?}: {cells:?}", self.columns);
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
        self
    }

    /// With a cell of the last row to look at.
    #[must_use]
    pub(super) fn mark(mut self, column: usize) -> Self {
        self.marks.extend(self.rows.len().checked_sub(1).map(|row| [row, column]));
        self
    }

    /// Whether a cell is to be looked at.
    pub(super) fn is_marked(&self, row: usize, column: usize) -> bool {
        self.marks.contains(&[row, column])
    }
}

/// A picture: drawn, and where it can be, in characters.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LessonPicture {
    /// That of its file, without an ending.
    pub(super) name: &'static str,
    /// What one sees.
    pub(super) title: String,
    #[serde(skip)]
    pub(super) drawing: super::drawing::Drawing,
    /// For a terminal; empty if it cannot be said in characters.
    #[serde(skip)]
    pub(super) plain: Vec<String>,
}

/// The noise of one number, in turns.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NoiseGauge {
    /// Whose noise it is, with an article.
    pub(super) what: String,
    /// What it is: decrypted less expected.
    pub(super) measured: f64,
    /// The standard deviation that it should have; 0 where there should be none.
    pub(super) predicted: f64,
    /// How large it may be for the result to be right.
    pub(super) allowed: f64,
}

impl NoiseGauge {
    /// Beyond so many standard deviations noise is not as predicted.
    pub(super) const DEVIATIONS: f64 = 8.0;

    /// Whether the noise is at most 8 standard deviations.
    pub(super) fn is_as_predicted(&self) -> bool {
        self.measured.abs() <= Self::DEVIATIONS * self.predicted
    }

    /// How many predicted standard deviations the noise may be; `None` where there should be no noise.
    pub(super) fn deviations(&self) -> Option<f64> {
        (self.predicted > 0.0).then(|| self.allowed / self.predicted)
    }

    /// Powers of two, from and to which a logarithmic scale of this noise goes: the end is what is allowed.
    pub(super) fn scale(&self) -> [f64; 2] {
        let end = self.allowed.log2();
        let least = [self.measured.abs(), self.predicted].into_iter().filter(|&x| x > 0.0).fold(self.allowed, f64::min);
        // Where noise is far smaller than that, the scale begins near what is predicted.
        let least = least.max(self.predicted / 16.0).log2();
        [(least - 2.0).floor().min(end.floor() - 8.0), end]
    }

    /// How large, what was predicted, what is allowed: in words.
    pub(super) fn sentence(&self) -> String {
        let Self { what, measured, predicted, allowed } = self;
        let mut out = format!("noise of {what}: {}", amount(*measured));
        if *predicted > 0.0 {
            out += &format!("; predicted standard deviation {}", amount(*predicted));
        } else {
            out += "; predicted: none";
        }
        out += &format!("; right up to {}", amount(*allowed));
        if let Some(deviations) = self.deviations() {
            let decimals = usize::from(deviations < 10.0);
            out += &match deviations {
                1e6.. => ", more than a million standard deviations".into(),
                deviations => format!(", {deviations:.decimals$} standard deviations"),
            };
        }
        out
    }
}

/// A number with three digits that count, and its power of two.
fn amount(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let decimals = (2 - x.abs().log10().floor() as i32).max(0) as usize;
    let digits = if x.abs() >= 1e-6 { format!("{x:.decimals$}") } else { format!("{x:.2e}") };
    format!("{digits} (2^{:.1})", x.abs().log2())
}

/// A sentence that was checked.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LessonCheck {
    pub(super) sentence: String,
    pub(super) holds: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(measured: f64) -> NoiseGauge {
        NoiseGauge { what: "b".into(), measured, predicted: 0.01, allowed: 0.0625 }
    }

    #[test]
    fn noise_beyond_its_prediction_and_wrong_sentences_are_broken() {
        let step = LessonStep::new("a").noise(gauge(0.01)).check("one is one", true);
        let lesson = Lesson::new("l", "L", "").step(step);
        assert!(lesson.broken().is_empty());
        let lesson = lesson.step(LessonStep::new("b").noise(gauge(-0.081)).check("one is two", false));
        assert_eq!(lesson.broken(), ["the noise of b is as predicted", "one is two"]);
    }

    #[test]
    fn noise_is_said_in_numbers_that_can_be_read() {
        let said = "noise of b: -0.0123 (2^-6.3); predicted standard deviation 0.0100 (2^-6.6); \
                    right up to 0.0625 (2^-4.0), 6.2 standard deviations";
        assert_eq!(gauge(-0.0123).sentence(), said);
        assert_eq!(amount(1.5e-9), "1.50e-9 (2^-29.3)");
        assert_eq!(gauge(0.0).scale(), [-12.0, -4.0]);
    }
}
