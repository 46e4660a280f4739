//! `explain --of FILE`: a run of `head`, step by step, from the file of `head --trace`.

use gpt2_fhe::run::trace::{TraceNumber, TracePlace, TraceUnit};
use gpt2_fhe::run::{Circuit, Mode};
use nn::integer::steps as exact;
use nn::packed::steps as packed;

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use crate::cli::head_trace::HeadTrace;
use crate::cli::text::{plural, power_of_two};

/// How many numbers of a place are shown, and that with the least headroom besides.
const SHOWN: usize = 6;

/// The lesson of a trace.
pub(super) fn lesson(trace: &HeadTrace) -> Lesson {
    let HeadTrace { layer, tokens, tensor, mode, circuit, .. } = trace;
    let what = match trace.head {
        Some(head) => format!("attention head {head} of layer {layer}"),
        None => format!("all {} attention heads of layer {layer} and their output projection", trace.heads),
    };
    let how = match mode {
        Mode::Execute => "encrypted",
        Mode::Simulate => "simulated: with the noise that ciphertexts would have",
        Mode::Clear => "without encryption",
    };
    let input = format!("{} (tensor \"{tensor}\")", plural(*tokens, "token"));
    let summary = format!("{what} on {input}, circuit {}, {how}.", circuit.name());
    let lesson = Lesson::new("trace", "A run of attention, step by step", capitalized(&summary));
    let lesson = lesson.step(reading(trace));
    let groups = trace.places.chunk_by(|a, b| (&a.step, a.round) == (&b.step, b.round));
    let lesson = groups.fold(lesson, |lesson, places| lesson.step(step(trace, places)));
    lesson.step(narrowest(trace))
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// What the tables show.
fn reading(trace: &HeadTrace) -> LessonStep {
    let decrypted = match trace.mode {
        Mode::Simulate => {
            "the same number with noise drawn at random, as large as that of ciphertexts is predicted to be. (Nothing was encrypted. Some noise is \
             drawn a step later than ciphertexts have it: there, nothing stands.)"
        }
        _ => {
            "what the owner of the key decrypts at this place. The server has the ciphertext and cannot: this run had both sides in one program, \
             to be studied."
        }
    };
    let words = LessonTable::new("the columns of the tables", ["column", "what it is"])
        .row(["clear", "the number as the same computation gives it without encryption."])
        .row(["decrypted", decrypted])
        .row(["noise", "decrypted less clear. Every ciphertext has some: without it, encryption would not be secure."])
        .row(["σ", "the standard deviation that was predicted for the noise: two thirds of all noise is smaller, and hardly any is five times as large."])
        .row(["headroom", "how many predicted σ the number may be off in all before what comes next gives a wrong result."])
        .row(["range left", "how far the number itself is from the end of the range that calibration gave it. Below zero it is beyond."]);
    let first = match trace.circuit {
        Circuit::Packed => {
            "Many numbers lie in each ciphertext. Ciphertexts know numbers modulo one turn: as angles, of which whole turns do not count. What is near to \
             a number stays near to it: noise makes results a little different, and wrong only where it leaves the room that is kept free for it."
        }
        Circuit::Exact => {
            "Each number is an integer and has a ciphertext of its own. Noise is less than half the distance between integers, so that it can be rounded \
             away: each lookup does, and begins with fresh noise. So the result is equal to that without encryption."
        }
    };
    let step = LessonStep::new("How to read this").say(first).table(words);
    let step = step.say(
        "Of all numbers of a place, the largest and mean noise and the least headroom are given. The first few are shown one by one, and after \
         them, in brackets, the one with the least headroom (without headroom: with the largest noise).",
    );
    match trace.out_of_range {
        0 => step,
        count => step
            .say(format!("In this run {} left their calibrated ranges: its result is wrong.", plural(count, "number"))),
    }
}

/// Places that belong together.
fn step(trace: &HeadTrace, places: &[TracePlace]) -> LessonStep {
    let first = &places[0];
    let (heading, prose) = words(trace.circuit, &first.step, trace.head.is_none());
    let rounds =
        trace.places.iter().filter(|place| place.step == first.step).map(|place| place.round).max().unwrap_or(0) + 1;
    let heading = match (rounds, first.numbers_of.as_str()) {
        (1, _) => heading.to_owned(),
        (_, "") => format!("{heading}, round {} of {rounds}", first.round + 1),
        (_, numbers) => format!("{heading}: {numbers}"),
    };
    let mut step = LessonStep::new(heading);
    if first.round == 0 {
        step = step.say(prose);
    }
    for place in places {
        step = step.table(statistics(place)).table(numbers(trace, place));
        if let Some(gauge) = gauge(place) {
            step = step.noise(gauge);
        }
    }
    step
}

/// What a place's numbers are called.
fn name(place: &TracePlace) -> String {
    match (place.numbers_of.as_str(), place.operation.as_str()) {
        ("", "arguments of lookups") => "what the lookups read".into(),
        ("", "lookups") => "what the lookups give".into(),
        ("", "products") => "products".into(),
        ("", "weighted sum") => "weighted sums".into(),
        ("", "constants added") => "with constants added".into(),
        ("", "decryption") => "the answer".into(),
        ("", _) => place.step.replace('_', " "),
        (numbers, "arguments of lookups") => format!("{numbers}, as the lookups read them"),
        (numbers, "lookups") => format!("{numbers}, as the lookups give them"),
        (numbers, _) => numbers.into(),
    }
}

fn unit(place: &TracePlace) -> &'static str {
    match place.unit {
        TraceUnit::Integers => "integers",
        TraceUnit::Turns => "turns",
        TraceUnit::Probability => "probabilities",
        TraceUnit::OutputSteps => "steps of the output's scale",
    }
}

