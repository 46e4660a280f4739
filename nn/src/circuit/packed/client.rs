//! The client's half of the packed attention.

use crate::calibration::check_input;
use crate::error::Error;
use crate::matrix::Matrix;
use crate::quantizers::{ChannelQuantizer, Saturation};

/// What the client needs: how to make the attention's input, and what its output means.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedClient {
    pub(super) input: ChannelQuantizer,
    /// `[O]`, in units of the output's integers.
    pub(super) output_centers: Vec<f64>,
    /// `[O]`.
    pub(super) output_scales: Vec<f64>,
    /// How many numbers there are to a channel of the output: O is so many times their number.
    pub(super) output_parts: usize,
    pub(super) max_tokens: usize,
}

impl PackedClient {
    /// The largest integer of an input.
    pub fn levels(&self) -> i32 {
        self.input.levels()
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What one unit of each channel of the input stands for, `[E]`.
    pub fn input_scales(&self) -> &[f64] {
        self.input.scales()
    }

    /// The number of channels of the output.
    pub fn output_size(&self) -> usize {
        self.output_scales.len() / self.output_parts
    }

    /// How many numbers a channel of the output has.
    pub(crate) fn output_parts(&self) -> usize {
        self.output_parts
    }

    /// What one unit of each number of the output stands for, `[O]`.
    pub fn output_scales(&self) -> &[f64] {
        &self.output_scales
    }

    /// What outputs are near to, `[O]`, in units of their integers: of what they are modulo a turn, the nearest to this counts.
    pub fn output_centers(&self) -> &[f64] {
        &self.output_centers
    }

    /// Of all numbers that differ from those of an output `[rows, O]`, in units of its integers, by multiples of `period`, the nearest to
    /// [`Self::output_centers`].
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not O columns.
    pub fn nearest(&self, output: &Matrix<f64>, period: f64) -> Result<Matrix<f64>, Error> {
        let (rows, cols, centers) = (output.rows(), output.cols(), &self.output_centers);
        if cols != centers.len() {
            return Err(Error::shape("an output", format!("{} columns", centers.len()), &[rows, cols]));
        }
        Ok(Matrix::from_fn(rows, cols, |row, channel| {
            let number = output[(row, channel)];
            number + ((centers[channel] - number) / period).round_ties_even() * period
        }))
    }

    /// What [`Self::quantize_input`] cuts off.
    ///
    /// # Panics
    /// If `hidden` does not have E columns.
    pub fn saturation(&self, hidden: &Matrix<f32>) -> Saturation {
        self.input.saturation(hidden)
    }

    /// The integers of `hidden: [T, E]`, the input of the attention after LayerNorm 1; what is beyond its range saturates
    /// ([`Self::saturation`]).
    ///
    /// # Errors
    /// [`Error::Shape`] if T is 0 or more than [`Self::max_tokens`], or E is not the head's; [`Error::NotFinite`].
    pub fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, Error> {
        check_input(hidden, self.input.scales().len(), self.max_tokens)?;
        self.input.quantize_matrix(hidden)
    }

    /// The values of the output's channels, from its numbers `[rows, O]`, given in units of each number's scale: a channel is the sum of its
    /// numbers.
    pub fn dequantize_output(&self, output: &Matrix<f64>) -> Matrix<f32> {
        let channels = self.output_size();
        Matrix::from_fn(output.rows(), channels, |row, channel| {
            let numbers = output.row(row).iter().zip(&self.output_scales).skip(channel).step_by(channels);
            numbers.map(|(number, scale)| number * scale).sum::<f64>() as f32
        })
    }
}
