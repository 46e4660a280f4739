//! Blocks of the embedded model, and of one that is small enough for ciphertexts.

use std::ops::Range;
use std::path::Path;

use nn::block::{BlockOptions, BlockPart, Ending, ModelProgram};
use nn::checkpoint::{Checkpoint, write_tensors};
use nn::gpt2::{Config, ForwardHooks, Gpt2, Intermediate, NoHooks, Site};
use nn::matrix::relative_error;
use nn::tensor::Tensor;
use tfhe_core::derivation::ClientSeed;

use super::*;
use crate::track::Unobserved;

/// The embedded model, and texts to calibrate on: their first is that of the tests.
fn model() -> (Gpt2, Vec<Vec<u32>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let model = Gpt2::load(&folder).expect("the embedded model");
    let texts = model.draw_texts((6, 24), 5).expect("texts");
    (model, texts)
}

fn blocks(model: &Gpt2, texts: &[Vec<u32>], layers: Range<usize>, part: BlockPart) -> BlockModel {
    let program = ModelProgram::calibrate(model, layers, part, (texts, 0), &BlockOptions::default()).unwrap();
    BlockModel::new(program).unwrap()
}

/// What is kept of earlier tokens gives later ones what they would have seen.
#[test]
fn token_after_token_is_all_at_once() {
    let (model, texts) = model();
    let blocks = blocks(&model, &texts, 0..2, BlockPart::Whole);
    let states = model.hidden_states(&texts[0][..6], 2).unwrap();
    let whole = BlockText::clear(&blocks).advance(&states[0]).unwrap();
    let mut text = BlockText::clear(&blocks);
    for rows in [0..3, 3..4, 4..6] {
        let part = text.advance(&states[0].row_range(rows.clone())).unwrap();
        assert_eq!(part.run.numbers, whole.run.numbers.row_range(rows));
    }
    assert_eq!(whole.run.out_of_range, 0);
    assert!(whole.relative_error(&states[2]) < 0.05, "{}", whole.relative_error(&states[2]));
    // It has the means of rows, too.
    assert!(relative_error(&whole.run.output, &states[2]) < 0.05);
}

/// Simulated numbers are as far from the clear engine's as other simulations are, request after request.
#[test]
fn simulations_are_within_their_noise() {
    let (model, texts) = model();
    let blocks = blocks(&model, &texts, 1..2, BlockPart::FeedForward);
    // What the feed-forward layer is given.
    let state = model.hidden_states(&texts[0][..3], 1).unwrap().remove(1);
    let trace = model.block(1).unwrap().trace(&state).unwrap();
    let input = trace.get(Site::layer(Intermediate::AttentionResidual, 0)).unwrap();
    let plans = BlockText::plan(blocks.circuit(), &[2, 1]).unwrap();
    assert_eq!(plans[0].statistics.pbs(), 2 * plans[1].statistics.pbs());
    let run = |plans: Vec<Plan>, seed: u64| {
        let mut text = BlockText::simulated(&blocks, plans, &SampleSeed::from_number(1000 + seed));
        [0..2, 2..3].map(|rows| text.advance(&input.row_range(rows)).unwrap())
    };
    let outcomes = run(plans, 1);
    for outcome in &outcomes {
        assert_eq!((outcome.run.mismatches(), outcome.run.out_of_range), (0, 0));
        assert!(outcome.run.plan.is_some());
        assert!(outcome.run.max_abs_difference() > 0.0);
    }
    // The same seed draws the same noise, and without plans nothing is said of how much there is.
    let again = run(Vec::new(), 1);
    assert_eq!(again[1].run.numbers, outcomes[1].run.numbers);
    assert!(again[1].run.plan.is_none() && again[1].run.mismatches() == 0);
    assert_ne!(run(Vec::new(), 2)[0].run.numbers, outcomes[0].run.numbers);
}

