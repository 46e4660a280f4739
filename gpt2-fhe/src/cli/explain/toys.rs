//! Keys small enough to be printed, and who owns them.
//!
//! Everything is made and computed by `tfhe_core`, and then rounded to 16 bits, as messages are rounded before they are sent: so every number
//! of a lesson is a whole number of ticks, and sums can be done again by hand. What rounding adds is noise, and predictions count it.

use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::fingerprint::Fields;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Node::{self, Arithmetic, Lookup, Small};
use tfhe_core::key_graph::{Edge, KeyLiteral, Parameters, ParametersLiteral, ShapeLiteral};
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::keyswitch::LweKeyswitchKey;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise;
use tfhe_core::params::NoiseDistribution::TUniform;
use tfhe_core::params::Precision::{Single, Split};
use tfhe_core::params::{Gadget, GlweShape, Grouping, LweDimension};
use tfhe_core::torus;
use tfhe_core::variance::Variance;
use zeroize::Zeroizing;

use super::numbers::BITS;

/// The names of the one ring.
const RING: &[Node] = &[Lookup, Arithmetic];

const fn keys(n: usize, size: usize, bound_log: u32) -> [KeyLiteral; 2] {
    let noise = TUniform { bound_log };
    [
        KeyLiteral { nodes: &[Small], shape: ShapeLiteral::Lwe(n), noise },
        KeyLiteral { nodes: RING, shape: ShapeLiteral::Glwe(1, size), noise },
    ]
}

/// Polynomials of 8 coefficients, key switches to 4 bits. **Insecure.** Noise of up to a tick.
pub(super) const OF_8: ParametersLiteral = ParametersLiteral {
    name: "toy_8",
    keys: &keys(4, 8, 64 - BITS),
    keyswitches: &[(Lookup, (4, 3, Single))],
    bootstraps: &[(Lookup, (4, 3, Split), Grouping::One)],
    automorphisms: &[],
    relinearizations: &[],
    lifts: &[],
    external_products: &[],
};

/// The same with noise of up to 512 ticks, for a lesson that has nothing but fresh ciphertexts. **Insecure.**
pub(super) const LOUD: ParametersLiteral =
    ParametersLiteral { name: "toy_8_loud", keys: &keys(4, 8, 64 - BITS + 9), ..OF_8 };

/// Polynomials of 16 coefficients, key switches to 6 bits: tables of 4 values. **Insecure.**
pub(super) const OF_16: ParametersLiteral = ParametersLiteral {
    name: "toy_16",
    keys: &keys(6, 16, 64 - BITS),
    bootstraps: &[(Lookup, (4, 4, Split), Grouping::One)],
    ..OF_8
};

/// The owner of toy keys, who looks at what nobody else can see.
pub(super) struct Toy {
    parameters: Parameters,
    client: ClientKeys,
    fft: NegacyclicFft,
    small_bits: Vec<u64>,
    ring_bits: Vec<u64>,
}

