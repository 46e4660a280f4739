//! Symmetric quantizers: a real number x is represented by the integer nearest to x/scale.
//!
//! With n bits the integers are −L ..= L for L = 2^(n−1) − 1 (the *levels*), so that −x is represented by the
//! negative of what represents x, and zero by zero. The scale is the largest |x| that was seen, divided by L.
//! Larger values saturate. Halves round to the even neighbour, as in NumPy's `rint`.
//!
//! This is the scheme of Jacob et al., "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference" (arXiv:1712.05877), section 2.1, with zero point 0.

use crate::error::{Error, check_finite, check_within};
use crate::matrix::Matrix;
use serde::Serialize;

/// The numbers of bits that a quantizer can have.
pub const QUANTIZER_BITS: std::ops::RangeInclusive<u32> = 2..=16;
/// The largest integer of the most bits.
const MAX_LEVELS: i32 = (1 << (*QUANTIZER_BITS.end() - 1)) - 1;

/// One scale for all values (of a tensor, or of one channel).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantizer {
    levels: i32,
    scale: f64,
}

impl Quantizer {
    /// The quantizer of `bits` bits and the given scale.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `bits` is not in [`QUANTIZER_BITS`], or `scale` is not positive and finite.
    pub fn new(bits: u32, scale: f64) -> Result<Self, Error> {
        Self::with_levels(levels(bits)?, scale)
    }

    /// The quantizer of `bits` bits that represents all of `values` without saturating, as finely as possible.
    ///
    /// The scale is 1 if all values are zero (or there are none): any scale represents zeros exactly. Where it is the unit of something
    /// else besides, that must give it: [`Self::calibrate_beside`]. O(number of values).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `bits` is not in [`QUANTIZER_BITS`], [`Error::NotFinite`] if a value is not finite.
    pub fn calibrate(bits: u32, values: impl IntoIterator<Item = f64>) -> Result<Self, Error> {
        Self::calibrate_leaving(bits, 0, values)
    }

    /// As [`Self::calibrate`], with `scale` if all values are zero.
    ///
    /// # Errors
    /// As [`Self::calibrate`] and [`Self::new`].
    pub fn calibrate_beside(bits: u32, values: impl IntoIterator<Item = f64>, scale: f64) -> Result<Self, Error> {
        let mut nonzero = false;
        let quantizer = Self::calibrate(bits, values.into_iter().inspect(|&value| nonzero |= value != 0.0))?;
        if nonzero { Ok(quantizer) } else { Self::new(bits, scale) }
    }

    /// As [`Self::calibrate`], with the `unused` largest levels on either side left unused.
    ///
    /// # Errors
    /// As [`Self::calibrate`], and [`Error::OutOfRange`] if `unused` leaves no level besides zero.
    pub fn calibrate_leaving(bits: u32, unused: i32, values: impl IntoIterator<Item = f64>) -> Result<Self, Error> {
        let levels = levels(bits)?.saturating_sub(unused);
        let mut largest = 0.0_f64;
        for (position, value) in values.into_iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::NotFinite { what: "the calibration data".into(), value, position });
            }
            largest = largest.max(value.abs());
        }
        let scale = largest / levels.max(1) as f64;
        Self::with_levels(levels, if scale > 0.0 { scale } else { 1.0 })
    }

    fn with_levels(levels: i32, scale: f64) -> Result<Self, Error> {
        check_within("the largest level of a quantizer", levels, 1..=MAX_LEVELS)?;
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Error::out_of_range("the scale of a quantizer", scale, "positive and finite"));
        }
        Ok(Self { levels, scale })
    }

    /// What one level stands for.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The largest integer, L; the smallest is −L.
    pub fn levels(&self) -> i32 {
        self.levels
    }

    /// The integer that represents `value`: the nearest multiple of the scale, saturated. NaN is represented by 0.
    pub fn quantize(&self, value: f64) -> i32 {
        let levels = self.levels as f64;
        (value / self.scale).round_ties_even().clamp(-levels, levels) as i32
    }

    /// The value that `level` represents.
    pub fn dequantize(&self, level: i64) -> f64 {
        level as f64 * self.scale
    }

    /// The integers that represent the entries of a matrix.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if an entry is not finite.
    pub fn quantize_matrix(&self, values: &Matrix<f32>) -> Result<Matrix<i32>, Error> {
        check_finite("the matrix to quantize", values.data())?;
        Ok(values.map(|&value| self.quantize(value as f64)))
    }

    /// What [`Self::quantize_matrix`] cuts off.
    pub fn saturation(&self, values: &Matrix<f32>) -> Saturation {
        let steps = |row, channel| values[(row, channel)] as f64 / self.scale;
        Saturation::of([values.rows(), values.cols()], self.levels, steps)
    }

    /// The entries that the integers of a matrix represent.
    pub fn dequantize_matrix<T: Copy + Into<i64>>(&self, levels: &Matrix<T>) -> Matrix<f32> {
        levels.map(|&level| self.dequantize(level.into()) as f32)
    }
}

