//! Each thing that goes wrong, as far as an exchange alone shows it.

use super::*;
use crate::batch::{Batch, BatchError, BatchResult};
use crate::info::{Counts, PROTOCOL, WorkerInfo};
use crate::keys::write_keys;
use crate::testing::Toy;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// Long enough for what is not to come.
const SHORT: Duration = Duration::from_millis(50);

struct Test {
    toy: Toy,
    exchange: MemoryExchange,
}

impl Test {
    fn new(patience: Duration) -> Self {
        let test = Self { toy: Toy::new(1), exchange: MemoryExchange::with_patience(patience) };
        test.offer().unwrap();
        test
    }

    fn with_worker(faults: impl IntoIterator<Item = Fault>) -> Self {
        let test = Self::new(LONG);
        test.exchange.add_worker("first", faults);
        test
    }

    fn offer(&self) -> Result<(), ExchangeError> {
        self.exchange.offer_keys(self.toy.name, &mut |output| write_keys(&self.toy.sent, output))
    }

    fn try_publish(&self, number: u64) -> Result<Batch, ExchangeError> {
        let batch = self.toy.batch(number, 3);
        self.exchange.publish(batch.id, batch.encode().unwrap())?;
        Ok(batch)
    }

    fn publish(&self, number: u64) -> Batch {
        self.try_publish(number).unwrap()
    }

    /// The next event that is not about a worker.
    fn event(&self, patience: Duration) -> Option<Event> {
        let until = Instant::now() + patience;
        loop {
            match self.exchange.next(until.saturating_duration_since(Instant::now()))? {
                Event::Worker(_) => {}
                event => return Some(event),
            }
        }
    }

