//! Blind rotation: a table turned by an encrypted phase.

use tfhe_core::key_graph::Node::Small;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::polynomial::rotate;
use tfhe_core::programmable_bootstrap::half_slot;
use tfhe_core::torus::{decode, encode, to_f64};

use super::drawing::{Anchor, Drawing};
use super::lesson::{Lesson, LessonPicture, LessonStep, LessonTable, NoiseGauge};
use super::numbers::{coefficients, fraction, polynomials, powers, signed, ticks};
use super::rotation::{MESSAGE_BITS, Rotation, TABLE, Turned, table};
use super::toys::{OF_16, Toy};

/// The message at which the table is read.
const MESSAGE: i64 = 1;
/// Half of the distance between two values.
const HALF_SLOT: f64 = 1.0 / 16.0;

/// The nearest values.
fn values(phase: &[u64]) -> Vec<i64> {
    phase.iter().map(|&x| decode(x, MESSAGE_BITS)).collect()
}

/// A ciphertext of the message under the small key: taken out of one of the ring, and switched.
fn input(toy: &Toy) -> anyhow::Result<LweCiphertext> {
    let mut plaintext = vec![0; toy.size()];
    plaintext[0] = encode(MESSAGE, MESSAGE_BITS).wrapping_add(half_slot(MESSAGE_BITS - 1));
    let ciphertext = toy.encrypt("blind rotation", &plaintext)?.sample_extract(0);
    Ok(toy.keyswitch(toy.keyswitch_rows()?)?.keyswitch(&[ciphertext]).swap_remove(0))
}

pub(super) fn lesson(seed: u64) -> anyhow::Result<Lesson> {
    let toy = Toy::new(OF_16, seed)?;
    let (size, turn) = (toy.size(), 2 * toy.size());
    let input = input(&toy)?;
    let rotation = Rotation::new(&toy, &input)?;
    let phase = toy.phase_of(Small, &input);
    let slot = size / TABLE.len();

    let lesson = Lesson::new(
        "blind-rotation",
        "Blind rotation",
        "A polynomial that holds a table is turned by an encrypted number, so that the entry asked for comes to the front.",
    )
    .of_chapter("Bootstrapping");
    let short: Vec<u64> = (1..=8).collect();
    let moved = |by: usize| {
        let mut output = vec![0; short.len()];
        rotate(&short, by, &mut output);
        output.into_iter().map(|x| x as i64)
    };
    let lesson = lesson.step(
        LessonStep::new("Turning a polynomial")
            .say(format!(
                "Multiply a polynomial by X: each coefficient moves one place up. The last one would become that of X^N; but X^N is −1, so it comes back \
                 at the bottom with the other sign. After N such steps all signs are turned over, after 2N everything is as before. So a polynomial can be \
                 turned like a hand of a clock, in 2N steps a turn: that is why it can meet numbers on a circle. Here N is {size}, {turn} steps a turn; \
                 the table below has 8 coefficients."
            ))
            .table(
                polynomials("1, 2, … 8 times powers of X", "times", 8)
                    .row(coefficients("1", moved(0)))
                    .row(coefficients("X^3", moved(3)))
                    .row(coefficients("X^8", moved(8)))
                    .row(coefficients("X^11", moved(11))),
            )
            .picture(negacyclic(&short, 3))
            .check("X^8 turns all signs over", moved(8).eq(moved(0).map(|x| -x))),
    );
    let lesson = lesson.step(
        LessonStep::new("A table as a polynomial")
            .say(format!(
                "The table that is to be read has four entries: {}. Each is written {slot} times in a row, as coefficients of a polynomial. That is the test \
                 polynomial. The coefficient that stands at the front, that of 1, is the one that will be read.",
                TABLE.iter().enumerate().map(|(m, value)| format!("f({m}) = {value}")).collect::<Vec<_>>().join(", ")
            ))
            .table(polynomials("the test polynomial", "", size).row(coefficients("value", values(&table(&toy)))).mark(1))
            .say(
                "Turn it back by g steps, and the g-th coefficient stands at the front. So to read at message m one turns back by the place of m on the \
                 circle. A little more or less does not matter, since each entry stands there several times: that is where noise goes away. Messages \
                 are put in the middle of their slot for that. Only half of the circle is used: on the other half the same values would be read with \
                 the other sign.",
            )
            .picture(test_polynomial(&table(&toy))),
    );
    let lesson = lesson.step(the_number(&toy, &input, &rotation));
    let lesson = lesson.step(
        LessonStep::new("The first turn, in the open")
            .say(format!(
                "The phase is b − Σ a_i·s_i. So turning back by it is: turn back by b, then on by a_i for each bit s_i that is 1. The first of these needs no \
                 secret: b̃ = {} is public. The polynomial, turned back by {}, is the beginning of the accumulator. It is not encrypted yet: its mask is \
                 zero.",
                rotation.switched.body(),
                rotation.switched.body()
            ))
            .table(state_table(&rotation.states[0], size))
            .check("there is no noise yet", rotation.states[0].largest_noise() == 0.0),
    );
    let steps = rotation.states.windows(2).enumerate();
    let lesson =
        steps.fold(lesson, |lesson, (i, states)| lesson.step(one_turn(i, (&states[0], &states[1]), (&toy, &rotation))));
    let end = rotation.end();
    let (read, turned) = (decode(end.phase[0], MESSAGE_BITS), rotation.rounded_phase(size));
    Ok(lesson.step(
        LessonStep::new("What was read")
            .say(format!(
                "All in all the polynomial was turned back by {turned} of {turn} steps: that is the phase of the input, rounded to steps. Coefficient {turned} of \
                 the test polynomial stands at the front now. Nobody but the owner of the key knows which one that is: hence a blind rotation."
            ))
            .picture(strips(&rotation, &toy))
            .formula([
                format!("phase at the front: {}", fraction(end.phase[0])),
                format!("nearest value:      {read}"),
            ])
            .check(format!("it is f({MESSAGE}) = {}", TABLE[MESSAGE as usize]), read == TABLE[MESSAGE as usize])
            .check("the program's blind rotation gives the same ciphertext, number by number", end.accumulator == rotation.at_once)
            .noise(NoiseGauge {
                what: "what was read".into(),
                measured: end.noise(),
                predicted: end.predicted,
                allowed: HALF_SLOT,
            })
            .say(format!(
                "The noise of the result comes from {} CMUXes, and from nothing else: it does not depend on that of the input, which was {}. However much noise \
                 a ciphertext has collected, after this it has a fresh one's, as long as it was read in the right slot.",
                rotation.states.len() - 1,
                super::numbers::signed_fraction(phase.wrapping_sub(encode(MESSAGE, MESSAGE_BITS)).wrapping_sub(half_slot(MESSAGE_BITS - 1)))
            )),
    ))
}

