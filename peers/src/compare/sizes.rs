//! Bootstrappings at larger polynomials, without their key switch.
//!
//! The keys are uniformly random, the same in both: the time does not depend on what a key encrypts, and keys of 2 GiB would take
//! longer to make than to measure. What comes out means nothing; at the set of [`super::keys`] results are checked.

use anyhow::Result;
use tfhe::core_crypto::prelude::{
    ComputationBuffers, Fft, LweCiphertextOwned, programmable_bootstrap_lwe_ciphertext_mem_optimized,
    programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement,
};
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::{Gadget, GlweDimension, GlweShape, LweDimension, PolynomialSize, Precision};
use tfhe_core::random::SampleSeed;

use super::Session;
use crate::exchange::{self, FourierTransform};
use crate::measure::by_turns;

/// What a bootstrapping's time depends on; k = 1.
struct Size {
    name: &'static str,
    /// n.
    lwe_dimension: usize,
    /// N.
    polynomial_size: usize,
    /// (log2 β, ℓ).
    gadget: (u32, u32),
}

/// The coarse gadget of our sets for the head; tfhe-rs's MESSAGE_3_CARRY_3 with TUniform noise and failure below 2^-128; its
/// MESSAGE_4_CARRY_4 with failure below 2^-40.
const SIZES: [Size; 3] = [
    Size { name: "pbs_n4096", lwe_dimension: 900, polynomial_size: 4096, gadget: (23, 1) },
    Size { name: "pbs_n8192", lwe_dimension: 1077, polynomial_size: 8192, gadget: (15, 2) },
    Size { name: "pbs_n32768", lwe_dimension: 1096, polynomial_size: 32768, gadget: (15, 2) },
];

pub(super) fn compare(session: &mut Session<'_>) -> Result<()> {
    SIZES.iter().try_for_each(|size| if session.wants(size.name) { measure(session, size) } else { Ok(()) })
}

/// Uniform torus elements, from stream `index`.
fn uniform(index: u64, count: usize) -> Vec<u64> {
    let mut elements = vec![0; count];
    SampleSeed::from_number(5).stream(index).fill_uniform(&mut elements);
    elements
}

fn measure(session: &mut Session<'_>, size: &Size) -> Result<()> {
    let polynomial_size = PolynomialSize::new(size.polynomial_size)?;
    let shape = GlweShape { dimension: GlweDimension::new(1)?, polynomial_size };
    let gadget = Gadget::new(size.gadget.0, size.gadget.1, Precision::Single)?;
    let lwe_dimension = LweDimension::new(size.lwe_dimension)?;

    // Each GGSW ciphertext is made once and goes to both.
    let elements = (shape.dimension.get() + 1) * gadget.levels() * shape.ciphertext_len();
    let mut peer_key = exchange::empty_bootstrapping_key(shape, gadget, lwe_dimension);
    let mut transform = FourierTransform::new(shape);
    let bits = peer_key.as_mut_view().into_ggsw_iter().enumerate().map(|(i, fourier)| {
        let rows = uniform(i as u64, elements);
        transform.fill(fourier, &exchange::ggsw_to_peer(shape, gadget, &rows));
        rows
    });
    let fft = NegacyclicFft::new(polynomial_size);
    let key = BootstrappingKey::from_raw(&fft, shape, gadget, bits)?;

    let inputs = [LweCiphertext::from_data(uniform(1 << 20, size.lwe_dimension + 1))];
    let table = GlweCiphertext::trivial(shape, &uniform(1 << 21, size.polynomial_size));
    let (peer_input, peer_table) = (exchange::lwe_to_peer(&inputs[0]), exchange::glwe_to_peer(&table));
    let mut output = LweCiphertextOwned::new(0, peer_key.output_lwe_dimension().to_lwe_size(), exchange::MODULUS);
    let (glwe_size, n) = (peer_key.glwe_size(), peer_key.polynomial_size());
    let peer_fft = Fft::new(n);
    let peer_fft = peer_fft.as_view();
    let mut memory = ComputationBuffers::new();
    let required = programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(glwe_size, n, peer_fft);
    memory.resize(required.unaligned_bytes_required());
    session.measure(size.name, 1, |effort| {
        by_turns(
            effort,
            1,
            &mut || drop(key.programmable_bootstrap(&inputs, &[&table])),
            &mut [&mut || {
                let (output, stack) = (&mut output, memory.stack());
                programmable_bootstrap_lwe_ciphertext_mem_optimized(
                    &peer_input,
                    output,
                    &peer_table,
                    &peer_key,
                    peer_fft,
                    stack,
                );
            }],
        )
    })
}
