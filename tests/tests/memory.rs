//! What reading takes of memory: what was read, and a little more; and of what was promised and not sent, nothing.
//!
//! The allocator of this program counts. There is one test in it, since it counts what all threads take.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::Fields;
use tfhe_core::format::{self, ENVELOPE_BYTES, FormatError, Header, Kind};
use tfhe_core::key_graph::Node::Lookup;
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::{noise, sets};

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, and how much it has given.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it is; `realloc` is the trait's, which copies to a new block and frees the old one.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What an action gives; how many bytes it took at most, and how many it still has.
fn taken<T>(action: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = NOW.load(Ordering::SeqCst);
    MOST.store(before, Ordering::SeqCst);
    let result = action();
    (result, MOST.load(Ordering::SeqCst) - before, NOW.load(Ordering::SeqCst) - before)
}

/// A part of a key, the 64 KiB that are read at a time, and their unpacking, with as much again.
const A_LITTLE: usize = 512 << 10;

#[test]
fn reading_takes_what_was_read() {
    let parameters = sets::MESSAGE_2_CARRY_2.compile().unwrap();
    let needs = Needs::default().keyswitch(Lookup).bootstrapping(0).automorphisms(Lookup, 0, 0);
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).unwrap();
    let keys = client.evaluation_keys(&needs).unwrap();
    let context = Fields::new("memory").fingerprint();
    let header = Header { kind: Kind::EVALUATION_KEYS, identity: *client.identity(), context };
    let bytes = format::evaluation_key_bytes(&parameters, &needs).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let write = || format::write(&mut File::create(&path).unwrap(), &header, |encoder| encoder.evaluation_keys(&keys));
    let (written, most, _) = taken(write);
    written.unwrap();
    assert!(most < A_LITTLE, "{most} bytes to write");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);

    let read = |file: &mut File, available: u64| {
        format::decode(file, available, bytes - ENVELOPE_BYTES, |header, decoder| {
            decoder.evaluation_keys(header.identity, &parameters, &needs)
        })
    };
    let (again, most, kept) = taken(|| read(&mut File::open(&path).unwrap(), bytes).unwrap());
    assert_eq!(again, keys);
    println!("{bytes} bytes of evaluation keys: {most} of memory at most, {kept} kept");
    // Elements are words in memory, and of bootstrapping keys fewer bits in the file.
    let shape = parameters.lookup().shape;
    let bits = noise::stored_bits(parameters.lookup().noise.variance()) as usize;
    let elements = parameters.small().lwe_dimension().get() * shape.ciphertext_len();
    let words = bytes as usize + elements * (64 - bits) / 8;
    assert!((words..words + A_LITTLE).contains(&kept), "{kept} bytes are kept of {bytes}, {words} in words");
    assert!(most < kept + A_LITTLE, "{most} bytes to read what takes {kept}");

    // The first bytes of the same: what they say is right, and then nothing comes.
    let sent = 10_000;
    let start: Vec<u8> = std::fs::read(&path).unwrap()[..sent].to_vec();
    File::create(&path).unwrap().write_all(&start).unwrap();
    let (refused, most, _) = taken(|| read(&mut File::open(&path).unwrap(), bytes).unwrap_err());
    assert!(matches!(refused, FormatError::Truncated { found, .. } if found == sent as u64), "{refused}");
    assert!(most < A_LITTLE, "{most} bytes for {sent}");

    // A request, and an answer, of which the numbers cannot be.
    let shape = parameters.arithmetic().shape;
    for count in [1 << 32, 1 << 40] {
        let promised = format::answer_bytes(shape, count, (64, usize::MAX));
        let numbers = [count as u64, 1, shape.polynomial_size.get() as u64, 64, 0].map(u64::to_le_bytes).concat();
        let mut message = Vec::new();
        format::write(&mut message, &Header { kind: Kind::ANSWER, ..header }, |encoder| {
            (0..2).try_for_each(|_| encoder.digest(&[0; 32]))?;
            numbers.as_chunks().0.iter().try_for_each(|&integer| encoder.integer(u64::from_le_bytes(integer)))
        })
        .unwrap();
        message[116..124].copy_from_slice(&(promised - ENVELOPE_BYTES).to_le_bytes());
        let read = |is_answer: bool| {
            format::decode(&mut &message[..], promised, u64::MAX, |header, decoder| match is_answer {
                true => decoder.answer(header.identity, shape, count, (64, usize::MAX)).map(drop),
                false => decoder.request(header.identity, shape, count, 64).map(drop),
            })
        };
        for is_answer in [true, false] {
            let (refused, most, _) = taken(|| read(is_answer).unwrap_err());
            assert!(matches!(refused, FormatError::Truncated { .. }), "{refused}");
            assert!(most < A_LITTLE, "{most} bytes for {count} ciphertexts that did not come");
        }
    }
}
