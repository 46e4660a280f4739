//! Looked-up GGSW ciphertexts at toy sizes: one integer in all levels, products, their noise from both sides, and what is refused.

use super::*;
use crate::ggsw::FourierGgsw;
use crate::noise::{LevelNoise, Spread, effective_squares};
use crate::polynomial::schoolbook_add;
use crate::random::SampleStream;
use crate::tensor_product::{LevelsError, RelinearizationKey, SeededRelinearizationKey};

fn gadget(base_log: u32, levels: u32) -> Gadget {
    Gadget::new(base_log, levels, Precision::Single).unwrap()
}

fn relinearization(client: &Client) -> RelinearizationKey {
    let (fft, seed) = (&client.fft, client.seed.experiment(6));
    let (gadget, noise) = (relinearization_gadget(), ARITHMETIC_NOISE);
    SeededRelinearizationKey::generate(fft, &client.arithmetic, gadget, noise, seed).prepare(fft)
}

/// Small-key ciphertexts of values, each extracted from a ciphertext of its own.
fn arguments(client: &Client, values: &[f64]) -> Vec<LweCiphertext> {
    let ciphertexts = client.encrypt_each(values);
    let sources: Vec<Source<'_>> = ciphertexts.iter().map(|ciphertext| Source { ciphertext, coefficient: 0 }).collect();
    client.refresh().keyswitch(&sources).unwrap()
}

/// Whatever the noise of an argument does to the integer, it is the same in all levels: with one table a rotation, with several, and
/// where the last rotation has fewer. And it is that of an argument as far off as predicted for so many tables.
#[test]
fn all_levels_hold_one_integer() {
    const STEPS: f64 = 4000.0;
    for (levels, log_tables) in [(4, 0), (4, 1), (3, 1), (4, 2), (3, 2)] {
        let (mut errors, mut predicted) = (Vec::new(), Variance::ZERO);
        for number in 0..CLIENTS {
            let client = Client::new(number);
            let gadget = gadget(5, levels);
            let tables = LevelTables::new(shape(1, LOOKUP), -0.125..=0.125, gadget, log_tables, |x| STEPS * x).unwrap();
            assert_eq!(tables.rotations().len(), (levels as usize).div_ceil(1 << log_tables));
            let values = uniform(64, 0.12, 300 + number);
            let arguments = arguments(&client, &values);
            let read = client.refresh().look_up_levels(&arguments, &vec![&tables; values.len()]).unwrap();
            let key = client.lookup.extracted_lwe_key();
            for (value, of_argument) in values.iter().zip(&read) {
                assert_eq!(of_argument.len(), levels as usize);
                // Modulo β^i at level i.
                let integer =
                    |level: usize| torus::switch_modulus(key.phase(&of_argument[level - 1]), 5 * level as u32);
                let last = integer(levels as usize);
                for level in 1..levels as usize {
                    assert_eq!(integer(level) % (1 << (5 * level)), last % (1 << (5 * level)), "level {level}");
                }
                let bits = 5 * levels;
                let signed = ((last << (64 - bits)) as i64 >> (64 - bits)) as f64;
                errors.push(signed / STEPS - value);
            }
            let parameters = client.parameters().with_tables(log_tables);
            predicted = noise::refresh(&parameters).argument(&input()).variance();
        }
        // 512 samples: one standard error of the variance is 6.3 %.
        assert_variance(&format!("argument of 2^{log_tables} tables"), &errors, predicted, 0.26);
    }
}

/// Errors of products of random real polynomials with GGSW ciphertexts, given the integers of each.
fn product_errors(client: &Client, ggsw: &FourierGgsw, message: &[i64], samples: &mut SampleStream) -> Vec<f64> {
    let plaintext: Vec<f64> = (0..ARITHMETIC).map(|_| torus::to_f64(samples.uniform()) / 1024.0).collect();
    let input = client.encrypt(&plaintext, samples.uniform() >> 16);
    let product = ggsw.external_product(&client.fft, &input, &mut ggsw.scratch(&client.fft));
    // With the input's own noise, which counts M times.
    let mut expected = vec![0; ARITHMETIC];
    schoolbook_add(message, &client.phase(&input), &mut expected);
    client.phase(&product).iter().zip(&expected).map(|(&x, &y)| torus::to_f64(x.wrapping_sub(y))).collect()
}

