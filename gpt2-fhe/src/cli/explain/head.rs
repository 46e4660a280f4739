//! A tiny attention head, encrypted.

use std::ops::ControlFlow;

use anyhow::anyhow;
use gpt2_fhe::client::Client;
use gpt2_fhe::integer::encoding::IntegerEncoding;
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::integer::prediction::Predictor;
use gpt2_fhe::integer::prepared::PreparedProgram;
use gpt2_fhe::integer::tensor::Integer;
use gpt2_fhe::server::Server;
use gpt2_fhe::track::Unobserved;
use nn::attention::{AttentionWeights, HeadTrace, Linear, Part};
use nn::clear::{ClearEvaluator, ClearTensor};
use nn::integer::{IntegerAttention, IntegerOptions, steps};
use nn::matrix::Matrix;
use nn::watched::{Operation, Watched, Watcher};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::Node::{Arithmetic, Lookup, Small};
use tfhe_core::key_graph::{KeyLiteral, ParametersLiteral, ShapeLiteral};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::NoiseDistribution::TUniform;
use tfhe_core::sets::HEAD_EXACT_NARROW;
use tfhe_core::torus::{decode, encode, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};

/// Tokens of the input.
const TOKENS: usize = 3;
/// Channels of an embedding, and of the one head.
const CHANNELS: usize = 2;
/// The tokens' embeddings.
const HIDDEN: [[f32; CHANNELS]; TOKENS] = [[1.0, -0.5], [0.25, 1.0], [-0.75, 0.5]];
/// Weights of queries, keys and values: a row for each channel.
const WEIGHTS: [[f32; 3 * CHANNELS]; CHANNELS] = [[1.0, 0.5, 1.0, 0.0, 0.5, -1.0], [-0.5, 1.0, 0.5, 1.0, 1.0, 0.5]];
/// Bits of integers.
const BITS: u32 = 4;

/// The gadgets of the narrow exact set, on a small key of 16 bits. **Insecure.**
const TOY_HEAD: ParametersLiteral = ParametersLiteral {
    name: "toy_head",
    keys: &[
        KeyLiteral { nodes: &[Small], shape: ShapeLiteral::Lwe(16), noise: TUniform { bound_log: 45 } },
        KeyLiteral {
            nodes: &[Lookup, Arithmetic],
            shape: ShapeLiteral::Glwe(1, 2048),
            noise: TUniform { bound_log: 15 },
        },
    ],
    ..HEAD_EXACT_NARROW
};

/// Sees the results of operations, each number as a function has it.
struct Seen<F, N> {
    of: F,
    operations: Vec<(Operation, Vec<Vec<N>>)>,
}

impl<F, N> Seen<F, N> {
    fn new(of: F) -> Self {
        Self { of, operations: Vec::new() }
    }
}

impl<S, T, N, F: Fn(&S) -> N> Watcher<S, T> for Seen<F, N> {
    fn result(&mut self, operation: Operation, _: usize, rows: &mut dyn Iterator<Item = Vec<S>>) -> ControlFlow<()> {
        let rows = rows.map(|row| row.iter().map(&self.of).collect()).collect();
        self.operations.push((operation, rows));
        ControlFlow::Continue(())
    }
}

/// A number of the server's, as the owner of the keys sees it.
#[derive(Clone, Copy)]
struct Found {
    phase: u64,
    /// It is the message times 1/2^(bits + 1).
    bits: u32,
    predicted: f64,
}

/// A number, encrypted and not.
#[derive(Clone, Copy)]
struct Compared {
    clear: i64,
    found: Found,
}

impl Compared {
    fn decrypted(self) -> i64 {
        decode(self.found.phase, self.found.bits + 1)
    }

    fn gauge(self, what: &str) -> NoiseGauge {
        NoiseGauge {
            what: what.into(),
            measured: to_f64(self.found.phase.wrapping_sub(encode(self.clear, self.found.bits + 1))),
            predicted: self.found.predicted,
            // Half of the way to the next integer.
            allowed: 2f64.powi(-(self.found.bits as i32) - 2),
        }
    }
}

