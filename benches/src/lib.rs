//! The harness of the benches: criterion, with the machine described before, and a page of results after.
//!
//! A bench is called GROUP/BACKEND/SIZE, so that a run with another backend has results of its own. What it does is counted
//! ([`work::Work`]), and its time becomes a part of what the machine can do at best ([`limits::Limits`]).

pub mod limits;
pub mod machine;
mod page;
pub mod work;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, EvaluationKeys, Needs};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::programmable_bootstrap::half_slot;
use tfhe_core::random::SecretSeed;

use limits::Limits;
use machine::Machine;
use page::{OfThreads, Row};
use work::Work;

/// All benches of a run.
pub struct Benches {
    criterion: Criterion,
    machine: Machine,
    /// Criterion's results.
    folder: PathBuf,
    started: SystemTime,
    rows: Vec<Row>,
}

impl Benches {
    /// Short runs: `cargo bench` as a whole stays well under a quarter of an hour. Prints what this machine is.
    ///
    /// # Errors
    /// If the environment selects a backend that this CPU does not have.
    pub fn start() -> Result<Self, tfhe_core::simd::BackendError> {
        let machine = Machine::here()?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")));
        let folder = target.join("criterion");
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_secs(1))
            .output_directory(&folder)
            .configure_from_args();
        println!("{}", machine.describe());
        if let Some(warning) = machine.warning() {
            eprintln!("{warning}\n");
        }
        Ok(Self { criterion, machine, folder, started: SystemTime::now(), rows: Vec::new() })
    }

    /// Kernels of one name, on objects of several sizes.
    pub fn group(&mut self, name: impl Into<String>) -> Group<'_> {
        let name = name.into();
        let (group, backend) = (self.criterion.benchmark_group(&name), self.machine.backend().name());
        Group { group, name, backend, rows: &mut self.rows }
    }

    /// Prints the page of what was measured, and keeps it beside criterion's results.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(self) -> std::io::Result<()> {
        self.criterion.final_summary();
        let limits = OfThreads { one: Limits::measure(1), all: Limits::measure(rayon::current_num_threads()) };
        let Some(table) = page::table(&self.rows, &self.folder, self.started, &limits) else { return Ok(()) };
        let of = |Limits { operations, bytes }: Limits| {
            format!("{:.1} GFLOP/s, {:.1} GB/s read", operations * 1e-9, bytes * 1e-9)
        };
        let machine = self.machine.describe();
        let page = format!(
            "{machine}- limits, measured: {} on one thread; {} on all\n\n{table}",
            of(limits.one),
            of(limits.all)
        );
        let file = self.folder.join(format!("page-{}.md", self.machine.backend()));
        std::fs::write(&file, &page)?;
        println!("{page}\nThis page is kept as {}", file.display());
        Ok(())
    }
}

/// Kernels of one name.
pub struct Group<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    name: String,
    backend: &'static str,
    rows: &'a mut Vec<Row>,
}

impl Group<'_> {
    /// For kernels that take many milliseconds: fewer samples.
    #[must_use]
    pub fn slow(mut self) -> Self {
        self.group.sample_size(10);
        self
    }

    /// Times one, of this work, on an object of this size.
    pub fn kernel(&mut self, size: impl Display, work: Work, bench: impl FnMut(&mut Bencher<'_>)) {
        let (size, mut bench) = (size.to_string(), bench);
        self.group.throughput(Throughput::Elements(work.count as u64));
        self.group.bench_function(BenchmarkId::new(self.backend, &size), |bencher| bench(bencher));
        self.rows.push(Row { group: self.name.clone(), backend: self.backend, size, work });
    }
}

/// Keys of a set, all that it has edges for.
pub fn keys(literal: ParametersLiteral) -> (ClientKeys, EvaluationKeys) {
    let parameters = literal.compile().expect("named sets are valid");
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).expect("a backend");
    let needs = Needs::everything(&parameters);
    let server = client.evaluation_keys(&needs).expect("a set has what it has").prepare().expect("a backend");
    (client, server)
}

/// `count` encryptions of indices of 4-bit tables under the extracted GLWE key of a ring.
pub fn inputs(client: &ClientKeys, ring: Node, count: usize) -> Vec<LweCiphertext> {
    let key = client.lwe_key(ring);
    let (mut masks, mut noises) = SecretSeed::from_number(1).experiment(0).into_streams();
    let noise = client.parameters().key(ring).noise();
    (0..count as u64).map(|i| key.encrypt(((i % 16) << 59) + half_slot(4), noise, &mut masks, &mut noises)).collect()
}
