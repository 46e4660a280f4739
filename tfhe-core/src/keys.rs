//! The keys of a client and of a server, for one parameter set.
//!
//! [`ClientKeys`] are secret. [`SeededEvaluationKeys`] are what the client sends: encryptions of secret bits, with seeded masks.
//! [`EvaluationKeys`] are what the server computes with. Neither of the latter can name a secret key.

use crate::automorphism::{AutomorphismKeys, SeededAutomorphismKeys};
use crate::bootstrap::{BootstrappingKey, SeededBootstrappingKey};
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::keyswitch::{LweKeyswitchKey, SeededLweKeyswitchKey};
use crate::lwe::LweSecretKey;
use crate::params::{Gadget, Parameters};
use crate::product::{RelinearizationKey, SeededRelinearizationKey};
use crate::random::{PublicSeed, SecretSeed};

/// Numbers of the seeds derived from the master seed.
mod purpose {
    pub(super) const KEYSWITCH: u64 = 1;
    pub(super) const AUTOMORPHISMS: u64 = 2;
    pub(super) const RELINEARIZATION: u64 = 3;
    pub(super) const BOOTSTRAP: u64 = 16;
}

/// The secret keys of a parameter set. Wiped on drop.
#[derive(Debug)]
pub struct ClientKeys {
    parameters: Parameters,
    seed: SecretSeed,
    fft: NegacyclicFft,
    lwe: LweSecretKey,
    glwe: GlweSecretKey,
}

impl ClientKeys {
    /// Derives the secret keys from `seed`.
    pub fn generate(parameters: &Parameters, seed: &SecretSeed) -> Self {
        let fft = NegacyclicFft::new(parameters.polynomial_size());
        Self {
            lwe: LweSecretKey::generate(seed, parameters.lwe_dimension()),
            glwe: GlweSecretKey::generate(seed, parameters.glwe_shape(), &fft),
            parameters: parameters.clone(),
            seed: seed.clone(),
            fft,
        }
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The seed that the keys were derived from.
    pub fn seed(&self) -> &SecretSeed {
        &self.seed
    }

    /// The plan of transforms of size N.
    pub fn fft(&self) -> &NegacyclicFft {
        &self.fft
    }

    /// The small LWE key, of dimension n.
    pub fn lwe_key(&self) -> &LweSecretKey {
        &self.lwe
    }

    /// The GLWE key.
    pub fn glwe_key(&self) -> &GlweSecretKey {
        &self.glwe
    }

    /// Makes the evaluation keys: the key switch kN -> n, the bootstrapping keys of the gadgets `bootstraps` (indices of
    /// [`Parameters::bootstraps`]), the automorphisms', and with `products` the relinearization key.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn evaluation_keys(&self, bootstraps: &[usize], products: bool) -> SeededEvaluationKeys {
        let (fft, glwe, seed) = (&self.fft, &self.glwe, &self.seed);
        let (gadget, noise) = (self.parameters.glwe_keyswitch(), self.parameters.glwe_noise());
        let keyswitch = SeededLweKeyswitchKey::generate(
            &glwe.extracted_lwe_key(),
            &self.lwe,
            self.parameters.keyswitch(),
            self.parameters.lwe_noise(),
            seed.derive_public(purpose::KEYSWITCH),
            &seed.derive(purpose::KEYSWITCH),
        );
        let automorphisms = SeededAutomorphismKeys::generate(
            fft,
            glwe,
            1..=self.parameters.polynomial_size().log2(),
            gadget,
            noise,
            seed.derive_public(purpose::AUTOMORPHISMS),
            &seed.derive(purpose::AUTOMORPHISMS),
        );
        let relinearization = products.then(|| {
            let (masks, noises) = (seed.derive_public(purpose::RELINEARIZATION), seed.derive(purpose::RELINEARIZATION));
            SeededRelinearizationKey::generate(fft, glwe, gadget, noise, masks, &noises)
        });
        let mut bootstrapping: Vec<_> = self.parameters.bootstraps().iter().map(|_| None).collect();
        for &index in bootstraps {
            let purpose = purpose::BOOTSTRAP + index as u64;
            bootstrapping[index] = Some(SeededBootstrappingKey::generate(
                fft,
                &self.lwe,
                glwe,
                self.parameters.bootstraps()[index],
                noise,
                seed.derive_public(purpose),
                &seed.derive(purpose),
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
        let keys = ClientKeys::generate(&parameters, &SecretSeed::from_number(1));
        for (bootstraps, products) in [(&[0, 1][..], true), (&[1], false), (&[], false)] {
            let predicted = SeededEvaluationKeys::predicted_bytes(&parameters, bootstraps, products);
            assert_eq!(predicted, keys.evaluation_keys(bootstraps, products).bytes(), "{bootstraps:?}, {products}");
        }
    }
}
