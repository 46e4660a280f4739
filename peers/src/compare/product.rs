//! External products of the set: with one GGSW ciphertext that stays in the caches, and with all those of a bootstrapping key in
//! turn, as a blind rotation reads them.

use anyhow::Result;
use tfhe::core_crypto::fft_impl::fft64::crypto::ggsw::{
    FourierGgswCiphertextView, add_external_product_assign, add_external_product_assign_scratch,
};
use tfhe::core_crypto::prelude::{ComputationBuffers, GlweCiphertextOwned};
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::random::SampleSeed;

use super::Session;
use super::keys::Keys;
use crate::exchange;
use crate::measure::by_turns;

pub(super) fn compare(session: &mut Session<'_>, keys: &Keys) -> Result<()> {
    let shape = keys.parameters.lookup().shape;
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let ours = keys
        .seeded_bootstrapping
        .to_raw()
        .map(|rows| FourierGgsw::from_raw(&fft, shape, keys.gadget(), &rows))
        .collect::<Result<Vec<_>, _>>()?;
    let peer: Vec<FourierGgswCiphertextView<'_>> = keys.peer_bootstrapping.as_view().into_ggsw_iter().collect();
    measure(session, "external_product_hot", keys, &fft, (&ours[..1], &peer[..1]))?;
    measure(session, "external_product_streaming", keys, &fft, (&ours, &peer))
}

fn measure(
    session: &mut Session<'_>,
    name: &str,
    keys: &Keys,
    fft: &NegacyclicFft,
    (ours, peer): (&[FourierGgsw], &[FourierGgswCiphertextView<'_>]),
) -> Result<()> {
    let shape = keys.parameters.lookup().shape;
    let mut input = GlweCiphertext::zero(shape);
    SampleSeed::from_number(4).stream(0).fill_uniform(input.data_mut());
    let mut output = GlweCiphertext::zero(shape);
    let scratch = &mut ours[0].scratch(fft);

    let peer_input = exchange::glwe_to_peer(&input);
    let (size, polynomial_size) = (exchange::glwe_size(shape), exchange::polynomial_size(shape));
    let mut peer_output = GlweCiphertextOwned::new(0, size, polynomial_size, exchange::MODULUS);
    let mut memory = ComputationBuffers::new();
    let peer_fft = keys.peer_fft.as_view();
    let required = add_external_product_assign_scratch::<u64>(size, polynomial_size, peer_fft);
    memory.resize(required.unaligned_bytes_required());

    session.measure(name, 1, |effort| {
        by_turns(
            effort,
            ours.len(),
            &mut || {
                for (i, ggsw) in ours.iter().enumerate() {
                    ggsw.add_external_product_before(ours.get(i + 1), fft, &input, &mut output, scratch);
                }
            },
            &mut [&mut || {
                for &ggsw in peer {
                    let (input, output) = (peer_input.as_view(), peer_output.as_mut_view());
                    add_external_product_assign(output, ggsw, input, peer_fft, memory.stack());
                }
            }],
        )
    })
}
