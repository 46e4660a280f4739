//! Programmable bootstrapping: a table lookup under encryption that leaves fresh noise.
//!
//! After a blind rotation of V by the phase φ̃ ([`crate::blind_rotation`]) the constant coefficient is the φ̃-th coefficient of V, and
//! sample extraction takes it out (Chillotti et al., J. Cryptology 2020, Algorithm 4). Since X^N = −1 the function read is negacyclic:
//! `f(φ + 1/2) = −f(φ)`.
//!
//! In the book: [chapter 5, bootstrapping](../../../book/05-bootstrapping.html).

use crate::bootstrapping_key::BootstrappingKey;
use crate::glwe::GlweCiphertext;
use crate::lwe::LweCiphertext;
use crate::modulus_switch::modulus_switch;
use crate::params::{GlweShape, PolynomialSize};

impl BootstrappingKey {
    /// Programmable bootstrapping: blind rotation, then extraction of the constant coefficient as an LWE ciphertext of
    /// dimension kN.
    ///
    /// # Examples
    /// A table of 2^p values is read at an encrypted index and comes out with fresh noise, that of the keys alone: below, the
    /// input's noise is more than a thousand times the output's.
    /// ```
    /// # use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
    /// # use tfhe_core::lwe::LweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, Grouping, LweDimension, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let (gadget, noise) = (Gadget::new(10, 3, Precision::Single)?, NoiseDistribution::TUniform { bound_log: 17 });
    /// # let big = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let small = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?);
    /// # let seed = EncryptionSeed::from_system()?;
    /// # let key = SeededBootstrappingKey::generate(&fft, &small, &big, gadget, noise, seed).prepare(&fft, shape);
    /// # let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// // `shape`, `fft`, `small`, `big`, `key`, `masks` and `noises` as in the example of `SeededBootstrappingKey::generate`.
    /// use tfhe_core::noise;
    /// use tfhe_core::programmable_bootstrap::{half_slot, table_accumulator};
    /// use tfhe_core::torus::to_f64;
    ///
    /// // Indices 0 to 7 on half of the torus, in the middle of their slots.
    /// let loud = NoiseDistribution::TUniform { bound_log: 52 };
    /// let indices = |m: i64| small.encrypt(encode(m, 4).wrapping_add(half_slot(3)), loud, &mut masks, &mut noises);
    /// let inputs: Vec<_> = (0..8).map(indices).collect();
    /// let squares: Vec<u64> = (0..8).map(|m| encode(m * m % 8, 4)).collect();
    ///
    /// let table = table_accumulator(shape, &squares);
    /// let outputs = key.programmable_bootstrap(&inputs, &vec![&table; 8]);
    /// let fresh = noise::blind_rotation(gadget, Grouping::One, shape, small.dimension(), noise.variance()).std();
    /// for (output, square) in outputs.iter().zip(&squares) {
    ///     let error = to_f64(big.extracted_lwe_key().phase(output).wrapping_sub(*square));
    ///     assert!(error.abs() < 8.0 * fresh, "{error}");
    /// }
    /// assert!(loud.variance().std() > 1000.0 * fresh);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn programmable_bootstrap(
        &self,
        inputs: &[LweCiphertext],
        polynomials: &[&GlweCiphertext],
    ) -> Vec<LweCiphertext> {
        self.blind_rotate(inputs, polynomials).iter().map(|out| out.sample_extract(0)).collect()
    }
}

/// The polynomial that tabulates `values` over the half torus: value m, of 2^p, is read where the phase lies in
/// [m, m+1)/2^(p+1). A phase of m/2^(p+1) must be moved to the middle of that slot first, by [`half_slot`].
///
/// # Examples
/// Each value fills a slot of N/2^p coefficients, so that a phase near the middle of the slot reads it too.
/// ```
/// use tfhe_core::params::PolynomialSize;
/// use tfhe_core::programmable_bootstrap::table_polynomial;
/// assert_eq!(table_polynomial(PolynomialSize::new(8)?, &[5, 6]), [5, 5, 5, 5, 6, 6, 6, 6]);
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
///
/// # Panics
/// If the number of values is not a power of two up to N.
pub fn table_polynomial(polynomial_size: PolynomialSize, values: &[u64]) -> Vec<u64> {
    let n = polynomial_size.get();
    assert!(values.len().is_power_of_two() && values.len() <= n, "a power of two of values, at most N");
    let slot = n / values.len();
    (0..n).map(|j| values[j / slot]).collect()
}

