//! Hands out batches, and sees to it that all of them are computed.
//!
//! A [`LookupSession`] is one request's: it gives blind rotations to workers, as many as they can be expected to compute, and the rest to
//! this process's own threads. Nothing depends on a worker:
//!
//! | what happens | what is done |
//! |---|---|
//! | a batch takes too long: its worker died, froze, or was never there | it is computed here, or by whoever is first |
//! | a result comes twice, or late | the first counts |
//! | a result is damaged, or not of its batch | it is dropped, and the batch computed here |
//! | a worker refuses a batch | it is computed here |
//! | the exchange cannot be reached | everything is computed here, until it can |
//! | a result is wrong, which only [`DispatchOptions::verify`] finds | the worker is not believed any more, and the request ends |
//!
//! So a call ends, and what it returns has the bits that this process would have computed, whoever did.

mod board;
mod call;
mod handle;
mod inbox;
mod key;
mod key_file;
mod lock;
mod session;
mod shared;
#[cfg(test)]
mod tests;

pub use self::handle::{DispatchError, Dispatcher};
pub use self::key_file::{KeyFile, WriteKeys};
pub use self::session::LookupSession;
pub use self::shared::DispatchOptions;
