//! The comparisons, from single transforms to batches of bootstrappings.
//!
//! Everything runs on one thread unless its name says otherwise. Both sides get the same parameters, the same ciphertexts and,
//! but for shortint, which can only make its own, the same keys; whatever has a result that can be decrypted is decrypted
//! once, from both, before it is timed. Both sides have allocated their working memory where their interfaces allow.

mod batched;
mod bootstrap;
mod fft;
mod keygen;
mod keys;
mod keyswitch;
mod product;
mod sizes;

use anyhow::Result;

use crate::measure::{Comparison, Effort};
use crate::report::Results;

/// Runs all comparisons. `progress` is told the name of each before it begins.
///
/// # Errors
/// If a thread pool cannot be made, or one of the two computes something wrong.
pub fn run(effort: Effort, progress: &mut dyn FnMut(&str)) -> Result<Results> {
    let mut session = Session { effort, progress, results: Results::new() };
    fft::compare(&mut session)?;
    let keys = keys::Keys::generate()?;
    product::compare(&mut session, &keys)?;
    keyswitch::compare(&mut session, &keys)?;
    bootstrap::compare(&mut session, &keys)?;
    drop(keys);
    keygen::compare(&mut session)?;
    sizes::compare(&mut session)?;
    session.results.sort_by_key(|(name, _)| ORDER.iter().position(|first| first == name).unwrap_or(ORDER.len()));
    Ok(session.results)
}

/// What the table begins with.
const ORDER: [&str; 6] = [
    "pbs_latency",
    "ks_pbs_latency",
    "ks_pbs_throughput_1",
    "ks_pbs_throughput_2",
    "ks_pbs_throughput_best_1",
    "ks_pbs_throughput_best_2",
];

/// A run of all comparisons.
struct Session<'a> {
    effort: Effort,
    progress: &'a mut dyn FnMut(&str),
    results: Results,
}

impl Session<'_> {
    /// Measures under this name, on a pool of `threads` threads.
    fn measure(&mut self, name: &str, threads: usize, compare: impl FnOnce(Effort) -> Comparison + Send) -> Result<()> {
        (self.progress)(name);
        let effort = self.effort;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let comparison = pool.install(|| compare(effort));
        self.results.push((name.to_owned(), comparison));
        Ok(())
    }
}
