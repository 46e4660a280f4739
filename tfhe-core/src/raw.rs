//! Keys and ciphertexts from and to plain numbers, for exchange with other implementations.
//!
//! Everything is u64, in units of 2^-64 of the torus, in the conventions of this crate: a ciphertext is its mask and then its
//! body, b = Σ a_i·s_i + μ + e; the rows of a key go from the most significant level, q/β, to the least, q/β^ℓ.
//!
//! | what | numbers |
//! |---|---|
//! | LWE secret key | `[n]` bits |
//! | GLWE secret key | `[k][N]` bits |
//! | LWE ciphertext | `[n+1]`: [`crate::lwe::LweCiphertext::from_data`] and `data` |
//! | GLWE ciphertext | `[k+1][N]` |
//! | LWE key-switching key | `[n'][ℓ][n+1]`, the encryptions of s'_i·q/β^level |
//! | GGSW ciphertext | `[k+1][ℓ][k+1][N]`, the rows of [`crate::ggsw`] |
//! | bootstrapping key | a GGSW ciphertext for each of n bits, or three for each two |
//!
//! Secret keys can be imported and not exported: who has a secret to share has the bits, or the seed, that it was made from.
//!
//! # Examples
//! A GGSW ciphertext goes to plain numbers and comes back; what is no ciphertext is refused.
//! ```
//! # use tfhe_core::fft::NegacyclicFft;
//! # use tfhe_core::glwe::GlweSecretKey;
//! # use tfhe_core::params::{GlweShape, NoiseDistribution};
//! # use tfhe_core::random::{EncryptionSeed, SecretStream};
//! # let shape = GlweShape::new(1, 1024)?;
//! # let fft = NegacyclicFft::new(shape.polynomial_size);
//! # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
//! # let noise = NoiseDistribution::TUniform { bound_log: 24 };
//! # let mut seed = EncryptionSeed::from_system()?;
//! // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
//! use tfhe_core::ggsw::FourierGgsw;
//! use tfhe_core::params::{Gadget, Precision};
//! use tfhe_core::torus::{decode, encode};
//!
//! let gadget = Gadget::new(8, 4, Precision::Single)?;
//! let rows = key.encrypt_ggsw(&fft, 3, gadget, noise, &mut seed).expand();
//! let ggsw = FourierGgsw::from_raw(&fft, shape, gadget, &rows)?;
//! assert!(FourierGgsw::from_raw(&fft, shape, gadget, &rows[1..]).is_err());
//!
//! let input = key.encrypt(&fft, &vec![encode(1, 4); 1024], noise, &mut seed).expand();
//! let product = ggsw.external_product(&fft, &input, &mut ggsw.scratch(&fft));
//! assert!(key.phase(&fft, &product).iter().all(|&x| decode(x, 4) == 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::bootstrapping_key::{BootstrappingKey, SeededBootstrappingKey};
use crate::fft::NegacyclicFft;
use crate::ggsw::FourierGgsw;
use crate::glwe::GlweCiphertext;
use crate::keyswitch::{LweKeyswitchKey, SeededLweKeyswitchKey};
use crate::params::{Gadget, GlweShape, LweDimension, ParameterError};

#[cfg(feature = "secret-keys")]
mod secret;
#[cfg(any(test, feature = "testing"))]
mod testing;

/// Why numbers were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// There are more or fewer numbers than the dimensions ask for.
    #[error("{actual} numbers for {what}; its dimensions ask for {expected}")]
    Length {
        /// What they should have been.
        what: &'static str,
        /// How many that is.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// An element of a secret key is neither 0 nor 1. The element itself is not told.
    #[error("element {0} of a secret key is neither 0 nor 1")]
    NotBinary(usize),
    /// A dimension is out of range, or a gadget does not fit the ring.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
}

fn check_length(what: &'static str, expected: usize, actual: usize) -> Result<(), RawError> {
    if expected == actual { Ok(()) } else { Err(RawError::Length { what, expected, actual }) }
}

impl GlweCiphertext {
    /// From `[k+1][N]` torus elements, the inverse of [`Self::data`].
    ///
    /// # Errors
    /// If there are not (k+1)·N.
    pub fn from_raw(shape: GlweShape, data: &[u64]) -> Result<Self, RawError> {
        check_length("a GLWE ciphertext", shape.ciphertext_len(), data.len())?;
        Ok(Self::from_elements(shape, data.to_vec()))
    }
}

impl SeededLweKeyswitchKey {
    /// The rows `[n'][ℓ][n+1]`, masks expanded.
    pub fn to_raw(&self) -> Vec<u64> {
        self.all_rows()
    }
}

