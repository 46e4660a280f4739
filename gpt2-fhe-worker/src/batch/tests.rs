use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tfhe_core::format::{CHECKSUM_BYTES, FormatError, HEADER_BYTES};

use super::*;
use crate::info::arithmetic;
use crate::testing::{BITS, RUN, Toy};

/// A small batch, its file, what its result is expected to be, and the file of a result.
fn files() -> (Batch, Vec<u8>, ExpectedResult, BatchResult, Vec<u8>) {
    let toy = Toy::new(1);
    let batch = toy.batch(5, 4);
    let expected = batch.expected().unwrap();
    let result = BatchResult {
        id: batch.id,
        identity: batch.identity,
        worker: "worker 1".to_owned(),
        seconds: 0.25,
        outcome: Ok(toy.results(&batch)),
    };
    let (sent, answered) = (batch.encode().unwrap(), result.encode(Some(&expected)).unwrap());
    (batch, sent, expected, result, answered)
}

fn decode_result(bytes: &[u8], expected: &ExpectedResult) -> Result<BatchResult, BatchError> {
    BatchResult::decode(bytes, |id, _| (id.run == RUN).then(|| expected.clone()))
}

/// With a new length and a new checksum, so that what was changed is looked at.
fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - CHECKSUM_BYTES;
    let length = (end - HEADER_BYTES) as u64;
    bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    let checksum = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum);
    bytes
}

#[test]
fn batches_and_results_are_what_was_written() {
    let (batch, sent, expected, result, answered) = files();
    assert_eq!(Batch::decode(&sent).unwrap(), batch);
    assert_eq!(decode_result(&answered, &expected).unwrap(), result);
    assert!(answered.len() as u64 <= expected.bytes());
    // As many bytes as the document says: of an input 9 exponents of 7 bits, of a polynomial 64 elements without any order.
    let before = 124 + 8 + 24 + 8 + arithmetic().len() + 32 + 16 + 40;
    assert_eq!(sent.len(), before + 4 * (16 + (9 * 7_usize).div_ceil(8)) + 3 * (24 + 8 + 64 * 8) + 32);
    let of_result = |bodies: usize| ((64 + bodies) * BITS as usize).div_ceil(8);
    let results: usize = [1, 6, 11, 16].map(of_result).iter().sum();
    assert_eq!(answered.len(), 124 + 8 + 24 + 8 + "worker 1".len() + 8 + 8 + 32 + results + 32);

    let refused = BatchResult { outcome: Err("why".to_owned()), ..result };
    assert_eq!(decode_result(&refused.encode(None).unwrap(), &expected).unwrap(), refused);
}

#[test]
fn every_truncation_and_every_changed_byte_is_refused() {
    let (_, sent, expected, _, answered) = files();
    let read = |bytes: &[u8], is_batch: bool| {
        if is_batch { Batch::decode(bytes).is_ok() } else { decode_result(bytes, &expected).is_ok() }
    };
    for (bytes, is_batch) in [(sent, true), (answered, false)] {
        for length in 0..bytes.len() {
            assert!(!read(&bytes[..length], is_batch), "{length} bytes");
            if length >= HEADER_BYTES + CHECKSUM_BYTES {
                assert!(!read(&repaired(bytes[..length].to_vec()), is_batch), "{length} bytes, with their checksum");
            }
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(!read(&changed, is_batch), "bit {bit} of byte {at}");
            }
        }
    }
}

/// Whoever can change a byte can change the checksum: then it is another batch, or refused, and what is accepted is written to the byte.
#[test]
fn changed_bytes_with_their_checksum_are_refused_or_something_else() {
    let (batch, sent, expected, result, answered) = files();
    let mut accepted = 0;
    for at in 0..sent.len() - CHECKSUM_BYTES {
        let mut changed = sent.clone();
        changed[at] ^= 0x41;
        let changed = repaired(changed);
        let is_length = changed == sent;
        if let Ok(read) = Batch::decode(&changed) {
            assert!(is_length || read != batch, "byte {at}");
            assert_eq!(read.encode().unwrap(), changed);
            accepted += 1;
        }
    }
    assert!(accepted > 3 * 64 * 8, "polynomials can be anything: {accepted}");
    for at in 0..answered.len() - CHECKSUM_BYTES {
        let mut changed = answered.clone();
        changed[at] ^= 0x41;
        let changed = repaired(changed);
        let is_length = changed == answered;
        if let Ok(read) = decode_result(&changed, &expected) {
            assert!(is_length || read != result, "byte {at}");
            assert_eq!(read.encode(Some(&expected)).unwrap(), changed);
        }
    }
}

