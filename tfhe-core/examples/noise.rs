//! The chapter on noise and failure: the noise of each operation, measured beside what the formulas predict.
//!
//! ```text
//! cargo run --release -p tfhe-core --example noise
//! ```

use std::error::Error;

use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::keyswitch::SeededLweKeyswitchKey;
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::modulus_switch::modulus_switch;
use tfhe_core::noise::{self, Distribution};
use tfhe_core::params::{Gadget, GlweShape, Grouping, LweDimension, NoiseDistribution, Precision};
use tfhe_core::programmable_bootstrap::{half_slot, table_accumulator};
use tfhe_core::random::{EncryptionSeed, MaskStream, NoiseStream, SecretStream};
use tfhe_core::torus::{encode, to_f64};
use tfhe_core::variance::Variance;

/// How many errors of each operation are measured: their mean square has a standard error of 4.5 %.
const COUNT: usize = 1000;

/// Prints and compares: eight standard errors of the measurement are allowed.
fn compare(what: &str, errors: &[f64], predicted: Variance) {
    let measured = Variance::measured(errors);
    let ratio = measured.get() / predicted.get();
    println!("{what:40} {:8.2} {:9.2} {ratio:6.2}", measured.log2_std(), predicted.log2_std());
    let tolerance = 8.0 * (2.0 / errors.len() as f64).sqrt();
    assert!((ratio - 1.0).abs() < tolerance, "{what}: {ratio}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let shape = GlweShape::new(1, 1024)?;
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let ring = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    let (big, small) =
        (ring.extracted_lwe_key(), LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?));
    let (of_ring, of_small) =
        (NoiseDistribution::TUniform { bound_log: 26 }, NoiseDistribution::TUniform { bound_log: 40 });
    let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    let streams = &mut (&mut masks, &mut noises);
    let encrypt = |key: &LweSecretKey, plaintext, noise, (masks, noises): &mut (&mut MaskStream, &mut NoiseStream)| {
        key.encrypt(plaintext, noise, masks, noises)
    };
    println!("{:40} {:>8} {:>9} {:>6}", "log2 of the standard deviation of", "measured", "predicted", "ratio");

    let error = |key: &LweSecretKey, ciphertext: &LweCiphertext, plaintext: u64| {
        to_f64(key.phase(ciphertext).wrapping_sub(plaintext))
    };
    let fresh: Vec<_> = (0..COUNT).map(|_| encrypt(&big, 0, of_ring, streams)).collect();
    let errors: Vec<f64> = fresh.iter().map(|ciphertext| error(&big, ciphertext, 0)).collect();
    compare("a fresh ciphertext", &errors, of_ring.variance());

    // Nine at a time: three times the standard deviation.
    let sums = (0..COUNT).map(|_| {
        let mut sum = LweCiphertext::trivial(big.dimension(), 0);
        (0..9).for_each(|_| sum.add_scaled(&encrypt(&big, 0, of_ring, streams), 1));
        error(&big, &sum, 0)
    });
    compare("a sum of nine", &sums.collect::<Vec<_>>(), of_ring.variance().repeated(9.0));

    let gadget = Gadget::new(4, 5, Precision::Single)?;
    let own = EncryptionSeed::from_system()?;
    let keyswitch = SeededLweKeyswitchKey::generate(&big, &small, gadget, of_small, own).expand();
    let errors: Vec<f64> = keyswitch.keyswitch(&fresh).iter().map(|switched| error(&small, switched, 0)).collect();
    let switched = noise::lwe_keyswitch(gadget, big.dimension(), of_small.variance());
    compare("a key switch from 1024 bits to 64", &errors, switched + of_ring.variance());

    // As a ciphertext again, for its phase.
    let to_steps = |ciphertext: &LweCiphertext| {
        let steps = modulus_switch(ciphertext, shape.polynomial_size);
        let data = steps.mask().iter().chain([&steps.body()]).map(|&x| encode(x as i64, 11)).collect();
        error(&small, &LweCiphertext::from_data(data), 0)
    };
    let inputs: Vec<_> = (0..COUNT).map(|_| encrypt(&small, 0, of_ring, streams)).collect();
    let of_steps = noise::modulus_switch(small.dimension(), shape.polynomial_size);
    compare("a modulus switch to 2048 steps", &inputs.iter().map(to_steps).collect::<Vec<_>>(), of_steps);

    let gadget = Gadget::new(8, 4, Precision::Single)?;
    let own = EncryptionSeed::from_system()?;
    let key = SeededBootstrappingKey::generate(&fft, &small, &ring, gadget, of_ring, own).prepare(&fft, shape);
    let value = encode(3, 4);
    let table = table_accumulator(shape, &[value; 8]);
    let indices: Vec<_> = (0..COUNT).map(|_| encrypt(&small, half_slot(3), of_ring, streams)).collect();
    let outputs = key.programmable_bootstrap(&indices, &vec![&table; COUNT]);
    let errors: Vec<f64> = outputs.iter().map(|output| error(&big, output, value)).collect();
    let bootstrapped =
        noise::blind_rotation(gadget.on(fft.transforms()), Grouping::One, shape, small.dimension(), of_ring.variance());
    compare("a bootstrapping", &errors, bootstrapped);

    // What it is for: how often a table is read wrongly after a sum, a key switch and a modulus switch. Each bit of the table makes its
    // slots half as wide.
    let total = of_ring.variance().repeated(9.0) + switched + of_steps;
    println!("\nA lookup of a sum of nine");
    let mut before = f64::NEG_INFINITY;
    for p in 3..=7 {
        let failure = Distribution::from(total).log2_tail(to_f64(half_slot(p)));
        println!("in a table of {:3} values fails with probability 2^{failure:.1}", 1 << p);
        assert!(failure > before);
        before = failure;
    }
    Ok(())
}
