//! Wrong usage: an exit code that is not zero, and one line that says what is wrong.

use std::process::{Command, Output};

fn peers(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peers")).args(arguments).output().expect("the program starts")
}

#[test]
fn wrong_usage_is_refused_in_one_line() {
    for arguments in
        [&[][..], &["contrast"], &["compare", "--fast"], &["compare", "--only", "speed"], &["compare", "x"]]
    {
        let output = peers(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "{arguments:?}: {message}");
    }
}

#[test]
fn an_unknown_backend_is_refused_before_anything_is_built() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peers"));
    let output = command.arg("compare").env("TFHE_BACKEND", "abacus").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("abacus") && message.lines().count() == 1, "{message}");
}

/// One comparison, as JSON: an object of that name with three numbers, nothing else on standard output.
#[test]
fn a_comparison_is_an_object_with_a_ratio() {
    let output = peers(&["compare", "--as-built", "--quick", "--json", "--only", "fft_forward_512"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let entry = &found["fft_forward_512"];
    let [ours, peer, ratio] = ["ours", "peer", "ratio"].map(|key| entry[key].as_f64().unwrap());
    assert!(ours > 0.0 && (peer / ours / ratio - 1.0).abs() < 1e-9, "{found}");
    assert_eq!(found.as_object().unwrap().len(), 1);
}
