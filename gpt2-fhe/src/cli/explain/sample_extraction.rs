//! Sample extraction: one coefficient of a polynomial as a ciphertext of its own.

use tfhe_core::key_graph::Node::Lookup;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::torus::{decode, encode, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use super::numbers::{coefficients, polynomials, ticks};
use super::toys::{OF_8, Toy};

/// Bits of a message.
const MESSAGE_BITS: u32 = 3;
/// The polynomial.
const MESSAGES: [i64; 8] = [1, -3, 2, 0, 3, -1, 0, 2];
/// The coefficient that is taken out.
const PLACE: usize = 2;

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let toy = Toy::new(OF_8, seed)?;
    let size = toy.size();
    let plaintext = MESSAGES.map(|message| encode(message, MESSAGE_BITS));
    let input = toy.encrypt("sample extraction", &plaintext)?;
    let phase = toy.phase(&input);
    let sample = input.sample_extract(PLACE);
    let sample_phase = toy.phase_of(Lookup, &sample);

    let lesson = Lesson::new(
        "sample-extraction",
        "Sample extraction",
        "One coefficient of an encrypted polynomial becomes a ciphertext of its own, without a key and without noise.",
    )
    .of_chapter("GLWE and polynomials");
    let lesson = lesson.step(
        LessonStep::new("A polynomial of messages")
            .say(
                "A ciphertext of a polynomial (GLWE) holds many messages. A single encrypted number (LWE) has a mask of single numbers. Here is how one gets from \
                 the first to the second.",
            )
            .table(
                polynomials("in ticks", "", size)
                    .row(coefficients("A, mask", input.mask().iter().map(|&x| ticks(x))))
                    .row(coefficients("B, body", input.body().iter().map(|&x| ticks(x))))
                    .row(coefficients("S, secret", toy.ring_bits()))
                    .row(coefficients("message", phase.iter().map(|&x| decode(x, MESSAGE_BITS)))),
            )
            .say(format!("We want the coefficient of X^{PLACE}, whose message is {}.", MESSAGES[PLACE])),
    );
    // Which coefficient of the mask meets a bit of the key, and with which sign.
    let source = |j: usize| if j <= PLACE { (PLACE - j, 1) } else { (size + PLACE - j, -1) };
    let mut table = LessonTable::new(
        format!("the coefficient of X^{PLACE} of A·S, term by term, in ticks"),
        ["bit of the key", "coefficient of the mask", "sign", "as mask", "bit", "term", "sum"],
    );
    let (mut sum, mut mask) = (0_u64, Vec::new());
    for (j, &s) in toy.ring_bits().iter().enumerate() {
        let (from, sign) = source(j);
        let a = if sign > 0 { input.mask()[from] } else { input.mask()[from].wrapping_neg() };
        sum = sum.wrapping_add(a.wrapping_mul(s));
        mask.push(a);
        let sign = if sign > 0 { "+" } else { "−" };
        let cells = [format!("S{j}"), format!("A{from}"), sign.into(), ticks(a).to_string(), s.to_string()];
        table = table.row(cells.into_iter().chain([ticks(a.wrapping_mul(s)), ticks(sum)].map(|x| x.to_string())));
    }
    let by_hand = LweCiphertext::from_data(mask.into_iter().chain([input.body()[PLACE]]).collect());
    let lesson = lesson.step(
        LessonStep::new("One coefficient of a product")
            .say(format!(
                "The phase is B − A·S. To its coefficient of X^{PLACE} belong one number of B, and all pairs of coefficients of A and S whose powers add up to \
                 {PLACE}, or to {}: those have passed the end once, and count with the other sign, since X^{size} is −1.",
                size + PLACE
            ))
            .table(table)
            .say(
                "This is a sum of numbers times bits, as in the lesson `encryption`. So the coefficients of the mask, in another order and some of them with the \
                 other sign, are the mask of an LWE ciphertext, under the key that consists of the coefficients of S. Its body is the number of B.",
            )
            .picture(picture(source))
            .check("this is the ciphertext that the program takes out", by_hand == sample)
            .check("the sum is what the program takes off when it decrypts", sample.body().wrapping_sub(sum) == sample_phase),
    );
    Ok(lesson.step(
        LessonStep::new("Nothing is added")
            .formula([
                format!("phase of coefficient {PLACE} before: {}", ticks(phase[PLACE])),
                format!("phase of the LWE ciphertext:  {}", ticks(sample_phase)),
                format!("message:                      {}", decode(sample_phase, MESSAGE_BITS)),
            ])
            .check("the phase is the same to the last tick", phase[PLACE] == sample_phase)
            .check("the message is the one that was encrypted", decode(sample_phase, MESSAGE_BITS) == MESSAGES[PLACE])
            .noise(NoiseGauge {
                what: "the LWE ciphertext".into(),
                measured: to_f64(sample_phase.wrapping_sub(plaintext[PLACE])),
                predicted: toy.fresh().std(),
                allowed: 1.0 / 16.0,
            })
            .say(format!(
                "The noise is that of a fresh ciphertext. What has changed is the key: it has {size} bits now, as many as the polynomial had coefficients. In real \
                 sets these are thousands. The next lesson makes them fewer."
            )),
    ))
}

/// Which coefficient of the mask goes where.
fn picture(source: impl Fn(usize) -> (usize, i64)) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 196.0);
    let place = |j: usize| 76.0 + 42.0 * j as f64;
    for j in 0..MESSAGES.len() {
        let (from, sign) = source(j);
        let (class, line) = if sign > 0 { ("blues", "to-blue") } else { ("oranges", "to-orange") };
        drawing.line(line, [place(from) + 17.0, 54.0], [place(j) + 17.0, 120.0]);
        drawing.cell(class, [place(from), 26.0], [34.0, 28.0], 14.0, &format!("A{from}"));
        drawing.cell(
            class,
            [place(j), 120.0],
            [34.0, 28.0],
            14.0,
            &format!("{}A{from}", if sign > 0 { "" } else { "−" }),
        );
    }
    let body = place(MESSAGES.len());
    drawing.cell("greens", [body, 26.0], [48.0, 28.0], 14.0, &format!("B{PLACE}"));
    drawing.cell("greens", [body, 120.0], [48.0, 28.0], 14.0, "b");
    drawing.line("to-green", [body + 24.0, 54.0], [body + 24.0, 120.0]);
    drawing.text("soft", Anchor::Start, 13.0, [10.0, 45.0], "GLWE");
    drawing.text("soft", Anchor::Start, 13.0, [10.0, 139.0], "LWE");
    drawing.text("soft", Anchor::Start, 13.0, [76.0, 176.0], "The same numbers in another order: no noise, no key.");
    LessonPicture {
        name: "sample-extraction",
        title: format!(
            "Taking out coefficient {PLACE}: the mask's coefficients change places, and some of them signs."
        ),
        drawing,
        plain: Vec::new(),
    }
}
