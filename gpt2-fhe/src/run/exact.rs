//! What the exact circuit has of its own.

use std::ops::Deref;
use std::time::Instant;

use nn::clear::ClearEngine;
use nn::integer::{HeadProgram, QuantizedHead};
use nn::matrix::Matrix;
use nn::packed::Span;
use nn::quantizers::Saturation;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::keys::{EvaluationKeys, SeededEvaluationKeys};
use tfhe_core::noise;
use tfhe_core::params::Parameters;
use tfhe_core::random::SampleSeed;
use tfhe_core::{security, sets, wide};

use crate::client::{Client, nearest_integer};
use crate::engine::counted::Counted;
use crate::engine::plan::{Multiply, Predictor};
use crate::engine::simulated::Simulated;
use crate::engine::statistics::Statistics;
use crate::engine::{HomomorphicEngine, Observer, Unobserved};
use crate::server::Server;

use super::{Answer, Bytes, Forecast, Lowering, MAX_LOG2_FAILURE, Reference, RunError, Seconds};

/// The step in which the client reads the answer, of a plan.
const DECRYPTION: &str = "decryption";

/// A part of a layer's attention in integers, and how ciphertexts are multiplied.
#[derive(Clone, Debug)]
pub struct ExactAttention {
    /// Both halves.
    pub quantized: QuantizedHead,
    /// How two encrypted integers are multiplied.
    pub multiply: Multiply,
}

/// What will run. Its failure is that the run decrypts to anything but the clear engine's integers.
#[derive(Clone, Debug)]
pub struct ExactPlan {
    /// The parameter set.
    pub parameters: Parameters,
    forecast: Forecast,
}

impl Deref for ExactPlan {
    type Target = Forecast;

    fn deref(&self) -> &Forecast {
        &self.forecast
    }
}

impl ExactPlan {
    /// Plans the head for `tokens` tokens, with the first named set that is reliable enough.
    ///
    /// # Errors
    /// [`RunError::TooWide`], [`RunError::TooLong`], [`RunError::Unreliable`].
    pub fn new(head: &QuantizedHead, tokens: usize, multiply: Multiply) -> Result<Self, RunError> {
        let widest = head.program().factors().iter().map(|(_, factor)| factor.operand_bits).max();
        if let Some(bits) = widest.filter(|&bits| multiply == Multiply::Lut && bits > wide::MAX_BITS) {
            return Err(RunError::TooWide { bits, limit: wide::MAX_BITS });
        }
        let mut best = f64::INFINITY;
        for literal in [sets::HEAD_EXACT, sets::HEAD_EXACT_WIDE] {
            let parameters = literal.compile().expect("named sets are valid");
            let plan = Self::with_parameters(head, tokens, multiply, parameters)?;
            if plan.log2_failure_probability <= MAX_LOG2_FAILURE {
                return Ok(plan);
            }
            best = best.min(plan.log2_failure_probability);
        }
        // The union bound of a hopeless plan is above 1.
        Err(RunError::Unreliable { best: best.min(0.0) })
    }

    fn with_parameters(
        head: &QuantizedHead,
        tokens: usize,
        multiply: Multiply,
        parameters: Parameters,
    ) -> Result<Self, RunError> {
        let program = head.program();
        let size = parameters.polynomial_size().get();
        let length = tokens.max(program.head_size());
        if length > size {
            return Err(RunError::TooLong { length, size });
        }
        let predictor = Predictor::new(&parameters);
        let observer = &mut Unobserved;
        let mut engine = HomomorphicEngine::new(Counted, predictor.clone(), multiply, program, observer);
        let output = program.evaluate(&mut engine, &tokens, tokens)?;
        // The answer is packed, and its integers read by rounding.
        let decryption = output
            .iter()
            .map(|entry| predictor.decryption_failure(entry.noise.clone(), entry.bits))
            .fold(f64::NEG_INFINITY, noise::log2_sum);
        let mut statistics = engine.statistics().clone();
        statistics.step(DECRYPTION).log2_failure_probability = decryption;
        let forecast = Forecast {
            log2_failure_probability: statistics.log2_failure_probability(),
            statistics,
            bytes: Bytes::predict(&parameters, program, tokens, multiply),
            security_bits: security::parameters_level(&parameters).map(|level| level.bits),
            small_dimension: parameters.lwe_dimension().get(),
        };
        Ok(Self { parameters, forecast })
    }
}

/// Keys of one client: for every attention of the same width, with the same products.
pub struct ExactParties {
    client: Client,
    evaluation_keys: EvaluationKeys,
    evaluation_key_bytes: usize,
    keygen_seconds: f64,
}

impl ExactAttention {
    fn program(&self) -> &HeadProgram {
        self.quantized.program()
    }
}

impl Lowering for ExactAttention {
    type Plan = ExactPlan;
    type Engine<'a> = ();
    type Parties = ExactParties;

    fn output_size(&self) -> usize {
        self.program().output_size()
    }

    fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, nn::Error> {
        self.quantized.client().quantize_input(hidden)
    }

