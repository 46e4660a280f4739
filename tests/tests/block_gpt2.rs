//! A block in the shape of GPT-2's, with outliers: how many lookups it takes, how likely it fails, and how near it is to f32.

#[path = "../../nn/examples/gpt2_block/block.rs"]
mod block;
#[expect(dead_code, reason = "other tests draw inputs of its attention, and measure them")]
#[path = "../../nn/examples/random_gpt2/layer.rs"]
mod layer;

use block::RandomBlock;
use gpt2_fhe::run::block::{BlockModel, BlockText};
use integration_tests::layer::shared_checkpoint;
use nn::block::{BlockOptions, BlockPart, ModelProgram};
use nn::checkpoint::Checkpoint;
use nn::gpt2::{Block, Intermediate, Site};
use nn::matrix::Matrix;
use tfhe_core::random::SampleSeed;

const TOKENS: usize = 8;
/// Texts that it is calibrated on.
const TEXTS: u64 = 64;
/// How many arguments of lookups may be beyond what calibration saw, of 51,000 on a text that is not part of it.
const MOST_OUT_OF_RANGE: usize = 1;
/// What a bootstrapping with each of the set's gadgets takes in transforms, of that with the first: four, six, eight and ten.
const COARSE_EQUIVALENTS: [f64; 4] = [1.0, 1.5, 2.0, 2.5];

/// Plans and simulates 8 tokens, whose update may be off by so much of its norm.
fn check(random: &RandomBlock, largest_error: f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("block.safetensors");
    random.write(&path).unwrap();
    let block = Block::load_alone(&Checkpoint::open(&path).unwrap(), 0, None).unwrap();
    let texts: Vec<Matrix<f32>> = (0..=TEXTS).map(|text| random.hidden(TOKENS, text)).collect();
    let size = block.attention().embedding_size();
    let options = BlockOptions::of_width(size);
    let program = ModelProgram::calibrate_block((0, &block), BlockPart::Whole, &texts[1..], &options).unwrap();
    let model = BlockModel::new(program).unwrap();
    let plans = BlockText::plan(model.circuit(), &[TOKENS]).unwrap();
    let statistics = &plans[0].statistics;
    let by_gadget = statistics.pbs_by_gadget();
    let equivalents: f64 = by_gadget.iter().map(|(&gadget, &pbs)| COARSE_EQUIVALENTS[gadget] * pbs as f64).sum();
    let state = block.trace(&texts[0]).unwrap();
    let after = state.get(Site::layer(Intermediate::Block, 0)).unwrap();
    let mut text = BlockText::simulated(&model, Vec::new(), &SampleSeed::from_number(1));
    let outcome = text.advance(&texts[0]).unwrap();
    let [error, clear] = [outcome.relative_error(after), outcome.clear_relative_error(after)];
    let failure = plans[0].log2_failure_probability;
    let out_of_range = outcome.run.out_of_range;
    println!(
        "{out_of_range} out of range, {} PBS, {equivalents} coarse equivalents, failure 2^{failure:.1}, error {error:.4}, clear {clear:.4}",
        statistics.pbs()
    );
    assert!(equivalents < 93_000.0 && failure < -40.0, "{equivalents} {failure}");
    assert!(
        error < largest_error && clear < error && out_of_range <= MOST_OUT_OF_RANGE,
        "{error} {clear} {out_of_range}"
    );
}

#[test]
fn a_drawn_block_is_near_to_f32() {
    check(&RandomBlock::new(1).unwrap(), 0.1);
}

#[test]
#[ignore = "needs ../shared: GPT-2's own attention"]
fn a_block_with_the_attention_of_gpt2_is_near_to_f32() {
    let file = shared_checkpoint("gpt2/layer0_attention.safetensors");
    check(&RandomBlock::of_attention(&file, 1).unwrap(), 0.05);
}