/// The input, and its modulus switch.
fn the_number(toy: &Toy, input: &LweCiphertext, rotation: &Rotation) -> LessonStep {
    let (size, turn) = (toy.size(), 2 * toy.size());
    let n = input.dimension();
    let columns = std::iter::once(String::new()).chain((1..=n).map(|i| format!("a{i}"))).chain(["b".into()]);
    let steps =
        rotation.switched.mask().iter().chain([&rotation.switched.body()]).map(ToString::to_string).collect::<Vec<_>>();
    let table = LessonTable::new("the encrypted number", columns)
        .row(std::iter::once("ticks".to_owned()).chain(input.data().iter().map(|&x| ticks(x).to_string())))
        .row(std::iter::once(format!("steps of {}", 65_536 / turn)).chain(steps))
        .row(std::iter::once("secret bit".to_owned()).chain(toy.small_bits().iter().map(u64::to_string)));
    let phase = toy.phase_of(Small, input);
    let wanted = encode(MESSAGE, MESSAGE_BITS).wrapping_add(half_slot(MESSAGE_BITS - 1));
    let rounded = encode(rotation.rounded_phase(size) as i64, turn.ilog2());
    let (slots, predicted) =
        (TABLE.len() as f64 * 4.0, tfhe_core::noise::modulus_switch(toy.dimension(), toy.shape().polynomial_size));
    LessonStep::new("The number, in steps")
        .say(format!(
            "The number at which the table is read is encrypted under a small key, of {n} bits: there will be a CMUX for each bit, so one wants few. It is the \
             message {MESSAGE}, in the middle of its slot. A polynomial can only be turned by whole steps, so each number of the ciphertext is \
             rounded to a multiple of 1/{turn} turn. That is the modulus switch. (b takes half of the mask's rounding errors with it, since half of \
             the key's bits are 1 on average.)"
        ))
        .table(table)
        .formula([
            format!("wanted:          {}", fraction(wanted)),
            format!("phase:           {}", fraction(phase)),
            format!("phase, in steps: {} of {turn}: {}", rotation.rounded_phase(size), fraction(rounded)),
        ])
        .noise(NoiseGauge {
            what: "rounding to steps".into(),
            measured: to_f64(rounded.wrapping_sub(phase)),
            predicted: predicted.std(),
            allowed: 1.0 / slots,
        })
}

