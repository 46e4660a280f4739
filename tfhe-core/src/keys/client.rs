//! The secret keys of a parameter set.

use zeroize::Zeroizing;

use super::evaluation::{Plans, SeededEvaluationKeys, SeededKey};
use super::label::{Identity, KeyId, Label, Mismatch, check_ciphertexts};
use super::message::{Answer, Request};
use super::needs::{Need, Needs};
use crate::automorphism::SeededAutomorphismKeys;
use crate::bootstrapping_key::SeededBootstrappingKey;
use crate::derivation::{ClientSeed, Purpose, RequestRandomness, Scope};
use crate::fft::NegacyclicFft;
use crate::fingerprint::Fingerprint;
use crate::glwe::{GlweCiphertext, GlweSecretKey};
use crate::glwe_keyswitch::SeededGlweKeyswitchKey;
use crate::key_graph::{Bootstrap, Edge, KeyParameters, MissingEdge, Node, Parameters};
use crate::keyswitch::SeededLweKeyswitchKey;
use crate::lwe::{LweCiphertext, LweSecretKey};
use crate::random::{EncryptionSeed, RandomnessError};
use crate::simd::BackendError;
use crate::tensor_product::SeededRelinearizationKey;

/// A secret key of a node.
enum SecretKey {
    Lwe(LweSecretKey),
    Glwe(GlweSecretKey),
}

/// The secret keys of a parameter set. Wiped on drop. They encrypt, decrypt and make evaluation keys, and are not given away.
pub struct ClientKeys {
    parameters: Parameters,
    identity: Identity,
    scope: Scope,
    requests: RequestRandomness,
    plans: Plans,
    /// In the order of [`Parameters::keys`].
    secrets: Vec<SecretKey>,
}

