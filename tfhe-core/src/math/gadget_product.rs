//! Gadget products: the inner loop of external products, CMUXes and GLWE key switches.
//!
//! A key in the Fourier domain is a matrix of polynomials: for each input polynomial and each gadget level a *row*,
//! which is a GLWE ciphertext of k+1 polynomials (columns). The product of r input polynomials with it is
//! `Σ_{i<r} Σ_level digit_level(input_i) · row_{i,level}`: decompose, transform the digits, multiply and accumulate in the
//! Fourier domain, transform the k+1 sums back. A GGSW ciphertext has r = k+1 (Chillotti et al., J. Cryptology 2020,
//! Definition 3.12), a GLWE key-switching key r = k.
//!
//! In the book: [chapter 3, gadgets and the external product](../../../book/03-gadget-and-external-product.html).

use crate::buffer::{AlignedBuffer, Gathered};
use crate::fft::{CIPHERTEXTS, FftScratch, NegacyclicFft, ProductScratch, Sums, TERMS};
use crate::params::{Gadget, PolynomialSize, Precision};

/// The rows of a key in the Fourier domain, in an order that belongs to the plan that prepared them.
#[derive(Clone, Debug)]
pub struct FourierRows {
    gadget: Gadget,
    inputs: usize,
    columns: usize,
    data: AlignedBuffer,
}

/// Working memory for gadget products of one thread.
#[derive(Clone, Debug)]
pub struct GadgetScratch(ProductScratch);

impl GadgetScratch {
    /// Enough for products of `gadget` with `columns` columns and at most as many input polynomials on the plan `fft`.
    pub fn new(fft: &NegacyclicFft, gadget: Gadget, columns: usize) -> Self {
        Self::for_inputs(fft, gadget, columns, columns)
    }

    /// Enough for products of `gadget` with at most `inputs` input polynomials and `columns` columns on the plan `fft`.
    pub fn for_inputs(fft: &NegacyclicFft, gadget: Gadget, inputs: usize, columns: usize) -> Self {
        Self::for_ciphertexts(1, fft, gadget, inputs, columns)
    }

    /// The same, of so many ciphertexts together.
    fn for_ciphertexts(ciphertexts: usize, fft: &NegacyclicFft, gadget: Gadget, inputs: usize, columns: usize) -> Self {
        let (levels, limbs) = (gadget.levels(), gadget.precision().limbs());
        Self(fft.product_scratch(ciphertexts, inputs * levels, levels, columns * limbs))
    }

    /// Working memory of the plan's transforms.
    pub(crate) fn fft(&mut self) -> &mut FftScratch {
        &mut self.0.fft
    }

    /// Working memory of the plan's products, for what starts one in another way than [`FourierRows::add_product`].
    pub(crate) fn product(&mut self) -> &mut ProductScratch {
        &mut self.0
    }
}

/// Splits x into signed halves: x = high·2^32 + low modulo 2^64, −2^31 ≤ low < 2^31.
pub(crate) fn split_halves(x: u64) -> (i32, i32) {
    let low = x as u32 as i32;
    let high = (x.wrapping_sub(low as i64 as u64) >> 32) as u32 as i32;
    (high, low)
}

/// [`Gadget::in_ring`], for rows of sets that have been validated.
///
/// # Panics
/// If it is refused.
pub(crate) fn check_exact(gadget: Gadget, polynomial_size: PolynomialSize, inputs: usize) {
    if let Err(error) = gadget.in_ring(polynomial_size, inputs) {
        panic!("{error}");
    }
}

impl FourierRows {
    /// Transforms `rows` = `[input polynomial][level][column][N]` torus polynomials.
    ///
    /// # Panics
    /// If the number of polynomials is not inputs·levels·columns, or products with the gadget would not be exact
    /// ([`Gadget::in_ring`]).
    pub fn prepare(fft: &NegacyclicFft, gadget: Gadget, inputs: usize, columns: usize, rows: &[u64]) -> Self {
        assert_eq!(rows.len(), inputs * gadget.levels() * columns * fft.polynomial_size().get());
        check_exact(gadget, fft.polynomial_size(), inputs);
        Self { gadget, inputs, columns, data: Self::transform(fft, gadget, 1, columns, rows) }
    }

