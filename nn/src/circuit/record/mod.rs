//! Quantized attention, and quantized blocks, as a file: what a server and a client have to agree on, made once by calibration.
//!
//! A file is in the safetensors format and holds the server's half (weights, tables, ranges), the client's half
//! (scales), or both; of any circuit. Its tensors are named `server.…` and `client.…`; the metadata
//! `quantized_attention` is a JSON object: the [version](Origin::version) of the format, the [`Origin`], SHA-256 of both
//! halves, also of one that the file does not hold, and the [`AttentionFingerprint`] of all of this. Two files with one
//! fingerprint are of one calibration.
//!
//! What is loaded equals what was saved, bit by bit. A file that is damaged, of another version, or not what
//! calibration can give is an error: every number that evaluators rely on is checked. The fingerprint is not a
//! signature: it shows who compares it that nothing was changed, not who made the file.
//!
//! ```
//! use nn::attention::{AttentionWeights, Linear, Part};
//! use nn::matrix::Matrix;
//! use nn::packed::{PackedAttention, PackedOptions};
//! use nn::record::{AttentionOrigin, Options, Origin, Quantized, QuantizedFile};
//!
//! let weight = Matrix::from_fn(8, 24, |row, col| ((7 * row + 5 * col) as f32).sin());
//! let weights = AttentionWeights::new(Linear::new(weight, vec![0.1; 24])?, 2)?;
//! let hidden = [Matrix::from_fn(3, 8, |row, col| ((3 * row + 2 * col) as f32).cos())];
//! let (part, options) = (Part::Head(1), PackedOptions::new(5));
//! let head = PackedAttention::calibrate(&weights, part, &hidden, &options)?;
//!
//! let origin = Origin::Attention(AttentionOrigin { layer: 0, part, options: Options::Packed(options) });
//! let file = QuantizedFile::new(Quantized::Packed(Box::new(head.clone())), origin)?;
//! let server = QuantizedFile::from_bytes("the server's file", file.server_half().to_bytes()?)?;
//! let client = QuantizedFile::from_bytes("the client's file", file.client_half().to_bytes()?)?;
//! assert_eq!(server.fingerprint(), client.fingerprint());
//! assert_eq!(server.join(client)?.into_quantized()?, Quantized::Packed(Box::new(head)));
//! # Ok::<(), nn::Error>(())
//! ```

mod file;
mod fingerprint;
mod halves;
mod origin;

pub use file::QuantizedFile;
pub use fingerprint::AttentionFingerprint;
pub use halves::{ClientHalf, Quantized, ServerHalf};
pub use origin::{AttentionOrigin, BlocksOrigin, Options, Origin};
