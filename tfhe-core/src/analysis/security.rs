//! Security levels of parameter sets, from tabulated estimates.
//!
//! The figures are outputs of the lattice estimator (Albrecht, Player, Scott, J. Math. Cryptol. 2015;
//! malb/lattice-estimator at commit 27a581bb8e9d49f5e9e2db315bd48ac769d5f5f5) for binary secrets, q = 2^64 and discrete
//! Gaussian noise: the smallest of primal uSVP, BDD and the dual hybrid attack, under the MATZOV (2022) cost model, the stricter of
//! the two that were run (the other: BDGL16).
//!
//! Each key of each named set has a run of its own ([`Basis::Estimate`]), with samples without limit and a Gaussian of the σ
//! that the key's noise has; TUniform noise itself gave the same figures for the two keys for which it was tried. For other keys there
//! is a [`Basis::Bound`]: more noise or a larger dimension only makes an instance harder, so a key has at least the level of any tabulated
//! point with no larger a dimension and no larger a noise ("dominated" by it). The points of the second part of the table were run with
//! m = 16n samples (4n from n = 2000).
//!
//! In the book: [security levels](../../../book/11-security-levels.html).

use crate::key_graph::Parameters;
use crate::params::NoiseDistribution;

/// What all figures are from, in words.
pub const SOURCE: &str = "commit 27a581b, MATZOV cost model";

/// Keys of the named sets, (n or kN, log2 σ, bits): the smallest figure under MATZOV.
const NAMED: [(usize, f64, f64); 6] = [
    // packed_head and packed_block: small, lookup ring.
    (896, -19.64, 132.48),
    (2048, -49.792_482, 129.46),
    // head_exact, head_exact_wide and head_exact_narrow: LWE. The ring of the last is the lookup ring above.
    (902, -19.792_482, 132.49),
    // head_exact and head_exact_wide: GLWE, and arithmetic ring.
    (4096, -61.786_868, 219.25),
    // message_2_carry_2: LWE, GLWE.
    (918, -19.792_482, 134.88),
    (2048, -47.792_482, 134.76),
];

/// How far log2 σ of a key may be from the tabulated one, which is rounded, to be that key.
const ROUNDING: f64 = 1e-5;

/// Other points, as [`NAMED`].
const ESTIMATES: [(usize, f64, f64); 17] = [
    (600, -12.28, 132.6),
    (700, -14.77, 132.5),
    (750, -16.01, 132.0),
    (800, -17.26, 132.0),
    (850, -18.50, 132.3),
    (900, -19.74, 132.5),
    (918, -18.80, 140.9),
    (950, -20.99, 132.0),
    (1000, -22.23, 132.1),
    (1024, -22.83, 132.5),
    (1100, -24.72, 132.5),
    (2048, -48.32, 133.1),
    (2048, -49.95, 128.9),
    (2048, -51.60, 125.0),
    (2560, -62.0, 131.5),
    (3072, -62.0, 159.4),
    (4096, -62.0, 218.4),
];

/// The line of the points from n = 600 to 1100: slope, intercept, bits.
const LINE: (f64, f64, f64) = (-0.024_891_456_582_633_045, 2.657_345_938_375_34, 132.0);

/// The security level of one key, and the estimate that it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// log2 of the attack's cost.
    pub bits: f64,
    /// n of the estimate.
    pub dimension: usize,
    /// log2 σ of the estimate.
    pub log2_std: f64,
    /// How the key that was estimated relates to this one.
    pub basis: Basis,
}

/// What a level rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// An estimate of exactly this key.
    Estimate,
    /// An estimate of a key that this one is no weaker than.
    Bound,
}

