//! Products of matrices of small digits with matrices of 32-bit torus elements: the key switch of a block of ciphertexts
//! with a key of which 32 bits are enough.
//!
//! The instruction that this is made for multiplies signed 16-bit integers and adds neighbouring products, so an element is
//! kept as two halves, x = high·2^16 + low with −2^15 ≤ low < 2^15, and the rows of the matrix in pairs. All sums are
//! modulo 2^32, so every backend computes the same bits.
//!
//! The rows are divided into *panels*. A panel's part of one group of columns stays in the first-level cache while every
//! ciphertext uses it; the whole matrix is read once, in order.

use super::{Capability, Kernel, Simd, VectorInstructions, selected_capability};
use crate::buffer::AlignedBuffer;

/// Columns of a group: one vector of the largest register.
const GROUP: usize = 16;
/// 16-bit halves of a pair of rows in a group.
const PAIR_LEN: usize = 4 * GROUP;
/// Ciphertexts of a tile.
const TILE: usize = 8;
/// The largest base of digits, as a logarithm: sums of two products of digits, at most 2^14, and halves fit 32 bits.
pub(crate) const MAXIMUM_BASE_LOG: u32 = 15;

/// A matrix of 32-bit torus elements in panels: `[panel][group][pair of rows][half][column of the group][row of the pair]`.
#[derive(Clone, Debug)]
pub(crate) struct PackedMatrix {
    columns: usize,
    /// Even.
    panel_rows: usize,
    halves: AlignedBuffer,
}

/// Sums of a tile in a group: [half][ciphertext][column].
type Sums = [[[u32; GROUP]; TILE]; 2];
/// A pair of digits of each ciphertext of a tile: 16 bits each.
type DigitPairs = [i32; TILE];

impl PackedMatrix {
    /// Room for `rows` × `columns` elements, all zero, in panels of `panel_rows` rows.
    pub(crate) fn zeros(rows: usize, columns: usize, panel_rows: usize) -> Self {
        assert!(panel_rows.is_multiple_of(2) && panel_rows > 0);
        let mut matrix = Self { columns, panel_rows, halves: AlignedBuffer::zeros(0) };
        // Four halves to an f64.
        matrix.halves = AlignedBuffer::zeros(rows.div_ceil(panel_rows) * matrix.panel_len() / 4);
        matrix
    }

    fn groups(&self) -> usize {
        self.columns.div_ceil(GROUP)
    }

    fn panel_len(&self) -> usize {
        self.groups() * self.panel_rows / 2 * PAIR_LEN
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.halves.len() * size_of::<f64>()
    }

    /// The panels, to be filled by [`Self::pack`].
    pub(crate) fn panels_mut(&mut self) -> std::slice::ChunksExactMut<'_, i16> {
        let len = self.panel_len();
        self.halves.cast_mut().chunks_exact_mut(len)
    }

    /// Writes torus elements `[up to panel_rows][columns]`, rounded to 32 bits, to a panel of zeros.
    pub(crate) fn pack(rows: &[u64], columns: usize, panel: &mut [i16]) {
        let pairs = panel.len() / (columns.div_ceil(GROUP) * PAIR_LEN);
        for (r, row) in rows.chunks_exact(columns).enumerate() {
            for (column, &x) in row.iter().enumerate() {
                let x = (x.wrapping_add(1 << 31) >> 32) as u32;
                let low = x as i16;
                let high = (x.wrapping_sub(low as u32) >> 16) as i16;
                let pair = &mut panel[(column / GROUP * pairs + r / 2) * PAIR_LEN..][..PAIR_LEN];
                let at = 2 * (column % GROUP) + r % 2;
                (pair[at], pair[2 * GROUP + at]) = (low, high);
            }
        }
    }

    /// `out −= digits·matrix·2^32` modulo 2^64, on the selected backend: `digits` [B][rows], of absolute value at most
    /// 2^([`MAXIMUM_BASE_LOG`] − 1), `out` [B][columns]. O(B·rows·columns).
    ///
    /// # Panics
    /// If the lengths do not fit each other.
    pub(crate) fn multiply_subtract(&self, digits: &[i32], out: &mut [u64]) {
        self.multiply_subtract_on(selected_capability(), digits, out);
    }

    fn multiply_subtract_on(&self, capability: Capability, digits: &[i32], out: &mut [u64]) {
        let batch = out.len() / self.columns;
        let rows = digits.len() / batch.max(1);
        assert!(out.len() == batch * self.columns && digits.len() == batch * rows);
        assert_eq!(rows.div_ceil(self.panel_rows) * self.panel_len(), self.halves.cast::<i16>().len());
        let (tiles, pairs) = (batch.div_ceil(TILE), self.panel_rows / 2);
        let mut sums: Vec<Sums> = vec![[[[0; GROUP]; TILE]; 2]; self.groups() * tiles];
        let mut tile_digits: Vec<DigitPairs> = vec![[0; TILE]; tiles * pairs];
        for (p, panel) in self.halves.cast::<i16>().chunks_exact(self.panel_len()).enumerate() {
            gather(digits, rows, p * self.panel_rows, pairs, &mut tile_digits);
            for (group, sums) in panel.chunks_exact(pairs * PAIR_LEN).zip(sums.chunks_exact_mut(tiles)) {
                for (tile, (digits, sums)) in tile_digits.chunks_exact(pairs).zip(sums).enumerate() {
                    let count = (batch - tile * TILE).min(TILE);
                    let product = Product { digits, group, count, sums };
                    match capability {
                        Capability::Portable => product.portable(),
                        Capability::Vector(instructions) => product.vector(instructions),
                    }
                }
            }
        }
        for (b, out) in out.chunks_exact_mut(self.columns).enumerate() {
            for (out, sums) in out.chunks_mut(GROUP).zip(sums.chunks_exact(tiles)) {
                let [low, high] = &sums[b / TILE];
                for (column, o) in out.iter_mut().enumerate() {
                    let sum = low[b % TILE][column].wrapping_add(high[b % TILE][column] << 16);
                    *o = o.wrapping_sub((sum as u64) << 32);
                }
            }
        }
    }
}

