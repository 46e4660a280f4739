//! What a server and a client each need, of any circuit, to and from named tensors.

use super::origin::{AttentionOrigin, BlocksOrigin, Options, Origin};
use crate::attention::Part;
use crate::block::{BlocksClient, ModelProgram, StreamProgram};
use crate::error::Error;
use crate::integer::{IntegerAttention, IntegerClient, IntegerProgram, RangeReport};
use crate::named::NamedTensors;
use crate::packed::{PackedAttention, PackedClient, PackedProgram};

/// What was quantized, both halves: a part of a layer's attention, or blocks.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantized {
    /// For the exact circuit.
    Exact(Box<IntegerAttention>),
    /// For the packed circuit.
    Packed(Box<PackedAttention>),
    /// Blocks.
    Blocks(Box<ModelProgram>),
}

/// What a server needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerHalf {
    /// For the exact circuit, with the bit-width analysis of calibration.
    Exact(Box<IntegerProgram>, Vec<RangeReport>),
    /// For the packed circuit.
    Packed(Box<PackedProgram>),
    /// Blocks.
    Blocks(Box<StreamProgram>),
}

/// What a client needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientHalf {
    /// For the exact circuit.
    Exact(IntegerClient),
    /// For the packed circuit.
    Packed(PackedClient),
    /// Of blocks.
    Blocks(BlocksClient),
}

/// That something is not of the circuit that it is used with.
fn other_circuit(what: &str) -> Error {
    Error::out_of_range(what, "of another circuit", "of that of what it is used with")
}

/// What both halves of an attention have: E and O, where they are known; the largest integer of an input, and the most tokens.
type AttentionSizes = (Vec<usize>, i32, usize);

impl ServerHalf {
    pub(super) fn to_tensors(&self) -> NamedTensors {
        match self {
            Self::Exact(program, ranges) => {
                let mut tensors = program.to_tensors();
                RangeReport::set(&mut tensors, ranges);
                tensors
            }
            Self::Packed(program) => program.to_tensors(),
            Self::Blocks(program) => program.to_tensors(),
        }
    }

    /// Reads what [`Self::to_tensors`] gives, and checks that it is what the origin says.
    pub(super) fn from_tensors(tensors: &NamedTensors, origin: &Origin) -> Result<Self, Error> {
        let half = match origin {
            Origin::Attention(AttentionOrigin { options: Options::Exact(_), .. }) => {
                Self::Exact(Box::new(IntegerProgram::from_tensors(tensors)?), RangeReport::all_from(tensors)?)
            }
            Origin::Attention(AttentionOrigin { options: Options::Packed(_), .. }) => {
                Self::Packed(Box::new(PackedProgram::from_tensors(tensors)?))
            }
            Origin::Blocks(BlocksOrigin { first, blocks, part, options }) => {
                options.check()?;
                let layers = *first..first.saturating_add(*blocks);
                Self::Blocks(Box::new(StreamProgram::from_tensors(tensors, &layers, *part)?))
            }
        };
        half.check(origin).map(|()| half)
    }

    /// Of an attention; `None` of blocks.
    fn attention_sizes(&self) -> Option<AttentionSizes> {
        match self {
            Self::Exact(of, _) => {
                Some((vec![of.embedding_size(), of.output_size()], of.input_levels(), of.max_tokens()))
            }
            Self::Packed(of) => Some((
                vec![of.embedding_size(), of.output_size(), of.output_parts()],
                of.input_levels(),
                of.max_tokens(),
            )),
            Self::Blocks(_) => None,
        }
    }

