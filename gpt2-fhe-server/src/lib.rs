//! A server that computes on encrypted data, by HTTP.
//!
//! Whoever owns keys sends evaluation keys once, then requests, and fetches answers. What is computed is an [`engine::Engine`]'s to know;
//! this package keeps files, lets keys take turns, and answers every mistake of the other party by a status and one line. It has no
//! secret, and is built without code that could hold one. The book's appendix A5 (`docs/A5-server-reference.md`) has the API.
//!
//! ```no_run
//! # use clap::Parser;
//! # fn main_of<E: gpt2_fhe_server::engine::Engine>(engine: E) -> Result<(), gpt2_fhe_server::service::StartError> {
//! #[derive(Parser)]
//! struct CommandLine {
//!     #[command(flatten)]
//!     server: gpt2_fhe_server::arguments::ServerArguments,
//! }
//! gpt2_fhe_server::service::run(engine, &CommandLine::parse().server)
//! # }
//! ```
#![deny(unsafe_code)]

mod access;
mod api;
pub mod arguments;
pub mod blocks;
pub mod engine;
mod failure;
mod folder;
mod hub;
mod keyring;
mod metrics;
mod name;
mod queue;
pub mod service;
mod tracker;
mod upload;
#[cfg(feature = "nats")]
pub mod workers;

pub use access::AccessError;
pub use folder::FolderError;
