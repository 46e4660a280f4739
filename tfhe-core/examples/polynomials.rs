//! Chapters 2 and 4 of the book: polynomials that are turned, encrypted, taken apart, and multiplied by transforms.
//!
//! ```text
//! cargo run --release -p tfhe-core --example polynomials
//! ```

use std::error::Error;

use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::{FourierGlwe, GlweSecretKey};
use tfhe_core::integer_product::{FourierIntegers, FourierTorus};
use tfhe_core::params::{GlweShape, NoiseDistribution, PolynomialSize};
use tfhe_core::polynomial::{automorphism, rotate, schoolbook_add, spread};
use tfhe_core::random::{EncryptionSeed, SampleSeed, SecretStream};
use tfhe_core::torus::{decode, encode, to_f64};
use tfhe_core::variance::Variance;

fn main() -> Result<(), Box<dyn Error>> {
    coefficients_move();
    encrypted_polynomials()?;
    products_by_transforms()
}

/// The example of chapter 2: N = 4, lowest coefficient first.
fn coefficients_move() {
    let p = [1, 2, 3, 4];
    let mut moved = [0; 4];
    let mut show = |what: &str, operation: &dyn Fn(&mut [u64]), expected: [i64; 4]| {
        operation(&mut moved);
        let signed = moved.map(|x| x as i64);
        println!("{what}: {signed:?}");
        assert_eq!(signed, expected);
    };
    show("X*p", &|out| rotate(&p, 1, out), [-4, 1, 2, 3]);
    show("X^4*p", &|out| rotate(&p, 4, out), [-1, -2, -3, -4]);
    show("p(X^3)", &|out| automorphism(&p, 3, out), [1, 4, -3, 2]);
    show("p*(1 + X)", &|out| spread(&p, 2, out), [-3, 3, 5, 7]);
}

/// 64 numbers in one ciphertext: turned, taken out, and multiplied by weights. No key but the owner's is used.
fn encrypted_polynomials() -> Result<(), Box<dyn Error>> {
    let shape = GlweShape::new(1, 64)?;
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    let noise = NoiseDistribution::TUniform { bound_log: 24 };
    let mut seed = EncryptionSeed::from_system()?;

    // Coefficient j holds j, of 256 messages.
    let plaintext: Vec<u64> = (0..64).map(|j| encode(j, 8)).collect();
    let ciphertext = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    let turned = ciphertext.map_polynomials(|x, y| rotate(x, 5, y));
    let phase = key.phase(&fft, &turned);
    println!("turned by 5, coefficients 4 and 5 are {} and {}", decode(phase[4], 8), decode(phase[5], 8));
    assert_eq!((decode(phase[4], 8), decode(phase[5], 8)), (-63, 0));

    // Coefficient 7 by itself: an LWE ciphertext, under the key whose bits are the polynomial's coefficients.
    let sample = ciphertext.sample_extract(7);
    let read = key.extracted_lwe_key().phase(&sample);
    println!("coefficient 7, taken out, is {}", decode(read, 8));
    assert_eq!(read, key.phase(&fft, &ciphertext)[7]);

    // 1·5 + 2·(−1) + 3·2: inputs at X^j, weight w_j at X^(−j), which is −X^(64−j).
    let mut inputs = vec![0; 64];
    inputs[..3].copy_from_slice(&[1, 2, 3].map(|x| encode(x, 6)));
    let mut weights = vec![0; 64];
    (weights[0], weights[63], weights[62]) = (5, 1, -2);
    let scratch = &mut fft.scratch();
    let encrypted = key.encrypt(&fft, &inputs, noise, &mut seed).expand();
    let factors = (FourierGlwe::new(&fft, &encrypted, scratch), FourierIntegers::new(&fft, &weights, scratch));
    let mut product = FourierGlwe::zero(&fft, shape);
    product.add_product(&fft, &factors.0, &factors.1);
    let result = decode(key.phase(&fft, &product.inverse(&fft, scratch))[0], 6);
    println!("inner product {result}");
    assert_eq!(result, 9);
    Ok(())
}

/// Chapter 4: a product of 1024 coefficients by transforms, beside the schoolbook's. In f64 it is off by a little, as predicted; cut into
/// halves, whose sums are rounded to integers, it is exact.
fn products_by_transforms() -> Result<(), Box<dyn Error>> {
    let size = PolynomialSize::new(1024)?;
    let fft = NegacyclicFft::new(size);
    let n = size.get();
    let mut torus = vec![0; n];
    SampleSeed::from_number(1).stream(0).fill_uniform(&mut torus);
    let integers: Vec<i32> = (0..1024).map(|j| j * j % 255 - 127).collect();
    let mut by_hand = vec![0; n];
    schoolbook_add(&integers.iter().map(|&x| i64::from(x)).collect::<Vec<_>>(), &torus, &mut by_hand);

    let scratch = &mut fft.scratch();
    let [mut a, mut b, mut product] = [(); 3].map(|()| vec![0.0; n]);
    fft.forward_torus(&torus, &mut a, scratch);
    fft.forward_integers(&integers, &mut b, scratch);
    fft.multiply_accumulate(&mut product, &a, &b);
    let mut by_transforms = vec![0; n];
    fft.inverse_add_torus(&mut product, &mut by_transforms, scratch);
    let errors: Vec<f64> = by_transforms.iter().zip(&by_hand).map(|(&x, &y)| to_f64(x.wrapping_sub(y))).collect();
    let measured = Variance::measured(&errors);
    // Torus elements are uniform, of variance 1/12.
    let squares: f64 = integers.iter().map(|&x| f64::from(x * x)).sum();
    let predicted = Variance::new(squares / 12.0 * fft.transforms().of_torus(1, n));
    println!(
        "product by transforms, {}: log2 of its error {:.2}, predicted {:.2}",
        fft.backend(),
        measured.log2_std(),
        predicted.log2_std()
    );
    assert!((0.5..2.0).contains(&(measured.get() / predicted.get())));

    let mut exact = FourierTorus::zero(&fft);
    let factors = (FourierTorus::new(&fft, &torus, scratch), FourierIntegers::new(&fft, &integers, scratch));
    exact.add_product(&fft, &factors.0, &factors.1);
    let mut by_halves = vec![0; n];
    exact.inverse_add(&fft, &mut by_halves, scratch);
    assert_eq!(by_halves, by_hand);
    println!("by halves: all {n} coefficients are the schoolbook's, bit for bit");
    Ok(())
}
