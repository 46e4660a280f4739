//! The integer head on made-up weights: what holds for all of them.

use nn::Error;
use nn::attention::{AttentionWeights, Linear, Part};
use nn::clear::{ClearEvaluator, ClearTensor};
use nn::evaluator::{Entries, Evaluator, Form, LinearMap, Rows, Use};
use nn::integer::{IntegerAttention, IntegerOptions, steps};
use nn::matrix::{Matrix, relative_error};
use nn::table::LookupTable;
use proptest::prelude::*;
use std::convert::Infallible;
use std::slice::from_ref;

/// E, the number of heads, and d.
const SIZES: (usize, usize, usize) = (8, 2, 4);

/// Numbers in −1 ..= 1 that depend on a seed alone (splitmix64).
fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn weights(seed: u64) -> AttentionWeights {
    let mut next = numbers(seed);
    let mut linear = |columns| {
        let weight = Matrix::from_fn(SIZES.0, columns, |_, _| next());
        Linear::new(weight, (0..columns).map(|_| next()).collect()).unwrap()
    };
    let (projection, output) = (linear(3 * SIZES.0), linear(SIZES.0));
    AttentionWeights::new(projection, SIZES.1).unwrap().with_output(output).unwrap()
}

fn hidden(seed: u64, tokens: usize, scale: f32) -> Matrix<f32> {
    let mut next = numbers(!seed);
    Matrix::from_fn(tokens, SIZES.0, |_, _| scale * next())
}

fn options() -> impl Strategy<Value = IntegerOptions> {
    (IntegerOptions::BITS, IntegerOptions::MSBS).prop_map(|(bits, msbs)| IntegerOptions {
        bits,
        msbs,
        max_tokens: None,
    })
}

/// One head, or all.
fn part() -> impl Strategy<Value = Part> {
    prop_oneof![(0..SIZES.1).prop_map(Part::Head), Just(Part::Whole)]
}

/// Plain integers that remember what they were declared to be used for.
#[derive(Default)]
struct DeclaredUses {
    clear: ClearEvaluator<LookupTable>,
}

/// The bits that the declared uses allow a value.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Declared {
    value: f64,
    use_: Use,
}

/// What was made for a form.
struct Made {
    tensor: ClearTensor,
    form: Option<Form>,
}

/// What lanes of a form may be used for.
fn use_of(form: Option<Form>) -> Use {
    match form {
        Some(Form::Integers { bits }) => Use::lookup(bits),
        Some(Form::Factor(_, factor)) => Use::lookup(factor.product_bits),
        other => panic!("lanes of {other:?}"),
    }
}

fn check_factors(step: &str, left: &Made, right: &Made) {
    let (Some(Form::Factor(_, of_left)), Some(Form::Factor(_, of_right))) = (left.form, right.form) else {
        panic!("{step}: {:?}, {:?}", left.form, right.form)
    };
    assert_eq!(of_left, of_right, "{step}");
}

impl Evaluator for DeclaredUses {
    type Tensor = Made;
    type Lane = Declared;
    type Table = LookupTable;
    type Error = Infallible;