/// Of all numbers of a place.
fn statistics(place: &TracePlace) -> LessonTable {
    let small = |noise: Option<f64>| noise.map_or("-".into(), |noise| format!("{noise:.1e}"));
    let [low, high] = place.clear_range.map(|number| exactly(place, number));
    let ratio = match (place.noise_ratio(), place.simulated_spread) {
        (Some(ratio), Some(spread)) => format!("{ratio:.2} (one run in 20 is beyond ×{:.2})", (2.0 * spread).exp()),
        (Some(ratio), None) => format!("{ratio:.2}"),
        (None, _) => "-".into(),
    };
    let caption = format!("{}: {}, in {}", name(place), plural(place.count, "number"), unit(place));
    let mut table = LessonTable::new(caption, ["of all", ""])
        .row(["clear, from", &low])
        .row(["clear, to", &high])
        .row(["noise, root mean square", &small(place.measured_noise)])
        .row(["noise, largest", &small(place.largest_noise)]);
    if let Some(predicted) = place.predicted_noise {
        table = table.row(["σ by formula", &small(Some(predicted))]);
    }
    if let Some(simulated) = place.simulated_noise.filter(|_| place.simulated_spread.is_some()) {
        table = table.row(["σ by 32 simulated runs", &small(Some(simulated))]);
    }
    table = table.row(["noise by what it should be", &ratio]);
    if let Some(read) = place.noise_when_read {
        table = table.row(["σ when the table is read", &small(Some(read))]);
    }
    if let Some(headroom) = place.headroom {
        table = table.row(["headroom, least", &format!("{headroom:.1} σ")]);
    }
    if let Some(left) = place.range_left {
        table = table.row(["range left, least", &exactly(place, left)]);
    }
    table
}

/// The first numbers of a place.
fn numbers(trace: &HeadTrace, place: &TracePlace) -> LessonTable {
    let shown = place.numbers.len().min(SHOWN);
    let caption = match place.count - shown {
        0 => format!("{}, one by one", name(place)),
        left_out => format!("the first {shown} of {}; {left_out} are left out", place.count),
    };
    let mut table = LessonTable::new(caption, ["where", "clear", "decrypted", "noise", "σ", "headroom", "range left"]);
    let cells = |number: &TraceNumber| {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        [
            place_of(trace, place, number),
            exactly(place, number.clear),
            or_none(number.decrypted.map(|decrypted| with_noise(place, decrypted))),
            or_none(number.noise.map(|noise| format!("{noise:+.1e}"))),
            or_none(number.predicted.map(|predicted| format!("{predicted:.1e}"))),
            or_none(number.headroom.map(|headroom| format!("{headroom:.1} σ"))),
            or_none(number.range_left.map(|left| exactly(place, left))),
        ]
    };
    for number in &place.numbers[..shown] {
        table = table.row(cells(number));
    }
    match &place.narrowest {
        Some(narrowest) if place.count > 1 => {
            let column = if narrowest.headroom.is_some() { 5 } else { 3 };
            table.row(cells(narrowest)).mark(column)
        }
        _ => table,
    }
}

