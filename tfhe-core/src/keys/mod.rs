//! The keys of a client and of a server, for one parameter set: the graph of [`crate::key_graph`] with keys on it.
//!
//! [`ClientKeys`] are secret: a key for each node. [`SeededEvaluationKeys`] are what the client sends: a key for each of the edges that
//! [`Needs`] asks for, encryptions of secret bits with seeded masks. [`EvaluationKeys`] are what the server computes with.
//! Neither of the latter can name a secret key.

#[cfg(feature = "secret-keys")]
mod client;
mod evaluation;
mod label;
mod message;
mod needs;
mod stored;
#[cfg(test)]
mod tests;

#[cfg(feature = "secret-keys")]
pub use client::ClientKeys;
pub use evaluation::{EvaluationKeys, KeyswitchKey, MissingKey, NoRefresh, SeededEvaluationKeys};
pub use label::{Identity, KeyId, Label, Mismatch};
pub use message::{Answer, Request};
pub(crate) use needs::Need;
pub use needs::Needs;
pub(crate) use stored::{KeySizes, StoredKey};
