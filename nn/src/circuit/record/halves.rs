//! What a server and a client each need, of either circuit, to and from named tensors.

use crate::attention::Part;
use crate::error::Error;
use crate::integer::{IntegerAttention, IntegerClient, IntegerOptions, IntegerProgram, RangeReport};
use crate::named::NamedTensors;
use crate::packed::{PackedAttention, PackedClient, PackedOptions, PackedProgram};
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

/// What an attention was quantized from, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The layer of the model, from 0.
    pub layer: usize,
    /// The part of the layer's attention.
    pub part: Part,
    /// The options of the calibration.
    pub options: Options,
}

/// A quantized part of a layer's attention, both halves.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantized {
    /// For the exact circuit.
    Exact(Box<IntegerAttention>),
    /// For the packed circuit.
    Packed(Box<PackedAttention>),
}

/// What a server needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerHalf {
    /// For the exact circuit, with the bit-width analysis of calibration.
    Exact(Box<IntegerProgram>, Vec<RangeReport>),
    /// For the packed circuit.
    Packed(Box<PackedProgram>),
}

/// What a client needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientHalf {
    /// For the exact circuit.
    Exact(IntegerClient),
    /// For the packed circuit.
    Packed(PackedClient),
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
    fn check_levels(&self, levels: i32) -> Result<(), Error> {
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

impl ServerHalf {
    pub(super) fn to_tensors(&self) -> NamedTensors {
        match self {
            Self::Exact(program, ranges) => {
                let mut tensors = program.to_tensors();
                RangeReport::set(&mut tensors, ranges);
                tensors
            }
            Self::Packed(program) => program.to_tensors(),
        }
    }

    /// Reads what [`Self::to_tensors`] gives, and checks that it is what the origin says.
    pub(super) fn from_tensors(tensors: &NamedTensors, origin: &Origin) -> Result<Self, Error> {
        let half = match origin.options {
            Options::Exact(_) => {
                Self::Exact(Box::new(IntegerProgram::from_tensors(tensors)?), RangeReport::all_from(tensors)?)
            }
            Options::Packed(_) => Self::Packed(Box::new(PackedProgram::from_tensors(tensors)?)),
        };
        half.check(origin).map(|()| half)
    }

    /// E and O, d, and the number of heads.
    fn sizes(&self) -> ([usize; 2], usize, usize) {
        match self {
            Self::Exact(of, _) => ([of.embedding_size(), of.output_size()], of.head_size(), of.heads()),
            Self::Packed(of) => ([of.embedding_size(), of.output_size()], of.head_size(), of.heads().len()),
        }
    }

    /// The largest integer of an input, and the most tokens.
    fn input(&self) -> (i32, usize) {
        match self {
            Self::Exact(program, _) => (program.input_levels(), program.max_tokens()),
            Self::Packed(program) => (program.input_levels(), program.max_tokens()),
        }
    }

    /// Checks that this is what the origin says.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), Error> {
        origin.options.check_levels(self.input().0)?;
        let ([embedding, outputs], size, heads) = self.sizes();
        let (is_one, is_whole) = match self {
            Self::Exact(program, _) => (!program.is_whole(), program.is_whole()),
            Self::Packed(_) => (true, true),
        };
        let fits = match origin.part {
            Part::Head(_) => is_one && heads == 1 && outputs == size,
            Part::Whole => is_whole && outputs == embedding && heads.checked_mul(size) == Some(embedding),
        };
        if fits {
            return Ok(());
        }
        let (what, found) =
            ("the quantized attention, [n_embd, head, outputs, heads],", [embedding, size, outputs, heads]);
        Err(Error::shape(what, format!("that of the part {:?}", origin.part), &found))
    }

    /// Both halves as one.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::OutOfRange`] if they are not halves of one attention.
    pub(super) fn join(self, client: ClientHalf, part: Part) -> Result<Quantized, Error> {
        let (sizes, own_sizes) = (self.sizes().0, client.sizes());
        if own_sizes != sizes[..own_sizes.len()] {
            let expected = format!("{:?}, the server's", &sizes[..own_sizes.len()]);
            return Err(Error::shape("the client's half, [n_embd, outputs],", expected, &own_sizes));
        }
        let (server, own) = (self.input(), client.input());
        if server != own {
            let allowed = format!("{server:?}, the server's");
            return Err(Error::out_of_range("(levels, tokens) of the client's half", format!("{own:?}"), allowed));
        }
        match (self, client) {
            (Self::Exact(program, ranges), ClientHalf::Exact(client)) => {
                Ok(Quantized::Exact(Box::new(IntegerAttention { part, program: *program, client, ranges })))
            }
            (Self::Packed(program), ClientHalf::Packed(client)) => {
                Ok(Quantized::Packed(Box::new(PackedAttention { program: *program, client })))
            }
            _ => Err(Error::out_of_range("the client's half", "of another circuit", "of the server's")),
        }
    }
}

impl ClientHalf {
    pub(super) fn to_tensors(&self) -> NamedTensors {
        match self {
            Self::Exact(client) => client.to_tensors(),
            Self::Packed(client) => client.to_tensors(),
        }
    }

    /// Reads what [`Self::to_tensors`] gives, and checks that it is what the origin says.
    pub(super) fn from_tensors(tensors: &NamedTensors, origin: &Origin) -> Result<Self, Error> {
        let half = match origin.options {
            Options::Exact(_) => Self::Exact(IntegerClient::from_tensors(tensors)?),
            Options::Packed(_) => Self::Packed(PackedClient::from_tensors(tensors)?),
        };
        half.check(origin).map(|()| half)
    }

    /// E; and O, where it is known.
    fn sizes(&self) -> Vec<usize> {
        match self {
            Self::Exact(client) => vec![client.embedding_size()],
            Self::Packed(client) => vec![client.input_scales().len(), client.output_scales().len()],
        }
    }

    /// The largest integer of an input, and the most tokens.
    fn input(&self) -> (i32, usize) {
        match self {
            Self::Exact(client) => (client.input().levels(), client.max_tokens()),
            Self::Packed(client) => (client.levels(), client.max_tokens()),
        }
    }

    /// Checks that this is what the origin says.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), Error> {
        origin.options.check_levels(self.input().0)
    }
}

impl Quantized {
    /// Its halves, if it is what the origin says.
    pub(super) fn into_halves(self, origin: &Origin) -> Result<(ServerHalf, ClientHalf), Error> {
        let (server, client) = match (self, &origin.options) {
            (Self::Exact(attention), Options::Exact(_)) => {
                let IntegerAttention { program, client, ranges, .. } = *attention;
                (ServerHalf::Exact(Box::new(program), ranges), ClientHalf::Exact(client))
            }
            (Self::Packed(attention), Options::Packed(_)) => {
                let PackedAttention { program, client } = *attention;
                (ServerHalf::Packed(Box::new(program)), ClientHalf::Packed(client))
            }
            _ => return Err(Error::out_of_range("the origin", "of another circuit", "of that of the attention")),
        };
        server.check(origin)?;
        client.check(origin)?;
        Ok((server, client))
    }
}
