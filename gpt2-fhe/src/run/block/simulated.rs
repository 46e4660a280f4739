//! Blocks with drawn noise, request after request.

use nn::block::BlockCache;
use nn::evaluator::Rows;
use nn::matrix::Matrix;
use tfhe_core::random::SampleSeed;

use crate::block::circuit::BlockCircuit;
use crate::block::evaluator::StreamEvaluator;
use crate::block::simulated::SimulatedBlock;
use crate::block::tensor::Held;
use crate::run::error::RunError;
use crate::track::statistics::Statistics;
use crate::track::{Observer, Unobserved};

/// One text with drawn noise.
pub(super) struct SimulatedText<'a> {
    circuit: &'a BlockCircuit,
    caches: Vec<BlockCache<StreamEvaluator<'a, SimulatedBlock>>>,
    seed: SampleSeed,
    requests: u64,
}

impl<'a> SimulatedText<'a> {
    /// Before the first token that is not public; noise of request i is drawn from seed i of `seed`.
    pub(super) fn new(circuit: &'a BlockCircuit, seed: SampleSeed) -> Self {
        let mut text = Self { circuit, caches: Vec::new(), seed, requests: 0 };
        // What is known has no noise.
        text.caches = circuit.program().caches(&mut text.evaluator(text.backend()));
        text
    }

    /// The answer in turns, of new tokens, and how long each step took.
    ///
    /// # Errors
    /// As the evaluator's.
    pub(super) fn advance(&mut self, turns: &Matrix<f64>) -> Result<(Matrix<f64>, Statistics), RunError> {
        let (fresh, shape) = (self.circuit.prediction().fresh(), [turns.rows(), turns.cols()]);
        let mut backend = self.backend();
        self.requests += 1;
        let stream = Held::fresh(backend.encrypt(turns, fresh), shape, fresh);
        let mut evaluator = self.evaluator(backend);
        let answer = self.circuit.program().answer(&mut evaluator, stream, &mut self.caches)?;
        let sent = self.circuit.prediction().answer(self.circuit.encoding(turns.rows()).answer, answer.noise().between);
        let answer = evaluator.backend_mut().answer(&answer.into_reals(), sent);
        Ok((answer, evaluator.statistics().clone()))
    }

    fn backend(&self) -> SimulatedBlock {
        let prediction = self.circuit.prediction();
        SimulatedBlock::new(*prediction.layout(), prediction.lookup_size(), &self.seed.derive(self.requests))
    }

    fn evaluator(&self, backend: SimulatedBlock) -> StreamEvaluator<'a, SimulatedBlock> {
        // It has no size: nothing is leaked.
        let observer: &'a mut dyn Observer = Box::leak(Box::new(Unobserved));
        StreamEvaluator::new(backend, self.circuit.prediction(), observer)
    }
}

/// Row by row.
pub(super) fn rows(matrix: &Matrix<f64>) -> Rows<f64> {
    (0..matrix.rows()).map(|row| matrix.row(row).to_vec()).collect()
}
