//! Transforms: from integers to the Fourier domain, conversion and twist included, and back with untwist, rounding to the torus
//! and addition to a torus polynomial.

use anyhow::Result;
use tfhe::core_crypto::fft_impl::fft64::math::polynomial::FourierPolynomialOwned;
use tfhe::core_crypto::prelude::{ComputationBuffers, Fft, FftView, PolynomialMutView, PolynomialSize, PolynomialView};
use tfhe_core::buffer::AlignedBuffer;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::params;
use tfhe_core::random::SampleSeed;

use super::Session;
use crate::measure::by_turns;

/// The sizes compared: tfhe-rs's parameter sets use all of these.
const LOG_SIZES: std::ops::RangeInclusive<u32> = 9..=13;

pub(super) fn compare(session: &mut Session<'_>) -> Result<()> {
    for n in LOG_SIZES.map(|log| 1 << log) {
        forward(session, n)?;
        inverse(session, n)?;
    }
    Ok(())
}

/// Digits of a gadget of base 2^23, as in the set's bootstrapping.
fn digits(n: usize) -> Vec<i32> {
    let mut generator = SampleSeed::from_number(n as u64).stream(0);
    (0..n).map(|_| (generator.uniform() >> 41) as i32 - (1 << 22)).collect()
}

/// Enough working memory for tfhe-rs's transforms.
fn buffers(fft: FftView<'_>) -> ComputationBuffers {
    let mut buffers = ComputationBuffers::new();
    let (forward, backward) = (fft.forward_scratch(), fft.backward_scratch());
    buffers.resize(forward.unaligned_bytes_required().max(backward.unaligned_bytes_required()));
    buffers
}

/// tfhe-rs transforms integers of 64 or 32 bits; the quicker counts.
fn forward(session: &mut Session<'_>, n: usize) -> Result<()> {
    let input = digits(n);
    let plan = NegacyclicFft::new(params::PolynomialSize::new(n)?);
    let scratch = &mut plan.scratch();
    let mut output = AlignedBuffer::zeros(n);

    let peer_plan = Fft::new(PolynomialSize(n));
    let peer_plan = peer_plan.as_view();
    let (mut memory_64, mut memory_32) = (buffers(peer_plan), buffers(peer_plan));
    let input_64: Vec<u64> = input.iter().map(|&x| x as i64 as u64).collect();
    let input_32: Vec<u32> = input.iter().map(|&x| x as u32).collect();
    let (mut output_64, mut output_32) =
        (FourierPolynomialOwned::new(PolynomialSize(n)), FourierPolynomialOwned::new(PolynomialSize(n)));
    session.measure(&format!("fft_forward_{n}"), 1, |effort| {
        by_turns(
            effort,
            1,
            &mut || plan.forward_integers(&input, &mut output, scratch),
            &mut [
                &mut || {
                    let input = PolynomialView::from_container(input_64.as_slice());
                    peer_plan.forward_as_integer(output_64.as_mut_view(), input, memory_64.stack());
                },
                &mut || {
                    let input = PolynomialView::from_container(input_32.as_slice());
                    peer_plan.forward_as_integer(output_32.as_mut_view(), input, memory_32.stack());
                },
            ],
        )
    })
}

/// Both overwrite their input, so both copy it first; the time of the copy is in both.
fn inverse(session: &mut Session<'_>, n: usize) -> Result<()> {
    let plan = NegacyclicFft::new(params::PolynomialSize::new(n)?);
    let scratch = &mut plan.scratch();
    let mut transformed = AlignedBuffer::zeros(n);
    plan.forward_integers(&digits(n), &mut transformed, scratch);
    let (mut input, mut output) = (AlignedBuffer::zeros(n), vec![0_u64; n]);

    let peer_plan = Fft::new(PolynomialSize(n));
    let peer_plan = peer_plan.as_view();
    let mut memory = buffers(peer_plan);
    let standard: Vec<u64> = digits(n).iter().map(|&x| x as i64 as u64).collect();
    let mut peer_transformed = FourierPolynomialOwned::new(PolynomialSize(n));
    let standard = PolynomialView::from_container(standard.as_slice());
    peer_plan.forward_as_torus(peer_transformed.as_mut_view(), standard, memory.stack());
    let (mut peer_input, mut peer_output) = (peer_transformed.clone(), vec![0_u64; n]);
    session.measure(&format!("fft_inverse_{n}"), 1, |effort| {
        by_turns(
            effort,
            1,
            &mut || {
                input.copy_from_slice(&transformed);
                plan.inverse_add_torus(&mut input, &mut output, scratch);
            },
            &mut [&mut || {
                peer_input.data.copy_from_slice(&peer_transformed.data);
                let output = PolynomialMutView::from_container(peer_output.as_mut_slice());
                peer_plan.add_backward_in_place_as_torus(output, peer_input.as_mut_view(), memory.stack());
            }],
        )
    })
}
