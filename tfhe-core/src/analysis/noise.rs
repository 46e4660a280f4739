//! Variances and distributions of errors, from parameters alone.
//!
//! Variances are fractions of the torus squared. Formulas for binary secrets, after Chillotti, Ligier, Orfila, Tap
//! (ePrint 2021/729, appendices), re-derived for digits of mean zero in [−β/2, β/2]: such a digit has variance
//! `(β² + 2)/12` at the lowest level, since both ±β/2 occur half as often as the others, and a little more above it, which formulas below leave
//! out and [`Gadget`] counts (chapter 3 of the book).
//!
//! Where products are computed by transforms, a gadget alone gives a bound that holds on every backend, which is what plans are made
//! with; [`Gadget::on`] gives the prediction for one, which is what measurements are compared with.
//!
//! In the book: [noise and failure](../../../book/09-noise-and-failure.html).

mod levels;
mod refresh;
mod rotation;

use std::collections::BTreeSet;

pub use crate::distribution::{Distribution, Mixture};
pub use crate::variance::Variance;
pub use levels::{LevelNoise, LookedUpNoise, effective_squares};
pub use refresh::{RefreshNoise, RefreshParameters, refresh};
pub use rotation::{blind_rotation, modulus_switch, rotation_step, stored_bits};

use crate::params::{Gadget, GadgetTransforms, GlweShape, LweDimension, PolynomialSize, Precision};
use crate::torus::MODULUS_LOG;

/// Variance of the rounding to the gadget, as a fraction of the torus: `β^(−2ℓ)/12`.
fn rounding(gadget: Gadget) -> f64 {
    2f64.powi(-2 * (gadget.base_log() as i32) * gadget.levels() as i32) / 12.0
}

/// Noise of the gadget product of `rows` rows (inputs·ℓ) with noise of variance `key`: `rows·N·(β²+2)/12·σ²`.
fn gadget_noise(gadget: Gadget, rows: usize, n: usize, key: Variance) -> Variance {
    key.repeated(rows as f64 * n as f64 * gadget.digit_variance())
}

/// Variance added by an LWE key switch from dimension `input`: `n'·(ℓ·(β²+2)/12·σ² + β^(−2ℓ)/24)`.
///
/// A rounding error meets a key bit that is 1 half of the time: `β^(−2ℓ)/12 · 1/2`.
///
/// # Examples
/// The set `toy`, from 64 bits to 8: chapter 6 of the book adds it up by hand.
/// ```
/// # use tfhe_core::key_graph::{Edge, Node};
/// # let set = tfhe_core::sets::TOY.compile()?;
/// # let (small, ring) = (set.small(), set.lookup());
/// // `set` is the set `toy`, `small` and `ring` are its keys.
/// use tfhe_core::noise;
///
/// let gadget = set.gadget(Edge::Keyswitch { from: Node::Lookup })?;
/// let switch = noise::lwe_keyswitch(gadget, ring.lwe_dimension(), small.noise().variance());
/// assert!((switch.log2_std() + 18.23).abs() < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lwe_keyswitch(gadget: Gadget, input: LweDimension, key: Variance) -> Variance {
    let n = input.get() as f64;
    key.repeated(n * gadget.levels() as f64 * gadget.digit_variance()) + Variance::new(n * rounding(gadget) / 2.0)
}

/// Variance added by a GLWE key switch between keys of one shape (an automorphism): see [`glwe_keyswitch_from`].
pub fn glwe_keyswitch(gadget: impl Into<GadgetTransforms>, shape: GlweShape, key: Variance) -> Variance {
    glwe_keyswitch_from(gadget, shape, shape, key)
}