impl LweKeyswitchKey {
    /// A key from dimension `input` to `output`, from rows `[n'][ℓ][n+1]`.
    ///
    /// # Errors
    /// If there are not n'·ℓ·(n+1).
    pub fn from_raw(
        input: LweDimension,
        output: LweDimension,
        gadget: Gadget,
        rows: Vec<u64>,
    ) -> Result<Self, RawError> {
        let expected = input.get() * gadget.levels() * (output.get() + 1);
        check_length("an LWE key-switching key", expected, rows.len())?;
        Ok(Self::from_rows(input, output, gadget, rows))
    }
}

impl SeededBootstrappingKey {
    /// The rows `[k+1][ℓ][k+1][N]` of the GGSW ciphertexts in turn, masks expanded: of the encryption of each bit, or of the three of each
    /// pair of them.
    pub fn to_raw(&self) -> impl ExactSizeIterator<Item = Vec<u64>> {
        self.ciphertexts().iter().map(|ciphertext| ciphertext.expand())
    }
}

impl FourierGgsw {
    /// A GGSW ciphertext from rows `[k+1][ℓ][k+1][N]`, in the Fourier domain of `fft`.
    ///
    /// # Errors
    /// If there are not (k+1)²·ℓ·N, or products with the gadget would not be exact ([`Gadget::in_ring`]).
    pub fn from_raw(fft: &NegacyclicFft, shape: GlweShape, gadget: Gadget, rows: &[u64]) -> Result<Self, RawError> {
        let columns = shape.dimension.get() + 1;
        gadget.in_ring(shape.polynomial_size, columns)?;
        check_length("a GGSW ciphertext", columns * gadget.levels() * shape.ciphertext_len(), rows.len())?;
        Ok(Self::from_rows(fft, shape, gadget, rows))
    }
}