impl Toy {
    /// Keys from a number. Their small key has both a 0 and a 1: where it has not, others are drawn.
    ///
    /// # Errors
    /// That this CPU cannot compute with the backend that was chosen.
    pub(super) fn new(literal: ParametersLiteral, seed: u64) -> anyhow::Result<Self> {
        let parameters = literal.compile()?;
        let fft = NegacyclicFft::new(parameters.lookup().size());
        let mut attempt = 0;
        loop {
            let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(seed).bound_to("lesson", attempt))?;
            let bits = |node| bits(&client, node, parameters.key(node).lwe_dimension());
            let (small_bits, ring_bits) = (bits(Small), bits(Lookup));
            if [0, 1].iter().all(|bit| small_bits.contains(bit)) {
                return Ok(Self { parameters, client, fft, small_bits, ring_bits });
            }
            attempt += 1;
        }
    }

    /// k and N.
    pub(super) fn shape(&self) -> GlweShape {
        self.parameters.lookup().shape
    }

    /// N.
    pub(super) fn size(&self) -> usize {
        self.shape().polynomial_size.get()
    }

    /// n.
    pub(super) fn dimension(&self) -> LweDimension {
        self.parameters.small().lwe_dimension()
    }

    /// The bits of the small key.
    pub(super) fn small_bits(&self) -> &[u64] {
        &self.small_bits
    }

    /// The coefficients of the ring's key.
    pub(super) fn ring_bits(&self) -> &[u64] {
        &self.ring_bits
    }

    /// The transforms.
    pub(super) fn fft(&self) -> &NegacyclicFft {
        &self.fft
    }

    /// A fresh encryption of a polynomial, for a purpose.
    ///
    /// # Errors
    /// That there is no randomness.
    pub(super) fn encrypt(&self, what: &str, plaintext: &[u64]) -> anyhow::Result<GlweCiphertext> {
        let context = Fields::new("lesson").name(what).fingerprint();
        let request = self.client.encrypt(&[Zeroizing::new(plaintext.to_vec())], &context, torus::MODULUS_LOG)?;
        let mut ciphertext = request.ciphertexts()[0].expand();
        ciphertext.round(BITS);
        Ok(ciphertext)
    }

    /// The phase of an LWE ciphertext, under the small key or that of the ring.
    pub(super) fn phase_of(&self, node: Node, ciphertext: &LweCiphertext) -> u64 {
        self.client.phase_of_sample(node, ciphertext)
    }

    /// The phase of a GLWE ciphertext.
    pub(super) fn phase(&self, ciphertext: &GlweCiphertext) -> Vec<u64> {
        (0..self.size()).map(|place| self.phase_of(Lookup, &ciphertext.sample_extract(place))).collect()
    }

    /// Variance of the noise of a fresh ciphertext of the ring, or a row of a key under it.
    pub(super) fn fresh(&self) -> Variance {
        self.parameters.lookup().noise.variance() + noise::rounded_ciphertext(self.shape(), BITS)
    }

    /// (β, ℓ) of external products.
    pub(super) fn gadget(&self) -> Gadget {
        self.parameters.bootstraps()[0].gadget
    }

    /// The rows `[k+1][ℓ][k+1][N]` of the GGSW encryption of each bit of the small key.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn ggsw_rows(&self) -> anyhow::Result<Vec<Vec<u64>>> {
        let keys = self.client.evaluation_keys(&Needs::default().bootstrapping(0))?;
        Ok(keys.bootstrapping_key(0)?.to_raw().map(rounded).collect())
    }

    /// A GGSW ciphertext, ready for products, of its rows.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn ggsw(&self, rows: &[u64]) -> anyhow::Result<FourierGgsw> {
        Ok(FourierGgsw::from_raw(&self.fft, self.shape(), self.gadget(), rows)?)
    }

    /// (β, ℓ) of the key switch.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn keyswitch_gadget(&self) -> anyhow::Result<Gadget> {
        Ok(self.parameters.gadget(Edge::Keyswitch { from: Lookup })?)
    }

    /// The rows `[kN][ℓ][n+1]` of the key-switching key.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn keyswitch_rows(&self) -> anyhow::Result<Vec<u64>> {
        let keys = self.client.evaluation_keys(&Needs::default().keyswitch(Lookup))?;
        Ok(rounded(keys.lwe_keyswitch(Lookup)?.to_raw()))
    }

    /// The key-switching key of its rows.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn keyswitch(&self, rows: Vec<u64>) -> anyhow::Result<LweKeyswitchKey> {
        let from = self.parameters.lookup().lwe_dimension();
        Ok(LweKeyswitchKey::from_raw(from, self.dimension(), self.keyswitch_gadget()?, rows)?)
    }

    /// Variance of what the key switch adds.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn keyswitch_noise(&self) -> anyhow::Result<Variance> {
        let rounding = noise::rounded_body(BITS).repeated(1.0 + self.dimension().get() as f64 / 2.0);
        let key = self.parameters.small().noise().variance() + rounding;
        Ok(noise::lwe_keyswitch(self.keyswitch_gadget()?, self.parameters.lookup().lwe_dimension(), key))
    }
}

/// To 16 bits.
fn rounded(mut rows: Vec<u64>) -> Vec<u64> {
    rows.iter_mut().for_each(|x| *x = torus::round(*x, BITS));
    rows
}

/// The bits of a key: the phase of a ciphertext whose mask is a unit vector is minus one of them.
fn bits(client: &ClientKeys, node: Node, dimension: LweDimension) -> Vec<u64> {
    let bit = |i: usize| {
        let unit = (0..=dimension.get()).map(|j| u64::from(i == j)).collect();
        client.phase_of_sample(node, &LweCiphertext::from_data(unit)).wrapping_neg()
    };
    (0..dimension.get()).map(bit).collect()
}
