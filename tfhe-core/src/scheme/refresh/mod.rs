//! Refresh: values of ciphertexts through lookups back into packed ciphertexts of fresh noise, so that any output can be an input.
//!
//! Sums and products let noise grow, and a table is the only function that is not polynomial. A refresh does both: it takes
//! coefficients of ciphertexts of a large ring (N, the *arithmetic* ring), reads a table at each, and puts the results, whose noise does not
//! depend on the inputs', into coefficients of new ciphertexts of the same ring and key. The keys are those of two rings
//! ([`crate::key_graph`]), N' dividing N:
//!
//! | step | from | to |
//! |---|---|---|
//! | sample extraction ([`GlweCiphertext::sample_extract`]) | coefficient of the arithmetic ring | LWE of dimension N |
//! | key switch in a small ring ([`crate::glwe_keyswitch`]) | LWE of dimension N | LWE of dimension n |
//! | modulus switch, bootstrapping ([`crate::programmable_bootstrap`]) with the value's own table | LWE of dimension n | LWE of dimension N' |
//! | packing by automorphisms ([`crate::automorphism`]) | many of dimension N' | one GLWE of the lookup ring |
//! | lift: X' = X^(N/N'), key switch | GLWE of the lookup ring | GLWE of the arithmetic ring |
//!
//! To extract, look up and pack again is what PEGASUS does between two schemes (Lu, Huang, Hong, Ma, Qu, IEEE S&P 2021, ePrint
//! 2020/1606); here both ends are one.
//!
//! The key switch's output has the noise of its input, so all of what the input carries ends in the argument of the table; what it is
//! there, and how precisely a table can be read, is told by [`FunctionTable`] and [`crate::noise::refresh`].
//!
//! # Places
//! A result can have the places X^(r·j) of the arithmetic ring, r = N/N': N' of them, in any order, and none of them has to be taken. All
//! other coefficients encrypt zero, with noise of their own. Packing costs [`Refresh::packing_keyswitches`]: with H equally spaced places,
//! of which all or some are taken, about H + log2 N'; with places close together and the rest free, more for each.
//!
//! # Looked-up GGSW ciphertexts
//! The same stages read an integer into each level of a gadget, [`Refresh::look_up_levels`] and [`Refresh::pack_levels`], of which
//! [`crate::tensor_product::RelinearizationKey::ggsw_of_levels`] makes a ciphertext that multiplies: [`LevelTables`].
//!
//! # Memory
//! Lookups are done for many outputs together, up to [`LANES`] of them (or for one output, if it has more), since blocks of
//! bootstrappings share the reading of their key. Beside its inputs and outputs a refresh holds, for each, an LWE ciphertext of
//! dimension n and two GLWE ciphertexts of the lookup ring at most: with n = 896 and N' = 2048 that is 71 KiB, so 71 MiB.
//!
//! In the book: [refresh](../../../book/22-refresh.html).

mod error;
mod levels;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rayon::prelude::*;

pub use self::error::RefreshError;
pub use self::levels::LevelTables;
pub use self::table::{FunctionTable, FunctionTables};
use crate::automorphism::AutomorphismKeys;
use crate::blind_rotation::{BlindRotator, Wanted};
use crate::bootstrapping_key::BootstrappingKey;
use crate::glwe::GlweCiphertext;
use crate::glwe_keyswitch::GlweKeyswitchKey;
use crate::lwe::LweCiphertext;
use crate::params::{GlweShape, PolynomialSize};
use crate::polynomial;
use crate::programmable_bootstrap::rounded_for_tables;

/// How many lookups are done together, unless one output has more.
pub const LANES: usize = 1024;

/// How many samples are extracted before they are switched, by one thread: each has N coefficients.
const SAMPLES: usize = 16;

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Under the arithmetic ring's key.
    pub ciphertext: &'a GlweCiphertext,
    /// The index of a coefficient.
    pub coefficient: usize,
}

