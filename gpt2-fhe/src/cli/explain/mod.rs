//! The command `explain`: the cryptography at toy size, number by number.

mod blind_rotation;
mod cmux;
mod decomposition;
mod drawing;
mod encryption;
mod external_product;
mod head;
mod key_switch;
mod lesson;
mod lookup;
mod numbers;
mod of;
mod page;
mod reading;
mod rotation;
mod sample_extraction;
mod text;
mod toys;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::bail;
use serde::Serialize;

use super::arguments::ExplainArguments;
use super::files::{self, Contents, OutputFiles};
use super::head_trace::RunTrace;
use super::output::{print, print_json, stream};
use super::quiet::is_quiet;
use super::text::table;
use super::verdict::Verdict;
use lesson::Lesson;

/// What makes a lesson of a seed.
type Made = fn(u64) -> anyhow::Result<Lesson>;

/// The lessons, in the order in which they are read.
const LESSONS: [(&str, Made); 9] = [
    ("encryption", encryption::lesson),
    ("decomposition", decomposition::lesson),
    ("external-product", external_product::lesson),
    ("cmux", cmux::lesson),
    ("blind-rotation", blind_rotation::lesson),
    ("sample-extraction", sample_extraction::lesson),
    ("key-switch", key_switch::lesson),
    ("lookup", lookup::lesson),
    ("head", head::lesson),
];
/// The name of all of them.
const ALL: &str = "all";

/// What stands above lessons.
const OF_LESSONS: &str = "Every number on this page is that of a real computation with keys of a toy size, which protect nothing. Arrow keys, or \
                          the buttons below, lead from step to step.";
/// What stands above a run.
const OF_RUN: &str =
    "The numbers on this page are those of one run. Arrow keys, or the buttons below, lead from step to step.";

/// Shows lessons, or which there are, or a run.
///
/// # Errors
/// What is wrong with the arguments; that a file cannot be read or written.
pub(super) fn run(arguments: &ExplainArguments) -> anyhow::Result<Verdict> {
    if let Some(of) = &arguments.of {
        let lessons = [of::lesson(&RunTrace::read(of, "--of")?)];
        write(arguments, OF_RUN, &lessons)?;
        return Ok(verdict(&lessons));
    }
    let writes = arguments.html.is_some() || arguments.pictures.is_some();
    let chosen = match arguments.lesson.as_deref() {
        None if !writes => return list(arguments).map(|()| Verdict::Right),
        None | Some(ALL) => LESSONS.to_vec(),
        Some(name) => vec![find(name)?],
    };
    let lessons = chosen.iter().map(|(_, make)| make(arguments.seed)).collect::<anyhow::Result<Vec<_>>>()?;
    write(arguments, OF_LESSONS, &lessons)?;
    Ok(verdict(&lessons))
}

/// Whether everything that is said in lessons is so.
fn verdict(lessons: &[Lesson]) -> Verdict {
    match lessons.iter().map(|lesson| lesson.broken().len()).sum() {
        0 => Verdict::Right,
        count => Verdict::Broken(count),
    }
}

fn find(name: &str) -> anyhow::Result<(&'static str, Made)> {
    match LESSONS.into_iter().find(|(known, _)| *known == name) {
        Some(lesson) => Ok(lesson),
        None => {
            let known = LESSONS.map(|(name, _)| name).join(", ");
            bail!("there is no lesson {name:?}; the lessons are {known}, and {ALL} for all of them")
        }
    }
}

/// What there is to learn, as data.
#[derive(Serialize)]
struct LessonList {
    r#type: &'static str,
    lessons: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    title: String,
    summary: String,
}