/// Variance added by a GLWE key switch from k' polynomials of N' ≤ N coefficients, in the powers of X^(N/N'), to k of N:
/// `k'·ℓ·N'·(β²+2)/12·σ² + k'N'·β^(−2ℓ)/24`, and the error of transforms of N coefficients.
///
/// # Examples
/// Twice as many polynomials have twice the variance; what is in a larger ring than it has coefficients, no more than in its own.
/// ```
/// use tfhe_core::noise::{glwe_keyswitch_from, Variance};
/// use tfhe_core::params::{Gadget, GlweShape, Precision};
///
/// let (gadget, key) = (Gadget::new(8, 4, Precision::Split)?, Variance::from_log2_std(-40.0));
/// let [to, large] = [256, 512].map(|n| GlweShape::new(1, n).unwrap());
/// let [one, two] = [1, 2].map(|k| glwe_keyswitch_from(gadget, GlweShape::new(k, 256).unwrap(), to, key));
/// assert!((two.get() / one.get() - 2.0).abs() < 1e-9);
/// assert!((glwe_keyswitch_from(gadget, to, large, key).get() / one.get() - 1.0).abs() < 1e-9);
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn glwe_keyswitch_from(
    gadget: impl Into<GadgetTransforms>,
    from: GlweShape,
    to: GlweShape,
    key: Variance,
) -> Variance {
    let product = gadget.into();
    let (inputs, n) = (from.dimension.get(), from.polynomial_size.get());
    gadget_noise(product.gadget, inputs * product.gadget.levels(), n, key)
        + Variance::new((inputs * n) as f64 * rounding(product.gadget) / 2.0)
        + transform_error(product, to, inputs, inputs * n)
}

/// Variance added by an external product with a GGSW encryption of 1:
/// `ℓ(k+1)N(β²+2)/12·σ² + (1 + kN/2)·β^(−2ℓ)/12`, and the transform's error.
///
/// # Examples
/// In the set `toy` what is rounded decides: chapter 3 of the book adds it up by hand.
/// ```
/// # let set = tfhe_core::sets::TOY.compile()?;
/// # let ring = set.lookup();
/// // `set` is the set `toy`, `ring` its lookup ring.
/// use tfhe_core::noise::{self, Variance};
///
/// let gadget = set.bootstraps()[0].gadget;
/// let product = noise::external_product(gadget, ring.shape, ring.noise.variance());
/// assert!((product.log2_std() + 23.3).abs() < 0.1);
/// let rounding = noise::external_product(gadget, ring.shape, Variance::ZERO);
/// assert!(rounding.get() > 0.99 * product.get());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn external_product(gadget: impl Into<GadgetTransforms>, shape: GlweShape, key: Variance) -> Variance {
    let product = gadget.into();
    let (k, n) = (shape.dimension.get(), shape.polynomial_size.get());
    gadget_noise(product.gadget, (k + 1) * product.gadget.levels(), n, key)
        + Variance::new((1.0 + (k * n) as f64 / 2.0) * rounding(product.gadget))
        + fft_error(product, shape, k + 1)
}

/// The error of an external product with a GGSW encryption made by [`crate::tensor_product::RelinearizationKey::ggsw`] (k = 1)
/// of a polynomial M whose coefficients' squares add up to `squares`.
///
/// - The noise of M's ciphertext, `message`, is a part of M that is no integer: it meets the wrap-around of the other factor's phase,
///   in units of the last level, β^ℓ. Half of that wrap-around's energy comes of the mean of the key's bits, 1/2, and is a random walk.
/// - The noise that relinearization adds to the last row −M·S, `relinearization`, meets the digits: `N·(β²+2)/12` times in each
///   level, `β^(2(ℓ−level))` times more in the levels above the last.
/// - What is rounded, `β^(−2ℓ)/12·(1 + N/2)`, meets M.
///
/// # Examples
/// An integer with less noise is an exacter factor; what is rounded does not depend on it.
/// ```
/// use tfhe_core::noise::{product_with_ggsw, product_with_ggsw_rounding, Spread, Variance};
/// use tfhe_core::params::{Gadget, GlweShape, Precision};
///
/// let (gadget, shape) = (Gadget::new(10, 2, Precision::Single)?, GlweShape::new(1, 1024)?);
/// let error = |log2_std| {
///     let message = Spread::new(Variance::from_log2_std(log2_std), 1);
///     product_with_ggsw(gadget, shape, message, Variance::ZERO, 9.0).variance()
/// };
/// assert!(error(-30.0).get() > 100.0 * error(-40.0).get());
/// assert!(error(-60.0).get() >= product_with_ggsw_rounding(gadget, shape, 9.0).get());
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn product_with_ggsw(
    gadget: impl Into<GadgetTransforms>,
    shape: GlweShape,
    message: Spread,
    relinearization: Variance,
    squares: f64,
) -> Distribution {
    let product = gadget.into();
    let (gadget, n) = (product.gadget, shape.polynomial_size.get());
    let (base_log, levels) = (gadget.base_log() as i32, gadget.levels() as i32);
    let powers: f64 = (0..levels).map(|level| 4f64.powi(base_log * level)).sum();
    let unit = message.energy.scaled(2f64.powi(base_log * levels));
    let quarter = n as f64 / 4.0;
    Distribution::mixture(unit.repeated(quarter / 12.0), Mixture::Walk)
        + Distribution::mixture(unit.repeated((1.0 + quarter) / 12.0), scattered(message, shape))
        + gadget_noise(gadget, 1, n, relinearization).repeated(powers)
        + product_with_ggsw_rounding(gadget, shape, squares)
        + fft_error(product, shape, 2)
}

