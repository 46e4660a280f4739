//! The active backend of the transforms, from bootstrapping to a product of ciphertexts. `TFHE_BACKEND` chooses it.

use integration_tests::layer::Layer;
use integration_tests::packed::execute;
use integration_tests::{Parties, assert_variance, errors};
use nn::attention::Part;
use nn::packed::{PackedOptions, Span};
use tfhe_core::noise;
use tfhe_core::programmable_bootstrap::table_accumulator;
use tfhe_core::sets::MESSAGE_2_CARRY_2;
use tfhe_core::torus;

/// 64 bootstrappings read the right values with the predicted noise: four standard errors of 64 samples are 4·sqrt(2/64).
#[test]
fn bootstrapping_reads_and_has_the_predicted_noise() {
    let mut parties = Parties::new(MESSAGE_2_CARRY_2, &[0], false);
    let parameters = parties.parameters().clone();
    let values: Vec<u64> = (0..16_u64).map(|m| ((m * 5 + 3) % 16) << 59).collect();
    let accumulator = table_accumulator(parameters.lookup().shape, &values);
    let inputs = parties.encrypt_indices(4, (0..64).map(|i| i % 16));
    let switched = parties.keyswitch(&inputs);
    let outputs = parties.bootstrapping_key(0).programmable_bootstrap(&switched, &vec![&accumulator; inputs.len()]);
    let phases = parties.phases(&outputs);
    for (i, &phase) in phases.iter().enumerate() {
        assert_eq!(torus::switch_modulus(phase, 5) % 32, values[i % 16] >> 59);
    }
    let predicted = noise::blind_rotation(
        parameters.bootstraps()[0].gadget.on(parties.fft().transforms()),
        parameters.bootstraps()[0].grouping,
        parameters.lookup().shape,
        parameters.small().lwe_dimension(),
        parameters.lookup().noise.variance(),
    );
    let backend = format!("PBS on {:?}", parties.fft());
    assert_variance(&backend, &errors(&phases, (0..64).map(|i| values[i % 16])), predicted, 0.71);
}

/// All heads: every kind of key, transforms of three sizes.
#[test]
fn packed_attention_is_as_near_to_the_clear_engine_as_the_noise_allows() {
    let layer = Layer::synthetic(32, 4);
    let outcome = execute(&layer.quantize(Part::Whole, &PackedOptions::new(5)), &layer.unseen, Span::all(4), 7);
    assert_eq!(outcome.mismatches(), 0, "by up to {}", outcome.max_abs_difference());
    println!("packed attention, {} PBS: {:.2} s", outcome.statistics.pbs(), outcome.seconds.evaluate);
}

/// The same seed gives the same output to the last bit, whatever the number of threads.
#[test]
fn a_packed_head_does_not_depend_on_the_number_of_threads() {
    let layer = Layer::synthetic(32, 4);
    let head = layer.quantize(Part::Head(0), &PackedOptions::new(5));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| execute(&head, &layer.unseen, Span::all(4), 11).numbers)
    };
    let one = run(1);
    for threads in [2, 3] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}
