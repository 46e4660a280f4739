//! What takes the place of a part of the attention.

use std::collections::{BTreeMap, BTreeSet};

use nn::attention::{AttentionWeights, Linear, Part};
use nn::matrix::Matrix;
use nn::packed::Span;
use nn::quantizers::Saturation;
use tfhe_core::random::SampleSeed;

use super::passage::{Passage, shuffle};
use super::reference::{Computed, PlainPassage};
use crate::run::{Attention, Circuit, Lowering, Plan, RunError, check_finite};
use crate::track::Unobserved;

/// What takes the place of a part of the attention.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Nothing: the model in f32.
    Unchanged,
    /// Zeros.
    Zeroed,
    /// The same part of another attention in f32, for instance a [`shuffled`] one.
    Other(Box<AttentionWeights>),
    /// A quantized attention in the clear.
    Clear(Attention),
    /// A quantized attention with drawn noise.
    Simulated(Simulation),
}

/// A quantized attention with drawn noise.
#[derive(Clone, Debug)]
pub struct Simulation {
    attention: Attention,
    /// By the number of tokens.
    plans: BTreeMap<usize, Plan>,
    /// Whether noise is as it is predicted, or less.
    as_predicted: bool,
    seed: SampleSeed,
}

impl Simulation {
    /// On all rows of passages such as these; of passage i, noise is drawn from seed i of `seed`. The packed circuit's
    /// noise has `factor` times the standard deviation that is predicted; the exact circuit's has that which is
    /// predicted.
    ///
    /// # Errors
    /// As [`Attention::plan`].
    pub fn new(attention: Attention, passages: &[Passage], factor: f64, seed: SampleSeed) -> Result<Self, RunError> {
        let lengths: BTreeSet<usize> = passages.iter().map(|passage| passage.tokens().len()).collect();
        let plan = |tokens| Ok((tokens, attention.plan(Span::all(tokens))?.with_noise(factor)));
        let plans = lengths.into_iter().map(plan).collect::<Result<_, RunError>>()?;
        let as_predicted = attention.circuit() == Circuit::Exact || factor <= 1.0;
        Ok(Self { attention, plans, as_predicted, seed })
    }

    fn compute(&self, hidden: &Matrix<f32>, passage: u64) -> Result<Computed, RunError> {
        let (plan, seed) = (&self.plans[&hidden.rows()], self.seed.derive(passage));
        let computed = match &self.attention {
            Attention::Exact(exact) => simulate(&**exact, plan, hidden, &seed),
            Attention::Packed(packed) => simulate(&**packed, plan, hidden, &seed),
        }?;
        let unexplained = if self.as_predicted { computed.unexplained } else { 0 };
        Ok(Computed { unexplained, ..computed })
    }
}

/// One simulated run on all rows. Where numbers left their ranges, noise explains nothing.
fn simulate<L: Lowering>(
    lowering: &L,
    plan: &Plan,
    hidden: &Matrix<f32>,
    seed: &SampleSeed,
) -> Result<Computed, RunError> {
    let input = lowering.quantize_input(hidden)?;
    let reference = lowering.reference(&input, Span::all(hidden.rows()));
    let (numbers, _) = lowering.simulate(&reference, plan, seed, &mut Unobserved)?;
    let output = lowering.dequantize_output(&numbers);
    check_finite(&output)?;
    let out_of_range = reference.out_of_range;
    let unexplained = if out_of_range > 0 { 0 } else { lowering.unexplained(&reference, plan, &numbers)? };
    Ok(Computed { output, out_of_range, saturation: lowering.saturation(hidden), unexplained })
}

impl Subject {
    /// On the input of the attention of passage number `index`.
    pub(super) fn compute(
        &self,
        weights: &AttentionWeights,
        part: Part,
        reference: &PlainPassage<'_>,
        index: u64,
    ) -> Result<Computed, RunError> {
        let hidden = &reference.hidden;
        let output = match self {
            Self::Unchanged => reference.output.clone(),
            Self::Zeroed => Matrix::from_fn(hidden.rows(), weights.output_size(part), |_, _| 0.0),
            Self::Other(weights) => weights.attend(part, hidden)?,
            Self::Clear(attention) => {
                return Ok(Computed::of(attention.run_clear(hidden, Span::all(hidden.rows()))?));
            }
            Self::Simulated(simulation) => return simulation.compute(hidden, index),
        };
        Ok(Computed { output, out_of_range: 0, saturation: Saturation::default(), unexplained: 0 })
    }
}

/// The same weights and biases in another order, drawn from `seed`: the queries of a head among themselves, so its keys
/// and its values, and the output projection. An attention of the same scale that has learnt nothing.
///
/// # Errors
/// [`nn::Error::OutOfRange`] if the attention has no output projection.
pub fn shuffled(weights: &AttentionWeights, seed: &SampleSeed) -> Result<AttentionWeights, nn::Error> {
    let size = weights.head_size();
    let projection = shuffle_columns(weights.projection(), size, &seed.derive(0))?;
    let output = shuffle_columns(weights.output()?, weights.embedding_size(), &seed.derive(1))?;
    AttentionWeights::new(projection, weights.heads())?.with_output(output)
}

/// The entries of each block of `size` outputs in another order.
fn shuffle_columns(linear: &Linear, size: usize, seed: &SampleSeed) -> Result<Linear, nn::Error> {
    let (mut weight, mut bias) = (linear.weight().clone(), linear.bias().to_vec());
    for block in 0..bias.len() / size {
        let columns = block * size..(block + 1) * size;
        let mut entries = weight.columns(columns.clone());
        shuffle(entries.data_mut(), &seed.derive(2 * block as u64));
        weight.set_columns(columns.start, &entries);
        shuffle(&mut bias[columns], &seed.derive(2 * block as u64 + 1));
    }
    Linear::new(weight, bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_attention_has_the_same_entries_head_by_head() {
        let linear = |cols| {
            let weight = Matrix::from_fn(4, cols, |row, col| (row * cols + col) as f32);
            Linear::new(weight, (0..cols).map(|col| -(col as f32)).collect()).unwrap()
        };
        let weights = AttentionWeights::new(linear(12), 2).unwrap().with_output(linear(4)).unwrap();
        let other = shuffled(&weights, &SampleSeed::from_number(1)).unwrap();
        assert_ne!(other, weights);
        let sorted = |linear: &Linear, columns: std::ops::Range<usize>| {
            let mut entries = linear.weight().columns(columns.clone()).into_data();
            entries.extend(&linear.bias()[columns]);
            entries.sort_by(f32::total_cmp);
            entries
        };
        for block in 0..6 {
            let columns = 2 * block..2 * block + 2;
            assert_eq!(sorted(other.projection(), columns.clone()), sorted(weights.projection(), columns));
        }
        assert_eq!(sorted(other.output().unwrap(), 0..4), sorted(weights.output().unwrap(), 0..4));
    }
}