/// The part of [`product_with_ggsw`] that comes of rounding to the gadget.
pub fn product_with_ggsw_rounding(gadget: Gadget, shape: GlweShape, squares: f64) -> Variance {
    Variance::new(squares * rounding(gadget) * (1.0 + shape.polynomial_size.get() as f64 / 2.0))
}

/// Variance, on the phase, of the f64 rounding error of one gadget product of `inputs` polynomials.
///
/// The product's coefficients have variance `inputs·ℓ·N·(β²+2)/12·(q²/12)`, the error the relative one of
/// [`crate::rounding::Transforms::of_torus`]; that of each of the k mask polynomials meets N/2 key bits.
///
/// That is from above: the error of a digit's transform is the same in mask and body, and most of it cancels in the phase. Where
/// this error is all there is, 0.65 to 0.95 of the variance was measured.
///
/// With [`Precision::Split`] the error is what is rounded to a wrong integer: 1 in the high half or the low one, that is 2^-32 or
/// 2^-64 of the torus, with the probability of [`off_by_ones`].
///
/// # Examples
/// With one f64 to a coefficient of the key the transforms add noise, with two halves hardly any.
/// ```
/// use tfhe_core::noise::fft_error;
/// use tfhe_core::params::{Gadget, GlweShape, Precision};
///
/// let shape = GlweShape::new(1, 4096)?;
/// let [single, split] = [Precision::Single, Precision::Split]
///     .map(|precision| fft_error(Gadget::new(11, 4, precision).unwrap(), shape, 2));
/// assert!((-31.0..-29.0).contains(&single.log2_std()), "{}", single.log2_std());
/// assert!(split.log2_std() < single.log2_std() - 10.0);
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn fft_error(gadget: impl Into<GadgetTransforms>, shape: GlweShape, inputs: usize) -> Variance {
    transform_error(gadget.into(), shape, inputs, inputs * shape.polynomial_size.get())
}

/// [`fft_error`] where only `coefficients` of the inputs' coefficients are not zero.
fn transform_error(product: GadgetTransforms, shape: GlweShape, inputs: usize, coefficients: usize) -> Variance {
    let GadgetTransforms { gadget, transforms } = product;
    let (k, n) = (shape.dimension.get(), shape.polynomial_size.get());
    let one = match gadget.precision() {
        Precision::Single => {
            let relative = transforms.of_torus(inputs * gadget.levels(), n);
            gadget.digits_square(coefficients) / 12.0 * relative
        }
        Precision::Split => {
            let margin = gadget.split_margin(transforms, inputs, coefficients, n);
            // One in the low half, 2^-64, has a variance that is below the last bit of the other's.
            beyond(margin) * 2f64.powi(-64)
        }
    };
    Variance::new(one).repeated(1.0 + (k * n) as f64 / 2.0)
}

/// The probability that a normal variable is beyond `deviations` standard deviations.
fn beyond(deviations: f64) -> f64 {
    Distribution::from(Variance::new(1.0)).log2_tail(deviations).exp2()
}

