//! Equal bits.

use integration_tests::reference as naive;
use integration_tests::reference::rows;
use tfhe_core::automorphism::SeededAutomorphismKeys;
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::decomposition::decompose;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext};
use tfhe_core::glwe_keyswitch::SeededGlweKeyswitchKey;
use tfhe_core::integer_product::FourierIntegers;
use tfhe_core::keyswitch::{LweKeyswitchKey, SeededLweKeyswitchKey};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::modulus_switch::modulus_switch;
use tfhe_core::packing_keyswitch::PackingKeyswitchKey;
use tfhe_core::params::Precision::{Single, Split};
use tfhe_core::params::{LweDimension, NoiseDistribution, PolynomialSize};
use tfhe_core::tensor_product::SeededRelinearizationKey;
use tfhe_core::{polynomial, torus};

use super::{Draw, INPUTS, NOISE, Ring, assert_same, decomposition, gadget, lwe_key, own, parts};

/// Uniform elements, each power of two and what is next to it, and elements halfway between two results, of gadgets of every kind: with
/// one level, with bases of one bit, with one bit dropped.
#[test]
fn decompositions() {
    let mut draw = Draw::new(1);
    for (base_log, levels) in
        [(1, 1), (1, 32), (2, 8), (2, 31), (4, 5), (7, 9), (8, 3), (11, 4), (15, 2), (21, 3), (23, 1), (30, 2)]
    {
        let fast = gadget(base_log, levels, Single);
        let slow = decomposition(fast);
        let half = 1_u64 << (63 - base_log * levels);
        let mut x = draw.words(INPUTS);
        x.extend((0..64).flat_map(|bit| [-1_i64, 0, 1].map(|d| (1_u64 << bit).wrapping_add(d as u64))));
        x.extend((0..200).map(|_| half.wrapping_mul(draw.below(1 << 20) as u64 * 2 + 1)));
        x.extend((0..200_u64).map(|i| (1_u64 << 63).wrapping_add(half.wrapping_mul(i)).wrapping_sub(100 * half)));
        let mut digits = vec![0; x.len() * levels as usize];
        decompose(&x, fast, &mut digits);
        for (j, &x_j) in x.iter().enumerate() {
            let found: Vec<u64> = (0..levels as usize).map(|level| digits[level * x.len() + j] as u64).collect();
            assert_eq!(found, slow.digits(x_j), "{x_j:#x} with base 2^{base_log}, {levels} levels");
        }
    }
}

/// How often backends round to different digits, of the precise gadget of `head_exact`: 44 bits, in units of 2^20. An f64 of 53 bits is up to
/// 2^9 from the element for |x| ≥ 2^62, half of all, up to 2^8 for half of the others, and so on: so many of 2^20 become a tie, and half of
/// those go the wrong way, 2^-11·(1/2 + 1/8 + …), one in 3,072. Exact ties, of which half go up, are one in 2^20.
#[test]
fn backends_round_few_elements_to_other_digits() {
    let even = decomposition(gadget(11, 4, Split));
    let (up, twice) = (
        naive::Decomposition { ties: naive::Ties::Up, ..even },
        naive::Decomposition { ties: naive::Ties::Twice, ..even },
    );
    let x = Draw::new(14).words(1 << 22);
    let others = |other: naive::Decomposition| x.iter().filter(|&&x| even.digits(x) != other.digits(x)).count() as f64;
    let (of_up, of_twice, expected) = (others(up), others(twice), f64::from(1 << 22) / 3072.0);
    println!(
        "other digits, of 2^22: {of_up} where ties go up, {of_twice} where elements are f64s, {expected:.0} expected"
    );
    assert!((of_twice - expected).abs() < 4.0 * expected.sqrt(), "{of_twice} against {expected:.0}");
    assert!(of_up <= 12.0, "{of_up} against 2");
}

#[test]
fn modulus_switches() {
    let mut draw = Draw::new(2);
    for n in [8, 64, 2048, 65536] {
        let size = PolynomialSize::new(n).unwrap();
        for _ in 0..INPUTS {
            let dimension = 1 + draw.below(100);
            let input = draw.lwe(dimension);
            let switched = modulus_switch(&input, size);
            let found: Vec<usize> = switched.mask().iter().copied().chain([switched.body()]).collect();
            assert_eq!(found, naive::modulus_switch(input.data(), n, true), "N = {n}");
        }
    }
}

#[test]
fn rotations_and_substitutions() {
    let mut draw = Draw::new(3);
    for n in [8, 64, 2048] {
        let mut out = vec![0; n];
        for _ in 0..INPUTS {
            let (p, exponent) = (draw.words(n), draw.below(2 * n));
            polynomial::rotate(&p, exponent, &mut out);
            assert_same(&out, &naive::rotate(&p, exponent), format_args!("X^{exponent}"));
            polynomial::automorphism(&p, exponent | 1, &mut out);
            assert_same(&out, &naive::substitute(&p, exponent | 1), format_args!("X to X^{}", exponent | 1));
        }
    }
}