/// How many entries of a matrix are beyond what their quantizers represent, and so were cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Saturation {
    /// How many.
    pub count: usize,
    /// The farthest of all entries; `None` if none is beyond.
    pub farthest: Option<SaturatedEntry>,
}

/// An entry beyond what its quantizer represents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SaturatedEntry {
    /// Its row, from 0.
    pub row: usize,
    /// Its column, from 0.
    pub channel: usize,
    /// Its size in units of the largest that is represented, above 1.
    pub ratio: f64,
}

impl Saturation {
    /// Of a matrix whose entry (row, channel) is `steps(row, channel)` scales from what zero represents, with the integers −levels ..=
    /// levels.
    fn of([rows, channels]: [usize; 2], levels: i32, steps: impl Fn(usize, usize) -> f64) -> Self {
        let levels = f64::from(levels);
        let mut saturation = Self::default();
        for (row, channel) in (0..rows).flat_map(|row| (0..channels).map(move |channel| (row, channel))) {
            let size = steps(row, channel).abs();
            if size.round_ties_even() > levels {
                saturation.count += 1;
                let ratio = size / levels;
                if saturation.farthest.is_none_or(|farthest| ratio > farthest.ratio) {
                    saturation.farthest = Some(SaturatedEntry { row, channel, ratio });
                }
            }
        }
        saturation
    }
}

/// One scale for each column of a matrix, and one center: x is represented by the integer nearest to (x − center)/scale.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelQuantizer {
    levels: i32,
    /// `[channels]`
    centers: Vec<f64>,
    /// `[channels]`
    scales: Vec<f64>,
}

impl ChannelQuantizer {
    /// The quantizer to integers −levels ..= levels with the centers and scales of each channel.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a scale is not positive and finite, or there are too many levels; [`Error::Shape`] if there are not as many
    /// centers as scales.
    pub fn new(levels: i32, centers: Vec<f64>, scales: Vec<f64>) -> Result<Self, Error> {
        if centers.len() != scales.len() {
            let expected = format!("[{}], as many as scales", scales.len());
            return Err(Error::shape("the centers of a quantizer", expected, &[centers.len()]));
        }
        scales.iter().try_for_each(|&scale| Quantizer::with_levels(levels, scale).map(drop))?;
        Ok(Self { levels, centers, scales })
    }

    /// The symmetric quantizers of `bits` bits that represent the matrices, each `[_, channels]`, without saturating.
    ///
    /// # Errors
    /// As [`Quantizer::calibrate`], and [`Error::Shape`] if the numbers of columns differ.
    pub fn calibrate(bits: u32, matrices: &[&Matrix<f32>]) -> Result<Self, Error> {
        let count = matrices.first().map_or(0, |matrix| matrix.cols());
        if let Some(odd) = matrices.iter().find(|matrix| matrix.cols() != count) {
            return Err(Error::shape("a calibration matrix", format!("[_, {count}]"), &[odd.rows(), odd.cols()]));
        }
        let column = |channel: usize| {
            let rows = matrices.iter().flat_map(move |matrix| (0..matrix.rows()).map(move |row| (matrix, row)));
            rows.map(move |(matrix, row)| matrix[(row, channel)] as f64)
        };
        let scale = |channel| Ok(Quantizer::calibrate(bits, column(channel))?.scale);
        let scales = (0..count).map(scale).collect::<Result<_, Error>>()?;
        Self::new(levels(bits)?, vec![0.0; count], scales)
    }

    /// The largest integer, L; the smallest is −L.
    pub fn levels(&self) -> i32 {
        self.levels
    }

    /// What zero represents in each channel.
    pub fn centers(&self) -> &[f64] {
        &self.centers
    }

    /// What one level stands for in each channel.
    pub fn scales(&self) -> &[f64] {
        &self.scales
    }

