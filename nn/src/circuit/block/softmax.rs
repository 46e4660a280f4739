//! The softmax of a block's heads: scores become integers p·r.

use super::steps;
use crate::evaluator::{BlockEvaluator, EXPONENT_FACTOR, Rows, SmoothUse, Use, exponents, look_up_rows, tree};
use crate::table::{Smooth, SmoothTable};

/// What is kept free for noise of the half turn that a table has: arguments bear the noise of scores and of logarithms of sums.
const HEADROOM: f64 = 0.2;
/// The same of a sum of exponentials.
const SUM_HEADROOM: f64 = 1.0 / 12.0;
/// Exponents below the negative of this are as good as this: probabilities of 1/3000 round to zero.
const LEAST_EXPONENT: f64 = 8.0;
/// The standard deviation with which a lookup reads its argument, in turns: that of rounding it to a table's 4096 positions, with what the key
/// switch before adds. (Engines predict it exactly; here it decides how far sums are let be off.)
const READING_ERROR: f64 = 0.0013;
/// How many standard deviations a logarithm of a sum may be off by. More is not safer: the wider a sum's range, the more coarsely it is
/// read, and the farther is the next one off.
const DEVIATIONS: f64 = 8.5;
/// The same of scores, which are products of ciphertexts: the tails of their noise are longer than a normal distribution's.
const SCORE_DEVIATIONS: f64 = 16.0;
/// How many times larger a turn of scores may be made so that clipped exponents fill theirs.
const LARGER_TURN: f64 = 1.25;
/// The least range of logarithms of sums, in units of score.
const LEAST_LIMIT: f64 = 0.5;

/// How the scores of one head become probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxProgram {
    /// What a turn of score stands for.
    pub(super) score_turn: f64,
    pub(super) softplus: SmoothTable,
    /// Of exponents before and after they are clipped.
    pub(super) sums: [SumTables; 2],
    /// None where no exponent is below the least one that matters.
    pub(super) clip: Option<Clip>,
    /// How many times more turns an exponent has than a difference of scores, before it is clipped.
    pub(super) exponent_factor: i64,
    /// The same after it is.
    pub(super) clipped_factor: i64,
    /// Of clipped exponents: p·r, in units of which there is a whole number.
    pub(super) probability: SmoothTable,
}

/// How log Σ exp is found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SumTables {
    /// Of exponents.
    pub(super) exponential: SmoothTable,
    /// Of their sum.
    pub(super) logarithm: SmoothTable,
}

/// How exponents are clipped.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Clip {
    /// What is added to exponents before, in turns.
    pub(super) constant: f64,
    /// What they are then below zero, in turns of scores.
    pub(super) below: SmoothTable,
}

/// How far apart scores of a row are, in units of score.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScoreRange {
    /// Scores.
    pub(super) spread: f64,
    /// Logarithms of sums of exponentials, in the tree that adds them up.
    pub(super) difference: f64,
    /// Logarithms of probabilities, without the sign.
    pub(super) exponent: f64,
    /// The levels of the tree.
    pub(super) levels: u32,
}

impl ScoreRange {
    /// Widens it by a row of scores.
    pub(super) fn hold(&mut self, row: &[f32]) {
        let mut logarithms: Vec<f64> = row.iter().map(|&s| f64::from(s)).collect();
        let (low, high) = logarithms.iter().fold((f64::MAX, f64::MIN), |(low, high), &s| (low.min(s), high.max(s)));
        self.spread = self.spread.max(high - low);
        let mut levels = 0;
        while logarithms.len() > 1 {
            let merge = |pair: &[f64]| match *pair {
                [a, b] => (b + (a - b).max(0.0) + (-(a - b).abs()).exp().ln_1p(), (a - b).abs()),
                _ => (pair[0], 0.0),
            };
            let merged: Vec<(f64, f64)> = logarithms.chunks(2).map(merge).collect();
            self.difference = merged.iter().fold(self.difference, |largest, (_, difference)| largest.max(*difference));
            logarithms = merged.into_iter().map(|(logarithm, _)| logarithm).collect();
            levels += 1;
        }
        self.levels = self.levels.max(levels);
        self.exponent = self.exponent.max(logarithms[0] - low);
    }
}