#[test]
fn counts_beyond_what_is_there_are_refused_before_memory_is_taken() {
    let (_, sent, expected, _, answered) = files();
    let counts = HEADER_BYTES + 8 + 24 + 8 + arithmetic().len() + 32 + 16;
    // n, k', N', inputs, polynomials.
    for number in 0..5 {
        for count in [0, 1 << 40, u64::MAX] {
            let mut changed = sent.clone();
            changed[counts + 8 * number..][..8].copy_from_slice(&count.to_le_bytes());
            let refused = Batch::decode(&repaired(changed)).unwrap_err();
            assert!(matches!(refused.error, BatchError::Format(FormatError::Contents(_))), "{number}: {refused}");
            assert_eq!(refused.batch.unwrap().0.number, 5);
        }
    }
    let counts = HEADER_BYTES + 8 + 24 + 8 + "worker 1".len() + 16;
    for number in 0..4 {
        let mut changed = answered.clone();
        changed[counts + 8 * number..][..8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        assert!(decode_result(&repaired(changed), &expected).is_err(), "{number}");
    }
}

#[test]
fn what_is_for_others_is_refused_by_what_it_is() {
    let (batch, sent, expected, result, answered) = files();
    let other = batch.encode_for("another").unwrap();
    let refused = Batch::decode(&other).unwrap_err();
    assert!(refused.to_string().starts_with("it is for processors whose transforms are \"another\""), "{refused}");
    assert_eq!(refused.batch, Some((batch.id, batch.identity)));

    // The version stands first.
    let mut other = sent.clone();
    other[HEADER_BYTES] += 1;
    let refused = Batch::decode(&repaired(other)).unwrap_err();
    assert!(matches!(refused.error, BatchError::Protocol(2)) && refused.batch.is_none(), "{refused}");

    // A parameter set that there is not.
    let mut other = sent.clone();
    other[20] ^= 1;
    let refused = Batch::decode(&repaired(other)).unwrap_err();
    assert!(matches!(refused.error, BatchError::Set) && refused.batch.is_some(), "{refused}");

    // Neither is the other.
    let refused = Batch::decode(&answered).unwrap_err();
    assert_eq!(refused.to_string(), "it holds \"result\", and \"batch\" is needed");
    assert!(decode_result(&sent, &expected).is_err());

    // Nobody waits for it; or for something else.
    let foreign = BatchResult { id: BatchId { run: [0; 16], number: 5 }, ..result };
    let refused = decode_result(&foreign.encode(Some(&expected)).unwrap(), &expected).unwrap_err();
    assert!(matches!(refused, BatchError::Unknown(id) if id == foreign.id), "{refused}");
    let mut less = expected.clone();
    less.bodies.pop();
    let more = ExpectedResult { bodies: expected.bodies.iter().map(|bodies| bodies + 1).collect(), ..expected.clone() };
    let finer = ExpectedResult { bits: BITS + 1, ..expected.clone() };
    for other in [less, more, finer] {
        assert!(decode_result(&answered, &other).is_err(), "{other:?}");
    }
    // Of the keys of somebody else.
    let identity = *Toy::new(2).sent.identity();
    let refused = decode_result(&answered, &ExpectedResult { identity, ..expected }).unwrap_err();
    assert!(refused.to_string().contains("it belongs to other keys"), "{refused}");
}

#[test]
fn what_would_be_lost_is_not_written() {
    let (batch, _, expected, result, _) = files();
    let changed = |change: &dyn Fn(&mut Batch)| {
        let mut batch = batch.clone();
        change(&mut batch);
        batch.encode().unwrap_err().to_string()
    };
    let finer = |batch: &mut Batch| batch.inputs[1].add_plaintext(1 << 56);
    assert!(changed(&finer).contains("more bits than are written"));
    assert!(changed(&|batch| batch.polynomials[0].data_mut()[0] = 1).contains("is encrypted"));
    assert!(changed(&|batch| batch.lookups[0].0 = 3).contains("polynomial that is not there"));
    assert!(changed(&|batch| batch.lookups[0].1 = 65).contains("of a body"));
    assert!(changed(&|batch| batch.lookups.truncate(3)).contains("as many lookups"));
    assert!(changed(&|batch| batch.inputs.clear()).contains("one lookup at least"));

    let changed = |change: &dyn Fn(&mut BatchResult)| {
        let mut result = result.clone();
        change(&mut result);
        result.encode(Some(&expected)).unwrap_err().to_string()
    };
    let with =
        |results: fn(&mut Vec<GlweCiphertext>)| changed(&move |result| results(result.outcome.as_mut().unwrap()));
    assert!(with(|results| results[0].data_mut()[0] |= 1).contains("more bits than are written"));
    assert!(with(|results| results[0].body_mut()[1] = 1 << 63).contains("of a body"));
    assert!(with(|results| drop(results.pop())).contains("another number of results"));
    assert!(changed(&|result| result.worker.clear()).contains("a name"));
    assert!(changed(&|result| result.outcome = Err("two\nlines".to_owned())).contains("not one line"));
    assert!(changed(&|result| result.seconds = f64::NAN).contains("seconds"));
    let long = "é".repeat(600) + "\n";
    assert_eq!((one_line(&long).len(), one_line("two\nlines")), (1000, "two lines".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_batch_and_any_result_are_read_as_they_were_written(number: u64, count in 1..20_usize, bits in 1..=64_u32) {
        let toy = Toy::new(1);
        let batch = Batch { bits, ..toy.batch(number, count) };
        prop_assert_eq!(&Batch::decode(&batch.encode().unwrap()).unwrap(), &batch);
        let expected = batch.expected().unwrap();
        let outcome = Ok(toy.results(&batch));
        let (id, identity) = (batch.id, batch.identity);
        let result = BatchResult { id, identity, worker: "w".to_owned(), seconds: 0.0, outcome };
        let bytes = result.encode(Some(&expected)).unwrap();
        prop_assert!(bytes.len() as u64 <= expected.bytes());
        prop_assert_eq!(decode_result(&bytes, &expected).unwrap(), result);
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Batch::decode(&bytes).is_err());
        prop_assert!(BatchResult::decode(&bytes, |_, _| None).is_err());
    }
}
