//! Blocks on numbers with drawn noise: what they compute, and their noise against the predictions, from both sides.

use std::convert::Infallible;
use std::path::Path;

use gpt2_fhe::block::counted::{CountedBlock, CountedReals};
use gpt2_fhe::block::evaluator::StreamEvaluator;
use gpt2_fhe::block::layout::BlockLayout;
use gpt2_fhe::block::prediction::BlockPrediction;
use gpt2_fhe::block::simulated::SimulatedBlock;
use gpt2_fhe::block::tensor::{Held, StreamTensor};
use gpt2_fhe::track::statistics::{Statistics, StepStatistics};
use gpt2_fhe::track::{EvaluationError, Unobserved};
use nn::block::{BlockOptions, BlockPart, ModelProgram, steps};
use nn::clear::{ClearEvaluator, ClearTensor};
use nn::evaluator::{BlockEvaluator, Entries, Form, LinearMap, Rows, SmoothUse, Use};
use nn::gpt2::Gpt2;
use nn::matrix::{Matrix, relative_error};
use nn::table::{Smooth, SmoothTable};
use tfhe_core::noise::Variance;
use tfhe_core::random::SampleSeed;
use tfhe_core::sets::{COARSE, FINE, PRECISE};

const INTEGER: SmoothUse = SmoothUse::Multiplier { log_shared: 0 };

fn prediction(head_size: usize) -> BlockPrediction {
    let parameters = tfhe_core::sets::PACKED_BLOCK.compile().unwrap();
    BlockPrediction::new(&parameters, BlockLayout::new(&parameters, head_size).unwrap()).unwrap()
}

fn simulated(prediction: &BlockPrediction, seed: u64) -> SimulatedBlock {
    SimulatedBlock::new(*prediction.layout(), prediction.lookup_size(), &SampleSeed::from_number(seed))
}

/// Features, with the noise of an encryption.
fn encrypt(
    backend: &mut SimulatedBlock,
    prediction: &BlockPrediction,
    turns: &Matrix<f64>,
) -> StreamTensor<SimulatedBlock> {
    let content = backend.encrypt(turns, prediction.fresh());
    Held::fresh(content, [turns.rows(), turns.cols()], prediction.fresh())
}

fn clear_features(evaluator: &mut ClearEvaluator<SmoothTable>, turns: &Matrix<f64>) -> ClearTensor {
    evaluator.known((0..turns.rows()).map(|row| turns.row(row).to_vec()).collect(), Form::Features)
}

fn identity(one: f64) -> SmoothTable {
    SmoothTable::of(Smooth::Identity, 1.0, [-0.22, 0.22], one)
}

fn wave(index: usize) -> i32 {
    (index as i32).wrapping_mul(40_503).rem_euclid(7) - 3
}

fn weights(rows: usize, columns: usize, salt: usize) -> Matrix<i32> {
    Matrix::from_fn(rows, columns, |row, column| wave(row * columns + 13 * column + salt))
}

/// Lanes times `factor`, through a table, for a use.
fn read<E: BlockEvaluator>(
    evaluator: &mut E,
    lanes: &Rows<E::Lane>,
    factor: i64,
    table: &SmoothTable,
    result: SmoothUse,
) -> Result<Rows<E::Lane>, E::Error> {
    let scaled = |lane: &E::Lane| {
        let mut scaled = evaluator.constant(0.0);
        evaluator.add_scaled(&mut scaled, lane, factor);
        scaled
    };
    let numbers: Vec<E::Lane> = lanes.iter().flatten().map(scaled).collect();
    let tables = vec![table; numbers.len()];
    let mut results = evaluator.look_up("read", &numbers, &tables, Use::smooth(result))?.into_iter();
    Ok(lanes.iter().map(|row| results.by_ref().take(row.len()).collect()).collect())
}

fn map<E: BlockEvaluator>(
    evaluator: &mut E,
    input: &E::Tensor,
    weight: &Matrix<i32>,
    form: Form,
) -> Result<E::Tensor, E::Error> {
    Ok(evaluator.linear("map", input, &[LinearMap { weight, bias: &[], form }])?.remove(0))
}

