//! Decomposition: a large number as a few small digits.

use tfhe_core::decomposition::decompose;
use tfhe_core::params::{Gadget, Precision};
use tfhe_core::random::SampleSeed;
use tfhe_core::torus::{self, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use super::numbers::{BITS, TURN, fraction, of_ticks, signed, signed_fraction, ticks};

/// Bits of a digit.
const BASE_LOG: u32 = 4;
/// Digits.
const LEVELS: usize = 3;
/// Elements that are taken apart beside the first.
const OTHERS: usize = 5;

/// What a digit of a level is worth, in ticks.
fn weight(level: usize) -> i64 {
    TURN >> (BASE_LOG as usize * (level + 1))
}

/// The digits of an element.
fn digits(x: u64) -> anyhow::Result<[i32; LEVELS]> {
    let mut digits = [0; LEVELS];
    decompose(&[x], Gadget::new(BASE_LOG, LEVELS as u32, Precision::Single)?, &mut digits);
    Ok(digits)
}

/// The sum of digits times weights.
fn recomposed(digits: [i32; LEVELS]) -> i64 {
    digits.iter().enumerate().map(|(level, &digit)| i64::from(digit) * weight(level)).sum()
}

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let mut samples = SampleSeed::from_number(seed).stream(0);
    let mut draw = || torus::round(samples.uniform(), BITS);
    let x = draw();
    let others: Vec<u64> = (0..OTHERS).map(|_| draw()).collect();
    let cut = digits(x)?;
    let error = x.wrapping_sub(of_ticks(recomposed(cut)));
    let half = weight(LEVELS - 1) / 2;
    let noise = 3;
    let squares: f64 = cut.iter().map(|&digit| f64::from(digit).powi(2)).sum();

    let lesson = Lesson::new(
        "decomposition",
        "Decomposition",
        "A number is cut into small digits, so that multiplying by it does not multiply noise by a large number.",
    )
    .of_chapter("Gadgets and the external product");
    let lesson = lesson.step(
        LessonStep::new("Why large factors do harm")
            .say(format!(
                "A ciphertext can be multiplied by a whole number: add it to itself so many times. Its noise is multiplied as well. Say the noise is \
                 {noise} ticks, and the factor is a number that is anywhere on the circle, as the numbers of a mask are:"
            ))
            .formula([
                format!("factor  {}", fraction(x)),
                format!("noise   {noise} · {} = {} ticks, and a turn has {TURN}", ticks(x), noise * ticks(x)),
            ])
            .say(
                "Nothing is left of any message after that. So one never multiplies by a large number at once. It is written with small digits, \
                 and there is a ciphertext for each digit's place.",
            ),
    );
    let mut table = LessonTable::new(
        "from the first digit to the last",
        ["level", "one is worth", "left before", "digit", "digit · worth", "left after"],
    );
    let mut left = signed(x);
    for (level, &digit) in cut.iter().enumerate() {
        let part = i64::from(digit) * weight(level);
        table = table
            .row(
                [level as i64 + 1, weight(level), left, digit.into(), part, left - part]
                    .map(|number| number.to_string()),
            )
            .mark(3);
        left -= part;
    }
    let lesson = lesson.step(
        LessonStep::new("Digits of both signs")
            .say(format!(
                "Here are {LEVELS} digits to the base 16. One of the first level is worth 1/16 of a turn, {} ticks; of the second 1/256, {}; of the third \
                 1/4096, {}. Digits go from −8 to 8 instead of 0 to 15: that keeps them small, and as often negative as positive.",
                weight(0),
                weight(1),
                weight(2)
            ))
            .say(format!("The number is {}, that is {} if it may be negative.", ticks(x), signed(x)))
            .table(table)
            .picture(picture(x, cut))
            .formula([
                format!(
                    "{} = {}",
                    (0..LEVELS).map(|level| format!("({}) · {}", cut[level], weight(level))).collect::<Vec<_>>().join(" + "),
                    recomposed(cut)
                ),
                format!("rounded away: {}", signed_fraction(error)),
            ])
            .check("each digit is between −8 and 8", cut.iter().all(|digit| digit.abs() <= 1 << (BASE_LOG - 1)))
            .check(
                format!("what is rounded away is at most half of the last digit's worth, {half} ticks"),
                signed(error).abs() <= half,
            )
            .noise(NoiseGauge {
                what: "rounding".into(),
                measured: to_f64(error),
                // Uniform between plus and minus half of the last weight.
                predicted: (weight(LEVELS - 1) as f64 / TURN as f64) / 12f64.sqrt(),
                allowed: half as f64 / TURN as f64,
            }),
    );
    let mut table =
        LessonTable::new("more numbers, in ticks", ["number", "digit 1", "digit 2", "digit 3", "sum", "rounded away"]);
    let mut all_good = true;
    for &other in &others {
        let cut = digits(other)?;
        let error = signed(other.wrapping_sub(of_ticks(recomposed(cut))));
        all_good &= error.abs() <= half;
        let [one, two, three] = cut.map(i64::from);
        table = table.row([signed(other), one, two, three, recomposed(cut), error].map(|number| number.to_string()));
    }
    let lesson = lesson.step(
        LessonStep::new("More of them")
            .say(
                "Do one by hand: begin at the end. Round the number to a multiple of 16 ticks and divide by 16. The remainder modulo 16, between −8 and 8, \
                 is the last digit; take it away, divide by 16, and go on. A remainder of exactly 8 can be 8 or −8: which one depends on the \
                 digit before, so that both come equally often. Digits that lean to one side would add up to an error that does not \
                 average out.",
            )
            .table(table)
            .check("all of them are rounded by no more than half of the last digit's worth", all_good),
    );
    let lesson = lesson.step(
        LessonStep::new("What it is good for")
            .say(
                "Let there be three ciphertexts, each with noise of its own: of a message times 1/16, times 1/256, times 1/4096. (That is called a \
                 gadget.) Multiply each by its digit and add up. The message is multiplied by the number, up to what was rounded. Noise is \
                 multiplied by digits only:",
            )
            .formula([
                format!("at once:    noise times {}", signed(x).abs()),
                format!(
                    "in digits:  noise times √({}) = {:.1}",
                    cut.map(|digit| if digit < 0 { format!("({digit})²") } else { format!("{digit}²") }).join(" + "),
                    squares.sqrt()
                ),
            ])
            .check("digits multiply noise by less than the number does", squares.sqrt() < signed(x).abs() as f64 || signed(x).abs() < 16)
            .say(
                "More digits round less away, and take more work; larger digits need fewer of them, and multiply noise by more. Every parameter set \
                 of this project has such a choice for each operation. The next lesson multiplies with it.",
            ),
    );
    Ok(lesson)
}

