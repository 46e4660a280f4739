//! The external product: an encrypted bit times an encrypted polynomial.

use tfhe_core::decomposition::decompose;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::noise;
use tfhe_core::polynomial::schoolbook_add;
use tfhe_core::torus::{decode, encode, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use super::numbers::{coefficients, polynomials, signed, ticks};
use super::toys::{OF_8, Toy};

/// Bits of a message.
const MESSAGE_BITS: u32 = 3;
/// The polynomial that is multiplied.
const MESSAGES: [i64; 8] = [3, 1, 0, 2, 0, 0, 1, 0];

/// The nearest messages, as signed numbers.
fn messages(phase: &[u64]) -> Vec<i64> {
    phase.iter().map(|&x| decode(x, MESSAGE_BITS)).collect()
}

/// The first bit of the small key that is `bit`.
fn place(toy: &Toy, bit: u64) -> usize {
    toy.small_bits().iter().position(|&other| other == bit).unwrap_or_default()
}

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let toy = Toy::new(OF_8, seed)?;
    let size = toy.size();
    let plaintext: Vec<u64> = MESSAGES.iter().map(|&message| encode(message, MESSAGE_BITS)).collect();
    let input = toy.encrypt("external product", &plaintext)?;
    let before = toy.phase(&input);
    let (gadget, all_rows) = (toy.gadget(), toy.ggsw_rows()?);
    let rows = &all_rows[place(&toy, 1)];
    let multiply = |rows: &[u64]| -> anyhow::Result<GlweCiphertext> {
        let ggsw: FourierGgsw = toy.ggsw(rows)?;
        Ok(ggsw.external_product(toy.fft(), &input, &mut ggsw.scratch(toy.fft())))
    };
    let (product, nothing) = (multiply(rows)?, multiply(&all_rows[place(&toy, 0)])?);
    let (after, of_nothing) = (toy.phase(&product), toy.phase(&nothing));
    let added = noise::external_product(gadget.on(toy.fft().transforms()), toy.shape(), toy.fresh());
    let levels = gadget.levels();
    let half_slot = 1.0 / 16.0;

    let lesson = Lesson::new(
        "external-product",
        "The external product",
        "An encrypted bit is multiplied with an encrypted polynomial, by digits times rows.",
    )
    .of_chapter("Gadgets and the external product");
    let lesson = lesson.step(
        LessonStep::new("A ciphertext of a polynomial")
            .say(format!(
                "A polynomial of {size} coefficients holds {size} messages. Its ciphertext (GLWE) is a polynomial A, the mask, and a polynomial B, the \
                 body: B = A·S + M + noise. S is the secret polynomial, whose coefficients are bits. Polynomials are multiplied as at school, but \
                 for one rule: X^{size} is −1. So what is moved out at the top comes back at the bottom with the other sign."
            ))
            .table(
                polynomials("in ticks", "", size)
                    .row(coefficients("A, mask", input.mask().iter().map(|&x| ticks(x))))
                    .row(coefficients("B, body", input.body().iter().map(|&x| ticks(x))))
                    .row(coefficients("S, secret", toy.ring_bits()))
                    .row(coefficients("B − A·S", before.iter().map(|&x| ticks(x))))
                    .row(coefficients("message", messages(&before))),
            )
            .check("the messages are those that were encrypted", messages(&before) == messages(&plaintext))
            .noise(NoiseGauge {
                what: "the first coefficient".into(),
                measured: to_f64(before[0].wrapping_sub(plaintext[0])),
                predicted: toy.fresh().std(),
                allowed: half_slot,
            }),
    );
    let mut table =
        polynomials("what the owner of the key finds in the rows of a GGSW ciphertext of 1, in ticks", "row", size);
    let mut row_noise: Vec<u64> = Vec::new();
    for (index, row) in rows.chunks_exact(2 * size).enumerate() {
        let phase = toy.phase(&GlweCiphertext::from_raw(toy.shape(), row)?);
        let (part, level) = (index / levels, index % levels + 1);
        let name = if part == 0 { format!("−S/16^{level}") } else { format!("1/16^{level}") };
        table = table.row(coefficients(&name, phase.iter().map(|&x| signed(x))));
        let unit = 1_u64 << (64 - 4 * level);
        let exact = |j: usize| match part {
            0 => (toy.ring_bits()[j] * unit).wrapping_neg(),
            _ => unit * u64::from(j == 0),
        };
        row_noise.extend(phase.iter().enumerate().map(|(j, &x)| x.wrapping_sub(exact(j))));
    }
    let largest =
        row_noise.iter().map(|&x| to_f64(x)).fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most });
    let lesson = lesson.step(
        LessonStep::new("An encrypted bit that can multiply")
            .say(format!(
                "A ciphertext that multiplies has to be made for it. It is called GGSW, and is {} ciphertexts, its rows: one for each of {levels} digits, of \
                 the mask and of the body. The row of level i of the body encrypts the bit times 1/16^i; that of the mask, the bit times −S/16^i. \
                 This one encrypts 1.",
                2 * levels
            ))
            .table(table)
            .noise(NoiseGauge { what: "the rows, the largest of all coefficients".into(), measured: largest, predicted: toy.fresh().std(), allowed: half_slot }),
    );
    let mut digits = vec![0; 2 * levels * size];
    for (part, digits) in input.data().chunks_exact(size).zip(digits.chunks_exact_mut(levels * size)) {
        decompose(part, gadget, digits);
    }
    let mut table = polynomials("digits", "of", size);
    for (index, digits) in digits.chunks_exact(size).enumerate() {
        let part = if index < levels { "A" } else { "B" };
        table = table.row(coefficients(&format!("{part}, level {}", index % levels + 1), digits));
    }
    let lesson = lesson.step(
        LessonStep::new("Digits of the other ciphertext")
            .say(
                "The polynomials A and B are cut into digits, as in the lesson `decomposition`: as many polynomials of small numbers as there are rows. \
                 Anybody can do this: no secret is needed.",
            )
            .table(table),
    );
    let mut by_hand = vec![0_u64; 2 * size];
    let mut table = LessonTable::new(
        "coefficient 0 of each product of digits and row, and the sum so far, in ticks",
        ["digits times row", "mask", "sum", "body", "sum"],
    );
    for (index, (digits, row)) in digits.chunks_exact(size).zip(rows.chunks_exact(2 * size)).enumerate() {
        let digits: Vec<i64> = digits.iter().map(|&digit| digit.into()).collect();
        let mut term = vec![0_u64; 2 * size];
        for (output, polynomial) in term.chunks_exact_mut(size).zip(row.chunks_exact(size)) {
            schoolbook_add(&digits, polynomial, output);
        }
        by_hand.iter_mut().zip(&term).for_each(|(sum, &x)| *sum = sum.wrapping_add(x));
        let part = if index < levels { "A" } else { "B" };
        let name = format!("{part}, level {}", index % levels + 1);
        let numbers = [term[0], by_hand[0], term[size], by_hand[size]].map(|x| ticks(x).to_string());
        table = table.row(std::iter::once(name).chain(numbers));
    }
    let lesson = lesson.step(
        LessonStep::new("Digits times rows")
            .say(
                "Now each polynomial of digits is multiplied with its row, a public polynomial of small numbers times a ciphertext, and all of that is \
                 added up. The program computes these products by a fast Fourier transform. Here they are done by hand as well, as at school:",
            )
            .table(table)
            .picture(picture(levels))
            .check("by hand and by the program, all coefficients are the same", by_hand == product.data()),
    );
    let worst = |phase: &[u64], bit: u64| {
        let errors = phase.iter().zip(&before).map(|(&x, &y)| to_f64(x.wrapping_sub(y.wrapping_mul(bit))));
        errors.fold(0.0, |most: f64, x| if x.abs() > most.abs() { x } else { most })
    };
    let gauge = |what: &str, phase: &[u64], bit: u64| NoiseGauge {
        what: what.into(),
        measured: worst(phase, bit),
        predicted: added.std(),
        allowed: half_slot,
    };
    let result = |name: &str, phase: &[u64]| {
        polynomials(name, "", size)
            .row(coefficients("phase", phase.iter().map(|&x| signed(x))))
            .row(coefficients("message", messages(phase)))
    };
    let lesson = lesson.step(
        LessonStep::new("The product")
            .say(
                "Why does it work? The digits of B meet the bit at each digit's worth: together that is bit·B. Those of A meet −bit·S: together −bit·A·S. \
                 The sum is bit·(B − A·S), the bit times the phase. So the messages come out times 1:",
            )
            .table(result("the product with a bit that is 1, in ticks", &after))
            .check("messages times 1 are the messages", messages(&after) == messages(&plaintext))
            .noise(gauge("the product, less that of the input, the largest of all coefficients", &after, 1))
            .say(
                "What the product adds has two sources: the noise of the rows, times digits, and what the digits rounded away. It does not depend on \
                 the messages, nor on the noise of the input. That makes long chains of products possible.",
            ),
    );
    let lesson = lesson.step(
        LessonStep::new("The same with 0")
            .say(
                "With a GGSW ciphertext of 0, which nobody can tell from one of 1, the same computation gives zeros and noise. Nothing of the input is \
                 left, not even its noise. (The prediction is that for a bit of 1: what digits round away then counts besides.)",
            )
            .table(result("the product with a bit that is 0, in ticks", &of_nothing))
            .check("messages times 0 are zeros", messages(&of_nothing).iter().all(|&message| message == 0))
            .noise(gauge("the product, the largest of all coefficients", &of_nothing, 0)),
    );
    Ok(lesson)
}