/// Phase and values of a state.
fn state_table(state: &Turned, size: usize) -> LessonTable {
    let shown = 8;
    let columns = std::iter::once(String::new()).chain(powers(shown)).chain(["…".to_owned()]);
    let row = |name: &str, numbers: Vec<i64>| coefficients(name, numbers.into_iter().take(shown));
    LessonTable::new(format!("the accumulator's phase, the first {shown} of {size} coefficients"), columns)
        .row(row("ticks", state.phase.iter().map(|&x| signed(x)).collect()))
        .row(row("value", values(&state.phase)))
        .mark(1)
}

/// A CMUX, by its number from 0.
fn one_turn(i: usize, (before, after): (&Turned, &Turned), (toy, rotation): (&Toy, &Rotation)) -> LessonStep {
    let (by, bit) = (rotation.switched.mask()[i], toy.small_bits()[i]);
    let (number, turn) = (i + 1, 2 * toy.size());
    let done = (after.steps + turn - before.steps) % turn;
    let step = LessonStep::new(format!("CMUX {number}: by {by}, or not"))
        .say(format!(
            "The accumulator as it is, or turned by ã_{number} = {by}? The GGSW ciphertext of bit s_{number} chooses. The owner of the key looks: the bit is {bit}. \
             So the accumulator turned by {done}, and {} of {turn} in all.",
            after.steps
        ))
        .table(state_table(after, toy.size()))
        .check(
            "every coefficient is that of the test polynomial, turned so far",
            values(&after.phase) == values(&after.exact),
        );
    step.noise(NoiseGauge {
        what: "the accumulator, the largest of all coefficients".into(),
        measured: after.largest_noise(),
        predicted: after.predicted,
        allowed: HALF_SLOT,
    })
}

/// A class for each value, whatever its sign.
fn class(value: i64) -> &'static str {
    ["box", "blues", "greens", "oranges", "reds"][value.unsigned_abs().min(4) as usize]
}

/// Where coefficients go.
fn negacyclic(input: &[u64], by: usize) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 190.0);
    let mut output = vec![0; input.len()];
    rotate(input, by, &mut output);
    let place = |j: usize| 70.0 + 48.0 * j as f64;
    let name = |power: usize| powers(input.len()).nth(power).unwrap_or_default();
    for (j, &x) in input.iter().enumerate() {
        let (crosses, to) = (j + by >= input.len(), (j + by) % input.len());
        let class = if crosses { "oranges" } else { "blues" };
        drawing.text("soft", Anchor::Middle, 12.0, [place(j) + 20.0, 18.0], &name(j));
        drawing.line(if crosses { "to-orange" } else { "to-blue" }, [place(j) + 20.0, 54.0], [place(to) + 20.0, 118.0]);
        drawing.cell(class, [place(j), 26.0], [40.0, 28.0], 15.0, &x.to_string());
        drawing.cell(class, [place(to), 118.0], [40.0, 28.0], 15.0, &(output[to] as i64).to_string());
    }
    drawing.text("soft", Anchor::Start, 13.0, [10.0, 45.0], "P");
    drawing.text("soft", Anchor::Start, 13.0, [10.0, 137.0], &format!("X^{by}·P"));
    drawing.text("soft", Anchor::Start, 13.0, [70.0, 174.0], "What passes the end comes back with the other sign.");
    LessonPicture {
        name: "negacyclic",
        title: format!(
            "A polynomial times X^{by}: coefficients move up, and those that pass the end come back with the other sign."
        ),
        drawing,
        plain: Vec::new(),
    }
}

