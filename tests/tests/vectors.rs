//! tfhe-rs's published test vectors, computed again: by `integration_tests::reference`, bit for bit, and by `tfhe-core`'s own bootstrapping.
//! (Not by its key switch: theirs has one level of 37 bits, and ours has digits of 30 at most.)

use ciborium::Value;
use integration_tests::vectors::{MAXIMUM_BYTES, Vector, hexadecimal};
use sha2::{Digest, Sha256};

/// A file of the given pairs.
fn file(pairs: &[(&str, Value)]) -> Vec<u8> {
    let pairs = pairs.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect();
    let mut bytes = Vec::new();
    ciborium::into_writer(&Value::Map(pairs), &mut bytes).unwrap();
    bytes
}

fn numbers(numbers: &[u64]) -> Value {
    Value::Array(numbers.iter().map(|&x| Value::from(x)).collect())
}

fn small() -> Vec<u8> {
    let modulus = Value::Map(vec![(Value::from("scalar_bits"), Value::from(64))]);
    file(&[("data", numbers(&[0, 1, u64::MAX])), ("modulus", modulus), ("size", Value::from(3))])
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let vector = Vector::read(&small()).unwrap();
    assert_eq!(vector.numbers("data", 3).unwrap(), [0, 1, u64::MAX]);
    assert_eq!(vector.number("size").unwrap(), 3);
    assert_eq!(vector.map("modulus").unwrap().number("scalar_bits").unwrap(), 64);
}

#[test]
fn what_is_asked_for_and_not_there_is_an_error() {
    let vector = Vector::read(&small()).unwrap();
    assert_eq!(vector.numbers("data", 2).unwrap_err(), "data has 3 numbers instead of 2");
    assert_eq!(vector.numbers("size", 1).unwrap_err(), "size is no list");
    assert_eq!(vector.number("data").unwrap_err(), "data is no number");
    assert_eq!(vector.map("size").unwrap_err(), "size is no map");
    assert_eq!(vector.number("shape").unwrap_err(), "it has no shape");
}

#[test]
fn a_file_that_is_cut_off_is_an_error_wherever_it_is_cut() {
    let bytes = small();
    for end in 0..bytes.len() {
        let error = Vector::read(&bytes[..end]).unwrap_err();
        assert!(error.starts_with("it is no CBOR"), "{end} bytes: {error}");
    }
    let longer = [&bytes[..], &[0, 0]].concat();
    assert_eq!(Vector::read(&longer).unwrap_err(), "2 bytes follow after its end");
}

#[test]
fn files_of_another_form_are_errors() {
    let read = |value: Value| Vector::read(&file(&[("data", value)])).unwrap_err();
    assert_eq!(read(Value::from(-1)), "data is not from 0 to 2^64 - 1");
    assert_eq!(read(Value::from("text")), "data is no number, list or map");
    assert_eq!(read(Value::Array(vec![Value::from(0.5)])), "data has something that is no number");
    assert_eq!(read(Value::Array(vec![numbers(&[1])])), "data has something that is no number");
    let twice = file(&[("data", Value::from(1)), ("data", Value::from(1))]);
    assert_eq!(Vector::read(&twice).unwrap_err(), "the file has data twice");
    let mut list = Vec::new();
    ciborium::into_writer(&numbers(&[1, 2]), &mut list).unwrap();
    assert_eq!(Vector::read(&list).unwrap_err(), "the file is not a map");
    // A map whose name is a number.
    assert_eq!(Vector::read(&[0xa1, 1, 1]).unwrap_err(), "the file has a name that is no text");
}