/// What a table is read at: the sum of its parts. One of them may be absent, not both.
#[derive(Clone, Copy, Debug, Default)]
pub struct Argument<'a> {
    /// Under the arithmetic ring's key, dimension kN.
    pub arithmetic: Option<&'a LweCiphertext>,
    /// Under the lookup ring's key, dimension k'N': a result of a lookup, or a sum of such.
    pub lookup: Option<&'a LweCiphertext>,
}

/// Where a value is put: at X^coefficient, or −X^coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the coefficient, a multiple of N/N'.
    pub coefficient: usize,
    /// Whether the coefficient becomes minus the value.
    pub negated: bool,
}

impl Place {
    /// X^`exponent` in the ring of X^N = −1: for exponents of −N to −1, say, minus the coefficient N more.
    pub fn of_exponent(exponent: i64, size: PolynomialSize) -> Self {
        let n = size.get();
        let exponent = exponent.rem_euclid(2 * n as i64) as usize;
        Self { coefficient: exponent % n, negated: exponent >= n }
    }
}

impl From<usize> for Place {
    fn from(coefficient: usize) -> Self {
        Self { coefficient, negated: false }
    }
}

/// A value on its way through a refresh.
#[derive(Clone, Copy, Debug)]
pub struct Lane<'a> {
    /// Where it comes from.
    pub source: Source<'a>,
    /// What is read at it.
    pub table: &'a FunctionTable,
    /// The coefficient that the result gets.
    pub place: Place,
}

/// The keys of a refresh.
///
/// # Example
/// Insecure toy sizes: three coefficients of a ciphertext are read, one of them twice, and packed with room between them.
/// ```
/// use tfhe_core::automorphism::SeededAutomorphismKeys;
/// use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
/// use tfhe_core::fft::NegacyclicFft;
/// use tfhe_core::glwe::GlweSecretKey;
/// use tfhe_core::glwe_keyswitch::SeededGlweKeyswitchKey;
/// use tfhe_core::params::{Gadget, GlweDimension, GlweShape, NoiseDistribution, PolynomialSize, Precision};
/// use tfhe_core::random::{EncryptionSeed, SecretStream};
/// use tfhe_core::refresh::{Lane, FunctionTable, Refresh, Source};
/// use tfhe_core::torus;
///
/// let shape = |k, n| Ok::<_, Box<dyn std::error::Error>>(GlweShape {
///     dimension: GlweDimension::new(k)?,
///     polynomial_size: PolynomialSize::new(n)?,
/// });
/// let plan = |n| PolynomialSize::new(n).map(NegacyclicFft::new);
/// let (small_fft, lookup_fft, arithmetic_fft) = (plan(16)?, plan(256)?, plan(512)?);
/// let noise = NoiseDistribution::TUniform { bound_log: 20 };
/// let gadget = Gadget::new(8, 4, Precision::Single)?;
///
/// // A client's secrets.
/// let secrets = &mut SecretStream::from_system()?;
/// let small = GlweSecretKey::generate(secrets, shape(4, 16)?, &small_fft);
/// let lookup = GlweSecretKey::generate(secrets, shape(1, 256)?, &lookup_fft);
/// let arithmetic = GlweSecretKey::generate(secrets, shape(1, 512)?, &arithmetic_fft);
///
/// // What a server gets.
/// let seed = EncryptionSeed::from_system;
/// let cut = GlweSecretKey::from_lwe_key(&arithmetic.extracted_lwe_key(), shape(32, 16)?, &small_fft);
/// let keyswitch = SeededGlweKeyswitchKey::generate(&small_fft, &cut, &small, gadget, noise, seed()?);
/// let bootstrapping = SeededBootstrappingKey::generate(
///     &lookup_fft, &small.extracted_lwe_key(), &lookup, gadget, noise, seed()?,
/// );
/// let automorphisms = SeededAutomorphismKeys::generate(
///     &lookup_fft, &lookup, 1..=8, Gadget::new(6, 7, Precision::Split)?, noise, seed()?,
/// );
/// let larger = lookup.in_larger_ring(&arithmetic_fft);
/// let lift = SeededGlweKeyswitchKey::generate(&arithmetic_fft, &larger, &arithmetic, gadget, noise, seed()?);
/// let keyswitch = keyswitch.prepare(&small_fft);
/// let bootstrapping = bootstrapping.prepare(&lookup_fft, lookup.shape());
/// let automorphisms = automorphisms.prepare(&lookup_fft);
/// let lift = lift.prepare(&arithmetic_fft);
/// let refresh = Refresh::new(&keyswitch, &bootstrapping, &automorphisms, &lift)?;
///
/// // Values up to an eighth of a turn become a sixteenth of themselves, and the square of one of them.
/// let halves = FunctionTable::new(lookup.shape(), -0.125..=0.125, |x| x / 16.0)?;
/// let square = FunctionTable::new(lookup.shape(), -0.125..=0.125, |x| x * x)?;
/// let mut plaintext = vec![0; 512];
/// plaintext[..3].copy_from_slice(&[0.1, -0.05, 0.12].map(torus::from_f64));
/// let ciphertext = &arithmetic.encrypt(&arithmetic_fft, &plaintext, noise, &mut seed()?).expand();
/// let lane = |coefficient, table, place: usize| Lane { source: Source { ciphertext, coefficient }, table, place: place.into() };
/// let lanes = [lane(0, &halves, 0), lane(1, &halves, 128), lane(2, &halves, 256), lane(2, &square, 384)];
/// let refreshed = refresh.refresh(&[&lanes])?;
///
/// let phase = arithmetic.phase(&arithmetic_fft, &refreshed[0]);
/// for (place, expected) in [(0, 0.1 / 16.0), (128, -0.05 / 16.0), (256, 0.12 / 16.0), (384, 0.0144), (5, 0.0)] {
///     assert!((torus::to_f64(phase[place]) - expected).abs() < 0.008, "{place}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Refresh<'a> {
    keyswitch: &'a GlweKeyswitchKey,
    /// From the lookup ring.
    lookup_keyswitch: Option<&'a GlweKeyswitchKey>,
    bootstrapping: &'a BootstrappingKey,
    /// Who does the blind rotations with it.
    rotator: &'a dyn BlindRotator,
    /// To how many bits their results are rounded.
    result_bits: u32,
    automorphisms: &'a AutomorphismKeys,
    lift: &'a GlweKeyswitchKey,
}

