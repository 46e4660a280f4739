//! `keygen`, `encrypt`, `compute` and `decrypt`: two parties that share nothing but files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gpt2_fhe::run::block::{BlockModel, BlockText};
use nn::matrix::Matrix;
use nn::record::{Quantized, QuantizedFile};
use tfhe_core::random::SampleSeed;

use super::generate::folder_with;
use super::small::write_model;
use super::*;

/// The size of an embedding.
const SMALL: usize = 16;

/// A command's files by their options.
type Options<'a> = [(&'a str, PathBuf)];

/// A model with its client, who has the folder `client`, and its server, who has the folder `server`.
pub(super) struct Parties {
    folder: tempfile::TempDir,
}

impl Parties {
    /// Whose files are those of `quantize`.
    pub(super) fn new() -> Self {
        let parties = Self { folder: tempfile::tempdir().unwrap() };
        ["client", "server", "client/model", "owner"]
            .iter()
            .for_each(|name| std::fs::create_dir(parties.path(name)).unwrap());
        let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
        std::fs::copy(embedded.join("tokenizer.json"), parties.path("client/model/tokenizer.json")).unwrap();
        write_model(&parties.path("client/model"), SMALL, 1);
        parties.quantize(&["--encrypt", "model"], "blocks");
        parties
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Quantizes the model: both halves for its owner, one for each party.
    pub(super) fn quantize(&self, arguments: &[&str], name: &str) {
        let mut command = program();
        command.arg("quantize").args(arguments).arg("--model").arg(self.path("client/model"));
        for (option, folder) in [("--out", "owner"), ("--client-out", "client"), ("--server-out", "server")] {
            command.arg(option).arg(self.path(folder).join(name));
        }
        success(&mut command);
    }

    /// The same blocks, calibrated on another text.
    pub(super) fn quantize_otherwise(&self, name: &str) {
        let text = self.path("owner/text");
        std::fs::write(&text, "My lord\nGood morrow\n").unwrap();
        self.quantize(&["--encrypt", "model", "--text", text.to_str().unwrap()], name);
    }

    /// The keys of a client, from a number: the evaluation keys are given to the server.
    pub(super) fn keygen(&self, seed: &str, secret: &str, keys: &str) {
        let mut command = program();
        command.args(["keygen", "--seed", seed, "--secret"]).arg(self.path("client").join(secret));
        success(command.arg("--evaluation-keys").arg(self.path("server").join(keys)));
    }

    /// What `generate` says in the clear, by the owner of the model.
    pub(super) fn clear(&self, prompt: &str, tokens: &str) -> Command {
        let mut command = program();
        command.args(["generate", "--mode", "clear", "--allow-out-of-range", "--prompt", prompt, "--tokens", tokens]);
        command.arg("--model").arg(self.path("client/model")).arg("--quantized").arg(self.path("owner/blocks"));
        command
    }

    fn encrypt_files(&self, out: &str) -> Vec<(&'static str, PathBuf)> {
        let client = self.path("client");
        vec![("--secret", client.join("secret")), ("--quantized", client.join("blocks")), ("--out", client.join(out))]
    }

    fn compute_files(&self, request: &str, out: &str) -> Vec<(&'static str, PathBuf)> {
        let server = self.path("server");
        let files = [("--evaluation-keys", "keys"), ("--quantized", "blocks"), ("--request", request), ("--out", out)];
        files.map(|(option, name)| (option, server.join(name))).to_vec()
    }

    fn decrypt_files(&self, request: &str, answer: &str) -> Vec<(&'static str, PathBuf)> {
        let client = self.path("client");
        let files = [("--secret", "secret"), ("--quantized", "blocks"), ("--request", request), ("--answer", answer)];
        files.map(|(option, name)| (option, client.join(name))).to_vec()
    }

    fn encrypt(&self, prompt: &str, out: &str) -> Command {
        let mut command = with_files("encrypt", &self.encrypt_files(out));
        command.args(["--prompt", prompt]).arg("--model").arg(self.path("client/model"));
        command
    }

    fn compute(&self, request: &str, out: &str) -> Command {
        with_files("compute", &self.compute_files(request, out))
    }

    fn decrypt(&self, request: &str, answer: &str) -> Command {
        let mut command = with_files("decrypt", &self.decrypt_files(request, answer));
        command.arg("--model").arg(self.path("client/model"));
        command
    }

    /// What one party gives the other.
    fn pass(&self, name: &str, from: &str, to: &str) {
        std::fs::copy(self.path(from).join(name), self.path(to).join(name)).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// The answer to a request of this client that nobody has sent.
    pub(super) fn answer_to_another(&self) -> Vec<u8> {
        self.run("another", &mut self.encrypt("My", "another"), None);
        self.bytes("server/another-answer")
    }

    /// Encrypts, computes and decrypts: the reports of `encrypt`, `compute` and `decrypt`.
    fn run(&self, name: &str, encrypt: &mut Command, text: Option<&str>) -> [Value; 3] {
        let answer = format!("{name}-answer");
        let encrypted = json(encrypt);
        self.pass(name, "client", "server");
        let mut compute = self.compute(name, &answer);
        if let Some(text) = text {
            compute.arg("--text").arg(self.path("server").join(text));
        }
        let computed = json(&mut compute);
        self.pass(&answer, "server", "client");
        [encrypted, computed, json(&mut self.decrypt(name, &answer))]
    }
}

fn with_files(name: &str, files: &Options<'_>) -> Command {
    let mut command = program();
    // On a slow machine it says what takes its time.
    command.args([name, "--quiet"]);
    for (option, path) in files {
        command.arg(option).arg(path);
    }
    command
}

/// The same files, but for one.
fn with_other<'a>(files: &Options<'a>, option: &str, path: &Path) -> Vec<(&'a str, PathBuf)> {
    assert!(files.iter().any(|(name, _)| *name == option), "{option}");
    let other = |(name, old): &(&'a str, PathBuf)| (*name, if *name == option { path.into() } else { old.clone() });
    files.iter().map(other).collect()
}

/// A request of one text after another, in two folders; the token that comes next is that of the same blocks without encryption.
#[test]
fn two_folders_that_share_files_are_enough() {
    let parties = Parties::new();
    parties.keygen("1", "secret", "keys");
    let mode = std::fs::metadata(parties.path("client/secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let next = |prompt: &str| json_lines(&mut parties.clear(prompt, "1"))[0]["token"].clone();
    // Tokens that noise does not change.
    let texts = ["He", "He is"];

    let [encrypted, first, decrypted] = parties.run("first", &mut parties.encrypt(texts[0], "first"), Some("text"));
    assert_eq!(
        (&encrypted["earlier"], &first["earlier"], &decrypted["tensor"]),
        (&0.into(), &0.into(), &"block_out".into())
    );
    assert_eq!((&encrypted["tokens"], &decrypted["shape"][0]), (&first["tokens"], &1.into()));
    assert_eq!((&decrypted["next"]["token"], &decrypted["path"]), (&next(texts[0]), &Value::Null));
    let earlier = encrypted["tokens"].to_string();

    // The second request is of what is new, and costs that.
    let mut encrypt = parties.encrypt(texts[1], "second");
    let [encrypted, second, decrypted] = parties.run("second", encrypt.args(["--earlier", &earlier]), Some("text"));
    assert_eq!((encrypted["earlier"].to_string(), second["earlier"].to_string()), (earlier.clone(), earlier.clone()));
    assert_eq!(decrypted["next"]["token"], next(texts[1]));
    let [_, whole, decrypted] = parties.run("whole", &mut parties.encrypt(texts[1], "whole"), None);
    assert_eq!(decrypted["next"]["token"], next(texts[1]));
    // In batches, as workers would do them: the same bits, and what a plan takes as times.
    let [record, other] = ["record", "other-record"].map(|name| parties.path("server").join(name));
    let mut recorded = parties.compute("whole", "recorded-answer");
    let report = json(recorded.arg("--record").arg(&record).args(["--record-note", "a test"]));
    assert_eq!(parties.bytes("server/recorded-answer"), parties.bytes("server/whole-answer"));
    let of_run: Value = serde_json::from_slice(&parties.bytes("server/record")).unwrap();
    let sum = |calls: &Value, key: &str| {
        calls.as_array().unwrap().iter().map(|call| call[key].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(sum(&of_run["calls"], "rotations"), report["pbs"].as_u64().unwrap());
    assert!(of_run["header"]["note"] == "a test" && of_run["header"]["workers"] == 0, "{}", of_run["header"]);
    let scaled = |record: &Path| {
        let mut plan = program();
        plan.args([
            "plan",
            "--tokens",
            "1",
            "--workers",
            "1,100",
            "--pbs-ms",
            "1,1,1",
            "--own-ms",
            "1,1,1,1,1,1,1",
            "--message-ms",
            "0,0",
        ]);
        plan.args(["--encrypt", "blocks:0"]).arg("--record").arg(record);
        plan
    };
    let plan = json(&mut scaled(&record));
    let [planned, kept] = [&plan["scale"], &plan["scale"]["record"]];
    assert!(planned["source"] == "record" && kept["calls"] == of_run["calls"].as_array().unwrap().len());
    let [replayed, took] = [&kept["replayed_seconds"], &kept["seconds"]].map(|seconds| seconds.as_f64().unwrap());
    assert!((0.5..1.5).contains(&(replayed / took)), "{replayed} and {took}");
    std::fs::write(&other, "{\"calls\":[]}").unwrap();
    assert_error(&mut scaled(&other), "not a record of lookups");
    for name in ["record", "other-record", "recorded-answer"] {
        std::fs::remove_file(parties.path("server").join(name)).unwrap();
    }
    let [first, second, whole] = [first, second, whole].map(|report| report["pbs"].as_u64().unwrap());
    // A whole text is answered of its last token only.
    assert!(first > 0 && second < whole && first + second > whole, "{first} and {second} beside {whole}");

    // Of a request that is answered already only the end is computed again: what follows the last block's attention.
    let mut again = parties.compute("second", "again");
    let report = json(again.arg("--text").arg(parties.path("server/text")));
    assert!(2 * report["pbs"].as_u64().unwrap() < second, "{report} beside {second}");
    assert!(parties.bytes("server/again") == parties.bytes("server/second-answer"));
    // One that was sent before it, or does not follow the text, is not computed at all.
    let text = parties.path("server/text");
    let kept = std::fs::read_dir(&text).unwrap().count();
    for (name, what) in [
        ("first", "the request is of new tokens after 0, and the server has"),
        ("whole", "send the requests of a text in their order"),
    ] {
        assert_error(parties.compute(name, "none").arg("--text").arg(&text), what);
    }
    assert_eq!((kept, parties.path("server/none").exists()), (std::fs::read_dir(&text).unwrap().count(), false));
    assert_error(&mut parties.compute("second", "none"), "give --text the folder in which the server kept them");
    assert_error(
        parties.compute("second", "none").arg("--text").arg(parties.path("server/new")),
        "the server has 0 of this text",
    );

    // What is said to people.
    let said = success(&mut parties.decrypt("second", "second-answer"));
    assert!(said.contains("next token") && said.contains("(block_out)"), "{said}");
    // Of the client's files the server has had requests alone.
    let names = |folder: &str| {
        let entries = std::fs::read_dir(parties.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let server = [
        "again",
        "blocks",
        "first",
        "first-answer",
        "keys",
        "new",
        "second",
        "second-answer",
        "text",
        "whole",
        "whole-answer",
    ];
    assert_eq!(names("server"), server);
}

/// What may be wrong with a file of ciphertexts, keys, or a secret, and what is said of it.
fn damaged(bytes: &[u8]) -> [(&'static str, Vec<u8>, &'static str); 5] {
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() - 40] ^= 1;
    [
        ("empty", Vec::new(), "cut off"),
        ("foreign", b"a letter, and nothing that this program has written".repeat(9), "it is no file of this program"),
        ("half", bytes[..bytes.len() / 2].to_vec(), "it was cut off"),
        ("longer", [bytes, b"\0"].concat(), "something was appended"),
        ("flipped", flipped, "its checksum is wrong"),
    ]
}

/// Whole files that do not belong together, and what there is no sense in.
#[test]
fn files_that_do_not_belong_together_are_one_line() {
    let parties = Parties::new();
    for (seed, secret, keys) in [("4", "secret", "keys"), ("5", "other-secret", "other-keys")] {
        parties.keygen(seed, secret, keys);
    }
    parties.quantize(&["--encrypt", "mlp"], "mlp");
    parties.quantize_otherwise("otherwise");
    let text = Some("text");
    parties.run("request", &mut parties.encrypt("He", "request"), text);
    parties.run("sent", &mut parties.encrypt("My", "sent"), None);
    let (client, server) =
        (|file: &str| parties.path("client").join(file), |file: &str| parties.path("server").join(file));
    let other_secret = client("other-secret");

    // The client of another secret.
    let mut foreign = with_files("encrypt", &with_other(&parties.encrypt_files("foreign"), "--secret", &other_secret));
    success(foreign.args(["--prompt", "He", "--model"]).arg(parties.path("client/model")));
    parties.pass("foreign", "client", "server");
    assert_error(&mut parties.compute("foreign", "none"), "the request belongs to other keys");
    let files =
        with_other(&parties.compute_files("foreign", "foreign-answer"), "--evaluation-keys", &server("other-keys"));
    success(&mut with_files("compute", &files));
    parties.pass("foreign-answer", "server", "client");
    // A text belongs to its client.
    let mut of_other = with_files("compute", &with_other(&files, "--out", &server("none")));
    assert_error(of_other.arg("--text").arg(parties.path("server/text")), "it belongs to other keys");
    let decrypt = |request: &str, answer: &str, option: &str, path: &Path| {
        with_files("decrypt", &with_other(&parties.decrypt_files(request, answer), option, path))
    };
    for (mut command, what) in [
        (
            decrypt("request", "request-answer", "--secret", &other_secret),
            "request: it belongs to other keys than --secret",
        ),
        (parties.decrypt("foreign", "foreign-answer"), "foreign: it belongs to other keys than --secret"),
        (parties.decrypt("request", "foreign-answer"), "foreign-answer: it belongs to other keys"),
        (parties.decrypt("request", "sent-answer"), "the answer is to another request"),
        (decrypt("request", "request-answer", "--quantized", &client("otherwise")), "it belongs to another program"),
        (decrypt("request", "request-answer", "--quantized", &client("mlp")), "it belongs to another program"),
        (decrypt("request", "request-answer", "--quantized", &server("blocks")), "has no half for the client"),
    ] {
        assert_error(&mut command, what);
    }
    let embedded = folder_with("notes.txt", "");
    let mut model = with_files("decrypt", &parties.decrypt_files("request", "request-answer"));
    assert_error(model.arg("--model").arg(embedded.path()), "is of a model with [n_embd, head] = [16, 8]");
    // Blocks that lead to no logits give values, and no token.
    let report = json(&mut with_files("decrypt", &parties.decrypt_files("request", "request-answer")));
    assert_eq!((&report["next"], &report["shape"][1]), (&Value::Null, &SMALL.into()));

    let compute = |option: &str, path: &Path| {
        with_files("compute", &with_other(&parties.compute_files("request", "none"), option, path))
    };
    for (mut command, what) in [
        (compute("--evaluation-keys", &server("other-keys")), "the request belongs to other keys"),
        (compute("--quantized", &server("otherwise")), "it belongs to another program"),
        (compute("--quantized", &server("mlp")), "it belongs to another program"),
        (compute("--quantized", &client("blocks")), "has no half for the server"),
        (compute("--out", &server("keys")), "keys exists already; give --out another name"),
        (compute("--out", &server("sent-answer")), "exists already; give --out another name"),
    ] {
        assert_error(&mut command, what);
    }
    // The folder of a text, and what is none.
    let mut to_file = parties.compute("request", "none");
    assert_error(to_file.arg("--text").arg(parties.path("server/keys")), "server/keys");
    std::fs::write(parties.path("server/text/stream"), "damaged").unwrap();
    let mut damaged = parties.compute("request", "none");
    assert_error(damaged.arg("--text").arg(parties.path("server/text")), "cannot go on from");
    assert!(!parties.path("server/none").exists());
    // It may be replaced, if that is said.
    success(
        with_files("compute", &with_other(&parties.compute_files("request", "none"), "--out", &server("sent-answer")))
            .arg("--force"),
    );
}

/// What `encrypt` and `keygen` refuse of their options.
#[test]
fn requests_that_cannot_be_made_are_one_line() {
    let parties = Parties::new();
    parties.keygen("6", "secret", "keys");
    let hidden = parties.path("client/hidden");
    let states = |rows: usize, columns: usize| tensor(&[rows, columns], |index| 0.9 * (index as f32).cos());
    let not_finite = tensor(&[1, SMALL], |_| f32::NAN);
    let tensors =
        [("input", states(2, SMALL)), ("long", states(9, SMALL)), ("wide", states(2, 9)), ("nan", not_finite)];
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    write_tensors(&hidden, &tensors, &[]).unwrap();
    let of_hidden = |tensor: &str, earlier: &str| {
        let mut command = with_files("encrypt", &parties.encrypt_files("none"));
        command.arg("--hidden").arg(&hidden).args(["--tensor", tensor, "--earlier", earlier]);
        command
    };
    let long = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer";
    let with = |prompt: &str, arguments: &[&str]| {
        let mut command = parties.encrypt(prompt, "none");
        command.args(arguments);
        command
    };
    let mut of_embedded = with_files("encrypt", &parties.encrypt_files("none"));
    of_embedded.args(["--prompt", "He"]);
    for (mut command, what) in [
        (with("", &[]), "the prompt \"\" has no token"),
        (with(long, &[]), "the model has 8 positions; shorten --prompt"),
        (with("He", &["--earlier", "7"]), "--earlier is 7, and the input has"),
        (of_hidden("input", "2"), "--earlier is 2, and the input has 2 tokens: one at least has to be new"),
        (of_hidden("long", "0"), "[T, 16] with T in 1 ..= 8 is needed"),
        (of_hidden("wide", "0"), "has 9 columns, and the blocks have n_embd = 16"),
        (of_hidden("nan", "0"), "finite"),
        (of_hidden("absent", "0"), "absent"),
        (of_embedded, "is of a model with [n_embd, head] = [16, 8]"),
    ] {
        assert_error(&mut command, what);
    }
    let secret = parties.path("client/secret");
    for (command, what) in [
        (with_files("encrypt", &parties.encrypt_files("none")), "--prompt"),
        (with("He", &["--hidden", "x", "--tensor", "y"]), "cannot be used with"),
        (with("He", &["--earlier=-1"]), "--earlier"),
    ] {
        let Output { status, stderr, .. } = { command }.output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.code() == Some(2) && said.contains(what), "{said}");
    }
    assert!(!parties.path("client/none").exists());

    success(&mut with("He", &[]));
    assert_error(
        &mut with("He", &[]),
        "exists already; give --out another name, or allow it to be replaced by --force",
    );
    success(&mut with("He", &["--force"]));
    let over = with_other(&parties.encrypt_files("none"), "--out", &secret);
    assert_error(with_files("encrypt", &over).args(["--prompt", "He", "--force"]), "which --secret reads");

    // Keys that are there are not replaced, and no half of them is written.
    let mut keygen = program();
    keygen.arg("keygen").arg("--secret").arg(&secret).arg("--evaluation-keys").arg(parties.path("server/new"));
    assert_error(&mut keygen, "exists already; give --secret another name");
    assert!(!parties.path("server/new").exists());
    let mut one = program();
    one.arg("keygen").arg("--secret").arg(parties.path("x")).arg("--evaluation-keys").arg(parties.path("x"));
    assert_error(&mut one, "name the same file");

    // A secret that others can read is none, by whatever command.
    std::fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    for files in [parties.encrypt_files("none"), parties.decrypt_files("none", "none")] {
        let (name, arguments) =
            if files.len() == 3 { ("encrypt", &["--prompt", "He", "--force"][..]) } else { ("decrypt", &[][..]) };
        assert_error(
            with_files(name, &files).args(arguments),
            "others than its owner can read it (mode 644): chmod 600 it",
        );
    }
}

mod long {
    use super::*;

    /// Hidden states of a file, of which the last token's comes back: what is decrypted is as far from the clear engine's as simulations are.
    #[test]
    #[ignore = "long: half a minute"]
    fn hidden_states_are_decrypted_within_the_noise_of_simulations() {
        let parties = Parties::new();
        parties.keygen("2", "secret", "keys");
        let hidden = tensor(&[2, SMALL], |index| 0.9 * (1.0 + 0.7 * (index * index % 1009) as f32).sin().signum());
        write_tensors(&parties.path("client/hidden"), &[("input", &hidden)], &[]).unwrap();
        let encrypt = |out: &str| {
            let mut command = with_files("encrypt", &parties.encrypt_files(out));
            command.arg("--hidden").arg(parties.path("client/hidden")).args(["--tensor", "input"]);
            command
        };
        json(&mut encrypt("request"));
        parties.pass("request", "client", "server");
        json(&mut parties.compute("request", "answer"));
        parties.pass("answer", "server", "client");
        let report = json(parties.decrypt("request", "answer").arg("--out").arg(parties.path("client/values")));
        assert_eq!((&report["shape"], &report["tensor"]), (&serde_json::json!([1, SMALL]), &"block_out".into()));
        let values = Checkpoint::open(parties.path("client/values")).unwrap().matrix("block_out", 1, SMALL).unwrap();

        let file = QuantizedFile::read(&parties.path("owner/blocks")).unwrap();
        let Quantized::Blocks(blocks) = file.into_quantized().unwrap() else { panic!("no blocks") };
        let model = BlockModel::new(*blocks).unwrap();
        let hidden = Matrix::from_fn(2, SMALL, |row, column| hidden.data()[row * SMALL + column]);
        let clear = BlockText::clear(&model).advance(&hidden).unwrap().run.output;
        let distance = |values: &Matrix<f32>| {
            values.iter().zip(clear.iter()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
        };
        let simulated: Vec<f64> = (0..16)
            .map(|seed| {
                let mut text = BlockText::simulated(&model, Vec::new(), &SampleSeed::from_number(seed));
                distance(&text.advance(&hidden).unwrap().run.output)
            })
            .collect();
        let mean = (simulated.iter().map(|x| x * x).sum::<f64>() / simulated.len() as f64).sqrt();
        let measured = distance(&values);
        assert!(
            measured > 0.0 && measured < 4.0 * mean && mean < 4.0 * measured,
            "{measured}, simulated {simulated:?}"
        );

        // Everything is made of the number: the same keys and the same request.
        parties.keygen("2", "secret-again", "keys-again");
        assert!(parties.bytes("client/secret") == parties.bytes("client/secret-again"));
        assert!(parties.bytes("server/keys") == parties.bytes("server/keys-again"));
        json(&mut encrypt("request-again"));
        assert!(parties.bytes("client/request") == parties.bytes("client/request-again"));
        // Without one, equal requests are none that can be seen to be.
        let mut keygen = program();
        keygen.arg("keygen").arg("--secret").arg(parties.path("client/drawn")).arg("--evaluation-keys");
        success(keygen.arg(parties.path("server/keys")).arg("--force"));
        let secret = parties.path("client/drawn");
        for out in ["one", "other"] {
            let mut command = with_files("encrypt", &with_other(&parties.encrypt_files(out), "--secret", &secret));
            json(command.arg("--hidden").arg(parties.path("client/hidden")).args(["--tensor", "input"]));
        }
        assert!(parties.bytes("client/one") != parties.bytes("client/other"));
    }

    /// Each file that a command reads, if it is damaged, or something else, is refused in a line, and nothing is written.
    #[test]
    #[ignore = "long: half a minute"]
    fn damaged_files_are_one_line() {
        let parties = Parties::new();
        parties.keygen("3", "secret", "keys");
        parties.run("request", &mut parties.encrypt("He", "request"), None);
        let model = parties.path("client/model");
        let encrypt = |files: &Options<'_>| {
            let mut command = with_files("encrypt", files);
            command.args(["--prompt", "He", "--model"]).arg(&model);
            command
        };
        let compute = |files: &Options<'_>| with_files("compute", files);
        let decrypt = |files: &Options<'_>| {
            let mut command = with_files("decrypt", files);
            command.arg("--model").arg(&model);
            command
        };
        type Make<'a> = &'a dyn Fn(&Options<'_>) -> Command;
        let encrypt_files = parties.encrypt_files("new");
        let compute_files = parties.compute_files("request", "new");
        let decrypt_files = parties.decrypt_files("request", "request-answer");
        let commands: [(Make<'_>, &Options<'_>, &[&str]); 3] = [
            (&encrypt, &encrypt_files, &["--secret"]),
            (&compute, &compute_files, &["--evaluation-keys", "--request"]),
            (&decrypt, &decrypt_files, &["--secret", "--request", "--answer"]),
        ];
        let other = parties.path("other");
        let write = |bytes: &[u8]| {
            std::fs::write(&other, bytes).unwrap();
            std::fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
        };
        for (make, files, options) in commands {
            for &option in options {
                let path = &files.iter().find(|(name, _)| *name == option).unwrap().1;
                for (_, bytes, what) in damaged(&std::fs::read(path).unwrap()) {
                    write(&bytes);
                    assert_error(&mut make(&with_other(files, option, &other)), what);
                }
                let (of_folder, of_nothing) = match option {
                    "--secret" => ("is a folder; give", "there is no such file: make it with `gpt2-fhe keygen`"),
                    _ => ("is a folder; give", "cannot open"),
                };
                assert_error(&mut make(&with_other(files, option, &parties.path("client"))), of_folder);
                assert_error(&mut make(&with_other(files, option, &parties.path("absent"))), of_nothing);
                // A file of another kind.
                let kinds = [
                    ("client/secret", "--secret"),
                    ("client/request", "--request"),
                    ("server/request-answer", "--answer"),
                ];
                for (name, _) in kinds.iter().filter(|(_, of)| *of != option) {
                    write(&parties.bytes(name));
                    assert_error(&mut make(&with_other(files, option, &other)), "is needed");
                }
            }
            // The blocks, which are a file of safetensors.
            let whole = std::fs::read(&files.iter().find(|(name, _)| *name == "--quantized").unwrap().1).unwrap();
            for (_, bytes, _) in damaged(&whole) {
                write(&bytes);
                assert_error(&mut make(&with_other(files, "--quantized", &other)), "other");
            }
            for (path, what) in
                [("client", "is a folder"), ("absent", "cannot open"), ("client/request", "client/request")]
            {
                assert_error(&mut make(&with_other(files, "--quantized", &parties.path(path))), what);
            }
        }
        for name in ["client/new", "server/new"] {
            assert!(!parties.path(name).exists(), "{name}");
        }
    }
}
