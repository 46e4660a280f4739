//! What section B measures of keys themselves: the noise of their rows; and of GGSW ciphertexts that a server makes.

use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{Edge, Node};
use tfhe_core::keys::Needs;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::stored_bits;
use tfhe_core::noise::{self, Spread, effective_squares};
use tfhe_core::{polynomial, torus};

use super::bench::{AuditBench, errors};
use super::claim::MeasuredNoise;
use super::error::AuditError;
use super::operations::{NoiseEffort, drawn, measured};

/// Bits of a key whose rows are decrypted.
const BITS: usize = 16;
/// Integers that a GGSW ciphertext multiplies by, and how large they are at most.
const INTEGERS: usize = 32;
const LARGEST: i64 = 3;

/// Rows of a bootstrapping key that encrypt a constant: at all coefficients but that, there is noise alone.
pub(super) fn of_bootstrapping(bench: &mut AuditBench, gadget: usize) -> Result<Option<MeasuredNoise>, AuditError> {
    let seeded = bench.client.evaluation_keys(&Needs::default().bootstrapping(gadget))?;
    let bootstrap = bench.parameters.bootstraps()[gadget];
    let Some(ring) = bench.parameters.key(bootstrap.ring).ring() else { return Ok(None) };
    let mut found = Vec::new();
    for bit in seeded.bootstrapping_key(gadget)?.to_raw().take(BITS) {
        // [k+1][ℓ][k+1][N]
        let rows: Vec<&[u64]> = bit.chunks_exact(ring.shape.ciphertext_len()).collect();
        for row in rows.iter().rev().take(bootstrap.gadget.levels()) {
            let phase = bench.phase(bootstrap.ring, &GlweCiphertext::from_raw(ring.shape, row)?)?;
            found.extend(phase[1..].iter().map(|&x| torus::to_f64(x)));
        }
    }
    let id = format!("rows.bootstrapping.{gadget}");
    let what = (&*id, format!("rows of the bootstrapping key number {gadget}"));
    // Their bodies are rounded.
    let predicted = ring.noise.variance() + noise::rounded_body(stored_bits(ring.noise.variance()));
    Ok(Some(MeasuredNoise { predicted, ..drawn(bench, what, ring.noise, found) }))
}

/// Rows of a key switch to an LWE key that encrypt a bit that is 0.
pub(super) fn of_keyswitch(bench: &mut AuditBench, from: Node) -> Result<Option<MeasuredNoise>, AuditError> {
    if bench.parameters.small().ring().is_some() {
        return Ok(None);
    }
    let seeded = bench.client.evaluation_keys(&Needs::default().keyswitch(from))?;
    let (n, noise) = (bench.parameters.small().lwe_dimension().get(), bench.parameters.small().noise());
    let levels = bench.parameters.gadget(Edge::Keyswitch { from })?.levels();
    let raw = seeded.lwe_keyswitch(from)?.to_raw();
    let bits = bench.bits(from);
    // [n'][ℓ][n+1]
    let rows = raw.chunks_exact(n + 1).enumerate().filter(|(row, _)| bits[row / levels] == 0);
    let rows: Vec<LweCiphertext> = rows.map(|(_, row)| LweCiphertext::from_data(row.to_vec())).collect();
    let found = bench.phases(Node::Small, &rows).into_iter().map(torus::to_f64).collect();
    let id = format!("rows.keyswitch.{}", from.name());
    let what = (&*id, format!("rows of the key switch from the {} ring", from.name()));
    Ok(Some(drawn(bench, what, noise, found)))
}

/// Products with GGSW ciphertexts of integers that arrived encrypted.
pub(super) fn external_products(
    bench: &mut AuditBench,
    node: Node,
    effort: NoiseEffort,
) -> Result<Option<MeasuredNoise>, AuditError> {
    if !bench.parameters.key(node).nodes().contains(&Node::Arithmetic) {
        return Ok(None);
    }
    let keys = bench.keys(&Needs::default().relinearization(node))?;
    let (key, fft, ring) = (keys.relinearization(node)?, keys.arithmetic_fft(), bench.parameters.arithmetic());
    let gadget = bench.parameters.gadget(Edge::ExternalProduct { ring: node })?;
    let (size, shift) = (ring.size().get(), 64 - gadget.base_log() * gadget.levels() as u32);
    let (mut found, mut squares) = (Vec::new(), 0.0);
    let count = (effort.ciphertexts / 4).max(1);
    for index in 0..count {
        let mut message = vec![0_i64; size];
        for place in 0..INTEGERS.min(size) {
            message[place * size / INTEGERS.min(size)] = bench.below(2 * LARGEST as usize + 1) as i64 - LARGEST;
        }
        squares += effective_squares(&message) / count as f64;
        let plaintext: Vec<u64> = message.iter().map(|&m| (m as u64) << shift).collect();
        let ggsw: FourierGgsw = key.ggsw(&bench.encrypt(&plaintext, 100 + index as u64)?, gadget);
        let input = bench.glwe(ring.shape)?;
        let mut expected = vec![0; size];
        polynomial::schoolbook_add(&message, &bench.phase(node, &input)?, &mut expected);
        let product = ggsw.external_product(fft, &input, &mut ggsw.scratch(fft));
        found.extend(errors(&bench.phase(node, &product)?, &expected));
    }
    let noise = ring.noise.variance();
    let transforms = AuditBench::transforms(ring.size());
    let relinearization = bench.parameters.gadget(Edge::Relinearization { ring: node })?.on(transforms);
    let relinearization = noise::relinearization(relinearization, ring.shape, noise);
    let factor = Spread::new(noise, size);
    let predicted =
        noise::product_with_ggsw(gadget.on(transforms), ring.shape, factor, relinearization, squares).variance();
    let (base, levels) = (gadget.base_log(), gadget.levels());
    let what = ("external product", format!("external product with encrypted integers, gadget 2^{base}, {levels}"));
    // Of what is a wave in both factors nearly all is in one frequency of each.
    let shared = (4.0 / (size as f64).sqrt()).hypot(1.0 / (count as f64).sqrt());
    Ok(Some(measured(bench, what, predicted, found, shared)))
}
