//! Automorphisms X -> X^g of GLWE ciphertexts, the trace, and packing by them.
//!
//! σ_g maps a ciphertext under S to one under S(X^g); a key switch brings it back to S. With g_l = 2^l + 1 for
//! 1 ≤ l ≤ log2 N, the product of all (1 + σ_{g_l}) is the trace: it multiplies the constant coefficient by N and
//! clears all others. Merging two ciphertexts before each such step packs many constant coefficients into one ciphertext
//! for one key switch each (Chen, Dai, Kim, Song, ACNS 2021, ePrint 2020/015, Algorithms 1–3).
//!
//! # Subrings and cosets
//! σ_{g_l} fixes X^s for every multiple s of N/2^(l−1), and changes the sign of X^(N/2^l). So the steps l > m alone keep the
//! coefficients of the subring Z\[Y\], Y = X^(N/2^m), instead of the constant one, and the ring is the sum of the *cosets*
//! X^i·Z\[Y\], 0 ≤ i < N/2^m. [`AutomorphismKeys::pack_cosets`] puts elements of Z\[Y\] into cosets of their own,
//! [`AutomorphismKeys::split_cosets`] takes them out again.
//!
//! # Expansion
//! A client that has few numbers for each of many ciphertexts sends one that is full of them. [`AutomorphismKeys::expand`] makes the many of
//! it, as servers of private information retrieval expand queries (Angel, Chen, Laine, Setty, SEALPIR, IEEE S&P 2018, ePrint 2017/1142,
//! section 3.3). It is the splitting of cosets without the division before, which the client does when it encrypts.
//!
//! In the book: [chapter 6, key switching and packing](../../../book/06-key-switching-and-packing.html).

use std::ops::RangeInclusive;

use rayon::prelude::*;

use crate::fft::NegacyclicFft;
use crate::gadget_product::{FourierRows, GadgetScratch};
use crate::glwe::GlweCiphertext;
use crate::params::GlweShape;
use crate::polynomial;
use crate::rows::SeededRows;

#[cfg(feature = "secret-keys")]
mod secret;

/// Key-switching keys of automorphisms g_l = 2^l + 1 for some range of l in 1 ..= log2 N, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededAutomorphismKeys {
    /// The l of the first key.
    first: u32,
    keys: Vec<SeededRows>,
}

impl SeededAutomorphismKeys {
    /// Of the rows of each key, from that of l = `first` on.
    pub(crate) fn from_rows(first: u32, keys: Vec<SeededRows>) -> Self {
        Self { first, keys }
    }

    /// The rows of each key.
    pub(crate) fn rows(&self) -> &[SeededRows] {
        &self.keys
    }

    /// Transforms the keys for use with plan `fft`.
    pub fn prepare(&self, fft: &NegacyclicFft) -> AutomorphismKeys {
        let keys = self.keys.iter().map(|key| key.prepare(fft)).collect();
        AutomorphismKeys { fft: fft.clone(), first: self.first, keys }
    }
}

/// g_l = 2^l + 1.
fn galois_element(l: u32) -> usize {
    (1 << l) + 1
}

/// Key-switching keys of the automorphisms g_l, ready for use.
#[derive(Clone, Debug)]
pub struct AutomorphismKeys {
    fft: NegacyclicFft,
    /// The l of the first key.
    first: u32,
    keys: Vec<FourierRows>,
}

