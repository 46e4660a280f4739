//! Pipes, devices, links, limits and signals.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// `command` after `limit`, a builtin of the shell.
pub(super) fn limited(limit: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(command.get_program()).args(command.get_args());
    shell
}

fn make_pipe(files: &Files, name: &str) -> PathBuf {
    let path = files.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    path
}

fn quantize(files: &Files, outputs: &[(&str, &str)]) -> Command {
    let mut command = program();
    command.args(["quantize", "--n-head", "2", "--calibration-tensors", "input"]);
    command.arg("--attention").arg(files.path("attention")).arg("--calibration").arg(files.path("hidden"));
    for (option, name) in outputs {
        command.arg(option).arg(files.path(name));
    }
    command
}

#[test]
fn inputs_that_are_no_files_are_said_to_be_none() {
    let files = Files::new();
    make_pipe(&files, "pipe");
    symlink(files.path("nothing"), files.path("dangling")).unwrap();
    for (name, what) in [
        ("pipe", "is a pipe"),
        ("/dev/zero", "is a device"),
        (".", "is a folder; give"),
        ("dangling", "a link to a file that is not there"),
    ] {
        let path = files.path(name);
        for option in ["--attention", "--hidden", "--calibration", "--quantized"] {
            let mut command = program();
            command.args(["head", "--tensor", "input", "--n-head", "2", "--mode", "clear"]);
            for (other, file) in [("--attention", "attention"), ("--hidden", "hidden")] {
                if other != option {
                    command.arg(other).arg(files.path(file));
                }
            }
            assert_error(command.arg(option).arg(&path), what);
        }
    }
    let mut model = program();
    assert_error(
        model.args(["generate", "--prompt", "a", "--model"]).arg(files.path("hidden")),
        "needs the folder of a model",
    );
    std::fs::create_dir(files.path("model")).unwrap();
    make_pipe(&files, "model/config.json");
    let mut model = program();
    assert_error(
        model.args(["generate", "--prompt", "a", "--model"]).arg(files.path("model")),
        "config.json is a pipe",
    );
}

/// A text may come from a pipe, and is bounded wherever it comes from.
#[test]
fn texts_come_from_files_and_pipes_and_are_bounded() {
    let files = Files::new();
    let text = "What, shall we part? The morning is not yet, and all the birds are silent in the wood.";
    std::fs::write(files.path("text"), text).unwrap();
    let evaluate = |path: PathBuf| {
        let mut command = program();
        command.args(["evaluate", "--circuit", "packed", "--bits", "4", "--seed", "1", "--text"]).arg(path);
        command
    };
    let rows = |command: &mut Command| json(command)["rows"].clone();
    let expected = rows(&mut evaluate(files.path("text")));
    // Slowly, so that the pipe is empty at first.
    let pipe = make_pipe(&files, "pipe");
    let write = {
        let pipe = pipe.clone();
        move || {
            let mut pipe = File::options().write(true).open(pipe).unwrap();
            for part in text.as_bytes().chunks(40) {
                std::thread::sleep(Duration::from_millis(100));
                std::io::Write::write_all(&mut pipe, part).unwrap();
            }
        }
    };
    let writer = std::thread::spawn(write);
    assert_eq!(rows(&mut evaluate(pipe.clone())), expected);
    writer.join().unwrap();
    let mut standard_input = evaluate("/dev/stdin".into());
    assert_eq!(rows(standard_input.stdin(File::open(files.path("text")).unwrap())), expected);

    assert_error(&mut evaluate(pipe), "nobody writes to this pipe");
    assert_error(&mut evaluate("/dev/zero".into()), "more than 16 MiB");
    File::create(files.path("huge")).unwrap().set_len(1 << 40).unwrap();
    let before = Instant::now();
    assert_error(&mut evaluate(files.path("huge")), "more than 16 MiB");
    let mut command = program();
    command.args(["quantize", "--text"]).arg(files.path("huge")).arg("--out").arg(files.path("out"));
    assert_error(&mut command, "more than 16 MiB");
    assert!(before.elapsed() < Duration::from_secs(60));
}

