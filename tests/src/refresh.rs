//! A client of refreshes: secret keys of a set with two rings, and the evaluation keys of a refresh.

use tfhe_core::automorphism::{AutomorphismKeys, SeededAutomorphismKeys};
use tfhe_core::bootstrapping_key::{BootstrappingKey, SeededBootstrappingKey};
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
use tfhe_core::glwe_keyswitch::{GlweKeyswitchKey, SeededGlweKeyswitchKey};
use tfhe_core::noise::{self, Distribution, RefreshNoise, RefreshParameters};
use tfhe_core::params::{GlweDimension, GlweShape};
use tfhe_core::random::SecretSeed;
use tfhe_core::refresh::{Lane, LookupTable, Refresh, Source};
use tfhe_core::ring_pair::RingPairParameters;
use tfhe_core::torus;

/// Secrets, and the keys made of them.
pub struct RefreshClient {
    /// The set.
    pub parameters: RingPairParameters,
    /// Of experiments, from 100 on.
    pub seed: SecretSeed,
    /// The lookup ring's key.
    pub lookup: GlweSecretKey,
    arithmetic: GlweSecretKey,
    arithmetic_fft: NegacyclicFft,
    keyswitch: GlweKeyswitchKey,
    automorphisms: AutomorphismKeys,
    lift: GlweKeyswitchKey,
    bootstrapping: BootstrappingKey,
    bootstrap: usize,
}

impl RefreshClient {
    /// With the bootstrapping gadget number `bootstrap` of a set, and keys from a number.
    pub fn new(parameters: &RingPairParameters, bootstrap: usize, number: u64) -> Self {
        let seed = SecretSeed::from_number(number);
        let rings = [parameters.small(), parameters.lookup(), parameters.arithmetic()];
        let [small_fft, lookup_fft, arithmetic_fft] = rings.map(|ring| NegacyclicFft::new(ring.size()));
        let secret = |stream, shape, fft| GlweSecretKey::generate(&mut seed.experiment_bits(stream), shape, fft);
        let small = secret(0, rings[0].shape, &small_fft);
        let lookup = secret(1, rings[1].shape, &lookup_fft);
        let arithmetic = secret(2, rings[2].shape, &arithmetic_fft);
        let dimension =
            GlweDimension::new(rings[2].lwe_dimension().get() / rings[0].size().get()).expect("rings in order");
        let cut = GlweShape { dimension, polynomial_size: rings[0].size() };
        let cut = GlweSecretKey::from_lwe_key(&arithmetic.extracted_lwe_key(), cut, &small_fft);
        let (gadget, noise) = (parameters.keyswitch(), rings[0].noise);
        let keyswitch = SeededGlweKeyswitchKey::generate(&small_fft, &cut, &small, gadget, noise, seed.experiment(0));
        let (gadget, noise) = (parameters.lookup_automorphism(), rings[1].noise);
        let steps = 1..=rings[1].size().log2();
        let automorphisms =
            SeededAutomorphismKeys::generate(&lookup_fft, &lookup, steps, gadget, noise, seed.experiment(1));
        let larger = lookup.in_larger_ring(&arithmetic_fft);
        let (gadget, lifted) = (parameters.lift(), rings[2].noise);
        let lift =
            SeededGlweKeyswitchKey::generate(&arithmetic_fft, &larger, &arithmetic, gadget, lifted, seed.experiment(2));
        let gadget = parameters.bootstraps()[bootstrap];
        let from = small.extracted_lwe_key();
        let bootstrapping =
            SeededBootstrappingKey::generate(&lookup_fft, &from, &lookup, gadget, noise, seed.experiment(3));
        Self {
            keyswitch: keyswitch.prepare(&small_fft),
            automorphisms: automorphisms.prepare(&lookup_fft),
            lift: lift.prepare(&arithmetic_fft),
            bootstrapping: bootstrapping.prepare(&lookup_fft, rings[1].shape),
            parameters: parameters.clone(),
            bootstrap,
            seed,
            lookup,
            arithmetic,
            arithmetic_fft,
        }
    }

    /// The keys.
    ///
    /// # Panics
    /// Never: they are made to fit.
    pub fn refresh(&self) -> Refresh<'_> {
        Refresh::new(&self.keyswitch, &self.bootstrapping, &self.automorphisms, &self.lift).expect("keys of one set")
    }

    /// The bootstrapping key.
    pub fn bootstrapping(&self) -> &BootstrappingKey {
        &self.bootstrapping
    }

    /// The prediction for this CPU's transforms.
    pub fn noise(&self) -> RefreshNoise {
        let transforms = self.arithmetic_fft.transforms();
        noise::refresh(&RefreshParameters::new(&self.parameters, self.bootstrap, transforms))
    }

    /// The noise of what [`Self::encrypt`] makes.
    pub fn input(&self) -> Distribution {
        Distribution::from(self.parameters.arithmetic().noise.variance())
    }

    /// Encrypts values, in turns, from the first coefficient on. Each `index` may be used once.
    pub fn encrypt(&self, values: &[f64], index: u64) -> GlweCiphertext {
        let mut plaintext: Vec<u64> = values.iter().map(|&value| torus::from_f64(value)).collect();
        plaintext.resize(self.parameters.arithmetic().size().get(), 0);
        let (noise, seed) = (self.parameters.arithmetic().noise, &mut self.seed.experiment(100 + index));
        self.arithmetic.encrypt(&self.arithmetic_fft, &plaintext, noise, seed).expand()
    }

    /// The phase of a ciphertext of the arithmetic ring.
    pub fn phase(&self, ciphertext: &GlweCiphertext) -> Vec<u64> {
        self.arithmetic.phase(&self.arithmetic_fft, ciphertext)
    }
}

/// The first `count` coefficients of a ciphertext through one table, to places as far apart as they can be.
pub fn lanes<'a>(
    refresh: &Refresh<'_>,
    ciphertext: &'a GlweCiphertext,
    table: &'a LookupTable,
    count: usize,
) -> Vec<Lane<'a>> {
    let spacing = ciphertext.shape().polynomial_size.get() / count.next_power_of_two();
    assert!(spacing >= refresh.place_step(), "no more values than places");
    let lane = |i| Lane { source: Source { ciphertext, coefficient: i }, table, place: i * spacing };
    (0..count).map(lane).collect()
}
