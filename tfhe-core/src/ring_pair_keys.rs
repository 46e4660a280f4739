//! The keys of a client and of a server for a set with two rings ([`crate::ring_pair`]).

use zeroize::Zeroizing;

use crate::automorphism::{AutomorphismKeys, SeededAutomorphismKeys};
use crate::bootstrapping_key::{BootstrappingKey, SeededBootstrappingKey};
use crate::derivation::{ClientSeed, Purpose, RequestRandomness, Scope};
use crate::fft::NegacyclicFft;
use crate::fingerprint::Fingerprint;
use crate::glwe::{GlweCiphertext, GlweSecretKey, SeededGlweCiphertext};
use crate::glwe_keyswitch::{GlweKeyswitchKey, SeededGlweKeyswitchKey};
use crate::params::{Gadget, GlweDimension, GlweShape};
use crate::random::{EncryptionSeed, PublicSeed, RandomnessError};
use crate::ring_pair::{Ring, RingPairParameters};
use crate::tensor_product::{RelinearizationKey, SeededRelinearizationKey};

/// The plans of transforms of the three rings.
#[derive(Clone, Debug)]
struct Plans {
    small: NegacyclicFft,
    lookup: NegacyclicFft,
    arithmetic: NegacyclicFft,
}

impl Plans {
    fn new(parameters: &RingPairParameters) -> Self {
        let plan = |ring: Ring| NegacyclicFft::new(ring.size());
        Self {
            small: plan(parameters.small()),
            lookup: plan(parameters.lookup()),
            arithmetic: plan(parameters.arithmetic()),
        }
    }
}

/// Ciphertexts of the LWE dimension that `ring` extracts, as ciphertexts of polynomials of the small ring.
fn regrouped(ring: Ring, small: Ring) -> GlweShape {
    let (dimension, size) = (ring.lwe_dimension().get(), small.size());
    let dimension = GlweDimension::new(dimension / size.get()).expect("the small ring is the smallest");
    GlweShape { dimension, polynomial_size: size }
}

/// The secret keys. Wiped on drop. They encrypt, decrypt and make evaluation keys, and are not given away.
pub struct RingPairClientKeys {
    parameters: RingPairParameters,
    scope: Scope,
    requests: RequestRandomness,
    plans: Plans,
    small: GlweSecretKey,
    lookup: GlweSecretKey,
    arithmetic: GlweSecretKey,
}

impl RingPairClientKeys {
    /// Derives the secret keys from `seed`.
    pub fn generate(parameters: &RingPairParameters, seed: &ClientSeed) -> Self {
        let plans = Plans::new(parameters);
        let scope = seed.scope(&parameters.fingerprint());
        let key = |purpose, ring: Ring, fft| GlweSecretKey::generate(&mut scope.secret(purpose, 0), ring.shape, fft);
        Self {
            small: key(Purpose::SmallSecretKey, parameters.small(), &plans.small),
            lookup: key(Purpose::LookupSecretKey, parameters.lookup(), &plans.lookup),
            arithmetic: key(Purpose::ArithmeticSecretKey, parameters.arithmetic(), &plans.arithmetic),
            parameters: parameters.clone(),
            requests: seed.requests(),
            scope,
            plans,
        }
    }

    /// The parameter set.
    pub fn parameters(&self) -> &RingPairParameters {
        &self.parameters
    }

    /// Encrypts the plaintexts `[N]` of one request under the arithmetic ring's key. `context` is the fingerprint of how they
    /// are encoded: of everything that a reader of the decrypted numbers has to know. Randomness is as the seed said
    /// ([`RequestRandomness`]).
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    ///
    /// # Panics
    /// If a plaintext has not N coefficients.
    pub fn encrypt(
        &self,
        plaintexts: &[Zeroizing<Vec<u64>>],
        context: &Fingerprint,
    ) -> Result<Vec<SeededGlweCiphertext>, RandomnessError> {
        let mut seed = self.scope.request(self.requests, context, plaintexts.iter().map(|plaintext| &plaintext[..]))?;
        let (fft, noise) = (&self.plans.arithmetic, self.parameters.arithmetic().noise);
        Ok(plaintexts.iter().map(|plaintext| self.arithmetic.encrypt(fft, plaintext, noise, &mut seed)).collect())
    }

