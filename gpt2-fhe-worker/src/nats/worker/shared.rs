//! What all parts of a worker have.

use std::sync::atomic::AtomicU64;

use tokio::sync::watch;

use super::slots::Slots;
use crate::nats::connection::Link;

/// A worker that runs.
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) slots: Slots,
    pub(super) counts: Done,
    /// True: nothing is taken any more.
    pub(super) stopping: watch::Receiver<bool>,
}

/// What was done since the worker started.
#[derive(Default)]
pub(super) struct Done {
    pub(super) batches: AtomicU64,
    pub(super) rotations: AtomicU64,
    pub(super) microseconds: AtomicU64,
    pub(super) refused: AtomicU64,
}