/// Every operation, one after the other, on numbers that lie on the angles of tables: all of them are known exactly.
fn every_operation<E: BlockEvaluator>(evaluator: &mut E, stream: &mut E::Tensor) -> Result<(), E::Error> {
    let factors = map(evaluator, stream, &weights(8, 1, 1), Form::Image)?;
    let factors = evaluator.lanes(factors);
    let factors = read(evaluator, &factors, 1, &identity(1000.0), INTEGER)?;
    let factors = evaluator.pack(factors, Form::Multipliers);

    let keys = map(evaluator, stream, &weights(8, 4, 2), Form::Image)?;
    let keys = evaluator.lanes(keys);
    let keys = read(evaluator, &keys, 4, &identity(128.0), SmoothUse::Multiplier { log_shared: 2 })?;
    let mut all_keys = evaluator.known(vec![vec![1.0, -2.0, 0.0, 3.0]], Form::Keys);
    let keys = evaluator.pack(keys, Form::Keys);
    evaluator.append(&mut all_keys, keys);

    let queries = map(evaluator, stream, &weights(8, 4, 3), Form::Queries)?;
    let queries = evaluator.scale_rows("scale", queries, &factors)?;
    let queries = evaluator.add_constants("scale", queries, &[1.0 / 64.0, 0.0, -1.0 / 128.0, 0.0])?;
    let scores = evaluator.multiply("scores", vec![[queries, all_keys]], Entries::After { earlier: 1 })?.remove(0);
    let scores = evaluator.lanes(scores);
    let halves = read(evaluator, &scores, 1, &identity(0.5), SmoothUse::Read)?;
    let weights_of_rows = read(evaluator, &halves, 2, &identity(60.0), INTEGER)?;
    let weights_of_rows = evaluator.pack(weights_of_rows, Form::Multipliers);

    let mut values = evaluator.known(vec![vec![1.0 / 512.0; 8]], Form::Image);
    let own = map(evaluator, stream, &weights(8, 8, 4), Form::Image)?;
    evaluator.append(&mut values, own);
    let sum = map(evaluator, stream, &weights(8, 8, 5), Form::Image)?;
    let sum = evaluator.scale_rows("scale", sum, &factors)?;
    let output = evaluator.weigh("weigh", weights_of_rows, values, Some(sum))?;
    let output = evaluator.lanes(output);
    let update = read(evaluator, &output, 1, &identity(0.25), SmoothUse::Update)?;
    let update = evaluator.pack(update, Form::Features);
    evaluator.add(stream, &update);
    Ok(())
}

/// Not rounded: numbers are multiples of what angles are apart, where a result is read as well.
#[test]
fn without_noise_a_simulation_is_the_clear_engine() {
    let turns = Matrix::from_fn(3, 8, |row, channel| f64::from(wave(5 * row + channel + 4)) / 4096.0);
    let mut evaluator = ClearEvaluator::new();
    let mut clear = clear_features(&mut evaluator, &turns);
    let Ok(()) = every_operation(&mut evaluator, &mut clear);
    assert_eq!(evaluator.out_of_range(), 0);
    let [least, most] = evaluator.record("read").unwrap().outputs.unwrap();
    assert!(least <= -4.0 && most >= 4.0, "integers from {least} to {most}");

    let (prediction, observer) = (prediction(4).scaled(0.0), &mut Unobserved);
    let mut backend = simulated(&prediction, 1);
    let mut stream = encrypt(&mut backend, &prediction, &turns);
    let mut evaluator = StreamEvaluator::new(backend, &prediction, observer);
    every_operation(&mut evaluator, &mut stream).unwrap();
    let stream = stream.into_reals();
    for (row, expected) in clear.rows().iter().enumerate() {
        let errors = stream.turns().row(row).iter().zip(expected).map(|(x, expected)| (x - expected).abs());
        assert!(errors.fold(0.0, f64::max) < 1e-12, "row {row}: {:?}, not {expected:?}", stream.turns().row(row));
    }
}