/// An operation, encrypted and not.
struct Done {
    operation: Operation,
    rows: Vec<Vec<Compared>>,
}

/// A run of the head.
struct TinyHead {
    exact: HeadTrace,
    input: Matrix<i32>,
    scale: f64,
    operations: Vec<Done>,
    clear: Matrix<i64>,
    decrypted: Matrix<f64>,
    output: Matrix<f32>,
    /// Ciphertexts of the request.
    sent: usize,
}

impl TinyHead {
    fn new(seed: u64) -> anyhow::Result<Self> {
        let hidden = Matrix::from_fn(TOKENS, CHANNELS, |row, column| HIDDEN[row][column]);
        let weight = Matrix::from_fn(CHANNELS, 3 * CHANNELS, |row, column| WEIGHTS[row][column]);
        let weights = AttentionWeights::new(Linear::new(weight, vec![0.0; 3 * CHANNELS])?, 1)?;
        let options = IntegerOptions { max_tokens: Some(TOKENS), ..IntegerOptions::new(BITS) };
        let head = IntegerAttention::calibrate(&weights, Part::Head(0), std::slice::from_ref(&hidden), &options)?;
        let (program, input) = (head.program(), head.client().quantize_input(&hidden)?);

        let mut clear = Seen::new(|&number: &f64| number as i64);
        let mut evaluator = ClearEvaluator::new();
        let watched = &mut Watched::new(&mut evaluator, &mut clear);
        program.evaluate(watched, &ClearTensor::input(&input), TOKENS).map_err(|error| anyhow!("{error}"))?;
        let expected = program.evaluate_clear(&mut ClearEvaluator::new(), &input);

        let parameters = TOY_HEAD.compile()?;
        let client = Client::new("explain", &parameters, &ClientSeed::from_number(seed))?;
        let needs = Predictor::needs(&parameters, Multiply::Product, program.input_bits(), program.is_whole());
        let keys = client.evaluation_keys(&needs)?.prepare()?;
        let prepared = PreparedProgram { program: program.clone(), multiply: Multiply::Product };
        let encoding = IntegerEncoding::new(&parameters, program, TOKENS);
        let request = client.encrypt(&input, &encoding)?;
        let mut seen = Seen::new(|shown: &Integer<LweCiphertext>| Found {
            phase: client.phase(None, Some(&shown.ciphertext)),
            bits: shown.bits,
            predicted: shown.noise.variance().std(),
        });
        let server = Server::new(&prepared, &keys)?;
        let (answer, _) = server.evaluate_watched(&request, &encoding, &mut Unobserved, Some(&mut seen))?;
        let decrypted = client.decrypt(&answer, &encoding, request.label())?;
        let pairs = clear.operations.into_iter().zip(seen.operations);
        let operations = pairs.map(|((operation, clear), (_, found))| {
            let row = |(clear, found): (Vec<i64>, Vec<Found>)| {
                clear.into_iter().zip(found).map(|(clear, found)| Compared { clear, found }).collect()
            };
            Done { operation, rows: clear.into_iter().zip(found).map(row).collect() }
        });
        Ok(Self {
            exact: weights.head(0)?.attend(&hidden),
            scale: head.client().output_scale(),
            operations: operations.collect(),
            output: head.client().dequantize_output(&expected),
            clear: expected,
            decrypted,
            input,
            sent: request.ciphertexts().len(),
        })
    }
}

