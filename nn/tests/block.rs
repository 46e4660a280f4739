//! Whole blocks in the clear: near to f32, token after token as all at once, and with the outliers that GPT-2's hidden states have.

#[path = "../examples/random_gpt2/folder.rs"]
mod folder;

use folder::RandomGpt2;
use nn::Error;
use nn::block::{BlockOptions, BlockPart, Ending, ModelProgram, steps};
use nn::clear::{ClearEvaluator, ClearTensor};
use nn::evaluator::{BlockEvaluator, Form, Rows};
use nn::gpt2::{Gpt2, NoHooks};
use nn::matrix::{Matrix, relative_error};
use nn::metrics;
use nn::table::SmoothTable;
use nn::watched::{Operation, OperationKind, WatchedError};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded")
}

static MODEL: LazyLock<Gpt2> = LazyLock::new(|| Gpt2::load(&folder()).unwrap());

/// Texts to calibrate on, and others; all begin with one token.
fn texts(model: &Gpt2) -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
    (model.draw_texts((24, 48), 1).unwrap(), model.draw_texts((4, 48), 2).unwrap())
}

/// The mean error of the stream after all blocks on `texts`, KL divergence, and how many numbers were out of range; of tokens that are not public.
fn measure(model: &Gpt2, program: &ModelProgram, texts: &[Vec<u32>]) -> (f64, f64, usize) {
    let (prefix, layers) = (program.program().prefix(), model.config().n_layer);
    let (mut error, mut divergence, mut rows) = (0.0, 0.0, 0);
    let mut evaluator = ClearEvaluator::new();
    for text in texts {
        let states = model.hidden_states(text, layers).unwrap();
        let private = |state: &Matrix<f32>| state.row_range(prefix..text.len());
        let (input, expected) = (private(&states[0]), private(&states[layers]));
        let found = program.evaluate_clear(&mut evaluator, &input).unwrap();
        error += relative_error(&found, &expected) / texts.len() as f64;
        let (logits, f32_logits) = (model.logits_of(&found), private(&model.logits(text, &mut NoHooks).unwrap()));
        for row in 0..logits.rows() {
            divergence += metrics::kl_divergence(f32_logits.row(row), logits.row(row)).unwrap();
            rows += 1;
        }
    }
    (error, divergence / rows as f64, evaluator.out_of_range())
}

#[test]
fn a_whole_model_is_near_to_f32() {
    let (calibration, others) = texts(&MODEL);
    let options = BlockOptions::default();
    let program = ModelProgram::calibrate(&MODEL, 0..3, BlockPart::Whole, (&calibration, 0), &options).unwrap();
    let (error, divergence, out_of_range) = measure(&MODEL, &program, &others);
    println!("error {error:.4}, KL divergence {divergence:.5}, {out_of_range} out of range");
    assert!(error < 0.08 && divergence < 0.01, "{error} {divergence}");
    let finer = BlockOptions { log_unit: -24.0, weight_bits: 12, key_bits: 8, factor_bits: 10, ..options };
    let program = ModelProgram::calibrate(&MODEL, 0..3, BlockPart::Whole, (&calibration, 0), &finer).unwrap();
    let (finer, _, _) = measure(&MODEL, &program, &others);
    println!("error {finer:.4} with finer integers");
    assert!(finer < 0.7 * error, "{finer}");
}

