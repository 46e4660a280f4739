//! Both halves of the packed attention to and from named tensors.

use super::client::PackedClient;
use super::options::{PackedOptions, check_log_modulus};
use super::program::{PackedHead, PackedProgram, PackedProjection};
use crate::calibration::check_tokens;
use crate::error::{Error, check_within};
use crate::matrix::Matrix;
use crate::named::NamedTensors;
use crate::quantizers::ChannelQuantizer;

/// The largest integer of an input of the most bits.
const MAX_LEVELS: i32 = (1 << (*PackedOptions::BITS.end() - 1)) - 1;
/// What the absolute values of scores and of values may be at most, so that sums of them cannot overflow.
const MAX_SUM: f64 = (1_u64 << 62) as f64;
/// What biases, limits and norms may be at most, in units of the output's integers: as many as are told apart in f64.
const MAX_OUTPUT: f64 = (1_u64 << 53) as f64;
/// What the limit of outputs is at least: calibration never gives less than two units.
const MIN_LIMIT: f64 = 1.0;
/// What a turn of score may stand for: far more and far less than any softmax has, and squares stay finite.
const SCORE_TURNS: std::ops::RangeInclusive<f64> = 1.0 / (1_u64 << 32) as f64..=(1_u64 << 32) as f64;

impl PackedProgram {
    /// The tensors that [`Self::from_tensors`] reads; H is the number of heads.
    pub(crate) fn to_tensors(&self) -> NamedTensors {
        let (heads, embedding) = (self.heads.len(), self.embedding_size());
        let (size, outputs) = (self.head_size(), self.output_size());
        let mut tensors = NamedTensors::default();
        let mut integers = |name: &str, shape: &[usize], of: &dyn Fn(&PackedHead) -> Vec<i64>| {
            tensors.set_integers(name, shape, self.heads.iter().flat_map(of));
        };
        let wide = |matrix: &Matrix<i32>| matrix.iter().map(|&w| i64::from(w)).collect::<Vec<_>>();
        integers("query.weight", &[heads, embedding, size], &|head| wide(&head.query.weight));
        integers("key.weight", &[heads, embedding, size], &|head| wide(&head.key.weight));
        integers("value.weight", &[heads, embedding, outputs], &|head| wide(&head.value));
        integers("query.bias", &[heads, size], &|head| head.query.bias.clone());
        integers("key.bias", &[heads, size], &|head| head.key.bias.clone());
        integers("log_modulus", &[heads], &|head| vec![i64::from(head.log_modulus)]);
        let mut reals = |name: &str, of: fn(&PackedHead) -> f64| {
            tensors.set_reals(name, &[heads], self.heads.iter().map(of));
        };
        reals("score_turn", |head| head.score_turn);
        reals("headroom", |head| head.headroom);
        reals("difference_limit", |head| head.score_difference_limit);
        reals("value_norm", |head| head.value_norm);
        tensors.set_integer("input_levels", i64::from(self.input_levels));
        tensors.set_reals("output_bias", &[outputs], self.output_bias.iter().copied());
        tensors.set_reals("output_limit", &[], [self.output_limit]);
        tensors.set_integer("max_tokens", self.max_tokens as i64);
        tensors
    }

    /// Reads what [`Self::to_tensors`] gives, and checks everything that evaluators rely on.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfRange`], [`Error::NotFinite`].
    pub(crate) fn from_tensors(tensors: &NamedTensors) -> Result<Self, Error> {
        let [heads, embedding, size] = tensors.shape("query.weight")?;
        let [_, _, outputs] = tensors.shape("value.weight")?;
        let weights = |name: &str, columns: usize| -> Result<Vec<Matrix<i32>>, Error> {
            let entries = tensors.integers(name, &[heads, embedding, columns])?;
            entries.chunks(embedding * columns).map(|head| Matrix::new(embedding, columns, head.to_vec())).collect()
        };
        let projections = |name: &str| -> Result<Vec<PackedProjection>, Error> {
            let biases: Vec<i64> = tensors.integers(&format!("{name}.bias"), &[heads, size])?;
            let pairs = weights(&format!("{name}.weight"), size)?.into_iter().zip(biases.chunks(size));
            Ok(pairs.map(|(weight, bias)| PackedProjection { weight, bias: bias.to_vec() }).collect())
        };
        let reals = |name: &str| tensors.reals(name, &[heads]);
        let log_moduli: Vec<u32> = tensors.integers("log_modulus", &[heads])?;
        let (score_turns, headrooms) = (tensors.positive_reals("score_turn", &[heads])?, reals("headroom")?);
        let (limits, norms) = (tensors.positive_reals("difference_limit", &[heads])?, reals("value_norm")?);
        let weights = projections("query")?.into_iter().zip(projections("key")?).zip(weights("value.weight", outputs)?);
        let heads = weights.enumerate().map(|(index, ((query, key), value))| PackedHead {
            query,
            key,
            value,
            log_modulus: log_moduli[index],
            score_turn: score_turns[index],
            headroom: headrooms[index],
            score_difference_limit: limits[index],
            value_norm: norms[index],
        });
        let program = Self {
            heads: heads.collect(),
            input_levels: tensors.integer("input_levels")?,
            output_bias: tensors.reals("output_bias", &[outputs])?,
            output_limit: tensors.positive_real("output_limit")?,
            max_tokens: tensors.integer("max_tokens")?,
        };
        program.check()?;
        Ok(program)
    }

