//! Encryption: a message on a circle, hidden in a sum of random numbers.

use tfhe_core::key_graph::Node::Lookup;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::torus::{decode, encode, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use super::numbers::{TURN, fraction, signed_fraction, ticks};
use super::toys::{LOUD, Toy};

/// Bits of a message: 8 of them on a turn.
const MESSAGE_BITS: u32 = 3;
/// Those that are encrypted.
const MESSAGES: [i64; 2] = [3, 2];
/// Half of the distance between two messages: noise that is larger leads to another one.
const HALF_SLOT: f64 = 1.0 / 16.0;

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let toy = Toy::new(LOUD, seed)?;
    let encrypt = |message: i64| -> anyhow::Result<LweCiphertext> {
        let mut plaintext = vec![0; toy.size()];
        plaintext[0] = encode(message, MESSAGE_BITS);
        Ok(toy.encrypt("encryption", &plaintext)?.sample_extract(0))
    };
    let [first, second] = [encrypt(MESSAGES[0])?, encrypt(MESSAGES[1])?];
    let mut sum = first.clone();
    sum.add_scaled(&second, 1);
    let bits = toy.ring_bits();
    let noise = |ciphertext: &LweCiphertext, message: i64| {
        toy.phase_of(Lookup, ciphertext).wrapping_sub(encode(message, MESSAGE_BITS))
    };
    let (message, error) = (MESSAGES[0], noise(&first, MESSAGES[0]));
    let plaintext = encode(message, MESSAGE_BITS);
    let phase = toy.phase_of(Lookup, &first);
    let gauge = |what: &str, error: u64, variance: tfhe_core::variance::Variance| NoiseGauge {
        what: what.into(),
        measured: to_f64(error),
        predicted: variance.std(),
        allowed: HALF_SLOT,
    };

    let lesson = Lesson::new(
        "encryption",
        "Encryption",
        "One small number is encrypted under a key of 8 bits, decrypted again, and added to another without decrypting.",
    )
    .of_chapter("Torus and LWE");
    let lesson = lesson.step(
        LessonStep::new("Numbers on a circle")
            .say(
                "All numbers here are places on a circle, which is called the torus. A place is a part of a turn, from 0 to 1; after 1 comes 0 \
                 again. So 0.75 + 0.5 is 0.25. In these lessons a turn has 65,536 ticks, and every number is a whole number of ticks: you can \
                 do each sum again by hand, and leave off whole turns. (The real program has 2^64 ticks.)",
            )
            .say(
                "A message is one of the numbers 0 to 7. It gets a place: message m is at m/8 of a turn, so the eight messages are 8,192 ticks \
                 apart. The picture shows the circle with the eight places, and a number that is near one of them.",
            )
            .picture(torus(phase, 3.0 * toy.fresh().std()))
            .formula([format!("message {message}:  {}", fraction(plaintext))]),
    );
    let lesson = lesson.step(
        LessonStep::new("The key")
            .say(
                "The key is a list of bits, drawn at random. Only its owner knows it. This one has 8 bits, which anybody finds by trying all 256 \
                 keys: toy keys protect nothing. Real keys have hundreds of bits.",
            )
            .table(of_bits("the secret key s", bits)),
    );
    let lesson =
        lesson.step(sum_of_masks(&first, bits, plaintext, error).picture(picture(&first, bits, plaintext, error)));
    let without =
        first.mask().iter().zip(bits).fold(first.body(), |left, (&a, &s)| left.wrapping_sub(a.wrapping_mul(s)));
    let lesson = lesson.step(
        LessonStep::new("Decryption")
            .say(
                "Who has the key adds the same numbers of the mask again, and takes the sum away from b. What is left is called the phase: the \
                 message and the noise. The noise goes away by rounding to the nearest of the eight places.",
            )
            .formula([
                format!("phase = b − sum = {} − {} = {}", ticks(first.body()), ticks(first.body().wrapping_sub(phase)), ticks(phase)),
                format!("nearest place: {}, message {}", ticks(encode(decode(phase, MESSAGE_BITS), MESSAGE_BITS)), decode(phase, MESSAGE_BITS)),
            ])
            .check("the phase is what the program computes when it decrypts", without == phase)
            .check("the message is the one that was encrypted", decode(phase, MESSAGE_BITS) == decode(plaintext, MESSAGE_BITS))
            .say(
                "Noise is needed: without it, some sums would give away the key by school algebra. But there must not be too much. The line \
                 below has three numbers. What the noise is; how large it should be, as a standard deviation, σ (about two thirds of all \
                 noises are smaller than that); and from where on the message would be read wrongly, which is half the way to the next \
                 one. Each character of the bar is a factor of two.",
            )
            .noise(gauge("b", error, toy.fresh())),
    );
    let mut wrong = bits.to_vec();
    wrong[0] ^= 1;
    let guessed =
        first.mask().iter().zip(&wrong).fold(first.body(), |left, (&a, &s)| left.wrapping_sub(a.wrapping_mul(s)));
    let lesson = lesson.step(
        LessonStep::new("Without the key")
            .say(
                "Somebody who does not know the key sees the mask and b. Each is a random number, and so is every sum of them. To see what a \
                 wrong key gives, let us turn the first bit of the key over and decrypt:",
            )
            .formula([format!(
                "phase with the wrong key: {}, message {}",
                fraction(guessed),
                decode(guessed, MESSAGE_BITS).rem_euclid(1 << MESSAGE_BITS)
            )])
            .say(
                "That is off by the first number of the mask, which can be anything. Nothing in it says that the key was wrong. How many bits and \
                 how much noise it takes so that nobody finds the key is told in the chapter on security.",
            )
            .check(
                "the two phases differ by the first number of the mask",
                [phase.wrapping_sub(guessed), guessed.wrapping_sub(phase)].contains(&first.mask()[0]),
            ),
    );
    let (total, sum_phase) = (MESSAGES[0] + MESSAGES[1], toy.phase_of(Lookup, &sum));
    let lesson = lesson.step(
        LessonStep::new("Adding without decrypting")
            .say(format!(
                "Here is why encrypted numbers can be computed with. Message {} is encrypted under the same key, with another mask. Add the two \
                 ciphertexts, number by number. The result is a ciphertext of the sum: masks add up to masks, messages to messages, and \
                 noise to noise.",
                MESSAGES[1]
            ))
            .table(sum_table(&[("first", &first), ("second", &second), ("sum", &sum)]))
            .formula([format!(
                "phase of the sum: {}, message {}",
                fraction(sum_phase),
                decode(sum_phase, MESSAGE_BITS).rem_euclid(1 << MESSAGE_BITS)
            )])
            .check(
                format!("it decrypts to {} + {} = {total}", MESSAGES[0], MESSAGES[1]),
                decode(sum_phase.wrapping_sub(encode(total, MESSAGE_BITS)), MESSAGE_BITS) == 0,
            )
            .check("the noise of the sum is the sum of the noises", {
                noise(&sum, total) == error.wrapping_add(noise(&second, MESSAGES[1]))
            })
            .noise(gauge("the sum", noise(&sum, total), toy.fresh().repeated(2.0)))
            .say(
                "Noise that is independent adds up like the sides of a right angle: two of them have √2 times the standard deviation. A few \
                 sums do no harm. But noise only grows, until a bootstrapping makes it small again: the lesson `lookup` shows how.",
            ),
    );
    Ok(lesson)
}

