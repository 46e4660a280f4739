//! What a circuit has of its own, and what every mode does with it.

use std::time::Instant;

use nn::matrix::Matrix;
use nn::packed::Span;
use nn::quantizers::Saturation;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::Needs;
use tfhe_core::random::SampleSeed;

use super::error::{RunError, check_finite};
use super::keys::KeyPair;
use super::outcome::{Outcome, Seconds};
use super::plan::{Bytes, Plan};
use super::trace::{Collector, NoisyNumber, WatchedPass};
use crate::client::Client;
use crate::encoding::Encoding;
use crate::server::{Prepared, Server, WatcherOf};
use crate::track::Observer;
use crate::track::statistics::Statistics;

/// What the clear engine computes: what answers are compared with. It is no part of the way of a request.
#[derive(Clone, Debug)]
pub struct Reference {
    /// `[T, E]`: what it was computed from.
    pub input: Matrix<i32>,
    /// The rows that were computed.
    pub span: Span,
    /// `[rows, O]`, in units of the output's integers.
    pub numbers: Matrix<f64>,
    /// Arguments of lookups, products and outputs that left their ranges.
    pub out_of_range: usize,
    /// Lookups by step.
    pub statistics: Statistics,
}

/// What came back to a client, decrypted.
#[derive(Clone, Debug)]
pub struct RunOutput {
    /// `[rows, O]`, in units of the output's integers.
    pub numbers: Matrix<f64>,
    /// What the server did.
    pub statistics: Statistics,
    /// Times. Those of keys are their making's, once for all answers.
    pub seconds: Seconds,
    /// Sizes.
    pub bytes: Bytes,
}

/// A client and its server, for every attention whose keys are the same.
pub struct Parties<L: Lowering> {
    keys: KeyPair,
    /// Of the longest input.
    pub(super) plan: Plan,
    /// The attentions that were run, to be used again.
    prepared: Vec<L::Prepared>,
}

impl<L: Lowering> Parties<L> {
    /// The index of what is prepared of `attention`.
    fn prepare(&mut self, attention: &L) -> Result<usize, RunError> {
        if let Some(index) = self.prepared.iter().position(|prepared| attention.is_of(prepared)) {
            return Ok(index);
        }
        self.prepared.push(attention.prepare(self.keys.evaluation_keys.parameters())?);
        Ok(self.prepared.len() - 1)
    }
}

/// How requests for an attention are encoded.
pub type EncodingOf<L> = <<L as Lowering>::Prepared as Prepared>::Encoding;

/// A number of an attention's computation, as whoever watches the server sees it.
pub type ShownOf<L> = <<L as Lowering>::Prepared as Prepared>::Shown;

/// What an attention looks up.
pub type TableOf<L> = <<L as Lowering>::Prepared as Prepared>::Table;

/// What `work` gives, and its seconds.
pub(super) fn timed<T>(work: impl FnOnce() -> Result<T, RunError>) -> Result<(T, f64), RunError> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed().as_secs_f64()))
}

/// A part of a layer's attention, quantized for one circuit.
///
/// O is the size of an output: d of one head, E of the whole attention. Numbers are in units of the output's integers.
pub trait Lowering: Sized {
    /// What a server has of it.
    type Prepared: Prepared;

    /// O.
    fn output_size(&self) -> usize;

    /// The client's integers, `[T, E]`.
    ///
    /// # Errors
    /// If the input does not fit.
    fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, nn::Error>;

    /// What [`Self::quantize_input`] cuts off.
    fn saturation(&self, hidden: &Matrix<f32>) -> Saturation;

    /// What numbers stand for.
    fn dequantize_output(&self, numbers: &Matrix<f64>) -> Matrix<f32>;

    /// Plans a run on the tokens of `span`.
    ///
    /// # Errors
    /// [`RunError`]: that it cannot be run, or not reliably.
    fn plan(&self, span: Span) -> Result<Plan, RunError>;

    /// The same, with keys that were made for the plan of the longest input.
    ///
    /// # Errors
    /// As [`Self::plan`].
    fn plan_with_keys(&self, _longest: &Plan, span: Span) -> Result<Plan, RunError> {
        self.plan(span)
    }

    /// The rows of `span` on plain numbers.
    fn reference(&self, input: &Matrix<i32>, span: Span) -> Reference;