impl ClientKeys {
    /// Derives the secret keys from `seed`.
    ///
    /// # Examples
    /// The same seed, the same keys; another set, others, of which nothing can be told from the first.
    /// ```
    /// use tfhe_core::derivation::ClientSeed;
    /// use tfhe_core::keys::ClientKeys;
    /// use tfhe_core::sets;
    ///
    /// let seed = ClientSeed::from_system()?;
    /// let [toy, other] = [sets::TOY, sets::MESSAGE_2_CARRY_2].map(|set| set.compile().unwrap());
    /// let identity = |set| ClientKeys::generate(set, &seed).map(|keys| *keys.identity());
    /// assert_eq!(identity(&toy)?, identity(&toy)?);
    /// assert_ne!(identity(&toy)?, identity(&other)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the environment asks for a backend that cannot be used ([`crate::simd::Backend::selected`]).
    pub fn generate(parameters: &Parameters, seed: &ClientSeed) -> Result<Self, BackendError> {
        let plans = Plans::new(parameters)?;
        let set = parameters.fingerprint();
        let scope = seed.scope(&set);
        let secret = |key: &KeyParameters| {
            let bits = &mut scope.secret(Purpose::SecretKey, key.node() as u64);
            match key.ring() {
                Some(ring) => SecretKey::Glwe(GlweSecretKey::generate(bits, ring.shape, plans.of(ring))),
                None => SecretKey::Lwe(LweSecretKey::generate(bits, key.lwe_dimension())),
            }
        };
        Ok(Self {
            identity: Identity { set, keys: KeyId(scope.identity()) },
            secrets: parameters.keys().iter().map(secret).collect(),
            parameters: parameters.clone(),
            requests: seed.requests(),
            scope,
            plans,
        })
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whose they are. Evaluation keys and requests made with them have the same.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The plan of transforms in the ring of `node`.
    fn plan(&self, node: Node) -> &NegacyclicFft {
        self.plans.of(self.parameters.ring(node))
    }

    fn secret(&self, node: Node) -> &SecretKey {
        let is_named = |(key, _): &(&KeyParameters, _)| key.nodes().contains(&node);
        self.parameters.keys().iter().zip(&self.secrets).find(is_named).expect("a set has every node").1
    }

    /// The key of a ring.
    fn of_ring(&self, node: Node) -> &GlweSecretKey {
        match self.secret(node) {
            SecretKey::Glwe(key) => key,
            SecretKey::Lwe(_) => panic!("the {} key is an LWE key", node.name()),
        }
    }

    /// The key of what is extracted from ciphertexts of `node`, or of its ciphertexts.
    fn extracted(&self, node: Node) -> LweSecretKey {
        match self.secret(node) {
            SecretKey::Glwe(key) => key.extracted_lwe_key(),
            SecretKey::Lwe(key) => key.copy(),
        }
    }

    /// Encrypts the plaintexts `[N]` of one request under the arithmetic ring's key. `context` is the fingerprint of how they
    /// are encoded: of everything that a reader of the decrypted numbers has to know. Randomness is as the seed said
    /// ([`RequestRandomness`]). Bodies are rounded to `bits` bits, at most 64: that is all that is sent of them.
    ///
    /// # Examples
    /// What is sent, and what comes back if nothing is computed. Requests of the same numbers have nothing in common.
    /// ```
    /// # use tfhe_core::derivation::ClientSeed;
    /// # use tfhe_core::keys::{ClientKeys, Needs};
    /// # let set = tfhe_core::sets::TOY.compile()?;
    /// # let client = ClientKeys::generate(&set, &ClientSeed::from_system()?)?;
    /// // `set` is the set `toy`, `client` has keys of it.
    /// use tfhe_core::fingerprint::Fields;
    /// use tfhe_core::keys::Answer;
    /// use tfhe_core::torus::{decode, encode};
    /// use zeroize::Zeroizing;
    ///
    /// let encoding = Fields::new("a polynomial of 3 bits to a coefficient").fingerprint();
    /// let numbers = || Zeroizing::new((0..64).map(|j| encode(j % 8 - 4, 3)).collect::<Vec<u64>>());
    /// let request = client.encrypt(&[numbers()], &encoding, 64)?;
    /// assert_ne!(request, client.encrypt(&[numbers()], &encoding, 64)?);
    ///
    /// let server = client.evaluation_keys(&Needs::default())?.prepare()?;
    /// let opened = request.open(&server, &encoding, 1)?[0].expand();
    /// let phase = &client.decrypt(&Answer::new(request.label(), vec![opened], 64), request.label(), 1)?[0];
    /// assert!(phase.iter().zip(0..).all(|(&x, j)| decode(x, 3) == j % 8 - 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        bits: u32,
    ) -> Result<Request, RandomnessError> {
        let mut seed = self.scope.request(self.requests, context, plaintexts.iter().map(|plaintext| &plaintext[..]))?;
        let (node, noise) = (Node::Arithmetic, self.parameters.arithmetic().noise);
        let (key, fft) = (self.of_ring(node), self.plan(node));
        let label = Label { identity: self.identity, context: *context, request: seed.masks() };
        let encrypt = |plaintext: &Zeroizing<Vec<u64>>| {
            let mut ciphertext = key.encrypt(fft, plaintext, noise, &mut seed);
            ciphertext.round(bits);
            ciphertext
        };
        Ok(Request { label, ciphertexts: plaintexts.iter().map(encrypt).collect(), bits })
    }

    /// The phases, plaintext and noise, of an answer of `count` ciphertexts to the request of which `request` is the label.
    ///
    /// # Errors
    /// If the answer is not one to this request, or the request not one of these keys, or the ciphertexts are not as many, or not of
    /// the arithmetic ring.
    pub fn decrypt(
        &self,
        answer: &Answer,
        request: &Label,
        count: usize,
    ) -> Result<Vec<Zeroizing<Vec<u64>>>, Mismatch> {
        self.check(answer, request, count)?;
        Ok(answer.ciphertexts.iter().map(|ciphertext| self.phase_of(ciphertext)).collect())
    }

    /// Checks that an answer is one of `count` ciphertexts to the request of which `request` is the label.
    fn check(&self, answer: &Answer, request: &Label, count: usize) -> Result<(), Mismatch> {
        const NAME: &str = "answer";
        answer.label.identity.check(&self.identity, NAME)?;
        request.identity.check(&self.identity, Request::NAME)?;
        if answer.label.context != request.context {
            return Err(Mismatch::Context(NAME));
        }
        if answer.label.request != request.request {
            return Err(Mismatch::Request);
        }
        let shapes = answer.ciphertexts.iter().map(GlweCiphertext::shape);
        check_ciphertexts(NAME, shapes, count, self.parameters.arithmetic().shape)
    }

