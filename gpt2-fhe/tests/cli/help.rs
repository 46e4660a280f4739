//! The texts of `--help`.

use super::*;

const COMMANDS: [&str; 6] = ["demo", "generate", "head", "circuit", "quantize", "evaluate"];
/// Those that are of whole blocks only.
const OF_BLOCKS: [&str; 2] = ["block", "plan"];

#[test]
fn the_help_of_the_program_lists_its_commands_and_not_the_options_of_the_demo() {
    for option in ["-h", "--help"] {
        let help = success(program().arg(option));
        assert!(COMMANDS.iter().chain(&OF_BLOCKS).all(|command| help.contains(&format!("\n  {command} "))), "{help}");
        for option in ["--prompt", "--tokens", "--guard"] {
            assert!(!help.contains(option), "{help}");
        }
    }
}

#[test]
fn the_help_of_a_command_is_wrapped_and_explains_its_words() {
    for command in COMMANDS {
        let help = success(program().args([command, "--help"]));
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        for word in ["layer: ", "head: ", "circuit: ", "packed: ", "exact: ", "calibration: "] {
            let explained = help.find(&format!("\n  {word}")).unwrap_or_else(|| panic!("{command}: {word}"));
            assert!(explained < help.find("Options:").expect("options"), "{command}: {word}");
        }
        for option in ["--json", "--quiet"] {
            assert!(help.contains(option), "{command}: {option}");
        }
    }
    for command in OF_BLOCKS {
        let help = success(program().args([command, "--help"]));
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        for word in ["layer: ", "block: ", "hidden state: ", "lookup: ", "noise: "] {
            assert!(help.contains(&format!("\n  {word}")), "{command}: {word}");
        }
    }
    // What excludes what is said.
    let help = success(program().args(["generate", "--help"]));
    assert!(help.contains("Not together with --quantized"), "{help}");
    assert!(success(program().args(["quantize", "--help"])).contains("--force"));
    assert!(!success(program().args(["quantize", "--help"])).contains("--multiply"));
}
