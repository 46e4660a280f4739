//! TFHE from scratch: LWE, GLWE and GGSW over the 64-bit torus, and programmable bootstrapping.
//!
//! A message m is put on the torus T = R/Z as the angle m/2^(p+1) and encrypted with a little noise. Additions add angles and noise; a
//! *programmable bootstrapping* reads a table at the angle, under encryption, and leaves fresh noise. With these two any function of
//! small integers is computed without ever decrypting. What the noise is after each operation, and with what probability a table is
//! read wrongly, is computed in [`noise`] and [`distribution`]; how hard it is to break a parameter set, in [`security`].
//!
//! # The shortest course
//! Each step is a paragraph and an example that runs: keys of a toy size, an operation, and what is decrypted against what it has to be;
//! where there is noise, that against the prediction. Keys and noise are fresh from the operating system each time, so bounds are
//! wide enough for any draw: eight standard deviations or more. All examples: `cargo test --release -p tfhe-core --doc`.
//!
//! 1. Messages are angles: [`torus::encode`] and [`torus::decode`].
//! 2. They are hidden in sums of random angles, and still add up: [`LweSecretKey::encrypt`](lwe::LweSecretKey::encrypt),
//!    [`LweCiphertext::add_scaled`](lwe::LweCiphertext::add_scaled).
//! 3. What is random, what of it is public, and how it is not used twice: [`EncryptionSeed`](random::EncryptionSeed),
//!    [`ClientSeed`](derivation::ClientSeed), [`Fields`](fingerprint::Fields).
//! 4. N messages under one key are a polynomial: [`polynomial::rotate`], [`GlweSecretKey::encrypt`](glwe::GlweSecretKey::encrypt); each
//!    of them is an LWE ciphertext: [`sample_extract`](glwe::GlweCiphertext::sample_extract).
//! 5. Products of polynomials by transforms, nearly exact and exact: [`NegacyclicFft`](fft::NegacyclicFft),
//!    [`FourierTorus::add_product`](integer_product::FourierTorus::add_product); of ciphertexts with public weights:
//!    [`FourierGlwe::add_product`](glwe::FourierGlwe::add_product).
//! 6. Large factors are cut into small digits, so that noise stays small: [`decompose`](decomposition::decompose).
//! 7. Ciphertexts made for digits multiply others: [`encrypt_ggsw`](glwe::GlweSecretKey::encrypt_ggsw),
//!    [`external_product`](ggsw::FourierGgsw::external_product).
//! 8. A product with an encrypted bit is a choice: [`cmux`](ggsw::FourierGgsw::cmux).
//! 9. From one key to another: [`keyswitch`](keyswitch::LweKeyswitchKey::keyswitch), by transforms
//!    [`keyswitch_lwe`](glwe_keyswitch::GlweKeyswitchKey::keyswitch_lwe), of polynomials
//!    [`GlweKeyswitchKey::keyswitch`](glwe_keyswitch::GlweKeyswitchKey::keyswitch).
//! 10. Angles in 2N steps: [`modulus_switch`](modulus_switch::modulus_switch).
//! 11. Choices, one after the other, turn a polynomial by an encrypted angle:
//!     [`SeededBootstrappingKey`](bootstrapping_key::SeededBootstrappingKey::generate),
//!     [`blind_rotate`](bootstrapping_key::BootstrappingKey::blind_rotate).
//! 12. A polynomial is a table, and what is read has fresh noise: [`table_polynomial`](programmable_bootstrap::table_polynomial),
//!     [`programmable_bootstrap`](bootstrapping_key::BootstrappingKey::programmable_bootstrap), several tables at once
//!     [`programmable_bootstrap_many_tables`](bootstrapping_key::BootstrappingKey::programmable_bootstrap_many_tables).
//! 13. Back from LWE to GLWE: [`packing_keyswitch`](packing_keyswitch::PackingKeyswitchKey::packing_keyswitch), and for many
//!     [`automorphism`](automorphism::AutomorphismKeys::automorphism), [`trace`](automorphism::AutomorphismKeys::trace) and
//!     [`pack`](automorphism::AutomorphismKeys::pack).
//! 14. Two ciphertexts are multiplied: [`RelinearizationKey::multiply`](tensor_product::RelinearizationKey::multiply),
//!     [`RelinearizationKey::ggsw`](tensor_product::RelinearizationKey::ggsw).
//! 15. Tables too wide for one bootstrapping: [`WideTable`](wide::WideTable).
//! 16. Lanes through lookups back into packed ciphertexts, so that any output can be an input: [`refresh`]; and an integer, read from an
//!     encrypted number, that multiplies others: [`LevelTables`](refresh::LevelTables),
//!     [`ggsw_of_levels`](tensor_product::RelinearizationKey::ggsw_of_levels).
//! 17. How large noise is, and how often too large: [`Variance`](variance::Variance),
//!     [`Distribution::log2_tail`](distribution::Distribution::log2_tail), [`noise::tensor_product`].
//! 18. How hard it is to break: [`security::level`].
//! 19. Who has which keys, the client's and the server's side of it all: [`keys`], and the example below.
//!
//! # Formulas
//! are plain text, as `β^(−2ℓ)/12`, which reads in the source as on this page. `RUSTDOCFLAGS="--html-in-header tfhe-core/formulas.html" cargo doc`
//! raises exponents and lowers indices.
//!
//! # The book
//! The same course with the ideas behind it, worked examples, pictures and exercises is a book, in the repository's folder `docs`. Modules name
//! their chapter; these links lead somewhere once the book has been built as well (`cargo run --release --manifest-path book/Cargo.toml`,
//! next to this documentation, in `target`): [its first page](../../book/index.html). Programs to run and to change, one to a chapter, are in
//! `tfhe-core/examples`: `encrypt`, `polynomials`, `external_product`, `bootstrapping`, `keyswitch`, `product`, `noise`.
//!
//! # Modules
//! From the ground up: [`torus`], [`variance`], [`rounding`] and [`fingerprint`]; [`params`], [`key_graph`] and [`sets`]; [`random`] and
//! [`derivation`] (what is derived from a seed); [`distribution`], [`noise`] and [`security`]; [`polynomial`], [`decomposition`], [`fft`],
//! [`gadget_product`] and [`integer_product`] (the arithmetic); [`lwe`], [`glwe`], [`ggsw`] (keys and ciphertexts);
//! [`external_product`], [`cmux`], [`keyswitch`], [`packing_keyswitch`], [`glwe_keyswitch`], [`automorphism`], [`tensor_product`],
//! [`modulus_switch`], [`blind_rotation`], [`programmable_bootstrap`], [`wide`] and [`refresh`] (operations); [`keys`] (who has what);
//! [`raw`] (exchange with others); [`mod@format`] (files).
//!
//! # Example
//! The toy set, insecure and instant: a client encrypts 2, a server looks it up in a table.
//! ```
//! use tfhe_core::fingerprint::Fields;
//! use tfhe_core::key_graph::Node;
//! use tfhe_core::keys::{Answer, ClientKeys, Needs};
//! use tfhe_core::programmable_bootstrap::{half_slot, table_accumulator};
//! use tfhe_core::torus::{decode, encode};
//! use tfhe_core::{derivation::ClientSeed, sets};
//! use zeroize::Zeroizing;
//!
//! let parameters = sets::TOY.compile()?;
//! let client = ClientKeys::generate(&parameters, &ClientSeed::from_system()?)?;
//! let needs = Needs::default().keyswitch(Node::Lookup).bootstrapping(0);
//! let server = client.evaluation_keys(&needs)?.prepare()?;
//!
//! // Four values on half the torus: m is the angle m/8, plus half a slot.
//! let mut plaintext = Zeroizing::new(vec![0; parameters.arithmetic().size().get()]);
//! plaintext[0] = encode(2, 3) + half_slot(2);
//! let encoding = Fields::new("one index of a table of 4").fingerprint();
//! let request = client.encrypt(&[plaintext], &encoding, 64)?;
//!
//! // The server takes what belongs to its keys and is encoded as it expects.
//! let input = request.open(&server, &encoding, 1)?[0].expand();
//! let squares_modulo_4: Vec<u64> = [0, 1, 0, 1].map(|square| encode(square, 3)).to_vec();
//! let table = table_accumulator(parameters.lookup().shape, &squares_modulo_4);
//! let small = server.keyswitch(Node::Lookup)?.keyswitch(&[input.sample_extract(0)]);
//! let results = server.bootstrapping_key(0)?.blind_rotate(&small, &[&table]);
//! let answer = Answer::new(request.label(), results, 64);
//!
//! let phase = &client.decrypt(&answer, request.label(), 1)?[0];
//! assert_eq!(decode(phase[0], 3), 0);
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

pub mod format;
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
    lwe, modulus_switch, packing_keyswitch, programmable_bootstrap, refresh, tensor_product, wide,
};
