//! Keys under a GLWE key: the rows that gadget products are made with.
//!
//! A row (i, level) is a GLWE encryption of M_i·q/β^level for an integer polynomial M_i that depends on what the key is for:
//!
//! | key | M_i, 0 ≤ i < inputs |
//! |---|---|
//! | GGSW of m (Gentry, Sahai, Waters, Crypto 2013; Chillotti et al., J. Cryptology 2020, section 3.2) | −m·S_i for i < k, then m |
//! | key switch from Z to S | −Z_i for i < k |
//! | relinearization, k = 1 | S² |
//!
//! Stored, a key is its bodies and the seed of its masks ([`SeededRows`]); prepared, it is in the Fourier domain
//! ([`FourierRows`]).

use crate::fft::NegacyclicFft;
use crate::gadget_product::FourierRows;
use crate::params::{Gadget, GlweShape};
use crate::random::PublicSeed;

#[cfg(feature = "secret-keys")]
mod secret;

#[cfg(feature = "secret-keys")]
pub(crate) use secret::RowGenerator;

/// The rows of one key: seeded masks, and bodies `[inputs][ℓ][N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeededRows {
    shape: GlweShape,
    gadget: Gadget,
    seed: PublicSeed,
    stream: u64,
    bodies: Vec<u64>,
}

impl SeededRows {
    /// With the masks of stream `stream` of a seed, and bodies `[inputs][ℓ][N]`.
    pub(crate) fn from_bodies(
        shape: GlweShape,
        gadget: Gadget,
        (seed, stream): (PublicSeed, u64),
        bodies: Vec<u64>,
    ) -> Self {
        debug_assert_eq!(bodies.len() % (gadget.levels() * shape.polynomial_size.get()), 0);
        Self { shape, gadget, seed, stream, bodies }
    }

    /// The bodies `[inputs][ℓ][N]`.
    pub(crate) fn bodies(&self) -> &[u64] {
        &self.bodies
    }

    /// The seed of the masks.
    pub(crate) fn seed(&self) -> PublicSeed {
        self.seed
    }

    /// (β, ℓ).
    pub(crate) fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// k and N.
    pub(crate) fn shape(&self) -> GlweShape {
        self.shape
    }

    /// Expands the masks: the rows `[inputs][ℓ][k+1][N]`, from the most to the least significant level.
    pub(crate) fn expand(&self) -> Vec<u64> {
        let n = self.shape.polynomial_size.get();
        let row_len = self.shape.ciphertext_len();
        let rows = self.bodies.len() / n;
        let masks = &mut self.seed.mask_stream(self.stream);
        let mut data = vec![0; rows * row_len];
        for (row, body) in data.chunks_exact_mut(row_len).zip(self.bodies.chunks_exact(n)) {
            let (mask, out) = row.split_at_mut(row_len - n);
            masks.fill_uniform(mask);
            out.copy_from_slice(body);
        }
        data
    }

    /// Expands the masks and transforms to the Fourier domain.
    pub(crate) fn prepare(&self, fft: &NegacyclicFft) -> FourierRows {
        let data = self.expand();
        let inputs = data.len() / (self.gadget.levels() * self.shape.ciphertext_len());
        FourierRows::prepare(fft, self.gadget, inputs, self.shape.dimension.get() + 1, &data)
    }
}
