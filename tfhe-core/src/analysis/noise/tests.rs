//! Formulas, each against what it says added up by hand; and what tests of other modules compare measurements with.

use super::*;
use crate::params::Grouping;
use crate::rounding::Transforms;

/// Asserts that the errors' mean square is the predicted variance within a relative tolerance, from both sides.
pub(crate) fn assert_variance(what: &str, errors: &[f64], predicted: Variance, tolerance: f64) {
    let measured = Variance::measured(errors);
    let ratio = measured.get() / predicted.get();
    println!(
        "{what}: log2 σ measured {:.3}, predicted {:.3} ({} samples)",
        measured.log2_std(),
        predicted.log2_std(),
        errors.len()
    );
    assert!((ratio - 1.0).abs() <= tolerance, "{what}: measured/predicted variance {ratio:.4}");
}

#[test]
/// The precise gadget of `head_exact`, and that with twice the base: what [`off_by_ones`] says of them.
fn sets_have_few_off_by_ones_and_others_are_refused() {
    let (n, lwe) = (PolynomialSize::new(4096).unwrap(), 902.0);
    let precise = Gadget::new(11, 4, Precision::Split).unwrap();
    let of = |transforms| lwe * off_by_ones(precise.on(transforms), n, 2, 2);
    let (portable, vectors) = (of(Transforms::RUSTFFT_AVX), of(Transforms::AVX512).max(of(Transforms::AVX2)));
    println!("off by one in a precise bootstrapping: portable {portable:.1e}, vectors {vectors:.1e}");
    assert!((1e-6..1e-4).contains(&portable) && vectors < 1e-11);
    assert!(portable < of(Transforms::RUSTFFT) && of(Transforms::RUSTFFT) < lwe * off_by_ones(precise, n, 2, 2));
    assert!(split_is_exact(precise, n, 2));
    let coarse = Gadget::new(12, 4, Precision::Split).unwrap();
    assert!(!split_is_exact(coarse, n, 2) && lwe * off_by_ones(coarse, n, 2, 2) > 1000.0);
}

/// What a wrong coefficient adds is a variance, however small: no product has an error of zero.
#[test]
fn split_products_have_the_error_of_off_by_ones() {
    let shape = crate::sets::HEAD_EXACT.compile().unwrap().lookup().shape;
    let gadget = Gadget::new(11, 4, Precision::Split).unwrap();
    let one = off_by_ones(gadget, shape.polynomial_size, 2, 1) / (2.0 * 4096.0) * 2f64.powi(-64);
    assert!((fft_error(gadget, shape, 2).get() / (one * 2049.0) - 1.0).abs() < 1e-6);
    // 902 of them have less than the bootstrapping's own noise.
    assert!(fft_error(gadget, shape, 2).repeated(902.0).log2_std() < -36.9);
}

/// Sums of 2·4·4096 products of digits with halves of torus elements, which are uniform in 2^32 integers; 1/2 is so many standard deviations
/// of their error away. Each of 3 columns has 4096 coefficients of two halves.
#[test]
fn margins_and_off_by_ones_are_those_of_sums() {
    let (gadget, n) = (Gadget::new(11, 4, Precision::Split).unwrap(), PolynomialSize::new(4096).unwrap());
    let sum = 2.0 * 4096.0 * gadget.digits_square(1) * 2f64.powi(64) / 12.0;
    let margin = 0.5 / (sum * Transforms::ANY.of_integers(8, 4096)).sqrt();
    assert_close(split_margin_log2(gadget, n, 2).exp2(), margin);
    let tail = Distribution::from(Variance::new(1.0)).log2_tail(margin).exp2();
    assert_close(off_by_ones(gadget, n, 2, 3), 3.0 * 4096.0 * 2.0 * tail);
}

#[test]
fn probabilities_add() {
    assert!((log2_sum(-40.0, -40.0) + 39.0).abs() < 1e-12);
    assert!((log2_sum(-40.0, -41.0) + 40.0 - 1.5f64.log2()).abs() < 1e-12);
    assert!((log2_sum(-41.0, -40.0) + 40.0 - 1.5f64.log2()).abs() < 1e-12);
    // Far below what a f64 has beside 1.
    assert_eq!(log2_sum(-3.0, -3000.0), -3.0);
    assert_eq!(log2_sum(f64::NEG_INFINITY, -3.0), -3.0);
}

