//! Bootstrappings of the set, with and without the key switch, one at a time and 64 together.
//!
//! tfhe-rs is called in two ways: as its users call it, `apply_lookup_table` of shortint on each ciphertext, in parallel with
//! rayon; and with the quickest of what its `core_crypto` offers ([`super::batched`]). Beside ours of pairs of key bits its own set of pairs is
//! tried as well, again as its users call it: that starts five threads for each ciphertext, however many the comparison has.

use anyhow::{Result, ensure};
use rayon::prelude::*;
use tfhe::core_crypto::prelude::{
    ComputationBuffers, LweCiphertextOwned, programmable_bootstrap_lwe_ciphertext,
    programmable_bootstrap_lwe_ciphertext_mem_optimized,
    programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement,
};
use tfhe::shortint::parameters::v1_8::V1_8_PARAM_MULTI_BIT_GROUP_2_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128;
use tfhe::shortint::parameters::{PARAM_MESSAGE_2_CARRY_2_KS_PBS, ShortintParameterSet};
use tfhe::shortint::server_key::LookupTableOwned;
use tfhe::shortint::{Ciphertext, ClientKey, ServerKey, gen_keys};
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::keyswitch::LweKeyswitchKey;
use tfhe_core::lwe::LweCiphertext;

use super::Session;
use super::batched::{Candidates, check_candidates};
use super::keys::{BATCH, Keys, VALUES, function};
use crate::exchange;
use crate::measure::by_turns;

pub(super) fn compare(session: &mut Session<'_>, keys: &Keys) -> Result<()> {
    check_ours(keys)?;
    pbs_latency(session, keys)?;
    if !session.wants_some("ks_pbs") && !session.wants_some("pairs_ks_pbs") {
        return Ok(());
    }
    let shortint = Shortint::generate(PARAM_MESSAGE_2_CARRY_2_KS_PBS);
    let of_pairs = Shortint::generate(V1_8_PARAM_MULTI_BIT_GROUP_2_MESSAGE_2_CARRY_2_KS_PBS_TUNIFORM_2M128);
    shortint.check()?;
    of_pairs.check()?;
    latency(session, keys, &shortint)?;
    check_candidates(keys)?;
    for threads in [1, 2] {
        // Beside our pairs, its own.
        for (set, peers) in [(Set::Same, &[&shortint][..]), (Set::Pairs, &[&shortint, &of_pairs])] {
            throughput(session, keys, peers, set, threads)?;
            best_throughput(session, keys, &peers[1..], set, threads)?;
        }
    }
    Ok(())
}

/// Which of our sets is compared with tfhe-rs's.
#[derive(Clone, Copy)]
enum Set {
    /// The same.
    Same,
    /// With the same secret keys, and bootstrappings that take two bits of the key in a step.
    Pairs,
}

impl Set {
    /// The name of a comparison.
    fn name(self, name: &str) -> String {
        match self {
            Self::Same => name.to_owned(),
            Self::Pairs => format!("pairs_{name}"),
        }
    }

    fn keys(self, keys: &Keys) -> (&LweKeyswitchKey, &BootstrappingKey) {
        match self {
            Self::Same => (&keys.keyswitch, &keys.bootstrapping),
            Self::Pairs => (&keys.pairs.0, &keys.pairs.1),
        }
    }

    /// Key switch and bootstrapping of these, as our users call it.
    fn ours(self, keys: &Keys, inputs: &[LweCiphertext]) -> Vec<LweCiphertext> {
        let (keyswitch, bootstrapping) = self.keys(keys);
        bootstrapping.programmable_bootstrap(&keyswitch.keyswitch(inputs), &vec![&keys.table; inputs.len()])
    }
}

fn check_ours(keys: &Keys) -> Result<()> {
    let check = |set: Set| keys.check("tfhe-core", &set.ours(keys, &keys.inputs[..VALUES as usize]));
    check(Set::Same)?;
    check(Set::Pairs)
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
    for set in [Set::Same, Set::Pairs] {
        let (_, bootstrapping) = set.keys(keys);
        session.measure(&set.name("pbs_latency"), 1, |effort| {
            by_turns(
                effort,
                1,
                &mut || drop(bootstrapping.programmable_bootstrap(&switched, &[&keys.table])),
                &mut [&mut || {
                    let stack = memory.stack();
                    programmable_bootstrap_lwe_ciphertext_mem_optimized(
                        &input,
                        &mut output,
                        &accumulator,
                        key,
                        fft,
                        stack,
                    );
                }],
            )
        })?;
    }
    Ok(())
}

/// tfhe-rs as its users call it.
struct Shortint {
    client: ClientKey,
    server: ServerKey,
    table: LookupTableOwned,
    inputs: Vec<Ciphertext>,
}

impl Shortint {
    fn generate(parameters: impl Into<ShortintParameterSet>) -> Self {
        let (client, server) = gen_keys(parameters.into());
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
    for set in [Set::Same, Set::Pairs] {
        session.measure(&set.name("ks_pbs_latency"), 1, |effort| {
            by_turns(
                effort,
                1,
                &mut || drop(set.ours(keys, &keys.inputs[..1])),
                &mut [&mut || {
                    drop(shortint.server.apply_lookup_table(&shortint.inputs[0], &shortint.table));
                }],
            )
        })?;
    }
    Ok(())
}

fn throughput(session: &mut Session<'_>, keys: &Keys, shortints: &[&Shortint], set: Set, threads: usize) -> Result<()> {
    session.measure(&set.name(&format!("ks_pbs_throughput_{threads}")), threads, |effort| {
        let mut runs: Vec<_> = shortints.iter().map(|shortint| || drop(shortint.evaluate())).collect();
        let mut peers: Vec<&mut dyn FnMut()> = runs.iter_mut().map(|run| run as &mut dyn FnMut()).collect();
        by_turns(effort, BATCH, &mut || drop(set.ours(keys, &keys.inputs)), &mut peers)
    })
}

fn best_throughput(
    session: &mut Session<'_>,
    keys: &Keys,
    shortints: &[&Shortint],
    set: Set,
    threads: usize,
) -> Result<()> {
    let mut candidates = Candidates::new(keys);
    session.measure(&set.name(&format!("ks_pbs_throughput_best_{threads}")), threads, |effort| {
        let mut runs = candidates.runs();
        let mut more: Vec<_> = shortints.iter().map(|shortint| || drop(shortint.evaluate())).collect();
        let mut peers: Vec<&mut dyn FnMut()> = runs.iter_mut().map(|run| &mut **run as &mut dyn FnMut()).collect();
        peers.extend(more.iter_mut().map(|run| run as &mut dyn FnMut()));
        by_turns(effort, BATCH, &mut || drop(set.ours(keys, &keys.inputs)), &mut peers)
    })
}