fn of_bits(caption: &str, bits: &[u64]) -> LessonTable {
    let names = std::iter::once(String::new()).chain((1..=bits.len()).map(|i| format!("s{i}")));
    let cells = std::iter::once("bit".to_owned()).chain(bits.iter().map(u64::to_string));
    LessonTable::new(caption, names).row(cells)
}

/// How b comes about, line by line.
fn sum_of_masks(ciphertext: &LweCiphertext, bits: &[u64], plaintext: u64, error: u64) -> LessonStep {
    let columns = ["i", "mask a_i (public)", "bit s_i (secret)", "a_i · s_i", "sum so far"];
    let mut table = LessonTable::new("the sum of those numbers of the mask whose bit is 1, in ticks", columns);
    let mut sum = 0_u64;
    for (i, (&a, &s)) in (1..).zip(ciphertext.mask().iter().zip(bits)) {
        let product = a.wrapping_mul(s);
        sum = sum.wrapping_add(product);
        table = table.row([i, ticks(a), s as i64, ticks(product), ticks(sum)].map(|number| number.to_string()));
        table = if s == 1 { table.mark(3) } else { table };
    }
    LessonStep::new("The mask and the sum")
        .say(
            "For each bit of the key a random place on the circle is drawn: the mask. It is public. Now the owner of the key adds those numbers \
             of the mask whose bit is 1. (Sums above 65,536 lose a turn.)",
        )
        .table(table)
        .say(
            "To this sum the message is added, and a small random number, the noise. The result is called b, the body. Mask and body together \
             are the ciphertext.",
        )
        .formula([
            format!("sum of masks  {:>6}", ticks(sum)),
            format!("message       {:>6}", ticks(plaintext)),
            format!("noise         {:>6}   ({})", super::numbers::signed(error), signed_fraction(error)),
            format!("b             {:>6}   (less whole turns of {TURN})", ticks(ciphertext.body())),
        ])
        .check(
            "the three add up to b",
            sum.wrapping_add(plaintext).wrapping_add(error) == ciphertext.body(),
        )
        .say(
            "(The program encrypts many numbers at once, as one polynomial. This ciphertext is the first of 8, taken out as the lesson \
             `sample-extraction` shows.)",
        )
}

