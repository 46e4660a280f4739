//! Every failure, once: the results are those of the key itself, and what has happened was counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tfhe_core::blind_rotation::Wanted;
use tfhe_core::glwe::GlweCiphertext;

use super::board::Board;
use super::{DispatchOptions, Dispatcher, KeyFile, LookupSession};
use crate::batch::Batch;
use crate::exchange::Exchange;
use crate::exchange::memory::{Fault, MemoryExchange};
use crate::info::{Counts, PROTOCOL, RequestInfo, WorkerInfo};
use crate::scale::{BatchRecord, MessageSizes, RunRecord};
use crate::testing::{BITS, RUN, Toy};

/// A server with one client, and an exchange.
struct Server {
    toy: Toy,
    exchange: Arc<MemoryExchange>,
    dispatcher: Dispatcher,
    file: Arc<KeyFile>,
}

/// What is computed by workers if there are any, and what takes long is noticed at once.
fn options() -> DispatchOptions {
    let overdue = Duration::from_millis(100);
    DispatchOptions { own_threads: 1, beside_workers: false, overdue, ..DispatchOptions::default() }
}

impl Server {
    fn new(exchange: MemoryExchange, options: DispatchOptions) -> Self {
        let (toy, exchange) = (Toy::new(1), Arc::new(exchange));
        let dispatcher = Dispatcher::new(exchange.clone() as Arc<dyn Exchange>, RUN, options).unwrap();
        let bytes = toy.file.clone();
        let file = Arc::new(KeyFile { name: toy.name, write: Box::new(move |output| output.write_all(&bytes)) });
        Self { toy, exchange, dispatcher, file }
    }

    fn begin(&self) -> LookupSession<'_> {
        let key = self.toy.prepared.bootstrapping_key(0).unwrap();
        self.dispatcher.begin([key], *self.toy.sent.identity(), &self.file)
    }

    /// Waits until something is so.
    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{what}: {:?}", self.dispatcher.counts());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until workers have been noticed, and can find the keys.
    fn wait_for_workers(&self, threads: usize) {
        drop(self.begin());
        self.wait("workers", |server| {
            server.dispatcher.worker_threads() == threads && server.dispatcher.shared.has_keys(&server.file)
        });
    }

    /// Blind rotations, whose bits have to be right.
    fn call(&self, session: &LookupSession<'_>, number: u64, count: usize) {
        let batch = self.toy.batch(number, count);
        assert!(rotated(session, &batch) == self.toy.results(&batch), "call {number}");
    }

    fn counts(&self) -> Counts {
        self.dispatcher.counts()
    }
}

fn rotated(session: &LookupSession<'_>, batch: &Batch) -> Vec<GlweCiphertext> {
    let polynomials: Vec<_> = batch.lookups.iter().map(|lookup| &batch.polynomials[lookup.0]).collect();
    let bodies: Vec<usize> = batch.lookups.iter().map(|lookup| lookup.1).collect();
    session.rotator(0).rotate(&batch.inputs, &polynomials, &Wanted { bits: BITS, bodies: &bodies })
}

#[test]
fn without_workers_everything_is_computed_here() {
    let server = Server::new(MemoryExchange::default(), options());
    let session = server.begin();
    for (number, count) in [(0, 0), (1, 1), (2, 7), (3, 100)] {
        server.call(&session, number, count);
    }
    let counts = server.counts();
    assert_eq!((counts.rotations, counts.published, counts.by_workers), (108, 0, 0));
}

#[test]
fn workers_compute_everything_that_they_can() {
    let server = Server::new(MemoryExchange::default(), options());
    ["a", "b"].into_iter().for_each(|name| server.exchange.add_worker(name, []));
    server.wait_for_workers(2);
    let session = server.begin();
    for (number, count) in [(1, 1), (2, 7), (3, 500)] {
        server.call(&session, number, count);
    }
    let counts = server.counts();
    assert_eq!((counts.rotations, counts.by_workers, counts.used), (508, 508, counts.published));
    assert!(counts.bytes_out > 0 && counts.bytes_in > 0);
    assert_eq!((server.exchange.offers(), session.failure()), (1, None));
}

#[test]
fn this_process_computes_beside_workers() {
    let server = Server::new(MemoryExchange::default(), DispatchOptions { beside_workers: true, ..options() });
    server.exchange.add_worker("a", vec![Fault::Hold; 2]);
    server.wait_for_workers(1);
    let session = server.begin();
    std::thread::scope(|scope| {
        let called = scope.spawn(|| server.call(&session, 1, 500));
        // The worker stands still, and has one batch; the rest is computed meanwhile.
        server.wait("a batch that takes too long", |server| server.counts().overdue > 0);
        called.join().unwrap();
    });
    let counts = server.counts();
    assert_eq!((counts.by_workers, counts.rotations), (0, 500));
}

