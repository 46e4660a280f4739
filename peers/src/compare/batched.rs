//! Key switch and bootstrapping of a batch with tfhe-rs's `core_crypto`.
//!
//! Its batched bootstrapping reads each GGSW ciphertext once for a whole list. Its key switch knows no lists, but can write 32-bit
//! ciphertexts from a 32-bit key: half the bytes. Which combination is quickest depends on the caches, so all are candidates.

use anyhow::Result;
use rayon::prelude::*;
use tfhe::core_crypto::prelude::{
    CastInto, CiphertextCount, CiphertextModulus, ComputationBuffers, GlweCiphertextListOwned, LweCiphertextCount,
    LweCiphertextList, LweCiphertextListOwned, LweCiphertextMutView, LweCiphertextOwned, UnsignedTorus,
    batch_programmable_bootstrap_lwe_ciphertext_mem_optimized,
    batch_programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement, keyswitch_lwe_ciphertext,
    keyswitch_lwe_ciphertext_with_scalar_change,
};
use tfhe::core_crypto::prelude::{ContiguousEntityContainer, ContiguousEntityContainerMut};
use tfhe_core::lwe::LweCiphertext;

use super::keys::{BATCH, Keys};
use crate::exchange;

/// Ciphertexts of a list.
const LIST_SIZES: [usize; 2] = [8, 32];

/// All combinations, with their working memory.
pub(super) struct Candidates<'a> {
    wide: Vec<Batch<'a, u64>>,
    narrow: Vec<Batch<'a, u32>>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(keys: &'a Keys) -> Self {
        Self {
            wide: LIST_SIZES.map(|size| Batch::new(keys, size, switch_64)).into(),
            narrow: LIST_SIZES.map(|size| Batch::new(keys, size, switch_32)).into(),
        }
    }

    /// A function for each that does the whole batch, on all threads of the current pool.
    pub(super) fn runs(&mut self) -> Vec<Box<dyn FnMut() + '_>> {
        let wide = self.wide.iter_mut().map(|batch| Box::new(|| batch.run()) as Box<dyn FnMut()>);
        let narrow = self.narrow.iter_mut().map(|batch| Box::new(|| batch.run()) as Box<dyn FnMut()>);
        wide.chain(narrow).collect()
    }
}

/// Holds that every candidate reads the table right.
pub(super) fn check_candidates(keys: &Keys) -> Result<()> {
    let mut candidates = Candidates::new(keys);
    candidates.runs().iter_mut().for_each(|run| run());
    let wide = candidates.wide.iter().map(Batch::outputs);
    for outputs in wide.chain(candidates.narrow.iter().map(Batch::outputs)) {
        keys.check("tfhe-rs, batched,", &outputs)?;
    }
    Ok(())
}

/// A key switch of one ciphertext.
type Switch<Scalar> = fn(&Keys, &LweCiphertextOwned<u64>, &mut LweCiphertextMutView<'_, Scalar>);

fn switch_64(keys: &Keys, input: &LweCiphertextOwned<u64>, output: &mut LweCiphertextMutView<'_, u64>) {
    keyswitch_lwe_ciphertext(&keys.peer_keyswitch, input, output);
}

fn switch_32(keys: &Keys, input: &LweCiphertextOwned<u64>, output: &mut LweCiphertextMutView<'_, u32>) {
    keyswitch_lwe_ciphertext_with_scalar_change(&keys.peer_keyswitch_32, input, output);
}

/// A batch in lists of one size, whose key switch writes `Scalar`s.
struct Batch<'a, Scalar: UnsignedTorus> {
    keys: &'a Keys,
    switch: Switch<Scalar>,
    lists: Vec<List<Scalar>>,
}

/// The ciphertexts of one list on their way.
struct List<Scalar: UnsignedTorus> {
    inputs: Vec<LweCiphertextOwned<u64>>,
    switched: LweCiphertextListOwned<Scalar>,
    accumulators: GlweCiphertextListOwned<u64>,
    outputs: LweCiphertextListOwned<u64>,
    memory: ComputationBuffers,
}

impl<'a, Scalar: UnsignedTorus + CastInto<usize> + Send + Sync> Batch<'a, Scalar> {
    fn new(keys: &'a Keys, size: usize, switch: Switch<Scalar>) -> Self {
        assert_eq!(BATCH % size, 0);
        Self { keys, switch, lists: keys.inputs.chunks_exact(size).map(|inputs| List::new(keys, inputs)).collect() }
    }

    fn run(&mut self) {
        let (keys, switch) = (self.keys, self.switch);
        self.lists.par_iter_mut().for_each(|list| list.run(keys, switch));
    }

    fn outputs(&self) -> Vec<LweCiphertext> {
        let outputs = self.lists.iter().flat_map(|list| list.outputs.iter());
        outputs.map(|output| LweCiphertext::from_data(output.as_ref().to_vec())).collect()
    }
}

impl<Scalar: UnsignedTorus + CastInto<usize>> List<Scalar> {
    fn new(keys: &Keys, inputs: &[LweCiphertext]) -> Self {
        let key = &keys.peer_bootstrapping;
        let (count, small) = (LweCiphertextCount(inputs.len()), key.input_lwe_dimension().to_lwe_size());
        let (glwe_size, n) = (key.glwe_size(), key.polynomial_size());
        let required = batch_programmable_bootstrap_lwe_ciphertext_mem_optimized_requirement::<u64>(
            glwe_size,
            n,
            CiphertextCount(inputs.len()),
            keys.peer_fft.as_view(),
        );
        let mut memory = ComputationBuffers::new();
        memory.resize(required.unaligned_bytes_required());
        let big = key.output_lwe_dimension().to_lwe_size();
        let tables = keys.table.data().repeat(inputs.len());
        Self {
            inputs: inputs.iter().map(exchange::lwe_to_peer).collect(),
            switched: LweCiphertextList::new(Scalar::ZERO, small, count, CiphertextModulus::new_native()),
            accumulators: GlweCiphertextListOwned::from_container(tables, glwe_size, n, exchange::MODULUS),
            outputs: LweCiphertextList::new(0, big, count, exchange::MODULUS),
            memory,
        }
    }

    fn run(&mut self, keys: &Keys, switch: Switch<Scalar>) {
        for (input, mut switched) in self.inputs.iter().zip(self.switched.iter_mut()) {
            switch(keys, input, &mut switched);
        }
        batch_programmable_bootstrap_lwe_ciphertext_mem_optimized(
            &self.switched,
            &mut self.outputs,
            &self.accumulators,
            &keys.peer_bootstrapping,
            keys.peer_fft.as_view(),
            self.memory.stack(),
        );
    }
}
