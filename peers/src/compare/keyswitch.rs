//! The key switch of the set, 2048 to 918: one ciphertext, and 64 of them. tfhe-rs has no batched key switch.

use anyhow::Result;
use tfhe::core_crypto::prelude::{LweCiphertextOwned, keyswitch_lwe_ciphertext};
use tfhe_core::lwe::LweCiphertext;

use super::Session;
use super::keys::Keys;
use crate::exchange;
use crate::measure::by_turns;

pub(super) fn compare(session: &mut Session<'_>, keys: &Keys) -> Result<()> {
    measure(session, "keyswitch", keys, &keys.inputs[..1])?;
    measure(session, "keyswitch_batched", keys, &keys.inputs)
}

fn measure(session: &mut Session<'_>, name: &str, keys: &Keys, inputs: &[LweCiphertext]) -> Result<()> {
    let peer_inputs: Vec<_> = inputs.iter().map(exchange::lwe_to_peer).collect();
    let key = &keys.peer_keyswitch;
    let mut peer_output = LweCiphertextOwned::new(0, key.output_lwe_size(), exchange::MODULUS);
    session.measure(name, 1, |effort| {
        by_turns(
            effort,
            inputs.len(),
            &mut || drop(keys.keyswitch.keyswitch(inputs)),
            &mut [&mut || {
                peer_inputs.iter().for_each(|input| keyswitch_lwe_ciphertext(key, input, &mut peer_output));
            }],
        )
    })
}