/// The expected number of coefficients that are rounded to a wrong integer, the next one, in a product of `inputs` polynomials
/// with split rows of `columns` polynomials: 2·columns·N chances, since a coefficient has two halves.
///
/// With a set's gadgets ([`Gadget::in_ring`]) that is far below one, and not zero: a coefficient's probability is the one of
/// [`crate::rounding`] at the gadget's own margin, and what matters is a run. A precise bootstrapping of `head_exact`, 902 products of 2^14
/// chances each, has 2·10^-5 on the portable backend, where the threshold is at 7.1 standard deviations (3·10^-4 at 6.7, where
/// rustfft has no AVX), and 10^-12 with vectors of our own, at 9.1 or more; a tenth of the variance is a factor of ten there. So in a run
/// of a hundred thousand such bootstrappings it happens once or twice on the portable backend, and on vectors it does not.
///
/// Each is harmless. One in the high half is 2^-32 of the torus; in a mask it meets a key bit, so it moves a coefficient of the phase by
/// 2^-32 or not at all. That is fifteen standard deviations of that bootstrapping's noise, 2^-36, so outliers of this
/// size are more frequent than a normal variable's; but a table of 4 bits is read wrongly from 2^-6 on, 2^26 times as far. As a
/// factor of a product of ciphertexts at t = 2^9 it adds 2^-32·2^9·13 = 2^-19.3, once, to an entry with noise 2^-19.2.
///
/// # Examples
/// The precise bootstrapping of `head_exact`: rare on the least precise backend, and the narrower the digits, the rarer.
/// ```
/// use tfhe_core::noise::off_by_ones;
/// use tfhe_core::params::{Gadget, PolynomialSize, Precision};
///
/// let n = PolynomialSize::new(4096)?;
/// let of = |base_log| off_by_ones(Gadget::new(base_log, 4, Precision::Split).unwrap(), n, 2, 2);
/// assert!(902.0 * of(11) < 0.01 && of(10) < 1e-6 * of(11));
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn off_by_ones(
    gadget: impl Into<GadgetTransforms>,
    polynomial_size: PolynomialSize,
    inputs: usize,
    columns: usize,
) -> f64 {
    let (GadgetTransforms { gadget, transforms }, n) = (gadget.into(), polynomial_size.get());
    let limbs = gadget.precision().limbs();
    (limbs * columns * n) as f64 * beyond(gadget.split_margin(transforms, inputs, inputs * n, n))
}

/// log2 of the ratio of the rounding threshold 1/2 to the f64 error's standard deviation in a split gadget product of
/// `inputs` polynomials.
///
/// # Examples
/// A digit of one bit more halves the margin. At six standard deviations it is too little ([`split_is_exact`]).
/// ```
/// use tfhe_core::noise::{split_is_exact, split_margin_log2};
/// use tfhe_core::params::{Gadget, PolynomialSize, Precision};
///
/// let n = PolynomialSize::new(4096)?;
/// let gadget = |base_log| Gadget::new(base_log, 4, Precision::Split).unwrap();
/// assert!((split_margin_log2(gadget(11), n, 2).exp2() - 6.2).abs() < 0.1);
/// assert!((split_margin_log2(gadget(11), n, 2) - split_margin_log2(gadget(12), n, 2) - 1.0).abs() < 1e-3);
/// assert!(split_is_exact(gadget(11), n, 2) && !split_is_exact(gadget(12), n, 2));
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn split_margin_log2(gadget: impl Into<GadgetTransforms>, polynomial_size: PolynomialSize, inputs: usize) -> f64 {
    let (GadgetTransforms { gadget, transforms }, n) = (gadget.into(), polynomial_size.get());
    gadget.split_margin(transforms, inputs, inputs * n, n).log2()
}

/// Whether gadget products of `inputs` polynomials carry no rounding error but the rare coefficient that is off by one, [`off_by_ones`]: the
/// gadget is split, and is accepted by [`Gadget::in_ring`], as that of every validated set.
pub fn split_is_exact(gadget: Gadget, polynomial_size: PolynomialSize, inputs: usize) -> bool {
    gadget.precision() == Precision::Split && gadget.in_ring(polynomial_size, inputs).is_ok()
}

