//! Tokenizers with settings that training leaves behind, that other programs write, or that break the library for them.
//!
//! Numbers of tokens are those of `transformers` 5.24.0 (`AutoTokenizer.from_pretrained(folder)(text)["input_ids"]`) on
//! the embedded model's vocabulary with the same files, unless a test says otherwise.

use nn::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn embedded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded").join(name)
}

/// A folder with the embedded `vocab.json` and `merges.txt`, and other files.
fn old_files(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(embedded(name), folder.path().join(name)).unwrap();
    }
    for (name, content) in files {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

/// The embedded `tokenizer.json` with `change` made to it.
fn definition(change: impl FnOnce(&mut Value)) -> Value {
    let mut definition = serde_json::from_slice(&fs::read(embedded("tokenizer.json")).unwrap()).unwrap();
    change(&mut definition);
    definition
}

fn load(folder: &TempDir) -> Tokenizer {
    Tokenizer::load(folder.path()).unwrap()
}

/// The one line that loading ends with.
fn message(folder: &TempDir) -> String {
    one_line(Tokenizer::load(folder.path()).unwrap_err().to_string())
}

fn one_line(message: String) -> String {
    assert!(!message.contains('\n'), "{message}");
    message
}

const TEXT: &str = "good night<a><b>x";
const WITHOUT_ADDED: [u32; 10] = [70, 373, 851, 27, 64, 29, 27, 65, 29, 87];

#[test]
fn truncation_padding_and_dropout_never_act() {
    let truncation = json!({"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    let pad = |strategy: Value, multiple: Value| {
        json!({"strategy": strategy, "direction": "Left", "pad_to_multiple_of": multiple, "pad_id": 5,
            "pad_type_id": 0, "pad_token": "!"})
    };
    let terabytes = 1_u64 << 40;
    let settings = [
        ("truncation", truncation.clone()),
        ("truncation", json!({"max_length": 0, "strategy": "OnlyFirst", "stride": 7, "direction": "Left"})),
        ("truncation", json!({"max_length": terabytes, "strategy": "OnlySecond", "stride": terabytes})),
        ("padding", pad(json!({"Fixed": 40}), Value::Null)),
        ("padding", pad(json!({"Fixed": terabytes}), Value::Null)),
        ("padding", pad(json!("BatchLongest"), terabytes.into())),
        ("padding", pad(json!("BatchLongest"), 0.into())),
    ];
    let text = "Good night, good night! ".repeat(20);
    let expected = Tokenizer::load(embedded("").as_path()).unwrap().encode(&text).unwrap();
    for (field, value) in settings {
        let changed = definition(|definition| {
            definition[field] = value.clone();
            definition["model"]["dropout"] = 0.9.into();
        });
        let tokenizer = Tokenizer::from_json(changed.to_string().as_bytes()).unwrap();
        for _ in 0..3 {
            assert_eq!(tokenizer.encode(&text).unwrap(), expected, "{field}: {value}");
        }
    }
}

#[test]
fn a_space_or_tokens_are_put_before_texts() {
    let encode =
        |config: Value, text: &str| load(&old_files(&[("tokenizer_config.json", config)])).encode(text).unwrap();
    let end = "<|endoftext|> good";
    assert_eq!(encode(json!({"add_prefix_space": true}), TEXT), [453, 851, 27, 64, 29, 27, 65, 29, 87]);
    assert_eq!(encode(json!({"add_prefix_space": null}), TEXT), WITHOUT_ADDED);
    assert_eq!(encode(json!({"add_bos_token": true}), end), [1023, 1023, 453]);
    assert_eq!(encode(json!({"add_bos_token": true, "add_eos_token": true}), end), [1023, 1023, 453, 1023]);
    assert_eq!(encode(json!({"add_bos_token": true, "bos_token": null}), end), [1023, 453]);
    let other = json!({"add_bos_token": true, "bos_token": "<s>", "pad_token": "<pad>"});
    assert_eq!(encode(other, end), [1024, 1023, 453]);
    assert_eq!(encode(json!({"add_bos_token": true}), ""), [1023]);
    let split = [27, 91, 458, 78, 69, 83, 68, 87, 83, 91, 29, 453];
    assert_eq!(encode(json!({"split_special_tokens": true}), end), split);
    let wrong = message(&old_files(&[("tokenizer_config.json", json!({"add_prefix_space": 1}))]));
    assert!(wrong.ends_with("tokenizer_config.json is not usable: add_prefix_space is 1; it must be true or false"));
}

#[test]
fn a_tokenizer_json_says_itself_what_is_put_around_texts() {
    let folder = old_files(&[("tokenizer_config.json", json!({"add_bos_token": true, "add_prefix_space": true}))]);
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [1023], "tokens": ["<|endoftext|>"]}},
    });
    for (post_processor, expected) in [(Value::Null, &[453, 851][..]), (template, &[1023, 453, 851])] {
        let changed = definition(|definition| definition["post_processor"] = post_processor);
        fs::write(folder.path().join("tokenizer.json"), changed.to_string()).unwrap();
        assert_eq!(load(&folder).encode("good night").unwrap(), expected);
    }
}

