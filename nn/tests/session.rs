//! Texts that grow: the same as at once.

#[path = "../examples/random_gpt2/folder.rs"]
mod folder;

use folder::RandomGpt2;
use nn::Error;
use nn::attention::Part;
use nn::gpt2::{ForwardHooks, Gpt2, HookError, Intermediate, NoHooks, Replacement, Site, TextSession, Trace};
use nn::matrix::{Matrix, relative_error};
use serde_json::json;
use std::ops::Range;
use std::path::Path;

/// Sums of a few hundred products in f32, in another order: 2^-24 each, through a few layers.
const TOLERANCE: f64 = 1e-5;

fn random() -> Gpt2 {
    let config = json!({
        "n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 20, "vocab_size": 50,
        "activation_function": "gelu", "tie_word_embeddings": false,
    });
    let folder = tempfile::tempdir().unwrap();
    RandomGpt2::new(config, 5).write(folder.path()).unwrap();
    Gpt2::load(folder.path()).unwrap()
}

fn embedded() -> Gpt2 {
    Gpt2::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded")).unwrap()
}

/// Tokens that fit a model.
fn tokens(model: &Gpt2, count: usize) -> Vec<u32> {
    (0..count).map(|index| (7 * index * index + 3 * index) as u32 % model.config().vocab_size as u32).collect()
}

/// The logits of every token, given in parts of these sizes.
fn in_parts(
    session: &mut TextSession<'_>,
    tokens: &[u32],
    sizes: &[usize],
    hooks: &mut impl ForwardHooks,
) -> Matrix<f32> {
    let mut rest = tokens;
    let mut parts = sizes.iter().map(|&size| {
        let (part, others) = rest.split_at(size);
        rest = others;
        session.logits(part, hooks).unwrap()
    });
    let mut logits = parts.next().unwrap();
    parts.for_each(|part| logits.append_rows(&part));
    logits
}

fn assert_near(found: &Matrix<f32>, expected: &Matrix<f32>, what: &str) {
    let error = relative_error(found, expected);
    assert!(error < TOLERANCE, "{what}: {error}");
}

#[test]
fn parts_give_what_the_whole_gives() {
    for model in [embedded(), random()] {
        let tokens = tokens(&model, 10);
        let expected = model.logits(&tokens, &mut NoHooks).unwrap();
        for sizes in [&[10][..], &[1; 10], &[4, 1, 1, 3, 1], &[9, 1], &[1, 9]] {
            let mut session = model.session();
            assert_near(&in_parts(&mut session, &tokens, sizes, &mut NoHooks), &expected, &format!("{sizes:?}"));
            assert_eq!(session.length(), 10);
        }
        let mut session = model.session();
        session.next_logits(&tokens[..6], &mut NoHooks).unwrap();
        let next = session.next_logits(&tokens[6..], &mut NoHooks).unwrap();
        let next = Matrix::new(1, next.len(), next).unwrap();
        assert_near(&next, &expected.row_range(9..10), "the last row alone");
    }
}

#[test]
fn hooks_see_the_rows_of_new_tokens() {
    let model = random();
    let tokens = tokens(&model, 7);
    let (mut whole, mut last) = (Trace::default(), Trace::default());
    model.logits(&tokens, &mut whole).unwrap();
    let mut session = model.session();
    session.logits(&tokens[..4], &mut NoHooks).unwrap();
    session.logits(&tokens[4..], &mut last).unwrap();
    let sites = |layer, head| {
        use Intermediate::*;
        let of_model = [TokenEmbedding, PositionEmbedding, Embedding, FinalNorm, Logits].map(Site::model);
        let of_layer = [AttentionNorm, QueryKeyValue, AttentionOutput, AttentionProjection, FeedForward, Block];
        let of_head = [Query, Scores, Probabilities, HeadOutput];
        let of_layer = of_layer.map(|what| Site::layer(what, layer));
        of_model.into_iter().chain(of_layer).chain(of_head.map(|what| Site::head(what, layer, head)))
    };
    for site in (0..3).flat_map(|layer| sites(layer, layer)) {
        assert_near(last.get(site).unwrap(), &whole.get(site).unwrap().row_range(4..7), &format!("{site:?}"));
    }
    // Keys and values are of all tokens.
    for what in [Intermediate::Key, Intermediate::Value] {
        let site = Site::head(what, 2, 1);
        assert_near(last.get(site).unwrap(), whole.get(site).unwrap(), &format!("{site:?}"));
    }
}