    /// The integers that represent the entries of a matrix `[_, channels]`.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if an entry is not finite, [`Error::Shape`] if it has another number of columns.
    pub fn quantize_matrix(&self, values: &Matrix<f32>) -> Result<Matrix<i32>, Error> {
        self.check_columns(values)?;
        check_finite("the matrix to quantize", values.data())?;
        let levels = f64::from(self.levels);
        Ok(Matrix::from_fn(values.rows(), values.cols(), |row, channel| {
            self.steps(values, row, channel).round_ties_even().clamp(-levels, levels) as i32
        }))
    }

    /// What [`Self::quantize_matrix`] cuts off.
    ///
    /// # Panics
    /// If the matrix does not have as many columns as there are channels.
    pub fn saturation(&self, values: &Matrix<f32>) -> Saturation {
        assert_eq!(values.cols(), self.scales.len(), "columns of the matrix");
        let steps = |row, channel| self.steps(values, row, channel);
        Saturation::of([values.rows(), values.cols()], self.levels, steps)
    }

    /// How far an entry is from its channel's center, in units of its scale.
    fn steps(&self, values: &Matrix<f32>, row: usize, channel: usize) -> f64 {
        (values[(row, channel)] as f64 - self.centers[channel]) / self.scales[channel]
    }

    /// The entries that the integers of a matrix `[_, channels]` represent.
    ///
    /// # Errors
    /// [`Error::Shape`] if it has another number of columns.
    pub fn dequantize_matrix<T: Copy + Into<i64>>(&self, levels: &Matrix<T>) -> Result<Matrix<f32>, Error> {
        self.check_columns(levels)?;
        Ok(Matrix::from_fn(levels.rows(), levels.cols(), |row, channel| {
            let level: i64 = levels[(row, channel)].into();
            (self.centers[channel] + level as f64 * self.scales[channel]) as f32
        }))
    }

    fn check_columns<T>(&self, matrix: &Matrix<T>) -> Result<(), Error> {
        if matrix.cols() == self.scales.len() {
            return Ok(());
        }
        let expected = format!("[_, {}]", self.scales.len());
        Err(Error::shape("the matrix to quantize", expected, &[matrix.rows(), matrix.cols()]))
    }
}

