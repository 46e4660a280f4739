//! What will run: known before anything is encrypted.

mod either;
mod exact;
mod forecast;
mod packed;

pub use either::Plan;
pub use exact::ExactPlan;
pub use forecast::{Bytes, Forecast};
pub use packed::PackedPlan;
