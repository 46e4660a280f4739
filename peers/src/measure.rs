//! Timing by turns.
//!
//! A machine's speed drifts, with its temperature and with what else it runs. So both implementations run in short turns, each
//! round in another order, and each is told by the median of its turns: what drifts slowly falls on both alike, and a
//! disturbed turn does not count.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Time for one comparison, if its least number of rounds allows.
    pub budget: Duration,
    /// The least number of rounds.
    pub min_rounds: usize,
    /// The largest number of rounds.
    pub max_rounds: usize,
    /// The least duration of a turn: shorter work is repeated within it.
    pub turn: Duration,
}

impl Effort {
    /// For figures.
    pub const FULL: Self =
        Self { budget: Duration::from_secs(4), min_rounds: 7, max_rounds: 101, turn: Duration::from_millis(2) };
    /// To see that everything runs.
    pub const QUICK: Self =
        Self { budget: Duration::from_millis(50), min_rounds: 1, max_rounds: 9, turn: Duration::from_micros(500) };
}

/// Seconds that the same work took in both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// tfhe-core.
    pub ours: f64,
    /// tfhe-rs.
    pub peer: f64,
}

impl Comparison {
    /// How many times as long as ours the peer takes.
    pub fn ratio(self) -> f64 {
        self.peer / self.ours
    }
}

/// Times `ours` and every variant in `peers` by turns; seconds per item, where one call does `items` of them. The peer's time
/// is that of its quickest variant.
///
/// # Panics
/// If there is no variant.
pub fn by_turns(effort: Effort, items: usize, ours: &mut dyn FnMut(), peers: &mut [&mut dyn FnMut()]) -> Comparison {
    assert!(!peers.is_empty(), "something to compare with");
    let mut runners: Vec<&mut dyn FnMut()> = vec![ours];
    runners.extend(peers.iter_mut().map(|peer| &mut **peer as &mut dyn FnMut()));
    let repeats: Vec<u32> = runners.iter_mut().map(|run| repeats(effort, run)).collect();
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); runners.len()];
    let start = Instant::now();
    for round in 0..effort.max_rounds {
        if round >= effort.min_rounds && start.elapsed() > effort.budget {
            break;
        }
        for turn in 0..runners.len() {
            let i = (round + turn) % runners.len();
            samples[i].push(seconds(runners[i], repeats[i]) / f64::from(repeats[i]));
        }
    }
    let per_item: Vec<f64> = samples.into_iter().map(|samples| median(samples) / items as f64).collect();
    Comparison { ours: per_item[0], peer: per_item[1..].iter().copied().fold(f64::INFINITY, f64::min) }
}

/// How many calls make a turn. The first call warms up caches and thread-local memory; if it takes less than a turn, a second
/// is timed without that.
fn repeats(effort: Effort, run: &mut dyn FnMut()) -> u32 {
    let turn = effort.turn.as_secs_f64();
    if seconds(run, 1) > turn {
        return 1;
    }
    (turn / seconds(run, 1).max(1e-9)).ceil().clamp(1.0, 1e6) as u32
}

/// Seconds of `repeats` calls.
fn seconds(run: &mut dyn FnMut(), repeats: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        run();
    }
    start.elapsed().as_secs_f64()
}

/// The median; of an even number of samples the mean of the middle two.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 { samples[middle] } else { (samples[middle - 1] + samples[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    /// Sleeps of 2, 100 and 4 ms: the quicker variant counts, and an item is half of a call. A sleep may last longer.
    #[test]
    fn the_quickest_variant_counts() {
        let sleep = |milliseconds| move || std::thread::sleep(Duration::from_millis(milliseconds));
        let found = by_turns(Effort::QUICK, 2, &mut sleep(2), &mut [&mut sleep(100), &mut sleep(4)]);
        assert!(found.ours >= 0.001, "{found:?}");
        assert!((0.002..0.05).contains(&found.peer), "{found:?}");
        assert_eq!(found.ratio(), found.peer / found.ours);
    }
}