/// Mean square of what rounding to `bits` bits ([`crate::torus::round`]) changes: `(2^(−2·bits) + 2·2^(−128))/12`, the second term since what is
/// in the middle is rounded up, which counts where hardly any bits are left out. None for all 64.
pub fn rounded_body(bits: u32) -> Variance {
    let square = |bits: u32| 2f64.powi(-2 * bits as i32);
    if bits < MODULUS_LOG { Variance::new((square(bits) + 2.0 * square(MODULUS_LOG)) / 12.0) } else { Variance::ZERO }
}

/// Variance, on the phase, of rounding a ciphertext's masks and body to `bits` bits: `(1 + kN/2)·2^(−2·bits)/12`, as half of the key's bits
/// are 1.
///
/// ```
/// use tfhe_core::noise::rounded_ciphertext;
/// use tfhe_core::params::GlweShape;
/// assert!((rounded_ciphertext(GlweShape::new(1, 4096)?, 30).log2_std() + 26.3).abs() < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rounded_ciphertext(shape: GlweShape, bits: u32) -> Variance {
    rounded_body(bits).repeated(1.0 + shape.extracted_lwe_dimension().get() as f64 / 2.0)
}

/// Variance at the kept coefficients after a trace of `steps` automorphisms, each adding `one`: `(4^steps − 1)/3`.
///
/// # Examples
/// Each step doubles the error so far and adds one: after three, (1 + 4 + 16) times the variance.
/// ```
/// use tfhe_core::noise::{trace, Variance};
/// let one = Variance::from_log2_std(-40.0);
/// assert!((trace(one, 3).get() / one.get() - 21.0).abs() < 1e-9);
/// ```
pub fn trace(one: Variance, steps: u32) -> Variance {
    one.repeated((4f64.powi(steps as i32) - 1.0) / 3.0)
}

/// The energy of a trace's noise, the sum over all N coefficients of their variances: `(2^steps − 1)·N·one`. Of what a step adds, to all
/// coefficients alike, each step that follows doubles the energy: where coefficients are kept their noise doubles,
/// and elsewhere it is added to another's or cancelled.
///
/// # Examples
/// After all steps most of the noise is at the one coefficient that is kept, and the others have some too.
/// ```
/// use tfhe_core::noise::{trace, trace_energy, Variance};
/// use tfhe_core::params::PolynomialSize;
/// let (one, n) = (Variance::new(1.0), PolynomialSize::new(64)?);
/// assert_eq!((trace(one, 6).get(), trace_energy(one, 6, n).get()), (1365.0, 63.0 * 64.0));
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn trace_energy(one: Variance, steps: u32, polynomial_size: PolynomialSize) -> Variance {
    one.repeated((2f64.powi(steps as i32) - 1.0) * polynomial_size.get() as f64)
}

/// The noise of a ciphertext's parts ([`crate::automorphism::AutomorphismKeys::expand`]), each in the powers of X^(2^steps). Splitting a
/// ciphertext in two is a step of a [`trace`], for its odd part as for the even one.
///
/// ```
/// use tfhe_core::key_graph::{Edge, Node};
/// use tfhe_core::noise::Expansion;
/// use tfhe_core::sets::PACKED_BLOCK;
///
/// // 128 parts of 32 coefficients, 128 times as large: fresh noise is 2^7 times as much, and key switches add more.
/// let set = PACKED_BLOCK.compile()?;
/// let (ring, gadget) = (set.arithmetic(), set.gadget(Edge::Automorphisms { ring: Node::Arithmetic, gadget: 0 })?);
/// let noise = Expansion::new(gadget, ring.shape, ring.noise.variance(), 7);
/// assert!((ring.noise.variance().log2_std() + 61.8).abs() < 0.1);
/// assert!((noise.kept(ring.noise.variance()).log2_std() + 34.1).abs() < 0.1);
/// assert!((noise.beside().log2_std() + 37.1).abs() < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expansion {
    keyswitch: Variance,
    steps: u32,
    size: PolynomialSize,
}

impl Expansion {
    /// Of automorphisms with `gadget`, whose keys have noise of variance `key`.
    pub fn new(gadget: impl Into<GadgetTransforms>, shape: GlweShape, key: Variance, steps: u32) -> Self {
        Self { keyswitch: glwe_keyswitch(gadget, shape, key), steps, size: shape.polynomial_size }
    }