/// Half a slot of a table of 2^p values over the half torus: 1/2^(p+2).
///
/// # Examples
/// Of four slots on half of the torus, each has an eighth of it.
/// ```
/// use tfhe_core::programmable_bootstrap::half_slot;
/// assert_eq!(tfhe_core::torus::to_f64(half_slot(2)), 1.0 / 16.0);
/// ```
pub fn half_slot(p: u32) -> u64 {
    1 << (62 - p)
}

/// The trivial ciphertext of [`table_polynomial`].
pub fn table_accumulator(shape: GlweShape, values: &[u64]) -> GlweCiphertext {
    GlweCiphertext::trivial(shape, &table_polynomial(shape.polynomial_size, values))
}

/// Many functions of one input for one blind rotation: `tables` (a power of two of them) of 2^p values each, interleaved
/// so that function i's value is coefficient i after a rotation by a multiple of the number of tables
/// (Chillotti, Ligier, Orfila, Tap, ePrint 2021/729, section 4.2). Read them with
/// [`BootstrappingKey::programmable_bootstrap_many_tables`].
///
/// # Examples
/// Two tables of two values each: turned by a multiple of two, the first two coefficients are one value of each.
/// ```
/// use tfhe_core::params::PolynomialSize;
/// use tfhe_core::programmable_bootstrap::many_tables_polynomial;
/// let polynomial = many_tables_polynomial(PolynomialSize::new(8)?, &[vec![1, 2], vec![10, 20]]);
/// assert_eq!(polynomial, [1, 10, 1, 10, 2, 20, 2, 20]);
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
///
/// # Panics
/// If the tables differ in length, or their number or length is not a power of two, or they do not fit N.
pub fn many_tables_polynomial(polynomial_size: PolynomialSize, tables: &[Vec<u64>]) -> Vec<u64> {
    let (n, count) = (polynomial_size.get(), tables.len());
    let values = tables[0].len();
    assert!(tables.iter().all(|table| table.len() == values), "tables of one length");
    assert!(count.is_power_of_two() && values.is_power_of_two() && count * values <= n, "tables that fit N");
    let slot = n / values;
    (0..n).map(|j| tables[j % count][j / slot]).collect()
}

impl BootstrappingKey {
    /// The values of the 2^`log_tables` functions of each input's polynomial, for one blind rotation: see [`many_tables_polynomial`]. The phase
    /// is rounded to a multiple of 2^log_tables/2N, so that much coarser.
    ///
    /// # Examples
    /// Two tables for one rotation: quotient and remainder of m by 3.
    /// ```
    /// # use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
    /// # use tfhe_core::lwe::LweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let (gadget, noise) = (Gadget::new(10, 3, Precision::Single)?, NoiseDistribution::TUniform { bound_log: 17 });
    /// # let big = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let small = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?);
    /// # let seed = EncryptionSeed::from_system()?;
    /// # let key = SeededBootstrappingKey::generate(&fft, &small, &big, gadget, noise, seed).prepare(&fft, shape);
    /// # let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// // `shape`, `fft`, `small`, `big`, `key`, `masks` and `noises` as in the example of `SeededBootstrappingKey::generate`.
    /// use tfhe_core::programmable_bootstrap::{half_slot, many_tables_polynomial};
    ///
    /// let tables = [|m| m / 3, |m| m % 3].map(|f: fn(i64) -> i64| (0..8).map(|m| encode(f(m), 4)).collect());
    /// let polynomial = GlweCiphertext::trivial(shape, &many_tables_polynomial(shape.polynomial_size, &tables));
    /// let input = small.encrypt(encode(7, 4).wrapping_add(half_slot(3)), noise, &mut masks, &mut noises);
    ///
    /// let outputs = &key.programmable_bootstrap_many_tables(&[input], &[&polynomial], 1)[0];
    /// let read = |i: usize| decode(big.extracted_lwe_key().phase(&outputs[i]), 4);
    /// assert_eq!((read(0), read(1)), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the numbers of inputs and polynomials differ, an input's dimension is not n, or 2^`log_tables` is more than N/8.
    pub fn programmable_bootstrap_many_tables(
        &self,
        inputs: &[LweCiphertext],
        polynomials: &[&GlweCiphertext],
        log_tables: u32,
    ) -> Vec<Vec<LweCiphertext>> {
        let coarse = |input| rounded_for_tables(input, self.shape().polynomial_size, log_tables);
        let rounded: Vec<LweCiphertext> = inputs.iter().map(coarse).collect();
        let rotated = self.blind_rotate(&rounded, polynomials);
        rotated.iter().map(|out| (0..1 << log_tables).map(|i| out.sample_extract(i)).collect()).collect()
    }
}

