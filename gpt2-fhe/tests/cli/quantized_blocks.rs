//! `quantize --encrypt`, and what other commands do with its files.

use super::quantized::with_quantized;
use super::*;

/// Blocks of the model inside the program, written to files that options name.
fn quantize_blocks(files: &Files, arguments: &[&str], outputs: &[(&str, &str)]) -> Value {
    let mut command = program();
    command.arg("quantize").args(arguments);
    for (option, name) in outputs {
        command.arg(option).arg(files.path(name));
    }
    json(&mut command)
}

fn generate(arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(["generate", "--prompt", "My lord", "--tokens", "3", "--mode", "clear"]).args(arguments);
    command
}

/// The objects of a run, without its times.
fn without_seconds(command: &mut Command) -> Vec<Value> {
    let mut lines = json_lines(command);
    lines.iter_mut().for_each(|line| drop(line.as_object_mut().expect("an object").remove("seconds")));
    lines
}

/// Each command does with files what it does with the calibration that they are of, whether they hold both halves or one, and whether
/// options say again what they say.
#[test]
fn files_of_blocks_give_what_calibration_in_place_gives() {
    let files = Files::new();
    std::fs::write(files.path("text"), "What, my lord, is it not late? The sun is down. ").unwrap();
    for (arguments, encrypt) in [
        (&["--encrypt", "model", "--public-start", "--head-on-server"][..], "model"),
        (&["--encrypt", "blocks:1-1"], "blocks:1-1"),
        (&["--encrypt", "mlp"], "mlp"),
    ] {
        let outputs = [("--out", "both"), ("--server-out", "server"), ("--client-out", "client")];
        let report = quantize_blocks(&files, &[arguments, &["--force"]].concat(), &outputs);
        assert_eq!((&report["type"], &report["circuit"]), (&"quantized".into(), &"blocks".into()));
        assert_eq!(report["ending"], if encrypt == "model" { "logits" } else { "stream" });
        assert_eq!(
            report["public_tokens"].as_array().unwrap().len(),
            usize::from(arguments.contains(&"--public-start"))
        );
        for (file, (_, name)) in report["files"].as_array().unwrap().iter().zip(outputs) {
            assert_eq!(file["bytes"].as_u64(), Some(std::fs::metadata(files.path(name)).unwrap().len()), "{name}");
        }
        let bytes = |index: usize| report["files"][index]["bytes"].as_u64().unwrap();
        assert!(bytes(2) < 32_768 && bytes(1) > 5 * bytes(2), "no weights in the client's half: {report}");

        // Parts are of all layers unless it is said otherwise, and the file is of one.
        let in_place = if encrypt == "mlp" { [arguments, &["--layers", "0"]].concat() } else { arguments.to_vec() };
        let calibrated = without_seconds(&mut generate(&in_place));
        for (again, names) in [(&[][..], &["both"][..]), (arguments, &["client", "server"])] {
            let loaded = without_seconds(with_quantized(&mut generate(again), &files, names));
            assert_eq!(loaded, calibrated, "{encrypt} {names:?}");
        }
        let plan = |arguments: &[&str], names: &[&str]| {
            let mut command = program();
            json(with_quantized(command.args(["plan", "--tokens", "2"]).args(arguments), &files, names))
        };
        let planned = plan(&[], &["both"]);
        assert_eq!(planned["encrypt"], encrypt);
        assert_eq!(planned, plan(&in_place, &[]), "{encrypt}");
        let evaluate = |arguments: &[&str], names: &[&str]| {
            let mut command = program();
            command.args(["evaluate", "--seed", "1"]).arg("--text").arg(files.path("text")).args(arguments);
            let mut report = json(with_quantized(&mut command, &files, names));
            report.as_object_mut().unwrap().remove("seconds");
            report
        };
        assert_eq!(evaluate(&[], &["server", "client"]), evaluate(arguments, &[]), "{encrypt}");
    }
}

