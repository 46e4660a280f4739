use super::*;
use crate::attention::{AttentionWeights, Linear, Part};
use crate::block::{BlockOptions, BlockPart, BlocksClient, StreamProgram, tiny};
use crate::clear::ClearEvaluator;
use crate::evaluator::{BlockEvaluator, Form};
use crate::integer::{IntegerAttention, IntegerOptions};
use crate::matrix::Matrix;
use crate::packed::{PackedAttention, PackedOptions};
use crate::record::{AttentionOrigin, Options};
use proptest::prelude::*;
use safetensors::Dtype;
use std::sync::LazyLock;

/// E of the layer; it has two heads.
const SIZE: usize = 8;

fn hidden(tokens: usize) -> Matrix<f32> {
    Matrix::from_fn(tokens, SIZE, |row, col| ((3 * row + 2 * col) as f32).cos())
}

/// One head and the whole attention, of both circuits; and blocks.
static FILES: LazyLock<Vec<QuantizedFile>> = LazyLock::new(|| {
    let linear = |cols: usize, step: usize| {
        let weight = Matrix::from_fn(SIZE, cols, |row, col| ((7 * row + step * col) as f32).sin() / 2.0);
        Linear::new(weight, (0..cols).map(|col| (col as f32).cos() / 10.0).collect()).unwrap()
    };
    let weights = AttentionWeights::new(linear(3 * SIZE, 5), 2).unwrap().with_output(linear(SIZE, 3)).unwrap();
    let (exact, packed) = (IntegerOptions::new(4), PackedOptions::new(5));
    let mut files = Vec::new();
    for part in [Part::Head(1), Part::Whole] {
        let head = IntegerAttention::calibrate(&weights, part, &[hidden(3)], &exact).unwrap();
        let attention = PackedAttention::calibrate(&weights, part, &[hidden(3)], &packed).unwrap();
        for (attention, options) in [
            (Quantized::Exact(Box::new(head)), Options::Exact(exact)),
            (Quantized::Packed(Box::new(attention)), Options::Packed(packed)),
        ] {
            files.push(
                QuantizedFile::new(attention, Origin::Attention(AttentionOrigin { layer: 2, part, options })).unwrap(),
            );
        }
    }
    files.extend(tiny::programs().into_iter().map(|model| QuantizedFile::of_blocks(model).unwrap()));
    files
});

/// How many of them are of attention.
const OF_ATTENTION: usize = 4;

fn evaluate(file: QuantizedFile, hidden: &Matrix<f32>) -> Result<Matrix<f32>, Error> {
    match file.into_quantized()? {
        Quantized::Exact(head) => head.evaluate_clear(hidden),
        Quantized::Packed(attention) => attention.evaluate_clear(hidden),
        Quantized::Blocks(model) => model.evaluate_clear(&mut ClearEvaluator::new(), hidden),
    }
}

fn records(file: &QuantizedFile) -> [Option<NamedTensors>; 2] {
    [file.server().map(ServerHalf::to_tensors), file.client().map(ClientHalf::to_tensors)]
}

/// A record of which one tensor is another, or gone.
fn changed(
    record: &NamedTensors,
    at: prop::sample::Index,
    change: impl FnOnce(RawTensor) -> Option<RawTensor>,
) -> NamedTensors {
    let at = at.index(record.tensors().count());
    let (name, tensor) = record.tensors().nth(at).unwrap();
    let mut changed = NamedTensors::default();
    for (other, tensor) in record.tensors().filter(|(other, _)| *other != name) {
        changed.insert(other, tensor.clone()).unwrap();
    }
    if let Some(tensor) = change(tensor.clone()) {
        changed.insert(name, tensor).unwrap();
    }
    changed
}

/// Types of one size, of those that are read and of others.
const TYPES: [Dtype; 5] = [Dtype::I8, Dtype::U8, Dtype::F64, Dtype::I64, Dtype::F32];

/// One change of a tensor.
#[derive(Clone, Debug)]
enum Change {
    /// Other bytes in one place.
    Bytes(prop::sample::Index, Vec<u8>),
    /// The shape of as many entries in another order, or in one dimension.
    Shape(bool),
    /// Fewer entries.
    Shorter,
    /// Another type of the same size.
    Type(Dtype),
    Missing,
}

