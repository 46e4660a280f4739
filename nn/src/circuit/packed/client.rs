//! The client's half of the packed attention.

use crate::error::{Error, check_finite};
use crate::matrix::Matrix;
use crate::quantizers::Saturation;

/// What the client needs: how to make the attention's input, and what its output means.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedClient {
    /// The largest integer of an input.
    pub(super) levels: i32,
    /// `[E]`.
    pub(super) centers: Vec<f64>,
    /// `[E]`.
    pub(super) scales: Vec<f64>,
    /// `[O]`, in units of the output's integers.
    pub(super) output_centers: Vec<f64>,
    /// `[O]`.
    pub(super) output_scales: Vec<f64>,
    pub(super) max_tokens: usize,
}

impl PackedClient {
    /// The largest integer of an input.
    pub fn levels(&self) -> i32 {
        self.levels
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What one unit of each channel of the input stands for, `[E]`.
    pub fn input_scales(&self) -> &[f64] {
        &self.scales
    }

    /// What one unit of each channel of the output stands for, `[O]`.
    pub fn output_scales(&self) -> &[f64] {
        &self.output_scales
    }

    /// What outputs are near to, `[O]`, in units of their integers: of what they are modulo a turn, the nearest to this counts.
    pub fn output_centers(&self) -> &[f64] {
        &self.output_centers
    }

    /// How far an entry of the input is from its channel's center, in units of its scale.
    fn steps(&self, hidden: &Matrix<f32>, row: usize, channel: usize) -> f64 {
        (hidden[(row, channel)] as f64 - self.centers[channel]) / self.scales[channel]
    }

    /// What [`Self::quantize_input`] cuts off.
    ///
    /// # Panics
    /// If `hidden` does not have E columns.
    pub fn saturation(&self, hidden: &Matrix<f32>) -> Saturation {
        assert_eq!(hidden.cols(), self.centers.len(), "an input of the attention");
        Saturation::of([hidden.rows(), hidden.cols()], self.levels, |row, channel| self.steps(hidden, row, channel))
    }

    /// The integers of `hidden: [T, E]`, the input of the attention after LayerNorm 1; what is beyond its range saturates
    /// ([`Self::saturation`]).
    ///
    /// # Errors
    /// [`Error::Shape`] if T is 0 or more than [`Self::max_tokens`], or E is not the head's; [`Error::NotFinite`].
    pub fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, Error> {
        let size = self.centers.len();
        if hidden.cols() != size || !(1..=self.max_tokens).contains(&hidden.rows()) {
            let expected = format!("[T, {size}] with T in 1 ..= {}", self.max_tokens);
            return Err(Error::shape("the input of the attention", expected, &[hidden.rows(), hidden.cols()]));
        }
        check_finite("the input of the attention", hidden.data())?;
        let levels = self.levels as f64;
        Ok(Matrix::from_fn(hidden.rows(), size, |row, channel| {
            self.steps(hidden, row, channel).round_ties_even().clamp(-levels, levels) as i32
        }))
    }

    /// The values of the output `[rows, O]`, given in units of each channel's scale.
    pub fn dequantize_output(&self, output: &Matrix<f64>) -> Matrix<f32> {
        let (rows, cols) = (output.rows(), output.cols());
        Matrix::from_fn(rows, cols, |row, channel| (output[(row, channel)] * self.output_scales[channel]) as f32)
    }
}