/// What a hook computes from the input of all tokens is what the layer itself computes.
#[test]
fn heads_are_replaced_for_new_tokens() {
    let model = random();
    let tokens = tokens(&model, 9);
    let expected = model.logits(&tokens, &mut NoHooks).unwrap();
    let mut calls = Vec::new();
    let mut heads = |layer: usize, input: &Matrix<f32>, new_rows: Range<usize>| -> Result<Replacement, HookError> {
        calls.push((layer, input.rows(), new_rows.clone()));
        let weights = model.attention(layer)?;
        let output = |head| Ok((head, weights.head(head)?.attend(input).output.row_range(new_rows.clone())));
        match layer {
            0 => Ok(Replacement::Nothing),
            1 => Ok(Replacement::Heads([2, 0].map(output).into_iter().collect::<Result<_, Error>>()?)),
            _ => Ok(Replacement::Heads((0..4).map(output).collect::<Result<_, Error>>()?)),
        }
    };
    let found = in_parts(&mut model.session(), &tokens, &[5, 1, 3], &mut heads);
    assert_near(&found, &expected, "replaced heads");
    let expected_calls = [(5, 0..5), (6, 5..6), (9, 6..9)];
    let expected_calls =
        expected_calls.iter().flat_map(|(rows, new)| (0..3).map(move |layer| (layer, *rows, new.clone())));
    assert_eq!(calls, expected_calls.collect::<Vec<_>>());
}

/// An attention that is replaced as a whole, always or for some tokens only.
#[test]
fn whole_attentions_are_replaced_for_new_tokens() {
    let model = random();
    let tokens = tokens(&model, 9);
    let expected = model.logits(&tokens, &mut NoHooks).unwrap();
    let mut projected = |layer: usize, input: &Matrix<f32>, new_rows: Range<usize>| {
        let output = model.attention(layer)?.attend(Part::Whole, input)?;
        Ok(if layer == 1 { Replacement::Projected(output.row_range(new_rows)) } else { Replacement::Nothing })
    };
    let found = in_parts(&mut model.session(), &tokens, &[4, 1, 4], &mut projected);
    assert_near(&found, &expected, "always");
    // The keys and values of the first six tokens are missing, and are made when they are needed.
    let mut session = model.session();
    in_parts(&mut session, &tokens, &[4, 2], &mut projected);
    let rest = session.logits(&tokens[6..], &mut NoHooks).unwrap();
    assert_near(&rest, &expected.row_range(6..9), "then no more");

    let mut zero = |_: usize, input: &Matrix<f32>, new_rows: Range<usize>| {
        Ok(Replacement::Projected(Matrix::from_fn(new_rows.len(), input.cols(), |_, _| 0.0)))
    };
    assert!(relative_error(&model.logits(&tokens, &mut zero).unwrap(), &expected) > 1e-3);
}

#[test]
fn an_error_leaves_a_session_as_it_was() {
    let model = random();
    let tokens = tokens(&model, 20);
    let expected = model.logits(&tokens, &mut NoHooks).unwrap();
    let mut session = model.session();
    session.logits(&tokens[..8], &mut NoHooks).unwrap();
    for failing in 0..3 {
        let mut hooks = |layer: usize, _: &Matrix<f32>, _: Range<usize>| {
            if layer == failing { Err("no connection".into()) } else { Ok(Replacement::Nothing) }
        };
        assert!(matches!(session.logits(&tokens[8..], &mut hooks), Err(Error::Hook(_))));
    }
    assert!(matches!(session.logits(&[], &mut NoHooks), Err(Error::OutOfRange { .. })));
    assert!(matches!(session.logits(&[50], &mut NoHooks), Err(Error::UnknownToken { token: 50, .. })));
    let message = session.logits(&[0; 13], &mut NoHooks).unwrap_err().to_string();
    assert_eq!(message, "the number of tokens is 21; it must be at most 20, the positions of the model");
    assert_eq!(session.length(), 8);
    assert_near(&session.logits(&tokens[8..], &mut NoHooks).unwrap(), &expected.row_range(8..20), "after errors");
    assert!(matches!(session.logits(&[0], &mut NoHooks), Err(Error::OutOfRange { .. })));
}

/// What takes the place of the logits after the last token: `[1, V]`, or nothing but an error.
struct Logits(Option<Matrix<f32>>);

impl ForwardHooks for Logits {
    fn replace_logits(&mut self, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        assert_eq!(before.cols(), 32, "the stream after the last layer");
        self.0.clone().map(Some).ok_or_else(|| "no connection".into())
    }
}

#[test]
fn logits_are_replaced_where_those_of_one_token_are_needed() {
    let (model, tokens) = (random(), tokens(&random(), 20));
    let expected = model.logits(&tokens, &mut NoHooks).unwrap();
    let replaced = Matrix::from_fn(1, 50, |_, token| token as f32);
    let mut session = model.session();
    assert_eq!(session.next_logits(&tokens[..8], &mut Logits(Some(replaced.clone()))).unwrap(), replaced.data());
    assert_eq!(session.logits(&tokens[8..9], &mut Logits(Some(replaced.clone()))).unwrap(), replaced);
    let narrow = Matrix::from_fn(1, 49, |_, _| 0.0);
    assert!(matches!(session.next_logits(&tokens[9..], &mut Logits(Some(narrow))), Err(Error::Shape { .. })));
    assert!(matches!(session.logits(&tokens[9..], &mut Logits(Some(replaced))), Err(Error::Shape { .. })));
    assert!(matches!(session.next_logits(&tokens[9..], &mut Logits(None)), Err(Error::Hook(_))));
    assert_eq!(session.length(), 9);
    assert_near(&session.logits(&tokens[9..], &mut NoHooks).unwrap(), &expected.row_range(9..20), "after errors");
}
