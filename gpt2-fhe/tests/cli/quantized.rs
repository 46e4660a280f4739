//! `quantize`, and what other commands do with its files.

use super::*;

/// What `quantize` writes is what `head` and `circuit` would have calibrated, for both circuits, whole or by halves.
#[test]
fn a_quantized_file_gives_the_numbers_of_calibration_in_place() {
    let files = Files::new();
    let projection = tensor(&[SIZE, SIZE], |index| (0.4 * index as f32).sin() / 4.0);
    let bias = tensor(&[SIZE], |index| 0.1 * (index as f32).sin());
    let attention = Checkpoint::open(files.path("attention")).unwrap();
    let [weight, weight_bias] =
        ["h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias"].map(|name| attention.tensor(name).unwrap());
    files.write(
        "attention",
        &[
            ("h.0.attn.c_attn.weight", &weight),
            ("h.0.attn.c_attn.bias", &weight_bias),
            ("h.0.attn.c_proj.weight", &projection),
            ("h.0.attn.c_proj.bias", &bias),
        ],
    );
    let paths = ["both", "server", "client"].map(|name| files.path(name));
    for (part, circuit) in [
        (&["--head", "1"][..], &["--circuit", "exact", "--bits", "5", "--msbs", "7"][..]),
        (&["--head", "1"], &["--circuit", "packed", "--bits", "6", "--value-bits", "6"]),
        (&["--all-heads"], &["--circuit", "exact", "--bits", "3"]),
        (&["--all-heads"], &["--circuit", "packed", "--bits", "6", "--guard", "2"]),
    ] {
        let mut command = program();
        command.arg("quantize").arg("--attention").arg(files.path("attention")).args(["--n-head", "2"]);
        command.arg("--calibration").arg(files.path("hidden")).args([
            "--calibration-tensors",
            "other",
            "--max-tokens",
            "2",
        ]);
        for (name, path) in ["--out", "--server-out", "--client-out"].iter().zip(&paths) {
            command.arg(name).arg(path);
        }
        let report = json(command.arg("--force").args(part).args(circuit));
        assert_eq!((&report["circuit"], &report["max_tokens"]), (&circuit[1].into(), &2.into()));
        for (file, path) in report["files"].as_array().unwrap().iter().zip(&paths) {
            assert_eq!(file["bytes"].as_u64(), Some(std::fs::metadata(path).unwrap().len()));
        }
        let run = |name: &str, mode: &[&str], arguments: &dyn Fn(&mut Command)| {
            let mut command = files.command(name, "hidden", "input");
            arguments(command.args(part).args(mode));
            let Value::Object(mut report) = json(&mut command) else { panic!("an object") };
            for key in ["seconds", "peak_memory_bytes"] {
                report.remove(key);
            }
            report
        };
        for (name, mode) in [("head", &["--mode", "clear"][..]), ("circuit", &[])] {
            let calibrated = run(name, mode, &|command| {
                command
                    .args(circuit)
                    .arg("--calibration")
                    .arg(files.path("hidden"))
                    .args(["--calibration-tensors", "other"]);
            });
            let loaded = run(name, mode, &|command| {
                command.arg("--quantized").arg(&paths[0]);
            });
            assert_eq!(loaded, calibrated, "{name} {part:?} {circuit:?}");
            let joined = run(name, mode, &|command| {
                command.arg("--quantized").arg(&paths[2]).arg("--quantized").arg(&paths[1]);
            });
            assert_eq!(joined, calibrated, "{name} {part:?} {circuit:?}");
        }
    }
}

