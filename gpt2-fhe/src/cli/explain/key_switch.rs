//! Key switching: a ciphertext under one key becomes one under another, without decrypting.

use tfhe_core::decomposition::decompose;
use tfhe_core::key_graph::Node::{Lookup, Small};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::torus::{decode, encode, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use super::numbers::{signed, ticks};
use super::toys::{OF_8, Toy};

/// Bits of a message.
const MESSAGE_BITS: u32 = 3;
/// What is encrypted.
const MESSAGE: i64 = 3;

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let toy = Toy::new(OF_8, seed)?;
    let (from, to) = (toy.size(), toy.dimension().get());
    let mut plaintext = vec![0; from];
    plaintext[0] = encode(MESSAGE, MESSAGE_BITS);
    let input = toy.encrypt("key switch", &plaintext)?.sample_extract(0);
    let before = toy.phase_of(Lookup, &input);
    let (gadget, rows) = (toy.keyswitch_gadget()?, toy.keyswitch_rows()?);
    let levels = gadget.levels();
    let output = toy.keyswitch(rows.clone())?.keyswitch(std::slice::from_ref(&input)).swap_remove(0);
    let after = toy.phase_of(Small, &output);
    // [ℓ][n']
    let mut digits = vec![0; levels * from];
    decompose(input.mask(), gadget, &mut digits);

    let lesson = Lesson::new(
        "key-switch",
        "Key switching",
        "A ciphertext under a long key becomes one under a short key, without decrypting.",
    )
    .of_chapter("Key switching and packing");
    let lesson = lesson.step(
        LessonStep::new("Two keys")
            .say(format!(
                "The ciphertext is under the long key, of {from} bits. It is wanted under the short key, of {to}, since a blind rotation takes a step for each \
                 bit. One cannot decrypt it in between: whoever computes has no key."
            ))
            .table(numbers("the ciphertext, in ticks, and the long key", &input, toy.ring_bits()))
            .formula([format!("phase {}, message {}", ticks(before), decode(before, MESSAGE_BITS))])
            .check("the message is the one that was encrypted", decode(before, MESSAGE_BITS) == decode(plaintext[0], MESSAGE_BITS)),
    );
    let row_of = |i: usize, level: usize| {
        let start = (i * levels + level) * (to + 1);
        LweCiphertext::from_data(rows[start..start + to + 1].to_vec())
    };
    let columns = std::iter::once("row".to_owned())
        .chain((1..=to).map(|i| format!("a{i}")))
        .chain(["b", "phase", "less noise"].map(String::from));
    let mut table =
        LessonTable::new("the key-switching key: rows, and their phases under the short key, in ticks", columns);
    let mut largest = 0.0_f64;
    for i in 0..from {
        for level in 0..levels {
            let row = row_of(i, level);
            let (phase, exact) = (toy.phase_of(Small, &row), toy.ring_bits()[i] << (64 - 4 * (level + 1)));
            let error = to_f64(phase.wrapping_sub(exact));
            largest = if error.abs() > largest.abs() { error } else { largest };
            let name = format!("s{}/16^{}", i + 1, level + 1);
            let numbers = row.data().iter().map(|&x| ticks(x)).chain([signed(phase), signed(exact)]);
            table = table.row(std::iter::once(name).chain(numbers.map(|x| x.to_string())));
        }
    }
    let lesson = lesson.step(
        LessonStep::new("The key-switching key")
            .say(
                "The owner of both keys encrypts the bits of the long key under the short one, once, and gives these ciphertexts away: for each bit one for each \
                 digit's place, of the bit times 1/16, 1/256 and 1/4096. They are as good as random to everybody else.",
            )
            .table(table)
            .formula([format!("the largest noise of all rows: {} ticks", (largest * 65_536.0).round())])
            .check("no row is off by more than three ticks: one of noise, the others of rounding", largest.abs() * 65_536.0 < 4.0),
    );
    let mut table =
        LessonTable::new("the mask in digits", ["number", "in ticks", "digit 1", "digit 2", "digit 3", "left"]);
    for (i, &a) in input.mask().iter().enumerate() {
        let own: Vec<i64> = (0..levels).map(|level| digits[level * from + i].into()).collect();
        let sum: i64 = own.iter().zip(1..).map(|(digit, level)| digit * (65_536 >> (4 * level))).sum();
        let cells = std::iter::once(signed(a))
            .chain(own)
            .chain([super::numbers::signed(a.wrapping_sub(super::numbers::of_ticks(sum)))]);
        table = table.row(std::iter::once(format!("a{}", i + 1)).chain(cells.map(|x| x.to_string())));
    }
    let lesson = lesson.step(
        LessonStep::new("The mask in digits")
            .say(
                "To decrypt, one would take Σ a_i·s_i off b. The bits s_i are there, encrypted; but multiplying their noise by numbers as large as a_i would drown \
                 everything. So each a_i is cut into digits first, as in the lesson `decomposition`.",
            )
            .table(table),
    );
    let mut by_hand = vec![0_u64; to + 1];
    by_hand[to] = input.body();
    let columns =
        std::iter::once("after the rows of".to_owned()).chain((1..=to).map(|i| format!("a{i}"))).chain(["b".into()]);
    let mut table = LessonTable::new("what is left of (0, …, 0, b), in ticks", columns);
    table = table.row(std::iter::once("none".to_owned()).chain(by_hand.iter().map(|&x| ticks(x).to_string())));
    for i in 0..from {
        for level in 0..levels {
            let digit = i64::from(digits[level * from + i]) as u64;
            by_hand
                .iter_mut()
                .zip(row_of(i, level).data())
                .for_each(|(sum, &x)| *sum = sum.wrapping_sub(digit.wrapping_mul(x)));
        }
        let numbers = by_hand.iter().map(|&x| ticks(x).to_string());
        table = table.row(std::iter::once(format!("s{}", i + 1)).chain(numbers));
    }
    let lesson = lesson.step(
        LessonStep::new("Digits times rows, taken off")
            .say(
                "Begin with (0, …, 0, b): that is b in the open. Take off each digit times its row. With every row the encrypted a_i·s_i goes off, and what is left \
                 is a ciphertext under the short key.",
            )
            .picture(picture(from, to))
            .table(table)
            .check("this is what the program computes", by_hand == output.data()),
    );
    Ok(lesson.step(
        LessonStep::new("Under the short key")
            .table(numbers("the result, in ticks, and the short key", &output, toy.small_bits()))
            .formula([
                format!("phase before: {}", ticks(before)),
                format!("phase after:  {}, message {}", ticks(after), decode(after, MESSAGE_BITS)),
            ])
            .check("the message is the same", decode(after, MESSAGE_BITS) == decode(before, MESSAGE_BITS))
            .noise(NoiseGauge {
                what: "the result, less that of the input".into(),
                measured: to_f64(after.wrapping_sub(before)),
                predicted: toy.keyswitch_noise()?.std(),
                allowed: 1.0 / 16.0,
            })
            .say(
                "The phase has changed a little: rows have noise, and digits round. The key is short now. In real sets what is under the short key has \
                 far more noise than what is under the long one: that is what keeps a short key safe.",
            ),
    ))
}

