//! What is refused, and that it is said in one line.

use std::time::Duration;

use gpt2_fhe_worker::batch::{Batch, KeyName};
use gpt2_fhe_worker::exchange::Exchange;
use gpt2_fhe_worker::info::{PROTOCOL, WorkerInfo};
use gpt2_fhe_worker::nats::NatsExchange;
use gpt2_fhe_worker::nats::status::watch;

use crate::support::{Broker, Server, Worker, broker, line, nats_server, options, other_backend};
use crate::{TOY, told};

/// A worker that was started with these options ends, with one line that has these words.
fn assert_ends(words: &[&str], options: &[&str]) -> String {
    let mut worker = Worker::start(options, None);
    assert_eq!(worker.ended().code(), Some(1), "{}", worker.log());
    let log = worker.log();
    let said: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(said.len() == 1 && words.iter().all(|word| said[0].contains(word)), "{words:?} in {log}");
    said[0].to_owned()
}

#[test]
fn batches_with_unknown_keys_are_refused() {
    let broker = broker!("");
    let mut server = broker.exchange();
    let _worker = broker.worker(&[]);
    let (keys, run) = (&*TOY, server.run);
    let refusal = |server: &mut Server, batch: &Batch| {
        server.publish(batch);
        server.until("a refusal", |server| server.results.contains_key(&batch.id.number));
        keys.decode(batch, &server.results[&batch.id.number][0]).outcome.unwrap_err()
    };
    let reason = refusal(&mut server, &keys.batch(run, 0, 3));
    assert!(reason.contains("cannot be fetched") && reason.contains("nobody has put it there"), "{reason}");
    // A file that is not what its name says.
    let wrong = KeyName([3; 32]);
    server.exchange.offer_keys(wrong, &mut |output| output.write_all(&[5; 300_000])).unwrap();
    let reason = refusal(&mut server, &Batch { keys: wrong, ..keys.batch(run, 1, 3) });
    assert!(reason.contains(&wrong.to_string()), "{reason}");
    // A file that was not written to its end is none.
    let cut = KeyName([4; 32]);
    let failed = server.exchange.offer_keys(cut, &mut |output| {
        output.write_all(&[5; 300_000])?;
        Err(std::io::Error::other("the disk is gone"))
    });
    assert!(line(failed).contains("the disk is gone"));
    let reason = refusal(&mut server, &Batch { keys: cut, ..keys.batch(run, 2, 3) });
    assert!(reason.contains("nobody has put it there"), "{reason}");
    // With the keys it goes on.
    server.offer(keys);
    let batch = keys.batch(server.run, 3, 3);
    server.publish(&batch);
    server.all_right(keys, &[batch]);
}

