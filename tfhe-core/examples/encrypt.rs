//! Chapter 1 of the book: a number is hidden in an angle, and hidden numbers are added up.
//!
//! ```text
//! cargo run --release -p tfhe-core --example encrypt
//! ```

use std::error::Error;

use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::params::{LweDimension, NoiseDistribution};
use tfhe_core::random::{EncryptionSeed, SecretStream};
use tfhe_core::torus::{decode, encode, from_f64, to_f64};

fn main() -> Result<(), Box<dyn Error>> {
    by_hand()?;
    by_the_library()
}

/// The example of the chapter: 8 bits of secret, angles in sixteenths of a turn, everything chosen by hand.
fn by_hand() -> Result<(), Box<dyn Error>> {
    let secret = [1, 0, 1, 1, 0, 0, 1, 0];
    let mask = [3, 14, 7, 9, 1, 5, 12, 8].map(|sixteenths| encode(sixteenths, 4));
    let (message, error) = (encode(2, 3), from_f64(2f64.powi(-25)));

    // b = Σ a_i·s_i + μ + e. Words wrap around as angles do.
    let sum = mask.iter().zip(&secret).fold(0_u64, |sum, (&a, &s)| sum.wrapping_add(a * s));
    let body = sum.wrapping_add(message).wrapping_add(error);
    show("body", body);

    // The library says the same of this mask and body, given the secret.
    let ciphertext = LweCiphertext::from_data(mask.into_iter().chain([body]).collect());
    let phase = LweSecretKey::from_raw(&secret)?.phase(&ciphertext);
    show("phase", phase);
    assert_eq!(phase, message.wrapping_add(error));
    println!("message {} of 8\n", decode(phase, 3));
    assert_eq!(decode(phase, 3), 2);
    Ok(())
}

/// An angle as its sixteenths and the small rest, a power of two.
fn show(what: &str, angle: u64) {
    let sixteenths = encode(decode(angle, 4), 4);
    let rest = to_f64(angle.wrapping_sub(sixteenths));
    println!("{what} {:.4} + 2^{}", to_f64(sixteenths), rest.log2());
}

/// The same with keys, masks and noise from the operating system's generator, at a size that is used.
fn by_the_library() -> Result<(), Box<dyn Error>> {
    let key = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(630)?);
    // Masks are public, noise is not: they come from two streams, and what was drawn is not drawn again.
    let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    let noise = NoiseDistribution::TUniform { bound_log: 45 };

    // 2·3 − 5 = 1, of 16 messages.
    let mut result = key.encrypt(encode(3, 4), noise, &mut masks, &mut noises);
    result.scale(2);
    result.add_scaled(&key.encrypt(encode(5, 4), noise, &mut masks, &mut noises), -1);
    println!("2*3 - 5 = {}", decode(key.phase(&result), 4));
    assert_eq!(decode(key.phase(&result), 4), 1);

    // A hundred ones, of 1024 messages. Their noises add up: not to a hundred times one of them, to about ten.
    let mut sum = LweCiphertext::trivial(key.dimension(), 0);
    for _ in 0..100 {
        sum.add_scaled(&key.encrypt(encode(1, 10), noise, &mut masks, &mut noises), 1);
    }
    let error = to_f64(key.phase(&sum).wrapping_sub(encode(100, 10))) / noise.variance().std();
    println!("100 ciphertexts of 1 add up to {}", decode(key.phase(&sum), 10));
    println!(
        "the noise of the sum is {error:+.1} times the standard deviation of one of them: within 10 or 20 is usual"
    );
    assert_eq!(decode(key.phase(&sum), 10), 100);
    assert!(error.abs() < 80.0);

    // Noise of up to 1/16 of a turn, where messages are 1/16 apart: half of it is nearer to another message.
    let loud = NoiseDistribution::TUniform { bound_log: 60 };
    let mut encrypt = |m| key.encrypt(encode(m, 4), loud, &mut masks, &mut noises);
    let is_wrong = |m: &i64| decode(key.phase(&encrypt(*m)), 4) != *m;
    let wrong = (0..1000).map(|i| i % 16 - 8).filter(is_wrong).count();
    println!("with noise that is too large, {wrong} of 1000 messages decrypt to another one");
    assert!((350..650).contains(&wrong));
    Ok(())
}