impl<'a> Refresh<'a> {
    /// With the key switch from the arithmetic ring to the small key, the bootstrapping key, all automorphisms of the lookup ring, and
    /// the key switch from the lookup ring to the arithmetic one.
    ///
    /// # Errors
    /// [`RefreshError::Keys`] if they are of rings that do not fit.
    pub fn new(
        keyswitch: &'a GlweKeyswitchKey,
        bootstrapping: &'a BootstrappingKey,
        automorphisms: &'a AutomorphismKeys,
        lift: &'a GlweKeyswitchKey,
    ) -> Result<Self, RefreshError> {
        let (lookup, arithmetic) = (bootstrapping.shape(), lift.output_shape());
        let fit = |fits: bool, otherwise| if fits { Ok(()) } else { Err(RefreshError::Keys(otherwise)) };
        fit(
            keyswitch.input_shape().extracted_lwe_dimension() == arithmetic.extracted_lwe_dimension(),
            "the key switch to the small key is not from the ring that results are lifted to",
        )?;
        fit(
            keyswitch.output_shape().extracted_lwe_dimension() == bootstrapping.lwe_dimension(),
            "the key switch is not to the key that is bootstrapped",
        )?;
        fit(automorphisms.are_complete_for(lookup), "automorphisms of the bootstrapping key's ring are missing")?;
        fit(
            lift.input_shape().dimension == lookup.dimension
                && lift.input_shape().polynomial_size >= lookup.polynomial_size,
            "the lift is not from the ring of lookups",
        )?;
        Ok(Self {
            keyswitch,
            lookup_keyswitch: None,
            bootstrapping,
            rotator: bootstrapping,
            result_bits: u64::BITS,
            automorphisms,
            lift,
        })
    }

