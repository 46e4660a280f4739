//! Files of weights, good and bad.

use nn::Error;
use nn::checkpoint::{Checkpoint, write_tensors};
use nn::tensor::Tensor;
use proptest::prelude::*;

/// A safetensors file of one tensor.
fn file(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!(r#"{{"h.0.x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{}]}}}}"#, data.len());
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn read(bytes: Vec<u8>) -> Result<Tensor, Error> {
    Checkpoint::from_bytes("weights", bytes)?.tensor("h.0.x")
}

#[test]
fn every_float_type_becomes_f32() {
    let values = [1.5_f32, -0.25];
    let f32s: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let f16s: Vec<u8> = values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
    let bf16s: Vec<u8> = values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect();
    for (dtype, bytes) in [("F32", f32s), ("F16", f16s), ("BF16", bf16s)] {
        let tensor = read(file(dtype, "[2,1]", &bytes)).unwrap();
        assert_eq!((tensor.shape(), tensor.data()), (&[2, 1][..], &values[..]), "{dtype}");
    }
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let tensor = Tensor::new(vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    write_tensors(&path, &[("transformer.a", &tensor)], &[("n_head", "2")]).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!((checkpoint.names(), checkpoint.metadata("n_head")), (vec!["transformer.a".to_string()], Some("2")));
    assert!(checkpoint.contains("a") && checkpoint.contains("transformer.a"));
    assert_eq!(checkpoint.tensor("a").unwrap(), tensor);
    let nowhere = folder.path().join("absent/x.safetensors");
    assert!(matches!(write_tensors(&nowhere, &[("a", &tensor)], &[]), Err(Error::File { action: "write", .. })));
    assert!(matches!(Checkpoint::open(nowhere), Err(Error::File { action: "open", .. })));
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let one = 1.0_f32.to_le_bytes();
    let whole = file("F32", "[1]", &one);
    let message = |bytes: Vec<u8>| read(bytes).unwrap_err().to_string();
    assert!(message(vec![]).contains("0 bytes, too few"));
    assert!(message(whole[..whole.len() - 1].to_vec()).contains("its header describes"));
    assert!(message(whole[..20].to_vec()).contains("truncated or not a safetensors file"));
    assert!(message(vec![b'x'; 100]).contains("truncated or not a safetensors file"));
    assert!(message([&8_u64.to_le_bytes()[..], b"not json"].concat()).contains("header is not that of"));
    assert!(message(file("F32", "[2]", &one)).contains("header is not that of"));
    assert!(message(file("F32", "[4611686018427387904,4]", &one)).contains("header is not that of"));
    assert!(message(file("I32", "[1]", &one)).contains("f64, f32, f16 or bf16 is needed"));
    assert!(message(file("F32", "[1]", &f32::NAN.to_le_bytes())).contains("holds NaN at position 0"));
}

/// A file that becomes shorter after it was opened.
#[test]
fn a_file_cut_short_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    std::fs::write(&path, file("F32", "[2]", &[0; 8])).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let whole = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    whole.set_len(whole.metadata().unwrap().len() - 1).unwrap();
    let message = checkpoint.tensor("h.0.x").unwrap_err().to_string();
    assert!(message.starts_with("cannot read") && message.ends_with("unexpected end of file"), "{message}");
}

#[test]
fn wrong_names_and_shapes_are_explained() {
    let checkpoint = Checkpoint::from_bytes("weights", file("F32", "[1]", &1.0_f32.to_le_bytes())).unwrap();
    let missing = checkpoint.tensor("h.1.x").unwrap_err();
    assert_eq!(missing.to_string(), r#"weights has no tensor "h.1.x"; the nearest names are "h.0.x""#);
    let shape = checkpoint.vector("h.0.x", 2).unwrap_err().to_string();
    assert_eq!(shape, r#"tensor "h.0.x" of weights has shape [1], but [2] is needed"#);
    assert!(matches!(checkpoint.any_matrix("h.0.x"), Err(Error::Shape { .. })));
}

proptest! {
    /// A damaged file is refused or read, and nothing else.
    #[test]
    fn damage_never_panics(position in 0_usize..200, byte in any::<u8>(), length in 0_usize..200) {
        let mut bytes = file("F32", "[2,2]", &[0; 16]);
        let position = position % bytes.len();
        bytes[position] = byte;
        bytes.truncate(length);
        let _ = read(bytes);
    }
}