    /// The values of `rows` = `[input polynomial][level][term][column][N]`, in the order of products.
    fn transform(fft: &NegacyclicFft, gadget: Gadget, terms: usize, columns: usize, rows: &[u64]) -> AlignedBuffer {
        let n = fft.polynomial_size().get();
        let polynomials = rows.len() / n;
        let limbs = gadget.precision().limbs();
        let mut data = AlignedBuffer::zeros(polynomials * limbs * n);
        let mut scratch = fft.scratch();
        let mut halves = [vec![0_i32; n], vec![0_i32; n]];
        for (polynomial, prepared) in rows.chunks_exact(n).zip(data.chunks_exact_mut(limbs * n)) {
            match gadget.precision() {
                Precision::Single => fft.forward_torus(polynomial, prepared, &mut scratch),
                Precision::Split => {
                    for (j, &x) in polynomial.iter().enumerate() {
                        (halves[0][j], halves[1][j]) = split_halves(x);
                    }
                    for (half, out) in halves.iter().zip(prepared.chunks_exact_mut(n)) {
                        fft.forward_integers(half, out, &mut scratch);
                    }
                }
            }
        }
        fft.order_rows(data, terms, columns * limbs)
    }

    /// `count` keys of one size in one piece of memory, in which they are read one after the other ([`crate::buffer`]); each
    /// is moved there as it comes.
    pub(crate) fn gather(count: usize, keys: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut keys = keys.into_iter().peekable();
        let Some(len) = keys.peek().map(|key| key.data.len()) else { return Vec::new() };
        let Some(mut memory) = Gathered::with_room(count * len.next_multiple_of(8)) else { return keys.collect() };
        let (places, mut moved): (Vec<_>, Vec<Self>) =
            keys.map(|key| (memory.take(&key.data), Self { data: AlignedBuffer::zeros(0), ..key })).unzip();
        moved.iter_mut().zip(memory.finish(&places)).for_each(|(key, data)| key.data = data);
        moved
    }

    /// (β, ℓ).
    pub fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// The number of polynomials that a product decomposes.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes of memory that the rows take.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<f64>()
    }

    /// Working memory of one thread for products on the plan `fft`, with these rows and others as many.
    pub fn scratch(&self, fft: &NegacyclicFft) -> GadgetScratch {
        GadgetScratch::for_inputs(fft, self.gadget, self.inputs, self.columns)
    }

    /// `output += Σ digits(input)·rows`: `input` `[inputs·N]`, `output` `[columns·N]`, torus polynomials.
    /// O(inputs·ℓ·(N log N + columns·N)).
    ///
    /// # Examples
    /// Every key for gadget products is made of such rows. Here they hide nothing: x/β and x/β², for the constant polynomial x = 3, without masks
    /// or noise. The product with a torus polynomial is three times it, up to what its digits leave out.
    /// ```
    /// use tfhe_core::fft::NegacyclicFft;
    /// use tfhe_core::gadget_product::FourierRows;
    /// use tfhe_core::params::{Gadget, PolynomialSize, Precision};
    /// use tfhe_core::torus::{encode, from_f64, to_f64};
    ///
    /// let (fft, gadget) = (NegacyclicFft::new(PolynomialSize::new(64)?), Gadget::new(8, 2, Precision::Split)?);
    /// let mut rows = vec![0; 2 * 64];
    /// (rows[0], rows[64]) = (encode(3, 8), encode(3, 16));
    /// let rows = FourierRows::prepare(&fft, gadget, 1, 1, &rows);
    ///
    /// let (input, mut output) = (vec![from_f64(0.1); 64], vec![0; 64]);
    /// rows.add_product(&fft, &input, &mut output, &mut rows.scratch(&fft));
    /// assert!(output.iter().all(|&x| (to_f64(x) - 0.3).abs() <= 3.0 * 2f64.powi(-17)));
    /// # Ok::<(), tfhe_core::params::ParameterError>(())
    /// ```
    ///
    /// # Panics
    /// If a length is wrong, or the scratch was made for a smaller product.
    pub fn add_product(&self, fft: &NegacyclicFft, input: &[u64], output: &mut [u64], scratch: &mut GadgetScratch) {
        self.add_product_before(None, fft, input, output, scratch);
    }

    /// [`Self::add_product`], fetching the rows of the `next` product into the cache meanwhile.
    pub fn add_product_before(
        &self,
        next: Option<&Self>,
        fft: &NegacyclicFft,
        input: &[u64],
        output: &mut [u64],
        scratch: &mut GadgetScratch,
    ) {
        let n = fft.polynomial_size().get();
        assert_eq!(input.len(), self.inputs * n);
        assert_eq!(output.len(), self.columns * n);
        for (i, polynomial) in input.chunks_exact(n).enumerate() {
            fft.start_digits(polynomial, self.gadget, (0, i * self.gadget.levels()), &mut scratch.0);
        }
        self.finish_product(next.map_or(&[], |next| &*next.data), fft, output.chunks_exact_mut(n), scratch);
    }

    /// The rows' values.
    pub(crate) fn data(&self) -> &[f64] {
        &self.data
    }

    /// Multiplies the started rows, and adds the products to `output`. Fetches `next` into the cache.
    pub(crate) fn finish_product<'a>(
        &self,
        next: &[f64],
        fft: &NegacyclicFft,
        output: impl Iterator<Item = &'a mut [u64]>,
        scratch: &mut GadgetScratch,
    ) {
        let limbs = self.gadget.precision().limbs();
        let rows = self.inputs * self.gadget.levels();
        fft.multiply_rows(Sums::Rows, rows, self.columns * limbs, &self.data, next, &mut scratch.0);
        for (i, column) in output.enumerate() {
            match self.gadget.precision() {
                Precision::Single => fft.finish_add_torus((0, i), column, &mut scratch.0),
                Precision::Split => {
                    fft.finish_add_integers((0, 2 * i), 32, column, &mut scratch.0);
                    fft.finish_add_integers((0, 2 * i + 1), 0, column, &mut scratch.0);
                }
            }
        }
    }
}