/// Products of integers at places, with signs, that were looked up, with real polynomials.
#[test]
fn looked_up_integers_multiply_with_the_predicted_noise() {
    let gadget = gadget(5, 6);
    for count in [1, 16] {
        let (mut errors, mut predicted) = (Vec::new(), 0.0);
        let mut samples = SampleSeed::from_number(20).stream(0);
        for number in 0..2 * CLIENTS {
            let client = Client::new(number);
            let relinearization = relinearization(&client);
            let tables = LevelTables::new(shape(1, LOOKUP), -0.125..=0.125, gadget, 0, |x| 400.0 * x).unwrap();
            let values = uniform(32, 0.12, 400 + number);
            let arguments = arguments(&client, &values);
            let read = client.refresh().look_up_levels(&arguments, &vec![&tables; values.len()]).unwrap();
            let key = client.lookup.extracted_lwe_key();
            let places: Vec<Place> = (0..count as i64)
                .map(|i| Place::of_exponent(-32 * i, client.arithmetic.shape().polynomial_size))
                .collect();
            for of_ggsw in read.chunks(count) {
                let mut message = vec![0; ARITHMETIC];
                for (place, levels) in places.iter().zip(of_ggsw) {
                    // Level 4 has all its digits above the noise.
                    let integer = torus::decode(key.phase(&levels[3]), 20);
                    message[place.coefficient] = if place.negated { -integer } else { integer };
                }
                let levels = client.refresh().pack_levels(of_ggsw, &places).unwrap();
                let ggsw = relinearization.ggsw_of_levels(&levels, gadget).unwrap();
                for _ in 0..4 {
                    errors.extend(product_errors(&client, &ggsw, &message, &mut samples));
                }
                let coefficients: Vec<usize> = places.iter().map(|place| place.coefficient).collect();
                let parameters = client.parameters();
                let level = LevelNoise::packed(&parameters, noise::refresh(&parameters).bootstrapping, &coefficients);
                let count = 2.0 * CLIENTS as f64 * (read.len() / count) as f64;
                predicted += client.product(&level, gadget, effective_squares(&message)) / count;
            }
        }
        // 512 values of three levels, whose squares vary by 3.6 %; digits that meet the mean of the key, by as much.
        assert_variance(&format!("looked-up GGSW, {count} places"), &errors, Variance::new(predicted), 0.15);
    }
}

/// The same without bootstrappings, of encrypted values: what packing and lift leave, between the places too; what a coarse lift rounds,
/// which meets the key twice; and what the product itself rounds, where the integers have one sign and where they have both.
#[test]
fn packed_levels_multiply_with_the_predicted_noise() {
    let coarse = Gadget::new(8, 3, Precision::Split).unwrap();
    let (lift, fine, rough) = (gadgets()[3], gadget(6, 5), gadget(6, 3));
    let cases = [(1, lift, fine, -20), (64, lift, fine, -20), (1, coarse, fine, -20), (64, coarse, fine, -20)];
    for (count, lift, gadget, lowest) in cases.into_iter().chain([(64, lift, rough, -20), (64, lift, rough, 1)]) {
        let (mut errors, mut predicted) = (Vec::new(), 0.0);
        let mut samples = SampleSeed::from_number(21).stream(0);
        let clients = 4 * CLIENTS;
        for number in 0..clients {
            let client = Client::with_lift(number, lift);
            let coefficients: Vec<usize> = (0..count).map(|i| i * (ARITHMETIC / count)).collect();
            let mut message = vec![0; ARITHMETIC];
            coefficients.iter().for_each(|&c| message[c] = lowest + (samples.uniform() % (21 - lowest) as u64) as i64);
            let ggsw = encrypted_levels(&client, &message, &coefficients, gadget);
            (0..8).for_each(|_| errors.extend(product_errors(&client, &ggsw, &message, &mut samples)));
            let level = LevelNoise::packed(&client.parameters(), LOOKUP_NOISE.variance(), &coefficients);
            predicted += client.product(&level, gadget, effective_squares(&message)) / clients as f64;
        }
        let what = format!("packed levels {gadget:?}, {count} places, integers from {lowest}, lift {lift:?}");
        // A coarse lift leaves one slow wave in each ciphertext, whose size is one number: over all keys one standard error of the
        // variance is an eighth.
        let tolerance = if lift == coarse { 0.3 } else { 0.15 };
        assert_variance(&what, &errors, Variance::new(predicted), tolerance);
    }
}

