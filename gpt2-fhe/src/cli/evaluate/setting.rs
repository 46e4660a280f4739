//! What `evaluate` is asked: a model, a text, circuits with numbers of bits.

use anyhow::bail;
use gpt2_fhe::evaluate::{Evaluation, Passage, Simulation, Subject, sample, shuffled, windows};
use gpt2_fhe::run::{Attention, Circuit, Mode, RunError};
use nn::integer::IntegerOptions;
use nn::matrix::Matrix;
use nn::packed::PackedOptions;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

use super::figures::{AgreementReport, Figures, Row, RowLabel, Unavailable};
use crate::cli::arguments::{EvaluateArguments, Recipe, bits_of};
use crate::cli::input::quantize;
use crate::cli::model::LanguageModel;
use crate::cli::progress::{Counter, Progress, while_showing};
use crate::cli::source::read_text;
use crate::cli::stored::Loaded;

/// The most windows of a text that are calibrated on.
pub(super) const CALIBRATION_WINDOWS: usize = 16;
/// The seed of the order in which the control has the weights: the same in every run.
const SHUFFLE: u64 = 1;
/// How many positions are encrypted unless `--positions` says so.
pub(super) const SAMPLE: usize = 8;
/// What noise may be multiplied by.
const NOISE: std::ops::RangeInclusive<f64> = 0.0..=1000.0;

/// A circuit with a number of bits.
pub(super) struct Candidate {
    pub(super) width: (Circuit, u32),
    /// Of files; what is not is to be calibrated.
    loaded: Option<Loaded>,
}

impl Candidate {
    /// What the keys of candidate number `index` are made from: no two candidates have anything in common.
    fn bound(&self, seed: &ClientSeed, index: u64) -> ClientSeed {
        let (circuit, bits) = self.width;
        seed.bound_to("candidate", index).bound_to(circuit.name(), bits.into())
    }
}

/// What the files hold, or each circuit with each number of bits.
pub(super) fn candidates(arguments: &EvaluateArguments, files: Vec<Loaded>) -> anyhow::Result<Vec<Candidate>> {
    if !files.is_empty() {
        files.iter().try_for_each(|file| file.check_place(&arguments.place))?;
        return Ok(files.into_iter().map(|file| Candidate { width: file.width(), loaded: Some(file) }).collect());
    }
    let circuits = match arguments.circuit {
        Some(circuit) => vec![circuit],
        None => vec![Circuit::Exact, Circuit::Packed],
    };
    let asked = arguments.bits.as_deref().map(parse_bits).transpose()?;
    let of_any = |bits: u32| circuits.iter().any(|&circuit| bits_of(circuit).contains(&bits));
    if let Some(bits) = asked.iter().flatten().find(|&&bits| !of_any(bits)) {
        let possible = circuits.iter().map(|&circuit| {
            let bits = bits_of(circuit);
            format!("in {} ..= {} with the circuit {}", bits.start(), bits.end(), circuit.name())
        });
        bail!("--bits has {bits}; it must be {}", possible.collect::<Vec<_>>().join(", and "));
    }
    let widths = circuits.into_iter().flat_map(|circuit| {
        let bits = asked.clone().unwrap_or_else(|| bits_of(circuit).collect());
        bits.into_iter().map(move |bits| (circuit, bits))
    });
    Ok(widths.map(|width| Candidate { width, loaded: None }).collect())
}

