//! What every operation takes.

use tfhe_core::params::{GlweShape, LweDimension};

use crate::block::keys::BlockKeys;
use crate::block::layout::BlockLayout;

/// The keys to compute blocks with, and where everything lies.
#[derive(Clone, Copy, Debug)]
pub struct BlockCiphertexts<'a> {
    /// Of whoever encrypted the input.
    pub keys: BlockKeys<'a>,
    /// In the rings of the keys.
    pub layout: &'a BlockLayout,
}

impl BlockCiphertexts<'_> {
    /// k and N of the arithmetic ring.
    pub(in crate::block) fn shape(&self) -> GlweShape {
        self.keys.parameters.arithmetic().shape
    }

    /// That of samples under the lookup ring's key.
    pub(in crate::block) fn lookup_dimension(&self) -> LweDimension {
        self.keys.parameters.lookup().lwe_dimension()
    }
}
