//! What the exact circuit has of its own.

use std::time::Instant;

use nn::clear::ClearEvaluator;
use nn::integer::{IntegerAttention, IntegerProgram};
use nn::matrix::Matrix;
use nn::packed::Span;
use nn::quantizers::Saturation;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::keys::EvaluationKeys;
use tfhe_core::random::SampleSeed;

use crate::boundary::Refused;
use crate::client::{Client, nearest_integer};
use crate::engine::plan::{Multiply, Predictor};
use crate::engine::simulated::Simulated;
use crate::engine::statistics::Statistics;
use crate::engine::{HomomorphicEngine, Integer, IntegerTensor, Observer};
use crate::server::Server;

use super::error::RunError;
use super::lowering::{Lowering, Reference, RunOutput};
use super::outcome::Seconds;
use super::plan::{Bytes, ExactPlan};

/// A part of a layer's attention in integers, and how ciphertexts are multiplied.
#[derive(Clone, Debug)]
pub struct ExactAttention {
    /// Both halves.
    pub quantized: IntegerAttention,
    /// How two encrypted integers are multiplied.
    pub multiply: Multiply,
}

/// Keys of one client: for every attention of the same width, with the same products.
pub struct ExactParties {
    client: Client,
    evaluation_keys: EvaluationKeys,
    evaluation_key_bytes: usize,
    keygen_seconds: f64,
}

impl ExactAttention {
    fn program(&self) -> &IntegerProgram {
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
        let mut evaluator = ClearEvaluator::new();
        let integers = self.program().evaluate_clear(&mut evaluator, input);
        Reference {
            numbers: rows(&integers, span),
            out_of_range: evaluator.out_of_range() + evaluator.overflows(),
            statistics: Statistics::of_clear(&evaluator),
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
        let predictor = Predictor::new(&plan.parameters)?;
        let backend = Simulated::new(predictor.clone(), seed);
        let mut engine = HomomorphicEngine::new(backend, predictor, self.multiply, self.program(), observer);
        let input = IntegerTensor::Input(input.clone());
        let output = self.program().evaluate(&mut engine, &input, span.tokens())?;
        let integer = |row, column| {
            let Integer { ciphertext, bits, .. }: &Integer<u64> = &output[row][column];
            nearest_integer(*ciphertext, *bits)
        };
        let integers = Matrix::from_fn(span.tokens(), self.output_size(), integer);
        Ok((rows(&integers, span), engine.statistics().clone()))
    }

    fn tolerance(&self, _: &Reference<()>, _: &ExactPlan) -> Option<Matrix<f64>> {
        None
    }

    fn unexplained(&self, reference: &Reference<()>, _: &ExactPlan, numbers: &Matrix<f64>) -> usize {
        let pairs = numbers.iter().zip(reference.numbers.iter());
        pairs.filter(|(number, clear)| number != clear).count()
    }

    fn parties(&self, plan: &ExactPlan, seed: &ClientSeed) -> Result<ExactParties, RunError> {
        let start = Instant::now();
        let program = self.program();
        let seed = seed.bound_to(self.multiply.name(), program.input_bits().into());
        let seed = seed.bound_to("whole attention", program.is_whole().into());
        let client = Client::new(&plan.parameters, &seed).map_err(Refused::from)?;
        let seeded = client.evaluation_keys(self.multiply, program.input_bits(), program.is_whole())?;
        let evaluation_key_bytes = seeded.bytes();
        let evaluation_keys = seeded.prepare().map_err(Refused::from)?;
        let keygen_seconds = start.elapsed().as_secs_f64();
        Ok(ExactParties { client, evaluation_keys, evaluation_key_bytes, keygen_seconds })
    }

    fn answer(
        &self,
        parties: &mut ExactParties,
        input: &Matrix<i32>,
        (_, span): (&ExactPlan, Span),
        observer: &mut dyn Observer,
    ) -> Result<RunOutput, RunError> {
        let start = Instant::now();
        let request = parties.client.encrypt(input, self.program().accumulator_bits())?;
        let encrypt = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let server = Server::new(self.program(), &parties.evaluation_keys, self.multiply)?;
        let (response, statistics) = server.evaluate(&request, observer)?;
        let evaluate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let size = (input.rows(), self.output_size());
        let integers = parties.client.decrypt(&response, request.request.label(), size)?;
        let decrypt = start.elapsed().as_secs_f64();
        let keygen = parties.keygen_seconds;
        Ok(RunOutput {
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
