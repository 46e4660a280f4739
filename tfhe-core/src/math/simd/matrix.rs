//! Products of matrices of small digits with matrices of torus elements: the key switch of a block of ciphertexts.
//!
//! The key is far larger than the caches, so it must be read once for the whole block: a *panel* of [`PANEL_ROWS`] rows
//! of the key at a time stays in the second-level cache while every ciphertext uses it, and the next panel is fetched
//! meanwhile. Inside a panel, tiles of a few ciphertexts × one or two vectors of columns stay in registers.

use super::{Capability, Kernel, Simd, selected_capability};

/// Rows of the key per panel: 32 rows of 920 columns are 230 KiB.
const PANEL_ROWS: usize = 16;
/// Ciphertexts whose digits are gathered at a time, the most in a register tile.
const TILE_CIPHERTEXTS: usize = 8;
/// Columns of the widest register tile: two vectors of eight lanes.
const MAXIMUM_TILE_COLUMNS: usize = 16;

/// `out −= digits·key` modulo 2^64, on the selected backend: `digits` [B][rows], `key` [rows][columns],
/// `out` [B][columns]. O(B·rows·columns); reads the key once.
///
/// # Panics
/// If `columns` is 0, the lengths do not fit each other, or the selected backend is unusable
/// ([`super::Backend::selected`]).
pub(crate) fn multiply_subtract(digits: &[i32], key: &[u64], out: &mut [u64], columns: usize) {
    multiply_subtract_on(selected_capability(), digits, key, out, columns);
}

fn multiply_subtract_on(capability: Capability, digits: &[i32], key: &[u64], out: &mut [u64], columns: usize) {
    assert!(columns > 0 && key.len().is_multiple_of(columns) && out.len().is_multiple_of(columns));
    assert_eq!(digits.len() * columns * columns, key.len() * out.len());
    if key.is_empty() {
        return;
    }
    let product = Product { digits, key, out, columns };
    match capability {
        Capability::Portable => product.portable(),
        Capability::Vector(instructions) => instructions.run(product),
    }
}

struct Product<'a> {
    digits: &'a [i32],
    key: &'a [u64],
    out: &'a mut [u64],
    columns: usize,
}

impl Product<'_> {
    fn portable(self) {
        let rows = self.key.len() / self.columns;
        for first_row in (0..rows).step_by(PANEL_ROWS) {
            let panel = &self.key[first_row * self.columns..rows.min(first_row + PANEL_ROWS) * self.columns];
            for (digits, out) in self.digits.chunks_exact(rows).zip(self.out.chunks_exact_mut(self.columns)) {
                for (&digit, row) in digits[first_row..].iter().zip(panel.chunks_exact(self.columns)) {
                    for (o, &k) in out.iter_mut().zip(row) {
                        *o = o.wrapping_sub(k.wrapping_mul(digit as i64 as u64));
                    }
                }
            }
        }
    }
}

/// The digits of one tile, sign-extended: [row of the panel][ciphertext of the tile].
type DigitTile = [[u64; TILE_CIPHERTEXTS]; PANEL_ROWS];

/// A panel of the key.
struct Panel<'a> {
    /// [rows][columns], at most [`PANEL_ROWS`] rows.
    key: &'a [u64],
    /// The columns that fill no whole register tile, padded with zeros: [rows][`MAXIMUM_TILE_COLUMNS`].
    edge: [u64; PANEL_ROWS * MAXIMUM_TILE_COLUMNS],
    /// The key after this panel.
    next: &'a [u64],
    rows: usize,
    columns: usize,
    /// The columns that fill whole register tiles.
    whole: usize,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // As many sums as registers hold beside the operands: 8 × 2 of 32 registers; 4 × 1 of 16, a sum taking two.
        if S::LANES == 8 { self.run_tiled::<S, 8, 2>(simd) } else { self.run_tiled::<S, 4, 1>(simd) }
    }
}

