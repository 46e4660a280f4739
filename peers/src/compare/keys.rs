//! The keys and ciphertexts of the set `message_2_carry_2`, for both.

use anyhow::{Result, ensure};
use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::FourierLweBootstrapKeyOwned;
use tfhe::core_crypto::prelude::{CiphertextModulus, Fft, LweKeyswitchKeyOwned};
use tfhe_core::bootstrapping_key::{BootstrappingKey, SeededBootstrappingKey};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{Bootstrap, Edge, Node, Parameters};
use tfhe_core::keys::ClientKeys;
use tfhe_core::keyswitch::{LweKeyswitchKey, SeededLweKeyswitchKey};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::Gadget;
use tfhe_core::programmable_bootstrap::{half_slot, table_accumulator};
use tfhe_core::random::SecretSeed;
use tfhe_core::{sets, torus};

use crate::exchange;

/// Values of a table of the set: 4 bits, above which a ciphertext has its bit of padding.
pub(super) const VALUES: u64 = 16;
/// log2 of the scale of a value: 16 values over half the torus.
const SCALE_LOG: u32 = 59;
/// Ciphertexts of a batch.
pub(super) const BATCH: usize = 64;

/// Everything that the comparisons at the set's parameters compute on. Made by us, and carried to tfhe-rs.
pub(super) struct Keys {
    pub(super) parameters: Parameters,
    client: ClientKeys,
    pub(super) keyswitch: LweKeyswitchKey,
    pub(super) bootstrapping: BootstrappingKey,
    pub(super) seeded_bootstrapping: SeededBootstrappingKey,
    /// Our keys of the set `message_2_carry_2_pairs`, between the same secret keys.
    pub(super) pairs: (LweKeyswitchKey, BootstrappingKey),
    pub(super) peer_fft: Fft,
    pub(super) peer_keyswitch: LweKeyswitchKeyOwned<u64>,
    /// The same key rounded to 32 bits: half the bytes, and noise that hardly differs.
    pub(super) peer_keyswitch_32: LweKeyswitchKeyOwned<u32>,
    pub(super) peer_bootstrapping: FourierLweBootstrapKeyOwned,
    /// Encryptions of i mod 16 under the big key.
    pub(super) inputs: Vec<LweCiphertext>,
    /// The table of v ↦ (v² + 3) mod 16.
    pub(super) table: GlweCiphertext,
}

/// The table's function.
pub(super) fn function(value: u64) -> u64 {
    (value * value + 3) % VALUES
}

impl Keys {
    pub(super) fn generate() -> Result<Self> {
        let parameters = sets::MESSAGE_2_CARRY_2.compile()?;
        let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(2))?;
        let (shape, small) = (parameters.lookup().shape, parameters.small().lwe_dimension());
        let seeded_keyswitch = generate_keyswitch(&client);
        let seeded_bootstrapping = generate_bootstrapping(&client);
        let of_pairs = sets::MESSAGE_2_CARRY_2_PAIRS.compile()?;
        ensure!(of_pairs.keys() == parameters.keys(), "the two sets have other keys");
        let pairs = (
            generate_keyswitch_of(&client, keyswitch_gadget(&of_pairs), 3).expand(),
            generate_bootstrapping_of(&client, of_pairs.bootstraps()[0], 4).prepare(client.fft(Node::Lookup), shape),
        );
        let gadget = parameters.bootstraps()[0].gadget;
        let rows = seeded_keyswitch.to_raw();
        let peer_keyswitch = exchange::keyswitch_key_to_peer(small, keyswitch_gadget(&parameters), &rows);
        Ok(Self {
            keyswitch: seeded_keyswitch.expand(),
            bootstrapping: seeded_bootstrapping.clone().prepare(client.fft(Node::Lookup), shape),
            peer_fft: Fft::new(exchange::polynomial_size(shape)),
            peer_keyswitch_32: round_to_32_bits(&peer_keyswitch),
            peer_keyswitch,
            peer_bootstrapping: exchange::bootstrapping_key_to_peer(
                shape,
                gadget,
                small,
                seeded_bootstrapping.to_raw(),
            ),
            inputs: inputs(&client),
            table: table_accumulator(shape, &(0..VALUES).map(|v| function(v) << SCALE_LOG).collect::<Vec<_>>()),
            seeded_bootstrapping,
            pairs,
            parameters,
            client,
        })
    }

    /// (β, ℓ) of the bootstrapping.
    pub(super) fn gadget(&self) -> Gadget {
        self.parameters.bootstraps()[0].gadget
    }

    /// A decrypted ciphertext of dimension kN, which may be one of tfhe-rs in our container.
    fn decrypt(&self, ciphertext: &LweCiphertext) -> u64 {
        let phase = self.client.lwe_key(Node::Lookup).phase(ciphertext);
        torus::switch_modulus(phase, 64 - SCALE_LOG) % (2 * VALUES)
    }

    /// Holds that the table was read right, for the first of the inputs.
    pub(super) fn check(&self, who: &str, outputs: &[LweCiphertext]) -> Result<()> {
        for (i, output) in outputs.iter().enumerate() {
            let (expected, decrypted) = (function(i as u64 % VALUES), self.decrypt(output));
            ensure!(decrypted == expected, "{who} read {decrypted} for input {i}, not {expected}");
        }
        Ok(())
    }
}

