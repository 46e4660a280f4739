//! The backend on ciphertexts: the server's side.
//!
//! It has evaluation keys and ciphertexts, nothing else.

use std::collections::BTreeMap;

use nn::matrix::Matrix;
use rayon::prelude::*;
use tfhe_core::automorphism::AutomorphismKeys;
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::integer_product::FourierIntegers;
use tfhe_core::key_graph::Node;
use tfhe_core::keys::{EvaluationKeys, KeyswitchKey, MissingKey};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::GlweShape;
use tfhe_core::tensor_product::{Factor, RelinearizationKey};
use tfhe_core::wide::WideTable;

use super::backend::{BackendProduct, IntegerBackend, NarrowTable, WideLookup, needs};
use super::prediction::{PACK_TABLES, columns_per_ciphertext, pack_numbers};

/// How many weighted sums are computed at a time: of 32 KiB each, they fit the second-level cache.
const SUMS_TOGETHER: usize = 16;

/// Computes on LWE ciphertexts of dimension kN.
#[derive(Clone, Debug)]
pub struct IntegerCiphertexts<'a> {
    shape: GlweShape,
    fft: &'a NegacyclicFft,
    keyswitch: &'a KeyswitchKey,
    /// For tables between two bootstrappings.
    table_automorphisms: &'a AutomorphismKeys,
    /// For factors and answers.
    number_automorphisms: &'a AutomorphismKeys,
    /// For programs that multiply ciphertexts.
    relinearization: Option<&'a RelinearizationKey>,
    /// Of the gadgets that were asked for.
    bootstraps: BTreeMap<usize, &'a BootstrappingKey>,
}

impl<'a> IntegerCiphertexts<'a> {
    /// With the evaluation keys that a program needs: the bootstrapping keys of `gadgets`, and for products of ciphertexts the
    /// relinearization key.
    ///
    /// # Errors
    /// If one of them is missing.
    pub fn new(keys: &'a EvaluationKeys, gadgets: &[usize], products: bool) -> Result<Self, MissingKey> {
        let bootstrap = |&gadget: &usize| Ok((gadget, keys.bootstrapping_key(gadget)?));
        Ok(Self {
            shape: keys.parameters().lookup().shape,
            fft: keys.lookup_fft(),
            keyswitch: keys.keyswitch(Node::Lookup)?,
            table_automorphisms: keys.automorphisms(Node::Lookup, PACK_TABLES, 0)?,
            number_automorphisms: keys.automorphisms(Node::Lookup, pack_numbers(keys.parameters()), 0)?,
            relinearization: if products { Some(keys.relinearization(Node::Lookup)?) } else { None },
            bootstraps: gadgets.iter().map(bootstrap).collect::<Result<_, _>>()?,
        })
    }

    /// As few ciphertexts as hold the entries of a matrix, row by row: entry i of a ciphertext with H places (H the number of its
    /// entries rounded up to a power of two) is coefficient i·N/H.
    pub fn pack_entries(&self, entries: &[LweCiphertext]) -> Vec<GlweCiphertext> {
        let pack = |entries: &[LweCiphertext]| {
            let mut places: Vec<_> = entries.iter().map(Some).collect();
            places.resize(entries.len().next_power_of_two(), None);
            self.pack(places)
        };
        entries.chunks(self.shape.polynomial_size.get()).map(pack).collect()
    }

    /// The weights of output `column` as a polynomial per chunk of the input: Σ_j w_{cN+j}·X^(−j), so that the product's
    /// constant coefficient is Σ_j x_{cN+j}·w_{cN+j}.
    fn weight_polynomials(&self, weight: &Matrix<i32>, column: usize) -> Vec<FourierIntegers> {
        let n = self.shape.polynomial_size.get();
        let scratch = &mut self.fft.scratch();
        (0..weight.rows())
            .step_by(n)
            .map(|first| {
                let mut polynomial = vec![0; n];
                for row in first..weight.rows().min(first + n) {
                    match row - first {
                        0 => polynomial[0] = weight[(row, column)],
                        // X^(−j) = −X^(N−j).
                        j => polynomial[n - j] = -weight[(row, column)],
                    }
                }
                FourierIntegers::new(self.fft, &polynomial, scratch)
            })
            .collect()
    }