#[test]
fn divisions() {
    let mut draw = Draw::new(4);
    for bits in 0..=20 {
        // Every other one is halfway between two results.
        let halfway = |x: u64| (x >> bits << bits) | (1 << bits >> 1);
        for x in draw.words(INPUTS).into_iter().flat_map(|x| [x, halfway(x)]) {
            assert_eq!(torus::divide_by_power_of_two(x, bits), naive::divide(x, bits), "{x:#x} by 2^{bits}");
        }
    }
}

/// Decryption, by sums of products with the key's bits, and by transforms.
#[test]
fn phases_and_extracted_samples() {
    let mut draw = Draw::new(5);
    for (k, n, inputs) in [(1, 64, INPUTS), (2, 64, INPUTS), (7, 128, 100), (1, 2048, 10), (1, 4096, 3)] {
        let (ring, lwe) = (Ring::new(k, n), Ring::new(k, n).key.extracted_lwe_key());
        for _ in 0..inputs {
            let (ciphertext, place) = (draw.glwe(ring.shape), draw.below(n));
            let phase = naive::glwe_phase(&ring.polynomials(), &parts(&ciphertext));
            assert_same(&ring.key.phase(&ring.fft, &ciphertext), &phase, format_args!("k = {k}, N = {n}"));
            let sample = ciphertext.sample_extract(place);
            assert_same(
                sample.data(),
                &naive::sample_extract(&parts(&ciphertext), place),
                format_args!("k = {k}, N = {n}"),
            );
            assert_eq!(naive::lwe_phase(&ring.bits, sample.data()), phase[place]);
            assert_eq!(lwe.phase(&sample), phase[place]);
            assert_eq!(GlweCiphertext::embed(ring.shape, &sample).sample_extract(0), sample);
        }
    }
}

/// Products with public weights.
#[test]
fn products_with_integers() {
    let mut draw = Draw::new(6);
    for (n, inputs) in [(64, INPUTS), (2048, 10)] {
        let ring = Ring::new(1, n);
        let scratch = &mut ring.fft.scratch();
        for _ in 0..inputs {
            let (ciphertext, integers) = (draw.glwe(ring.shape), draw.words(n));
            let integers: Vec<i32> = integers.iter().map(|&x| x as i32 >> 24).collect();
            let mut product = FourierGlwe::zero(&ring.fft, ring.shape);
            let factor = FourierIntegers::new(&ring.fft, &integers, scratch);
            product.add_product(&ring.fft, &FourierGlwe::new(&ring.fft, &ciphertext, scratch), &factor);
            let integers: Vec<u64> = integers.iter().map(|&x| x as u64).collect();
            let parts = parts(&ciphertext);
            let expected = parts.iter().flat_map(|p| {
                let mut sum = vec![0; n];
                naive::add_product(&mut sum, &integers, p);
                sum
            });
            assert_same(
                product.inverse(&ring.fft, scratch).data(),
                &expected.collect::<Vec<_>>(),
                format_args!("N = {n}"),
            );
        }
    }
}

/// Between LWE keys, with keys of 64 bits, and with keys that were rounded to 32 bits, which is done where noise hides it.
#[test]
fn lwe_key_switches() {
    let mut draw = Draw::new(7);
    let dimension = |n| LweDimension::new(n).unwrap();
    for (from, to, base_log, levels, inputs) in [(64, 8, 4, 5, INPUTS), (50, 33, 1, 20, INPUTS), (2048, 918, 4, 4, 20)]
    {
        let fast = gadget(base_log, levels, Single);
        let slow = decomposition(fast);
        let rows = draw.words(from * levels as usize * (to + 1));
        let key: Vec<Vec<Vec<u64>>> = rows
            .chunks(levels as usize * (to + 1))
            .map(|bit| bit.chunks(to + 1).map(<[u64]>::to_vec).collect())
            .collect();
        let prepared = LweKeyswitchKey::from_raw(dimension(from), dimension(to), fast, rows).unwrap();
        let inputs: Vec<LweCiphertext> = (0..inputs).map(|_| draw.lwe(from)).collect();
        for (output, input) in prepared.keyswitch(&inputs).iter().zip(&inputs) {
            assert_same(output.data(), &slow.lwe_keyswitch(&key, input.data()), format_args!("{from} to {to}"));
        }

        let (from_key, to_key) = (lwe_key(&draw.bits(from)), lwe_key(&draw.bits(to)));
        let noise = NoiseDistribution::TUniform { bound_log: 45 };
        let seeded = SeededLweKeyswitchKey::generate(&from_key, &to_key, fast, noise, own(7));
        let rounded: Vec<u64> = seeded.to_raw().iter().map(|&x| torus::round(x, 32)).collect();
        let key: Vec<Vec<Vec<u64>>> = rounded
            .chunks(levels as usize * (to + 1))
            .map(|bit| bit.chunks(to + 1).map(<[u64]>::to_vec).collect())
            .collect();
        for (output, input) in seeded.expand().keyswitch(&inputs).iter().zip(&inputs) {
            assert_same(
                output.data(),
                &slow.lwe_keyswitch(&key, input.data()),
                format_args!("{from} to {to}, 32 bits"),
            );
        }
    }
}