/// The level of an LWE key of `dimension` bits (kN for a GLWE key) with `noise`, or `None` where no estimate covers it.
///
/// # Examples
/// ```
/// use tfhe_core::{params::NoiseDistribution, security};
/// let level = security::level(2048, NoiseDistribution::TUniform { bound_log: 17 }).unwrap();
/// assert!(level.bits >= 128.0);
/// assert_eq!(security::level(64, NoiseDistribution::TUniform { bound_log: 17 }), None);
/// ```
pub fn level(dimension: usize, noise: NoiseDistribution) -> Option<Level> {
    let log2_std = noise.variance().log2_std();
    let level =
        |basis| move |&(dimension, log2_std, bits): &(usize, f64, f64)| Level { bits, dimension, log2_std, basis };
    let is_key = |&&(n, std, _): &&(usize, f64, f64)| n == dimension && (std - log2_std).abs() < ROUNDING;
    if let Some(named) = NAMED.iter().find(is_key) {
        return Some(level(Basis::Estimate)(named));
    }
    let (slope, intercept, bits) = LINE;
    let on_line = slope * dimension as f64 + intercept;
    let line = ((600..=1100).contains(&dimension) && log2_std >= on_line)
        .then_some(level(Basis::Bound)(&(dimension, on_line, bits)));
    let dominated = NAMED.iter().chain(&ESTIMATES).filter(|&&(n, std, _)| n <= dimension && std <= log2_std);
    dominated.map(level(Basis::Bound)).chain(line).max_by(|a, b| a.bits.total_cmp(&b.bits))
}

/// The level of a parameter set: that of the weakest of its keys. `None` where no estimate covers one of them.
///
/// # Examples
/// The weakest key counts. No estimate covers the set `toy`, which is insecure.
/// ```
/// use tfhe_core::{security, sets};
/// let level = security::parameters_level(&sets::PACKED_HEAD.compile()?).expect("estimates of all of its keys");
/// assert!(level.bits > 128.0 && level.dimension == 2048);
/// assert!(security::parameters_level(&sets::TOY.compile()?).is_none());
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn parameters_level(parameters: &Parameters) -> Option<Level> {
    let levels = parameters.keys().iter().map(|key| level(key.lwe_dimension().get(), key.noise()));
    levels.collect::<Option<Vec<_>>>()?.into_iter().min_by(|a, b| a.bits.total_cmp(&b.bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets;

    #[test]
    fn every_named_set_but_the_toy_has_128_bits() {
        for literal in sets::ALL {
            let parameters = literal.compile().unwrap();
            match parameters_level(&parameters) {
                Some(level) => assert!(level.bits >= 128.0, "{}: {level:?}", parameters.name()),
                None => assert!(parameters.is_toy(), "{} is not covered by an estimate", parameters.name()),
            }
        }
    }

    /// The figure of a key of a named set is one of exactly this key, and where noise or dimension differ, a bound.
    #[test]
    fn every_key_of_a_named_set_has_an_estimate_of_its_own() {
        let sets = sets::ALL.map(|literal| literal.compile().unwrap()).into_iter().filter(|set| !set.is_toy());
        let keys: Vec<_> = sets
            .flat_map(|set| set.keys().iter().map(|key| (key.lwe_dimension(), key.noise())).collect::<Vec<_>>())
            .collect();
        assert_eq!(keys.len(), 2 * 3 + 2 * 5);
        for (dimension, noise) in keys {
            let level = level(dimension.get(), noise).unwrap();
            assert_eq!(level.basis, Basis::Estimate, "{dimension:?} {noise:?}");
            let more = NoiseDistribution::Gaussian { log2_std: noise.variance().log2_std() + 0.001 };
            for (dimension, noise) in [(dimension.get(), more), (dimension.get() + 1, noise)] {
                let bound = super::level(dimension, noise).unwrap();
                assert_eq!(bound.basis, Basis::Bound);
                // The line is the estimates' lower edge, 132.0 where they scatter up to 132.5.
                assert!(bound.bits >= level.bits.min(LINE.2), "{bound:?}");
            }
        }
        for literal in [sets::PACKED_HEAD, sets::PACKED_BLOCK] {
            let packed = parameters_level(&literal.compile().unwrap()).unwrap();
            assert_eq!((packed.bits, packed.dimension), (129.46, 2048));
        }
    }

    #[test]
    fn too_little_noise_is_noticed() {
        // Tabulated as 125.0 bits.
        let level = level(2048, NoiseDistribution::Gaussian { log2_std: -51.6 }).unwrap();
        assert!(level.bits < 128.0);
        assert_eq!(super::level(902, NoiseDistribution::TUniform { bound_log: 44 }), None);
    }

    /// The line agrees with the table that it summarizes, to the table's two decimals.
    #[test]
    fn the_line_goes_through_its_points() {
        for (n, log2_std, _) in ESTIMATES.into_iter().filter(|&(n, ..)| n <= 1100 && n != 918) {
            assert!((LINE.0 * n as f64 + LINE.1 - log2_std).abs() < 0.02, "n = {n}");
        }
    }
}
