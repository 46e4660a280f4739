//! How long operations of blocks take here: what a plan's counts are multiplied by to become seconds.

use std::time::Instant;

use nn::evaluator::{Form, LinearMap, SmoothUse};
use nn::matrix::Matrix;
use nn::table::{Smooth, SmoothTable};
use tfhe_core::blind_rotation::TOGETHER;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::noise::Variance;

use super::session::BlockKeyPair;
use crate::block::backend::{BlockBackend, LookupNoise, ReadNumber};
use crate::block::ciphertexts::{BlockCiphertexts, EncryptedNumber, EncryptedReals};
use crate::block::circuit::BlockCircuit;
use crate::block::keys::{BlockKeys, GADGETS, gadget};
use crate::block::schedule::OwnOperation;
use crate::block::server::opened;
use crate::run::error::RunError;

/// How often each operation is timed; the median is taken.
const REPETITIONS: usize = 3;

/// The uses of lookups: one for each gadget of bootstrappings.
const USES: [SmoothUse; GADGETS] = [SmoothUse::Read, SmoothUse::Feature, SmoothUse::Multiplier { log_shared: 0 }];

/// How many rows of a linear map are timed besides the first.
const MORE_ROWS: usize = 8;

/// Seconds of wall time that operations take in a batch, with all threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperationSeconds {
    /// Of a bootstrapping with each gadget of the set, with the extraction and the key switch of its argument: of a lookup that takes
    /// one.
    pub bootstrapping: [f64; GADGETS],
    /// Of an external product outside of bootstrappings.
    pub external_product: f64,
    /// Of what a server does itself, in the order of [`OwnOperation::ALL`].
    pub own: [f64; OwnOperation::ALL.len()],
}

impl OperationSeconds {
    /// Measures them, with keys that are made for it and thrown away: as many bootstrappings together as the server does.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the set is not one of blocks; [`RunError::Randomness`].
    pub fn measure(circuit: &BlockCircuit) -> Result<Self, RunError> {
        let BlockKeyPair(keys) = BlockKeyPair::new(circuit.parameters(), &ClientSeed::from_number(0))?;
        let (server, channels) = (&keys.evaluation_keys, circuit.program().sent_channels());
        // What is encrypted makes no difference.
        let encoding = circuit.encoding(TOGETHER.div_ceil(channels));
        let request = keys.client.encrypt(&Matrix::from_fn(encoding.tokens, channels, |_, _| 0), &encoding)?;
        let reals = opened(circuit, server, &request, &encoding)?.into_reals();
        let expansion = median_seconds(|| opened(circuit, server, &request, &encoding));
        let mut backend = BlockCiphertexts { keys: BlockKeys::new(server)?, layout: circuit.prediction().layout() };
        let read = |content| ReadNumber { content, arithmetic: true, lookup: false };
        let numbers: Vec<ReadNumber<EncryptedNumber>> =
            backend.numbers(reals.clone()).into_iter().flatten().take(TOGETHER).map(read).collect();
        let mut bootstrapping = [0.0; GADGETS];
        for result in USES {
            let rotations = match result {
                SmoothUse::Multiplier { .. } => circuit.prediction().levels(),
                _ => 1,
            };
            let numbers = &numbers[..TOGETHER / rotations];
            let seconds = median_seconds(|| look_up(&mut backend, result, numbers));
            bootstrapping[gadget(result)] = seconds / (numbers.len() * rotations) as f64;
        }
        // As many as there are rows of the stream.
        let multipliers = look_up(&mut backend, USES[2], &numbers[..encoding.tokens]);
        let multipliers =
            backend.pack_multipliers(multipliers.into_iter().map(|x| vec![x]).collect(), Form::Multipliers);
        let products = encoding.tokens * encoding.row_len();
        let repeated = TOGETHER.div_ceil(products);
        let scale = || (0..repeated).for_each(|_| drop(backend.multiply_rows(&reals, &multipliers)));
        let external_product = median_seconds(scale) / (repeated * products) as f64;
        let [weights, map_product] = map_seconds(&mut backend, &reals);
        let own = OwnOperation::ALL.map(|operation| match operation {
            OwnOperation::KeySwitch => {
                let sums: Vec<_> = numbers.iter().map(|number| number.content.sum()).collect();
                median_seconds(|| backend.arguments(SmoothUse::Read, &sums)) / sums.len() as f64
            }
            OwnOperation::Expansion => expansion / encoding.automorphisms().max(1) as f64,
            OwnOperation::Packing => {
                let (row, inputs) = (look_up(&mut backend, SmoothUse::Feature, &numbers), backend.layout.inputs());
                let automorphisms = |row: &[_]| circuit.prediction().packing_automorphisms(row.len());
                let seconds = median_seconds(|| backend.pack(vec![row.clone()], Form::Features, Variance::ZERO));
                seconds / row.chunks(inputs).map(automorphisms).sum::<usize>() as f64
            }
            OwnOperation::Multiplier => {
                let row = look_up(&mut backend, USES[2], &numbers[..TOGETHER / circuit.prediction().levels()]);
                let count = row.len() as f64;
                median_seconds(|| backend.pack_multipliers(vec![row.clone()], Form::Multipliers)) / count
            }
            OwnOperation::Weights => weights,
            OwnOperation::MapProduct => map_product,
            OwnOperation::ExternalProduct => external_product,
        });
        Ok(Self { bootstrapping, external_product, own })
    }
}

/// Of a polynomial of weights, and of its product with one ciphertext: of maps of one row, and of more.
fn map_seconds(backend: &mut BlockCiphertexts<'_>, reals: &EncryptedReals) -> [f64; 2] {
    let row = backend.last_row(reals);
    let mut rows = row.clone();
    (0..MORE_ROWS).for_each(|_| backend.append(&mut rows, row.clone()));
    let channels = row.channels();
    // Weights of a byte, none of them special.
    let weight = Matrix::from_fn(channels, channels, |row, column| ((31 * row + 17 * column) % 255) as i32 - 127);
    let map = [LinearMap { weight: &weight, bias: &[], form: Form::Image }];
    let products = (backend.layout.features_ciphertexts(channels) * backend.layout.image_ciphertexts(channels)) as f64;
    let [one, more] = [&row, &rows].map(|rows| median_seconds(|| backend.map(rows, &map)) / products);
    let product = ((more - one) / MORE_ROWS as f64).max(0.0);
    [(one - product).max(0.0), product]
}

/// One table at all numbers.
fn look_up(
    backend: &mut BlockCiphertexts<'_>,
    result: SmoothUse,
    numbers: &[ReadNumber<EncryptedNumber>],
) -> Vec<EncryptedNumber> {
    let table = SmoothTable::of(Smooth::Identity, 1.0, [-0.25, 0.25], 1.0);
    // Nothing is drawn on ciphertexts.
    let noise = LookupNoise { reading: Variance::ZERO, result: Variance::ZERO };
    backend.look_up(result, &numbers.iter().collect::<Vec<_>>(), &vec![&table; numbers.len()], noise)
}

fn median_seconds<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut seconds: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            let start = Instant::now();
            drop(work());
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[REPETITIONS / 2]
}
