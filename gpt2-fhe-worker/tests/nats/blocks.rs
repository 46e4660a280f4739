//! Requests for blocks whose lookups workers compute: whatever happens to workers and broker meanwhile, the answer has the bits that it has
//! without them.

#[path = "../../../gpt2-fhe-server/tests/server/party.rs"]
mod party;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gpt2_fhe_server::blocks::BlockEngine;
use gpt2_fhe_server::engine::{Engine, Progress};
use gpt2_fhe_worker::dispatcher::{DispatchOptions, Dispatcher};
use gpt2_fhe_worker::nats::NatsExchange;
use gpt2_fhe_worker::scale::{MessageSizes, RunRecord};
use nn::block::BlockPart;
use tempfile::TempDir;

use self::party::{Blocks, Owner};
use crate::support::{Broker, Worker, broker, other_backend, wait_until};

/// What a server has on its disk, and what it answers by itself.
struct Request {
    folder: TempDir,
    answer: Vec<u8>,
    /// Lookups and products, after how many of which something is to happen.
    operations: u64,
}

static REQUEST: LazyLock<Request> = LazyLock::new(|| {
    let (folder, blocks) = (tempfile::tempdir().unwrap(), Blocks::new(16, 1, BlockPart::Whole, 16));
    let owner = Owner::new(&blocks, 1);
    let (request, bytes) = owner.request(&blocks.hidden.row_range(0..3), 0);
    blocks.write_server_half(&folder.path().join("blocks"));
    std::fs::write(folder.path().join("keys"), owner.keys()).unwrap();
    std::fs::write(folder.path().join("request"), bytes).unwrap();
    let engine = engine(folder.path());
    let mut counted = After::nothing();
    let answer = computed(&engine, folder.path(), &mut counted).unwrap();
    blocks.assert_near(&owner.output(&answer, &request), &blocks.hidden.row_range(0..3));
    Request { folder, answer, operations: counted.done }
});

fn engine(folder: &Path) -> BlockEngine {
    BlockEngine::load(&[folder.join("blocks")]).unwrap()
}

fn computed(engine: &BlockEngine, folder: &Path, progress: &mut dyn Progress) -> Result<Vec<u8>, String> {
    let keys = engine.load_keys(&folder.join("keys")).unwrap();
    engine.compute(&keys, &folder.join("request"), None, progress).map_err(|refusal| refusal.line)
}

/// Does something once, when so many operations are done.
struct After<'a> {
    done: u64,
    then: Option<(u64, Box<dyn FnOnce() + 'a>)>,
}

impl<'a> After<'a> {
    fn nothing() -> Self {
        Self { done: 0, then: None }
    }

    /// In the middle of the request.
    fn half(then: impl FnOnce() + 'a) -> Self {
        Self { done: 0, then: Some((REQUEST.operations / 2, Box::new(then))) }
    }
}

impl Progress for After<'_> {
    fn begin(&mut self, _: &str, _: usize) {}

    fn advance(&mut self, operations: usize) -> bool {
        self.done += operations as u64;
        if let Some((_, then)) = self.then.take_if(|(when, _)| *when <= self.done) {
            then();
        }
        true
    }
}

/// A server over a broker.
fn served(broker: &Broker, options: DispatchOptions) -> BlockEngine {
    recorded(broker, options, None)
}

fn recorded(broker: &Broker, options: DispatchOptions, records: Option<PathBuf>) -> BlockEngine {
    let run = Dispatcher::random_run().unwrap();
    let exchange = Arc::new(NatsExchange::connect(&broker.options(), run).unwrap());
    engine(REQUEST.folder.path()).with_workers(Dispatcher::new(exchange, run, options).unwrap(), records)
}

/// A server that leaves to its workers what these can do in time.
fn leaving() -> DispatchOptions {
    DispatchOptions { own_threads: 2, beside_workers: false, ..DispatchOptions::default() }
}

fn worker(broker: &Broker, backend: Option<&str>) -> Worker {
    let worker = Worker::start(&["--engine", &broker.url(), "--set", "packed_block"], backend);
    worker.name();
    worker
}

fn count(engine: &BlockEngine, name: &str) -> u64 {
    engine.counts().iter().find(|count| count.name == name).unwrap().value
}

/// Waits until a server has seen as many threads of workers, and its keys are where these find them.
fn ready(engine: &BlockEngine, threads: u64) {
    wait_until("the server sees its workers", || count(engine, "worker_threads") == threads);
}

/// The answer is the one that there is without workers.
fn assert_right(engine: &BlockEngine, progress: &mut After<'_>) {
    let answer = computed(engine, REQUEST.folder.path(), progress).unwrap();
    assert!(answer == REQUEST.answer, "other bits");
    assert_eq!(progress.done, REQUEST.operations);
    assert!(progress.then.is_none(), "it did not happen");
}