/// Where a number is.
fn place_of(trace: &HeadTrace, place: &TracePlace, &TraceNumber { group, row, column, .. }: &TraceNumber) -> String {
    let head = if trace.heads > 1 { format!("head {group}, ") } else { String::new() };
    match (trace.circuit, place.step.as_str(), place.operation.as_str()) {
        (_, _, "arguments of lookups" | "lookups") => format!("number {column}"),
        (Circuit::Exact, exact::NORMALIZE, _) => format!("row {group}, token {column}"),
        (_, exact::SCORES, _) => format!("{head}token {row} with {column}"),
        (Circuit::Exact, exact::PROJECT | exact::PROJECT_OUTPUT, _) | (_, _, "constants added" | "decryption") => {
            format!("token {row}, channel {column}")
        }
        _ => format!("{head}token {row}, channel {column}"),
    }
}

/// A number without noise.
fn exactly(place: &TracePlace, number: f64) -> String {
    match place.unit {
        TraceUnit::Integers => format!("{number:.0}"),
        TraceUnit::Turns => format!("{number:.5}"),
        TraceUnit::Probability => format!("{number:.4}"),
        TraceUnit::OutputSteps => format!("{number:.2}"),
    }
}

/// A number with it.
fn with_noise(place: &TracePlace, number: f64) -> String {
    match place.unit {
        TraceUnit::Integers => format!("{number:.4}"),
        _ => exactly(place, number),
    }
}

/// The noise of a place that can go wrong, in turns.
fn gauge(place: &TracePlace) -> Option<NoiseGauge> {
    let (measured, headroom) = (place.measured_noise?, place.headroom?);
    let deviation = place.noise_when_read.or(place.predicted_noise).or(place.simulated_noise)?;
    let turns = |noise: f64| noise * place.unit_in_turns;
    Some(NoiseGauge {
        what: format!("{} (root mean square, in turns)", name(place)),
        measured: turns(measured),
        predicted: turns(deviation),
        allowed: turns(headroom * deviation),
    })
}

/// Where least is left, and what follows from it.
fn narrowest(trace: &HeadTrace) -> LessonStep {
    let mut read: Vec<(&TracePlace, f64)> =
        trace.places.iter().filter_map(|place| Some((place, place.headroom?))).collect();
    let drawing = chart(trace.circuit, &read);
    read.sort_by(|a, b| a.1.total_cmp(&b.1));
    let failure = power_of_two(trace.log2_failure_probability);
    let step = LessonStep::new("The narrowest place");
    let Some(&(place, headroom)) = read.first() else {
        return step.say("Nothing in this run could go wrong by noise.");
    };
    let label = label(trace.circuit, place);
    let step = step.say(format!(
        "Noise has the least room at \"{label}\": a number may be off by {headroom:.1} predicted standard deviations there. Everywhere else it may be off by \
         more. For all places of the run together, the plan says that noise makes any of them wrong with a chance of {failure}."
    ));
    let mut table = LessonTable::new("headroom, from the least on", ["place", "headroom", "numbers", "range left"]);
    for (place, headroom) in &read {
        let left = place.range_left.map_or("-".into(), |left| format!("{} {}", exactly(place, left), unit(place)));
        table =
            table.row([self::label(trace.circuit, place), format!("{headroom:.1} σ"), place.count.to_string(), left]);
    }
    let step = step.picture(drawing).table(table);
    let mismatches = match (trace.circuit, trace.mismatches) {
        (Circuit::Exact, 0) => "Every decrypted number is that of the clear engine.".into(),
        (Circuit::Packed, 0) => {
            "Every decrypted number is as near to that of the clear engine as the noise explains.".into()
        }
        (_, count) => format!("{} of the answer are not what the noise explains.", plural(count, "decrypted number")),
    };
    step.say(mismatches)
}

