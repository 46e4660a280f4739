//! Workers and NATS servers that fail while they have something to do.

use std::time::Duration;

use gpt2_fhe_worker::exchange::Exchange;

use crate::support::{Broker, broker};
use crate::{SLOW, TOY};

/// Lookups of a batch that takes more than a second.
const LONG: usize = 120;

#[test]
fn a_batch_of_a_worker_that_is_killed_is_given_to_another_one() {
    let broker = broker!("");
    let mut server = broker.exchange();
    let first = broker.worker(&[]);
    let killed = first.name();
    let keys = &*SLOW;
    server.offer(keys);
    let batch = keys.batch(server.run, 0, LONG);
    server.publish(&batch);
    server.busy(&killed);
    first.kill();
    assert!(server.results.is_empty());
    let second = broker.worker(&[]);
    server.all_right(keys, std::slice::from_ref(&batch));
    assert_eq!(server.by(keys, &batch), second.name());
}

#[test]
fn a_batch_of_a_worker_that_is_frozen_is_given_to_another_one() {
    let broker = broker!("");
    let mut server = broker.exchange();
    let first = broker.worker(&[]);
    let frozen = first.name();
    let keys = &*SLOW;
    server.offer(keys);
    let batch = keys.batch(server.run, 0, LONG);
    server.publish(&batch);
    server.busy(&frozen);
    first.signal("-STOP");
    assert!(server.results.is_empty());
    let second = broker.worker(&[]);
    server.all_right(keys, std::slice::from_ref(&batch));
    assert_eq!(server.by(keys, &batch), second.name());
    // It wakes up and goes on; what it still sends has the same bits.
    first.signal("-CONT");
    server.until("the result comes twice", |server| server.results[&0].len() == 2);
    server.all_right(keys, &[batch]);
}

/// Asked to end, a worker finishes what it computes, gives back what waits, and ends as programs do that were asked to.
#[test]
fn a_worker_that_is_asked_to_end_loses_nothing() {
    let broker = broker!("");
    let mut server = broker.exchange();
    let mut first = broker.worker(&["--grace", "60s"]);
    let asked = first.name();
    let keys = &*SLOW;
    server.offer(keys);
    // One that is computed, and some that wait for it: where the machine is busy it may be heard late that it is.
    let batches = keys.batches(server.run, 5, LONG);
    batches.iter().for_each(|batch| server.publish(batch));
    server.busy(&asked);
    std::thread::sleep(Duration::from_millis(200));
    first.signal("-TERM");
    let status = first.ended();
    assert!(status.success(), "{status}: {}", first.log());
    let second = broker.worker(&["--threads", "2"]);
    server.all_right(keys, &batches);
    let by: Vec<String> = batches.iter().map(|batch| server.by(keys, batch)).collect();
    // What it had begun it has computed, and nothing after that.
    let begun = by.iter().take_while(|worker| **worker == asked).count();
    assert!((1..by.len()).contains(&begun), "{by:?}");
    assert!(by[begun..].iter().all(|worker| *worker == second.name()), "{by:?}");
}

#[test]
fn a_worker_that_is_asked_twice_ends_at_once() {
    let broker = broker!("");
    let mut server = broker.exchange();
    let mut worker = broker.worker(&[]);
    let name = worker.name();
    let keys = &*SLOW;
    server.offer(keys);
    server.publish(&keys.batch(server.run, 0, 4 * LONG));
    server.busy(&name);
    let begun = std::time::Instant::now();
    worker.signal("-INT");
    std::thread::sleep(Duration::from_millis(100));
    worker.signal("-INT");
    assert!(worker.ended().success());
    assert!(begun.elapsed() < Duration::from_secs(4), "{}", worker.log());
    assert!(server.results.is_empty());
}

#[test]
fn a_broker_that_comes_back_has_what_it_had() {
    let mut broker = broker!("");
    let mut server = broker.exchange();
    let worker = broker.worker(&[]);
    worker.name();
    let keys = &*TOY;
    server.offer(keys);
    let batches = keys.batches(server.run, 20, 10);
    server.publish(&batches[0]);
    server.all_right(keys, &batches[..1]);
    // Nobody is there to take these until it is back.
    worker.signal("-STOP");
    batches[1..10].iter().for_each(|batch| server.publish(batch));
    broker.kill();
    server.until("the server knows", |server| server.events == ["disconnected"]);
    // A call does not wait for what is not there.
    let error = server.exchange.publish(batches[10].id, batches[10].encode().unwrap()).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    worker.signal("-CONT");
    broker.run();
    server.until("the server knows", |server| server.events == ["disconnected", "connected"]);
    batches[10..].iter().for_each(|batch| server.publish(batch));
    server.all_right(keys, &batches);
}

/// As after the disk of its machine was lost: servers make streams anew, and put keys and batches there that are wanted still.
#[test]
fn a_broker_that_has_lost_everything_is_set_up_again() {
    let mut broker = broker!("");
    let mut server = broker.exchange();
    let worker = broker.worker(&["--keep-keys", "1s"]);
    let name = worker.name();
    let keys = &*TOY;
    server.offer(keys);
    let batches = keys.batches(server.run, 10, 10);
    server.publish(&batches[0]);
    server.all_right(keys, &batches[..1]);
    broker.kill();
    broker.lose_everything();
    broker.run();
    server.until("the server knows", |server| server.events == ["disconnected", "connected"]);
    server.until("the worker has no keys", |server| server.workers.get(&name).is_some_and(|w| w.keys.is_empty()));
    server.offer(keys);
    batches[1..].iter().for_each(|batch| server.publish(batch));
    server.all_right(keys, &batches);
}
