//! Chapter 3 of the book: large factors in small digits, products of ciphertexts, and a choice by an encrypted bit.
//!
//! ```text
//! cargo run --release -p tfhe-core --example external_product
//! ```

use std::error::Error;

use tfhe_core::decomposition::decompose;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::params::{Gadget, Precision};
use tfhe_core::random::{EncryptionSeed, SecretStream};
use tfhe_core::torus::{decode, encode, from_f64, to_f64};
use tfhe_core::variance::Variance;
use tfhe_core::{noise, sets};

fn main() -> Result<(), Box<dyn Error>> {
    digits()?;
    products()
}

/// The example of the chapter: 0.3 of a turn, in 5 digits of 4 bits.
fn digits() -> Result<(), Box<dyn Error>> {
    let mut digits = [0; 5];
    decompose(&[from_f64(0.3)], Gadget::new(4, 5, Precision::Single)?, &mut digits);
    println!("digits of 0.3: {}", digits.map(|digit| digit.to_string()).join(" "));
    let sum: f64 = digits.iter().zip(1..).map(|(&digit, level)| f64::from(digit) * 16f64.powi(-level)).sum();
    println!("they add up to {sum:.8}");
    assert_eq!(digits, [5, -3, -3, -3, -3]);
    assert!((sum - 0.3).abs() <= 2f64.powi(-21));
    Ok(())
}

/// On the set `toy`: 3 times 2, a choice, and the noise that a product adds.
fn products() -> Result<(), Box<dyn Error>> {
    let parameters = sets::TOY.compile()?;
    let (ring, gadget) = (parameters.lookup(), parameters.bootstraps()[0].gadget);
    let fft = NegacyclicFft::new(ring.size());
    let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, ring.shape, &fft);
    let mut seed = EncryptionSeed::from_system()?;
    let n = ring.size().get();

    // Every coefficient holds 2, of 16 messages. An external product multiplies all of them.
    let two = key.encrypt(&fft, &vec![encode(2, 4); n], ring.noise, &mut seed).expand();
    let three = key.encrypt_ggsw(&fft, 3, gadget, ring.noise, &mut seed).prepare(&fft);
    let product = three.external_product(&fft, &two, &mut three.scratch(&fft));
    println!("GGSW(3) x GLWE(2) decrypts to {}", decode(key.phase(&fft, &product)[0], 4));
    assert!(key.phase(&fft, &product).iter().all(|&x| decode(x, 4) == 6));

    // The one or the other, by an encrypted bit.
    let five = key.encrypt(&fft, &vec![encode(5, 4); n], ring.noise, &mut seed).expand();
    for (bit, chosen) in [(0, 2), (1, 5)] {
        let choice = key.encrypt_ggsw(&fft, bit, gadget, ring.noise, &mut seed).prepare(&fft);
        let output = choice.cmux(&fft, &two, &five, &mut choice.scratch(&fft));
        println!("CMUX of 2 and 5 by an encrypted {bit}: {}", decode(key.phase(&fft, &output)[0], 4));
        assert!(key.phase(&fft, &output).iter().all(|&x| decode(x, 4) == chosen));
    }

    // What a product with 1 adds to the noise, beside the formula of the chapter. It depends on the key: 200 of them.
    let mut errors = Vec::new();
    for _ in 0..200 {
        let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, ring.shape, &fft);
        let one = key.encrypt_ggsw(&fft, 1, gadget, ring.noise, &mut seed).prepare(&fft);
        let input = key.encrypt(&fft, &vec![0; n], ring.noise, &mut seed).expand();
        let output = one.external_product(&fft, &input, &mut one.scratch(&fft));
        let (before, after) = (key.phase(&fft, &input), key.phase(&fft, &output));
        errors.extend(after.iter().zip(&before).map(|(&x, &y)| to_f64(x.wrapping_sub(y))));
    }
    let measured = Variance::measured(&errors);
    let predicted = noise::external_product(gadget.on(fft.transforms()), ring.shape, ring.noise.variance());
    println!(
        "log2 of the noise of a product: measured {:.2}, predicted {:.2}",
        measured.log2_std(),
        predicted.log2_std()
    );
    assert!((0.7..1.3).contains(&(measured.get() / predicted.get())));
    Ok(())
}