/// The numbers of bits that "4", "2..11" or "2,4,8" name.
fn parse_bits(text: &str) -> anyhow::Result<Vec<u32>> {
    // A range may be long; no circuit has more bits than this.
    let largest = *IntegerOptions::BITS.end();
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let range = first.trim().parse().ok().zip(last.trim().parse().ok());
        let Some((first, last)) = range.filter(|(first, last): &(u32, u32)| first <= last) else {
            bail!("--bits is {text:?}; give it numbers as 4, 2..11 or 2,4,8");
        };
        if last > largest {
            bail!("--bits is {text:?}; numbers of bits must be in {} ..= {largest}", IntegerOptions::BITS.start());
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// What is evaluated, and on what.
pub(super) struct Setting<'a> {
    pub(super) arguments: &'a EvaluateArguments,
    pub(super) model: &'a LanguageModel,
    evaluation: Evaluation<'a>,
    /// Of what is not encrypted: positions, controls, simulated noise.
    samples: SampleSeed,
    /// The tokens of the text, from `--from` on.
    pub(super) text: Vec<u32>,
    /// Tokens of a window.
    pub(super) window: usize,
    pub(super) passages: Vec<Passage>,
    /// Inputs to calibrate on; none where all candidates are from files.
    pub(super) calibration: Vec<Matrix<f32>>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(
        arguments: &'a EvaluateArguments,
        model: &'a LanguageModel,
        candidates: &[Candidate],
    ) -> anyhow::Result<Self> {
        if let Some(factor) = arguments.noise.iter().find(|factor| !NOISE.contains(factor)) {
            bail!("--noise has {factor}; factors must be in {} ..= {}", NOISE.start(), NOISE.end());
        }
        let evaluation = Evaluation::new(&model.gpt2, arguments.place.layer, arguments.place.part())?;
        let window = window(arguments, model, candidates)?;
        let text = text_from(&read_text(&arguments.text, "--text")?, arguments.from)?;
        let text = while_showing("splitting the text into tokens", || model.encode(&text))?;
        let samples = arguments.resources.sample_seed()?;
        let passages = match arguments.mode {
            Mode::Execute => sample(&text, window, arguments.positions.unwrap_or(SAMPLE), &samples.derive(0))?,
            Mode::Clear | Mode::Simulate => windows(&text, window, arguments.positions)?,
        };
        let mut calibration = Vec::new();
        if candidates.iter().any(|candidate| candidate.loaded.is_none()) {
            for text in model.calibration_texts(arguments.calibration_text.as_deref(), "--calibration-text")? {
                calibration.extend(windows(&text, window, None)?);
            }
            calibration.truncate(CALIBRATION_WINDOWS);
        }
        let calibration = evaluation.inputs(&calibration)?;
        Ok(Self { arguments, model, evaluation, samples, text, window, passages, calibration })
    }

    /// The attention quantized for a circuit; an `Err` within, why the circuit does not have this number of bits.
    fn quantize(&self, candidate: &Candidate) -> anyhow::Result<Result<Attention, String>> {
        let weights = self.model.gpt2.attention(self.arguments.place.layer)?;
        if let Some(loaded) = &candidate.loaded {
            loaded.check_sizes(weights, "the model")?;
            return Ok(Ok(loaded.attention.clone()));
        }
        let (circuit, bits) = candidate.width;
        let allowed = bits_of(circuit);
        if !allowed.contains(&bits) {
            let (least, most) = (allowed.start(), allowed.end());
            return Ok(Err(format!("the circuit {} has inputs of {least} to {most} bits", circuit.name())));
        }
        let (options, multiply) = (&self.arguments.quantization, self.arguments.multiplication.multiply);
        let recipe = Recipe { circuit, bits, multiply, options };
        let quantized = quantize(weights, self.arguments.place.part(), &self.calibration, self.window, recipe);
        match quantized {
            Ok(attention) => Ok(Ok(attention)),
            Err(error) if matches!(error.downcast_ref(), Some(nn::Error::TooWide { .. })) => Ok(Err(error.to_string())),
            Err(error) => Ok(Err(self.unavailable(error.downcast::<RunError>()?)?)),
        }
    }

    /// Why a circuit does not have a number of bits.
    fn unavailable(&self, error: RunError) -> Result<String, RunError> {
        let place = &self.arguments.place;
        unavailable(error.in_layer(place.layer).of_part(place.part()))
    }

    /// f32 and the controls.
    fn controls(&self) -> anyhow::Result<Vec<(RowLabel, Subject)>> {
        let weights = self.model.gpt2.attention(self.arguments.place.layer)?;
        let shuffled = shuffled(weights, &SampleSeed::from_number(SHUFFLE).derive(1))?;
        Ok(vec![
            (RowLabel::control("f32"), Subject::Unchanged),
            (RowLabel::control("zeroed"), Subject::Zeroed),
            (RowLabel::control("shuffled"), Subject::Other(Box::new(shuffled))),
        ])
    }

    /// All positions in the clear, or simulated.
    pub(super) fn evaluate(&self, candidates: &[Candidate]) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let mut subjects = self.controls()?;
        let counter = Counter::new("quantizing", candidates.len());
        for candidate in candidates {
            match self.subjects(candidate)? {
                Ok(some) => subjects.extend(some),
                Err(reason) => figures.unavailable.push(Unavailable::new(candidate.width, reason)),
            }
            counter.advance();
        }
        drop(counter);
        figures.rows = self.measure(subjects)?;
        Ok(figures)
    }

    fn measure(&self, subjects: Vec<(RowLabel, Subject)>) -> anyhow::Result<Vec<Row>> {
        let (labels, subjects): (Vec<_>, Vec<_>) = subjects.into_iter().unzip();
        let counter = Counter::new("measuring the windows", self.passages.len());
        // A signal ends the process by itself: nothing stops this from here.
        let advance = || {
            counter.advance();
            true
        };
        let accuracies = self.evaluation.run(&self.passages, &subjects, &advance)?;
        Ok(labels.into_iter().zip(accuracies).map(|(label, accuracy)| Row { label, accuracy }).collect())
    }

    /// What is evaluated of one circuit with one number of bits.
    fn subjects(&self, candidate: &Candidate) -> anyhow::Result<Result<Vec<(RowLabel, Subject)>, String>> {
        let width = candidate.width;
        let attention = match self.quantize(candidate)? {
            Ok(attention) => attention,
            Err(reason) => return Ok(Err(reason)),
        };
        if self.arguments.mode == Mode::Clear {
            return Ok(Ok(vec![(RowLabel::quantized(width, Mode::Clear, None), Subject::Clear(attention))]));
        }
        let factors = match width.0 {
            Circuit::Exact => &[1.0][..],
            Circuit::Packed => &self.arguments.noise,
        };
        let mut subjects = Vec::new();
        for &factor in factors {
            let label = RowLabel::quantized(width, Mode::Simulate, Some(factor));
            match Simulation::new(attention.clone(), &self.passages, factor, self.samples.derive(2)) {
                Ok(simulation) => subjects.push((label, Subject::Simulated(simulation))),
                Err(error) => return Ok(Err(self.unavailable(error)?)),
            }
        }
        Ok(Ok(subjects))
    }

    /// A sample of positions encrypted, and the same simulated.
    pub(super) fn execute(&self, candidates: &[Candidate]) -> anyhow::Result<Figures> {
        let mut figures = Figures { rows: self.measure(self.controls()?)?, ..Figures::default() };
        let seed = self.arguments.resources.client_seed()?;
        for (candidate, index) in candidates.iter().zip(0..) {
            match self.execute_one(candidate, &candidate.bound(&seed, index))? {
                Ok((rows, agreement)) => {
                    figures.rows.extend(rows);
                    figures.agreements.push(agreement);
                }
                Err(reason) => figures.unavailable.push(Unavailable::new(candidate.width, reason)),
            }
        }
        Ok(figures)
    }

    fn execute_one(
        &self,
        candidate: &Candidate,
        seed: &ClientSeed,
    ) -> anyhow::Result<Result<([Row; 2], AgreementReport), String>> {
        let width = candidate.width;
        let attention = match self.quantize(candidate)? {
            Ok(attention) => attention,
            Err(reason) => return Ok(Err(reason)),
        };
        let (samples, progress) = (self.samples.derive(3), &mut Progress::new(&attention));
        let agreement = match self.evaluation.execute(&self.passages, &attention, seed, &samples, progress) {
            Ok(agreement) => agreement,
            Err(error) => return Ok(Err(self.unavailable(error)?)),
        };
        let report = AgreementReport::new(width, &agreement);
        let row = |mode, accuracy| Row { label: RowLabel::quantized(width, mode, None), accuracy };
        let rows = [row(Mode::Execute, agreement.executed), row(Mode::Simulate, agreement.simulated)];
        Ok(Ok((rows, report)))
    }
}