impl Product<'_> {
    /// With register tiles of up to B ciphertexts × V vectors.
    #[inline(always)]
    fn run_tiled<S: Simd, const B: usize, const V: usize>(self, simd: S) {
        let Self { digits, key, out, columns } = self;
        let rows = key.len() / columns;
        let blocks = (out.len() / columns).div_ceil(TILE_CIPHERTEXTS);
        for first_row in (0..rows).step_by(PANEL_ROWS) {
            let panel = Panel::new(&key[first_row * columns..], columns, V * S::LANES);
            // Each block of ciphertexts fetches its share of the next panel.
            let mut shares = panel.next.chunks(panel.next.len().div_ceil(blocks).max(1));
            let blocks = out.chunks_mut(TILE_CIPHERTEXTS * columns);
            for (block, digits) in blocks.zip(digits.chunks(TILE_CIPHERTEXTS * rows)) {
                let mut tile = [[0; TILE_CIPHERTEXTS]; PANEL_ROWS];
                for (b, digits) in digits.chunks_exact(rows).enumerate() {
                    for (row, &digit) in tile.iter_mut().zip(&digits[first_row..]) {
                        row[b] = digit as i64 as u64;
                    }
                }
                panel.subtract_block::<S, B, V>(simd, &tile, block, shares.next().unwrap_or_default());
            }
        }
    }
}

impl<'a> Panel<'a> {
    /// The first rows of `key`, whose register tiles are `tile_columns` wide.
    #[inline(always)]
    fn new(key: &'a [u64], columns: usize, tile_columns: usize) -> Self {
        let (key, next) = key.split_at(key.len().min(columns * PANEL_ROWS));
        let next = &next[..next.len().min(columns * PANEL_ROWS)];
        let whole = columns - columns % tile_columns;
        let mut edge = [0; PANEL_ROWS * MAXIMUM_TILE_COLUMNS];
        for (row, edge) in key.chunks_exact(columns).zip(edge.chunks_exact_mut(MAXIMUM_TILE_COLUMNS)) {
            edge[..columns - whole].copy_from_slice(&row[whole..]);
        }
        Self { key, edge, next, rows: key.len() / columns, columns, whole }
    }

    /// `out −= digits·panel`: `out` [up to TILE_CIPHERTEXTS][columns]. Fetches `share`, a part of the next panel.
    #[inline(always)]
    fn subtract_block<S: Simd, const B: usize, const V: usize>(
        &self,
        simd: S,
        digits: &DigitTile,
        out: &mut [u64],
        share: &[u64],
    ) {
        let ciphertexts = out.len() / self.columns;
        let mut first = 0;
        while first < ciphertexts {
            let rest = &mut out[first * self.columns..];
            let share = if first == 0 { share } else { &[] };
            first += match ciphertexts - first {
                left if left >= B => self.subtract::<S, B, V>(simd, digits, first, rest, share),
                4.. => self.subtract::<S, 4, V>(simd, digits, first, rest, share),
                2.. => self.subtract::<S, 2, V>(simd, digits, first, rest, share),
                _ => self.subtract::<S, 1, V>(simd, digits, first, rest, share),
            };
        }
    }

    /// The same for the B ciphertexts whose digits start at `first`. Returns B.
    #[inline(always)]
    fn subtract<S: Simd, const B: usize, const V: usize>(
        &self,
        simd: S,
        digits: &DigitTile,
        first: usize,
        out: &mut [u64],
        share: &[u64],
    ) -> usize {
        let columns = self.columns;
        let mut tile = [[0; B]; PANEL_ROWS];
        for (to, from) in tile.iter_mut().zip(digits) {
            to.copy_from_slice(&from[first..first + B]);
        }
        let digits = &tile[..self.rows];
        let mut fetch = share.chunks(share.len().div_ceil(self.whole / (V * S::LANES) + 1).max(1));
        for column in (0..self.whole).step_by(V * S::LANES) {
            for line in fetch.next().unwrap_or_default().chunks(8) {
                simd.prefetch(line.as_ptr());
            }
            subtract_tile::<S, B, V>(simd, digits, &self.key[column..], columns, &mut out[column..], columns);
        }
        let edge = columns - self.whole;
        if edge > 0 {
            let mut padded = [0; TILE_CIPHERTEXTS * MAXIMUM_TILE_COLUMNS];
            for (out, padded) in out.chunks_exact(columns).zip(padded.chunks_exact_mut(MAXIMUM_TILE_COLUMNS)).take(B) {
                padded[..edge].copy_from_slice(&out[self.whole..]);
            }
            let stride = MAXIMUM_TILE_COLUMNS;
            subtract_tile::<S, B, V>(simd, digits, &self.edge, stride, &mut padded, stride);
            for (out, padded) in out.chunks_exact_mut(columns).zip(padded.chunks_exact(stride)).take(B) {
                out[self.whole..].copy_from_slice(&padded[..edge]);
            }
        }
        B
    }
}