/// How many errors are beyond 2, 3 and 4 standard deviations is as predicted: with noise at one place few numbers decide how large all
/// errors of a product are, so more than for a normal variable.
#[test]
fn tails_of_products_are_those_predicted() {
    let (gadget, clients, ggsws) = (gadget(6, 4), CLIENTS, 40);
    for count in [1, 64] {
        let mut samples = SampleSeed::from_number(22).stream(0);
        let mut beyond: Vec<[f64; 3]> = Vec::new();
        let coefficients: Vec<usize> = (0..count).map(|i| i * (ARITHMETIC / count)).collect();
        let mut predicted = Distribution::ZERO;
        for number in 0..clients {
            let client = Client::new(number);
            // No integers, so nothing of what the product rounds; values with noise well above what packing leaves.
            let message = vec![0; ARITHMETIC];
            let level = LevelNoise::packed(&client.parameters(), LOUD.variance(), &coefficients);
            predicted = client.product_distribution(&level, gadget, 0.0);
            let deviation = predicted.variance().std();
            for ggsw in encrypted_levels_with(&client, &message, &coefficients, gadget, LOUD, ggsws) {
                let errors = product_errors(&client, &ggsw, &message, &mut samples);
                let count = |t: f64| errors.iter().filter(|error| error.abs() >= t * deviation).count() as f64;
                beyond.push([2.0, 3.0, 4.0].map(count));
            }
        }
        for (index, threshold) in [2.0, 3.0, 4.0].into_iter().enumerate() {
            let measured: f64 = beyond.iter().map(|of_product| of_product[index]).sum();
            let errors = (beyond.len() * ARITHMETIC) as f64;
            let share = |distribution: &Distribution| {
                errors * distribution.log2_tail(threshold * predicted.variance().std()).exp2()
            };
            let (expected, normal) = (share(&predicted), share(&predicted.variance().into()));
            // Errors of one product are large together.
            let scattered: f64 = beyond.iter().map(|of_product| of_product[index].powi(2)).sum();
            let error = (scattered + expected).sqrt();
            println!(
                "{count} places, beyond {threshold} σ: {measured}, predicted {expected:.1} ± {error:.1}, normal {normal:.1}"
            );
            assert!((measured - expected).abs() < 4.0 * error, "{count} places, {threshold} σ");
        }
    }
}

/// Of values whose noise is most of a row's.
const LOUD: NoiseDistribution = NoiseDistribution::Gaussian { log2_std: -25.0 };

/// A GGSW ciphertext of integers that are encrypted under the lookup key for each level, packed and lifted.
fn encrypted_levels(client: &Client, message: &[i64], coefficients: &[usize], gadget: Gadget) -> FourierGgsw {
    encrypted_levels_with(client, message, coefficients, gadget, LOOKUP_NOISE, 1).remove(0)
}

/// Several of them, of values with other noise.
fn encrypted_levels_with(
    client: &Client,
    message: &[i64],
    coefficients: &[usize],
    gadget: Gadget,
    noise: NoiseDistribution,
    count: usize,
) -> Vec<FourierGgsw> {
    let (key, relinearization) = (client.lookup.extracted_lwe_key(), relinearization(client));
    let (mut masks, mut noises) = client.seed.experiment(9).into_streams();
    let mut encrypt = |m: i64, level: u32| {
        key.encrypt((m as u64) << (64 - gadget.base_log() * level), noise, &mut masks, &mut noises)
    };
    let mut levels = |&c: &usize| (1..=gadget.levels() as u32).map(|level| encrypt(message[c], level)).collect();
    let one = |_| {
        let values: Vec<Vec<LweCiphertext>> = coefficients.iter().map(&mut levels).collect();
        let levels = client.refresh().pack_levels(&values, &at(coefficients)).unwrap();
        relinearization.ggsw_of_levels(&levels, gadget).unwrap()
    };
    (0..count).map(one).collect()
}

