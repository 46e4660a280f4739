//! How everything secret of a client, and the public seeds of its masks, are derived from one seed.
//!
//! A derived seed is a function of (protocol, parameter set, circuit, role, purpose, index):
//!
//! ```text
//! scope = HKDF-Expand(HKDF-Extract(PROTOCOL, seed), "scope" ‖ fingerprint of the parameter set ‖ fingerprint of the circuit)
//! key   = HKDF-Expand(scope, "key" ‖ role ‖ purpose ‖ index)
//! ```
//!
//! with HKDF on HMAC-SHA-256 (Krawczyk, Crypto 2010; RFC 5869). So two parameter sets, two circuits, two purposes have nothing in common, and a key that is derived twice is the same key both times: no mask
//! meets two plaintexts. A key is then cut into streams by number ([`crate::random`]), which costs nothing.
//!
//! # Requests
//! What a client encrypts is not known in advance, so requests need randomness that is not a function of seed and purpose
//! alone. The seed of a request's masks and noise is
//!
//! ```text
//! HMAC(key of (Derivation, Requests), fresh ‖ context ‖ plaintexts)
//! ```
//!
//! where the context says how the plaintexts are encoded, and `fresh` is 32 bytes from the operating system, or nothing
//! ([`RequestRandomness`]). With fresh bytes no two requests are related, whatever was sent before, by this client or by
//! another one with the same seed; the rest of the input serves if the operating system repeats itself, as a copied virtual
//! machine may. Without them encryption is a function of the plaintexts (synthetic, as the nonces of SIV: Rogaway, Shrimpton,
//! Eurocrypt 2006): equal requests are equal, which whoever sees them sees, and different ones unrelated.
//!
//! In the book: [randomness and secrets](../../../book/32-randomness-and-secrets.html).

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::fingerprint::{Fields, Fingerprint};
use crate::random::{EncryptionSeed, PublicSeed, RandomnessError, Role, SecretBytes, SecretSeed, SecretStream};

/// The protocol, and its version. A change of what is derived from what, or of what is encrypted with it, needs another one.
const PROTOCOL: &[u8] = b"tfhe-core key derivation, version 2";

/// What a derived key is for, beside the parameter set and the circuit: the one table of them. The numbers are part of what is
/// derived: none may be given twice, or change its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Purpose {
    /// The secret key of the node that is the index ([`crate::key_graph::Node`]).
    SecretKey = 1,
    /// The key switch to the small key from the node that is the index.
    Keyswitch = 2,
    /// The key switch from ring to ring: the index is both.
    Lift = 3,
    /// The automorphisms of a ring: the index is the ring, and which of its gadgets.
    Automorphisms = 4,
    /// The relinearization key of the ring that is the index.
    Relinearization = 5,
    /// The bootstrapping key of the gadget that is the index.
    Bootstrapping = 6,
    /// The key of the hash function that gives requests their seeds.
    Requests = 7,
    /// Keys and ciphertexts that tests, benches and comparisons make by hand, numbered by them.
    Experiment = 8,
    /// The name of the keys of one set and circuit.
    Identity = 9,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SecretKey,
        Self::Keyswitch,
        Self::Lift,
        Self::Automorphisms,
        Self::Relinearization,
        Self::Bootstrapping,
        Self::Requests,
        Self::Experiment,
        Self::Identity,
    ];
}

/// Where the randomness of requests comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRandomness {
    /// From the operating system, anew for each request.
    Fresh,
    /// From the seed and what is encrypted: equal requests are equal, and everybody sees that they are. To reproduce a run.
    Reproducible,
}

/// What a client is made from: a seed, the circuit that its keys are for, and where the randomness of its requests comes from.
///
/// ```
/// use tfhe_core::derivation::ClientSeed;
/// use tfhe_core::random::SecretSeed;
///
/// // Keys that nobody can make again.
/// let fresh = ClientSeed::from_system()?;
/// // Keys that were made before, from a seed in a safe place. Requests are fresh all the same.
/// let stored = ClientSeed::stored(SecretSeed::from_bytes(&[7; 32]));
/// // Keys and requests that anybody can make again who knows the number: to reproduce a run, and for nothing else.
/// let reproducible = ClientSeed::from_number(1);
/// // Other keys, for another circuit.
/// let for_layer_3 = reproducible.bound_to("layer", 3);
/// # Ok::<(), tfhe_core::random::RandomnessError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientSeed {
    seed: SecretSeed,
    circuit: Fields,
    requests: RequestRandomness,
}