    /// The phase of an LWE ciphertext under the key of `node`, or under what is extracted from it: of single numbers in the middle of a
    /// computation, which have no label that says whose they are. It is for whoever has both sides of one, and studies it.
    ///
    /// # Examples
    /// ```
    /// # use tfhe_core::derivation::ClientSeed;
    /// # use tfhe_core::keys::ClientKeys;
    /// # let set = tfhe_core::sets::TOY.compile()?;
    /// # let client = ClientKeys::generate(&set, &ClientSeed::from_system()?)?;
    /// // `set` is the set `toy`, `client` has keys of it.
    /// use tfhe_core::fingerprint::Fields;
    /// use tfhe_core::key_graph::Node;
    /// use tfhe_core::torus::{decode, encode};
    /// use zeroize::Zeroizing;
    ///
    /// let encoding = Fields::new("a polynomial of 6 bits to a coefficient").fingerprint();
    /// let request = client.encrypt(&[Zeroizing::new((0..64).map(|j| encode(j, 7)).collect())], &encoding, 64)?;
    /// let sample = request.ciphertexts()[0].expand().sample_extract(41);
    /// assert_eq!(decode(client.phase_of_sample(Node::Arithmetic, &sample), 7), 41);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If its dimension is not that of the key.
    pub fn phase_of_sample(&self, node: Node, sample: &LweCiphertext) -> u64 {
        self.extracted(node).phase(sample)
    }

    fn phase_of(&self, ciphertext: &GlweCiphertext) -> Zeroizing<Vec<u64>> {
        Zeroizing::new(self.of_ring(Node::Arithmetic).phase(self.plan(Node::Arithmetic), ciphertext))
    }

    /// Makes the evaluation keys that are needed.
    ///
    /// # Errors
    /// If the set has not what is needed.
    pub fn evaluation_keys(&self, needs: &Needs) -> Result<SeededEvaluationKeys, MissingEdge> {
        let keys = needs.of_set(&self.parameters)?.into_iter().map(|need| (need.edge, self.evaluation_key(need)));
        Ok(SeededEvaluationKeys { parameters: self.parameters.clone(), identity: self.identity, keys: keys.collect() })
    }

    fn evaluation_key(&self, need: Need) -> SeededKey {
        let Need { edge, gadget, subring_log } = need;
        let noise = |node| self.parameters.key(node).noise();
        let (purpose, index) = derivation(edge);
        let seed = self.scope.encryption(purpose, index);
        match edge {
            Edge::Keyswitch { from } => self.to_small(from, need, seed),
            Edge::Lift { from, to } => {
                let (fft, raised) = (self.plan(to), self.of_ring(from).in_larger_ring(self.plan(to)));
                let to = (self.of_ring(to), noise(to));
                SeededKey::GlweKeyswitch(SeededGlweKeyswitchKey::generate(fft, &raised, to.0, gadget, to.1, seed))
            }
            Edge::Automorphisms { ring, .. } => {
                let (fft, key, noise) = (self.plan(ring), self.of_ring(ring), noise(ring));
                let steps = subring_log + 1..=fft.polynomial_size().log2();
                let keys = SeededAutomorphismKeys::generate(fft, key, steps, gadget, noise, seed);
                SeededKey::Automorphisms(subring_log, keys)
            }
            Edge::Relinearization { ring } => {
                let (fft, key, noise) = (self.plan(ring), self.of_ring(ring), noise(ring));
                SeededKey::Relinearization(SeededRelinearizationKey::generate(fft, key, gadget, noise, seed))
            }
            Edge::Bootstrapping { gadget: index } => {
                let Bootstrap { ring, gadget, grouping } = self.parameters.bootstraps()[index];
                let (fft, from, key, noise) =
                    (self.plan(ring), self.extracted(Node::Small), self.of_ring(ring), noise(ring));
                let kind = (gadget, grouping);
                SeededKey::Bootstrapping(SeededBootstrappingKey::generate_grouped(fft, &from, key, kind, noise, seed))
            }
            Edge::ExternalProduct { .. } => unreachable!("needs have edges with keys alone"),
        }
    }

