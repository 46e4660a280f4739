//! Where whoever waits for batches gets their results.

use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use tfhe_core::glwe::GlweCiphertext;

use super::lock::locked;
use crate::batch::{BatchError, BatchResult, ExpectedResult};

/// What comes to a call.
pub(super) enum Message {
    /// A worker's result.
    Result {
        /// Of which batch.
        number: u64,
        /// How many it had.
        bytes: u64,
        /// What is in it.
        read: Box<Result<BatchResult, BatchError>>,
    },
    /// A thread of this process has ended by a panic.
    Panicked,
    /// A batch was computed here.
    Own {
        /// Which.
        batch: usize,
        /// What it gave.
        results: Vec<GlweCiphertext>,
        /// Seconds of computing.
        seconds: f64,
        /// What a worker's result was, and whose, if that is to be compared.
        claimed: Option<(String, Vec<GlweCiphertext>)>,
    },
}

/// A result that somebody waits for.
#[derive(Clone)]
pub(super) struct Awaited {
    /// Where it goes.
    pub(super) inbox: Weak<Inbox>,
    /// What it has to be.
    pub(super) expected: ExpectedResult,
}

/// Messages to one call.
#[derive(Default)]
pub(super) struct Inbox {
    messages: Mutex<Vec<Message>>,
    changed: Condvar,
}

impl Inbox {
    pub(super) fn put(&self, message: Message) {
        locked(&self.messages).push(message);
        self.changed.notify_all();
    }

    /// All that there is, or comes within `patience`.
    pub(super) fn take(&self, patience: Duration) -> Vec<Message> {
        let messages = locked(&self.messages);
        let waited = self.changed.wait_timeout_while(messages, patience, |messages| messages.is_empty());
        std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}
