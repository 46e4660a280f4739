//! Progress on standard error, and stopping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use gpt2_fhe::engine::{EngineError, Observer};
use gpt2_fhe::run::Attention;
use indicatif::{ProgressBar, ProgressStyle};
use nn::{head, packed};

/// Set by Ctrl-C, and by the signals with which a process is asked to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

const TICK: Duration = Duration::from_millis(200);

/// From now on Ctrl-C makes the computation stop where it can, instead of ending the process.
pub(super) fn handle_interrupts() -> anyhow::Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).context("cannot install the handler of Ctrl-C")
}

/// An error after Ctrl-C.
pub(super) fn check_interrupt() -> Result<(), EngineError> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(EngineError::Cancelled) } else { Ok(()) }
}

/// Shows `message` while `work` goes on, where standard error is a terminal.
pub(super) fn while_showing<T>(message: &'static str, work: impl FnOnce() -> T) -> T {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(TICK);
    let result = work();
    spinner.finish_and_clear();
    result
}

fn bar(length: u64) -> ProgressBar {
    let template = "{prefix} [{bar:30}] {pos}/{len}  {elapsed}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(length).with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(TICK);
    bar
}

/// Shows how many of things of one kind are done, where standard error is a terminal.
pub(super) struct Counter {
    bar: ProgressBar,
}

impl Counter {
    pub(super) fn new(name: &'static str, count: usize) -> Self {
        Self { bar: bar(count as u64).with_prefix(name) }
    }

    /// One more is done. False after Ctrl-C.
    pub(super) fn advance(&self) -> bool {
        self.bar.inc(1);
        check_interrupt().is_ok()
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows how far each step has come, where standard error is a terminal; stops the computation after Ctrl-C.
pub(super) struct Progress {
    bar: ProgressBar,
    /// The steps of the circuit, in order.
    steps: &'static [&'static str],
    step: &'static str,
}

impl Progress {
    pub(super) fn new(attention: &Attention) -> Self {
        let steps: &[&str] = match attention {
            Attention::Exact(head, _) => head::steps::of(head.part()),
            Attention::Packed(_) => &packed::steps::ALL,
        };
        Self { bar: bar(0), steps, step: "" }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn begin(&mut self, step: &'static str, operations: usize) {
        if step != self.step {
            self.step = step;
            let steps = self.steps;
            let number = steps.iter().position(|&name| name == step).map_or(0, |index| index + 1);
            let prefix = format!("step {number:>2} of {}  {:<16}", steps.len(), step.replace('_', " "));
            self.bar.set_prefix(prefix);
            self.bar.set_position(0);
            self.bar.set_length(0);
        }
        self.bar.inc_length(operations as u64);
    }

    fn advance(&mut self, operations: usize) -> bool {
        self.bar.inc(operations as u64);
        check_interrupt().is_ok()
    }
}
