//! The interface that users of tfhe-rs see: shortint, with its default parameters.

use peers::exchange;
use tfhe::core_crypto::prelude::DynamicDistribution;
use tfhe::shortint::ciphertext::{Degree, NoiseLevel};
use tfhe::shortint::parameters::PARAM_MESSAGE_2_CARRY_2_KS_PBS;
use tfhe::shortint::{Ciphertext, gen_keys};
use tfhe_core::key_graph::{Edge, Node};
use tfhe_core::lwe::LweSecretKey;
use tfhe_core::random::SecretSeed;
use tfhe_core::{sets, torus};

use crate::common::tuniform;

/// What is compared is the same set: tfhe-rs's default, and ours of that name.
#[test]
fn the_sets_are_the_same() {
    let (ours, theirs) = (sets::MESSAGE_2_CARRY_2.compile().unwrap(), PARAM_MESSAGE_2_CARRY_2_KS_PBS);
    let shape = ours.lookup().shape;
    assert_eq!(theirs.lwe_dimension.0, ours.small().lwe_dimension().get());
    assert_eq!(theirs.glwe_dimension.to_glwe_size(), exchange::glwe_size(shape));
    assert_eq!(theirs.polynomial_size, exchange::polynomial_size(shape));
    assert_eq!((theirs.ks_base_log, theirs.ks_level), {
        let keyswitch = ours.gadget(Edge::Keyswitch { from: Node::Lookup }).unwrap();
        (exchange::base_log(keyswitch), exchange::level_count(keyswitch))
    });
    let gadget = ours.bootstraps()[0].gadget;
    assert_eq!((theirs.pbs_base_log, theirs.pbs_level), (exchange::base_log(gadget), exchange::level_count(gadget)));
    let noise = [theirs.lwe_noise_distribution, theirs.glwe_noise_distribution];
    for (theirs, (bound_log, ours)) in noise.iter().zip([(45, ours.small().noise()), (17, ours.lookup().noise)]) {
        assert_eq!(*theirs, DynamicDistribution::new_t_uniform(bound_log));
        assert_eq!(ours, tuniform(bound_log).0);
    }
}

/// Our ciphertexts, looked up by shortint's server and decrypted by us. shortint draws its keys from the system's generator;
/// the lookup fails with probability 2^-129.
#[test]
fn shortint_reads_tables_at_our_ciphertexts() {
    let parameters = sets::MESSAGE_2_CARRY_2.compile().unwrap();
    let (client, server) = gen_keys(PARAM_MESSAGE_2_CARRY_2_KS_PBS);
    let key = LweSecretKey::from_raw(client.encryption_key().as_ref()).unwrap();
    let function = |x: u64| (x * x + x + 7) % 16;
    let table = server.generate_lookup_table(function);
    let seed = SecretSeed::from_number(8);
    let (mut masks, mut noises) = seed.experiment(0).into_streams();
    for message in 0..16 {
        let ours = key.encrypt(message << 59, parameters.lookup().noise, &mut masks, &mut noises);
        let mut there = Ciphertext::new(
            exchange::lwe_to_peer(&ours),
            Degree::new(15),
            NoiseLevel::NOMINAL,
            server.message_modulus,
            server.carry_modulus,
            client.encrypt(0).atomic_pattern,
        );
        assert_eq!(client.decrypt_message_and_carry(&there), message);
        server.apply_lookup_table_assign(&mut there, &table);
        assert_eq!(client.decrypt_message_and_carry(&there), function(message));
        let phase = key.phase(&exchange::lwe_from_peer(&there.ct));
        assert_eq!(torus::switch_modulus(phase, 5) % 32, function(message));
    }
}
