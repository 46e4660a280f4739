//! Panics of libraries, turned into errors.
//!
//! A library that reads what others wrote can panic on it. [`catch_panic`] stands around such calls.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// How many calls of [`catch_panic`] this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One level of [`DEPTH`], for as long as it lives.
struct Level;

impl Level {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// What `work` returns or, if it panics, the panic's message as one line.
///
/// Nothing is printed for a panic of this thread within `work`. Panics elsewhere are printed as ever: the process's
/// panic hook is replaced once, by one that passes them on to the hook that was there before.
///
/// What `work` was changing when it panicked may be left half changed. So `work` should own what it changes, or share
/// only what is made for that.
///
/// # Errors
/// The message of the panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET_HOOK: Once = Once::new();
    QUIET_HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.get() == 0 {
                usual(info);
            }
        }));
    });
    let _level = Level::enter();
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| message(&*payload))
}

/// The message of a panic, in one line.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it gives no reason").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_one_line() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        assert_eq!(catch_panic(|| panic!("two\n lines")), Err::<(), _>("two lines".into()));
        assert_eq!(catch_panic(|| panic!("number {}", 3)), Err::<(), _>("number 3".into()));
        assert_eq!(catch_panic(|| panic::panic_any(3)), Err::<(), _>("it gives no reason".into()));
        assert_eq!(DEPTH.get(), 0);
    }

    #[test]
    fn guards_can_stand_within_guards() {
        let inner = catch_panic(|| (catch_panic(|| panic!("inner")), DEPTH.get()));
        assert_eq!(inner, Ok((Err::<(), _>("inner".into()), 1)));
    }
}
