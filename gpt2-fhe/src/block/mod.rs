//! Whole blocks: the stream of hidden states stays encrypted from one layer to the next.

pub mod backend;
pub mod layout;
