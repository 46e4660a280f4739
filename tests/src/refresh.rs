//! A client of refreshes: secret keys of a set with two rings, and the evaluation keys of a refresh.

use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{Node, Parameters};
use tfhe_core::keys::{ClientKeys, EvaluationKeys, Needs};
use tfhe_core::noise::{self, Distribution, RefreshNoise, RefreshParameters};
use tfhe_core::random::SecretSeed;
use tfhe_core::refresh::{FunctionTable, Lane, Refresh, Source};
use tfhe_core::tensor_product::RelinearizationKey;
use tfhe_core::torus;

/// Secrets, and the keys made of them.
pub struct RefreshClient {
    /// Of experiments, from 100 on.
    pub seed: SecretSeed,
    /// The secret keys.
    pub secrets: ClientKeys,
    keys: EvaluationKeys,
    bootstrap: usize,
}

impl RefreshClient {
    /// With the bootstrapping gadget number `bootstrap` of a set, and keys from a number.
    pub fn new(parameters: &Parameters, bootstrap: usize, number: u64) -> Self {
        Self::with(&Needs::default().refresh(bootstrap), parameters, bootstrap, number)
    }

    /// With the keys of looked-up GGSW ciphertexts too.
    pub fn with_products(parameters: &Parameters, bootstrap: usize, number: u64) -> Self {
        Self::with(&Needs::default().looked_up_ggsw(bootstrap), parameters, bootstrap, number)
    }

    fn with(needs: &Needs, parameters: &Parameters, bootstrap: usize, number: u64) -> Self {
        let secrets = ClientKeys::generate(parameters, &ClientSeed::from_number(number)).expect("a backend");
        let keys = secrets.evaluation_keys(needs).expect("a set that refreshes");
        Self { seed: SecretSeed::from_number(number), keys: keys.prepare().expect("a backend"), secrets, bootstrap }
    }

    /// The set.
    pub fn parameters(&self) -> &Parameters {
        self.keys.parameters()
    }

    /// The keys.
    pub fn refresh(&self) -> Refresh<'_> {
        self.keys.refresh(self.bootstrap).expect("keys of a refresh")
    }

    /// The bootstrapping key.
    pub fn bootstrapping(&self) -> &BootstrappingKey {
        self.keys.bootstrapping_key(self.bootstrap).expect("keys of a refresh")
    }

    /// The relinearization key, of a client with products.
    pub fn relinearization(&self) -> &RelinearizationKey {
        self.keys.relinearization(Node::Arithmetic).expect("keys of looked-up GGSW ciphertexts")
    }

    /// The plan of transforms in the arithmetic ring.
    pub fn fft(&self) -> &NegacyclicFft {
        self.keys.arithmetic_fft()
    }

    /// The prediction for this CPU's transforms.
    pub fn noise(&self) -> RefreshNoise {
        noise_of(&self.keys, self.bootstrap)
    }

    /// The noise of what [`Self::encrypt`] makes.
    pub fn input(&self) -> Distribution {
        Distribution::from(self.parameters().arithmetic().noise.variance())
    }

    /// Encrypts values, in turns, from the first coefficient on. Each `index` may be used once.
    pub fn encrypt(&self, values: &[f64], index: u64) -> GlweCiphertext {
        let ring = self.parameters().arithmetic();
        let mut plaintext: Vec<u64> = values.iter().map(|&value| torus::from_f64(value)).collect();
        plaintext.resize(ring.size().get(), 0);
        let (fft, seed) = (self.secrets.fft(Node::Arithmetic), &mut self.seed.experiment(100 + index));
        self.secrets.glwe_key(Node::Arithmetic).encrypt(fft, &plaintext, ring.noise, seed).expand()
    }

    /// The phase of a ciphertext of the arithmetic ring.
    pub fn phase(&self, ciphertext: &GlweCiphertext) -> Vec<u64> {
        self.secrets.phase(ciphertext).to_vec()
    }
}

/// The predicted noise of a refresh with these keys, for this CPU's transforms.
pub fn noise_of(keys: &EvaluationKeys, bootstrap: usize) -> RefreshNoise {
    let transforms = keys.arithmetic_fft().transforms();
    let parameters = RefreshParameters::new(keys.parameters(), bootstrap, transforms);
    noise::refresh(&parameters.expect("a set that refreshes"))
}

/// The first `count` coefficients of a ciphertext through one table, to places as far apart as they can be.
pub fn lanes<'a>(
    refresh: &Refresh<'_>,
    ciphertext: &'a GlweCiphertext,
    table: &'a FunctionTable,
    count: usize,
) -> Vec<Lane<'a>> {
    let spacing = ciphertext.shape().polynomial_size.get() / count.next_power_of_two();
    assert!(spacing >= refresh.place_step(), "no more values than places");
    let lane = |i| Lane { source: Source { ciphertext, coefficient: i }, table, place: (i * spacing).into() };
    (0..count).map(lane).collect()
}
