//! Secrets are overwritten before their memory is given back.
//!
//! The allocator of this program reads every block that is freed, and counts where it finds one of a list of patterns: the bytes
//! of seeds and of what is derived from them, bits of secret keys in each form that they take, transforms of keys, products of
//! masks with keys, messages. Everything that handles them is then done and dropped. What is left on the stack is read through
//! the operating system. Either search is shown to find what is there.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use hkdf::Hkdf;
use sha2::Sha256;
use tfhe_core::automorphism::SeededAutomorphismKeys;
use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::derivation::{ClientSeed, Purpose, RequestRandomness};
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{self, Header, Kind, SECRET_BYTES};
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::glwe_keyswitch::SeededGlweKeyswitchKey;
use tfhe_core::key_graph::Node;
use tfhe_core::keys::{Answer, ClientKeys, Needs};
use tfhe_core::keyswitch::SeededLweKeyswitchKey;
use tfhe_core::lwe::LweSecretKey;
use tfhe_core::packing_keyswitch::PackingKeyswitchKey;
use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, PolynomialSize, Precision};
use tfhe_core::polynomial::{automorphism, schoolbook_add};
use tfhe_core::random::{Role, SampleSeed, SecretSeed};
use tfhe_core::simd::Backend;
use tfhe_core::tensor_product::SeededRelinearizationKey;
use zeroize::Zeroizing;

/// What is looked for, each byte changed so that the list is not found itself.
struct Pattern {
    name: String,
    masked: Vec<u8>,
}

const MASK: u8 = 0xa5;

impl Pattern {
    fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self { name: name.into(), masked: bytes.iter().map(|byte| byte ^ MASK).collect() }
    }

    /// Of the first 32 numbers.
    fn of_numbers<const SIZE: usize>(name: impl Into<String>, numbers: impl IntoIterator<Item = [u8; SIZE]>) -> Self {
        Self::new(name, &numbers.into_iter().take(32).flatten().collect::<Vec<_>>())
    }

    fn is_at(&self, bytes: impl Iterator<Item = u8>) -> bool {
        self.masked.iter().zip(bytes).all(|(masked, byte)| masked ^ MASK == byte)
    }
}

static PATTERNS: OnceLock<Vec<Pattern>> = OnceLock::new();
/// How often each pattern was found.
static FOUND: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];
static ARMED: AtomicBool = AtomicBool::new(false);
/// One test at a time counts.
static TURN: Mutex<()> = Mutex::new(());

/// The system's allocator, whose freed blocks are searched.
struct Searching;

#[global_allocator]
static ALLOCATOR: Searching = Searching;