fn sum_table(ciphertexts: &[(&str, &LweCiphertext)]) -> LessonTable {
    let masks = ciphertexts[0].1.dimension();
    let columns = std::iter::once(String::new()).chain((1..=masks).map(|i| format!("a{i}"))).chain(["b".into()]);
    let row = |name: &str, ciphertext: &LweCiphertext| {
        let numbers = ciphertext.data().iter().map(|&x| ticks(x).to_string());
        std::iter::once(name.to_owned()).chain(numbers).collect::<Vec<_>>()
    };
    let table = LessonTable::new("ciphertexts, in ticks", columns);
    ciphertexts.iter().fold(table, |table, (name, ciphertext)| table.row(row(name, ciphertext)))
}

/// A circle with places for messages, a phase near one of them, and so much noise to both sides.
fn torus(phase: u64, noise: f64) -> LessonPicture {
    let message = decode(phase, MESSAGE_BITS).rem_euclid(1 << MESSAGE_BITS);
    let mut drawing = Drawing::new(340.0, 330.0);
    let middle = [170.0, 165.0];
    let place = |turns: f64, radius: f64| {
        let angle = std::f64::consts::TAU * turns;
        [middle[0] + radius * angle.cos(), middle[1] - radius * angle.sin()]
    };
    let arc = |from: f64, to: f64, radius: f64| -> Vec<[f64; 2]> {
        (0..=40).map(|i| place(from + (to - from) * f64::from(i) / 40.0, radius)).collect()
    };
    let center = message as f64 / 8.0;
    // What is read as this message, and within it what noise makes of it.
    let slice = |half: f64, [inner, outer]: [f64; 2]| {
        let mut points = arc(center - half, center + half, outer);
        points.extend(arc(center + half, center - half, inner));
        points
    };
    drawing.area("blues", &slice(HALF_SLOT, [88.0, 122.0]));
    drawing.area("oranges", &slice(noise, [88.0, 122.0]));
    drawing.path("ink", &arc(0.0, 1.0, 105.0));
    for slot in 0..8 {
        let turns = f64::from(slot) / 8.0;
        drawing.line("thin", place(turns + HALF_SLOT, 97.0), place(turns + HALF_SLOT, 113.0));
        drawing.circle("tip", place(turns, 105.0), 4.0);
        let [x, y] = place(turns, 140.0);
        drawing.text("", Anchor::Middle, 15.0, [x, y + 5.0], &slot.to_string());
    }
    let turns = to_f64(phase);
    drawing.line("to-red", middle, place(turns, 105.0));
    drawing.circle("red", place(turns, 105.0), 4.5);
    let note = |drawing: &mut Drawing, y: f64, text: &str| {
        drawing.text("soft", Anchor::Middle, 13.0, [middle[0], y], text);
    };
    note(&mut drawing, 190.0, "one turn: 0 to 1");
    note(&mut drawing, 208.0, "message m at m/8");
    LessonPicture {
        name: "torus",
        title: format!(
            "The torus: a turn with places for 8 messages, counted against the clock from the right. The red hand is a phase, blue is what is \
             read as {message}, orange where noise of up to three standard deviations takes it."
        ),
        drawing,
        plain: ruler(phase, message),
    }
}

