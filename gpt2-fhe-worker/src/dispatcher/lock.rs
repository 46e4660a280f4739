//! Mutexes whose contents are whole, whatever thread has panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex holds: nothing that is written under one is left half-done by a panic.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
