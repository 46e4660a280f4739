//! The named parameter sets.
//!
//! Each set's security level and failure probability are computed by [`crate::security`] and [`crate::noise`], and asserted
//! in tests.

use crate::fingerprint::Fingerprint;
use crate::key_graph::Node::{Arithmetic, Lookup, Small};
use crate::key_graph::{KeyLiteral, Node, Parameters, ParametersLiteral, ShapeLiteral};
use crate::params::Grouping::{One, Two};
use crate::params::NoiseDistribution::{self, Gaussian, TUniform};
use crate::params::Precision::{Single, Split};

const fn lwe(dimension: usize, noise: NoiseDistribution) -> KeyLiteral {
    KeyLiteral { nodes: &[Small], shape: ShapeLiteral::Lwe(dimension), noise }
}

const fn glwe(nodes: &'static [Node], (dimension, size): (usize, usize), noise: NoiseDistribution) -> KeyLiteral {
    KeyLiteral { nodes, shape: ShapeLiteral::Glwe(dimension, size), noise }
}

/// The names of the ring of a set that has but one.
const ONE_RING: &[Node] = &[Lookup, Arithmetic];

/// Small enough to print every ciphertext. **Insecure**: for reading and for test vectors only.
///
/// Reads tables of 2 bits.
pub const TOY: ParametersLiteral = ParametersLiteral {
    name: "toy",
    keys: &[lwe(8, TUniform { bound_log: 40 }), glwe(ONE_RING, (1, 64), TUniform { bound_log: 24 })],
    keyswitches: &[(Lookup, (4, 5, Single))],
    bootstraps: &[(Lookup, (8, 3, Single), One)],
    automorphisms: &[(Lookup, (8, 4, Split))],
    relinearizations: &[(Arithmetic, (8, 4, Split))],
    lifts: &[],
    external_products: &[],
};

/// The same parameters as tfhe-rs 1.8's default MESSAGE_2_CARRY_2 with TUniform noise and failure below 2^-128, for
/// comparison: tables of 4 bits.
pub const MESSAGE_2_CARRY_2: ParametersLiteral = ParametersLiteral {
    name: "message_2_carry_2",
    keys: &[lwe(918, TUniform { bound_log: 45 }), glwe(ONE_RING, (1, 2048), TUniform { bound_log: 17 })],
    keyswitches: &[(Lookup, (4, 4, Single))],
    bootstraps: &[(Lookup, (23, 1, Single), One)],
    automorphisms: &[(Lookup, (8, 4, Split))],
    relinearizations: &[(Arithmetic, (8, 4, Split))],
    lifts: &[],
    external_products: &[],
};

/// The keys of [`MESSAGE_2_CARRY_2`], with bootstrappings that take two bits of the key in a step: for comparison with the quickest that
/// others have at this security and failure. Their noise is that of three at most, for which the key switch has a finer gadget.
pub const MESSAGE_2_CARRY_2_PAIRS: ParametersLiteral = ParametersLiteral {
    name: "message_2_carry_2_pairs",
    keyswitches: &[(Lookup, (3, 6, Single))],
    bootstraps: &[(Lookup, (23, 1, Single), Two)],
    ..MESSAGE_2_CARRY_2
};

/// Index of the coarse bootstrapping gadget of the head's sets: for results that are only read by tables.
pub const COARSE: usize = 0;
/// Index of the fine gadget: for results of which many are added before a table reads the sum.
pub const FINE: usize = 1;
/// Index of the precise gadget: for factors of ciphertext products, and for values that are refreshed to a small scale.
pub const PRECISE: usize = 2;

/// The exact attention head, up to 5-bit factors: tables of 5 bits in one bootstrapping, of 10 in two.
pub const HEAD_EXACT: ParametersLiteral = ParametersLiteral {
    name: "head_exact",
    keys: &[lwe(902, TUniform { bound_log: 45 }), glwe(ONE_RING, (1, 4096), TUniform { bound_log: 3 })],
    keyswitches: &[(Lookup, (3, 6, Single))],
    bootstraps: &[(Lookup, (23, 1, Single), One), (Lookup, (15, 2, Single), One), (Lookup, (11, 4, Split), One)],
    automorphisms: &[(Lookup, (8, 7, Split))],
    relinearizations: &[(Arithmetic, (8, 7, Split))],
    lifts: &[],
    external_products: &[],
};

/// The exact attention head for factors of up to 4 bits: tables of 4 bits in one bootstrapping, of 8 in two. The ring of lookups of
/// [`PACKED_HEAD`], half as large as that of [`HEAD_EXACT`], also multiplies.
///
/// What packing adds to a factor is the key's noise times N, so the second automorphism gadget has digits as small, and the precise one
/// as many of them, as it takes for a sum of products to be read; tables between two bootstrappings are packed with the first, which
/// costs half as much.
pub const HEAD_EXACT_NARROW: ParametersLiteral = ParametersLiteral {
    name: "head_exact_narrow",
    keys: &[lwe(902, TUniform { bound_log: 45 }), glwe(ONE_RING, (1, 2048), TUniform { bound_log: 15 })],
    keyswitches: &[(Lookup, (3, 6, Single))],
    bootstraps: &[(Lookup, (23, 1, Single), Two), (Lookup, (15, 2, Single), Two), (Lookup, (8, 5, Single), One)],
    automorphisms: &[(Lookup, (8, 5, Split)), (Lookup, (3, 16, Split))],
    relinearizations: &[(Arithmetic, (8, 5, Split))],
    lifts: &[],
    external_products: &[],
};