/// The numbers and noise of lanes.
type Measured = (Vec<f64>, Vec<Variance>);

fn lanes(evaluator: &mut StreamEvaluator<'_, SimulatedBlock>, tensor: &StreamTensor<SimulatedBlock>) -> Measured {
    let lanes = nn::evaluator::Evaluator::lanes(evaluator, tensor.clone());
    lanes.iter().flatten().map(|lane| (*lane.content(), lane.noise())).unzip()
}

/// What is measured after each operation: of integers that no noise changes.
fn sites(
    evaluator: &mut StreamEvaluator<'_, SimulatedBlock>,
    stream: &StreamTensor<SimulatedBlock>,
    rows: usize,
) -> Result<Vec<(&'static str, Measured)>, EvaluationError> {
    use nn::evaluator::{Evaluator, SmoothEvaluator};
    let mut sites = Vec::new();
    let integers = |evaluator: &mut StreamEvaluator<'_, SimulatedBlock>, rows: usize, columns: usize| {
        let constant = |index: usize| evaluator.constant(f64::from(5 + wave(index)) / 50.0);
        let lanes =
            (0..rows).map(|row| (0..columns).map(|column| constant(row * columns + column)).collect()).collect();
        read(evaluator, &lanes, 1, &identity(50.0), INTEGER)
    };
    let mapped = map(evaluator, stream, &weights(16, 16, 1), Form::Image)?;
    sites.push(("linear map", lanes(evaluator, &mapped)));
    let factors = integers(evaluator, rows, 1)?;
    let factors = evaluator.pack(factors, Form::Multipliers);
    let scaled = evaluator.scale_rows("scale", mapped.clone(), &factors)?;
    sites.push(("rows scaled", lanes(evaluator, &scaled)));
    let queries = map(evaluator, stream, &weights(16, 16, 2), Form::Queries)?;
    let keys = integers(evaluator, 8, 16)?;
    let keys = evaluator.pack(keys, Form::Keys);
    let scores = evaluator.multiply("scores", vec![[queries, keys]], Entries::All)?.remove(0);
    sites.push(("scores", lanes(evaluator, &scores)));
    let weighed = integers(evaluator, rows, 8)?;
    let weighed = evaluator.pack(weighed, Form::Multipliers);
    let output = evaluator.weigh("weigh", weighed, mapped, Some(scaled))?;
    sites.push(("weighed", lanes(evaluator, &output)));
    let output = evaluator.lanes(output);
    let update = read(evaluator, &output, 1, &identity(0.25), SmoothUse::Update)?;
    let update = evaluator.pack(update, Form::Features);
    let errors = update.noise().errors.concat();
    sites.push(("update", (update.into_reals().turns().data().to_vec(), errors)));
    Ok(sites)
}

/// The mean square of the errors, relative to the predictions, is one within five standard errors: of 2^13 or 2^12 numbers, of which those of
/// a row have products' noise of one variance.
#[test]
fn each_operation_has_its_predicted_noise() {
    let prediction = prediction(16);
    let rows = 512;
    let turns = Matrix::from_fn(rows, 16, |row, channel| f64::from(wave(3 * row + channel)) / 65536.0);
    let run = |prediction: &BlockPrediction| {
        let observer = &mut Unobserved;
        let mut backend = simulated(prediction, 9).tracked();
        let stream = encrypt(&mut backend, prediction, &turns);
        let mut evaluator = StreamEvaluator::new(backend, prediction, observer);
        sites(&mut evaluator, &stream, rows).unwrap()
    };
    let (noisy, exact) = (run(&prediction), run(&prediction.scaled(0.0)));
    for ((site, (numbers, noise)), (_, (expected, _))) in noisy.iter().zip(&exact) {
        let relative: Vec<f64> = (numbers.iter().zip(expected).zip(noise))
            .map(|((x, expected), noise)| (x - expected) / noise.std())
            .collect();
        let ratio = Variance::measured(&relative).get();
        println!("{site}: log2 σ predicted {:.2}, measured/predicted variance {ratio:.4}", noise[0].log2_std());
        assert!((ratio - 1.0).abs() < 0.1, "{site}: {ratio}");
    }
}

