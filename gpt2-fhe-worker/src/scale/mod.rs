//! A model of scale: how long calls of lookups take with so many workers, in a [closed form](closed) and by a [simulation], and what
//! a [record] of a run has to hold so that both can be compared with it.
//!
//! A request is a sequence of [`LookupCall`]s. Before each, the server does work that stays with it; then the call's blind rotations, which wait
//! for nothing, are cut into batches, and the next begins when all results are there. Nothing here knows what the lookups are for.

pub mod closed;
pub mod cluster;
pub mod durations;
pub mod messages;
pub mod record;
pub mod simulation;

pub use closed::{Binding, ClosedForm};
pub use cluster::{Cluster, LookupCall, MessageSizes, OwnWork};
pub use durations::{Durations, NoDuration};
pub use messages::MessageSeconds;
pub use record::{BatchRecord, CallRecord, RecordError, RecordHeader, RunRecord};
pub use simulation::{Simulated, simulate};

#[cfg(test)]
mod tests;
