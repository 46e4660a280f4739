//! Fingerprints: SHA-256 of numbers and names in an encoding that no two sequences share.
//!
//! What is derived from a client's seed is bound to the parameter set it is for by the set's fingerprint
//! ([`crate::derivation`]), and the randomness of a reproducible request to what is encrypted and how.

use sha2::{Digest, Sha256};

/// A fingerprint. Equal ones are of equal contents, but for a collision of SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// That of which these are the bytes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A sequence of numbers and names whose fingerprint is wanted. All of it must be public: it is not wiped.
///
/// # Examples
/// What keys are derived for is part of what they are derived from. Each field says its kind and its length, so that no two
/// sequences are one.
/// ```
/// use tfhe_core::fingerprint::Fields;
/// let set = |n| Fields::new("set").integer(n).fingerprint();
/// assert_eq!(set(512), set(512));
/// assert_ne!(set(512), set(513));
/// assert_ne!(Fields::new("a").name("bc").fingerprint(), Fields::new("ab").name("c").fingerprint());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// A sequence that begins with `name`: what the fingerprint is of.
    pub fn new(name: &str) -> Self {
        Self::default().name(name)
    }

    /// Appends a name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        // Its length first, so that what follows cannot be taken for a part of it.
        self.0.push(b'n');
        self.0.extend((name.len() as u64).to_le_bytes());
        self.0.extend(name.as_bytes());
        self
    }

    /// Appends an integer.
    #[must_use]
    pub fn integer(mut self, value: u64) -> Self {
        self.0.push(b'i');
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Appends a real number, by its bits.
    #[must_use]
    pub fn real(mut self, value: f64) -> Self {
        self.0.push(b'r');
        self.0.extend(value.to_bits().to_le_bytes());
        self
    }

    /// Appends another fingerprint.
    #[must_use]
    pub fn of(mut self, fingerprint: &Fingerprint) -> Self {
        self.0.push(b'f');
        self.0.extend(fingerprint.0);
        self
    }

    /// Appends integers, and how many they are.
    #[must_use]
    pub fn integers(self, values: impl ExactSizeIterator<Item = u64>) -> Self {
        let count = values.len() as u64;
        values.fold(self.integer(count), Self::integer)
    }

    /// The fingerprint of the sequence.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sequences_have_one_encoding() {
        let sequences = [
            Fields::default(),
            Fields::new(""),
            Fields::new("a"),
            Fields::new("a").name(""),
            Fields::new("").name("a"),
            Fields::new("a").name("b"),
            Fields::new("ab"),
            Fields::new("a").integer(1),
            Fields::new("a").integer(1).integer(2),
            Fields::new("a").real(1.0),
            Fields::new("a").integer(1f64.to_bits()),
            Fields::new("a").of(&Fields::new("a").fingerprint()),
            Fields::new("a").integers([1].into_iter()),
            Fields::new("a").integers([].into_iter()).integer(1),
            // What the encoding of another sequence looks like.
            Fields::new("i\u{1}\0\0\0\0\0\0\0"),
        ];
        for (i, a) in sequences.iter().enumerate() {
            for b in &sequences[..i] {
                assert_ne!(a.fingerprint(), b.fingerprint(), "{a:?} and {b:?}");
            }
            assert_eq!(a.fingerprint(), a.clone().fingerprint());
        }
    }
}
