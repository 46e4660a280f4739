//! Folders in every layout, good and bad.

#[path = "common/folders.rs"]
mod folders;

use folders::{RandomGpt2, rewrite, written};
use nn::Error;
use nn::attention::Part;
use nn::checkpoint::Checkpoint;
use nn::gpt2::{Gpt2, Intermediate, NoHooks, Site, Trace};
use nn::integer::{IntegerAttention, IntegerOptions};
use nn::matrix::relative_error;
use nn::tensor::Tensor;
use proptest::prelude::*;
use proptest::sample::Index;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const TOKENS: [u32; 5] = [3, 0, 12, 7, 7];
const INDEX: &str = "model.safetensors.index.json";

fn config() -> Value {
    json!({
        "model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 6, "vocab_size": 13,
        "activation_function": "gelu_new", "tie_word_embeddings": false,
    })
}

fn model() -> RandomGpt2 {
    RandomGpt2::new(config(), 1)
}

fn load(model: &RandomGpt2) -> Gpt2 {
    Gpt2::load(written(model).path()).unwrap()
}

#[test]
fn every_layout_gives_the_same_model() {
    let expected = load(&model());
    for shards in [1, 2, 5, 1000] {
        for (prefix, masks) in [(false, false), (true, false), (false, true), (true, true)] {
            let found = load(&RandomGpt2 { shards, prefix, masks, ..model() });
            assert!(found == expected, "{shards} shards, prefix {prefix}, masks {masks}");
        }
    }
}

#[test]
fn entries_of_16_bits_are_widened() {
    let exact = written(&model());
    let exact = Checkpoint::open_folder(exact.path()).unwrap();
    let f16 = |x: &f32| half::f16::from_f32(*x).to_f32();
    let bf16 = |x: &f32| half::bf16::from_f32(*x).to_f32();
    for (dtype, rounded) in [(Dtype::F16, f16 as fn(&f32) -> f32), (Dtype::BF16, bf16)] {
        let folder = written(&RandomGpt2 { dtype, shards: 3, ..model() });
        let checkpoint = Checkpoint::open_folder(folder.path()).unwrap();
        assert_eq!(checkpoint.names(), exact.names());
        for name in exact.names() {
            let expected: Vec<f32> = exact.tensor(&name).unwrap().data().iter().map(rounded).collect();
            assert_eq!(checkpoint.tensor(&name).unwrap().data(), expected, "{name}, {dtype}");
        }
        assert!(Gpt2::load(folder.path()).unwrap().logits(&TOKENS, &mut NoHooks).is_ok());
    }
}

#[test]
fn the_output_is_tied_unless_it_is_another() {
    let mut tied = model();
    tied.config["tie_word_embeddings"] = true.into();
    let folder = written(&tied);
    let expected = Gpt2::load(folder.path()).unwrap();
    let mut trace = Trace::default();
    let logits = expected.logits(&TOKENS, &mut trace).unwrap();
    let embedding = Checkpoint::open_folder(folder.path()).unwrap().any_matrix("wte.weight").unwrap();
    let hidden = trace.get(Site::model(Intermediate::FinalNorm)).unwrap();
    assert_eq!(logits, hidden.multiply_transposed(&embedding));
    // Held twice, it is still one.
    let copy = Tensor::from(embedding);
    rewrite(folder.path(), |tensors| tensors.push(("lm_head.weight".into(), copy)));
    assert!(Gpt2::load(folder.path()).unwrap() == expected);
    rewrite(folder.path(), |tensors| tensors.last_mut().unwrap().1 = Tensor::new(vec![13, 8], vec![0.5; 104]).unwrap());
    assert!(Gpt2::load(folder.path()).unwrap() != expected);
}

