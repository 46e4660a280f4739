//! Lookups of more bits than one bootstrapping reads, up to twice as many, exactly, in two.
//!
//! One programmable bootstrapping reads a table of 2^p values reliably while half a slot, 1/2^(p+2) of the torus, is several
//! times the noise of the phase after key switch and modulus switch; for N = 4096 that ends at p = 5, for N = 2048 at 4
//! ([`narrow_bits`]). Here a table of w bits is read by two, neither of which needs more precision than that. With S = 2^(p+1):
//!
//! 1. **Low bits.** The input, scaled so that m mod S fills the whole torus in S slots, rotates the polynomial of ones. The result is
//!    multiplied, for every *box* h of W consecutive inputs, by a sparse integer polynomial, which gives the value of any
//!    chosen negacyclic function F_h at m mod S: many functions for one bootstrapping (Carpov, Izabachène, Mollimard, CT-RSA
//!    2019, section 4).
//! 2. **High bits.** These values, packed into one ciphertext with box h filled by F_h's, are the (encrypted) table of a
//!    second bootstrapping (Guimarães, Borin, Aranha, CHES 2021, the tree method), by the *unreduced* input.
//!
//! The second phase may be off by several inputs: box h's function is right not for the W inputs of the box only, but for
//! all S/2 inputs of a window around it, F_h(m mod S) = f(m) for W·h − a ≤ m < W·h + W + a with a = (S/2 − W)/2. Reading from a
//! neighbouring box is harmless as long as m lies in that box's window, that is, while the second phase's error is below
//! a + 1/2 inputs. No low digit has to be subtracted first, and no sign bit extracted: F_h(u + S/2) = −F_h(u), which the first
//! bootstrapping imposes, is no restriction, since a window contains only one of u and u + S/2.
//!
//! A function is f(m) for 0 ≤ m < 2^w, extended negacyclically: `f(m + 2^w) = −f(m)`.
//!
//! In the book: [chapter 8, wide lookups](../../../book/08-wide-lookups.html).

use std::ops::RangeInclusive;

use crate::automorphism::AutomorphismKeys;
use crate::glwe::GlweCiphertext;
use crate::noise::{self, Variance};
use crate::params::{GlweShape, PolynomialSize};
use crate::polynomial;

/// The ring's N over the number of slots on the whole torus, 2^(p+1), that one bootstrapping tells apart: as many coefficients to a slot
/// are several times the noise of the switches, of which the modulus switch's, with the LWE dimensions that are secure, has a standard
/// deviation of four to five.
const COEFFICIENTS_PER_SLOT_LOG: u32 = 6;

/// p, the bits of the widest table that one bootstrapping in a ring of this size reads: 5 for N = 4096, 4 for 2048.
///
/// That is for results of bootstrappings, and the LWE dimensions of the named sets; what a set's noise allows, a plan says.
///
/// # Examples
/// ```
/// use tfhe_core::params::PolynomialSize;
/// use tfhe_core::wide::{bits, narrow_bits};
/// let n = PolynomialSize::new(4096)?;
/// assert_eq!((narrow_bits(n), bits(n)), (5, 6..=10));
/// # Ok::<(), tfhe_core::params::ParameterError>(())
/// ```
pub fn narrow_bits(polynomial_size: PolynomialSize) -> u32 {
    low_bits(polynomial_size).saturating_sub(1)
}

/// log2 of S, the number of slots of the first bootstrapping on the whole torus.
fn low_bits(polynomial_size: PolynomialSize) -> u32 {
    polynomial_size.log2().saturating_sub(COEFFICIENTS_PER_SLOT_LOG)
}

/// The widths of the tables that two bootstrappings in a ring of this size read, w: from p + 1 to 2p.
pub fn bits(polynomial_size: PolynomialSize) -> RangeInclusive<u32> {
    let low = low_bits(polynomial_size);
    low..=2 * low.saturating_sub(1)
}

/// F_h of one box: c_h plus the function with the given differences.
#[derive(Clone, Debug, PartialEq, Eq)]
struct BoxFunction {
    /// Added in the clear, so that the function's jump from the end of its window to the negated beginning is small.
    constant: i64,
    /// (slot u, F(u) − F(u−1)), the non-zero ones in the window.
    differences: Vec<(usize, i64)>,
}

