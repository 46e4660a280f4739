//! Blocks of the embedded model.

use std::ops::Range;
use std::path::Path;

use nn::block::{BlockOptions, BlockPart, ModelProgram};
use nn::gpt2::{Gpt2, Intermediate, NoHooks, Site};
use nn::matrix::relative_error;

use super::*;

/// The embedded model, and texts to calibrate on: their first is that of the tests.
fn model() -> (Gpt2, Vec<Vec<u32>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let model = Gpt2::load(&folder).expect("the embedded model");
    let texts = model.draw_texts((6, 24), 5).expect("texts");
    (model, texts)
}

fn circuit(model: &Gpt2, texts: &[Vec<u32>], layers: Range<usize>, part: BlockPart) -> BlockCircuit {
    let program = ModelProgram::calibrate(model, layers, part, (texts, 0), &BlockOptions::default()).unwrap();
    BlockCircuit::new(program, model.config().head_size()).unwrap()
}

/// What is kept of earlier tokens gives later ones what they would have seen.
#[test]
fn token_after_token_is_all_at_once() {
    let (model, texts) = model();
    let circuit = circuit(&model, &texts, 0..2, BlockPart::Whole);
    let states = model.hidden_states(&texts[0][..6], 2).unwrap();
    let whole = BlockText::clear(&circuit).advance(&states[0]).unwrap();
    let mut text = BlockText::clear(&circuit);
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
    let circuit = circuit(&model, &texts, 1..2, BlockPart::FeedForward);
    // What the feed-forward layer is given.
    let state = model.hidden_states(&texts[0][..3], 1).unwrap().remove(1);
    let trace = model.block(1).unwrap().trace(&state).unwrap();
    let input = trace.get(Site::layer(Intermediate::AttentionResidual, 0)).unwrap();
    let plans = BlockText::plan(&circuit, &[2, 1]).unwrap();
    assert_eq!(plans[0].statistics.pbs(), 2 * plans[1].statistics.pbs());
    let run = |plans: Vec<Plan>, seed: u64| {
        let mut text = BlockText::simulated(&circuit, plans, &SampleSeed::from_number(1000 + seed));
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
        let circuits: Vec<BlockCircuit> =
            layers.into_iter().map(|layers| circuit(&model, &texts, layers, part)).collect();
        let mut texts: Vec<BlockText<'_>> = circuits.iter().map(BlockText::clear).collect();
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
    let circuit = circuit(&model, &texts, 0..1, BlockPart::FeedForward);
    let mut text = BlockText::clear(&circuit);
    let narrow = Matrix::from_fn(1, 3, |_, _| 0.0);
    assert!(matches!(text.advance(&narrow), Err(RunError::Input(_))));
    let far = Matrix::from_fn(1, model.config().n_embd, |_, channel| if channel == 5 { 1e9 } else { 0.0 });
    let refused = text.advance(&far).unwrap_err().to_string();
    assert!(refused.contains("of token 0 is beyond half a turn"), "{refused}");
}
