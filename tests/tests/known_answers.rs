//! Known answers: that what is computed from fixed seeds stays what it is, from version to version, from run to run, with any number of
//! threads, and on every backend as far as that is promised.
//!
//! The streams of randomness are held against the cipher of RFC 8439, written out here. Everything after that is held by SHA-256 of all
//! numbers, little-endian. Who changes an answer on purpose runs
//! `cargo test --release -p integration-tests --test known_answers -- --nocapture` and has the new ones; files of keys, requests and
//! answers of versions before will then not be read as what they were.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use integration_tests::errors;
use integration_tests::vectors::hexadecimal;
use sha2::{Digest, Sha256};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::fingerprint::Fields;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::modulus_switch::modulus_switch;
use tfhe_core::noise;
use tfhe_core::params::{Gadget, GlweShape, Precision};
use tfhe_core::programmable_bootstrap::{half_slot, table_accumulator};
use tfhe_core::random::{PublicSeed, Role, SampleSeed};
use tfhe_core::sets::{MESSAGE_2_CARRY_2, MESSAGE_2_CARRY_2_PAIRS, TOY};
use tfhe_core::simd::{BACKEND_VARIABLE, Backend};
use tfhe_core::torus::encode;
use zeroize::Zeroizing;

mod chacha20 {
    use super::*;

    /// RFC 8439, section 2.1.
    fn quarter_round(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
        for (x, y, z, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
            state[x] = state[x].wrapping_add(state[y]);
            state[z] = (state[z] ^ state[x]).rotate_left(bits);
        }
    }

    /// Section 2.3: the block of a key, and of the four words that the RFC calls counter and nonce.
    fn block(key: &[u8; 32], last: [u32; 4]) -> [u8; 64] {
        let words = |bytes: &[u8]| -> Vec<u32> {
            bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
        };
        let start: [u32; 16] = [words(b"expand 32-byte k"), words(key), last.to_vec()].concat().try_into().unwrap();
        let mut state = start;
        for _ in 0..10 {
            (0..4).for_each(|i| quarter_round(&mut state, [i, 4 + i, 8 + i, 12 + i]));
            (0..4).for_each(|i| quarter_round(&mut state, [i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4]));
        }
        let sum: Vec<u8> = state.iter().zip(&start).flat_map(|(x, y)| x.wrapping_add(*y).to_le_bytes()).collect();
        sum.try_into().unwrap()
    }

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<u8> = hexadecimal.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn rfc_key() -> [u8; 32] {
        std::array::from_fn(|i| i as u8)
    }

    /// Section 2.3.2.
    #[test]
    fn the_block_function_is_that_of_the_rfc() {
        let expected = bytes(
            "10f1e7e4d13b5915500fdd1fa32071c4 c7d1f4c733c068030422aa9ac3d46c4e
             d2826446079faa0914c2d705d98b02a2 b5129cd1de164eb9cbd083e8a2503c4e",
        );
        assert_eq!(block(&rfc_key(), [1, 0x0900_0000, 0x4a00_0000, 0]), *expected);
    }

    /// Section 2.4.2.
    #[test]
    fn the_key_stream_is_that_of_the_rfc() {
        let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let stream = [1, 2].map(|counter| block(&rfc_key(), [counter, 0, 0x4a00_0000, 0])).concat();
        let encrypted: Vec<u8> = text.iter().zip(stream).map(|(x, y)| x ^ y).collect();
        let expected = bytes(
            "6e2e359a2568f98041ba0728dd0d6981 e97e7aec1d4360c20a27afccfd9fae0b
             f91b65c5524733ab8f593dabcd62b357 1639d624e65152ab8f530c359f0861d8
             07ca0dbf500d6a6156a38e088a22b65e 52bc514d16ccf806818ce91ab7793736
             5af90bbf74a35be6b40b8eedf2785e42 874d",
        );
        assert_eq!(encrypted, expected);
    }

    /// The words of a stream: a counter of 64 bits from 0, and as nonce the role in the upper 16 bits and the index in the lower 48.
    fn stream(key: &[u8; 32], role: Role, index: u64, count: usize) -> Vec<u64> {
        let nonce = (role as u64) << 48 | index;
        let blocks = (0..count.div_ceil(8) as u64).flat_map(|counter| {
            block(key, [counter as u32, (counter >> 32) as u32, nonce as u32, (nonce >> 32) as u32])
        });
        let bytes: Vec<u8> = blocks.collect();
        bytes.chunks(8).take(count).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
    }

