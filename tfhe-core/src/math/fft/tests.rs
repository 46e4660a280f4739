//! Every backend of this CPU against the schoolbook product, within the error that theory predicts.

use rustfft::{FftPlannerScalar, FftPlannerSse};

use super::*;
use crate::gadget_product::{FourierRows, GadgetScratch};
use crate::noise;
use crate::params::Precision;
use crate::polynomial::schoolbook_add;
use crate::random::{SampleSeed, SampleStream};
use crate::rounding::TORUS_BITS;
use crate::simd::Simd;

/// Every plan that this CPU can run for polynomials of `n` coefficients: those that suit it, and those for CPUs of other makers.
fn plans(n: usize) -> impl Iterator<Item = NegacyclicFft> {
    let polynomial_size = PolynomialSize::new(n).unwrap();
    let vectors = Backend::available().flat_map(VectorInstructions::of).filter_map(move |instructions| {
        let plan = plan::Plan::new(n, instructions.lanes())?;
        Some(NegacyclicFft { polynomial_size, plan: Plan::Vector(instructions, Arc::new(plan)) })
    });
    std::iter::once(NegacyclicFft::with_backend(polynomial_size, Backend::Portable).unwrap()).chain(vectors)
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

/// What rustfft computes with on CPUs other than this one.
fn other_rustfft_plans(n: usize) -> Vec<(String, NegacyclicFft)> {
    let fft = |plan: portable::Plan| NegacyclicFft {
        polynomial_size: PolynomialSize::new(n).unwrap(),
        plan: Plan::Portable(plan),
    };
    let mut scalar = FftPlannerScalar::new();
    let scalar = portable::Plan::planned(n, |len, way| scalar.plan_fft(len, way), Transforms::RUSTFFT);
    let sse = FftPlannerSse::new()
        .ok()
        .map(|mut planner| portable::Plan::planned(n, |len, way| planner.plan_fft(len, way), Transforms::RUSTFFT));
    std::iter::once(("rustfft, scalar".to_owned(), fft(scalar)))
        .chain(sse.map(|sse| ("rustfft, SSE".to_owned(), fft(sse))))
        .collect()
}

/// Every plan with a name: the backends of this CPU, and rustfft's other code.
fn named_plans(n: usize) -> Vec<(String, NegacyclicFft)> {
    let name = |fft: &NegacyclicFft| match &fft.plan {
        Plan::Portable(_) => fft.backend().to_string(),
        Plan::Vector(instructions, _) => instructions.to_string(),
    };
    plans(n).map(|fft| (name(&fft), fft)).chain(other_rustfft_plans(n)).collect()
}

/// The mean square of the errors of a gadget product of `inputs` polynomials, one column, over that of the product. The input is a
/// multiple of q/β^ℓ, so that every backend takes the same digits of it.
fn relative_errors(ffts: &[(String, NegacyclicFft)], gadget: Gadget, inputs: usize, repetitions: usize) -> Vec<f64> {
    let n = ffts[0].1.polynomial_size().get();
    let (levels, bits) = (gadget.levels(), gadget.base_log() * gadget.levels() as u32);
    let product = gadget.digits_square(inputs * n) * 2f64.powi(128) / 12.0;
    let mut sums = vec![0.0; ffts.len()];
    for i in 0..repetitions {
        let generator = &mut generator((n * 65536 + i) as u64);
        let input: Vec<u64> = uniform(generator, inputs * n).iter().map(|x| x >> (64 - bits) << (64 - bits)).collect();
        let key = uniform(generator, inputs * levels * n);
        let mut expected = vec![0; n];
        let mut digits = vec![0; levels * n];
        for (polynomial, key) in input.chunks_exact(n).zip(key.chunks_exact(levels * n)) {
            decompose(polynomial, gadget, &mut digits);
            for (digits, key) in digits.chunks_exact(n).zip(key.chunks_exact(n)) {
                schoolbook_add(&digits.iter().map(|&x| x as i64).collect::<Vec<_>>(), key, &mut expected);
            }
        }
        for ((_, fft), sum) in ffts.iter().zip(&mut sums) {
            let rows = FourierRows::prepare(fft, gadget, inputs, 1, &key);
            let mut out = vec![0; n];
            rows.add_product(fft, &input, &mut out, &mut GadgetScratch::for_inputs(fft, gadget, inputs, 1));
            *sum += distances(&out, &expected).0.powi(2) / (repetitions as f64 * product);
        }
    }
    sums
}

/// Single-precision products of every backend, and of the code that rustfft has for other CPUs: the variance of the error is the
/// predicted one within 10 %, and never above what plans are made with. 2^16 errors, or 2^14 where a product has four rows: a
/// standard error of 0.55 or 1.1 %.
#[test]
fn fft_error_is_the_predicted_one_on_every_backend() {
    let per_square = 2f64.powi(106);
    println!("Variance of the error relative to the product, in units of 2^-106: measured, and over what is predicted");
    for (base_log, levels, inputs) in [(22, 1, 1), (15, 2, 2)] {
        let gadget = Gadget::new(base_log, levels, Precision::Single).unwrap();
        let rows = inputs * levels as usize;
        for n in [512, 1024, 2048, 4096, 8192] {
            let ffts = named_plans(n);
            let measured = relative_errors(&ffts, gadget, inputs, (1 << 16) / (n * rows));
            for ((name, fft), measured) in ffts.iter().zip(measured) {
                let ratio = measured / fft.transforms().of_torus(rows, n);
                println!("| {name} | {n} | {rows} rows | {:.2} | {ratio:.3} |", measured * per_square);
                assert!((ratio - 1.0).abs() <= 0.1, "{name}, N = {n}, {rows} rows: {ratio:.3}");
                assert!(measured <= Transforms::ANY.of_torus(rows, n), "{name}, N = {n}, {rows} rows: above the bound");
            }
        }
    }
}

/// Asserts that an error is at most what plans are made with and at least half of what is predicted, in variance. Of at most 2^16
/// errors, roughly normal, none is beyond 6 standard deviations (probability 2^-13).
fn assert_bounded(fft: &NegacyclicFft, rms: f64, maximum: f64, size: f64) {
    let n = fft.polynomial_size().get();
    let [bound, predicted] = [Transforms::ANY, fft.transforms()].map(|it| size * it.of_torus(1, n).sqrt());
    assert!(rms <= bound, "{fft:?}: error {rms:e} is above {bound:e} at N = {n}");
    assert!(
        rms >= 0.5f64.sqrt() * predicted,
        "{fft:?}: error {rms:e} is suspiciously far below {predicted:e} at N = {n}"
    );
    assert!(maximum < 6.0 * bound, "{fft:?}: worst error {maximum:e} against {bound:e}");
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
fn random_products_of_all_sizes_are_within_the_bound() {
    for log in 3..=16 {
        let n: usize = 1 << log;
        // At most 256 digits that are not zero: the oracle costs that times N.
        let step = (n / 256).max(1);
        let repetitions = (8192 / n).max(1);
        let count = plans(n).count();
        let (mut squares, mut maxima) = (vec![0.0; count], vec![0.0_f64; count]);
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
        let size = ((n / step) as f64).sqrt() * 2f64.powi(22 + 63) / 3.0;
        for (fft, (square, maximum)) in plans(n).zip(squares.iter().zip(maxima)) {
            assert_bounded(&fft, square.sqrt(), maximum, size);
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
                for fft in plans(n) {
                    let relative = fft.transforms().of_torus(1, n).sqrt();
                    let bound = size.abs() * relative * (n as f64 / 2.0).sqrt();
                    let bound = bound + 2f64.powi(TORUS_BITS as i32 - 1);
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
        for fft in plans(n) {
            // Numbers of root mean square 2^63/√3; two transforms are less than the three of a product.
            let square = 4f64.powi(63) / 3.0 * Transforms::ANY.of_torus(1, n);
            // What comes back is rounded.
            let predicted = (square + 4f64.powi(TORUS_BITS as i32) / 12.0).sqrt();
            let (mut values, mut out) = (vec![0.0; n], vec![0; n]);
            fft.forward_torus(&x, &mut values, &mut fft.scratch());
            fft.inverse_add_torus(&mut values, &mut out, &mut fft.scratch());
            let (rms, maximum) = distances(&out, &x);
            assert!(rms < predicted && maximum < 6.0 * predicted, "{fft:?}: {rms} {maximum} of {predicted}");
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
    unsafe fn plus<S: Simd>(&self, simd: S, _index: usize, x: S::Reals, scale: S::Reals) -> S::Words {
        simd.bits(simd.multiply(x, scale))
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&mut self, simd: S, index: usize, sums: S::Words) {
        // SAFETY: the caller's: LANES numbers from `index` are inside the slice.
        unsafe { simd.store_words(sums, self.0.as_mut_ptr().add(index).cast()) }
    }
}

/// The integers that an inverse transform is rounded to, before that.
fn unrounded(fft: &NegacyclicFft, mut values: Vec<f64>) -> Vec<f64> {
    let mut reals = vec![0.0; values.len()];
    match &fft.plan {
        Plan::Portable(plan) => plan.inverse(&values, &mut plan.scratch(), |i, x| reals[i] = x),
        Plan::Vector(instructions, plan) => {
            instructions.run(Merge { plan, data: &mut values });
            instructions.run(Finish { plan, input: &values, output: Unrounded(&mut reals) });
        }
    }
    reals
}

/// The errors before rounding, for each plan, of `rows` products, summed up, of digits uniform in [−β/2, β/2] with 32-bit halves of a
/// key.
fn rounding_errors(
    ffts: &[(String, NegacyclicFft)],
    generator: &mut SampleStream,
    base_log: u32,
    rows: usize,
) -> Vec<Vec<f64>> {
    let n = ffts[0].1.polynomial_size().get();
    let (mut sums, mut expected) = (vec![vec![0.0; n]; ffts.len()], vec![0; n]);
    for _ in 0..rows {
        let digits = sparse_digits(generator, n, 1, 1 << (base_log - 1));
        let half: Vec<i32> = (0..n).map(|_| generator.uniform() as i32).collect();
        for ((_, fft), sum) in ffts.iter().zip(&mut sums) {
            let (mut x, mut y) = (vec![0.0; n], vec![0.0; n]);
            fft.forward_integers(&digits, &mut x, &mut fft.scratch());
            fft.forward_integers(&half, &mut y, &mut fft.scratch());
            fft.multiply_accumulate(sum, &x, &y);
        }
        let half: Vec<u64> = half.iter().map(|&x| x as i64 as u64).collect();
        let wide: Vec<i64> = digits.iter().map(|&x| x as i64).collect();
        schoolbook_add(&wide, &half, &mut expected);
    }
    let errors = |((_, fft), sum): (&(String, NegacyclicFft), Vec<f64>)| {
        unrounded(fft, sum).iter().zip(&expected).map(|(x, &e)| x - e as i64 as f64).collect()
    };
    ffts.iter().zip(sums).map(errors).collect()
}

/// Split products of two inputs and four levels at N = 4096, β = 2^11 (the precise bootstrapping of `head_exact`) and 2^13: the
/// error before rounding is the predicted one within 10 % in variance, and where it reaches 1/2 often enough to be counted, as
/// often as predicted. 2^14 errors each: a standard error of 1.1 %.
#[test]
fn fft_error_of_split_products_is_the_predicted_one() {
    let (n, rows, repetitions) = (4096, 8, 4);
    println!("| | β | margin | variance over the predicted one | off by one |");
    for base_log in [11, 13] {
        let gadget = Gadget::new(base_log, 4, Precision::Split).unwrap();
        let (ffts, generator) = (named_plans(n), &mut generator(base_log as u64));
        let mut errors = vec![Vec::new(); ffts.len()];
        for _ in 0..repetitions {
            let more = rounding_errors(&ffts, generator, base_log, rows);
            errors.iter_mut().zip(more).for_each(|(errors, more)| errors.extend(more));
        }
        for ((name, fft), errors) in ffts.iter().zip(&errors) {
            let product = gadget.on(fft.transforms());
            let margin = noise::split_margin_log2(product, fft.polynomial_size(), 2).exp2();
            let ratio = (root_mean_square(errors.iter().copied()) * 2.0 * margin).powi(2);
            // Results are multiples of 1/16 or 1/8 here: of those that are 1/2 off, half are rounded the right way.
            let wrong = |e: &f64| if e.abs() == 0.5 { 0.5 } else { f64::from(e.abs() > 0.5) };
            let count: f64 = errors.iter().map(wrong).sum();
            // One column of 2·N chances has as many coefficients as two repetitions.
            let expected = noise::off_by_ones(product, fft.polynomial_size(), 2, 1) * repetitions as f64 / 2.0;
            println!("| {name} | 2^{base_log} | {margin:.2} σ | {ratio:.3} | {count} of {expected:.2e} |");
            assert!((ratio - 1.0).abs() <= 0.1, "{name}, β = 2^{base_log}: {ratio:.3}");
            // A tenth of the variance is up to 30 % of the tail at two standard deviations; and the count is Poisson's.
            let tolerance = if base_log == 11 { 0.0 } else { 0.3 * expected + 4.0 * expected.sqrt() };
            assert!((count - expected).abs() <= tolerance + 1e-3, "{name}: {count} off by one, {expected} predicted");
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