    fn linear(&mut self, step: &'static str, input: &Made, maps: &[LinearMap<'_>]) -> Result<Vec<Made>, Infallible> {
        if let Some(Form::Terms(term)) = input.form {
            for LinearMap { weight, .. } in maps {
                let squares =
                    |col| (0..weight.rows()).map(|row| (weight[(row, col)] as i64).pow(2) as u64).sum::<u64>();
                assert!((0..weight.cols()).all(|col| squares(col) <= term.squared_weights), "{step}");
            }
        }
        let results = self.clear.linear(step, &input.tensor, maps)?.into_iter().zip(maps);
        Ok(results.map(|(tensor, map)| Made { tensor, form: Some(map.form) }).collect())
    }

    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[Made; 2]>,
        entries: Entries,
    ) -> Result<Vec<Made>, Infallible> {
        let mut results = Vec::new();
        for [left, right] in factors {
            check_factors(step, &left, &right);
            let products = self.clear.multiply(step, vec![[left.tensor, right.tensor]], entries)?;
            results.extend(products.into_iter().map(|tensor| Made { tensor, form: left.form }));
        }
        Ok(results)
    }

    fn weigh(
        &mut self,
        step: &'static str,
        weights: Made,
        values: Made,
        sum: Option<Made>,
    ) -> Result<Made, Infallible> {
        check_factors(step, &weights, &values);
        let sum = sum.map(|sum| sum.tensor);
        let tensor = self.clear.weigh(step, weights.tensor, values.tensor, sum)?;
        Ok(Made { tensor, form: weights.form })
    }

    fn lanes(&mut self, tensor: Made) -> Rows<Declared> {
        let use_ = use_of(tensor.form);
        let rows = self.clear.lanes(tensor.tensor).into_iter();
        rows.map(|row| row.into_iter().map(|value| Declared { value, use_ }).collect()).collect()
    }

    fn pack(&mut self, rows: Rows<Declared>, form: Form) -> Made {
        for declared in rows.iter().flatten() {
            match form {
                Form::Factor(_, factor) => assert_eq!(declared.use_.factor, Some(factor)),
                Form::Terms(term) => assert_eq!(declared.use_.term, Some(term)),
                other => panic!("{other:?}"),
            }
        }
        let rows = rows.into_iter().map(|row| row.into_iter().map(|declared| declared.value).collect()).collect();
        Made { tensor: self.clear.pack(rows, form), form: Some(form) }
    }

    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[Declared],
        tables: &[&LookupTable],
        result: Use,
    ) -> Result<Vec<Declared>, Infallible> {
        for (lane, table) in lanes.iter().zip(tables) {
            assert!(lane.use_.lookup_bits.is_some_and(|bits| table.bits() <= bits), "{step}: {lane:?}");
        }
        let values: Vec<f64> = lanes.iter().map(|lane| lane.value).collect();
        let results = self.clear.look_up(step, &values, tables, result)?;
        Ok(results.into_iter().map(|value| Declared { value, use_: result }).collect())
    }

    /// A sum or difference may be used for what both sides allow.
    fn add_scaled(&self, sum: &mut Declared, other: &Declared, factor: i64) {
        assert_eq!(sum.use_.lookup_bits, other.use_.lookup_bits, "a sum of values with different moduli");
        self.clear.add_scaled(&mut sum.value, &other.value, factor);
        sum.use_.factor = None;
    }
}

proptest! {
    /// On the calibration set nothing is out of range, and every value is used as it was declared.
    #[test]
    fn calibration_inputs_stay_in_range(
        seed in any::<u64>(), part in part(), options in options(), tokens in 1_usize..10, scale in 0.01_f32..100.0,
    ) {
        let (weights, hidden) = (weights(seed), hidden(seed, tokens, scale));
        let head = IntegerAttention::calibrate(&weights, part, from_ref(&hidden), &options).unwrap();
        let input = head.client().quantize_input(&hidden).unwrap();
        let mut declared = DeclaredUses::default();
        let made = Made { tensor: ClearTensor::input(&input), form: None };
        let output = head.program().evaluate(&mut declared, &made, tokens).unwrap();
        prop_assert_eq!((declared.clear.out_of_range(), declared.clear.overflows()), (0, 0));
        let clear = head.program().evaluate_clear(&mut ClearEvaluator::new(), &input);
        let output: Vec<i64> = output.iter().flatten().map(|lane| lane.value as i64).collect();
        prop_assert_eq!(output, clear.data());
        for range in head.ranges() {
            prop_assert!(range.covered.contains(range.observed.min) && range.covered.contains(range.observed.max));
        }
    }

    /// The softmax and the result's modulus are made for the worst case: whatever the scores, nothing leaves them.
    #[test]
    fn other_inputs_never_leave_the_softmax_or_the_output(
        seed in any::<u64>(), part in part(), options in options(), tokens in 1_usize..10, scale in 1.0_f32..100.0,
    ) {
        let calibration = hidden(seed, tokens, 1.0);
        let head = IntegerAttention::calibrate(&weights(seed), part, &[calibration], &options).unwrap();
        let input = head.client().quantize_input(&hidden(seed ^ 1, tokens, scale)).unwrap();
        let mut evaluator = ClearEvaluator::new();
        head.program().evaluate_clear(&mut evaluator, &input);
        for record in evaluator.steps() {
            let softmax = [steps::MAXIMUM, steps::EXPONENTIAL, steps::INVERSE, steps::NORMALIZE, steps::PROBABILITIES];
            // What is decrypted; of a whole attention, the output of a head is read by a table that calibration made.
            let decrypted = *steps::of(part).last().unwrap();
            if softmax.contains(&record.name) || record.name == decrypted {
                prop_assert_eq!((record.out_of_range, record.overflows), (0, 0), "{}", record.name);
            }
        }
    }

    /// A token does not see those after it.
    #[test]
    fn attention_is_causal(seed in any::<u64>(), part in part(), options in options(), tokens in 2_usize..8) {
        let whole = hidden(seed, tokens, 1.0);
        let head = IntegerAttention::calibrate(&weights(seed), part, from_ref(&whole), &options).unwrap();
        let input = head.client().quantize_input(&whole).unwrap();
        let prefix = Matrix::from_fn(tokens - 1, input.cols(), |row, col| input[(row, col)]);
        let evaluate = |input| head.program().evaluate_clear(&mut ClearEvaluator::new(), input);
        let (whole, prefix) = (evaluate(&input), evaluate(&prefix));
        prop_assert_eq!(&whole.data()[..prefix.data().len()], prefix.data());
    }
}