    /// The same with drawn noise.
    ///
    /// # Errors
    /// [`RunError::Evaluation`].
    fn simulate(
        &self,
        reference: &Reference,
        plan: &Plan,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
    ) -> Result<(Matrix<f64>, Statistics), RunError> {
        self.simulate_watched(reference, plan, seed, observer, None)
    }

    /// The same; a pass, if there is one, gets every number on the way.
    ///
    /// # Errors
    /// As [`Self::simulate`].
    fn simulate_watched(
        &self,
        reference: &Reference,
        plan: &Plan,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
        pass: Option<&mut WatchedPass<NoisyNumber>>,
    ) -> Result<(Matrix<f64>, Statistics), RunError>;

    /// How far numbers may be from the reference's by the predicted noise. `None`: not at all.
    ///
    /// # Errors
    /// As [`Self::simulate`].
    fn tolerance(&self, reference: &Reference, plan: &Plan) -> Result<Option<Matrix<f64>>, RunError>;

    /// How many rows (or numbers, where none may differ) are farther from the reference's than the plan predicts.
    ///
    /// # Errors
    /// [`RunError::OtherCircuit`] if the plan is not of the circuit.
    fn unexplained(&self, reference: &Reference, plan: &Plan, numbers: &Matrix<f64>) -> Result<usize, RunError>;

    /// The evaluation keys that runs as planned need.
    ///
    /// # Errors
    /// [`RunError::OtherCircuit`] if the plan is not of the circuit.
    fn needs(&self, plan: &Plan) -> Result<Needs, RunError>;

    /// The seed, bound to what attentions have in common that use the same keys.
    fn bound(&self, seed: &ClientSeed) -> ClientSeed {
        seed.clone()
    }

    /// What a server has of it, for a parameter set.
    ///
    /// # Errors
    /// If the set is not one of the circuit.
    fn prepare(&self, parameters: &Parameters) -> Result<Self::Prepared, RunError>;

    /// Whether that is of this attention.
    fn is_of(&self, prepared: &Self::Prepared) -> bool;

    /// How a request for the rows of `span` is encoded.
    ///
    /// # Errors
    /// If the plan's set is not one of the circuit.
    fn encoding(&self, planned: (&Plan, Span)) -> Result<EncodingOf<Self>, RunError>;

    /// The rows of `span` of what was decrypted.
    ///
    /// # Errors
    /// If it is not of this attention.
    fn numbers(&self, decrypted: Matrix<f64>, encoding: &EncodingOf<Self>, span: Span)
    -> Result<Matrix<f64>, RunError>;

    /// What the owner of the keys sees of a number on its way.
    fn seen(client: &Client, shown: &ShownOf<Self>) -> NoisyNumber;

    /// Makes all keys, for inputs of at most as many tokens as the plan's.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the plan's set is not one of the circuit.
    fn parties(&self, plan: &Plan, seed: &ClientSeed) -> Result<Parties<Self>, RunError> {
        let circuit = <EncodingOf<Self> as Encoding>::CIRCUIT;
        let keys = KeyPair::new(circuit, &plan.parameters, &self.needs(plan)?, &self.bound(seed))?;
        Ok(Parties { keys, plan: plan.clone(), prepared: Vec::new() })
    }

    /// Encrypts, evaluates, decrypts the rows of `span`.
    ///
    /// # Errors
    /// [`RunError::Randomness`], [`RunError::Refused`], [`RunError::Evaluation`].
    fn answer(
        &self,
        parties: &mut Parties<Self>,
        input: &Matrix<i32>,
        planned: (&Plan, Span),
        observer: &mut dyn Observer,
    ) -> Result<RunOutput, RunError> {
        self.answer_watched(parties, input, planned, observer, None)
    }