impl AutomorphismKeys {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.keys.iter().map(FourierRows::bytes).sum()
    }

    /// Whether they are all automorphisms of the trace, of ciphertexts of this shape.
    pub(crate) fn are_complete_for(&self, shape: GlweShape) -> bool {
        let of_shape = |key: &FourierRows| key.inputs() == shape.dimension.get();
        self.fft.polynomial_size() == shape.polynomial_size
            && (self.first, self.keys.len()) == (1, shape.polynomial_size.log2() as usize)
            && self.keys.iter().all(of_shape)
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> GadgetScratch {
        self.keys[0].scratch(&self.fft)
    }

    /// The ciphertext of M(X^(2^l + 1)). One key switch.
    ///
    /// # Examples
    /// X ↦ X^g in every polynomial, and a key switch back from S(X^g) to S: coefficients change places without being
    /// decrypted.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::automorphism::SeededAutomorphismKeys;
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(8, 4, Precision::Single)?;
    /// let keys = SeededAutomorphismKeys::generate(&fft, &key, 1..=10, gadget, noise, own).prepare(&fft);
    ///
    /// // 3 + 2X under X ↦ X^(2^2 + 1).
    /// let mut plaintext = vec![0; 1024];
    /// (plaintext[0], plaintext[1]) = (encode(3, 4), encode(2, 4));
    /// let input = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let phase = key.phase(&fft, &keys.automorphism(&input, 2, &mut keys.scratch()));
    /// assert_eq!([phase[0], phase[1], phase[5]].map(|x| decode(x, 4)), [3, 0, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If there is no key for l.
    pub fn automorphism(&self, ciphertext: &GlweCiphertext, l: u32, scratch: &mut GadgetScratch) -> GlweCiphertext {
        let image = ciphertext.map_polynomials(|x, y| polynomial::automorphism(x, galois_element(l), y));
        let mut out = GlweCiphertext::zero(ciphertext.shape());
        out.body_mut().copy_from_slice(image.body());
        self.keys[(l - self.first) as usize].add_product(&self.fft, image.mask(), out.data_mut(), scratch);
        out
    }

    /// The steps (1 + σ_{g_l}) for the given l. For l from m + 1 to log2 N: keeps the coefficients whose index is a multiple of
    /// N/2^m, multiplied by 2^(log2 N − m), and clears the others; m = 0 is the full trace.
    ///
    /// # Examples
    /// A ciphertext plus its images: what changes its sign cancels, what does not doubles. After log2 N steps the constant
    /// coefficient is left alone, N times.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::automorphism::SeededAutomorphismKeys;
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(8, 4, Precision::Single)?;
    /// let keys = SeededAutomorphismKeys::generate(&fft, &key, 1..=10, gadget, noise, own).prepare(&fft);
    ///
    /// let mut plaintext = vec![encode(1, 3); 1024];
    /// // Times N = 2^10 it will be 3/2^4.
    /// plaintext[0] = encode(3, 14);
    /// let input = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let phase = key.phase(&fft, &keys.trace(&input, 1..=10));
    /// assert_eq!(decode(phase[0], 4), 3);
    /// assert!(phase[1..].iter().all(|&x| decode(x, 4) == 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If there is no key for a step.
    pub fn trace(&self, ciphertext: &GlweCiphertext, steps: RangeInclusive<u32>) -> GlweCiphertext {
        let scratch = &mut self.scratch();
        let mut sum = ciphertext.clone();
        for l in steps {
            let image = self.automorphism(&sum, l, scratch);
            sum.add_scaled(&image, 1);
        }
        sum
    }

    /// Packs constant coefficients: input i's goes to coefficient i·N/H, H being the number of inputs; all other
    /// coefficients become zero. `None` is a zero. About H + log2 N key switches, a level's in parallel.
    ///
    /// # Examples
    /// Two inputs: the constant coefficient of the first to place 0, of the second to place N/2. Where the packing key switch
    /// needs a key for each LWE bit, this needs one for each of log2 N steps.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::automorphism::SeededAutomorphismKeys;
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(8, 4, Precision::Single)?;
    /// let keys = SeededAutomorphismKeys::generate(&fft, &key, 1..=10, gadget, noise, own).prepare(&fft);
    ///
    /// let inputs = [3, -2].map(|m| Some(key.encrypt(&fft, &vec![encode(m, 4); 1024], noise, &mut seed).expand()));
    /// let phase = key.phase(&fft, &keys.pack(inputs.to_vec()));
    /// assert_eq!([phase[0], phase[1], phase[512], phase[513]].map(|x| decode(x, 4)), [3, 0, -2, 0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// As [`Self::pack_cosets`].
    pub fn pack(&self, inputs: Vec<Option<GlweCiphertext>>) -> GlweCiphertext {
        self.pack_cosets(inputs, 0)
    }

    /// Packs elements of Z\[Y\], Y = X^s with s = N/2^m: the result is Σ_i X^(i·s/H)·(the part in Z\[Y\] of input i), H being
    /// the number of inputs; what an input has outside Z\[Y\] is cleared. `None` is a zero. About H + log2 s key switches.
    ///
    /// Inputs are divided by s first, since the steps multiply by it.
    ///
    /// # Examples
    /// The trace may stop early: with m = 1 it keeps the coefficients of 1 and of Y = X^512. So two inputs of two
    /// coefficients each are packed, and taken apart again.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::automorphism::SeededAutomorphismKeys;
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(8, 4, Precision::Single)?;
    /// let keys = SeededAutomorphismKeys::generate(&fft, &key, 1..=10, gadget, noise, own).prepare(&fft);
    ///
    /// let inputs = [[1, 2], [3, -4]].map(|m| {
    ///     let mut plaintext = vec![encode(5, 4); 1024];
    ///     (plaintext[0], plaintext[512]) = (encode(m[0], 4), encode(m[1], 4));
    ///     Some(key.encrypt(&fft, &plaintext, noise, &mut seed).expand())
    /// });
    /// let packed = keys.pack_cosets(inputs.to_vec(), 1);
    /// let read = |ciphertext| {
    ///     let phase = key.phase(&fft, ciphertext);
    ///     [0, 256, 512, 768].map(|j| decode(phase[j], 4))
    /// };
    /// assert_eq!(read(&packed), [1, 3, 2, -4]);
    /// assert_eq!(keys.split_cosets(&packed, 1, 2).iter().map(read).collect::<Vec<_>>(), [[1, 0, 2, 0], [3, 0, -4, 0]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If H is not a power of two up to s, every input is `None`, or a key is missing.
    pub fn pack_cosets(&self, inputs: Vec<Option<GlweCiphertext>>, m: u32) -> GlweCiphertext {
        let log_n = self.fft.polynomial_size().log2();
        let count = inputs.len();
        assert!(count.is_power_of_two() && count.ilog2() + m <= log_n, "a power of two of inputs, at most N/2^m");
        let mut nodes = inputs;
        nodes.par_iter_mut().flatten().for_each(|input| input.divide_by_power_of_two(log_n - m));
        // Level l merges nodes j and j + H/2^(l−m), the latter moved by X^(N/2^l).
        let merged = m + count.ilog2();
        for l in m + 1..=merged {
            let half = nodes.len() / 2;
            let odd = nodes.split_off(half);
            nodes = nodes.into_par_iter().zip(odd).map(|(even, odd)| self.merge(even, odd, l)).collect();
        }
        let packed = nodes.pop().flatten().expect("at least one input");
        self.trace(&packed, merged + 1..=log_n)
    }

    /// The parts C_i of Σ_{i < H} X^(i·s/H)·C_i(X^s), s = N/2^m, each in Z\[X^s\]; what the ciphertext has beside them is cleared.
    /// The inverse of [`Self::pack_cosets`]. About H + log2 s key switches.
    ///
    /// # Panics
    /// If H is not a power of two up to s, or a key is missing.
    pub fn split_cosets(&self, ciphertext: &GlweCiphertext, m: u32, count: usize) -> Vec<GlweCiphertext> {
        let log_n = self.fft.polynomial_size().log2();
        assert!(count.is_power_of_two() && count.ilog2() + m <= log_n, "a power of two of parts, at most N/2^m");
        let mut whole = ciphertext.clone();
        whole.divide_by_power_of_two(log_n - m);
        let split = m + count.ilog2();
        self.split_all(self.trace(&whole, split + 1..=log_n), m + 1..=split, count)
    }

    /// The parts C_i, i < `count`, of Σ_{i < s} X^i·C_i(X^s), s = N/2^m, each times s and with nothing but noise outside of Z\[X^s\]. At
    /// most s − 1 key switches; few parts take fewer, about `count`·log2 s. For noise see [`crate::noise::Expansion`].
    ///
    /// # Examples
    /// A ciphertext of N = 1024 coefficients becomes 512 of two, and of these the first three. What is encrypted is divided by 512 beforehand.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::automorphism::SeededAutomorphismKeys;
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(8, 4, Precision::Split)?;
    /// // X ↦ X^(2^l + 1) for l > m = 1.
    /// let keys = SeededAutomorphismKeys::generate(&fft, &key, 2..=10, gadget, noise, own).prepare(&fft);
    ///
    /// let mut plaintext = vec![encode(5, 4 + 9); 1024];
    /// for (i, [first, second]) in [[1, 2], [3, -4], [0, 7]].into_iter().enumerate() {
    ///     (plaintext[i], plaintext[512 + i]) = (encode(first, 4 + 9), encode(second, 4 + 9));
    /// }
    /// let input = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let read = |part| {
    ///     let phase = key.phase(&fft, part);
    ///     [0, 1, 512, 513].map(|j| decode(phase[j], 4))
    /// };
    /// let parts = keys.expand(&input, 1, 3);
    /// assert_eq!(parts.iter().map(read).collect::<Vec<_>>(), [[1, 0, 2, 0], [3, 0, -4, 0], [0, 0, 7, 0]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If there are more than s parts, or a key is missing.
    pub fn expand(&self, ciphertext: &GlweCiphertext, m: u32, count: usize) -> Vec<GlweCiphertext> {
        let log_n = self.fft.polynomial_size().log2();
        assert!(count <= 1 << (log_n - m), "at most N/2^m parts");
        self.split_all(ciphertext.clone(), m + 1..=log_n, count)
    }

    /// The first `count` of the parts into which the given steps split a ciphertext, each times 2 for each step.
    fn split_all(&self, whole: GlweCiphertext, steps: RangeInclusive<u32>, count: usize) -> Vec<GlweCiphertext> {
        let mut parts = vec![whole];
        // The lowest bit of i first: the even parts, then the odd ones. Part r of 2^b is that of all i whose remainder is r.
        for l in steps.rev() {
            let (even, odd): (Vec<_>, Vec<_>) = parts.par_iter().map(|part| self.split(part, l)).unzip();
            parts = even;
            parts.extend(odd);
            parts.truncate(count);
        }
        parts
    }

    /// (E, O)·2 of E + X^(N/2^l)·O, where σ_{g_l} fixes E and O: C + σ_{g_l}(C), and (C − σ_{g_l}(C)) moved back.
    fn split(&self, whole: &GlweCiphertext, l: u32) -> (GlweCiphertext, GlweCiphertext) {
        let image = self.automorphism(whole, l, &mut self.scratch());
        let (mut even, mut difference) = (whole.clone(), whole.clone());
        even.add_scaled(&image, 1);
        difference.add_scaled(&image, -1);
        let n = whole.shape().polynomial_size.get();
        let odd = difference.map_polynomials(|x, y| polynomial::rotate(x, 2 * n - (n >> l), y));
        (even, odd)
    }

    /// (even + X^(N/2^l)·odd) + σ_{g_l}(even − X^(N/2^l)·odd): the odd part changes sign under σ_{g_l}, so both survive doubled.
    fn merge(&self, even: Option<GlweCiphertext>, odd: Option<GlweCiphertext>, l: u32) -> Option<GlweCiphertext> {
        let shape = even.as_ref().or(odd.as_ref())?.shape();
        let even = even.unwrap_or_else(|| GlweCiphertext::zero(shape));
        let (mut sum, mut difference) = (even.clone(), even);
        if let Some(odd) = odd {
            let shift = shape.polynomial_size.get() >> l;
            let moved = odd.map_polynomials(|x, y| polynomial::rotate(x, shift, y));
            sum.add_scaled(&moved, 1);
            difference.add_scaled(&moved, -1);
        }
        let image = self.automorphism(&difference, l, &mut self.scratch());
        sum.add_scaled(&image, 1);
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise;
    use crate::noise::tests::assert_variance;
    use crate::params::{Gadget, Precision};
    use crate::testing::Setup;
    use crate::torus;

    fn keys(setup: &Setup, gadget: Gadget) -> AutomorphismKeys {
        let keys = SeededAutomorphismKeys::generate(
            &setup.fft,
            &setup.key,
            1..=setup.key.shape().polynomial_size.log2(),
            gadget,
            setup.noise,
            setup.seed.experiment(9),
        );
        keys.prepare(&setup.fft)
    }

    #[test]
    fn trace_keeps_the_constant_coefficient_with_the_predicted_noise() {
        let setup = Setup::new(1, 512);
        let gadget = Gadget::new(8, 6, Precision::Split).unwrap();
        let keys = keys(&setup, gadget);
        let plaintext: Vec<u64> = (0..512_u64).map(|j| (j + 1) << 50).collect();
        let errors: Vec<f64> = (0..200)
            .map(|index| {
                let input = setup.encrypt(&plaintext, index);
                let kept = setup.key.phase(&setup.fft, &input)[0];
                let phase = setup.key.phase(&setup.fft, &keys.trace(&input, 1..=9));
                assert!(phase[1..].iter().all(|&x| torus::to_f64(x).abs() < 2f64.powi(-20)));
                torus::to_f64(phase[0].wrapping_sub(kept << 9))
            })
            .collect();
        let one = noise::glwe_keyswitch(gadget.on(setup.fft.transforms()), setup.key.shape(), setup.noise.variance());
        // 200 samples: one standard error of the variance is 10 %.
        assert_variance("trace", &errors, noise::trace(one, 9), 0.4);
    }

    #[test]
    fn packing_places_constant_coefficients() {
        let setup = Setup::new(1, 256);
        let keys = keys(&setup, Gadget::new(8, 6, Precision::Split).unwrap());
        for count in [1_usize, 2, 8, 256] {
            let inputs: Vec<_> = (0..count as u64)
                .map(|i| {
                    let plaintext: Vec<u64> = (0..256_u64).map(|j| (i + 3 * j + 1) << 54).collect();
                    (count == 1 || i % 5 != 1).then(|| setup.encrypt(&plaintext, i))
                })
                .collect();
            let phase = setup.key.phase(&setup.fft, &keys.pack(inputs));
            for (j, &x) in phase.iter().enumerate() {
                let i = j * count / 256;
                let present = j * count % 256 == 0 && (count == 1 || i % 5 != 1);
                let expected = if present { (i as u64 + 1) << 54 } else { 0 };
                let error = torus::to_f64(x.wrapping_sub(expected));
                assert!(error.abs() < 2f64.powi(-14), "{count} inputs, coefficient {j}: error {error}");
            }
        }
    }

    /// Cosets of Z[X^32] in N = 256 are taken apart, and put together again, whatever else the ciphertexts contain.
    #[test]
    fn cosets_are_packed_and_split() {
        let setup = Setup::new(1, 256);
        let keys = keys(&setup, Gadget::new(8, 6, Precision::Split).unwrap());
        let (m, s) = (3, 32);
        for count in [1_usize, 4, 32] {
            let plaintext: Vec<u64> = (0..256_u64).map(|j| (5 * j + 1) << 55).collect();
            let parts = keys.split_cosets(&setup.encrypt(&plaintext, count as u64), m, count);
            assert_eq!(parts.len(), count);
            let near = |x: u64, expected: u64| torus::to_f64(x.wrapping_sub(expected)).abs() < 2f64.powi(-14);
            for (i, part) in parts.iter().enumerate() {
                let phase = setup.key.phase(&setup.fft, part);
                for (j, &x) in phase.iter().enumerate() {
                    let expected = if j % s == 0 { plaintext[j + i * s / count] } else { 0 };
                    assert!(near(x, expected), "part {i} of {count}, coefficient {j}");
                }
            }
            let packed = keys.pack_cosets(parts.into_iter().map(Some).collect(), m);
            for (j, &x) in setup.key.phase(&setup.fft, &packed).iter().enumerate() {
                let expected = if j % (s / count) == 0 { plaintext[j] } else { 0 };
                assert!(near(x, expected), "packed {count}, coefficient {j}");
            }
        }
    }

    /// All coefficients of N = 256, 32 apart in ciphertexts of their own: all of them, few, or none.
    #[test]
    fn ciphertexts_are_expanded() {
        let setup = Setup::new(1, 256);
        let keys = keys(&setup, Gadget::new(8, 6, Precision::Split).unwrap());
        let (m, s) = (3, 32);
        let plaintext: Vec<u64> = (0..256_u64).map(|j| (5 * j + 1) << 50).collect();
        let input = setup.encrypt(&plaintext, 0);
        for count in [0, 1, 2, 5, 31, 32] {
            let parts = keys.expand(&input, m, count);
            assert_eq!(parts.len(), count);
            for (i, part) in parts.iter().enumerate() {
                for (j, &x) in setup.key.phase(&setup.fft, part).iter().enumerate() {
                    let expected = if j % s == 0 { plaintext[j + i] << 5 } else { 0 };
                    assert!(
                        torus::to_f64(x.wrapping_sub(expected)).abs() < 2f64.powi(-14),
                        "part {i}, coefficient {j}"
                    );
                }
            }
        }
        // A single one needs no key.
        assert_eq!(keys.expand(&input, 8, 1), [input]);
    }

    /// Parts of a ciphertext of the blocks' set, in the layout of heads of 64 channels: at coefficients that are kept, and at others.
    #[test]
    fn expansion_has_the_predicted_noise() {
        use crate::derivation::ClientSeed;
        use crate::key_graph::{Edge, Node};
        use crate::keys::{ClientKeys, Needs};
        use crate::random::SecretSeed;
        let (set, m) = (crate::sets::PACKED_BLOCK.compile().unwrap(), 5);
        let (ring, edge) = (set.arithmetic(), Edge::Automorphisms { ring: Node::Arithmetic, gadget: 0 });
        let client = ClientKeys::generate(&set, &ClientSeed::from_number(1)).unwrap();
        let server = client.evaluation_keys(&Needs::default().automorphisms(Node::Arithmetic, 0, m)).unwrap().prepare();
        let server = server.unwrap();
        let keys = server.automorphisms(Node::Arithmetic, 0, m).unwrap();
        let (key, fft) = (client.glwe_key(Node::Arithmetic), client.fft(Node::Arithmetic));
        let s = ring.size().get() >> m;
        let plaintext: Vec<u64> = (0..ring.size().get() as u64).map(|j| (j + 1) << 45).collect();
        let seed = &mut SecretSeed::from_number(2).experiment(0);
        let (mut kept, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..32 {
            let parts = keys.expand(&key.encrypt(fft, &plaintext, ring.noise, seed).expand(), m, s);
            for (i, part) in parts.iter().enumerate() {
                for (j, &x) in key.phase(fft, part).iter().enumerate() {
                    if j % s == 0 {
                        kept.push(torus::to_f64(x.wrapping_sub(plaintext[j + i].wrapping_mul(s as u64))));
                    } else {
                        beside.push(torus::to_f64(x));
                    }
                }
            }
        }
        let noise = noise::Expansion::new(
            set.gadget(edge).unwrap().on(fft.transforms()),
            ring.shape,
            ring.noise.variance(),
            ring.size().log2() - m,
        );
        // What a key switch rounds meets the key, whose bits are 1/2 on average: half of its energy is in few frequencies, and varies from key
        // switch to key switch. The first of each ciphertext counts for three quarters of the one and a third of the other.
        assert_variance("expanded, kept", &kept, noise.kept(ring.noise.variance()), 0.1);
        assert_variance("expanded, beside", &beside, noise.beside(), 0.1);
    }
}
