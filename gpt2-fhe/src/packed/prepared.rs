//! What the packed circuit has of its own of a server.

use nn::evaluator::SmoothEvaluator;
use nn::packed::{PackedProgram, Span, steps};
use nn::table::SmoothTable;
use nn::watched::{Inspected, Watched, Watcher};
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{EvaluationKeys, Mismatch};

use super::ciphertexts::{EncryptedValue, PackedCiphertexts, PreparedAttention};
use super::encoding::PackedEncoding;
use super::evaluator::{PackedEvaluator, PackedTensor};
use super::keys::PackedKeys;
use super::layout::Sizes;
use super::prediction::Prediction;
use super::watched::ShownPacked;
use crate::boundary::Refused;
use crate::server::{Prepared, WatcherOf};
use crate::track::statistics::Statistics;
use crate::track::timed::Timed;
use crate::track::{EvaluationError, Observer};

/// The program, watched or not.
///
/// # Errors
/// The evaluator's; [`EvaluationError::Cancelled`] if the watcher stops it.
pub(crate) fn evaluate<E>(
    program: &PackedProgram,
    evaluator: &mut E,
    (input, span): (&E::Tensor, Span),
    watcher: Option<&mut (dyn Watcher<E::Shown, SmoothTable> + '_)>,
) -> Result<E::Tensor, EvaluationError>
where
    E: SmoothEvaluator<Error = EvaluationError> + Inspected,
{
    match watcher {
        None => program.evaluate(evaluator, input, span),
        Some(watcher) => Ok(program.evaluate(&mut Watched::new(evaluator, watcher), input, span)?),
    }
}

impl Prepared for PreparedAttention {
    type Encoding = PackedEncoding;
    type Keys<'a> = PackedKeys<'a>;
    type Shown = ShownPacked<EncryptedValue>;
    type Table = SmoothTable;

    fn keys<'a>(&self, keys: &'a EvaluationKeys) -> Result<PackedKeys<'a>, Refused> {
        if *self.set() != keys.identity().set {
            return Err(Refused::Prepared(keys.parameters().name()));
        }
        PackedKeys::new(keys, self.program().head_size())
    }

    fn check(&self, encoding: &PackedEncoding, parameters: &Parameters) -> Result<(), Refused> {
        let program = self.program();
        if encoding.layout.sizes() != Sizes::of(program) {
            return Err(Refused::Layout);
        }
        Refused::check_tokens(encoding.layout.tokens(), program.max_tokens())?;
        let own = PackedEncoding::new(parameters, program, encoding.layout)?;
        if *encoding == own { Ok(()) } else { Err(Mismatch::Context("request").into()) }
    }

    fn evaluate_watched(
        &self,
        keys: &PackedKeys<'_>,
        encoding: &PackedEncoding,
        input: &[SeededGlweCiphertext],
        observer: &mut dyn Observer,
        watcher: Option<&mut WatcherOf<'_, Self>>,
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EvaluationError> {
        let layout = &encoding.layout;
        let ciphertexts = PackedCiphertexts { keys: *keys, attention: self, layout };
        let prediction = Prediction::new(keys.parameters, self.program(), layout).map_err(Refused::from)?;
        let lookup_size = keys.parameters.lookup().size();
        let mut evaluator = PackedEvaluator::new(ciphertexts, &prediction, *layout, lookup_size, observer);
        let input = evaluator.timed(steps::PROJECT, 0, |_| Ok(PackedTensor::Input(ciphertexts.transform(input))))?;
        let output = evaluate(self.program(), &mut evaluator, (&input, layout.span()), watcher)?.into_sum();
        let answer = evaluator.timed(steps::OUTPUT, 0, |_| Ok(ciphertexts.answer(&output)))?;
        evaluator.count_answer(self.program());
        Ok((answer, evaluator.statistics().clone()))
    }
}
