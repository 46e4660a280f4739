//! `generate` and `demo`.

use std::path::Path;

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
    assert_keys(
        &lines[0],
        &["model", "prompt_tokens", "circuit", "mode", "layers", "parameters.keys.lookup.security.bits"],
    );
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
    assert_error(program().arg("demo").arg("--model").arg(files.folder.path()), "neither model.safetensors nor");
}

/// The embedded model as a folder, with another file.
pub(super) fn folder_with(name: &str, content: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(embedded.join(file), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join(name), content).unwrap();
    folder
}

/// The JSON objects of `generate` in the clear, without times: of tokens, and the last one.
fn generated(arguments: &[&str], model: Option<&Path>) -> (Vec<Value>, Value) {
    let mut command = program();
    command.args(["generate", "--mode", "clear", "--layers", "0", "--head", "0", "--seed", "1", "--json"]);
    if let Some(model) = model {
        command.arg("--model").arg(model);
    }
    let text = success(command.args(arguments));
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.iter_mut().for_each(|line| drop(line.as_object_mut().expect("an object").remove("seconds")));
    let last = lines.pop().expect("an object at the end");
    (lines, last)
}

/// The model of a folder, which is calibrated on texts that it draws itself.
#[test]
fn a_text_ends_where_the_model_ends_it() {
    let prompt = ["--prompt", "Good night, good", "--tokens", "4"];
    let plain = folder_with("notes.txt", "");
    let (tokens, end) = generated(&prompt, Some(plain.path()));
    assert_eq!((tokens.len(), &end["end"]), (4, &serde_json::json!({"reason": "tokens", "asked": 4})));
    assert_eq!((tokens, end), generated(&prompt, Some(plain.path())));

    let second = generated(&prompt, Some(plain.path())).0[1]["token"].clone();
    for content in [serde_json::json!({"eos_token_id": second}), serde_json::json!({"eos_token_id": [1023, second]})] {
        let ending = folder_with("generation_config.json", &content.to_string());
        let (tokens, end) = generated(&prompt, Some(ending.path()));
        assert_eq!((tokens.len(), &end["end"]["reason"], &end["end"]["token"]), (2, &"token".into(), &second));
        let text = success(program().args(["demo", "--mode", "clear"]).args(prompt).arg("--model").arg(ending.path()));
        assert!(text.contains(&format!("the model ended the text, by token {second}")), "{text}");
    }
}

/// At such a temperature every token is as likely as another, and a quarter of them are single bytes.
#[test]
fn the_texts_of_tokens_are_the_text() {
    let mut cut = 0;
    for seed in ["1", "2", "3", "4"] {
        let arguments = ["--prompt", "My lord", "--tokens", "8", "--temperature", "1000", "--sample-seed", seed];
        let (tokens, end) = generated(&arguments, None);
        let texts: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
        assert_eq!(texts, end["text"].as_str().unwrap());
        cut += texts.matches('\u{fffd}').count();
    }
    assert!(cut > 0);
}

/// The fingerprint is that of what is quantized: the scales and ranges of the calibration.
#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let files = Files::new();
    let fingerprint = |content: &[u8]| {
        std::fs::write(files.path("prompts"), content).unwrap();
        let mut command = program();
        command.args(["quantize", "--bits", "4", "--max-tokens", "4", "--force", "--text"]).arg(files.path("prompts"));
        json(command.arg("--out").arg(files.path("quantized")))["fingerprint"].clone()
    };
    let expected = fingerprint(b"To be, or not to be\nGood morrow\n");
    assert_eq!(fingerprint(b"\xef\xbb\xbfTo be, or not to be\n\nGood morrow"), expected);
    assert_ne!(fingerprint(b"My lord, I pray you\n"), expected);
}

#[test]
fn calibration_can_have_a_text_of_its_own() {
    let files = Files::new();
    let path = files.path("prompts");
    std::fs::write(&path, b"To be, or not to be\nGood morrow\n").unwrap();
    let arguments = ["--prompt", "My lord", "--tokens", "2", "--calibration-text", &path.display().to_string()];
    assert_eq!(generated(&arguments, None), generated(&arguments, None));
    let utf_16: Vec<u8> = "To be".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (content, what) in [(&b"\n \n"[..], "holds no prompt to calibrate on"), (&utf_16, "it is text in UTF-16")] {
        std::fs::write(&path, content).unwrap();
        assert_error(program().args(["generate", "--mode", "clear"]).args(arguments), what);
    }
}