/// A place in a list.
fn label(circuit: Circuit, place: &TracePlace) -> String {
    let (heading, _) = words(circuit, &place.step, false);
    let round = if place.round > 0 { format!(", round {}", place.round + 1) } else { String::new() };
    let numbers = if place.numbers_of.is_empty() { String::new() } else { format!(": {}", place.numbers_of) };
    format!("{heading}{round}{numbers}")
}

/// Bars as long as the headroom of places, and a mark at what a normal error exceeds once in 2^40 times.
fn chart(circuit: Circuit, read: &[(&TracePlace, f64)]) -> LessonPicture {
    const RARE: f64 = 7.1;
    const ROW: f64 = 34.0;
    const WIDTH: f64 = 330.0;
    // On a logarithmic scale: answers have hundreds of times more.
    let most = read.iter().map(|(_, headroom)| *headroom).fold(16.0, f64::max).log2();
    let position = |headroom: f64| headroom.max(1.0).log2() / most;
    let x = |headroom: f64| 10.0 + position(headroom) * (WIDTH - 20.0);
    let height = ROW * read.len() as f64;
    let mut drawing = Drawing::new(WIDTH, height + 40.0);
    let mut plain = Vec::new();
    for (index, (place, headroom)) in read.iter().enumerate() {
        let (y, label) = (8.0 + ROW * index as f64, label(circuit, place));
        let class = if *headroom < RARE { "red" } else { "blue" };
        drawing.text("", Anchor::Start, 11.0, [10.0, y + 10.0], &format!("{label}: {headroom:.1} σ"));
        drawing.rectangle(class, [10.0, y + 15.0], [(x(*headroom) - 10.0).max(1.0), 8.0]);
        let length = (position(*headroom) * 40.0).round().clamp(0.0, 40.0) as usize;
        plain.push(format!("{:<42}{} {headroom:.1} σ", label.chars().take(40).collect::<String>(), "■".repeat(length)));
    }
    drawing.line("to-orange", [x(RARE), 4.0], [x(RARE), height + 8.0]);
    drawing.text("orange", Anchor::Start, 11.0, [x(RARE) + 3.0, height + 20.0], "7.1 σ: once in 2^40 errors");
    drawing.text("soft", Anchor::Start, 11.0, [10.0, height + 36.0], "each doubling is as long");
    LessonPicture {
        name: "headroom",
        title: "How many standard deviations noise may be, place by place".into(),
        drawing,
        plain,
    }
}