impl SumTables {
    /// Of exponents down to −`least`, of which the logarithm of the sum is within ±`limit`, a unit of it being `result` turns.
    fn new(limit: f64, (turn, least): (f64, f64), result: f64) -> Self {
        let range = [(-limit).exp(), limit.exp()];
        let one = 0.5 * (1.0 - SUM_HEADROOM) / (range[1] - range[0]);
        Self {
            exponential: exponential(turn, least, one),
            logarithm: SmoothTable::of(Smooth::Logarithm, 1.0 / one, range.map(|x| x * one), 1.0 / result),
        }
    }

    /// The standard deviation of a logarithm, in units of score, for reading the sum where that is least, but not less than 1/e: that far off
    /// are errors of [`DEVIATIONS`] only.
    fn largest_error(&self) -> f64 {
        let least = self.logarithm.range()[0] * self.logarithm.turn();
        READING_ERROR * self.logarithm.turn() * (1.0 / least).min(std::f64::consts::E)
    }
}

impl Clip {
    /// min(x + `least`, 0) of exponents from −`exponent` to zero.
    fn new(turn: f64, exponent: f64, least: f64, score_turn: f64) -> Self {
        let range = [(least - exponent) / turn, least / turn];
        let below = SmoothTable::of(Smooth::Below, turn, range, 1.0 / score_turn).continued();
        Self { constant: least / turn, below }
    }
}

impl SoftmaxProgram {
    /// Of scores with the given ranges, and `guard` times that far apart, which bear noise of a standard deviation of `noise` turns; LayerNorm's
    /// factors are at most `ratio` apart, as a logarithm, and `levels` the largest of the integers p·r.
    pub(super) fn new(scores: &ScoreRange, noise: f64, (guard, ratio): (f64, f64), levels: f64) -> Self {
        let more = (guard - 1.0) * scores.spread;
        let (difference, exponent) = (scores.difference + more, scores.exponent + more);
        let turn = 4.0 * difference.max(exponent).max(1.0 / 16.0) / (1.0 - HEADROOM);
        let least = exponent.min(LEAST_EXPONENT);
        let (score_turn, clipped_factor) = clipped(turn, least + ratio, noise);
        let exponent_factor = most_factor(score_turn, exponent, noise).min(EXPONENT_FACTOR as f64).floor().max(1.0);
        let exponent_turn = score_turn / exponent_factor;
        let clip = (exponent > LEAST_EXPONENT).then(|| Clip::new(exponent_turn, exponent, LEAST_EXPONENT, score_turn));
        let clipped_turn = score_turn / clipped_factor;
        // What the tree leaves, and reading exponents adds; of exponents after the first sum, what reading that one leaves, more of it where it
        // is small, and clipping adds.
        let limit = |error: f64| (DEVIATIONS * error).max(LEAST_LIMIT);
        let reading = |turn: f64| READING_ERROR * turn;
        let of_tree = reading(score_turn) * f64::from(scores.levels).sqrt();
        let first = SumTables::new(limit(of_tree.hypot(reading(exponent_turn))), (exponent_turn, exponent), score_turn);
        let of_clip = if clip.is_some() { reading(exponent_turn) } else { 0.0 };
        let of_first = first.largest_error().hypot(reading(exponent_turn)).hypot(of_clip);
        let second =
            SumTables::new(limit(of_first.hypot(reading(clipped_turn))), (clipped_turn, least + ratio), clipped_turn);
        Self {
            score_turn,
            softplus: SmoothTable::softplus(score_turn, difference / score_turn),
            sums: [first, second],
            clip,
            exponent_factor: exponent_factor as i64,
            clipped_factor: clipped_factor as i64,
            probability: exponential(clipped_turn, least + ratio, levels),
        }
    }