/// An input rounded to exact multiples of 2^log_tables/2N, which the modulus switch to 2N leaves as they are.
///
/// # Panics
/// If 2^`log_tables` is more than N/8.
pub(crate) fn rounded_for_tables(
    input: &LweCiphertext,
    polynomial_size: PolynomialSize,
    log_tables: u32,
) -> LweCiphertext {
    let coarse = PolynomialSize::new(polynomial_size.get() >> log_tables).expect("tables that fit N");
    let (switched, shift) = (modulus_switch(input, coarse), 63 - coarse.log2());
    let data = switched.mask().iter().chain([&switched.body()]).map(|&x| (x as u64) << shift).collect();
    LweCiphertext::from_data(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrapping_key::SeededBootstrappingKey;
    use crate::derivation::ClientSeed;
    use crate::key_graph::Node;
    use crate::keys::{ClientKeys, Needs};
    use crate::lwe::LweSecretKey;
    use crate::params::{Gadget, NoiseDistribution, Precision};
    use crate::random::SecretSeed;
    use crate::{sets, torus};

    #[test]
    fn toy_set_reads_every_value() {
        let parameters = sets::TOY.compile().unwrap();
        let keys = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).unwrap();
        let needs = Needs::default().keyswitch(Node::Lookup).bootstrapping(0);
        let server = keys.evaluation_keys(&needs).unwrap().prepare().unwrap();
        let table = [3, 0, 2, 1];
        let values: Vec<u64> = table.iter().map(|&v: &u64| v << 61).collect();
        let accumulator = table_accumulator(parameters.lookup().shape, &values);
        let big = keys.lwe_key(Node::Lookup);
        let (mut masks, mut noises) = SecretSeed::from_number(7).experiment(0).into_streams();
        for message in 0..4_u64 {
            let input = big.encrypt((message << 61) + half_slot(2), parameters.lookup().noise, &mut masks, &mut noises);
            let switched = server.keyswitch(Node::Lookup).unwrap().keyswitch(&[input]);
            let output = &server.bootstrapping_key(0).unwrap().programmable_bootstrap(&switched, &[&accumulator])[0];
            assert_eq!(torus::switch_modulus(big.phase(output), 3) % 8, table[message as usize]);
        }
    }

    /// Four functions of a 2-bit input for one blind rotation, every input.
    #[test]
    fn many_tables_are_read_by_one_rotation() {
        let setup = crate::testing::Setup::new(1, 1024);
        let lwe = crate::params::LweDimension::new(60).unwrap();
        let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(4), lwe);
        let gadget = Gadget::new(10, 3, Precision::Single).unwrap();
        let key = SeededBootstrappingKey::generate(
            &setup.fft,
            &small,
            &setup.key,
            gadget,
            setup.noise,
            setup.seed.experiment(4),
        )
        .prepare(&setup.fft, setup.key.shape());
        let value = |table: u64, m: u64| (table * 7 + m * 3) % 16;
        let tables: Vec<Vec<u64>> = (0..4).map(|t| (0..4).map(|m| value(t, m) << 60).collect()).collect();
        let polynomial = many_tables_polynomial(setup.key.shape().polynomial_size, &tables);
        let accumulator = GlweCiphertext::trivial(setup.key.shape(), &polynomial);
        let (mut masks, mut noises) = setup.seed.experiment(8).into_streams();
        let quiet = NoiseDistribution::TUniform { bound_log: 20 };
        let inputs: Vec<LweCiphertext> =
            (0..4_u64).map(|m| small.encrypt((m << 61) + half_slot(2), quiet, &mut masks, &mut noises)).collect();
        let outputs = key.programmable_bootstrap_many_tables(&inputs, &[&accumulator; 4], 2);
        let big = setup.key.extracted_lwe_key();
        assert_eq!(outputs.iter().map(Vec::len).collect::<Vec<_>>(), [4; 4]);
        for (m, outputs) in outputs.iter().enumerate() {
            for (table, output) in outputs.iter().enumerate() {
                let read = torus::switch_modulus(big.phase(output), 4) % 16;
                assert_eq!(read, value(table as u64, m as u64), "table {table} at {m}");
            }
        }
    }
}