/// What meets keys and keys' noise, of one torus element: found by decomposing, not by the formulas that are tested.
pub(crate) struct Decomposed {
    pub(crate) gadget: Gadget,
    /// The mean squares of its digits, of all levels together.
    pub(crate) digits: f64,
    /// The mean square of what is rounded.
    pub(crate) rounding: f64,
}

impl Decomposed {
    /// A gadget of which rounding counts: every element of a few bits more than it has.
    pub(crate) fn coarse() -> Self {
        let (gadget, bits) = (Gadget::new(3, 2, Precision::Single).unwrap(), 16);
        // In the middle of their intervals, so that there are no ties.
        let elements: Vec<u64> = (0..1_u64 << bits).map(|x| (2 * x + 1) << (63 - bits)).collect();
        let mut digits = vec![0; 2 * elements.len()];
        crate::decomposition::decompose(&elements, gadget, &mut digits);
        let rounded = |i: usize| i64::from(8 * digits[i] + digits[i + elements.len()]) as u64;
        let error = |(i, &x): (usize, &u64)| crate::torus::to_f64((rounded(i) << 58).wrapping_sub(x)).powi(2);
        let count = elements.len() as f64;
        Self {
            gadget,
            digits: digits.iter().map(|&digit| f64::from(digit).powi(2)).sum::<f64>() / count,
            rounding: elements.iter().enumerate().map(error).sum::<f64>() / count,
        }
    }

    /// A gadget of which the error of transforms counts, as digits are large and next to nothing is rounded. `(β² + 2)/12` for each digit:
    /// what digits above the last have more is 2^-60 of it.
    pub(crate) fn fine() -> Self {
        let gadget = Gadget::new(30, 2, Precision::Single).unwrap();
        Self { gadget, digits: 2.0 * 4f64.powi(30) / 12.0, rounding: 4f64.powi(-60) / 12.0 }
    }

    /// Noise of keys that is neither far above what is rounded, or the error of transforms, nor far below.
    pub(crate) fn key(&self) -> Variance {
        Variance::new(if self.gadget == Self::coarse().gadget { 1e-6 } else { 1e-32 })
    }

    /// The error of transforms in a ciphertext's phase, where mask and body have `met` = 1 + kN/2 terms, `inputs` polynomials are
    /// decomposed, and `coefficients` of theirs are not zero: that of a sum of torus elements, of variance 1/12, times digits.
    pub(crate) fn transforms(&self, inputs: usize, coefficients: usize, n: usize, met: f64) -> f64 {
        let relative = Transforms::ANY.of_torus(inputs * self.gadget.levels(), n);
        coefficients as f64 * self.digits / 12.0 * relative * met
    }
}

/// Means over 2^16 elements are exact to 10^-6 or so.
#[track_caller]
pub(crate) fn assert_close(value: f64, expected: f64) {
    assert!((value / expected - 1.0).abs() < 1e-5, "{value:e} for {expected:e}");
}

pub(crate) fn shape(k: usize, n: usize) -> GlweShape {
    GlweShape::new(k, n).unwrap()
}

