//! What the rows of keys encrypt: their phases, by the reference, against its own account of what they have to be.

use integration_tests::reference::{add_product, glwe_phase, lwe_phase, rows, scale, substitute};
use tfhe_core::automorphism::SeededAutomorphismKeys;
use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::glwe_keyswitch::SeededGlweKeyswitchKey;
use tfhe_core::keyswitch::SeededLweKeyswitchKey;
use tfhe_core::noise;
use tfhe_core::packing_keyswitch::PackingKeyswitchKey;
use tfhe_core::params::Precision::{Single, Split};
use tfhe_core::params::{Gadget, Grouping};
use tfhe_core::tensor_product::SeededRelinearizationKey;

use super::{Draw, NOISE, Polynomial, Ring, gadget, lwe_key, own};

/// q/β^level, the first level being 1.
fn weight(gadget: Gadget, level: usize) -> u64 {
    1 << (64 - gadget.base_log() as usize * level)
}

/// That these are noise of [`NOISE`]: within its bound, and more than half of it, either way, somewhere.
fn assert_noise(errors: &[i64], what: &str) {
    // Bodies of bootstrapping keys are rounded besides.
    let rounded = noise::stored_bits(NOISE.variance());
    let bound = (1_i64 << 24) + if what.starts_with("a bootstrapping key") { 1 << (63 - rounded) } else { 0 };
    let (least, most) = (errors.iter().min().unwrap(), errors.iter().max().unwrap());
    let (low, high) = (-bound..-bound / 2, bound / 2..bound + 1);
    assert!(low.contains(least) && high.contains(most), "{what}: noise from {least} to {most}");
}

/// That `words`, rows `[inputs][ℓ][k+1][N]` under the key of `ring`, encrypt the polynomials `messages` times q/β^level.
fn assert_rows(ring: &Ring, gadget: Gadget, words: &[u64], messages: &[Polynomial], what: &str) {
    let rows = rows(words, gadget.levels(), ring.columns(), ring.n());
    assert_eq!(rows.len(), messages.len(), "{what}");
    let mut errors = Vec::new();
    for (levels, message) in rows.iter().zip(messages) {
        for (row, level) in levels.iter().zip(1..) {
            let expected = scale(weight(gadget, level), message);
            let phase = glwe_phase(&ring.polynomials(), row);
            errors.extend(phase.iter().zip(&expected).map(|(x, y)| x.wrapping_sub(*y) as i64));
        }
    }
    assert_noise(&errors, what);
}

fn constant(x: u64, n: usize) -> Polynomial {
    [x].into_iter().chain(std::iter::repeat_n(0, n - 1)).collect()
}

#[test]
fn rows_encrypt_what_they_are_said_to() {
    let mut draw = Draw::new(20);
    for (k, n) in [(1, 64), (2, 64), (1, 1024)] {
        let (ring, other) = (Ring::new(k, n), Ring::new(k + 1, n));
        let minus = |p: &Polynomial| scale(1_u64.wrapping_neg(), p);

        let (from, single) = (draw.bits(5), gadget(8, 3, Single));
        let key = SeededBootstrappingKey::generate(&ring.fft, &lwe_key(&from), &ring.key, single, NOISE, own(20));
        for (bit, words) in from.iter().zip(key.to_raw()) {
            let mut messages: Vec<Polynomial> = ring.polynomials().iter().map(|s| scale(*bit, &minus(s))).collect();
            messages.push(constant(*bit, n));
            assert_rows(&ring, single, &words, &messages, "a bootstrapping key");
        }

        let kind = (single, Grouping::Two);
        let key = SeededBootstrappingKey::generate_grouped(&ring.fft, &lwe_key(&from), &ring.key, kind, NOISE, own(20));
        let pairs = [(from[0], from[1]), (from[2], from[3]), (from[4], 0)];
        let told = pairs.into_iter().flat_map(|(a, b)| [a * (1 - b), (1 - a) * b, a * b]);
        for (bit, words) in told.zip(key.to_raw()) {
            let mut messages: Vec<Polynomial> = ring.polynomials().iter().map(|s| scale(bit, &minus(s))).collect();
            messages.push(constant(bit, n));
            assert_rows(&ring, single, &words, &messages, "a bootstrapping key of pairs");
        }

        let packing = PackingKeyswitchKey::generate(&ring.fft, &lwe_key(&from), &ring.key, single, NOISE, own(21));
        let messages: Vec<Polynomial> = from.iter().map(|&bit| constant(bit, n)).collect();
        assert_rows(&ring, single, &packing.to_raw(), &messages, "a packing key");

        let split = gadget(6, 4, Split);
        let key = SeededGlweKeyswitchKey::generate(&ring.fft, &other.key, &ring.key, split, NOISE, own(22));
        let messages: Vec<Polynomial> = other.polynomials().iter().map(minus).collect();
        assert_rows(&ring, split, &key.to_raw(), &messages, "a GLWE key switch");

        let steps = 1..=n.ilog2();
        let keys = SeededAutomorphismKeys::generate(&ring.fft, &ring.key, steps.clone(), split, NOISE, own(23));
        for (l, words) in steps.zip(keys.to_raw()) {
            let messages: Vec<Polynomial> =
                ring.polynomials().iter().map(|s| minus(&substitute(s, (1 << l) + 1))).collect();
            assert_rows(&ring, split, &words, &messages, "an automorphism");
        }

        if k == 1 {
            let key = SeededRelinearizationKey::generate(&ring.fft, &ring.key, split, NOISE, own(24));
            let (s, mut square) = (&ring.bits, vec![0; n]);
            add_product(&mut square, s, s);
            assert_rows(&ring, split, &key.to_raw(), &[square], "relinearization");
        }
    }
}

#[test]
fn lwe_key_switches_encrypt_what_they_are_said_to() {
    let mut draw = Draw::new(21);
    let (from, to, gadget) = (draw.bits(200), draw.bits(50), gadget(4, 5, Single));
    let key = SeededLweKeyswitchKey::generate(&lwe_key(&from), &lwe_key(&to), gadget, NOISE, own(25)).to_raw();
    let error = |(index, row): (usize, &[u64])| {
        let expected = from[index / 5].wrapping_mul(weight(gadget, index % 5 + 1));
        lwe_phase(&to, row).wrapping_sub(expected) as i64
    };
    assert_noise(&key.chunks_exact(51).enumerate().map(error).collect::<Vec<_>>(), "a key switch");
}