/// A worker that is added later is given batches, of the same call.
#[test]
fn workers_may_come_in_mid_call() {
    let server =
        Server::new(MemoryExchange::default(), DispatchOptions { overdue: Duration::from_secs(60), ..options() });
    server.exchange.add_worker("a", [Fault::Hold]);
    server.wait_for_workers(1);
    let session = server.begin();
    std::thread::scope(|scope| {
        let called = scope.spawn(|| server.call(&session, 1, 500));
        server.wait("a batch that is begun", |server| server.exchange.given() > 0);
        server.exchange.add_worker("b", []);
        server.wait("the new worker's results", |server| server.counts().by_workers > 100);
        server.exchange.release();
        called.join().unwrap();
    });
    assert_eq!(server.counts().by_workers, 500);
}

/// What workers do to their first batches; what is counted then, of what.
#[test]
fn every_failure_of_a_worker_is_made_up_for() {
    type Counted = fn(&Counts) -> u64;
    let late = Duration::from_secs(2);
    let cases: [(&str, Vec<Fault>, Counted); 5] = [
        ("it dies", vec![Fault::None, Fault::Die], |counts| counts.overdue),
        ("it freezes", vec![Fault::Freeze(late)], |counts| counts.overdue.min(counts.late)),
        ("it answers twice", vec![Fault::Twice; 3], |counts| counts.late),
        ("its answer is damaged", vec![Fault::Damage; 2], |counts| counts.damaged),
        ("it refuses", vec![Fault::Refuse("I am of another version".into()); 2], |counts| counts.refused),
    ];
    for (what, faults, counted) in cases {
        let server = Server::new(MemoryExchange::default(), options());
        let dies = faults.contains(&Fault::Die);
        server.exchange.add_worker("a", faults);
        server.wait_for_workers(1);
        let session = server.begin();
        server.call(&session, 1, 200);
        server.wait(what, |server| counted(&server.counts()) > 0);
        // And it goes on, with the worker if it is there.
        server.call(&session, 2, 50);
        let counts = server.counts();
        assert_eq!((counts.rotations, session.failure()), (250, None), "{what}");
        assert!(dies || counts.by_workers > 0, "{what}: {counts:?}");
    }
}

/// Results of batches that nobody waits for any more, whoever sends them.
#[test]
fn results_that_are_late_are_dropped() {
    let server = Server::new(MemoryExchange::default(), options());
    server.exchange.add_worker("a", [Fault::Hold]);
    server.wait_for_workers(1);
    let session = server.begin();
    server.call(&session, 1, 8);
    assert_eq!((server.counts().overdue, server.counts().late), (1, 0));
    server.exchange.release();
    server.wait("the late result", |server| server.counts().late == 1);
    server.call(&session, 2, 8);
}

#[test]
fn an_exchange_that_is_lost_and_found_again() {
    let server = Server::new(MemoryExchange::default(), options());
    server.exchange.add_worker("a", [Fault::None, Fault::Hold, Fault::Hold]);
    server.wait_for_workers(1);
    let session = server.begin();
    std::thread::scope(|scope| {
        let called = scope.spawn(|| server.call(&session, 1, 300));
        server.wait("results", |server| server.counts().used > 0);
        server.exchange.disconnect();
        called.join().unwrap();
    });
    assert!(!server.dispatcher.is_connected());
    let before = server.counts();
    server.call(&session, 2, 100);
    assert_eq!((server.counts().by_workers, server.counts().disconnected), (before.by_workers, 1));
    // It comes back, without anything that was there.
    server.exchange.lose_everything();
    server.exchange.connect();
    (0..2).for_each(|_| server.exchange.release());
    server.wait_for_workers(1);
    server.call(&session, 3, 100);
    assert!(server.counts().by_workers > before.by_workers && server.exchange.offers() == 2);
}

/// A wrong result has the right form: only whoever computes it again knows.
#[test]
fn wrong_results_are_found_and_their_worker_is_not_believed_any_more() {
    let server = Server::new(MemoryExchange::default(), DispatchOptions { verify: 1.0, ..options() });
    server.exchange.add_worker("honest", []);
    server.wait_for_workers(1);
    let session = server.begin();
    server.call(&session, 1, 100);
    let counts = server.counts();
    assert_eq!((counts.verified, counts.wrong, session.failure()), (counts.used, 0, None));

    server.exchange.add_worker("liar", vec![Fault::Wrong; 100]);
    server.wait_for_workers(2);
    // This call's results are right, as all of them are computed again; those of a share would not be.
    for number in 2..100 {
        server.call(&session, number, 100);
        if session.failure().is_some() {
            break;
        }
    }
    let line = session.failure().unwrap();
    assert!(line.contains("liar") && line.contains("send the request again"), "{line}");
    assert!(server.counts().wrong > 0);
    assert_eq!(server.dispatcher.worker_threads(), 1, "only the honest one counts");
    // The next request has nothing to do with it.
    let next = server.begin();
    server.call(&next, 200, 300);
    assert_eq!(next.failure(), None);
}