#[test]
fn answers_have_the_same_bits_with_workers_beside_them_and_without() {
    let broker = broker!("");
    for options in [leaving(), DispatchOptions { own_threads: 1, verify: 0.2, ..DispatchOptions::default() }] {
        let engine = served(&broker, options.clone());
        assert_right(&engine, &mut After::nothing());
        assert_eq!(count(&engine, "worker_rotations"), 0, "nobody is there");
        let workers = [worker(&broker, None), worker(&broker, None)];
        ready(&engine, 2);
        assert_right(&engine, &mut After::nothing());
        let (all, by_workers) = (count(&engine, "rotations"), count(&engine, "worker_rotations"));
        assert!(by_workers > all / 8, "{by_workers} of {all} by workers");
        if options.verify > 0.0 {
            assert!(count(&engine, "worker_results_verified") > 0);
        }
        assert_eq!([count(&engine, "worker_results_wrong"), count(&engine, "worker_results_damaged")], [0, 0]);
        drop(workers);
    }
}

/// A record of a request with workers says what they did, and replayed takes about as long as it took.
#[test]
fn a_request_is_recorded_and_replayed() {
    let (broker, records) = (broker!(""), tempfile::tempdir().unwrap());
    let engine = recorded(&broker, leaving(), Some(records.path().to_owned()));
    let _workers = [worker(&broker, None), worker(&broker, None)];
    ready(&engine, 2);
    assert_right(&engine, &mut After::nothing());
    let files: Vec<PathBuf> = std::fs::read_dir(records.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let record = RunRecord::read(&files[0]).unwrap();
    let rotations: usize = record.calls.iter().map(|call| call.rotations).sum();
    assert_eq!(rotations as u64, count(&engine, "rotations"));
    let batches = || record.calls.iter().flat_map(|call| &call.batches);
    let by_workers: usize = batches().filter(|batch| !batch.by_server).map(|batch| batch.rotations).sum();
    assert_eq!(by_workers as u64, count(&engine, "worker_rotations"));
    let (back, received) =
        (batches().map(|batch| batch.bytes_back).sum::<u64>(), count(&engine, "worker_bytes_received"));
    // Of batches that were overdue results may have come as well, and are none of it.
    assert!(
        if count(&engine, "worker_results_late") == 0 { back == received } else { back < received },
        "{back} {received}"
    );
    let replayed = record.replay(&record.cluster(), &MessageSizes::none(3), 1).unwrap();
    let ratio = replayed.seconds / record.seconds();
    // The first batches waited for their keys, which the simulation does not know.
    assert!((0.4..1.3).contains(&ratio), "{} s replayed, {} s recorded", replayed.seconds, record.seconds());
}

#[test]
fn a_worker_is_killed_and_another_one_comes_in_mid_request() {
    let broker = broker!("");
    let engine = served(&broker, leaving());
    let mut first = Some(worker(&broker, None));
    ready(&engine, 1);
    let mut later = None;
    assert_right(
        &engine,
        &mut After::half(|| {
            first.take().into_iter().for_each(Worker::kill);
            later = Some(worker(&broker, None));
        }),
    );
    assert!(count(&engine, "worker_rotations") > 0);
    assert!(later.is_some());
}

#[test]
fn a_worker_freezes_in_mid_request() {
    let broker = broker!("");
    let engine = served(&broker, leaving());
    let worker = worker(&broker, None);
    ready(&engine, 1);
    assert_right(&engine, &mut After::half(|| worker.signal("-STOP")));
    assert!(count(&engine, "worker_batches_overdue") > 0);
    worker.signal("-CONT");
}

#[test]
fn the_broker_is_killed_in_mid_request_and_comes_back_empty() {
    let mut broker = broker!("");
    let engine = served(&broker, leaving());
    let _worker = worker(&broker, None);
    ready(&engine, 1);
    assert_right(
        &engine,
        &mut After::half(|| {
            broker.kill();
            broker.lose_everything();
            broker.run();
        }),
    );
    // And workers compute again, when all have found it.
    ready(&engine, 1);
    let before = count(&engine, "worker_rotations");
    assert_right(&engine, &mut After::nothing());
    assert!(count(&engine, "worker_rotations") > before);
    assert_eq!(count(&engine, "worker_exchange_lost"), 1);
}

/// Without a broker there is an answer, too.
#[test]
fn the_broker_is_killed_in_mid_request_for_ever() {
    let mut broker = broker!("");
    let engine = served(&broker, leaving());
    let _worker = worker(&broker, None);
    ready(&engine, 1);
    assert_right(&engine, &mut After::half(|| broker.kill()));
    assert_eq!(count(&engine, "worker_exchange_up"), 0);
}

/// Its results would have other bits.
#[test]
fn a_worker_with_other_transforms_is_given_nothing() {
    let broker = broker!("");
    let engine = served(&broker, leaving());
    let _worker = worker(&broker, Some(other_backend()));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(count(&engine, "worker_threads"), 0);
    assert_right(&engine, &mut After::nothing());
    assert_eq!(count(&engine, "worker_batches"), 0);
}
