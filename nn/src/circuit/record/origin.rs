//! What was quantized, and how.

use crate::attention::Part;
use crate::block::{BlockOptions, BlockPart, ModelProgram};
use crate::error::Error;
use crate::integer::IntegerOptions;
use crate::packed::PackedOptions;
use crate::quantizers;
use serde::{Deserialize, Serialize};

/// How an attention was quantized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "circuit", rename_all = "snake_case")]
pub enum Options {
    /// For the exact circuit.
    Exact(IntegerOptions),
    /// For the packed circuit.
    Packed(PackedOptions),
}

/// What was quantized, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Origin {
    /// A part of a layer's attention.
    Attention(AttentionOrigin),
    /// Blocks.
    Blocks(BlocksOrigin),
}

impl Origin {
    /// The version of the format of a file of the exact circuit's attention.
    pub(super) const EXACT_VERSION: u32 = 1;
    /// That of the packed circuit's. In version 1 a channel of the output was one number.
    pub(super) const PACKED_VERSION: u32 = 2;
    /// That of blocks. In version 1 the first LayerNorm had squares like all others; in version 2 it was said of each update with which of two
    /// gadgets it is read.
    pub(super) const BLOCKS_VERSION: u32 = 3;

    /// The version of the format that is written of it, and the only one that is read.
    pub fn version(&self) -> u32 {
        match self {
            Self::Attention(AttentionOrigin { options: Options::Exact(_), .. }) => Self::EXACT_VERSION,
            Self::Attention(AttentionOrigin { options: Options::Packed(_), .. }) => Self::PACKED_VERSION,
            Self::Blocks(_) => Self::BLOCKS_VERSION,
        }
    }
}

/// What an attention was quantized from, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionOrigin {
    /// The layer of the model, from 0.
    pub layer: usize,
    /// The part of the layer's attention.
    pub part: Part,
    /// The options of the calibration.
    pub options: Options,
}

/// Which blocks were quantized, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlocksOrigin {
    /// The layer of the first of them, from 0.
    pub first: usize,
    /// How many there are.
    pub blocks: usize,
    /// The part of each.
    pub part: BlockPart,
    /// The options of the calibration.
    pub options: BlockOptions,
}

impl Options {
    /// Bits of the input's integers.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Exact(options) => options.bits,
            Self::Packed(options) => options.input_bits,
        }
    }

    /// Checks that the largest integer of an input is that of these options.
    pub(super) fn check_levels(&self, levels: i32) -> Result<(), Error> {
        let allowed = match self {
            Self::Exact(_) => IntegerOptions::BITS,
            Self::Packed(_) => PackedOptions::BITS,
        };
        let bits = self.bits();
        if allowed.contains(&bits) && quantizers::levels(bits)? == levels {
            return Ok(());
        }
        let allowed = format!("that of {bits} bits, as its origin says");
        Err(Error::out_of_range("the largest integer of an input", levels, allowed))
    }
}

impl BlocksOrigin {
    /// That of blocks.
    pub fn of(model: &ModelProgram) -> Self {
        let program = model.program();
        let (first, blocks) = (program.first(), program.blocks().len());
        Self { first, blocks, part: program.part(), options: *model.options() }
    }
}