#[test]
fn a_quantized_file_of_something_else_is_one_line() {
    let files = Files::new();
    let quantize = |out: &str, kind: &str, arguments: &[&str]| {
        let mut command = program();
        command.arg("quantize").arg("--attention").arg(files.path("attention")).args(["--n-head", "2"]);
        command.arg("--calibration").arg(files.path("hidden")).args(["--calibration-tensors", "input"]);
        success(command.args(arguments).arg(kind).arg(files.path(out)))
    };
    let text = quantize("first", "--out", &[]);
    for word in ["attention head 0 of layer 0", "at most 2 tokens", "one for each of 16 channels", "fingerprint"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    quantize("client", "--client-out", &[]);
    quantize("server", "--server-out", &["--bits", "6"]);
    quantize("six", "--out", &["--bits", "6"]);
    let whole = std::fs::read(files.path("first")).unwrap();
    std::fs::write(files.path("truncated"), &whole[..whole.len() - 1]).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(files.path("changed"), changed).unwrap();
    let with = |tensor: &str, quantized: &[&str], arguments: &[&str]| {
        let mut command = files.command("head", "hidden", tensor);
        for name in quantized {
            command.arg("--quantized").arg(files.path(name));
        }
        command.args(["--mode", "clear"]).args(arguments);
        command
    };
    for (tensor, quantized, arguments, what) in [
        ("input", &["first"][..], &["--head", "1"][..], "holds attention head 0 of layer 0, and not attention head 1"),
        ("other", &["first"], &[], "at most 2 tokens, and --tensor has 3"),
        ("input", &["client"], &[], "client has no half for the server: give --quantized the file that has it"),
        ("input", &["server"], &[], "server has no half for the client"),
        ("input", &["server", "client"], &[], "with the same fingerprint"),
        ("input", &["first", "six"], &[], "are of different calibrations"),
        ("input", &["hidden"], &[], "not a quantized attention"),
        ("input", &["truncated"], &[], "fetch or write it again"),
        ("input", &["changed"], &[], "half was changed"),
        ("input", &["absent"], &[], "cannot open"),
    ] {
        assert_error(&mut with(tensor, quantized, arguments), what);
    }
    // Of a model with other heads.
    let mut command = program();
    command.arg("head").arg("--attention").arg(files.path("attention")).args(["--n-head", "4", "--tensor", "input"]);
    command.arg("--hidden").arg(files.path("hidden")).arg("--quantized").arg(files.path("first"));
    assert_error(&mut command, "[16, 8, 8], and --attention of one with [16, 4, 4]");
    // What the file says cannot be said again.
    let refused = output(&mut with("input", &["first"], &["--bits", "4"]));
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn quantize_calibrates_a_model_on_a_text() {
    let files = Files::new();
    std::fs::write(files.path("text"), "To be or not\n\nMy lord, good night\n").unwrap();
    let command = |text: &str| {
        let mut command = program();
        command.args(["quantize", "--all-heads", "--layer", "1", "--text"]).arg(files.path(text));
        command.arg("--force").arg("--out").arg(files.path("out"));
        command
    };
    let report = json(&mut command("text"));
    assert_eq!((&report["layer"], &report["head"], &report["bits"]), (&1.into(), &Value::Null, &5.into()));
    assert_eq!(report["fingerprint"].as_str().unwrap().len(), 64);
    std::fs::write(files.path("blank"), "\n \n").unwrap();
    assert_error(&mut command("blank"), "no prompt to calibrate on");
    assert_error(&mut command("absent"), "cannot read");
    assert_error(command("text").args(["--max-tokens", "65"]), "in 1 ..= 64");
}

/// `quantize` on the embedded model, calibrated on the prompts inside the program.
fn quantize_embedded(files: &Files, arguments: &[&str], out: &[(&str, &str)]) {
    let mut command = program();
    command.arg("quantize").args(arguments);
    for (option, name) in out {
        command.arg(option).arg(files.path(name));
    }
    success(&mut command);
}

/// Gives a command `--quantized` with each of some files.
pub(super) fn with_quantized<'a>(command: &'a mut Command, files: &Files, names: &[&str]) -> &'a mut Command {
    for name in names {
        command.arg("--quantized").arg(files.path(name));
    }
    command
}