/// A normalizer or pre-tokenizer in the file is obeyed, where `transformers` replaces it by GPT-2's.
#[test]
fn a_tokenizer_json_is_obeyed() {
    let changed = definition(|definition| definition["normalizer"] = json!({"type": "Lowercase"}));
    let tokenizer = Tokenizer::from_json(changed.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("GOOD NIGHT").unwrap(), tokenizer.encode("good night").unwrap());
}

#[test]
fn added_tokens_get_the_numbers_after_the_vocabulary() {
    let token = |content: &str| {
        json!({"content": content, "lstrip": false, "normalized": false, "rstrip": false,
        "single_word": false, "special": true})
    };
    let decoder =
        json!({"added_tokens_decoder": {"1030": token("<b>"), "1026": token("<a>"), "1023": token("<|endoftext|>")}});
    let both = [70, 373, 851, 1024, 1025, 87];
    let cases = [
        (vec![("added_tokens.json", json!({"<b>": 1030, "<a>": 1026}))], &both[..]),
        (vec![("tokenizer_config.json", decoder.clone())], &both),
        // The list of the one file has precedence.
        (
            vec![
                ("tokenizer_config.json", json!({"added_tokens_decoder": {"1024": token("<b>")}})),
                ("added_tokens.json", json!({"<a>": 1024})),
                ("special_tokens_map.json", json!({"pad_token": "<a>"})),
            ],
            &[70, 373, 851, 27, 64, 29, 1024, 87],
        ),
        (vec![("tokenizer_config.json", json!({"additional_special_tokens": ["<a>", "<b>"]}))], &both),
        (vec![("tokenizer_config.json", json!({"extra_special_tokens": ["<a>", "<b>"]}))], &both),
        (
            vec![(
                "tokenizer_config.json",
                json!({"extra_special_tokens": {"image_token": "<a>"}, "foo_token": "<b>"}),
            )],
            &[70, 373, 851, 1025, 1024, 87],
        ),
        (vec![("special_tokens_map.json", json!({"pad_token": "<a>", "additional_special_tokens": ["<b>"]}))], &both),
    ];
    for (files, expected) in cases {
        let tokenizer = load(&old_files(&files));
        assert_eq!(tokenizer.encode(TEXT).unwrap(), expected, "{files:?}");
        assert_eq!(tokenizer.decode(expected).unwrap(), TEXT);
    }
    let gaps = definition(|definition| {
        let added = definition["added_tokens"].as_array_mut().unwrap();
        for (number, content) in [(1026, "<a>"), (1030, "<b>")] {
            let mut token = token(content);
            token["id"] = number.into();
            added.push(token);
        }
    });
    assert_eq!(Tokenizer::from_json(gaps.to_string().as_bytes()).unwrap().encode(TEXT).unwrap(), both);
    let strip = json!({"pad_token": {"__type": "AddedToken", "content": "<pad>", "lstrip": true}});
    assert_eq!(load(&old_files(&[("tokenizer_config.json", strip)])).encode("x <pad>").unwrap(), [87, 1024]);
}

/// The embedded vocabulary with another number for one token.
fn renumbered(token: &str, number: Value) -> Value {
    let mut vocabulary: Value = serde_json::from_slice(&fs::read(embedded("vocab.json")).unwrap()).unwrap();
    vocabulary[token] = number;
    vocabulary
}

