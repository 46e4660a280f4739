//! What everything stands on: errors, files, panics of others.

pub(crate) mod error;
pub mod file;
pub mod guard;