/// Brings the digits [B][rows] of a panel into the order of the products: [tile][pair], zeros beyond the last row.
fn gather(digits: &[i32], rows: usize, first_row: usize, pairs: usize, tiles: &mut [DigitPairs]) {
    tiles.fill([0; TILE]);
    for (b, digits) in digits.chunks_exact(rows).enumerate() {
        let panel = &digits[first_row..rows.min(first_row + 2 * pairs)];
        for (pair, tile) in panel.chunks(2).zip(&mut tiles[b / TILE * pairs..]) {
            let second = pair.get(1).copied().unwrap_or(0);
            tile[b % TILE] = (pair[0] & 0xffff) | (second << 16);
        }
    }
}

/// `sums += digits·group` for the first `count` ciphertexts of a tile.
struct Product<'a> {
    digits: &'a [DigitPairs],
    group: &'a [i16],
    count: usize,
    sums: &'a mut Sums,
}

impl Product<'_> {
    fn portable(self) {
        for (digits, pair) in self.digits.iter().zip(self.group.chunks_exact(PAIR_LEN)) {
            for b in 0..self.count {
                let (first, second) = (digits[b] as i16 as i32, digits[b] >> 16);
                for (half, sums) in pair.chunks_exact(2 * GROUP).zip(self.sums.iter_mut()) {
                    for (sum, pair) in sums[b].iter_mut().zip(half.chunks_exact(2)) {
                        *sum = sum.wrapping_add((first * pair[0] as i32 + second * pair[1] as i32) as u32);
                    }
                }
            }
        }
    }

    fn vector(self, instructions: VectorInstructions) {
        instructions.run(self);
    }
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // As many sums as registers hold: 2 halves × 8 ciphertexts of 32 registers; 2 × 2 × 2 vectors of 16.
        if S::LANES == 8 { self.run_tile::<S, 8, 1>(simd) } else { self.run_tile::<S, 2, 2>(simd) }
    }
}

impl Product<'_> {
    /// By register tiles of up to B ciphertexts × V vectors, V·2L = GROUP.
    #[inline(always)]
    fn run_tile<S: Simd, const B: usize, const V: usize>(self, simd: S) {
        let Self { digits, group, count, sums } = self;
        assert!(group.len() == digits.len() * PAIR_LEN && count <= TILE && V * 2 * S::LANES == GROUP);
        let mut first = 0;
        while first < count {
            // SAFETY: at least as many ciphertexts are left as each call takes, and the lengths were checked.
            unsafe {
                first += match count - first {
                    left if left >= B => add_products::<S, B, V>(simd, digits, group, first, sums),
                    4.. => add_products::<S, 4, V>(simd, digits, group, first, sums),
                    2.. => add_products::<S, 2, V>(simd, digits, group, first, sums),
                    _ => add_products::<S, 1, V>(simd, digits, group, first, sums),
                };
            }
        }
    }
}