    /// With a key switch from the lookup ring to the small key besides, for [`Argument`]s with a part under its key.
    ///
    /// # Errors
    /// [`RefreshError::Keys`] if it is another one.
    pub fn with_lookup_keyswitch(self, keyswitch: &'a GlweKeyswitchKey) -> Result<Self, RefreshError> {
        let dimensions = |key: &GlweKeyswitchKey| {
            [key.input_shape(), key.output_shape()].map(|shape| shape.extracted_lwe_dimension())
        };
        let fits = [self.lookup_shape().extracted_lwe_dimension(), self.bootstrapping.lwe_dimension()];
        if dimensions(keyswitch) != fits {
            return Err(RefreshError::Keys("the second key switch is not from the ring of lookups to the small key"));
        }
        Ok(Self { lookup_keyswitch: Some(keyswitch), ..self })
    }

    /// With another bootstrapping key, of another gadget, say; all other keys are the same.
    ///
    /// # Errors
    /// [`RefreshError::Keys`] if it is of other rings.
    pub fn with_bootstrapping(self, bootstrapping: &'a BootstrappingKey) -> Result<Self, RefreshError> {
        let rings = |key: &BootstrappingKey| (key.shape(), key.lwe_dimension());
        if rings(bootstrapping) != rings(self.bootstrapping) {
            return Err(RefreshError::Keys("the bootstrapping keys are of different rings"));
        }
        Ok(Self { bootstrapping, rotator: bootstrapping, ..self })
    }

    /// With blind rotations done by `rotator`, which has the same bootstrapping key, instead of here.
    #[must_use]
    pub fn with_rotator(self, rotator: &'a dyn BlindRotator) -> Self {
        Self { rotator, ..self }
    }

    /// With results of lookups rounded to their highest `bits` bits, so that less of them has to be sent if others compute them. What
    /// that adds to their noise, [`crate::noise::RefreshParameters::with_result_bits`] says.
    #[must_use]
    pub fn with_result_bits(self, bits: u32) -> Self {
        Self { result_bits: bits, ..self }
    }

    /// To how many bits results are rounded.
    pub fn result_bits(&self) -> u32 {
        self.result_bits
    }

