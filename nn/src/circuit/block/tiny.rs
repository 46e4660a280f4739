//! A model of very few numbers, for tests of this crate.

use super::{BlockOptions, BlockPart, ModelProgram};
use crate::checkpoint::Checkpoint;
use crate::gpt2::{Config, Gpt2};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::ops::Range;

/// E; there are two heads.
pub(crate) const SIZE: usize = 8;
/// The tokens of the vocabulary.
pub(crate) const VOCABULARY: usize = 12;
/// The size of the feed-forward layer.
const INNER: usize = 12;
/// The layers.
pub(crate) const LAYERS: usize = 2;

/// GPT-2 with smooth pseudo-random weights.
pub(crate) fn model() -> Gpt2 {
    let config = format!(
        r#"{{"n_layer": {LAYERS}, "n_head": 2, "n_embd": {SIZE}, "n_inner": {INNER}, "n_positions": 16,
            "vocab_size": {VOCABULARY}, "bos_token_id": 0, "eos_token_id": 0}}"#
    );
    let mut tensors = vec![
        ("wte.weight".to_owned(), vec![VOCABULARY, SIZE], 0.0, 1.0),
        ("wpe.weight".to_owned(), vec![16, SIZE], 0.0, 0.3),
        ("ln_f.weight".to_owned(), vec![SIZE], 1.0, 0.1),
        ("ln_f.bias".to_owned(), vec![SIZE], 0.0, 0.1),
    ];
    for layer in 0..LAYERS {
        for (name, shape, mean, reach) in [
            ("ln_1.weight", vec![SIZE], 1.0, 0.1),
            ("ln_1.bias", vec![SIZE], 0.0, 0.1),
            ("attn.c_attn.weight", vec![SIZE, 3 * SIZE], 0.0, 0.5),
            ("attn.c_attn.bias", vec![3 * SIZE], 0.0, 0.1),
            ("attn.c_proj.weight", vec![SIZE, SIZE], 0.0, 0.3),
            ("attn.c_proj.bias", vec![SIZE], 0.0, 0.1),
            ("ln_2.weight", vec![SIZE], 1.0, 0.1),
            ("ln_2.bias", vec![SIZE], 0.0, 0.1),
            ("mlp.c_fc.weight", vec![SIZE, INNER], 0.0, 0.4),
            ("mlp.c_fc.bias", vec![INNER], 0.0, 0.1),
            ("mlp.c_proj.weight", vec![INNER, SIZE], 0.0, 0.4),
            ("mlp.c_proj.bias", vec![SIZE], 0.0, 0.1),
        ] {
            tensors.push((format!("h.{layer}.{name}"), shape, mean, reach));
        }
    }
    let entries = |(which, (_, shape, mean, reach)): (usize, &(String, Vec<usize>, f32, f32))| -> Vec<u8> {
        let entry = |index: usize| mean + reach * ((index * index + 7 * which) as f32 * 0.37).sin();
        (0..shape.iter().product()).flat_map(|index| entry(index).to_le_bytes()).collect()
    };
    let bytes: Vec<Vec<u8>> = tensors.iter().enumerate().map(entries).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, ..), bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("shapes fit"))
    });
    let file = safetensors::serialize(views, None).expect("tensors become bytes");
    let weights = Checkpoint::from_bytes("the tiny model", file).expect("a file of tensors");
    Gpt2::from_checkpoint(Config::from_json(config.as_bytes()).expect("a configuration"), &weights).expect("a model")
}

/// Texts that begin with tokens 0 and 1.
pub(crate) fn texts(count: usize, length: usize, seed: usize) -> Vec<Vec<u32>> {
    let token = |text: usize, at: usize| if at < 2 { at } else { (seed + 5 * text + 3 * at * at) % VOCABULARY };
    (0..count).map(|text| (0..length).map(|at| token(text, at) as u32).collect()).collect()
}

/// Some of its blocks.
pub(crate) fn program(layers: Range<usize>, part: BlockPart, prefix: usize, options: &BlockOptions) -> ModelProgram {
    let (model, texts) = (model(), texts(6, 8, 1));
    ModelProgram::calibrate(&model, layers, part, (&texts, prefix), options).expect("blocks of the model")
}

/// Programs of every kind: parts, public tokens, every ending, options of wide blocks, exponents that are clipped.
pub(crate) fn programs() -> Vec<ModelProgram> {
    let narrow = BlockOptions::default();
    let wide = BlockOptions { log_unit: narrow.log_unit, ..BlockOptions::of_width(1024) };
    let whole = program(0..LAYERS, BlockPart::Whole, 1, &narrow);
    let last_state = program(0..LAYERS, BlockPart::Whole, 0, &narrow);
    vec![
        whole.with_logits(&model(), &texts(6, 8, 1), &narrow).expect("the blocks end with the model's last"),
        program(0..LAYERS, BlockPart::Whole, 0, &wide),
        program(1..LAYERS, BlockPart::Attention, 2, &narrow),
        program(0..1, BlockPart::FeedForward, 0, &wide),
        program(0..1, BlockPart::Whole, 0, &BlockOptions { guard: 16.0, ..narrow }),
        last_state.with_last_state(&model(), &texts(6, 8, 1), &narrow).expect("the blocks end with the model's last"),
    ]
}