/// Scores are (q·k) times the scale that the configuration asks for, q and k being those of the file's weights; and the
/// integer head of such a layer is near the clear one.
#[test]
fn other_scales_of_scores_are_part_of_the_weights() {
    let usual = load(&model());
    for (by_size, by_layer) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut scaled = model();
        scaled.config["scale_attn_weights"] = by_size.into();
        scaled.config["scale_attn_by_inverse_layer_idx"] = by_layer.into();
        scaled.config["reorder_and_upcast_attn"] = true.into();
        let gpt2 = load(&scaled);
        let mut trace = Trace::default();
        gpt2.logits(&TOKENS, &mut trace).unwrap();
        for layer in 0..2 {
            let input = gpt2.attention_input(&TOKENS, layer).unwrap();
            let scale = if by_size { 0.5 } else { 1.0 } / if by_layer { (layer + 1) as f32 } else { 1.0 };
            for head in 0..2 {
                let weights = usual.attention(layer).unwrap().head(head).unwrap();
                let products = weights.query.apply(&input).multiply_transposed(&weights.key.apply(&input));
                let scores = trace.get(Site::head(Intermediate::Scores, layer, head)).unwrap();
                assert!(relative_error(scores, &products.map(|product| product * scale)) < 1e-6);
            }
            let weights = gpt2.attention(layer).unwrap();
            let options = IntegerOptions { msbs: 10, ..IntegerOptions::new(8) };
            let quantized =
                IntegerAttention::calibrate(weights, Part::Head(1), std::slice::from_ref(&input), &options).unwrap();
            let output = trace.get(Site::head(Intermediate::HeadOutput, layer, 1)).unwrap();
            assert!(relative_error(&quantized.evaluate_clear(&input).unwrap(), output) < 0.05);
        }
    }
}

/// The one line that loading a folder ends with.
fn message(folder: &Path) -> String {
    let message = Gpt2::load(folder).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn assert_refused(folder: &Path, expected: &str) {
    let message = message(folder);
    assert!(message.contains(expected), "{message:?} does not contain {expected:?}");
}

#[test]
fn folders_without_weights_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    assert_refused(folder.path(), "cannot open");
    assert_refused(folder.path(), "config.json");
    fs::write(folder.path().join("config.json"), config().to_string()).unwrap();
    assert_refused(folder.path(), "neither model.safetensors nor model.safetensors.index.json");
    for pickled in ["pytorch_model.bin.index.json", "pytorch_model.bin"] {
        fs::write(folder.path().join(pickled), "").unwrap();
        assert_refused(folder.path(), &format!("its weights are in {pickled}, Python's pickle format"));
        assert_refused(folder.path(), "save_pretrained");
    }
}

/// An index with `change` made to its text.
fn change_index(folder: &Path, change: impl FnOnce(&mut Value)) {
    let mut index: Value = serde_json::from_slice(&fs::read(folder.join(INDEX)).unwrap()).unwrap();
    change(&mut index);
    fs::write(folder.join(INDEX), index.to_string()).unwrap();
}

#[test]
fn bad_shards_are_named() {
    let sharded = || written(&RandomGpt2 { shards: 3, ..model() });
    let second = "model-00002-of-00003.safetensors";

    let folder = sharded();
    fs::remove_file(folder.path().join(second)).unwrap();
    assert_refused(folder.path(), &format!("it names the shard {second:?}, which is not there; fetch it, too"));

    let folder = sharded();
    let whole = fs::read(folder.path().join(second)).unwrap();
    fs::write(folder.path().join(second), &whole[..whole.len() - 1]).unwrap();
    assert_refused(folder.path(), second);
    assert_refused(folder.path(), "its header describes");
    fs::write(folder.path().join(second), u64::MAX.to_le_bytes()).unwrap();
    assert_refused(folder.path(), "its header claims 18446744073709551615 bytes");

    let folder = sharded();
    change_index(folder.path(), |index| index["weight_map"]["wte.weight"] = second.into());
    assert_refused(
        folder.path(),
        &format!("it says that {second:?} holds the tensor \"wte.weight\", which it does not"),
    );

    let folder = sharded();
    change_index(folder.path(), |index| {
        index["weight_map"].as_object_mut().unwrap().remove("ln_f.bias");
    });
    assert_refused(folder.path(), "has no tensor \"ln_f.bias\"");
    assert_refused(folder.path(), INDEX);

    for name in
        ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "./x", "x/", r"..\x", "x\u{0}y"]
    {
        let folder = sharded();
        change_index(folder.path(), |index| index["weight_map"]["wte.weight"] = name.into());
        assert_refused(folder.path(), &format!("it names the shard {name:?}"));
    }

    for text in ["", "[]", "{}", r#"{"weight_map":[]}"#, r#"{"weight_map":{"wte.weight":3}}"#] {
        let folder = sharded();
        fs::write(folder.path().join(INDEX), text).unwrap();
        assert_refused(folder.path(), "it is not an index of tensors");
    }
    let folder = sharded();
    fs::write(folder.path().join(INDEX), r#"{"weight_map":{}}"#).unwrap();
    assert_refused(folder.path(), "has no tensor \"wte.weight\"; it holds no tensor at all");
}

