//! Lookups on many machines.
//!
//! A lookup is mostly one blind rotation, and those of a step wait for nothing but the step before. So a server cuts them into [`batch`]es, and
//! whoever has the same evaluation keys can compute these: workers, which have no secret and no weights, and the server itself. A
//! [`dispatcher`] hands them out, and sees to it that every one is computed whoever fails; what carries them is an
//! [`exchange`]: NATS JetStream with the feature `nats`, or the memory of one process.
//!
//! This package knows blind rotations and bytes. What they are for is known to whoever asks for them.
#![deny(unsafe_code)]

pub mod batch;
pub mod compute;
pub mod cutting;
pub mod dispatcher;
pub mod exchange;
pub mod info;
pub mod keys;
#[cfg(feature = "nats")]
pub mod nats;
pub mod scale;
#[cfg(test)]
mod testing;