impl BootstrappingKey {
    /// From the rows `[k+1][ℓ][k+1][N]` of the GGSW encryption of each bit in turn; `fft` must be a plan of size N.
    /// A bit's rows are dropped before the next are asked for.
    ///
    /// # Errors
    /// If a GGSW ciphertext does not have (k+1)²·ℓ·N elements, or there is none, or more than [`LweDimension::MAXIMUM`], or if
    /// products with the gadget would not be exact ([`Gadget::in_ring`]).
    pub fn from_raw<Rows: AsRef<[u64]>>(
        fft: &NegacyclicFft,
        shape: GlweShape,
        gadget: Gadget,
        bits: impl IntoIterator<Item = Rows>,
    ) -> Result<Self, RawError> {
        let bits = bits
            .into_iter()
            .map(|rows| FourierGgsw::from_raw(fft, shape, gadget, rows.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let dimension = LweDimension::new(bits.len())?;
        Ok(Self::from_bits(fft, shape, dimension, bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derivation::ClientSeed;
    use crate::glwe::GlweSecretKey;
    use crate::key_graph::{Edge, Node, Parameters};
    use crate::keys::ClientKeys;
    use crate::lwe::LweSecretKey;
    use crate::params::Precision;
    use crate::programmable_bootstrap::{half_slot, table_accumulator};
    use crate::random::SecretSeed;
    use crate::sets;

    fn keyswitch(parameters: &Parameters) -> Gadget {
        parameters.gadget(Edge::Keyswitch { from: Node::Lookup }).unwrap()
    }

    fn toy() -> (Parameters, ClientKeys, SecretSeed) {
        let parameters = sets::TOY.compile().unwrap();
        let keys = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).unwrap();
        (parameters, keys, SecretSeed::from_number(2))
    }

    #[test]
    fn imported_secret_keys_are_the_same_keys() {
        let (parameters, keys, seed) = toy();
        let (mut masks, mut noises) = seed.experiment(0).into_streams();
        let copy = LweSecretKey::from_raw(keys.lwe_key(Node::Small).bits()).unwrap();
        let ciphertext =
            keys.lwe_key(Node::Small).encrypt(5 << 59, parameters.small().noise(), &mut masks, &mut noises);
        assert_eq!(copy.phase(&ciphertext), keys.lwe_key(Node::Small).phase(&ciphertext));
        assert!(!format!("{copy:?}").contains('['));

        let (fft, shape, glwe) = (keys.fft(Node::Lookup), parameters.lookup().shape, keys.glwe_key(Node::Lookup));
        let copy = GlweSecretKey::from_raw(fft, shape, glwe.extracted_lwe_key().bits()).unwrap();
        let plaintext = vec![3 << 60; shape.polynomial_size.get()];
        let ciphertext = glwe.encrypt(fft, &plaintext, parameters.lookup().noise, &mut seed.experiment(9)).expand();
        let again = GlweCiphertext::from_raw(shape, ciphertext.data()).unwrap();
        assert_eq!(again, ciphertext);
        assert_eq!(copy.phase(fft, &again), glwe.phase(fft, &ciphertext));
    }

    /// Exported and imported again, the evaluation keys compute what the prepared ones do, bootstrapping to the last bit.
    #[test]
    fn exported_evaluation_keys_come_back_the_same() {
        let (parameters, keys, seed) = toy();
        let (mut masks, mut noises) = seed.experiment(0).into_streams();
        let (fft, shape) = (keys.fft(Node::Lookup), parameters.lookup().shape);
        let (big, gadget) = (keys.lwe_key(Node::Lookup), parameters.bootstraps()[0].gadget);
        let input = big.encrypt((1 << 61) + half_slot(2), parameters.lookup().noise, &mut masks, &mut noises);

        let (own, noise) = (seed.experiment(7), parameters.small().noise());
        let seeded =
            SeededLweKeyswitchKey::generate(&big, &keys.lwe_key(Node::Small), keyswitch(&parameters), noise, own);
        let (from, to) = (shape.extracted_lwe_dimension(), parameters.small().lwe_dimension());
        let again = LweKeyswitchKey::from_raw(from, to, keyswitch(&parameters), seeded.to_raw()).unwrap();
        let small = seeded.expand().keyswitch(std::slice::from_ref(&input));
        // The expanded key may be rounded to 32 bits: 320 digits of up to 8 meet errors of up to 2^-33, in mask and body.
        let phases = [&again.keyswitch(&[input]), &small].map(|output| keys.lwe_key(Node::Small).phase(&output[0]));
        let difference = crate::torus::to_f64(phases[0].wrapping_sub(phases[1])).abs();
        assert!(difference < 320.0 * 8.0 * 9.0 * 2f64.powi(-33), "{difference}");

        let (own, noise) = (seed.experiment(8), parameters.lookup().noise);
        let seeded = SeededBootstrappingKey::generate(
            fft,
            &keys.lwe_key(Node::Small),
            keys.glwe_key(Node::Lookup),
            gadget,
            noise,
            own,
        );
        let again = BootstrappingKey::from_raw(fft, shape, gadget, seeded.to_raw()).unwrap();
        let table = table_accumulator(shape, &[0, 1 << 61, 2 << 61, 3 << 61]);
        assert_eq!(
            again.programmable_bootstrap(&small, &[&table]),
            seeded.prepare(fft, shape).programmable_bootstrap(&small, &[&table])
        );
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let (parameters, keys, ..) = toy();
        let (fft, shape, gadget) =
            (keys.fft(Node::Lookup), parameters.lookup().shape, parameters.bootstraps()[0].gadget);
        assert_eq!(LweSecretKey::from_raw(&[0, 1, 2]).unwrap_err(), RawError::NotBinary(2));
        assert!(matches!(LweSecretKey::from_raw(&[]), Err(RawError::Parameter(_))));
        assert!(matches!(GlweSecretKey::from_raw(fft, shape, &[1; 63]), Err(RawError::Length { expected: 64, .. })));
        assert!(matches!(GlweCiphertext::from_raw(shape, &[0; 129]), Err(RawError::Length { actual: 129, .. })));
        let (from, to) = (shape.extracted_lwe_dimension(), parameters.small().lwe_dimension());
        assert!(LweKeyswitchKey::from_raw(from, to, keyswitch(&parameters), vec![0; 9]).is_err());
        assert!(FourierGgsw::from_raw(fft, shape, gadget, &[0; 64]).is_err());
        let inexact = Gadget::new(16, 3, Precision::Split).unwrap();
        let refused = FourierGgsw::from_raw(fft, shape, inexact, &[0; 768]).unwrap_err();
        assert!(matches!(refused, RawError::Parameter(ParameterError::Inexact { inputs: 2, .. })), "{refused}");
        let refused = BootstrappingKey::from_raw(fft, shape, inexact, [[0; 768]]).unwrap_err();
        assert!(matches!(refused, RawError::Parameter(ParameterError::Inexact { inputs: 2, .. })), "{refused}");
        assert!(BootstrappingKey::from_raw(fft, shape, gadget, std::iter::empty::<Vec<u64>>()).is_err());
    }
}
