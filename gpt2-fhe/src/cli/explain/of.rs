//! `explain --of FILE`: a run of `head`, step by step, from the file of `head --trace`.

use gpt2_fhe::run::trace::{TraceNumber, TracePlace, TraceUnit};
use gpt2_fhe::run::{Circuit, Mode};
use nn::integer::steps as exact;
use nn::packed::steps as packed;

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use crate::cli::head_trace::RunTrace;
use crate::cli::text::{plural, power_of_two};

/// How many numbers of a place are shown, and that with the least headroom besides.
const SHOWN: usize = 6;

/// The lesson of a trace.
pub(super) fn lesson(trace: &RunTrace) -> Lesson {
    let RunTrace { layer, tokens, tensor, mode, circuit, .. } = trace;
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
fn reading(trace: &RunTrace) -> LessonStep {
    let decrypted = match trace.mode {
        Mode::Simulate => {
            "decrypted: the same number with noise drawn at random, as large as that of ciphertexts is predicted to be. Nothing was encrypted in this \
             run. Some noise is drawn a step later than ciphertexts have it: there, nothing stands."
        }
        _ => {
            "decrypted: what the owner of the key decrypts at this place. The server has the ciphertext and cannot: this run had both sides in one \
             program, to be studied."
        }
    };
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
    let sigma = match trace.circuit {
        Circuit::Packed => {
            "σ: the standard deviation that is predicted for the noise: two thirds of all noise is smaller, and hardly any is five times as large. It is \
             that of 32 simulated runs, and for single numbers that of a formula, where there is one. What a lookup does to noise depends on the \
             number: there, formulas give the most that it can be."
        }
        Circuit::Exact => {
            "σ: the standard deviation that formulas predict for the noise: two thirds of all noise is smaller, and hardly any is five times as large. \
             They hold on every kind of CPU: where transforms round less, noise is smaller."
        }
    };
    let headroom = match trace.circuit {
        Circuit::Packed => {
            "headroom: how far a number may be off before what comes next gives a wrong result, in predicted standard deviations (those with which a \
             table reads it: reading adds noise of its own)."
        }
        Circuit::Exact => {
            "headroom: how far what a lookup reads may be off before its result is wrong, in predicted standard deviations. A lookup is several \
             bootstrappings, each with noise of its own: it is that of the narrowest one of the step. (The bars below tables show the noise of the \
             integers themselves, which is far smaller, beside half the distance between two of them.)"
        }
    };
    let step = LessonStep::new("How to read this")
        .say(first)
        .say("Beside the numbers stand, in columns:")
        .say("clear: the number as the same computation gives it without encryption.")
        .say(decrypted)
        .say("noise: decrypted less clear. Every ciphertext has some: without it, encryption would not be secure.")
        .say(sigma)
        .say(headroom)
        .say(
            "range left: how far the number itself is from the end of the range that calibration gave it. Below zero it is beyond.",
        )
        .say(
            "Each step begins with a line for all of its numbers: noise and σ are root mean squares. One run's noise differs from another's: beside \
             \"noise by σ\" stands what the ratio of a single run is beyond in one of 20 runs, up or down. The first numbers follow one by one, \
             and the one with the least headroom (without headroom: with the largest noise) is marked.",
        );
    match trace.out_of_range {
        0 => step,
        count => step
            .say(format!("In this run {} left their calibrated ranges: its result is wrong.", plural(count, "number"))),
    }
}

/// Places that belong together.
fn step(trace: &RunTrace, places: &[TracePlace]) -> LessonStep {
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
    step = if first.round == 0 { step.say(prose) } else { step.say(later(&first.step)) };
    step = step.table(statistics(places));
    for place in places {
        step = step.table(numbers(trace, place));
        if let Some(gauge) = gauge(trace, place) {
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
        ("", "constants added") => "outputs, with constants added".into(),
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

/// Of all numbers of each place of a step.
fn statistics(places: &[TracePlace]) -> LessonTable {
    let small = |noise: Option<f64>| noise.map_or("-".into(), |noise| format!("{noise:.1e}"));
    let row = |place: &TracePlace| {
        let [low, high] = place.clear_range.map(|number| exactly(place, number));
        let ratio = match (place.noise_ratio(), place.simulated_spread) {
            (Some(ratio), Some(spread)) => format!("{ratio:.2} (×{:.2})", (2.0 * spread).exp()),
            (Some(ratio), None) => format!("{ratio:.2}"),
            (None, _) => "-".into(),
        };
        [
            format!("{}, {}", name(place).trim_start_matches("what the "), unit(place)),
            place.count.to_string(),
            low,
            high,
            small(place.measured_noise),
            small(place.simulated_noise.or(place.predicted_noise)),
            ratio,
            small(place.noise_when_read),
            place.headroom.map_or("-".into(), |headroom| format!("{headroom:.1} σ")),
            place.range_left.map_or("-".into(), |left| exactly(place, left)),
        ]
    };
    let names =
        ["what", "numbers", "least", "largest", "noise", "σ", "noise by σ", "σ when read", "headroom", "range left"];
    let rows: Vec<_> = places.iter().map(row).collect();
    // What no place has is no column.
    let has = |column: usize| rows.iter().any(|row| row[column] != "-");
    let columns: Vec<usize> = (0..names.len()).filter(|&column| has(column)).collect();
    let table = LessonTable::new("all numbers of the step", columns.iter().map(|&column| names[column]));
    rows.iter().fold(table, |table, row| table.row(columns.iter().map(|&column| row[column].clone())))
}

/// The first numbers of a place, and the one to look at.
fn numbers(trace: &RunTrace, place: &TracePlace) -> LessonTable {
    let first = &place.numbers[..place.numbers.len().min(SHOWN)];
    let marked = place.narrowest.filter(|_| place.count > 1);
    let more = marked.filter(|marked| !first.contains(marked));
    let caption = match place.count.saturating_sub(first.len() + usize::from(more.is_some())) {
        0 => name(place),
        left_out => format!("{}: {} of {}, the others are left out", name(place), place.count - left_out, place.count),
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let cells = |number: &TraceNumber| {
        [
            place_of(trace, place, number),
            exactly(place, number.clear),
            or_none(number.decrypted.map(|decrypted| match number.noise {
                Some(_) => with_noise(place, decrypted),
                None => exactly(place, decrypted),
            })),
            or_none(number.noise.map(|noise| format!("{noise:+.1e}"))),
            or_none(number.predicted.map(|predicted| format!("{predicted:.1e}"))),
            or_none(number.headroom.map(|headroom| format!("{headroom:.1} σ"))),
            or_none(number.range_left.map(|left| exactly(place, left))),
        ]
    };
    let names = ["where", "clear", "decrypted", "noise", "σ", "headroom", "range left"];
    let shown: Vec<TraceNumber> = first.iter().copied().chain(more).collect();
    let has = |column: usize| shown.iter().any(|number| cells(number)[column] != "-");
    let columns: Vec<usize> = (0..names.len()).filter(|&column| has(column)).collect();
    let mut table = LessonTable::new(caption, columns.iter().map(|&column| names[column]));
    for number in &shown {
        let row = cells(number);
        table = table.row(columns.iter().map(|&column| row[column].clone()));
        if Some(number) == marked.as_ref() {
            let wanted = if number.headroom.is_some() { "headroom" } else { "noise" };
            if let Some(column) = columns.iter().position(|&column| names[column] == wanted) {
                table = table.mark(column);
            }
        }
    }
    table
}

/// Where a number is.
fn place_of(trace: &RunTrace, place: &TracePlace, &TraceNumber { group, row, column, .. }: &TraceNumber) -> String {
    let head = if trace.heads > 1 { format!("head {group}, ") } else { String::new() };
    if place.operation == "arguments of lookups" || place.operation == "lookups" {
        return looked_up(trace, place, column).unwrap_or_else(|| format!("number {column}"));
    }
    match (trace.circuit, place.step.as_str(), place.operation.as_str()) {
        (Circuit::Exact, exact::NORMALIZE, _) => format!("row {group}, token {column}"),
        (_, exact::SCORES, _) => format!("{head}token {row} with {column}"),
        (Circuit::Exact, exact::PROJECT | exact::PROJECT_OUTPUT, _) | (_, _, "constants added" | "decryption") => {
            format!("token {row}, channel {column}")
        }
        _ => format!("{head}token {row}, channel {column}"),
    }
}

/// Where a looked-up number is, of one head: they come row after row.
fn looked_up(trace: &RunTrace, place: &TracePlace, number: usize) -> Option<String> {
    // More heads come after each other, and the first circuit takes them in batches.
    if trace.heads > 1 {
        return None;
    }
    let find = |lengths: &mut dyn Iterator<Item = usize>| {
        let mut left = number;
        for (row, length) in lengths.enumerate() {
            if left < length {
                return Some((row, left));
            }
            left -= length;
        }
        None
    };
    let tokens = trace.tokens;
    match (trace.circuit, place.step.as_str()) {
        (_, packed::SOFTPLUS | exact::MAXIMUM) => {
            // A row of n has n/2 pairs, and half as many numbers in the next round.
            let pairs = |row: usize| (0..place.round).fold(row + 1, |left, _| left.div_ceil(2)) / 2;
            find(&mut (0..tokens).map(pairs)).map(|(row, pair)| format!("token {row}, pair {pair}"))
        }
        (Circuit::Packed, packed::EXPONENTIAL) => {
            let length = |row: usize| if row == 0 { 0 } else { row + 1 };
            find(&mut (0..tokens).map(length)).map(|(row, column)| format!("token {row} with {column}"))
        }
        (Circuit::Exact, exact::QUANTIZE_SCORES | exact::EXPONENTIAL | exact::PROBABILITIES) => {
            find(&mut (1..=tokens)).map(|(row, column)| format!("token {row} with {column}"))
        }
        (Circuit::Exact, exact::INVERSE) => Some(format!("token {number}")),
        (Circuit::Exact, exact::QUERY_KEY_VALUE) if place.round == 0 => {
            let half = place.count / 2;
            let size = (half / tokens).max(1);
            Some(if number < half {
                format!("query, token {}, channel {}", number / size, number % size)
            } else {
                // Keys come channel by channel.
                format!("key, token {}, channel {}", (number - half) % tokens, (number - half) / tokens)
            })
        }
        (Circuit::Exact, exact::QUERY_KEY_VALUE) => {
            let size = (place.count / tokens).max(1);
            Some(format!("token {}, channel {}", number / size, number % size))
        }
        _ => None,
    }
}

/// What later rounds do.
fn later(step: &str) -> &'static str {
    match step {
        packed::SOFTPLUS => "The same with what the last round left: each number stands for twice as many tokens.",
        exact::MAXIMUM => "The same with what the last round left: the larger ones of pairs.",
        exact::QUERY_KEY_VALUE => "The same for the values.",
        _ => "The same with the next numbers.",
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
        // Zero has no sign, though noise has.
        TraceUnit::Integers => format!("{:.4}", (number * 1e4).round() / 1e4 + 0.0),
        _ => exactly(place, number),
    }
}

/// Noise beside what is allowed, in turns: of the number with the least headroom; of integers, of all of them.
fn gauge(trace: &RunTrace, place: &TracePlace) -> Option<NoiseGauge> {
    let turns = |noise: f64| noise * place.unit_in_turns;
    if trace.circuit == Circuit::Exact {
        return Some(NoiseGauge {
            what: format!("{}, root mean square, in turns, of which half an integer is allowed", name(place)),
            measured: turns(place.measured_noise?),
            predicted: turns(place.predicted_noise?),
            allowed: turns(0.5),
        });
    }
    let TraceNumber { noise, allowed, headroom, .. } = place.narrowest?;
    let (noise, allowed, headroom) = (noise?, allowed?, headroom?);
    // Beyond the end of all room there is no scale.
    (headroom > 0.0).then(|| NoiseGauge {
        what: format!("{}, of the number with the least headroom, in turns", name(place)),
        measured: turns(noise),
        predicted: turns(allowed / headroom),
        allowed: turns(allowed),
    })
}

/// Where least is left, and what follows from it.
fn narrowest(trace: &RunTrace) -> LessonStep {
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
        "Noise has the least room at \"{label}\": a number may be off by {headroom:.1} predicted standard deviations there, and nowhere by less."
    ));
    let step = step.say(match trace.circuit {
        Circuit::Packed => format!(
            "That is of this run's numbers. The plan, which is made before anything is encrypted, takes them to be at the ends of their ranges, where \
             least room is left, and says that noise makes any lookup or output of the run wrong with a chance of {failure}."
        ),
        Circuit::Exact => {
            format!("For all of the run together, the plan says that noise makes any integer of the answer wrong with a chance of {failure}.")
        }
    });
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
    match (place.numbers_of.as_str(), place.round) {
        ("", 0) => heading.into(),
        ("", round) => format!("{heading}, round {}", round + 1),
        (numbers, _) => format!("{heading}: {numbers}"),
    }
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
        drawing.line("to-orange", [x(RARE), y + 13.0], [x(RARE), y + 25.0]);
        let length = (position(*headroom) * 40.0).round().clamp(0.0, 40.0) as usize;
        plain.push(format!("{:<42}{} {headroom:.1} σ", label.chars().take(40).collect::<String>(), "■".repeat(length)));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::head_trace::small;

    #[test]
    fn every_step_has_words_and_places_are_found() {
        let steps = packed::ALL.iter().map(|step| (Circuit::Packed, *step));
        let steps = steps.chain(exact::ALL.iter().map(|step| (Circuit::Exact, *step)));
        for (circuit, step) in steps.chain([(Circuit::Packed, "answer"), (Circuit::Exact, "answer")]) {
            for whole in [false, true] {
                let (heading, prose) = words(circuit, step, whole);
                assert!(!prose.is_empty() && !heading.contains("does not know"), "{circuit:?} {step}");
            }
        }
        // Of three tokens: rows of 2 and 3 probabilities; a pair each, and then one of a pair and a number.
        let mut trace = small();
        (trace.circuit, trace.tokens) = (Circuit::Packed, 3);
        let mut place = trace.places[0].clone();
        let mut found = |step: &str, round: usize, count: usize| {
            (place.step, place.round, place.count) = (step.into(), round, count);
            (0..=count).map(|number| looked_up(&trace, &place, number)).collect::<Vec<_>>()
        };
        let texts = |texts: &[&str]| {
            texts.iter().map(|text| Some(text.to_string())).chain([None]).collect::<Vec<Option<String>>>()
        };
        let probabilities = ["token 1 with 0", "token 1 with 1", "token 2 with 0", "token 2 with 1", "token 2 with 2"];
        assert_eq!(found(packed::EXPONENTIAL, 0, 5), texts(&probabilities));
        assert_eq!(found(packed::SOFTPLUS, 0, 2), texts(&["token 1, pair 0", "token 2, pair 0"]));
        assert_eq!(found(packed::SOFTPLUS, 1, 1), texts(&["token 2, pair 0"]));
        trace.heads = 2;
        assert_eq!(looked_up(&trace, &place, 0), None);
    }

    #[test]
    fn a_trace_becomes_a_lesson() {
        let trace = small();
        let shown = lesson(&trace);
        let headings: Vec<&str> = shown.steps.iter().map(|step| step.heading.as_str()).collect();
        assert_eq!(headings, ["How to read this", "Weighted values", "The narrowest place"]);
        assert!(shown.broken().is_empty());
        let text = super::super::text::lesson(&shown);
        for part in ["Attention head 1 of layer 0", "7.2500", "+2.5e-1", "4.0 σ", "token 1, channel 2", "2^-50.0"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Noise far beyond its prediction is said to be.
        let mut wrong = trace.clone();
        wrong.places[0].measured_noise = Some(8.0);
        assert_eq!(lesson(&wrong).broken().len(), 1);
        // Neither nothing nor what is far too large breaks it.
        for (clear, allowed, headroom) in
            [(0.0, Some(-1.0), Some(1.0)), (1e300, Some(1e300), Some(1e-300)), (-0.0, None, None)]
        {
            let mut odd = trace.clone();
            let number = odd.places[0].numbers.first_mut().unwrap();
            (number.clear, number.allowed, number.headroom, number.decrypted) = (clear, allowed, headroom, None);
            odd.places[0].narrowest = Some(*number);
            (odd.circuit, odd.places[0].headroom) = (Circuit::Packed, headroom);
            let shown = lesson(&odd);
            let page = super::super::page::page("", "", std::slice::from_ref(&shown));
            assert!(page.contains("The narrowest place") && !super::super::text::lesson(&shown).is_empty());
        }
    }
}
