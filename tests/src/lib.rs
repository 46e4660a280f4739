//! What the integration tests share.

pub mod documents;
pub mod layer;
pub mod packed;
pub mod reference;
pub mod refresh;
pub mod vectors;

pub use gpt2_fhe::audit::errors;
use tfhe_core::automorphism::AutomorphismKeys;
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::key_graph::{Edge, Node, Parameters, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, EvaluationKeys, Needs};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::Variance;
use tfhe_core::params::GlweShape;
use tfhe_core::programmable_bootstrap::half_slot;
use tfhe_core::random::{MaskStream, NoiseStream, SecretSeed};
use tfhe_core::tensor_product::RelinearizationKey;

/// A client and a server of a parameter set with one ring.
pub struct Parties {
    /// Secret keys.
    pub client: ClientKeys,
    /// Evaluation keys.
    pub server: EvaluationKeys,
    masks: MaskStream,
    noises: NoiseStream,
}

impl Parties {
    /// With the bootstrapping keys of the gadgets `bootstraps`, from a fixed seed.
    pub fn new(literal: ParametersLiteral, bootstraps: &[usize], products: bool) -> Self {
        let parameters = literal.compile().expect("named sets are valid");
        let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(2026)).expect("a backend");
        let edge = |gadget: &usize| Edge::Automorphisms { ring: Node::Lookup, gadget: *gadget };
        let automorphisms = (0..).take_while(|gadget| parameters.gadget(edge(gadget)).is_ok());
        let needs = Needs::default().keyswitch(Node::Lookup);
        let needs = automorphisms.fold(needs, |needs, gadget| needs.automorphisms(Node::Lookup, gadget, 0));
        let needs = bootstraps.iter().fold(needs, |needs, &gadget| needs.bootstrapping(gadget));
        let needs = if products { needs.relinearization(Node::Lookup) } else { needs };
        let server = client.evaluation_keys(&needs).expect("gadgets of the set").prepare().expect("a backend");
        let (masks, noises) = SecretSeed::from_number(2026).experiment(0).into_streams();
        Self { client, server, masks, noises }
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        self.client.parameters()
    }

    /// k and N of its ring.
    pub fn shape(&self) -> GlweShape {
        self.parameters().lookup().shape
    }

    /// The plan of transforms in its ring.
    pub fn fft(&self) -> &NegacyclicFft {
        self.server.lookup_fft()
    }

    /// Key switches to the small key.
    pub fn keyswitch(&self, ciphertexts: &[LweCiphertext]) -> Vec<LweCiphertext> {
        self.server.keyswitch(Node::Lookup).expect("keys are made with it").keyswitch(ciphertexts)
    }

    /// The bootstrapping key of a gadget.
    pub fn bootstrapping_key(&self, gadget: usize) -> &BootstrappingKey {
        self.server.bootstrapping_key(gadget).expect("keys made for this gadget")
    }

    /// The automorphisms of the ring, with its gadget number `gadget`.
    pub fn automorphisms(&self, gadget: usize) -> &AutomorphismKeys {
        self.server.automorphisms(Node::Lookup, gadget, 0).expect("keys are made with them")
    }

    /// The relinearization key.
    pub fn relinearization(&self) -> &RelinearizationKey {
        self.server.relinearization(Node::Lookup).expect("keys made for products")
    }

    /// Fresh encryptions, under the extracted GLWE key, of the given torus elements.
    pub fn encrypt(&mut self, plaintexts: impl IntoIterator<Item = u64>) -> Vec<LweCiphertext> {
        let key = self.client.lwe_key(Node::Lookup);
        let noise = self.client.parameters().lookup().noise;
        let (masks, noises) = (&mut self.masks, &mut self.noises);
        plaintexts.into_iter().map(|plaintext| key.encrypt(plaintext, noise, masks, noises)).collect()
    }

    /// Fresh encryptions of the indices of tables of 2^p values, in the middle of their slots.
    pub fn encrypt_indices(&mut self, p: u32, indices: impl IntoIterator<Item = u64>) -> Vec<LweCiphertext> {
        self.encrypt(indices.into_iter().map(|m| (m << (63 - p)) + half_slot(p)))
    }

    /// The phases of ciphertexts under the extracted GLWE key.
    pub fn phases(&self, ciphertexts: &[LweCiphertext]) -> Vec<u64> {
        let key = self.client.lwe_key(Node::Lookup);
        ciphertexts.iter().map(|ciphertext| key.phase(ciphertext)).collect()
    }
}

/// Asserts, from both sides, that the mean square of the errors is the predicted variance: within `tolerance`, relative.
///
/// The mean square of S independent Gaussian errors has a relative standard error of sqrt(2/S); the tests use about four of
/// those.
pub fn assert_variance(what: &str, errors: &[f64], predicted: Variance, tolerance: f64) {
    let measured = Variance::measured(errors);
    println!("| {what} | {:.2} | {:.2} | {} |", predicted.log2_std(), measured.log2_std(), errors.len());
    let ratio = measured.get() / predicted.get();
    assert!((ratio - 1.0).abs() <= tolerance, "{what}: measured/predicted variance {ratio:.3}, tolerance {tolerance}");
}