    /// Checks the numbers; the shapes are right.
    fn check(&self) -> Result<(), Error> {
        check_common(self.input_levels, self.max_tokens, &self.output_bias)?;
        if !(MIN_LIMIT..=MAX_OUTPUT).contains(&self.output_limit) {
            return Err(Error::out_of_range("the limit of outputs", self.output_limit, "from 1 to 2^53"));
        }
        self.heads.iter().try_for_each(|head| head.check(self.input_levels))
    }
}

impl PackedHead {
    /// Checks that sums neither overflow nor lose all precision.
    pub(super) fn check(&self, input_levels: i32) -> Result<(), Error> {
        check_log_modulus(self.log_modulus)?;
        if !(self.headroom > 0.0 && self.headroom < 1.0) {
            return Err(Error::out_of_range("the headroom of a head", self.headroom, "between 0 and 1"));
        }
        if self.difference_limit_turns() >= 0.25 {
            let allowed = "less than a quarter of a turn";
            return Err(Error::out_of_range(
                "the largest difference of scores",
                self.difference_limit_turns(),
                allowed,
            ));
        }
        if self.tables(1.0).iter().any(|table| table.margin() <= 0.0) {
            let allowed = "one that leaves room for noise beside the largest difference of scores";
            return Err(Error::out_of_range("the headroom of a head", self.headroom, allowed));
        }
        if !SCORE_TURNS.contains(&self.score_turn) {
            return Err(Error::out_of_range("a turn of score", self.score_turn, "in 2^-32 to 2^32"));
        }
        if !(0.0..=MAX_OUTPUT).contains(&self.value_norm) {
            return Err(Error::out_of_range("the norm of values", self.value_norm, "from 0 to 2^53"));
        }
        let [query, key] = [&self.query, &self.key].map(|projection| projection.reach(input_levels));
        let scores = query * key * self.query.bias.len() as f64;
        let values = column_sums(&self.value).fold(0.0, f64::max) * f64::from(input_levels);
        match [scores, values].into_iter().find(|reach| *reach > MAX_SUM) {
            None => Ok(()),
            Some(reach) => Err(Error::out_of_range("the reach of scores and values", reach, "at most 2^62")),
        }
    }
}

impl PackedProjection {
    /// How large the absolute value of a query's or key's entry can be.
    fn reach(&self, input_levels: i32) -> f64 {
        let entries = column_sums(&self.weight).zip(&self.bias);
        entries.map(|(sum, &bias)| sum * f64::from(input_levels) + (bias as f64).abs()).fold(0.0, f64::max)
    }
}

/// Σ|w| of each column.
fn column_sums(weight: &Matrix<i32>) -> impl Iterator<Item = f64> {
    let mut sums = vec![0.0; weight.cols()];
    for row in 0..weight.rows() {
        sums.iter_mut().zip(weight.row(row)).for_each(|(sum, &w)| *sum += f64::from(w).abs());
    }
    sums.into_iter()
}

/// Checks what both halves have.
fn check_common(levels: i32, max_tokens: usize, centers: &[f64]) -> Result<(), Error> {
    check_within("the largest integer of an input", levels, 1..=MAX_LEVELS)?;
    check_tokens(max_tokens, PackedOptions::MAX_TOKENS)?;
    match centers.iter().find(|center| center.abs() > MAX_OUTPUT) {
        None => Ok(()),
        Some(center) => Err(Error::out_of_range("a bias of the output", center, "at most 2^53 in size")),
    }
}

impl PackedClient {
    /// The tensors that [`Self::from_tensors`] reads.
    pub(crate) fn to_tensors(&self) -> NamedTensors {
        let mut tensors = NamedTensors::default();
        tensors.set_integer("levels", i64::from(self.levels()));
        tensors.set_integer("max_tokens", self.max_tokens as i64);
        tensors.set_integer("output_parts", self.output_parts as i64);
        for (name, values) in [
            ("centers", self.input.centers()),
            ("scales", self.input.scales()),
            ("output_centers", &self.output_centers[..]),
            ("output_scales", &self.output_scales[..]),
        ] {
            tensors.set_reals(name, &[values.len()], values.iter().copied());
        }
        tensors
    }

    /// Reads what [`Self::to_tensors`] gives, and checks it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfRange`], [`Error::NotFinite`].
    pub(crate) fn from_tensors(tensors: &NamedTensors) -> Result<Self, Error> {
        let ([inputs], [outputs]) = (tensors.shape("centers")?, tensors.shape("output_centers")?);
        let levels = tensors.integer("levels")?;
        let (centers, scales) = (tensors.reals("centers", &[inputs])?, tensors.positive_reals("scales", &[inputs])?);
        let output_centers = tensors.reals("output_centers", &[outputs])?;
        let max_tokens = tensors.integer("max_tokens")?;
        check_common(levels, max_tokens, &output_centers)?;
        let input = ChannelQuantizer::new(levels, centers, scales)?;
        let output_scales = tensors.positive_reals("output_scales", &[outputs])?;
        let output_parts = tensors.integer("output_parts")?;
        check_within("the numbers of a channel of the output", output_parts, 1..=PackedProgram::MOST_PARTS)?;
        if !outputs.is_multiple_of(output_parts) {
            return Err(Error::shape("the scales of outputs", format!("a multiple of {output_parts}"), &[outputs]));
        }
        Ok(Self { input, output_centers, output_scales, output_parts, max_tokens })
    }
}
