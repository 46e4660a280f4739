//! A lookup, from encryption to the result: what grows, and what makes it small again.

use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Node::{Lookup, Small};
use tfhe_core::noise;
use tfhe_core::programmable_bootstrap::half_slot;
use tfhe_core::torus::{decode, encode, to_f64};
use tfhe_core::variance::Variance;

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use super::numbers::{coefficients, fraction, polynomials, ticks};
use super::rotation::{MESSAGE_BITS, Rotation, TABLE, table};
use super::toys::{OF_16, Toy};

/// What is added up.
const TERMS: [i64; 2] = [1, 2];
/// Their sum, at which the table is read.
const SUM: i64 = TERMS[0] + TERMS[1];
/// Bits of a term: at first messages are 1/32 turn apart.
const FINE_BITS: u32 = 5;
/// By how much they are multiplied, so that they are 1/8 apart.
const WEIGHT: i64 = 4;

/// The noise after an operation.
struct Stage {
    name: &'static str,
    gauge: NoiseGauge,
}

impl Stage {
    fn new(name: &'static str, what: &str, error: u64, (predicted, allowed): (Variance, f64)) -> Self {
        let gauge = NoiseGauge { what: what.into(), measured: to_f64(error), predicted: predicted.std(), allowed };
        Self { name, gauge }
    }
}

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let toy = Toy::new(OF_16, seed)?;
    let (size, turn) = (toy.size(), 2 * toy.size());
    let at_front = |message: i64| {
        let mut plaintext = vec![0; size];
        plaintext[0] = encode(message, FINE_BITS);
        plaintext
    };
    let [first, second] =
        [toy.encrypt("lookup 1", &at_front(TERMS[0]))?, toy.encrypt("lookup 2", &at_front(TERMS[1]))?];
    let place = toy.small_bits().iter().position(|&bit| bit == 1).unwrap_or_default();
    let ggsw_rows = toy.ggsw_rows()?;
    let ggsw = toy.ggsw(&ggsw_rows[place])?;
    let product = ggsw.external_product(toy.fft(), &second, &mut ggsw.scratch(toy.fft()));
    let mut sum = product.clone();
    sum.add_scaled(&first, 1);
    let mut weighed = GlweCiphertext::zero(toy.shape());
    weighed.add_scaled(&sum, WEIGHT);
    let mut sample = weighed.sample_extract(0);
    sample.add_plaintext(half_slot(MESSAGE_BITS - 1));
    let switched = toy.keyswitch(toy.keyswitch_rows()?)?.keyswitch(std::slice::from_ref(&sample)).swap_remove(0);
    let rotation = Rotation::new(&toy, &switched)?;
    let result = rotation.end().accumulator.sample_extract(0);
    let key = BootstrappingKey::from_raw(toy.fft(), toy.shape(), toy.gadget(), &ggsw_rows)?;
    let polynomial = GlweCiphertext::trivial(toy.shape(), &table(&toy));
    let at_once = key.programmable_bootstrap(std::slice::from_ref(&switched), &[&polynomial]).swap_remove(0);

    // What each is to be, and the variance of its noise.
    let wanted = encode(SUM, MESSAGE_BITS).wrapping_add(half_slot(MESSAGE_BITS - 1));
    let (front, half_fine, half) = (|ciphertext: &GlweCiphertext| toy.phase(ciphertext)[0], 1.0 / 64.0, 1.0 / 16.0);
    let fresh = toy.fresh();
    let multiplied = fresh + noise::external_product(toy.gadget().on(toy.fft().transforms()), toy.shape(), fresh);
    let added = (fresh + multiplied).scaled(WEIGHT as f64);
    let short = added + toy.keyswitch_noise()?;
    let rounded = short + noise::modulus_switch(toy.dimension(), toy.shape().polynomial_size);
    let steps = rotation.rounded_phase(size);
    let value = encode(TABLE[SUM as usize], MESSAGE_BITS);
    let result_phase = toy.phase_of(Lookup, &result);
    let fresh_again = Variance::new(rotation.end().predicted.powi(2));
    let stages = [
        Stage::new("encrypt", "the first term", front(&first).wrapping_sub(at_front(TERMS[0])[0]), (fresh, half_fine)),
        Stage::new(
            "multiply",
            "the product",
            front(&product).wrapping_sub(at_front(TERMS[1])[0]),
            (multiplied, half_fine),
        ),
        Stage::new("weigh, add", "the sum", toy.phase_of(Lookup, &sample).wrapping_sub(wanted), (added, half)),
        Stage::new(
            "key switch",
            "the sum under the short key",
            toy.phase_of(Small, &switched).wrapping_sub(wanted),
            (short, half),
        ),
        Stage::new(
            "round",
            "the sum in steps",
            encode(steps as i64, turn.ilog2()).wrapping_sub(wanted),
            (rounded, half),
        ),
        Stage::new("look up", "the result", result_phase.wrapping_sub(value), (fresh_again, half)),
    ];

    let lesson = Lesson::new(
        "lookup",
        "A lookup, from beginning to end",
        "Two encrypted numbers are multiplied, added and looked up in a table. Noise grows with each step, and the lookup makes it small again.",
    )
    .of_chapter("Bootstrapping");
    let f = TABLE.iter().enumerate().map(|(m, value)| format!("f({m}) = {value}")).collect::<Vec<_>>().join(", ");
    let lesson = lesson.step(
        LessonStep::new("What is to be computed")
            .say(format!(
                "x = {} and y = {} are encrypted, and so is a bit c, which is 1. Wanted is f(x + c·y), for the table {f}. Sums, and products with encrypted bits, \
                 one has already: but a table can be anything, also what no sum and no product gives.",
                TERMS[0], TERMS[1]
            ))
            .say(
                "The messages begin small: they are 1/32 turn apart, so that there is room to multiply them by 4. Each step below shows the noise of what there \
                 is then, beside the standard deviation that it should have and what it may be.",
            )
            .table(
                polynomials("phases of the two terms, in ticks", "", size.min(8))
                    .row(coefficients("x", toy.phase(&first).iter().take(8).map(|&x| ticks(x))))
                    .row(coefficients("y", toy.phase(&second).iter().take(8).map(|&x| ticks(x)))),
            )
            .say("(The message is at the front; the first 8 coefficients are shown.)")
            .noise(stages[0].gauge.clone()),
    );
    let lesson = lesson.step(
        LessonStep::new("Multiply: c·y")
            .say("An external product, as in the lesson of that name. It adds far more noise than a fresh ciphertext has.")
            .formula([format!("phase of c·y: {}", fraction(front(&product)))])
            .noise(stages[1].gauge.clone()),
    );
    let lesson = lesson.step(
        LessonStep::new("Weigh and add: 4·(x + c·y)")
            .say(format!(
                "Ciphertexts are added, and multiplied by {WEIGHT}. So is their noise. Then half a slot is added, in the open, so that the message is in the middle \
                 of what is read as it, and the coefficient at the front is taken out (lesson `sample-extraction`)."
            ))
            .formula([
                format!("phase of the sum: {}", fraction(toy.phase_of(Lookup, &sample))),
                format!("wanted:           {}", fraction(wanted)),
            ])
            .noise(stages[2].gauge.clone()),
    );
    let lesson = lesson.step(
        LessonStep::new("Key switch")
            .say(format!("To the short key, of {} bits (lesson `key-switch`).", switched.dimension()))
            .formula([format!("phase under the short key: {}", fraction(toy.phase_of(Small, &switched)))])
            .noise(stages[3].gauge.clone()),
    );
    let lesson = lesson.step(
        LessonStep::new("Round to steps")
            .say(format!(
                "The modulus switch: a polynomial of {size} coefficients is turned in {turn} steps. With so few of them this is where most of the noise comes from. \
                 It is also what decides how many entries a table can have.",
            ))
            .formula([format!("phase in steps: {steps} of {turn}; a slot has {} steps", size / TABLE.len())])
            .noise(stages[4].gauge.clone()),
    );
    let lesson = lesson.step(
        LessonStep::new("Look up")
            .say(
                "Blind rotation turns the test polynomial by the encrypted phase (lesson `blind-rotation`), and the coefficient at the front is taken out. Together \
                 with the key switch this is called a programmable bootstrapping.",
            )
            .formula([
                format!("phase of the result: {}, message {}", fraction(result_phase), decode(result_phase, MESSAGE_BITS)),
                format!("f({} + 1·{}) = f({SUM}) = {}", TERMS[0], TERMS[1], TABLE[SUM as usize]),
            ])
            .check("the result is the entry of the table", decode(result_phase, MESSAGE_BITS) == TABLE[SUM as usize])
            .check("the program's bootstrapping gives the same ciphertext", result == at_once)
            .noise(stages[5].gauge.clone()),
    );
    let mut table = LessonTable::new(
        "noise after each step, log2 of parts of a turn",
        ["step", "measured", "predicted σ", "may be", "in σ"],
    );
    for Stage { name, gauge } in &stages {
        let log2 = |x: f64| if x == 0.0 { "none".into() } else { format!("{:.1}", x.abs().log2()) };
        let room = gauge.deviations().map(|deviations| format!("{deviations:.0}")).unwrap_or_default();
        table = table.row([(*name).to_owned(), log2(gauge.measured), log2(gauge.predicted), log2(gauge.allowed), room]);
    }
    let (worst, best) = (&stages[4].gauge, &stages[5].gauge);
    Ok(lesson.step(
        LessonStep::new("Noise, from beginning to end")
            .table(table)
            .picture(growth(&stages))
            .say(
                "The lookup has thrown away the noise of its input and has its own, which is small again. So one can go on: add, multiply, look up again, as often as one \
                 likes. That is what bootstrapping means.",
            )
            .check("the result has less noise than what was looked up, as predicted", best.predicted < worst.predicted)
            .say(format!(
                "How often does it go wrong? What is looked up may be off by {:.1} standard deviations. Real sets are made so that a whole computation goes wrong once in \
                 2^40 times at most.",
                worst.deviations().unwrap_or_default()
            )),
    ))
}

