//! `head --trace` and `explain --of`.

use super::*;

fn traced(files: &Files, circuit: &str, more: &[&str]) -> Command {
    let mut command = files.command("head", "hidden", "other");
    let bits = if circuit == "packed" { "8" } else { "2" };
    command.args(["--circuit", circuit, "--bits", bits, "--seed", "3", "--trace"]).arg(files.path("trace"));
    command.args(more);
    command
}

fn read(files: &Files) -> Value {
    serde_json::from_slice(&std::fs::read(files.path("trace")).expect("a trace")).expect("JSON")
}

/// The output is the same with and without, to the bit, in every mode that has noise; and the trace says what was run.
#[test]
fn a_run_is_the_same_with_a_trace() {
    let files = Files::new();
    for (circuit, mode, heads) in [
        ("packed", "simulate", "--all-heads"),
        ("packed", "execute", "--all-heads"),
        ("exact", "simulate", "--all-heads"),
        ("exact", "execute", "--head=1"),
    ] {
        let out = |name: &str| Checkpoint::open(files.path(name)).unwrap().any_matrix("head_out").unwrap();
        let mut command = traced(&files, circuit, &["--mode", mode, heads, "--force", "--out"]);
        let report = json(command.arg(files.path("with")));
        let mut plain = files.command("head", "hidden", "other");
        let bits = if circuit == "packed" { "8" } else { "2" };
        plain.args(["--circuit", circuit, "--bits", bits, "--seed", "3", "--mode", mode, heads, "--force", "--out"]);
        success(plain.arg(files.path("without")));
        assert_eq!(out("with"), out("without"), "{circuit} {mode}");

        let trace = read(&files);
        assert_eq!((&trace["type"], &trace["format"]), (&"head trace".into(), &1.into()));
        for key in
            ["circuit", "mode", "tensor", "layer", "head", "heads", "tokens", "bits", "mismatches", "out_of_range"]
        {
            assert_eq!(trace[key], report[key], "{key}");
        }
        assert_eq!(trace["parameters"], report["parameters"]["name"]);
        assert_eq!(trace["log2_failure_probability"], report["log2_failure_probability"]);
        let places = trace["places"].as_array().expect("places");
        let answer = places.last().expect("an answer");
        assert_eq!(answer["step"], "answer");
        if circuit == "packed" {
            let difference = answer["largest_noise"].as_f64().unwrap() - report["max_abs_difference"].as_f64().unwrap();
            assert!(difference.abs() < 1e-9, "{difference}");
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(files.path("trace")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_a_trace_cannot_be_of_or_written_to() {
    let files = Files::new();
    let what = "--trace is of noise, which --mode clear has none of";
    assert_error_of(2, &mut traced(&files, "packed", &["--mode", "clear"]), what);
    assert!(!files.path("trace").exists());
    std::fs::write(files.path("trace"), "before").unwrap();
    assert_error(&mut traced(&files, "packed", &["--mode", "simulate"]), "exists already; give --trace another name");
    assert_eq!(std::fs::read(files.path("trace")).unwrap(), b"before");
    let hidden = files.path("hidden");
    let mut command = files.command("head", "hidden", "input");
    assert_error(command.args(["--mode", "simulate", "--force", "--trace"]).arg(hidden), "which --hidden reads");
}

#[test]
fn a_trace_is_explained_as_text_data_and_page() {
    let files = Files::new();
    for (circuit, mode, more) in [
        ("packed", "execute", &["--all-heads"][..]),
        ("packed", "simulate", &[]),
        ("exact", "simulate", &["--all-heads"]),
    ] {
        success(traced(&files, circuit, &["--mode", mode, "--force"]).args(more));
        let explain = || {
            let mut command = program();
            command.args(["explain", "--of"]).arg(files.path("trace"));
            command
        };
        let (text, page) = (success(&mut explain()), files.path("page.html"));
        for part in ["How to read this", "The narrowest place", "headroom", "The answer", "Weighted values"] {
            assert!(text.contains(part), "{circuit} {mode}: {part} is not in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        let lesson = json(&mut explain());
        let steps = lesson["steps"].as_array().expect("steps");
        let headings: Vec<&str> = steps.iter().map(|step| step["heading"].as_str().unwrap()).collect();
        assert!(headings.iter().all(|heading| text.contains(heading)), "{headings:?}");
        success(explain().args(["--force", "--html"]).arg(&page));
        let page = std::fs::read_to_string(page).unwrap();
        assert!(!page.contains("http") && !page.contains("url(") && !page.contains("src="), "{circuit} {mode}");
        assert!(page.contains("<svg") && page.contains("id=\"trace-1\""));
    }
}

#[test]
fn what_is_no_trace_is_refused_by_one_line() {
    let files = Files::new();
    success(&mut traced(&files, "packed", &["--mode", "simulate"]));
    let whole = std::fs::read_to_string(files.path("trace")).unwrap();
    let explain = |more: &[&str]| {
        let mut command = program();
        command.args(["explain", "--of"]).arg(files.path("other")).args(more);
        command
    };
    for (contents, what) in [
        (&whole[..whole.len() / 2], "damaged, or cut off"),
        ("", "it is no trace of a head"),
        ("{}", "it is no trace of a head"),
        ("{\"type\": \"audit\"}", "it is no trace of a head"),
        (&whole.replacen("\"format\":1", "\"format\":7", 1), "format 7"),
        (&whole.replacen("\"round\":0", "\"round\":-1", 1), "damaged"),
    ] {
        std::fs::write(files.path("other"), contents).unwrap();
        assert_error(&mut explain(&[]), what);
        assert_error(explain(&["--html"]).arg(files.path("page")), what);
        assert!(!files.path("page").exists());
    }
    std::fs::write(files.path("other"), [0xff, 0xfe, 0, 1]).unwrap();
    assert_error(&mut explain(&[]), "UTF-16");
    std::fs::write(files.path("other"), vec![b' '; (16 << 20) + 1]).unwrap();
    assert_error(&mut explain(&[]), "more than 16 MiB");
    std::fs::write(files.path("other"), &whole).unwrap();
    let own = files.path("other");
    assert_error(explain(&["--force", "--html"]).arg(own), "--html names");
    assert_eq!(output(&mut explain(&["encryption"])).status.code(), Some(2));
    let mut folder = program();
    assert_error(folder.args(["explain", "--of"]).arg(files.folder.path()), "is a folder");
}
