//! The pool of threads.

use anyhow::{anyhow, bail};

use super::guard::guarded;

/// The most threads that can be asked for.
const MAX_THREADS: usize = 256;
/// The variable of the environment that every program with this pool knows.
const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Starts the threads of the process: as many as asked for, or as the environment says, or one for each CPU.
///
/// # Errors
/// That so many cannot be asked for, or that the system does not give them.
pub(super) fn start(asked: Option<usize>) -> anyhow::Result<()> {
    let threads = match (asked, std::env::var(VARIABLE)) {
        (Some(threads), _) => check("--threads", &threads.to_string())?,
        (None, Ok(text)) if !text.is_empty() => check(VARIABLE, &text)?,
        (None, _) => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS),
    };
    let build = || rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    guarded("starting threads", || {
        build().map_err(|error| {
            anyhow!(
                "cannot start {threads} threads ({error}); use fewer by --threads, or allow this process more threads \
                 and memory (ulimit)"
            )
        })
    })
}

fn check(name: &str, text: &str) -> anyhow::Result<usize> {
    match text.trim().parse() {
        Ok(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(threads),
        _ => bail!("{name} is {text}; it must be in 1 ..= {MAX_THREADS}"),
    }
}