    /// Constant coefficients at multiples of the spacing N/H, H the number of places.
    fn pack(&self, places: Vec<Option<&LweCiphertext>>) -> GlweCiphertext {
        let shape = self.shape;
        let embed = |sample: &LweCiphertext| GlweCiphertext::embed(shape, sample);
        self.number_automorphisms.pack(places.into_iter().map(|place| place.map(embed)).collect())
    }

    /// Entry m at X^(−m) = −X^(depth−m), in units of the spacing N/depth.
    fn pack_reversed(&self, row: &[Option<LweCiphertext>], depth: usize) -> GlweCiphertext {
        let negated: Vec<Option<LweCiphertext>> =
            row.iter().map(|entry| entry.as_ref().map(|entry| self.combine(&[(entry, -1)], 0))).collect();
        let mut places = vec![None; depth];
        for (m, entry) in row.iter().enumerate() {
            places[(depth - m) % depth] = if m == 0 { entry.as_ref() } else { negated[m].as_ref() };
        }
        self.pack(places)
    }
}

impl<'a> IntegerBackend for IntegerCiphertexts<'a> {
    type Ciphertext = LweCiphertext;
    /// Of an opened request: `[T][⌈E/N⌉]`.
    type Input = Vec<&'a [SeededGlweCiphertext]>;

    fn project(&mut self, input: &Self::Input, weight: &Matrix<i32>, _bits: u32) -> Matrix<LweCiphertext> {
        let (fft, shape) = (self.fft, self.shape);
        let tokens: Vec<Vec<FourierGlwe>> = input
            .par_iter()
            .map(|chunks| {
                let scratch = &mut fft.scratch();
                chunks.iter().map(|chunk| FourierGlwe::new(fft, &chunk.expand(), scratch)).collect()
            })
            .collect();
        let columns: Vec<Vec<LweCiphertext>> = (0..weight.cols())
            .into_par_iter()
            .map(|column| {
                let polynomials = self.weight_polynomials(weight, column);
                let scratch = &mut fft.scratch();
                tokens
                    .iter()
                    .map(|chunks| {
                        let mut sum = FourierGlwe::zero(fft, shape);
                        for (chunk, polynomial) in chunks.iter().zip(&polynomials) {
                            sum.add_product(fft, chunk, polynomial);
                        }
                        sum.inverse(fft, scratch).sample_extract(0)
                    })
                    .collect()
            })
            .collect();
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let complete = "each column has a result for each token";
        Matrix::from_fn(tokens.len(), weight.cols(), |_, column| columns[column].next().expect(complete))
    }

    fn combine(&self, terms: &[(&LweCiphertext, i64)], plaintext: u64) -> LweCiphertext {
        let dimension = self.shape.extracted_lwe_dimension();
        let mut sum = LweCiphertext::trivial(dimension, plaintext);
        for &(ciphertext, factor) in terms {
            sum.add_scaled(ciphertext, factor);
        }
        sum
    }

    /// Some columns at a time, whose sums stay in the cache while the values stream past: each value is read from
    /// memory once for every `SUMS_TOGETHER` columns. m·p·(kN + 1) multiplications modulo 2^64; weights of zero cost
    /// none.
    fn weighted_sums(&self, values: &[&LweCiphertext], weight: &Matrix<i32>, constants: &[u64]) -> Vec<LweCiphertext> {
        let sums = |(block, constants): (usize, &[u64])| {
            let mut sums: Vec<_> = constants.iter().map(|&constant| self.combine(&[], constant)).collect();
            for (row, value) in values.iter().enumerate() {
                let weights = &weight.row(row)[block * SUMS_TOGETHER..];
                let terms = sums.iter_mut().zip(weights).filter(|&(_, &weight)| weight != 0);
                terms.for_each(|(sum, &weight)| sum.add_scaled(value, weight as i64));
            }
            sums
        };
        constants.par_chunks(SUMS_TOGETHER).enumerate().flat_map_iter(sums).collect()
    }

    fn bootstrap(&mut self, gadget: usize, inputs: &[LweCiphertext], tables: &[&NarrowTable]) -> Vec<LweCiphertext> {
        let switched = self.keyswitch.keyswitch(inputs);
        let accumulators: Vec<&GlweCiphertext> = tables.iter().map(|table| &table.accumulator).collect();
        self.bootstraps[&gadget].programmable_bootstrap(&switched, &accumulators)
    }

