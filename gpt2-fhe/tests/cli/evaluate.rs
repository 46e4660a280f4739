//! `evaluate`.

use super::*;

/// A text that is in no calibration prompt, and `evaluate` on it with the embedded model.
fn evaluate(files: &Files) -> Command {
    let text = files.path("text");
    std::fs::write(&text, "What, shall we part? The morning is not yet, and all the birds are silent in the wood.")
        .unwrap();
    let mut command = program();
    command.arg("evaluate").arg("--text").arg(text).args(["--seed", "1"]);
    command
}

/// The rows of a report that are of a circuit, or a control.
fn rows<'a>(report: &'a Value, key: &str, name: &str) -> Vec<&'a Value> {
    report["rows"].as_array().expect("rows").iter().filter(|row| row[key] == name).collect()
}

const EVALUATE_KEYS: [&str; 11] = [
    "version",
    "model",
    "layer",
    "head",
    "mode",
    "text.positions",
    "text.window",
    "calibration.tokens",
    "rows",
    "unavailable",
    "agreements",
];

const ROW_KEYS: [&str; 16] = [
    "control",
    "circuit",
    "bits",
    "mode",
    "noise",
    "positions",
    "top_1",
    "top_5",
    "top_10",
    "kl_divergence",
    "perplexity",
    "relative_error",
    "out_of_range",
    "saturated",
    "largest_saturation",
    "unexplained",
];

#[test]
fn evaluate_compares_each_circuit_with_f32_and_controls() {
    let files = Files::new();
    let plot = files.path("plot.svg");
    let report = json(evaluate(&files).args(["--bits", "8..9", "--plot"]).arg(&plot));
    assert_keys(&report, &EVALUATE_KEYS);
    report["rows"].as_array().unwrap().iter().for_each(|row| assert_keys(row, &ROW_KEYS));
    let positions = report["text"]["tokens"].as_u64().unwrap() - 1;
    assert_eq!(report["text"]["positions"], positions);

    let [f32, zeroed, shuffled] = ["f32", "zeroed", "shuffled"].map(|name| rows(&report, "control", name)[0]);
    assert_eq!((&f32["top_1"], &f32["relative_error"]), (&1.0.into(), &0.0.into()));
    assert_eq!(zeroed["relative_error"], 1.0);
    let exact = rows(&report, "circuit", "exact");
    assert_eq!(exact.iter().map(|row| row["bits"].as_u64().unwrap()).collect::<Vec<_>>(), [8, 9]);
    for control in [zeroed, shuffled] {
        let divergence = |row: &Value| row["kl_divergence"].as_f64().unwrap();
        assert!(divergence(control) > divergence(exact[1]), "{report}");
    }
    assert!(report["unavailable"].as_array().unwrap().iter().any(|width| width["bits"] == 9), "{report}");

    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains("top-10"), "{svg}");
    assert_readable(&svg);
    assert!(svg.contains("embedded model: layer 0, head 0 of 2, mode clear"), "{svg}");
    let text = success(evaluate(&files).args(["--bits", "4", "--positions", "5", "--all-heads"]));
    for word in ["all", "5 positions", "the prompts inside this program", "zeroed", "exact", "packed"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

/// Asserts that no text is smaller than 10 px, shares are per cent, and the picture has a background of its own, also in dark.
fn assert_readable(svg: &str) {
    let sizes = svg.split("font-size=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    let sizes: Vec<f64> = sizes.map(|size| size.trim_end_matches("px").parse().expect("a size")).collect();
    assert!(!sizes.is_empty() && sizes.iter().all(|&size| size >= 10.0), "{sizes:?}");
    for part in ["% of tokens", "<rect", "prefers-color-scheme: dark"] {
        assert!(svg.contains(part), "{part}");
    }
}

#[test]
fn evaluate_simulates_more_noise_and_encrypts_a_sample() {
    let files = Files::new();
    let five_bits = |arguments: &[&str]| {
        json(evaluate(&files).args(["--circuit", "packed", "--bits", "5", "--window", "12"]).args(arguments))
    };
    let simulated = five_bits(&["--mode", "simulate", "--noise", "0,4"]);
    let errors: Vec<f64> =
        rows(&simulated, "circuit", "packed").iter().map(|row| row["relative_error"].as_f64().unwrap()).collect();
    assert!(errors.len() == 2 && errors[0] < errors[1], "{errors:?}");

    let executed = five_bits(&["--mode", "execute", "--positions", "2"]);
    assert_eq!(executed["text"]["positions"], 2);
    let modes: Vec<&str> =
        rows(&executed, "circuit", "packed").iter().map(|row| row["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["execute", "simulate"]);
    let agreement = &executed["agreements"][0];
    assert_keys(agreement, &["circuit", "bits", "executed_noise", "simulated_noise", "same_top_1", "mismatches"]);
    assert_eq!(agreement["mismatches"], 0);
}

#[test]
fn evaluate_says_what_is_wrong() {
    let files = Files::new();
    std::fs::write(files.path("empty"), "").unwrap();
    std::fs::write(files.path("short"), "a").unwrap();
    std::fs::write(files.path("binary"), [0xff, 0xfe]).unwrap();
    std::fs::write(files.path("cut"), b"abc\xc3").unwrap();
    for (name, what) in [
        ("absent", "cannot read"),
        ("empty", "the number of tokens of the text is 0"),
        ("short", "the number of tokens of the text is 1"),
        ("binary", "it is text in UTF-16; save it as UTF-8"),
        ("cut", "it is not text in UTF-8, which ends at byte 3"),
        (".", "is a folder; give --"),
    ] {
        assert_error(program().args(["evaluate", "--seed", "1", "--text"]).arg(files.path(name)), what);
        assert_error(evaluate(&files).arg("--calibration-text").arg(files.path(name)), what);
    }
    for (arguments, what) in [
        (&["--bits", "1"][..], "in 2 ..= 11"),
        (&["--bits", "2..12"], "in 2 ..= 11"),
        (&["--circuit", "packed", "--bits", "8,9"], "in 2 ..= 8 with the circuit packed"),
        (&["--bits", "many"], "give it numbers"),
        (&["--from", "1"], "less than 1"),
        (&["--window", "0"], "--window is 0"),
        (&["--window", "65"], "--window is 65"),
        (&["--positions", "0"], "at least 1"),
        (&["--layer", "9"], "the index of the layer"),
        (&["--head", "99"], "less than the number of heads"),
        (&["--mode", "simulate", "--noise=-1"], "factors must be in"),
        (&["--plot", "/"], "give --plot another name"),
        (&["--threads", "0"], "1 ..= 256"),
        (&["--guard", "0.5", "--bits", "4"], "in 1 ..= 16"),
    ] {
        assert_error(evaluate(&files).args(arguments), what);
    }
}