/// Files of several parts are put together where they fit.
#[test]
fn files_that_do_not_go_together_are_one_line() {
    let files = Files::new().with_block("");
    quantize_blocks(&files, &["--encrypt", "blocks:0-1"], &[("--out", "first"), ("--client-out", "client")]);
    quantize_blocks(&files, &["--encrypt", "attention", "--layer", "2"], &[("--out", "attention_2")]);
    quantize_blocks(&files, &["--encrypt", "mlp", "--layer", "1"], &[("--server-out", "server")]);
    quantize_blocks(&files, &["--encrypt", "blocks:2", "--public-start"], &[("--out", "public")]);
    let mut heads = program();
    success(
        heads
            .args(["quantize", "--all-heads", "--layer", "2", "--max-tokens", "16"])
            .arg("--out")
            .arg(files.path("heads_of_2")),
    );
    let mut of_weights = program();
    of_weights.args(["quantize", "--encrypt", "blocks:0", "--n-head", "2"]).arg("--weights").arg(files.path("block"));
    of_weights.arg("--calibration").arg(files.path("states")).args(["--calibration-tensors", "examples"]);
    let report = json(of_weights.arg("--out").arg(files.path("other_model")));
    assert_eq!((&report["blocks"], &report["part"]), (&serde_json::json!([0]), &"whole".into()));

    let text = outputs(with_quantized(&mut generate(&[]), &files, &["first", "attention_2"])).1;
    assert!(text.contains("blocks 0 to 1, the attention of block 2, quantized"), "{text}");
    for (arguments, names, what) in [
        (&[][..], &["client"][..], "client has no half for the server: give --quantized the file that has it"),
        (&[], &["server", "client"], "server has no half for the client"),
        (&[], &["first", "heads_of_2"], "give --quantized either attention or blocks"),
        (
            &["--encrypt", "model"],
            &["heads_of_2"],
            "holds all attention heads of layer 2, and c_proj, and --encrypt model needs blocks",
        ),
        (&["--encrypt", "heads"], &["first"], "holds blocks 0 to 1, and --encrypt heads needs attention"),
        (&["--encrypt", "model"], &["first"], "and --encrypt model asks for something else"),
        (&["--encrypt", "blocks:0-2"], &["first"], "and --encrypt blocks:0-2 asks for something else"),
        (
            &["--encrypt", "mlp"],
            &["attention_2"],
            "the attention of block 2, and --encrypt mlp asks for something else",
        ),
        (&[], &["attention_2", "public"], "both hold block 2"),
        (&[], &["first", "public"], "public tokens have to be the same"),
        (&["--public-start"], &["first"], "has no public token"),
        (&["--head-on-server"], &["first"], "does not end with the logits"),
        (&[], &["other_model"], "[n_embd, head] = [16, 8], and the model is one with [128, 64]"),
        (&[], &["hidden"], "not a quantized attention"),
        (&[], &["absent"], "cannot open"),
    ] {
        assert_error(with_quantized(&mut generate(arguments), &files, names), what);
    }
    let mut demo = program();
    demo.args(["demo", "--mode", "clear", "--prompt", "My lord", "--tokens", "2"]);
    assert_error(with_quantized(&mut demo, &files, &["first"]), "holds blocks 0 to 1; give --quantized attention here");
    let mut head = files.command("head", "hidden", "input");
    assert_error(with_quantized(head.args(["--mode", "clear"]), &files, &["first"]), "give --quantized attention here");
    for said_again in [&["--layers", "0"][..], &["--calibration-text", "text"], &["--multiply", "lut"]] {
        let refused = output(with_quantized(&mut generate(said_again), &files, &["first"]));
        assert_eq!(refused.status.code(), Some(2), "{said_again:?}");
    }
}

#[test]
fn quantize_refuses_what_would_change_nothing() {
    let files = Files::new().with_block("");
    for (arguments, what) in [
        (&["--encrypt", "model", "--bits", "4"][..], "--bits is not for --encrypt model"),
        (&["--encrypt", "model", "--max-tokens", "4"], "--max-tokens is not for --encrypt model"),
        (&["--encrypt", "blocks:0", "--layer", "1"], "--layer is not for --encrypt blocks:0-0"),
        (&["--encrypt", "mlp", "--head-on-server"], "--head-on-server is not for --encrypt mlp"),
        (&["--public-start"], "--public-start changes nothing with --encrypt heads"),
    ] {
        let mut command = program();
        let refused = output(command.arg("quantize").args(arguments).arg("--out").arg(files.path("out")));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(what), "{arguments:?}: {said}");
    }
    for (arguments, what) in [
        (&["--encrypt", "model"][..], "--encrypt model needs a model"),
        (&["--encrypt", "blocks:0-1"], "--encrypt blocks:0-1 needs a model"),
        (&["--encrypt", "blocks:0", "--public-start"], "--public-start needs a model"),
        (&["--encrypt", "heads"], "--weights changes nothing with --encrypt heads"),
    ] {
        let mut command = program();
        command
            .arg("quantize")
            .arg("--weights")
            .arg(files.path("block"))
            .arg("--calibration")
            .arg(files.path("states"));
        let refused = output(command.args(arguments).arg("--out").arg(files.path("out")));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(what), "{arguments:?}: {said}");
    }
    let mut command = program();
    command.args(["quantize", "--encrypt", "blocks:1-7"]).arg("--out").arg(files.path("out"));
    assert_error(&mut command, "--encrypt has block 7; the model has blocks 0 to 2");
    assert!(!files.path("out").exists());
}
