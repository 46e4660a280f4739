//! A run of a head with every number on its way: what the owner of the key would decrypt there, what the clear engine has, its noise, what
//! was predicted of it, and how much more it could bear.
//!
//! The program runs several times, each time watched ([`nn::watched`]): on plain numbers, on nothing for predictions, with drawn noise, and as
//! it was asked for. These runs have the same operations, so that numbers stand beside each other. In execute mode the client decrypts what the
//! server's operations gave: this is for study, with both in one process.

mod exact;
mod model;
mod packed;
mod pass;
mod place;

pub use model::{KEPT_NUMBERS, TraceNumber, TracePlace, TraceUnit};
pub(super) use pass::Collector;
pub use pass::{NoisyNumber, WatchedPass};
pub(super) use place::{trace_executed, trace_simulated};