    /// The same; a pass, if there is one, gets every number of the server's operations, decrypted.
    ///
    /// # Errors
    /// As [`Self::answer`].
    fn answer_watched(
        &self,
        parties: &mut Parties<Self>,
        input: &Matrix<i32>,
        planned: (&Plan, Span),
        observer: &mut dyn Observer,
        pass: Option<&mut WatchedPass<NoisyNumber>>,
    ) -> Result<RunOutput, RunError> {
        let (index, prepare) = timed(|| parties.prepare(self))?;
        let (encoding, keys) = (self.encoding(planned)?, &parties.keys.evaluation_keys);
        let (request, encrypt) = timed(|| Ok(parties.keys.client.encrypt(input, &encoding)?))?;
        let client = &parties.keys.client;
        let seen = |shown: &ShownOf<Self>, _: Option<&TableOf<Self>>| Self::seen(client, shown);
        let mut collector = pass.map(|pass| Collector::new(pass, seen));
        let watcher = collector.as_mut().map(|collector| collector as &mut WatcherOf<'_, Self::Prepared>);
        let server = Server::new(&parties.prepared[index], keys)?;
        let ((answer, statistics), evaluate) =
            timed(|| Ok(server.evaluate_watched(&request, &encoding, observer, watcher)?))?;
        let (numbers, decrypt) = timed(|| {
            let decrypted = parties.keys.client.decrypt(&answer, &encoding, request.label())?;
            self.numbers(decrypted, &encoding, planned.1)
        })?;
        let (keygen, evaluation_key) = (parties.keys.seconds, parties.keys.evaluation_key_bytes);
        Ok(RunOutput {
            numbers,
            seconds: Seconds { keygen, prepare, encrypt, evaluate, decrypt, ..Seconds::of_steps(&statistics) },
            statistics,
            bytes: Bytes { evaluation_key, request: request.bytes(), response: answer.bytes() },
        })
    }

    /// What a run gave, beside the reference. `plan`: of a run with noise.
    ///
    /// # Errors
    /// [`RunError::NotFinite`].
    fn outcome(
        &self,
        hidden: &Matrix<f32>,
        reference: &Reference,
        answer: RunOutput,
        plan: Option<Plan>,
    ) -> Result<Outcome, RunError> {
        let [output, clear_output] =
            [&answer.numbers, &reference.numbers].map(|numbers| self.dequantize_output(numbers));
        [&output, &clear_output].into_iter().try_for_each(check_finite)?;
        let RunOutput { numbers, statistics, seconds, bytes } = answer;
        let tolerance = plan.as_ref().map(|plan| self.tolerance(reference, plan)).transpose()?;
        Ok(Outcome {
            tolerance: tolerance.flatten(),
            output,
            clear_output,
            numbers,
            clear_numbers: reference.numbers.clone(),
            out_of_range: reference.out_of_range,
            saturation: self.saturation(hidden),
            statistics,
            seconds,
            bytes,
            plan,
        })
    }

    /// The rows of `span` on plain numbers.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::NotFinite`].
    fn run_clear(&self, hidden: &Matrix<f32>, span: Span) -> Result<Outcome, RunError> {
        let input = self.quantize_input(hidden)?;
        let start = Instant::now();
        let reference = self.reference(&input, span);
        let answer = RunOutput::computed(reference.numbers.clone(), reference.statistics.clone(), start);
        self.outcome(hidden, &reference, answer, None)
    }

    /// The rows of `span` on plain numbers with drawn noise.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::NotFinite`], [`RunError::Evaluation`]; as [`Self::plan`].
    fn run_simulated(
        &self,
        hidden: &Matrix<f32>,
        span: Span,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let input = self.quantize_input(hidden)?;
        let plan = self.plan(span)?;
        let start = Instant::now();
        let reference = self.reference(&input, span);
        let (numbers, statistics) = self.simulate(&reference, &plan, seed, observer)?;
        self.outcome(hidden, &reference, RunOutput::computed(numbers, statistics, start), Some(plan))
    }

    /// An encrypted run, compared with the clear engine when it is over.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::NotFinite`]; as [`Self::answer`].
    fn execute(
        &self,
        parties: &mut Parties<Self>,
        hidden: &Matrix<f32>,
        span: Span,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let plan = self.plan_with_keys(&parties.plan, span)?;
        let input = self.quantize_input(hidden)?;
        let answer = self.answer(parties, &input, (&plan, span), observer)?;
        self.outcome(hidden, &self.reference(&input, span), answer, Some(plan))
    }
}

impl RunOutput {
    /// Of what was computed in the clear since `start`.
    pub(super) fn computed(numbers: Matrix<f64>, statistics: Statistics, start: Instant) -> Self {
        let evaluate = start.elapsed().as_secs_f64();
        let seconds = Seconds { evaluate, ..Seconds::of_steps(&statistics) };
        Self { numbers, statistics, seconds, bytes: Bytes::default() }
    }
}
