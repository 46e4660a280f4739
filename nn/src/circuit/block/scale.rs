//! What numbers stand for: hidden states as the stream's numbers, and back; and what is answered otherwise.

use crate::error::{Error, check_finite};
use crate::matrix::Matrix;

/// What a number of each channel of the stream stands for.
///
/// The stream has E + 1 channels: hidden states less the mean of each row, which is all that LayerNorm sees, and that mean, which nothing
/// reads but the client.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamScale {
    /// `[E + 1]`: the turns that a unit takes; of channels, powers of two times one of all of them.
    pub(super) turns: Vec<f64>,
}

/// What means may reach, of half a turn, to which they grew on the calibration set.
const MEAN_SHARE: f64 = 1.0 / 16.0;

/// The ratio to the median channel from which on a channel is an outlier.
const OUTLIER: f64 = 4.0;

impl StreamScale {
    /// Of hidden states between blocks, each `[T, E]`, of all layers. A channel that is much larger than the median one takes fewer turns
    /// a unit: its weights get more levels then, of which there are enough, and it bears more of the noise.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none or they differ; [`Error::NotFinite`].
    pub fn calibrate<'a>(states: impl IntoIterator<Item = &'a Matrix<f32>>, log_unit: f64) -> Result<Self, Error> {
        let (mut squares, mut rows, mut largest_mean) = (Vec::new(), 0, 0.0_f64);
        for state in states {
            check_finite("a hidden state of the calibration set", state.data())?;
            squares.resize(if rows == 0 { state.cols() } else { squares.len() }, 0.0);
            if state.cols() != squares.len() {
                let found = [state.rows(), state.cols()];
                return Err(Error::shape("a hidden state", format!("[T, {}]", squares.len()), &found));
            }
            for row in 0..state.rows() {
                largest_mean = largest_mean.max(mean(state.row(row)).abs());
                let centered = centered(state.row(row));
                squares.iter_mut().zip(centered).for_each(|(sum, x)| *sum += x * x);
            }
            rows += state.rows();
        }
        let mut sizes: Vec<f64> = squares.iter().map(|sum| (sum / rows as f64).sqrt()).collect();
        let sorted = {
            let mut sorted = sizes.clone();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let Some(&median) = sorted.get(sorted.len() / 2) else {
            return Err(Error::shape("the calibration set", "at least one hidden state", &[0]));
        };
        let unit = log_unit.exp2();
        let turns = |size: &mut f64| {
            let excess = if median > 0.0 { *size / (OUTLIER * median) } else { 1.0 };
            unit / (excess.max(1.0).sqrt().log2().round()).exp2() / if median > 0.0 { median } else { 1.0 }
        };
        let of_mean = MEAN_SHARE / 2.0 / if largest_mean > 0.0 { largest_mean } else { 1.0 };
        Ok(Self { turns: sizes.iter_mut().map(turns).chain([of_mean]).collect() })
    }

    /// E.
    pub fn size(&self) -> usize {
        self.turns.len() - 1
    }

    /// The turns of a unit of each channel, and of the mean.
    pub fn turns(&self) -> &[f64] {
        &self.turns
    }

    /// The numbers of hidden states `[T, E]`, in turns: `[T, E + 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not E columns; [`Error::NotFinite`].
    pub fn encode(&self, hidden: &Matrix<f32>) -> Result<Matrix<f64>, Error> {
        if hidden.cols() != self.size() {
            let found = [hidden.rows(), hidden.cols()];
            return Err(Error::shape("a hidden state", format!("[T, {}]", self.size()), &found));
        }
        check_finite("a hidden state", hidden.data())?;
        let parts =
            |row: &[f32]| centered(row).chain([mean(row)]).zip(&self.turns).map(|(x, turns)| x * turns).collect();
        let rows: Vec<Vec<f64>> = (0..hidden.rows()).map(|row| parts(hidden.row(row))).collect();
        Matrix::new(hidden.rows(), self.turns.len(), rows.concat())
    }

    /// The hidden states of numbers `[T, E + 1]` in turns, `[T, E]`.
    ///
    /// # Panics
    /// If there are not E + 1 columns.
    pub fn decode(&self, stream: &Matrix<f64>) -> Matrix<f32> {
        assert_eq!(stream.cols(), self.turns.len(), "the stream's channels");
        joined(&Matrix::from_fn(stream.rows(), stream.cols(), |row, channel| {
            stream[(row, channel)] / self.turns[channel]
        }))
    }
}

/// The ratio of what numbers may reach that are decrypted modulo one turn to what they reached on the calibration set.
pub(super) const ANSWER_GUARD: f64 = 1.25;

/// What numbers stand for that are decrypted modulo one turn, each at a range of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerScale {
    /// The turns that a unit of each takes.
    pub(super) turns: Vec<f64>,
    /// What a number of zero stands for.
    pub(super) middles: Vec<f64>,
}

impl AnswerScale {
    /// The number of columns.
    pub fn size(&self) -> usize {
        self.turns.len()
    }

    /// The turns that a unit of each takes.
    pub fn turns(&self) -> &[f64] {
        &self.turns
    }

    /// What numbers `[n, size]` in turns stand for.
    ///
    /// # Panics
    /// If there are not as many columns.
    pub fn decode(&self, numbers: &Matrix<f64>) -> Matrix<f64> {
        assert_eq!(numbers.cols(), self.size(), "a scale for each number");
        Matrix::from_fn(numbers.rows(), numbers.cols(), |row, column| {
            let number = numbers[(row, column)];
            (number - number.round()) / self.turns[column] + self.middles[column]
        })
    }
}

/// The mean of a row.
fn mean(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64
}

/// Rows `[T, E]` of [`parts`], `[T, E + 1]`.
pub(super) fn joined(parts: &Matrix<f64>) -> Matrix<f32> {
    let size = parts.cols() - 1;
    Matrix::from_fn(parts.rows(), size, |row, channel| (parts[(row, channel)] + parts[(row, size)]) as f32)
}

/// A row less its mean, and that.
pub(super) fn parts(row: &[f32]) -> Vec<f64> {
    centered(row).chain([mean(row)]).collect()
}

/// A row less its mean.
pub(super) fn centered(row: &[f32]) -> impl Iterator<Item = f64> {
    let mean = mean(row);
    row.iter().map(move |&x| f64::from(x) - mean)
}