/// A heading, and what happens in a step of the circuit.
fn in_words(step: &str) -> (&'static str, &'static str) {
    match step {
        steps::PROJECT => (
            "Linear maps",
            "Each number of the input is multiplied with public weights, and the products are added up: that makes queries, keys and values, before they \
             are rounded. A ciphertext times a public number needs no key at all. There is a row for each token: two queries, two keys, two values.",
        ),
        steps::QUERY_KEY_VALUE => (
            "Queries, keys, values: lookups",
            "These sums have more bits than the products that follow can take. So each is rounded to 4 bits again, by a lookup of a table that \
             rounds. The table's result has fresh noise. First come all queries and keys, then the values.",
        ),
        steps::SCORES => (
            "Scores: products of ciphertexts",
            "How well does a query fit to a key? Multiply them, number by number, and add up. Here both factors are encrypted: that takes a product of two \
             ciphertexts, which makes noise much larger. A token looks at itself and at those before it: 1, 2 and 3 scores.",
        ),
        steps::QUANTIZE_SCORES => ("Scores, rounded: lookups", "To 4 bits again."),
        steps::MAXIMUM => (
            "The largest score of each row: lookups",
            "The softmax of a row begins with its largest score. Of two numbers a and b it is b + max(a − b, 0): a lookup. Of three, two lookups one after the \
             other.",
        ),
        steps::EXPONENTIAL => (
            "Exponentials: lookups",
            "exp(score − largest), as an integer from 0 to 7. No sum and no product gives an exponential; a table has it as easily as anything else.",
        ),
        steps::INVERSE => (
            "One over the sum of each row: lookups",
            "The exponentials of a row are added up, and a table gives 1/sum.",
        ),
        steps::NORMALIZE => (
            "Exponentials times 1/sum: products of ciphertexts",
            "So that each row adds up to 1, or would if nothing were rounded.",
        ),
        steps::PROBABILITIES => (
            "Probabilities: lookups",
            "Rounded to 4 bits: an integer from 0 to 7 stands for 0 to 1. This is the softmax.",
        ),
        steps::OUTPUT => (
            "Values, weighted: products of ciphertexts",
            "Each token takes the values of the tokens it looked at, as much of each as its probability says. That is the output of the head.",
        ),
        _ => ("Another step", ""),
    }
}

