//! LWE and GLWE ciphertexts, decrypted by the other.

use peers::exchange;
use tfhe::core_crypto::prelude::{
    GlweCiphertextOwned, Plaintext, PlaintextCount, PlaintextListOwned, allocate_and_encrypt_new_lwe_ciphertext,
    decrypt_glwe_ciphertext, decrypt_lwe_ciphertext, encrypt_glwe_ciphertext,
};
use tfhe_core::random::SecretSeed;

use crate::common::{GlweKeys, assert_variance, error, lwe_keys, peer_generator, shape, tuniform};

/// 2000 samples: one standard error of TUniform's variance is 2 %, since its kurtosis is 9/5.
#[test]
fn lwe_ciphertexts_are_decrypted_by_the_other() {
    let (ours, peer) = lwe_keys(1, 600);
    let (noise, peer_noise) = tuniform(45);
    let seed = SecretSeed::from_number(1);
    let (mut masks, mut noises) = seed.experiment(0).into_streams();
    let mut generator = peer_generator(1);
    let (mut there, mut here) = (Vec::new(), Vec::new());
    for i in 0..2000_u64 {
        let plaintext = (i % 32) << 59;
        let ciphertext = ours.encrypt(plaintext, noise, &mut masks, &mut noises);
        let decrypted = decrypt_lwe_ciphertext(&peer, &exchange::lwe_to_peer(&ciphertext)).0;
        assert_eq!(decrypted, ours.phase(&ciphertext), "both see the same phase");
        there.push(error(decrypted, plaintext));

        let (encoded, modulus) = (Plaintext(plaintext), exchange::MODULUS);
        let theirs = allocate_and_encrypt_new_lwe_ciphertext(&peer, encoded, peer_noise, modulus, &mut generator);
        here.push(error(ours.phase(&exchange::lwe_from_peer(&theirs)), plaintext));
    }
    assert_variance("our LWE ciphertexts in tfhe-rs", &there, noise.variance(), 0.1);
    assert_variance("LWE ciphertexts of tfhe-rs in ours", &here, noise.variance(), 0.1);
}

/// Masks in order, one and two of them, and every coefficient.
#[test]
fn glwe_ciphertexts_are_decrypted_by_the_other() {
    for (k, n) in [(1, 2048), (2, 512), (4, 512)] {
        let shape = shape(k, n);
        let keys = GlweKeys::new(2, shape);
        let (noise, peer_noise) = tuniform(17);
        let mut own = SecretSeed::from_number(2).experiment(0);
        let mut generator = peer_generator(2);
        let plaintext: Vec<u64> = (0..n as u64).map(|j| (j % 64) << 58).collect();
        let errors = |phase: &[u64]| phase.iter().zip(&plaintext).map(|(&p, &m)| error(p, m)).collect::<Vec<_>>();
        let (mut there, mut here) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let ours = keys.ours.encrypt(&keys.fft, &plaintext, noise, &mut own).expand();
            let mut decrypted = PlaintextListOwned::new(0, PlaintextCount(n));
            decrypt_glwe_ciphertext(&keys.peer, &exchange::glwe_to_peer(&ours), &mut decrypted);
            assert_eq!(decrypted.as_ref(), keys.ours.phase(&keys.fft, &ours), "both see the same phase");
            there.extend(errors(decrypted.as_ref()));

            let (size, degree) = (exchange::glwe_size(shape), exchange::polynomial_size(shape));
            let mut theirs = GlweCiphertextOwned::new(0, size, degree, exchange::MODULUS);
            let encoded = PlaintextListOwned::from_container(plaintext.clone());
            encrypt_glwe_ciphertext(&keys.peer, &mut theirs, &encoded, peer_noise, &mut generator);
            let theirs = exchange::glwe_from_peer(shape, &theirs).unwrap();
            here.extend(errors(&keys.ours.phase(&keys.fft, &theirs)));
        }
        // At least 2048 samples: as for LWE.
        assert_variance(&format!("our GLWE ciphertexts in tfhe-rs, k = {k}"), &there, noise.variance(), 0.1);
        assert_variance(&format!("GLWE ciphertexts of tfhe-rs in ours, k = {k}"), &here, noise.variance(), 0.1);
    }
}
