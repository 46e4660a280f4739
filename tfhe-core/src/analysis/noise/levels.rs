//! The noise of products with GGSW ciphertexts whose levels were looked up, packed and lifted one by one.
//!
//! # What meets what
//! A row of level i has the phase M·q/β^i + E_i, so that of −M·S has −(M·q/β^i + E_i)·S + R_i, R_i being what relinearization adds. With
//! D_i(A), D_i(B) the digits of level i of the other factor,
//!
//! Σ_i D_i(B)·(M·q/β^i + E_i) − D_i(A)·((M·q/β^i + E_i)·S − R_i) = M·(φ − ρ) + Σ_i E_i·(D_i(B) − D_i(A)·S) + Σ_i D_i(A)·R_i,
//!
//! ρ = ρ_B − ρ_A·S being what is rounded. Digits have variance (β² + 2)/12, key bits the second moment 1/2, so each coefficient of
//! D_i(B) − D_i(A)·S has (β² + 2)/12·(1 + N/2): *each* coefficient of E_i meets that, those between the places too. Levels are
//! independent of each other by their digits, even where their noises are not.
//!
//! # What is rounded meets the key twice
//! Errors that are themselves products with a key are another matter. A key has the mean ½·U, U = 1 + X + … + X^(N−1), so D_i(A)·S is half a
//! random walk, which changes slowly from coefficient to coefficient. So is what the lift's key switch rounds, R(X^r)·S'(X^r), r = N/N'. The
//! product of the two has the energy of ‖U(X^r)·U‖²/16 = N·N'²/48 and not that of N·N'/16, as two unrelated polynomials would: at
//! N = 4096 and N' = 2048, 683 times as much. That makes a rounding count that is not seen in the row itself.
//! (The error of transforms in the lift's masks likewise, which a split gadget does not have. What automorphisms round meets
//! keys under an automorphism, whose slow waves are other waves.)

use super::{
    Distribution, Mixture, RefreshParameters, Spread, Variance, fft_error, gadget_noise, packing_energy,
    product_with_ggsw_rounding, refresh, relinearization, rounding, transform_error,
};
use crate::key_graph::{Edge, MissingEdge, Node, Parameters};
use crate::params::{GadgetTransforms, GlweShape};
use crate::rounding::Transforms;

/// The noise of one row, M·q/β^i, of a GGSW ciphertext.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelNoise {
    spread: Spread,
    /// By how much more a coefficient of the product with S has than the spread says, for digits of variance 1.
    slow: Variance,
}

impl LevelNoise {
    /// Of noise without anything in common between coefficients.
    pub fn new(spread: Spread) -> Self {
        Self { spread, slow: Variance::ZERO }
    }

    /// Of values, each with the variance `value`, packed into the given coefficients of the arithmetic ring and lifted.
    pub fn packed(parameters: &RefreshParameters, value: Variance, coefficients: &[usize]) -> Self {
        let RefreshParameters { automorphism, lift, lookup, arithmetic, .. } = *parameters;
        let (n, small_n) = (arithmetic.0.polynomial_size.get(), lookup.0.polynomial_size.get());
        let positions: Vec<usize> = coefficients.iter().map(|place| place / (n / small_n)).collect();
        let places = Spread::new(value, coefficients.len());
        let packing = packing_energy(automorphism, lookup.0, lookup.1.variance(), &positions);
        let [key, rounded, transforms] = lift_parts(lift, lookup.0, arithmetic.0, arithmetic.1.variance());
        let others = packing + (key + transforms).repeated(n as f64) + rounded.repeated(small_n as f64);
        let (n, small_n) = (n as f64, small_n as f64);
        // R(X^r)·D has k'N'·ρ a coefficient, and meets N·N'²/48 where the spread has N·N'/16 for it.
        let masks = lookup.0.extracted_lwe_dimension().get() as f64 * rounding(lift.gadget);
        let slow = Variance::new(masks * n * small_n * (small_n / 48.0 - 1.0 / 16.0));
        // An error ε of the mask has ε·(1 + N/2); N·ε meets S², N³/48, where the spread has N²/4 for it.
        let of_mask = transforms.get() / (1.0 + n / 2.0);
        let slow = slow + Variance::new(of_mask * n * (n.powi(3) / 48.0 - n * n / 4.0));
        Self { spread: places + Spread::new(others.repeated(1.0 / n), n as usize), slow }
    }