/// Decimals to two places, with a plain minus.
fn decimals(numbers: &[f32]) -> impl Iterator<Item = String> {
    numbers.iter().map(|number| format!("{number:.2}"))
}

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let head = TinyHead::new(seed)?;
    let lesson = Lesson::new(
        "head",
        "An encrypted attention head",
        "Three tokens, two channels: the attention of a GPT-2 in its smallest form, computed on ciphertexts.",
    )
    .of_chapter("The integer head");
    let names = |prefix: &str, count: usize| (1..=count).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let columns = [vec!["token".to_owned()], names("x", 2), names("q", 2), names("k", 2), names("v", 2)].concat();
    let mut projected = LessonTable::new("embeddings x, queries q, keys k, values v", columns);
    let columns =
        [vec!["token".to_owned()], names("score ", TOKENS), names("share ", TOKENS), names("output ", CHANNELS)];
    let mut attended = LessonTable::new("scores, shares after the softmax, outputs", columns.concat());
    let exact = &head.exact;
    for token in 0..TOKENS {
        let name = std::iter::once(format!("{}", token + 1));
        let parts = [&HIDDEN[token][..], exact.query.row(token), exact.key.row(token), exact.value.row(token)];
        projected = projected.row(name.clone().chain(parts.into_iter().flat_map(decimals)));
        let seen = |row: &[f32]| {
            let cell = |(column, text)| if column <= token { text } else { String::new() };
            decimals(row).enumerate().map(cell).collect::<Vec<_>>()
        };
        let parts = [
            seen(exact.scores.row(token)),
            seen(exact.probabilities.row(token)),
            decimals(exact.output.row(token)).collect(),
        ];
        attended = attended.row(name.chain(parts.into_iter().flatten()));
    }
    let lesson = lesson.step(
        LessonStep::new("What an attention head does")
            .say(
                "A language model reads a text as tokens, pieces of words. Each token is a list of numbers, its embedding: two here, 768 in GPT-2. In an attention \
                 head each token looks at those before it and takes over something of them. For that it has a query: what am I looking for? Each token has a \
                 key: what do I have? And a value: what I give. All three are the embedding times public weights.",
            )
            .table(projected)
            .say(
                "Query times key, divided by the square root of the number of channels, is the score: how well two tokens fit. The softmax turns a row of \
                 scores into shares that add up to 1: e to the power of each, divided by the sum of all. The output of a token is the sum of values, each times \
                 its share.",
            )
            .table(attended)
            .picture(picture(exact)),
    );
    let mut integers = LessonTable::new("the input in integers of 4 bits, from −7 to 7", ["token", "x1", "x2"]);
    for token in 0..TOKENS {
        let row = head.input.row(token).iter().map(ToString::to_string);
        integers = integers.row(std::iter::once(format!("{}", token + 1)).chain(row));
    }
    let lesson = lesson.step(
        LessonStep::new("In small integers, encrypted")
            .say(
                "Encrypted numbers are small integers. So inputs and weights are rounded to 4 bits, and so is what comes in between: that is quantization. The \
                 result will be coarse, but it is the same with encryption as without, to the last integer: this is the exact circuit of this project.",
            )
            .table(integers)
            .say(format!(
                "The client encrypts these as {} ciphertexts of polynomials, one for each token. The server computes with them. It has weights and evaluation keys, and no \
                 secret. What the following steps show of its numbers is what only the owner of the keys can see. (The small key has 16 bits, which is no secret to \
                 anybody; everything else is as in the real set.)",
                head.sent
            )),
    );
    let mut groups: Vec<(&'static str, Vec<&Done>)> = Vec::new();
    for done in &head.operations {
        match groups.last_mut() {
            Some((step, group)) if *step == done.operation.step => group.push(done),
            _ => groups.push((done.operation.step, vec![done])),
        }
    }
    let lesson = groups.iter().fold(lesson, |lesson, (step, group)| lesson.step(of_step(step, group)));
    let mut table = LessonTable::new(
        "outputs",
        ["token", "channel", "decrypted", "clear engine", "as a number", "without rounding"],
    );
    for token in 0..TOKENS {
        for channel in 0..CHANNELS {
            table = table.row([
                format!("{}", token + 1),
                format!("{}", channel + 1),
                format!("{:.0}", head.decrypted[(token, channel)]),
                head.clear[(token, channel)].to_string(),
                format!("{:.2}", head.output[(token, channel)]),
                format!("{:.2}", exact.output[(token, channel)]),
            ]);
        }
    }
    let equal =
        (0..TOKENS).all(|token| (0..CHANNELS).all(|c| head.decrypted[(token, c)] == head.clear[(token, c)] as f64));
    Ok(lesson.step(
        LessonStep::new("The answer")
            .say(format!(
                "The server packs the outputs into one ciphertext and sends it back. The client decrypts. One unit is {:.4}, by which it multiplies.",
                head.scale
            ))
            .table(table)
            .check("what is decrypted are the integers of the same head without encryption", equal)
            .say(
                "The difference to the last column is what rounding to 4 bits costs. More bits make it smaller, and lookups more expensive. The command `head` does the \
                 same with weights of a real model.",
            ),
    ))
}

/// A step of the circuit: all its numbers, with noise and what it may be.
fn of_step(step: &str, group: &[&Done]) -> LessonStep {
    let (heading, text) = in_words(step);
    let numbers: Vec<Compared> = group.iter().flat_map(|done| done.rows.iter().flatten().copied()).collect();
    let columns = ["of", "clear", "decrypted", "noise, log2", "σ, log2", "may be, log2"];
    let mut table = LessonTable::new("all numbers, row by row; of noise the largest of the row", columns);
    for (index, row) in group.iter().flat_map(|done| rows(done)).enumerate() {
        let list =
            |number: &dyn Fn(Compared) -> i64| row.iter().map(|&x| number(x).to_string()).collect::<Vec<_>>().join(" ");
        let log2 = |x: f64| if x == 0.0 { "none".into() } else { format!("{:.1}", x.abs().log2()) };
        let gauges: Vec<NoiseGauge> = row.iter().map(|number| number.gauge("")).collect();
        let largest = gauges.iter().map(|gauge| gauge.measured.abs()).fold(0.0, f64::max);
        table = table.row([
            row_name(step, index),
            list(&|x| x.clear),
            list(&Compared::decrypted),
            log2(largest),
            log2(gauges[0].predicted),
            log2(gauges[0].allowed),
        ]);
    }
    let relative = |number: &&Compared| {
        let gauge = number.gauge("");
        gauge.measured.abs() / gauge.predicted.max(f64::MIN_POSITIVE)
    };
    let worst = numbers.iter().max_by(|a, b| relative(a).total_cmp(&relative(b)));
    let same = numbers.iter().all(|number| number.decrypted() == number.clear);
    let built = LessonStep::new(heading)
        .say(text)
        .table(table)
        .check(format!("all {} numbers are those of the head without encryption", numbers.len()), same);
    match worst {
        Some(worst) => built.noise(worst.gauge("the number that is farthest off, in σ")),
        None => built,
    }
}