#[test]
fn bad_tensors_are_named() {
    let change = |name: &'static str, tensor: Option<Tensor>| {
        let folder = written(&model());
        rewrite(folder.path(), |tensors| {
            tensors.retain(|(other, _)| other != name);
            tensors.extend(tensor.map(|tensor| (name.to_string(), tensor)));
        });
        message(folder.path())
    };
    let values =
        |shape: &[usize], value: f32| Some(Tensor::new(shape.to_vec(), vec![value; shape.iter().product()]).unwrap());
    let missing = change("h.1.mlp.c_fc.bias", None);
    assert!(missing.contains("has no tensor \"h.1.mlp.c_fc.bias\"; the nearest names are \"h.0.mlp.c_fc.bias\""));
    let shape = change("h.1.attn.c_attn.weight", values(&[24, 8], 0.0));
    assert!(
        shape.contains("\"h.1.attn.c_attn.weight\"") && shape.contains("has shape [24, 8], but [8, 24], its transpose")
    );
    let not_finite = change("ln_f.weight", values(&[8], f32::NEG_INFINITY));
    assert!(not_finite.contains("tensor \"ln_f.weight\"") && not_finite.contains("holds -inf at position 0"));
    let head = change("lm_head.weight", None);
    assert!(head.contains("has no tensor \"lm_head.weight\""), "{head}");
}

#[test]
fn entries_that_are_not_finite_are_named() {
    for (dtype, bytes) in [
        (Dtype::F32, f32::NAN.to_le_bytes().to_vec()),
        (Dtype::F16, half::f16::INFINITY.to_le_bytes().to_vec()),
        (Dtype::BF16, half::bf16::NAN.to_le_bytes().to_vec()),
    ] {
        let folder = written(&RandomGpt2 { dtype, ..model() });
        let path = folder.path().join("model.safetensors");
        let mut file = fs::read(&path).unwrap();
        let end = file.len();
        file[end - bytes.len()..].copy_from_slice(&bytes);
        fs::write(&path, file).unwrap();
        assert!(matches!(Gpt2::load(folder.path()), Err(Error::NotFinite { .. })), "{dtype}");
        assert_refused(folder.path(), "every value must be finite");
    }
}

#[test]
fn other_types_are_named() {
    let folder = written(&model());
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let dtype = bytes.windows(5).position(|text| text == b"\"F32\"").unwrap();
    bytes[dtype..dtype + 5].copy_from_slice(b"\"I32\"");
    fs::write(&path, bytes).unwrap();
    assert_refused(folder.path(), "has entries of type I32; f64, f32, f16 or bf16 is needed");
}

/// Sizes far beyond the file end at the first tensor that does not have them, before anything of their size is there.
#[test]
fn absurd_sizes_are_refused() {
    let folder = written(&model());
    let refused = |name: &str, size: u64, expected: &str| {
        let mut config = config();
        config[name] = size.into();
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        assert_refused(folder.path(), expected);
    };
    refused("vocab_size", 1 << 24, "but [16777216, 8] is needed");
    refused("n_positions", 1 << 24, "but [16777216, 8] is needed");
    refused("n_layer", 1 << 24, "has no tensor \"h.2.");
    refused("n_inner", 1 << 24, "but [8, 16777216] is needed");
    refused("n_layer", 1 << 25, "n_layer is 33554432; it must be a whole number in 1 ..= 16777216");
    refused("n_embd", u64::MAX, "n_embd is 18446744073709551615; it must be a whole number in");
    refused("n_head", 3, "n_embd is 8, not a multiple of n_head, 3");
    refused("n_head", 0, "n_head is 0");
}

proptest! {
    /// A byte changed anywhere, or a file cut anywhere, is refused in one line or does no harm.
    #[test]
    fn damage_never_panics(
        file in 0_usize..4,
        (position, byte) in (any::<Index>(), any::<u8>()),
        length in prop::option::of(any::<Index>()),
    ) {
        let folder = written(&RandomGpt2 { shards: 2, ..model() });
        let names = ["config.json", INDEX, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let path = folder.path().join(names[file]);
        let mut bytes = fs::read(&path).unwrap();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        bytes.truncate(length.map_or(usize::MAX, |length| length.index(bytes.len())));
        fs::write(&path, bytes).unwrap();
        match Gpt2::load(folder.path()) {
            Ok(model) => prop_assert!(model.logits(&[0], &mut NoHooks).is_ok()),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
}
