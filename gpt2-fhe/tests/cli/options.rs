//! Options that the chosen circuit or mode does not know are errors, whatever the command.

use super::*;

#[test]
fn options_of_the_other_circuit_or_mode_are_errors() {
    let files = Files::new();
    std::fs::write(files.path("text"), "To be or not to be, that is the question.").unwrap();
    let text = files.path("text").display().to_string();
    let of_file = |name| files.command(name, "hidden", "input");
    let of_model = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments);
        command
    };
    let commands: [(&str, &dyn Fn() -> Command); 6] = [
        ("head", &|| of_file("head")),
        ("circuit", &|| of_file("circuit")),
        ("generate", &|| of_model(&["generate", "--prompt", "My lord"])),
        ("demo", &|| of_model(&["demo"])),
        ("without a command", &|| of_model(&[])),
        ("evaluate", &|| of_model(&["evaluate", "--text", &text, "--circuit", "packed"])),
    ];
    for (name, command) in commands {
        for option in [["--msbs", "8"], ["--multiply", "product"], ["--multiply", "lut"]] {
            let what = format!("{} is for the circuit exact, and packed was chosen", option[0]);
            assert_error_of(2, command().args(option), &what);
        }
        if name == "evaluate" {
            continue;
        }
        for option in [["--guard", "1.5"], ["--value-bits", "7"]] {
            let what = format!("{} is for the circuit packed, and exact was chosen", option[0]);
            assert_error_of(2, command().args(["--circuit", "exact"]).args(option), &what);
        }
    }
    let mut command = of_file("head");
    command.args(["--circuit", "exact", "--mode", "clear", "--multiply", "lut"]);
    assert_error_of(2, &mut command, "--multiply changes nothing with --mode clear");
    let evaluate = |arguments: &[&str]| of_model(&[&["evaluate", "--text", &text], arguments].concat());
    assert_error_of(2, &mut evaluate(&["--noise", "2"]), "--noise changes nothing with --mode clear");
    assert_error_of(2, &mut evaluate(&["--noise", "1", "--mode", "execute"]), "choose --mode simulate");
    let mut exact = evaluate(&["--circuit", "exact", "--mode", "simulate", "--noise", "2"]);
    assert_error_of(2, &mut exact, "--noise is for the circuit packed");
    let quantize = |arguments: &[&str]| {
        let mut command = of_model(&["quantize"]);
        command.args(arguments).arg("--out").arg(files.path("out"));
        command
    };
    assert_error_of(2, &mut quantize(&["--msbs", "8"]), "--msbs is for the circuit exact");
    assert_error_of(2, &mut quantize(&["--circuit", "exact", "--guard", "2"]), "--guard is for the circuit packed");
    // It has no meaning there at all.
    assert_eq!(output(&mut quantize(&["--circuit", "exact", "--multiply", "lut"])).status.code(), Some(2));
}

/// The circuit of a file decides what is known.
#[test]
fn options_that_the_circuit_of_a_file_does_not_know_are_errors() {
    let files = Files::new();
    for circuit in ["packed", "exact"] {
        let mut quantize = program();
        quantize.args([
            "quantize",
            "--n-head",
            "2",
            "--calibration-tensors",
            "input",
            "--circuit",
            circuit,
            "--attention",
        ]);
        quantize.arg(files.path("attention")).arg("--calibration").arg(files.path("hidden"));
        success(quantize.arg("--out").arg(files.path(circuit)));
        let mut head = files.command("circuit", "hidden", "input");
        head.args(["--multiply", "lut"]).arg("--quantized").arg(files.path(circuit));
        match circuit {
            "packed" => assert_error_of(2, &mut head, "--multiply is for the circuit exact, and packed was chosen"),
            _ => drop(success(&mut head)),
        }
    }
}
