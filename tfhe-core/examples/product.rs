//! Chapter 7 of the book: two ciphertexts are multiplied.
//!
//! ```text
//! cargo run --release -p tfhe-core --example product
//! ```

use std::error::Error;

use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::noise::{self, Spread};
use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
use tfhe_core::random::{EncryptionSeed, SecretStream};
use tfhe_core::tensor_product::SeededRelinearizationKey;
use tfhe_core::torus::{decode, encode, to_f64};
use tfhe_core::variance::Variance;

/// log2 of t: messages are m/t, and integers.
const LOG_T: u32 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let shape = GlweShape::new(1, 1024)?;
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    let noise = NoiseDistribution::TUniform { bound_log: 3 };
    let mut seed = EncryptionSeed::from_system()?;
    // Encryptions of S², which bring products back to S.
    let (gadget, own) = (Gadget::new(7, 9, Precision::Split)?, EncryptionSeed::from_system()?);
    let relinearization = SeededRelinearizationKey::generate(&fft, &key, gadget, noise, own).prepare(&fft);
    let mut factor = |constant: u64, linear: u64| {
        let mut plaintext = vec![0; 1024];
        (plaintext[0], plaintext[1]) = (constant, linear);
        relinearization.factor(&key.encrypt(&fft, &plaintext, noise, &mut seed).expand())
    };

    // (3 + X)·(−2 + 5X).
    let left = factor(encode(3, LOG_T), encode(1, LOG_T));
    let right = factor(encode(-2, LOG_T), encode(5, LOG_T));
    let phase = key.phase(&fft, &relinearization.multiply(&left, &right, LOG_T));
    let [constant, linear, quadratic, cubic] = [0, 1, 2, 3].map(|j| decode(phase[j], LOG_T));
    println!("product {constant} {linear:+} X {quadratic:+} X^2");
    assert_eq!([constant, linear, quadratic, cubic], [-6, 13, 5, 0]);

    // Each factor's noise, times the wrap-around of the other's phase.
    let errors: Vec<f64> = phase.iter().map(|&x| to_f64(x.wrapping_sub(encode(decode(x, LOG_T), LOG_T)))).collect();
    let (measured, of_factor) = (Variance::measured(&errors), Spread::new(noise.variance(), 1024));
    let predicted = noise::tensor_product(shape, LOG_T, [of_factor, of_factor]).variance();
    println!("log2 of the noise: of a factor {:.2}", noise.variance().log2_std());
    println!("of the product: measured {:.2}, predicted {:.2}", measured.log2_std(), predicted.log2_std());
    assert!((0.3..3.0).contains(&(measured.get() / predicted.get())));

    // 3 times 2.5: not an integer, at scale t. Where the wrap-around of the first phase is odd, the result is off by half a turn.
    let half = factor(encode(5, LOG_T + 1), 0);
    let three = factor(encode(3, LOG_T), 0);
    let phase = key.phase(&fft, &relinearization.multiply(&three, &half, LOG_T));
    let expected = |j: usize| if j == 0 { encode(15, LOG_T + 1) } else { 0 };
    let off = phase.iter().enumerate().filter(|&(j, x)| to_f64(x.wrapping_sub(expected(j))).abs() > 0.25).count();
    println!("with a factor of 2.5, {off} of 1024 coefficients are off by half a turn");
    assert!((256..768).contains(&off));
    Ok(())
}