/// Of a key switch and a product: for each coefficient that is decomposed, digits meet noise, and what is rounded a bit of the key, which is 1
/// half of the time. In a bootstrapping it meets a second one.
#[test]
fn products_with_keys_have_what_is_added_up_by_hand() {
    for by in [Decomposed::coarse(), Decomposed::fine()] {
        let (gadget, key) = (by.gadget, by.key());
        let noise = by.digits * key.get();
        let lwe = |n| LweDimension::new(n).unwrap();
        assert_close(lwe_keyswitch(gadget, lwe(5), key).get(), 5.0 * (noise + by.rounding / 2.0));
        // 3 polynomials of 8 coefficients, in a ring of 16: half of the coefficients are zero.
        let switched = 24.0 * (noise + by.rounding / 2.0) + by.transforms(3, 24, 16, 17.0);
        assert_close(glwe_keyswitch_from(gadget, shape(3, 8), shape(2, 16), key).get(), switched);
        let switched = 24.0 * (noise + by.rounding / 2.0) + by.transforms(3, 24, 8, 13.0);
        assert_close(glwe_keyswitch(gadget, shape(3, 8), key).get(), switched);
        // 2 masks of 8 coefficients and a body, which meets no key.
        let (noises, rounded, transforms) = (24.0 * noise, 9.0 * by.rounding, by.transforms(3, 24, 8, 9.0));
        assert_close(external_product(gadget, shape(2, 8), key).get(), noises + rounded + transforms);
        // Its key has rounded bodies.
        let rounded_key = key + rounded_body(stored_bits(key));
        assert!(rounded_key.get() <= key.get() * 33.0 / 32.0);
        let noises = 24.0 * by.digits * rounded_key.get();
        let rotated = |n, grouping| blind_rotation(gadget, grouping, shape(2, 8), lwe(n), key).get();
        assert_close(rotated(7, Grouping::One), 7.0 * (noises + rounded / 2.0 + transforms));
        // Three products, each turned and as it is; rounding unless both of two bits are 0. The seventh bit is in a step by itself.
        let pair = 6.0 * (noises + transforms) + 0.75 * 2.0 * rounded;
        assert_close(rotated(6, Grouping::Two), 3.0 * pair);
        assert_close(rotated(7, Grouping::Two), 4.0 * pair);
        // S² of bits with mean 1/2: N³/48 in place of N/2.
        let relinearized = 16.0 * noise + 4096.0 / 48.0 * by.rounding + by.transforms(1, 16, 16, 9.0);
        assert_close(relinearization(gadget, shape(1, 16), key).get(), relinearized);
        assert_close(fft_error(gadget, shape(2, 8), 5).get(), by.transforms(5, 40, 8, 9.0));
    }
}

/// The parts of a product with a GGSW ciphertext that was made of an encrypted polynomial, one by one, and the tail of all.
#[test]
fn products_with_encrypted_integers_have_what_is_added_up_by_hand() {
    let (by, shape) = (Decomposed::coarse(), shape(1, 16));
    let message = Spread::new(Variance::new(1e-7), 3) + Spread::new(Variance::new(1e-8), 20);
    let (energy, largest) = (5e-7, 1.1e-7);
    // In units of the last level, 2^-6.
    let unit = energy * 4096.0;
    let degrees = 1.0 / (largest / energy + 1.0 / 16.0);
    // Two levels, of which the upper one is 8 times as large.
    let relinearized = by.digits / 2.0 * 16.0 * 1e-9 * (1.0 + 64.0);
    let rounded = 5.0 * by.rounding * (1.0 + 8.0);
    let expected = Distribution::mixture(Variance::new(unit * 4.0 / 12.0), Mixture::Walk)
        + Distribution::mixture(Variance::new(unit * 5.0 / 12.0), Mixture::Scattered { degrees })
        + Variance::new(relinearized + rounded);
    let found = product_with_ggsw(by.gadget, shape, message, Variance::new(1e-9), 5.0);
    assert_close(found.variance().get(), expected.variance().get());
    let threshold = 6.0 * expected.variance().std();
    assert!((found.log2_tail(threshold) - expected.log2_tail(threshold)).abs() < 1e-3);
    assert_close(product_with_ggsw_rounding(by.gadget, shape, 5.0).get(), rounded);

    let none = Spread::new(Variance::ZERO, 1);
    let exact = product_with_ggsw(Decomposed::fine().gadget, shape, none, Variance::ZERO, 0.0);
    assert_close(exact.variance().get(), Decomposed::fine().transforms(2, 32, 16, 9.0));
}

