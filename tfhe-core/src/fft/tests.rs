//! Every backend of this CPU against the schoolbook product, within the error that theory predicts.

use super::*;
use crate::polynomial::schoolbook_add;
use crate::random::{SampleSeed, SampleStream};

/// Every plan that this CPU has for polynomials of `n` coefficients.
fn plans(n: usize) -> impl Iterator<Item = NegacyclicFft> {
    let size = PolynomialSize::new(n).unwrap();
    Backend::available().map(move |backend| NegacyclicFft::with_backend(size, backend).unwrap())
}

fn generator(index: u64) -> SampleStream {
    SampleSeed::from_number(20).stream(index)
}

/// `n` digits from −bound to bound, all but every `step`-th zero.
fn sparse_digits(generator: &mut SampleStream, n: usize, step: usize, bound: i32) -> Vec<i32> {
    let width = 2 * bound as u64 + 1;
    (0..n).map(|j| if j % step == 0 { (generator.uniform() % width) as i32 - bound } else { 0 }).collect()
}

fn uniform(generator: &mut SampleStream, n: usize) -> Vec<u64> {
    (0..n).map(|_| generator.uniform()).collect()
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = values.len() as f64;
    (values.map(|x| x * x).sum::<f64>() / len).sqrt()
}

/// The relative error of a product: 0.6·sqrt(log2 M) units of 2^-53 for each of three transforms (Schatzman), one unit for
/// the conversion from 64 to 53 bits and the multiplication, all independent.
fn predicted_error(n: usize) -> f64 {
    2f64.powi(-53) * (3.0 * 0.36 * (n as f64 / 2.0).log2() + 1.0).sqrt()
}

/// Asserts that an error is what theory predicts. Our transforms meet it within a tenth, and summing up eight products
/// adds another; the error of rustfft is up to a third larger. Of at most 2^16 errors, roughly normal, none is beyond 6
/// standard deviations (probability 2^-13).
fn assert_predicted(fft: &NegacyclicFft, rms: f64, maximum: f64, predicted: f64) {
    let allowed = if fft.backend() == Backend::Portable { 1.45 } else { 1.2 };
    let n = fft.polynomial_size().get();
    assert!(rms < allowed * predicted, "{fft:?}: error {rms:e} is above {predicted:e} at N = {n}");
    assert!(rms > 0.7 * predicted, "{fft:?}: error {rms:e} is suspiciously far below {predicted:e} at N = {n}");
    assert!(maximum < 6.0 * allowed * predicted, "{fft:?}: worst error {maximum:e} against {predicted:e}");
}

/// a·b by way of the Fourier domain.
fn product(fft: &NegacyclicFft, a: &[i32], b: &[u64]) -> Vec<u64> {
    let scratch = &mut fft.scratch();
    let (mut x, mut y, mut sum) = (vec![0.0; a.len()], vec![0.0; a.len()], vec![0.0; a.len()]);
    fft.forward_integers(a, &mut x, scratch);
    fft.forward_torus(b, &mut y, scratch);
    fft.multiply_accumulate(&mut sum, &x, &y);
    let mut out = vec![0; a.len()];
    fft.inverse_add_torus(&mut sum, &mut out, scratch);
    out
}

fn schoolbook(a: &[i32], b: &[u64]) -> Vec<u64> {
    let wide: Vec<i64> = a.iter().map(|&x| x as i64).collect();
    let mut out = vec![0; a.len()];
    schoolbook_add(&wide, b, &mut out);
    out
}

/// Root mean square and maximum of the distances.
fn distances(a: &[u64], b: &[u64]) -> (f64, f64) {
    let distance = |(x, y): (&u64, &u64)| x.wrapping_sub(*y) as i64 as f64;
    let maximum = a.iter().zip(b).map(distance).fold(0.0, |m: f64, d| m.max(d.abs()));
    (root_mean_square(a.iter().zip(b).map(distance)), maximum)
}

#[test]
fn small_polynomials_use_narrower_backends() {
    for asked in Backend::available() {
        for n in (3..=16).map(|log| 1 << log) {
            let fft = NegacyclicFft::with_backend(PolynomialSize::new(n).unwrap(), asked).unwrap();
            let widest = [(Backend::Avx512, 256), (Backend::Avx2, 64), (Backend::Portable, 0)];
            let expected = widest.into_iter().find(|&(backend, smallest)| backend <= asked && n >= smallest);
            assert_eq!(Some(fft.backend()), expected.map(|(backend, _)| backend), "{asked}, N = {n}");
        }
    }
}