/// A bit more halves every quantizer's step, and so nearly the error, until the lookups' 10 bits are felt.
#[test]
fn each_bit_nearly_halves_the_error() {
    for part in [Part::Head(1), Part::Whole] {
        let errors: Vec<f64> = IntegerOptions::BITS.map(|bits| mean_error(part, bits)).collect();
        let ratios: Vec<f64> = errors.windows(2).map(|pair| pair[1] / pair[0]).collect();
        // From 4 to 9 bits; below that errors are as large as the output.
        assert!(ratios[2..7].iter().all(|ratio| (0.4..0.6).contains(ratio)), "{part:?}: {errors:.4?}");
        assert!(errors[9] < 0.005, "{part:?}: {errors:.4?}");
    }
}

/// The relative error over many layers, in the norm of all outputs together.
fn mean_error(part: Part, bits: u32) -> f64 {
    let (mut distance, mut norm) = (0.0, 0.0);
    for seed in 0..100 {
        let (weights, hidden) = (weights(seed), hidden(seed, 5, 1.0));
        let options = IntegerOptions { msbs: 10, ..IntegerOptions::new(bits) };
        let head = IntegerAttention::calibrate(&weights, part, from_ref(&hidden), &options).unwrap();
        let expected = weights.attend(part, &hidden).unwrap();
        let square = expected.iter().map(|value| (value * value) as f64).sum::<f64>();
        distance += square * relative_error(&head.evaluate_clear(&hidden).unwrap(), &expected).powi(2);
        norm += square;
    }
    f64::sqrt(distance / norm)
}

/// The integers of a head, or of a whole attention.
fn integers(head: &IntegerAttention, hidden: &Matrix<f32>) -> Matrix<i64> {
    let input = head.client().quantize_input(hidden).unwrap();
    head.program().evaluate_clear(&mut ClearEvaluator::new(), &input)
}

/// A symmetric quantizer of `values`, written out: its scale.
fn scale_of(bits: u32, values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |a: f64, b| a.max(b.abs())) / f64::from((1 << (bits - 1)) - 1)
}

/// What a whole attention must give, from the outputs of its heads `[T, E]`: its integers, and what one stands for.
fn combine_directly(bits: u32, outputs: &Matrix<f64>, layer: &Linear) -> (Matrix<i64>, f64) {
    let nearest = |scale: f64, x: f64| (x / scale).round_ties_even() as i64;
    let output_scale = scale_of(bits, outputs.iter().copied());
    let weight_scale = scale_of(bits, layer.weight().iter().map(|&w| w as f64));
    let terms = outputs.map(|&x| nearest(output_scale, x));
    let factors = layer.weight().map(|&w| nearest(weight_scale, w as f64));
    let scale = output_scale * weight_scale;
    let result = Matrix::from_fn(outputs.rows(), factors.cols(), |row, col| {
        let products = (0..factors.rows()).map(|inner| terms[(row, inner)] * factors[(inner, col)]);
        nearest(scale, layer.bias()[col] as f64) + products.sum::<i64>()
    });
    (result, scale)
}

/// The integers of a whole attention from those of its heads, each calibrated alone.
#[test]
fn the_whole_attention_is_its_heads_requantized_and_projected() {
    for (seed, bits) in (0..40).flat_map(|seed| [3, 4, 5].map(|bits| (seed, bits))) {
        let (weights, hidden) = (weights(seed), hidden(seed, 5, 1.0));
        let options = IntegerOptions { msbs: 10, ..IntegerOptions::new(bits) };
        let calibrate = |part| IntegerAttention::calibrate(&weights, part, from_ref(&hidden), &options).unwrap();
        let mut outputs = Matrix::from_fn(5, SIZES.0, |_, _| 0.0);
        for index in 0..SIZES.1 {
            let head = calibrate(Part::Head(index));
            let real = integers(&head, &hidden).map(|&output| output as f64 * head.client().output_scale());
            outputs.set_columns(index * SIZES.2, &real);
        }
        let (expected, scale) = combine_directly(bits, &outputs, weights.output().unwrap());
        let whole = calibrate(Part::Whole);
        let mut requantized = whole.ranges().iter().filter(|range| range.step == steps::QUANTIZE_OUTPUT);
        assert!(requantized.all(|range| range.rounded_bits == 0), "tables so narrow that nothing is rounded");
        assert_eq!(integers(&whole, &hidden), expected, "layer {seed}, {bits} bits");
        assert!((whole.client().output_scale() / scale - 1.0).abs() < 1e-12);
    }
}

