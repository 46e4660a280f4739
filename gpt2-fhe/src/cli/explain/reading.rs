//! Lessons on a terminal: a step, then a line of input that says where to go.

use std::io::BufRead;

use super::lesson::Lesson;
use super::text;

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Next,
    Back,
    Quit,
    /// What was typed is none of these.
    Unknown,
}

impl Turn {
    fn of(line: &str) -> Self {
        match line.trim() {
            "" | "n" => Self::Next,
            "b" => Self::Back,
            "q" => Self::Quit,
            _ => Self::Unknown,
        }
    }
}

/// Shows lessons step by step. The end of the input is the end of the reading.
///
/// # Errors
/// What `show` says, or that input cannot be read.
pub(super) fn read_through(
    lessons: &[Lesson],
    input: &mut impl BufRead,
    mut show: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let places: Vec<(&Lesson, usize)> =
        lessons.iter().flat_map(|lesson| (0..lesson.steps.len()).map(move |step| (lesson, step))).collect();
    let mut current = 0;
    while let Some(&(lesson, step)) = places.get(current) {
        let heading = if step == 0 { format!("{}\n", text::heading(lesson)) } else { String::new() };
        show(&format!("{heading}{}", text::step(lesson, step)))?;
        let count = lesson.steps.len();
        loop {
            let last = if current + 1 == places.len() { "end" } else { "next" };
            show(&format!("\n[{}, step {} of {count}] Enter: {last}, b: back, q: quit > ", lesson.name, step + 1))?;
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return show("\n");
            }
            match Turn::of(&line) {
                Turn::Next => current += 1,
                Turn::Back => current = current.saturating_sub(1),
                Turn::Quit => return Ok(()),
                Turn::Unknown => continue,
            }
            break;
        }
        show("\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::lesson::LessonStep;
    use super::*;

    fn read(input: &str) -> String {
        let lesson = |name: &str| {
            let steps = ["first", "second"].map(|heading| LessonStep::new(format!("{name} {heading}")));
            steps.into_iter().fold(Lesson::new(name, name, ""), Lesson::step)
        };
        let mut shown = String::new();
        let show = |text: &str| {
            shown += text;
            Ok(())
        };
        read_through(&[lesson("a"), lesson("b")], &mut input.as_bytes(), show).unwrap();
        shown
    }

    fn headings(input: &str) -> Vec<String> {
        let shown = read(input);
        let steps = shown.lines().filter(|line| line.starts_with("1. ") || line.starts_with("2. "));
        steps.map(|line| line[3..].to_owned()).collect()
    }

    #[test]
    fn lines_of_input_lead_through_the_steps() {
        assert_eq!(headings("\n\n\n\n"), ["a first", "a second", "b first", "b second"]);
        assert_eq!(headings("\nb\nb\nq\n"), ["a first", "a second", "a first", "a first"]);
        assert_eq!(headings("what\nq\n"), ["a first"]);
        assert_eq!(headings(""), ["a first"]);
        assert!(read("\n\n\nq\n").contains("[b, step 2 of 2] Enter: end"));
    }
}