/// Blocks of the embedded model, on texts that it draws.
struct Subject {
    program: ModelProgram,
    prediction: BlockPrediction,
    /// Of the texts' private tokens.
    turns: Matrix<f64>,
}

impl Subject {
    fn new(part: BlockPart, layers: std::ops::Range<usize>) -> Self {
        let model = Gpt2::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded")).unwrap();
        let mut texts = model.draw_texts((8, 24), 1).unwrap();
        let public = texts[0][0];
        texts.iter_mut().for_each(|text| text[0] = public);
        let options = BlockOptions { log_unit: -17.0, guard: 1.5, ..BlockOptions::default() };
        let program = ModelProgram::calibrate(&model, layers.clone(), part, (&texts, 1), &options).unwrap();
        let hidden = model.hidden_states(&texts[3], layers.end).unwrap().swap_remove(layers.start);
        let turns = program.client().encode(&hidden.row_range(1..hidden.rows())).unwrap();
        let config = model.config();
        Self { program, prediction: prediction(config.n_embd / config.n_head), turns }
    }

    /// A simulated run.
    fn simulate(&self, prediction: &BlockPrediction, seed: u64, is_tracked: bool) -> (Matrix<f64>, Rows<Variance>) {
        let observer = &mut Unobserved;
        let mut backend = simulated(prediction, seed);
        if is_tracked {
            backend = backend.tracked();
        }
        let mut stream = encrypt(&mut backend, prediction, &self.turns);
        let mut evaluator = StreamEvaluator::new(backend, prediction, observer);
        let mut caches = self.program.program().caches(&mut evaluator);
        self.program.program().evaluate(&mut evaluator, &mut stream, &mut caches).unwrap();
        let errors = stream.noise().errors.clone();
        (stream.into_reals().turns().clone(), errors)
    }

    /// A counted run on the first tokens, and the largest noise of exponents.
    fn count(&self, tokens: usize) -> (Statistics, f64) {
        let observer = &mut Unobserved;
        let content = CountedReals { rows: tokens, channels: self.turns.cols() };
        let mut stream = Held::fresh(content, [tokens, self.turns.cols()], self.prediction.fresh());
        let mut evaluator = StreamEvaluator::new(CountedBlock, &self.prediction, observer);
        let mut caches = self.program.program().caches(&mut evaluator);
        self.program.program().evaluate(&mut evaluator, &mut stream, &mut caches).unwrap();
        let exponents = evaluator.exponents().iter().map(|(_, noise)| noise.std());
        (evaluator.statistics().clone(), exponents.fold(0.0, f64::max))
    }

    fn clear(&self) -> Matrix<f64> {
        let mut evaluator = ClearEvaluator::new();
        let mut stream = clear_features(&mut evaluator, &self.turns);
        let mut caches = self.program.program().caches(&mut evaluator);
        let result: Result<(), Infallible> = self.program.program().evaluate(&mut evaluator, &mut stream, &mut caches);
        let Ok(()) = result;
        assert_eq!(evaluator.out_of_range(), 0, "a text of the calibration set");
        Matrix::new(self.turns.rows(), self.turns.cols() - 1, stream.rows().concat()).unwrap()
    }

    fn decoded_error(&self, found: &Matrix<f64>, expected: &Matrix<f64>) -> f64 {
        relative_error(&self.program.client().scale().decode(found), &self.program.client().scale().decode(expected))
    }
}

/// Without noise arguments are rounded to angles all the same, and a few integers to others than the clear engine has.
#[test]
fn blocks_without_noise_differ_by_rounding_alone() {
    let subject = Subject::new(BlockPart::Whole, 0..3);
    let clear = subject.clear();
    let (exact, _) = subject.simulate(&subject.prediction.scaled(0.0), 1, false);
    let (noisy, _) = subject.simulate(&subject.prediction, 1, false);
    let (exact, noisy) = (subject.decoded_error(&exact, &clear), subject.decoded_error(&noisy, &clear));
    println!("relative errors: {exact:.5} without noise, {noisy:.5} with it");
    assert!(exact > 0.0 && 2.0 * exact < noisy && noisy < 0.25);
}

