//! `block`, `plan`, and what `generate` and `evaluate` do with `--encrypt`.

use nn::block::Ending;

use super::generate::folder_with;
use super::*;

/// The size of the feed-forward layer.
const INNER: usize = 24;

const RUN_KEYS: [&str; 19] = [
    "mode",
    "part",
    "layer",
    "tokens",
    "heads",
    "lookups",
    "pbs",
    "key_switches",
    "external_products",
    "seconds.keygen",
    "seconds.evaluate",
    "bytes.request",
    "relative_error",
    "clear_relative_error",
    "matches_clear",
    "mismatches",
    "out_of_range",
    "security_bits",
    "log2_failure_probability",
];

impl Files {
    /// Adds the file `block`, with all weights of layer 0, but those whose names begin with `without`.
    pub(super) fn with_block(self, without: &str) -> Self {
        let near = |around: f32| move |index: usize| around + 0.1 * (1.7 * index as f32).sin();
        let weights = |scale: f32| move |index: usize| scale * (0.7 * (index * index % 101) as f32).sin();
        let tensors = [
            ("h.0.ln_1.weight", tensor(&[SIZE], near(1.0))),
            ("h.0.ln_1.bias", tensor(&[SIZE], near(0.0))),
            ("h.0.attn.c_attn.weight", tensor(&[SIZE, 3 * SIZE], weights(0.5))),
            ("h.0.attn.c_attn.bias", tensor(&[3 * SIZE], near(0.0))),
            ("h.0.attn.c_proj.weight", tensor(&[SIZE, SIZE], weights(0.3))),
            ("h.0.attn.c_proj.bias", tensor(&[SIZE], near(0.0))),
            ("h.0.ln_2.weight", tensor(&[SIZE], near(1.0))),
            ("h.0.ln_2.bias", tensor(&[SIZE], near(0.0))),
            ("h.0.mlp.c_fc.weight", tensor(&[SIZE, INNER], weights(0.4))),
            ("h.0.mlp.c_fc.bias", tensor(&[INNER], near(0.0))),
            ("h.0.mlp.c_proj.weight", tensor(&[INNER, SIZE], weights(0.4))),
            ("h.0.mlp.c_proj.bias", tensor(&[SIZE], near(0.0))),
        ];
        let there = |(name, _): &&(&str, Tensor)| without.is_empty() || !name.starts_with(without);
        let tensors: Vec<(&str, &Tensor)> =
            tensors.iter().filter(there).map(|(name, tensor)| (*name, tensor)).collect();
        self.write("block", &tensors);
        // Rows of different lengths.
        let state = |index: usize| (1.0 + (index / SIZE) as f32 / 8.0) * (1.3 * index as f32).cos();
        self.write("states", &[("examples", &tensor(&[12, SIZE], state)), ("input", &tensor(&[TOKENS, SIZE], state))]);
        self
    }

    /// The command `block` on a tensor of a file, calibrated on others.
    fn block(&self, file: &str, tensor: &str) -> Command {
        self.on_block("block", file, tensor)
    }

    /// The same of any command.
    pub(super) fn on_block(&self, name: &str, file: &str, tensor: &str) -> Command {
        let mut command = program();
        command.arg(name).arg("--weights").arg(self.path("block")).args(["--n-head", "2", "--tensor", tensor]);
        command.arg("--hidden").arg(self.path(file)).arg("--calibration").arg(self.path("states"));
        command.args(["--calibration-tensors", "examples"]);
        command
    }
}