/// Three matrices of rows in the Fourier domain, of one shape, for `output += Σ_t (X^(e_t) − 1)·Σ digits(output)·rows_t`: the digits are
/// transformed once for all three, and the sum of all is transformed back. With one f64 to a coefficient of the key.
#[derive(Clone, Debug)]
pub(crate) struct FourierTriple(FourierRows);

impl FourierTriple {
    /// Transforms three times `rows` = `[column][level][column][N]` torus polynomials.
    ///
    /// # Panics
    /// If the numbers of polynomials are not columns·levels·columns, or the gadget is split.
    pub(crate) fn prepare(fft: &NegacyclicFft, gadget: Gadget, columns: usize, rows: &[Vec<u64>; TERMS]) -> Self {
        let row_len = columns * fft.polynomial_size().get();
        assert_eq!(gadget.precision(), Precision::Single, "turns are multiplied by in f64");
        assert!(rows.iter().all(|rows| rows.len() == columns * gadget.levels() * row_len), "rows of one shape");
        let mut together = Vec::with_capacity(TERMS * rows[0].len());
        for at in (0..rows[0].len()).step_by(row_len) {
            rows.iter().for_each(|rows| together.extend_from_slice(&rows[at..][..row_len]));
        }
        let data = FourierRows::transform(fft, gadget, TERMS, columns, &together);
        Self(FourierRows { gadget, inputs: columns, columns, data })
    }

