//! Ciphertexts, and what is done with them.

pub mod automorphism;
pub mod blind_rotation;
pub mod bootstrapping_key;
pub mod cmux;
pub mod external_product;
pub mod ggsw;
pub mod glwe;
pub mod glwe_keyswitch;
pub mod keyswitch;
pub mod lwe;
pub mod modulus_switch;
pub mod packing_keyswitch;
pub mod programmable_bootstrap;
pub mod refresh;
pub(crate) mod rows;
pub mod tensor_product;
pub mod wide;