/// With exact integers and activations, what is left is noise of the stream, of products with looked-up integers, and of reading the update. That
/// noise changes activations, too, which is no noise of theirs and not in the prediction: a tenth of the variance.
#[test]
fn an_update_has_its_predicted_error_at_the_stream() {
    let subject = Subject::new(BlockPart::FeedForward, 1..2);
    let prediction = subject.prediction.without_lookups(&[SmoothUse::Read, SmoothUse::Feature, INTEGER]);
    let (exact, _) = subject.simulate(&prediction.scaled(0.0), 1, false);
    let mut ratios = Vec::new();
    for seed in 0..4 {
        let (noisy, predicted) = subject.simulate(&prediction, seed, true);
        let relative = |(row, predicted): (usize, &Vec<Variance>)| -> Vec<f64> {
            let errors = noisy.row(row).iter().zip(exact.row(row)).map(|(x, expected)| x - expected);
            errors.zip(predicted).map(|(error, predicted)| error / predicted.std()).collect()
        };
        ratios.extend(predicted.iter().enumerate().flat_map(relative));
    }
    let ratio = Variance::measured(&ratios).get();
    println!("measured/predicted variance {ratio:.4} of {} numbers", ratios.len());
    assert!((0.95..1.15).contains(&ratio));
}

#[test]
fn feed_forward_layers_are_counted() {
    let subject = Subject::new(BlockPart::FeedForward, 1..3);
    let (tokens, layout) = (5, subject.prediction.layout());
    let (statistics, _) = subject.count(tokens);
    let programs = [0, 1].map(|block| subject.program.program().blocks()[block].feed_forward().unwrap());
    // The first one's variance is sent.
    let squares = programs.map(|program| program.layer().norm().squares().map_or(0, |squares| squares.len()));
    assert_eq!(squares, [0, subject.turns.cols() - 2]);
    let sizes = programs.map(|program| [program.layer().activation().len(), program.update().len()]);
    assert_eq!(sizes[0], sizes[1]);
    let ([activations, updates], squares) = (sizes[0], squares[1]);
    assert_eq!(statistics.lookups(), tokens * (squares + 2 * (1 + activations + updates)));
    let by_gadget = [(COARSE, squares), (FINE, 2 * activations), (PRECISE, 2 * (4 + updates))];
    assert_eq!(statistics.pbs_by_gadget(), by_gadget.map(|(gadget, count)| (gadget, tokens * count)).into());
    assert_eq!(statistics.pbs(), tokens * (squares + 2 * (4 + activations + updates)));
    let ciphertexts = layout.image_ciphertexts(activations) + layout.image_ciphertexts(updates);
    assert_eq!(statistics.external_products(), 2 * tokens * ciphertexts);
    let step = |name: &str| -> &StepStatistics { statistics.steps.iter().find(|step| step.name == name).unwrap() };
    // A gate has no half turn to leave; others do, with a chance that does not matter.
    assert_eq!(step(steps::ACTIVATION).log2_failure_probability, f64::NEG_INFINITY);
    assert!((-10_000.0..-64.0).contains(&step(steps::FEED_FORWARD).log2_failure_probability));
    assert!((-1000.0..-40.0).contains(&statistics.log2_failure_probability()));
}

/// What a score and the logarithm of its row have in common cancels, and the second logarithm replaces the noise of the first: more tokens
/// add what their exponentials are read with, and nothing for each level of the tree.
#[test]
fn exponents_have_hardly_more_noise_in_longer_rows() {
    let subject = Subject::new(BlockPart::Attention, 1..2);
    let [short, long] = [2, 23].map(|tokens| subject.count(tokens).1);
    println!("noise of exponents, log2: {:.3} with 2 tokens, {:.3} with 23", short.log2(), long.log2());
    assert!(short < long && long < 1.1 * short);
}
