//! Runs that are interrupted, and go on from a checkpoint.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use super::system::{limited, send, with_usual_signals};
use super::*;

/// The size of an embedding; there are two heads, and two blocks.
const SMALL: usize = 16;

/// A folder with a small model, and the checkpoint `kept` in it.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
        std::fs::copy(embedded.join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        super::small::write_model(folder.path(), SMALL, 2);
        Self { folder }
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.folder.path().join("kept").join(name)
    }

    fn generate(&self, prompt: &str) -> Command {
        self.generate_tokens(prompt, "3")
    }

    fn generate_tokens(&self, prompt: &str, tokens: &str) -> Command {
        let mut command = program();
        command.args(["generate", "--prompt", prompt, "--tokens", tokens, "--allow-out-of-range", "--model"]);
        command.arg(self.folder.path());
        command
    }

    /// With a seed, and the checkpoint.
    fn checkpointed(&self) -> Command {
        self.checkpointed_tokens("3")
    }

    fn checkpointed_tokens(&self, tokens: &str) -> Command {
        let mut command = self.generate_tokens("To", tokens);
        command.args(["--encrypt", "model", "--seed", "5", "--checkpoint"]).arg(self.folder.path().join("kept"));
        command
    }

    /// The text without interruption.
    fn expected(&self) -> String {
        success(self.generate("To").args(["--encrypt", "model", "--seed", "5"]))
    }

    /// Starts a run, and waits until a file of the checkpoint is there.
    fn start(&self, file: &str) -> Child {
        let mut child = with_usual_signals(&self.checkpointed()).spawn().unwrap();
        while !self.kept(file).exists() {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(2));
        }
        child
    }
}

/// Ctrl-C after a block, and a kill after a block of the next token: the text is that of a run without interruptions, and nothing is left.
#[test]
fn a_text_goes_on_after_interruptions() {
    let small = Small::new();
    let expected = small.expected();

    let child = small.start("server/text-0/stream");
    // Nobody else may use the folder meanwhile.
    assert_error(&mut small.checkpointed(), "another run uses the checkpoint");
    send("-INT", &child);
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(130), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("stopped after 0 tokens; the same command goes on from the checkpoint"), "{stderr}");
    let mode = |name: &str| std::fs::metadata(small.kept(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["client", "server"].map(mode), [0o700; 2]);
    assert_eq!(["client/work", "client/text-0/journal"].map(mode), [0o600; 2]);

    let mut child = small.start("server/text-0/request-1-block-0");
    child.kill().unwrap();
    child.wait().unwrap();

    let (text, notes) = outputs(&mut small.checkpointed());
    assert_eq!(text, expected);
    assert!(notes.contains("going on from the checkpoint") && notes.contains("1 request answered"), "{notes}");
    assert!(notes.contains("is done, and was removed") && !small.kept("").exists(), "{notes}");
}

/// What is of other work, or damaged, is refused in a line, and stays as it is; `--restart` begins anew.
#[test]
fn checkpoints_of_other_work_are_refused() {
    let small = Small::new();
    let mut child = small.start("server/text-0/stream");
    child.kill().unwrap();
    child.wait().unwrap();
    let folder = small.folder.path().join("kept");
    let refused = |command: &mut Command, what: &str| {
        assert_error(command.arg("--checkpoint").arg(&folder), what);
        assert!(small.kept("client/work").exists());
    };
    let again = ["--encrypt", "model", "--seed", "5"];
    refused(small.generate("My").args(again), "of other work: the prompt is not the same; give --checkpoint another");
    refused(small.generate("To").args(["--encrypt", "model", "--seed", "6"]), "--seed is not the same");
    let drawn = ["--temperature", "1"];
    refused(small.generate("To").args(again).args(drawn), "how tokens are drawn is not the same");
    let part = ["--encrypt", "blocks:0", "--seed", "5"];
    refused(small.generate("My").args(part), "or what of it is encrypted, and the prompt are not the same");

    let work = std::fs::read(small.kept("client/work")).unwrap();
    let mut flipped = work.clone();
    flipped[150] ^= 4;
    for (damaged, what) in [(&work[..99], "it was cut off"), (&flipped, "its checksum is wrong"), (b"", "cut off")] {
        std::fs::write(small.kept("client/work"), damaged).unwrap();
        refused(small.generate("To").args(again), what);
    }
    std::fs::remove_file(small.kept("client/work")).unwrap();
    assert_error(&mut small.checkpointed(), "has parts of a checkpoint and not client/work");
    let (_, notes) = outputs(small.checkpointed_tokens("1").arg("--restart"));
    assert!(!notes.contains("going on") && !folder.exists(), "{notes}");

    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("letters.txt"), "mine").unwrap();
    for restart in [&[][..], &["--restart"]] {
        assert_error(small.checkpointed().args(restart), "has other things in it, like letters.txt");
    }
    let file = small.folder.path().join("config.json");
    let mut to_file = small.generate("To");
    assert_error(
        to_file.args(["--encrypt", "model", "--checkpoint"]).arg(file),
        "is a file; give --checkpoint a folder",
    );
    assert_error_of(
        2,
        small.checkpointed().args(["--mode", "clear"]),
        "--checkpoint changes nothing with --mode clear",
    );
    let mut heads = small.generate("To");
    assert_error_of(2, heads.args(["--checkpoint", "x"]), "--checkpoint changes nothing with --encrypt heads");
    assert_eq!(std::fs::read_to_string(folder.join("letters.txt")).unwrap(), "mine");
}

/// A disk that is full, or a folder that cannot be written any more, ends the run; it goes on once there is room.
#[test]
fn a_full_disk_is_an_interruption() {
    let small = Small::new();
    let mut command = small.checkpointed_tokens("1");
    // In units of 512 bytes: room for the client's files, and not for ciphertexts.
    let limited = limited("ulimit -f 100", &command).output().unwrap();
    let stderr = String::from_utf8_lossy(&limited.stderr);
    assert_eq!(limited.status.code(), Some(1), "{stderr}");
    let error = stderr.lines().last().unwrap();
    assert!(error.starts_with("error: cannot write ") && error.contains("the same command goes on"), "{stderr}");
    let names = |folder: &str| std::fs::read_dir(small.kept(folder)).unwrap().count();
    assert_eq!([names("server/text-0"), names("client/text-0")], [0, 1]);
    let text = success(&mut command);
    assert!(small.expected().starts_with(text.trim_end()) && !small.kept("").exists(), "{text}");
    // A folder that nobody may write; but the administrator, who runs some tests, may.
    let locked = small.folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(locked.join("test"), "").is_err() {
        let mut command = small.generate("To");
        assert_error(command.args(["--encrypt", "model", "--checkpoint"]).arg(&locked), "cannot write");
    }
}