/// A ciphertext above its key.
fn numbers(caption: &str, ciphertext: &LweCiphertext, bits: &[u64]) -> LessonTable {
    let columns = std::iter::once(String::new()).chain((1..=bits.len()).map(|i| format!("a{i}"))).chain(["b".into()]);
    LessonTable::new(caption, columns)
        .row(std::iter::once("ciphertext".to_owned()).chain(ciphertext.data().iter().map(|&x| ticks(x).to_string())))
        .row(std::iter::once("secret bit".to_owned()).chain(bits.iter().map(u64::to_string)))
}

fn picture(from: usize, to: usize) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 250.0);
    let boxes = |drawing: &mut Drawing, class: &str, count: usize, [x, y]: [f64; 2]| {
        for i in 0..count {
            drawing.rectangle(class, [x + 17.0 * i as f64, y], [15.0, 22.0]);
        }
    };
    drawing.text("soft", Anchor::Start, 13.0, [24.0, 24.0], &format!("under the long key: {from} masks, b"));
    boxes(&mut drawing, "blues", from, [24.0, 32.0]);
    boxes(&mut drawing, "greens", 1, [24.0 + 17.0 * from as f64 + 8.0, 32.0]);
    drawing.arrow("to-blue", [60.0, 58.0], [60.0, 88.0]);
    drawing.text("soft", Anchor::Start, 13.0, [70.0, 80.0], "cut into digits");
    for level in 0..3 {
        boxes(&mut drawing, "blues", from, [24.0, 94.0 + 25.0 * f64::from(level)]);
    }
    drawing.text("", Anchor::Middle, 18.0, [190.0, 136.0], "×");
    for level in 0..3 {
        for i in 0..2 {
            boxes(&mut drawing, "oranges", to + 1, [216.0 + 96.0 * f64::from(i), 94.0 + 25.0 * f64::from(level)]);
        }
        drawing.text("soft", Anchor::Start, 16.0, [408.0, 110.0 + 25.0 * f64::from(level)], "…");
    }
    drawing.text("soft", Anchor::Start, 13.0, [216.0, 84.0], "rows: encrypted bits");
    drawing.arrow("to-green", [24.0 + 17.0 * from as f64 + 24.0, 46.0], [440.0, 46.0]);
    drawing.line("to-green", [440.0, 46.0], [440.0, 204.0]);
    drawing.arrow("to-green", [440.0, 204.0], [330.0, 204.0]);
    drawing.arrow("to-orange", [262.0, 172.0], [262.0, 190.0]);
    drawing.text("soft", Anchor::Start, 13.0, [272.0, 186.0], "taken off b");
    boxes(&mut drawing, "oranges", to, [216.0, 194.0]);
    boxes(&mut drawing, "greens", 1, [216.0 + 17.0 * to as f64 + 8.0, 194.0]);
    drawing.text("soft", Anchor::Start, 13.0, [216.0, 236.0], &format!("under the short key: {to} masks, b"));
    LessonPicture {
        name: "key-switch",
        title: "A key switch: digits of the mask times encryptions of the old key's bits under the new key, taken off the body.".into(),
        drawing,
        plain: Vec::new(),
    }
}
