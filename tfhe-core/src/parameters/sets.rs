//! The named parameter sets.
//!
//! Each set's security level and failure probability are computed by [`crate::security`] and [`crate::noise`], and asserted
//! in tests.

use crate::params::{NoiseDistribution, Parameters, ParametersLiteral, Precision};
use crate::ring_pair::RingPairLiteral;

/// Small enough to print every ciphertext. **Insecure**: for reading and for test vectors only.
///
/// Reads tables of 2 bits.
pub const TOY: ParametersLiteral = ParametersLiteral {
    name: "toy",
    lwe_dimension: 8,
    lwe_noise: NoiseDistribution::TUniform { bound_log: 40 },
    glwe_dimension: 1,
    polynomial_size: 64,
    glwe_noise: NoiseDistribution::TUniform { bound_log: 24 },
    keyswitch: (4, 5),
    bootstraps: &[(8, 3, Precision::Single)],
    glwe_keyswitch: (8, 4, Precision::Split),
};

/// The same parameters as tfhe-rs 1.8's default MESSAGE_2_CARRY_2 with TUniform noise and failure below 2^-128, for
/// comparison: tables of 4 bits.
pub const MESSAGE_2_CARRY_2: ParametersLiteral = ParametersLiteral {
    name: "message_2_carry_2",
    lwe_dimension: 918,
    lwe_noise: NoiseDistribution::TUniform { bound_log: 45 },
    glwe_dimension: 1,
    polynomial_size: 2048,
    glwe_noise: NoiseDistribution::TUniform { bound_log: 17 },
    keyswitch: (4, 4),
    bootstraps: &[(23, 1, Precision::Single)],
    glwe_keyswitch: (8, 4, Precision::Split),
};

/// Index of the coarse bootstrapping gadget of the head's sets: for results that are only read by tables.
pub const COARSE: usize = 0;
/// Index of the fine gadget: for results of which many are added before a table reads the sum.
pub const FINE: usize = 1;
/// Index of the precise gadget: for factors of ciphertext products.
pub const PRECISE: usize = 2;

/// The exact attention head, up to 5-bit factors: tables of 5 bits in one bootstrapping, of 10 in two.
pub const HEAD_EXACT: ParametersLiteral = ParametersLiteral {
    name: "head_exact",
    lwe_dimension: 902,
    lwe_noise: NoiseDistribution::TUniform { bound_log: 45 },
    glwe_dimension: 1,
    polynomial_size: 4096,
    glwe_noise: NoiseDistribution::TUniform { bound_log: 3 },
    keyswitch: (3, 6),
    bootstraps: &[(23, 1, Precision::Single), (15, 2, Precision::Single), (11, 4, Precision::Split)],
    glwe_keyswitch: (8, 7, Precision::Split),
};

/// As [`HEAD_EXACT`], with finer precise and automorphism gadgets: for wider factors.
pub const HEAD_EXACT_WIDE: ParametersLiteral = ParametersLiteral {
    name: "head_exact_wide",
    bootstraps: &[(23, 1, Precision::Single), (15, 2, Precision::Single), (10, 5, Precision::Split)],
    glwe_keyswitch: (4, 15, Precision::Split),
    ..HEAD_EXACT
};

/// The packed attention head: everything linear and bilinear in a ring of 4096, lookups of smooth functions in one of 2048. Of the
/// bootstrapping gadgets, [`COARSE`] is for results that are only read by tables, [`FINE`] for factors of products with
/// encrypted integers.
pub const PACKED_HEAD: RingPairLiteral = RingPairLiteral {
    name: "packed_head",
    small: (7, 128),
    // On the line of 132 bits at n = 896, between TUniform(45), too little, and TUniform(46), nearly twice as much.
    small_noise: NoiseDistribution::Gaussian { log2_std: -19.64 },
    lookup_size: 2048,
    lookup_noise: NoiseDistribution::TUniform { bound_log: 15 },
    arithmetic_size: 4096,
    arithmetic_noise: NoiseDistribution::TUniform { bound_log: 3 },
    keyswitch: (2, 8, Precision::Single),
    bootstraps: &[(23, 1, Precision::Single), (15, 2, Precision::Single)],
    lookup_automorphism: (8, 5, Precision::Split),
    lift: (9, 4, Precision::Single),
    arithmetic_keyswitch: (2, 31, Precision::Split),
    ggsw: (30, 1, Precision::Single),
};

/// Index of the finest gadget of [`PACKED_BLOCK`]: for values that are refreshed to a small scale.
pub const FINEST: usize = 3;

/// As [`PACKED_HEAD`], with the gadgets of a whole block: [`PRECISE`] bootstrappings for factors of products, [`FINEST`] ones for refreshed
/// values ([`crate::refresh`]), and automorphisms of the lookup ring that add less than they leave.
pub const PACKED_BLOCK: RingPairLiteral = RingPairLiteral {
    name: "packed_block",
    bootstraps: &[
        (23, 1, Precision::Single),
        (15, 2, Precision::Single),
        (12, 3, Precision::Single),
        (10, 4, Precision::Single),
    ],
    lookup_automorphism: (5, 9, Precision::Split),
    ..PACKED_HEAD
};

/// All named sets with two rings.
pub const RING_PAIRS: [RingPairLiteral; 2] = [PACKED_HEAD, PACKED_BLOCK];

/// All named sets with one ring.
pub const ALL: [ParametersLiteral; 4] = [TOY, MESSAGE_2_CARRY_2, HEAD_EXACT, HEAD_EXACT_WIDE];

/// The named set `name`.
pub fn by_name(name: &str) -> Option<Parameters> {
    ALL.iter().find(|literal| literal.name == name).map(|literal| literal.compile().expect("named sets are valid"))
}