/// t·K_1·E_2 + t·K_2·E_1: both factors' noise, each times the other's wrap-around, whose coefficients have variance (1 + N/4)/12, and what
/// balancing costs.
#[test]
fn tensor_products_have_what_is_added_up_by_hand() {
    let shape = shape(1, 16);
    let wrap_around = (1.0 + 4.0 + 4.0 * BALANCE / 4.0) / 12.0;
    let factors = [(1e-9, 2), (3e-10, 5)];
    let part = |(variance, count): (f64, usize)| {
        let degrees = 1.0 / (1.0 / count as f64 + 1.0 / 16.0);
        let variance = Variance::new(64.0 * count as f64 * variance * wrap_around);
        Distribution::mixture(variance, Mixture::Scattered { degrees })
    };
    let expected = part(factors[0]) + part(factors[1]);
    let found = tensor_product(shape, 3, factors.map(|(variance, count)| Spread::new(Variance::new(variance), count)));
    assert_close(found.variance().get(), expected.variance().get());
    let threshold = 6.0 * expected.variance().std();
    assert!((found.log2_tail(threshold) - expected.log2_tail(threshold)).abs() < 1e-3);
    // A factor without noise adds nothing, not even a part of variance zero.
    let [one, none] = [1e-9, 0.0].map(|variance| Spread::new(Variance::new(variance), 2));
    assert_eq!(tensor_product(shape, 3, [none, none]), Distribution::ZERO);
    assert_eq!(tensor_product(shape, 3, [one, none]), tensor_product(shape, 3, [none, one]));
    assert!(tensor_product(shape, 3, [one, none]).log2_tail(1e-4).is_finite());
}

/// What rounding adds to a phase: 1/12 of a unit's square for the body, half of it for each mask coefficient.
#[test]
fn rounded_numbers_have_what_is_added_up_by_hand() {
    // Mean compensation: δ·(s − 1/2), a quarter of it for each mask coefficient. A unit is 1/16.
    let switched = modulus_switch(LweDimension::new(6).unwrap(), PolynomialSize::new(8).unwrap());
    assert_close(switched.get(), (1.0 + 6.0 / 4.0) / 12.0 / 256.0);
    assert_close(rounded_body(5).get(), 1.0 / 12.0 / 1024.0);
    // Of the last two bits alone: 0, 1, and 2 or -2 for what is in the middle, 1 less than the next; of the last alone, 0 or 1.
    assert_close(rounded_body(62).get(), (0.0 + 1.0 + 4.0 + 1.0) / 4.0 * 2f64.powi(-128));
    assert_close(rounded_body(63).get(), (0.0 + 1.0) / 2.0 * 2f64.powi(-128));
    assert_eq!(rounded_body(64), Variance::ZERO);
    assert_close(rounded_ciphertext(shape(2, 8), 5).get(), (1.0 + 8.0) / 12.0 / 1024.0);
    assert_close(division(shape(2, 8), 5).get(), (1.0 + 8.0) / 12.0 * 1024.0 * 2f64.powi(-128));
}

/// Step by step: what is there is doubled at the coefficients that are kept, four times the variance and twice the energy, and each step adds
/// its own to all.
#[test]
fn traces_have_what_is_added_up_by_hand() {
    let (one, size) = (Variance::new(3.0), PolynomialSize::new(8).unwrap());
    let (mut kept, mut energy) = (0.0, 0.0);
    for steps in 1..=3 {
        kept = 4.0 * kept + 3.0;
        energy = 2.0 * energy + 8.0 * 3.0;
        assert_close(trace(one, steps).get(), kept);
        assert_close(trace_energy(one, steps, size).get(), energy);
        let spread = Spread::of_trace(one, steps, size);
        assert_eq!((spread.energy(), spread.largest), (trace_energy(one, steps, size), trace(one, steps)));

        let (gadget, key) = (Decomposed::coarse().gadget, Decomposed::coarse().key());
        let expansion = Expansion::new(gadget, shape(1, 8), key, steps);
        let keyswitch = glwe_keyswitch(gadget, shape(1, 8), key).get() / 3.0;
        let of_parts = 4f64.powi(steps as i32) * 1e-3 + kept * keyswitch;
        assert_close(expansion.kept(Variance::new(1e-3)).get(), of_parts);
        let at = 8 >> steps;
        let beside = (energy - kept * at as f64) * keyswitch / (8 - at) as f64;
        assert!((expansion.beside().get() - beside).abs() < 1e-9 * keyswitch);
    }
    // Every coefficient is kept, and none is beside them.
    let expansion = Expansion::new(Decomposed::coarse().gadget, shape(1, 8), Variance::new(1e-6), 0);
    assert_eq!((expansion.kept(one), expansion.beside()), (one, Variance::ZERO));
}

