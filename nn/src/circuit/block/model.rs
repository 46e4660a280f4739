//! Both halves of some of a model's blocks, as calibration makes them.

use super::calibrate::BlockPart;
use super::client::BlocksClient;
use super::end::{EndProgram, EndScale};
use super::last_state::LastStateProgram;
use super::logits::LogitsProgram;
use super::options::BlockOptions;
use super::program::BlockProgram;
use super::scale::StreamScale;
use super::stream::StreamProgram;
use crate::clear::{ClearEvaluator, ClearTensor};
use crate::error::Error;
use crate::evaluator::{BlockEvaluator, Form};
use crate::gpt2::{Block, Gpt2, Intermediate, Site};
use crate::matrix::Matrix;
use crate::table::SmoothTable;
use std::ops::Range;

/// Some of a model's blocks: what a server evaluates, what a client needs for it, and how they were quantized.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelProgram {
    program: StreamProgram,
    client: BlocksClient,
    options: BlockOptions,
}

impl ModelProgram {
    /// Calibrates `part` of each of the blocks `layers` on texts, each of them tokens. The first `prefix` tokens are public and the same in
    /// all texts, those that are calibrated for as well: their keys and values are known to the server, and their hidden states, which
    /// in GPT-2 are far larger than all others, need no range.
    ///
    /// # Errors
    /// As [`Gpt2::logits`] and [`BlockProgram::calibrate`]; [`Error::OutOfRange`] if there are no such layers, or texts begin with different
    /// public tokens.
    pub fn calibrate(
        model: &Gpt2,
        layers: Range<usize>,
        part: BlockPart,
        (texts, prefix): (&[Vec<u32>], usize),
        options: &BlockOptions,
    ) -> Result<Self, Error> {
        if layers.is_empty() {
            return Err(Error::out_of_range("the encrypted layers", format!("{layers:?}"), "at least one"));
        }
        let public_tokens = public_tokens(texts, prefix)?;
        let states = texts.iter().map(|text| model.hidden_states(text, layers.end)).collect::<Result<Vec<_>, _>>()?;
        let private = |state: &Matrix<f32>| state.row_range(prefix.min(state.rows())..state.rows());
        let of_layers: Vec<Matrix<f32>> =
            states.iter().flat_map(|states| states[layers.start..].iter().map(private)).collect();
        let scale = StreamScale::calibrate(&of_layers, options.log_unit)?;
        let calibrate = |layer: usize| {
            let inputs: Vec<Matrix<f32>> = states.iter().map(|states| states[layer].clone()).collect();
            BlockProgram::calibrate(model.block(layer)?, part, &scale, (&inputs, prefix), options)
        };
        let (first, blocks) = (layers.start, layers.map(calibrate).collect::<Result<_, _>>()?);
        let config = model.config();
        let sizes = (config.head_size(), config.n_positions.min(StreamProgram::MAX_TOKENS));
        Ok(Self::new((first, part, blocks), scale, sizes, public_tokens, *options))
    }

    /// The same, ending with the logits of the token after the last, instead of the stream. Texts are those that the blocks were calibrated
    /// on.
    ///
    /// # Errors
    /// As [`Gpt2::logits`]; [`Error::OutOfRange`] if these are not whole blocks up to the model's last, or an option is out of its range;
    /// [`Error::Shape`] if no text has a token that is not public.
    pub fn with_logits(mut self, model: &Gpt2, texts: &[Vec<u32>], options: &BlockOptions) -> Result<Self, Error> {
        self.check_last(model, "the encrypted layers before the logits")?;
        let private = |state: Matrix<f32>| state.row_range(self.program.prefix.min(state.rows())..state.rows());
        let states: Vec<Matrix<f32>> =
            states_before(model, model.config().n_layer, texts)?.into_iter().map(private).collect();
        let (program, scale) = LogitsProgram::calibrate(model, self.client.scale(), &states, options)?;
        (self.program.end, self.client.end) = (EndProgram::Logits(program), EndScale::Logits(scale));
        Ok(self)
    }

    /// The same, ending with the hidden state of the last token, of which the last block's feed-forward layer is part. Texts are those that
    /// the blocks were calibrated on.
    ///
    /// # Errors
    /// As [`Gpt2::logits`]; [`Error::OutOfRange`] if these are not whole blocks up to the model's last, or an option is out of its range.
    pub fn with_last_state(mut self, model: &Gpt2, texts: &[Vec<u32>], options: &BlockOptions) -> Result<Self, Error> {
        self.check_last(model, "the encrypted layers before the last hidden state")?;
        let layer = model.config().n_layer - 1;
        let states = states_before(model, layer, texts)?;
        let inputs = (&states[..], self.program.prefix);
        let (program, scale) = LastStateProgram::calibrate(model.block(layer)?, self.client.scale(), inputs, options)?;
        if let Some(last) = self.program.blocks.last_mut() {
            last.feed_forward = None;
        }
        (self.program.end, self.client.end) = (EndProgram::LastState(program), EndScale::LastState(scale));
        Ok(self)
    }

    /// Checks that these are whole blocks up to the model's last, with their stream after them.
    fn check_last(&self, model: &Gpt2, what: &str) -> Result<(), Error> {
        let (layers, count) = (self.client.layers(), model.config().n_layer);
        if layers.end == count && self.client.part == BlockPart::Whole && self.client.end == EndScale::Stream {
            return Ok(());
        }
        let allowed = format!("whole blocks, of which the last is the model's: number {}", count - 1);
        Err(Error::out_of_range(what, format!("{layers:?}"), allowed))
    }

