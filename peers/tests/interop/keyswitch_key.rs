//! Key-switching keys, used by the other.

use peers::exchange;
use tfhe::core_crypto::prelude::{
    LweCiphertextOwned, allocate_and_generate_new_lwe_keyswitch_key, keyswitch_lwe_ciphertext,
};
use tfhe_core::keyswitch::{LweKeyswitchKey, SeededLweKeyswitchKey};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::{Gadget, LweDimension, Precision};
use tfhe_core::random::SecretSeed;
use tfhe_core::{noise, torus};

use crate::common::{assert_variance, error, lwe_keys, peer_generator, tuniform};

/// n' and n.
const DIMENSIONS: (usize, usize) = (1024, 500);
/// Ciphertexts to a key; one standard error of the variance of as many Gaussian errors is 6 %.
const SAMPLES: u64 = 600;

/// Keys of both in both, for gadgets of several levels. 64 times a bound is more than seven standard deviations.
#[test]
fn keyswitch_keys_switch_there_and_here() {
    for (base_log, levels) in [(4, 4), (2, 8), (7, 2)] {
        check_switches(Gadget::new(base_log, levels, Precision::Single).unwrap());
    }
}

fn check_switches(gadget: Gadget) {
    let ((big, peer_big), (small, peer_small)) = (lwe_keys(4, DIMENSIONS.0), lwe_keys(5, DIMENSIONS.1));
    let (from, to) = (LweDimension::new(DIMENSIONS.0).unwrap(), LweDimension::new(DIMENSIONS.1).unwrap());
    let (key_noise, peer_noise) = tuniform(42);
    let (fresh, _) = tuniform(17);
    let seed = SecretSeed::from_number(4);

    let ours = SeededLweKeyswitchKey::generate(&big, &small, gadget, key_noise, seed.experiment(0)).to_raw();
    let theirs = allocate_and_generate_new_lwe_keyswitch_key(
        &peer_big,
        &peer_small,
        exchange::base_log(gadget),
        exchange::level_count(gadget),
        peer_noise,
        exchange::MODULUS,
        &mut peer_generator(4),
    );
    let theirs_here = LweKeyswitchKey::from_raw(from, to, gadget, exchange::keyswitch_key_from_peer(&theirs)).unwrap();
    let ours_there = exchange::keyswitch_key_to_peer(to, gadget, &ours);

    let (mut masks, mut noises) = seed.experiment(1).into_streams();
    let inputs: Vec<LweCiphertext> =
        (0..SAMPLES).map(|i| big.encrypt((i % 16) << 60, fresh, &mut masks, &mut noises)).collect();
    let here = theirs_here.keyswitch(&inputs);
    let there: Vec<LweCiphertext> = inputs
        .iter()
        .map(|input| {
            let mut output = LweCiphertextOwned::new(0, ours_there.output_lwe_size(), exchange::MODULUS);
            keyswitch_lwe_ciphertext(&ours_there, &exchange::lwe_to_peer(input), &mut output);
            exchange::lwe_from_peer(&output)
        })
        .collect();

    let predicted = noise::lwe_keyswitch(gadget, from, key_noise.variance());
    for (what, outputs) in [("our key switch key in tfhe-rs", there), ("tfhe-rs's key switch key in ours", here)] {
        let errors: Vec<f64> = inputs
            .iter()
            .zip(&outputs)
            .enumerate()
            .map(|(i, (input, output))| {
                assert_eq!(torus::switch_modulus(small.phase(output), 4) % 16, i as u64 % 16, "{what}");
                error(small.phase(output), big.phase(input))
            })
            .collect();
        let (base_log, levels) = (gadget.base_log(), gadget.levels());
        assert_variance(&format!("{what}, β = 2^{base_log}, ℓ = {levels}"), &errors, predicted, 0.25);
    }
}