/// No two outputs are one file, by whatever name, and none is an input.
#[test]
fn outputs_are_never_the_same_file_or_an_input() {
    let files = Files::new();
    std::fs::write(files.path("f"), "f").unwrap();
    std::fs::hard_link(files.path("f"), files.path("hard")).unwrap();
    symlink("f", files.path("soft")).unwrap();
    symlink(files.folder.path(), files.path("folder")).unwrap();
    let before = files.count();
    for (first, second) in [
        ("new", "new"),
        ("new", "./new"),
        ("new", "folder/new"),
        ("f", "f"),
        ("f", "hard"),
        ("f", "soft"),
        ("folder/hard", "./soft"),
    ] {
        let mut command = quantize(&files, &[("--server-out", first), ("--client-out", second)]);
        assert_error(command.arg("--force"), "--server-out and --client-out name the same file");
    }
    for (name, what) in [
        ("attention", "which --attention reads"),
        ("folder/hidden", "which --calibration reads"),
        ("f/", "that is a folder"),
    ] {
        assert_error(quantize(&files, &[("--out", name)]).arg("--force"), what);
    }
    // Without --force nothing is replaced, not even by one of two.
    for name in ["f", "soft", "hard"] {
        let outputs = [("--server-out", "new"), ("--client-out", name)];
        assert_error(&mut quantize(&files, &outputs), "exists already; give --client-out another name");
    }
    symlink("nothing", files.path("dangling")).unwrap();
    assert_error(quantize(&files, &[("--out", "dangling")]).arg("--force"), "a link to a file that is not there");
    assert_eq!((files.count(), std::fs::read(files.path("f")).unwrap()), (before + 1, b"f".to_vec()));
    // With it, a link stays one.
    success(quantize(&files, &[("--out", "soft")]).arg("--force"));
    assert!(files.path("soft").is_symlink() && std::fs::metadata(files.path("f")).unwrap().len() > 100);
    assert_eq!(std::fs::read(files.path("hard")).unwrap(), b"f");
    // An output among the files of a model.
    std::fs::create_dir(files.path("model")).unwrap();
    std::fs::write(files.path("model/config.json"), "{}").unwrap();
    let mut command = program();
    command.arg("quantize").arg("--model").arg(files.path("model")).arg("--out").arg(files.path("model/config.json"));
    assert_error(command.arg("--force"), "which --model reads");
}

/// What cannot be written leaves nothing, neither a part nor a new file.
#[test]
fn a_limit_of_sizes_leaves_no_file() {
    let files = Files::new();
    let before = files.count();
    let outputs = [("--server-out", "server"), ("--client-out", "client")];
    assert_error(&mut limited("ulimit -f 2", &quantize(&files, &outputs)), "no file was written");
    assert_eq!(files.count(), before);
    let mut head = files.command("head", "hidden", "input");
    head.args(["--mode", "clear", "--out"]).arg(files.path("out"));
    assert_error(&mut limited("ulimit -f 0", &head), "cannot write");
    assert_eq!(files.count(), before);
}

