//! Whole blocks.
mod attention;
mod calibrate;
mod client;
mod mlp;
mod model;
mod norm;
mod observed;
mod options;
mod program;
mod reading;
pub mod steps;

pub use attention::{AttentionCache, AttentionProgram, HeadProgram, QueryProgram};
pub use calibrate::BlockPart;
pub use client::StreamScale;
pub use mlp::MlpProgram;
pub use model::ModelProgram;
pub use norm::NormProgram;
pub use options::BlockOptions;
pub use program::{BlockCache, BlockProgram};
pub use reading::{ChannelArgument, Reading};
