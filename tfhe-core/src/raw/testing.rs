//! The rows of the other keys, for tests that compute with them in another way.

use crate::automorphism::SeededAutomorphismKeys;
use crate::glwe_keyswitch::SeededGlweKeyswitchKey;
use crate::packing_keyswitch::PackingKeyswitchKey;
use crate::tensor_product::SeededRelinearizationKey;

impl SeededGlweKeyswitchKey {
    /// The rows `[k'][ℓ][k+1][N]`, masks expanded: encryptions of −Z_i·q/β^level.
    pub fn to_raw(&self) -> Vec<u64> {
        self.rows().expand()
    }
}

impl SeededAutomorphismKeys {
    /// The rows `[k][ℓ][k+1][N]` of the key of each l in turn, masks expanded: encryptions of −S_i(X^(2^l + 1))·q/β^level.
    pub fn to_raw(&self) -> impl ExactSizeIterator<Item = Vec<u64>> {
        self.rows().iter().map(|key| key.expand())
    }
}

impl SeededRelinearizationKey {
    /// The rows `[ℓ][2][N]`, masks expanded: encryptions of S²·q/β^level.
    pub fn to_raw(&self) -> Vec<u64> {
        self.rows().expand()
    }
}

impl PackingKeyswitchKey {
    /// The rows `[n][ℓ][k+1][N]`: encryptions of the constants s'_i·q/β^level.
    pub fn to_raw(&self) -> Vec<u64> {
        self.rows().iter().flat_map(|row| row.data()).copied().collect()
    }
}
