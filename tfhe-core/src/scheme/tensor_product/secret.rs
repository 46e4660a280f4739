//! Making relinearization keys.

use zeroize::Zeroizing;

use super::SeededRelinearizationKey;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
use crate::polynomial::schoolbook_add;
use crate::random::EncryptionSeed;
use crate::rows::RowGenerator;
use crate::torus::MODULUS_LOG;

impl SeededRelinearizationKey {
    /// Encrypts S², with the streams 0 of `seed`.
    ///
    /// # Panics
    /// If k is not 1, or something was drawn from the seed before.
    pub fn generate(
        fft: &NegacyclicFft,
        key: &GlweSecretKey,
        gadget: Gadget,
        noise: NoiseDistribution,
        mut seed: EncryptionSeed,
    ) -> Self {
        assert_eq!(key.shape().dimension.get(), 1, "products are defined for k = 1");
        seed.take_first(1);
        let secret = key.polynomial(0);
        let integers: Zeroizing<Vec<i64>> = Zeroizing::new(secret.iter().map(|&s| s as i64).collect());
        let mut square = Zeroizing::new([vec![0; secret.len()]]);
        schoolbook_add(&integers, secret, &mut square[0]);
        Self::from_rows(RowGenerator { fft, key, gadget, noise, seed: &seed, body_bits: MODULUS_LOG }.rows(&*square, 0))
    }
}
