//! What both circuits ask of a calibration set, and of an input.

use crate::error::{Error, check_finite, check_within};
use crate::matrix::Matrix;

/// Checks the inputs of a calibration set, each `[T, E]`, and returns the most tokens of an input: those that are given, or those of the
/// longest.
///
/// # Errors
/// [`Error::Shape`] if there is no input or one does not fit; [`Error::NotFinite`]; as [`check_tokens`].
pub(crate) fn check_inputs(
    embedding_size: usize,
    inputs: &[Matrix<f32>],
    max_tokens: Option<usize>,
    limit: usize,
) -> Result<usize, Error> {
    for hidden in inputs {
        if hidden.rows() == 0 || hidden.cols() != embedding_size {
            let expected = format!("[T, {embedding_size}] with T at least 1");
            return Err(Error::shape("a calibration input", expected, &[hidden.rows(), hidden.cols()]));
        }
        check_finite("a calibration input", hidden.data())?;
    }
    let Some(longest) = inputs.iter().map(Matrix::rows).max() else {
        return Err(Error::shape("the calibration set", "at least one input", &[0]));
    };
    let max_tokens = max_tokens.unwrap_or(longest);
    check_tokens(max_tokens, limit).map(|()| max_tokens)
}

/// Checks the most tokens of an input.
///
/// # Errors
/// [`Error::OutOfRange`].
pub(crate) fn check_tokens(max_tokens: usize, limit: usize) -> Result<(), Error> {
    check_within("the largest number of tokens", max_tokens, 1..=limit)
}

/// Checks an input of the attention, `[T, E]`.
///
/// # Errors
/// [`Error::Shape`] if T is 0 or more than `max_tokens`, or E is another; [`Error::NotFinite`].
pub(crate) fn check_input(hidden: &Matrix<f32>, embedding_size: usize, max_tokens: usize) -> Result<(), Error> {
    if hidden.cols() != embedding_size || !(1..=max_tokens).contains(&hidden.rows()) {
        let expected = format!("[T, {embedding_size}] with T in 1 ..= {max_tokens}");
        return Err(Error::shape("the input of the attention", expected, &[hidden.rows(), hidden.cols()]));
    }
    check_finite("the input of the attention", hidden.data())
}
