//! What a server has of an attention of the exact circuit before any request comes.

use nn::evaluator::{Evaluator, Rows};
use nn::integer::IntegerProgram;
use nn::table::LookupTable;
use nn::watched::{Inspected, Watched, Watcher};
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{EvaluationKeys, Mismatch};
use tfhe_core::lwe::LweCiphertext;

use super::ciphertexts::IntegerCiphertexts;
use super::encoding::IntegerEncoding;
use super::evaluator::IntegerEvaluator;
use super::multiply::Multiply;
use super::prediction::Predictor;
use super::tensor::{Integer, IntegerTensor};
use crate::boundary::Refused;
use crate::server::{Prepared, WatcherOf};
use crate::track::statistics::Statistics;
use crate::track::{EvaluationError, Observer};

/// An attention in integers, and how ciphertexts are multiplied.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedProgram {
    /// Weights and tables.
    pub program: IntegerProgram,
    /// How two encrypted integers are multiplied.
    pub multiply: Multiply,
}

/// The program on so many tokens, watched or not.
///
/// # Errors
/// The evaluator's; [`EvaluationError::Cancelled`] if the watcher stops it.
pub(crate) fn evaluate<E>(
    program: &IntegerProgram,
    evaluator: &mut E,
    (input, tokens): (&E::Tensor, usize),
    watcher: Option<&mut (dyn Watcher<E::Shown, LookupTable> + '_)>,
) -> Result<Rows<E::Lane>, EvaluationError>
where
    E: Evaluator<Table = LookupTable, Error = EvaluationError> + Inspected,
{
    match watcher {
        None => program.evaluate(evaluator, input, tokens),
        Some(watcher) => Ok(program.evaluate(&mut Watched::new(evaluator, watcher), input, tokens)?),
    }
}

impl Prepared for PreparedProgram {
    type Encoding = IntegerEncoding;
    type Keys<'a> = (IntegerCiphertexts<'a>, Predictor);
    type Shown = Integer<LweCiphertext>;
    type Table = LookupTable;

    fn keys<'a>(&self, keys: &'a EvaluationKeys) -> Result<Self::Keys<'a>, Refused> {
        let (program, multiply) = (&self.program, self.multiply);
        let predictor = Predictor::new(keys.parameters())?;
        let gadgets = Predictor::gadgets(keys.parameters(), multiply, program.input_bits(), program.is_whole());
        let backend = IntegerCiphertexts::new(keys, &gadgets, multiply == Multiply::Product)?;
        predictor.check(program, multiply)?;
        Ok((backend, predictor))
    }

    fn check(&self, encoding: &IntegerEncoding, parameters: &Parameters) -> Result<(), Refused> {
        let most = self.program.max_tokens().min(encoding.size);
        Refused::check_tokens(encoding.tokens, most)?;
        let own = IntegerEncoding::new(parameters, &self.program, encoding.tokens);
        if *encoding == own { Ok(()) } else { Err(Mismatch::Context("request").into()) }
    }

    fn evaluate_watched(
        &self,
        (backend, predictor): &Self::Keys<'_>,
        encoding: &IntegerEncoding,
        input: &[SeededGlweCiphertext],
        observer: &mut dyn Observer,
        watcher: Option<&mut WatcherOf<'_, Self>>,
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EvaluationError> {
        let opened = IntegerTensor::Input(input.chunks(encoding.chunks()).collect(), encoding.input_bits);
        let (own, predictor) = (backend.clone(), predictor.clone());
        let mut evaluator = IntegerEvaluator::new(own, predictor, self.multiply, &self.program, observer);
        let output = evaluate(&self.program, &mut evaluator, (&opened, encoding.tokens), watcher)?;
        let entries: Vec<LweCiphertext> = output.into_iter().flatten().map(|entry| entry.ciphertext).collect();
        Ok((backend.pack_entries(&entries), evaluator.statistics().clone()))
    }
}
