//! `tfhe-core` against the naive implementation of `integration_tests::reference`, on random inputs.
//!
//! [`exact`]: what is computed with integers, or with transforms whose results are rounded to integers, has to be the same to the last
//! bit. [`floating`]: what is computed in floating point has to be as far from it as predicted, and no nearer. [`keys`]: what keys
//! encrypt, by the phases of all their rows.
//!
//! Most products need no secret: rows and ciphertexts are uniform numbers, as those of real keys look to who has no key.

mod exact;
mod floating;
mod keys;

use integration_tests::reference::{Decomposition, Glwe, Polynomial, Ties, polynomials};
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
use tfhe_core::random::{EncryptionSeed, SampleSeed, SampleStream, SecretSeed};
use tfhe_core::simd::Backend;

/// Random inputs of every operation.
const INPUTS: usize = 1000;

const NOISE: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 24 };

fn gadget(base_log: u32, levels: u32, precision: Precision) -> Gadget {
    Gadget::new(base_log, levels, precision).unwrap()
}

/// What the reference decomposes as `decompose` does.
fn decomposition(gadget: Gadget) -> Decomposition {
    Decomposition { base_log: gadget.base_log(), levels: gadget.levels(), ties: Ties::Even }
}

/// Uniform numbers, the same in every run.
struct Draw(SampleStream);

impl Draw {
    fn new(number: u64) -> Self {
        Self(SampleSeed::from_number(number).stream(0))
    }

    fn words(&mut self, count: usize) -> Vec<u64> {
        let mut words = vec![0; count];
        self.0.fill_uniform(&mut words);
        words
    }

    fn bits(&mut self, count: usize) -> Vec<u64> {
        let mut bits = vec![0; count];
        self.0.fill_binary(&mut bits);
        bits
    }

    /// Below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        (self.0.uniform() % bound as u64) as usize
    }

    fn lwe(&mut self, dimension: usize) -> LweCiphertext {
        LweCiphertext::from_data(self.words(dimension + 1))
    }

    fn glwe(&mut self, shape: GlweShape) -> GlweCiphertext {
        GlweCiphertext::from_raw(shape, &self.words(shape.ciphertext_len())).unwrap()
    }
}

/// A ciphertext's polynomials.
fn parts(ciphertext: &GlweCiphertext) -> Glwe {
    polynomials(ciphertext.data(), ciphertext.shape().polynomial_size.get())
}

/// A ring, and a secret key in it whose bits are known.
struct Ring {
    shape: GlweShape,
    fft: NegacyclicFft,
    bits: Vec<u64>,
    key: GlweSecretKey,
}

impl Ring {
    fn new(k: usize, n: usize) -> Self {
        let shape = GlweShape::new(k, n).unwrap();
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let bits = Draw::new((k * 100_000 + n) as u64).bits(k * n);
        let key = GlweSecretKey::from_raw(&fft, shape, &bits).unwrap();
        Self { shape, fft, bits, key }
    }

    fn n(&self) -> usize {
        self.shape.polynomial_size.get()
    }

    fn columns(&self) -> usize {
        self.shape.dimension.get() + 1
    }

    /// What the reference decomposes as this ring's products do. Backends of vector instructions round and split as f64s where 51 bits
    /// are enough for all digits, and the rounding's ties are as their instructions have them.
    fn decomposition(&self, gadget: Gadget) -> Decomposition {
        let whole_as_reals = 51 / gadget.base_log() as usize >= gadget.levels();
        let ties = match self.fft.backend() {
            Backend::Avx2 if whole_as_reals => Ties::Up,
            Backend::Avx512 if whole_as_reals => Ties::Twice,
            _ => Ties::Even,
        };
        Decomposition { ties, ..decomposition(gadget) }
    }

    /// S_1 … S_k.
    fn polynomials(&self) -> Vec<Polynomial> {
        polynomials(&self.bits, self.n())
    }
}

fn lwe_key(bits: &[u64]) -> LweSecretKey {
    LweSecretKey::from_raw(bits).unwrap()
}

/// Randomness number `index` for a key.
fn own(index: u64) -> EncryptionSeed {
    SecretSeed::from_number(2026).experiment(index)
}

/// That both have the same numbers; otherwise how many differ, and by how much.
#[track_caller]
fn assert_same(found: &[u64], expected: &[u64], what: std::fmt::Arguments<'_>) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differences = found.iter().zip(expected).map(|(x, y)| x.wrapping_sub(*y) as i64).filter(|&d| d != 0);
    let largest = differences.clone().map(i64::unsigned_abs).max();
    assert_eq!(largest, None, "{what}: {} of {} numbers differ, by this at most", differences.count(), found.len());
}

/// Nothing of `tfhe-core` is in it, and it can be read in one go.
#[test]
fn the_reference_stands_alone() {
    let source = include_str!("../../src/reference.rs");
    let code = source.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let imports: Vec<&str> = code.filter(|line| line.starts_with("use ") || line.contains("tfhe_core")).collect();
    assert_eq!(imports, Vec::<&str>::new());
    assert!(source.lines().count() <= 400);
}
