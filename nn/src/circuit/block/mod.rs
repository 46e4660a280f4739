//! Whole blocks.
mod attention;
mod mlp;
mod norm;
mod program;
mod reading;
pub mod steps;

pub use attention::{AttentionCache, AttentionProgram, HeadProgram};
pub use mlp::MlpProgram;
pub use norm::NormProgram;
pub use program::{BlockCache, BlockProgram};
pub use reading::{Argument, Reading};