/// (β, ℓ) of the key switch.
pub(super) fn keyswitch_gadget(parameters: &Parameters) -> Gadget {
    parameters.gadget(Edge::Keyswitch { from: Node::Lookup }).expect("the set has a key switch")
}

/// A key switch from the extracted key to the small one.
pub(super) fn generate_keyswitch(client: &ClientKeys) -> SeededLweKeyswitchKey {
    generate_keyswitch_of(client, keyswitch_gadget(client.parameters()), 1)
}

/// With streams of their own for each key.
fn generate_keyswitch_of(client: &ClientKeys, gadget: Gadget, number: u64) -> SeededLweKeyswitchKey {
    let (seed, noise) = (SecretSeed::from_number(2).experiment(number), client.parameters().small().noise());
    let from = client.lwe_key(Node::Lookup);
    SeededLweKeyswitchKey::generate(&from, &client.lwe_key(Node::Small), gadget, noise, seed)
}

/// The bootstrapping key of the set's first gadget.
pub(super) fn generate_bootstrapping(client: &ClientKeys) -> SeededBootstrappingKey {
    generate_bootstrapping_of(client, client.parameters().bootstraps()[0], 2)
}

fn generate_bootstrapping_of(client: &ClientKeys, bootstrap: Bootstrap, number: u64) -> SeededBootstrappingKey {
    let (seed, noise) = (SecretSeed::from_number(2).experiment(number), client.parameters().lookup().noise);
    let (from, to) = (client.lwe_key(Node::Small), client.glwe_key(Node::Lookup));
    let kind = (bootstrap.gadget, bootstrap.grouping);
    SeededBootstrappingKey::generate_grouped(client.fft(Node::Lookup), &from, to, kind, noise, seed)
}

fn inputs(client: &ClientKeys) -> Vec<LweCiphertext> {
    let key = client.lwe_key(Node::Lookup);
    let (mut masks, mut noises) = SecretSeed::from_number(2).experiment(9).into_streams();
    let noise = client.parameters().lookup().noise;
    let plaintext = |i: usize| ((i as u64 % VALUES) << SCALE_LOG) + half_slot(VALUES.ilog2());
    (0..BATCH).map(|i| key.encrypt(plaintext(i), noise, &mut masks, &mut noises)).collect()
}

fn round_to_32_bits(key: &LweKeyswitchKeyOwned<u64>) -> LweKeyswitchKeyOwned<u32> {
    let data = key.as_ref().iter().map(|&x| (x.wrapping_add(1 << 31) >> 32) as u32).collect();
    let (base_log, levels) = (key.decomposition_base_log(), key.decomposition_level_count());
    LweKeyswitchKeyOwned::from_container(data, base_log, levels, key.output_lwe_size(), CiphertextModulus::new_native())
}
