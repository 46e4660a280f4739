//! Files of quantized attention: what is loaded is what was saved, and what is damaged is an error.

use nn::Error;
use nn::attention::{AttentionWeights, Linear, Part};
use nn::integer::{IntegerAttention, IntegerOptions};
use nn::matrix::Matrix;
use nn::packed::{PackedAttention, PackedOptions};
use nn::record::{AttentionFingerprint, AttentionOrigin, BlocksOrigin, Options, Origin, Quantized, QuantizedFile};
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;

fn layer(size: usize, heads: usize, seed: f32) -> AttentionWeights {
    let linear = |cols: usize, step: f32| {
        let weight = Matrix::from_fn(size, cols, |row, col| (7.0 * row as f32 + step * col as f32 + seed).sin() / 2.0);
        Linear::new(weight, (0..cols).map(|col| (col as f32 + seed).cos() / 10.0).collect()).unwrap()
    };
    AttentionWeights::new(linear(3 * size, 5.0), heads).unwrap().with_output(linear(size, 3.0)).unwrap()
}

fn quantize(
    weights: &AttentionWeights,
    layer: usize,
    part: Part,
    hidden: &Matrix<f32>,
    options: Options,
) -> QuantizedFile {
    let inputs = std::slice::from_ref(hidden);
    let attention = match &options {
        Options::Exact(options) => {
            Quantized::Exact(Box::new(IntegerAttention::calibrate(weights, part, inputs, options).unwrap()))
        }
        Options::Packed(options) => {
            Quantized::Packed(Box::new(PackedAttention::calibrate(weights, part, inputs, options).unwrap()))
        }
    };
    QuantizedFile::new(attention, Origin::Attention(AttentionOrigin { layer, part, options })).unwrap()
}

fn read(bytes: Vec<u8>) -> Result<QuantizedFile, Error> {
    QuantizedFile::from_bytes("the test", bytes)
}

fn input(tokens: usize, size: usize, seed: f32) -> Matrix<f32> {
    Matrix::from_fn(tokens, size, |row, col| (3.0 * row as f32 + 2.0 * col as f32 + seed).cos())
}

fn files() -> impl Strategy<Value = QuantizedFile> {
    let options = prop_oneof![
        (2_u32..=8, 6_u32..=10)
            .prop_map(|(bits, msbs)| Options::Exact(IntegerOptions { msbs, ..IntegerOptions::new(bits) })),
        (2_u32..=8, 2_u32..=8, 1.0_f64..4.0).prop_map(|(bits, value_bits, guard)| {
            Options::Packed(PackedOptions { value_bits, guard, ..PackedOptions::new(bits) })
        }),
    ];
    let part = prop_oneof![Just(Part::Whole), (0_usize..2).prop_map(Part::Head)];
    (options, part, 1_usize..5, 1_usize..4, 0_usize..50, 0.0_f32..6.0).prop_map(
        |(options, part, tokens, half, layer_index, seed)| {
            let weights = layer(2 * half, 2, seed);
            quantize(&weights, layer_index, part, &input(tokens, 2 * half, seed), options)
        },
    )
}

/// The file of a packed head: about three kilobytes.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let file = quantize(&layer(4, 2, 0.5), 0, Part::Head(0), &input(2, 4, 0.5), Options::Packed(PackedOptions::new(4)));
    file.to_bytes().unwrap()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_read_is_what_was_written(file in files()) {
        let bytes = file.to_bytes().unwrap();
        let loaded = read(bytes.clone()).unwrap();
        prop_assert_eq!(&loaded, &file);
        prop_assert_eq!(loaded.to_bytes().unwrap(), bytes);
        // Each half alone, and both in either order.
        let server = read(file.server_half().to_bytes().unwrap()).unwrap();
        let client = read(file.client_half().to_bytes().unwrap()).unwrap();
        prop_assert!(server.client().is_none() && client.server().is_none());
        prop_assert_eq!([server.fingerprint(), client.fingerprint()], [file.fingerprint(); 2]);
        prop_assert!(server.clone().into_quantized().is_err() && client.clone().into_quantized().is_err());
        prop_assert_eq!(&server.clone().join(client.clone()).unwrap(), &file);
        prop_assert_eq!(&client.join(server).unwrap(), &file);
    }

    #[test]
    fn a_file_cut_short_is_an_error(length in any::<prop::sample::Index>()) {
        let length = length.index(BYTES.len());
        let is_malformed = matches!(read(BYTES[..length].to_vec()), Err(Error::Malformed { .. }));
        prop_assert!(is_malformed);
    }

    /// Every bit of a file is part of a digest, of the fingerprint, or of what says where these are.
    #[test]
    fn a_changed_byte_is_an_error(at in any::<prop::sample::Index>(), change in 1_u8..) {
        let mut bytes = BYTES.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        match read(bytes) {
            Err(error) => {
                let is_malformed = matches!(error, Error::Malformed { .. });
                prop_assert!(is_malformed, "{}", error);
            }
            // The header is JSON, in which spaces mean nothing.
            Ok(file) => prop_assert_eq!(file, read(BYTES.clone()).unwrap()),
        }
    }
}

