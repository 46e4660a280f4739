//! What messages take of a server's cores: batches are written, results are read.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::Identity;
use tfhe_core::refresh::FunctionTable;

use crate::batch::{Batch, BatchId, BatchResult, KeyName, elements};
use crate::cutting::Cutting;

/// How often each is timed; the median is taken.
const REPETITIONS: usize = 9;

/// Seconds of one core, for each rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MessageSeconds {
    /// To write it in a batch.
    pub write: f64,
    /// To read its result.
    pub read: f64,
}

impl MessageSeconds {
    /// Measures them here, on one thread: of a batch as large as they get, in which each rotation has a smooth table of its own, with results of
    /// `bits` bits. What ciphertexts contain makes no difference.
    ///
    /// # Errors
    /// If the parameter set has no such batches.
    pub fn measure(parameters: &Parameters, identity: Identity, bits: u32) -> io::Result<Self> {
        let (shape, count) = (parameters.lookup().shape, Cutting::default().most);
        let table = |index: usize| {
            let function = |x: f64| 0.1 * (x * (6.0 + index as f64 / count as f64)).sin();
            let table = FunctionTable::new(shape, -0.2..=0.2, function).map_err(io::Error::other)?;
            Ok(table.rounded(bits).polynomial().clone())
        };
        let tables = (0..count).map(table).collect::<io::Result<_>>()?;
        let id = BatchId { run: [0; 16], number: 0 };
        let batch = Batch::random(parameters, (id, identity, KeyName::of_bytes(&[])), bits, count, tables);
        let sent = shape.extracted_lwe_dimension().get() + 1;
        let result = |index: usize| {
            let mut result = GlweCiphertext::zero(shape);
            result.data_mut()[..sent].copy_from_slice(&elements(index as u64, sent, bits));
            result
        };
        let outcome = Ok((0..count).map(result).collect());
        let expected = batch.expected();
        let result = BatchResult { id: batch.id, identity, worker: "worker".into(), seconds: 0.0, outcome };
        let bytes = result.encode(expected.as_ref())?;
        let read = || BatchResult::decode(&bytes, |_, _| expected.clone()).map_err(io::Error::other);
        Ok(Self {
            write: median_seconds(|| batch.encode())? / count as f64,
            read: median_seconds(read)? / count as f64,
        })
    }
}

fn median_seconds<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<f64> {
    let mut seconds = [0.0; REPETITIONS];
    for seconds in &mut seconds {
        let start = Instant::now();
        black_box(work()?);
        *seconds = start.elapsed().as_secs_f64();
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[REPETITIONS / 2])
}
