//! Numbers in the documents are those that the commands beside them print.
//!
//! A comment in Markdown, after the text or table whose figures it is about, says how to find them in both:
//!
//! ```text
//! <!-- figures of `cargo test --release -p X NAME -- --nocapture`
//! doc | PBS | {} |
//! out PBS: {} in {*} seconds
//! -->
//! ```
//!
//! Each `doc` is looked for before the comment, from its end, and the `out` after it in what the command prints. `{}` is
//! a number, the same in both up to the digits that the document gives; `{±0.02}` in `doc` may be off by as much, `{*}` is
//! not compared. Line breaks count as spaces, and bold type is ignored. `slow figures of` are those of a command of half a
//! minute or more, which an ignored test runs, and another one those of tests of minutes. A command whose figures are not compared
//! has `<!-- not compared: why -->` after it, in the same section.

use integration_tests::documents::{documents, files, root, without_comments};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Text as it is compared: one space for any, minus signs of ASCII, no bold type.
fn normalized(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('−', "-").replace("**", "")
}

/// A command as it is compared: lines joined.
fn joined(command: &str) -> String {
    normalized(&command.replace("\\\n", " "))
}

/// One pair of lines of a comment.
#[derive(Debug)]
struct Figure {
    document: String,
    output: String,
}

/// When a command is run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Always,
    /// It takes half a minute or more, or reads what is not in the repository.
    ByRequest,
    /// It runs tests of minutes.
    Minutes,
}

/// One comment, and the text before it.
#[derive(Debug)]
struct Comparison {
    command: String,
    when: When,
    figures: Vec<Figure>,
    before: String,
}

/// All comments of a document.
fn comparisons(text: &str) -> Vec<Comparison> {
    let starts = text.match_indices("figures of `").filter_map(|(at, marker)| {
        let start = ["<!-- ", "<!-- slow "].into_iter().find(|start| text[..at].ends_with(start))?;
        Some((at - start.len(), at + marker.len(), start != "<!-- "))
    });
    starts
        .map(|(at, inside, is_slow)| {
            let (comment, _) = text[inside..].split_once("-->").expect("a comment ends");
            let (command, lines) = comment.split_once('`').expect("a command ends");
            let command = joined(command);
            let needs_shared = ["../shared", "--ignored"].iter().any(|part| command.contains(part));
            let lines: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let figure = |pair: &[&str]| {
                let part = |line: Option<&&str>, what: &str| {
                    let line = line.and_then(|line| line.strip_prefix(what));
                    normalized(line.unwrap_or_else(|| panic!("`{command}`: {pair:?} is not doc and out")))
                };
                Figure { document: part(pair.first(), "doc "), output: part(pair.get(1), "out ") }
            };
            let figures: Vec<Figure> = lines.chunks(2).map(figure).collect();
            assert!(!figures.is_empty(), "`{command}` has no figures");
            let when = match command.contains(" minutes ") {
                true => When::Minutes,
                false if is_slow || needs_shared => When::ByRequest,
                false => When::Always,
            };
            Comparison { command, when, figures, before: normalized(&without_comments(&text[..at])) }
        })
        .collect()
}

/// What stands for a number in a template.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Compared { tolerance: f64 },
    Ignored,
}

/// A template, as literal text with places between its parts.
fn template(text: &str) -> (Vec<String>, Vec<Place>) {
    let (mut literals, mut places, mut rest) = (vec![String::new()], Vec::new(), text);
    while let Some(next) = rest.chars().next() {
        let place = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')).and_then(|(inside, after)| {
            let place = match inside {
                "" => Place::Compared { tolerance: 0.0 },
                "*" => Place::Ignored,
                _ => Place::Compared { tolerance: inside.strip_prefix('±')?.parse().ok()? },
            };
            Some((place, after))
        });
        match place {
            Some((place, after)) => {
                places.push(place);
                literals.push(String::new());
                rest = after;
            }
            None => {
                literals.last_mut().expect("there is always one").push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    (literals, places)
}

/// The length of the number that some text begins with: sign, digits in groups, a fraction.
fn number_length(text: &str) -> usize {
    let sign = text.len() - text.trim_start_matches(['-', '+']).len();
    let is_digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    if sign > 1 || !is_digit(sign) {
        return 0;
    }
    let mut end = sign;
    // A separator belongs to a number if digits follow.
    while is_digit(end) || (matches!(text.as_bytes().get(end), Some(b'.' | b',')) && is_digit(end + 1)) {
        end += 1;
    }
    end
}

/// The numbers of a template's places, where some text begins with it.
fn numbers_at<'a>(mut text: &'a str, literals: &[String]) -> Option<Vec<&'a str>> {
    let (first, others) = literals.split_first()?;
    text = text.strip_prefix(first.as_str())?;
    let mut numbers = Vec::new();
    for literal in others {
        let length = number_length(text);
        if length == 0 {
            return None;
        }
        numbers.push(&text[..length]);
        text = text[length..].strip_prefix(literal.as_str())?;
    }
    Some(numbers)
}