    /// Variance at the coefficients that a part keeps, of a ciphertext with noise of variance `input`: it is multiplied by 2^steps, and
    /// key switches add that of a [`trace`].
    pub fn kept(&self, input: Variance) -> Variance {
        input.scaled(2f64.powi(self.steps as i32)) + trace(self.keyswitch, self.steps)
    }

    /// Variance at the others, on average: of key switches alone, what is not at those that are kept ([`trace_energy`]). The input's noise
    /// cancels there.
    pub fn beside(&self) -> Variance {
        let (n, kept) = (self.size.get(), self.size.get() >> self.steps);
        let energy = trace_energy(self.keyswitch, self.steps, self.size);
        let of_kept = trace(self.keyswitch, self.steps).repeated(kept as f64);
        let others = (n - kept).max(1) as f64;
        Variance::new((energy.get() - of_kept.get()).max(0.0) / others)
    }
}

/// Where in a polynomial noise is.
///
/// # Examples
/// Four values in one ciphertext: the energy adds up, the largest variance does not.
/// ```
/// use tfhe_core::noise::{Spread, Variance};
/// let (one, more) = (Spread::new(Variance::new(2.0), 1), Spread::new(Variance::new(3.0), 10));
/// assert_eq!(one.apart(4), Spread::new(Variance::new(2.0), 4));
/// assert_eq!((one + more).energy().get(), 2.0 + 30.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    energy: Variance,
    largest: Variance,
}

impl Spread {
    /// Noise of one variance on `count` coefficients.
    pub fn new(variance: Variance, count: usize) -> Self {
        Self { energy: variance.repeated(count as f64), largest: variance }
    }

    /// What a trace leaves ([`trace`], [`trace_energy`]): most at the coefficients that it keeps.
    pub fn of_trace(one: Variance, steps: u32, polynomial_size: PolynomialSize) -> Self {
        Self { energy: trace_energy(one, steps, polynomial_size), largest: trace(one, steps) }
    }

    /// Of the sum of `count` such polynomials, with their coefficients apart.
    pub fn apart(self, count: usize) -> Self {
        Self { energy: self.energy.repeated(count as f64), ..self }
    }

    /// The sum over all coefficients of their variances.
    pub fn energy(self) -> Variance {
        self.energy
    }

    /// On how many coefficients noise of its largest variance would have the same energy.
    fn places(self) -> f64 {
        if self.energy == Variance::ZERO { 1.0 } else { self.energy.get() / self.largest.get() }
    }
}

impl std::ops::Add for Spread {
    type Output = Self;

    /// Of the sum of two noises. Where each has its largest variance is not known: they may be the same coefficients.
    fn add(self, other: Self) -> Self {
        Self { energy: self.energy + other.energy, largest: self.largest + other.largest }
    }
}

/// What balancing a mask ([`crate::tensor_product`]) costs, times √N: the wrap-around's part from the mean of the key is made almost
/// as small as it can be, and the rest grows by as much. Measured on uniform masks; a test does so again.
pub(crate) const BALANCE: f64 = 2.3;

/// Variance of a coefficient of the wrap-around of a phase, the integer part of (B − A·S)/q, k = 1, for a balanced mask: key bits
/// less their mean have variance 1/4. Their mean would count as much again.
fn balanced_wrap_around(shape: GlweShape) -> f64 {
    let n = shape.polynomial_size.get() as f64;
    (1.0 + n / 4.0 * (1.0 + BALANCE / n.sqrt())) / 12.0
}

/// The mixture that noise meets in a wrap-around whose coefficients are independent: with noise on few places, few coefficients
/// matter. That the key's spectrum is not flat makes the N coefficients count as half as many.
fn scattered(noise: Spread, shape: GlweShape) -> Mixture {
    Mixture::Scattered { degrees: 1.0 / (1.0 / noise.places() + 1.0 / shape.polynomial_size.get() as f64) }
}