/// Rows depend on earlier ones only, through what is kept of them.
#[test]
fn token_after_token_is_all_at_once() {
    let (calibration, others) = texts(&MODEL);
    let options = BlockOptions { query_bits: Some(6), pairs: true, ..BlockOptions::default() };
    for part in [BlockPart::Attention, BlockPart::FeedForward, BlockPart::Whole] {
        let program = ModelProgram::calibrate(&MODEL, 1..3, part, (&calibration, 0), &options).unwrap();
        let hidden = MODEL.hidden_states(&others[0][..6], 1).unwrap().remove(1);
        let at_once = program.evaluate_clear(&mut ClearEvaluator::new(), &hidden).unwrap();
        let evaluator = &mut ClearEvaluator::<SmoothTable>::new();
        let (mut caches, encoded) = (program.program().caches(evaluator), program.client().encode(&hidden).unwrap());
        let mut rows = Vec::new();
        for row in 0..6 {
            let mut stream: ClearTensor = evaluator.known(vec![encoded.row(row).to_vec()], Form::Features);
            let Ok(()) = program.program().evaluate(evaluator, &mut stream, &mut caches);
            rows.extend(stream.rows()[0].clone());
        }
        let found = program.client().scale().decode(&Matrix::new(6, rows.len() / 6, rows).unwrap());
        assert!(relative_error(&found, &at_once) < 1e-6, "{part:?}");
    }
}

