//! CMUX: an encrypted bit chooses between two ciphertexts.

use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::noise;
use tfhe_core::torus::{decode, encode, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, NoiseGauge};
use super::numbers::{coefficients, polynomials, signed};
use super::toys::{OF_8, Toy};

/// Bits of a message.
const MESSAGE_BITS: u32 = 3;
/// The polynomials between which a bit chooses.
const CHOICES: [[i64; 8]; 2] = [[1, 1, 1, 1, 0, 0, 0, 0], [-2, 3, -2, 3, -2, 3, -2, 3]];

fn messages(phase: &[u64]) -> Vec<i64> {
    phase.iter().map(|&x| decode(x, MESSAGE_BITS)).collect()
}

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let toy = Toy::new(OF_8, seed)?;
    let size = toy.size();
    let encrypt = |which: usize| -> anyhow::Result<GlweCiphertext> {
        toy.encrypt(["cmux 0", "cmux 1"][which], &CHOICES[which].map(|message| encode(message, MESSAGE_BITS)))
    };
    let inputs = [encrypt(0)?, encrypt(1)?];
    let mut difference = inputs[1].clone();
    difference.add_scaled(&inputs[0], -1);
    let rows = toy.ggsw_rows()?;
    let variance = noise::external_product(toy.gadget().on(toy.fft().transforms()), toy.shape(), toy.fresh());

    let lesson =
        Lesson::new("cmux", "CMUX", "An encrypted bit chooses between two ciphertexts, and nobody sees which.")
            .of_chapter("Gadgets and the external product");
    let phases = inputs.each_ref().map(|input| toy.phase(input));
    let lesson = lesson.step(
        LessonStep::new("A choice as a sum")
            .say(
                "Let there be two ciphertexts, C0 and C1, and a bit b. The result is to be C0 if b is 0, and C1 if b is 1. As a formula: C0 + b·(C1 − C0). The \
                 difference is taken number by number; the product is the external product of the lesson before; and the bit stays encrypted.",
            )
            .picture(picture())
            .table(
                polynomials("what the owner of the key finds", "", size)
                    .row(coefficients("C0", messages(&phases[0])))
                    .row(coefficients("C1", messages(&phases[1])))
                    .row(coefficients("C1 − C0", messages(&toy.phase(&difference)))),
            )
            .check(
                "the messages are those that were encrypted",
                (0..2).all(|which| messages(&phases[which]) == CHOICES[which]),
            ),
    );
    let choose = |lesson: Lesson, bit: usize| -> anyhow::Result<Lesson> {
        let place = toy.small_bits().iter().position(|&other| other == bit as u64).unwrap_or_default();
        let ggsw = toy.ggsw(&rows[place])?;
        let scratch = &mut ggsw.scratch(toy.fft());
        let output = ggsw.cmux(toy.fft(), &inputs[0], &inputs[1], scratch);
        let product = ggsw.external_product(toy.fft(), &difference, scratch);
        let mut sum = inputs[0].clone();
        sum.add_scaled(&product, 1);
        let phase = toy.phase(&output);
        let errors = phase.iter().zip(&phases[bit]).map(|(&x, &y)| to_f64(x.wrapping_sub(y)));
        let worst = errors.fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most });
        let chosen = |index: usize| output.data()[index] == inputs[bit].data()[index];
        Ok(lesson.step(
            LessonStep::new(format!("The bit is {bit}"))
                .say(format!(
                    "The bit is one of the small key's, number {}, encrypted as a GGSW ciphertext: that is what a bootstrapping key consists of. The owner \
                     of the key knows that it is {bit}; whoever computes does not.",
                    place + 1
                ))
                .table(
                    polynomials("phases, in ticks, and messages", "", size)
                        .row(coefficients("b·(C1 − C0)", toy.phase(&product).iter().map(|&x| signed(x))))
                        .row(coefficients("result", phase.iter().map(|&x| signed(x))))
                        .row(coefficients("message", messages(&phase))),
                )
                .check(format!("the messages are those of C{bit}"), messages(&phase) == CHOICES[bit])
                .check("the program's CMUX is C0 plus the external product, number by number", sum == output)
                .check(
                    "the result is another ciphertext than the one that was chosen: one cannot compare them",
                    !(0..2 * size).all(chosen),
                )
                .noise(NoiseGauge {
                    what: "the result, less that of the one chosen, the largest of all coefficients".into(),
                    measured: worst,
                    predicted: variance.std(),
                    allowed: 1.0 / 16.0,
                }),
        ))
    };
    let lesson = choose(choose(lesson, 0)?, 1)?;
    Ok(lesson.step(LessonStep::new("What it is good for").say(
        "A bootstrapping is nothing but a chain of such choices, one for each bit of a key: turn a polynomial, or do not. Each adds a little noise, \
         and the same whichever is chosen. The next lesson goes through such a chain.",
    )))
}

fn picture() -> LessonPicture {
    let mut drawing = Drawing::new(460.0, 210.0);
    drawing.cell("blues", [24.0, 34.0], [84.0, 36.0], 16.0, "C0");
    drawing.cell("oranges", [24.0, 130.0], [84.0, 36.0], 16.0, "C1");
    drawing.area("box", &[[220.0, 16.0], [300.0, 60.0], [300.0, 140.0], [220.0, 184.0]]);
    drawing.path("ink", &[[220.0, 16.0], [300.0, 60.0], [300.0, 140.0], [220.0, 184.0], [220.0, 16.0]]);
    drawing.text("", Anchor::Middle, 14.0, [258.0, 105.0], "CMUX");
    drawing.text("soft", Anchor::Start, 13.0, [226.0, 57.0], "0");
    drawing.text("soft", Anchor::Start, 13.0, [226.0, 153.0], "1");
    drawing.arrow("to-blue", [108.0, 52.0], [218.0, 52.0]);
    drawing.arrow("to-orange", [108.0, 148.0], [218.0, 148.0]);
    drawing.arrow("ink", [300.0, 100.0], [342.0, 100.0]);
    drawing.cell("greens", [344.0, 78.0], [92.0, 44.0], 15.0, "C0 or C1");
    drawing.arrow("to-green", [260.0, 198.0], [260.0, 164.0]);
    drawing.text("soft", Anchor::Start, 13.0, [270.0, 200.0], "encrypted bit b");
    drawing.text("soft", Anchor::Middle, 13.0, [388.0, 140.0], "C0 + b·(C1 − C0)");
    LessonPicture {
        name: "cmux",
        title: "A CMUX: an encrypted bit chooses one of two ciphertexts.".into(),
        drawing,
        plain: Vec::new(),
    }
}