#[test]
fn operations_follow_the_number_of_tokens() {
    let options = IntegerOptions { max_tokens: Some(9), ..IntegerOptions::new(4) };
    for (part, heads, combined) in [(Part::Head(0), 1, 0), (Part::Whole, SIZES.1, SIZES.0)] {
        let head = IntegerAttention::calibrate(&weights(2), part, &[hidden(2, 4, 1.0)], &options).unwrap();
        for tokens in 1..=9 {
            let pairs = tokens * (tokens + 1) / 2;
            let of_a_head = tokens * 3 * SIZES.2 + 3 * pairs + (pairs - tokens) + tokens;
            let records = head.program().operations(tokens);
            let lookups: usize = records.iter().map(|record| record.lookup_count()).sum();
            assert_eq!(lookups, heads * of_a_head + tokens * combined);
            let multiplications: usize = records.iter().map(|record| record.multiplications).sum();
            assert_eq!(multiplications, heads * (2 * SIZES.2 + 1) * pairs);
            let names: Vec<&str> = records.iter().map(|record| record.name).collect();
            let all = steps::of(part).iter().copied();
            assert_eq!(names, all.filter(|&step| tokens > 1 || step != steps::MAXIMUM).collect::<Vec<_>>());
        }
    }
}

#[test]
fn bad_calls_are_refused() {
    let weights = weights(3);
    let calibrate =
        |head, set: &[Matrix<f32>], options| IntegerAttention::calibrate(&weights, Part::Head(head), set, &options);
    let inputs = [hidden(3, 4, 1.0)];
    let good = IntegerOptions::new(4);
    let out_of_range = [
        calibrate(2, &inputs, good),
        calibrate(0, &inputs, IntegerOptions { bits: 1, ..good }),
        calibrate(0, &inputs, IntegerOptions { bits: 12, ..good }),
        calibrate(0, &inputs, IntegerOptions { msbs: 5, ..good }),
        calibrate(0, &inputs, IntegerOptions { max_tokens: Some(0), ..good }),
        calibrate(0, &inputs, IntegerOptions { max_tokens: Some(usize::MAX), ..good }),
    ];
    assert!(out_of_range.iter().all(|result| matches!(result, Err(Error::OutOfRange { .. }))));
    let empty = Matrix::new(0, SIZES.0, vec![]).unwrap();
    let narrow = Matrix::new(1, 1, vec![0.0]).unwrap();
    let unfit = [&[][..], from_ref(&empty), from_ref(&narrow)].map(|set| calibrate(0, set, good));
    assert!(unfit.iter().all(|result| matches!(result, Err(Error::Shape { .. }))));
    let without_output = AttentionWeights::new(weights.projection().clone(), SIZES.1).unwrap();
    let unprojected = IntegerAttention::calibrate(&without_output, Part::Whole, &inputs, &good);
    assert!(matches!(unprojected, Err(Error::OutOfRange { .. })));
    let nan = Matrix::from_fn(1, SIZES.0, |_, _| f32::NAN);
    assert!(matches!(calibrate(0, from_ref(&nan), good), Err(Error::NotFinite { .. })));

    let head = calibrate(0, &inputs, good).unwrap();
    for bad in [empty, narrow, hidden(3, 5, 1.0)] {
        assert!(matches!(head.client().quantize_input(&bad), Err(Error::Shape { .. })));
    }
    assert!(matches!(head.client().quantize_input(&nan), Err(Error::NotFinite { .. })));
}

#[test]
fn zeros_stay_zeros() {
    let zero = |rows, cols| Matrix::from_fn(rows, cols, |_, _| 0.0);
    let linear = Linear::new(zero(SIZES.0, 3 * SIZES.0), vec![0.0; 3 * SIZES.0]).unwrap();
    let output = Linear::new(zero(SIZES.0, SIZES.0), vec![0.0; SIZES.0]).unwrap();
    let weights = AttentionWeights::new(linear, SIZES.1).unwrap().with_output(output).unwrap();
    for (bits, part) in IntegerOptions::BITS.flat_map(|bits| [Part::Head(0), Part::Whole].map(|part| (bits, part))) {
        let head =
            IntegerAttention::calibrate(&weights, part, &[zero(3, SIZES.0)], &IntegerOptions::new(bits)).unwrap();
        let expected = zero(3, weights.output_size(part));
        assert_eq!(head.evaluate_clear(&zero(3, SIZES.0)).unwrap(), expected, "{part:?}, {bits} bits");
    }
}