    /// The sum over all coefficients of their variances.
    pub fn energy(&self) -> Variance {
        self.spread.energy()
    }

    /// What an external product with ℓ such rows of `gadget` and their relinearized ones adds, k = 1, for a polynomial M whose
    /// coefficients' squares add up to `squares` (of more, if they have signs in common: [`effective_squares`]). `relinearization` is
    /// what each row of −M·S has more.
    ///
    /// V = ℓ·(β² + 2)/12·((1 + N/2)·Σ V(E_j) + N·V_relin) + squares·(1 + N/2)·β^(−2ℓ)/12, what the lift rounds, and the transforms' error;
    /// see [`LevelNoise`]'s module. The noise of the other factor, M times, is the caller's to add. Sums of products have the
    /// sum of their distributions: digits of different factors are independent, even if they meet one GGSW ciphertext.
    pub fn product(
        &self,
        gadget: impl Into<GadgetTransforms>,
        shape: GlweShape,
        relinearization: Variance,
        squares: f64,
    ) -> Distribution {
        let product = gadget.into();
        let (digits, half) = (product.gadget.digit_variance(), shape.polynomial_size.get() as f64 / 2.0);
        let met = self.spread.energy().repeated(digits * (1.0 + half));
        // Two waves of nearly one frequency: the product of two exponential variables has the second moment of less than one degree.
        let level = Distribution::mixture(met, Mixture::Scattered { degrees: degrees(self.spread) })
            + Distribution::mixture(self.slow.repeated(digits), Mixture::Scattered { degrees: 1.0 });
        let levels: Distribution = std::iter::repeat_n(level, product.gadget.levels()).sum();
        levels
            + gadget_noise(product.gadget, product.gadget.levels(), shape.polynomial_size.get(), relinearization)
            + product_with_ggsw_rounding(product.gadget, shape, squares)
            + fft_error(product, shape, 2)
    }
}

/// Degrees of freedom of the variance that one level's error has in one ciphertext, Σ_p E_p²·W², for a row with noise E at p places and digits
/// W = D(B) − D(A)·S. Σ E_p² has p of them. Half of W's energy is that of a random walk, whose relative variance is 2/3
/// ([`Mixture::Walk`]). Both factors are drawn once for all of a ciphertext's errors, so the relative variance is (1 + 2/p)·(1 + 1/4·2/3) − 1.
/// For one place that is 0.8 degrees, which count as one.
fn degrees(spread: Spread) -> f64 {
    let relative = (1.0 + 2.0 / spread.places()) * (7.0 / 6.0) - 1.0;
    (2.0 / relative).max(1.0)
}

/// What a lift adds to a coefficient: by its key's noise, to each; by what it rounds, to the multiples of N/N'; by its transforms' errors,
/// to each.
fn lift_parts(lift: GadgetTransforms, from: GlweShape, to: GlweShape, key: Variance) -> [Variance; 3] {
    let (inputs, n) = (from.dimension.get(), from.polynomial_size.get());
    [
        gadget_noise(lift.gadget, inputs * lift.gadget.levels(), n, key),
        Variance::new((inputs * n) as f64 * rounding(lift.gadget) / 2.0),
        transform_error(lift, to, inputs, inputs * n),
    ]
}

/// Predictions for looked-up GGSW ciphertexts of a set: gadgets, the noise of values, and what relinearization adds.
///
/// # Examples
/// Each integer that a GGSW ciphertext holds adds to the error of products with it.
/// ```
/// use tfhe_core::noise::LookedUpNoise;
/// use tfhe_core::{rounding::Transforms, sets};
///
/// let noise = LookedUpNoise::new(&sets::PACKED_BLOCK.compile()?, sets::PRECISE, Transforms::ANY)?;
/// let (one, four) = (noise.product(&[0], 9.0).variance(), noise.product(&[0, 1024, 2048, 3072], 36.0).variance());
/// assert!(four.get() > 1.5 * one.get() && four.get() < 4.5 * one.get());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LookedUpNoise {
    refresh: RefreshParameters,
    product: GadgetTransforms,
    relinearization: Variance,
}