/// For ciphertexts `first .. first + B`; returns B.
///
/// # Safety
/// first + B must not exceed TILE, V·2L be GROUP, and `group` hold PAIR_LEN halves for each of `digits`.
#[inline(always)]
unsafe fn add_products<S: Simd, const B: usize, const V: usize>(
    simd: S,
    digits: &[DigitPairs],
    group: &[i16],
    first: usize,
    sums: &mut Sums,
) -> usize {
    let mut totals = [[[simd.splat_words(0); V]; B]; 2];
    let mut pair = group.as_ptr();
    for digits in digits {
        for (half, totals) in totals.iter_mut().enumerate() {
            for v in 0..V {
                // SAFETY: inside the pair's PAIR_LEN halves: `half` begins at 2·GROUP·half, vector v 4L halves after
                // vector v − 1.
                let factors = unsafe { simd.load_words(pair.add(2 * GROUP * half + 4 * S::LANES * v).cast()) };
                for b in 0..B {
                    let digit = simd.splat_integers(digits[first + b]);
                    totals[b][v] = simd.add_pair_products(totals[b][v], factors, digit);
                }
            }
        }
        // SAFETY: `group` holds as many pairs as there are `digits`.
        pair = unsafe { pair.add(PAIR_LEN) };
    }
    for (totals, sums) in totals.iter().zip(sums.iter_mut()) {
        for b in 0..B {
            for v in 0..V {
                // SAFETY: vector v of the GROUP sums of one ciphertext.
                unsafe {
                    let at = sums[first + b].as_mut_ptr().add(2 * S::LANES * v).cast();
                    simd.store_words(simd.add_integers(simd.load_words(at), totals[b][v]), at);
                }
            }
        }
    }
    B
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Backend;

    /// By its definition.
    fn reference(digits: &[i32], key: &[u64], out: &mut [u64], columns: usize) {
        let rows = key.len() / columns;
        for (b, out) in out.chunks_exact_mut(columns).enumerate() {
            for (j, o) in out.iter_mut().enumerate() {
                for r in 0..rows {
                    let rounded = key[r * columns + j].wrapping_add(1 << 31) >> 32 << 32;
                    *o = o.wrapping_sub((digits[b * rows + r] as i64 as u64).wrapping_mul(rounded));
                }
            }
        }
    }

    fn check(digits: &[i32], key: &[u64], out: &[u64], columns: usize, panel_rows: usize) {
        let rows = key.len() / columns;
        let mut expected = out.to_vec();
        reference(digits, key, &mut expected, columns);
        let mut matrix = PackedMatrix::zeros(rows, columns, panel_rows);
        for (panel, rows) in matrix.panels_mut().zip(key.chunks(panel_rows * columns)) {
            PackedMatrix::pack(rows, columns, panel);
        }
        for backend in Backend::available() {
            let mut actual = out.to_vec();
            matrix.multiply_subtract_on(Capability::new(backend).unwrap(), digits, &mut actual);
            assert!(actual == expected, "{backend}: {rows} × {columns}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_backend_is_exact(
            batch in 1_usize..20, rows in 1_usize..40, columns in 1_usize..70, half_panel in 1_usize..10, seed: u64,
        ) {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state ^ (state >> 29)
            };
            let bound = 1 << (MAXIMUM_BASE_LOG - 1);
            let digits: Vec<i32> = (0..batch * rows).map(|_| (next() % (2 * bound + 1)) as i32 - bound as i32).collect();
            let key: Vec<u64> = (0..rows * columns).map(|_| next()).collect();
            let out: Vec<u64> = (0..batch * columns).map(|_| next()).collect();
            check(&digits, &key, &out, columns, 2 * half_panel);
        }
    }

    #[test]
    fn extremes_are_exact() {
        for digit in [-(1 << 14), -1, 0, 1, 1 << 14] {
            for x in [0, 1, 1 << 31, 1 << 32, 0x8000 << 32, 0x7fff << 32, 1 << 63, (1 << 63) - 1, u64::MAX] {
                check(&[digit; 9 * 33], &[x; 33 * 19], &[u64::MAX; 9 * 19], 19, 8);
            }
        }
    }
}
