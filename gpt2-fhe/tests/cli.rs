//! The program as its users run it: what it prints, and what it says of bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nn::checkpoint::{Checkpoint, write_tensors};
use nn::tensor::Tensor;
use serde_json::Value;

/// The size of an embedding of the test's model; with 2 heads, heads of size 8.
const SIZE: usize = 16;
/// The tokens of its input.
const TOKENS: usize = 2;

/// Files of a small model and its input, in a folder that goes away with this value.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let weight = tensor(&[SIZE, 3 * SIZE], |index| (0.7 * index as f32).sin());
        let bias = tensor(&[3 * SIZE], |index| 0.1 * (index as f32).cos());
        let positions = tensor(&[4, SIZE], |_| 0.0);
        let projections = [("h.0.attn.c_attn.weight", &weight), ("h.0.attn.c_attn.bias", &bias)];
        files.write("heads", &[&projections[..], &[("wpe.weight", &positions)]].concat());
        let (weight, bias) = (tensor(&[SIZE, SIZE], |index| (0.3 * index as f32).cos()), tensor(&[SIZE], |_| 0.2));
        let output = [("h.0.attn.c_proj.weight", &weight), ("h.0.attn.c_proj.bias", &bias)];
        files.write("attention", &[&projections[..], &output, &[("wpe.weight", &positions)]].concat());
        let hidden = |rows| tensor(&[rows, SIZE], |index| (1.3 * index as f32).cos());
        let mut not_a_number = hidden(TOKENS).into_data();
        not_a_number[3] = f32::NAN;
        files.write(
            "hidden",
            &[
                ("input", &hidden(TOKENS)),
                ("other", &hidden(3)),
                ("none", &tensor(&[0, SIZE], |_| 0.0)),
                ("long", &hidden(5)),
                ("narrow", &tensor(&[TOKENS, SIZE / 2], |_| 1.0)),
                ("cube", &tensor(&[1, TOKENS, SIZE], |_| 1.0)),
                ("nan", &Tensor::new(vec![TOKENS, SIZE], not_a_number).unwrap()),
            ],
        );
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, tensors: &[(&str, &Tensor)]) {
        write_tensors(&self.path(name), tensors, &[]).expect("a file of tensors");
    }

    /// The command `name` on the model, with the tensor `tensor` of the file `hidden`.
    fn command(&self, name: &str, hidden: &str, tensor: &str) -> Command {
        let mut command = program();
        command.arg(name).arg("--attention").arg(self.path("attention")).args(["--n-head", "2"]);
        command.arg("--hidden").arg(self.path(hidden)).args(["--tensor", tensor]);
        command
    }
}

fn tensor(shape: &[usize], entry: impl Fn(usize) -> f32) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::new(shape.to_vec(), (0..count).map(entry).collect()).expect("as many entries as the shape has")
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gpt2-fhe"))
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the program can be started")
}

/// Standard output of a run that succeeds.
fn success(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = output(command);
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {stderr}");
    assert_eq!(stderr, "", "{command:?}");
    String::from_utf8(stdout).expect("UTF-8")
}

fn json(command: &mut Command) -> Value {
    let text = success(command.arg("--json"));
    assert_eq!(text.lines().count(), 1);
    serde_json::from_str(&text).expect("one JSON object")
}

/// Asserts that a run ends with code 1, nothing on standard output, and one line that says `what`.
fn assert_error(command: &mut Command, what: &str) {
    let Output { status, stdout, stderr } = output(command);
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{command:?}: {stderr}");
    assert!(stdout.is_empty(), "{command:?}");
    let is_one_line = stderr.lines().count() == 1 && stderr.starts_with("error: ") && !stderr.contains("panicked");
    assert!(is_one_line && stderr.contains(what), "{command:?}: {stderr:?} without {what:?}");
}

