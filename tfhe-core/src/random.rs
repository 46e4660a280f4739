//! Randomness: ChaCha20 with seeds and domain separation.
//!
//! Everything random is drawn from a [`Generator`], which is ChaCha20 keyed by a 32-byte seed, on the stream numbered by a
//! [`Domain`] and an index. Two (domain, index) pairs never share a stream, so keys can be made in parallel and come out
//! the same whatever the number of threads. ChaCha20's nonce makes the streams of one key independent of each other
//! (Bernstein, "ChaCha, a variant of Salsa20", 2008; RFC 8439).

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zeroize::Zeroize;

use crate::params::NoiseDistribution;

/// What a stream of randomness is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Domain {
    /// Bits of LWE secret keys.
    LweSecret = 1,
    /// Bits of GLWE secret keys.
    GlweSecret = 2,
    /// Masks: public.
    Mask = 3,
    /// Noise: secret.
    Noise = 4,
    /// Seeds derived from a seed.
    Derivation = 5,
    /// Test inputs and samples of simulated noise.
    Sample = 6,
}

/// A secret 32-byte seed. Wiped on drop, never printed.
#[derive(Clone)]
pub struct SecretSeed([u8; 32]);

/// A public 32-byte seed, from which masks are expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicSeed(pub [u8; 32]);

impl SecretSeed {
    /// From given bytes: reproducible, and only as secret as those bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From a small number, for reproducible runs and tests. Not secret.
    pub fn from_number(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }

    /// From the operating system's generator.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn from_system() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// An independent secret seed for purpose number `index`.
    pub fn derive(&self, index: u64) -> Self {
        let mut bytes = [0; 32];
        self.generator(Domain::Derivation, 2 * index).fill(&mut bytes);
        Self(bytes)
    }

    /// A public seed for purpose number `index`: output of the cipher, which tells nothing of this seed.
    pub fn derive_public(&self, index: u64) -> PublicSeed {
        let mut bytes = [0; 32];
        self.generator(Domain::Derivation, 2 * index + 1).fill(&mut bytes);
        PublicSeed(bytes)
    }

    /// The generator on stream (domain, index).
    pub fn generator(&self, domain: Domain, index: u64) -> Generator {
        Generator::new(self.0, domain, index)
    }
}

impl PublicSeed {
    /// The generator of masks on stream `index`.
    pub fn mask_generator(&self, index: u64) -> Generator {
        Generator::new(self.0, Domain::Mask, index)
    }
}

impl Drop for SecretSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for SecretSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretSeed(redacted)")
    }
}

/// A stream of random numbers.
pub struct Generator(ChaCha20Rng);

impl Generator {
    fn new(seed: [u8; 32], domain: Domain, index: u64) -> Self {
        assert!(index < 1 << 48, "stream index out of range");
        let mut cipher = ChaCha20Rng::from_seed(seed);
        cipher.set_stream((domain as u64) << 48 | index);
        Self(cipher)
    }

    /// Random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A uniform 64-bit number, that is, a uniform torus element.
    #[inline]
    pub fn uniform(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform torus elements.
    pub fn fill_uniform(&mut self, out: &mut [u64]) {
        self.0.fill_bytes(bytemuck::cast_slice_mut(out));
        if cfg!(target_endian = "big") {
            out.iter_mut().for_each(|x| *x = u64::from_le(*x));
        }
    }

    /// Uniform bits, one to an element.
    pub fn fill_binary(&mut self, out: &mut [u64]) {
        for chunk in out.chunks_mut(64) {
            let word = self.uniform();
            for (i, bit) in chunk.iter_mut().enumerate() {
                *bit = (word >> i) & 1;
            }
        }
    }

    /// A sample of `distribution`, in units of 2^-64 modulo 1.
    #[inline]
    pub fn noise(&mut self, distribution: NoiseDistribution) -> u64 {
        match distribution {
            NoiseDistribution::TUniform { bound_log } => {
                // b+2 uniform bits r: (r+1)/2 takes 0 and 2^(b+1) once and everything between twice.
                let r = self.uniform() >> (62 - bound_log);
                ((r + 1) >> 1).wrapping_sub(1 << bound_log)
            }
            NoiseDistribution::Gaussian { log2_std } => crate::torus::from_f64(self.normal() * 2f64.powf(log2_std)),
        }
    }

    /// A sample of any other distribution, for simulations.
    pub fn sample(&mut self, distribution: impl rand_distr::Distribution<f64>) -> f64 {
        distribution.sample(&mut self.0)
    }

    /// A standard normal sample (Box and Muller, Ann. Math. Statist. 29 (1958)), from 53-bit uniform numbers: its tails
    /// end at about 8.5 standard deviations.
    pub fn normal(&mut self) -> f64 {
        let unit = |word: u64| ((word >> 11) as f64 + 0.5) * 2f64.powi(-53);
        let radius = (-2.0 * unit(self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * unit(self.uniform())).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let seed = SecretSeed::from_number(7);
        let first = |domain, index| seed.generator(domain, index).uniform();
        assert_eq!(first(Domain::Noise, 3), first(Domain::Noise, 3));
        assert_ne!(first(Domain::Noise, 3), first(Domain::Noise, 4));
        assert_ne!(first(Domain::Noise, 3), first(Domain::Mask, 3));
        assert_ne!(seed.derive(1).0, seed.derive_public(1).0);
        assert_eq!(format!("{seed:?}"), "SecretSeed(redacted)");
    }

    /// 2^18 samples: the relative standard error of a variance is sqrt((kurtosis−1)/2^18) ≤ 0.28 %; bounds at 5 of them.
    #[test]
    fn noise_has_its_variance_and_mean_zero() {
        let samples = 1 << 18;
        for distribution in
            [NoiseDistribution::TUniform { bound_log: 17 }, NoiseDistribution::Gaussian { log2_std: -40.0 }]
        {
            let mut generator = SecretSeed::from_number(1).generator(Domain::Sample, 0);
            let values: Vec<f64> = (0..samples).map(|_| crate::torus::to_f64(generator.noise(distribution))).collect();
            let predicted = distribution.variance().get();
            let variance = values.iter().map(|x| x * x).sum::<f64>() / samples as f64;
            assert!((variance / predicted - 1.0).abs() < 0.014, "{distribution:?}: {variance} against {predicted}");
            let mean = values.iter().sum::<f64>() / samples as f64;
            assert!(mean.abs() < 5.0 * (predicted / samples as f64).sqrt(), "{distribution:?}: mean {mean}");
        }
    }

    #[test]
    fn tuniform_stays_in_its_bounds_and_reaches_them() {
        let mut generator = SecretSeed::from_number(2).generator(Domain::Sample, 0);
        let distribution = NoiseDistribution::TUniform { bound_log: 2 };
        let mut counts = [0_u32; 9];
        for _ in 0..16_000 {
            counts[(generator.noise(distribution) as i64 + 4) as usize] += 1;
        }
        // Ends 1/16, others 1/8: within five standard deviations of 1000 and 2000.
        for (value, &count) in counts.iter().enumerate() {
            let expected = if value == 0 || value == 8 { 1000.0 } else { 2000.0 };
            assert!((f64::from(count) - expected).abs() < 5.0 * f64::sqrt(expected), "{counts:?}");
        }
    }
}
