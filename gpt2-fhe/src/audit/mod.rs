//! Evidence for each claim about the cryptography: what is computed, measured or recorded, and whether it holds.
//!
//! An audit is made of sections, each a list of claims with figures and a verdict. Keys are made for it and thrown away. Nothing that it says was
//! decided beforehand: each kind of claim is broken on purpose in the tests of its file, and is then said not to hold.

mod bench;
mod claim;
mod error;
pub mod estimates;
pub mod failure;
pub mod keys;
pub mod messages;
pub mod noise;
mod operations;
pub mod randomness;
mod refreshes;
mod rows;
pub mod secrets;
pub mod statistics;
pub mod transforms;

pub use bench::errors;
pub use claim::{AuditClaim, AuditSection, ClaimFigure, ClaimVerdict, MeasuredNoise, NoiseHistogram};
pub use error::AuditError;