    /// Calibrates `part` of one block, number `layer` of its model, on hidden states before its first LayerNorm, each `[T, E]`.
    ///
    /// # Errors
    /// As [`Block::trace`] and [`BlockProgram::calibrate`].
    pub fn calibrate_block(
        (layer, block): (usize, &Block),
        part: BlockPart,
        inputs: &[Matrix<f32>],
        options: &BlockOptions,
    ) -> Result<Self, Error> {
        let mut states = inputs.to_vec();
        for input in inputs {
            let trace = block.trace(input)?;
            let sites = [Intermediate::AttentionResidual, Intermediate::Block].map(|what| Site::layer(what, 0));
            states.extend(sites.iter().filter_map(|&site| trace.get(site).cloned()));
        }
        let scale = StreamScale::calibrate(&states, options.log_unit)?;
        let blocks = vec![BlockProgram::calibrate(block, part, &scale, (inputs, 0), options)?];
        // A block by itself does not know how many positions its model has.
        let sizes = (block.attention.head_size(), StreamProgram::MAX_TOKENS);
        Ok(Self::new((layer, part, blocks), scale, sizes, Vec::new(), *options))
    }

    fn new(
        (first, part, mut blocks): (usize, BlockPart, Vec<BlockProgram>),
        stream: StreamScale,
        (head_size, max_tokens): (usize, usize),
        public_tokens: Vec<u32>,
        options: BlockOptions,
    ) -> Self {
        let (prefix, channels, count) = (public_tokens.len(), stream.turns().len(), blocks.len());
        let variance = blocks[0].expect_variance();
        let end = EndProgram::Stream;
        let program = StreamProgram { first, part, blocks, end, channels, head_size, prefix, max_tokens };
        let end = EndScale::Stream;
        let client =
            BlocksClient { first, blocks: count, part, head_size, max_tokens, public_tokens, stream, variance, end };
        Self { program, client, options }
    }

    /// Of two halves.
    ///
    /// # Errors
    /// As [`Self::check_halves`].
    pub(crate) fn of_halves(
        program: StreamProgram,
        client: BlocksClient,
        options: BlockOptions,
    ) -> Result<Self, Error> {
        Self::check_halves(&program, &client)?;
        Ok(Self { program, client, options })
    }

    /// Checks that halves are of the same blocks.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if they are not.
    pub(crate) fn check_halves(program: &StreamProgram, client: &BlocksClient) -> Result<(), Error> {
        let of_client = (
            (client.layers(), client.part, client.stream.turns().len(), client.head_size),
            (client.public_tokens.len(), client.max_tokens, (client.end.ending(), client.end.size())),
        );
        let layers = program.first..program.first + program.blocks.len();
        let of_server = (
            (layers, program.part, program.channels, program.head_size),
            (program.prefix, program.max_tokens, (program.end.ending(), program.end.size())),
        );
        if of_client == of_server {
            return Ok(());
        }
        let what = "the client's half, ((layers, part, channels, head), (public tokens, tokens, end)),";
        Err(Error::out_of_range(what, format!("{of_client:?}"), format!("{of_server:?}, the server's")))
    }

    /// Both halves.
    pub fn into_halves(self) -> (StreamProgram, BlocksClient) {
        (self.program, self.client)
    }

    /// What a server evaluates.
    pub fn program(&self) -> &StreamProgram {
        &self.program
    }

    /// What a client needs.
    pub fn client(&self) -> &BlocksClient {
        &self.client
    }

    /// How they were quantized.
    pub fn options(&self) -> &BlockOptions {
        &self.options
    }

    /// What is answered ([`BlocksClient::decode`]) to hidden states `[T, E]` of tokens after the public ones, without noise.
    ///
    /// # Errors
    /// As [`BlocksClient::encode`].
    pub fn evaluate_clear(
        &self,
        evaluator: &mut ClearEvaluator<SmoothTable>,
        hidden: &Matrix<f32>,
    ) -> Result<Matrix<f32>, Error> {
        let encoded = self.client.encode(hidden)?;
        let rows = (0..encoded.rows()).map(|row| encoded.row(row).to_vec()).collect();
        let stream: ClearTensor = evaluator.known(rows, Form::Features);
        let mut caches = self.program.caches(evaluator);
        let Ok(answer) = self.program.answer(evaluator, stream, &mut caches);
        self.client.decode(&answer.matrix(|x| x))
    }
}

/// Of each text, the hidden states before layer `layer`, or after the last.
fn states_before(model: &Gpt2, layer: usize, texts: &[Vec<u32>]) -> Result<Vec<Matrix<f32>>, Error> {
    let state = |text: &Vec<u32>| Ok(model.hidden_states(text, layer)?.pop());
    texts.iter().filter_map(|text| state(text).transpose()).collect()
}

/// The first tokens of texts, which have to be the same in all.
fn public_tokens(texts: &[Vec<u32>], prefix: usize) -> Result<Vec<u32>, Error> {
    let public = texts.first().and_then(|text| text.get(..prefix)).unwrap_or_default();
    let Some(other) = texts.iter().find(|text| !text.starts_with(public)) else { return Ok(public.to_vec()) };
    let found = format!("{:?} in one text and {public:?} in another", &other[..prefix.min(other.len())]);
    Err(Error::out_of_range("the public tokens", found, "the same in all texts"))
}
