//! What the program is doing, on standard error: a line that changes where that is a terminal, a line now and then elsewhere.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use console::Term;
use gpt2_fhe::run::Attention;
use gpt2_fhe::track::Observer;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use nn::{block, integer, packed};

use super::quiet::is_quiet;

/// How often a terminal's line is drawn.
const TICK: Duration = Duration::from_millis(200);
/// How long it is silent without a terminal.
const SILENCE: Duration = Duration::from_secs(10);
/// What a bar is at least and at most wide, between its brackets.
const BAR: std::ops::RangeInclusive<usize> = 6..=30;
/// The width where a terminal does not say it.
const USUAL_WIDTH: usize = 80;

/// The bar that is on the terminal now.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);
/// When something was last written to standard error, where that is no terminal.
static SPOKEN: Mutex<Option<Instant>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line to standard error, above the bar. Where nobody can be told, there is nothing left to do.
pub(super) fn print_above(line: &str) {
    let write = || drop(std::io::stderr().write_all(format!("{line}\n").as_bytes()));
    *lock(&SPOKEN) = Some(Instant::now());
    let bar = lock(&SHOWN).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// After a signal: removes the bar for good.
pub(super) fn abandon() {
    let bar = lock(&SHOWN).take();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// How far something has come.
#[derive(Clone, Debug, Default)]
struct State {
    /// What is being done.
    label: String,
    done: usize,
    /// 0: not known.
    all: usize,
    ended: bool,
}

impl State {
    /// In at most `width` columns: label, bar, count and time, as far as there is room.
    fn line(&self, width: usize, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs();
        let mut tail = format!("{}:{:02}", seconds / 60, seconds % 60);
        if self.all > 0 {
            tail = format!("{}/{}  {tail}", self.done, self.all);
        }
        let tail: String = tail.chars().take(width).collect();
        let room = width.saturating_sub(tail.chars().count() + 1);
        let label: String = self.label.chars().take(room).collect();
        let mut line = label;
        // Brackets, and a space on either side.
        let bar = (room.saturating_sub(line.chars().count() + 3)).min(*BAR.end());
        if self.all > 0 && bar >= *BAR.start() {
            let filled = (bar * self.done / self.all).min(bar);
            let _ = write!(line, " [{}{}]", "=".repeat(filled), " ".repeat(bar - filled));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line + &tail
    }

    /// For a file: "scores: 12 of 40, 25 s".
    fn sentence(&self, elapsed: Duration) -> String {
        let count = if self.all > 0 { format!("{} of {}, ", self.done, self.all) } else { String::new() };
        format!("{}: {count}{} s", self.label, elapsed.as_secs())
    }
}

/// What is shared with the thread that shows it.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

/// Shows how far something has come, while it lives.
struct Display {
    shared: Arc<Shared>,
    shower: Option<JoinHandle<()>>,
}

impl Display {
    fn new(label: &str, all: usize) -> Self {
        let shared = Arc::new(Shared::default());
        *lock(&shared.state) = State { label: label.into(), all, ..State::default() };
        if is_quiet() {
            return Self { shared, shower: None };
        }
        let (start, theirs) = (Instant::now(), Arc::clone(&shared));
        let terminal = Term::stderr().is_term();
        let show = move || if terminal { draw(&theirs, start) } else { speak(&theirs, start) };
        // Without a thread to show it there is nothing to see, and nothing else is lost.
        let shower = thread::Builder::new().name("progress".into()).spawn(show).ok();
        Self { shared, shower }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.shared.state));
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.change(|state| state.ended = true);
        self.shared.ended.notify_all();
        // A thread that panicked has nothing more to show.
        let _ = self.shower.take().map(JoinHandle::join);
    }
}

/// Waits for `time`, or until it has ended: then true.
fn wait(shared: &Shared, time: Duration) -> bool {
    let state = lock(&shared.state);
    let (state, _) =
        shared.ended.wait_timeout_while(state, time, |state| !state.ended).unwrap_or_else(PoisonError::into_inner);
    state.ended
}

/// On a terminal, from the first tick on.
fn draw(shared: &Arc<Shared>, start: Instant) {
    if wait(shared, TICK) {
        return;
    }
    let theirs = Arc::clone(shared);
    let line = move |_: &ProgressState, output: &mut dyn std::fmt::Write| {
        let width = Term::stderr().size_checked().map_or(USUAL_WIDTH, |(_, columns)| usize::from(columns));
        // A terminal goes on in the next line once the last column is filled.
        let _ = output.write_str(&lock(&theirs.state).line(width.saturating_sub(1), start.elapsed()));
    };
    let style = ProgressStyle::with_template("{line}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style.with_key("line", line));
    *lock(&SHOWN) = Some(bar.clone());
    loop {
        bar.tick();
        if wait(shared, TICK) {
            break;
        }
    }
    *lock(&SHOWN) = None;
    bar.finish_and_clear();
}

/// Elsewhere, when it has been silent for long.
fn speak(shared: &Arc<Shared>, start: Instant) {
    lock(&SPOKEN).get_or_insert(start);
    while !wait(shared, TICK) {
        let silent = lock(&SPOKEN).is_none_or(|spoken| spoken.elapsed() >= SILENCE);
        if silent {
            let line = lock(&shared.state).sentence(start.elapsed());
            print_above(&line);
        }
    }
}

/// Shows `label` while `work` goes on.
pub(super) fn while_showing<T>(label: &str, work: impl FnOnce() -> T) -> T {
    let _display = Display::new(label, 0);
    work()
}

/// Shows how many of things of one kind are done.
pub(super) struct Counter {
    display: Display,
}

impl Counter {
    pub(super) fn new(name: &str, count: usize) -> Self {
        Self { display: Display::new(name, count) }
    }

    /// One more is done.
    pub(super) fn advance(&self) {
        self.display.change(|state| state.done += 1);
    }
}

/// Shows what is being done, one thing after the other.
pub(super) struct Stages {
    display: Display,
}

impl Stages {
    pub(super) fn new(first: &str) -> Self {
        Self { display: Display::new(first, 0) }
    }

    /// What is begun now.
    pub(super) fn begin(&self, label: &str) {
        self.display.change(|state| state.label = label.into());
    }
}

/// Shows what another program says of its work.
#[derive(Default)]
pub(super) struct RemoteProgress {
    display: Option<Display>,
}

impl RemoteProgress {
    /// What it does, and how many of its operations are done, of so many.
    pub(super) fn set(&mut self, what: String, [done, all]: [usize; 2]) {
        let display = self.display.get_or_insert_with(|| Display::new(&what, 0));
        display.change(|state| *state = State { label: what, done, all, ended: false });
    }

    /// It is done: nothing is shown.
    pub(super) fn end(&mut self) {
        self.display = None;
    }
}

/// Shows how far each step has come.
pub(super) struct Progress {
    display: Display,
    /// The steps of the circuit, in order.
    steps: &'static [&'static str],
    step: &'static str,
}

impl Progress {
    /// Of an attention.
    pub(super) fn new(attention: &Attention) -> Self {
        Self::of(match attention {
            Attention::Exact(exact) => integer::steps::of(exact.quantized.part()),
            Attention::Packed(_) => &packed::steps::ALL,
        })
    }

    fn of(steps: &'static [&'static str]) -> Self {
        Self { display: Display::new("preparing", 0), steps, step: "" }
    }
}

