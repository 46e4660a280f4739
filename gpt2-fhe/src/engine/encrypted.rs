//! The backend on ciphertexts: the server's side.
//!
//! It has evaluation keys and ciphertexts, nothing else.

use nn::matrix::Matrix;
use rayon::prelude::*;
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::integer_product::FourierIntegers;
use tfhe_core::keys::EvaluationKeys;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::tensor_product::Factor;
use tfhe_core::wide::WideTable;

use super::backend::{Backend, BackendProduct, NarrowTable, WideLookup, needs};
use super::plan::columns_per_ciphertext;

/// How many weighted sums are computed at a time: of 32 KiB each, they fit the second-level cache.
const SUMS_TOGETHER: usize = 16;

/// The head's input as the client sends it: per token ⌈E/N⌉ ciphertexts, of which number c holds x_{cN+j} at X^j.
#[derive(Clone, Debug)]
pub struct EncryptedInput {
    /// `[T][⌈E/N⌉]`
    pub tokens: Vec<Vec<SeededGlweCiphertext>>,
}

impl EncryptedInput {
    /// Bytes on the wire.
    pub fn bytes(&self) -> usize {
        self.tokens.iter().flatten().map(SeededGlweCiphertext::bytes).sum()
    }
}

/// Computes on LWE ciphertexts of dimension kN.
pub struct Encrypted<'a> {
    keys: &'a EvaluationKeys,
}

impl<'a> Encrypted<'a> {
    /// With the client's evaluation keys.
    pub fn new(keys: &'a EvaluationKeys) -> Self {
        Self { keys }
    }

    /// The weights of output `column` as a polynomial per chunk of the input: Σ_j w_{cN+j}·X^(−j), so that the product's
    /// constant coefficient is Σ_j x_{cN+j}·w_{cN+j}.
    fn weight_polynomials(&self, weight: &Matrix<i32>, column: usize) -> Vec<FourierIntegers> {
        let n = self.keys.parameters().polynomial_size().get();
        let scratch = &mut self.keys.fft().scratch();
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
                FourierIntegers::new(self.keys.fft(), &polynomial, scratch)
            })
            .collect()
    }

    /// Constant coefficients at multiples of the spacing N/H, H the number of places.
    fn pack(&self, places: Vec<Option<&LweCiphertext>>) -> GlweCiphertext {
        let shape = self.keys.parameters().glwe_shape();
        let embed = |sample: &LweCiphertext| GlweCiphertext::embed(shape, sample);
        self.keys.automorphisms().pack(places.into_iter().map(|place| place.map(embed)).collect())
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

impl Backend for Encrypted<'_> {
    type Ciphertext = LweCiphertext;
    type Input = EncryptedInput;

    fn project(&mut self, input: &EncryptedInput, weight: &Matrix<i32>, _bits: u32) -> Matrix<LweCiphertext> {
        let (fft, shape) = (self.keys.fft(), self.keys.parameters().glwe_shape());
        let tokens: Vec<Vec<FourierGlwe>> = input
            .tokens
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
        let dimension = self.keys.parameters().glwe_shape().extracted_lwe_dimension();
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
        let switched = self.keys.keyswitch().keyswitch(inputs);
        let accumulators: Vec<&GlweCiphertext> = tables.iter().map(|table| &table.accumulator).collect();
        self.keys.bootstrapping_key(gadget).programmable_bootstrap(&switched, &accumulators)
    }

    fn wide_lookup(
        &mut self,
        low: usize,
        high: usize,
        inputs: &[LweCiphertext],
        lookups: &[WideLookup<'_>],
    ) -> Vec<Vec<LweCiphertext>> {
        let shape = self.keys.parameters().glwe_shape();
        let low_inputs: Vec<_> = inputs
            .iter()
            .zip(lookups)
            .map(|(input, lookup)| self.combine(&[(input, lookup.first().low_factor())], WideTable::low_offset()))
            .collect();
        let high_inputs: Vec<_> = inputs
            .iter()
            .zip(lookups)
            .map(|(input, lookup)| self.combine(&[(input, 1)], lookup.first().high_offset()))
            .collect();
        let (low_inputs, high_inputs) =
            (self.keys.keyswitch().keyswitch(&low_inputs), self.keys.keyswitch().keyswitch(&high_inputs));
        let ones: Vec<_> = lookups.iter().map(|lookup| WideTable::low_accumulator(shape, lookup.delta)).collect();
        let rotated = self.keys.bootstrapping_key(low).blind_rotate(&low_inputs, &ones.iter().collect::<Vec<_>>());
        // One blind rotation for each table of each input.
        let jobs: Vec<(usize, &WideTable)> = lookups
            .iter()
            .enumerate()
            .flat_map(|(i, lookup)| lookup.tables.iter().map(move |table| (i, table)))
            .collect();
        let tables: Vec<GlweCiphertext> = jobs
            .par_iter()
            .map(|&(i, table)| table.high_accumulator(&rotated[i], lookups[i].delta, self.keys.automorphisms()))
            .collect();
        let job_inputs: Vec<_> = jobs.iter().map(|&(i, _)| high_inputs[i].clone()).collect();
        let outputs =
            self.keys.bootstrapping_key(high).programmable_bootstrap(&job_inputs, &tables.iter().collect::<Vec<_>>());
        let mut outputs = outputs.into_iter();
        lookups.iter().map(|lookup| outputs.by_ref().take(lookup.tables.len()).collect()).collect()
    }

    /// Row i of the left matrix as Σ_m l_{im}·X^(−mp'S), a group of p' columns (a power of two) of the right one as
    /// Σ r_{mj}·X^((mp'+j)S), with S the spacing: entry (i, j) is the coefficient of X^(jS) of their product, and no other pair of
    /// terms meets there.
    fn matrix_product(&mut self, product: BackendProduct<'_, LweCiphertext>) -> Matrix<Option<LweCiphertext>> {
        let BackendProduct { left, right, needed, log_t } = product;
        let shape = self.keys.parameters().glwe_shape();
        let relinearization = self.keys.relinearization();
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

/// Packs the entries of a matrix, row by row, into as few ciphertexts as hold them: entry i of a ciphertext with H places (H the
/// number of its entries rounded up to a power of two) is coefficient i·N/H.
pub fn pack_entries(keys: &EvaluationKeys, entries: &[LweCiphertext]) -> Vec<GlweCiphertext> {
    let backend = Encrypted::new(keys);
    entries
        .chunks(keys.parameters().polynomial_size().get())
        .map(|entries| {
            let mut places: Vec<_> = entries.iter().map(Some).collect();
            places.resize(entries.len().next_power_of_two(), None);
            backend.pack(places)
        })
        .collect()
}