    /// Masks, and samples, drawn in one piece and in several.
    #[test]
    fn our_streams_are_those_of_the_cipher() {
        let key = rfc_key();
        for index in [0, 1, 0x4a00_0000, (1 << 48) - 1] {
            let mut masks = vec![0; 1000];
            PublicSeed(key).mask_stream(index).fill_uniform(&mut masks);
            assert_eq!(masks, stream(&key, Role::Mask, index, 1000));
            let mut pieces = PublicSeed(key).mask_stream(index);
            for piece in masks.chunks(7) {
                let mut words = vec![0; piece.len()];
                pieces.fill_uniform(&mut words);
                assert_eq!(words, piece);
            }
            // The seed of samples: its name, and the number.
            let mut seed = *b"samples, not secret v1 >........";
            seed[24..].copy_from_slice(&9_u64.to_le_bytes());
            let (mut samples, expected) =
                (SampleSeed::from_number(9).stream(index), stream(&seed, Role::Sample, index, 20));
            let drawn: Vec<u64> = (0..20).map(|_| samples.uniform()).collect();
            assert_eq!(drawn, expected);
            let mut bits = vec![0; 128];
            SampleSeed::from_number(9).stream(index).fill_binary(&mut bits);
            assert!((0..128).all(|i| bits[i] == (expected[i / 64] >> (i % 64)) & 1));
        }
    }
}

/// SHA-256 of numbers.
fn hash(words: impl IntoIterator<Item = u64>) -> String {
    let mut hash = Sha256::new();
    words.into_iter().for_each(|word| hash.update(word.to_le_bytes()));
    hexadecimal(&hash.finalize())
}

/// The bits of a key, by the phases of ciphertexts whose mask is one number.
fn bits(key: &LweSecretKey) -> Vec<u64> {
    let n = key.dimension().get();
    let of_place = |i: usize| {
        let data = (0..=n).map(|j| u64::from(i == j)).collect();
        key.phase(&LweCiphertext::from_data(data)).wrapping_neg()
    };
    (0..n).map(of_place).collect()
}

/// Which results are the same where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    /// On every backend.
    Everywhere,
    /// In every run with one backend; on others, others.
    OnOneBackend,
}

use Same::{Everywhere, OnOneBackend};

type Answers = Vec<(String, Same, String)>;