/// A table of 2^w integers, prepared for lookup in two bootstrappings.
///
/// # Examples
/// A table of 64 entries: the first bootstrapping gives, for every stretch of inputs, the value that it would have; the
/// second chooses the stretch.
/// ```
/// use tfhe_core::derivation::ClientSeed;
/// use tfhe_core::fingerprint::Fields;
/// use tfhe_core::key_graph::{KeyLiteral, Node, ParametersLiteral, ShapeLiteral};
/// use tfhe_core::keys::{Answer, ClientKeys, Needs};
/// use tfhe_core::sets;
/// use tfhe_core::torus::{decode, encode};
/// use tfhe_core::wide::WideTable;
/// use zeroize::Zeroizing;
///
/// // The toy set in a larger ring.
/// const KEYS: [KeyLiteral; 2] =
///     [sets::TOY.keys[0], KeyLiteral { shape: ShapeLiteral::Glwe(1, 1024), ..sets::TOY.keys[1] }];
/// let parameters = ParametersLiteral { keys: &KEYS, ..sets::TOY }.compile()?;
/// let ring = parameters.lookup();
/// let client = ClientKeys::generate(&parameters, &ClientSeed::from_system()?)?;
/// let needs = Needs::default().keyswitch(Node::Lookup).bootstrapping(0).automorphisms(Node::Lookup, 0, 0);
/// let server = client.evaluation_keys(&needs)?.prepare()?;
/// let square = |m: i64| (m - 32).pow(2) / 64;
/// let table = WideTable::new(&(0..64).map(square).collect::<Vec<_>>(), ring.size());
///
/// let mut plaintext = Zeroizing::new(vec![0; 1024]);
/// plaintext[0] = encode(41, 7);
/// let encoding = Fields::new("an index of 6 bits").fingerprint();
/// let request = client.encrypt(&[plaintext], &encoding, 64)?;
/// let input = request.open(&server, &encoding, 1)?[0].expand();
/// let (mut low, mut high) = (input.sample_extract(0), input.sample_extract(0));
/// low.scale(table.low_factor());
/// low.add_plaintext(table.low_offset());
/// high.add_plaintext(table.high_offset());
///
/// let (switched, key) = (server.keyswitch(Node::Lookup)?.keyswitch(&[low, high]), server.bootstrapping_key(0)?);
/// let ones = WideTable::low_accumulator(ring.shape, encode(1, 6));
/// let values = &key.blind_rotate(&switched[..1], &[&ones])[0];
/// let encrypted_table = table.high_accumulator(values, encode(1, 6), server.automorphisms(Node::Lookup, 0, 0)?);
/// let result = key.blind_rotate(&switched[1..], &[&encrypted_table]);
/// let answer = Answer::new(request.label(), result, 64);
/// assert_eq!(decode(client.decrypt(&answer, request.label(), 1)?[0][0], 6), square(41));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WideTable {
    bits: u32,
    low_bits: u32,
    box_log: u32,
    boxes: Vec<BoxFunction>,
}

impl WideTable {
    /// Prepares `values`, 2^w of them with w one of [`bits`], for a ring of this size.
    ///
    /// # Panics
    /// On another number of values.
    pub fn new(values: &[i64], polynomial_size: PolynomialSize) -> Self {
        let (width, widths, low_bits) = (values.len().ilog2(), bits(polynomial_size), low_bits(polynomial_size));
        assert!(values.len().is_power_of_two() && widths.contains(&width), "2^w values, w of {widths:?}");
        let box_log = box_log(width, polynomial_size);
        let count = values.len() as i64;
        let function = |m: i64| {
            let index = m.rem_euclid(2 * count);
            if index < count { values[index as usize] } else { -values[(index - count) as usize] }
        };
        let window = 1 << (low_bits - 1);
        let margin = (window - (1 << box_log)) / 2;
        let boxes =
            (0..count >> box_log).map(|h| BoxFunction::new(&function, (h << box_log) - margin, window)).collect();
        Self { bits: width, low_bits, box_log, boxes }
    }

    /// The inputs of a window: half of the slots.
    fn window(&self) -> i64 {
        1 << (self.low_bits - 1)
    }

    /// w.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The number of boxes: ciphertexts packed between the two bootstrappings.
    pub fn boxes(&self) -> usize {
        self.boxes.len()
    }