/// What is multiplied by what.
fn picture(levels: usize) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 322.0);
    let (high, top) = (26.0, 44.0);
    drawing.text("soft", Anchor::Middle, 13.0, [70.0, 24.0], "ciphertext");
    drawing.text("soft", Anchor::Middle, 13.0, [185.0, 24.0], "digits");
    drawing.text("soft", Anchor::Middle, 13.0, [358.0, 24.0], "rows of the GGSW ciphertext");
    for (part, name) in ["A", "B"].into_iter().enumerate() {
        let y = top + part as f64 * (levels as f64 * (high + 6.0) + 10.0);
        let middle = y + (levels as f64 * (high + 6.0) - 6.0) / 2.0;
        let class = ["blues", "oranges"][part];
        drawing.cell(class, [36.0, middle - 18.0], [68.0, 36.0], 16.0, name);
        for level in 0..levels {
            let y = y + level as f64 * (high + 6.0);
            drawing.line("line", [104.0, middle], [136.0, y + high / 2.0]);
            drawing.cell(class, [136.0, y], [98.0, high], 13.0, &format!("{name}: level {}", level + 1));
            drawing.text("", Anchor::Middle, 15.0, [246.0, y + high / 2.0 + 5.0], "×");
            let row = if part == 0 { format!("bit·(−S)/16^{}", level + 1) } else { format!("bit/16^{}", level + 1) };
            drawing.cell("greens", [258.0, y], [200.0, high], 13.0, &row);
        }
    }
    let y = top + 2.0 * (levels as f64 * (high + 6.0) + 10.0) + 4.0;
    drawing.arrow("ink", [358.0, y - 8.0], [358.0, y + 16.0]);
    drawing.text("soft", Anchor::Start, 13.0, [368.0, y + 9.0], "add up");
    drawing.cell("greens", [258.0, y + 20.0], [200.0, 30.0], 14.0, "bit·(B − A·S)");
    drawing.text("soft", Anchor::End, 13.0, [246.0, y + 40.0], "a ciphertext of");
    LessonPicture {
        name: "external-product",
        title: "The external product: digits of a ciphertext times the rows of another, added up.".into(),
        drawing,
        plain: Vec::new(),
    }
}
