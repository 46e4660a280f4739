//! Randomness: seeds, and streams of ChaCha20 from them, a type for each use.
//!
//! | seed | gives | who may know it |
//! |---|---|---|
//! | [`SecretSeed`] | everything of a client, by [`crate::derivation`]; no stream of its own | the client |
//! | [`EncryptionSeed`] | [`MaskStream`]s and [`NoiseStream`]s, for one key or one request | the client; its masks' half, a [`PublicSeed`], everybody |
//! | [`PublicSeed`] | [`MaskStream`]s | everybody |
//! | [`SampleSeed`] | [`SampleStream`]s: simulated noise, shuffles, test inputs | everybody |
//!
//! A stream is ChaCha20 keyed by a 32-byte seed, with its [`Role`] and an index as the nonce. Two (role, index) pairs never share
//! a stream, so keys can be made in parallel and come out the same whatever the number of threads. ChaCha20's nonce makes the
//! streams of one key independent of each other (Bernstein, "ChaCha, a variant of Salsa20", 2008; RFC 8439).
//!
//! A mask that is used twice gives away the difference of two plaintexts up to noise, and with the noise used twice as well,
//! the difference itself. So what gives masks and noise is made for one key or one request, cannot be copied, and is used up
//! by what it encrypts; masks and noise are of different types, and no public seed gives noise.
//!
//! Seeds, and the state of ciphers that make secrets, are on the heap, where moving them leaves no copies, and are overwritten
//! when they are dropped, as is the stack below (the module `wiping` says what that covers).
//!
//! In the book: [chapter 1, torus and LWE](../../../book/01-torus-and-lwe.html).

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

use crate::params::NoiseDistribution;

#[cfg(feature = "secret-keys")]
mod secret;

#[cfg(feature = "secret-keys")]
pub(crate) use secret::SecretBytes;
#[cfg(feature = "secret-keys")]
pub use secret::{EncryptionSeed, NoiseStream, SecretSeed, SecretStream};

/// The operating system has no randomness to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system has no randomness to give: {0}")]
pub struct RandomnessError(#[from] getrandom::Error);

/// What a seed, or a stream of it, is for. The numbers are part of what is derived: none may change its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Role {
    /// Bits of secret keys.
    Secret = 1,
    /// Masks: public.
    Mask = 2,
    /// Noise: secret.
    Noise = 3,
    /// Keys of hash functions, from which the seeds of requests are derived: secret.
    Derivation = 4,
    /// Test inputs and simulated noise: nothing that is encrypted.
    Sample = 5,
    /// Names of keys: public.
    Identity = 6,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Secret, Self::Mask, Self::Noise, Self::Derivation, Self::Sample, Self::Identity];
}

/// A public 32-byte seed, from which masks are expanded: output of a hash function, which tells nothing of the seed that it was
/// derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicSeed(pub [u8; 32]);

impl PublicSeed {
    /// How many streams a seed has.
    pub(crate) const STREAMS: u64 = 1 << STREAM_BITS;

    /// The masks of stream `index`.
    ///
    /// # Panics
    /// If `index` is 2^48 or more.
    pub fn mask_stream(&self, index: u64) -> MaskStream {
        MaskStream(Stream::new(&self.0, Role::Mask, index))
    }
}

/// A public seed of what is drawn and not encrypted: simulated noise, shuffles, test inputs. It is never derived from a
/// [`SecretSeed`], nor is one from it.
///
/// # Examples
/// The same number, the same samples.
/// ```
/// use tfhe_core::random::SampleSeed;
/// let draw = |number| SampleSeed::from_number(number).stream(0).uniform();
/// assert_eq!(draw(1), draw(1));
/// assert_ne!(draw(1), draw(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSeed([u8; 32]);

impl SampleSeed {
    /// From a number, for reproducible runs and tests.
    pub fn from_number(number: u64) -> Self {
        let mut bytes = *b"samples, not secret v1 >\0\0\0\0\0\0\0\0";
        bytes[24..].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }

