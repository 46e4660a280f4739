//! Chapter 6 of the book: from one key to another, and many numbers into one ciphertext.
//!
//! ```text
//! cargo run --release -p tfhe-core --example keyswitch
//! ```

use std::error::Error;

use tfhe_core::automorphism::SeededAutomorphismKeys;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::key_graph::{Edge, Node, Parameters};
use tfhe_core::keyswitch::SeededLweKeyswitchKey;
use tfhe_core::lwe::LweSecretKey;
use tfhe_core::random::{EncryptionSeed, SecretStream};
use tfhe_core::torus::{decode, encode, to_f64};
use tfhe_core::variance::Variance;
use tfhe_core::{noise, sets};

fn main() -> Result<(), Box<dyn Error>> {
    let parameters = sets::TOY.compile()?;
    between_keys(&parameters)?;
    into_one_ciphertext(&parameters)
}

/// From 64 bits to 8, as before a blind rotation of the set `toy`.
fn between_keys(parameters: &Parameters) -> Result<(), Box<dyn Error>> {
    let (ring, small) = (parameters.lookup(), parameters.small());
    let gadget = parameters.gadget(Edge::Keyswitch { from: Node::Lookup })?;
    let mut errors = Vec::new();
    // What is rounded meets the bits of the old key, so the noise depends on it: 50 keys.
    for _ in 0..50 {
        let from = LweSecretKey::generate(&mut SecretStream::from_system()?, ring.lwe_dimension());
        let to = LweSecretKey::generate(&mut SecretStream::from_system()?, small.lwe_dimension());
        let own = EncryptionSeed::from_system()?;
        let key = SeededLweKeyswitchKey::generate(&from, &to, gadget, small.noise(), own).expand();
        let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
        let inputs: Vec<_> =
            (0..100).map(|i| from.encrypt(encode(i % 8, 4), ring.noise, &mut masks, &mut noises)).collect();
        for (output, input) in key.keyswitch(&inputs).iter().zip(&inputs) {
            let (before, after) = (from.phase(input), to.phase(output));
            assert_eq!((output.dimension(), decode(after, 4)), (8, decode(before, 4)));
            errors.push(to_f64(after.wrapping_sub(before)));
        }
    }
    println!("from 64 bits to 8: {} messages stay what they were", errors.len());
    let measured = Variance::measured(&errors);
    let predicted = noise::lwe_keyswitch(gadget, ring.lwe_dimension(), small.noise().variance());
    println!("log2 of the noise: measured {:.2}, predicted {:.2}", measured.log2_std(), predicted.log2_std());
    assert!((0.7..1.3).contains(&(measured.get() / predicted.get())));
    Ok(())
}

/// Automorphisms clear coefficients, and put several ciphertexts' constants into one.
fn into_one_ciphertext(parameters: &Parameters) -> Result<(), Box<dyn Error>> {
    let ring = parameters.lookup();
    let gadget = parameters.gadget(Edge::Automorphisms { ring: Node::Lookup, gadget: 0 })?;
    let (n, steps) = (ring.size().get(), ring.size().log2());
    let fft = NegacyclicFft::new(ring.size());
    let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, ring.shape, &fft);
    let own = EncryptionSeed::from_system()?;
    let keys = SeededAutomorphismKeys::generate(&fft, &key, 1..=steps, gadget, ring.noise, own).prepare(&fft);
    let mut seed = EncryptionSeed::from_system()?;

    // The trace multiplies the constant coefficient by N = 2^6, so 5 is encrypted at a scale as much smaller.
    let plaintext: Vec<u64> = (0..n as i64).map(|j| encode(if j == 0 { 5 } else { j }, 4 + steps)).collect();
    let input = key.encrypt(&fft, &plaintext, ring.noise, &mut seed).expand();
    let phase = key.phase(&fft, &keys.trace(&input, 1..=steps));
    println!(
        "the trace of 5 + X + 2X^2 + ...: {} + {}X + {}X^2",
        decode(phase[0], 4),
        decode(phase[1], 4),
        decode(phase[2], 4)
    );
    assert!(phase.iter().enumerate().all(|(j, &x)| decode(x, 4) == if j == 0 { 5 } else { 0 }));

    // Four ciphertexts, of which the constant coefficients are wanted.
    let mut encrypt = |m| key.encrypt(&fft, &vec![encode(m, 4); n], ring.noise, &mut seed).expand();
    let packed = keys.pack([1, -2, 3, -4].map(|m| Some(encrypt(m))).to_vec());
    let phase = key.phase(&fft, &packed);
    let places: Vec<usize> = (0..n).filter(|&j| decode(phase[j], 4) != 0).collect();
    let messages: Vec<i64> = places.iter().map(|&j| decode(phase[j], 4)).collect();
    println!("packed: {messages:?} at coefficients {places:?}, zero at all others");
    assert_eq!((messages, places), (vec![1, -2, 3, -4], vec![0, 16, 32, 48]));
    Ok(())
}
