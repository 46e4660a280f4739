//! The program as its users run it: what it prints, and what it says of bad input.

mod audit;
mod blocks;
#[cfg(unix)]
mod checkpoints;
mod evaluate;
mod explain;
mod generate;
mod head;
mod help;
mod options;
#[cfg(unix)]
mod parties;
mod quantized;
mod quantized_blocks;
#[cfg(unix)]
mod remote;
mod scale;
#[cfg(unix)]
mod small;
#[cfg(unix)]
mod system;
mod trace;

use std::path::PathBuf;
use std::process::{Command, Output};

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

    /// The same with the exact circuit.
    fn exact(&self, name: &str, hidden: &str, tensor: &str) -> Command {
        let mut command = self.command(name, hidden, tensor);
        command.args(["--circuit", "exact"]);
        command
    }

    /// The number of files in the folder.
    fn count(&self) -> usize {
        std::fs::read_dir(self.folder.path()).expect("the folder").count()
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
    outputs(command).0
}

/// Standard output and standard error of a run that succeeds.
fn outputs(command: &mut Command) -> (String, String) {
    let Output { status, stdout, stderr } = output(command);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    assert!(status.success() && !stderr.contains("error:"), "{command:?}: {stderr}");
    (stdout, stderr)
}

/// The JSON objects of the lines of a run that succeeds.
fn json_lines(command: &mut Command) -> Vec<Value> {
    let text = success(command.arg("--json"));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn json(command: &mut Command) -> Value {
    let mut lines = json_lines(command);
    assert_eq!(lines.len(), 1, "{command:?}");
    lines.remove(0)
}

/// Asserts that a run ends with code 1, nothing on standard output, and one line that says `what`.
fn assert_error(command: &mut Command, what: &str) {
    assert_error_of(1, command, what);
}

/// The same with another code.
fn assert_error_of(code: i32, command: &mut Command, what: &str) {
    let Output { status, stdout, stderr } = output(command);
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{command:?}: {stderr}");
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

fn assert_keys(value: &Value, expected: &[&str]) {
    let found = keys(value);
    let missing: Vec<_> = expected.iter().filter(|key| !found.contains(&key.to_string())).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {found:?}");
}