#[test]
fn spreads_count_places() {
    let (few, many) = (Spread::new(Variance::new(2.0), 3), Spread::new(Variance::new(0.5), 8));
    assert_eq!((few.energy, few.largest, few.places()), (Variance::new(6.0), Variance::new(2.0), 3.0));
    let sum = few + many;
    assert_eq!((sum.energy, sum.largest, sum.places()), (Variance::new(10.0), Variance::new(2.5), 4.0));
    let apart = few.apart(4);
    assert_eq!((apart.energy, apart.largest, apart.places()), (Variance::new(24.0), Variance::new(2.0), 12.0));
    assert_eq!(Spread::new(Variance::ZERO, 5).places(), 1.0);
}

/// Digits of differences of elements that were divided by 2^bits, by decomposing them. What digits above the last have more than others is
/// counted for all that have all values alike: hence the tolerance.
#[test]
fn divided_elements_have_small_digits() {
    const GRID: i64 = 128;
    for (base_log, levels, bits) in [(3, 2, 4), (3, 3, 5), (3, 2, 2), (4, 2, 4), (4, 2, 3), (4, 3, 7), (5, 2, 9)] {
        let gadget = Gadget::new(base_log, levels, Precision::Single).unwrap();
        // Middles of the grid's intervals in [-1/2, 1/2], divided.
        let elements: Vec<i64> = (-GRID..GRID).map(|x| (2 * x + 1) << (62 - 7 - bits)).collect();
        // Not exactly the difference of two, so that there are no ties.
        let differences = elements.iter().flat_map(|x| elements.iter().map(move |y| (x - y + (1 << 40)) as u64));
        let differences: Vec<u64> = differences.collect();
        let mut digits = vec![0; levels as usize * differences.len()];
        crate::decomposition::decompose(&differences, gadget, &mut digits);
        let found = digits.iter().map(|&digit| f64::from(digit).powi(2)).sum::<f64>() / differences.len() as f64;
        let predicted = divided_digits(gadget, bits);
        assert!((found - predicted).abs() <= 0.015 * predicted, "{gadget:?} / 2^{bits}: {found}, {predicted}");
    }
}

/// Level by level: key switches add their noise to all coefficients, and each level that follows doubles: at a value four times the variance,
/// twice the energy in all.
#[test]
fn packing_has_what_is_added_up_by_hand() {
    let (by, shape) = (Decomposed::coarse(), shape(1, 8));
    let key = by.key();
    // The first level's digits are those of elements divided by 8: of 3 bits, so that the lower one is as any other.
    let one = 8.0 * (by.digits * key.get() + by.rounding / 2.0);
    let first = one - 8.0 * key.get() * (by.digits - divided_digits(by.gadget, 3));
    let [found_first, found_one] = packing_steps(by.gadget.into(), shape, key);
    assert_close(found_first.get(), first);
    assert_close(found_one.get(), one);
    assert_close(packing(by.gadget, shape, key).get(), 16.0 * first + 4.0 * one + one);
    // {0, 3}: two remainders modulo 4, two modulo 2, one modulo 1.
    let energy = packing_energy(by.gadget.into(), shape, key, &[0, 3]);
    assert_close(energy.get(), 8.0 * (4.0 * 2.0 * first + 2.0 * 2.0 * one + one));
    // With keys without noise and exact transforms: what is rounded, half of 8 coefficients, and the division by 8.
    let exact = Gadget::new(2, 31, Precision::Split).unwrap();
    let unit = 2f64.powi(-124) / 12.0;
    let divided = 5.0 * 64.0 / 16.0;
    assert_close(packing(exact, shape, Variance::ZERO).get(), unit * (21.0 * 4.0 + divided));
    let energy = packing_energy(exact.into(), shape, Variance::ZERO, &[0, 3]);
    assert_close(energy.get(), unit * (8.0 * (8.0 + 4.0 + 1.0) * 4.0 + 2.0 * divided));
}