/// Sums of parts under both rings' keys, and a part alone, are read with the noise of their key switches.
#[test]
fn arguments_are_sums_of_parts_under_two_keys() {
    let (mut both, mut alone, mut predicted) = (Vec::new(), Vec::new(), [Variance::ZERO; 2]);
    for number in 0..CLIENTS {
        let client = Client::new(number);
        let from = client.lookup.extracted_lwe_key();
        let small_fft = NegacyclicFft::new(PolynomialSize::new(32).unwrap());
        let cut = GlweSecretKey::from_lwe_key(&from, shape(8, 32), &small_fft);
        let [gadget, ..] = gadgets();
        let seed = client.seed.experiment(7);
        let keyswitch = SeededGlweKeyswitchKey::generate(&small_fft, &cut, &client.small, gadget, SMALL_NOISE, seed);
        let keyswitch = keyswitch.prepare(&small_fft);
        let refresh = client.refresh().with_lookup_keyswitch(&keyswitch).unwrap();
        let (mut masks, mut noises) = client.seed.experiment(9).into_streams();
        for value in uniform(128, 0.2, 500 + number) {
            let arithmetic = client.encrypt(&[value], 0).sample_extract(0);
            let lookup = from.encrypt(torus::from_f64(2.0 * value), LOOKUP_NOISE, &mut masks, &mut noises);
            let sum = Argument { arithmetic: Some(&arithmetic), lookup: Some(&lookup) };
            let switched = refresh.keyswitch_arguments(&[sum, Argument { arithmetic: None, ..sum }]).unwrap();
            let error = |i: usize, value: f64| {
                let phase = client.small.extracted_lwe_key().phase(&switched[i]);
                torus::to_f64(phase.wrapping_sub(torus::from_f64(value)))
            };
            both.push(error(0, 3.0 * value));
            alone.push(error(1, 2.0 * value));
        }
        let from_lookup = Some(gadget.on(client.fft.transforms()));
        let sums = RefreshParameters { lookup_keyswitch: from_lookup, ..client.parameters() };
        predicted = [sums, RefreshParameters { keyswitch: None, ..sums }].map(|p| noise::refresh(&p).keyswitch);
        let other = client.refresh().with_lookup_keyswitch(&client.lift);
        assert!(matches!(other, Err(RefreshError::Keys(_))));
        let refused = |argument: Argument<'_>| client.refresh().keyswitch_arguments(&[argument]).unwrap_err();
        let part = LweCiphertext::trivial(from.dimension(), 0);
        assert_eq!(refused(Argument { arithmetic: None, lookup: Some(&part) }), RefreshError::NoLookupKeyswitch);
        assert_eq!(refused(Argument::default()), RefreshError::NoPart { index: 0 });
        let short = Argument { arithmetic: Some(&part), lookup: None };
        assert!(matches!(refused(short), RefreshError::Dimension { expected: 512, found: 256, .. }));
    }
    // 1024 samples: one standard error of the variance is 4.4 %; that of eight keys as much.
    assert_variance("two key switches", &both, predicted[0], 0.25);
    assert_variance("one key switch", &alone, predicted[1], 0.25);
}

/// Tables that share a bootstrapping have the values that each has alone.
#[test]
fn functions_of_one_rotation_have_their_values() {
    let client = Client::new(0);
    let functions: [&dyn Fn(f64) -> f64; 3] = [&|x| x / 2.0, &|x| x * x, &|_| -0.2];
    let tables = FunctionTables::new(shape(1, LOOKUP), -0.125..=0.125, &functions).unwrap();
    assert_eq!((tables.count(), tables.log_tables(), tables.guard()), (3, 2, 0.125));
    assert!((tables.slope(0, 0.05) - 0.5).abs() < 1e-9 && (tables.slope(1, 0.1) - 0.2).abs() < 0.02);
    let values = uniform(16, 0.12, 8);
    let arguments = arguments(&client, &values);
    let read = client.refresh().look_up_many(&arguments, &[&tables; 16]).unwrap();
    let key = client.lookup.extracted_lwe_key();
    for (value, read) in values.iter().zip(read) {
        assert_eq!(read.len(), 3);
        for ((index, function), read) in functions.iter().enumerate().zip(&read) {
            let error = torus::to_f64(key.phase(read).wrapping_sub(torus::from_f64(function(*value))));
            assert!(error.abs() < 0.03, "function {index} at {value}: {error}");
            let slot = torus::to_f64(tables.value(index, *value).wrapping_sub(torus::from_f64(function(*value))));
            assert!(slot.abs() < 0.01);
        }
    }
}

