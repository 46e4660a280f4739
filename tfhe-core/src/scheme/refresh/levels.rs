//! A function to integers, tabulated once for each level of a gadget: what looked-up GGSW ciphertexts are read from.

use std::ops::RangeInclusive;

use super::error::RefreshError;
use super::table::{FunctionTables, TorusFunction, log_tables_of};
use crate::params::{Gadget, GlweShape};

/// An f64 has all integers up to here.
const LARGEST: f64 = (1_u64 << 53) as f64;

/// A function from turns to integers, M = round(f(φ)), as the tables of M·q/β^i for each level i of a gadget: read at one argument, they
/// are the levels of a GGSW encryption of M ([`crate::tensor_product::RelinearizationKey::ggsw_of_levels`]).
///
/// # One integer in all levels
/// A GGSW ciphertext multiplies by an integer. Rounded digits of a real number would differ from level to level by what they leave, and
/// that would meet the digits of the other factor as noise of the size of the scale. Here every level's table has the same integer in
/// the same slot, and all are read at the same slot, whatever the noise of the argument: the angle of a rotation is computed from the argument's
/// ciphertext, the same way each time. So the argument's error moves M to that of an argument nearby, in all levels alike, and what is left
/// between levels is the noise of their own bootstrappings.
///
/// # One bootstrapping for each level, or fewer
/// 2^v tables may share a bootstrapping ([`FunctionTables`]): ⌈ℓ/2^v⌉ of them read ℓ levels, with an argument that is rounded 2^v times as
/// coarsely. Where the last of them has fewer levels to read, its argument is rounded as the others' is: the slot has to be the same.
///
/// # Example
/// Insecure toy sizes: a server multiplies one encrypted number by an integer that it reads at another, 100 times it.
/// ```
/// use tfhe_core::derivation::ClientSeed;
/// use tfhe_core::fingerprint::Fields;
/// use tfhe_core::key_graph::Node::{Arithmetic, Lookup, Small};
/// use tfhe_core::key_graph::{Edge, KeyLiteral, Node, ParametersLiteral, ShapeLiteral};
/// use tfhe_core::keys::{Answer, ClientKeys, Needs};
/// use tfhe_core::params::{Grouping, NoiseDistribution, Precision::{Single, Split}};
/// use tfhe_core::refresh::{LevelTables, Place, Source};
/// use tfhe_core::torus::{from_f64, to_f64};
/// use zeroize::Zeroizing;
///
/// const fn key(nodes: &'static [Node], k: usize, n: usize) -> KeyLiteral {
///     KeyLiteral { nodes, shape: ShapeLiteral::Glwe(k, n), noise: NoiseDistribution::TUniform { bound_log: 16 } }
/// }
/// let set = ParametersLiteral {
///     name: "toy of two rings",
///     keys: &const { [key(&[Small], 4, 16), key(&[Lookup], 1, 256), key(&[Arithmetic], 1, 512)] },
///     keyswitches: &[(Arithmetic, (4, 5, Single)), (Lookup, (4, 5, Single))],
///     bootstraps: &[(Lookup, (10, 3, Single), Grouping::One)],
///     automorphisms: &[(Lookup, (6, 7, Split))],
///     relinearizations: &[(Arithmetic, (8, 6, Split))],
///     lifts: &[(Lookup, Arithmetic, (11, 4, Split))],
///     external_products: &[(Arithmetic, (6, 4, Single))],
/// };
/// let parameters = set.compile()?;
/// let client = ClientKeys::generate(&parameters, &ClientSeed::from_system()?)?;
/// let server = client.evaluation_keys(&Needs::default().looked_up_ggsw(0))?.prepare()?;
///
/// // A number to read at, and one to multiply.
/// let numbers = [0.1, 0.02].map(|x| {
///     let mut plaintext = Zeroizing::new(vec![0; 512]);
///     plaintext[0] = from_f64(x);
///     plaintext
/// });
/// let encoding = Fields::new("two numbers, in turns").fingerprint();
/// let request = client.encrypt(&numbers, &encoding, 64)?;
///
/// let [argument, factor] = [0, 1].map(|i| request.open(&server, &encoding, 2).unwrap()[i].expand());
/// let gadget = parameters.gadget(Edge::ExternalProduct { ring: Arithmetic })?;
/// // Four levels, by two bootstrappings with two tables each.
/// let tables = LevelTables::new(parameters.lookup().shape, -0.125..=0.125, gadget, 1, |x| 100.0 * x)?;
/// let refresh = server.refresh(0)?;
/// let small = refresh.keyswitch(&[Source { ciphertext: &argument, coefficient: 0 }])?;
/// let levels = refresh.look_up_levels(&small, &[&tables])?;
/// // One value at the place −X^2: all of the product is moved there.
/// let packed = refresh.pack_levels(&levels, &[Place { coefficient: 2, negated: true }])?;
/// let ggsw = server.relinearization(Arithmetic)?.ggsw_of_levels(&packed, gadget)?;
/// let product = ggsw.external_product(server.arithmetic_fft(), &factor, &mut ggsw.scratch(server.arithmetic_fft()));
///
/// let answer = Answer::new(request.label(), vec![product], 64);
/// let phase = &client.decrypt(&answer, request.label(), 1)?[0];
/// // −10·0.02, and the argument's error, some thousandths of a turn, times 100·0.02.
/// assert!((to_f64(phase[2]) + 0.2).abs() < 0.05 && to_f64(phase[3]).abs() < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LevelTables {
    gadget: Gadget,
    /// Of one bootstrapping each, with levels in order.
    rotations: Vec<FunctionTables>,
}