#[test]
fn numbers_are_never_cut() {
    let wide: u64 = (1 << 32) + 5;
    for number in [json!(wide), json!(-1), json!(5.0), json!("5"), json!(1e30), Value::Null] {
        let refused = message(&old_files(&[("vocab.json", renumbered("x", number.clone()))]));
        assert!(refused.contains("vocab.json is not usable: it numbers \"x\""), "{number}: {refused}");
        assert!(refused.ends_with("which is not the number of a token"), "{number}: {refused}");
        let changed = definition(|definition| definition["model"]["vocab"]["x"] = number);
        assert!(Tokenizer::from_json(changed.to_string().as_bytes()).is_err());
    }
    let twice = message(&old_files(&[("vocab.json", renumbered("x", 5.into()))]));
    assert!(twice.contains("for the token of number 5; each token needs its own number"), "{twice}");
    for (name, content, expected) in [
        (
            "added_tokens.json",
            json!({"<a>": wide}),
            "it lists \"<a>\": 4294967301, which is not a token with its number",
        ),
        ("added_tokens.json", json!({"<a>": 600}), "it numbers \"<a>\" 600, which is the number of"),
        (
            "tokenizer_config.json",
            json!({"added_tokens_decoder": {"4294967301": {"content": "<a>"}}}),
            "which is not a token with its number",
        ),
        ("tokenizer_config.json", json!({"added_tokens_decoder": {"1024": {"lstrip": true}}}), "which is not a token"),
        ("tokenizer_config.json", json!({"added_tokens_decoder": []}), "is not an object"),
        ("tokenizer_config.json", json!({"pad_token": 7}), "pad_token is 7; it must be a token"),
    ] {
        let refused = message(&old_files(&[(name, content)]));
        assert!(refused.contains(name) && refused.contains(expected), "{refused}");
    }
}

#[test]
fn files_of_merges_as_they_come() {
    let merges = fs::read_to_string(embedded("merges.txt")).unwrap();
    for text in [format!("{merges}\n\n"), format!("\u{feff}{merges}"), merges.replace('\n', "\r\n")] {
        let folder = old_files(&[]);
        fs::write(folder.path().join("merges.txt"), text).unwrap();
        assert_eq!(load(&folder).encode(TEXT).unwrap(), WITHOUT_ADDED);
    }
    let vocabulary = fs::read_to_string(embedded("vocab.json")).unwrap();
    let folder = old_files(&[]);
    fs::write(folder.path().join("vocab.json"), format!("\u{feff}{vocabulary}")).unwrap();
    assert_eq!(load(&folder).encode(TEXT).unwrap(), WITHOUT_ADDED);
    for (line, expected) in
        [("a b c", "is not two tokens"), ("ab", "is not two tokens"), ("# #", "needs the token \"##\"")]
    {
        fs::write(folder.path().join("merges.txt"), format!("#version: 0.2\n{line}\n")).unwrap();
        let refused = message(&folder);
        assert!(refused.contains(&format!("line 2, {line:?}, {expected}")), "{refused}");
    }
    fs::write(folder.path().join("merges.txt"), [0xff, 0xfe, b'a', 0]).unwrap();
    assert!(message(&folder).contains("merges.txt is not usable: it is text in UTF-16"));
}