/// Prints which lessons there are.
fn list(arguments: &ExplainArguments) -> anyhow::Result<()> {
    let listed = |(_, make): (&str, Made)| {
        make(arguments.seed).map(|lesson| Listed { name: lesson.name, title: lesson.title, summary: lesson.summary })
    };
    let lessons = LESSONS.into_iter().map(listed).collect::<anyhow::Result<Vec<_>>>()?;
    if arguments.reporting.json {
        return print_json(&LessonList { r#type: "lessons", lessons });
    }
    let width = lessons.iter().map(|lesson| lesson.name.len()).max().unwrap_or(0);
    let mut out = String::from("Lessons, in the order in which they build on each other:\n");
    for lesson in &lessons {
        let line = format!("{:<width$}  {}", lesson.name, lesson.summary);
        out += &super::text::wrapped(&line, 2, width + 4);
    }
    let first = &lessons[0].name;
    out += &format!(
        "\nRead one with `explain {first}`, all of them with `explain all`, or as a page with pictures with\n`explain --html FILE`."
    );
    print(&out)
}

/// Prints lessons, and writes them to files if that is asked for.
fn write(arguments: &ExplainArguments, introduction: &str, lessons: &[Lesson]) -> anyhow::Result<()> {
    let pictures: Vec<(PathBuf, Vec<u8>)> =
        arguments.pictures.iter().flat_map(|folder| drawn(folder, lessons)).collect();
    let mut outputs = vec![("--html", arguments.html.as_deref())];
    outputs.extend(pictures.iter().map(|(path, _)| ("--pictures", Some(path.as_path()))));
    let files = OutputFiles::create(&outputs, &[("--of", arguments.of.as_deref())], arguments.replacing.force)?;
    let mut contents: Vec<Contents<'_>> = Vec::new();
    if arguments.html.is_some() {
        contents.push(files::bytes(as_page(introduction, lessons).into_bytes()));
    }
    contents.extend(pictures.iter().map(|(_, picture)| files::bytes(picture.clone())));
    let written: Vec<String> =
        outputs.iter().filter_map(|(_, path)| Some(path.as_ref()?.display().to_string())).collect();
    files.write(contents, || report(arguments, lessons, &written))
}

/// The pictures of lessons, as files of a folder.
fn drawn(folder: &std::path::Path, lessons: &[Lesson]) -> Vec<(PathBuf, Vec<u8>)> {
    let pictures = lessons.iter().flat_map(Lesson::pictures);
    let file = |picture: &lesson::LessonPicture| {
        (folder.join(format!("{}.svg", picture.name)), picture.drawing.file(&picture.title).into_bytes())
    };
    pictures.map(file).collect()
}

fn as_page(introduction: &str, lessons: &[Lesson]) -> String {
    let title = match lessons {
        [lesson] => &lesson.title,
        _ => "Encryption that computes, number by number",
    };
    page::page(title, introduction, lessons)
}

/// Prints lessons, or which files were written.
fn report(arguments: &ExplainArguments, lessons: &[Lesson], written: &[String]) -> anyhow::Result<()> {
    if arguments.reporting.json {
        return lessons.iter().try_for_each(print_json);
    }
    if !written.is_empty() {
        let rows: Vec<Vec<String>> = written.iter().map(|path| vec![path.clone()]).collect();
        return if is_quiet() { Ok(()) } else { print(&format!("written:\n{}", table(&rows))) };
    }
    let (input, output) = (std::io::stdin(), std::io::stdout());
    if input.is_terminal() && output.is_terminal() && !arguments.all_at_once {
        return reading::read_through(lessons, &mut input.lock(), stream);
    }
    let texts: Vec<String> = lessons.iter().map(text::lesson).collect();
    stream(&texts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each sentence that a lesson checks, and each noise, with keys and numbers of many seeds; attention, which takes longest, of a few.
    #[test]
    fn what_lessons_say_is_so_for_many_seeds() {
        for (name, make) in LESSONS {
            for seed in 0..if name == "head" { 3 } else { 20 } {
                let broken = make(seed).unwrap().broken();
                assert!(broken.is_empty(), "{name}, seed {seed}: {broken:?}");
            }
        }
    }
}
