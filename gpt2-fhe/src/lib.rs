//! GPT-2's attention on encrypted data.
#![deny(unsafe_code)]

#[cfg(feature = "client")]
pub mod audit;
pub mod block;
pub mod boundary;
#[cfg(feature = "client")]
pub mod client;
pub mod encoding;
#[cfg(feature = "client")]
pub mod evaluate;
pub mod integer;
pub mod packed;
#[cfg(feature = "client")]
pub mod run;
#[cfg(feature = "client")]
pub mod secret;
pub mod server;
pub mod store;
pub mod track;