/// The largest integer of `bits` bits: `2^(bits−1) − 1`.
///
/// # Errors
/// [`Error::OutOfRange`] if `bits` is not in [`QUANTIZER_BITS`].
pub fn levels(bits: u32) -> Result<i32, Error> {
    check_within("the number of bits of a quantizer", bits, QUANTIZER_BITS)?;
    Ok((1 << (bits - 1)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_round_to_even() {
        let quantizer = Quantizer::new(4, 1.0).unwrap();
        let rounded = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.4].map(|value| quantizer.quantize(value));
        assert_eq!(rounded, [-2, -2, 0, 0, 2, 2, 3]);
    }

    #[test]
    fn zeros_have_scale_one() {
        assert_eq!(Quantizer::calibrate(8, [0.0, -0.0]).unwrap().scale(), 1.0);
        assert_eq!(Quantizer::calibrate(8, []).unwrap().scale(), 1.0);
    }

    #[test]
    fn zeros_have_the_scale_that_is_given() {
        assert_eq!(Quantizer::calibrate_beside(8, [0.0, 0.0], 0.25).unwrap().scale(), 0.25);
        assert_eq!(Quantizer::calibrate_beside(8, [0.0, 254.0], 0.25).unwrap().scale(), 2.0);
        assert!(Quantizer::calibrate_beside(8, [0.0], 0.0).is_err());
    }

    /// What rounds to the last integer is not cut off yet.
    #[test]
    fn saturated_entries_are_counted() {
        let rows = [[1.0, -7.4, 3.0], [7.0, -7.6, 21.0]];
        let saturation = Saturation::of([2, 3], 7, |row, channel| rows[row][channel]);
        let farthest = Some(SaturatedEntry { row: 1, channel: 2, ratio: 3.0 });
        assert_eq!(saturation, Saturation { count: 2, farthest });
        assert_eq!(Saturation::of([1, 3], 8, |_, channel| rows[0][channel]), Saturation::default());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(Quantizer::calibrate(1, [1.0]), Err(Error::OutOfRange { .. })));
        assert!(matches!(Quantizer::calibrate(17, [1.0]), Err(Error::OutOfRange { .. })));
        assert!(matches!(Quantizer::new(8, 0.0), Err(Error::OutOfRange { .. })));
        assert!(matches!(Quantizer::new(8, f64::NAN), Err(Error::OutOfRange { .. })));
        assert!(matches!(Quantizer::calibrate_leaving(3, 3, [1.0]), Err(Error::OutOfRange { .. })));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let matrix = Matrix::new(1, 3, vec![1.0, bad, 2.0]).unwrap();
            let position = |result| match result {
                Err(Error::NotFinite { position, .. }) => position,
                _ => panic!("{bad} was accepted"),
            };
            assert_eq!(position(Quantizer::calibrate(8, matrix.iter().map(|&x| x as f64)).map(|_| ())), 1);
            assert_eq!(position(Quantizer::new(8, 1.0).unwrap().quantize_matrix(&matrix).map(|_| ())), 1);
        }
    }

    #[test]
    fn channels_have_their_own_scales() {
        let matrix = Matrix::new(2, 3, vec![1.0, 100.0, 0.0, -7.0, 50.0, 0.0]).unwrap();
        let quantizer = ChannelQuantizer::calibrate(4, &[&matrix]).unwrap();
        let levels = quantizer.quantize_matrix(&matrix).unwrap();
        assert_eq!(levels.data(), [1, 7, 0, -7, 4, 0]); // 50 is 3.5 levels of 100/7
        assert_eq!(quantizer.dequantize_matrix(&levels).unwrap()[(0, 1)], 100.0);
        let narrow = Matrix::new(1, 2, vec![0.0, 0.0]).unwrap();
        assert!(matches!(quantizer.quantize_matrix(&narrow), Err(Error::Shape { .. })));
        assert!(matches!(ChannelQuantizer::calibrate(4, &[&matrix, &narrow]), Err(Error::Shape { .. })));
    }

    /// Half a level, and the rounding of the division and of the product: 2^-53 each, of a value of at most L·scale.
    fn round_trip_bound(quantizer: &Quantizer) -> f64 {
        quantizer.scale() / 2.0 + quantizer.scale() * quantizer.levels() as f64 * f64::EPSILON
    }

    /// The quantizer of each channel alone.
    fn channels_of(quantizer: &ChannelQuantizer) -> Vec<Quantizer> {
        quantizer.scales.iter().map(|&scale| Quantizer { levels: quantizer.levels, scale }).collect()
    }

    /// A matrix `[rows, cols]` with columns of very different sizes.
    fn channels() -> impl Strategy<Value = Matrix<f32>> {
        (1_usize..9, 1_usize..9).prop_flat_map(|(rows, cols)| {
            let values = prop::collection::vec(-1.0_f32..1.0, rows * cols);
            let exponents = prop::collection::vec(-60_i32..60, cols);
            (values, exponents).prop_map(move |(values, exponents)| {
                Matrix::from_fn(rows, cols, |row, col| values[row * cols + col] * 2.0_f32.powi(exponents[col]))
            })
        })
    }

    proptest! {
        #[test]
        fn round_trip_is_within_half_a_level(
            bits in QUANTIZER_BITS,
            values in prop::collection::vec(-1e30_f64..1e30, 1..50),
        ) {
            let quantizer = Quantizer::calibrate(bits, values.iter().copied()).unwrap();
            for &value in &values {
                let level = quantizer.quantize(value);
                prop_assert!(level.abs() <= quantizer.levels());
                prop_assert!((quantizer.dequantize(level as i64) - value).abs() <= round_trip_bound(&quantizer));
            }
        }

        /// The largest value takes the last level: with one bit less of scale it would saturate.
        #[test]
        fn no_level_is_wasted(
            bits in QUANTIZER_BITS,
            unused in 0_i32..3,
            values in prop::collection::vec(-1e30_f64..1e30, 1..50),
        ) {
            prop_assume!(unused < levels(bits).unwrap());
            let quantizer = Quantizer::calibrate_leaving(bits, unused, values.iter().copied()).unwrap();
            prop_assert_eq!(quantizer.levels(), levels(bits).unwrap() - unused);
            let reached = values.iter().map(|&value| quantizer.quantize(value).abs()).max();
            prop_assert_eq!(reached, Some(quantizer.levels()));
        }

        #[test]
        fn levels_represent_themselves(bits in QUANTIZER_BITS, scale in 1e-20_f64..1e20, part in -1.0_f64..=1.0) {
            let quantizer = Quantizer::new(bits, scale).unwrap();
            let level = (part * quantizer.levels() as f64) as i32;
            prop_assert_eq!(quantizer.quantize(quantizer.dequantize(level as i64)), level);
        }

        #[test]
        fn order_is_kept(
            bits in QUANTIZER_BITS,
            scale in 1e-20_f64..1e20,
            (a, b) in (-1e25_f64..1e25, -1e25_f64..1e25),
        ) {
            let quantizer = Quantizer::new(bits, scale).unwrap();
            prop_assert!(quantizer.quantize(a.min(b)) <= quantizer.quantize(a.max(b)));
        }

        #[test]
        fn negation_commutes(bits in QUANTIZER_BITS, scale in 1e-20_f64..1e20, value in -1e25_f64..1e25) {
            let quantizer = Quantizer::new(bits, scale).unwrap();
            prop_assert_eq!(quantizer.quantize(-value), -quantizer.quantize(value));
        }

        #[test]
        fn large_values_saturate(bits in QUANTIZER_BITS, scale in 1e-20_f64..1e20, excess in 1.0_f64..1e9) {
            let quantizer = Quantizer::new(bits, scale).unwrap();
            let levels = quantizer.levels();
            prop_assert_eq!(quantizer.quantize(quantizer.dequantize(levels as i64) * excess), levels);
            prop_assert_eq!(quantizer.quantize(f64::NEG_INFINITY), -levels);
        }

        /// One scale for a matrix: each entry as the quantizer has it alone.
        #[test]
        fn a_matrix_is_quantized_entry_by_entry(bits in QUANTIZER_BITS, matrix in channels()) {
            let quantizer = Quantizer::calibrate(bits, matrix.iter().map(|&value| value as f64)).unwrap();
            let levels = quantizer.quantize_matrix(&matrix).unwrap();
            let expected = matrix.map(|&value| quantizer.quantize(value as f64));
            prop_assert_eq!(&levels, &expected);
            let expected = levels.map(|&level| quantizer.dequantize(level as i64) as f32);
            prop_assert_eq!(quantizer.dequantize_matrix(&levels), expected);
        }

        /// One scale for each channel: each column as its own quantizer has it. All that holds of one quantizer, as the
        /// bound of the round trip, holds of each channel then, however small it is beside the others.
        #[test]
        fn channels_are_quantized_each_alone(bits in QUANTIZER_BITS, matrix in channels()) {
            let quantizer = ChannelQuantizer::calibrate(bits, &[&matrix]).unwrap();
            let levels = quantizer.quantize_matrix(&matrix).unwrap();
            let values = quantizer.dequantize_matrix(&levels).unwrap();
            let negated = quantizer.quantize_matrix(&matrix.map(|value| -value)).unwrap();
            prop_assert_eq!(negated, levels.map(|level| -level));
            for (channel, own) in channels_of(&quantizer).iter().enumerate() {
                let column = (0..matrix.rows()).map(|row| matrix[(row, channel)] as f64);
                prop_assert_eq!(own, &Quantizer::calibrate(bits, column).unwrap());
                for row in 0..matrix.rows() {
                    let value = matrix[(row, channel)] as f64;
                    prop_assert_eq!(levels[(row, channel)], own.quantize(value));
                    // Besides, the result is rounded to f32.
                    let bound = round_trip_bound(own) + value.abs() * f64::from(f32::EPSILON);
                    prop_assert!((values[(row, channel)] as f64 - value).abs() <= bound);
                }
            }
        }

        /// Values beyond those of the calibration take a channel's last level, whatever the other channels have.
        #[test]
        fn channels_saturate_each_alone(bits in QUANTIZER_BITS, matrix in channels(), excess in 1.0_f32..1e9) {
            let quantizer = ChannelQuantizer::calibrate(bits, &[&matrix]).unwrap();
            let largest = |channel| (0..matrix.rows()).map(|row| matrix[(row, channel)].abs()).fold(0.0, f32::max);
            let beyond = Matrix::from_fn(2, matrix.cols(), |row, channel| {
                let size = largest(channel).max(f32::MIN_POSITIVE) * excess * 1.000_001;
                if row == 0 { size } else { -size }
            });
            let levels = quantizer.quantize_matrix(&beyond).unwrap();
            let nonzero = channels_of(&quantizer).into_iter().enumerate().filter(|(channel, _)| largest(*channel) > 0.0);
            for (channel, own) in nonzero {
                prop_assert_eq!([levels[(0, channel)], levels[(1, channel)]], [own.levels(), -own.levels()]);
            }
        }
    }
}
