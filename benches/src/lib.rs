//! What the benches share: keys of a named set and encrypted inputs.

use std::time::Duration;

use criterion::Criterion;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, EvaluationKeys, Needs};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::programmable_bootstrap::half_slot;
use tfhe_core::random::SecretSeed;

/// Short runs: `cargo bench` as a whole stays well under a quarter of an hour.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// Keys of a set, all that it has edges for.
pub fn keys(literal: ParametersLiteral) -> (ClientKeys, EvaluationKeys) {
    let parameters = literal.compile().expect("named sets are valid");
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).expect("a backend");
    let needs = Needs::everything(&parameters);
    let server = client.evaluation_keys(&needs).expect("a set has what it has").prepare().expect("a backend");
    (client, server)
}

/// `count` encryptions of indices of 4-bit tables under the extracted GLWE key.
pub fn inputs(client: &ClientKeys, count: u64) -> Vec<LweCiphertext> {
    let key = client.lwe_key(Node::Lookup);
    let (mut masks, mut noises) = SecretSeed::from_number(1).experiment(0).into_streams();
    let noise = client.parameters().lookup().noise;
    (0..count).map(|i| key.encrypt(((i % 16) << 59) + half_slot(4), noise, &mut masks, &mut noises)).collect()
}