    /// F_h(u): what box h holds after a first bootstrapping that read slot u.
    ///
    /// # Examples
    /// The box of an input has the table's value there, and so have its neighbours near it. Slots are inputs modulo 2^(p+1), 8 here.
    /// ```
    /// use tfhe_core::params::PolynomialSize;
    /// use tfhe_core::wide::WideTable;
    ///
    /// // The table of chapter 8 of the book. Boxes are of two inputs.
    /// let table = WideTable::new(&[0, 1, 1, 2, 2, 3, 3, 3], PolynomialSize::new(512)?);
    /// assert_eq!([1, 2, 3, 4].map(|m| table.evaluate(1, m)), [1, 1, 2, 2]);
    /// assert_eq!([3, 4, 5, 6].map(|m| table.evaluate(2, m)), [2, 2, 3, 3]);
    /// # Ok::<(), tfhe_core::params::ParameterError>(())
    /// ```
    ///
    /// # Panics
    /// If there is no box h.
    pub fn evaluate(&self, h: usize, u: usize) -> i64 {
        // (1 − X)^(−1) = ½·Σ X^j: a difference d at slot v adds d/2 to the half circle from v on and −d/2 to the other.
        let function = &self.boxes[h];
        let window = self.window() as usize;
        let sign = |v: usize| if (u + 2 * window - v) % (2 * window) < window { 1 } else { -1 };
        function.differences.iter().map(|&(v, d)| sign(v) * d).sum::<i64>() / 2 + function.constant
    }

    /// By what the input, at scale 1/2^(w+1), is multiplied for the first bootstrapping.
    pub fn low_factor(&self) -> i64 {
        1 << (self.bits + 1 - self.low_bits)
    }

    /// What is added to the scaled input for the first bootstrapping: half a slot.
    pub fn low_offset(&self) -> u64 {
        1 << (63 - self.low_bits)
    }

    /// The slot, of S on the whole torus, in which a phase for the first bootstrapping lies.
    pub fn low_slot(&self, phase: u64) -> usize {
        (phase >> (64 - self.low_bits)) as usize
    }

    /// What is added to the input for the second: half an input, 1/2^(w+2).
    pub fn high_offset(&self) -> u64 {
        1 << (62 - self.bits)
    }

    /// The polynomial that the first bootstrapping rotates: Δ/2 everywhere, for results at scale `delta` = Δ.
    ///
    /// It is Δ/(1 − X), since `(1 − X)·Σ X^j = 2`: multiplied by a function's differences it gives the function.
    pub fn low_accumulator(shape: GlweShape, delta: u64) -> GlweCiphertext {
        GlweCiphertext::trivial(shape, &vec![delta / 2; shape.polynomial_size.get()])
    }

    /// The encrypted table of the second bootstrapping, from the result of the first.
    pub fn high_accumulator(&self, low: &GlweCiphertext, delta: u64, keys: &AutomorphismKeys) -> GlweCiphertext {
        let n = low.shape().polynomial_size.get();
        let slot = n / self.window() as usize;
        let width = n / self.boxes.len();
        let inputs = self
            .boxes
            .iter()
            .map(|function| {
                if function.differences.is_empty() {
                    return None;
                }
                let mut product = GlweCiphertext::zero(low.shape());
                for &(u, difference) in &function.differences {
                    let moved = low.map_polynomials(|x, y| polynomial::rotate(x, u * slot, y));
                    product.add_scaled(&moved, difference);
                }
                Some(product)
            })
            .collect::<Vec<_>>();
        let mut table = if inputs.iter().all(Option::is_none) {
            GlweCiphertext::zero(low.shape())
        } else {
            keys.pack(inputs).map_polynomials(|x, y| polynomial::spread(x, width, y))
        };
        for (function, body) in self.boxes.iter().zip(table.body_mut().chunks_exact_mut(width)) {
            let constant = delta.wrapping_mul(function.constant as u64);
            body.iter_mut().for_each(|x| *x = x.wrapping_add(constant));
        }
        table
    }

    /// The largest sum of the squares of a box's differences: what the first bootstrapping's noise variance is multiplied by.
    pub fn amplification(&self) -> f64 {
        let norm = |function: &BoxFunction| function.differences.iter().map(|&(_, d)| (d * d) as f64).sum();
        self.boxes.iter().map(norm).fold(0.0, f64::max)
    }

    /// How far off the second phase may be: a + 1/2 inputs, as a fraction of the torus.
    pub fn high_tolerance(&self) -> f64 {
        let margin = (self.window() - (1 << self.box_log)) / 2;
        (margin as f64 + 0.5) / 2f64.powi(self.bits as i32 + 1)
    }