/// A number on rulers that each show a sixteenth of the one above.
fn picture(x: u64, digits: [i32; LEVELS]) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 262.0);
    let (left, width) = (24.0, 432.0);
    let cell = width / 16.0;
    let mut rest = signed(x);
    let mut bounds: Option<[f64; 2]> = None;
    for (level, &digit) in digits.iter().enumerate() {
        let y = 26.0 + 76.0 * level as f64;
        if let Some([from, to]) = bounds {
            drawing.line("line", [from, y - 42.0], [left, y]);
            drawing.line("line", [to, y - 42.0], [left + width, y]);
        }
        // Places of digits from −8 to 8: each is in the middle of a cell, those at the ends have half of one.
        let place = |digit: f64| left + width / 2.0 + cell * digit;
        drawing.rectangle("box", [left, y], [width, 34.0]);
        let from = (place(f64::from(digit)) - cell / 2.0).max(left);
        let to = (place(f64::from(digit)) + cell / 2.0).min(left + width);
        drawing.rectangle("blues", [from, y], [to - from, 34.0]);
        for number in -7..=7 {
            let class = if number == digit { "blue" } else { "soft" };
            drawing.text(class, Anchor::Middle, 13.0, [place(number.into()), y + 22.0], &number.to_string());
        }
        let exact = place(rest as f64 / weight(level) as f64);
        drawing.line("to-red", [exact, y - 5.0], [exact, y + 8.0]);
        let name = format!("level {}: one is 1/{} turn", level + 1, TURN / weight(level));
        drawing.rectangle("paper", [left, y - 20.0], [170.0, 15.0]);
        drawing.text("soft", Anchor::Start, 12.0, [left, y - 8.0], &name);
        rest -= i64::from(digit) * weight(level);
        bounds = Some([from, to]);
    }
    let answer = format!("digits {}", digits.map(|digit| digit.to_string()).join(", "));
    drawing.text("", Anchor::Start, 14.0, [left, 244.0], &answer);
    drawing.text("red", Anchor::End, 13.0, [left + width, 244.0], "red: the number");
    LessonPicture {
        name: "decomposition",
        title: "The digits of a number: each ruler shows what the digit above it stands for, sixteen times larger."
            .into(),
        drawing,
        plain: Vec::new(),
    }
}