    /// [`FourierRows::gather`].
    pub(crate) fn gather(count: usize, keys: impl IntoIterator<Item = Self>) -> Vec<Self> {
        FourierRows::gather(count, keys.into_iter().map(|key| key.0)).into_iter().map(Self).collect()
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The values.
    pub(crate) fn data(&self) -> &[f64] {
        &self.0.data
    }

    /// Working memory of one thread for products of so many columns, and for others of [`FourierRows`] as large.
    pub(crate) fn scratch(fft: &NegacyclicFft, gadget: Gadget, columns: usize) -> GadgetScratch {
        GadgetScratch::for_ciphertexts(CIPHERTEXTS, fft, gadget, columns, columns)
    }

    /// The sum above for each of up to [`CIPHERTEXTS`] ciphertexts, `[ciphertexts][columns·N]`, with the exponents of each, below 2N.
    /// Fetches `next` into the cache. O(columns·ℓ·(N log N + columns·N)) each.
    ///
    /// # Panics
    /// If there are more ciphertexts, or others than there are exponents of, or the scratch was made for a smaller product.
    pub(crate) fn turn(
        &self,
        next: &[f64],
        fft: &NegacyclicFft,
        exponents: &[[usize; TERMS]],
        ciphertexts: &mut [u64],
        scratch: &mut GadgetScratch,
    ) {
        let (n, FourierRows { gadget, columns, data, .. }) = (fft.polynomial_size().get(), &self.0);
        assert!(exponents.len() <= CIPHERTEXTS, "no more ciphertexts than go together");
        assert_eq!(ciphertexts.len(), exponents.len() * columns * n, "exponents of each ciphertext");
        let place = |i: usize| (i / columns, i % columns);
        for (i, polynomial) in ciphertexts.chunks_exact(n).enumerate() {
            let (ciphertext, column) = place(i);
            fft.start_digits(polynomial, *gadget, (ciphertext, column * gadget.levels()), &mut scratch.0);
        }
        let rows = columns * gadget.levels();
        fft.multiply_rows(Sums::Turned(exponents), rows, *columns, data, next, &mut scratch.0);
        for (i, polynomial) in ciphertexts.chunks_exact_mut(n).enumerate() {
            fft.finish_add_torus(place(i), polynomial, &mut scratch.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Backend;
    use crate::{polynomial, torus};

    /// Key switches, relinearization and all other keys are made of these rows.
    #[test]
    #[should_panic(expected = "its products are not exact")]
    fn rows_of_a_split_gadget_that_is_not_exact_are_refused() {
        let setup = crate::testing::Setup::new(1, 1024);
        setup.row_generator(Gadget::new(16, 3, Precision::Split).unwrap()).rows(&[vec![0; 1024]], 0);
    }

    #[test]
    #[should_panic(expected = "its products are not exact")]
    fn rows_from_elsewhere_are_refused_too() {
        let fft = NegacyclicFft::new(PolynomialSize::new(1024).unwrap());
        FourierRows::prepare(&fft, Gadget::new(16, 3, Precision::Split).unwrap(), 1, 1, &vec![0; 3 * 1024]);
    }

    #[test]
    fn halves_recompose() {
        for x in [0, 1, u64::MAX, 1 << 31, (1 << 31) - 1, 0x8000_0000_8000_0000, 0x7fff_ffff_ffff_ffff] {
            let (high, low) = split_halves(x);
            assert_eq!((high as i64 as u64).wrapping_shl(32).wrapping_add(low as i64 as u64), x);
        }
    }

    /// In every ring, on every backend, of one ciphertext and of two, what three products with [`FourierRows`], turned afterwards, give.
    #[test]
    fn a_turn_is_three_products_turned() {
        for (backend, n) in Backend::available().flat_map(|backend| [16, 64, 256, 512, 2048].map(|n| (backend, n))) {
            let size = PolynomialSize::new(n).unwrap();
            let fft = &NegacyclicFft::with_backend(size, backend).unwrap();
            let gadget = Gadget::new(6, 3, Precision::Single).unwrap();
            let mut stream = crate::random::SampleSeed::from_number(n as u64).stream(0);
            let mut random = |count: usize| {
                let mut numbers = vec![0; count * n];
                stream.fill_uniform(&mut numbers);
                numbers
            };
            let rows = [(); TERMS].map(|()| random(2 * 3 * 2));
            let before = random(2 * 2);
            let key = FourierTriple::prepare(fft, gadget, 2, &rows);
            let exponents = [[3, 2 * n - 5, n + 7], [0, n, 1]];

            let expected: Vec<u64> = before
                .chunks_exact(2 * n)
                .zip(&exponents)
                .flat_map(|(before, exponents)| {
                    let mut sum = before.to_vec();
                    for (rows, &exponent) in rows.iter().zip(exponents) {
                        let rows = FourierRows::prepare(fft, gadget, 2, 2, rows);
                        let (mut product, mut turned) = (vec![0; 2 * n], vec![0; n]);
                        rows.add_product(fft, before, &mut product, &mut rows.scratch(fft));
                        for (sum, product) in sum.chunks_exact_mut(n).zip(product.chunks_exact(n)) {
                            polynomial::rotate_subtract(product, exponent, &mut turned);
                            sum.iter_mut().zip(&turned).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
                        }
                    }
                    sum
                })
                .collect();
            // The root mean square of the rounding of one product, and of three of them turned twice.
            let size = gadget.digits_square(2 * n) / 12.0;
            let deviation = (2.0 * 6.0 * size * fft.transforms().of_torus(6, n)).sqrt();
            for count in 1..=2 {
                let (mut turned, end) = (before.clone(), count * 2 * n);
                let scratch = &mut FourierTriple::scratch(fft, gadget, 2);
                key.turn(&[], fft, &exponents[..count], &mut turned[..end], scratch);
                for (x, y) in turned[..end].iter().zip(&expected) {
                    let error = torus::to_f64(x.wrapping_sub(*y)).abs();
                    assert!(error < 8.0 * deviation, "{backend}, {n}: {error:e}, {deviation:e}");
                }
                assert!(turned[end..] == before[end..]);
            }
        }
    }
}