    /// How far off the first phase may be: half a slot.
    pub fn low_tolerance(&self) -> f64 {
        2f64.powi(-(self.low_bits as i32) - 1)
    }

    /// Variance of the encrypted table's entries, given those of the first bootstrapping's result and of one automorphism's
    /// key switch.
    ///
    /// The trace leaves (4^d−1)/3 times the latter at the kept coefficients, and about 2^d times it, on average, over all
    /// coefficients, of which a box sums up `width`; the division by N before it adds rounding errors that the trace
    /// multiplies by N: (1 + kN/2)/12 units of 2^-128, times N².
    pub fn table_variance(&self, low: Variance, automorphism: Variance, shape: GlweShape) -> Variance {
        let steps = shape.polynomial_size.log2();
        let n = shape.polynomial_size.get() as f64;
        let width = n / self.boxes.len() as f64;
        low.repeated(self.amplification())
            + noise::trace(automorphism, steps)
            + automorphism.repeated(n * width)
            + noise::division(shape, steps)
    }
}

/// log2 W: wide boxes, half a window, mean few ciphertexts to pack, narrow ones more tolerance where inputs are finely spaced.
fn box_log(width: u32, polynomial_size: PolynomialSize) -> u32 {
    let half = low_bits(polynomial_size) - 2;
    if width < *bits(polynomial_size).end() { half } else { half.min(2) }
}

impl BoxFunction {
    /// The function that agrees with `function` on the window of so many inputs that begins at `first`.
    fn new(function: &impl Fn(i64) -> i64, first: i64, window: i64) -> Self {
        let last = first + window - 1;
        let constant = (function(first) + function(last)).div_euclid(2);
        let slot = |m: i64| m.rem_euclid(2 * window) as usize;
        // Before the window's first slot stands the negated value of its last.
        let seam = function(first) + function(last) - 2 * constant;
        let differences = std::iter::once((slot(first), seam))
            .chain((first + 1..=last).map(|m| (slot(m), function(m) - function(m - 1))))
            .filter(|&(_, difference)| difference != 0)
            .collect();
        Self { constant, differences }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rings that have tables of two bootstrappings, from the smallest to the largest of the named sets.
    fn sizes() -> impl Strategy<Value = PolynomialSize> {
        (10..=12_u32).prop_map(|log| PolynomialSize::new(1 << log).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn every_window_reads_the_table(size in sizes(), width: prop::sample::Index, seed: u64) {
            let widths: Vec<u32> = bits(size).collect();
            let width = *width.get(&widths);
            let values: Vec<i64> =
                (0..1_u64 << width).map(|m| (m.wrapping_mul(seed | 1) >> 7) as i64 % 16 - 8).collect();
            let table = WideTable::new(&values, size);
            let half = 1_i64 << width;
            let margin = (table.window() - (1 << table.box_log)) / 2;
            prop_assert!(margin > 0 && table.boxes() <= size.get());
            for h in 0..table.boxes() {
                let start = (h as i64) << table.box_log;
                for m in start - margin..start + (1 << table.box_log) + margin {
                    let index = m.rem_euclid(2 * half);
                    let expected =
                        if index < half { values[index as usize] } else { -values[(index - half) as usize] };
                    prop_assert_eq!(table.evaluate(h, m.rem_euclid(2 * table.window()) as usize), expected);
                }
            }
        }
    }

    #[test]
    fn staircases_amplify_little() {
        // A requantization from 8 to 4 bits: at most three steps of 1 in a window of 32, and the seam.
        let values: Vec<i64> = (0..256_i64).map(|m| ((m - 128) as f64 / 17.0).round() as i64).collect();
        let amplification = |log: u32| WideTable::new(&values, PolynomialSize::new(1 << log).unwrap()).amplification();
        assert!(amplification(12) <= 4.0);
        // A window of 16: two steps.
        assert!(amplification(11) <= 3.0);
    }

    #[test]
    fn larger_rings_read_wider_tables() {
        let widths =
            [10, 11, 12].map(|log| PolynomialSize::new(1 << log).unwrap()).map(|size| (narrow_bits(size), bits(size)));
        assert_eq!(widths, [(3, 4..=6), (4, 5..=8), (5, 6..=10)]);
    }
}
