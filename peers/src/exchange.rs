//! Keys and ciphertexts between `tfhe-core` and tfhe-rs.
//!
//! Both write the torus as u64 in units of 2^-64, ciphertexts as mask and then body with b = Σ a_i·s_i + μ + e, and the rows of
//! a GGSW ciphertext as encryptions of −m·S_i·q/β^level and then of m·q/β^level. What differs is the order of a key's levels:
//!
//! | what | `tfhe-core` | tfhe-rs |
//! |---|---|---|
//! | key-switching key | `[n'][level 1 … ℓ][n+1]` | `[n'][level ℓ … 1][n+1]` |
//! | GGSW ciphertext | `[row i][level 1 … ℓ][k+1][N]` | `[level ℓ … 1][row i][k+1][N]` |
//!
//! tfhe-rs's seeded keys are expanded from AES in counter mode and ours from ChaCha20, so seeded keys are expanded first.

use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::FourierLweBootstrapKeyOwned;
use tfhe::core_crypto::prelude as theirs;
use tfhe::core_crypto::prelude::{
    CiphertextModulus, ComputationBuffers, ContiguousEntityContainer, DecompositionBaseLog, DecompositionLevelCount,
    Fft, GgswCiphertextOwned, GlweCiphertextOwned, GlweSize, LweCiphertextOwned, LweKeyswitchKeyOwned,
    LweSecretKeyOwned,
};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::{Gadget, GlweShape, LweDimension};
use tfhe_core::raw::RawError;

/// q = 2^64.
pub const MODULUS: CiphertextModulus<u64> = CiphertextModulus::new_native();

/// β in tfhe-rs's terms.
pub fn base_log(gadget: Gadget) -> DecompositionBaseLog {
    DecompositionBaseLog(gadget.base_log() as usize)
}

/// ℓ in tfhe-rs's terms.
pub fn level_count(gadget: Gadget) -> DecompositionLevelCount {
    DecompositionLevelCount(gadget.levels())
}

/// N in tfhe-rs's terms.
pub fn polynomial_size(shape: GlweShape) -> theirs::PolynomialSize {
    theirs::PolynomialSize(shape.polynomial_size.get())
}

/// k+1 in tfhe-rs's terms.
pub fn glwe_size(shape: GlweShape) -> GlweSize {
    GlweSize(shape.dimension.get() + 1)
}

/// An LWE secret key of these bits in tfhe-rs.
pub fn lwe_secret_key_to_peer(bits: &[u64]) -> LweSecretKeyOwned<u64> {
    LweSecretKeyOwned::from_container(bits.to_vec())
}

/// A GLWE secret key of these bits, `[k][N]`, in tfhe-rs.
pub fn glwe_secret_key_to_peer(shape: GlweShape, bits: &[u64]) -> theirs::GlweSecretKeyOwned<u64> {
    theirs::GlweSecretKeyOwned::from_container(bits.to_vec(), polynomial_size(shape))
}

/// An LWE ciphertext in tfhe-rs's container.
pub fn lwe_to_peer(ciphertext: &LweCiphertext) -> LweCiphertextOwned<u64> {
    LweCiphertextOwned::from_container(ciphertext.data().to_vec(), MODULUS)
}

/// An LWE ciphertext of tfhe-rs in ours.
pub fn lwe_from_peer(ciphertext: &LweCiphertextOwned<u64>) -> LweCiphertext {
    LweCiphertext::from_data(ciphertext.as_ref().to_vec())
}

/// A GLWE ciphertext in tfhe-rs's container.
pub fn glwe_to_peer(ciphertext: &GlweCiphertext) -> GlweCiphertextOwned<u64> {
    GlweCiphertextOwned::from_container(ciphertext.data().to_vec(), polynomial_size(ciphertext.shape()), MODULUS)
}

/// A GLWE ciphertext of tfhe-rs in ours.
///
/// # Errors
/// If it is not of this shape.
pub fn glwe_from_peer(shape: GlweShape, ciphertext: &GlweCiphertextOwned<u64>) -> Result<GlweCiphertext, RawError> {
    GlweCiphertext::from_raw(shape, ciphertext.as_ref())
}

/// Swaps the two outer dimensions of `[outer][inner][block]` and reverses what becomes the outer one:
/// element (o, i) goes to (inner−1−i, o).
fn transpose_reversed(data: &[u64], outer: usize, inner: usize) -> Vec<u64> {
    let block = data.len() / (outer * inner);
    let at = |o: usize, i: usize| &data[(o * inner + i) * block..][..block];
    (0..inner).rev().flat_map(|i| (0..outer).flat_map(move |o| at(o, i))).copied().collect()
}

/// The inverse of [`transpose_reversed`]: from `[inner reversed][outer][block]` to `[outer][inner][block]`.
fn restore_transposed(data: &[u64], outer: usize, inner: usize) -> Vec<u64> {
    let block = data.len() / (outer * inner);
    let at = |o: usize, i: usize| &data[((inner - 1 - i) * outer + o) * block..][..block];
    (0..outer).flat_map(|o| (0..inner).flat_map(move |i| at(o, i))).copied().collect()
}

/// Reverses the levels of a key-switching key, `[n'][ℓ][row]`: its own inverse.
fn reverse_levels(rows: &[u64], levels: usize, row: usize) -> Vec<u64> {
    rows.chunks_exact(levels * row).flat_map(|block| block.chunks_exact(row).rev().flatten()).copied().collect()
}