    /// From the operating system's generator.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn from_system() -> Result<Self, RandomnessError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// An independent seed for purpose number `index`.
    #[must_use]
    pub fn derive(&self, index: u64) -> Self {
        let mut bytes = [0; 32];
        Stream::new(&self.0, Role::Derivation, index).0.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The samples of stream `index`.
    pub fn stream(&self, index: u64) -> SampleStream {
        SampleStream(Stream::new(&self.0, Role::Sample, index))
    }
}

/// A stream's number has so many bits of the nonce, and its role the others.
const STREAM_BITS: u32 = 48;

/// ChaCha20 from some position of some stream on. Overwritten on drop, by the cipher itself.
struct Stream(Box<ChaCha20Rng>);

impl Stream {
    fn new(key: &[u8; 32], role: Role, index: u64) -> Self {
        assert!(index < 1 << STREAM_BITS, "stream index out of range");
        let mut cipher = Box::new(ChaCha20Rng::from_seed(*key));
        cipher.set_stream((role as u64) << STREAM_BITS | index);
        Self(cipher)
    }

    /// A uniform 64-bit number.
    #[inline]
    fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_uniform(&mut self, out: &mut [u64]) {
        self.0.fill_bytes(bytemuck::cast_slice_mut(out));
        if cfg!(target_endian = "big") {
            out.iter_mut().for_each(|x| *x = u64::from_le(*x));
        }
    }

    fn fill_binary(&mut self, out: &mut [u64]) {
        for chunk in out.chunks_mut(64) {
            let word = self.word();
            for (i, bit) in chunk.iter_mut().enumerate() {
                *bit = (word >> i) & 1;
            }
        }
    }

    #[inline]
    fn noise(&mut self, distribution: NoiseDistribution) -> u64 {
        match distribution {
            NoiseDistribution::TUniform { bound_log } => {
                // b+2 uniform bits r: (r+1)/2 takes 0 and 2^(b+1) once and everything between twice.
                let r = self.word() >> (62 - bound_log);
                ((r + 1) >> 1).wrapping_sub(1 << bound_log)
            }
            NoiseDistribution::Gaussian { log2_std } => crate::torus::from_f64(self.normal() * 2f64.powf(log2_std)),
        }
    }

    /// Box and Muller, Ann. Math. Statist. 29 (1958), from 53-bit uniform numbers: its tails end at about 8.5 standard
    /// deviations.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * unit(self.word()).ln()).sqrt();
        radius * (std::f64::consts::TAU * unit(self.word())).cos()
    }
}

/// A number in (0, 1] from a uniform word: the middle of one of 2^53 intervals, so that it has a logarithm.
fn unit(word: u64) -> f64 {
    ((word >> 11) as f64 + 0.5) * 2f64.powi(-53)
}

/// A stream of masks, public.
pub struct MaskStream(Stream);

impl MaskStream {
    /// Uniform torus elements.
    pub fn fill_uniform(&mut self, out: &mut [u64]) {
        self.0.fill_uniform(out);
    }
}

/// A stream of samples that are not secret: test inputs, simulated noise.
pub struct SampleStream(Stream);

impl SampleStream {
    /// A sample of any other distribution.
    pub fn sample(&mut self, distribution: impl rand_distr::Distribution<f64>) -> f64 {
        distribution.sample(&mut *self.0.0)
    }

    /// A uniform 64-bit number, that is, a uniform torus element.
    #[inline]
    pub fn uniform(&mut self) -> u64 {
        self.0.word()
    }

    /// Uniform torus elements.
    pub fn fill_uniform(&mut self, out: &mut [u64]) {
        self.0.fill_uniform(out);
    }

    /// Uniform bits, one to an element.
    pub fn fill_binary(&mut self, out: &mut [u64]) {
        self.0.fill_binary(out);
    }

    /// A sample of `distribution`, in units of 2^-64 modulo 1.
    #[inline]
    pub fn noise(&mut self, distribution: NoiseDistribution) -> u64 {
        self.0.noise(distribution)
    }

    /// A standard normal sample. Its tails end at about 8.5 standard deviations.
    pub fn normal(&mut self) -> f64 {
        self.0.normal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let key = [7; 32];
        let first = |role, index| Stream::new(&key, role, index).word();
        for role in Role::ALL {
            assert_eq!(first(role, 3), first(role, 3));
            assert_ne!(first(role, 3), first(role, 4));
            let others = Role::ALL.into_iter().filter(|&other| other != role);
            others.for_each(|other| assert_ne!(first(role, 3), first(other, 3), "{role:?}, {other:?}"));
        }
        assert_ne!(SampleSeed::from_number(1), SampleSeed::from_number(2));
        assert_ne!(SampleSeed::from_number(1).derive(1), SampleSeed::from_number(1).derive(2));
        assert_ne!(SampleSeed::from_system().unwrap(), SampleSeed::from_system().unwrap());
    }