/// The circle, unrolled.
fn ruler(phase: u64, message: i64) -> Vec<String> {
    let place = |ticks: i64| (ticks * 64 / TURN) as usize;
    let mut marks = [' '; 65];
    marks[place(ticks(phase))] = '▲';
    let line: String = (0..=64).map(|i| if i % 8 == 0 { '┼' } else { '─' }).collect();
    let numbers: String = (0..=8).map(|m| format!("{:<8}", m % 8)).collect();
    vec![
        numbers.trim_end().into(),
        line,
        format!("{} phase, read as {message}", marks.iter().collect::<String>().trim_end()),
    ]
}

/// The numbers that b is the sum of, as boxes.
fn picture(ciphertext: &LweCiphertext, bits: &[u64], plaintext: u64, error: u64) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 250.0);
    let width = 54.0;
    // The line that joins them goes to where the sum is.
    let mut joined = [72.0_f64; 2];
    for (i, (&a, &s)) in ciphertext.mask().iter().zip(bits).enumerate() {
        let x = 24.0 + width * i as f64;
        drawing.cell(if s == 1 { "blues" } else { "box" }, [x, 30.0], [width - 6.0, 26.0], 13.0, &ticks(a).to_string());
        drawing.text(if s == 1 { "blue" } else { "soft" }, Anchor::Middle, 14.0, [x + 24.0, 76.0], &format!("× {s}"));
        if s == 1 {
            drawing.line("to-blue", [x + 24.0, 84.0], [x + 24.0, 100.0]);
            joined = [joined[0].min(x + 24.0), joined[1].max(x + 24.0)];
        }
    }
    drawing.text("soft", Anchor::Start, 13.0, [24.0, 20.0], "mask, public");
    drawing.text("soft", Anchor::End, 13.0, [450.0, 20.0], "key, secret: 0 or 1");
    drawing.line("to-blue", [joined[0], 100.0], [joined[1], 100.0]);
    drawing.arrow("to-blue", [72.0, 100.0], [72.0, 136.0]);
    let sum = ciphertext.body().wrapping_sub(plaintext).wrapping_sub(error);
    let parts = [
        ("blues", "sum of masks", ticks(sum).to_string()),
        ("greens", "message", ticks(plaintext).to_string()),
        ("oranges", "noise", super::numbers::signed(error).to_string()),
    ];
    for (i, (class, name, number)) in parts.iter().enumerate() {
        let x = 24.0 + 112.0 * i as f64;
        drawing.cell(class, [x, 140.0], [96.0, 34.0], 16.0, number);
        drawing.text("soft", Anchor::Middle, 13.0, [x + 48.0, 192.0], name);
        drawing.text("", Anchor::Middle, 16.0, [x + 104.0, 162.0], ["+", "+", "="][i]);
    }
    drawing.cell("box", [360.0, 140.0], [96.0, 34.0], 16.0, &ticks(ciphertext.body()).to_string());
    drawing.text("", Anchor::Middle, 13.0, [408.0, 192.0], "b, public");
    drawing.text("soft", Anchor::Start, 13.0, [24.0, 226.0], "All in ticks of 1/65536 turn; whole turns do not count.");
    LessonPicture {
        name: "encryption",
        title: "How b is made: the numbers of the mask whose bit is 1, the message, and noise.".into(),
        drawing,
        plain: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::of_ticks;
    use super::*;

    #[test]
    fn the_numbers_of_the_lesson_add_up() {
        let ciphertext = LweCiphertext::from_data([100, 200, 700].map(of_ticks).to_vec());
        let step = sum_of_masks(&ciphertext, &[0, 1], of_ticks(499), of_ticks(1));
        assert!(Lesson::new("a", "A", "").step(step).broken().is_empty());
        let step = sum_of_masks(&ciphertext, &[1, 1], of_ticks(499), of_ticks(1));
        assert_eq!(Lesson::new("a", "A", "").step(step).broken(), ["the three add up to b"]);
    }
}