/// Settings with which the library panics, in each of the three places.
#[test]
fn panics_of_the_library_are_errors() {
    let of = |change: fn(&mut Value)| Tokenizer::from_json(definition(change).to_string().as_bytes());
    let explained = |message: String| {
        let message = one_line(message);
        assert!(message.contains("the library for tokenizers cannot work with its settings ("), "{message}");
    };
    // A prefix of words that is longer than the tokens it is cut from.
    let loading = of(|definition| definition["model"]["continuing_subword_prefix"] = "########".into());
    explained(loading.unwrap_err().to_string());
    let encoding = of(|definition| definition["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0})).unwrap();
    explained(encoding.encode("good").unwrap_err().to_string());
    let strip = |definition: &mut Value| {
        definition["decoder"] = json!({"type": "Strip", "content": "g", "start": 0, "stop": 9});
    };
    let decoding = of(strip).unwrap();
    let tokens = decoding.encode("g").unwrap();
    explained(decoding.decode(&tokens).unwrap_err().to_string());
    explained(decoding.stream().push(tokens[0]).unwrap_err().to_string());
    // And it goes on to work with what it can.
    assert_eq!(decoding.decode(&decoding.encode("x").unwrap()).unwrap(), "x");
}

#[test]
fn settings_cannot_make_texts_without_bound() {
    let double = json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": "aaaa"});
    for (part, steps) in [("normalizer", "normalizers"), ("decoder", "decoders")] {
        let changed = definition(|definition| definition[part] = json!({"type": "Sequence", steps: vec![&double; 40]}));
        let refused = one_line(Tokenizer::from_json(changed.to_string().as_bytes()).unwrap_err().to_string());
        assert!(refused.contains(&format!("its {part} can make a text more than")), "{refused}");
    }
}

/// A vocabulary that falls back to bytes, as those converted from SentencePiece do.
fn byte_fallback() -> Tokenizer {
    let mut vocabulary: serde_json::Map<String, Value> =
        (0..256_u32).map(|byte| (format!("<0x{byte:02X}>"), byte.into())).collect();
    for (number, token) in (256_u32..).zip(["a", "b", "\u{2581}"]) {
        vocabulary.insert(token.into(), number.into());
    }
    let definition = json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        ]},
        "model": {"type": "BPE", "byte_fallback": true, "vocab": vocabulary, "merges": []},
    });
    Tokenizer::from_json(definition.to_string().as_bytes()).unwrap()
}

/// The pieces of a stream, the last of which is what is left.
fn pieces(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<String> {
    let mut stream = tokenizer.stream();
    let mut pieces: Vec<String> = tokens.iter().map(|&token| stream.push(token).unwrap()).collect();
    pieces.push(stream.finish().unwrap());
    pieces
}

/// As the decoder of the library, and so that of `transformers`: a run of bytes is text as a whole, or none of it is.
#[test]
fn bytes_that_are_no_text_do_not_end_a_stream() {
    let tokenizer = byte_fallback();
    assert_eq!(tokenizer.encode("a é").unwrap(), [256, 258, 0xc3, 0xa9]);
    assert_eq!(pieces(&tokenizer, &[256, 258, 0xc3, 0xa9, 257]), ["a", " ", "", "", "éb", ""]);
    // A byte that comes makes those before it no text.
    assert_eq!(pieces(&tokenizer, &[256, 0xc3, 0xa9, 0xff, 257]), ["a", "", "", "", "\u{fffd}\u{fffd}\u{fffd}b", ""]);
    assert_eq!(pieces(&tokenizer, &[0xe4, 0xbd]), ["", "", "\u{fffd}\u{fffd}"]);
    let mut state = 1_u32;
    for _ in 0..200 {
        let tokens: Vec<u32> = (0..12)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Mostly bytes; some beyond the vocabulary.
                (state >> 16) % 262
            })
            .collect();
        assert_eq!(pieces(&tokenizer, &tokens).concat(), tokenizer.decode(&tokens).unwrap(), "{tokens:?}");
    }
}

#[test]
fn rows_beyond_the_vocabulary_have_no_text() {
    let tokenizer = Tokenizer::load(embedded("").as_path()).unwrap();
    assert_eq!(tokenizer.decode(&[1024, u32::MAX]).unwrap(), "");
    assert_eq!(tokenizer.decode(&[453, 1024, 851]).unwrap(), tokenizer.decode(&[453, 851]).unwrap());
    assert_eq!(pieces(&tokenizer, &[453, 2000, 851]).concat(), " good night");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("../blobs/0123", folder.path().join("tokenizer.json")).unwrap();
    assert!(
        message(&folder).contains("tokenizer.json is not usable: it is a link to ../blobs/0123, which is not there")
    );
    let folder = old_files(&[]);
    fs::create_dir(folder.path().join("tokenizer_config.json")).unwrap();
    assert!(message(&folder).contains("it is a folder, and a file is needed"));
    let folder = old_files(&[]);
    fs::write(folder.path().join("vocab.json"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap();
    assert!(message(&folder).contains("git lfs pull"), "{}", message(&folder));
}

/// A folder whose path is not UTF-8.
#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join(std::ffi::OsStr::from_bytes(b"mod\xe8le"));
    fs::create_dir(&folder).unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(embedded(name), folder.join(name)).unwrap();
    }
    assert_eq!(Tokenizer::load(&folder).unwrap().encode(TEXT).unwrap(), WITHOUT_ADDED);
}
