//! Both parties of one parameter set: what operations do to ciphertexts is decrypted by the key that they are under.
//!
//! Inputs are uniform torus elements: a ciphertext looks so, whatever is encrypted, and has a phase under any key. What an operation makes of
//! this phase is known, so its noise is the difference.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use rayon::prelude::*;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{Node, Parameters};
use tfhe_core::keys::{Answer, ClientKeys, EvaluationKeys, Label, Needs};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::modulus_switch::ModulusSwitchedLwe;
use tfhe_core::params::{GlweShape, PolynomialSize};
use tfhe_core::random::{SampleSeed, SampleStream};
use tfhe_core::rounding::Transforms;
use tfhe_core::torus;
use zeroize::Zeroizing;

use super::error::AuditError;

/// Secret keys that are made for an audit and thrown away, and where inputs are drawn from.
pub(super) struct AuditBench {
    pub(super) parameters: Parameters,
    pub(super) client: ClientKeys,
    label: Label,
    /// Of the keys that were looked at, by the first of their names.
    bits: BTreeMap<Node, Zeroizing<Vec<u64>>>,
    samples: SampleStream,
}

impl AuditBench {
    pub(super) fn new(parameters: &Parameters, seed: &ClientSeed, samples: &SampleSeed) -> Result<Self, AuditError> {
        let client = ClientKeys::generate(parameters, &seed.bound_to("audit", 0))?;
        let label = encrypted_zeros(&client, 1, 0)?.label().clone();
        let (parameters, samples) = (parameters.clone(), samples.stream(0));
        Ok(Self { parameters, client, label, bits: BTreeMap::new(), samples })
    }

    /// The set's name.
    pub(super) fn name(&self) -> &'static str {
        self.parameters.name()
    }

    /// Evaluation keys, of as few edges as are measured at once: all of them together do not fit everywhere.
    pub(super) fn keys(&self, needs: &Needs) -> Result<EvaluationKeys, AuditError> {
        Ok(self.client.evaluation_keys(needs)?.prepare()?)
    }

    /// The rounding errors of this CPU's transforms in a ring.
    pub(super) fn transforms(size: PolynomialSize) -> Transforms {
        NegacyclicFft::new(size).transforms()
    }

    /// Uniform torus elements.
    pub(super) fn uniform(&mut self, count: usize) -> Vec<u64> {
        let mut elements = vec![0; count];
        self.samples.fill_uniform(&mut elements);
        elements
    }

    /// A number from 0 to `limit` − 1.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.samples.uniform() % limit as u64) as usize
    }

    /// Uniform LWE ciphertexts under the key of `node`.
    pub(super) fn lwes(&mut self, node: Node, count: usize) -> Vec<LweCiphertext> {
        let n = self.parameters.key(node).lwe_dimension().get();
        (0..count).map(|_| LweCiphertext::from_data(self.uniform(n + 1))).collect()
    }

    /// A uniform GLWE ciphertext.
    pub(super) fn glwe(&mut self, shape: GlweShape) -> Result<GlweCiphertext, AuditError> {
        Ok(GlweCiphertext::from_raw(shape, &self.uniform(shape.ciphertext_len()))?)
    }

    /// The phases of LWE ciphertexts.
    pub(super) fn phases(&self, node: Node, ciphertexts: &[LweCiphertext]) -> Vec<u64> {
        ciphertexts.par_iter().map(|ciphertext| self.client.phase_of_sample(node, ciphertext)).collect()
    }

    /// The phase of a GLWE ciphertext of a ring.
    pub(super) fn phase(&self, node: Node, ciphertext: &GlweCiphertext) -> Result<Vec<u64>, AuditError> {
        if self.parameters.key(node).nodes().contains(&Node::Arithmetic) {
            let answer = Answer::new(&self.label, vec![ciphertext.clone()], torus::MODULUS_LOG);
            let phases = self.client.decrypt(&answer, &self.label, 1)?;
            return Ok(phases[0].to_vec());
        }
        let size = ciphertext.shape().polynomial_size.get();
        let coefficient = |j| self.client.phase_of_sample(node, &ciphertext.sample_extract(j));
        Ok((0..size).into_par_iter().map(coefficient).collect())
    }

    /// Fresh encryptions of zero under the arithmetic ring's key. With keys from a number, each `salt` gives others.
    pub(super) fn zeros(&self, count: usize, salt: u64) -> Result<Vec<GlweCiphertext>, AuditError> {
        let request = encrypted_zeros(&self.client, count, salt)?;
        Ok(request.ciphertexts().iter().map(tfhe_core::glwe::SeededGlweCiphertext::expand).collect())
    }

    /// A fresh encryption under the arithmetic ring's key.
    pub(super) fn encrypt(&self, plaintext: &[u64], salt: u64) -> Result<GlweCiphertext, AuditError> {
        let plaintext = Zeroizing::new(plaintext.to_vec());
        let request = self.client.encrypt(&[plaintext], &context(salt), torus::MODULUS_LOG)?;
        Ok(request.ciphertexts()[0].expand())
    }

    /// The bits of a key.
    pub(super) fn bits(&mut self, node: Node) -> &[u64] {
        let key = self.parameters.key(node);
        let (name, n) = (key.node(), key.lwe_dimension().get());
        let client = &self.client;
        self.bits
            .entry(name)
            .or_insert_with(|| Zeroizing::new((0..n).into_par_iter().map(|i| bit(client, name, n, i)).collect()))
    }

    /// By how many of 2N steps a blind rotation turns.
    pub(super) fn rotation(&mut self, switched: &ModulusSwitchedLwe, size: PolynomialSize) -> usize {
        let turn = 2 * size.get();
        let sum: usize = switched.mask().iter().zip(self.bits(Node::Small)).map(|(&a, &s)| a * s as usize).sum();
        (turn - switched.body() + sum) % turn
    }
}

/// Bit i of a key of n: the phase of a ciphertext whose mask is a unit vector is minus that.
pub(super) fn bit(client: &ClientKeys, node: Node, n: usize, i: usize) -> u64 {
    let mut unit = vec![0; n + 1];
    unit[i] = 1;
    client.phase_of_sample(node, &LweCiphertext::from_data(unit)).wrapping_neg()
}

/// Of a number of the encryption: keys from a number would encrypt zeros the same each time.
fn context(salt: u64) -> Fingerprint {
    Fields::new("audit").integer(salt).fingerprint()
}

fn encrypted_zeros(client: &ClientKeys, count: usize, salt: u64) -> Result<tfhe_core::keys::Request, AuditError> {
    let zeros = vec![Zeroizing::new(vec![0; client.parameters().arithmetic().size().get()]); count];
    Ok(client.encrypt(&zeros, &context(salt), torus::MODULUS_LOG)?)
}

/// Differences of torus elements, as real numbers in [−1/2, 1/2).
pub fn errors<X: Borrow<u64>>(phases: &[u64], expected: impl IntoIterator<Item = X>) -> Vec<f64> {
    phases.iter().zip(expected).map(|(&phase, x)| torus::to_f64(phase.wrapping_sub(*x.borrow()))).collect()
}