/// What the numbers of a row belong to.
fn row_name(step: &str, index: usize) -> String {
    let of_token = format!("token {}", index + 1);
    match (step, index) {
        (steps::PROJECT | steps::SCORES | steps::NORMALIZE | steps::OUTPUT, _) => of_token,
        (steps::QUERY_KEY_VALUE, 0) => "queries".into(),
        (steps::QUERY_KEY_VALUE, 1) => "keys, by channel".into(),
        (steps::QUERY_KEY_VALUE, _) => "values".into(),
        (steps::MAXIMUM, 0) => "tokens 2 and 3".into(),
        (steps::MAXIMUM, _) => "token 3".into(),
        _ => "all tokens".into(),
    }
}

/// The rows of an operation; long ones, as those of lookups, in pieces.
fn rows(done: &Done) -> Vec<&[Compared]> {
    done.rows.iter().flat_map(|row| row.chunks(TOKENS * CHANNELS)).collect()
}

/// Tokens as a table: queries, keys, scores, shares, values.
fn picture(exact: &HeadTrace) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 330.0);
    let cell = [46.0, 26.0];
    let heading =
        |drawing: &mut Drawing, [x, y]: [f64; 2], text: &str| drawing.text("soft", Anchor::Start, 13.0, [x, y], text);
    let rows = |drawing: &mut Drawing, class: &str, [x, y]: [f64; 2], matrix: &Matrix<f32>, causal: bool| {
        for row in 0..matrix.rows() {
            for column in 0..matrix.cols() {
                let seen = !causal || column <= row;
                let text = if seen { format!("{:.2}", matrix[(row, column)]) } else { String::new() };
                let place = [x + 49.0 * column as f64, y + 29.0 * row as f64];
                drawing.cell(if seen { class } else { "box" }, place, cell, 12.5, &text);
            }
        }
    };
    heading(&mut drawing, [24.0, 24.0], "queries");
    rows(&mut drawing, "blues", [24.0, 32.0], &exact.query, false);
    heading(&mut drawing, [176.0, 24.0], "keys");
    rows(&mut drawing, "oranges", [176.0, 32.0], &exact.key, false);
    drawing.text("", Anchor::Middle, 16.0, [148.0, 78.0], "×");
    drawing.arrow("ink", [282.0, 74.0], [310.0, 74.0]);
    heading(&mut drawing, [316.0, 24.0], "scores");
    rows(&mut drawing, "greens", [316.0, 32.0], &exact.scores, true);
    drawing.arrow("ink", [386.0, 126.0], [386.0, 160.0]);
    heading(&mut drawing, [396.0, 148.0], "softmax");
    heading(&mut drawing, [316.0, 176.0], "shares");
    rows(&mut drawing, "greens", [316.0, 184.0], &exact.probabilities, true);
    drawing.text("", Anchor::Middle, 16.0, [294.0, 230.0], "×");
    heading(&mut drawing, [176.0, 176.0], "values");
    rows(&mut drawing, "reds", [176.0, 184.0], &exact.value, false);
    drawing.arrow("ink", [168.0, 226.0], [134.0, 226.0]);
    heading(&mut drawing, [24.0, 176.0], "outputs");
    rows(&mut drawing, "reds", [24.0, 184.0], &exact.output, false);
    heading(&mut drawing, [24.0, 302.0], "A row for each of three tokens, a column for each channel or token.");
    LessonPicture {
        name: "attention",
        title: "An attention head: queries times keys are scores; the softmax makes shares of them; the output is values, weighted by shares. A token \
                sees itself and those before it."
            .into(),
        drawing,
        plain: Vec::new(),
    }
}