/// What is computed with a set from the seed 1: keys, a request of a client, and each step of a server.
fn of_set(literal: ParametersLiteral, tables_bits: u32) -> Answers {
    let parameters = literal.compile().unwrap();
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).unwrap();
    let needs = Needs::default()
        .keyswitch(Node::Lookup)
        .bootstrapping(0)
        .automorphisms(Node::Lookup, 0, 0)
        .relinearization(Node::Arithmetic);
    let keys = client.evaluation_keys(&needs).unwrap();
    let mut answers = Answers::new();
    let mut answer =
        |what: &str, same: Same, hash: String| answers.push((format!("{}: {what}", literal.name), same, hash));

    answer("bits of the small key", Everywhere, hash(bits(&client.lwe_key(Node::Small))));
    answer("bits of the ring's key", Everywhere, hash(bits(&client.lwe_key(Node::Lookup))));
    answer("key switching key", Everywhere, hash(keys.lwe_keyswitch(Node::Lookup).unwrap().to_raw()));
    answer("bootstrapping key", Everywhere, hash(keys.bootstrapping_key(0).unwrap().to_raw().flatten()));
    let server = keys.prepare().unwrap();

    let n = parameters.lookup().size().get() as i64;
    let message = |j: i64| encode(j % (1 << tables_bits), tables_bits + 1).wrapping_add(half_slot(tables_bits));
    let plaintext = Zeroizing::new((0..n).map(message).collect());
    let request = client.encrypt(&[plaintext], &Fields::new("known answers").fingerprint(), 64).unwrap();
    let ciphertext = request.ciphertexts()[0].expand();
    answer("encryption", Everywhere, hash(ciphertext.data().iter().copied()));

    let samples: Vec<LweCiphertext> = (0..8).map(|place| ciphertext.sample_extract(5 * place)).collect();
    let words = |samples: &[LweCiphertext]| hash(samples.iter().flat_map(|sample| sample.data().to_vec()));
    answer("sample extraction", Everywhere, words(&samples));
    let switched = server.keyswitch(Node::Lookup).unwrap().keyswitch(&samples);
    answer("key switch", Everywhere, words(&switched));
    let exponents = switched.iter().flat_map(|sample| {
        let switched = modulus_switch(sample, parameters.lookup().size());
        switched.mask().iter().chain([&switched.body()]).map(|&e| e as u64).collect::<Vec<_>>()
    });
    answer("modulus switch", Everywhere, hash(exponents));
    let values: Vec<u64> = (0..1_i64 << tables_bits).map(|m| encode(m * m, tables_bits + 1)).collect();
    let table = table_accumulator(parameters.lookup().shape, &values);
    answer("table", Everywhere, hash(table.data().iter().copied()));
    let outputs = server.bootstrapping_key(0).unwrap().programmable_bootstrap(&switched, &[&table; 8]);
    answer("bootstrapping", OnOneBackend, words(&outputs));
    // Not the same bits, but the same values, with the noise that is predicted: within eight standard deviations.
    let (shape, gadget) = (parameters.lookup().shape, parameters.bootstraps()[0].gadget);
    let noise = parameters.lookup().noise.variance();
    let bound = 8.0
        * noise::blind_rotation(
            gadget,
            parameters.bootstraps()[0].grouping,
            shape,
            parameters.small().lwe_dimension(),
            noise,
        )
        .std();
    let phases: Vec<u64> = outputs.iter().map(|output| client.phase_of_sample(Node::Lookup, output)).collect();
    let expected = (0..8).map(|place| values[5 * place % values.len()]);
    let largest = errors(&phases, expected).into_iter().fold(0.0_f64, |largest, error| largest.max(error.abs()));
    assert!(largest > 0.0 && largest < bound, "{}: {largest} against {bound}", literal.name);

    // Split gadgets of 32 bits: that another backend rounds a coefficient to other digits has a chance of 2^-23, and happens nowhere here.
    let automorphisms = server.automorphisms(Node::Lookup, 0, 0).unwrap();
    let all = |ciphertext: &GlweCiphertext| hash(ciphertext.data().iter().copied());
    answer("trace", Everywhere, all(&automorphisms.trace(&ciphertext, 1..=n.ilog2())));
    let packed = samples.iter().map(|sample| Some(GlweCiphertext::embed(parameters.lookup().shape, sample))).collect();
    answer("packing", Everywhere, all(&automorphisms.pack(packed)));
    // Of 42 bits: then all sums are exact.
    let (mut rounded, relinearization) = (ciphertext, server.relinearization(Node::Arithmetic).unwrap());
    rounded.round(42);
    let factor = relinearization.factor(&rounded);
    answer("product of ciphertexts", Everywhere, all(&relinearization.multiply(&factor, &factor, 20)));
    answers
}

/// External products of random numbers, N = 4096: of single precision; and of split precision with 30 bits, and with 44, where one
/// coefficient in 3,072 is rounded to another digit on AVX-512 (derived and counted in the test `reference`).
fn of_products() -> Answers {
    let shape = GlweShape::new(1, 4096).unwrap();
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let product = |base_log, levels, precision| {
        let gadget = Gadget::new(base_log, levels, precision).unwrap();
        let mut samples = SampleSeed::from_number(3).stream(u64::from(levels));
        let (mut rows, mut input) = (vec![0; 2 * levels as usize * 8192], vec![0; 8192]);
        samples.fill_uniform(&mut rows);
        samples.fill_uniform(&mut input);
        let ggsw = FourierGgsw::from_raw(&fft, shape, gadget, &rows).unwrap();
        let input = GlweCiphertext::from_raw(shape, &input).unwrap();
        hash(ggsw.external_product(&fft, &input, &mut ggsw.scratch(&fft)).data().iter().copied())
    };
    vec![
        ("external product, single precision".to_owned(), OnOneBackend, product(23, 1, Precision::Single)),
        ("external product, split, 30 bits".to_owned(), Everywhere, product(10, 3, Precision::Split)),
        ("external product, split, 44 bits".to_owned(), OnOneBackend, product(11, 4, Precision::Split)),
    ]
}