/// The embedded model with a first position whose hidden state is far larger than all others, and a channel that is, for all tokens.
fn with_outliers() -> Gpt2 {
    let bytes = std::fs::read(folder().join("model.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)> = read
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    let (_, shape, data) = tensors.get_mut("wpe.weight").unwrap();
    let mut add = |row: usize, channel: usize, by: f32| {
        let at = 2 * (row * shape[1] + channel);
        let old = half::f16::from_le_bytes([data[at], data[at + 1]]).to_f32();
        data[at..at + 2].copy_from_slice(&half::f16::from_f32(old + by).to_le_bytes());
    };
    for (channel, by) in [(3, 20.0), (40, -12.0), (77, 16.0)] {
        add(0, channel, by);
    }
    (0..64).for_each(|row| add(row, 101, if row % 2 == 0 { 4.0 } else { 3.0 }));
    let directory = tempfile::tempdir().unwrap();
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    std::fs::write(directory.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::copy(folder().join("config.json"), directory.path().join("config.json")).unwrap();
    Gpt2::load(directory.path()).unwrap()
}

/// Numbers far larger than all others, of a position or of a channel, leave the others what they need; also where the first token is public.
#[test]
fn outliers_and_public_first_tokens() {
    let model = with_outliers();
    let (calibration, others) = texts(&model);
    let check = |prefix| {
        let options = BlockOptions::default();
        let texts = (&calibration[..], prefix);
        let program = ModelProgram::calibrate(&model, 0..3, BlockPart::Whole, texts, &options).unwrap();
        let (error, divergence, out_of_range) = measure(&model, &program, &others);
        println!("{prefix} public: error {error:.4}, KL divergence {divergence:.5}, {out_of_range} out of range");
        assert!(error < 0.08 && divergence < 0.01, "{error} {divergence}");
        assert_eq!(program.program().prefix(), prefix);
    };
    check(0);
    check(1);
}

/// Two blocks, and the stream before the first of them.
fn watched_blocks() -> (ModelProgram, Rows<f64>) {
    let texts = MODEL.draw_texts((4, 16), 1).unwrap();
    let options = BlockOptions::default();
    let program = ModelProgram::calibrate(&MODEL, 0..2, BlockPart::Whole, (&texts, 0), &options).unwrap();
    let hidden = MODEL.hidden_states(&texts[0][..3], 0).unwrap().remove(0);
    let stream = program.client().encode(&hidden).unwrap();
    let rows = (0..stream.rows()).map(|row| stream.row(row).to_vec()).collect();
    (program, rows)
}

#[test]
fn a_watched_program_gives_what_it_gives_unwatched() {
    let (program, rows) = watched_blocks();
    let mut plain = ClearEvaluator::new();
    let mut expected = plain.known(rows.clone(), Form::Features);
    let mut caches = program.program().caches(&mut plain);
    let Ok(()) = program.program().evaluate(&mut plain, &mut expected, &mut caches);
    let (mut watched, mut seen) = (ClearEvaluator::new(), Vec::<(Operation, Rows<f64>)>::new());
    let stream = watched.known(rows.clone(), Form::Features);
    let all = |operation, rows| {
        seen.push((operation, rows));
        ControlFlow::Continue(())
    };
    assert_eq!(program.program().watch(&mut watched, stream, all).unwrap(), expected);
    assert_eq!(watched.steps(), plain.steps());
    // Every step of either block was seen, in its place, and every lookup.
    for block in 0..2 {
        // Not all have exponents that are clipped.
        for step in steps::of(Ending::Stream).iter().filter(|&&step| step != steps::CLIP) {
            assert!(
                seen.iter().any(|(operation, _)| (operation.block, operation.step) == (block, step)),
                "{block} {step}"
            );
        }
    }
    assert!(seen.is_sorted_by_key(|(operation, _)| operation.block));
    let is_lookup = |kind| matches!(kind, OperationKind::Lookup | OperationKind::Integers);
    let lookups = seen.iter().filter(|(operation, _)| is_lookup(operation.kind)).map(|(_, rows)| rows[0].len());
    assert_eq!(lookups.sum::<usize>(), plain.lookups());
    // What the last step of a block gives is added to what the one before left.
    let update = |block: usize, step: &str| {
        let found = seen.iter().rfind(|(operation, _)| (operation.block, operation.step) == (block, step));
        found.unwrap().1[0].clone()
    };
    let stream = |row: &Vec<f64>| row[..row.len() - 1].to_vec();
    let mut sum: Vec<f64> = rows.iter().flat_map(stream).collect();
    for block in 0..2 {
        for step in [steps::ATTENTION, steps::FEED_FORWARD] {
            sum.iter_mut().zip(update(block, step)).for_each(|(sum, x)| *sum += x);
        }
    }
    // A reading's constant is added after its lookup, the same for all tokens.
    let (found, channels) = (expected.rows(), rows[0].len() - 1);
    for token in 1..rows.len() {
        for channel in 0..channels {
            let less = |token: usize| found[token][channel] - sum[token * channels + channel];
            assert!((less(token) - less(0)).abs() < 1e-12, "{token} {channel}");
        }
    }
}

#[test]
fn a_watched_program_stops_right_after_the_operation_that_was_waited_for() {
    let (program, rows) = watched_blocks();
    for (block, step, later) in [(0, steps::SCORES, steps::SOFTPLUS), (1, steps::KEYS, steps::ATTENTION)] {
        let (mut evaluator, mut seen) = (ClearEvaluator::new(), 0);
        let stream = evaluator.known(rows.clone(), Form::Features);
        // Scores are a product for each of the heads, keys one lookup of all.
        let wanted = if step == steps::SCORES { MODEL.config().n_head } else { 1 };
        let result = program.program().watch(&mut evaluator, stream, |operation, _| {
            assert!(seen < wanted, "{operation:?} after the last");
            seen += usize::from((operation.block, operation.step) == (block, step));
            if seen == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(result.unwrap_err(), WatchedError::Stopped);
        assert!(evaluator.record(step).is_some());
        let of_blocks = |name: &str| evaluator.record(name).map_or(0, |record| record.lookup_count());
        let mut whole = ClearEvaluator::new();
        let stream = whole.known(rows.clone(), Form::Features);
        program.program().watch(&mut whole, stream, |_, _| ControlFlow::Continue(())).unwrap();
        // Both blocks have as many.
        assert_eq!(of_blocks(later), block * whole.record(later).unwrap().lookup_count() / 2, "{later}");
    }
}

/// A model with a matrix of its own for logits.
fn random() -> Gpt2 {
    let config = json!({
        "n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 48, "vocab_size": 70, "tie_word_embeddings": false,
        "bos_token_id": 0, "eos_token_id": 0,
    });
    let folder = tempfile::tempdir().unwrap();
    RandomGpt2::new(config, 3).write(folder.path()).unwrap();
    Gpt2::load(folder.path()).unwrap()
}

/// Logits less their mean: what a prediction depends on.
fn differences(logits: &[f32]) -> Matrix<f32> {
    let mean = logits.iter().sum::<f32>() / logits.len() as f32;
    Matrix::new(1, logits.len(), logits.iter().map(|logit| logit - mean).collect()).unwrap()
}

/// The logits of the token after the last are near to f32's, whether tokens come at once or one after the other.
#[test]
fn logits_after_the_last_block_are_near_to_f32() {
    for (model, prefix) in [(&*MODEL, 0), (&*MODEL, 1), (&random(), 0)] {
        let ((calibration, others), layers) = (texts(model), model.config().n_layer);
        let (options, private) = (BlockOptions::default(), (&calibration[..], prefix));
        let blocks = ModelProgram::calibrate(model, 0..layers, BlockPart::Whole, private, &options).unwrap();
        let program = blocks.clone().with_logits(model, &calibration, &options).unwrap();
        let mut evaluator = ClearEvaluator::<SmoothTable>::new();
        let answer = |evaluator: &mut ClearEvaluator<SmoothTable>, rows: &Matrix<f64>, caches: &mut Vec<_>| {
            let rows = (0..rows.rows()).map(|row| rows.row(row).to_vec()).collect();
            let stream = evaluator.known(rows, Form::Features);
            let Ok(numbers) = program.program().answer(evaluator, stream, caches);
            assert_eq!(numbers.rows().len(), 1, "one row, whatever there is before");
            Matrix::new(1, model.config().vocab_size, numbers.rows()[0].clone()).unwrap()
        };
        for text in &others {
            let hidden = model.hidden_states(text, 0).unwrap().remove(0);
            let stream = program.client().encode(&hidden.row_range(prefix..text.len())).unwrap();
            let caches = &mut program.program().caches(&mut evaluator);
            let numbers = answer(&mut evaluator, &stream, caches);
            let (logits, expected) =
                (program.client().decode(&numbers).unwrap(), model.next_logits(text, &mut NoHooks).unwrap());
            // Beside those of f32, those that f32 makes of what the blocks give.
            let after =
                blocks.evaluate_clear(&mut ClearEvaluator::new(), &hidden.row_range(prefix..text.len())).unwrap();
            let goes_on = model.logits_of(&after.row_range(after.rows() - 1..after.rows())).into_data();
            let errors = [expected, goes_on]
                .map(|expected| relative_error(&differences(logits.data()), &differences(&expected)));
            println!("errors {errors:.4?}");
            assert!(errors[0] < 0.2 && errors[1] > 0.0 && errors[1] < 0.03, "{errors:?}");
            // What is decrypted is known modulo one turn.
            let turned = Matrix::from_fn(1, numbers.cols(), |_, token| numbers[(0, token)] + (token % 5) as f64 - 2.0);
            assert!(relative_error(&program.client().decode(&turned).unwrap(), &logits) < 1e-6);
            let (caches, before) = (&mut program.program().caches(&mut evaluator), stream.rows() - 1);
            answer(&mut evaluator, &stream.row_range(0..before), caches);
            let parted = answer(&mut evaluator, &stream.row_range(before..before + 1), caches);
            assert!(parted.iter().zip(numbers.iter()).all(|(a, b)| (a - b).abs() < 1e-9));
        }
        assert_eq!(evaluator.overflows(), 0, "no logit is near to half a turn");
    }
}

/// Where the model's last hidden state is all that is answered, it is as near to f32's as the same blocks' stream is, whose last update is
/// looked up.
#[test]
fn the_last_hidden_state_is_near_to_f32() {
    for (model, prefix) in [(&*MODEL, 0), (&*MODEL, 1), (&random(), 0)] {
        let ((calibration, others), layers) = (texts(model), model.config().n_layer);
        let (options, private) = (BlockOptions::default(), (&calibration[..], prefix));
        let blocks = ModelProgram::calibrate(model, 0..layers, BlockPart::Whole, private, &options).unwrap();
        let program = blocks.clone().with_last_state(model, &calibration, &options).unwrap();
        let mut evaluator = ClearEvaluator::<SmoothTable>::new();
        let (mut squares, mut count) = ([0.0; 2], 0);
        for text in &others {
            let states = model.hidden_states(text, layers).unwrap();
            let [before, after] = [0, layers].map(|layer| states[layer].row_range(prefix..text.len()));
            let last = |state: &Matrix<f32>| state.row_range(state.rows() - 1..state.rows());
            let state = program.evaluate_clear(&mut evaluator, &before).unwrap();
            let stream = last(&blocks.evaluate_clear(&mut ClearEvaluator::new(), &before).unwrap());
            for (sum, found) in squares.iter_mut().zip([&state, &stream]) {
                *sum += relative_error(found, &last(&after)).powi(2);
            }
            assert!(relative_error(&state, &stream) < 0.1);
            // Token after token it is the same.
            let rows = program.client().encode(&before).unwrap();
            let caches = &mut program.program().caches(&mut evaluator);
            let mut parted = None;
            for row in 0..rows.rows() {
                let stream = evaluator.known(vec![rows.row(row).to_vec()], Form::Features);
                let Ok(numbers) = program.program().answer(&mut evaluator, stream, caches);
                let numbers = numbers.rows()[0].clone();
                parted = Some(Matrix::new(1, numbers.len(), numbers).unwrap());
            }
            let parted = program.client().decode(&parted.unwrap()).unwrap();
            assert!(relative_error(&parted, &state) < 1e-5);
            count += (rows.rows() + 1) * rows.cols();
        }
        let errors = squares.map(|sum| (sum / others.len() as f64).sqrt());
        println!("errors {errors:.4?}");
        assert!(errors[0] < 0.1 && errors[0] < 1.05 * errors[1], "{errors:?}");
        // Other texts have numbers a quarter beyond those of few texts, rarely. They are right until half a turn.
        assert!(1000 * evaluator.overflows() < count, "{} of {count} are near to half a turn", evaluator.overflows());
    }
}

#[test]
fn logits_follow_whole_blocks_up_to_the_last() {
    let (calibration, _) = texts(&MODEL);
    let options = BlockOptions::default();
    for (layers, part) in [(0..2, BlockPart::Whole), (0..3, BlockPart::FeedForward), (2..3, BlockPart::Attention)] {
        let blocks = ModelProgram::calibrate(&MODEL, layers, part, (&calibration, 0), &options).unwrap();
        for ended in [ModelProgram::with_logits, ModelProgram::with_last_state] {
            let refused = ended(blocks.clone(), &MODEL, &calibration, &options).unwrap_err();
            let is_named = refused.to_string().contains("number 2");
            assert!(matches!(refused, Error::OutOfRange { .. }) && is_named, "{refused}");
        }
    }
    let blocks = ModelProgram::calibrate(&MODEL, 2..3, BlockPart::Whole, (&calibration, 0), &options).unwrap();
    assert!(matches!(blocks.clone().with_logits(&MODEL, &[], &options), Err(Error::Shape { .. })));
    let wide = BlockOptions { weight_bits: 13, ..options };
    assert!(matches!(blocks.with_logits(&MODEL, &calibration, &wide), Err(Error::OutOfRange { .. })));
}

/// Numbers that are decrypted have a limit on either side of zero.
#[test]
fn decrypted_numbers_beyond_their_limit_are_counted() {
    let mut evaluator = ClearEvaluator::<SmoothTable>::new();
    let tensor = evaluator.known(vec![vec![0.4, -0.41, 0.0], vec![0.41, -0.4, 1.0]], Form::Image);
    evaluator.note_decrypted("answer", &tensor, 0.405);
    assert_eq!(evaluator.overflows(), 3);
    assert_eq!(evaluator.last_row(&tensor).rows(), [[0.41, -0.4, 1.0]]);
}
