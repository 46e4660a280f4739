//! Section F: the rounding errors of transforms, on each kind of vector instructions that the CPU has.

use rayon::prelude::*;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::integer_product::{FourierIntegers, FourierTorus};
use tfhe_core::noise::Variance;
use tfhe_core::params::PolynomialSize;
use tfhe_core::polynomial::schoolbook_add;
use tfhe_core::random::SampleSeed;
use tfhe_core::rounding::Transforms;
use tfhe_core::simd::Backend;
use tfhe_core::torus;

use super::claim::{AuditClaim, AuditSection, ClaimVerdict};
use super::error::AuditError;
use super::statistics::{effective_degrees, variance_interval};

/// Within what the constants of [`Transforms`] are said to hold.
const TOLERANCE: f64 = 1.1;
/// Small factors: from −2^13 to 2^13, as digits of a coarse gadget.
const FACTOR_LOG: u32 = 14;
/// Small factors of exact products.
const EXACT_LOG: u32 = 9;
/// Errors of one polynomial are correlated a little: how much the mean square over so many polynomials has in common.
const SHARED: f64 = 0.03;

/// Measures products of each size on each backend.
///
/// # Errors
/// If a backend that is available cannot be used.
pub fn section(sizes: &[PolynomialSize], products: u64, samples: &SampleSeed) -> Result<AuditSection, AuditError> {
    let mut claims = Vec::new();
    for backend in Backend::available() {
        for &size in sizes {
            let fft = NegacyclicFft::with_backend(size, backend)?;
            // Too small for these vectors: measured as the narrower ones.
            if fft.backend() == backend {
                claims.extend(of_backend(&fft, products, samples));
            }
        }
    }
    Ok(AuditSection {
        id: "F",
        title: "Transforms: how exact products of polynomials are",
        explanation: vec![
            "Products of polynomials are computed by Fourier transforms in 64-bit floating point (f64), which rounds. A bound of that is part of every prediction of noise.",
            "Backend: one way to compute them, by the vector instructions of a CPU. Each that this CPU has is measured, against products by hand in whole numbers.",
            "Error: its variance against that of the product, as a multiple of the bound. Exact products: those with keys in two halves, which must be right to the last bit.",
        ],
        claims,
        assumptions: vec!["Other CPUs may have other instructions: what is measured here is this one."],
    })
}

/// What one product gives.
struct Product {
    /// Errors against the product by hand, in turns.
    errors: Vec<f64>,
    /// Coefficients of an exact product that are wrong.
    wrong: usize,
    /// What comes back wrong of a transform there and back.
    lost: usize,
}

fn of_backend(fft: &NegacyclicFft, products: u64, samples: &SampleSeed) -> Vec<AuditClaim> {
    let all: Vec<Product> = (0..products).into_par_iter().map(|index| product(fft, samples, index)).collect();
    let (backend, n) = (fft.backend(), fft.polynomial_size().get());
    let errors: Vec<f64> = all.iter().flat_map(|product| product.errors.clone()).collect();
    let id = |what: &str| format!("F.{backend}.{n}.{what}");
    let who = format!("{backend}, N = {n}");
    let coefficients = products as usize * n;
    let exact =
        |what: &str, sentence: &str, wrong| exact_claim(id(what), format!("{who}: {sentence}"), wrong, coefficients);
    vec![
        exact("inverse", "integers come back from a transform and its inverse", all.iter().map(|p| p.lost).sum()),
        error_claim(id("product"), &who, &errors, fft.transforms(), n),
        exact("exact", "exact products are right to the last bit", all.iter().map(|p| p.wrong).sum()),
    ]
}

/// That of so many coefficients none is wrong.
fn exact_claim(id: String, sentence: String, wrong: usize, coefficients: usize) -> AuditClaim {
    AuditClaim::new(id, sentence, ClaimVerdict::of(wrong == 0))
        .figure("coefficients", coefficients as f64, coefficients.to_string())
        .figure("wrong", wrong as f64, wrong.to_string())
}