    /// RFC 8439, section 2.3.2's block function on an all-zero key, nonce and counter (appendix A.1, vector 1).
    #[test]
    fn streams_are_those_of_chacha20() {
        let mut cipher = ChaCha20Rng::from_seed([0; 32]);
        let mut bytes = [0; 8];
        cipher.fill_bytes(&mut bytes);
        assert_eq!(bytes, [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }

    #[test]
    fn an_encryption_seed_gives_no_stream_twice() {
        let mut seed = EncryptionSeed::from_system().unwrap();
        let mut masks = Vec::new();
        for count in [1, 3, 1] {
            let first = seed.take(count);
            masks.extend((first..first + count).map(|index| seed.streams(index).0.0.word()));
        }
        masks.push(seed.into_streams().0.0.word());
        masks.sort_unstable();
        masks.dedup();
        assert_eq!(masks.len(), 6);
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = SecretSeed::from_bytes(&[77; 32]);
        assert_eq!(secret.expose(), &[77; 32]);
        assert_eq!(format!("{secret:?}"), "SecretSeed(redacted)");
        let seed = format!("{:?}", EncryptionSeed::new(PublicSeed([1; 32]), secret.0));
        assert!(seed.starts_with("EncryptionSeed(PublicSeed([1, 1, ") && seed.ends_with("]), redacted)"), "{seed}");
        assert!(!seed.contains("77"));
    }

    /// Numbers and bits of a stream are its words, in order; samples of any other distribution are drawn from it, too.
    #[test]
    fn samples_are_those_of_their_stream() {
        let stream = || SampleSeed::from_number(3).stream(1);
        let mut words = [0; 2];
        stream().fill_uniform(&mut words);
        let mut generator = stream();
        assert_eq!(words, [generator.uniform(), generator.uniform()]);
        let mut bits = [2; 100];
        stream().fill_binary(&mut bits);
        assert!(bits.iter().enumerate().all(|(i, &bit)| bit == words[i / 64] >> (i % 64) & 1));

        // 10^4 samples: a standard error of 0.01 of the mean, 0.014 of the variance of a normal distribution.
        let mut generator = stream();
        let mut of = |sample: &mut dyn FnMut(&mut SampleStream) -> f64| {
            let values: Vec<f64> = (0..10_000).map(|_| sample(&mut generator)).collect();
            let mean = values.iter().sum::<f64>() / 1e4;
            (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e4)
        };
        let (mean, variance) = of(&mut |generator| generator.normal());
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.07, "{mean}, {variance}");
        // Exponential: mean 1, variance 1 with a standard error of sqrt(8/10^4).
        let (mean, variance) = of(&mut |generator| generator.sample(rand_distr::Exp1));
        assert!((mean - 1.0).abs() < 0.05 && (variance - 1.0).abs() < 0.15, "{mean}, {variance}");
    }

    /// The smallest word has a logarithm, which is where the tails of normal samples end; the largest is not above 1.
    #[test]
    fn uniform_numbers_have_logarithms() {
        let end = (-2.0 * unit(0).ln()).sqrt();
        assert!((8.5..8.7).contains(&end), "{end}");
        let largest = unit(u64::MAX);
        assert!(largest <= 1.0 && largest > 1.0 - 2f64.powi(-52));
    }

    /// 2^18 samples: the relative standard error of a variance is sqrt((kurtosis−1)/2^18) ≤ 0.28 %; bounds at 5 of them.
    #[test]
    fn noise_has_its_variance_and_mean_zero() {
        let samples = 1 << 18;
        for distribution in
            [NoiseDistribution::TUniform { bound_log: 17 }, NoiseDistribution::Gaussian { log2_std: -40.0 }]
        {
            let mut generator = SampleSeed::from_number(1).stream(0);
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
        let mut generator = SampleSeed::from_number(2).stream(0);
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