/// The places where a template fits, each with its numbers, the first in the text first. A number that a template begins
/// with is a whole one.
fn occurrences<'a>(text: &'a str, literals: &[String]) -> Vec<Vec<&'a str>> {
    let is_within =
        |at: usize| literals[0].is_empty() && text[..at].ends_with(|c: char| c.is_ascii_digit() || ".,-".contains(c));
    text.char_indices()
        .filter(|&(at, _)| !is_within(at))
        .filter_map(|(at, _)| numbers_at(&text[at..], literals))
        .collect()
}

/// Whether a number of a document is the one that was printed, to the digits that the document gives.
fn agree(document: &str, printed: &str, tolerance: f64) -> bool {
    let parse = |text: &str| text.replace(',', "").parse::<f64>().expect("digits are a number");
    let decimals = |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    let rounding = if decimals(printed) > decimals(document) { 0.5 * 10f64.powi(-decimals(document)) } else { 0.0 };
    decimals(printed) >= decimals(document) && (parse(document) - parse(printed)).abs() <= rounding + tolerance + 1e-9
}

/// What is wrong with one figure, given what the command printed.
fn complaint(figure: &Figure, before: &str, printed: &str) -> Option<String> {
    let Figure { document, output } = figure;
    let ((document_literals, places), (output_literals, output_places)) = (template(document), template(output));
    let document_count = places.iter().filter(|&&place| place != Place::Ignored).count();
    let output_count = output_places.iter().filter(|&&place| place != Place::Ignored).count();
    if document_count != output_count || document_count == 0 {
        return Some(format!("{document:?} has {document_count} numbers, {output:?} has {output_count}"));
    }
    let Some(written) = occurrences(before, &document_literals).pop() else {
        return Some(format!("{document:?} is not in the text before"));
    };
    let all = occurrences(printed, &output_literals);
    let Some(found) = all.first() else { return Some(format!("{output:?} is not printed")) };
    let compared = |numbers: &[&str], places: &[Place]| -> Vec<(String, Place)> {
        let pairs = numbers.iter().map(|number| (*number).to_owned()).zip(places.iter().copied());
        pairs.filter(|(_, place)| *place != Place::Ignored).collect()
    };
    let pairs = compared(&written, &places).into_iter().zip(compared(found, &output_places));
    let wrong = |((written, place), (found, _)): ((String, Place), (String, Place))| {
        let Place::Compared { tolerance } = place else { return None };
        let wrong = !agree(&written, &found, tolerance);
        wrong.then(|| format!("{document:?} says {written}, the command prints {found}"))
    };
    let wrong: Vec<String> = pairs.filter_map(wrong).collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// The words of a command; quotes keep spaces together.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in command.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("there is always one").push(c),
        }
    }
    words
}

/// What a command prints, normalized.
fn output(command: &str) -> String {
    let words = words(command);
    assert!(words[0] == "cargo" && words.contains(&"--release".to_owned()), "`{command}` is not cargo … --release");
    let mut process = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The tests were built: nothing is to be fetched or chosen anew, nor taken to be of this package.
    process.arg(&words[1]).args(["--locked", "--offline"]).args(&words[2..]).current_dir(root());
    let of_package =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|of| name.starts_with(of));
    let inherited = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    inherited.filter(|name| of_package(name)).for_each(|name| _ = process.env_remove(name));
    let output = process.output().expect("cargo can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` fails: {errors}");
    normalized(&String::from_utf8_lossy(&output.stdout))
}

/// Asserts all figures of the commands that are chosen, running each command once.
fn assert_figures(when: When) {
    let mut outputs = BTreeMap::new();
    let (mut compared, mut complaints) = (0, Vec::new());
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("a document");
        for comparison in comparisons(&text).iter().filter(|comparison| comparison.when == when) {
            let printed: &String =
                outputs.entry(comparison.command.clone()).or_insert_with(|| output(&comparison.command));
            compared += comparison.figures.len();
            let wrong = comparison.figures.iter().filter_map(|figure| complaint(figure, &comparison.before, printed));
            complaints.extend(wrong.map(|wrong| format!("{}, `{}`: {wrong}", path.display(), comparison.command)));
        }
    }
    println!("{compared} lines of figures of {} commands", outputs.len());
    assert!(compared > 0, "no figure is compared");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn figures_are_what_their_commands_print() {
    assert_figures(When::Always);
}

#[test]
#[ignore = "needs ../shared: figures of GPT-2, and of slow commands"]
fn figures_of_gpt2_and_of_slow_commands_are_what_these_print() {
    assert_figures(When::ByRequest);
}