    /// Checks that this is what the origin says.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), Error> {
        let (is_one, is_whole, size, heads) = match self {
            Self::Exact(of, _) => (!of.is_whole(), of.is_whole(), of.head_size(), of.heads()),
            Self::Packed(of) => (true, true, of.head_size(), of.heads().len()),
            // It was read as the origin says.
            Self::Blocks(_) => return Ok(()),
        };
        let (Some((sizes, levels, _)), Origin::Attention(AttentionOrigin { part, options, .. })) =
            (self.attention_sizes(), origin)
        else {
            return Err(other_circuit("the origin"));
        };
        options.check_levels(levels)?;
        let (embedding, outputs) = (sizes[0], sizes[1]);
        // Of the packed attention, one or some for each channel.
        let parts = sizes.get(2).copied().unwrap_or(1);
        let numbers_of = |channels: usize| {
            (1..=PackedProgram::MOST_PARTS).contains(&parts) && channels.checked_mul(parts) == Some(outputs)
        };
        let fits = match part {
            Part::Head(_) => is_one && heads == 1 && numbers_of(size),
            Part::Whole => is_whole && numbers_of(embedding) && heads.checked_mul(size) == Some(embedding),
        };
        if fits {
            return Ok(());
        }
        let (what, found) =
            ("the quantized attention, [n_embd, head, outputs, heads],", [embedding, size, outputs, heads]);
        Err(Error::shape(what, format!("that of the part {part:?}"), &found))
    }

    /// Checks that a client's half is of the same attention, or the same blocks.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::OutOfRange`] if it is not.
    pub(super) fn check_client(&self, client: &ClientHalf) -> Result<(), Error> {
        if let (Self::Blocks(program), ClientHalf::Blocks(client)) = (self, client) {
            return ModelProgram::check_halves(program, client);
        }
        let (Some((sizes, levels, tokens)), Some((own_sizes, own_levels, own_tokens))) =
            (self.attention_sizes(), client.attention_sizes())
        else {
            return Err(other_circuit("the client's half"));
        };
        if own_sizes != sizes[..own_sizes.len()] {
            let expected = format!("{:?}, the server's", &sizes[..own_sizes.len()]);
            return Err(Error::shape("the client's half, [n_embd, outputs],", expected, &own_sizes));
        }
        let (server, own) = ((levels, tokens), (own_levels, own_tokens));
        if server != own {
            let allowed = format!("{server:?}, the server's");
            return Err(Error::out_of_range("(levels, tokens) of the client's half", format!("{own:?}"), allowed));
        }
        Ok(())
    }

    /// Both halves as one.
    ///
    /// # Errors
    /// As [`Self::check_client`].
    pub(super) fn join(self, client: ClientHalf, origin: &Origin) -> Result<Quantized, Error> {
        self.check_client(&client)?;
        match (self, client, origin) {
            (Self::Exact(program, ranges), ClientHalf::Exact(client), Origin::Attention(origin)) => {
                let part = origin.part;
                Ok(Quantized::Exact(Box::new(IntegerAttention { part, program: *program, client, ranges })))
            }
            (Self::Packed(program), ClientHalf::Packed(client), Origin::Attention(_)) => {
                Ok(Quantized::Packed(Box::new(PackedAttention { program: *program, client })))
            }
            (Self::Blocks(program), ClientHalf::Blocks(client), Origin::Blocks(origin)) => {
                Ok(Quantized::Blocks(Box::new(ModelProgram::of_halves(*program, client, origin.options)?)))
            }
            _ => Err(other_circuit("the client's half")),
        }
    }
}

impl ClientHalf {
    pub(super) fn to_tensors(&self) -> NamedTensors {
        match self {
            Self::Exact(client) => client.to_tensors(),
            Self::Packed(client) => client.to_tensors(),
            Self::Blocks(client) => client.to_tensors(),
        }
    }

    /// Reads what [`Self::to_tensors`] gives, and checks that it is what the origin says.
    pub(super) fn from_tensors(tensors: &NamedTensors, origin: &Origin) -> Result<Self, Error> {
        let half = match origin {
            Origin::Attention(AttentionOrigin { options: Options::Exact(_), .. }) => {
                Self::Exact(IntegerClient::from_tensors(tensors)?)
            }
            Origin::Attention(AttentionOrigin { options: Options::Packed(_), .. }) => {
                Self::Packed(PackedClient::from_tensors(tensors)?)
            }
            Origin::Blocks(BlocksOrigin { first, blocks, part, options }) => {
                options.check()?;
                let layers = *first..first.saturating_add(*blocks);
                Self::Blocks(BlocksClient::from_tensors(tensors, &layers, *part)?)
            }
        };
        half.check(origin).map(|()| half)
    }

    /// Of an attention; `None` of blocks.
    fn attention_sizes(&self) -> Option<AttentionSizes> {
        match self {
            Self::Exact(client) => Some((vec![client.embedding_size()], client.input().levels(), client.max_tokens())),
            Self::Packed(client) => Some((
                vec![client.input_scales().len(), client.output_scales().len(), client.output_parts()],
                client.levels(),
                client.max_tokens(),
            )),
            Self::Blocks(_) => None,
        }
    }

    /// Checks that this is what the origin says.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), Error> {
        match (self.attention_sizes(), origin) {
            (Some((_, levels, _)), Origin::Attention(origin)) => origin.options.check_levels(levels),
            // It was read as the origin says.
            (None, Origin::Blocks(_)) => Ok(()),
            _ => Err(other_circuit("the origin")),
        }
    }
}

impl Quantized {
    /// Its halves, if it is what the origin says.
    pub(super) fn into_halves(self, origin: &Origin) -> Result<(ServerHalf, ClientHalf), Error> {
        let (server, client) = match (self, origin) {
            (Self::Exact(attention), Origin::Attention(AttentionOrigin { options: Options::Exact(_), .. })) => {
                let IntegerAttention { program, client, ranges, .. } = *attention;
                (ServerHalf::Exact(Box::new(program), ranges), ClientHalf::Exact(client))
            }
            (Self::Packed(attention), Origin::Attention(AttentionOrigin { options: Options::Packed(_), .. })) => {
                let PackedAttention { program, client } = *attention;
                (ServerHalf::Packed(Box::new(program)), ClientHalf::Packed(client))
            }
            (Self::Blocks(model), Origin::Blocks(of_origin)) if BlocksOrigin::of(&model) == *of_origin => {
                let (program, client) = model.into_halves();
                (ServerHalf::Blocks(Box::new(program)), ClientHalf::Blocks(client))
            }
            _ => return Err(Error::out_of_range("the origin", "of another circuit", "of that of the attention")),
        };
        server.check(origin)?;
        client.check(origin)?;
        Ok((server, client))
    }
}