impl LookedUpNoise {
    /// With the bootstrapping gadget number `bootstrap`, on given transforms.
    ///
    /// # Errors
    /// If the set has not what they take.
    pub fn new(parameters: &Parameters, bootstrap: usize, transforms: Transforms) -> Result<Self, MissingEdge> {
        let ring = parameters.arithmetic();
        let gadget = |edge| Ok(parameters.gadget(edge)?.on(transforms));
        let secret = gadget(Edge::Relinearization { ring: Node::Arithmetic })?;
        Ok(Self {
            refresh: RefreshParameters::new(parameters, bootstrap, transforms)?,
            product: gadget(Edge::ExternalProduct { ring: Node::Arithmetic })?,
            relinearization: relinearization(secret, ring.shape, ring.noise.variance()),
        })
    }

    /// With results of lookups rounded to `bits` bits ([`RefreshParameters::with_result_bits`]).
    #[must_use]
    pub fn with_result_bits(self, bits: u32) -> Self {
        Self { refresh: self.refresh.with_result_bits(bits), ..self }
    }

    /// Of a row that has a value at each of the given coefficients.
    pub fn level(&self, coefficients: &[usize]) -> LevelNoise {
        LevelNoise::packed(&self.refresh, refresh(&self.refresh).bootstrapping, coefficients)
    }

    /// With another error of relinearization, of another gadget's, say.
    #[must_use]
    pub fn with_relinearization(self, relinearization: Variance) -> Self {
        Self { relinearization, ..self }
    }

    /// What relinearization adds to each row of −M·S.
    pub fn relinearization(&self) -> Variance {
        self.relinearization
    }

    /// What an external product with a GGSW ciphertext of integers at the given coefficients, whose squares add up to `squares`, adds:
    /// [`LevelNoise::product`].
    pub fn product(&self, coefficients: &[usize], squares: f64) -> Distribution {
        let shape = self.refresh.arithmetic.0;
        self.level(coefficients).product(self.product, shape, self.relinearization, squares)
    }
}