/// The rows of a GGSW ciphertext, `[k+1][ℓ][k+1][N]`, in tfhe-rs's container.
pub fn ggsw_to_peer(shape: GlweShape, gadget: Gadget, rows: &[u64]) -> GgswCiphertextOwned<u64> {
    let data = transpose_reversed(rows, glwe_size(shape).0, gadget.levels());
    GgswCiphertextOwned::from_container(data, glwe_size(shape), polynomial_size(shape), base_log(gadget), MODULUS)
}

/// The rows `[k+1][ℓ][k+1][N]` of a GGSW ciphertext given in tfhe-rs's order.
pub fn ggsw_from_peer(shape: GlweShape, gadget: Gadget, data: &[u64]) -> Vec<u64> {
    restore_transposed(data, glwe_size(shape).0, gadget.levels())
}

/// The rows of a key-switching key to dimension `output`, `[n'][ℓ][n+1]`, in tfhe-rs's container.
pub fn keyswitch_key_to_peer(output: LweDimension, gadget: Gadget, rows: &[u64]) -> LweKeyswitchKeyOwned<u64> {
    let size = theirs::LweDimension(output.get()).to_lwe_size();
    let data = reverse_levels(rows, gadget.levels(), size.0);
    LweKeyswitchKeyOwned::from_container(data, base_log(gadget), level_count(gadget), size, MODULUS)
}

/// The rows `[n'][ℓ][n+1]` of a key-switching key of tfhe-rs.
pub fn keyswitch_key_from_peer(key: &LweKeyswitchKeyOwned<u64>) -> Vec<u64> {
    reverse_levels(key.as_ref(), key.decomposition_level_count().0, key.output_lwe_size().0)
}

/// A bootstrapping key of tfhe-rs, in its Fourier domain, from the rows `[k+1][ℓ][k+1][N]` of the GGSW ciphertexts of n bits.
///
/// # Panics
/// If there are not n.
pub fn bootstrapping_key_to_peer<Rows: AsRef<[u64]>>(
    shape: GlweShape,
    gadget: Gadget,
    lwe_dimension: LweDimension,
    bits: impl IntoIterator<Item = Rows>,
) -> FourierLweBootstrapKeyOwned {
    let mut key = empty_bootstrapping_key(shape, gadget, lwe_dimension);
    let mut transform = FourierTransform::new(shape);
    let mut bits = bits.into_iter();
    for fourier in key.as_mut_view().into_ggsw_iter() {
        let rows = bits.next().expect("a GGSW ciphertext for each bit");
        transform.fill(fourier, &ggsw_to_peer(shape, gadget, rows.as_ref()));
    }
    assert!(bits.next().is_none(), "a GGSW ciphertext for each bit, and no more");
    key
}

/// The rows `[k+1][ℓ][k+1][N]` of each GGSW ciphertext of a bootstrapping key of tfhe-rs, in turn.
pub fn bootstrapping_key_from_peer(
    shape: GlweShape,
    gadget: Gadget,
    key: &theirs::LweBootstrapKeyOwned<u64>,
) -> impl Iterator<Item = Vec<u64>> {
    key.iter().map(move |ggsw| ggsw_from_peer(shape, gadget, ggsw.as_ref()))
}

/// A bootstrapping key of tfhe-rs, zero everywhere.
pub fn empty_bootstrapping_key(
    shape: GlweShape,
    gadget: Gadget,
    lwe_dimension: LweDimension,
) -> FourierLweBootstrapKeyOwned {
    let n = theirs::LweDimension(lwe_dimension.get());
    FourierLweBootstrapKeyOwned::new(n, glwe_size(shape), polynomial_size(shape), base_log(gadget), level_count(gadget))
}

/// tfhe-rs's transform of GGSW ciphertexts, with its working memory.
pub struct FourierTransform {
    fft: Fft,
    buffers: ComputationBuffers,
}

impl FourierTransform {
    /// For this N.
    pub fn new(shape: GlweShape) -> Self {
        let fft = Fft::new(polynomial_size(shape));
        let mut buffers = ComputationBuffers::new();
        buffers.resize(fft.as_view().forward_scratch().unaligned_bytes_required());
        Self { fft, buffers }
    }

    /// Transforms one GGSW ciphertext.
    pub fn fill(&mut self, fourier: FourierGgswMutView<'_>, ggsw: &GgswCiphertextOwned<u64>) {
        fourier.fill_with_forward_fourier(ggsw.as_view(), self.fft.as_view(), self.buffers.stack());
    }
}

/// A GGSW ciphertext of tfhe-rs in its Fourier domain, to be written.
pub type FourierGgswMutView<'a> = tfhe::core_crypto::fft_impl::fft64::crypto::ggsw::FourierGgswCiphertextMutView<'a>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_levels() {
        // [2 rows][3 levels][2]: the tens are the row, the units the level.
        let ours = [10, 0, 11, 0, 12, 0, 20, 1, 21, 1, 22, 1];
        let peer = [12, 0, 22, 1, 11, 0, 21, 1, 10, 0, 20, 1];
        assert_eq!(transpose_reversed(&ours, 2, 3), peer);
        assert_eq!(restore_transposed(&peer, 2, 3), ours);
        let reversed = [12, 0, 11, 0, 10, 0, 22, 1, 21, 1, 20, 1];
        assert_eq!(reverse_levels(&ours, 3, 2), reversed);
        assert_eq!(reverse_levels(&reversed, 3, 2), ours);
    }
}
