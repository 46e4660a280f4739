//! GGSW ciphertexts, used in external products by the other.

use peers::exchange::{self, FourierTransform};
use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::FourierLweBootstrapKeyOwned;
use tfhe::core_crypto::fft_impl::fft64::crypto::ggsw::{
    add_external_product_assign, add_external_product_assign_scratch,
};
use tfhe::core_crypto::prelude::{
    Cleartext, ComputationBuffers, Fft, GgswCiphertextOwned, GlweCiphertextOwned, encrypt_constant_ggsw_ciphertext,
};
use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweSecretKey;
use tfhe_core::noise;
use tfhe_core::params::{Gadget, GlweShape, LweDimension, Precision};
use tfhe_core::random::SecretSeed;

use crate::common::{GlweKeys, assert_variance, error, peer_generator, shape, tuniform};

/// log2 of the bound of the keys' and ciphertexts' noise: so much that little else counts in a product, neither the rounding to
/// the gadget, whose errors would depend on each other, nor the transforms, which are not the same in both.
const BOUND_LOG: u32 = 22;
/// Products of each kind. With N = 512 that is 4096 coefficients; one standard error of their variance is 2 %.
const PRODUCTS: usize = 8;

/// The product of `input` with a GGSW ciphertext, rows `[k+1][ℓ][k+1][N]`, by tfhe-rs.
fn product_there(shape: GlweShape, gadget: Gadget, rows: &[u64], input: &GlweCiphertext) -> GlweCiphertext {
    let (size, degree) = (exchange::glwe_size(shape), exchange::polynomial_size(shape));
    // A bootstrapping key of one bit is a GGSW ciphertext.
    let mut key: FourierLweBootstrapKeyOwned =
        exchange::empty_bootstrapping_key(shape, gadget, LweDimension::new(1).unwrap());
    let ggsw = exchange::ggsw_to_peer(shape, gadget, rows);
    key.as_mut_view().into_ggsw_iter().for_each(|fourier| FourierTransform::new(shape).fill(fourier, &ggsw));

    let fft = Fft::new(degree);
    let mut memory = ComputationBuffers::new();
    let required = add_external_product_assign_scratch::<u64>(size, degree, fft.as_view());
    memory.resize(required.unaligned_bytes_required());
    let mut output = GlweCiphertextOwned::new(0, size, degree, exchange::MODULUS);
    let input = exchange::glwe_to_peer(input);
    for ggsw in key.as_view().into_ggsw_iter() {
        let (output, input) = (output.as_mut_view(), input.as_view());
        add_external_product_assign(output, ggsw, input, fft.as_view(), memory.stack());
    }
    exchange::glwe_from_peer(shape, &output).unwrap()
}

/// The same by us.
fn product_here(keys: &GlweKeys, gadget: Gadget, rows: &[u64], input: &GlweCiphertext) -> GlweCiphertext {
    let shape = input.shape();
    let ggsw = FourierGgsw::from_raw(&keys.fft, shape, gadget, rows).unwrap();
    ggsw.external_product(&keys.fft, input, &mut ggsw.scratch(&keys.fft))
}

/// Our GGSW encryption of a bit.
fn ggsw_here(keys: &GlweKeys, gadget: Gadget, bit: u64, index: u64) -> Vec<u64> {
    let (noise, _) = tuniform(BOUND_LOG);
    let seed = SecretSeed::from_number(100 + index);
    let from = LweSecretKey::from_raw(&[bit]).unwrap();
    let key = SeededBootstrappingKey::generate(&keys.fft, &from, &keys.ours, gadget, noise, seed.experiment(0));
    key.to_raw().next().unwrap()
}

/// tfhe-rs's GGSW encryption of a bit, in our order.
fn ggsw_there(keys: &GlweKeys, shape: GlweShape, gadget: Gadget, bit: u64, index: u64) -> Vec<u64> {
    let (_, noise) = tuniform(BOUND_LOG);
    let (size, degree) = (exchange::glwe_size(shape), exchange::polynomial_size(shape));
    let (base_log, levels) = (exchange::base_log(gadget), exchange::level_count(gadget));
    let mut ggsw = GgswCiphertextOwned::new(0, size, degree, base_log, levels, exchange::MODULUS);
    let generator = &mut peer_generator(100 + u128::from(index));
    encrypt_constant_ggsw_ciphertext(&keys.peer, &mut ggsw, Cleartext(bit), noise, generator);
    exchange::ggsw_from_peer(shape, gadget, ggsw.as_ref())
}

/// Multiplies encryptions of a polynomial by GGSW ciphertexts of 1, and of 0, from both, in both.
fn check_products(shape: GlweShape, gadget: Gadget) {
    let keys = GlweKeys::new(3, shape);
    let (noise, _) = tuniform(BOUND_LOG);
    let mut own = SecretSeed::from_number(3).experiment(1);
    let plaintext: Vec<u64> = (0..shape.polynomial_size.get() as u64).map(|j| (j % 16) << 59).collect();
    let mut errors = [const { Vec::new() }; 4];
    for index in 0..PRODUCTS as u64 {
        let input = keys.ours.encrypt(&keys.fft, &plaintext, noise, &mut own).expand();
        let phase = keys.ours.phase(&keys.fft, &input);
        for bit in [1, 0] {
            let (ours, theirs) = (ggsw_here(&keys, gadget, bit, index), ggsw_there(&keys, shape, gadget, bit, index));
            let products = [
                product_there(shape, gadget, &ours, &input),
                product_here(&keys, gadget, &theirs, &input),
                product_here(&keys, gadget, &ours, &input),
                product_there(shape, gadget, &theirs, &input),
            ];
            for (product, errors) in products.iter().zip(&mut errors) {
                let found = keys.ours.phase(&keys.fft, product);
                let difference = found.iter().zip(&phase).map(|(&x, &p)| error(x, p * bit));
                if bit == 1 {
                    errors.extend(difference);
                } else {
                    // Nothing is left of the plaintext, of which the smallest step is 2^-5.
                    assert!(difference.map(f64::abs).fold(0.0, f64::max) < 2f64.powi(-7), "a product with 0 is 0");
                }
            }
        }
    }
    let predicted = noise::external_product(gadget.on(keys.fft.transforms()), shape, noise.variance());
    let names = ["our GGSW in tfhe-rs", "tfhe-rs's GGSW in ours", "our GGSW in ours", "tfhe-rs's GGSW in tfhe-rs"];
    for (name, errors) in names.iter().zip(&errors) {
        let (k, base_log, levels) = (shape.dimension.get(), gadget.base_log(), gadget.levels());
        assert_variance(&format!("{name}, k = {k}, β = 2^{base_log}, ℓ = {levels}"), errors, predicted, 0.12);
    }
}

/// One level, several, and so many that the order of levels and of rows both count.
#[test]
fn ggsw_ciphertexts_multiply_there_and_here() {
    for (k, base_log, levels) in [(1, 23, 1), (1, 12, 4), (2, 8, 6), (4, 14, 3)] {
        check_products(shape(k, 512), Gadget::new(base_log, levels, Precision::Single).unwrap());
    }
}