#[test]
fn halves_of_different_attentions_do_not_join() {
    let (weights, hidden) = (layer(4, 2, 0.0), input(3, 4, 0.0));
    let quantize = |layer, head, bits| {
        quantize(&weights, layer, Part::Head(head), &hidden, Options::Packed(PackedOptions::new(bits)))
    };
    let file = quantize(0, 0, 5);
    for other in [quantize(1, 0, 5), quantize(0, 1, 5), quantize(0, 0, 6)] {
        let error = file.server_half().join(other.client_half()).unwrap_err().to_string();
        assert!(error.contains(&file.fingerprint().to_string()), "{error}");
        assert!(error.contains(&other.fingerprint().to_string()), "{error}");
    }
    let error = file.server_half().into_quantized().unwrap_err().to_string();
    assert_eq!(error, "the client's half is missing; it must be there, in this file or in another");
}

#[test]
fn the_client_needs_no_weights() {
    let file = quantize(&layer(64, 2, 0.0), 0, Part::Whole, &input(4, 64, 0.0), Options::Packed(PackedOptions::new(5)));
    let folder = tempfile::tempdir().unwrap();
    let [server, client] = ["server", "client"].map(|name| folder.path().join(name));
    file.server_half().write(&server).unwrap();
    file.client_half().write(&client).unwrap();
    let length = |path: &std::path::Path| std::fs::metadata(path).unwrap().len();
    // 2·2·64·64 weights of values and half as many of queries and keys; six numbers of 8 bytes for each channel.
    assert!((24_000..32_000).contains(&length(&server)), "{}", length(&server));
    assert!((3072..5120).contains(&length(&client)), "{}", length(&client));
    assert_eq!(QuantizedFile::read(&server).unwrap().join(QuantizedFile::read(&client).unwrap()).unwrap(), file);
    assert!(matches!(QuantizedFile::read(&folder.path().join("absent")), Err(Error::File { .. })));
    assert!(matches!(file.write(folder.path()), Err(Error::File { .. })));
}

/// Files as the first program of their version wrote them: a head and a whole attention of either circuit, of two heads of size 2; and blocks of
/// two heads of size 4, two whole ones with a public token and logits, and two with the options of wide ones.
#[test]
fn files_of_this_version_stay_readable() {
    for (name, fingerprint) in [
        ("exact-head-v1", "db1fde213ece4820ec7e1fe70a0ef108ea8dc74a46da33fbc362c88caaf152b5"),
        ("packed-head-v2", "125244030198fa2bfa025b6b6ecf528ff2bbc8b3dfdd91c07774f7372af308a5"),
        ("exact-whole-v1", "e6c8952509ddae833213cce392ca6beeace2fb47ac0898f030a4272f29612712"),
        ("packed-whole-v2", "ca989abb722c51baa532640389f3e0808e519fab48611b4a3286fa1f1fa76a2a"),
        ("blocks-v3", "a9fe320dc10f789352ac00985c76ac08adc8e54ae1632d5291013a41578cab87"),
        ("blocks-wide-v3", "28ea7d9a09fa7d93afa2321adb1dc68d62b6e1701377a5f290c7a40acc64d748"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.safetensors"));
        let file = QuantizedFile::read(&path).unwrap();
        let place = match *file.origin() {
            Origin::Attention(AttentionOrigin { layer, .. }) => layer..layer + 1,
            Origin::Blocks(BlocksOrigin { first, blocks, .. }) => first..first + blocks,
        };
        let expected = if name.starts_with("blocks") { 0..2 } else { 1..2 };
        assert_eq!((file.fingerprint().to_string().as_str(), place), (fingerprint, expected), "{name}");
        assert_eq!(file.to_bytes().unwrap(), std::fs::read(&path).unwrap(), "{name}");
        if let Quantized::Blocks(model) = file.into_quantized().unwrap() {
            assert_eq!(AttentionFingerprint::of_blocks(&model).to_string(), fingerprint);
        }
    }
}

#[test]
fn files_of_an_earlier_version_are_refused_by_name() {
    for (name, version, read) in
        [("blocks-v1", 1, "version 3"), ("blocks-v2", 2, "version 3"), ("packed-head-v1", 1, "version 2")]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.safetensors"));
        let error = QuantizedFile::read(&path).unwrap_err().to_string();
        let expected = format!("it has version {version} of its format, and this program reads {read}; make it again");
        assert!(error.contains(&expected), "{error}");
    }
}