/// Lengths that a few bytes announce: of a list, a text, a map, and how deep lists are in lists. Memory of such a size cannot be had, so
/// that whoever asked for it would end here.
#[test]
fn announced_lengths_take_no_memory() {
    for (kind, what) in [(0x9b, "a list"), (0x7b, "a text"), (0x5b, "bytes"), (0xbb, "a map")] {
        for length in [1_u64 << 40, 1 << 62, u64::MAX] {
            // {"data": …}
            let bytes = [&[0xa1, 0x64], &b"data"[..], &[kind], &length.to_be_bytes(), &[1, 2, 3]].concat();
            let error = Vector::read(&bytes).unwrap_err();
            assert!(error.starts_with("it is no CBOR"), "{what} of {length}: {error}");
        }
    }
    let error = Vector::read(&vec![0x81; MAXIMUM_BYTES]).unwrap_err();
    assert!(error.starts_with("it is no CBOR"), "{error}");
    assert_eq!(Vector::read(&vec![0; MAXIMUM_BYTES + 1]).unwrap_err(), "1048577 bytes are more than 1048576");
}

#[test]
fn files_are_held_against_their_checksums() {
    let (folder, bytes) = (tempfile::tempdir().unwrap(), small());
    std::fs::create_dir(folder.path().join("set")).unwrap();
    let (path, list) = (folder.path().join("set/lwe.cbor"), folder.path().join("checksums.sha256"));
    let load = || Vector::load(folder.path(), "set", "lwe");
    std::fs::write(&path, &bytes).unwrap();
    assert!(load().unwrap_err().contains("checksums.sha256"), "no list");
    std::fs::write(&list, "").unwrap();
    assert!(load().unwrap_err().ends_with("has no line for data/set/lwe.cbor"));
    std::fs::write(&list, format!("{}  data/set/lwe.cbor\n", hexadecimal(&Sha256::digest(&bytes)))).unwrap();
    assert_eq!(load(), Vector::read(&bytes));
    let mut changed = bytes;
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert!(load().unwrap_err().contains("SHA-256"), "a changed byte");
}

mod published {
    use std::path::{Path, PathBuf};

    use integration_tests::errors;
    use integration_tests::reference::{
        Decomposition, Glwe, Polynomial, Rows, Ties, add, glwe_phase, lwe_phase, modulus_switch, polynomials, rotate,
        rows, sample_extract, scale,
    };
    use tfhe_core::bootstrapping_key::BootstrappingKey;
    use tfhe_core::fft::NegacyclicFft;
    use tfhe_core::glwe::GlweCiphertext;
    use tfhe_core::lwe::LweCiphertext;
    use tfhe_core::noise::{self, Variance};
    use tfhe_core::params::{Gadget, GlweShape, Grouping, LweDimension, Precision};

    use super::Vector;