#[test]
fn a_block_has_the_same_names_in_every_mode_and_part() {
    let files = Files::new().with_block("");
    for (part, mode) in [("whole", "clear"), ("attention", "clear"), ("mlp", "clear"), ("mlp", "simulate")] {
        let report = json(files.block("states", "input").args(["--mode", mode, "--part", part, "--seed", "1"]));
        assert_keys(&report, &RUN_KEYS);
        assert_eq!((&report["type"], &report["part"], &report["tokens"]), (&"block".into(), &part.into(), &2.into()));
        assert_eq!(report["matches_clear"], Value::Bool(true), "{report}");
        assert_eq!((report["pbs"].is_null(), report["seconds"]["keygen"].is_null()), (mode == "clear", true));
        let error = report["clear_relative_error"].as_f64().unwrap();
        assert!(error > 0.0 && error < 0.05, "{part}: {error}");
    }
    let text = success(files.block("states", "input").args(["--mode", "simulate", "--part", "mlp"]));
    for word in ["The feed-forward layer of block 0", "packed_block", "by gadget", "as near to the clear engine's"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

/// The output is the clear run's, but for the noise that simulations have as well.
#[test]
fn a_part_of_a_block_runs_encrypted() {
    let files = Files::new().with_block("");
    let run = |mode: &str| {
        let out = files.path(mode);
        let report = json(
            files.block("states", "input").args(["--mode", mode, "--part", "mlp", "--seed", "7", "--out"]).arg(&out),
        );
        (report, Checkpoint::open(out).unwrap().matrix("block_out", TOKENS, SIZE).unwrap())
    };
    let ((executed, output), (simulated, _), (_, expected)) = (run("execute"), run("simulate"), run("clear"));
    assert_keys(&executed, &RUN_KEYS);
    assert_eq!((&executed["matches_clear"], &executed["mismatches"]), (&true.into(), &0.into()));
    for key in ["lookups", "pbs", "pbs_by_gadget", "key_switches", "external_products", "parameters"] {
        assert_eq!(executed[key], simulated[key], "{key}");
    }
    assert!(executed["bytes"]["request"].as_u64().unwrap() > 0 && executed["security_bits"].as_f64().unwrap() > 128.0);
    let errors = [&executed, &simulated].map(|report| report["relative_error"].as_f64().unwrap());
    assert!(errors[0] < 4.0 * errors[1] && errors[1] < 4.0 * errors[0], "{errors:?}");
    assert_ne!(output, expected);
}

#[test]
fn bad_blocks_are_refused_in_words() {
    let files = Files::new().with_block("");
    for (tensor, arguments, what) in [
        ("narrow", &[][..], "[tokens, 16] is needed"),
        ("absent", &[], "absent"),
        ("nan", &[], "finite"),
        ("input", &["--tokens", "3"], "has 2 rows"),
        ("input", &["--layer", "1"], "h.1."),
        ("input", &["--n-head", "3"], "3"),
    ] {
        let mut command = files.block("hidden", tensor);
        command.args(["--mode", "clear"]);
        if arguments.first() == Some(&"--n-head") {
            command = program();
            command.arg("block").arg("--weights").arg(files.path("block")).arg("--hidden").arg(files.path("hidden"));
            command.args(["--tensor", tensor, "--mode", "clear"]);
        }
        assert_error(command.args(arguments), what);
    }
    assert_eq!(output(files.block("hidden", "input").args(["--part", "half"])).status.code(), Some(2));
    for missing in ["h.0.ln_2.weight", "h.0.attn.c_proj", "h.0.mlp.c_fc.bias"] {
        let files = Files::new().with_block(missing);
        assert_error(files.block("hidden", "input").args(["--mode", "clear"]), missing);
    }
    let count = files.count();
    let mut wrong = files.block("hidden", "narrow");
    assert_error(wrong.args(["--mode", "clear", "--out"]).arg(files.path("out")), "[tokens, 16] is needed");
    assert_eq!(files.count(), count);
}

/// On ciphertexts each operation is as far from the clear engine as in simulations.
#[test]
fn a_noise_table_has_every_site_of_an_encrypted_block_within_the_spread_of_simulations() {
    let files = Files::new().with_block("");
    let report = json(files.block("states", "input").args(["--noise-table", "--mode", "execute", "--seed", "3"]));
    assert_eq!(
        (&report["type"], &report["simulations"], &report["out_of_range"]),
        (&"noise_table".into(), &32.into(), &0.into())
    );
    let sites = report["sites"].as_array().unwrap();
    // Scores are so near to each other that no exponent is clipped.
    for &step in nn::block::steps::of(Ending::Stream).iter().filter(|&&step| step != nn::block::steps::CLIP) {
        assert!(sites.iter().any(|site| site["step"] == step), "{step} is not in {report}");
    }
    for site in sites {
        let number = |key: &str| site[key].as_f64();
        let (measured, simulated) = (number("measured_error").unwrap(), number("simulated_error").unwrap());
        match (site["unit"].as_str().unwrap(), number("simulated_spread")) {
            // A normal number is that far off its mean with a probability of 2^-20; predictions of operations are within 10 %.
            ("turns", Some(spread)) => {
                let off = (measured / simulated).ln().abs();
                assert!(off <= 5.0 * spread + 1.1_f64.ln(), "{site}");
                assert_eq!(number("measured_by_simulated"), Some(measured / simulated));
            }
            // Most integers are what they are in the clear, and none is far off: the root mean square is at most that of the largest.
            ("ones", _) => assert!(measured <= 8.0 * simulated + 1.0, "{site}"),
            other => panic!("{other:?}: {site}"),
        }
        assert_eq!(number("predicted_noise").is_none(), site["unit"] == "ones", "{site}");
    }
    assert!(report.get("operations").is_none());
}

#[test]
fn a_block_stops_after_a_step_and_shows_it() {
    let files = Files::new().with_block("");
    for mode in ["clear", "simulate", "execute"] {
        let out = files.path(&format!("{mode}.out"));
        let mut command = files.block("states", "input");
        // Of the second LayerNorm: the first one's variance is sent.
        command.args(["--stop-after", "squares", "--mode", mode, "--seed", "1", "--out"]).arg(&out);
        let report = json(&mut command);
        assert_eq!((&report["type"], &report["stop_after"]), (&"step".into(), &"squares".into()));
        let [operation] = &report["operations"].as_array().unwrap()[..] else { panic!("{report}") };
        assert_eq!(operation["count"], TOKENS * SIZE, "{report}");
        let numbers = |key: &str| -> Vec<f64> {
            operation[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let written = Checkpoint::open(&out).unwrap();
        let clear = written.any_matrix("0.squares.lookups.clear").unwrap();
        let pairs = clear.iter().zip(numbers("clear_numbers"));
        assert!(pairs.into_iter().all(|(&written, reported)| written == reported as f32));
        assert_eq!(written.names().len(), if mode == "clear" { 1 } else { 2 });
        assert_eq!(operation["numbers"].is_null(), mode == "clear");
        if mode != "clear" {
            let squares = numbers("numbers").into_iter().zip(numbers("clear_numbers")).map(|(a, b)| (a - b).powi(2));
            let error = (squares.sum::<f64>() / (TOKENS * SIZE) as f64).sqrt();
            let measured = report["sites"][0]["measured_error"].as_f64().unwrap();
            assert!(error > 0.0 && (error / measured - 1.0).abs() < 1e-9, "{error} {measured}");
        }
    }
    let text = success(files.block("states", "input").args(["--stop-after", "attention-update", "--mode", "simulate"]));
    for word in ["attention update: 1 operation", "ratio", "spread", "row 0, number 3", "difference"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

/// What multiplies is shown as integers.
#[test]
fn integers_are_decrypted_as_integers() {
    let files = Files::new().with_block("");
    let report =
        json(files.block("states", "input").args(["--stop-after", "keys", "--mode", "execute", "--seed", "5"]));
    let [operation] = &report["operations"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&operation["operation"], &operation["count"]), (&"looked-up integers".into(), &(TOKENS * SIZE).into()));
    let pairs = operation["numbers"].as_array().unwrap().iter().zip(operation["clear_numbers"].as_array().unwrap());
    // Reading has a standard deviation of nearly one here, 0.8 to 0.9 over ten seeds.
    let (mut largest, mut squares) = (0.0_f64, 0.0);
    for (number, clear) in pairs {
        let (number, clear) = (number.as_f64().unwrap(), clear.as_f64().unwrap());
        assert!(number.fract() == 0.0 && (number - clear).abs() <= 5.0, "{number} for {clear}");
        largest = largest.max(clear.abs());
        squares += (number - clear).powi(2);
    }
    let error = (squares / (TOKENS * SIZE) as f64).sqrt();
    assert!(error < 1.5, "{error}");
    assert!(largest > 16.0, "keys of 6 bits: {largest}");
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let files = Files::new().with_block("");
    let block = |arguments: &[&str]| {
        let mut command = files.block("states", "input");
        command.args(arguments);
        command
    };
    let wrong = output(&mut block(&["--stop-after", "squaring"]));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        wrong.status.code() == Some(2) && said.contains("squares, norm") && said.contains("feed-forward-update"),
        "{said}"
    );
    assert_eq!(output(&mut block(&["--stop-after", "norm", "--noise-table"])).status.code(), Some(2));
    assert_error_of(2, &mut block(&["--noise-table", "--mode", "clear"]), "--mode clear has none of");
    let mut absent = block(&["--stop-after", "scores", "--part", "mlp", "--mode", "clear", "--out"]);
    let count = files.count();
    assert_error_of(2, absent.arg(files.path("absent")), "no such step");
    assert_eq!(files.count(), count);
}

#[test]
fn generate_encrypts_what_it_is_told() {
    let generate = |encrypt: &str, mode: &str| {
        let mut command = program();
        command.args(["generate", "--prompt", "Good night, good", "--tokens", "2", "--mode", mode, "--seed", "2"]);
        command.args(["--encrypt", encrypt]);
        command
    };
    for (encrypt, what) in [
        ("model", "all 3 blocks, quantized"),
        ("blocks:1-2", "blocks 1 to 2"),
        ("blocks:0", "block 0"),
        ("attention", "the attention of blocks 0, 1, 2"),
        ("mlp", "the feed-forward layer of blocks 0, 1, 2"),
    ] {
        let (text, notes) = outputs(&mut generate(encrypt, "clear"));
        assert!(text.starts_with("Good night, good night") && notes.contains(what), "{encrypt}: {text} {notes}");
    }
    // A public token before the prompt changes what the model sees.
    let (text, _) = outputs(generate("model", "clear").arg("--public-start"));
    assert!(text.starts_with("Good night, good"), "{text}");
    let lines = json_lines(generate("mlp", "simulate").args(["--layers", "1", "--allow-out-of-range"]));
    let types: Vec<&Value> = lines.iter().map(|line| &line["type"]).collect();
    assert_eq!(types, ["token", "token", "generation"]);
    // The prompt has five tokens, and what follows it one: the server keeps the others'.
    let pbs = |line: usize| lines[line]["pbs"].as_u64().unwrap();
    assert!(pbs(1) > 0 && pbs(0) == 5 * pbs(1) && pbs(2) == pbs(0) + pbs(1), "{lines:?}");
    assert!(lines[2]["log2_failure_probability"].as_f64().unwrap() <= -40.0);
}

/// A model that ends on the server says what it says where the client goes on, and sends one row of logits back.
#[test]
fn logits_are_computed_on_the_server_if_it_is_asked_for() {
    let generate = |arguments: &[&str]| {
        let mut command = program();
        command.args(["generate", "--prompt", "My lord, I", "--tokens", "2", "--seed", "2"]).args(arguments);
        command
    };
    for encrypt in ["model", "blocks:2"] {
        let arguments = ["--encrypt", encrypt, "--head-on-server", "--mode", "clear"];
        let (text, notes) = outputs(&mut generate(&arguments));
        assert!(text.starts_with("My lord, I'll"), "{encrypt}: {text}");
        assert!(notes.contains("the final LayerNorm and the logits"), "{encrypt}: {notes}");
    }
    let lines = json_lines(&mut generate(&["--encrypt", "blocks:2", "--head-on-server", "--mode", "simulate"]));
    assert!(lines[2]["mismatches"] == 0 && lines[2]["out_of_range"] == 0, "{lines:?}");
    let plan = |arguments: &[&str]| json(program().args(["plan", "--encrypt", "blocks:2"]).args(arguments));
    let [with, without] = [&["--head-on-server"][..], &[]].map(plan);
    assert_eq!((&with["ending"], &without["ending"]), (&"logits".into(), &"last_state".into()));
    // 1024 logits, 128 to a ciphertext: a mask, and as many coefficients of a body, of 20 bits each; and what a message
    // has besides.
    assert_eq!(
        (&with["bytes"]["response"], &with["bytes"]["request"]),
        (&(260 + 8 * (4096 + 128) * 20 / 8).into(), &without["bytes"]["request"])
    );
    let steps = |plan: &Value| -> Vec<String> {
        plan["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap().into()).collect()
    };
    // Before the program's steps, a request is taken apart.
    assert_eq!(
        [&with, &without].map(|plan| steps(plan).len()),
        // With the last hidden state, the one block's update is not looked up.
        [1 + nn::block::steps::of(Ending::Logits).len(), nn::block::steps::of(Ending::LastState).len()]
    );
    let ends = [&with, &without].map(|plan| steps(plan).pop().unwrap());
    assert_eq!(ends, [nn::block::steps::LOGITS, nn::block::steps::LAST_STATE]);
    // For logits squares, a factor, and the update, which is mapped. Either is less than half of an earlier block: the last block's
    // queries, softmax and feed-forward layer are those of the last token only.
    let [with_one, one] = [&["--tokens", "1", "--head-on-server"][..], &["--tokens", "1"]].map(plan);
    let earlier = json(program().args(["plan", "--encrypt", "blocks:1"]));
    assert_eq!(earlier["ending"], "stream");
    let lookups = |plan: &Value| plan["lookups"].as_u64().unwrap();
    let more = 128 + 1 + 129;
    assert_eq!([lookups(&with_one) - lookups(&one), lookups(&with) - lookups(&without)], [more; 2]);
    assert!(2 * lookups(&with) < lookups(&earlier), "{} {}", lookups(&with), lookups(&earlier));
    for (arguments, code, what) in [
        (&["--encrypt", "blocks:0-1"][..], 1, "choose --encrypt blocks:0-2 or model"),
        (&["--encrypt", "mlp"], 2, "--head-on-server is not for --encrypt mlp"),
        (&["--encrypt", "attention"], 2, "--head-on-server is not for --encrypt attention"),
        (&[], 2, "--head-on-server changes nothing with --encrypt heads"),
    ] {
        assert_error_of(code, generate(&["--head-on-server", "--mode", "clear"]).args(arguments), what);
    }
    assert_error_of(2, program().args(["plan", "--encrypt", "mlp", "--head-on-server"]), "is not for --encrypt mlp");
    assert_error(program().args(["plan", "--encrypt", "blocks:0", "--head-on-server"]), "blocks:0-2 or model");
}

#[test]
fn options_that_blocks_do_not_know_are_errors() {
    let generate = |arguments: &[&str]| {
        let mut command = program();
        command.args(["generate", "--prompt", "My lord", "--mode", "clear"]).args(arguments);
        command
    };
    for option in [["--head", "1"], ["--circuit", "exact"], ["--bits", "4"], ["--guard", "2"], ["--layers", "1"]] {
        let mut command = generate(&["--encrypt", "model"]);
        assert_error_of(2, command.args(option), &format!("{} is not for --encrypt model", option[0]));
    }
    assert_error(&mut generate(&["--encrypt", "blocks:1-3"]), "the model has blocks 0 to 2");
    assert_error(&mut generate(&["--encrypt", "mlp", "--layers", "5"]), "the model has layers 0 to 2");
    assert_error_of(2, &mut generate(&["--public-start"]), "--public-start changes nothing with --encrypt heads");
    for wrong in ["blocks:2-1", "blocks:", "block", "blocks:a-b"] {
        let output = output(&mut generate(&["--encrypt", wrong]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("blocks:0-2"), "{wrong}: {said}");
    }
    assert_error_of(2, program().args(["plan", "--encrypt", "heads"]), "is what `circuit` shows");
}

#[test]
fn an_activation_that_no_lookup_halves_is_refused() {
    let embedded = include_str!("../../../models/embedded/config.json");
    for name in ["sigmoid", "relu2"] {
        let folder = folder_with("config.json", &embedded.replace("gelu_new", name));
        let mut command = program();
        command.args(["generate", "--prompt", "My lord", "--mode", "clear", "--encrypt", "mlp", "--model"]);
        assert_error(command.arg(folder.path()), "the activation of an encrypted feed-forward layer");
    }
}

#[test]
fn a_plan_has_every_step() {
    let plan = |arguments: &[&str]| json(program().args(["plan", "--encrypt", "blocks:0"]).args(arguments));
    let (first, next) = (plan(&["--tokens", "4"]), plan(&["--tokens", "1", "--earlier", "4"]));
    let names: Vec<&str> =
        first["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert!(nn::block::steps::of(Ending::Stream).iter().all(|step| names.contains(step)), "{names:?}");
    for plan in [&first, &next] {
        let steps = plan["steps"].as_array().unwrap();
        let sum: u64 = steps.iter().map(|step| step["pbs"].as_u64().unwrap()).sum();
        assert_eq!(plan["pbs"], sum);
        // Null where nothing is read, and of gates, which nothing carries out of their turn.
        let has_none = |step: &&Value| step["headroom"].is_null();
        let without: Vec<&str> = steps.iter().filter(has_none).map(|step| step["name"].as_str().unwrap()).collect();
        use nn::block::steps::{ACTIVATION, CONTRACT, PROJECT, SCORES, WEIGH};
        assert_eq!(without, ["expansion", PROJECT, SCORES, WEIGH, ACTIVATION, CONTRACT]);
        assert!(plan["security_bits"].as_f64().unwrap() > 128.0 && plan["is_reliable"].is_boolean());
    }
    // Its softmax has more entries than the first token's, and less than those of four.
    let pbs = |plan: &Value| plan["pbs"].as_u64().unwrap();
    assert!(pbs(&next) < pbs(&first) && pbs(&plan(&["--tokens", "1"])) < pbs(&next));
    let timed = plan(&["--tokens", "4", "--pbs-ms", "1,0,1000"]);
    let [coarse, finer] = ["0", "2"].map(|gadget| first["pbs_by_gadget"][gadget].as_f64().unwrap());
    let seconds = timed["pbs_seconds"].as_f64().unwrap();
    assert!((seconds - coarse / 1000.0 - finer).abs() < 1e-9 && first["pbs_seconds"].is_null(), "{seconds}");
    for wrong in ["1,2", "1,2,3,4", "1,2,-3", "1,2,nan"] {
        assert_error(program().args(["plan", "--pbs-ms", wrong]), "3 numbers of milliseconds are needed");
    }
    assert_error(program().args(["plan", "--tokens", "60", "--earlier", "5"]), "64 positions");
    let text = success(program().args(["plan", "--encrypt", "mlp", "--layers", "2"]));
    for word in ["the feed-forward layer of block 2", "PBS 2", "total", "evaluation keys", "failure"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn a_plan_of_files_is_that_of_the_block_that_runs() {
    let files = Files::new().with_block("");
    for part in ["whole", "mlp"] {
        let arguments = ["--part", part, "--tokens", "1"];
        let plan = json(files.on_block("plan", "states", "input").args(arguments));
        let run = json(files.block("states", "input").args(arguments).args(["--mode", "simulate", "--seed", "1"]));
        for key in [
            "tokens",
            "part",
            "lookups",
            "pbs",
            "pbs_by_gadget",
            "key_switches",
            "automorphisms",
            "external_products",
            "security_bits",
            "log2_failure_probability",
            "parameters",
        ] {
            assert_eq!(plan[key], run[key], "{part} {key}");
        }
        assert!(plan["encrypt"].is_null() && plan["time"].is_null() && plan["pbs_seconds"].is_null());
    }
    let text = success(&mut files.on_block("plan", "states", "input"));
    for word in ["Of a block of", "2 new tokens after 0 tokens", "1/32 of a turn"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    for option in [["--encrypt", "mlp"], ["--layers", "0"], ["--earlier", "1"], ["--model", "."]] {
        assert_eq!(output(files.on_block("plan", "states", "input").args(option)).status.code(), Some(2), "{option:?}");
    }
    for option in ["--hidden", "--tensor", "--calibration"] {
        let what = format!("{option} is for a block from files");
        assert_error_of(2, program().args(["plan", option, "states"]), &what);
    }
    for option in [["--layer", "0"], ["--part", "mlp"]] {
        assert_eq!(output(program().arg("plan").args(option)).status.code(), Some(2), "{option:?}");
    }
    assert_error(&mut files.on_block("plan", "hidden", "narrow"), "[tokens, 16] is needed");
}

#[test]
fn times_of_a_plan_are_counts_times_those_of_operations() {
    let files = Files::new().with_block("");
    let plan = |arguments: &[&str]| json(files.on_block("plan", "states", "input").args(arguments));
    let timed = plan(&["--pbs-ms", "1,2,3", "--cores", "1,3,100000"]);
    let waited = |cores: u64| -> f64 {
        let steps = timed["steps"].as_array().unwrap().iter();
        let counts = steps.flat_map(|step| step["pbs_by_gadget"].as_object().into_iter().flatten());
        counts
            .map(|(gadget, count)| {
                count.as_u64().unwrap().div_ceil(cores) as f64 * (gadget.parse::<f64>().unwrap() + 1.0) / 1000.0
            })
            .sum()
    };
    let time = &timed["time"];
    for (index, cores) in [1, 3, 100_000].into_iter().enumerate() {
        let on = &time["cores"][index];
        assert_eq!(on["cores"], cores);
        assert!((on["seconds"].as_f64().unwrap() - waited(cores)).abs() < 1e-9, "{cores}: {on}");
        let of_steps = time["steps"].as_array().unwrap().iter().map(|step| step["on_cores"][index].as_f64().unwrap());
        assert!((of_steps.sum::<f64>() - waited(cores)).abs() < 1e-9);
    }
    let [seconds, of_pbs] = [&time["seconds"], &timed["pbs_seconds"]].map(|seconds| seconds.as_f64().unwrap());
    assert!((seconds - of_pbs).abs() < 1e-9, "{seconds} {of_pbs}");
    assert!(waited(3) < 0.5 * waited(1) && waited(100_000) < 0.5 * waited(3));
    let mut refused = files.on_block("plan", "states", "input");
    assert_error_of(2, refused.args(["--cores", "4"]), "--cores needs times");
    let wrong = ["--pbs-ms", "1,2,3", "--cores", "2,0"];
    assert_error(files.on_block("plan", "states", "input").args(wrong), "--cores has 0");
    let both = ["--pbs-ms", "1,2,3", "--measure"];
    assert_eq!(output(files.on_block("plan", "states", "input").args(both)).status.code(), Some(2));
    let text = success(files.on_block("plan", "states", "input").args(["--pbs-ms", "1,2,3", "--cores", "2"]));
    assert!(text.contains("2 cores") && text.contains("Not counted"), "{text}");
}

mod long {
    use super::*;

    /// No time is known before, but which is longer is.
    #[test]
    #[ignore = "long: it measures for a minute"]
    fn times_are_measured() {
        let files = Files::new().with_block("");
        let plan =
            json(files.on_block("plan", "states", "input").args(["--measure", "--threads", "2", "--cores", "1,2"]));
        let time = &plan["time"];
        let pbs: Vec<f64> = time["pbs_ms"].as_array().unwrap().iter().map(|ms| ms.as_f64().unwrap()).collect();
        let product = time["external_product_ms"].as_f64().unwrap();
        assert_eq!((&time["source"], &time["threads"]), (&"measured".into(), &2.into()));
        // One level is less work than three; a bootstrapping is hundreds of products of its own ring.
        assert!(pbs[0] > 0.0 && pbs[0] < pbs[2] && product > 0.0 && product < pbs[0], "{time}");
        let seconds = |value: &Value| value["seconds"].as_f64().unwrap();
        // Two threads do in a second what takes two on one core.
        let [one, two] = [0, 1].map(|index| seconds(&time["cores"][index]));
        assert!((2.0 * seconds(time) - one).abs() < 1e-9 && two < one && two >= 0.5 * one, "{time}");
        assert!(seconds(time) > plan["pbs_seconds"].as_f64().unwrap());
        let mut run = files.block("states", "input");
        let report = json(run.args(["--mode", "execute", "--part", "mlp", "--seed", "1", "--measure"]));
        let (measured, server) = (&report["measured"], report["seconds"]["evaluate"].as_f64().unwrap());
        assert!((measured["server_by_counted"].as_f64().unwrap() - server / seconds(measured)).abs() < 1e-9);
        let steps = measured["steps"].as_array().unwrap();
        let sum = |key: &str| -> f64 { steps.iter().map(|step| step[key].as_f64().unwrap()).sum() };
        assert!((sum("counted") - seconds(measured)).abs() < 1e-9 && sum("seconds") <= server);
        assert_eq!(sum("lookups"), report["lookups"].as_f64().unwrap());
        let clear = files.block("states", "input").args(["--mode", "clear", "--measure"]).output().unwrap();
        assert!(
            clear.status.code() == Some(2)
                && String::from_utf8_lossy(&clear.stderr).contains("--mode clear has none of")
        );
    }
}

#[test]
fn evaluate_measures_blocks_over_a_text() {
    let files = Files::new();
    std::fs::write(files.path("text"), "To be, or not to be, that is the question.\nGood night, good night.").unwrap();
    let evaluate = |arguments: &[&str]| {
        let mut command = program();
        command.arg("evaluate").arg("--text").arg(files.path("text")).args(["--seed", "1"]);
        command.args(arguments);
        command
    };
    for (encrypt, mode) in [("model", "clear"), ("blocks:1", "clear"), ("mlp", "simulate")] {
        let report =
            json(evaluate(&["--window", "8", "--mode", mode, "--positions", "16"]).args(["--encrypt", encrypt]));
        let rows = report["rows"].as_array().unwrap();
        let runs: Vec<&Value> = rows.iter().map(|row| &row["run"]).collect();
        assert_eq!((runs, &report["positions"]), (vec![&Value::from("f32"), &Value::from(mode)], &16.into()));
        assert_eq!((&rows[0]["top_1"], &rows[0]["relative_error"]), (&1.0.into(), &0.0.into()));
        let [divergence, error] = ["kl_divergence", "relative_error"].map(|key| rows[1][key].as_f64().unwrap());
        assert!(divergence > 0.0 && divergence < 0.2 && error > 0.0 && error < 0.3, "{encrypt}: {divergence} {error}");
    }
    // Every row that counts is a request of its own, and judged by its logits.
    let arguments =
        ["--encrypt", "blocks:2", "--head-on-server", "--mode", "simulate", "--window", "4", "--positions", "6"];
    let report = json(&mut evaluate(&arguments));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!((&report["head_on_server"], &rows[0]["relative_error"]), (&true.into(), &0.0.into()));
    let [divergence, error] = ["kl_divergence", "relative_error"].map(|key| rows[1][key].as_f64().unwrap());
    assert!(divergence > 0.0 && divergence < 0.1 && error > 0.0 && error < 0.1, "{divergence} {error}");
    assert_error_of(2, &mut evaluate(&["--head-on-server"]), "--head-on-server changes nothing with --encrypt heads");
    assert_error_of(2, &mut evaluate(&["--encrypt", "model", "--layer", "1"]), "--layer is not for --encrypt model");
    assert_error_of(2, &mut evaluate(&["--encrypt", "mlp", "--bits", "4"]), "--bits is not for --encrypt mlp");
    assert_error(&mut evaluate(&["--encrypt", "model", "--window", "65"]), "in 1 ..= 64");
}
