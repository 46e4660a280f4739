//! Seeds and streams that are secret.

use zeroize::Zeroize;

use super::{MaskStream, PublicSeed, RandomnessError, Role, Stream};
use crate::params::NoiseDistribution;
use crate::wiping::{leaving_nothing_on_the_stack, wipe_stack};

/// 32 secret bytes, in one place until they are overwritten.
#[derive(Clone)]
pub(crate) struct SecretBytes(Box<[u8; 32]>);

impl SecretBytes {
    /// The bytes that `fill` writes.
    pub(crate) fn filled<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = Self(Box::new([0; 32]));
        leaving_nothing_on_the_stack(|| fill(&mut bytes.0))?;
        Ok(bytes)
    }

    /// From the operating system's generator.
    pub(crate) fn from_system() -> Result<Self, RandomnessError> {
        Self::filled(|bytes| Ok(getrandom::fill(bytes)?))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The secret 32-byte seed from which everything secret of a client is derived ([`crate::derivation::ClientSeed`]). Wiped on
/// drop, never printed.
#[derive(Clone)]
pub struct SecretSeed(pub(crate) SecretBytes);

impl SecretSeed {
    /// From given bytes: only as secret as those bytes, which stay the caller's to wipe.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let Ok(bytes) = SecretBytes::filled(|seed| -> Result<(), std::convert::Infallible> {
            seed.copy_from_slice(bytes);
            Ok(())
        });
        Self(bytes)
    }

    /// From a small number, for reproducible runs and tests. Not secret.
    pub fn from_number(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self::from_bytes(&bytes)
    }

    /// From the operating system's generator.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn from_system() -> Result<Self, RandomnessError> {
        SecretBytes::from_system().map(Self)
    }

    /// The bytes, to be stored where nobody but their owner reads them: who has them can decrypt everything.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for SecretSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretSeed(redacted)")
    }
}

/// The masks and the noise of one key, or of one request. It cannot be copied, and what was drawn is not drawn again.
///
/// # Examples
/// Half of what encrypts is public: everybody expands the masks, and nobody the noise. It cannot be copied, and what was
/// drawn is not drawn again, since a mask that serves twice gives two plaintexts' difference away.
/// ```
/// use tfhe_core::random::EncryptionSeed;
///
/// let seed = EncryptionSeed::from_system()?;
/// let published = seed.masks();
/// let (mut masks, _noises) = seed.into_streams();
/// // Used up: `seed` is gone.
/// let (mut mine, mut theirs) = ([0; 4], [0; 4]);
/// masks.fill_uniform(&mut mine);
/// published.mask_stream(0).fill_uniform(&mut theirs);
/// assert_eq!(mine, theirs);
/// # Ok::<(), tfhe_core::random::RandomnessError>(())
/// ```
pub struct EncryptionSeed {
    masks: PublicSeed,
    noises: SecretBytes,
    /// The first streams that nothing was drawn from.
    next: u64,
}

impl EncryptionSeed {
    pub(crate) fn new(masks: PublicSeed, noises: SecretBytes) -> Self {
        Self { masks, noises, next: 0 }
    }

    /// From the operating system's generator.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn from_system() -> Result<Self, RandomnessError> {
        let mut masks = [0; 32];
        getrandom::fill(&mut masks)?;
        Ok(Self::new(PublicSeed(masks), SecretBytes::from_system()?))
    }

    /// The public half.
    pub fn masks(&self) -> PublicSeed {
        self.masks
    }

    /// Masks and noise for LWE ciphertexts, one after the other.
    pub fn into_streams(mut self) -> (MaskStream, NoiseStream) {
        let index = self.take(1);
        self.streams(index)
    }

    /// Streams 0 to `count` − 1, for a key, whose parts are numbered.
    ///
    /// # Panics
    /// If something was drawn before.
    pub(crate) fn take_first(&mut self, count: u64) {
        assert_eq!(self.take(count), 0, "a seed that nothing was drawn from");
    }

    /// The first of `count` streams that nothing was drawn from, and that are the caller's from now on.
    pub(crate) fn take(&mut self, count: u64) -> u64 {
        let first = self.next;
        self.next += count;
        first
    }

    /// The streams `index`, which the caller must have taken.
    pub(crate) fn streams(&self, index: u64) -> (MaskStream, NoiseStream) {
        debug_assert!(index < self.next, "streams that were taken");
        (self.masks.mask_stream(index), NoiseStream(Stream::secret(self.noises.as_bytes(), Role::Noise, index)))
    }
}

impl std::fmt::Debug for EncryptionSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptionSeed({:?}, redacted)", self.masks)
    }
}

impl Stream {
    /// [`Self::new`] of a secret key.
    fn secret(key: &[u8; 32], role: Role, index: u64) -> Self {
        leaving_nothing_on_the_stack(|| Self::new(key, role, index))
    }
}

/// A stream of noise, secret.
pub struct NoiseStream(Stream);

impl NoiseStream {
    /// A sample of `distribution`, in units of 2^-64 modulo 1.
    #[inline]
    pub fn noise(&mut self, distribution: NoiseDistribution) -> u64 {
        self.0.noise(distribution)
    }
}

impl Drop for NoiseStream {
    fn drop(&mut self) {
        wipe_stack();
    }
}

/// A stream of bits of secret keys.
pub struct SecretStream(Stream);

impl SecretStream {
    pub(crate) fn new(key: &SecretBytes) -> Self {
        Self(Stream::secret(key.as_bytes(), Role::Secret, 0))
    }

    /// From the operating system's generator.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn from_system() -> Result<Self, RandomnessError> {
        SecretBytes::from_system().map(|key| Self::new(&key))
    }

    /// Uniform bits, one to an element.
    pub fn fill_binary(&mut self, out: &mut [u64]) {
        self.0.fill_binary(out);
    }
}

impl Drop for SecretStream {
    fn drop(&mut self) {
        wipe_stack();
    }
}