/// One register tile: B ciphertexts × V vectors, where the rows of `key` and of `out` start `key_stride` and
/// `out_stride` apart.
#[inline(always)]
fn subtract_tile<S: Simd, const B: usize, const V: usize>(
    simd: S,
    digits: &[[u64; B]],
    key: &[u64],
    key_stride: usize,
    out: &mut [u64],
    out_stride: usize,
) {
    let width = V * S::LANES;
    assert!((digits.len() - 1) * key_stride + width <= key.len());
    assert!((B - 1) * out_stride + width <= out.len());
    let mut sums = [[simd.zero_sum(); V]; B];
    for (row, digits) in digits.iter().enumerate() {
        let mut factors = [simd.factor(simd.splat_words(0)); V];
        for (v, factor) in factors.iter_mut().enumerate() {
            // SAFETY: row < digits.len(), so this vector ends at or before (digits.len() − 1)·key_stride + width.
            *factor = simd.factor(unsafe { simd.load_words(key.as_ptr().add(row * key_stride + v * S::LANES)) });
        }
        for b in 0..B {
            let digit = simd.splat_words(digits[b]);
            for v in 0..V {
                sums[b][v] = simd.multiply_add_digit(sums[b][v], factors[v], digit);
            }
        }
    }
    for (b, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: b < B, so this vector ends at or before (B − 1)·out_stride + width.
            unsafe {
                let at = out.as_mut_ptr().add(b * out_stride + v * S::LANES);
                simd.store_words(simd.subtract_words(simd.load_words(at), simd.sum_value(sum)), at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Backend;

    /// Σ_r digits[b][r]·key[r][j], by its definition.
    fn reference(digits: &[i32], key: &[u64], out: &mut [u64], columns: usize) {
        let rows = key.len() / columns;
        for (b, out) in out.chunks_exact_mut(columns).enumerate() {
            for (j, o) in out.iter_mut().enumerate() {
                for r in 0..rows {
                    *o = o.wrapping_sub((digits[b * rows + r] as i64 as u64).wrapping_mul(key[r * columns + j]));
                }
            }
        }
    }

    fn check(digits: &[i32], key: &[u64], out: &[u64], columns: usize) {
        let mut expected = out.to_vec();
        reference(digits, key, &mut expected, columns);
        for backend in Backend::available() {
            let mut actual = out.to_vec();
            multiply_subtract_on(Capability::new(backend).unwrap(), digits, key, &mut actual, columns);
            assert!(actual == expected, "{backend}: {} × {columns}", key.len() / columns);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_backend_is_exact(batch in 1_usize..20, rows in 1_usize..40, columns in 1_usize..70, seed: u64) {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state ^ (state >> 29)
            };
            let digits: Vec<i32> = (0..batch * rows).map(|_| next() as i32).collect();
            let key: Vec<u64> = (0..rows * columns).map(|_| next()).collect();
            let out: Vec<u64> = (0..batch * columns).map(|_| next()).collect();
            check(&digits, &key, &out, columns);
        }
    }

    #[test]
    fn extremes_are_exact() {
        for digit in [i32::MIN, -1, 0, 1, i32::MAX] {
            for x in [0, 1, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 63, (1 << 63) - 1, u64::MAX, 0x8000_0000_8000_0000] {
                check(&[digit; 9 * 33], &[x; 33 * 19], &[u64::MAX; 9 * 19], 19);
            }
        }
    }
}
