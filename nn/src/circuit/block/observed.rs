//! What a layer's numbers are on a calibration set.

use super::scale::{centered, parts};
use super::softmax::ScoreRange;
use crate::error::Error;
use crate::gpt2::{Block, Intermediate, Site, Trace};
use crate::matrix::Matrix;

/// The least and the largest number that was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    low: f64,
    high: f64,
}

/// Of all rows of the calibration set.
pub(super) struct Observed {
    /// The stream before the attention, without means.
    pub(super) before: Vec<Vec<f64>>,
    /// The stream before the feed-forward layer, without means.
    pub(super) between: Vec<Vec<f64>>,
    /// Of each channel of all heads.
    pub(super) queries: Vec<Range>,
    /// The same.
    pub(super) keys: Vec<Range>,
    /// Of each head.
    pub(super) scores: Vec<ScoreRange>,
    /// What the attention adds to each channel of the stream, and to its means.
    pub(super) attention: Vec<Range>,
    /// Arguments of the activation.
    pub(super) arguments: Vec<Vec<f64>>,
    /// What the feed-forward layer adds to them.
    pub(super) feed_forward: Vec<Range>,
    /// The stream after it, and its means.
    pub(super) after: Vec<Range>,
    /// Of each head, the public tokens' keys `[P, d]`.
    pub(super) known_keys: Vec<Matrix<f32>>,
    /// The same of values.
    pub(super) known_values: Vec<Matrix<f32>>,
}

impl Range {
    const NONE: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };

    fn hold(&mut self, x: f64) {
        (self.low, self.high) = (self.low.min(x), self.high.max(x));
    }

    pub(super) fn middle(&self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    /// Half its width, and more by a guard; more than nothing.
    pub(super) fn half(&self, guard: f64) -> f64 {
        let least = 1e-6 * self.middle().abs().max(1e-3);
        ((self.high - self.low) / 2.0 * guard).max(least)
    }
}

impl Observed {
    /// Of a layer on hidden states, of which the first `prefix` rows are of public tokens.
    pub(super) fn new(block: &Block, states: &[Matrix<f32>], prefix: usize) -> Result<Self, Error> {
        let (size, heads) = (block.attention.embedding_size(), block.attention.heads());
        if states.is_empty() {
            return Err(Error::shape("the calibration set", "at least one hidden state", &[0]));
        }
        if let Some(short) = states.iter().find(|state| state.rows() <= prefix) {
            let expected = format!("[T, {size}] with T more than the {prefix} public tokens");
            return Err(Error::shape("a hidden state of the calibration set", expected, &[short.rows(), short.cols()]));
        }
        let mut observed = Self {
            before: Vec::new(),
            between: Vec::new(),
            queries: vec![Range::NONE; size],
            keys: vec![Range::NONE; size],
            scores: vec![ScoreRange::default(); heads],
            attention: vec![Range::NONE; size + 1],
            arguments: Vec::new(),
            feed_forward: vec![Range::NONE; size + 1],
            after: vec![Range::NONE; size + 1],
            known_keys: Vec::new(),
            known_values: Vec::new(),
        };
        for state in states {
            let trace = block.trace(state)?;
            observed.note(state, &trace, prefix);
            for head in 0..heads {
                let of_head = |what| at(&trace, Site::head(what, 0, head));
                let key = of_head(Intermediate::Key);
                let channels = head * key.cols()..(head + 1) * key.cols();
                let number = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect();
                hold(&mut observed.keys[channels.clone()], &private(key, prefix), number);
                hold(&mut observed.queries[channels], &private(of_head(Intermediate::Query), prefix), number);
                let scores = of_head(Intermediate::Scores);
                (prefix..scores.rows()).for_each(|row| observed.scores[head].hold(&scores.row(row)[..=row]));
                // They are the same in all states.
                if observed.known_keys.len() == head {
                    observed.known_keys.push(key.row_range(0..prefix));
                    observed.known_values.push(of_head(Intermediate::Value).row_range(0..prefix));
                }
            }
        }
        Ok(observed)
    }

    fn note(&mut self, state: &Matrix<f32>, trace: &Trace, prefix: usize) {
        let of_layer = |what| private(at(trace, Site::layer(what, 0)), prefix);
        let without_mean = |row: &[f32]| centered(row).collect::<Vec<f64>>();
        let rows =
            |matrix: &Matrix<f32>| (0..matrix.rows()).map(|row| without_mean(matrix.row(row))).collect::<Vec<_>>();
        self.before.extend(rows(&private(state, prefix)));
        self.between.extend(rows(&of_layer(Intermediate::AttentionResidual)));
        hold(&mut self.attention, &of_layer(Intermediate::AttentionProjection), parts);
        hold(&mut self.feed_forward, &of_layer(Intermediate::FeedForwardProjection), parts);
        hold(&mut self.after, &of_layer(Intermediate::Block), parts);
        let arguments = &of_layer(Intermediate::FeedForward);
        self.arguments
            .extend((0..arguments.rows()).map(|row| arguments.row(row).iter().map(|&x| f64::from(x)).collect()));
    }
}

fn at(trace: &Trace, site: Site) -> &Matrix<f32> {
    trace.get(site).expect("a trace of a whole layer has every site")
}

/// The rows of tokens that are not public.
fn private(matrix: &Matrix<f32>, prefix: usize) -> Matrix<f32> {
    matrix.row_range(prefix..matrix.rows())
}

/// Widens each channel's range by the numbers of all rows.
fn hold(ranges: &mut [Range], matrix: &Matrix<f32>, numbers: impl Fn(&[f32]) -> Vec<f64>) {
    for row in 0..matrix.rows() {
        ranges.iter_mut().zip(numbers(matrix.row(row))).for_each(|(range, x)| range.hold(x));
    }
}
