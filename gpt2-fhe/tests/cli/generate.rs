//! `generate` and `demo`.

use super::*;

#[test]
fn generate_streams_tokens_with_what_they_cost() {
    let arguments = ["generate", "--prompt", "My lord", "--tokens", "2", "--layers", "0,2"];
    let (text, notes) = outputs(program().args(arguments).args(["--head", "1", "--seed", "3"]));
    for word in ["encrypted", "head 1 of layers 0, 2", "on the server", "PBS", "for all of it"] {
        assert!(notes.contains(word), "{word:?} is not in {notes}");
    }
    // Standard output is the text and nothing else, with or without what is said beside it.
    assert!(text.starts_with("My lord") && text.ends_with('\n') && !text.contains("PBS"), "{text}");
    let quiet = outputs(program().args(arguments).args(["--head", "1", "--seed", "3", "--quiet"]));
    assert_eq!(quiet, (text, String::new()));
    let sampled = |seed: &str| {
        let sampling = ["--mode", "simulate", "--temperature", "2", "--top-k", "50", "--sample-seed", seed];
        let lines = json_lines(program().args(arguments).args(sampling).args(["--seed", "3"]));
        let types: Vec<&Value> = lines.iter().map(|line| &line["type"]).collect();
        assert_eq!(types, ["token", "token", "generation"]);
        for key in ["token", "text", "f32_token", "pbs", "seconds", "bytes", "mismatches"] {
            assert!(lines[0].get(key).is_some(), "{key}");
        }
        lines[2]["text"].as_str().expect("a text").to_owned()
    };
    let texts: Vec<String> = ["1", "2", "3"].into_iter().map(sampled).collect();
    assert_eq!(texts[0], sampled("1"));
    assert!(texts.iter().any(|text| *text != texts[0]), "{texts:?}");
    for (wrong, what) in [
        (&["--layers", "3"][..], "layers 0 to 2"),
        (&["--head", "7"], "less than the number of heads, 2"),
        (&["--temperature", "-1"], "the temperature is -1"),
        (&["--tokens", "99"], "64 positions"),
    ] {
        assert_error(program().args(["generate", "--prompt", "My lord", "--mode", "clear"]).args(wrong), what);
    }
}

#[test]
fn demo_continues_the_prompt_and_shows_the_clear_continuation() {
    let text = success(program().args(["demo", "--mode", "simulate", "--tokens", "2", "--seed", "3"]));
    for word in
        ["\"Good night, good\": 5 tokens", "evaluation keys", "simulated:\nGood night, good", "f32:\nGood night, good"]
    {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    let lines = json_lines(program().args(["--mode", "simulate", "--tokens", "2", "--seed", "3"]));
    let types: Vec<&Value> = lines.iter().map(|line| &line["type"]).collect();
    assert_eq!(types, ["demo", "token", "token", "generation"]);
    assert_keys(&lines[0], &["model", "prompt_tokens", "circuit", "mode", "layers", "parameters.lookup.security.bits"]);
    assert_keys(&lines[3], &["text", "f32_text", "mismatches", "log2_failure_probability"]);
    let quiet = success(program().args(["--mode", "clear", "--tokens", "2", "--quiet"]));
    assert!(quiet.starts_with("quantized:\nGood night, good") && quiet.lines().count() >= 4, "{quiet}");
    // Without a command, the arguments are those of the demo.
    let arguments = ["--mode", "clear", "--prompt", "My lord"];
    assert_eq!(success(program().args(arguments)), success(program().arg("demo").args(arguments)));
}

#[test]
fn demo_says_what_is_wrong_with_a_prompt_or_a_model() {
    let files = Files::new();
    let long = "good ".repeat(100);
    for (arguments, what) in [
        (&["--prompt", ""][..], "the prompt is empty"),
        (&["--prompt", &long], "64 positions"),
        (&["--tokens", "64"], "64 positions"),
        (&["--tokens", "0"], "at least 1"),
        (&["--bits", "12"], "in 2 ..= 8"),
        (&["--circuit", "exact", "--bits", "12"], "in 2 ..= 11"),
        (&["--model", "absent"], "cannot read absent"),
    ] {
        assert_error(program().arg("demo").args(arguments), what);
    }
    std::fs::write(files.path("config.json"), b"{}").unwrap();
    assert_error(program().arg("demo").arg("--model").arg(files.folder.path()), "not the configuration of a GPT-2");
}