    /// The phase, plaintext and noise, of a ciphertext under the arithmetic ring's key.
    pub fn phase(&self, ciphertext: &GlweCiphertext) -> Zeroizing<Vec<u64>> {
        Zeroizing::new(self.arithmetic.phase(&self.plans.arithmetic, ciphertext))
    }

    /// What the evaluation key of a purpose is encrypted with.
    fn seed(&self, purpose: Purpose) -> EncryptionSeed {
        self.scope.encryption(purpose, 0)
    }

    /// Makes the evaluation keys: all automorphisms of the trace in the lookup ring, and in the arithmetic ring those with l > m, which
    /// keep the subring Z\[Y\] of `subring` = 2^m coefficients and clear all others.
    ///
    /// # Panics
    /// If `subring` is not a power of two from 2 to half the lookup ring's size.
    pub fn evaluation_keys(&self, subring: usize) -> SeededRingPairKeys {
        let m = subring_log(&self.parameters, subring);
        let parameters = &self.parameters;
        let (lookup, arithmetic) = (parameters.lookup(), parameters.arithmetic());
        let relinearization = SeededRelinearizationKey::generate(
            &self.plans.arithmetic,
            &self.arithmetic,
            parameters.arithmetic_keyswitch(),
            arithmetic.noise,
            self.seed(Purpose::Relinearization),
        );
        SeededRingPairKeys {
            parameters: parameters.clone(),
            arithmetic_to_small: self.to_small(&self.arithmetic, arithmetic, Purpose::ArithmeticToSmall),
            lookup_to_small: self.to_small(&self.lookup, lookup, Purpose::LookupToSmall),
            lift: self.lift(),
            lookup_automorphisms: SeededAutomorphismKeys::generate(
                &self.plans.lookup,
                &self.lookup,
                1..=lookup.size().log2(),
                parameters.lookup_automorphism(),
                lookup.noise,
                self.seed(Purpose::LookupAutomorphisms),
            ),
            arithmetic_automorphisms: SeededAutomorphismKeys::generate(
                &self.plans.arithmetic,
                &self.arithmetic,
                m + 1..=arithmetic.size().log2(),
                parameters.arithmetic_keyswitch(),
                arithmetic.noise,
                self.seed(Purpose::ArithmeticAutomorphisms),
            ),
            relinearization,
            bootstrapping: (0..parameters.bootstraps().len()).map(|index| self.bootstrapping(index)).collect(),
        }
    }

    fn to_small(&self, key: &GlweSecretKey, ring: Ring, purpose: Purpose) -> SeededGlweKeyswitchKey {
        let (fft, small) = (&self.plans.small, self.parameters.small());
        let from = GlweSecretKey::from_lwe_key(&key.extracted_lwe_key(), regrouped(ring, small), fft);
        let gadget = self.parameters.keyswitch();
        SeededGlweKeyswitchKey::generate(fft, &from, &self.small, gadget, small.noise, self.seed(purpose))
    }

    fn lift(&self) -> SeededGlweKeyswitchKey {
        let (fft, noise) = (&self.plans.arithmetic, self.parameters.arithmetic().noise);
        let from = self.lookup.in_larger_ring(fft);
        let gadget = self.parameters.lift();
        SeededGlweKeyswitchKey::generate(fft, &from, &self.arithmetic, gadget, noise, self.seed(Purpose::Lift))
    }

    fn bootstrapping(&self, index: usize) -> SeededBootstrappingKey {
        SeededBootstrappingKey::generate(
            &self.plans.lookup,
            &self.small.extracted_lwe_key(),
            &self.lookup,
            self.parameters.bootstraps()[index],
            self.parameters.lookup().noise,
            self.scope.encryption(Purpose::Bootstrapping, index as u64),
        )
    }
}