/// Why a circuit cannot be run with a number of bits; other errors are errors of the command.
fn unavailable(error: RunError) -> Result<String, RunError> {
    match error {
        RunError::Unreliable { .. } | RunError::TooWide { .. } | RunError::TooLong { .. } | RunError::TooLarge(_) => {
            Ok(error.to_string())
        }
        error => Err(error),
    }
}

/// `--window`, or the most tokens that the model, both circuits and all files take.
fn window(arguments: &EvaluateArguments, model: &LanguageModel, candidates: &[Candidate]) -> anyhow::Result<usize> {
    let files = candidates.iter().filter_map(|candidate| candidate.loaded.as_ref());
    let limits = files.map(Loaded::max_tokens).chain([PackedOptions::MAX_TOKENS]);
    let most = limits.fold(model.gpt2.config().n_positions, usize::min);
    let window = arguments.window.unwrap_or(most);
    if !(1..=most).contains(&window) {
        bail!(
            "--window is {window}; it must be in 1 ..= {most}, the tokens that the model, the circuits and all of --quantized take"
        );
    }
    Ok(window)
}

/// What is left of a text without a share of its characters.
pub(super) fn text_from(text: &str, share: f64) -> anyhow::Result<String> {
    if !(0.0..1.0).contains(&share) {
        bail!("--from is {share}; it must be at least 0 and less than 1");
    }
    let skipped = (text.chars().count() as f64 * share) as usize;
    Ok(text.chars().skip(skipped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bits() {
        assert_eq!(parse_bits("4").unwrap(), [4]);
        assert_eq!(parse_bits("2..4").unwrap(), [2, 3, 4]);
        assert_eq!(parse_bits("8, 2..3,2").unwrap(), [2, 3, 8]);
        for text in ["", "x", "5..3", "2..12", "2..", "4,", "99999999999"] {
            assert!(parse_bits(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_of_characters() {
        assert_eq!(text_from("äbcdefghij", 0.9).unwrap(), "j");
        assert_eq!(text_from("äb", 0.0).unwrap(), "äb");
        assert!([1.0, -0.1, f64::NAN].iter().all(|&share| text_from("ab", share).is_err()));
    }
}