impl ClientSeed {
    /// A new seed from the operating system; so is the randomness of requests.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn from_system() -> Result<Self, RandomnessError> {
        SecretSeed::from_system().map(Self::stored)
    }

    /// A seed that gives the same keys each time. The randomness of requests is fresh from the operating system.
    pub fn stored(seed: SecretSeed) -> Self {
        Self { seed, circuit: Fields::new("circuit"), requests: RequestRandomness::Fresh }
    }

    /// A seed that gives the same keys each time, and for equal requests the same ciphertexts, by which they are recognized.
    pub fn reproducible(seed: SecretSeed) -> Self {
        Self { requests: RequestRandomness::Reproducible, ..Self::stored(seed) }
    }

    /// [`Self::reproducible`] from a number, for tests and to reproduce a run. Who knows the number can decrypt everything.
    pub fn from_number(number: u64) -> Self {
        Self::reproducible(SecretSeed::from_number(number))
    }

    /// The same for one circuit among several: `name` and `value`, beside those that it is bound to already, tell it from the
    /// others. What is derived for one has nothing in common with what is derived for another.
    #[must_use]
    pub fn bound_to(&self, name: &str, value: u64) -> Self {
        Self { circuit: self.circuit.clone().name(name).integer(value), ..self.clone() }
    }

    /// Where the randomness of requests comes from.
    pub fn requests(&self) -> RequestRandomness {
        self.requests
    }

    /// What keys with a parameter set are derived from.
    pub(crate) fn scope(&self, parameters: &Fingerprint) -> Scope {
        self.seed.scope(parameters, &self.circuit.fingerprint())
    }
}

impl SecretSeed {
    fn scope(&self, parameters: &Fingerprint, circuit: &Fingerprint) -> Scope {
        let extracted = |key: &mut [u8; 32]| {
            let hkdf = Hkdf::<Sha256>::new(Some(PROTOCOL), self.0.as_bytes());
            hkdf.expand_multi_info(&[b"scope", parameters.as_bytes(), circuit.as_bytes()], key)
        };
        Scope(SecretBytes::filled(extracted).expect("HKDF gives 32 bytes"))
    }
}

/// Keys and randomness of one's own, for tests, benches and comparisons: the same number gives the same, so a number must not
/// be given twice. What is not a test has [`EncryptionSeed::from_system`] and [`SecretStream::from_system`].
#[cfg(any(test, feature = "testing"))]
impl SecretSeed {
    fn experiments(&self) -> Scope {
        self.scope(&Fields::new("no parameters").fingerprint(), &Fields::new("experiment").fingerprint())
    }

    /// The masks and the noise of experiment `index`.
    pub fn experiment(&self, index: u64) -> EncryptionSeed {
        self.experiments().encryption(Purpose::Experiment, index)
    }

    /// The bits of the secret key of experiment `index`.
    pub fn experiment_bits(&self, index: u64) -> SecretStream {
        self.experiments().secret(Purpose::Experiment, index)
    }
}

/// Everything that is derived from a seed for one parameter set and one circuit. The seed cannot be computed from it.
#[derive(Clone)]
pub(crate) struct Scope(SecretBytes);

impl Scope {
    fn key(&self, role: Role, purpose: Purpose, index: u64) -> SecretBytes {
        let derived = |key: &mut [u8; 32]| {
            let hkdf = Hkdf::<Sha256>::from_prk(self.0.as_bytes()).expect("32 bytes are a key of HMAC-SHA-256");
            let (role, purpose) = ((role as u16).to_le_bytes(), (purpose as u16).to_le_bytes());
            hkdf.expand_multi_info(&[b"key", &role, &purpose, &index.to_le_bytes()], key)
        };
        SecretBytes::filled(derived).expect("HKDF gives 32 bytes")
    }

    /// The bits of a secret key.
    pub(crate) fn secret(&self, purpose: Purpose, index: u64) -> SecretStream {
        SecretStream::new(&self.key(Role::Secret, purpose, index))
    }

    /// The name of the keys: public. Who knows it knows nothing of anything else that is derived, as HKDF is a pseudo-random function.
    pub(crate) fn identity(&self) -> [u8; 32] {
        *self.key(Role::Identity, Purpose::Identity, 0).as_bytes()
    }

    /// The masks and the noise of a key.
    pub(crate) fn encryption(&self, purpose: Purpose, index: u64) -> EncryptionSeed {
        let masks = PublicSeed(*self.key(Role::Mask, purpose, index).as_bytes());
        EncryptionSeed::new(masks, self.key(Role::Noise, purpose, index))
    }