/// For tests, benches and comparisons, which measure noise. A client needs none of it.
#[cfg(any(test, feature = "testing"))]
impl RingPairClientKeys {
    /// The key whose extracted LWE key is the small one.
    pub fn small_key(&self) -> &GlweSecretKey {
        &self.small
    }

    /// The lookup ring's key.
    pub fn lookup_key(&self) -> &GlweSecretKey {
        &self.lookup
    }

    /// The arithmetic ring's key.
    pub fn arithmetic_key(&self) -> &GlweSecretKey {
        &self.arithmetic
    }
}

impl std::fmt::Debug for RingPairClientKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RingPairClientKeys({}, redacted)", self.parameters.name())
    }
}

fn subring_log(parameters: &RingPairParameters, subring: usize) -> u32 {
    let largest = parameters.lookup().size().get() / 2;
    assert!(subring.is_power_of_two() && (2..=largest).contains(&subring), "a subring of 2 to N'/2 coefficients");
    subring.ilog2()
}

/// Evaluation keys as stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SeededRingPairKeys {
    parameters: RingPairParameters,
    arithmetic_to_small: SeededGlweKeyswitchKey,
    lookup_to_small: SeededGlweKeyswitchKey,
    lift: SeededGlweKeyswitchKey,
    lookup_automorphisms: SeededAutomorphismKeys,
    arithmetic_automorphisms: SeededAutomorphismKeys,
    relinearization: SeededRelinearizationKey,
    bootstrapping: Vec<SeededBootstrappingKey>,
}

impl SeededRingPairKeys {
    /// The bootstrapping key of gadget `index`, from the small key to the lookup ring.
    ///
    /// # Panics
    /// If there is no such gadget.
    pub fn bootstrapping_key(&self, index: usize) -> &SeededBootstrappingKey {
        &self.bootstrapping[index]
    }

    /// Bytes as stored.
    pub fn bytes(&self) -> usize {
        [&self.arithmetic_to_small, &self.lookup_to_small, &self.lift].iter().map(|key| key.bytes()).sum::<usize>()
            + self.lookup_automorphisms.bytes()
            + self.arithmetic_automorphisms.bytes()
            + self.relinearization.bytes()
            + self.bootstrapping.iter().map(SeededBootstrappingKey::bytes).sum::<usize>()
    }

    /// What [`Self::bytes`] is of the keys that [`RingPairClientKeys::evaluation_keys`] makes, without making them.
    ///
    /// # Panics
    /// As there.
    pub fn predicted_bytes(parameters: &RingPairParameters, subring: usize) -> usize {
        let m = subring_log(parameters, subring) as usize;
        let (small, lookup, arithmetic) = (parameters.small(), parameters.lookup(), parameters.arithmetic());
        let rows =
            |gadget: Gadget, inputs: usize, ring: Ring| inputs * gadget.levels() * ring.size().get() * size_of::<u64>();
        let to_small = [arithmetic, lookup]
            .map(|ring| rows(parameters.keyswitch(), regrouped(ring, small).dimension.get(), small))
            .iter()
            .sum::<usize>();
        let steps = arithmetic.size().log2() as usize - m;
        let bootstrap =
            |&gadget: &Gadget| small.lwe_dimension().get() * rows(gadget, 2, lookup) + size_of::<PublicSeed>();
        to_small
            + rows(parameters.lift(), 1, arithmetic)
            + lookup.size().log2() as usize * rows(parameters.lookup_automorphism(), 1, lookup)
            + (steps + 1) * rows(parameters.arithmetic_keyswitch(), 1, arithmetic)
            + parameters.bootstraps().iter().map(bootstrap).sum::<usize>()
    }