/// What is generated with files is what is generated with attention quantized in place.
#[test]
fn generate_and_demo_take_quantized_layers() {
    let files = Files::new();
    let prompt = ["--prompt", "My lord", "--tokens", "3"];
    let arguments = ["--all-heads", "--bits", "4", "--max-tokens", "16"];
    quantize_embedded(&files, &[&arguments[..], &["--layer", "0"]].concat(), &[("--out", "zero")]);
    quantize_embedded(
        &files,
        &[&arguments[..], &["--layer", "2"]].concat(),
        &[("--server-out", "server"), ("--client-out", "client")],
    );
    let generate = |arguments: &[&str]| {
        let mut command = program();
        command.arg("generate").args(prompt).args(["--seed", "3"]).args(arguments);
        command
    };
    let from_files = ["client", "zero", "server"];
    let loaded = json_lines(with_quantized(&mut generate(&["--mode", "execute"]), &files, &from_files));
    let calibrated = json_lines(&mut generate(&["--mode", "execute", "--layers", "0,2", "--bits", "4"]));
    assert_eq!(loaded.len(), 4);
    for (loaded, calibrated) in loaded.iter().zip(&calibrated) {
        for key in ["token", "text", "pbs", "mismatches", "out_of_range"] {
            assert_eq!(loaded[key], calibrated[key], "{key}");
        }
        assert_eq!(loaded["mismatches"], 0);
    }
    let text = outputs(with_quantized(&mut generate(&["--mode", "clear"]), &files, &from_files)).1;
    assert!(text.contains("the whole attention of layers 0, 2, quantized"), "{text}");
    let mut demo = program();
    demo.args(["demo", "--mode", "simulate", "--seed", "1"]).args(prompt);
    let text = success(with_quantized(&mut demo, &files, &["zero"]));
    for word in ["the whole attention of layer 0", "inputs of 4 bits"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }

    quantize_embedded(&files, &["--layer", "1", "--bits", "4"], &[("--out", "head")]);
    quantize_embedded(&files, &["--all-heads", "--layer", "1", "--circuit", "exact"], &[("--out", "exact")]);
    quantize_embedded(&files, &["--all-heads", "--layer", "0", "--bits", "5"], &[("--out", "again")]);
    quantize_embedded(&files, &["--all-heads", "--layer", "0", "--max-tokens", "3"], &[("--out", "short")]);
    let mut of_a_file = program();
    of_a_file.arg("quantize").arg("--attention").arg(files.path("attention")).args(["--n-head", "2"]);
    of_a_file.arg("--calibration").arg(files.path("hidden")).args(["--calibration-tensors", "other"]);
    success(of_a_file.arg("--out").arg(files.path("other_model")));
    for (names, what) in [
        (&["zero", "head"][..], "one part of different layers"),
        (&["zero", "exact"], "for exact; --quantized takes"),
        (&["zero", "again"], "one part of different layers"),
        (&["short"], "at most 3 tokens, and the prompt with what follows has"),
        (&["zero", "server"], "server has no half for the client"),
        (&["other_model"], "[16, 8, 8], and the model of one with"),
        (&["absent"], "cannot open"),
    ] {
        assert_error(with_quantized(&mut generate(&["--mode", "clear"]), &files, names), what);
    }
    for said_again in [["--layers", "0"], ["--bits", "4"], ["--circuit", "packed"], ["--head", "0"]] {
        let refused = output(with_quantized(&mut generate(&said_again), &files, &["zero"]));
        assert_eq!(refused.status.code(), Some(2), "{said_again:?}");
    }
}

/// Each file is a row of the tables: that of the same attention calibrated in place.
#[test]
fn evaluate_takes_quantized_attention() {
    let files = Files::new();
    let text = "What, shall we part? The morning is not yet, and all the birds are silent in the wood.";
    std::fs::write(files.path("text"), text).unwrap();
    let place = ["--layer", "1", "--head", "1"];
    for (name, arguments) in [
        ("four", &["--bits", "4", "--max-tokens", "16"][..]),
        ("exact", &["--circuit", "exact", "--bits", "6", "--max-tokens", "12"]),
    ] {
        quantize_embedded(&files, &[&place[..], arguments].concat(), &[("--out", name)]);
    }
    let evaluate = |arguments: &[&str]| {
        let mut command = program();
        command.arg("evaluate").arg("--text").arg(files.path("text")).args(["--seed", "1"]).args(arguments);
        command
    };
    let report = json(with_quantized(&mut evaluate(&place), &files, &["four", "exact"]));
    assert_eq!(report["text"]["window"], 12);
    assert_eq!(report["calibration"]["tokens"], 0);
    assert_eq!(report["calibration"]["quantized"].as_array().unwrap().len(), 2);
    let rows: Vec<(&str, u64)> = report["rows"].as_array().unwrap()[3..]
        .iter()
        .map(|row| (row["circuit"].as_str().unwrap(), row["bits"].as_u64().unwrap()))
        .collect();
    assert_eq!(rows, [("packed", 4), ("exact", 6)]);
    let executed = ["--mode", "execute", "--positions", "2", "--window", "8"];
    let report = json(with_quantized(&mut evaluate(&[&place[..], &executed].concat()), &files, &["four"]));
    assert_eq!(report["agreements"][0]["mismatches"], 0);

    for (arguments, names, what) in [
        (&[][..], &["four"][..], "holds attention head 1 of layer 1, and not attention head 0 of layer 0"),
        (&["--layer", "1", "--head", "1", "--window", "13"], &["four", "exact"], "it must be in 1 ..= 12"),
    ] {
        assert_error(with_quantized(&mut evaluate(arguments), &files, names), what);
    }
    let refused = output(with_quantized(&mut evaluate(&["--calibration-text", "text"]), &files, &["four"]));
    assert_eq!(refused.status.code(), Some(2));
}