    fn to_small(&self, from: Node, need: Need, seed: EncryptionSeed) -> SeededKey {
        let (key, noise) = (self.extracted(from), self.parameters.small().noise());
        match self.secret(Node::Small) {
            SecretKey::Lwe(small) => {
                SeededKey::LweKeyswitch(SeededLweKeyswitchKey::generate(&key, small, need.gadget, noise, seed))
            }
            SecretKey::Glwe(small) => {
                let fft = self.plan(Node::Small);
                let shape = self.parameters.regrouped(key.dimension()).expect("the small key has a ring");
                let key = GlweSecretKey::from_lwe_key(&key, shape, fft);
                SeededKey::GlweKeyswitch(SeededGlweKeyswitchKey::generate(fft, &key, small, need.gadget, noise, seed))
            }
        }
    }
}

/// What an edge's key is encrypted with: no two edges share a pair.
fn derivation(edge: Edge) -> (Purpose, u64) {
    // A node's number is below 2^8, and so is that of a ring's gadget.
    let pair = |high: u64, low: u64| (high << 8) | low;
    match edge {
        Edge::Keyswitch { from } => (Purpose::Keyswitch, from as u64),
        Edge::Lift { from, to } => (Purpose::Lift, pair(from as u64, to as u64)),
        Edge::Automorphisms { ring, gadget } => (Purpose::Automorphisms, pair(gadget as u64, ring as u64)),
        Edge::Relinearization { ring } => (Purpose::Relinearization, ring as u64),
        Edge::Bootstrapping { gadget } => (Purpose::Bootstrapping, gadget as u64),
        Edge::ExternalProduct { .. } => unreachable!("external products have no key"),
    }
}

/// For tests, benches and comparisons, which measure noise and make keys of their own. A client needs none of it.
#[cfg(any(test, feature = "testing"))]
impl ClientKeys {
    /// The phase of a ciphertext under the arithmetic ring's key, whatever it belongs to.
    pub fn phase(&self, ciphertext: &GlweCiphertext) -> Zeroizing<Vec<u64>> {
        self.phase_of(ciphertext)
    }

    /// The plan of transforms in the ring of `node`.
    ///
    /// # Panics
    /// If its key is an LWE key.
    pub fn fft(&self, node: Node) -> &NegacyclicFft {
        self.plan(node)
    }

    /// The key of `node`, or of what is extracted from ciphertexts under it.
    pub fn lwe_key(&self, node: Node) -> LweSecretKey {
        self.extracted(node)
    }

    /// The GLWE key of `node`.
    ///
    /// # Panics
    /// If it is an LWE key.
    pub fn glwe_key(&self, node: Node) -> &GlweSecretKey {
        self.of_ring(node)
    }
}

impl std::fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientKeys({}, redacted)", self.parameters.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_edges_share_randomness() {
        let (nodes, gadgets) = (Node::ALL, 0..4);
        let of_node = |node| [Edge::Keyswitch { from: node }, Edge::Relinearization { ring: node }];
        let lifts = nodes.into_iter().flat_map(|from| nodes.map(|to| Edge::Lift { from, to }));
        let automorphisms =
            nodes.into_iter().flat_map(|ring| gadgets.clone().map(move |gadget| Edge::Automorphisms { ring, gadget }));
        let bootstraps = gadgets.clone().map(|gadget| Edge::Bootstrapping { gadget });
        let edges: Vec<Edge> =
            nodes.into_iter().flat_map(of_node).chain(lifts).chain(automorphisms).chain(bootstraps).collect();
        let derived: BTreeSet<_> = edges.iter().map(|&edge| derivation(edge)).collect();
        assert_eq!((derived.len(), edges.len()), (edges.len(), 3 * 2 + 3 * 3 + 3 * 4 + 4));
    }
}
