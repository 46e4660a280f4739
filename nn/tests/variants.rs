//! Folders as other programs, people and interrupted downloads leave them: valid ones that are written in other ways, and
//! what is wrong with the others.

#[path = "common/folders.rs"]
mod folders;

use folders::{RandomGpt2, rewrite, written};
use nn::Error;
use nn::attention::AttentionWeights;
use nn::checkpoint::{Checkpoint, write_tensors};
use nn::gpt2::sampling::Sampler;
use nn::gpt2::{Config, Gpt2, NoHooks};
use nn::tensor::Tensor;
use nn::tokenizer::Tokenizer;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const INDEX: &str = "model.safetensors.index.json";
const TOKENS: [u32; 5] = [3, 0, 12, 7, 7];

fn config() -> Value {
    json!({"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 6, "vocab_size": 13})
}

fn model() -> RandomGpt2 {
    RandomGpt2::new(config(), 1)
}

fn load(folder: &TempDir) -> Gpt2 {
    Gpt2::load(folder.path()).unwrap()
}

/// The one line that a failure ends with.
fn one_line<T>(result: Result<T, Error>) -> String {
    let Err(error) = result else { panic!("it should fail") };
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn entries_of_64_bits_are_rounded() {
    let expected = load(&written(&model()));
    for shards in [1, 3] {
        let folder = written(&RandomGpt2 { dtype: Dtype::F64, shards, ..model() });
        assert!(load(&folder) == expected);
    }
    let folder = written(&RandomGpt2 { dtype: Dtype::F64, ..model() });
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    for (entry, expected) in
        [(1e39_f64, "is 1000000000000000000000000000000000000000; it must be finite"), (f64::NAN, "is NaN;")]
    {
        let end = bytes.len();
        bytes[end - 8..].copy_from_slice(&entry.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let message = one_line(Gpt2::load(folder.path()));
        assert!(message.contains("the entry") && message.contains(expected), "{message}");
    }
}

/// `safetensors.torch.save_model` leaves one of two names of a tensor.
#[test]
fn either_of_a_tied_pair_is_enough() {
    let folder = written(&model());
    let expected = load(&folder);
    rewrite(folder.path(), |tensors| {
        let embedding = tensors.iter_mut().find(|(name, _)| name == "wte.weight").unwrap();
        embedding.0 = "lm_head.weight".into();
    });
    assert!(load(&folder) == expected);
    let mut untied = config();
    untied["tie_word_embeddings"] = false.into();
    fs::write(folder.path().join("config.json"), untied.to_string()).unwrap();
    assert!(one_line(Gpt2::load(folder.path())).contains("has no tensor \"wte.weight\""));
}

#[test]
fn an_index_may_name_what_nobody_needs() {
    let sharded = written(&RandomGpt2 { shards: 3, ..model() });
    let expected = load(&sharded);
    let path = sharded.path().join(INDEX);
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let shard = index["weight_map"]["ln_f.bias"].clone();
    for (tensor, file) in [
        ("h.0.attn.masked_bias", shard.clone()),
        ("lm_head.weight", shard),
        ("h.7.attn.bias", json!("model-00009-of-00009.safetensors")),
    ] {
        index["weight_map"][tensor] = file;
        fs::write(&path, index.to_string()).unwrap();
        assert!(load(&sharded) == expected, "{tensor}");
    }
    // The index alone, with a byte order mark, is as good as the folder.
    fs::write(&path, format!("\u{feff}{index}")).unwrap();
    let attention = AttentionWeights::load(&Checkpoint::open(&path).unwrap(), 1, Some(2)).unwrap();
    assert_eq!(&attention, expected.attention(1).unwrap());
    let absent = one_line(Checkpoint::open(&path).unwrap().tensor("h.7.attn.bias"));
    assert!(absent.contains("model-00009-of-00009.safetensors\", which is not there; fetch it, too"), "{absent}");
}

#[test]
fn other_names_of_the_same_configuration() {
    let folder = written(&model());
    let expected = load(&folder);
    let named = json!({
        "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "max_position_embeddings": 6,
        "vocab_size": 13, "n_inner": null, "layer_norm_epsilon": null,
    });
    let text = named.to_string().replace("\"n_inner\":null", "\"resid_pdrop\":NaN,\"x\":[-Infinity]");
    for text in [text.clone(), format!("\u{feff}{text}")] {
        fs::write(folder.path().join("config.json"), text).unwrap();
        assert!(load(&folder) == expected);
    }
}

#[test]
fn every_activation_runs() {
    let mut logits = Vec::new();
    for name in [
        "gelu",
        "gelu_10",
        "gelu_accurate",
        "gelu_fast",
        "gelu_new",
        "gelu_python",
        "gelu_python_tanh",
        "gelu_pytorch_tanh",
        "hardswish",
        "laplace",
        "leaky_relu",
        "linear",
        "mish",
        "prelu",
        "quick_gelu",
        "relu",
        "relu2",
        "relu6",
        "sigmoid",
        "silu",
        "sqrtsoftplus",
        "swish",
        "tanh",
        "xielu",
    ] {
        let mut model = model();
        model.config["activation_function"] = name.into();
        logits.push(load(&written(&model)).logits(&TOKENS, &mut NoHooks).unwrap());
    }
    assert!(logits.iter().all(|logits| logits.iter().all(|logit| logit.is_finite())));
    // The forms of GELU are three functions, as far as their cuts are not reached, which is so of relu6, too; swish is
    // another name of silu.
    let distinct = logits.iter().enumerate().filter(|(index, logits_of)| !logits[..*index].contains(logits_of)).count();
    assert_eq!(distinct, 24 - 8);
}

/// What stands in the place of weights says what it is.
#[test]
fn what_is_no_file_of_weights_is_named() {
    let folder = written(&model());
    let path = folder.path().join("model.safetensors");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 548105171\n";
    for (content, expected) in [
        (pointer.as_bytes(), "a pointer of Git LFS in the place of the file; fetch the file itself, by `git lfs pull`"),
        (b"<!DOCTYPE html><html>not found</html>", "a page of the web"),
        (b"PK\x03\x04 0000000000000000", "a zip archive"),
        (b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00", "a GGUF file"),
        (b"{\"metadata\": {}, \"weight_map\": {}}", "it is a JSON file, and not one of weights"),
    ] {
        fs::write(&path, content).unwrap();
        let message = one_line(Gpt2::load(folder.path()));
        assert!(message.contains("model.safetensors is not usable: ") && message.contains(expected), "{message}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(one_line(Gpt2::load(folder.path())).contains("it is a folder, and a file is needed"));
    assert!(one_line(Checkpoint::open(folder.path())).contains("it is a folder, and a file is needed"));
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_named() {
    for name in ["config.json", "model.safetensors", "generation_config.json"] {
        let folder = written(&model());
        let path = folder.path().join(name);
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink("../../blobs/0123", &path).unwrap();
        let message = one_line(Gpt2::load(folder.path()));
        assert!(message.contains(&format!("{name} is not usable: it is a link to ../../blobs/0123")), "{message}");
    }
}

/// A header is refused by its size, before it is read.
#[test]
fn headers_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let header = 96_000_000_u64;
    fs::write(&path, [&header.to_le_bytes()[..], b"{"].concat()).unwrap();
    // A file with a hole takes no space.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(8 + header).unwrap();
    let message = one_line(Checkpoint::open(&path));
    assert!(
        message.contains("its header has 96000000 bytes, and at most 4000000 are read: that of a GPT-2"),
        "{message}"
    );
}

#[test]
fn a_transposed_projection_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let tensor = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![0.5; shape.iter().product()]).unwrap();
    let message = |weight: &[usize], metadata: &[(&str, &str)]| {
        let (weight, bias) = (tensor(weight), tensor(&[24]));
        let tensors = [("h.0.attn.c_attn.weight", &weight), ("h.0.attn.c_attn.bias", &bias)];
        write_tensors(&path, &tensors, metadata).unwrap();
        one_line(AttentionWeights::load(&Checkpoint::open(&path).unwrap(), 0, None))
    };
    let transposed = message(&[24, 8], &[]);
    assert!(
        transposed.contains("c_attn.weight\" of")
            && transposed.contains("has shape [24, 8], but [8, 24], its transpose")
    );
    assert!(message(&[8, 24], &[("n_head", "4294967297x")]).contains("\"n_head\" of the file is 4294967297x"));
}

#[test]
fn a_folder_says_which_tokens_end_a_text() {
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let tokenizer = Tokenizer::load(&embedded).unwrap();
    let ends = |config_eos: Option<Value>, generation: Option<&str>| {
        let mut model = model();
        if let Some(eos) = config_eos {
            model.config["eos_token_id"] = eos;
        }
        let folder = written(&model);
        if let Some(text) = generation {
            fs::write(folder.path().join("generation_config.json"), text).unwrap();
        }
        Config::load_folder(folder.path()).map(|config| config.end_tokens(&tokenizer))
    };
    assert_eq!(ends(None, None).unwrap(), [1023, 50256]);
    assert_eq!(ends(Some(7.into()), None).unwrap(), [7]);
    assert_eq!(ends(Some(json!([7, 9])), None).unwrap(), [7, 9]);
    assert!(ends(Some(Value::Null), None).unwrap().is_empty());
    // That file alone counts where it is there, as in transformers 5.24.
    assert_eq!(ends(Some(7.into()), Some(r#"{"eos_token_id": [8, 11], "temperature": NaN}"#)).unwrap(), [8, 11]);
    assert!(ends(Some(7.into()), Some("{}")).unwrap().is_empty());
    assert!(
        one_line(ends(None, Some(r#"{"eos_token_id": 7.5}"#)))
            .contains("generation_config.json is not usable: eos_token_id is 7.5")
    );
}

/// Texts that grow together have the predictions of each alone.
#[test]
fn a_model_draws_the_same_texts_every_time() {
    let mut small = model();
    small.config["bos_token_id"] = 5.into();
    for model in [model(), small] {
        let begin = model.config["bos_token_id"].as_u64();
        let gpt2 = load(&written(&model));
        let draw = |seed| gpt2.draw_texts((4, 9), seed).unwrap();
        let texts = draw(1);
        assert_eq!((texts.len(), texts[0].len()), (4, 6));
        assert_eq!(texts, draw(1));
        assert_ne!(texts, draw(2));
        let mut sampler = Sampler::new(1.0, None, 1).unwrap();
        let mut expected: Vec<Vec<u32>> = (0..4)
            .map(|_| vec![begin.map_or_else(|| sampler.sample(&[0.0; 13]).unwrap(), |token| token as u32)])
            .collect();
        for _ in 1..6 {
            for text in &mut expected {
                let logits = gpt2.next_logits(text, &mut NoHooks).unwrap();
                text.push(sampler.sample(&logits).unwrap());
            }
        }
        assert_eq!(texts, expected);
    }
}

#[test]
fn inputs_of_all_layers_in_one_pass() {
    let gpt2 = load(&written(&model()));
    let expected: Vec<_> = (0..2).map(|layer| gpt2.attention_input(&TOKENS, layer).unwrap()).collect();
    assert_eq!(gpt2.attention_inputs(&TOKENS).unwrap(), expected);
}

/// A folder whose path is not UTF-8.
#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join(std::ffi::OsStr::from_bytes(b"mod\xe8le"));
    fs::create_dir(&folder).unwrap();
    let sharded = RandomGpt2 { shards: 2, ..model() };
    sharded.write(&folder).unwrap();
    assert!(Gpt2::load(&folder).unwrap() == load(&written(&model())));
    fs::remove_file(folder.join("model-00001-of-00002.safetensors")).unwrap();
    assert!(one_line(Gpt2::load(&folder)).contains("which is not there; fetch it, too"));
}