#[test]
fn random_products_have_the_predicted_error() {
    for log in 3..=15 {
        let n: usize = 1 << log;
        // At most 256 digits that are not zero: the oracle costs that times N.
        let step = (n / 256).max(1);
        let repetitions = (8192 / n).max(1);
        let (mut squares, mut maxima) = ([0.0; 3], [0.0_f64; 3]);
        for i in 0..repetitions {
            let generator = &mut generator((log * 65536 + i) as u64);
            let a = sparse_digits(generator, n, step, 1 << 22);
            let b = uniform(generator, n);
            let expected = schoolbook(&a, &b);
            for (fft, (square, maximum)) in plans(n).zip(squares.iter_mut().zip(&mut maxima)) {
                let (rms, max) = distances(&product(&fft, &a, &b), &expected);
                *square += rms * rms / repetitions as f64;
                *maximum = maximum.max(max);
            }
        }
        // Digits and torus elements are uniform: root mean squares of 2^22/√3 and 2^63/√3.
        let predicted = ((n / step) as f64).sqrt() * 2f64.powi(22 + 63) / 3.0 * predicted_error(n);
        for (fft, (square, maximum)) in plans(n).zip(squares.iter().zip(maxima)) {
            assert_predicted(&fft, square.sqrt(), maximum, predicted);
        }
    }
}

#[test]
fn extreme_products_stay_within_the_bound() {
    for n in [8, 64, 256, 2048] {
        for digit in [-(1 << 22), 1 << 22] {
            for x in [0, 1, 1 << 63, (1 << 63) - 1, u64::MAX] {
                let (a, b) = (vec![digit; n], vec![x; n]);
                let expected = schoolbook(&a, &b);
                // Coefficient k is digit·x·(2k + 2 − N), for signed x, whose root mean square is this; with all errors
                // aligned, they could reach the sum of the moduli of the values, √M times their root mean square.
                let size = digit as f64 * x as i64 as f64 * n as f64 / 3f64.sqrt();
                let bound = size.abs() * predicted_error(n) * (n as f64 / 2.0).sqrt() + 0.5;
                for fft in plans(n) {
                    let (rms, maximum) = distances(&product(&fft, &a, &b), &expected);
                    assert!(maximum <= bound, "{fft:?}: {digit}·{x}: {maximum:e} is above {bound:e}");
                    assert!(rms <= bound, "{fft:?}");
                }
            }
        }
    }
}

#[test]
fn torus_elements_survive_the_round_trip() {
    for log in 3..=16 {
        let n: usize = 1 << log;
        let x = uniform(&mut generator(log as u64), n);
        // Two transforms and the conversion from 64 to 53 bits, of numbers of root mean square 2^63/√3.
        let predicted = 2f64.powi(63 - 53) / 3f64.sqrt() * (2.0 * 0.36 * (n as f64 / 2.0).log2() + 0.3).sqrt();
        for fft in plans(n) {
            let (mut values, mut out) = (vec![0.0; n], vec![0; n]);
            fft.forward_torus(&x, &mut values, &mut fft.scratch());
            fft.inverse_add_torus(&mut values, &mut out, &mut fft.scratch());
            let (rms, maximum) = distances(&out, &x);
            assert!(rms < 1.5 * predicted && maximum < 9.0 * predicted, "{fft:?}: {rms} {maximum} of {predicted}");
        }
    }
}

#[test]
fn integers_survive_the_round_trip_exactly() {
    for log in 3..=16 {
        let n: usize = 1 << log;
        let generator = &mut generator(log as u64);
        let extremes = [0, 1, -1, i32::MAX, i32::MIN];
        let x: Vec<i32> =
            (0..n).map(|j| if j % 3 == 0 { extremes[j % 5] } else { generator.uniform() as i32 }).collect();
        for fft in plans(n) {
            for shift in [0, 1, 32, 63] {
                let mut values = vec![0.0; n];
                fft.forward_integers(&x, &mut values, &mut fft.scratch());
                let start = uniform(generator, n);
                let mut out = start.clone();
                fft.inverse_add_integers(&mut values, shift, &mut out, &mut fft.scratch());
                let expected = x.iter().zip(&start).map(|(&x, s)| s.wrapping_add((x as i64 as u64) << shift));
                assert!(expected.eq(out), "{fft:?}, shift {shift}");
            }
        }
    }
}

