//! GPT-2's attention on encrypted data.
#![deny(unsafe_code)]

pub mod block;
pub mod boundary;
pub mod client;
pub mod encoding;
pub mod evaluate;
pub mod integer;
pub mod packed;
pub mod run;
pub mod server;
pub mod store;
pub mod track;