/// What counts as the sum of the squares of a polynomial's coefficients where it meets what an external product rounds, ρ_B − ρ_A·S.
///
/// With the key's mean, ½·U, that is ‖M‖²·(1 + N/4) + ‖M·U‖²/4, given as a multiple of 1 + N/2. Of coefficients of random signs ‖M·U‖²
/// is N·‖M‖², and the result ‖M‖². Where neighbours have a sign in common it is more, since sums pile up: of H equal ones, equally spaced,
/// ‖M·U‖² is N·H/3·‖M‖². (X^N = −1 is a change of sign: signs in common that begin at X^0 and go on to X^(N−1).)
///
/// # Examples
/// ```
/// use tfhe_core::noise::effective_squares;
/// let at_places = |value: fn(usize) -> i64| (0..4096).map(|j| if j % 64 == 0 { value(j / 64) } else { 0 }).collect::<Vec<_>>();
/// let alternating = effective_squares(&at_places(|i| if i % 2 == 0 { 3 } else { -3 }));
/// let ones = effective_squares(&at_places(|_| 3));
/// assert!(alternating < 64.0 * 9.0 && ones > 10.0 * 64.0 * 9.0);
/// ```
pub fn effective_squares(message: &[i64]) -> f64 {
    let n = message.len() as f64;
    let squares: f64 = message.iter().map(|&m| (m as f64).powi(2)).sum();
    let total: f64 = message.iter().map(|&m| m as f64).sum();
    // The coefficients of M·U: sums up to one, less those beyond it.
    let sums = message.iter().scan(0.0, |sum, &m| {
        *sum += m as f64;
        Some((2.0 * *sum - total).powi(2))
    });
    (squares * (1.0 + n / 4.0) + sums.sum::<f64>() / 4.0) / (1.0 + n / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::{Decomposed, assert_close, shape};
    use crate::params::{Grouping, NoiseDistribution};

    /// A lookup ring of 8 in an arithmetic ring of 16, and one gadget for all.
    fn parameters(by: &Decomposed, key: Variance) -> RefreshParameters {
        let gadget = by.gadget.on(Transforms::ANY);
        let noise = NoiseDistribution::Gaussian { log2_std: key.log2_std() };
        RefreshParameters {
            keyswitch: None,
            lookup_keyswitch: None,
            log_tables: 0,
            bootstrapping: gadget,
            grouping: Grouping::One,
            result_bits: 64,
            automorphism: gadget,
            lift: gadget,
            small: (shape(2, 8), noise),
            lookup: (shape(1, 8), noise),
            arithmetic: (shape(1, 16), noise),
        }
    }

    /// ‖U(X^r)·U‖² for rings of n and n/r coefficients, where U = 1 + X + … + X^(n−1), by multiplying.
    fn waves(n: usize, r: usize) -> f64 {
        let sparse: Vec<u64> = (0..n).map(|j| u64::from(j % r == 0)).collect();
        let mut product = vec![0; n];
        crate::polynomial::schoolbook_add(&vec![1; n], &sparse, &mut product);
        product.iter().map(|&x| (x as i64 as f64).powi(2)).sum()
    }

    /// The module's sum for what a lift rounds, N·N'²/48, up to terms of lower degree.
    #[test]
    fn slow_waves_have_the_energy_of_the_module() {
        for (n, r) in [(256, 1), (512, 2), (1024, 8)] {
            let small = (n / r) as f64;
            assert!((waves(n, r) / 16.0 / (n as f64 * small * small / 48.0) - 1.0).abs() < 0.01, "{n}, {r}");
        }
    }

    /// The energy of a row, and of what is rounded under the key's mean.
    #[test]
    fn packed_rows_have_what_is_added_up_by_hand() {
        for by in [Decomposed::coarse(), Decomposed::fine()] {
            let key = by.key();
            let row = LevelNoise::packed(&parameters(&by, key), Variance::new(1e-7), &[0, 6]);
            // Places 0 and 6 of 16 are 0 and 3 of 8.
            let packed = packing_energy(by.gadget.into(), shape(1, 8), key, &[0, 3]).get();
            // 8 coefficients are decomposed: noise of keys and the error of transforms is everywhere, what is rounded at 8 places of 16.
            let (noise, transforms) = (8.0 * by.digits * key.get(), by.transforms(1, 8, 16, 9.0));
            let lifted = 16.0 * (noise + transforms) + 8.0 * 8.0 * by.rounding / 2.0;
            assert_close(row.energy().get(), 2.0 * 1e-7 + packed + lifted);
            // R(X^2)·D has 8 terms of what is rounded. What it meets: 16·8²/48, of which 16·8/16 is in the spread.
            let rounded = 8.0 * by.rounding * (16.0 * 64.0 / 48.0 - 16.0 * 8.0 / 16.0);
            // Errors of transforms, less 1 of 9 that is the body's, meet S² and not S: 16³/48, of which 16²/4 is in the spread.
            let of_transforms = 16.0 * by.transforms(1, 8, 16, 1.0) * (4096.0 / 48.0 - 64.0);
            assert_close(row.slow.get(), rounded + of_transforms);
        }
    }

    /// Levels are as many equal parts, each of two distributions. Beside them: relinearization's noise under digits, and what is rounded.
    #[test]
    fn products_have_what_is_added_up_by_hand() {
        let (by, shape) = (Decomposed::coarse(), shape(1, 16));
        let row = LevelNoise { spread: Spread::new(Variance::new(1e-9), 4), slow: Variance::new(2e-8) };
        let digits = by.digits / 2.0;
        // (1 + 2/4)·(1 + 1/4·2/3) − 1 is the relative variance of a level's, 2/degrees.
        let degrees = 2.0 / (1.5 * 7.0 / 6.0 - 1.0);
        let met = Distribution::mixture(Variance::new(digits * 9.0 * 4e-9), Mixture::Scattered { degrees });
        let slow = Distribution::mixture(Variance::new(digits * 2e-8), Mixture::Scattered { degrees: 1.0 });
        let relinearized = by.digits * 16.0 * 3e-9;
        let expected = met.clone() + met + slow.clone() + slow + Variance::new(relinearized + 1e-6 * by.rounding * 9.0);
        let found = row.product(by.gadget, shape, Variance::new(3e-9), 1e-6);
        assert_close(found.variance().get(), expected.variance().get());
        let threshold = 6.0 * expected.variance().std();
        assert!((found.log2_tail(threshold) - expected.log2_tail(threshold)).abs() < 1e-3);
        let none = LevelNoise::new(Spread::new(Variance::ZERO, 1));
        let exact = none.product(Decomposed::fine().gadget, shape, Variance::ZERO, 0.0);
        assert_close(exact.variance().get(), Decomposed::fine().transforms(2, 32, 16, 9.0));
    }

    /// For one place 3·7/6 − 1 = 5/2: less than one degree, counted as one. For very many what is left is the walk's, 1/6.
    #[test]
    fn degrees_are_those_of_the_factors_variances() {
        let of = |places| degrees(Spread::new(Variance::new(1.0), places));
        assert_eq!(of(1), 1.0);
        assert!((of(2) - 2.0 / (4.0 / 3.0)).abs() < 1e-12 && (of(1 << 30) - 12.0).abs() < 1e-6);
    }

    /// ‖M‖²·(1 + N/4) + ‖M·U‖²/4 by multiplying, as a multiple of 1 + N/2.
    #[test]
    fn effective_squares_are_those_of_products() {
        for message in [vec![1, -2, 3, 0, 0, 5, -1, 2], vec![2; 8], vec![0, 0, 0, 7, 0, 0, 0, 0]] {
            let mut product = vec![0; 8];
            crate::polynomial::schoolbook_add(&message, &[1; 8], &mut product);
            let sum = |values: &mut dyn Iterator<Item = i64>| values.map(|x| (x * x) as f64).sum::<f64>();
            let (squares, waves) = (sum(&mut message.iter().copied()), sum(&mut product.iter().map(|&x| x as i64)));
            assert_close(effective_squares(&message), (squares * 3.0 + waves / 4.0) / 5.0);
        }
    }

    /// The set's own gadgets, and the noise of a bootstrapping at each value.
    #[test]
    fn rows_of_a_set_have_its_noise() {
        let set = crate::sets::PACKED_BLOCK.compile().unwrap();
        let noise = LookedUpNoise::new(&set, crate::sets::PRECISE, Transforms::ANY).unwrap();
        let refreshing = RefreshParameters::new(&set, crate::sets::PRECISE, Transforms::ANY).unwrap();
        let ring = set.arithmetic();
        let secret = set.gadget(Edge::Relinearization { ring: Node::Arithmetic }).unwrap();
        let of_relinearization = relinearization(secret, ring.shape, ring.noise.variance());
        assert_eq!(noise.relinearization(), of_relinearization);
        let row = LevelNoise::packed(&refreshing, refresh(&refreshing).bootstrapping, &[0, 2]);
        assert_eq!(noise.level(&[0, 2]), row);
        let product = set.gadget(Edge::ExternalProduct { ring: Node::Arithmetic }).unwrap();
        let expected = row.product(product, ring.shape, of_relinearization, 9.0);
        assert_eq!(noise.product(&[0, 2], 9.0), expected);
        let more = noise.with_relinearization(Variance::new(1e-9));
        assert_eq!(more.relinearization(), Variance::new(1e-9));
        assert_eq!(more.product(&[0, 2], 9.0), row.product(product, ring.shape, Variance::new(1e-9), 9.0));
        assert_eq!(LevelNoise::new(Spread::new(Variance::new(1.0), 3)).slow, Variance::ZERO);
    }
}