    /// The masks and the noise of a request of `plaintexts`, torus elements, encoded as `context` says.
    pub(crate) fn request<'a>(
        &self,
        randomness: RequestRandomness,
        context: &Fingerprint,
        plaintexts: impl ExactSizeIterator<Item = &'a [u64]>,
    ) -> Result<EncryptionSeed, RandomnessError> {
        let fresh = match randomness {
            RequestRandomness::Fresh => Some(SecretBytes::from_system()?),
            RequestRandomness::Reproducible => None,
        };
        let key = self.key(Role::Derivation, Purpose::Requests, 0);
        let hashed = |seed: &mut [u8; 32]| {
            let mut hash = Hmac::<Sha256>::new_from_slice(key.as_bytes())?;
            // Everything is as long as is said before it.
            let length = |hash: &mut Hmac<Sha256>, length: usize| hash.update(&(length as u64).to_le_bytes());
            let fresh = fresh.as_ref().map_or(&[][..], |bytes| &bytes.as_bytes()[..]);
            length(&mut hash, fresh.len());
            hash.update(fresh);
            hash.update(context.as_bytes());
            length(&mut hash, plaintexts.len());
            for plaintext in plaintexts {
                length(&mut hash, plaintext.len());
                plaintext.iter().for_each(|x| hash.update(&x.to_le_bytes()));
            }
            seed.copy_from_slice(&hash.finalize().into_bytes());
            Ok::<(), hmac::digest::InvalidLength>(())
        };
        let request = Self(SecretBytes::filled(hashed).expect("32 bytes are a key of HMAC"));
        Ok(request.encryption(Purpose::Requests, 0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sets;

    /// Fingerprints of all named sets.
    fn parameter_sets() -> Vec<Fingerprint> {
        sets::ALL.into_iter().map(|set| set.compile().unwrap().fingerprint()).collect()
    }

    /// Every (seed, parameter set, circuit, role, purpose, index) has a key of its own.
    #[test]
    fn no_two_derivations_collide() {
        let circuits = |seed: &ClientSeed| {
            [
                seed.clone(),
                seed.bound_to("exact", 0),
                seed.bound_to("exact", 1),
                seed.bound_to("packed", 0),
                seed.bound_to("exact", 0).bound_to("bits", 4),
                seed.bound_to("bits", 4).bound_to("exact", 0),
            ]
        };
        let (mut keys, mut count) = (BTreeSet::new(), 0);
        for seed in [1, 2].map(ClientSeed::from_number) {
            for (circuit, parameters) in circuits(&seed)
                .iter()
                .flat_map(|circuit| parameter_sets().into_iter().map(move |parameters| (circuit.clone(), parameters)))
            {
                let scope = circuit.scope(&parameters);
                for role in Role::ALL {
                    for (purpose, index) in Purpose::ALL.into_iter().flat_map(|p| (0..3).map(move |index| (p, index))) {
                        keys.insert(*scope.key(role, purpose, index).as_bytes());
                        count += 1;
                    }
                }
            }
        }
        assert_eq!((keys.len(), count), (count, 2 * 6 * parameter_sets().len() * 6 * 9 * 3));
    }

    #[test]
    fn the_table_has_each_number_once() {
        assert!(Purpose::ALL.iter().enumerate().all(|(i, &purpose)| purpose as usize == i + 1));
        assert!(Role::ALL.iter().enumerate().all(|(i, &role)| role as usize == i + 1));
    }

    /// What is derived may not change without a new version of the protocol: stored seeds would give other keys. The values were
    /// computed from the definition by Python's `hmac` and `hashlib`.
    #[test]
    fn derived_keys_are_those_of_the_definition() {
        let seed = SecretSeed::from_bytes(&std::array::from_fn(|i| i as u8));
        let fingerprint = |name: &str| Fields::new(name).fingerprint();
        let scope = seed.scope(&fingerprint("set"), &fingerprint("circuit"));
        let hex = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(scope.0.as_bytes()), "5878d2b37669683f453e946bc2421a1ce5fe6f3379fb583f6b57a87240fdc639");
        assert_eq!(
            hex(scope.key(Role::Noise, Purpose::Bootstrapping, 2).as_bytes()),
            "d359477ba8fc9c03c48feab299089de76a5e0f860c625938aac26c6f9acee2cf"
        );
        let plaintexts = [&[1_u64, 2][..], &[1 << 63]];
        let request = |randomness| scope.request(randomness, &fingerprint("context"), plaintexts.into_iter()).unwrap();
        assert_eq!(
            hex(&request(RequestRandomness::Reproducible).masks().0),
            "20340221f9136263be7e0d2c1a2871a27de8c33af54293a7d691c7bfe85275aa"
        );
        assert_ne!(request(RequestRandomness::Fresh).masks(), request(RequestRandomness::Fresh).masks());
    }

    #[test]
    fn requests_differ_if_anything_does() {
        let scope = ClientSeed::from_number(1).scope(&parameter_sets()[0]);
        let (context, other) = (Fields::new("a").fingerprint(), Fields::new("b").fingerprint());
        let masks = |context: &Fingerprint, plaintexts: &[&[u64]]| {
            scope.request(RequestRandomness::Reproducible, context, plaintexts.iter().copied()).unwrap().masks().0
        };
        let requests: [(_, &[&[u64]]); 8] = [
            (&context, &[&[1, 2], &[3]]),
            (&other, &[&[1, 2], &[3]]),
            (&context, &[&[1], &[2, 3]]),
            (&context, &[&[1, 2, 3]]),
            (&context, &[&[1, 2], &[3], &[]]),
            (&context, &[&[1, 2], &[4]]),
            (&context, &[&[2, 1], &[3]]),
            (&context, &[]),
        ];
        let all: BTreeSet<_> = requests.iter().map(|(context, plaintexts)| masks(context, plaintexts)).collect();
        assert_eq!(all.len(), requests.len());
        assert_eq!(masks(&context, requests[0].1), masks(&context, requests[0].1));
    }
}