fn answers() -> Answers {
    [of_set(TOY, 2), of_set(MESSAGE_2_CARRY_2, 4), of_set(MESSAGE_2_CARRY_2_PAIRS, 4), of_products()].concat()
}

/// With the given number of threads.
fn answers_with(threads: usize) -> Answers {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(answers)
}

/// Of everything that is the same everywhere.
const KNOWN: &[(&str, &str)] = &[
    ("toy: bits of the small key", "bf024b27dc5d5cbf6eec4e5a73dc79253bd77f194960b6f9fcbcbfeb71a3d7c7"),
    ("toy: bits of the ring's key", "2e52ce6f6273f9b56b6109e9760d9733138a0663d182c0a20f9c1bac9e908bf9"),
    ("toy: key switching key", "4fa5c407390221240d416b311181e3d3650e1002ad09c306262589a60bce2ae9"),
    ("toy: bootstrapping key", "b657bc0e7833dc2c6907c8996afc8d62d929d4b3edfc1bbf3f84fcb9b3d97bec"),
    ("toy: encryption", "63ac72ff5cb216cd2b7636e99b9a71d1788c9f99245110aa94406032314bfbd0"),
    ("toy: sample extraction", "88cdd402c044db3b6afbafcd598c1b81286f5d94188713d26acef4f618ac9533"),
    ("toy: key switch", "fd2a9616816c221e64936580d2c251ca45d8c01abd37117b6a6a1b8d7b7ae358"),
    ("toy: modulus switch", "01b879cc1f1d229700dfb563e72ed51d7096962c6b399e4da6670a155c0b64e9"),
    ("toy: table", "d895965ae49bff826ad8f789fd6b799d853971bad384ad07cb07c25660376610"),
    ("toy: trace", "1fe1336f73a0bdd437117c58495ff19712775cbd7db1d0c1e8e1f577a66b11ba"),
    ("toy: packing", "5e8e789fa30a1f2eb52d01e5f11fe97a22662317ebca7abaaa6903d04d14da7c"),
    ("toy: product of ciphertexts", "451f733533d70105941ea7185a8159bb7e55724168f14ee6a9633edbe1bc6cc3"),
    ("message_2_carry_2: bits of the small key", "485c07d33ebfa88829f21a7733a06fb73cab74f15e20692fe090f5505decd108"),
    ("message_2_carry_2: bits of the ring's key", "34f8dde6a3a3b75d5ad424c3ed411392899c7748162ee0dc527ee9259ce16d2f"),
    ("message_2_carry_2: key switching key", "dc376067267b532d6c8cf45140e7337ab3cd02bbba453f1f72a471c5ae6853c0"),
    ("message_2_carry_2: bootstrapping key", "9a41f1bd51efc715c34036767c2858adc2139aa89d0c0e150c8cd27d717eb338"),
    ("message_2_carry_2: encryption", "c8025d70c7e10ddba0c9361db28147c0a5226986dcbdf4ac0458f305a0ce4524"),
    ("message_2_carry_2: sample extraction", "79cdff728b5d4d1ec2b42900e493352575e6dfe6385a35eaae799124da9863c3"),
    ("message_2_carry_2: key switch", "f4ca5fc7518154fe85715d940a69917cb04c72033b504cfa56abf47ade5a53cb"),
    ("message_2_carry_2: modulus switch", "ba8483834e5a66eb714d25e3da19dad9951652e30678f4b3154ff76bb3fd3a73"),
    ("message_2_carry_2: table", "1153bce517e71ab0b4efe35018b64a5697fd3cc47a0041bc79c6b79a888ac359"),
    ("message_2_carry_2: trace", "9a98a7e2d0db6371cb1a8cf34920f7b31363f893f062460790674b0ccde2f33d"),
    ("message_2_carry_2: packing", "4af66c98cbb75d58a19c98366821415a306bae225b36d18ea2fdb781e2cfff22"),
    ("message_2_carry_2: product of ciphertexts", "da1bc8e98ab6261d3e075ac32c42b30018f0696802063b1ef1326bae77b0f6cc"),
    (
        "message_2_carry_2_pairs: bits of the small key",
        "c99bdb8f88bbfa350003ac4b16fd75abada988c19a6bcf7079097b1561475c63",
    ),
    (
        "message_2_carry_2_pairs: bits of the ring's key",
        "905886f9d10a2481e566e5b91e5359c53cfbe316bc0925c963334d2abea48881",
    ),
    ("message_2_carry_2_pairs: key switching key", "9e9da5d66d9f7473504ff485eae1832f1667619e35549b696b5f9f78793f697f"),
    ("message_2_carry_2_pairs: bootstrapping key", "60725eb372943b3695da90db1ec58860f5df043eaf8d9140e7236caeaa5b8645"),
    ("message_2_carry_2_pairs: encryption", "50900baf8bf56f495a2c4dceb2298ea54d547c7b1cbabe85d51a152e4aad0a70"),
    ("message_2_carry_2_pairs: sample extraction", "525501d1491eab19aa9140d463f89768874a2afa8a9e08bd69f7311cfb98097a"),
    ("message_2_carry_2_pairs: key switch", "829cd6bc57972ef44c02ff020e8d0114e5e377a7504724ce11ff5551a840a459"),
    ("message_2_carry_2_pairs: modulus switch", "bf37b06307aa5e3bf12e88caa9f8ece7feae4c9cbab6c70432edfeb2e714c548"),
    ("message_2_carry_2_pairs: table", "1153bce517e71ab0b4efe35018b64a5697fd3cc47a0041bc79c6b79a888ac359"),
    ("message_2_carry_2_pairs: trace", "2f678f85ec0d2fce7c9f0323b6d7a2164df9b226923da9e2c00a6139b1c4d784"),
    ("message_2_carry_2_pairs: packing", "909c54d1d4ebb2db04dfe59bbe805207be02537b7ad53fd2e134bceee12388bc"),
    (
        "message_2_carry_2_pairs: product of ciphertexts",
        "0cf1e194e3c782d78edcdb0655330c34cd57ceb48adc0968d6110102338cea27",
    ),
    ("external product, split, 30 bits", "bb182fa4afca4c2a861c152b796f60f01c3e9f2fbe896fa0d22afbcd78e66dfc"),
];