#[test]
fn packing_key_switches() {
    let mut draw = Draw::new(8);
    for (k, n, from, inputs) in [(1, 64, 10, INPUTS), (2, 64, 5, INPUTS), (1, 2048, 20, 5)] {
        let (ring, fast) = (Ring::new(k, n), gadget(4, 5, Single));
        let slow = decomposition(fast);
        let key = PackingKeyswitchKey::generate(&ring.fft, &lwe_key(&draw.bits(from)), &ring.key, fast, NOISE, own(8));
        let naive_key = rows(&key.to_raw(), 5, k + 1, n);
        for _ in 0..inputs {
            let (input, place) = (draw.lwe(from), draw.below(n));
            let expected = slow.packing_keyswitch(&naive_key, input.data(), place).concat();
            assert_same(key.packing_keyswitch(&[(input, place)]).data(), &expected, format_args!("k = {k}, N = {n}"));
        }
    }
}

/// External products and CMUXes of split precision.
#[test]
fn external_products() {
    let mut draw = Draw::new(9);
    for (k, n, base_log, levels, inputs) in
        [(1, 64, 8, 4, INPUTS), (2, 64, 6, 3, INPUTS), (1, 2048, 8, 5, 4), (1, 4096, 11, 4, 1)]
    {
        let (ring, fast) = (Ring::new(k, n), gadget(base_log, levels, Split));
        let slow = ring.decomposition(fast);
        for _ in 0..inputs {
            let words = draw.words(ring.columns() * levels as usize * ring.shape.ciphertext_len());
            let (zero, one) = (draw.glwe(ring.shape), draw.glwe(ring.shape));
            let ggsw = FourierGgsw::from_raw(&ring.fft, ring.shape, fast, &words).unwrap();
            let naive_ggsw = rows(&words, levels as usize, k + 1, n);
            let scratch = &mut ggsw.scratch(&ring.fft);
            let product = ggsw.external_product(&ring.fft, &zero, scratch);
            assert_same(
                product.data(),
                &slow.external_product(&naive_ggsw, &parts(&zero)).concat(),
                format_args!("k = {k}, N = {n}"),
            );
            let chosen = ggsw.cmux(&ring.fft, &zero, &one, scratch);
            assert_same(
                chosen.data(),
                &slow.cmux(&naive_ggsw, &parts(&zero), &parts(&one)).concat(),
                format_args!("k = {k}, N = {n}"),
            );
        }
    }
}

/// Bootstrappings of split precision: of eight bits in a small ring, and with the first four bits of the precise gadget of `head_exact`.
#[test]
fn bootstrappings() {
    let mut draw = Draw::new(10);
    for (k, n, base_log, levels, bits, inputs) in
        [(1, 64, 8, 4, 8, INPUTS), (2, 64, 6, 4, 3, INPUTS), (1, 4096, 11, 4, 4, 1)]
    {
        let (ring, fast) = (Ring::new(k, n), gadget(base_log, levels, Split));
        let slow = ring.decomposition(fast);
        let len = ring.columns() * levels as usize * ring.shape.ciphertext_len();
        let key: Vec<Vec<u64>> = (0..bits).map(|_| draw.words(len)).collect();
        let naive_key: Vec<_> = key.iter().map(|bit| rows(bit, levels as usize, k + 1, n)).collect();
        let key = BootstrappingKey::from_raw(&ring.fft, ring.shape, fast, &key).unwrap();
        let inputs: Vec<LweCiphertext> = (0..inputs).map(|_| draw.lwe(bits)).collect();
        let accumulators: Vec<GlweCiphertext> = inputs.iter().map(|_| draw.glwe(ring.shape)).collect();
        let outputs = key.programmable_bootstrap(&inputs, &accumulators.iter().collect::<Vec<_>>());
        for ((output, input), accumulator) in outputs.iter().zip(&inputs).zip(&accumulators) {
            let exponents = naive::modulus_switch(input.data(), n, true);
            assert_same(
                output.data(),
                &slow.bootstrap(&naive_key, &exponents, &parts(accumulator)),
                format_args!("k = {k}, N = {n}"),
            );
        }
    }
}

