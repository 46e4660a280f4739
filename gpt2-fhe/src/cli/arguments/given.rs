//! Which options were given, and which of them the chosen circuit and mode know.

use clap::ArgMatches;
use clap::parser::ValueSource;
use gpt2_fhe::run::{Circuit, Mode};

use super::{Checkpointing, Encrypt};

/// An option that only some circuits and modes know. Any other option is known to all.
struct Rule {
    /// The name of its field.
    option: &'static str,
    circuit: Circuit,
    modes: &'static [Mode],
}

const ALL_MODES: &[Mode] = &[Mode::Clear, Mode::Simulate, Mode::Execute];

const RULES: [Rule; 5] = [
    Rule { option: "msbs", circuit: Circuit::Exact, modes: ALL_MODES },
    // Without noise nothing is multiplied encrypted.
    Rule { option: "multiply", circuit: Circuit::Exact, modes: &[Mode::Simulate, Mode::Execute] },
    Rule { option: "value_bits", circuit: Circuit::Packed, modes: ALL_MODES },
    Rule { option: "guard", circuit: Circuit::Packed, modes: ALL_MODES },
    Rule { option: "noise", circuit: Circuit::Packed, modes: &[Mode::Simulate] },
];

/// Options of attention that is encrypted by itself, which blocks do not know.
const OF_ATTENTION: [&str; 12] = [
    "head",
    "all_heads",
    "circuit",
    "bits",
    "msbs",
    "value_bits",
    "guard",
    "multiply",
    "noise",
    "plot",
    "attention",
    "max_tokens",
];
/// Options of a block from files, beside its weights.
const OF_FILES: [&str; 4] = ["hidden", "tensor", "calibration", "calibration_tensors"];
/// Options of blocks, which attention that is encrypted by itself does not know.
const OF_BLOCKS: [&str; 4] = ["public_start", "head_on_server", "checkpoint", "weights"];
/// Options of what a server decides, or does.
const OF_SERVERS: [&str; 8] =
    ["encrypt", "public_start", "head_on_server", "checkpoint", "restart", "mode", "seed", "allow_out_of_range"];
/// Options that choose layers.
const OF_LAYERS: [&str; 2] = ["layers", "layer"];

/// An option was given that would change nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotApplicable(String);

impl NotApplicable {
    /// Says what was given, and what to do.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl Checkpointing {
    /// Checks that there is something to keep in `mode`.
    ///
    /// # Errors
    /// That the option changes nothing.
    pub(crate) fn check(&self, mode: Mode) -> Result<(), NotApplicable> {
        match &self.checkpoint {
            Some(_) if mode != Mode::Execute => Err(NotApplicable(format!(
                "--checkpoint changes nothing with --mode {}; leave it out, or choose --mode execute",
                mode.name()
            ))),
            _ => Ok(()),
        }
    }
}

/// The options on the command line, by the names of their fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given(Vec<String>);

impl Given {
    /// Those of a command.
    pub(crate) fn new(matches: &ArgMatches) -> Self {
        let given = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Self(matches.ids().filter(given).map(ToString::to_string).collect())
    }