/// The keys of an object, dots between the levels.
fn keys(value: &Value) -> Vec<String> {
    let Value::Object(object) = value else { return Vec::new() };
    let inner = |(key, value): (&String, &Value)| {
        let inner = keys(value).into_iter().map(|inner| format!("{key}.{inner}")).collect::<Vec<_>>();
        std::iter::once(key.clone()).chain(inner).collect::<Vec<_>>()
    };
    object.iter().flat_map(inner).collect()
}

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
        let report = json(files.command("head", "hidden", "input").args(["--mode", mode, "--seed", "1"]));
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
    success(files.command("head", "hidden", "input").args(["--bits", "2", "--mode", "clear", "--out"]).arg(&clear));
    let expected = Checkpoint::open(clear).unwrap().matrix("head_out", TOKENS, SIZE / 2).unwrap();
    for multiply in ["product", "lut"] {
        let out = files.path(multiply);
        let arguments = ["--bits", "2", "--multiply", multiply];
        let mut command = files.command("head", "hidden", "input");
        let report = json(command.args(arguments).args(["--threads", "2", "--seed", "7", "--out"]).arg(&out));
        let found = keys(&report);
        assert!(HEAD_KEYS.iter().all(|key| found.iter().any(|other| other == key)), "{found:?}");
        assert_eq!((&report["matches_clear"], &report["mismatches"]), (&true.into(), &0.into()));
        assert_eq!(report["threads"], 2);
        assert_eq!(report["external_products"], report["pbs"].as_u64().unwrap() * 902);
        let output = Checkpoint::open(out).unwrap().matrix("head_out", TOKENS, SIZE / 2).unwrap();
        assert_eq!(output, expected);

        let circuit = json(files.command("circuit", "hidden", "input").args(arguments));
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
    let command = |name| {
        let mut command = files.command(name, "hidden", "other");
        command.args(["--circuit", "packed"]);
        command
    };
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
        (&["--bits", "9"][..], "in 4 ..= 8"),
        (&["--bits", "3"], "in 4 ..= 8"),
        (&["--value-bits", "9"], "in 4 ..= 8"),
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
    let circuit = json(&mut files.command("circuit", "hidden", "input"));
    let steps = circuit["steps"].as_array().expect("steps");
    for &step in nn::head::steps::of(nn::attention::Part::Head(0)) {
        assert!(steps.iter().any(|other| other["name"] == step), "{step} is not in {circuit}");
    }
    let sum = |key: &str| steps.iter().map(|step| step[key].as_u64().unwrap()).sum::<u64>();
    for key in ["lookups", "pbs", "key_switches", "tensor_products"] {
        assert_eq!(sum(key), circuit[key].as_u64().unwrap(), "{key}");
    }
    assert!(circuit["security_bits"].as_f64().unwrap() >= 128.0);
    assert!(circuit["log2_failure_probability"].as_f64().unwrap() <= -40.0);

    let text = success(&mut files.command("circuit", "hidden", "input"));
    for word in ["Attention head 0 of 2", "head_exact", "query key value", "total", "evaluation keys"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
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
        ("integers", "input", "f32, f16 or bf16 is needed"),
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
        assert_error(files.command("head", "hidden", "input").args(arguments), what);
        assert_error(files.command("circuit", "hidden", "input").args(arguments), what);
    }
    for threads in ["0", "257", "99999999999"] {
        assert_error(files.command("head", "hidden", "input").args(["--threads", threads]), "1 ..= 256");
    }
    assert_error(files.command("head", "hidden", "input").env("TFHE_BACKEND", "abacus"), "unknown backend");
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
    let count = || std::fs::read_dir(folder).unwrap().count();
    let before = count();
    assert_error(files.command("head", "hidden", "nan").arg("--out").arg(&out), "NaN");
    assert_eq!((std::fs::read(&out).unwrap(), count()), (b"before".to_vec(), before));
    success(files.command("head", "hidden", "input").args(["--mode", "clear", "--out"]).arg(&out));
    assert_eq!((Checkpoint::open(&out).unwrap().names(), count()), (vec!["head_out".to_owned()], before));
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
            command.args(["--all-heads", "--circuit", circuit, "--bits", bits, "--mode", mode, "--seed", "3", "--out"]);
            let run = json(command.arg(&out));
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

#[test]
fn generate_streams_tokens_with_what_they_cost() {
    let arguments = ["generate", "--prompt", "My lord", "--tokens", "2", "--layers", "0,2"];
    let text = success(program().args(arguments).args(["--head", "1", "--seed", "3"]));
    for word in ["encrypted", "head 1 of layers 0, 2", "on the server", "PBS", "for all of it", "\nMy lord"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    let sampled = |seed: &str| {
        let sampling = ["--mode", "simulate", "--temperature", "2", "--top-k", "50", "--sample-seed", seed, "--json"];
        let text = success(program().args(arguments).args(sampling).args(["--seed", "3"]));
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 3);
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
        (&["--head", "7"], "less than the number of heads, 3"),
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
        (&["--bits", "12"], "in 4 ..= 8"),
        (&["--circuit", "exact", "--bits", "12"], "in 2 ..= 11"),
        (&["--model", "absent"], "cannot read absent"),
    ] {
        assert_error(program().arg("demo").args(arguments), what);
    }
    std::fs::write(files.path("config.json"), b"{}").unwrap();
    assert_error(program().arg("demo").arg("--model").arg(files.folder.path()), "not the configuration of a GPT-2");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let files = Files::new();
    let mut command = files.command("head", "hidden", "input");
    let mut child = command.args(["--mode", "clear"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn ctrl_c_stops_the_work_and_leaves_no_file() {
    if !cfg!(target_os = "linux") || !Path::new("/bin/kill").exists() {
        println!("skipped: sends SIGINT by /bin/kill");
        return;
    }
    let files = Files::new();
    let before = std::fs::read_dir(files.folder.path()).unwrap().count();
    let mut command = files.command("head", "hidden", "other");
    command.args(["--bits", "6", "--seed", "1", "--out"]).arg(files.path("out"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Once the new file is there, the handler has been installed, and seconds of work follow.
    while std::fs::read_dir(files.folder.path()).unwrap().count() == before {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("/bin/kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!((status.code(), stdout.len()), (Some(130), 0), "{stderr}");
    assert!(stderr.starts_with("stopped") && stderr.lines().count() == 1, "{stderr}");
    assert_eq!(std::fs::read_dir(files.folder.path()).unwrap().count(), before);
}

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
        let report = json(command.args(part).args(circuit));
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
        ("input", &["client"], &[], "the server's half is missing"),
        ("input", &["server"], &[], "the client's half is missing"),
        ("input", &["server", "client"], &[], "the fingerprint of a half"),
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
        command.arg("--out").arg(files.path("out"));
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
