//! Whose keys and messages are, and what is wrong where they do not belong together.

use crate::fingerprint::{Fields, Fingerprint};
use crate::params::GlweShape;
use crate::random::PublicSeed;

/// The name of a client's keys: derived from its seed as keys are, for the same set and circuit, and public. It tells nothing of a key.
/// Keys from another seed, or for another circuit, have another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(crate) [u8; 32]);

impl KeyId {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyId(")?;
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

/// Whose keys, and of which parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The fingerprint of the parameter set.
    pub set: Fingerprint,
    /// The keys.
    pub keys: KeyId,
}

impl Identity {
    pub(super) fn check(&self, other: &Self, what: &'static str) -> Result<(), Mismatch> {
        if self.set != other.set {
            Err(Mismatch::Set(what))
        } else if self.keys != other.keys {
            Err(Mismatch::Keys(what))
        } else {
            Ok(())
        }
    }
}

/// What a message belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub(crate) identity: Identity,
    /// Of how plaintexts are encoded.
    pub(crate) context: Fingerprint,
    /// Of a request's masks: no two requests have the same, but equal ones of a reproducible client.
    pub(crate) request: PublicSeed,
}

impl Label {
    /// Whose keys.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How plaintexts are encoded.
    pub fn context(&self) -> &Fingerprint {
        &self.context
    }

    /// Of all of it: no two requests have the same, but equal ones of a reproducible client.
    pub fn fingerprint(&self) -> Fingerprint {
        let words = |bytes: &[u8; 32]| bytes.map(u64::from);
        let fields = Fields::new("request").of(&self.identity.set).of(&self.context);
        let fields = fields.integers(words(self.identity.keys.as_bytes()).into_iter());
        fields.integers(words(&self.request.0).into_iter()).fingerprint()
    }
}

/// Two things that do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another parameter set.
    #[error("the {0} is of another parameter set than the keys: make both with one set")]
    Set(&'static str),
    /// Another client, or another seed of the same one, or keys for another circuit.
    #[error("the {0} belongs to other keys: make it and the evaluation keys with one client, from one seed")]
    Keys(&'static str),
    /// The plaintexts are encoded in another way than is expected.
    #[error("the {0} is encoded for another circuit, or for other sizes, than are evaluated here")]
    Context(&'static str),
    /// Not the answer to this request.
    #[error("the answer is to another request")]
    Request,
    /// Too few or too many ciphertexts.
    #[error("the {what} has {actual} ciphertexts, and {expected} are expected")]
    Count {
        /// A request or an answer.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// A ciphertext of another ring.
    #[error("ciphertext {index} of the {what} has {} polynomials of {} coefficients, not those of the set's ring", .shape.dimension.get() + 1, .shape.polynomial_size.get())]
    Shape {
        /// A request or an answer.
        what: &'static str,
        /// Which of its ciphertexts.
        index: usize,
        /// Its shape.
        shape: GlweShape,
    },
}

/// Checks how many ciphertexts there are, and that all are of one ring.
pub(super) fn check_ciphertexts(
    what: &'static str,
    shapes: impl ExactSizeIterator<Item = GlweShape>,
    expected: usize,
    ring: GlweShape,
) -> Result<(), Mismatch> {
    let actual = shapes.len();
    if actual != expected {
        return Err(Mismatch::Count { what, expected, actual });
    }
    match shapes.enumerate().find(|(_, shape)| *shape != ring) {
        Some((index, shape)) => Err(Mismatch::Shape { what, index, shape }),
        None => Ok(()),
    }
}