/// The error of a tensor product at scale q/2^log_t (before relinearization), k = 1: `t·K_1·E_2 + t·K_2·E_1`, where K is the wrap-around
/// of a factor's phase and E its noise. Of the same distribution at each coefficient, but with one variance, drawn once, in each
/// ciphertext.
///
/// # Examples
/// With noise on one coefficient of each factor, few numbers decide how large all errors of a product are: six standard
/// deviations are far more frequent than a normal variable's.
/// ```
/// use tfhe_core::noise::{self, Distribution, Spread, Variance};
/// use tfhe_core::params::GlweShape;
///
/// let factor = Spread::new(Variance::from_log2_std(-40.0), 1);
/// let error = noise::tensor_product(GlweShape::new(1, 4096)?, 10, [factor, factor]);
/// let threshold = 6.0 * error.variance().std();
/// let normal = Distribution::from(error.variance()).log2_tail(threshold);
/// assert!(error.log2_tail(threshold) > normal + 10.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn tensor_product(shape: GlweShape, log_t: u32, factors: [Spread; 2]) -> Distribution {
    let t = 2f64.powi(log_t as i32);
    let part = |noise: Spread| {
        let variance = noise.energy.scaled(t).repeated(balanced_wrap_around(shape));
        Distribution::mixture(variance, scattered(noise, shape))
    };
    factors.into_iter().filter(|noise| noise.energy > Variance::ZERO).map(part).sum()
}

/// Variance added by relinearization, k = 1: that of a key switch, but what is rounded meets S², whose coefficients go from −N/4 to
/// N/4 (S has mean 1/2): a sum of squares of `N³/48`.
///
/// # Examples
/// What is rounded meets S², so it counts far more than in a key switch.
/// ```
/// use tfhe_core::noise::{glwe_keyswitch, relinearization, Variance};
/// use tfhe_core::params::{Gadget, GlweShape, Precision};
///
/// let (gadget, shape) = (Gadget::new(8, 7, Precision::Split)?, GlweShape::new(1, 4096)?);
/// let [square, switch] = [relinearization, glwe_keyswitch].map(|of: fn(Gadget, _, _) -> _| of(gadget, shape, Variance::ZERO));
/// assert!((square.log2_std() + 42.6).abs() < 0.1);
/// // N³/48 in place of N/2.
/// assert!((square.get() / switch.get() / (4096_f64.powi(2) / 24.0) - 1.0).abs() < 0.01);
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn relinearization(gadget: impl Into<GadgetTransforms>, shape: GlweShape, key: Variance) -> Variance {
    let product = gadget.into();
    let n = shape.polynomial_size.get();
    gadget_noise(product.gadget, product.gadget.levels(), n, key)
        + Variance::new((n as f64).powi(3) / 48.0 * rounding(product.gadget))
        + fft_error(product, shape, 1)
}

/// Variance at the kept coefficients of what is lost in a division by 2^`bits` ([`crate::glwe::GlweCiphertext::divide_by_power_of_two`])
/// that a trace undoes: (1 + kN/2)/12 units of 2^-128, times 4^bits.
///
/// # Examples
/// Dividing by N and multiplying again leaves N times what was rounded off, a unit or so of 2^-64.
/// ```
/// use tfhe_core::noise::division;
/// use tfhe_core::params::GlweShape;
/// let shape = GlweShape::new(1, 1024)?;
/// assert!((division(shape, 10).log2_std() - (10.0 - 64.0 + 0.5 * (513.0_f64 / 12.0).log2())).abs() < 1e-9);
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn division(shape: GlweShape, bits: u32) -> Variance {
    let kept = 1.0 + shape.extracted_lwe_dimension().get() as f64 / 2.0;
    Variance::new(kept / 12.0 * 2f64.powi(2 * bits as i32 - 128))
}

