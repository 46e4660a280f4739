//! `head` and `circuit`.

use super::*;

const HEAD_KEYS: [&str; 26] = [
    "circuit",
    "mode",
    "bits",
    "tokens",
    "heads",
    "multiply",
    "threads",
    "lookups",
    "pbs",
    "key_switches",
    "tensor_products",
    "external_products",
    "seconds.keygen",
    "seconds.encrypt",
    "seconds.evaluate",
    "seconds.decrypt",
    "bytes.evaluation_key",
    "bytes.request",
    "bytes.response",
    "peak_memory_bytes",
    "relative_error",
    "matches_clear",
    "mismatches",
    "max_abs_difference",
    "security_bits",
    "log2_failure_probability",
];

#[test]
fn head_prints_the_same_names_in_every_mode() {
    let files = Files::new();
    for mode in ["clear", "simulate"] {
        let report = json(files.exact("head", "hidden", "input").args(["--mode", mode, "--seed", "1"]));
        let found = keys(&report);
        assert!(HEAD_KEYS.iter().all(|key| found.iter().any(|other| other == key)), "{mode}: {found:?}");
        assert_eq!((&report["mode"], &report["tokens"], &report["heads"]), (&mode.into(), &2.into(), &1.into()));
        assert_eq!(report["matches_clear"], Value::Bool(true));
        assert!(report["seconds"]["keygen"].is_null() && report["bytes"]["request"].is_null(), "{report}");
        assert_eq!(report["pbs"].is_null(), mode == "clear");
        assert_eq!(report["relative_error"], report["clear_relative_error"]);
    }
}

/// The head encrypted, by both ways to multiply: as `circuit` predicts it, with the output of the clear run.
#[test]
fn head_runs_encrypted_as_circuit_predicts() {
    let files = Files::new();
    let clear = files.path("clear");
    success(files.exact("head", "hidden", "input").args(["--bits", "2", "--mode", "clear", "--out"]).arg(&clear));
    let expected = Checkpoint::open(clear).unwrap().matrix("head_out", TOKENS, SIZE / 2).unwrap();
    for multiply in ["product", "lut"] {
        let out = files.path(multiply);
        let arguments = ["--bits", "2", "--multiply", multiply];
        let mut command = files.exact("head", "hidden", "input");
        let report = json(command.args(arguments).args(["--threads", "2", "--seed", "7", "--out"]).arg(&out));
        let found = keys(&report);
        assert!(HEAD_KEYS.iter().all(|key| found.iter().any(|other| other == key)), "{found:?}");
        assert_eq!((&report["matches_clear"], &report["mismatches"]), (&true.into(), &0.into()));
        assert_eq!(report["threads"], 2);
        // Of `head_exact_narrow`, in whose coarse and fine bootstrappings a step takes two of 902 bits, and of `head_exact`.
        let of_gadget = if multiply == "product" { [1353, 1353, 902] } else { [902; 3] };
        let by_gadget = report["pbs_by_gadget"].as_object().unwrap().iter();
        let products =
            by_gadget.map(|(gadget, count)| of_gadget[gadget.parse::<usize>().unwrap()] * count.as_u64().unwrap());
        assert_eq!(report["external_products"], products.sum::<u64>());
        let output = Checkpoint::open(out).unwrap().matrix("head_out", TOKENS, SIZE / 2).unwrap();
        assert_eq!(output, expected);

        let circuit = json(files.exact("circuit", "hidden", "input").args(arguments));
        for key in [
            "lookups",
            "pbs",
            "key_switches",
            "tensor_products",
            "external_products",
            "bytes",
            "parameters",
            "security_bits",
            "log2_failure_probability",
        ] {
            assert_eq!(circuit[key], report[key], "{multiply}: {key}");
        }
    }
}

