//! The command `explain`. That what lessons say is so for many keys is tested beside them.

use std::path::Path;

use super::*;

const LESSONS: [&str; 9] = [
    "encryption",
    "decomposition",
    "external-product",
    "cmux",
    "blind-rotation",
    "sample-extraction",
    "key-switch",
    "lookup",
    "head",
];

/// The pictures that the book includes.
const PICTURES: [&str; 12] = [
    "attention",
    "blind-rotation",
    "cmux",
    "decomposition",
    "encryption",
    "external-product",
    "key-switch",
    "negacyclic",
    "noise-growth",
    "sample-extraction",
    "test-polynomial",
    "torus",
];

fn explain(arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("explain").args(arguments);
    command
}

#[test]
fn without_a_lesson_they_are_listed_with_what_to_run_next() {
    let text = success(&mut explain(&[]));
    let named: Vec<usize> = LESSONS.iter().map(|name| text.find(&format!("\n  {name} ")).expect(name)).collect();
    assert!(named.is_sorted(), "{text}");
    assert!(text.contains("explain encryption") && text.contains("explain --html FILE"), "{text}");
    let listed = json(&mut explain(&[]));
    assert_eq!(
        (listed["type"].as_str(), listed["lessons"].as_array().map(Vec::len)),
        (Some("lessons"), Some(LESSONS.len()))
    );
}

#[test]
fn a_lesson_is_printed_whole_where_nobody_can_type_and_is_the_same_each_time() {
    for name in LESSONS {
        let text = success(&mut explain(&[name]));
        assert!(text.contains("\n1. ") && text.contains("checked: ") && !text.contains("NOT SO"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 118), "{text}");
        assert_eq!(text, success(&mut explain(&[name, "--all-at-once"])));
    }
    let [first, other] = ["7", "8"].map(|seed| success(&mut explain(&["encryption", "--seed", seed])));
    assert_eq!(first, success(&mut explain(&["encryption"])));
    assert_ne!(first, other);
}

#[test]
fn lessons_are_data_as_well() {
    let lessons = json_lines(&mut explain(&["all"]));
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")).unwrap();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
    let chapters: Vec<String> = texts.filter_map(|text| text.lines().next().map(String::from)).collect();
    assert_eq!(lessons.iter().map(|lesson| lesson["name"].as_str().unwrap()).collect::<Vec<_>>(), LESSONS);
    for lesson in &lessons {
        assert_keys(lesson, &["type", "name", "title", "summary", "chapter", "steps"]);
        let chapter = lesson["chapter"].as_str().unwrap();
        assert!(chapters.iter().any(|title| title.ends_with(chapter)), "{chapter}: {chapters:?}");
        let parts = lesson["steps"].as_array().unwrap().iter().flat_map(|step| step["parts"].as_array().unwrap());
        let kinds: Vec<&str> = parts.map(|part| part["kind"].as_str().unwrap()).collect();
        for kind in ["prose", "table", "noise", "check"] {
            assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
        }
    }
}

#[test]
fn a_page_has_every_step_and_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lessons.html");
    success(explain(&["--html"]).arg(&path));
    let page = std::fs::read_to_string(&path).unwrap();
    for name in LESSONS {
        assert!(
            page.contains(&format!("<article id=\"{name}\">")) && page.contains(&format!("id=\"{name}-1\"")),
            "{name}"
        );
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    for outside in ["http:", "https:", "url(", "src=", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme") && page.contains("ArrowRight"));
    assert_error(explain(&["--html"]).arg(&path), "exists already");
    success(explain(&["cmux", "--force", "--html"]).arg(&path));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("<nav>"));
}

/// The committed pictures, and on every backend that this CPU has.
#[test]
fn the_pictures_of_the_book_are_those_of_the_command() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    let names = |folder: &Path| {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&committed), PICTURES);
    for backend in tfhe_core::simd::Backend::available() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = explain(&["--pictures"]);
        success(command.arg(folder.path()).env(tfhe_core::simd::BACKEND_VARIABLE, backend.name()));
        assert_eq!(names(folder.path()), PICTURES);
        for name in PICTURES {
            let [made, kept] =
                [folder.path(), &committed].map(|folder| std::fs::read(folder.join(format!("{name}.svg"))).unwrap());
            let again = "run `cargo run --release -- explain --pictures docs/pictures --force`";
            assert!(made == kept, "{name}.svg differs with {backend}; {again} if it is meant to");
        }
    }
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    assert_error(
        &mut explain(&["nothing"]),
        "there is no lesson \"nothing\"; the lessons are encryption, decomposition, ",
    );
    assert_error(&mut explain(&["--pictures", "/no/such/folder"]), "its folder is not there");
}

#[test]
fn the_help_explains_its_words() {
    assert!(success(program().arg("--help")).contains("\n  explain "));
    let help = success(program().args(["explain", "--help"]));
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    for word in ["noise: ", "torus: ", "phase: ", "lookup: "] {
        assert!(help.contains(&format!("\n  {word}")), "{word}: {help}");
    }
    assert!(LESSONS.iter().all(|name| help.contains(name)), "{help}");
    assert!(help.contains("protect nothing"), "{help}");
}