#[test]
fn workers_of_another_kind_get_nothing_and_are_told_why() {
    let broker = broker!("");
    let mut server = broker.exchange();
    let backend = other_backend();
    let worker = Worker::start(&["--engine", &broker.url(), "--host", "other"], Some(backend));
    let other = worker.name();
    let keys = &*TOY;
    server.offer(keys);
    let batches = keys.batches(server.run, 6, 5);
    batches.iter().for_each(|batch| server.publish(batch));
    let same = broker.worker(&["--host", "same"]);
    let same = same.name();
    server.all_right(keys, &batches);
    assert!(batches.iter().all(|batch| server.by(keys, batch) == same));

    server.until("the worker says that it is there", |server| server.workers.contains_key(&same));
    // One that was built of another version says so, too.
    let stranger = WorkerInfo {
        protocol: PROTOCOL + 1,
        version: "99".into(),
        worker: "z".into(),
        ..server.workers[&same].clone()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = broker.url();
    let telling = runtime.spawn(async move {
        let client = async_nats::connect(url).await.unwrap();
        loop {
            client.publish("gpt2fhe.worker", serde_json::to_vec(&stranger).unwrap().into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let info = told(&server);
    let status = std::thread::scope(|scope| {
        // On a machine that is busy it may take longer until everyone was heard.
        let seen = || watch(&broker.options(), Duration::from_millis(2500)).unwrap();
        let watching = scope
            .spawn(move || (0..10).map(|_| seen()).find(|s| s.workers.len() == 3 && s.servers.len() == 1).unwrap());
        while !watching.is_finished() {
            server.exchange.tell(&info);
            std::thread::sleep(Duration::from_millis(200));
        }
        watching.join().unwrap()
    });
    telling.abort();
    let why = |name: &str| {
        let worker = status.workers.iter().find(|worker| worker.info.worker == name);
        worker.unwrap_or_else(|| panic!("no {name} in {status:?}")).gets_nothing.clone()
    };
    assert_eq!(why(&same), None);
    assert!(why(&other).unwrap().contains(&format!("its vector instructions are {backend}")));
    assert!(why("z").unwrap().contains("version 99"));
    server.until("both are seen", |server| server.workers.len() == 2);
    assert!(!server.workers.contains_key("z"), "workers of another version are not for servers");
}

#[test]
fn a_nats_server_that_is_not_there_is_said_in_a_line() {
    let words = ["no NATS server at nats://127.0.0.1:1 ", "deploy/nats.sh"];
    assert_ends(&words, &["--engine", "nats://someone:word@127.0.0.1:1"]);
    let failed = line(NatsExchange::connect(&options(&["--engine", "nats://127.0.0.1:1"]), [0; 16]));
    assert!(words.iter().all(|word| failed.contains(word)), "{failed}");
    assert_ends(&["--nats-creds", "/none/here"], &["--engine", "nats://127.0.0.1:1", "--nats-creds", "/none/here"]);
    assert_ends(&["--nats-ca", "/none/here"], &["--engine", "tls://127.0.0.1:1", "--nats-ca", "/none/here"]);
    // Somebody else's port.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        listener
            .incoming()
            .for_each(|stream| drop(std::io::Write::write_all(&mut stream.unwrap(), b"HTTP/1.1 400 \r\n")));
    });
    assert_ends(&["no NATS server at "], &["--engine", &url]);
}

#[test]
fn a_nats_server_that_will_not_do_is_said_in_a_line() {
    let users = r#"authorization { users = [
        { user: "worker", password: "a@b" }
        { user: "nobody", password: "x", permissions: { publish: "other.>", subscribe: "_INBOX.>" } }
    ] }"#;
    let broker = broker!(users);
    let url = |user: &str| format!("nats://{user}127.0.0.1:{}", broker.port);
    let wrong = assert_ends(&["does not let us in", "--nats-creds"], &["--engine", &url("worker:wrongsecret@")]);
    assert!(!wrong.contains("wrongsecret"), "{wrong}");
    assert_ends(&["does not let us in"], &["--engine", &url("")]);
    assert_ends(&["forbids what is needed", "deploy/nats.conf"], &["--engine", &url("nobody:x@")]);
    assert!(NatsExchange::connect(&options(&["--engine", &url("worker:a%40b@")]), [0; 16]).is_ok());

    let plain = Broker::of("max_payload: 4MB").unwrap();
    assert_ends(&["has no JetStream", "-js"], &["--engine", &plain.url()]);
    let small = Broker::of("jetstream { store_dir: \"DATA\" }\nmax_payload: 64KB").unwrap();
    assert_ends(&["at most 65536 bytes", "max_payload"], &["--engine", &small.url()]);
}

/// Options that cannot be: the program says what is meant, before it asks anyone.
#[test]
fn options_that_are_none_are_refused() {
    if nats_server().is_none() {
        return;
    }
    for (options, words) in [
        (&[][..], "--engine"),
        (&["--engine", "http://host"], "nats://HOST"),
        (&["--engine", "nats://host", "--threads", "0"], "--threads"),
        (&["--engine", "nats://host", "--key-memory", "much"], "--key-memory"),
    ] {
        let mut worker = Worker::start(options, None);
        assert_eq!(worker.ended().code(), Some(2));
        assert!(worker.log().contains(words), "{}", worker.log());
    }
    let mut worker = Worker::start(&["--engine", "nats://host", "--set", "none"], None);
    assert_eq!(worker.ended().code(), Some(2));
    assert!(worker.log().contains("packed_block"), "{}", worker.log());
}