#[test]
fn levels_that_do_not_fit_are_refused() {
    let (client, levels) = (Client::new(0), gadget(6, 3));
    let refresh = client.refresh();
    let new = |range, log_tables, factor: f64| {
        LevelTables::new(shape(1, LOOKUP), range, levels, log_tables, move |x| factor * x)
    };
    assert!(matches!(new(-0.3..=0.3, 0, 1.0), Err(RefreshError::Range { .. })));
    assert!(matches!(new(-0.1..=0.1, 0, 1e17), Err(RefreshError::Value { .. })));
    assert!(matches!(new(-0.1..=0.1, 0, f64::NAN), Err(RefreshError::Value { .. })));
    let many = Gadget::new(1, 9, Precision::Single).unwrap();
    let crowded = LevelTables::new(shape(1, 64), 0.0..=0.1, many, 4, |x| x);
    assert_eq!(crowded.unwrap_err(), RefreshError::Tables { count: 9, most: 8 });
    let none = FunctionTables::new(shape(1, LOOKUP), 0.0..=0.1, &[]);
    assert_eq!(none.unwrap_err(), RefreshError::Tables { count: 0, most: 32 });
    // More tables to a rotation than there are levels count as the levels.
    let tables = new(-0.125..=0.125, 60, 100.0).unwrap();
    assert_eq!(
        (tables.log_tables(), tables.integer(0.1), tables.integer(-0.1), tables.integer(0.6)),
        (2, 10, -10, -10)
    );

    let argument = arguments(&client, &[0.1]);
    assert!(matches!(refresh.look_up_levels(&argument, &[]), Err(RefreshError::Count { .. })));
    let values = refresh.look_up_levels(&argument, &[&tables]).unwrap();
    assert!(matches!(refresh.pack_levels(&values, &[]), Err(RefreshError::Count { .. })));
    assert!(matches!(refresh.pack_levels(&values, &at(&[1])), Err(RefreshError::Place { .. })));
    let uneven = [values[0].clone(), values[0][1..].to_vec()];
    assert!(matches!(refresh.pack_levels(&uneven, &at(&[0, 2])), Err(RefreshError::Count { .. })));
    let packed = refresh.pack_levels(&values, &at(&[0])).unwrap();
    let key = relinearization(&client);
    assert_eq!(key.ggsw_of_levels(&packed[1..], levels).unwrap_err(), LevelsError::Count { levels: 3, found: 2 });
    let other = vec![GlweCiphertext::zero(shape(1, LOOKUP)); 3];
    assert!(matches!(key.ggsw_of_levels(&other, levels), Err(LevelsError::Shape { level: 1, .. })));
}

/// What packing and lift leave, all over a polynomial.
#[test]
fn spreads_add_up() {
    let client = Client::new(0);
    let level =
        |coefficients: &[usize]| LevelNoise::packed(&client.parameters(), Variance::ZERO, coefficients).energy();
    let all: Vec<usize> = (0..LOOKUP).map(|i| 2 * i).collect();
    let noise = client.noise();
    // With a value at each place nothing of packing is between them.
    let at_places = (noise.packing + noise.lift).repeated(LOOKUP as f64);
    assert!(level(&all) > at_places && level(&all) < at_places.repeated(2.0));
    assert!(level(&[0]) > (noise.packing + noise.lift).repeated(2.0));
    let alone = LevelNoise::new(Spread::new(Variance::new(1e-10), 1));
    assert!((client.product(&alone, gadget(6, 3), 0.0) / (3.0 * 341.5 * 257.0 * 1e-10) - 1.0).abs() < 0.01);
}
