//! Bootstrappings of the set, with and without the key switch, one at a time and 64 together.
//!
//! tfhe-rs is called in two ways: as its users call it, `apply_lookup_table` of shortint on each ciphertext, in parallel with
//! rayon; and with the quickest of what its `core_crypto` offers ([`super::batched`]).

use anyhow::{Result, ensure};
use rayon::prelude::*;
use tfhe::core_crypto::prelude::{
    ComputationBuffers, LweCiphertextOwned, programmable_bootstrap_lwe_ciphertext,
    programmable_bootstrap_lwe_ciphertext_mem_optimized,
    programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement,
};
use tfhe::shortint::parameters::PARAM_MESSAGE_2_CARRY_2_KS_PBS;
use tfhe::shortint::server_key::LookupTableOwned;
use tfhe::shortint::{Ciphertext, ClientKey, ServerKey, gen_keys};
use tfhe_core::lwe::LweCiphertext;

use super::Session;
use super::batched::{Candidates, check_candidates};
use super::keys::{BATCH, Keys, VALUES, function};
use crate::exchange;
use crate::measure::by_turns;

pub(super) fn compare(session: &mut Session<'_>, keys: &Keys) -> Result<()> {
    check_ours(keys)?;
    pbs_latency(session, keys)?;
    if !session.wants_some("ks_pbs") {
        return Ok(());
    }
    let shortint = Shortint::generate();
    shortint.check()?;
    latency(session, keys, &shortint)?;
    check_candidates(keys)?;
    for threads in [1, 2] {
        throughput(session, keys, &shortint, threads)?;
        best_throughput(session, keys, threads)?;
    }
    Ok(())
}

/// Key switch and bootstrapping of these, as our users call it.
fn ours(keys: &Keys, inputs: &[LweCiphertext]) -> Vec<LweCiphertext> {
    let tables = vec![&keys.table; inputs.len()];
    keys.bootstrapping.programmable_bootstrap(&keys.keyswitch.keyswitch(inputs), &tables)
}

fn check_ours(keys: &Keys) -> Result<()> {
    keys.check("tfhe-core", &ours(keys, &keys.inputs[..VALUES as usize]))
}

/// Both without their key switch.
fn pbs_latency(session: &mut Session<'_>, keys: &Keys) -> Result<()> {
    let switched = keys.keyswitch.keyswitch(&keys.inputs[..1]);
    let input = exchange::lwe_to_peer(&switched[0]);
    let accumulator = exchange::glwe_to_peer(&keys.table);
    let key = &keys.peer_bootstrapping;
    let mut output = LweCiphertextOwned::new(0, key.output_lwe_dimension().to_lwe_size(), exchange::MODULUS);
    programmable_bootstrap_lwe_ciphertext(&input, &mut output, &accumulator, key);
    keys.check("tfhe-rs", &[exchange::lwe_from_peer(&output)])?;
    let fft = keys.peer_fft.as_view();
    let mut memory = ComputationBuffers::new();
    let (glwe_size, n) = (key.glwe_size(), key.polynomial_size());
    let required = programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(glwe_size, n, fft);
    memory.resize(required.unaligned_bytes_required());
    session.measure("pbs_latency", 1, |effort| {
        by_turns(
            effort,
            1,
            &mut || drop(keys.bootstrapping.programmable_bootstrap(&switched, &[&keys.table])),
            &mut [&mut || {
                let stack = memory.stack();
                programmable_bootstrap_lwe_ciphertext_mem_optimized(&input, &mut output, &accumulator, key, fft, stack);
            }],
        )
    })
}

/// tfhe-rs as its users call it.
struct Shortint {
    client: ClientKey,
    server: ServerKey,
    table: LookupTableOwned,
    inputs: Vec<Ciphertext>,
}

impl Shortint {
    fn generate() -> Self {
        let (client, server) = gen_keys(PARAM_MESSAGE_2_CARRY_2_KS_PBS);
        let table = server.generate_lookup_table(function);
        let inputs = (0..BATCH as u64).map(|i| client.unchecked_encrypt(i % VALUES)).collect::<Vec<_>>();
        Self { client, server, table, inputs }
    }

    fn evaluate(&self) -> Vec<Ciphertext> {
        self.inputs.par_iter().map(|input| self.server.apply_lookup_table(input, &self.table)).collect()
    }

    fn check(&self) -> Result<()> {
        for (i, output) in self.evaluate().iter().enumerate() {
            let (expected, decrypted) = (function(i as u64 % VALUES), self.client.decrypt_message_and_carry(output));
            ensure!(decrypted == expected, "shortint read {decrypted} for input {i}, not {expected}");
        }
        Ok(())
    }
}

fn latency(session: &mut Session<'_>, keys: &Keys, shortint: &Shortint) -> Result<()> {
    session.measure("ks_pbs_latency", 1, |effort| {
        by_turns(
            effort,
            1,
            &mut || drop(ours(keys, &keys.inputs[..1])),
            &mut [&mut || {
                drop(shortint.server.apply_lookup_table(&shortint.inputs[0], &shortint.table));
            }],
        )
    })
}

fn throughput(session: &mut Session<'_>, keys: &Keys, shortint: &Shortint, threads: usize) -> Result<()> {
    session.measure(&format!("ks_pbs_throughput_{threads}"), threads, |effort| {
        by_turns(effort, BATCH, &mut || drop(ours(keys, &keys.inputs)), &mut [&mut || drop(shortint.evaluate())])
    })
}

fn best_throughput(session: &mut Session<'_>, keys: &Keys, threads: usize) -> Result<()> {
    let mut candidates = Candidates::new(keys);
    session.measure(&format!("ks_pbs_throughput_best_{threads}"), threads, |effort| {
        let mut runs = candidates.runs();
        let mut peers: Vec<&mut dyn FnMut()> = runs.iter_mut().map(|run| &mut **run as &mut dyn FnMut()).collect();
        by_turns(effort, BATCH, &mut || drop(ours(keys, &keys.inputs)), &mut peers)
    })
}