/// Between GLWE keys of different dimension, and of LWE ciphertexts by them.
#[test]
fn glwe_key_switches() {
    let mut draw = Draw::new(11);
    for (from, to, n, inputs) in [(3, 2, 64, INPUTS), (1, 1, 64, INPUTS), (1, 1, 2048, 5)] {
        let ([from, to], fast) = ([from, to].map(|k| Ring::new(k, n)), gadget(8, 4, Split));
        let slow = from.decomposition(fast);
        let seeded = SeededGlweKeyswitchKey::generate(&from.fft, &from.key, &to.key, fast, NOISE, own(11));
        let (key, naive_key) = (seeded.prepare(&from.fft), rows(&seeded.to_raw(), 4, to.columns(), n));
        for _ in 0..inputs {
            let input = draw.glwe(from.shape);
            let output = key.keyswitch(&input, &mut key.scratch());
            assert_same(
                output.data(),
                &slow.glwe_keyswitch(&naive_key, &parts(&input)).concat(),
                format_args!("N = {n}"),
            );
            let sample = input.sample_extract(draw.below(n));
            let embedded = parts(&GlweCiphertext::embed(from.shape, &sample));
            let expected = naive::sample_extract(&slow.glwe_keyswitch(&naive_key, &embedded), 0);
            assert_same(key.keyswitch_lwe(&[sample])[0].data(), &expected, format_args!("N = {n}"));
        }
    }
}

/// Automorphisms, traces and packing.
#[test]
fn automorphisms() {
    let mut draw = Draw::new(12);
    for (k, n, inputs) in [(1, 32, INPUTS), (2, 16, INPUTS), (1, 2048, 1)] {
        let (ring, fast) = (Ring::new(k, n), gadget(8, 4, Split));
        let slow = ring.decomposition(fast);
        let log_n = n.ilog2();
        let seeded = SeededAutomorphismKeys::generate(&ring.fft, &ring.key, 1..=log_n, fast, NOISE, own(12));
        let naive_keys: Vec<_> = seeded.to_raw().map(|key| rows(&key, 4, k + 1, n)).collect();
        let keys = seeded.prepare(&ring.fft);
        for _ in 0..inputs {
            let (input, l) = (draw.glwe(ring.shape), 1 + draw.below(log_n as usize));
            let image = keys.automorphism(&input, l as u32, &mut keys.scratch());
            let expected = slow.automorphism(&naive_keys[l - 1], &parts(&input), (1 << l) + 1).concat();
            assert_same(image.data(), &expected, format_args!("k = {k}, N = {n}, l = {l}"));
            let traced = keys.trace(&input, l as u32..=log_n);
            let expected = slow.trace(&naive_keys, &parts(&input), l..=log_n as usize).concat();
            assert_same(traced.data(), &expected, format_args!("k = {k}, N = {n}, from {l} on"));

            let count = 1 << draw.below(if n > 100 { 2 } else { 4 });
            let inputs: Vec<GlweCiphertext> = (0..count).map(|_| draw.glwe(ring.shape)).collect();
            let expected = slow.pack(&naive_keys, &inputs.iter().map(parts).collect::<Vec<_>>()).concat();
            assert_same(
                keys.pack(inputs.into_iter().map(Some).collect()).data(),
                &expected,
                format_args!("k = {k}, N = {n}, {count}"),
            );
        }
    }
}

/// Products of ciphertexts of 42 bits, as messages may be rounded to: then the products of lowest limbs, which `tfhe-core` leaves out, are
/// zero, and at scales from q/2^20 on there is nothing to round. (Of 64 bits: [`super::floating`].)
#[test]
fn products_of_ciphertexts() {
    let mut draw = Draw::new(13);
    for (n, inputs) in [(64, INPUTS), (1024, 5), (4096, 1)] {
        let (ring, fast) = (Ring::new(1, n), gadget(7, 4, Split));
        let slow = ring.decomposition(fast);
        let seeded = SeededRelinearizationKey::generate(&ring.fft, &ring.key, fast, NOISE, own(13));
        let (key, naive_key) = (seeded.prepare(&ring.fft), rows(&seeded.to_raw(), 4, 2, n));
        for i in 0..inputs {
            let [left, right] = [(); 2].map(|()| {
                let mut ciphertext = draw.glwe(ring.shape);
                ciphertext.round(42);
                ciphertext
            });
            let log_t = 20 + i as u32 % 20;
            let product = key.multiply(&key.factor(&left), &key.factor(&right), log_t);
            let expected = slow.multiply(&naive_key, &parts(&left), &parts(&right), log_t).concat();
            assert_same(product.data(), &expected, format_args!("N = {n}, t = 2^{log_t}"));
        }
    }
}