/// Variance that packing by automorphisms ([`crate::automorphism::AutomorphismKeys::pack`]) adds to each packed coefficient, however many
/// are packed and wherever: what the key switch of level l adds to a coefficient is doubled by the log2 N − l levels that follow,
/// as in a [`trace`], and there is the [`division`] before.
///
/// The first level, of which three quarters of it are, has less than the others. After the division a mask's coefficients are small: the
/// digits above them are zero. (Its results' masks are sums of rows, anywhere on the torus.)
///
/// # Examples
/// Less than a trace of as many steps adds, since the first of them decomposes small numbers; and more than half of it.
/// ```
/// use tfhe_core::noise::{glwe_keyswitch, packing, trace, Variance};
/// use tfhe_core::params::{Gadget, GlweShape, Precision};
///
/// let (gadget, shape) = (Gadget::new(8, 5, Precision::Split)?, GlweShape::new(1, 2048)?);
/// let key = Variance::from_log2_std(-49.8);
/// let (packed, traced) = (packing(gadget, shape, key), trace(glwe_keyswitch(gadget, shape, key), 11));
/// assert!((0.5..1.0).contains(&(packed.get() / traced.get())), "{}", packed.get() / traced.get());
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn packing(gadget: impl Into<GadgetTransforms>, shape: GlweShape, key: Variance) -> Variance {
    let product = gadget.into();
    let steps = shape.polynomial_size.log2();
    let [first, one] = packing_steps(product, shape, key);
    first.scaled(2f64.powi(steps as i32 - 1)) + trace(one, steps - 1) + division(shape, steps)
}

/// What a key switch of packing adds to each coefficient: in the first level, and in the others.
fn packing_steps(product: GadgetTransforms, shape: GlweShape, key: Variance) -> [Variance; 2] {
    let (k, n, steps) = (shape.dimension.get(), shape.polynomial_size.get(), shape.polynomial_size.log2());
    let all = product.gadget.levels() as f64 * product.gadget.digit_variance();
    let saved = key.repeated((k * n) as f64 * (all - divided_digits(product.gadget, steps)));
    let one = glwe_keyswitch(product, shape, key);
    [Variance::new(one.get() - saved.get()), one]
}

/// The energy of packing's noise, the sum over all N coefficients of their variances, for values at the given coefficients. A key switch
/// of level l, one for each remainder of them modulo N/2^l, adds its noise to all coefficients alike, and each of the log2 N − l levels
/// that follow doubles the energy ([`trace_energy`]). So does each level with the [`division`]'s error, which every value has.
fn packing_energy(product: GadgetTransforms, shape: GlweShape, key: Variance, coefficients: &[usize]) -> Variance {
    let (n, steps) = (shape.polynomial_size.get(), shape.polynomial_size.log2());
    let [first, other] = packing_steps(product, shape, key);
    let level = |l: u32| {
        let keyswitches = coefficients.iter().map(|c| c % (n >> l)).collect::<BTreeSet<_>>().len();
        let one = if l == 1 { first } else { other };
        one.repeated((keyswitches * n) as f64 * 2f64.powi((steps - l) as i32))
    };
    (1..=steps).map(level).sum::<Variance>() + division(shape, steps).repeated(coefficients.len() as f64)
}

/// The sum of the variances of the digits of x − y, for torus elements that were divided by 2^`bits`.
///
/// In units of level i, β^−i, such an element is uniform in [−M/2, M/2], M = β^i/2^bits. The difference of two has variance M²/6 and
/// is rounded to an integer, 1/12 more, exactly if M ≥ 1; if M ≤ 1/2 it is rounded to zero; and if M ≥ β its digit has all values alike. (Where
/// packing has no second element, x has M²/12 there: a quarter of one digit less at most.)
fn divided_digits(gadget: Gadget, bits: u32) -> f64 {
    let digit = |level: u32| {
        let spread = (level * gadget.base_log()) as i32 - bits as i32;
        match spread {
            ..0 => 0.0,
            _ if spread >= gadget.base_log() as i32 => gadget.digit_variance(),
            _ => 4f64.powi(spread) / 6.0 + 1.0 / 12.0,
        }
    };
    (1..=gadget.levels() as u32).map(digit).sum()
}

/// log2 of 2^a + 2^b, for adding up failure probabilities.
///
/// # Examples
/// ```
/// use tfhe_core::noise::log2_sum;
/// assert_eq!(log2_sum(-40.0, -40.0), -39.0);
/// assert_eq!(log2_sum(-40.0, f64::NEG_INFINITY), -40.0);
/// ```
pub fn log2_sum(a: f64, b: f64) -> f64 {
    let (large, small) = (a.max(b), a.min(b));
    if small == f64::NEG_INFINITY { large } else { large + (1.0 + (small - large).exp2()).log2() }
}

#[cfg(test)]
pub(crate) mod tests;
