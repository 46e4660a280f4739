//! Evaluation keys of the set, ready for use: key-switching key and bootstrapping key in the Fourier domain, on all threads.
//!
//! Ours are made seeded, as they are sent, and expanded. tfhe-rs's are made in full, which is less work: its bootstrapping key in
//! parallel; its key-switching key on one thread, for want of another function.

use anyhow::Result;
use tfhe::core_crypto::prelude::{
    DefaultRandomGenerator, EncryptionRandomGenerator, GlweSecretKeyOwned, LweSecretKeyOwned, TUniform,
    allocate_and_generate_new_lwe_keyswitch_key, new_seeder, par_allocate_and_generate_new_lwe_bootstrap_key,
    par_convert_standard_lwe_bootstrap_key_to_fourier,
};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{Node, Parameters};
use tfhe_core::keys::ClientKeys;
use tfhe_core::params::NoiseDistribution;
use tfhe_core::random::SampleSeed;
use tfhe_core::sets;

use super::Session;
use super::keys::{generate_bootstrapping, generate_keyswitch, keyswitch_gadget};
use crate::exchange;
use crate::measure::by_turns;

pub(super) fn compare(session: &mut Session<'_>) -> Result<()> {
    let parameters = sets::MESSAGE_2_CARRY_2.compile()?;
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(3))?;
    let mut peer = Peer::new(&parameters);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    session
        .measure("keygen", threads, |effort| by_turns(effort, 1, &mut || ours(&client), &mut [&mut || peer.generate()]))
}

fn ours(client: &ClientKeys) {
    let keyswitch = generate_keyswitch(client).expand();
    let bootstrapping =
        generate_bootstrapping(client).prepare(client.fft(Node::Lookup), client.parameters().lookup().shape);
    drop((keyswitch, bootstrapping));
}

/// tfhe-rs's secret keys and generator.
struct Peer<'a> {
    parameters: &'a Parameters,
    small: LweSecretKeyOwned<u64>,
    glwe: GlweSecretKeyOwned<u64>,
    generator: EncryptionRandomGenerator<DefaultRandomGenerator>,
}

/// The same distribution in tfhe-rs.
fn tuniform(noise: NoiseDistribution) -> TUniform<u64> {
    match noise {
        NoiseDistribution::TUniform { bound_log } => TUniform::new(bound_log),
        NoiseDistribution::Gaussian { .. } => unreachable!("the set has TUniform noise"),
    }
}

impl<'a> Peer<'a> {
    fn new(parameters: &'a Parameters) -> Self {
        let shape = parameters.lookup().shape;
        let bits = |index, count| {
            let mut bits = vec![0; count];
            SampleSeed::from_number(3).stream(index).fill_binary(&mut bits);
            bits
        };
        let small = bits(0, parameters.small().lwe_dimension().get());
        let glwe = bits(1, shape.extracted_lwe_dimension().get());
        let mut seeder = new_seeder();
        let seeder = seeder.as_mut();
        Self {
            parameters,
            small: exchange::lwe_secret_key_to_peer(&small),
            glwe: exchange::glwe_secret_key_to_peer(shape, &glwe),
            generator: EncryptionRandomGenerator::new(seeder.seed(), seeder),
        }
    }

    fn generate(&mut self) {
        let (parameters, shape) = (self.parameters, self.parameters.lookup().shape);
        let (keyswitch, gadget) = (keyswitch_gadget(parameters), parameters.bootstraps()[0].gadget);
        let keyswitch = allocate_and_generate_new_lwe_keyswitch_key(
            &self.glwe.as_lwe_secret_key(),
            &self.small,
            exchange::base_log(keyswitch),
            exchange::level_count(keyswitch),
            tuniform(parameters.small().noise()),
            exchange::MODULUS,
            &mut self.generator,
        );
        let standard = par_allocate_and_generate_new_lwe_bootstrap_key(
            &self.small,
            &self.glwe,
            exchange::base_log(gadget),
            exchange::level_count(gadget),
            tuniform(parameters.lookup().noise),
            exchange::MODULUS,
            &mut self.generator,
        );
        let mut fourier = exchange::empty_bootstrapping_key(shape, gadget, parameters.small().lwe_dimension());
        par_convert_standard_lwe_bootstrap_key_to_fourier(&standard, &mut fourier);
        drop((keyswitch, fourier));
    }
}
