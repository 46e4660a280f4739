//! The keys of a client and of a server, for one parameter set.
//!
//! [`ClientKeys`] are secret. [`SeededEvaluationKeys`] are what the client sends: encryptions of secret bits, with seeded masks.
//! [`EvaluationKeys`] are what the server computes with. Neither of the latter can name a secret key.

use zeroize::Zeroizing;

use crate::automorphism::{AutomorphismKeys, SeededAutomorphismKeys};
use crate::bootstrapping_key::{BootstrappingKey, SeededBootstrappingKey};
use crate::derivation::{ClientSeed, Purpose, RequestRandomness, Scope};
use crate::fft::NegacyclicFft;
use crate::fingerprint::Fingerprint;
use crate::glwe::{GlweCiphertext, GlweSecretKey, SeededGlweCiphertext};
use crate::keyswitch::{LweKeyswitchKey, SeededLweKeyswitchKey};
use crate::lwe::LweSecretKey;
use crate::params::{Gadget, Parameters};
use crate::random::{PublicSeed, RandomnessError};
use crate::tensor_product::{RelinearizationKey, SeededRelinearizationKey};

/// The secret keys of a parameter set. Wiped on drop. They encrypt, decrypt and make evaluation keys, and are not given away.
pub struct ClientKeys {
    parameters: Parameters,
    scope: Scope,
    requests: RequestRandomness,
    fft: NegacyclicFft,
    lwe: LweSecretKey,
    glwe: GlweSecretKey,
}

impl ClientKeys {
    /// Derives the secret keys from `seed`.
    pub fn generate(parameters: &Parameters, seed: &ClientSeed) -> Self {
        let fft = NegacyclicFft::new(parameters.polynomial_size());
        let scope = seed.scope(&parameters.fingerprint());
        let bits = |purpose| scope.secret(purpose, 0);
        Self {
            lwe: LweSecretKey::generate(&mut bits(Purpose::LweSecretKey), parameters.lwe_dimension()),
            glwe: GlweSecretKey::generate(&mut bits(Purpose::GlweSecretKey), parameters.glwe_shape(), &fft),
            parameters: parameters.clone(),
            requests: seed.requests(),
            scope,
            fft,
        }
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The plan of transforms of size N.
    pub fn fft(&self) -> &NegacyclicFft {
        &self.fft
    }

    /// Encrypts the plaintexts `[N]` of one request under the GLWE key. `context` is the fingerprint of how they are encoded:
    /// of everything that a reader of the decrypted numbers has to know. Randomness is as the seed said
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
        let noise = self.parameters.glwe_noise();
        Ok(plaintexts.iter().map(|plaintext| self.glwe.encrypt(&self.fft, plaintext, noise, &mut seed)).collect())
    }

    /// The phase, plaintext and noise, of a ciphertext under the GLWE key.
    pub fn phase(&self, ciphertext: &GlweCiphertext) -> Zeroizing<Vec<u64>> {
        Zeroizing::new(self.glwe.phase(&self.fft, ciphertext))
    }

    /// Makes the evaluation keys: the key switch kN -> n, the bootstrapping keys of the gadgets `bootstraps` (indices of
    /// [`Parameters::bootstraps`]), the automorphisms', and with `products` the relinearization key.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn evaluation_keys(&self, bootstraps: &[usize], products: bool) -> SeededEvaluationKeys {
        let (fft, glwe) = (&self.fft, &self.glwe);
        let seed = |purpose| self.scope.encryption(purpose, 0);
        let (gadget, noise) = (self.parameters.glwe_keyswitch(), self.parameters.glwe_noise());
        let keyswitch = SeededLweKeyswitchKey::generate(
            &glwe.extracted_lwe_key(),
            &self.lwe,
            self.parameters.keyswitch(),
            self.parameters.lwe_noise(),
            seed(Purpose::LweKeyswitch),
        );
        let automorphisms = SeededAutomorphismKeys::generate(
            fft,
            glwe,
            1..=self.parameters.polynomial_size().log2(),
            gadget,
            noise,
            seed(Purpose::Automorphisms),
        );
        let relinearization = products
            .then(|| SeededRelinearizationKey::generate(fft, glwe, gadget, noise, seed(Purpose::Relinearization)));
        let mut bootstrapping: Vec<_> = self.parameters.bootstraps().iter().map(|_| None).collect();
        for &index in bootstraps {
            bootstrapping[index] = Some(SeededBootstrappingKey::generate(
                fft,
                &self.lwe,
                glwe,
                self.parameters.bootstraps()[index],
                noise,
                self.scope.encryption(Purpose::Bootstrapping, index as u64),
            ));
        }
        SeededEvaluationKeys {
            parameters: self.parameters.clone(),
            keyswitch,
            automorphisms,
            relinearization,
            bootstrapping,
        }
    }
}

/// For tests, benches and comparisons, which measure noise and make keys of their own. A client needs none of it.
#[cfg(any(test, feature = "testing"))]
impl ClientKeys {
    /// The small LWE key, of dimension n.
    pub fn lwe_key(&self) -> &LweSecretKey {
        &self.lwe
    }

    /// The GLWE key.
    pub fn glwe_key(&self) -> &GlweSecretKey {
        &self.glwe
    }
}

impl std::fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientKeys({}, redacted)", self.parameters.name())
    }
}

