//! What is asked of the model: calls, and the machines that they meet.

use tfhe_core::format::ENVELOPE_BYTES;
use tfhe_core::params::{GlweShape, LweDimension};

use super::messages::MessageSeconds;
use crate::cutting::Cutting;

/// Work of the server itself that is done before a call: some parts that can be done at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnWork {
    /// Of all parts together, on one core.
    pub seconds: f64,
    /// How many parts of one size it has.
    pub parts: usize,
}

impl OwnWork {
    /// How long it takes on so many cores: some of them do a part more than others.
    pub fn seconds_on(&self, cores: usize) -> f64 {
        let parts = self.parts.max(1);
        self.seconds * parts.div_ceil(cores.max(1)) as f64 / parts as f64
    }
}

/// Blind rotations that wait for nothing but what comes before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookupCall {
    /// With which of the set's bootstrapping gadgets.
    pub gadget: usize,
    /// How many; none where the server works only.
    pub rotations: usize,
    /// How many different polynomials they turn.
    pub tables: usize,
    /// What the server does before, one after the other.
    pub own: Vec<OwnWork>,
}

/// How many bytes messages have.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageSizes {
    /// Of a batch, besides what follows.
    pub batch: f64,
    /// Of what turns a polynomial: n + 1 exponents, and which polynomial it is.
    pub input: f64,
    /// Of a polynomial, once to a batch.
    pub table: f64,
    /// Of a result, besides what follows.
    pub answer: f64,
    /// Of a turned polynomial, by gadget: its mask and what is wanted of its body, rounded.
    pub output: Vec<f64>,
}

/// Numbers in a batch besides its lookups and elements: id (3), lengths and the arithmetic's name (3), the keys' name (4), sizes and counts (7).
const BATCH_NUMBERS: f64 = 17.0;
/// In a result: id (3), the worker's name and its length (4), seconds, outcome, sizes (6).
const ANSWER_NUMBERS: f64 = 13.0;

/// The part of the bytes of a polynomial without order that one of a smooth function takes: of the tables of the embedded model's blocks, sent to workers,
/// as if of all rotations of a batch each had a table of its own, where a call has so many.
const SMOOTH_SHARE: f64 = 1.0 / 16.0;

impl MessageSizes {
    /// As [`crate::batch`] has them, up to the lengths of names: of polynomials of one shape, for inputs of one dimension, with results of so
    /// many bits by gadget, of each of which one coefficient of the body is wanted. Polynomials are taken to be without any order: those of smooth
    /// functions take a fraction of that ([`crate::batch`]).
    pub fn of_formats(shape: GlweShape, dimension: LweDimension, bits: &[u32]) -> Self {
        let (k, n) = (shape.dimension.get(), shape.polynomial_size.get());
        let exponent_bits = shape.polynomial_size.log2() + 1;
        let packed = |elements: usize, bits: u32| (elements * bits as usize).div_ceil(8) as f64;
        Self {
            batch: ENVELOPE_BYTES as f64 + 8.0 * BATCH_NUMBERS,
            // Besides, which polynomial it turns, and how much of the result is wanted.
            input: packed(dimension.get() + 1, exponent_bits) + 16.0,
            table: 8.0 * (n + 3 + n.div_ceil(64)) as f64,
            answer: ENVELOPE_BYTES as f64 + 8.0 * ANSWER_NUMBERS,
            output: bits.iter().map(|&bits| packed(k * n + 1, bits)).collect(),
        }
    }

    /// With polynomials of smooth functions, whose differences take few bits.
    #[must_use]
    pub fn with_smooth_tables(self) -> Self {
        Self { table: self.table * SMOOTH_SHARE, ..self }
    }

    /// Nothing takes bytes.
    pub fn none(gadgets: usize) -> Self {
        Self { batch: 0.0, input: 0.0, table: 0.0, answer: 0.0, output: vec![0.0; gadgets] }
    }

    /// Bytes of a batch of `rotations` of a call.
    pub fn out(&self, call: &LookupCall, rotations: usize) -> f64 {
        self.batch + rotations as f64 * self.input + call.tables.min(rotations) as f64 * self.table
    }

    /// Bytes of its result.
    pub fn back(&self, call: &LookupCall, rotations: usize) -> f64 {
        self.answer + rotations as f64 * self.output.get(call.gadget).copied().unwrap_or(0.0)
    }
}

/// The machines, and what is between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// Cores of workers: each computes one batch at a time.
    pub workers: usize,
    /// Cores of the server.
    pub server_cores: usize,
    /// Whether the server's cores compute batches while it waits.
    pub own_lookups: bool,
    /// Bytes a second of the server's way to all workers, and of the way back: each at the same time as the other.
    pub bandwidth: f64,
    /// Seconds of a message without bytes, one way.
    pub latency: f64,
    /// What its cores take for messages.
    pub messages: MessageSeconds,
    /// How many batches are on their way or with workers at the same time, for each core of theirs.
    pub in_flight: usize,
    /// Batches.
    pub cutting: Cutting,
}

impl Cluster {
    /// All cores that compute batches.
    pub fn cores(&self) -> usize {
        self.workers + if self.own_lookups || self.workers == 0 { self.server_cores } else { 0 }
    }

    /// The sizes of a call's batches.
    pub fn sizes(&self, call: &LookupCall) -> Vec<usize> {
        self.cutting.sizes(call.rotations, self.cores())
    }

    /// Seconds of a core of the server until a batch of so many rotations is written, and until its result is read.
    pub(super) fn message_seconds(&self, rotations: usize) -> [f64; 2] {
        [self.messages.write, self.messages.read].map(|seconds| rotations as f64 * seconds)
    }

    /// How many cores of the server compute batches.
    pub(super) fn helping(&self) -> usize {
        self.cores() - self.workers
    }
}