/// As [`HEAD_EXACT`], with finer precise and automorphism gadgets: for wider factors.
pub const HEAD_EXACT_WIDE: ParametersLiteral = ParametersLiteral {
    name: "head_exact_wide",
    bootstraps: &[(Lookup, (23, 1, Single), One), (Lookup, (15, 2, Single), One), (Lookup, (10, 5, Split), One)],
    automorphisms: &[(Lookup, (4, 15, Split))],
    relinearizations: &[(Arithmetic, (4, 15, Split))],
    ..HEAD_EXACT
};

/// The packed attention head: everything linear and bilinear in a ring of 4096, lookups of smooth functions in one of 2048. Of the
/// bootstrapping gadgets, [`COARSE`] is for results that are only read by tables, [`FINE`] for factors of products with
/// encrypted integers.
pub const PACKED_HEAD: ParametersLiteral = ParametersLiteral {
    name: "packed_head",
    keys: &[
        // On the line of 132 bits at n = 896, between TUniform(45), too little, and TUniform(46), nearly twice as much.
        glwe(&[Small], (7, 128), Gaussian { log2_std: -19.64 }),
        glwe(&[Lookup], (1, 2048), TUniform { bound_log: 15 }),
        glwe(&[Arithmetic], (1, 4096), TUniform { bound_log: 3 }),
    ],
    keyswitches: &[(Arithmetic, (2, 8, Single)), (Lookup, (2, 8, Single))],
    bootstraps: &[(Lookup, (23, 1, Single), Two), (Lookup, (15, 2, Single), Two)],
    automorphisms: &[(Lookup, (8, 5, Split)), (Arithmetic, (2, 31, Split))],
    relinearizations: &[(Arithmetic, (2, 31, Split))],
    lifts: &[(Lookup, Arithmetic, (9, 4, Single))],
    external_products: &[(Arithmetic, (29, 1, Single))],
};

/// The keys of [`PACKED_HEAD`], with the gadgets of a whole block: [`PRECISE`] bootstrappings for looked-up GGSW ciphertexts
/// ([`crate::refresh::LevelTables`]), with rows of the external products' gadget, and for values that are refreshed to a small scale
/// ([`crate::refresh`]); and automorphisms of the lookup ring that add less than they leave.
///
/// Those of the arithmetic ring expand requests ([`crate::automorphism::AutomorphismKeys::expand`]), which multiplies what a key switch adds
/// by 2^6.2: with three levels that a split gadget can have in this ring, the rounding alone would be more than what a refreshed value
/// has.
///
/// Lift and relinearization are those of rows: what they round meets the key twice
/// ([`crate::noise::LevelNoise`]), so both have 44 bits. 2^11 and 4 levels are the fewest transforms that add less than a hundredth to
/// the variance of a product with a GGSW ciphertext of one value.
pub const PACKED_BLOCK: ParametersLiteral = ParametersLiteral {
    name: "packed_block",
    bootstraps: &[(Lookup, (23, 1, Single), Two), (Lookup, (15, 2, Single), Two), (Lookup, (12, 3, Single), One)],
    automorphisms: &[(Lookup, (5, 9, Split)), (Arithmetic, (11, 4, Split))],
    relinearizations: &[(Arithmetic, (11, 4, Split))],
    lifts: &[(Lookup, Arithmetic, (11, 4, Split))],
    external_products: &[(Arithmetic, (6, 4, Single))],
    ..PACKED_HEAD
};

/// All named sets.
pub const ALL: [ParametersLiteral; 8] = [
    TOY,
    MESSAGE_2_CARRY_2,
    MESSAGE_2_CARRY_2_PAIRS,
    HEAD_EXACT_NARROW,
    HEAD_EXACT,
    HEAD_EXACT_WIDE,
    PACKED_HEAD,
    PACKED_BLOCK,
];

/// The named set whose fingerprint this is: what a file says of itself, and nothing else.
pub fn by_fingerprint(fingerprint: &Fingerprint) -> Option<Parameters> {
    let sets = ALL.iter().map(|literal| literal.compile().expect("named sets are valid"));
    sets.into_iter().find(|set| set.fingerprint() == *fingerprint)
}

/// The named set `name`.
pub fn by_name(name: &str) -> Option<Parameters> {
    ALL.iter().find(|literal| literal.name == name).map(|literal| literal.compile().expect("named sets are valid"))
}
