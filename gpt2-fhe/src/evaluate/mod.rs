//! What becomes of a model's predictions where a part of a layer's attention is quantized, noisy or encrypted.
//!
//! A text is cut into [`Passage`]s. Each is computed in f32, which gives the input of the attention, its output and the
//! logits that all else is compared with; then once more with the output of a [`Subject`] in its place: a quantized
//! attention in the clear or with simulated noise, or a control, which shows what the figures are worth. [`Accuracy`]
//! is what comes out, and [`Agreement`] for encrypted runs beside simulated ones. [`BlockEvaluation`] does the same for whole
//! blocks.

mod accuracy;
mod blocks;
mod encrypted;
mod evaluation;
mod passage;
mod reference;
mod subject;

pub use accuracy::Accuracy;
pub use blocks::{BlockEvaluation, MeasuredBlocks};
pub use encrypted::Agreement;
pub use evaluation::Evaluation;
pub use passage::{Passage, sample, sample_windows, windows};
pub use subject::{Simulation, Subject, shuffled};
