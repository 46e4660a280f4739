//! Ciphertexts, messages and keys as bytes: one envelope for every file and everything that is sent, and what is in it.
//!
//! All numbers are little-endian; there is no padding. An envelope is
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | [`VERSION`] |
//! | 8 | the [`Kind`] of contents, in ASCII |
//! | 32 | fingerprint of the parameter set |
//! | 32 | name of the keys ([`KeyId`](crate::keys::KeyId)) |
//! | 32 | fingerprint of whatever else the contents belong to |
//! | 8 | L, the length of the contents |
//! | L | the contents |
//! | 32 | SHA-256 of all bytes before |
//!
//! and contents are what [`Encoder`] writes, one after the other, without names: a kind says what they are.
//!
//! | what | bytes |
//! |---|---|
//! | integer, real number | 8: integers are unsigned, reals are IEEE 754 |
//! | digest | 32 |
//! | bytes, text in UTF-8 | 8 for their number, then they |
//! | c torus elements of b bits | ⌈cb/8⌉: the b highest bits of each, from the lowest on, without gaps; then zeros to the end of a byte |
//! | list of GLWE ciphertexts | 8 each for their number, k and N; then of each (k+1)·N torus elements of 64 bits, masks first |
//! | list of LWE ciphertexts | 8 each for their number and n; then of each n+1 torus elements of 64 bits, the mask first |
//! | label of a request | 32 for the encoding's fingerprint, 32 for the masks' seed: the keys are the envelope's |
//! | [`Request`](Kind::REQUEST) | a label; 8 each for the ciphertexts' number, k, N, b, and which stream the masks of the first are, where those of the others follow; then of each a body of N torus elements of b bits |
//! | [`Answer`](Kind::ANSWER) | the label of its request; 8 each for the ciphertexts' number, k, N, b and B; then of each kN + B torus elements of b bits, masks first: of the body the first B, all others are zero |
//! | [evaluation keys](Kind::EVALUATION_KEYS) | 8 for their number; then, in the order of edges, of each 3 integers for its edge, 7 for its sizes, of which the last is b, 32 for the seed of its masks, and of each of its parts the bodies, elements of b bits |
//! | a client's [secret](Kind::SECRET) | 32 for the seed of its keys; 8: 1 if equal requests are equal ciphertexts, else 0 |
//!
//! Torus elements are integers in units of 2^-64; with b = 64 they are little-endian integers like others. Nothing depends on the processor: what is kept in the Fourier domain, whose order is that of
//! a [backend](crate::simd::Backend), is stored as the ciphertexts that it was made of.
//!
//! # What is refused
//! [`read`] checks the envelope, its length before it takes memory for the contents, and then the checksum; [`Document::open`] that the contents
//! are what is asked for. [`decode`] hands contents to their reader while they come in, and takes no memory for their bytes: that is for what is
//! large, and for what somebody else sends, who may say that it is. What it gives is the same, and so are the errors, in the same order:
//! that something is damaged is said before what the damage has made of it. A checksum tells of damage. It is no signature: whoever can write a file can write its checksum, so every length and
//! count in the contents is compared with what the reader expects ([`Decoder`]) before anything of its size is made.
//!
//! # Examples
//! A request on its way. The server knows how many ciphertexts it has to have, and how large they are.
//! ```
//! use tfhe_core::derivation::ClientSeed;
//! use tfhe_core::fingerprint::Fields;
//! use tfhe_core::format::{self, ENVELOPE_BYTES, FormatError, Header, Kind};
//! use tfhe_core::keys::{ClientKeys, Needs};
//! use tfhe_core::sets;
//! use zeroize::Zeroizing;
//!
//! let set = sets::TOY.compile()?;
//! let client = ClientKeys::generate(&set, &ClientSeed::from_system()?)?;
//! let shape = set.arithmetic().shape;
//! let context = Fields::new("one polynomial").fingerprint();
//! let request = client.encrypt(&[Zeroizing::new(vec![0; shape.polynomial_size.get()])], &context, 64)?;
//!
//! let header = Header { kind: Kind::REQUEST, identity: *client.identity(), context };
//! let mut bytes = Vec::new();
//! format::write(&mut bytes, &header, |encoder| encoder.request(&request))?;
//! assert_eq!(bytes.len() as u64, format::request_bytes(shape, 1, 64));
//!
//! let keys = client.evaluation_keys(&Needs::default())?.prepare()?;
//! let receive = |bytes: &[u8]| {
//!     let limit = format::request_bytes(shape, 1, 64) - ENVELOPE_BYTES;
//!     format::decode(&mut &bytes[..], bytes.len() as u64, limit, |found, decoder| {
//!         found.check(&Header { kind: Kind::REQUEST, identity: *keys.identity(), context })?;
//!         decoder.request(found.identity, shape, 1, 64)
//!     })
//! };
//! let received = receive(&bytes)?;
//! assert_eq!(received.open(&keys, &context, 1)?, request.ciphertexts());
//!
//! // A flipped bit.
//! bytes[300] ^= 1;
//! assert!(matches!(receive(&bytes), Err(FormatError::Checksum)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decoder;
mod elements;
mod encoder;
mod envelope;
mod error;
mod evaluation_keys;
mod header;
mod messages;
#[cfg(feature = "secret-keys")]
mod secret;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use envelope::{Document, decode, header, read, write};
pub use error::FormatError;
pub use evaluation_keys::evaluation_key_bytes;
pub use header::{CHECKSUM_BYTES, ENVELOPE_BYTES, HEADER_BYTES, Header, Kind, MAGIC, VERSION};
pub use messages::{answer_bytes, request_bytes};
#[cfg(feature = "secret-keys")]
pub use secret::SECRET_BYTES;

#[cfg(test)]
mod tests;
