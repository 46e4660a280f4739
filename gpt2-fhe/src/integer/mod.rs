//! Programs over tables of integers, on torus elements: the exact circuit.
//!
//! [`evaluator::IntegerEvaluator`] implements [`nn::evaluator::Evaluator`] over an [`backend::IntegerBackend`]: it keeps each integer's
//! scale and predicted noise, decides how each table is read, and adds up failure probabilities. The three backends are
//! [`ciphertexts::IntegerCiphertexts`], [`simulated::SimulatedIntegers`] (phases with drawn noise) and [`counted::CountedIntegers`]
//! (nothing: what the circuit costs).
//!
//! # Scales
//! An integer m that is to be read by a table of w bits is the torus element m/2^(w+1): the table is negacyclic with
//! period 2^(w+1). A scale can be raised by a multiplication by a power of two, never lowered, so an integer that is
//! used twice is made at the smaller of the two scales.

pub mod backend;
pub mod ciphertexts;
pub mod counted;
pub mod encoding;
pub mod evaluator;
mod lookup;
pub mod multiply;
mod output;
pub mod prediction;
pub mod prepared;
mod product;
pub mod simulated;
pub mod tensor;
mod watched;