/// What comes out of an inverse transform before it is rounded.
struct Unrounded<'a>(&'a mut [f64]);

impl coefficients::Accumulator for Unrounded<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    unsafe fn add<S: crate::simd::Simd>(&mut self, simd: S, index: usize, x: S::Reals, scale: S::Reals) {
        let x = simd.multiply(x, scale);
        // SAFETY: the caller's: LANES numbers from `index` are inside the slice.
        unsafe { simd.store_reals(x, self.0.as_mut_ptr().add(index)) }
    }
}

/// Root mean square and maximum of the errors before rounding of `rows` products, summed up, of digits uniform in
/// [−β/2, β/2] with 32-bit halves of a key.
fn rounding_errors(fft: &NegacyclicFft, generator: &mut SampleStream, base_log: u32, rows: usize) -> (f64, f64) {
    let n = fft.polynomial_size().get();
    let (mut sum, mut expected) = (vec![0.0; n], vec![0; n]);
    for _ in 0..rows {
        let digits = sparse_digits(generator, n, 1, 1 << (base_log - 1));
        let half: Vec<i32> = (0..n).map(|_| generator.uniform() as i32).collect();
        let (mut x, mut y) = (vec![0.0; n], vec![0.0; n]);
        fft.forward_integers(&digits, &mut x, &mut fft.scratch());
        fft.forward_integers(&half, &mut y, &mut fft.scratch());
        fft.multiply_accumulate(&mut sum, &x, &y);
        let half: Vec<u64> = half.iter().map(|&x| x as i64 as u64).collect();
        let wide: Vec<i64> = digits.iter().map(|&x| x as i64).collect();
        schoolbook_add(&wide, &half, &mut expected);
    }
    let mut reals = vec![0.0; n];
    match &fft.plan {
        Plan::Portable(plan) => plan.inverse(&sum, &mut plan.scratch(), |i, x| reals[i] = x),
        Plan::Vector(instructions, plan) => {
            instructions.run(Merge { plan, data: &mut sum });
            instructions.run(Finish { plan, input: &sum, output: Unrounded(&mut reals) });
        }
    }
    let error = |(x, e): (&f64, &u64)| x - *e as i64 as f64;
    let maximum = reals.iter().zip(&expected).map(error).fold(0.0, |m: f64, e| m.max(e.abs()));
    (root_mean_square(reals.iter().zip(&expected).map(error)), maximum)
}

#[test]
fn integer_products_are_exact_up_to_digits_of_eleven_bits() {
    // A sum of 8 products (two inputs, four levels) at N = 4096 has root mean square √(8N)·(β/2)·2^31/3, and its error the
    // relative one of three transforms: at β = 2^11 a σ of 0.053 predicted and 0.057 measured (rustfft: 0.071), so that
    // 1/2 is 8.7σ. At 2^12 it is 4.3σ: about one coefficient in 40,000 would be wrong.
    let n = 4096;
    for base_log in [11, 12] {
        let size = ((8 * n) as f64).sqrt() * 2f64.powi(base_log - 1 + 31) / 3.0;
        let predicted = size * predicted_error(n);
        for fft in plans(n) {
            let (rms, maximum) = rounding_errors(&fft, &mut generator(base_log as u64), base_log as u32, 8);
            assert_predicted(&fft, rms, maximum, predicted);
            assert!(base_log > 11 || maximum < 0.5, "{fft:?}: not exact");
        }
    }
}

#[test]
fn equal_plans_compute_equal_bits() {
    let n = 1024;
    let generator = &mut generator(7);
    let (a, b) = (sparse_digits(generator, n, 1, 1 << 22), uniform(generator, n));
    for (x, y) in plans(n).zip(plans(n)) {
        assert!(product(&x, &a, &b) == product(&y, &a, &b), "{x:?}");
    }
}