    /// What a turn of score stands for.
    pub fn score_turn(&self) -> f64 {
        self.score_turn
    }

    /// What a turn of a clipped exponent stands for.
    pub(super) fn clipped_turn(&self) -> f64 {
        self.score_turn / self.clipped_factor as f64
    }
}

/// e^x down to −`least`, a result of one being `one` turns. As much room for noise is above as below.
fn exponential(turn: f64, least: f64, one: f64) -> SmoothTable {
    SmoothTable::exponential(turn, least / turn, (0.5 - least / turn) / 2.0, one)
}

/// How many times more turns than scores exponents from −`least` to zero can have, so that half a turn less their part of it has room for the
/// noise of two scores on both sides.
fn most_factor(turn: f64, least: f64, noise: f64) -> f64 {
    0.25 / (least / (2.0 * turn) + SCORE_DEVIATIONS * std::f64::consts::SQRT_2 * noise)
}

/// A turn of scores, at least the given one, and how many times more turns than it clipped exponents from −`least` to zero have: a whole
/// number, for which a turn of scores may have to be a little larger.
fn clipped(turn: f64, least: f64, noise: f64) -> (f64, f64) {
    let share = 0.5 * (1.0 - HEADROOM);
    let factor = (LARGER_TURN * share * turn / least).min(most_factor(turn, least, noise)).floor().max(1.0);
    (turn.max(factor * least / share), factor)
}

/// p_ij·r_j of all heads' scores, `[heads][n][earlier + i + 1]`, as integers; `log_factors` are log r_j of each head, in a clipped exponent's
/// turns.
///
/// ```text
/// L = log Σ_j exp(s_j)               by a tree of log(e^a + e^b) = b + softplus(a − b): with the noise of each of its levels
/// L ← L + log Σ_j exp(s_j − L)       with that of one
/// e = s − L − min(s − L + c, 0)      none is below −c, so that a turn can stand for less
/// e ← e − log Σ_j exp(e_j)
/// p·r = exp(e + log r)
/// ```
pub(super) fn softmax<E: BlockEvaluator>(
    evaluator: &mut E,
    heads: &[&SoftmaxProgram],
    scores: Vec<Rows<E::Lane>>,
    log_factors: &Rows<E::Lane>,
) -> Result<Vec<Rows<E::Lane>>, E::Error> {
    let rows_of_head = scores.first().map_or(0, Vec::len);
    let scores: Rows<E::Lane> = scores.into_iter().flatten().collect();
    let heads: Vec<&SoftmaxProgram> = heads.iter().flat_map(|head| std::iter::repeat_n(*head, rows_of_head)).collect();
    let tables = |table: fn(&SoftmaxProgram) -> &SmoothTable| -> Vec<&SmoothTable> {
        heads.iter().map(|head| table(head)).collect()
    };
    let softplus = tables(|head| &head.softplus);
    let mut logarithms = tree(evaluator, scores.clone(), usize::MAX, |evaluator, differences| {
        look_up_rows(evaluator, steps::SOFTPLUS, differences, &softplus, Use::default())
    })?;
    let first = exponents(evaluator, scores.clone(), &logarithms, heads.iter().map(|head| head.exponent_factor));
    let of_first = [tables(|head| &head.sums[0].exponential), tables(|head| &head.sums[0].logarithm)];
    let corrections = log_sums(evaluator, first, &of_first)?;
    for (logarithm, correction) in logarithms.iter_mut().zip(&corrections) {
        correction.iter().for_each(|correction| evaluator.add_scaled(logarithm, correction, 1));
    }
    let mut exponents = clip(evaluator, &heads, scores, &logarithms)?;
    let of_second = [tables(|head| &head.sums[1].exponential), tables(|head| &head.sums[1].logarithm)];
    let corrections = log_sums(evaluator, exponents.clone(), &of_second)?;
    let of_head = log_factors.iter().flat_map(|factors| std::iter::repeat_n(factors, rows_of_head));
    for ((row, correction), factors) in exponents.iter_mut().zip(&corrections).zip(of_head) {
        for (exponent, factor) in row.iter_mut().zip(factors) {
            correction.iter().for_each(|correction| evaluator.add_scaled(exponent, correction, -1));
            evaluator.add_scaled(exponent, factor, 1);
        }
    }
    let integer = Use::smooth(SmoothUse::Multiplier { log_shared: 1 });
    let probability = tables(|head| &head.probability);
    let found = look_up_rows(evaluator, steps::PROBABILITIES, &exponents, &probability, integer)?;
    Ok(found.chunks(rows_of_head).map(<[_]>::to_vec).collect())
}