#[test]
fn the_packed_circuit_runs_in_every_mode_as_circuit_predicts() {
    let files = Files::new();
    // The circuit that there is without --circuit.
    let command = |name| files.command(name, "hidden", "other");
    let eight_bits = |name| {
        let mut command = command(name);
        command.args(["--bits", "8"]);
        command
    };
    let plan = json(&mut eight_bits("circuit"));
    assert_eq!(plan["pbs"], 3 * 3 - 1);
    let operations: Vec<&str> =
        plan["noise"].as_array().unwrap().iter().map(|n| n["operation"].as_str().unwrap()).collect();
    assert_eq!((operations.first(), operations.last()), (Some(&"queries projected"), Some(&"output")));
    assert!(plan["quantization"]["heads"][0]["log_modulus"].as_u64().unwrap() >= 16);
    for mode in ["clear", "simulate", "execute"] {
        let run = json(eight_bits("head").args(["--mode", mode, "--seed", "3"]));
        let missing: Vec<_> = HEAD_KEYS.iter().filter(|key| !keys(&run).contains(&key.to_string())).collect();
        assert!(missing.is_empty(), "{mode}: {missing:?}");
        assert_eq!((&run["circuit"], &run["bits"], &run["matches_clear"]), (&"packed".into(), &8.into(), &true.into()));
        assert!(run["relative_error"].as_f64().unwrap() < 0.2, "{mode}: {}", run["relative_error"]);
        if mode == "execute" {
            for key in ["pbs", "key_switches", "tensor_products", "external_products", "bytes", "parameters"] {
                assert_eq!(run[key], plan[key], "{key}");
            }
            assert!(success(&mut command("head")).contains("as near to the clear engine's as the noise allows"));
        }
    }
    for (arguments, what) in [
        (&["--bits", "9"][..], "in 2 ..= 8"),
        (&["--bits", "1"], "in 2 ..= 8"),
        (&["--value-bits", "9"], "in 2 ..= 8"),
        (&["--guard", "0.5"], "in 1 ..= 16"),
        (&["--guard", "nan"], "in 1 ..= 16"),
        (&["--head", "2"], "less than the number of heads, 2"),
    ] {
        assert_error(command("head").args(arguments), what);
    }
}