    fn result_bytes(&self) -> Vec<u8> {
        match self.event(LONG) {
            Some(Event::Result(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn result(&self, batch: &Batch) -> Result<BatchResult, BatchError> {
        BatchResult::decode(&self.result_bytes(), |id, _| batch.expected().filter(|_| id == batch.id))
    }

    /// The next result is that of this batch, and right; the worker's name.
    fn is_right(&self, batch: &Batch) -> String {
        let result = self.result(batch).unwrap();
        assert!(result.outcome.unwrap() == self.toy.results(batch));
        result.worker
    }

    fn is_quiet(&self) {
        let event = self.event(SHORT);
        assert!(event.is_none(), "{event:?}");
    }

    /// Waits until a worker has what it is to have.
    fn wait_until(&self, is_so: impl Fn(&MemoryExchange) -> bool) {
        let until = Instant::now() + LONG;
        while !is_so(&self.exchange) {
            assert!(Instant::now() < until, "it never came so far");
            std::thread::yield_now();
        }
    }
}

#[test]
fn batches_are_computed_in_order_and_keys_are_put_there_once() {
    let test = Test::with_worker([]);
    test.offer().unwrap();
    assert_eq!(test.exchange.offers(), 1);
    let batches: Vec<Batch> = (0..5).map(|number| test.publish(number)).collect();
    assert!(batches.iter().all(|batch| test.is_right(batch) == "first"));
    assert_eq!((test.exchange.waiting(), test.exchange.given()), (0, 0));

    let too_large = test.exchange.publish(batches[0].id, vec![0; (1 << 20) + 1]).unwrap_err();
    assert_eq!(too_large.to_string(), "a batch has 1048577 bytes, and 1048576 are possible");
}

#[test]
fn workers_say_what_they_do() {
    let test = Test::with_worker([]);
    let info = |is_so: fn(&WorkerInfo) -> bool| loop {
        match test.exchange.next(LONG) {
            Some(Event::Worker(info)) if is_so(&info) => break info,
            Some(_) => {}
            None => panic!("a worker says every second that it is there"),
        }
    };
    let first = info(|_| true);
    assert_eq!((first.protocol, first.worker.as_str(), first.threads), (PROTOCOL, "first", 1));
    test.publish(0);
    let then = info(|info| info.batches == 1 && info.busy == 0);
    assert_eq!((then.rotations, then.keys), (3, vec![test.toy.name.to_string()[..8].to_owned()]));
    assert!(then.seconds > 0.0);
    // Without anything to do.
    info(|_| true);

    let server = ServerInfo {
        protocol: PROTOCOL,
        version: String::new(),
        run: String::new(),
        host: String::new(),
        arithmetic: String::new(),
        sets: Vec::new(),
        requests: Vec::new(),
        counts: Counts::default(),
    };
    test.exchange.tell(&server);
    assert_eq!(test.exchange.told(), [server]);
}

#[test]
fn a_worker_that_dies_is_replaced() {
    let test = Test::new(SHORT);
    test.exchange.add_worker("first", [Fault::Die]);
    let batch = test.publish(0);
    test.wait_until(|exchange| exchange.given() == 1);
    test.is_quiet();
    // Another one, in mid-run.
    test.exchange.add_worker("second", []);
    assert_eq!(test.is_right(&batch), "second");
}

#[test]
fn a_batch_on_which_workers_die_is_given_up() {
    let test = Test::new(SHORT);
    let batch = test.publish(0);
    for (worker, left) in [("first", 2), ("second", 1), ("third", 0)] {
        test.exchange.add_worker(worker, [Fault::Die]);
        test.wait_until(|exchange| {
            exchange.shared.lock().given.first().is_some_and(|(_, work)| work.deliveries == left)
        });
    }
    test.exchange.add_worker("fourth", []);
    let other = test.publish(1);
    assert_eq!((test.is_right(&other), batch.id.number), ("fourth".to_owned(), 0));
    test.is_quiet();
}

#[test]
fn a_frozen_worker_answers_late() {
    let test = Test::new(SHORT);
    test.exchange.add_worker("first", [Fault::Hold]);
    let batch = test.publish(0);
    test.wait_until(|exchange| exchange.given() == 1);
    test.exchange.add_worker("second", []);
    assert_eq!(test.is_right(&batch), "second");
    test.exchange.release();
    assert_eq!(test.is_right(&batch), "first");

    let test = Test::with_worker([Fault::Freeze(SHORT)]);
    let (begin, batch) = (Instant::now(), test.publish(0));
    test.is_right(&batch);
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn results_may_come_twice() {
    let test = Test::with_worker([Fault::Twice]);
    let batch = test.publish(0);
    assert_eq!([test.is_right(&batch), test.is_right(&batch)], ["first", "first"]);
    test.is_quiet();
}

#[test]
fn results_may_be_damaged_wrong_or_refused() {
    let test = Test::with_worker([Fault::Damage, Fault::Wrong, Fault::Refuse("no reason".to_owned())]);
    let batches = [0, 1, 2].map(|number| test.publish(number));
    let damaged = test.result(&batches[0]).unwrap_err();
    assert_eq!(damaged.to_string(), "its checksum is wrong: it is damaged");
    let wrong = test.result(&batches[1]).unwrap().outcome.unwrap();
    let differ = wrong.iter().zip(test.toy.results(&batches[1])).filter(|(wrong, right)| *wrong != right).count();
    assert_eq!(differ, 1);
    assert_eq!(test.result(&batches[2]).unwrap().outcome.unwrap_err(), "no reason");
    let batch = test.publish(3);
    test.is_right(&batch);
}

#[test]
fn a_broken_connection_keeps_what_is_on_the_other_side() {
    let test = Test::with_worker([Fault::Hold]);
    let batch = test.publish(0);
    test.wait_until(|exchange| exchange.given() == 1);
    test.exchange.disconnect();
    assert!(matches!(test.event(LONG), Some(Event::Disconnected(_))));
    assert_eq!(test.try_publish(1).unwrap_err().to_string(), "the exchange cannot be reached");
    assert!(test.offer().is_err());
    test.exchange.release();
    test.is_quiet();
    test.exchange.connect();
    assert!(matches!(test.event(LONG), Some(Event::Connected)));
    // The worker could not fetch keys meanwhile, and says so.
    let outcome = test.result(&batch).unwrap().outcome;
    assert!(outcome.is_err_and(|line| line.contains("cannot be fetched")));
    let batch = test.publish(2);
    test.is_right(&batch);
}

#[test]
fn an_exchange_that_loses_everything_loses_everything() {
    let test = Test::with_worker([Fault::None, Fault::Hold]);
    let batch = test.publish(0);
    test.is_right(&batch);
    let (held, waiting) = (test.publish(1), test.publish(2));
    test.wait_until(|exchange| exchange.given() == 1);
    test.exchange.lose_everything();
    assert_eq!((test.exchange.waiting(), test.exchange.given()), (0, 0));
    assert!(matches!(test.event(LONG), Some(Event::Disconnected(_))));
    assert!(matches!(test.event(LONG), Some(Event::Connected)));
    // What was computed then, with keys that were fetched before, still comes; the other batch does not.
    test.exchange.release();
    test.is_right(&held);
    test.is_quiet();
    assert_eq!(waiting.id.number, 2);
    // A worker that comes now needs the keys anew.
    test.exchange.add_worker("second", []);
    test.offer().unwrap();
    assert_eq!(test.exchange.offers(), 2);
    let batches = [3, 4].map(|number| test.publish(number));
    batches.iter().for_each(|_| drop(test.result_bytes()));
}

#[test]
fn what_nobody_has_is_withdrawn() {
    let test = Test::with_worker([Fault::Hold]);
    let held = test.publish(0);
    test.wait_until(|exchange| exchange.given() == 1);
    test.publish(1);
    test.exchange.withdraw();
    assert_eq!((test.exchange.waiting(), test.exchange.given()), (0, 1));
    test.exchange.release();
    test.is_right(&held);
    test.is_quiet();
}

/// Whatever its workers do.
#[test]
fn an_exchange_that_is_dropped_ends_its_workers() {
    let test = Test::with_worker([Fault::Freeze(LONG)]);
    test.exchange.add_worker("second", [Fault::Hold]);
    (0..3).for_each(|number| drop(test.publish(number)));
    test.wait_until(|exchange| exchange.given() >= 2);
    test.exchange.add_worker("third", []);
    let begin = Instant::now();
    drop(test);
    assert!(begin.elapsed() < LONG / 2);
}
