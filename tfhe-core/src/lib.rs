//! TFHE from scratch: LWE, GLWE and GGSW over the 64-bit torus, and programmable bootstrapping.
//!
//! A message m is put on the torus T = R/Z as the angle m/2^(p+1) and encrypted with a little noise. Additions add angles and noise; a
//! *programmable bootstrapping* reads a table at the angle, under encryption, and leaves fresh noise. With these two any function of
//! small integers is computed without ever decrypting. What the noise is after each operation, and with what probability a table is
//! read wrongly, is computed in [`noise`] and [`distribution`]; how hard it is to break a parameter set, in [`security`].
//!
//! Modules, from the ground up: [`torus`], [`params`], [`key_graph`], [`fingerprint`], [`random`] and [`derivation`] (what is derived from a seed);
//! [`distribution`], [`noise`] and [`sets`]; [`polynomial`], [`decomposition`], [`fft`], [`gadget_product`] and
//! [`integer_product`] (the arithmetic); [`lwe`], [`glwe`], [`ggsw`] (keys and ciphertexts); [`external_product`], [`cmux`],
//! [`keyswitch`], [`packing_keyswitch`], [`glwe_keyswitch`], [`automorphism`], [`tensor_product`], [`modulus_switch`],
//! [`blind_rotation`], [`programmable_bootstrap`] and [`wide`] (operations); [`keys`] (who has what).
//!
//! # Example
//! The toy set, insecure and instant: a client encrypts 2, a server looks it up in a table.
//! ```
//! use tfhe_core::fingerprint::Fields;
//! use tfhe_core::key_graph::Node;
//! use tfhe_core::keys::{Answer, ClientKeys, Needs};
//! use tfhe_core::{derivation::ClientSeed, programmable_bootstrap, sets, torus};
//! use zeroize::Zeroizing;
//!
//! let parameters = sets::TOY.compile()?;
//! let client = ClientKeys::generate(&parameters, &ClientSeed::from_system()?)?;
//! let needs = Needs::default().keyswitch(Node::Lookup).bootstrapping(0);
//! let server = client.evaluation_keys(&needs)?.prepare()?;
//!
//! // Four values on half the torus: m is the angle m/8, plus half a slot.
//! let mut plaintext = Zeroizing::new(vec![0; parameters.arithmetic().size().get()]);
//! plaintext[0] = (2 << 61) + programmable_bootstrap::half_slot(2);
//! let encoding = Fields::new("one index of a table of 4").fingerprint();
//! let request = client.encrypt(&[plaintext], &encoding)?;
//!
//! // The server takes what belongs to its keys and is encoded as it expects.
//! let input = request.open(&server, &encoding, 1)?[0].expand();
//! let squares_modulo_4: Vec<u64> = [0, 1, 0, 1].map(|square: u64| square << 61).to_vec();
//! let table = programmable_bootstrap::table_accumulator(parameters.lookup().shape, &squares_modulo_4);
//! let small = server.keyswitch(Node::Lookup)?.keyswitch(&[input.sample_extract(0)]);
//! let results = server.bootstrapping_key(0)?.blind_rotate(&small, &[&table]);
//! let answer = Answer::new(request.label(), results);
//!
//! let phase = &client.decrypt(&answer, request.label(), 1)?[0];
//! assert_eq!(torus::switch_modulus(phase[0], 3) % 8, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

// Floors: each stands on those before it. Their modules are the crate's.
mod analysis;
mod ground;
mod math;
mod parameters;
mod randomness;
mod scheme;

pub mod keys;
pub mod raw;
#[cfg(test)]
pub(crate) mod testing;

pub use analysis::{distribution, noise, security};
pub use ground::{fingerprint, rounding, torus, variance};
pub use math::{buffer, decomposition, fft, gadget_product, integer_product, polynomial, simd};
pub use parameters::{key_graph, params, sets};
#[cfg(feature = "secret-keys")]
pub use randomness::derivation;
pub use randomness::random;
#[cfg(feature = "secret-keys")]
use randomness::wiping;
use scheme::rows;
pub use scheme::{
    automorphism, blind_rotation, bootstrapping_key, cmux, external_product, ggsw, glwe, glwe_keyswitch, keyswitch,
    lwe, modulus_switch, packing_keyswitch, programmable_bootstrap, tensor_product, wide,
};