    // What the files' own account of it says, too.
    const SMALL: usize = 10;
    const N: usize = 256;
    const SET: &str = "toy_params";
    const BOOTSTRAP: Decomposition = Decomposition { base_log: 24, levels: 1, ties: Ties::NextDigit };
    const KEYSWITCH: Decomposition = Decomposition { base_log: 37, levels: 1, ties: Ties::NextDigit };
    /// Messages 0 to 15 at multiples of this.
    const SCALE_LOG: u32 = 59;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors")
    }

    fn load(name: &str) -> Vector {
        Vector::load(&folder(), SET, name).unwrap()
    }

    /// The numbers of a file, of which there have to be so many.
    fn data(name: &str, count: usize) -> Vec<u64> {
        load(name).numbers("data", count).unwrap().to_vec()
    }

    /// All that both parties have: keys, two ciphertexts of one message each, and what becomes of the first.
    struct Published {
        large: Vec<u64>,
        small: Vec<u64>,
        keyswitch: Vec<Vec<Vec<u64>>>,
        bootstrap: Vec<Rows>,
        a: Vec<u64>,
        b: Vec<u64>,
    }

    impl Published {
        fn load() -> Self {
            let check = |map: &Vector, expected: &[(&str, u64)]| {
                expected.iter().for_each(|&(name, value)| assert_eq!(map.number(name).unwrap(), value, "{name}"));
            };
            let keyswitch = load("ksk");
            let of_gadget = |gadget: Decomposition| {
                [("decomp_base_log", gadget.base_log.into()), ("decomp_level_count", gadget.levels as u64)]
            };
            check(&keyswitch, &of_gadget(KEYSWITCH));
            check(&keyswitch, &[("output_lwe_size", SMALL as u64 + 1)]);
            let file = load("bsk");
            let bootstrap = file.map("ggsw_list").unwrap();
            check(bootstrap, &of_gadget(BOOTSTRAP));
            check(bootstrap, &[("glwe_size", 2), ("polynomial_size", N as u64)]);
            let words = bootstrap.numbers("data", SMALL * 4 * N).unwrap();
            let row = |row: &[u64]| vec![row.to_vec()];
            Self {
                large: data("large_lwe_secret_key", N),
                small: data("small_lwe_secret_key", SMALL),
                keyswitch: keyswitch.numbers("data", N * (SMALL + 1)).unwrap().chunks(SMALL + 1).map(row).collect(),
                // Theirs are [n][ℓ][k+1][k+1][N], ours [n][k+1][ℓ][k+1][N]: the same for one level.
                bootstrap: words.chunks(4 * N).map(|bit| rows(bit, 1, 2, N)).collect(),
                a: data("lwe_a", N + 1),
                b: data("lwe_b", N + 1),
            }
        }

        fn keyswitched(&self) -> Vec<u64> {
            KEYSWITCH.lwe_keyswitch(&self.keyswitch, &self.a)
        }
    }

    type Function = fn(u64) -> u64;

    /// The functions that are looked up, by the names that files have for them.
    const FUNCTIONS: [(&str, Function); 2] = [("id", |x| x), ("spec", |x| 2 * x % 16)];

    /// A table of 16 values on half the torus, box after box, and half a box back, so that messages are in the middle of theirs.
    fn table(function: Function) -> Polynomial {
        let boxes: Vec<u64> = (0..N).map(|j| function((j / (N / 16)) as u64) << SCALE_LOG).collect();
        rotate(&boxes, 2 * N - N / 32)
    }

    fn message(phase: u64) -> u64 {
        (phase.wrapping_add(1 << (SCALE_LOG - 1)) >> SCALE_LOG) % 16
    }

    #[test]
    #[ignore = "needs ../shared: tfhe-rs's test vectors"]
    fn linear_operations_and_switches_are_the_same_bits() {
        let published = Published::load();
        let Published { a, b, .. } = &published;
        assert_eq!(data("lwe_sum", N + 1), add(a, b));
        assert_eq!(data("lwe_prod", N + 1), scale(3, a));
        let keyswitched = published.keyswitched();
        assert_eq!(data("lwe_ks", SMALL + 1), keyswitched);
        // As torus elements again. Theirs has no compensation of the mean.
        let exponents: Vec<u64> = modulus_switch(&keyswitched, N, false).iter().map(|&e| (e as u64) << 55).collect();
        assert_eq!(data("lwe_ms", SMALL + 1), exponents);
        let phases = [a, b].map(|sample| message(lwe_phase(&published.large, sample)));
        assert_eq!(message(lwe_phase(&published.large, &add(a, b))), (phases[0] + phases[1]) % 16);
        assert_eq!(message(lwe_phase(&published.small, &keyswitched)), phases[0]);
        println!("a and b encrypt {phases:?}");
    }

    /// With tfhe-rs's ties, that is ([`Ties::NextDigit`]). With ours the bits would be others: the first differences are of values of the
    /// table, some are q/2 exactly, and that is decomposed as −q/2 by ours and as q/2 by theirs.
    #[test]
    #[ignore = "needs ../shared: tfhe-rs's test vectors"]
    fn bootstrappings_with_integers_are_the_same_bits() {
        let published = Published::load();
        let exponents = modulus_switch(&published.keyswitched(), N, false);
        for (name, function) in FUNCTIONS {
            let accumulator = vec![vec![0; N], table(function)];
            let turned = BOOTSTRAP.blind_rotation(&published.bootstrap, &exponents, &accumulator);
            assert_eq!(data(&format!("glwe_after_{name}_br_karatsuba"), 2 * N), turned.concat());
            let sample = BOOTSTRAP.bootstrap(&published.bootstrap, &exponents, &accumulator);
            assert_eq!(data(&format!("lwe_after_{name}_pbs_karatsuba"), N + 1), sample);
            let ours = Decomposition { ties: Ties::Even, ..BOOTSTRAP };
            let ours = ours.bootstrap(&published.bootstrap, &exponents, &accumulator);
            assert_ne!(ours, sample, "{name}");
            assert_eq!(message(lwe_phase(&published.large, &ours)), message(lwe_phase(&published.large, &sample)));
            let expected = function(message(lwe_phase(&published.large, &published.a)));
            assert_eq!(message(lwe_phase(&published.large, &sample)), expected, "{name}");
        }
    }

    /// The noise of the bootstrapping key, by the phases of its rows: of −s·S and s, at q/β.
    fn noise_of_key(published: &Published) -> Variance {
        let key = std::slice::from_ref(&published.large);
        let mut found = Vec::new();
        for (bit, rows) in published.small.iter().zip(&published.bootstrap) {
            let message = bit << (64 - BOOTSTRAP.base_log);
            let mut constant = vec![0; N];
            constant[0] = message;
            found.extend(errors(&glwe_phase(key, &rows[0][0]), scale(message.wrapping_neg(), &published.large)));
            found.extend(errors(&glwe_phase(key, &rows[1][0]), constant));
        }
        Variance::measured(&found)
    }

    /// Results by transforms: theirs, and ours with their key and their input. No word is the same as with integers; phases are as near as
    /// noise is small, since where digits come out differently each result has noise of its own.
    #[test]
    #[ignore = "needs ../shared: tfhe-rs's test vectors"]
    fn bootstrappings_by_transforms_have_the_same_phases() {
        let published = Published::load();
        let key = std::slice::from_ref(&published.large);
        let (shape, gadget) = (GlweShape::new(1, N).unwrap(), Gadget::new(24, 1, Precision::Single).unwrap());
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let of_key = noise_of_key(&published);
        let one = noise::blind_rotation(gadget, Grouping::One, shape, LweDimension::new(SMALL).unwrap(), of_key);
        let (two, bound) = (one.repeated(2.0), 8.0 * one.repeated(2.0).std());
        println!("two results differ by 2^{:.1} of 2^64, bound 2^{:.1}", two.log2_std() + 64.0, bound.log2() + 64.0);

        let prepared = BootstrappingKey::from_raw(
            &fft,
            shape,
            gadget,
            published.bootstrap.iter().map(|bit| bit.concat().concat().concat()),
        );
        // Already a multiple of 1/2N everywhere, so that our modulus switch, which compensates the mean of errors, changes nothing.
        let switched = LweCiphertext::from_data(data("lwe_ms", SMALL + 1));
        for (name, function) in FUNCTIONS {
            let exact = polynomials(&data(&format!("glwe_after_{name}_br_karatsuba"), 2 * N), N);
            let theirs = polynomials(&data(&format!("glwe_after_{name}_br"), 2 * N), N);
            assert_eq!(data(&format!("lwe_after_{name}_pbs"), N + 1), sample_extract(&theirs, 0));
            let accumulator = GlweCiphertext::trivial(shape, &table(function));
            let key_of_ours = prepared.as_ref().unwrap();
            let ours = key_of_ours.blind_rotate(std::slice::from_ref(&switched), &[&accumulator]).remove(0);
            let ours: Glwe = polynomials(ours.data(), N);
            for (whose, result) in [("theirs", &theirs), ("ours", &ours)] {
                let differences = errors(&glwe_phase(key, result), glwe_phase(key, &exact));
                let largest = differences.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
                let ratio = Variance::measured(&differences).get() / two.get();
                println!(
                    "{name}, {whose}: phases differ by up to 2^{:.1} of 2^64, {ratio:.2} of the variance",
                    largest.log2() + 64.0
                );
                assert!(largest < bound, "{name}, {whose}: {largest}");
                // Rounding errors meet the key, whose bits are 1/2 on average: half of their energy is in few frequencies, and varies from
                // result to result. (Twice, since either result has noise of its own.)
                assert!((0.125..4.0).contains(&ratio), "{name}, {whose}: {ratio}");
                assert_ne!(result, &exact, "{name}, {whose}");
            }
        }
    }
}