/// On the selected backend: twice the same, with one thread and with two; and what is the same everywhere is what it was.
#[test]
fn answers_are_what_they_were() {
    let (answers, again) = (answers_with(1), answers_with(2));
    println!();
    answers.iter().for_each(|(what, _, hash)| println!("answer | {what} | {hash}"));
    assert_eq!(answers, again, "with one thread, and with two");
    let everywhere: BTreeMap<&str, &str> =
        answers.iter().filter(|(_, same, _)| *same == Everywhere).map(|(what, _, hash)| (&**what, &**hash)).collect();
    assert_eq!(everywhere, KNOWN.iter().copied().collect());
}

/// The test above, in a process for each backend that this CPU has: what is not the same everywhere is indeed another, so that nobody
/// relies on it.
#[test]
fn backends_have_the_answers_in_common_that_they_should() {
    let of_backend = |backend: Backend| -> BTreeMap<String, String> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "answers_are_what_they_were", "--nocapture"]).env(BACKEND_VARIABLE, backend.name());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{backend}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let line = |line: &str| {
            let (what, hash) = line.strip_prefix("answer | ")?.rsplit_once(" | ")?;
            Some((what.to_owned(), hash.to_owned()))
        };
        text.lines().filter_map(line).collect()
    };
    let backends: Vec<Backend> = Backend::available().collect();
    let all: Vec<BTreeMap<String, String>> = backends.iter().map(|&backend| of_backend(backend)).collect();
    for what in all[0].keys() {
        let different: BTreeSet<&String> = all.iter().map(|answers| &answers[what]).collect();
        println!("{what}: {} results on {backends:?}", different.len());
        let known = KNOWN.iter().any(|(name, _)| name == what);
        if known {
            assert_eq!(different.len(), 1, "{what}: {different:?}");
        } else if backends.contains(&Backend::Avx512) {
            assert!(different.len() > 1, "{what} is the same on {backends:?}");
        }
    }
}