    /// Who does the blind rotations.
    pub fn rotator(&self) -> &'a dyn BlindRotator {
        self.rotator
    }

    /// N.
    fn size(&self) -> PolynomialSize {
        self.lift.input_shape().polynomial_size
    }

    /// k' and N'.
    fn lookup_shape(&self) -> GlweShape {
        self.bootstrapping.shape()
    }

    /// N/N': places are its multiples.
    pub fn place_step(&self) -> usize {
        self.size().get() / self.lookup_shape().polynomial_size.get()
    }

    /// Values through lookups into one ciphertext of the arithmetic ring for each list of lanes; an empty list gives the
    /// ciphertext of zero that has no noise. In parallel; memory is as the module says.
    ///
    /// # Errors
    /// [`RefreshError::Source`], [`RefreshError::Coefficient`], [`RefreshError::Dimension`], [`RefreshError::Place`],
    /// [`RefreshError::Taken`], before anything is computed.
    pub fn refresh(&self, outputs: &[&[Lane<'_>]]) -> Result<Vec<GlweCiphertext>, RefreshError> {
        for lanes in outputs {
            for lane in *lanes {
                self.check_source(lane.source)?;
                self.check_table(lane.table.as_tables())?;
            }
            self.check_places(&lanes.iter().map(|lane| lane.place).collect::<Vec<_>>())?;
        }
        let mut refreshed = Vec::with_capacity(outputs.len());
        let mut rest = outputs;
        while !rest.is_empty() {
            let (together, later) = rest.split_at(treated_together(rest));
            rest = later;
            let lanes: Vec<Lane<'_>> = together.iter().copied().flatten().copied().collect();
            let sources: Vec<Source<'_>> = lanes.iter().map(|lane| lane.source).collect();
            let tables: Vec<&FunctionTable> = lanes.iter().map(|lane| lane.table).collect();
            let mut values = self.look_up(&self.keyswitch(&sources)?, &tables)?.into_iter();
            let of_output: Vec<(Vec<LweCiphertext>, Vec<Place>)> = together
                .iter()
                .map(|lanes| (values.by_ref().take(lanes.len()).collect(), lanes.iter().map(|l| l.place).collect()))
                .collect();
            let pack = |(values, places): (Vec<LweCiphertext>, Vec<Place>)| self.pack(values, &places);
            refreshed.extend(of_output.into_par_iter().map(pack).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(refreshed)
    }

    /// First stage: extraction and key switch, to LWE ciphertexts of dimension n under the small key. One can be read by many tables, all
    /// of which then see the same argument with the same error.
    ///
    /// # Errors
    /// [`RefreshError::Source`], [`RefreshError::Coefficient`].
    pub fn keyswitch(&self, sources: &[Source<'_>]) -> Result<Vec<LweCiphertext>, RefreshError> {
        sources.iter().try_for_each(|&source| self.check_source(source))?;
        let switch = |sources: &[Source<'_>]| {
            let samples: Vec<_> =
                sources.iter().map(|source| source.ciphertext.sample_extract(source.coefficient)).collect();
            self.keyswitch.keyswitch_lwe(&samples)
        };
        Ok(sources.par_chunks(SAMPLES).flat_map_iter(switch).collect())
    }

    /// First stage of arguments that were extracted, and added up, before: each part is switched with the key switch of its ring, whose
    /// noise it gets ([`crate::noise::RefreshParameters::with_arguments`]).
    ///
    /// # Errors
    /// [`RefreshError::NoPart`], [`RefreshError::NoLookupKeyswitch`], [`RefreshError::Dimension`].
    pub fn keyswitch_arguments(&self, arguments: &[Argument<'_>]) -> Result<Vec<LweCiphertext>, RefreshError> {
        let switch = |(index, argument): (usize, &Argument<'_>)| {
            let mut sum = LweCiphertext::trivial(self.bootstrapping.lwe_dimension(), 0);
            for (what, part, key) in self.parts(argument, index)? {
                let dimension = key.input_shape().extracted_lwe_dimension().get();
                check_dimension(what, dimension, part.dimension())?;
                sum.add_scaled(&key.keyswitch_lwe(std::slice::from_ref(part))[0], 1);
            }
            Ok(sum)
        };
        arguments.par_iter().enumerate().map(switch).collect()
    }

    /// The parts of an argument, and the key switch of each.
    fn parts<'b>(
        &self,
        argument: &Argument<'b>,
        index: usize,
    ) -> Result<Vec<(&'static str, &'b LweCiphertext, &'a GlweKeyswitchKey)>, RefreshError> {
        let mut parts = Vec::new();
        if let Some(part) = argument.arithmetic {
            parts.push(("a part under the arithmetic key", part, self.keyswitch));
        }
        if let Some(part) = argument.lookup {
            let key = self.lookup_keyswitch.ok_or(RefreshError::NoLookupKeyswitch)?;
            parts.push(("a part under the lookup key", part, key));
        }
        if parts.is_empty() { Err(RefreshError::NoPart { index }) } else { Ok(parts) }
    }

    /// Second stage: each argument, under the small key, read by a table, to LWE ciphertexts of dimension k'N' under the lookup key.
    ///
    /// # Errors
    /// [`RefreshError::Count`], [`RefreshError::Dimension`].
    pub fn look_up(
        &self,
        arguments: &[LweCiphertext],
        tables: &[&FunctionTable],
    ) -> Result<Vec<LweCiphertext>, RefreshError> {
        let tables: Vec<&FunctionTables> = tables.iter().map(|table| table.as_tables()).collect();
        Ok(self.look_up_many(arguments, &tables)?.into_iter().flatten().collect())
    }

    /// Second stage with several tables for each argument, in one bootstrapping: the value of each of its functions.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub fn look_up_many(
        &self,
        arguments: &[LweCiphertext],
        tables: &[&FunctionTables],
    ) -> Result<Vec<Vec<LweCiphertext>>, RefreshError> {
        check_count(arguments.len(), tables.len(), "tables")?;
        let dimension = self.bootstrapping.lwe_dimension().get();
        arguments.iter().try_for_each(|argument| check_dimension("an argument", dimension, argument.dimension()))?;
        tables.iter().try_for_each(|table| self.check_table(table))?;
        let size = self.lookup_shape().polynomial_size;
        let moved = |(argument, table): (&LweCiphertext, &&FunctionTables)| {
            let mut moved = argument.clone();
            moved.add_plaintext(table.offset());
            rounded_for_tables(&moved, size, table.log_tables())
        };
        let moved: Vec<LweCiphertext> = arguments.iter().zip(tables).map(moved).collect();
        let polynomials: Vec<&GlweCiphertext> = tables.iter().map(|table| table.polynomial()).collect();
        let bodies: Vec<usize> = tables.iter().map(|table| table.count()).collect();
        let mut rotated =
            self.rotator.rotate(&moved, &polynomials, &Wanted { bits: self.result_bits, bodies: &bodies });
        rotated.iter_mut().for_each(|rotated| rotated.round(self.result_bits));
        let values = |(rotated, table): (&GlweCiphertext, &&FunctionTables)| {
            (0..table.count()).map(|i| rotated.sample_extract(i)).collect()
        };
        Ok(rotated.iter().zip(tables).map(values).collect())
    }

    /// Second stage for GGSW ciphertexts: for each argument the values of all ℓ levels of its tables, M·q/β^i for i from 1 to ℓ, with one
    /// integer M in all of them ([`LevelTables`]).
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub fn look_up_levels(
        &self,
        arguments: &[LweCiphertext],
        tables: &[&LevelTables],
    ) -> Result<Vec<Vec<LweCiphertext>>, RefreshError> {
        check_count(arguments.len(), tables.len(), "tables")?;
        let repeat =
            |(argument, table): (&LweCiphertext, &&LevelTables)| vec![argument.clone(); table.rotations().len()];
        let repeated: Vec<LweCiphertext> = arguments.iter().zip(tables).flat_map(repeat).collect();
        let rotations: Vec<&FunctionTables> = tables.iter().flat_map(|table| table.rotations()).collect();
        let mut values = self.look_up_many(&repeated, &rotations)?.into_iter();
        Ok(tables.iter().map(|table| values.by_ref().take(table.rotations().len()).flatten().collect()).collect())
    }

    /// Third stage for GGSW ciphertexts: of values that [`Self::look_up_levels`] gave, one at each place, one ciphertext of the arithmetic
    /// ring for each level. Levels in parallel.
    ///
    /// # Errors
    /// As [`Self::pack`], and [`RefreshError::Count`] if arguments have different numbers of levels.
    pub fn pack_levels(
        &self,
        values: &[Vec<LweCiphertext>],
        places: &[Place],
    ) -> Result<Vec<GlweCiphertext>, RefreshError> {
        let levels = values.first().map_or(0, Vec::len);
        values.iter().try_for_each(|of_argument| check_count(levels, of_argument.len(), "levels"))?;
        let level = |level: usize| self.pack(values.iter().map(|levels| levels[level].clone()).collect(), places);
        (0..levels).into_par_iter().map(level).collect()
    }

    /// Third stage: values under the lookup key into the given coefficients of one ciphertext of the arithmetic ring, the others
    /// of which encrypt zero.
    ///
    /// # Errors
    /// [`RefreshError::Count`], [`RefreshError::Dimension`], [`RefreshError::Place`], [`RefreshError::Taken`].
    pub fn pack(&self, values: Vec<LweCiphertext>, places: &[Place]) -> Result<GlweCiphertext, RefreshError> {
        check_count(values.len(), places.len(), "places")?;
        let shape = self.lookup_shape();
        let dimension = shape.extracted_lwe_dimension().get();
        values.iter().try_for_each(|value| check_dimension("a value", dimension, value.dimension()))?;
        self.check_places(places)?;
        let coefficients = places.iter().map(|place| place.coefficient);
        let Some(lowest) = coefficients.clone().min() else {
            return Ok(GlweCiphertext::zero(self.lift.output_shape()));
        };
        let (size, step) = (shape.polynomial_size.get(), self.place_step());
        // In units of X', from the first on; the coarsest grid that has all of them.
        let first = lowest / step;
        let positions: Vec<usize> = coefficients.map(|coefficient| coefficient / step - first).collect();
        let spacing = positions.iter().fold(size, |spacing, position| spacing | position);
        let spacing = 1 << spacing.trailing_zeros();
        let mut inputs: Vec<Option<GlweCiphertext>> = vec![None; size / spacing];
        for ((position, place), mut value) in positions.iter().zip(places).zip(values) {
            if place.negated {
                value.scale(-1);
            }
            inputs[position / spacing] = Some(GlweCiphertext::embed(shape, &value));
        }
        let packed = self.automorphisms.pack(inputs);
        let packed = packed.map_polynomials(|x, y| polynomial::rotate(x, first, y));
        Ok(self.lift.keyswitch(&packed.into_larger_ring(self.size()), &mut self.lift.scratch()))
    }

    /// How many key switches of automorphisms packing at the given places takes: in each level l one for each remainder of
    /// places modulo N/2^l.
    ///
    /// # Errors
    /// [`RefreshError::Place`], [`RefreshError::Taken`].
    pub fn packing_keyswitches(&self, places: &[Place]) -> Result<usize, RefreshError> {
        self.check_places(places)?;
        let size = self.size().get();
        let nodes = |l: u32| places.iter().map(|place| place.coefficient % (size >> l)).collect::<BTreeSet<_>>().len();
        Ok((1..=self.lookup_shape().polynomial_size.log2()).map(nodes).sum())
    }

    fn check_source(&self, source: Source<'_>) -> Result<(), RefreshError> {
        let shape = source.ciphertext.shape();
        let expected = self.keyswitch.input_shape().extracted_lwe_dimension().get();
        let found = shape.extracted_lwe_dimension().get();
        if found != expected {
            return Err(RefreshError::Source { expected, found });
        }
        let (coefficient, size) = (source.coefficient, shape.polynomial_size.get());
        if coefficient >= size {
            return Err(RefreshError::Coefficient { coefficient, size });
        }
        Ok(())
    }

    fn check_table(&self, table: &FunctionTables) -> Result<(), RefreshError> {
        let (expected, found) = (self.lookup_shape(), table.shape());
        check_dimension("a table", expected.polynomial_size.get(), found.polynomial_size.get())?;
        check_dimension("a table with masks", expected.dimension.get(), found.dimension.get())
    }

    fn check_places(&self, places: &[Place]) -> Result<(), RefreshError> {
        let (step, size) = (self.place_step(), self.size().get());
        let mut taken = BTreeSet::new();
        for &Place { coefficient: place, .. } in places {
            if place >= size || place % step != 0 {
                return Err(RefreshError::Place { place, step, size });
            }
            if !taken.insert(place) {
                return Err(RefreshError::Taken { place });
            }
        }
        Ok(())
    }
}

/// How many of the first outputs are treated together: at least one, and no more lanes than [`LANES`] unless it has more.
fn treated_together(outputs: &[&[Lane<'_>]]) -> usize {
    let mut lanes = 0;
    let fit = outputs.iter().take_while(|output| {
        lanes += output.len();
        lanes <= LANES
    });
    fit.count().max(1)
}

fn check_count(arguments: usize, others: usize, what: &'static str) -> Result<(), RefreshError> {
    if arguments == others { Ok(()) } else { Err(RefreshError::Count { arguments, others, what }) }
}

fn check_dimension(what: &'static str, expected: usize, found: usize) -> Result<(), RefreshError> {
    if expected == found { Ok(()) } else { Err(RefreshError::Dimension { what, expected, found }) }
}