/// Shows how far each step of blocks has come, from a request's first one until [`Self::end`].
#[derive(Clone)]
pub(super) struct BlockProgress {
    shown: Rc<RefCell<Option<Progress>>>,
    steps: &'static [&'static str],
}

impl BlockProgress {
    /// Of blocks that end so.
    pub(super) fn new(ending: block::Ending) -> Self {
        Self { shown: Rc::default(), steps: block::steps::of(ending) }
    }

    /// The request is done: all copies show nothing.
    pub(super) fn end(&self) {
        self.shown.take();
    }
}

impl Observer for BlockProgress {
    fn begin(&mut self, step: &'static str, operations: usize) {
        self.shown.borrow_mut().get_or_insert_with(|| Progress::of(self.steps)).begin(step, operations);
    }

    fn advance(&mut self, operations: usize) -> bool {
        self.shown.borrow_mut().as_mut().is_none_or(|progress| progress.advance(operations))
    }
}

impl Observer for Progress {
    fn begin(&mut self, step: &'static str, operations: usize) {
        let (steps, new) = (self.steps, step != self.step);
        self.step = step;
        self.display.change(|state| {
            if new {
                let number = steps.iter().position(|&name| name == step).map_or(0, |index| index + 1);
                let label = format!("step {number} of {}, {}", steps.len(), step.replace('_', " "));
                *state = State { label, ..State::default() };
            }
            state.all += operations;
        });
    }

    /// A signal ends the process by itself: nothing is to be asked here.
    fn advance(&mut self, operations: usize) -> bool {
        self.display.change(|state| state.done += operations);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State { label: "step 3 of 7, normalize the rows".into(), done: 12, all: 48, ended: false }
    }

    #[test]
    fn a_line_fits_every_width() {
        for width in 0..200 {
            for state in [state(), State { all: 0, ..state() }, State { label: String::new(), ..state() }] {
                let line = state.line(width, Duration::from_secs(7265));
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
        let elapsed = Duration::from_secs(65);
        assert_eq!(state().line(20, elapsed), "step 3 o 12/48  1:05");
        assert_eq!(state().line(59, elapsed), "step 3 of 7, normalize the rows [===          ] 12/48  1:05");
        let wide = state().line(100, elapsed);
        assert_eq!(wide.find(']').zip(wide.find('[')).map(|(end, start)| end - start - 1), Some(30), "{wide}");
    }

    #[test]
    fn a_sentence_for_files() {
        assert_eq!(state().sentence(Duration::from_secs(25)), "step 3 of 7, normalize the rows: 12 of 48, 25 s");
        let unknown = State { label: "making the keys".into(), ..State::default() };
        assert_eq!(unknown.sentence(Duration::from_secs(11)), "making the keys: 11 s");
    }
}
