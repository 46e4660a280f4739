//! The example that writes a layer's inputs for `gpt2-fhe head`.

#[path = "../examples/attention_inputs/inputs.rs"]
mod inputs;

use inputs::Input;

use nn::attention::{AttentionWeights, Part};
use nn::checkpoint::Checkpoint;
use nn::gpt2::{Block, Gpt2, Intermediate, Site, Trace};
use nn::matrix::relative_error;
use nn::tokenizer::Tokenizer;
use std::path::Path;

/// The model's own file as the attention, and the written inputs, give what the model computes.
#[test]
fn weights_of_a_model_and_written_inputs_make_its_attention() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("inputs.safetensors");
    let prompts = ["The king is", "My lord, the king"].map(str::to_owned);
    let shapes = inputs::write(&model, (1, Input::Attention), (&prompts, 0), &out).unwrap();
    let (written, weights) =
        (Checkpoint::open(&out).unwrap(), Checkpoint::open(model.join("model.safetensors")).unwrap());
    let weights = AttentionWeights::load(&weights, 1, None).unwrap();
    let (gpt2, tokenizer) = (Gpt2::load(&model).unwrap(), Tokenizer::load(&model).unwrap());
    for (index, prompt) in prompts.iter().enumerate() {
        let hidden = written.any_matrix(&format!("ex{index}.hidden")).unwrap();
        assert_eq!([hidden.rows(), hidden.cols()], shapes[index]);
        let mut trace = Trace::default();
        gpt2.logits(&tokenizer.encode(prompt).unwrap(), &mut trace).unwrap();
        let expected = trace.get(Site::layer(Intermediate::AttentionProjection, 1)).unwrap();
        assert!(relative_error(&weights.attend(Part::Whole, &hidden).unwrap(), expected) < 1e-5, "{prompt}");
    }
    let message = |layer, prompts: &[String]| {
        format!("{:#}", inputs::write(&model, (layer, Input::Attention), (prompts, 0), &out).unwrap_err())
    };
    assert!(message(3, &prompts).contains("layer"), "{}", message(3, &prompts));
    assert!(message(0, &[]).contains("no prompt"));
}

/// The same of a whole block.
#[test]
fn weights_of_a_model_and_written_inputs_make_its_block() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("inputs.safetensors");
    let weights = Checkpoint::open(model.join("model.safetensors")).unwrap();
    let (gpt2, tokenizer) = (Gpt2::load(&model).unwrap(), Tokenizer::load(&model).unwrap());
    let states = gpt2.hidden_states(&tokenizer.encode("The king is").unwrap(), 3).unwrap();
    for layer in 0..3 {
        inputs::write(&model, (layer, Input::Block), (&["The king is".to_owned()], 2), &out).unwrap();
        let written = Checkpoint::open(&out).unwrap();
        assert_eq!(written.names(), ["drawn0.hidden", "drawn1.hidden", "ex0.hidden"]);
        assert_eq!(written.shape("drawn1.hidden"), Some(&[64, 128][..]));
        let hidden = written.any_matrix("ex0.hidden").unwrap();
        let heads = Some(gpt2.config().n_head);
        let trace = Block::load_alone(&weights, layer, heads).unwrap().trace(&hidden).unwrap();
        let output = trace.get(Site::layer(Intermediate::Block, 0)).unwrap();
        assert!(relative_error(output, &states[layer + 1]) < 1e-5, "layer {layer}");
    }
}