/// The band at one place, a character up and down for each factor of two above 2^-18.
fn in_characters(Stage { name, gauge }: &Stage) -> String {
    let half = (gauge.predicted.log2() + 18.0).round().clamp(1.0, 15.0) as usize;
    format!("{name:<10}{:>15}|{}", "▒".repeat(half), "▒".repeat(half))
}

/// Noise as a band around the exact number; its width is logarithmic.
fn growth(stages: &[Stage]) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 264.0);
    let (left, width, middle) = (20.0, 440.0, 112.0);
    let column = width / stages.len() as f64;
    // Half a width of the band: 7 pixels for each factor of two above 2^-18.
    let half = |x: f64| 7.0 * (x.abs().max(1e-9).log2() + 18.0).clamp(0.5, 15.0);
    let place = |index: usize| left + column * (index as f64 + 0.5);
    let edge = |index: usize, side: f64| middle + side * half(stages[index].gauge.predicted);
    for side in [-1.0, 1.0] {
        let limits = (0..stages.len()).flat_map(|index| {
            let y = middle + side * half(stages[index].gauge.allowed);
            [[left + column * index as f64, y], [left + column * (index + 1) as f64, y]]
        });
        drawing.path("to-red", &limits.collect::<Vec<_>>());
    }
    let steps = |side: f64| {
        (0..stages.len()).flat_map(move |index| {
            let y = edge(index, side);
            [[left + column * (index as f64 + 0.15), y], [left + column * (index as f64 + 0.85), y]]
        })
    };
    let mut band: Vec<[f64; 2]> = steps(-1.0).collect();
    band.extend(steps(1.0).collect::<Vec<_>>().into_iter().rev());
    drawing.area("oranges", &band);
    drawing.line("thin", [left, middle], [left + width, middle]);
    for (index, Stage { name, gauge }) in stages.iter().enumerate() {
        let up = if gauge.measured == 0.0 { 0.0 } else { gauge.measured.signum() * half(gauge.measured) };
        drawing.circle("blue", [place(index), middle - up], 4.0);
        drawing.text("", Anchor::Middle, 12.5, [place(index), 232.0], name);
        drawing.text("soft", Anchor::Middle, 12.0, [place(index), 250.0], &format!("2^{:.1}", gauge.predicted.log2()));
    }
    LessonPicture {
        name: "noise-growth",
        title: "Noise as a band around the exact number: orange is a standard deviation up and down, blue the noise that there was, red what is \
                too much. Each factor of two is as wide as any other."
            .into(),
        drawing,
        plain: stages.iter().map(in_characters).collect(),
    }
}
