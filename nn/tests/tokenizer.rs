//! GPT-2's tokenizer against known token numbers.

mod common;

use common::shared;
use nn::Error;
use nn::tokenizer::Tokenizer;
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[test]
#[ignore = "needs ../shared: GPT-2's vocabulary"]
fn tokens_of_known_texts() {
    let tokenizer = Tokenizer::load(&shared::path("gpt2")).unwrap();
    assert_eq!(tokenizer.vocabulary_size(), 50257);
    let known: [(&str, &[u32]); 5] = [
        ("Data visualization empowers users to", &[6601, 32704, 795, 30132, 2985, 284]),
        ("Artificial Intelligence is transforming the", &[8001, 9542, 9345, 318, 25449, 262]),
        ("As the spaceship was approaching the", &[1722, 262, 40663, 373, 13885, 262]),
        ("Computations on encrypted data can help", &[5377, 1996, 602, 319, 19365, 1366, 460, 1037]),
        (" protect your privacy.", &[1805, 534, 6782, 13]),
    ];
    for (text, tokens) in known {
        assert_eq!(tokenizer.encode(text).unwrap(), tokens, "{text}");
        assert_eq!(tokenizer.decode(tokens).unwrap(), text);
    }
    assert_eq!(tokenizer.decode(&[50257]).unwrap(), "");
    assert_eq!(tokenizer.encode("Hello<|endoftext|> world").unwrap(), [15496, 50256, 995]);
}

#[test]
fn any_text_survives_the_round_trip() {
    let tokenizer = Tokenizer::load(&embedded()).unwrap();
    for text in ["", " ", "\n\n\tx  y ", "naïve café, 東京, 🦀🦀", "don't we'll I'd", "a\u{0}b", "1234567890"] {
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
}

#[test]
fn special_tokens_are_found_in_texts() {
    let tokenizer = Tokenizer::load(&embedded()).unwrap();
    assert_eq!(tokenizer.end_of_text(), Some(1023));
    let [hello, world] = ["Hello", " world"].map(|text| tokenizer.encode(text).unwrap());
    let expected = [hello, vec![1023], world].concat();
    let text = "Hello<|endoftext|> world";
    assert_eq!(tokenizer.encode(text).unwrap(), expected);
    assert_eq!(tokenizer.decode(&expected).unwrap(), text);
}

/// The embedded model's folder has its tokenizer in both forms.
fn embedded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded")
}

/// A folder with the embedded vocabulary and merges under other names.
fn renamed(vocabulary: &str, merges: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(embedded().join("vocab.json"), folder.path().join(vocabulary)).unwrap();
    fs::copy(embedded().join("merges.txt"), folder.path().join(merges)).unwrap();
    folder
}

const TEXTS: [&str; 4] =
    ["Good night, good", "<|endoftext|>ROMEO:\n<|endoftext|>", "naïve café, 東京, 🦀🦀 \u{fffd}", "  a<|endof"];

#[test]
fn every_form_of_a_tokenizer_gives_the_same_tokens() {
    let expected = Tokenizer::load(&embedded()).unwrap();
    for vocabulary in ["vocab.json", "encoder.json"] {
        for merges in ["merges.txt", "vocab.bpe"] {
            let folder = renamed(vocabulary, merges);
            let tokenizer = Tokenizer::load(folder.path()).unwrap();
            assert_eq!(tokenizer.vocabulary_size(), expected.vocabulary_size());
            assert_eq!(tokenizer.end_of_text(), Some(1023));
            for text in TEXTS {
                let tokens = tokenizer.encode(text).unwrap();
                assert_eq!(tokens, expected.encode(text).unwrap(), "{text:?} by {vocabulary} and {merges}");
                assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
            }
        }
    }
}

#[test]
fn added_tokens_follow_the_vocabulary() {
    let folder = renamed("vocab.json", "merges.txt");
    let added = folder.path().join("added_tokens.json");
    fs::write(&added, r#"{"<b>": 1025, "<a>": 1024, "<|endoftext|>": 1023}"#).unwrap();
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("<a><b><|endoftext|>").unwrap(), [1024, 1025, 1023]);
    assert_eq!(tokenizer.decode(&[1025, 1024]).unwrap(), "<b><a>");
    for (text, expected) in [(r#"{"<a>": 600}"#, "it numbers \"<a>\" 600"), ("[", "added_tokens.json is not usable")] {
        fs::write(&added, text).unwrap();
        let message = Tokenizer::load(folder.path()).unwrap_err().to_string();
        assert!(message.contains(expected) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn half_a_tokenizer_is_refused() {
    let message = |folder: &TempDir| Tokenizer::load(folder.path()).unwrap_err().to_string();
    let folder = renamed("vocab.json", "merges.txt");
    fs::remove_file(folder.path().join("merges.txt")).unwrap();
    assert!(message(&folder).ends_with("it has a vocabulary but no merges.txt or vocab.bpe"));
    let folder = renamed("encoder.json", "vocab.bpe");
    fs::remove_file(folder.path().join("encoder.json")).unwrap();
    assert!(message(&folder).ends_with("it has merges but no vocab.json or encoder.json"));
    let folder = renamed("vocab.json", "merges.txt");
    fs::write(folder.path().join("vocab.json"), r#"{"a": 0}"#).unwrap();
    let message = message(&folder);
    assert!(message.contains("merges.txt is not usable: line 2") && !message.contains('\n'), "{message}");
}

/// No piece ends within a character, and together the pieces are the text.
#[test]
fn a_stream_gives_whole_characters() {
    let tokenizer = Tokenizer::load(&embedded()).unwrap();
    for text in TEXTS {
        let tokens = tokenizer.encode(text).unwrap();
        let mut stream = tokenizer.stream();
        let pieces: Vec<String> = tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
        let inner = pieces.concat();
        assert!(text.starts_with(&inner), "{inner:?}");
        assert_eq!(inner + &stream.finish().unwrap(), text);
    }
    // Each of the crab's four bytes is a token of its own.
    let tokens = tokenizer.encode("🦀").unwrap();
    let mut stream = tokenizer.stream();
    let pieces: Vec<String> = tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
    assert_eq!(pieces, ["", "", "", "🦀"]);
    let mut stream = tokenizer.stream();
    assert_eq!(stream.push(tokens[0]).unwrap(), "");
    assert_eq!(stream.finish().unwrap(), "\u{fffd}");
    assert_eq!(tokenizer.stream().push(1024).unwrap(), "");
}

proptest! {
    /// Any tokens, whole characters or not, give in pieces what they give at once.
    #[test]
    fn a_stream_gives_what_decoding_gives(tokens in prop::collection::vec(0_u32..1024, 0..30)) {
        let tokenizer = Tokenizer::load(&embedded()).unwrap();
        let mut stream = tokenizer.stream();
        let pieces: Vec<String> = tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
        prop_assert_eq!(pieces.concat() + &stream.finish().unwrap(), tokenizer.decode(&tokens).unwrap());
    }
}

#[test]
fn a_folder_without_a_tokenizer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = |folder| Tokenizer::load(folder).unwrap_err().to_string();
    assert!(message(folder.path()).contains("neither tokenizer.json nor vocab.json"));
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(message(folder.path()).contains("tokenizer.json is not usable"));
    assert!(matches!(Tokenizer::from_json(b"not json"), Err(Error::Malformed { .. })));
}
