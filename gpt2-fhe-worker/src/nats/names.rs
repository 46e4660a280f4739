//! Names of streams and subjects, and what the streams are like.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::object_store;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use tfhe_core::fingerprint::Fingerprint;

use crate::info::PROTOCOL;

/// The stream of batches.
pub const WORK_STREAM: &str = "gpt2fhe-work";
/// The stream of results.
pub const RESULT_STREAM: &str = "gpt2fhe-results";
/// The bucket of evaluation keys.
pub const KEY_BUCKET: &str = "gpt2fhe-keys";
/// Where workers say that they are there.
pub const WORKER_SUBJECT: &str = "gpt2fhe.worker";
/// Where servers do.
pub const SERVER_SUBJECT: &str = "gpt2fhe.server";

/// For how long a worker has a batch that it says nothing more about.
pub const ACK_WAIT: Duration = Duration::from_secs(8);
/// How often it says that it is still at it.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// How often a batch is given to workers that do not finish it.
const MOST_DELIVERIES: i64 = 5;
/// After how long batches and results of a server that has died go away.
const MOST_AGE: Duration = Duration::from_secs(600);
/// After how long keys go away that are not offered again.
const KEY_AGE: Duration = Duration::from_secs(30 * 86_400);
/// After how long a consumer goes away that nobody uses.
const IDLE_CONSUMER: Duration = Duration::from_secs(3600);
/// Of all workers of a kind together: batches that are with them, and requests for one that wait.
const MOST_TAKEN: i64 = 65_536;

/// Where batches of a run go: to workers of this version and arithmetic that have the parameter set.
pub(super) fn work_subject(arithmetic: &str, set: &Fingerprint, run: &str) -> String {
    format!("gpt2fhe.work.{PROTOCOL}.{arithmetic}.{}.{run}", set_name(set))
}

/// Where results of a run go.
pub(super) fn result_subject(run: &str) -> String {
    format!("gpt2fhe.result.{PROTOCOL}.{run}")
}

/// As it is in subjects.
pub(super) fn run_name(run: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*run))
}

/// As it is in subjects: the first 16 digits.
fn set_name(set: &Fingerprint) -> String {
    set.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Both streams.
pub(super) fn streams() -> [Config; 2] {
    let queue = |name: &str, subjects: &str, description: &str| Config {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        subjects: vec![subjects.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        max_age: MOST_AGE,
        ..Config::default()
    };
    [
        queue(WORK_STREAM, "gpt2fhe.work.>", "batches of lookups, for workers"),
        queue(RESULT_STREAM, "gpt2fhe.result.>", "results of batches, for servers"),
    ]
}

/// The bucket of keys.
pub(super) fn bucket() -> object_store::Config {
    object_store::Config {
        bucket: KEY_BUCKET.to_owned(),
        description: Some("evaluation keys, by the SHA-256 of their bytes".to_owned()),
        max_age: KEY_AGE,
        storage: StorageType::File,
        ..object_store::Config::default()
    }
}

/// What all workers of one kind take batches by: of this version and arithmetic, for a parameter set.
pub(super) fn work_consumer(arithmetic: &str, set: &Fingerprint) -> pull::Config {
    pull::Config {
        durable_name: Some(format!("{PROTOCOL}-{arithmetic}-{}", set_name(set))),
        filter_subject: work_subject(arithmetic, set, "*"),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: MOST_DELIVERIES,
        max_ack_pending: MOST_TAKEN,
        max_waiting: MOST_TAKEN,
        inactive_threshold: IDLE_CONSUMER,
        ..pull::Config::default()
    }
}

/// What a server takes results of its run by.
pub(super) fn result_consumer(run: &str) -> pull::Config {
    pull::Config {
        durable_name: Some(run.to_owned()),
        filter_subject: result_subject(run),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: MOST_TAKEN,
        inactive_threshold: IDLE_CONSUMER,
        ..pull::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use tfhe_core::sets;

    use super::*;

    /// Batches of a kind are for the consumer of this kind, and the consumer is named by nothing that NATS has a meaning for.
    #[test]
    fn subjects_and_consumers_belong_together() {
        let set = sets::PACKED_BLOCK.compile().unwrap().fingerprint();
        let run = run_name(&[7; 16]);
        let subject = work_subject("avx512-adders", &set, &run);
        let consumer = work_consumer("avx512-adders", &set);
        let stem = subject.strip_suffix(&run).unwrap();
        assert_eq!(consumer.filter_subject, format!("{stem}*"));
        assert_ne!(work_consumer("avx2", &set).filter_subject, consumer.filter_subject);
        let name = consumer.durable_name.unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        assert_eq!(result_consumer(&run).filter_subject, format!("gpt2fhe.result.{PROTOCOL}.{run}"));
        assert_eq!(run.len(), 32);
    }
}