/// Evaluation keys as stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SeededEvaluationKeys {
    parameters: Parameters,
    keyswitch: SeededLweKeyswitchKey,
    automorphisms: SeededAutomorphismKeys,
    relinearization: Option<SeededRelinearizationKey>,
    bootstrapping: Vec<Option<SeededBootstrappingKey>>,
}

impl SeededEvaluationKeys {
    /// The key switch kN -> n.
    pub fn keyswitch(&self) -> &SeededLweKeyswitchKey {
        &self.keyswitch
    }

    /// The bootstrapping key of gadget `index`, if the keys were made with it.
    ///
    /// # Panics
    /// If there is no such gadget.
    pub fn bootstrapping_key(&self, index: usize) -> Option<&SeededBootstrappingKey> {
        self.bootstrapping[index].as_ref()
    }

    /// Bytes as stored.
    pub fn bytes(&self) -> usize {
        self.keyswitch.bytes()
            + self.automorphisms.bytes()
            + self.relinearization.as_ref().map_or(0, SeededRelinearizationKey::bytes)
            + self.bootstrapping.iter().flatten().map(SeededBootstrappingKey::bytes).sum::<usize>()
    }

    /// What [`Self::bytes`] is of the keys that [`ClientKeys::evaluation_keys`] makes with the same arguments, without
    /// making them: a body of 8 bytes for each row (of each coefficient, for polynomials), and the seeds of the masks.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn predicted_bytes(parameters: &Parameters, bootstraps: &[usize], products: bool) -> usize {
        let (k, n) = (parameters.glwe_shape().dimension.get(), parameters.polynomial_size().get());
        let body = size_of::<u64>();
        let rows = |gadget: Gadget, inputs: usize| inputs * gadget.levels() * n * body;
        let keyswitch = k * n * parameters.keyswitch().levels() * body + size_of::<PublicSeed>();
        let automorphisms = parameters.polynomial_size().log2() as usize * rows(parameters.glwe_keyswitch(), k);
        let relinearization = if products { rows(parameters.glwe_keyswitch(), 1) } else { 0 };
        let bootstrap = |&index: &usize| parameters.lwe_dimension().get() * rows(parameters.bootstraps()[index], k + 1);
        let bootstrapping: usize = bootstraps.iter().map(|index| bootstrap(index) + size_of::<PublicSeed>()).sum();
        keyswitch + automorphisms + relinearization + bootstrapping
    }

    /// Expands the masks and transforms to the Fourier domain, releasing the stored keys as it goes.
    pub fn prepare(self) -> EvaluationKeys {
        let fft = NegacyclicFft::new(self.parameters.polynomial_size());
        let shape = self.parameters.glwe_shape();
        EvaluationKeys {
            keyswitch: self.keyswitch.expand(),
            automorphisms: self.automorphisms.prepare(&fft),
            relinearization: self.relinearization.map(|key| key.prepare(&fft)),
            bootstrapping: self.bootstrapping.into_iter().map(|key| key.map(|key| key.prepare(&fft, shape))).collect(),
            parameters: self.parameters,
            fft,
        }
    }
}

/// Evaluation keys, ready for use.
#[derive(Debug)]
pub struct EvaluationKeys {
    parameters: Parameters,
    fft: NegacyclicFft,
    keyswitch: LweKeyswitchKey,
    automorphisms: AutomorphismKeys,
    relinearization: Option<RelinearizationKey>,
    bootstrapping: Vec<Option<BootstrappingKey>>,
}

impl EvaluationKeys {
    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The plan of transforms of size N.
    pub fn fft(&self) -> &NegacyclicFft {
        &self.fft
    }

    /// The key switch kN -> n.
    pub fn keyswitch(&self) -> &LweKeyswitchKey {
        &self.keyswitch
    }

    /// The keys of the automorphisms, for the trace and packing.
    pub fn automorphisms(&self) -> &AutomorphismKeys {
        &self.automorphisms
    }

    /// The relinearization key.
    ///
    /// # Panics
    /// If the keys were made without it.
    pub fn relinearization(&self) -> &RelinearizationKey {
        self.relinearization.as_ref().expect("evaluation keys made for products")
    }

    /// The bootstrapping key of gadget `index`.
    ///
    /// # Panics
    /// If the keys were made without it.
    pub fn bootstrapping_key(&self, index: usize) -> &BootstrappingKey {
        self.bootstrapping[index].as_ref().expect("evaluation keys made for this gadget")
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.keyswitch.bytes()
            + self.automorphisms.bytes()
            + self.relinearization.as_ref().map_or(0, RelinearizationKey::bytes)
            + self.bootstrapping.iter().flatten().map(BootstrappingKey::bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{ParametersLiteral, Precision};
    use crate::sets;

    #[test]
    fn sizes_of_keys_are_predicted() {
        let bootstraps = &[(8, 3, Precision::Single), (7, 4, Precision::Split)];
        let parameters = ParametersLiteral { bootstraps, ..sets::TOY }.compile().unwrap();
        let keys = ClientKeys::generate(&parameters, &ClientSeed::from_number(1));
        for (bootstraps, products) in [(&[0, 1][..], true), (&[1], false), (&[], false)] {
            let predicted = SeededEvaluationKeys::predicted_bytes(&parameters, bootstraps, products);
            assert_eq!(predicted, keys.evaluation_keys(bootstraps, products).bytes(), "{bootstraps:?}, {products}");
        }
    }
}
