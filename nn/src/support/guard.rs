//! Panics of libraries, turned into errors.
//!
//! A library that reads what others wrote can panic on it, and so can threads that cannot start. [`catch_panic`] stands around such
//! calls, and around a whole program.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

thread_local! {
    /// How many calls of [`catch_panic`] this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}
/// Whether panics are silent on every thread.
static SILENT: AtomicBool = AtomicBool::new(false);
/// Where the last panic was, of any thread: a pool passes on what a panic says, and not where it was.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

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

/// A panic that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// What it says, in one line.
    pub message: String,
    /// The file and line that panicked, if it is known.
    pub place: Option<String>,
}

impl Panic {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("it gives no reason").split_whitespace().collect::<Vec<_>>().join(" ");
        Self { message, place: PLACE.lock().ok().and_then(|mut place| place.take()) }
    }
}

/// What `work` returns or, if it panics, what the panic says.
///
/// Nothing is printed for a panic of this thread within `work`, but with `RUST_BACKTRACE=full`. Panics elsewhere are printed as ever:
/// the process's panic hook is replaced once, by one that passes them on to the hook that was there before.
///
/// What `work` was changing when it panicked may be left half changed. So `work` should own what it changes, or share
/// only what is made for that.
///
/// # Errors
/// The panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    install_hook();
    let _level = Level::enter();
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panic::new(&*payload))
}

/// From now on panics of all threads are as silent as those within [`catch_panic`]: for a program that has it around all of its work, other
/// threads' included.
pub fn silence_panics() {
    install_hook();
    SILENT.store(true, Ordering::Relaxed);
}

fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        let traced = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full");
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if let Ok(mut place) = PLACE.lock() {
                *place = info.location().map(ToString::to_string);
            }
            if traced || (DEPTH.get() == 0 && !SILENT.load(Ordering::Relaxed)) {
                usual(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T>(work: impl FnOnce() -> T) -> Result<T, String> {
        catch_panic(work).map_err(|panic| panic.message)
    }

    #[test]
    fn panics_become_one_line() {
        assert_eq!(message(|| 7), Ok(7));
        assert_eq!(message(|| panic!("two\n lines")), Err::<(), _>("two lines".into()));
        assert_eq!(message(|| panic!("number {}", 3)), Err::<(), _>("number 3".into()));
        assert_eq!(message(|| panic::panic_any(3)), Err::<(), _>("it gives no reason".into()));
        assert_eq!(DEPTH.get(), 0);
    }

    #[test]
    fn guards_can_stand_within_guards() {
        let inner = catch_panic(|| (message(|| panic!("inner")), DEPTH.get()));
        assert_eq!(inner, Ok((Err::<(), _>("inner".into()), 1)));
    }
}