/// A step of a circuit, and what happens there. `whole`: of all heads.
fn words(circuit: Circuit, step: &str, whole: bool) -> (&'static str, &'static str) {
    match (circuit, step) {
        (Circuit::Packed, packed::PROJECT) => (
            "Queries, keys and values",
            "The input of each token, a row of encrypted integers, is multiplied by the head's weights, which the server knows. That gives each token \
             three rows: a query, what it looks for; a key, what it is found by; and a value, what it has to say. It is all sums of encrypted \
             integers times known ones: noise grows with the weights, and nothing is rounded.",
        ),
        (Circuit::Packed, packed::SCORES) => (
            "Scores",
            "The query of each token is multiplied with its own key and those of the tokens before it. The sum of the products is a score: how much the \
             one token matters to the other. Both factors are encrypted: it is one product of ciphertexts for many scores at once. A score is an \
             angle; of angles only differences will count.",
        ),
        (Circuit::Packed, packed::SOFTPLUS) => (
            "Logarithms of sums",
            "The softmax makes probabilities of the scores of a row: e^s of each by the sum of all of them. The sum is kept as its logarithm, which is as \
             small as scores are: log(e^a + e^b) = b + log(1 + e^(a-b)). A lookup reads log(1 + e^x) at the encrypted difference a - b. First neighbours \
             are taken together, then neighbouring pairs, until one logarithm is left to a row. Before the table is read, a key switch and a rounding \
             to the table's angles add to the noise: that is the largest part of the σ with which it is read.",
        ),
        (Circuit::Packed, packed::EXPONENTIAL) => (
            "Probabilities",
            "The probability of a token in a row is e^(s-L), s its score and L the logarithm of the row's sum. A lookup reads e^x at s - L. The first token \
             sees itself only: its probability is 1, and nothing is looked up.",
        ),
        (Circuit::Packed, packed::OUTPUT) if whole => (
            "Weighted values",
            "The values of the tokens that a token sees are multiplied by their probabilities and summed up, and the sums of all heads are added to each \
             other. The output projection takes no step of its own: the weights of values have it already. At the end known numbers are added, \
             the biases. An output is an angle; it is known which number is meant as long as it is less than half a turn from its bias.",
        ),
        (Circuit::Packed, packed::OUTPUT) => (
            "Weighted values",
            "The values of the tokens that a token sees are multiplied by their probabilities and summed up. At the end known numbers are added, the \
             biases. An output is an angle; it is known which number is meant as long as it is less than half a turn from its bias.",
        ),
        (Circuit::Exact, exact::PROJECT) => (
            "Sums for queries, keys and values",
            "The input of each token, a row of encrypted integers, is multiplied by the head's integer weights, which the server knows, and summed up. The sums \
             have more bits than the integers of the head.",
        ),
        (Circuit::Exact, exact::QUERY_KEY_VALUE) => (
            "Lookups to few bits",
            "A lookup rounds each sum to an integer of few bits again, with the bias: that gives queries, keys and values. It is a bootstrapping, or several: \
             the noise of what comes out is fresh, whatever went in.",
        ),
        (_, exact::SCORES) => (
            "Scores",
            "The query of each token is multiplied with its own key and those of the tokens before it. The sum of the products is a score: how much the one \
             token matters to the other. Both factors are encrypted.",
        ),
        (_, exact::QUANTIZE_SCORES) => ("Scores to few bits", "A lookup rounds each score to few bits."),
        (_, exact::MAXIMUM) => (
            "The largest score of each row",
            "The softmax begins with the largest score of a row, since only what scores are less than it matters. max(a, b) = b + max(a - b, 0): a lookup \
             reads max(x, 0) at the encrypted difference. First neighbours are compared, then the larger ones of neighbouring pairs.",
        ),
        (_, exact::EXPONENTIAL) => {
            ("Exponentials", "A lookup reads e^x at each score less the largest one of its row, rounded to few bits.")
        }
        (_, exact::INVERSE) => {
            ("Inverses of sums", "The exponentials of a row are summed up, and a lookup reads one divided by the sum.")
        }
        (_, exact::NORMALIZE) => {
            ("Products with the inverse", "Each exponential is multiplied by the inverse of its row's sum.")
        }
        (_, exact::PROBABILITIES) => {
            ("Probabilities", "A lookup rounds each of these products to few bits: these are the probabilities.")
        }
        (_, exact::OUTPUT) => (
            "Weighted values",
            "The values of the tokens that a token sees are multiplied by their probabilities and summed up.",
        ),
        (_, exact::QUANTIZE_OUTPUT) => {
            ("Outputs to few bits", "A lookup rounds the output of each head to few bits, at one scale for all.")
        }
        (_, exact::PROJECT_OUTPUT) => (
            "The output projection",
            "The outputs of all heads are multiplied by the integer weights of the output projection and summed up.",
        ),
        (Circuit::Packed, "answer") => (
            "The answer",
            "The outputs are packed into as few ciphertexts as hold them, rounded to the bits that are sent, and decrypted by the client, who multiplies them \
             by the scale of each channel.",
        ),
        (Circuit::Exact, "answer") => (
            "The answer",
            "The outputs are packed into as few ciphertexts as hold them, rounded to the bits that are sent, and decrypted by the client, who rounds each to the \
             nearest integer. As long as noise is less than half a step, nothing is left of it.",
        ),
        _ => ("A step that this program does not know", ""),
    }
}