/// The first byte of a block and its size.
fn search(block: *const u8, size: usize) {
    let Some(patterns) = PATTERNS.get().filter(|_| ARMED.load(Ordering::Relaxed)) else { return };
    // SAFETY: the caller's: `size` bytes from `block` are allocated, and were initialized, by zeros, when they were. Volatile,
    // since nobody is meant to read a block that is about to be freed.
    let byte = |at: usize| unsafe { block.add(at).read_volatile() };
    for at in 0..size {
        let first = byte(at);
        for (pattern, found) in patterns.iter().zip(&FOUND) {
            let (length, start) = (pattern.masked.len(), pattern.masked[0] ^ MASK);
            if first == start && length <= size - at && pattern.is_at((at..).map(byte)) {
                found.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

// SAFETY: every call is handed to the system's allocator as it is, but for zeroing; `realloc` is the trait's, which copies to a new
// block and frees the old one. `search` reads inside the block, before it is freed, and does not allocate.
unsafe impl GlobalAlloc for Searching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        search(block, layout.size());
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The patterns that are in what `action` frees, on any thread.
fn left_by(action: impl FnOnce()) -> Vec<&'static str> {
    let patterns = PATTERNS.get_or_init(Secrets::patterns);
    assert!(patterns.len() <= FOUND.len());
    FOUND.iter().for_each(|found| found.store(0, Ordering::Relaxed));
    ARMED.store(true, Ordering::SeqCst);
    action();
    ARMED.store(false, Ordering::SeqCst);
    let found = patterns.iter().zip(&FOUND).filter(|(_, found)| found.load(Ordering::Relaxed) > 0);
    found.map(|(pattern, _)| &*pattern.name).collect()
}

const NOISE: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 0 };

/// The secrets, always the same.
struct Secrets {
    shape: GlweShape,
    bits: Vec<u64>,
    seed: [u8; 32],
}

impl Secrets {
    fn new() -> Self {
        let shape = GlweShape::new(1, 256).unwrap();
        let mut bits = vec![0; shape.extracted_lwe_dimension().get()];
        SampleSeed::from_number(1).stream(0).fill_binary(&mut bits);
        Self { shape, bits, seed: std::array::from_fn(|i| (i * 37 + 11) as u8) }
    }

    fn gadget() -> Gadget {
        Gadget::new(8, 3, Precision::Split).unwrap()
    }

    /// The plan of a backend, and the key.
    fn key(&self, backend: Backend) -> (NegacyclicFft, GlweSecretKey) {
        let fft = NegacyclicFft::with_backend(self.shape.polynomial_size, backend).unwrap();
        let key = GlweSecretKey::from_raw(&fft, self.shape, &self.bits).unwrap();
        (fft, key)
    }

    fn plaintext(&self) -> Vec<u64> {
        (0..self.bits.len() as u64).map(|j| (j * j % 1009) << 50).collect()
    }

    fn patterns() -> Vec<Pattern> {
        let secrets = Self::new();
        let (bits, n) = (&secrets.bits, secrets.bits.len());
        let words = |name: &str, words: &[u64]| Pattern::of_numbers(name, words.iter().map(|x| x.to_le_bytes()));
        let negated = |words: &[u64]| words.iter().map(|x| x.wrapping_neg()).collect::<Vec<_>>();
        let small: Vec<i32> = bits.iter().map(|&bit| bit as i32).collect();
        let mut patterns = vec![
            words("the key's bits", bits),
            words("−S", &negated(bits)),
            Pattern::of_numbers("the key's bits, narrow", small.iter().map(|x| x.to_le_bytes())),
            words("a plaintext", &secrets.plaintext()),
        ];
        for l in 1..=secrets.shape.polynomial_size.log2() {
            let mut image = vec![0; n];
            automorphism(bits, (1 << l) + 1, &mut image);
            patterns.push(words(&format!("−S(X^{})", (1 << l) + 1), &negated(&image)));
        }
        let mut square = vec![0; n];
        let integers: Vec<i64> = bits.iter().map(|&bit| bit as i64).collect();
        schoolbook_add(&integers, bits, &mut square);
        patterns.push(words("S²", &square));
        for backend in Backend::available() {
            patterns.extend(secrets.transforms(backend, &small));
        }
        patterns.extend(secrets.products(&integers));
        // On a thread of its own: it may leave on its stack what it likes.
        patterns.extend(std::thread::spawn(|| derived(&Self::new().seed)).join().unwrap());
        patterns
    }

    /// The key's transform, as a plan has it, and as rustfft has it in its buffer.
    fn transforms(&self, backend: Backend, small: &[i32]) -> Vec<Pattern> {
        let fft = NegacyclicFft::with_backend(self.shape.polynomial_size, backend).unwrap();
        let mut transformed = vec![0.0; small.len()];
        fft.forward_integers(small, &mut transformed, &mut fft.scratch());
        let numbers = |name: &str, numbers: &[f64]| {
            Pattern::of_numbers(format!("{name}, {backend:?}"), numbers.iter().map(|x| x.to_le_bytes()))
        };
        let (real, imaginary) = transformed.split_at(small.len() / 2);
        let interleaved: Vec<f64> = real.iter().zip(imaginary).flat_map(|(&re, &im)| [re, im]).collect();
        vec![numbers("the key's transform", &transformed), numbers("the key's transform, interleaved", &interleaved)]
    }

    /// A·S of [`encrypt`]'s ciphertext, and what is left of it in the buffers of the exact product.
    fn products(&self, integers: &[i64]) -> Vec<Pattern> {
        let n = integers.len();
        let (fft, key) = self.key(Backend::Portable);
        let seed = &mut SecretSeed::from_bytes(&self.seed).experiment(0);
        let ciphertext = key.encrypt(&fft, &self.plaintext(), NOISE, seed).expand();
        let mut product = vec![0; n];
        schoolbook_add(integers, ciphertext.mask(), &mut product);
        let mut patterns = vec![Pattern::of_numbers("A·S", product.iter().map(|x| x.to_le_bytes()))];
        for backend in Backend::available() {
            let (fft, _) = self.key(backend);
            let scratch = &mut fft.scratch();
            let mut transformed = vec![0.0; n];
            let small: Vec<i32> = integers.iter().map(|&s| s as i32).collect();
            fft.forward_integers(&small, &mut transformed, scratch);
            let high: Vec<i32> =
                ciphertext.mask().iter().map(|&a| (a.wrapping_sub(a as u32 as i32 as u64) >> 32) as i32).collect();
            let (mut mask, mut sum) = (vec![0.0; n], vec![0.0; n]);
            fft.forward_integers(&high, &mut mask, scratch);
            fft.multiply_accumulate(&mut sum, &mask, &transformed);
            fft.inverse_add_integers(&mut sum, 32, &mut vec![0; n], scratch);
            let name = format!("A·S in its transform's buffer, {backend:?}");
            patterns.push(Pattern::of_numbers(name, sum.iter().map(|x| x.to_le_bytes())));
        }
        patterns
    }
}

/// The seed, and what is derived from it, by the definition in `tfhe_core::derivation`.
fn derived(seed: &[u8; 32]) -> Vec<Pattern> {
    let scope = |parameters: &Fingerprint, circuit: &str| {
        let mut scope = [0; 32];
        let info = [b"scope", &parameters.as_bytes()[..], Fields::new(circuit).fingerprint().as_bytes()].concat();
        let hkdf = Hkdf::<Sha256>::new(Some(b"tfhe-core key derivation, version 2"), seed);
        hkdf.expand(&info, &mut scope).unwrap();
        scope
    };
    let key = |scope: &[u8; 32], role: Role, purpose: Purpose, index: u64| {
        let mut key = [0; 32];
        let (role, purpose) = ((role as u16).to_le_bytes(), (purpose as u16).to_le_bytes());
        let info = [b"key", &role[..], &purpose, &index.to_le_bytes()].concat();
        Hkdf::<Sha256>::from_prk(scope).unwrap().expand(&info, &mut key).unwrap();
        key
    };
    let experiment = scope(&Fields::new("no parameters").fingerprint(), "experiment");
    let client = scope(&toy().fingerprint(), "circuit");
    let (noise, bits) =
        (key(&experiment, Role::Noise, Purpose::Experiment, 0), key(&experiment, Role::Secret, Purpose::Experiment, 0));
    let mut patterns = vec![
        Pattern::new("the seed", seed),
        Pattern::new("the scope of experiments", &experiment),
        Pattern::new("the scope of a client", &client),
        Pattern::new("the seed of noise", &noise),
        Pattern::new("the seed of bits", &bits),
    ];
    // As rows of the cipher's state, which vector registers have, and what is saved of them.
    for (name, seed) in [("noise", &noise), ("bits", &bits)] {
        for (half, row) in seed.chunks(16).enumerate() {
            patterns.push(Pattern::new(format!("half {half} of the seed of {name}"), row));
        }
    }
    for (role, purpose, index) in [
        (Role::Secret, Purpose::SecretKey, Node::Small as u64),
        (Role::Secret, Purpose::SecretKey, Node::Lookup as u64),
        (Role::Noise, Purpose::Bootstrapping, 0),
        (Role::Noise, Purpose::Keyswitch, Node::Lookup as u64),
        (Role::Derivation, Purpose::Requests, 0),
    ] {
        let name = format!("a client's {role:?} of {purpose:?}, {index}");
        patterns.push(Pattern::new(name, &key(&client, role, purpose, index)));
    }
    patterns
}

fn toy() -> tfhe_core::key_graph::Parameters {
    tfhe_core::sets::TOY.compile().unwrap()
}

/// Encrypts and decrypts with the key.
fn encrypt(secrets: &Secrets, backend: Backend) {
    let (fft, key) = secrets.key(backend);
    let seed = &mut SecretSeed::from_bytes(&secrets.seed).experiment(0);
    let plaintext = Zeroizing::new(secrets.plaintext());
    let ciphertext = key.encrypt(&fft, &plaintext, NOISE, seed).expand();
    let phase = Zeroizing::new(key.phase(&fft, &ciphertext));
    assert!(phase.iter().zip(&*plaintext).all(|(p, m)| p.wrapping_sub(*m).wrapping_add(1) <= 2));
}

/// Makes every kind of key from the key to itself.
fn make_keys(secrets: &Secrets, backend: Backend) {
    let (fft, key) = secrets.key(backend);
    let (seed, gadget) = (SecretSeed::from_bytes(&secrets.seed), Secrets::gadget());
    let (lwe, few) = (key.extracted_lwe_key(), LweSecretKey::from_raw(&secrets.bits[..40]).unwrap());
    let steps = 1..=secrets.shape.polynomial_size.log2();
    drop(SeededBootstrappingKey::generate(&fft, &few, &key, gadget, NOISE, seed.experiment(1)));
    drop(SeededLweKeyswitchKey::generate(&lwe, &lwe, gadget, NOISE, seed.experiment(2)));
    drop(PackingKeyswitchKey::generate(&fft, &few, &key, gadget, NOISE, seed.experiment(3)));
    drop(SeededAutomorphismKeys::generate(&fft, &key, steps, gadget, NOISE, seed.experiment(4)));
    drop(SeededRelinearizationKey::generate(&fft, &key, gadget, NOISE, seed.experiment(5)));
    drop(SeededGlweKeyswitchKey::generate(&fft, &key, &key, gadget, NOISE, seed.experiment(6)));
    drop(key.encrypt_ggsw(&fft, 1, gadget, NOISE, &mut seed.experiment(7)));
    let from = GlweSecretKey::from_lwe_key(&lwe, secrets.shape, &fft);
    drop(from.in_larger_ring(&NegacyclicFft::new(PolynomialSize::new(512).unwrap())));
}

/// Makes the keys of a client, and a request.
fn be_a_client(secrets: &Secrets) {
    for seed in [ClientSeed::stored, ClientSeed::reproducible].map(|made| made(SecretSeed::from_bytes(&secrets.seed))) {
        let client = ClientKeys::generate(&toy(), &seed).unwrap();
        drop(client.evaluation_keys(&Needs::everything(client.parameters())).unwrap());
        let mut plaintext = Zeroizing::new(secrets.plaintext());
        plaintext.truncate(64);
        let request = client.encrypt(&[plaintext], &Fields::new("test").fingerprint(), 64).unwrap();
        let answer = Answer::new(request.label(), vec![request.ciphertexts()[0].expand()], 64);
        drop(client.decrypt(&answer, request.label(), 1).unwrap());
    }
}

/// Writes the seed as a file, and reads it in both ways.
fn keep(secrets: &Secrets) {
    let seed = SecretSeed::from_bytes(&secrets.seed);
    let identity = *ClientKeys::generate(&toy(), &ClientSeed::stored(seed.clone())).unwrap().identity();
    let header = Header { kind: Kind::SECRET, identity, context: Fields::new("test").fingerprint() };
    let mut file = Zeroizing::new(Vec::with_capacity(SECRET_BYTES as usize));
    format::write(&mut *file, &header, |encoder| encoder.secret(&seed, RequestRandomness::Fresh)).unwrap();
    let (read, requests) =
        format::decode(&mut &file[..], SECRET_BYTES, SECRET_BYTES, |_, decoder| decoder.secret()).unwrap();
    assert!(read.expose() == seed.expose() && requests == RequestRandomness::Fresh);
    let document = format::read(&mut &file[..], SECRET_BYTES, SECRET_BYTES).unwrap();
    assert!(document.open(&header).unwrap().secret().unwrap().0.expose() == seed.expose());
}

fn draw_bits(secrets: &Secrets) {
    SecretSeed::from_bytes(&secrets.seed).experiment_bits(0).fill_binary(&mut [0; 100]);
}

fn draw(secrets: &Secrets) {
    let seed = SecretSeed::from_bytes(&secrets.seed);
    let (mut masks, mut noises) = seed.experiment(0).into_streams();
    masks.fill_uniform(&mut [0; 100]);
    for _ in 0..100 {
        black_box(noises.noise(NoiseDistribution::Gaussian { log2_std: -10.0 }));
    }
}

#[test]
fn freed_memory_holds_no_secret() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let secrets = Secrets::new();
    assert_eq!(left_by(|| draw_bits(&secrets)), [""; 0], "a stream of bits");
    assert_eq!(left_by(|| draw(&secrets)), [""; 0], "streams of masks and noise");
    for backend in Backend::available() {
        assert_eq!(left_by(|| encrypt(&secrets, backend)), [""; 0], "encryption, {backend:?}");
        assert_eq!(left_by(|| make_keys(&secrets, backend)), [""; 0], "keys, {backend:?}");
    }
    assert_eq!(left_by(|| be_a_client(&secrets)), [""; 0], "a client");
    assert_eq!(left_by(|| keep(&secrets)), [""; 0], "a file");
}

/// Every pattern is found where it is left.
#[test]
fn what_is_left_in_freed_memory_is_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    drop(left_by(|| ()));
    for pattern in PATTERNS.get().unwrap() {
        let leak = || drop(black_box([vec![1], pattern.masked.iter().map(|byte| byte ^ MASK).collect()].concat()));
        // Shorter patterns may be the beginning of longer ones.
        assert!(left_by(leak).contains(&&*pattern.name), "{}", pattern.name);
    }
    let secrets = Secrets::new();
    let copied = || drop(black_box(secrets.bits.iter().map(|&bit| bit as i32).collect::<Vec<_>>()));
    assert_eq!(left_by(copied), ["the key's bits, narrow"]);
}

