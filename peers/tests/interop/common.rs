//! What the tests share: the same secret keys in both, and a bound on noise.

use peers::exchange;
use tfhe::core_crypto::commons::generators::DeterministicSeeder;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::{
    DefaultRandomGenerator, EncryptionRandomGenerator, GlweSecretKeyOwned, LweSecretKeyOwned, Seeder, TUniform,
};
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::lwe::LweSecretKey;
use tfhe_core::noise::Variance;
use tfhe_core::params::{GlweShape, NoiseDistribution};
use tfhe_core::random::SampleSeed;
use tfhe_core::torus;

/// tfhe-rs's generator of masks and noise.
pub(crate) type PeerGenerator = EncryptionRandomGenerator<DefaultRandomGenerator>;

pub(crate) fn peer_generator(seed: u128) -> PeerGenerator {
    let mut seeder = DeterministicSeeder::<DefaultRandomGenerator>::new(Seed(seed));
    EncryptionRandomGenerator::new(seeder.seed(), &mut seeder)
}

/// TUniform(b) in both.
pub(crate) fn tuniform(bound_log: u32) -> (NoiseDistribution, TUniform<u64>) {
    (NoiseDistribution::TUniform { bound_log }, TUniform::new(bound_log))
}

fn bits(seed: u64, count: usize) -> Vec<u64> {
    let mut bits = vec![0; count];
    SampleSeed::from_number(seed).stream(0).fill_binary(&mut bits);
    bits
}

/// An LWE secret key in both.
pub(crate) fn lwe_keys(seed: u64, n: usize) -> (LweSecretKey, LweSecretKeyOwned<u64>) {
    let bits = bits(seed, n);
    (LweSecretKey::from_raw(&bits).unwrap(), exchange::lwe_secret_key_to_peer(&bits))
}

pub(crate) fn shape(k: usize, n: usize) -> GlweShape {
    GlweShape::new(k, n).unwrap()
}

/// A GLWE secret key in both.
pub(crate) struct GlweKeys {
    pub(crate) fft: NegacyclicFft,
    pub(crate) ours: GlweSecretKey,
    pub(crate) peer: GlweSecretKeyOwned<u64>,
}

impl GlweKeys {
    pub(crate) fn new(seed: u64, shape: GlweShape) -> Self {
        let bits = bits(seed, shape.extracted_lwe_dimension().get());
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let ours = GlweSecretKey::from_raw(&fft, shape, &bits).unwrap();
        Self { fft, ours, peer: exchange::glwe_secret_key_to_peer(shape, &bits) }
    }
}

/// The difference of two torus elements, as a fraction of the torus.
pub(crate) fn error(phase: u64, plaintext: u64) -> f64 {
    torus::to_f64(phase.wrapping_sub(plaintext))
}

/// Holds that the mean square of the errors is the predicted variance within `tolerance` of it, from both sides.
pub(crate) fn assert_variance(what: &str, errors: &[f64], predicted: Variance, tolerance: f64) {
    let measured = errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
    let ratio = measured / predicted.get();
    println!("{what}: measured/predicted variance {ratio:.4} ({} samples)", errors.len());
    assert!((ratio - 1.0).abs() <= tolerance, "{what}: measured/predicted variance {ratio:.4}");
}