/// s − L of each row, but at least the least that matters, in a clipped exponential's turns.
fn clip<E: BlockEvaluator>(
    evaluator: &mut E,
    heads: &[&SoftmaxProgram],
    mut scores: Rows<E::Lane>,
    logarithms: &[E::Lane],
) -> Result<Rows<E::Lane>, E::Error> {
    let factors = heads.iter().map(|head| head.exponent_factor);
    let mut exponents = exponents(evaluator, scores.clone(), logarithms, factors);
    for (score, logarithm) in scores.iter_mut().zip(logarithms) {
        score.iter_mut().for_each(|score| evaluator.add_scaled(score, logarithm, -1));
    }
    let clips: Vec<(usize, &Clip)> =
        heads.iter().enumerate().filter_map(|(row, head)| Some((row, head.clip.as_ref()?))).collect();
    let mut arguments = Vec::with_capacity(clips.len());
    for &(row, Clip { constant, .. }) in &clips {
        let (mut argument, constant) = (std::mem::take(&mut exponents[row]), evaluator.constant(*constant));
        argument.iter_mut().for_each(|argument| evaluator.add_scaled(argument, &constant, 1));
        arguments.push(argument);
    }
    let tables: Vec<&SmoothTable> = clips.iter().map(|(_, clip)| &clip.below).collect();
    let below = look_up_rows(evaluator, steps::CLIP, &arguments, &tables, Use::default())?;
    for ((row, clip), below) in clips.into_iter().zip(below) {
        let less = evaluator.constant(clip.below.less());
        for (score, below) in scores[row].iter_mut().zip(&below) {
            evaluator.add_scaled(score, below, -1);
            evaluator.add_scaled(score, &less, -1);
        }
    }
    for (row, head) in scores.iter_mut().zip(heads) {
        for score in row {
            let mut scaled = evaluator.constant(0.0);
            evaluator.add_scaled(&mut scaled, score, head.clipped_factor);
            *score = scaled;
        }
    }
    Ok(scores)
}

/// log Σ exp of each row of exponents, by tables of the exponential and of the logarithm of each row: zero but for the noise that they bear.
/// Of a row of one there is none.
fn log_sums<E: BlockEvaluator>(
    evaluator: &mut E,
    mut exponents: Rows<E::Lane>,
    [exponentials, logarithms]: &[Vec<&SmoothTable>; 2],
) -> Result<Rows<E::Lane>, E::Error> {
    exponents.iter_mut().filter(|row| row.len() == 1).for_each(Vec::clear);
    let terms = look_up_rows(evaluator, steps::REFINE, &exponents, exponentials, Use::default())?;
    let sum = |terms: &Vec<E::Lane>| {
        let mut terms = terms.iter();
        let mut sum = terms.next()?.clone();
        terms.for_each(|term| evaluator.add_scaled(&mut sum, term, 1));
        Some(sum)
    };
    let sums: Rows<E::Lane> = terms.iter().map(|terms| sum(terms).into_iter().collect()).collect();
    look_up_rows(evaluator, steps::REFINE, &sums, logarithms, Use::default())
}