#[test]
fn circuit_describes_every_step() {
    let files = Files::new();
    let circuit = json(&mut files.exact("circuit", "hidden", "input"));
    let steps = circuit["steps"].as_array().expect("steps");
    for &step in nn::integer::steps::of(nn::attention::Part::Head(0)) {
        assert!(steps.iter().any(|other| other["name"] == step), "{step} is not in {circuit}");
    }
    assert!(circuit["security_bits"].as_f64().unwrap() >= 128.0);
    assert!(circuit["log2_failure_probability"].as_f64().unwrap() <= -40.0);

    let text = success(&mut files.exact("circuit", "hidden", "input"));
    for word in ["Attention head 0 of 2", "head_exact", "query key value", "total", "evaluation keys"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

/// Scores of any size: a run, or one line in words that a user can act on.
#[test]
fn attention_that_no_modulus_fits_is_refused_in_words() {
    let files = Files::new();
    let attention = Checkpoint::open(files.path("attention")).unwrap();
    let bias = attention.tensor("h.0.attn.c_attn.bias").unwrap();
    for factor in [8.0, 64.0, 1e3, 1e6] {
        let weight = tensor(&[SIZE, 3 * SIZE], |index| {
            let of_scores = index % (3 * SIZE) < 2 * SIZE;
            (0.7 * index as f32).sin() * if of_scores { factor } else { 1.0 }
        });
        files.write("large", &[("h.0.attn.c_attn.weight", &weight), ("h.0.attn.c_attn.bias", &bias)]);
        let mut command = program();
        command.args(["head", "--n-head", "2", "--tensor", "other", "--mode", "clear", "--attention"]);
        command.arg(files.path("large")).arg("--hidden").arg(files.path("hidden"));
        let Output { status, stderr, .. } = output(&mut command);
        let stderr = String::from_utf8_lossy(&stderr);
        let in_words = stderr.lines().count() == 1 && !stderr.contains("modulus") && !stderr.contains("--mode clear");
        assert!(status.success() || in_words, "{factor}: {stderr}");
    }
}

/// Totals are sums of the steps, in JSON and in the tables, and the lines above the tables say the same.
#[test]
fn totals_of_circuit_are_sums_of_its_steps() {
    let files = Files::new();
    for circuit in
        [&["--circuit", "exact", "--bits", "3"][..], &["--circuit", "exact", "--multiply", "lut", "--bits", "3"], &[]]
    {
        for heads in [&[][..], &["--head", "1"], &["--all-heads"]] {
            let command = || {
                let mut command = files.command("circuit", "hidden", "other");
                command.args(circuit).args(heads);
                command
            };
            let report = json(&mut command());
            let steps = report["steps"].as_array().expect("steps");
            let counts: Vec<u64> = COUNTED
                .iter()
                .map(|&key| {
                    let sum = steps.iter().map(|step| step[key].as_u64().unwrap_or(0)).sum::<u64>();
                    assert_eq!(sum, report[key].as_u64().unwrap_or(0), "{circuit:?} {heads:?}: {key}");
                    sum
                })
                .collect();
            let failures = steps.iter().filter_map(|step| step["log2_failure_probability"].as_f64());
            let failure = failures.map(f64::exp2).sum::<f64>().log2();
            assert!((failure - report["log2_failure_probability"].as_f64().unwrap()).abs() < 1e-6);

            let text = success(&mut command());
            let [lookups, pbs, external, products, switches, automorphisms] = counts[..] else { panic!("six counts") };
            for line in [
                format!("{lookups} table lookups by {pbs} bootstrappings"),
                format!("{external} external products:"),
                format!("{products} product"),
                format!(" of ciphertexts, {switches} key switch"),
            ] {
                assert!(text.contains(&line), "{line:?} is not in {text}");
            }
            assert_eq!(text.contains(&format!("{automorphisms} automorphisms")), automorphisms > 0, "{text}");
            assert_columns_add_up(&text, "external products");
        }
    }
}

/// What is counted, in the order of the table's columns.
const COUNTED: [&str; 6] = ["lookups", "pbs", "external_products", "tensor_products", "key_switches", "automorphisms"];

/// Asserts that in the table whose header has `column`, each number of the last row is the sum of those above it.
fn assert_columns_add_up(text: &str, column: &str) {
    let rows: Vec<Vec<u64>> = text
        .lines()
        .skip_while(|line| !line.contains(column) || !line.contains("step"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| {
            line.split("  ")
                .filter(|cell| !cell.is_empty())
                .skip(1)
                .map(|cell| cell.trim().parse().unwrap_or(0))
                .collect()
        })
        .collect();
    let (total, steps) = rows.split_last().expect("a table");
    let sums: Vec<u64> = (0..total.len()).map(|column| steps.iter().map(|row| row[column]).sum()).collect();
    assert!(total.len() >= 5 && *total == sums, "{text}");
}

#[test]
fn figures_of_security_say_what_they_are() {
    let files = Files::new();
    let packed = json(&mut files.command("circuit", "hidden", "input"));
    assert_eq!(packed["security_bits"], 129.46);
    for ring in ["small", "lookup", "arithmetic"] {
        assert_eq!(packed["parameters"]["keys"][ring]["security"]["basis"], "estimate");
    }
    let exact = json(&mut files.exact("circuit", "hidden", "input"));
    assert_eq!(exact["security_bits"], 129.46);
    assert_eq!(exact["parameters"]["estimator"], "commit 27a581b, MATZOV cost model");
    let text = success(&mut files.command("circuit", "hidden", "input"));
    for words in ["129.5 bits, estimated for this key", "the cheapest attack", "commit 27a581b, MATZOV"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

#[test]
fn calibration_takes_all_tensors_that_fit_or_those_named() {
    let files = Files::new();
    files.write(
        "calibration",
        &[("one", &tensor(&[3, SIZE], |index| (0.9 * index as f32).sin())), ("unfit", &tensor(&[2, 3], |_| 1.0))],
    );
    let run = |arguments: &[&str]| {
        let mut command = files.command("head", "hidden", "input");
        json(command.args(["--mode", "clear", "--calibration"]).arg(files.path("calibration")).args(arguments))
    };
    let all = run(&[]);
    assert_eq!(all["relative_error"], run(&["--calibration-tensors", "one"])["relative_error"]);
    assert_ne!(
        all["relative_error"],
        json(files.command("head", "hidden", "input").args(["--mode", "clear"]))["relative_error"]
    );
    let unfit = |arguments: &[&str]| {
        let mut command = files.command("head", "hidden", "input");
        command.args(["--mode", "clear", "--calibration"]).arg(files.path("calibration")).args(arguments);
        command
    };
    assert_error(&mut unfit(&["--calibration-tensors", "one,unfit"]), "shape [2, 3]");
    assert_error(&mut unfit(&["--calibration-tensors", "absent"]), "no tensor \"absent\"");
}

#[test]
fn unusable_files_are_one_line() {
    let files = Files::new();
    let whole = std::fs::read(files.path("hidden")).unwrap();
    std::fs::write(files.path("truncated"), &whole[..whole.len() - 5]).unwrap();
    std::fs::write(files.path("empty"), b"").unwrap();
    // A safetensors file by hand: eight bytes of length, the header, two tokens of 16 integers of 8 bytes.
    let header = br#"{"input":{"dtype":"I64","shape":[2,16],"data_offsets":[0,256]}}"#;
    let integers = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 256]].concat();
    std::fs::write(files.path("integers"), integers).unwrap();
    for (hidden, tensor, what) in [
        ("absent", "input", "cannot open"),
        ("truncated", "input", "fetch or write it again"),
        ("empty", "input", "too few for a safetensors file"),
        ("integers", "input", "f64, f32, f16 or bf16 is needed"),
        ("hidden", "unknown", "no tensor \"unknown\""),
        ("hidden", "narrow", "[tokens, 16] is needed"),
        ("hidden", "cube", "two dimensions"),
        ("hidden", "nan", "NaN"),
        ("hidden", "none", "0 tokens; 1 to 4 are possible"),
        ("hidden", "long", "5 tokens; 1 to 4 are possible"),
    ] {
        assert_error(&mut files.command("head", hidden, tensor), what);
        assert_error(&mut files.command("circuit", hidden, tensor), what);
    }
}

#[test]
fn numbers_out_of_range_are_one_line() {
    let files = Files::new();
    for (arguments, what) in [
        (&["--bits", "1"][..], "in 2 ..= 11"),
        (&["--bits", "12"], "in 2 ..= 11"),
        (&["--msbs", "11"], "in 6 ..= 10"),
        (&["--layer", "1"], "no tensor \"h.1.attn.c_attn.weight\""),
        (&["--head", "2"], "less than the number of heads, 2"),
        (&["--bits", "11"], "use fewer bits"),
        (&["--bits", "11", "--multiply", "lut"], "use --multiply product, or fewer bits"),
    ] {
        assert_error(files.exact("head", "hidden", "input").args(arguments), what);
        assert_error(files.exact("circuit", "hidden", "input").args(arguments), what);
    }
    for threads in ["0", "257", "99999999999"] {
        assert_error(files.command("head", "hidden", "input").args(["--threads", threads]), "1 ..= 256");
    }
    for (variable, value, what) in [
        ("TFHE_BACKEND", "abacus", "unknown backend"),
        ("RAYON_NUM_THREADS", "99999", "RAYON_NUM_THREADS is 99999; it must be in 1 ..= 256"),
    ] {
        assert_error(files.command("head", "hidden", "input").env(variable, value), what);
    }
    // An empty variable is as good as none.
    let mut clear = files.command("head", "hidden", "input");
    success(clear.args(["--mode", "clear"]).env("TFHE_BACKEND", "").env("RAYON_NUM_THREADS", ""));
}

#[test]
fn an_output_file_that_cannot_be_written_is_known_before_the_work() {
    let files = Files::new();
    let folder = files.folder.path();
    for (out, what) in [
        (folder.join("absent").join("out"), "cannot write"),
        (folder.to_path_buf(), "not a file"),
        (PathBuf::from("/"), "cannot write"),
    ] {
        assert_error(files.command("head", "hidden", "input").arg("--out").arg(out), what);
    }
    // What could not be done leaves the old file, and no other.
    let out = files.path("out");
    std::fs::write(&out, b"before").unwrap();
    let before = files.count();
    let head = |tensor: &str, force: &[&str]| {
        let mut command = files.command("head", "hidden", tensor);
        command.args(["--mode", "clear", "--out"]).arg(&out).args(force);
        command
    };
    for (mut command, what) in
        [(head("input", &[]), "out exists already; give --out another name"), (head("nan", &["--force"]), "NaN")]
    {
        assert_error(&mut command, what);
        assert_eq!((std::fs::read(&out).unwrap(), files.count()), (b"before".to_vec(), before));
    }
    success(&mut head("input", &["--force"]));
    assert_eq!((Checkpoint::open(&out).unwrap().names(), files.count()), (vec!["head_out".to_owned()], before));
}

/// Rows of several tensors are one input, and some of them can be left out.
#[test]
fn rows_of_several_tensors_are_one_input() {
    let files = Files::new();
    let tokens = |tensors: &str, more: &[&str]| {
        let mut command = files.command("head", "hidden", tensors);
        json(command.args(["--mode", "clear"]).args(more))["tokens"].as_u64().expect("a number")
    };
    assert_eq!([tokens("input,input", &[]), tokens("input,other", &["--tokens", "3"])], [4, 3]);
    for (tensors, count, what) in
        [("input", "3", "has 2 rows"), ("input", "0", "0 tokens"), ("input,cube", "2", "cube")]
    {
        assert_error(files.command("head", "hidden", tensors).args(["--mode", "clear", "--tokens", count]), what);
    }
}

/// All heads and the output projection, in both circuits and every mode: the same names, an output of the embedding's size.
#[test]
fn all_heads_run_in_both_circuits() {
    let files = Files::new();
    let out = files.path("out");
    for (circuit, bits) in [("packed", "8"), ("exact", "3")] {
        for mode in ["clear", "simulate", "execute"] {
            let mut command = files.command("head", "hidden", "input");
            command.args([
                "--all-heads",
                "--circuit",
                circuit,
                "--bits",
                bits,
                "--mode",
                mode,
                "--seed",
                "3",
                "--force",
            ]);
            let run = json(command.arg("--out").arg(&out));
            let missing: Vec<_> = HEAD_KEYS.iter().filter(|key| !keys(&run).contains(&key.to_string())).collect();
            assert!(missing.is_empty(), "{circuit} {mode}: {missing:?}");
            assert_eq!((&run["heads"], &run["head"], &run["matches_clear"]), (&2.into(), &Value::Null, &true.into()));
            assert_eq!(Checkpoint::open(&out).unwrap().shape("head_out"), Some(&[TOKENS, SIZE][..]));
        }
        let mut command = files.command("circuit", "hidden", "input");
        assert!(
            success(command.args(["--all-heads", "--circuit", circuit, "--bits", bits])).contains("All 2 attention")
        );
    }
    let mut command = program();
    command.args(["head", "--n-head", "2", "--tensor", "input", "--all-heads", "--circuit", "packed", "--attention"]);
    command.arg(files.path("heads")).arg("--hidden").arg(files.path("hidden"));
    assert_error(&mut command, "c_proj");
}

/// An input ten times as large as those of the calibration: an error where it is encrypted or simulated, which leaves no file; counted in
/// the clear, and where it is allowed.
#[test]
fn an_input_of_another_kind_is_an_error() {
    let files = Files::new();
    for factor in [10.0, 1e4] {
        files.write("far", &[("input", &tensor(&[TOKENS, SIZE], |index| factor * (1.3 * index as f32).cos()))]);
        for circuit in ["packed", "exact"] {
            let command = || {
                let mut command = files.command("head", "far", "input");
                command.args(["--circuit", circuit, "--all-heads", "--seed", "1", "--calibration"]);
                command.arg(files.path("hidden")).args(["--calibration-tensors", "input,other"]);
                command
            };
            let out = files.path("out");
            assert_error(command().args(["--mode", "simulate", "--out"]).arg(&out), "--allow-out-of-range");
            assert!(!out.exists());
            for arguments in [&["--mode", "clear"][..], &["--mode", "simulate", "--allow-out-of-range"]] {
                let report = json(command().args(arguments));
                assert!(report["saturated"].as_u64().unwrap() > 0, "{report}");
                // Near to what is wrong is not near.
                let is_wrong = circuit == "packed" && report["mode"] == "simulate" && report["out_of_range"] != 0;
                assert!(!is_wrong || report["matches_clear"] == false, "{report}");
            }
        }
    }
    let packed = ["--circuit", "packed", "--mode", "simulate", "--seed", "1"];
    let report = json(files.command("head", "hidden", "input").args(packed));
    assert_eq!((&report["saturated"], &report["out_of_range"]), (&0.into(), &0.into()));
}

/// What a failure is, and what not, is said where its probability is.
#[test]
fn the_meaning_of_failure_is_said_where_it_is_printed() {
    let files = Files::new();
    for circuit in ["packed", "exact"] {
        for (name, more) in [("circuit", &[][..]), ("head", &["--mode", "simulate"])] {
            let text = success(files.command(name, "hidden", "input").args(["--circuit", circuit]).args(more));
            assert!(text.contains(gpt2_fhe::run::FAILURE_MEANING), "{text}");
        }
    }
}
