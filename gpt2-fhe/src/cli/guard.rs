//! The guard around the program and its pool of threads: a panic becomes an error of one line.

use anyhow::anyhow;
use nn::guard::catch_panic;

/// What `work` returns. If it panics, an error that says so: `what` was being done, where, and the panic's own words.
pub(super) fn guarded<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    // Nothing that `work` may have left half changed is used after an error: the process ends.
    catch_panic(work).unwrap_or_else(|panic| {
        let place = panic.place.as_deref().unwrap_or("an unknown place");
        Err(anyhow!("{what} failed by a fault of this program, at {place}: {}", panic.message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_says_what_where_and_why() {
        nn::guard::silence_panics();
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