/// The table, laid out over half of the torus.
fn test_polynomial(table: &[u64]) -> LessonPicture {
    let mut drawing = Drawing::new(480.0, 240.0);
    let (left, cell, base) = (24.0, 13.5, 130.0);
    let turn = 2 * table.len();
    let height = |value: i64| 26.0 * value as f64;
    for step in 0..turn {
        let x = table[step % table.len()];
        let value = if step < table.len() { decode(x, MESSAGE_BITS) } else { -decode(x, MESSAGE_BITS) };
        let (top, tall) = if value >= 0 { (base - height(value), height(value)) } else { (base, -height(value)) };
        drawing.rectangle(
            if step < table.len() { "blues" } else { "oranges" },
            [left + cell * step as f64, top],
            [cell - 1.5, tall.max(1.5)],
        );
    }
    drawing.line("ink", [left, base], [left + cell * turn as f64, base]);
    let slot = table.len() / TABLE.len();
    for (m, value) in TABLE.iter().enumerate() {
        let middle = left + cell * slot as f64 * (m as f64 + 0.5);
        drawing.text("", Anchor::Middle, 14.0, [middle, 24.0], &format!("f({m})={value}"));
        drawing.line(
            "line",
            [left + cell * (slot * (m + 1)) as f64 - 0.8, 32.0],
            [left + cell * (slot * (m + 1)) as f64 - 0.8, base],
        );
        drawing.circle("red", [middle - 0.8, base], 3.5);
    }
    let end = left + cell * turn as f64;
    drawing.text("soft", Anchor::Start, 13.0, [left, 232.0], "phase 0");
    drawing.text("soft", Anchor::Middle, 13.0, [(left + end) / 2.0, 232.0], "1/2");
    drawing.text("soft", Anchor::End, 13.0, [end, 232.0], "1");
    drawing.text("soft", Anchor::Middle, 13.0, [(left + 3.0 * end) / 4.0, 60.0], "the same with the other sign");
    LessonPicture {
        name: "test-polynomial",
        title: "The table over a turn: on the first half each value fills a slot, with the message in its middle (red); on the second half \
                the same comes with the other sign."
            .into(),
        drawing,
        plain: Vec::new(),
    }
}

/// The accumulator's values after each CMUX.
fn strips(rotation: &Rotation, toy: &Toy) -> LessonPicture {
    let size = toy.size();
    let mut drawing = Drawing::new(480.0, 66.0 + 28.0 * rotation.states.len() as f64);
    let (left, cell) = (130.0, 20.5);
    drawing.text("soft", Anchor::Middle, 12.0, [left + cell / 2.0, 18.0], "read");
    let mut plain = Vec::new();
    for (row, state) in rotation.states.iter().enumerate() {
        let y = 26.0 + 28.0 * row as f64;
        let (name, short) = match row.checked_sub(1) {
            None => (
                format!("by −{}", rotation.switched.body()),
                format!("turned back by b̃ = {}", rotation.switched.body()),
            ),
            Some(i) => {
                let (by, bit) = (rotation.switched.mask()[i], toy.small_bits()[i]);
                (format!("s{row}={bit}: by {by}·{bit}"), format!("s{row} = {bit}, ã{row} = {by}"))
            }
        };
        drawing.text("", Anchor::Start, 13.0, [14.0, y + 16.0], &name);
        let values = values(&state.phase);
        for (j, &value) in values.iter().enumerate() {
            drawing.cell(class(value), [left + cell * j as f64, y], [cell - 1.5, 22.0], 12.0, &value.to_string());
        }
        plain.push(format!("{}  {short}", values.iter().map(|value| format!("{value:>3}")).collect::<String>()));
    }
    let y = 26.0 + 28.0 * rotation.states.len() as f64;
    drawing.path(
        "to-red",
        &[[left - 2.0, 23.0], [left + cell, 23.0], [left + cell, y - 2.0], [left - 2.0, y - 2.0], [left - 2.0, 23.0]],
    );
    drawing.text(
        "soft",
        Anchor::Start,
        13.0,
        [14.0, y + 22.0],
        &format!("{size} coefficients in a row, a CMUX between two rows."),
    );
    LessonPicture {
        name: "blind-rotation",
        title: "The accumulator's phase, rounded to values, after the first turn and after each CMUX: it turns where the bit is 1.".into(),
        drawing,
        plain,
    }
}

#[cfg(test)]
mod tests {
    use tfhe_core::bootstrapping_key::BootstrappingKey;
    use tfhe_core::glwe::GlweCiphertext;

    use super::*;

    /// Not only of the last state: each is what the program has after so many bits, as a key of so many says.
    #[test]
    fn every_state_is_the_blind_rotation_by_the_first_bits() {
        let toy = Toy::new(OF_16, 3).unwrap();
        let input = input(&toy).unwrap();
        let rotation = Rotation::new(&toy, &input).unwrap();
        let start = GlweCiphertext::trivial(toy.shape(), &table(&toy));
        let rows = toy.ggsw_rows().unwrap();
        for count in 1..=rows.len() {
            let key = BootstrappingKey::from_raw(toy.fft(), toy.shape(), toy.gadget(), &rows[..count]);
            // The switched body stands for the whole input; the masks of a shorter one are the first of it.
            let body = rotation.switched.body();
            let steps = rotation.switched.mask()[..count].iter().chain([&body]);
            let short = steps.map(|&step| encode(step as i64, 5)).collect();
            let turned = key.unwrap().blind_rotate(&[LweCiphertext::from_data(short)], &[&start]).swap_remove(0);
            assert_eq!(turned, rotation.states[count].accumulator, "{count}");
        }
    }
}