/// `.ci/run --long` runs what is in here.
mod minutes {
    use super::*;

    #[test]
    #[ignore = "minutes: it runs other tests of minutes"]
    fn figures_of_tests_of_minutes_are_what_these_print() {
        assert_figures(When::Minutes);
    }
}

/// `.ci/run` leaves tests in modules `printed` to the commands of documents: there is one that runs all of them.
#[test]
fn tests_whose_output_is_printed_are_run_for_their_figures() {
    let run: BTreeSet<String> = documents()
        .iter()
        .flat_map(|path| comparisons(&std::fs::read_to_string(path).expect("a document")))
        .filter(|comparison| comparison.when == When::ByRequest)
        .map(|comparison| comparison.command)
        .collect();
    let command =
        |test: &str| format!("cargo test --release -p integration-tests --test {test} -- --nocapture --ignored");
    let mut found = 0;
    for path in files("tests/tests", "rs") {
        let inside = path.strip_prefix(root().join("tests/tests")).expect("it lies there").with_extension("");
        if std::fs::read_to_string(&path).expect("a source").contains("\nmod printed {\n") {
            found += 1;
            let words: Vec<&str> = inside.iter().map(|part| part.to_str().expect("UTF-8")).collect();
            assert!(run.contains(&command(&words.join(" "))), "{} has tests that no document runs", path.display());
        }
    }
    assert!(found >= 3, "modules of printed tests are not found");
}

/// The commands that a text names, where they end: lines of fenced blocks, and code within lines.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("cargo ") {
        let is_command = ["cargo run", "cargo test"].iter().any(|start| text[at..].starts_with(start));
        let before = text[..at].chars().next_back();
        let end = match before {
            Some('`') => text[at..].find('`'),
            Some('\n') => text[at..].replace("\\\n", "  ").find('\n'),
            _ => None,
        };
        if let (true, Some(length)) = (is_command, end) {
            let command = text[at..at + length].split("  #").next().unwrap_or_default();
            found.push((at + length, joined(command)));
        }
    }
    found
}

/// No command of the book is without its figures, or a reason.
#[test]
fn every_command_of_the_book_is_compared_or_says_why_not() {
    let mut missing = Vec::new();
    for path in documents().into_iter().filter(|path| path.parent().is_some_and(|folder| folder.ends_with("docs"))) {
        let text = std::fs::read_to_string(&path).expect("a document");
        let compared: Vec<String> = comparisons(&text).into_iter().map(|comparison| comparison.command).collect();
        let visible = hide_comments(&text);
        let commands = commands(&visible);
        for (end, command) in &commands {
            let section = visible[*end..].find("\n#").map_or(text.len(), |length| end + length);
            let has_reason = text[*end..section].contains("<!-- not compared: ");
            if !has_reason && !compared.contains(command) {
                missing.push(format!("{}: `{command}`", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "neither figures nor a reason:\n{}", missing.join("\n"));
}

/// The text with comments overwritten, so that what is left stays where it is.
fn hide_comments(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        let length = comment.find("-->").map_or(comment.len(), |end| end + 3);
        visible.push_str(before);
        visible.extend(std::iter::repeat_n('\n', length + 4));
        rest = &comment[length..];
    }
    visible + rest
}

#[test]
fn a_wrong_figure_is_noticed() {
    let text = "A run takes **3,615** PBS, fails with $2^{−92.0}$ and\nerrs by 0.0376.\n\n<!-- figures of `cargo test --release`\n\
        doc takes {} PBS, fails with $2^{{}}$\nout {} PBS, 2^{} in {*} s\n\
        doc {} PBS, fails\nout {} PBS\n\
        doc errs by {±0.005}.\nout error {}\n-->\n";
    let comparisons = comparisons(text);
    let comparison = &comparisons[0];
    let complaints = |printed: &str| -> Vec<String> {
        let printed = normalized(printed);
        comparison.figures.iter().filter_map(|figure| complaint(figure, &comparison.before, &printed)).collect()
    };
    assert_eq!(complaints("3615 PBS, 2^-92.04 in 3.1 s\nerror 0.0381"), [""; 0]);
    for wrong in ["3616 PBS, 2^-92.04 in 3.1 s", "3615 PBS, 2^-92.06 in 3.1 s", "3615 PBS, 2^-92 in 3.1 s", "3615 PBS"]
    {
        assert!(!complaints(&format!("{wrong}\nerror 0.0376")).is_empty(), "{wrong}");
    }
    assert_eq!(complaints("3615 PBS, 2^-92.04 in 3.1 s\nerror 0.0431").len(), 1);
    let changed = comparison.before.replace("3,615", "3,617");
    assert!(complaint(&comparison.figures[0], &changed, "3615 PBS, 2^-92.0 in 3 s").is_some());
}