    fn saturation(&self, hidden: &Matrix<f32>) -> Saturation {
        self.quantized.client().saturation(hidden)
    }

    fn dequantize_output(&self, numbers: &Matrix<f64>) -> Matrix<f32> {
        self.quantized.client().dequantize_output(&numbers.map(|&integer| integer as i64))
    }

    fn plan(&self, span: Span) -> Result<ExactPlan, RunError> {
        ExactPlan::new(&self.quantized, span.tokens(), self.multiply)
    }

    fn reference(&self, input: &Matrix<i32>, span: Span) -> Reference<()> {
        let mut engine = ClearEngine::new();
        let integers = self.program().evaluate_clear(&mut engine, input);
        Reference {
            numbers: rows(&integers, span),
            out_of_range: engine.out_of_range() + engine.overflows(),
            statistics: Statistics::of_clear(&engine),
            engine: (),
        }
    }

    fn simulate(
        &self,
        _: &Reference<()>,
        input: &Matrix<i32>,
        (plan, span): (&ExactPlan, Span),
        seed: &SampleSeed,
        observer: &mut dyn Observer,
    ) -> Result<(Matrix<f64>, Statistics), RunError> {
        let predictor = Predictor::new(&plan.parameters);
        let backend = Simulated::new(predictor.clone(), seed);
        let mut engine = HomomorphicEngine::new(backend, predictor, self.multiply, self.program(), observer);
        let output = self.program().evaluate(&mut engine, input, input.rows())?;
        let integers = output.map(|entry| nearest_integer(entry.ciphertext, entry.bits));
        Ok((rows(&integers, span), engine.statistics().clone()))
    }

    fn tolerance(&self, _: &Reference<()>, _: &ExactPlan) -> Option<Matrix<f64>> {
        None
    }

    fn unexplained(&self, reference: &Reference<()>, _: &ExactPlan, numbers: &Matrix<f64>) -> usize {
        let pairs = numbers.iter().zip(reference.numbers.iter());
        pairs.filter(|(number, clear)| number != clear).count()
    }

    fn parties(&self, plan: &ExactPlan, seed: &ClientSeed) -> ExactParties {
        let start = Instant::now();
        let program = self.program();
        let seed = seed.bound_to(self.multiply.name(), program.input_bits().into());
        let seed = seed.bound_to("whole attention", program.is_whole().into());
        let client = Client::new(&plan.parameters, &seed);
        let seeded = client.evaluation_keys(self.multiply, program.input_bits(), program.is_whole());
        let evaluation_key_bytes = seeded.bytes();
        let evaluation_keys = seeded.prepare();
        ExactParties { client, evaluation_keys, evaluation_key_bytes, keygen_seconds: start.elapsed().as_secs_f64() }
    }

    fn answer(
        &self,
        parties: &mut ExactParties,
        input: &Matrix<i32>,
        (_, span): (&ExactPlan, Span),
        observer: &mut dyn Observer,
    ) -> Result<Answer, RunError> {
        let start = Instant::now();
        let request = parties.client.encrypt(input, self.program().accumulator_bits())?;
        let encrypt = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let server = Server::new(self.program(), &parties.evaluation_keys, self.multiply);
        let (response, statistics) = server.evaluate(&request, observer)?;
        let evaluate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let integers = parties.client.decrypt(&response);
        let decrypt = start.elapsed().as_secs_f64();
        let keygen = parties.keygen_seconds;
        Ok(Answer {
            numbers: rows(&integers, span),
            seconds: Seconds { keygen, encrypt, evaluate, decrypt, ..Seconds::of_steps(&statistics) },
            statistics,
            bytes: Bytes {
                evaluation_key: parties.evaluation_key_bytes,
                request: request.bytes(),
                response: response.bytes(),
            },
        })
    }
}

/// The rows of `span` of all.
fn rows(all: &Matrix<i64>, span: Span) -> Matrix<f64> {
    let first = span.rows().start;
    Matrix::from_fn(span.rows().len(), all.cols(), |row, column| all[(first + row, column)] as f64)
}

impl Bytes {
    /// Of a program on `tokens` tokens: seeded keys; ⌈E/N⌉ seeded ciphertexts per token; as many ciphertexts of the
    /// answer as hold T·d numbers of one head, or T·E of a whole attention.
    fn predict(parameters: &Parameters, program: &HeadProgram, tokens: usize, multiply: Multiply) -> Self {
        let (shape, n) = (parameters.glwe_shape(), parameters.polynomial_size().get());
        let gadgets = Predictor::gadgets(multiply, program.input_bits(), program.is_whole());
        let request = tokens * program.embedding_size().div_ceil(n);
        let response = (tokens * program.output_size()).div_ceil(n);
        Self {
            evaluation_key: SeededEvaluationKeys::predicted_bytes(parameters, &gadgets, multiply == Multiply::Product),
            request: request * SeededGlweCiphertext::bytes_of_shape(shape),
            response: response * shape.ciphertext_len() * size_of::<u64>(),
        }
    }
}
