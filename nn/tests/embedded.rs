//! The embedded model against logits that PyTorch computed from the same weights.

use nn::gpt2::{Gpt2, NoHooks};
use nn::tokenizer::Tokenizer;
use safetensors::SafeTensors;
use std::path::Path;

/// Two implementations in f32 of the same weights agree to rounding, which differs between kinds of CPU, too: the logits reach 15, of which 1e-4 is 100 units in
/// the last place, for sums of up to 768 products through three layers.
const TOLERANCE: f32 = 1e-4;

#[test]
fn logits_and_tokens_are_those_of_the_training_framework() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let model = Gpt2::load(&folder).expect("the embedded model");
    let tokenizer = Tokenizer::load(&folder).expect("the embedded tokenizer");
    let bytes = std::fs::read(folder.join("reference.safetensors")).expect("the reference");
    let reference = SafeTensors::deserialize(&bytes).expect("a readable reference");
    for prompt in ["prompt0", "prompt1"] {
        let data = |name: &str| reference.tensor(&format!("{prompt}.{name}")).expect("the tensor").data().to_vec();
        let text = String::from_utf8(data("text")).expect("UTF-8");
        let word = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("eight bytes")) as u32;
        let tokens: Vec<u32> = data("tokens").chunks_exact(8).map(word).collect();
        assert_eq!(tokenizer.encode(&text).expect("tokens"), tokens, "{text:?}");
        let expected: Vec<f32> = data("logits")
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .collect();
        let logits = model.next_logits(&tokens, &mut NoHooks).expect("logits");
        assert_eq!(logits.len(), expected.len());
        let worst = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{text:?}: largest difference {worst:e}");
        assert!(worst < TOLERANCE, "{text:?}: {worst}");
    }
}