    /// Whether an option was given.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.iter().any(|given| given == option)
    }

    /// Checks that each option is known where a server computes.
    ///
    /// # Errors
    /// That one would be ignored.
    pub(crate) fn check_remote(&self) -> Result<(), NotApplicable> {
        match OF_ATTENTION.into_iter().chain(OF_LAYERS).chain(OF_SERVERS).find(|option| self.has(option)) {
            None => Ok(()),
            Some(option) => Err(NotApplicable(format!(
                "--{} changes nothing with --server, which computes what --quantized says; leave it out",
                option.replace('_', "-")
            ))),
        }
    }

    /// Checks that no option of blocks was given where heads are encrypted.
    ///
    /// # Errors
    /// That one would be ignored.
    pub(crate) fn check_heads(&self) -> Result<(), NotApplicable> {
        match OF_BLOCKS.into_iter().find(|option| self.has(option)) {
            None => Ok(()),
            Some(option) => Err(NotApplicable(format!(
                "--{} changes nothing with --encrypt heads; leave it out, or choose --encrypt model",
                option.replace('_', "-")
            ))),
        }
    }

    /// Checks that each option is known where blocks are encrypted: `encrypt`, as it was chosen.
    ///
    /// # Errors
    /// That one would be ignored.
    pub(crate) fn check_blocks(&self, encrypt: &Encrypt) -> Result<(), NotApplicable> {
        if matches!(encrypt, Encrypt::Part(_)) && self.has("head_on_server") {
            return Err(NotApplicable(format!(
                "--head-on-server is not for --encrypt {encrypt}, after which the client goes on; leave it out, or choose --encrypt model"
            )));
        }
        let layers = OF_LAYERS.into_iter().filter(|_| !matches!(encrypt, Encrypt::Part(_)));
        match OF_ATTENTION.into_iter().chain(layers).find(|option| self.has(option)) {
            None => Ok(()),
            Some(option) => Err(NotApplicable(format!(
                "--{} is not for --encrypt {encrypt}, which takes all of a block{}; leave it out",
                option.replace('_', "-"),
                if OF_LAYERS.contains(&option) { ", of the model or of a range" } else { " or of its part" }
            ))),
        }
    }

    /// Checks that no option of files was given where a model's blocks are planned.
    ///
    /// # Errors
    /// That one would be ignored.
    pub(crate) fn check_without_files(&self) -> Result<(), NotApplicable> {
        match OF_FILES.into_iter().find(|option| self.has(option)) {
            None => Ok(()),
            Some(option) => Err(NotApplicable(format!(
                "--{} is for a block from files; give --weights as well, or leave it out",
                option.replace('_', "-")
            ))),
        }
    }

    /// Checks that each option is known to one of the circuits that are run, in the mode. `None`: a command without modes.
    ///
    /// # Errors
    /// That one would be ignored.
    pub(crate) fn check(&self, circuits: &[Circuit], mode: Option<Mode>) -> Result<(), NotApplicable> {
        for rule in RULES.iter().filter(|rule| self.has(rule.option)) {
            let option = rule.option.replace('_', "-");
            let known = rule.circuit.name();
            if !circuits.contains(&rule.circuit) {
                let chosen = circuits.first().map_or("none", |circuit| circuit.name());
                return Err(NotApplicable(format!(
                    "--{option} is for the circuit {known}, and {chosen} was chosen; leave it out, or choose --circuit {known}"
                )));
            }
            if let Some(mode) = mode.filter(|mode| !rule.modes.contains(mode)) {
                let modes: Vec<&str> = rule.modes.iter().map(|mode| mode.name()).collect();
                return Err(NotApplicable(format!(
                    "--{option} changes nothing with --mode {}; leave it out, or choose --mode {}",
                    mode.name(),
                    modes.join(" or ")
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_known_to_its_circuit_and_modes_only() {
        for rule in RULES {
            let given = Given(vec![rule.option.into(), "seed".into()]);
            for circuit in [Circuit::Exact, Circuit::Packed] {
                for &mode in ALL_MODES {
                    let known = circuit == rule.circuit && rule.modes.contains(&mode);
                    assert_eq!(
                        given.check(&[circuit], Some(mode)).is_ok(),
                        known,
                        "{} {circuit:?} {mode:?}",
                        rule.option
                    );
                }
                assert_eq!(given.check(&[circuit], None).is_ok(), circuit == rule.circuit);
            }
            assert!(given.check(&[Circuit::Exact, Circuit::Packed], None).is_ok());
        }
        assert!(Given(vec!["bits".into()]).check(&[Circuit::Packed], Some(Mode::Clear)).is_ok());
    }
}