#[test]
fn a_full_device_or_a_closed_pipe_is_noticed() {
    let files = Files::new();
    let mut clear = files.command("head", "hidden", "input");
    clear.args(["--mode", "clear"]);
    let mut help = program();
    help.arg("--help");
    let mut version = program();
    version.arg("--version");
    let mut generate = program();
    generate.args(["generate", "--prompt", "My lord", "--tokens", "1", "--mode", "clear"]);
    for command in [&mut clear, &mut help, &mut version, &mut generate] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let Output { status, stderr, .. } = command.stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{command:?}: {stderr}");
        assert!(stderr.contains("error: cannot write to standard output"), "{command:?}: {stderr}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let Output { status, stderr, .. } = command.stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.code() == Some(141) && !stderr.contains("error"), "{command:?}: {status} {stderr}");
    }
    // A report that cannot be printed leaves no file behind.
    let out = files.path("out");
    clear.arg("--out").arg(&out).stdout(File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(clear.output().unwrap().status.code(), Some(1));
    assert!(!out.exists());
}

#[test]
fn threads_that_cannot_start_are_one_line() {
    let files = Files::new();
    let mut command = files.command("head", "hidden", "input");
    command.args(["--mode", "clear", "--threads", "256"]);
    // Now and then it is the C library that finds no memory first, in a thread that has started, and ends the process: then once more.
    let again = "for attempt in 1 2 3 4 5; do said=$(\"$0\" \"$@\" 2>&1) && exit 0; code=$?; \
                 case $said in *'Fatal glibc error'*) ;; *) break ;; esac; done; printf '%s\\n' \"$said\" >&2; exit $code";
    assert_error(&mut limited(&format!("ulimit -v 400000; {again}"), &command), "cannot start 256 threads");
}

/// `command` with signals as a process usually has them, however the tests were started.
pub(super) fn with_usual_signals(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal").arg(command.get_program()).args(command.get_args());
    env.stdout(Stdio::piped()).stderr(Stdio::piped());
    env
}

pub(super) fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill").success());
}

/// In the middle of whatever is being done, a signal ends it soon, with the code of shells, one line, and no file left.
#[test]
fn a_signal_stops_the_work_and_leaves_no_file() {
    let files = Files::new();
    let lines = "To be, or not to be, that is the question.\n".repeat(200_000);
    std::fs::write(files.path("long"), lines).unwrap();
    let before = files.count();
    let encrypted = || {
        let mut command = files.exact("head", "hidden", "other");
        command.args(["--bits", "6", "--seed", "1", "--out"]).arg(files.path("out"));
        command
    };
    let calibrated = || {
        let mut command = program();
        command.args(["quantize", "--text"]).arg(files.path("long")).arg("--out").arg(files.path("out"));
        command
    };
    for (command, signal, code) in [
        (encrypted(), "-INT", 130),
        (encrypted(), "-TERM", 143),
        (calibrated(), "-INT", 130),
        (calibrated(), "-HUP", 129),
        (encrypted(), "-ALRM", 142),
        (calibrated(), "-USR1", 138),
    ] {
        let child = with_usual_signals(&command).spawn().unwrap();
        // Once the new file is there, the handler has been installed, and seconds of work follow.
        while files.count() == before {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        let sent = Instant::now();
        send(signal, &child);
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        // A second and a half: the machine may be busy.
        assert!(sent.elapsed() < Duration::from_millis(1500), "{signal}: {:?}", sent.elapsed());
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{stderr}");
        assert_eq!(stderr, "stopped before the work was done; no file was written\n");
        assert_eq!(files.count(), before);
    }
}

/// What was generated before a signal is there, its line is complete, and the count is right.
#[test]
fn a_signal_in_the_middle_of_a_text_completes_the_line() {
    let mut command = program();
    command.args(["generate", "--prompt", "My lord", "--tokens", "50", "--seed", "1", "--layers", "0", "--head", "0"]);
    let mut child = with_usual_signals(command.arg("--quiet")).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut text = vec![0; "My lord".len() + 1];
    std::io::Read::read_exact(&mut stdout, &mut text).unwrap();
    send("-INT", &child);
    std::io::Read::read_to_end(&mut stdout, &mut text).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let (text, stderr) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(130), "{stderr}");
    assert!(text.starts_with("My lord") && text.ends_with('\n'), "{text:?}");
    assert!(stderr.starts_with("stopped after ") && stderr.lines().count() == 1, "{stderr:?}");
    assert!(!stderr.contains(" 0 tokens"), "{stderr:?}");
}