/// What is below the caller's frame, on the stack of this thread.
#[cfg(target_os = "linux")]
mod stack {
    use std::fs::{File, read_to_string};
    use std::os::unix::fs::FileExt;

    use super::*;

    /// The patterns that lie within 64 KiB below a local variable of the caller.
    #[inline(never)]
    fn left_below(patterns: &[Pattern]) -> Vec<&str> {
        let here = 0_u8;
        let here = (&raw const here).addr();
        let maps = read_to_string("/proc/self/maps").unwrap();
        let start = maps.lines().find_map(|line| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            let address = |text| usize::from_str_radix(text, 16).unwrap();
            (address(start)..address(end)).contains(&here).then(|| address(start))
        });
        let start = start.unwrap().max(here - (64 << 10));
        let mut bytes = vec![0; here - start];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, start as u64).unwrap();
        let found = |pattern: &&Pattern| {
            (0..bytes.len())
                .any(|at| pattern.masked.len() <= bytes.len() - at && pattern.is_at(bytes[at..].iter().copied()))
        };
        patterns.iter().filter(found).map(|pattern| &*pattern.name).collect()
    }

    /// Calls `action` so far down that the frames of [`left_below`] do not reach those that it has left.
    #[inline(never)]
    fn below_a_pad(action: impl FnOnce()) {
        let mut pad = [0_u8; 16 << 10];
        black_box(&mut pad);
        action();
        black_box(&mut pad);
    }

    /// The seed, on the heap, so that this thread's stack has it from nobody but whom it is handed to.
    fn on_a_thread_of_its_own(action: impl FnOnce(&Secrets) + Send) -> Vec<String> {
        // What is freed here is not to be counted by the tests of freed memory.
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let (secrets, patterns) = (Box::new(Secrets::new()), Secrets::patterns());
        let found = std::thread::scope(|scope| {
            let run = || {
                below_a_pad(|| action(&secrets));
                left_below(&patterns).into_iter().map(String::from).collect::<Vec<_>>()
            };
            scope.spawn(run).join().unwrap()
        });
        drop(secrets);
        found
    }

    /// Each action alone: what it leaves is not to be overwritten by the next one. (Optimized, ciphers leave little, as they compute in
    /// registers: without optimization this test sees more.)
    #[test]
    fn the_stack_holds_no_seed() {
        assert_eq!(on_a_thread_of_its_own(draw_bits), [""; 0]);
        assert_eq!(on_a_thread_of_its_own(draw), [""; 0]);
        assert_eq!(on_a_thread_of_its_own(be_a_client), [""; 0]);
        assert_eq!(on_a_thread_of_its_own(keep), [""; 0]);
        assert_eq!(on_a_thread_of_its_own(|secrets| encrypt(secrets, Backend::Portable)), [""; 0]);
    }

    #[test]
    fn what_is_left_on_the_stack_is_found() {
        #[inline(never)]
        fn copy(secrets: &Secrets) {
            let mut copy = secrets.seed;
            black_box(&mut copy);
        }
        assert_eq!(on_a_thread_of_its_own(copy), ["the seed"]);
    }
}
