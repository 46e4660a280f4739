//! The example that writes a layer's inputs for `gpt2-fhe head`.

#[path = "../examples/attention_inputs/inputs.rs"]
mod inputs;

use nn::attention::{AttentionWeights, Part};
use nn::checkpoint::Checkpoint;
use nn::gpt2::{Gpt2, Intermediate, Site, Trace};
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
    let shapes = inputs::write(&model, 1, &prompts, &out).unwrap();
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
    let message = |layer, prompts: &[String]| format!("{:#}", inputs::write(&model, layer, prompts, &out).unwrap_err());
    assert!(message(3, &prompts).contains("layer"), "{}", message(3, &prompts));
    assert!(message(0, &[]).contains("no prompt"));
}
