//! How blocks are quantized.

use crate::error::{Error, check_within};
use serde::{Deserialize, Serialize};

/// How blocks are quantized: what is multiplied by is integers, and what is read lies in ranges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockOptions {
    /// log2 of the turns that one of the stream's units takes, in its median channel: the lower, the more levels have weights, and the larger
    /// is noise beside it.
    pub log_unit: f64,
    /// The most bits of weights, from 2 to 12.
    pub weight_bits: u32,
    /// Bits of keys, from 2 to 8.
    pub key_bits: u32,
    /// Bits of LayerNorm's factors of queries, without a sign, from 2 to 10. `None`: queries are looked up, which takes more lookups and
    /// leaves less of an error.
    pub query_bits: Option<u32>,
    /// Bits of LayerNorm's other factors, and of probabilities times these, without a sign: from 2 to 10.
    pub factor_bits: u32,
    /// The ratio of how far apart scores may be to how far they were on the calibration set, at least 1.
    pub guard: f64,
    /// Squares of pairs of channels are looked up instead of each channel's: half as many.
    pub pairs: bool,
}

/// From how many channels on embeddings are wide.
const WIDE: usize = 512;
/// From how many channels on sums over them are of many.
const MANY: usize = 128;

impl Default for BlockOptions {
    fn default() -> Self {
        Self {
            log_unit: -17.0,
            weight_bits: 9,
            key_bits: 6,
            query_bits: None,
            factor_bits: 7,
            guard: 1.1,
            pairs: false,
        }
    }
}

impl BlockOptions {
    /// For embeddings of so many channels. The more there are, the more their errors cancel, and the more lookups there are. From 128 on the
    /// stream takes a bit less, which sums of so many need for their weights. From 512 on, pairs are squared, and queries are not looked up;
    /// keys have a bit less there, so that scores bear the noise of such queries.
    pub fn of_width(channels: usize) -> Self {
        let few = Self::default();
        let many = Self { log_unit: -18.0, ..few };
        match channels {
            WIDE.. => Self { key_bits: 5, query_bits: Some(4), pairs: true, ..many },
            MANY.. => many,
            _ => few,
        }
    }

    /// Checks the numbers.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_within("the unit of the stream, its log2 in turns", self.log_unit, -40.0..=-4.0)?;
        check_within("the number of bits of a block's weights", self.weight_bits, 2..=12)?;
        check_within("the number of bits of a block's keys", self.key_bits, 2..=8)?;
        let check = |bits| check_within("the number of bits of a block's query factors", bits, 2..=10);
        self.query_bits.map_or(Ok(()), check)?;
        check_within("the number of bits of a block's factors", self.factor_bits, 2..=10)?;
        check_within("the guard of ranges", self.guard, 1.0..=16.0)
    }

    /// The largest integer of weights.
    pub(super) fn weight_levels(&self) -> f64 {
        f64::from((1_i32 << (self.weight_bits - 1)) - 1)
    }

    /// The largest integer of keys.
    pub(super) fn key_levels(&self) -> f64 {
        f64::from((1_i32 << (self.key_bits - 1)) - 1)
    }

    /// The largest integer of factors.
    pub(super) fn factor_levels(&self) -> f64 {
        f64::from((1_i32 << self.factor_bits) - 1)
    }
}