    /// Expands the masks and transforms to the Fourier domain, releasing the stored keys as it goes.
    pub fn prepare(self) -> RingPairKeys {
        let plans = Plans::new(&self.parameters);
        let lookup = self.parameters.lookup().shape;
        RingPairKeys {
            arithmetic_to_small: self.arithmetic_to_small.prepare(&plans.small),
            lookup_to_small: self.lookup_to_small.prepare(&plans.small),
            lift: self.lift.prepare(&plans.arithmetic),
            lookup_automorphisms: self.lookup_automorphisms.prepare(&plans.lookup),
            arithmetic_automorphisms: self.arithmetic_automorphisms.prepare(&plans.arithmetic),
            relinearization: self.relinearization.prepare(&plans.arithmetic),
            bootstrapping: self.bootstrapping.into_iter().map(|key| key.prepare(&plans.lookup, lookup)).collect(),
            parameters: self.parameters,
            plans,
        }
    }
}

/// Evaluation keys, ready for use.
#[derive(Debug)]
pub struct RingPairKeys {
    parameters: RingPairParameters,
    plans: Plans,
    arithmetic_to_small: GlweKeyswitchKey,
    lookup_to_small: GlweKeyswitchKey,
    lift: GlweKeyswitchKey,
    lookup_automorphisms: AutomorphismKeys,
    arithmetic_automorphisms: AutomorphismKeys,
    relinearization: RelinearizationKey,
    bootstrapping: Vec<BootstrappingKey>,
}

impl RingPairKeys {
    /// The parameter set.
    pub fn parameters(&self) -> &RingPairParameters {
        &self.parameters
    }

    /// The plan of transforms in the arithmetic ring.
    pub fn arithmetic_fft(&self) -> &NegacyclicFft {
        &self.plans.arithmetic
    }

    /// The key switch from coefficients in the arithmetic ring to the small key.
    pub fn arithmetic_to_small(&self) -> &GlweKeyswitchKey {
        &self.arithmetic_to_small
    }

    /// The key switch from results of lookups to the small key.
    pub fn lookup_to_small(&self) -> &GlweKeyswitchKey {
        &self.lookup_to_small
    }

    /// The key switch from the lookup ring, after X' = X^(N/N'), to the arithmetic ring.
    pub fn lift(&self) -> &GlweKeyswitchKey {
        &self.lift
    }

    /// The automorphisms of the lookup ring.
    pub fn lookup_automorphisms(&self) -> &AutomorphismKeys {
        &self.lookup_automorphisms
    }

    /// The automorphisms of the arithmetic ring.
    pub fn arithmetic_automorphisms(&self) -> &AutomorphismKeys {
        &self.arithmetic_automorphisms
    }

    /// The relinearization key of the arithmetic ring.
    pub fn relinearization(&self) -> &RelinearizationKey {
        &self.relinearization
    }

    /// The bootstrapping key of gadget `index`, from the small key to the lookup ring.
    pub fn bootstrapping_key(&self, index: usize) -> &BootstrappingKey {
        &self.bootstrapping[index]
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        [&self.arithmetic_to_small, &self.lookup_to_small, &self.lift].iter().map(|key| key.bytes()).sum::<usize>()
            + self.lookup_automorphisms.bytes()
            + self.arithmetic_automorphisms.bytes()
            + self.relinearization.bytes()
            + self.bootstrapping.iter().map(BootstrappingKey::bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_pair::RingPairLiteral;
    use crate::sets;

    #[test]
    fn sizes_of_keys_are_predicted() {
        let literal = RingPairLiteral { small: (2, 16), lookup_size: 64, arithmetic_size: 128, ..sets::PACKED_HEAD };
        let parameters = literal.compile().unwrap();
        let keys = RingPairClientKeys::generate(&parameters, &ClientSeed::from_number(1));
        for subring in [2, 8, 32] {
            let predicted = SeededRingPairKeys::predicted_bytes(&parameters, subring);
            assert_eq!(predicted, keys.evaluation_keys(subring).bytes(), "{subring}");
        }
    }
}
