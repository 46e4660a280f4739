//! Noise of blind rotations, of the keys that they are made with, and of the angles that they turn by.

use super::{Variance, fft_error, gadget_noise, rounded_body, rounding};
use crate::params::{GadgetTransforms, GlweShape, Grouping, LweDimension, PolynomialSize};
use crate::torus::MODULUS_LOG;

/// Variance of the modulus switch to 2N with mean compensation, in the phase: `(n/48 + 1/12)/(2N)²`; the body's own
/// rounding counts 1/12.
///
/// # Examples
/// A ring twice as large has steps half as wide: one bit less noise, for more than twice the time.
/// ```
/// use tfhe_core::noise::modulus_switch;
/// use tfhe_core::params::{LweDimension, PolynomialSize};
///
/// let n = LweDimension::new(902)?;
/// let [small, large] = [2048, 4096].map(|size| modulus_switch(n, PolynomialSize::new(size).unwrap()).log2_std());
/// assert!((large + 10.88).abs() < 0.01 && (small - large - 1.0).abs() < 1e-9);
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn modulus_switch(lwe: LweDimension, polynomial_size: PolynomialSize) -> Variance {
    let unit = 2.0 * polynomial_size.get() as f64;
    // δ_i·(s_i − 1/2) has variance 1/12·1/4.
    Variance::new((lwe.get() as f64 / 48.0 + 1.0 / 12.0) / (unit * unit))
}

/// Variance of the result of a blind rotation of a noiseless polynomial over n key bits.
///
/// The rounding to the gadget only counts for key bits that are 1; as in ePrint 2021/729 with the digits' second moment, the
/// difference that a CMUX decomposes is rounded whatever the bit, and contributes through GGSW(s) only if s = 1.
///
/// `key` is what rows are encrypted with; that their bodies are rounded ([`stored_bits`]) is added here.
///
/// A step of two bits multiplies three products by X^e − 1, which doubles a variance: six times the noise of a product's rows, and of
/// its transforms. Its rounding, of the accumulator itself, contributes unless both bits are 0, and is turned as well: 3/4 · 2.
/// (The first two bits take a CMUX each, and are counted as the others.)
///
/// # Examples
/// A rotation is n products, whatever is rotated and by how much. More levels leave less noise. Two bits in a step leave three times the noise of
/// rows, for each bit half of six, and one and a half times that of rounding.
/// ```
/// use tfhe_core::noise::{blind_rotation, Variance};
/// use tfhe_core::params::{Gadget, GlweShape, Grouping, LweDimension, Precision};
///
/// let (shape, key) = (GlweShape::new(1, 2048)?, Variance::from_log2_std(-50.0));
/// let of = |levels, n| {
///     let gadget = Gadget::new(8, levels, Precision::Single).unwrap();
///     blind_rotation(gadget, Grouping::One, shape, LweDimension::new(n).unwrap(), key)
/// };
/// assert!((of(3, 900).get() / of(3, 300).get() - 3.0).abs() < 1e-9);
/// assert!(of(4, 900).log2_std() < of(2, 900).log2_std() - 10.0);
/// let (gadget, n) = (Gadget::new(8, 4, Precision::Single)?, LweDimension::new(900)?);
/// let ratio = |key| {
///     let [one, two] = [Grouping::One, Grouping::Two].map(|grouping| blind_rotation(gadget, grouping, shape, n, key));
///     two.get() / one.get()
/// };
/// assert!((2.9..3.0).contains(&ratio(Variance::from_log2_std(-38.0))));
/// assert!((1.5..1.6).contains(&ratio(Variance::from_log2_std(-60.0))));
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn blind_rotation(
    gadget: impl Into<GadgetTransforms>,
    grouping: Grouping,
    shape: GlweShape,
    lwe: LweDimension,
    key: Variance,
) -> Variance {
    let (added, rounding) = rotation_step_parts(gadget.into(), grouping, shape, key);
    // The rounding does not count where all bits of a group are 0.
    let counts = 1.0 - 0.5_f64.powi(grouping.bits() as i32);
    (added + rounding.repeated(counts)).repeated(grouping.steps(lwe) as f64)
}

/// Variance of what one step of a blind rotation adds, if one of its bits is 1 and it turns: with one bit that of
/// [`external_product`](super::external_product), by a ciphertext whose bodies are rounded.
///
/// # Examples
/// ```
/// use tfhe_core::noise::{external_product, rotation_step, rounded_body, stored_bits, Variance};
/// use tfhe_core::params::{Gadget, GlweShape, Grouping, Precision};
///
/// let (gadget, shape) = (Gadget::new(8, 4, Precision::Single)?, GlweShape::new(1, 2048)?);
/// let key = Variance::from_log2_std(-38.0);
/// let of = |grouping| rotation_step(gadget, grouping, shape, key);
/// let rounded = key + rounded_body(stored_bits(key));
/// assert_eq!(of(Grouping::One), external_product(gadget, shape, rounded));
/// assert!((5.9..6.0).contains(&(of(Grouping::Two).get() / of(Grouping::One).get())));
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn rotation_step(
    gadget: impl Into<GadgetTransforms>,
    grouping: Grouping,
    shape: GlweShape,
    key: Variance,
) -> Variance {
    let (added, rounding) = rotation_step_parts(gadget.into(), grouping, shape, key);
    added + rounding
}

/// What is added whatever the bits are, and the rounding to the gadget.
fn rotation_step_parts(
    product: GadgetTransforms,
    grouping: Grouping,
    shape: GlweShape,
    key: Variance,
) -> (Variance, Variance) {
    let (k, n) = (shape.dimension.get(), shape.polynomial_size.get());
    let key = key + rounded_body(stored_bits(key));
    let rows = gadget_noise(product.gadget, (k + 1) * product.gadget.levels(), n, key);
    let rounding = Variance::new((1.0 + (k * n) as f64 / 2.0) * rounding(product.gadget));
    let added = rows + fft_error(product, shape, k + 1);
    match grouping {
        Grouping::One => (added, rounding),
        Grouping::Two => (added.repeated(3.0 * 2.0), rounding.repeated(2.0)),
    }
}

/// How many bits the bodies of a bootstrapping key are rounded to, and have in files and on the way: rounding to fewer would add more than
/// 1/32 to the variance of the noise that the body has. Everyone may round what everyone may see, so it changes nothing about security.
///
/// # Examples
/// What is below the noise is not sent.
/// ```
/// use tfhe_core::noise::stored_bits;
/// use tfhe_core::params::NoiseDistribution::TUniform;
/// assert_eq!([3, 15, 17].map(|bound_log| stored_bits(TUniform { bound_log }.variance())), [63, 51, 49]);
/// ```
pub fn stored_bits(noise: Variance) -> u32 {
    let fits = |bits: &u32| rounded_body(*bits).get() <= noise.get() / 32.0;
    (1..MODULUS_LOG).find(fits).unwrap_or(MODULUS_LOG)
}