impl Change {
    fn apply(self, mut tensor: RawTensor) -> Option<RawTensor> {
        match self {
            Self::Bytes(at, bytes) => {
                let at = at.index(tensor.bytes.len());
                tensor.bytes[at..].iter_mut().zip(bytes).for_each(|(byte, other)| *byte = other);
            }
            Self::Shape(true) => tensor.shape.reverse(),
            Self::Shape(false) => tensor.shape = vec![tensor.shape.iter().product()],
            Self::Shorter => {
                let first = tensor.shape.first_mut().filter(|first| **first > 1)?;
                let row = tensor.bytes.len() / *first;
                *first -= 1;
                tensor.bytes.truncate(tensor.bytes.len() - row);
            }
            Self::Type(dtype) if dtype.bitsize() == tensor.dtype.bitsize() => tensor.dtype = dtype,
            Self::Type(_) | Self::Missing => return None,
        }
        Some(tensor)
    }
}

fn change() -> impl Strategy<Value = Change> {
    let extreme = prop::sample::select(vec![vec![0xff; 8], vec![0; 8], vec![0x7f; 8], vec![0, 0, 0, 0, 0, 0, 0, 128]]);
    let bytes = prop_oneof![extreme, prop::collection::vec(any::<u8>(), 1..9)];
    prop_oneof![
        8 => (any::<prop::sample::Index>(), bytes).prop_map(|(at, bytes)| Change::Bytes(at, bytes)),
        1 => any::<bool>().prop_map(Change::Shape),
        1 => Just(Change::Shorter),
        1 => prop::sample::select(TYPES.to_vec()).prop_map(Change::Type),
        1 => Just(Change::Missing),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Contents that nobody calibrated, with digests that fit: an error, or an attention that can be computed.
    #[test]
    fn no_contents_make_an_evaluator_panic(
        index in 0..FILES.len(),
        of_server in prop::bool::weighted(0.8),
        at in any::<prop::sample::Index>(),
        change in change(),
    ) {
        let file = &FILES[index];
        let mut records = records(file);
        let record = records[usize::from(!of_server)].as_mut().unwrap();
        *record = changed(record, at, |tensor| change.apply(tensor));
        if let Ok(file) = QuantizedFile::from_records(file.origin, file.digests, &records) {
            // Blocks may answer of the last token only, and files may say so that did not.
            let output = evaluate(file, &hidden(3)).unwrap();
            prop_assert!(matches!(output.rows(), 1 | 3));
        }
    }
}

#[test]
fn contents_are_checked_number_by_number() {
    let real = |value: f64| (Dtype::F64, value.to_le_bytes().to_vec());
    let integer = |value: i64| (Dtype::I64, value.to_le_bytes().to_vec());
    for (index, half, name, (dtype, entry), what) in [
        (0, 0, "input_bits", integer(40), "inconsistent"),
        (0, 0, "accumulator_bits", integer(1), "inconsistent"),
        (0, 0, "weight", integer(100), "inconsistent"),
        (0, 0, "table_of_channel", integer(1000), "missing"),
        (0, 0, "factors", integer(1), "inconsistent"),
        (0, 0, "factors", integer(64), "inconsistent"),
        (0, 0, "table_values", integer(1 << 41), "at most 2^40"),
        (0, 0, "table_values", integer(1 << 40), "inconsistent"),
        (2, 0, "input_bits", integer(1), "inconsistent"),
        (2, 0, "input_bits", integer(-1), "a u32"),
        (2, 0, "accumulator_bits", integer(25), "inconsistent"),
        (2, 0, "factors", integer(1), "inconsistent"),
        (2, 0, "max_tokens", integer(0), "in 1 ..= 1024"),
        (2, 0, "max_tokens", integer(5000), "in 1 ..= 1024"),
        (2, 0, "max_tokens", integer(2), "the server's"),
        (2, 0, "output.weight", integer(100), "inconsistent"),
        (2, 0, "output.bias", integer(i64::MIN), "inconsistent"),
        (2, 0, "output.sum_bits", integer(2), "inconsistent"),
        (2, 0, "output.sum_bits", integer(41), "inconsistent"),
        (2, 1, "levels", integer(8), "2^(bits−1) − 1"),
        (2, 1, "scale", real(0.0), "greater than 0"),
        (2, 1, "output_scale", real(f64::INFINITY), "must be finite"),
        (2, 1, "embedding_size", integer(9), "the server's"),
        (3, 0, "input_levels", integer(128), "in 1 ..= 127"),
        (3, 0, "input_levels", integer(7), "of 5 bits"),
        (3, 0, "max_tokens", integer(65), "in 1 ..= 64"),
        (3, 0, "output_limit", real(-1.0), "greater than 0"),
        (3, 0, "output_limit", real(1e300), "from 1 to 2^53"),
        (3, 0, "output_limit", real(1e-310), "from 1 to 2^53"),
        (3, 0, "log_modulus", integer(33), "in 8 ..= 32"),
        (3, 0, "headroom", real(1.0), "between 0 and 1"),
        (3, 0, "headroom", real(0.9), "room for noise"),
        (3, 0, "score_turn", real(0.0), "greater than 0"),
        (3, 0, "score_turn", real(1e300), "2^-32 to 2^32"),
        (3, 0, "difference_limit", real(1e9), "a quarter of a turn"),
        (3, 0, "value_norm", real(-1.0), "from 0 to 2^53"),
        (3, 0, "value_norm", real(f64::NAN), "must be finite"),
        (3, 1, "levels", integer(0), "in 1 ..= 127"),
        (3, 1, "max_tokens", integer(-3), "a usize"),
        (3, 1, "output_parts", integer(0), "in 1 ..= 4"),
        (3, 1, "output_parts", integer(5), "in 1 ..= 4"),
        (3, 1, "output_parts", integer(1), "the server's"),
    ] {
        let file: &QuantizedFile = &FILES[index];
        let mut records = records(file);
        let record = records[half].as_mut().unwrap();
        let shape = record.tensors().find(|(other, _)| *other == name).unwrap().1.shape.clone();
        let bytes = entry.repeat(shape.iter().product());
        record.insert(name, RawTensor { dtype, shape, bytes }).unwrap();
        let error = QuantizedFile::from_records(file.origin, file.digests, &records).unwrap_err().to_string();
        assert!(error.contains(what), "{name}: {error:?} without {what:?}");
    }
}

/// A table with more values than a lookup reads, which no calibration gives, is an error where it is read.
#[test]
fn tables_that_no_lookup_reads_are_refused() {
    let file = &FILES[0];
    let mut records = records(file);
    let record = records[0].as_mut().unwrap();
    let (length, count) = (record.shape::<1>("table_values").unwrap()[0], record.shape::<2>("tables").unwrap()[0]);
    let mut ranges: Vec<i64> = record.integers("tables", &[count, 3]).unwrap();
    let mut values: Vec<i64> = record.integers("table_values", &[length]).unwrap();
    let last = &mut ranges[3 * (count - 1)..];
    let own = 1 << (last[1] - last[2]);
    (last[1], last[2]) = (11, 0);
    values.resize(values.len() - own + (1 << 11), 0);
    record.set_integers("tables", &[count, 3], ranges);
    let length = values.len();
    record.set_integers("table_values", &[length], values);
    let error = QuantizedFile::from_records(file.origin, file.digests, &records).unwrap_err().to_string();
    assert!(error.contains("the bits that index a lookup table"), "{error}");
}

#[test]
fn another_origin_is_an_error() {
    for (index, file) in FILES[..OF_ATTENTION].iter().enumerate() {
        let attention = file.clone().into_quantized().unwrap();
        let Origin::Attention(origin) = file.origin else { panic!("an attention") };
        let new = |change: fn(&mut AttentionOrigin)| {
            let mut origin = origin;
            change(&mut origin);
            QuantizedFile::new(attention.clone(), Origin::Attention(origin))
        };
        assert_eq!(&new(|_| {}).unwrap(), file);
        let others: [fn(&mut AttentionOrigin); 4] = [
            |origin| {
                origin.part = match origin.part {
                    Part::Head(_) => Part::Whole,
                    Part::Whole => Part::Head(0),
                }
            },
            |origin| {
                origin.options = match origin.options {
                    Options::Exact(_) => Options::Packed(PackedOptions::new(5)),
                    Options::Packed(_) => Options::Exact(IntegerOptions::new(4)),
                }
            },
            |origin| match &mut origin.options {
                Options::Exact(options) => options.bits = 5,
                Options::Packed(options) => options.input_bits = 6,
            },
            |origin| match &mut origin.options {
                Options::Exact(options) => options.bits = 0,
                Options::Packed(options) => options.input_bits = u32::MAX,
            },
        ];
        others.into_iter().for_each(|other| assert!(new(other).is_err(), "{index}"));
    }
}

#[test]
fn what_is_not_of_the_format_is_an_error() {
    let file = &FILES[1];
    let good = || Header {
        version: file.origin.version(),
        origin: file.origin,
        server: file.digests[0],
        client: file.digests[1],
        fingerprint: file.fingerprint(),
    };
    let error = |header: Header, records: &[Option<NamedTensors>; 2]| {
        let bytes = encode(&header, records).unwrap();
        QuantizedFile::from_bytes("the test", bytes).unwrap_err().to_string()
    };
    let records = records(file);
    let (own, any) = (file.origin.version(), "version 1 of an exact attention, 2 of a packed one, and 3 of blocks;");
    for (version, read) in [(3, format!("version {own};")), (3 - own, format!("version {own};")), (4, any.to_owned())] {
        let error = error(Header { version, ..good() }, &records);
        assert!(
            error.contains(&format!("it has version {version} of its format, and this program reads {read}")),
            "{error}"
        );
    }
    assert!(error(Header { fingerprint: file.digests[0], ..good() }, &records).contains("its fingerprint"));
    assert!(error(good(), &[None, None]).contains("the number of halves is 0"));
    let mut more = records.clone();
    more[1].as_mut().unwrap().set_integers("other", &[], [1]);
    assert!(error(good(), &more).contains("its client's half was changed"));

    let tensor = TensorView::new(Dtype::I8, vec![1], &[1]).unwrap();
    let bytes = |name: &str, metadata: Option<&str>| {
        let metadata = metadata.map(|text| HashMap::from([(KEY.to_owned(), text.to_owned())]));
        safetensors::serialize([(name, &tensor)], metadata).unwrap()
    };
    let header = serde_json::to_string(&good()).unwrap();
    for (name, metadata, what) in [
        ("server.x", None, "not a quantized attention"),
        ("server.x", Some("{"), "is damaged"),
        ("server.x", Some(r#"{"version":1}"#), "is damaged"),
        ("other", Some(&header), "tensor \"other\""),
    ] {
        let error = QuantizedFile::from_bytes("the test", bytes(name, metadata)).unwrap_err().to_string();
        assert!(error.starts_with("the test is not usable") && error.contains(what), "{error}");
    }
}

#[test]
fn fingerprints_are_hexadecimal() {
    let fingerprint = FILES[0].fingerprint();
    assert_eq!(AttentionFingerprint::try_from(fingerprint.to_string()).unwrap(), fingerprint);
    for text in ["", "12", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
        assert!(AttentionFingerprint::try_from(text.to_owned()).is_err(), "{text}");
    }
}

/// What is calibrated of the tiny model, with any options.
fn blocks() -> impl Strategy<Value = ModelProgram> {
    let part =
        prop_oneof![2 => Just(BlockPart::Whole), 1 => Just(BlockPart::Attention), 1 => Just(BlockPart::FeedForward)];
    let bits = (4_u32..=12, 3_u32..=8, prop::option::of(2_u32..=10), 3_u32..=10);
    let options = (bits, 1.0_f64..4.0, any::<bool>(), -24.0_f64..-16.0);
    let options = options.prop_map(|((weight_bits, key_bits, query_bits, factor_bits), guard, pairs, log_unit)| {
        BlockOptions { log_unit, weight_bits, key_bits, query_bits, factor_bits, guard, pairs }
    });
    (part, options, 0_usize..3, 0_usize..2)
        .prop_map(|(part, options, prefix, first)| tiny::program(first..tiny::LAYERS, part, prefix, &options))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Blocks of any options come back as they were, each half by itself, with one fingerprint, and compute the same bits.
    #[test]
    fn blocks_are_kept_to_the_last_bit(model in blocks()) {
        let file = QuantizedFile::of_blocks(model.clone()).unwrap();
        let bytes = file.to_bytes().unwrap();
        let loaded = QuantizedFile::from_bytes("the test", bytes.clone()).unwrap();
        prop_assert_eq!(&loaded, &file);
        prop_assert_eq!(loaded.to_bytes().unwrap(), bytes);
        let [server, client] = [file.server_half(), file.client_half()]
            .map(|half| QuantizedFile::from_bytes("a half", half.to_bytes().unwrap()).unwrap());
        prop_assert_eq!([server.fingerprint(), client.fingerprint()], [AttentionFingerprint::of_blocks(&model); 2]);
        let (Some(ServerHalf::Blocks(program)), Some(ClientHalf::Blocks(client))) = (server.server(), client.client()) else {
            panic!("halves of blocks")
        };
        let run = |program: &StreamProgram, client: &BlocksClient| {
            let turns = client.encode(&hidden(3)).unwrap();
            let evaluator = &mut ClearEvaluator::new();
            let stream = evaluator.known((0..3).map(|row| turns.row(row).to_vec()).collect(), Form::Features);
            let mut caches = program.caches(evaluator);
            let Ok(answer) = program.answer(evaluator, stream, &mut caches);
            answer.rows().iter().flatten().map(|number| number.to_bits()).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(program, client), run(model.program(), model.client()));
    }
}

/// A tensor that nothing reads, or one of a wider type than it needs, has a digest that is right, and is refused all the same.
#[test]
fn other_tensors_of_the_same_half_are_refused() {
    let file = &FILES[OF_ATTENTION];
    let [server, client] = records(file).map(Option::unwrap);
    let with = |change: fn(&mut NamedTensors)| {
        let mut server = server.clone();
        change(&mut server);
        let digests = [&server, &client].map(|record| AttentionFingerprint(record.digest()));
        let fingerprint = AttentionFingerprint::of(&file.origin, &digests);
        let header = Header {
            version: file.origin.version(),
            origin: file.origin,
            server: digests[0],
            client: digests[1],
            fingerprint,
        };
        QuantizedFile::from_bytes("the test", encode(&header, &[Some(server), Some(client.clone())]).unwrap())
    };
    assert_eq!(&with(|_| {}).unwrap(), file);
    let others: [fn(&mut NamedTensors); 3] = [
        |server| server.set_integer("other", 1),
        |server| server.set_integers("blocks.7.attention.update.terms", &[1, 3], [0, 0, 1]),
        |server| {
            let bytes = 9_i64.to_le_bytes().to_vec();
            server.insert("channels", RawTensor { dtype: Dtype::I64, shape: Vec::new(), bytes }).unwrap();
        },
    ];
    for other in others {
        let error = with(other).unwrap_err().to_string();
        assert!(error.contains("server's half are not as this program writes them"), "{error}");
    }
}

/// Files of one thing are not halves of another, and an origin says which they are.
#[test]
fn blocks_and_attention_do_not_join() {
    let (attention, blocks) = (&FILES[1], &FILES[OF_ATTENTION]);
    assert!(attention.server_half().join(blocks.client_half()).is_err());
    let (server, client) = (blocks.server.clone().unwrap(), attention.client.clone().unwrap());
    assert!(server.check_client(&client).unwrap_err().to_string().contains("another circuit"));
    assert!(attention.server.as_ref().unwrap().check_client(blocks.client.as_ref().unwrap()).is_err());
    for (origin, records) in [(attention.origin, records(blocks)), (blocks.origin, records(attention))] {
        assert!(QuantizedFile::from_records(origin, blocks.digests, &records).is_err());
    }
    let quantized = blocks.clone().into_quantized().unwrap();
    assert!(QuantizedFile::new(quantized.clone(), attention.origin).is_err());
    let Origin::Blocks(origin) = blocks.origin else { panic!("blocks") };
    let others: [fn(&mut BlocksOrigin); 4] = [
        |origin| origin.first += 1,
        |origin| origin.blocks += 1,
        |origin| origin.part = BlockPart::Attention,
        |origin| origin.options.key_bits += 1,
    ];
    for other in others {
        let mut changed = origin;
        other(&mut changed);
        assert!(QuantizedFile::new(quantized.clone(), Origin::Blocks(changed)).is_err());
    }
    let mut unusual = origin;
    unusual.options.key_bits = 99;
    let error = QuantizedFile::from_records(Origin::Blocks(unusual), blocks.digests, &records(blocks)).unwrap_err();
    assert!(error.to_string().contains("in 2 ..= 8"), "{error}");
}
