//! Batches by a NATS server and workers that are processes of their own, and all that can go wrong with them.
//!
//! `cargo test --release -p gpt2-fhe-worker --features nats`; without a `nats-server` in `PATH` or `NATS_SERVER` each test says that it is
//! skipped.
#![cfg(feature = "nats")]

mod blocks;
mod deploy;
mod failures;
mod refusals;
mod support;

use std::sync::LazyLock;
use std::time::Duration;

use gpt2_fhe_worker::exchange::Exchange;
use gpt2_fhe_worker::info::{Counts, PROTOCOL, RequestInfo, ServerInfo, arithmetic};
use gpt2_fhe_worker::nats::status::{Status, table, watch};
use tfhe_core::sets;

use crate::support::{Broker, Party, Server, broker, wait_until};

/// Batches of these take no time.
static TOY: LazyLock<Party> = LazyLock::new(|| Party::new(&sets::TOY.compile().unwrap(), 1));
/// One lookup of these takes milliseconds.
static SLOW: LazyLock<Party> = LazyLock::new(|| Party::new(&sets::MESSAGE_2_CARRY_2.compile().unwrap(), 2));

fn told(server: &Server) -> ServerInfo {
    let request = RequestInfo { step: "block 0, scores".into(), done: 10, operations: 40, seconds: 30.0 };
    ServerInfo {
        protocol: PROTOCOL,
        version: "test".into(),
        run: format!("{:032x}", u128::from_be_bytes(server.run)),
        host: "front".into(),
        arithmetic: arithmetic(),
        sets: vec!["toy".into()],
        requests: vec![request],
        counts: Counts::default(),
    }
}

#[test]
fn results_have_the_bits_of_the_key_whoever_computes() {
    let broker = broker!("");
    // The first worker is there before a server has made anything.
    let first = broker.worker(&["--threads", "2", "--host", "first"]);
    first.name();
    wait_until("a worker says that it waits", || first.log().contains("waiting for a server"));
    let mut server = broker.exchange();
    assert!(server.exchange.message_limit() > 4_000_000 - 10_000);
    let keys = &*TOY;
    server.offer(keys);
    let batches = keys.batches(server.run, 60, 40);
    batches[..30].iter().for_each(|batch| server.publish(batch));
    // Another one comes while they are at it.
    let second = broker.worker(&["--threads", "1", "--log", "json"]);
    batches[30..].iter().for_each(|batch| server.publish(batch));
    server.all_right(keys, &batches);
    assert!(server.results.values().all(|results| results.len() == 1), "a batch was computed twice");
    server.until("both say that they are there", |server| server.workers.len() == 2);

    // Who watches sees the same.
    let status = {
        let stop = std::sync::atomic::AtomicBool::new(false);
        let info = told(&server);
        std::thread::scope(|scope| {
            let telling = scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    server.exchange.tell(&info);
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
            // On a machine that is busy it may take longer until everyone was heard twice.
            let seen = || watch(&broker.options(), Duration::from_millis(2500)).unwrap();
            let is_heard = |status: &Status| {
                status.servers.len() == 1 && status.workers.iter().filter(|worker| worker.rate.is_some()).count() == 2
            };
            let status = (0..10).map(|_| seen()).find(is_heard).unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            telling.join().unwrap();
            status
        })
    };
    assert_eq!(status.waiting, Some(0));
    assert_eq!(status.workers.iter().map(|worker| worker.info.threads).sum::<u32>(), 3);
    assert_eq!(status.workers.iter().map(|worker| worker.info.rotations).sum::<u64>(), 60 * 40);
    assert!(status.workers.iter().all(|worker| worker.gets_nothing.is_none() && worker.rate == Some(0.0)));
    assert_eq!(status.servers[0].seconds_left, [Some(90.0)]);
    let text = table(&status);
    assert!(text.contains("first") && text.contains("10 of 40 operations, about 1m 30s left"), "{text}");
    drop((first, second));
}

/// Keys of megabytes, in pieces.
#[test]
fn keys_are_fetched_once_and_dropped_when_nobody_asks_for_them() {
    let broker = broker!("");
    let mut server = broker.exchange();
    // Long enough that it says meanwhile that it has them, also on a busy machine.
    let worker = broker.worker(&["--threads", "2", "--keep-keys", "10s"]);
    let name = worker.name();
    let keys = &*SLOW;
    server.offer(keys);
    // They are there: nothing is written.
    server.exchange.offer_keys(keys.name, &mut |_| panic!("they are written again")).unwrap();
    let batches = keys.batches(server.run, 4, 3);
    batches.iter().for_each(|batch| server.publish(batch));
    server.all_right(keys, &batches);
    let short = keys.name.to_string()[..12].to_owned();
    server.until("the worker has the keys", |server| server.workers.get(&name).is_some_and(|w| w.keys == [&*short]));
    server.until("the worker has dropped the keys", |server| server.workers[&name].keys.is_empty());
    // And fetches them again.
    let more = keys.batch(server.run, 4, 2);
    server.publish(&more);
    server.all_right(keys, &[more]);
}

/// What nobody has taken yet can be taken back; and a server of another run gets none of the results.
#[test]
fn batches_are_of_one_run() {
    let broker = broker!("");
    let (mut server, other) = (broker.exchange(), broker.exchange());
    let keys = &*TOY;
    server.offer(keys);
    let batches = keys.batches(server.run, 5, 4);
    let others = keys.batches(other.run, 3, 4);
    batches.iter().for_each(|batch| server.publish(batch));
    others.iter().for_each(|batch| other.publish(batch));
    let waiting = || watch(&broker.options(), Duration::from_millis(50)).unwrap().waiting;
    assert_eq!(waiting(), Some(8));
    other.exchange.withdraw();
    assert_eq!(waiting(), Some(5));
    let _worker = broker.worker(&[]);
    server.all_right(keys, &batches);
    wait_until("all batches are done", || waiting() == Some(0));
    assert_eq!(server.results.len(), 5);
    let mut other = other;
    other.until("a worker says that it is there", |other| !other.workers.is_empty());
    assert!(other.results.is_empty());
}