impl LevelTables {
    /// Tabulates `function`, whose values are rounded to integers, for arguments of `range` in turns and a GGSW ciphertext with rows of
    /// `gadget`, with up to 2^`log_tables` tables in one bootstrapping. `shape` is that of the bootstrapping key. O(N'·ℓ).
    ///
    /// # Errors
    /// [`RefreshError::Tables`] if 2^`log_tables` tables do not fit N'; [`RefreshError::Range`] as for [`FunctionTable::new`](super::FunctionTable::new);
    /// [`RefreshError::Value`] if a value is not finite or not below 2^53.
    pub fn new(
        shape: GlweShape,
        range: RangeInclusive<f64>,
        gadget: Gadget,
        log_tables: u32,
        function: impl Fn(f64) -> f64,
    ) -> Result<Self, RefreshError> {
        let log_tables = log_tables.min(log_tables_of(gadget.levels()));
        let of_level = |level: usize| {
            let (function, shift) = (&function, 64 - gadget.base_log() * level as u32);
            move |argument: f64| {
                let integer = function(argument).round();
                (integer.abs() < LARGEST).then(|| (integer as i64 as u64) << shift)
            }
        };
        let levels: Vec<_> = (1..=gadget.levels()).map(of_level).collect();
        let levels: Vec<TorusFunction<'_>> = levels.iter().map(|level| level as TorusFunction<'_>).collect();
        let rotation =
            |levels: &[TorusFunction<'_>]| FunctionTables::of_values(shape, range.clone(), log_tables, levels);
        Ok(Self { gadget, rotations: levels.chunks(1 << log_tables).map(rotation).collect::<Result<_, _>>()? })
    }

    /// The gadget of the GGSW ciphertexts' rows.
    pub fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// k' and N'.
    pub fn shape(&self) -> GlweShape {
        self.first().shape()
    }

    /// How far from its range an argument may be read, in turns.
    pub fn guard(&self) -> f64 {
        self.first().guard()
    }

    /// v: the argument is rounded to multiples of 2^v/2N', for all levels alike.
    pub fn log_tables(&self) -> u32 {
        self.first().log_tables()
    }

    /// The tables of each bootstrapping.
    pub fn rotations(&self) -> &[FunctionTables] {
        &self.rotations
    }

    /// The integer that is read at an argument without error, on the whole turn, modulo β^ℓ: from −β^ℓ/2 to β^ℓ/2 − 1.
    pub fn integer(&self, argument: f64) -> i64 {
        let last = self.rotations.last().expect("a gadget has levels");
        let bits = self.gadget.base_log() * self.gadget.levels() as u32;
        last.value(last.count() - 1, argument) as i64 >> (64 - bits)
    }

    fn first(&self) -> &FunctionTables {
        &self.rotations[0]
    }
}