    fn wide_lookup(
        &mut self,
        low: usize,
        high: usize,
        inputs: &[LweCiphertext],
        lookups: &[WideLookup<'_>],
    ) -> Vec<Vec<LweCiphertext>> {
        let shape = self.shape;
        let low_inputs: Vec<_> = inputs
            .iter()
            .zip(lookups)
            .map(|(input, lookup)| self.combine(&[(input, lookup.first().low_factor())], lookup.first().low_offset()))
            .collect();
        let high_inputs: Vec<_> = inputs
            .iter()
            .zip(lookups)
            .map(|(input, lookup)| self.combine(&[(input, 1)], lookup.first().high_offset()))
            .collect();
        let (low_inputs, high_inputs) = (self.keyswitch.keyswitch(&low_inputs), self.keyswitch.keyswitch(&high_inputs));
        let ones: Vec<_> = lookups.iter().map(|lookup| WideTable::low_accumulator(shape, lookup.delta)).collect();
        let rotated = self.bootstraps[&low].blind_rotate(&low_inputs, &ones.iter().collect::<Vec<_>>());
        // One blind rotation for each table of each input.
        let jobs: Vec<(usize, &WideTable)> = lookups
            .iter()
            .enumerate()
            .flat_map(|(i, lookup)| lookup.tables.iter().map(move |table| (i, table)))
            .collect();
        let tables: Vec<GlweCiphertext> = jobs
            .par_iter()
            .map(|&(i, table)| table.high_accumulator(&rotated[i], lookups[i].delta, self.table_automorphisms))
            .collect();
        let job_inputs: Vec<_> = jobs.iter().map(|&(i, _)| high_inputs[i].clone()).collect();
        let outputs = self.bootstraps[&high].programmable_bootstrap(&job_inputs, &tables.iter().collect::<Vec<_>>());
        let mut outputs = outputs.into_iter();
        lookups.iter().map(|lookup| outputs.by_ref().take(lookup.tables.len()).collect()).collect()
    }

    /// Row i of the left matrix as Σ_m l_{im}·X^(−mp'S), a group of p' columns (a power of two) of the right one as
    /// Σ r_{mj}·X^((mp'+j)S), with S the spacing: entry (i, j) is the coefficient of X^(jS) of their product, and no other pair of
    /// terms meets there.
    fn matrix_product(&mut self, product: BackendProduct<'_, LweCiphertext>) -> Matrix<Option<LweCiphertext>> {
        let BackendProduct { left, right, needed, log_t } = product;
        let shape = self.shape;
        let relinearization = self.relinearization.expect("a program of products asks for the key");
        let depth = right.rows().next_power_of_two();
        let columns = columns_per_ciphertext(right.rows()).min(right.cols().next_power_of_two());
        let spacing = shape.polynomial_size.get() / (depth * columns);
        let groups: Vec<Factor> = (0..right.cols().div_ceil(columns))
            .into_par_iter()
            .map(|group| {
                let first = group * columns;
                let held = columns.min(right.cols() - first);
                let mut places = vec![None; depth * columns];
                for m in 0..right.rows() {
                    (0..held).for_each(|j| places[m * columns + j] = Some(&right[(m, first + j)]));
                }
                relinearization.factor(&self.pack(places))
            })
            .collect();
        let rows: Vec<Factor> = (0..left.rows())
            .into_par_iter()
            .map(|i| relinearization.factor(&self.pack_reversed(left.row(i), depth)))
            .collect();
        let products: Vec<Vec<LweCiphertext>> = (0..rows.len() * groups.len())
            .into_par_iter()
            .map(|index| {
                let (i, group) = (index / groups.len(), index % groups.len());
                if !needs(needed, i, group * columns, columns) {
                    return Vec::new();
                }
                let product = relinearization.multiply(&rows[i], &groups[group], log_t);
                (0..columns).map(|j| product.sample_extract(j * spacing)).collect()
            })
            .collect();
        Matrix::from_fn(left.rows(), needed.cols(), |i, j| {
            let entries = &products[i * groups.len() + j / columns];
            needed[(i, j)].then(|| entries[j % columns].clone())
        })
    }
}
