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

/// Runs the comparisons of [`NAMES`] that begin with one of `only`, or all of them if that is empty. `progress` is told the
/// name of each before it begins.
///
/// # Errors
/// If a thread pool cannot be made, or one of the two computes something wrong.
pub fn run(effort: Effort, only: &[String], progress: &mut dyn FnMut(&str)) -> Result<Results> {
    let mut session = Session { effort, only, progress, results: Results::new() };
    fft::compare(&mut session)?;
    let keys = keys::Keys::generate()?;
    product::compare(&mut session, &keys)?;
    keyswitch::compare(&mut session, &keys)?;
    bootstrap::compare(&mut session, &keys)?;
    drop(keys);
    keygen::compare(&mut session)?;
    sizes::compare(&mut session)?;
    session.results.sort_by_key(|(name, _)| NAMES.iter().position(|listed| listed == name));
    Ok(session.results)
}

/// The comparisons, in the order of the table.
pub const NAMES: [&str; 30] = [
    "pbs_latency",
    "ks_pbs_latency",
    "ks_pbs_throughput_1",
    "ks_pbs_throughput_2",
    "ks_pbs_throughput_best_1",
    "ks_pbs_throughput_best_2",
    "pairs_pbs_latency",
    "pairs_ks_pbs_latency",
    "pairs_ks_pbs_throughput_1",
    "pairs_ks_pbs_throughput_2",
    "pairs_ks_pbs_throughput_best_1",
    "pairs_ks_pbs_throughput_best_2",
    "pbs_n4096",
    "pbs_n8192",
    "pbs_n32768",
    "fft_forward_512",
    "fft_forward_1024",
    "fft_forward_2048",
    "fft_forward_4096",
    "fft_forward_8192",
    "fft_inverse_512",
    "fft_inverse_1024",
    "fft_inverse_2048",
    "fft_inverse_4096",
    "fft_inverse_8192",
    "external_product_hot",
    "external_product_streaming",
    "keyswitch",
    "keyswitch_batched",
    "keygen",
];

/// A run of all comparisons.
struct Session<'a> {
    effort: Effort,
    only: &'a [String],
    progress: &'a mut dyn FnMut(&str),
    results: Results,
}

impl Session<'_> {
    /// Whether the comparison of this name is asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| name.starts_with(start))
    }

    /// Whether a comparison whose name begins so is asked for.
    fn wants_some(&self, start: &str) -> bool {
        NAMES.iter().any(|name| name.starts_with(start) && self.wants(name))
    }

    /// Measures under this name, if it is asked for, on a pool of `threads` threads.
    fn measure(&mut self, name: &str, threads: usize, compare: impl FnOnce(Effort) -> Comparison + Send) -> Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        (self.progress)(name);
        debug_assert!(NAMES.contains(&name), "{name} is not in the list of names");
        let effort = self.effort;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let comparison = pool.install(|| compare(effort));
        self.results.push((name.to_owned(), comparison));
        Ok(())
    }
}
