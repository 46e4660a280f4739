//! One guard around what can panic below the command line, libraries and the pool of threads: a panic becomes an error of one line.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Mutex;

use anyhow::anyhow;

/// Where the last panic was, of any thread.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// From now on a panic is silent, and [`guarded`] tells of it. With RUST_BACKTRACE=full, its trace is printed as well.
pub(super) fn silence_panics() {
    let print = std::panic::take_hook();
    let traced = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full");
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if let Ok(mut place) = PLACE.lock() {
            *place = info.location().map(ToString::to_string);
        }
        if traced {
            print(info);
        }
    }));
}

/// What `work` returns. If it panics, an error that says so: `what` was being done, where, and the panic's own words.
pub(super) fn guarded<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    // Nothing that `work` may have left half changed is used after an error: the process ends.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let place = PLACE.lock().ok().and_then(|mut place| place.take()).unwrap_or_else(|| "an unknown place".into());
        Err(anyhow!("{what} failed by a fault of this program, at {place}: {}", words(&*panic)))
    })
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_says_what_where_and_why() {
        silence_panics();
        let error = guarded("a test", || -> anyhow::Result<()> { panic!("on purpose, {}", 7) }).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("a test failed") && message.contains("guard.rs"), "{message}");
        assert!(message.ends_with("on purpose, 7"), "{message}");
        let error = guarded("a pool", || {
            rayon::join(|| (), || panic!("in a thread of the pool"));
            Ok(())
        });
        assert!(error.unwrap_err().to_string().ends_with("in a thread of the pool"));
        assert_eq!(guarded("nothing", || Ok(7)).unwrap(), 7);
        assert_eq!(guarded("an error", || Err::<(), _>(anyhow!("as it was"))).unwrap_err().to_string(), "as it was");
    }
}