/// A share of results is computed again, about as many as asked for.
#[test]
fn a_share_of_results_is_verified() {
    let server = Server::new(MemoryExchange::default(), DispatchOptions { verify: 0.25, ..options() });
    server.exchange.add_worker("a", []);
    server.wait_for_workers(1);
    let session = server.begin();
    let mut number = 0;
    while server.counts().used < 400 {
        number += 1;
        server.call(&session, number, 40);
    }
    let counts = server.counts();
    let (expected, deviation) = (0.25 * counts.used as f64, (counts.used as f64 * 0.25 * 0.75).sqrt());
    // Beyond six standard deviations once in 5·10^8 runs.
    assert!((counts.verified as f64 - expected).abs() < 6.0 * deviation, "{counts:?}");
}

/// Two requests at the same time: neither gets the other's results.
#[test]
fn requests_at_the_same_time_have_their_own_results() {
    let server = Server::new(MemoryExchange::default(), DispatchOptions { beside_workers: true, ..options() });
    ["a", "b"].into_iter().for_each(|name| server.exchange.add_worker(name, []));
    server.wait_for_workers(2);
    std::thread::scope(|scope| {
        for request in 0..3 {
            let server = &server;
            scope.spawn(move || {
                let session = server.begin();
                (0..4).for_each(|call| server.call(&session, 10 * request + call, 100));
            });
        }
    });
    assert_eq!(server.counts().rotations, 1200);
}

/// What a record says of calls is what was called; it can be read, and replayed.
#[test]
fn calls_are_recorded() {
    let server = Server::new(MemoryExchange::default(), options());
    server.exchange.add_worker("a", []);
    server.wait_for_workers(1);
    let session = server.begin();
    server.call(&session, 1, 10);
    session.record("a test");
    for (number, count) in [(2, 0), (3, 100), (4, 7)] {
        server.call(&session, number, count);
    }
    let record = session.take_record().unwrap();
    assert_eq!(session.take_record(), None);
    let calls: Vec<_> = record.calls.iter().map(|call| (call.gadget, call.rotations, call.tables)).collect();
    assert_eq!(calls, [(0, 100, 3), (0, 7, 3)]);
    assert_eq!((record.header.workers, record.header.note.as_str()), (1, "a test"));
    for call in &record.calls {
        assert_eq!(call.batches.iter().map(|batch| batch.rotations).sum::<usize>(), call.rotations);
        let is_whole = |batch: &BatchRecord| {
            !batch.by_server && batch.bytes_out > 0 && batch.bytes_back > 0 && batch.turnaround >= batch.seconds
        };
        assert!(call.batches.iter().all(is_whole), "{call:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record");
    record.write(&file).unwrap();
    assert_eq!(RunRecord::read(&file).unwrap(), record);
    assert!(record.replay(&record.cluster(), &MessageSizes::none(1), 1).unwrap().by_workers > 0);
}

#[test]
fn whoever_watches_is_told_how_far_requests_are() {
    let server = Server::new(MemoryExchange::default(), options());
    let session = server.begin();
    let info = RequestInfo { step: "softmax".into(), done: 3, operations: 10, seconds: 1.5 };
    session.note(info.clone());
    server.wait("the request", |server| server.exchange.told().iter().any(|told| told.requests == [info.clone()]));
    drop(session);
    server.wait("its end", |server| server.exchange.told().last().is_some_and(|told| told.requests.is_empty()));
    assert_eq!(server.exchange.told()[0].run, format!("{:032x}", u128::from_be_bytes(RUN)));
}

/// A message has a limit, and a batch with as many polynomials as lookups has to be below it.
#[test]
fn batches_are_small_enough_for_messages() {
    let toy = Toy::new(1);
    let one = toy.batch(0, 1).encode().unwrap().len();
    let server = Server::new(MemoryExchange::default().with_message_limit(4096 + 12 * one), options());
    server.exchange.add_worker("a", []);
    server.wait_for_workers(1);
    let session = server.begin();
    server.call(&session, 1, 300);
    let counts = server.counts();
    assert_eq!(counts.by_workers, 300);
    // With room enough they are of 64.
    assert!(counts.published > 300_u64.div_ceil(64), "{counts:?}");
}

/// Whoever could not be given anything is not waited for.
#[test]
fn workers_of_other_sets_do_not_count() {
    let worker = |name: &str, sets: &[&str]| WorkerInfo {
        protocol: PROTOCOL,
        worker: name.into(),
        arithmetic: "avx2".into(),
        sets: sets.iter().map(|&set| set.into()).collect(),
        threads: 2,
        ..WorkerInfo::default()
    };
    let mut board = Board::default();
    let sets = ["packed_block".to_owned()];
    assert!(!board.seen(worker("a", &["toy"]), "avx2", &sets));
    assert!(!board.seen(worker("b", &["packed_block"]), "avx512", &sets));
    assert_eq!(board.threads(), 0);
    assert!(board.seen(worker("c", &["toy", "packed_block"]), "avx2", &sets));
    assert!(board.seen(worker("d", &["toy"]), "avx2", &[]));
    assert_eq!(board.threads(), 4);
}
