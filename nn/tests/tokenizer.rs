//! GPT-2's tokenizer against known token numbers.

mod common;

use common::shared;
use nn::Error;
use nn::tokenizer::Tokenizer;

#[test]
fn tokens_of_known_texts() {
    let Some(folder) = shared("gpt2") else { return };
    let tokenizer = Tokenizer::load(&folder).unwrap();
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
    assert!(matches!(tokenizer.decode(&[50257]), Err(Error::UnknownToken { token: 50257, vocabulary: 50257 })));
}

#[test]
fn any_text_survives_the_round_trip() {
    let Some(folder) = shared("gpt2") else { return };
    let tokenizer = Tokenizer::load(&folder).unwrap();
    for text in ["", " ", "\n\n\tx  y ", "naïve café, 東京, 🦀🦀", "don't we'll I'd", "a\u{0}b", "1234567890"] {
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
}

#[test]
fn a_folder_without_a_tokenizer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = |folder| Tokenizer::load(folder).unwrap_err().to_string();
    assert!(message(folder.path()).contains("neither tokenizer.json nor vocab.json"));
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(message(folder.path()).contains("tokenizer.json is not usable"));
    assert!(matches!(Tokenizer::from_json(b"not json"), Err(Error::Malformed { .. })));
}