/// Parts of blocks in their places in a model, and whole blocks of a range.
#[test]
fn a_model_goes_on_with_what_blocks_give() {
    let (model, texts) = model();
    let tokens = &texts[0][..8];
    let plain = model.logits(tokens, &mut NoHooks).unwrap();
    for (layers, part, requests) in [
        (vec![0..1, 1..3], BlockPart::Whole, 2),
        (vec![0..1, 2..3], BlockPart::Attention, 2),
        (vec![0..1, 1..2], BlockPart::FeedForward, 2),
    ] {
        let models: Vec<BlockModel> = layers.into_iter().map(|layers| blocks(&model, &texts, layers, part)).collect();
        let mut texts: Vec<BlockText<'_>> = models.iter().map(BlockText::clear).collect();
        let mut hooks = ReplacedBlocks::new(&mut texts, true);
        let logits = model.logits(tokens, &mut hooks).unwrap();
        assert_eq!(hooks.into_outcomes().len(), requests);
        let error = relative_error(&logits, &plain);
        assert!(error > 0.0 && error < 0.05, "{part:?}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (model, texts) = model();
    let blocks = blocks(&model, &texts, 0..1, BlockPart::FeedForward);
    let mut text = BlockText::clear(&blocks);
    let narrow = Matrix::from_fn(1, 3, |_, _| 0.0);
    assert!(matches!(text.advance(&narrow), Err(RunError::Input(_))));
    let far = Matrix::from_fn(1, model.config().n_embd, |_, channel| if channel == 5 { 1e9 } else { 0.0 });
    let refused = text.advance(&far).unwrap_err().to_string();
    assert!(refused.contains("of token 0 is beyond half a turn"), "{refused}");
}

/// A model of one block, with 16 channels and 40 tokens.
fn small_model() -> Gpt2 {
    let (size, inner, vocabulary, positions) = (16, 24, 40, 12);
    let config = Config::from_json(
        br#"{"n_layer": 1, "n_head": 2, "n_embd": 16, "n_inner": 24, "n_positions": 12, "vocab_size": 40,
            "bos_token_id": 0, "eos_token_id": 0}"#,
    );
    let near = |around: f32| move |index: usize| around + 0.1 * (1.7 * index as f32).sin();
    let weights = |scale: f32| move |index: usize| scale * (0.7 * (index * index % 101) as f32).sin();
    let tensor = |shape: &[usize], entry: &dyn Fn(usize) -> f32| {
        Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(entry).collect()).unwrap()
    };
    let tensors = [
        ("wte.weight", tensor(&[vocabulary, size], &weights(1.0))),
        ("wpe.weight", tensor(&[positions, size], &weights(0.2))),
        ("h.0.ln_1.weight", tensor(&[size], &near(1.0))),
        ("h.0.ln_1.bias", tensor(&[size], &near(0.0))),
        ("h.0.attn.c_attn.weight", tensor(&[size, 3 * size], &weights(0.8))),
        ("h.0.attn.c_attn.bias", tensor(&[3 * size], &near(0.0))),
        ("h.0.attn.c_proj.weight", tensor(&[size, size], &weights(0.3))),
        ("h.0.attn.c_proj.bias", tensor(&[size], &near(0.0))),
        ("h.0.ln_2.weight", tensor(&[size], &near(1.0))),
        ("h.0.ln_2.bias", tensor(&[size], &near(0.0))),
        ("h.0.mlp.c_fc.weight", tensor(&[size, inner], &weights(0.4))),
        ("h.0.mlp.c_fc.bias", tensor(&[inner], &near(0.0))),
        ("h.0.mlp.c_proj.weight", tensor(&[inner, size], &weights(0.4))),
        ("h.0.mlp.c_proj.bias", tensor(&[size], &near(0.0))),
        ("ln_f.weight", tensor(&[size], &near(1.0))),
        ("ln_f.bias", tensor(&[size], &near(0.0))),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    write_tensors(&path, &tensors, &[]).unwrap();
    Gpt2::from_checkpoint(config.unwrap(), &Checkpoint::open(path).unwrap()).unwrap()
}

/// Blocks up to the model's last, of which the last token's hidden state comes back, or the logits after it: in every mode, the client's
/// forward pass goes on with what it gets.
#[test]
fn what_is_known_of_the_last_token_comes_back_in_every_mode() {
    let model = small_model();
    let mut texts = model.draw_texts((41, 10), 1).unwrap();
    let (unseen, options) = (texts.pop().unwrap(), BlockOptions::default());
    let program = ModelProgram::calibrate(&model, 0..1, BlockPart::Whole, (&texts, 0), &options).unwrap();
    // 16 channels and their mean, or 40 logits, of which a ciphertext holds 16, whatever the number of tokens.
    for (ended, ciphertexts) in [
        (program.clone().with_last_state(&model, &texts, &options), 2),
        (program.with_logits(&model, &texts, &options), 3),
    ] {
        let blocks = BlockModel::new(ended.unwrap()).unwrap();
        let plans = BlockText::plan(blocks.circuit(), &[2, 1]).unwrap();
        let (encoding, shape) = (blocks.circuit().encoding(1), blocks.circuit().parameters().arithmetic().shape);
        assert_eq!(encoding.answer_len(), ciphertexts);
        let response = encoding.answer_bytes(shape);
        assert_eq!([&plans[0], &plans[1]].map(|plan| plan.bytes.response), [response; 2]);
        let keys = BlockKeyPair::new(blocks.circuit().parameters(), &ClientSeed::from_number(5)).unwrap();
        let observer = &mut Unobserved;
        let session = BlockSession::new(blocks.circuit(), &keys, observer).unwrap();
        for (mode, text) in [
            ("clear", BlockText::clear(&blocks)),
            ("simulate", BlockText::simulated(&blocks, plans.clone(), &SampleSeed::from_number(77))),
            ("execute", BlockText::executed(&blocks, session, plans.clone())),
        ] {
            goes_on(&model, &unseen, (mode, text), &plans);
        }
    }
}

/// The first three tokens of a text, in two requests.
fn goes_on(model: &Gpt2, unseen: &[u32], (mode, text): (&str, BlockText<'_>), plans: &[Plan]) {
    let is_state = text.ending() == Ending::LastState;
    let (mut texts, mut replaced, mut plain) = ([text], model.session(), model.session());
    for (tokens, plan) in [&unseen[..2], &unseen[2..3]].into_iter().zip(plans) {
        let mut hooks = ReplacedBlocks::new(&mut texts, false);
        let logits = replaced.next_logits(tokens, &mut hooks).unwrap();
        let BlockOutcome { run, input, noise } = &hooks.into_outcomes()[0];
        let found = if is_state { model.logits_of(&run.output) } else { run.output.clone() };
        assert_eq!((found.data(), input.as_ref().map(Matrix::rows)), (&logits[..], is_state.then_some(1)), "{mode}");
        assert_eq!((run.mismatches(), run.out_of_range), (0, 0), "{mode}");
        let mut kept = LastState(None);
        let expected = plain.next_logits(tokens, &mut kept).unwrap();
        let expected = match is_state {
            true => kept.0.unwrap(),
            false => Matrix::new(1, expected.len(), expected).unwrap(),
        };
        let outcome = BlockOutcome { run: run.clone(), input: input.clone(), noise: *noise };
        let [error, clear] = [outcome.relative_error(&expected), outcome.clear_relative_error(&expected)];
        println!("{mode}: {error:.4}, without noise {clear:.4}");
        assert!(clear > 0.0 && clear < 0.1 && error < 0.2, "{mode}: {error} {clear}");
        assert_eq!(error == clear, mode == "clear");
        if mode == "execute" {
            assert_eq!((run.bytes.request, run.bytes.response), (plan.bytes.request, plan.bytes.response));
            assert_eq!(run.statistics.pbs(), plan.statistics.pbs());
        }
    }
}

/// Keeps the stream after the one layer, of the last token.
struct LastState(Option<Matrix<f32>>);

impl ForwardHooks for LastState {
    fn observe(&mut self, site: Site, value: &Matrix<f32>) {
        if site == Site::layer(Intermediate::Block, 0) {
            self.0 = Some(value.row_range(value.rows() - 1..value.rows()));
        }
    }
}
