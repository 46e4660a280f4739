//! What the exact circuit has of its own.

use nn::clear::ClearEvaluator;
use nn::integer::{IntegerAttention, IntegerProgram};
use nn::matrix::Matrix;
use nn::packed::Span;
use nn::quantizers::Saturation;
use nn::table::LookupTable;
use nn::watched::Watcher;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::Needs;
use tfhe_core::random::SampleSeed;
use tfhe_core::torus;

use crate::client::Client;
use crate::integer::encoding::IntegerEncoding;
use crate::integer::evaluator::IntegerEvaluator;
use crate::integer::multiply::Multiply;
use crate::integer::prediction::Predictor;
use crate::integer::prepared::{PreparedProgram, evaluate};
use crate::integer::simulated::SimulatedIntegers;
use crate::integer::tensor::{Integer, IntegerTensor};
use crate::track::Observer;
use crate::track::statistics::Statistics;

use super::error::RunError;
use super::lowering::{Lowering, Reference, ShownOf};
use super::plan::{Plan, plan_exact};
use super::trace::{Collector, NoisyNumber, WatchedPass};

/// A part of a layer's attention in integers, and how ciphertexts are multiplied.
#[derive(Clone, Debug)]
pub struct ExactAttention {
    /// Both halves.
    pub quantized: IntegerAttention,
    /// How two encrypted integers are multiplied.
    pub multiply: Multiply,
}

impl ExactAttention {
    pub(super) fn program(&self) -> &IntegerProgram {
        self.quantized.program()
    }
}

impl Lowering for ExactAttention {
    type Prepared = PreparedProgram;

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

    fn plan(&self, span: Span) -> Result<Plan, RunError> {
        plan_exact(&self.quantized, span.tokens(), self.multiply)
    }

    /// As all rows are computed, whichever are asked for.
    fn plan_with_keys(&self, longest: &Plan, _: Span) -> Result<Plan, RunError> {
        Ok(longest.clone())
    }

    fn reference(&self, input: &Matrix<i32>, span: Span) -> Reference {
        let mut evaluator = ClearEvaluator::new();
        let integers = self.program().evaluate_clear(&mut evaluator, input);
        Reference {
            numbers: integers.map(|&integer| integer as f64).row_range(span.rows()),
            out_of_range: evaluator.out_of_range() + evaluator.overflows(),
            statistics: Statistics::of_clear(&evaluator),
            input: input.clone(),
            span,
        }
    }

    fn simulate_watched(
        &self,
        reference: &Reference,
        plan: &Plan,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
        pass: Option<&mut WatchedPass<NoisyNumber>>,
    ) -> Result<(Matrix<f64>, Statistics), RunError> {
        let predictor = Predictor::new(&plan.parameters)?;
        let backend = SimulatedIntegers::new(predictor.clone(), seed);
        let mut evaluator = IntegerEvaluator::new(backend, predictor, self.multiply, self.program(), observer);
        let (input, span) =
            (IntegerTensor::Input(reference.input.clone(), self.program().accumulator_bits()), reference.span);
        let seen = |shown: &Integer<u64>, _: Option<&LookupTable>| NoisyNumber::drawn(torus::to_f64(shown.ciphertext));
        let mut collector = pass.map(|pass| Collector::new(pass, seen));
        let watcher = collector.as_mut().map(|collector| collector as &mut dyn Watcher<_, _>);
        let output = evaluate(self.program(), &mut evaluator, (&input, span.tokens()), watcher)?;
        let number = |row: usize, column: usize| {
            let Integer { ciphertext, bits, .. } = output[span.rows().start + row][column];
            torus::decode(ciphertext, bits + 1) as f64
        };
        let numbers = Matrix::from_fn(span.rows().len(), self.output_size(), number);
        Ok((numbers, evaluator.statistics().clone()))
    }

    fn tolerance(&self, _: &Reference, _: &Plan) -> Result<Option<Matrix<f64>>, RunError> {
        Ok(None)
    }

    fn unexplained(&self, reference: &Reference, _: &Plan, numbers: &Matrix<f64>) -> Result<usize, RunError> {
        let pairs = numbers.iter().zip(reference.numbers.iter());
        Ok(pairs.filter(|(number, clear)| number != clear).count())
    }

    fn needs(&self, plan: &Plan) -> Result<Needs, RunError> {
        Ok(Predictor::needs(&plan.parameters, self.multiply, self.program().input_bits(), self.program().is_whole()))
    }

    fn bound(&self, seed: &ClientSeed) -> ClientSeed {
        let seed = seed.bound_to(self.multiply.name(), self.program().input_bits().into());
        seed.bound_to("whole attention", self.program().is_whole().into())
    }

    fn seen(client: &Client, shown: &ShownOf<Self>) -> NoisyNumber {
        NoisyNumber::drawn(torus::to_f64(client.phase(None, Some(&shown.ciphertext))))
    }

    fn prepare(&self, _: &Parameters) -> Result<PreparedProgram, RunError> {
        Ok(PreparedProgram { program: self.program().clone(), multiply: self.multiply })
    }

    fn is_of(&self, prepared: &PreparedProgram) -> bool {
        prepared.program == *self.program() && prepared.multiply == self.multiply
    }

    fn encoding(&self, (plan, span): (&Plan, Span)) -> Result<IntegerEncoding, RunError> {
        Ok(IntegerEncoding::new(&plan.parameters, self.program(), span.tokens()))
    }

    fn numbers(&self, decrypted: Matrix<f64>, _: &IntegerEncoding, span: Span) -> Result<Matrix<f64>, RunError> {
        Ok(decrypted.row_range(span.rows()))
    }
}