/// That errors of products with uniform torus polynomials are no larger than the bound.
fn error_claim(id: String, who: &str, errors: &[f64], transforms: Transforms, n: usize) -> AuditClaim {
    // Of uniform factors: 2^(2·FACTOR_LOG)/12 each; of torus elements 1/12.
    let mean_square = n as f64 * 4f64.powi(FACTOR_LOG as i32) / 144.0;
    let bound = Variance::new(mean_square * transforms.of_torus(1, n));
    let measured = Variance::measured(errors);
    let ratio = measured.get() / bound.get();
    let [low, high] = variance_interval(ratio, effective_degrees(errors.len(), SHARED));
    let sentence = format!("{who}: errors of products are at most {TOLERANCE} times the bound");
    AuditClaim::new(id, sentence, ClaimVerdict::of(low <= TOLERANCE))
        .figure("bound", bound.log2_std(), format!("2^{:.2}", bound.log2_std()))
        .figure("measured", measured.log2_std(), format!("2^{:.2}", measured.log2_std()))
        .figure("variance, measured/bound", ratio, format!("{ratio:.3}"))
        .figure("from", low, format!("{low:.3}"))
        .figure("to", high, format!("{high:.3}"))
}

fn product(fft: &NegacyclicFft, samples: &SampleSeed, index: u64) -> Product {
    let n = fft.polynomial_size().get();
    let (mut stream, scratch) = (samples.stream(index), &mut fft.scratch());
    let mut elements = vec![0; n];
    stream.fill_uniform(&mut elements);
    let mut integers =
        |log: u32| -> Vec<i32> { (0..n).map(|_| (stream.uniform() >> (64 - log)) as i32 - (1 << (log - 1))).collect() };
    let (factors, small) = (integers(FACTOR_LOG), integers(EXACT_LOG));
    let by_hand = |factors: &[i32]| {
        let mut out = vec![0; n];
        schoolbook_add(&factors.iter().map(|&x| i64::from(x)).collect::<Vec<_>>(), &elements, &mut out);
        out
    };

    let [mut a, mut b, mut sum] = [(); 3].map(|()| tfhe_core::buffer::AlignedBuffer::zeros(n));
    fft.forward_integers(&factors, &mut a, scratch);
    fft.forward_torus(&elements, &mut b, scratch);
    fft.multiply_accumulate(&mut sum, &a, &b);
    let mut out = vec![0; n];
    fft.inverse_add_torus(&mut sum, &mut out, scratch);
    let errors = out.iter().zip(by_hand(&factors)).map(|(&x, y)| torus::to_f64(x.wrapping_sub(y))).collect();

    let mut back = vec![0; n];
    fft.inverse_add_integers(&mut a, 0, &mut back, scratch);
    let lost = back.iter().zip(&factors).filter(|(x, y)| **x as i64 != i64::from(**y)).count();

    let mut exact = FourierTorus::zero(fft);
    let (left, right) = (FourierTorus::new(fft, &elements, scratch), FourierIntegers::new(fft, &small, scratch));
    exact.add_product(fft, &left, &right);
    let mut out = vec![0; n];
    exact.inverse_add(fft, &mut out, scratch);
    let wrong = out.iter().zip(by_hand(&small)).filter(|(x, y)| **x != *y).count();
    Product { errors, wrong, lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_keep_their_bounds_and_not_a_smaller_one() {
        let sizes = [PolynomialSize::new(512).unwrap()];
        let section = section(&sizes, 8, &SampleSeed::from_number(1)).unwrap();
        assert!(section.count(ClaimVerdict::Holds) >= 3);
        assert_eq!(section.count(ClaimVerdict::Broken), 0, "{:?}", section.claims);
        let fft = NegacyclicFft::new(sizes[0]);
        let errors: Vec<f64> = (0..8).flat_map(|i| product(&fft, &SampleSeed::from_number(1), i).errors).collect();
        let of = |errors: &[f64]| error_claim("F".into(), "test", errors, fft.transforms(), 512).verdict;
        assert_eq!(of(&errors), ClaimVerdict::Holds);
        // As if the bound were half of what it is.
        let larger: Vec<f64> = errors.iter().map(|error| 2f64.sqrt() * error).collect();
        assert_eq!(of(&larger), ClaimVerdict::Broken);
        let exact = |wrong| exact_claim("F".into(), "test".into(), wrong, 512).verdict;
        assert_eq!([exact(0), exact(1)], [ClaimVerdict::Holds, ClaimVerdict::Broken]);
    }
}
