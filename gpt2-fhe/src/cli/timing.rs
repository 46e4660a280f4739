//! Seconds out of counts: what operations take, measured here or given, times how many there are.

use std::collections::BTreeMap;

use anyhow::bail;
use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::block::keys::{GADGETS, result_bits};
use gpt2_fhe::block::schedule::OwnOperation;
use gpt2_fhe::run::block::OperationSeconds;
use gpt2_fhe::track::statistics::{Statistics, StepStatistics};
use gpt2_fhe_worker::scale::MessageSeconds;
use serde::Serialize;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::keys::ClientKeys;
use tfhe_core::sets::FINE;

use super::progress::while_showing;
use super::text::{seconds, table};

/// The most cores that one is asked about.
const MAX_CORES: usize = 1 << 20;

/// What is said of times on other numbers of cores.
pub(super) const CORES_MODEL: &str = "  \
  cores: a step's bootstrappings and external products are taken to be independent of each other, and a step to begin when the one
         before it has ended: of L operations that take t on one core, the longest core does L/C of them, rounded up. Not counted:
         packing, linear maps, the network, limits of memory, and that a step's own lookups may wait for each other (softplus, refine)";

/// Milliseconds of operations.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Times {
    /// "measured" here, or "given".
    source: &'static str,
    /// Those that measured them together: a time is that of all of them, which do several operations at once. Given times are taken as they
    /// are.
    threads: usize,
    /// Of a bootstrapping with each gadget.
    pbs_ms: [f64; GADGETS],
    /// Of an external product outside of bootstrappings; null where it is not given.
    external_product_ms: Option<f64>,
    /// Of what a server does itself, in the order of [`OwnOperation::ALL`]; null where it is not given.
    own_ms: Option<[f64; OwnOperation::ALL.len()]>,
    /// Of a blind rotation in a message, to be written and to be read, on one core; null where it is not given.
    message_ms: Option<[f64; 2]>,
}

/// More than a bootstrapping takes anywhere.
const MOST_MILLISECONDS: f64 = 1e6;

/// The server's own operations that are given by `--own-ms`.
///
/// # Errors
/// That there are not as many, or one is no time.
fn own_times(own_ms: &[f64]) -> anyhow::Result<Option<[f64; OwnOperation::ALL.len()]>> {
    match <[f64; OwnOperation::ALL.len()]>::try_from(own_ms) {
        _ if own_ms.is_empty() => Ok(None),
        Ok(own_ms) if own_ms.iter().all(|ms| (0.0..=MOST_MILLISECONDS).contains(ms)) => Ok(Some(own_ms)),
        _ => {
            let names = OwnOperation::ALL.map(OwnOperation::name).join(", ");
            bail!(
                "--own-ms needs {} numbers of milliseconds, at most {MOST_MILLISECONDS}, separated by commas: of {names}",
                OwnOperation::ALL.len()
            )
        }
    }
}

impl Times {
    /// Those of `--pbs-ms`, `--own-ms` and `--message-ms`, if there are any.
    ///
    /// # Errors
    /// That there are not as many as gadgets, or one is no time.
    pub(super) fn given(pbs_ms: &[f64], own_ms: &[f64], message_ms: &[f64]) -> anyhow::Result<Option<Self>> {
        let own_ms = own_times(own_ms)?;
        let is_time = |ms: &f64| (0.0..=MOST_MILLISECONDS).contains(ms);
        let message_ms = match message_ms {
            [] => None,
            &[write, read] if is_time(&write) && is_time(&read) => Some([write, read]),
            _ => {
                bail!("--message-ms needs 2 numbers of milliseconds, at most {MOST_MILLISECONDS}: to write and to read")
            }
        };
        match <[f64; GADGETS]>::try_from(pbs_ms) {
            _ if pbs_ms.is_empty() => Ok(None),
            Ok(pbs_ms) if pbs_ms.iter().all(is_time) => {
                Ok(Some(Self { source: "given", threads: 1, pbs_ms, external_product_ms: None, own_ms, message_ms }))
            }
            _ => {
                let found = pbs_ms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                bail!(
                    "--pbs-ms is {found}; {GADGETS} numbers of milliseconds are needed, at most {MOST_MILLISECONDS}, one for each gadget, separated by commas"
                )
            }
        }
    }

    /// Measured on this machine, with this number of threads.
    ///
    /// # Errors
    /// As [`OperationSeconds::measure`].
    pub(super) fn measure(circuit: &BlockCircuit) -> anyhow::Result<Self> {
        let measured = while_showing("measuring", || OperationSeconds::measure(circuit))?;
        let client = ClientKeys::generate(circuit.parameters(), &ClientSeed::from_number(0))?;
        let bits = result_bits(circuit.parameters(), FINE)?;
        let messages = MessageSeconds::measure(circuit.parameters(), *client.identity(), bits)?;
        Ok(Self {
            source: "measured",
            threads: rayon::current_num_threads(),
            pbs_ms: measured.bootstrapping.map(|seconds| 1000.0 * seconds),
            external_product_ms: Some(1000.0 * measured.external_product),
            own_ms: Some(measured.own.map(|seconds| 1000.0 * seconds)),
            message_ms: Some([messages.write, messages.read].map(|seconds| 1000.0 * seconds)),
        })
    }

    /// Seconds of a bootstrapping, on one core.
    pub(super) fn of_one(&self, gadget: usize) -> f64 {
        self.pbs_ms[gadget] * self.threads as f64 / 1000.0
    }

    /// Seconds of what a server does itself, on one core, in the order of [`OwnOperation::ALL`], if they are known.
    pub(super) fn own_seconds(&self) -> Option<[f64; OwnOperation::ALL.len()]> {
        self.own_ms.map(|own_ms| own_ms.map(|ms| ms * self.threads as f64 / 1000.0))
    }

    /// What messages take, if that is known.
    pub(super) fn message_seconds(&self) -> Option<MessageSeconds> {
        let [write, read] = self.message_ms?;
        Some(MessageSeconds { write: write / 1000.0, read: read / 1000.0 })
    }

    /// Seconds that bootstrappings take, so many by gadget.
    pub(super) fn of_pbs(&self, counts: &BTreeMap<usize, usize>) -> f64 {
        counts.iter().map(|(&gadget, &count)| count as f64 * self.pbs_ms[gadget] / 1000.0).sum()
    }

    /// What a step takes.
    pub(super) fn of_step(&self, step: &StepStatistics) -> f64 {
        self.sum(step, |operations| operations as f64)
    }

    /// What all steps take, one after the other.
    pub(super) fn of_all(&self, statistics: &Statistics) -> f64 {
        statistics.steps.iter().map(|step| self.of_step(step)).sum()
    }

    /// What a step takes on so many cores ([`CORES_MODEL`]).
    fn of_step_on(&self, cores: usize, step: &StepStatistics) -> f64 {
        self.sum(step, |operations| (operations.div_ceil(cores) * self.threads) as f64)
    }

    /// The seconds of a step's operations, of which so many are waited for.
    fn sum(&self, step: &StepStatistics, waited: impl Fn(usize) -> f64) -> f64 {
        let pbs = step.pbs_by_gadget.iter().map(|(&gadget, &count)| waited(count) * self.pbs_ms[gadget]);
        let products = self.external_product_ms.map_or(0.0, |ms| waited(step.external_products) * ms);
        (pbs.sum::<f64>() + products) / 1000.0
    }

    /// One line: what they are.
    pub(super) fn text(&self) -> String {
        let pbs = self.pbs_ms.map(|ms| format!("{ms:.3}")).join(", ");
        let product = self.external_product_ms.map_or(String::new(), |ms| format!("; an external product {ms:.3} ms"));
        let own = self.own_ms.map_or(String::new(), |own| {
            format!("; the server's own operations {} ms", own.map(|ms| format!("{ms:.4}")).join(", "))
        });
        let messages = self.message_ms.map_or(String::new(), |[write, read]| {
            format!("; a rotation in a message {write:.4}, {read:.4} ms on one core")
        });
        let with = match self.source {
            "measured" => format!("measured here with {}", super::text::plural(self.threads, "thread")),
            _ => "by --pbs-ms".into(),
        };
        format!("a bootstrapping by gadget {pbs} ms{product}{own}{messages}, {with}")
    }
}

/// Seconds of steps by [`Times`], in all and on other numbers of cores.
#[derive(Serialize)]
pub(super) struct TimedPlan {
    #[serde(flatten)]
    times: Times,
    /// Of all steps.
    seconds: f64,
    /// By step, in their order.
    steps: Vec<StepSeconds>,
    /// All steps on so many cores.
    cores: Vec<CoresSeconds>,
}

#[derive(Serialize)]
struct StepSeconds {
    name: &'static str,
    seconds: f64,
    /// On each of the numbers of cores.
    on_cores: Vec<f64>,
}

#[derive(Serialize)]
struct CoresSeconds {
    cores: usize,
    seconds: f64,
}

/// Checks numbers of cores.
///
/// # Errors
/// That one is not from 1 to [`MAX_CORES`].
pub(super) fn check_cores(cores: &[usize]) -> anyhow::Result<()> {
    match cores.iter().find(|cores| !(1..=MAX_CORES).contains(*cores)) {
        None => Ok(()),
        Some(wrong) => bail!("--cores has {wrong}; 1 to {MAX_CORES} are possible"),
    }
}

impl TimedPlan {
    /// Of the steps of a plan.
    pub(super) fn new(times: &Times, statistics: &Statistics, cores: &[usize]) -> Self {
        let step = |step: &StepStatistics| StepSeconds {
            name: step.name,
            seconds: times.of_step(step),
            on_cores: cores.iter().map(|&cores| times.of_step_on(cores, step)).collect(),
        };
        let steps: Vec<StepSeconds> = statistics.steps.iter().map(step).collect();
        let on = |(index, &cores): (usize, &usize)| CoresSeconds {
            cores,
            seconds: steps.iter().map(|step| step.on_cores[index]).sum(),
        };
        let cores = cores.iter().enumerate().map(on).collect();
        Self { times: times.clone(), seconds: times.of_all(statistics), steps, cores }
    }

    /// One line: what they are, and their sum.
    pub(super) fn line(&self) -> String {
        format!("{} for all operations that are counted: {}", seconds(self.seconds), self.times.text())
    }

    /// Whether other numbers of cores were asked for.
    pub(super) fn has_cores(&self) -> bool {
        !self.cores.is_empty()
    }

    /// Steps, and their seconds.
    pub(super) fn table(&self) -> String {
        let mut header = vec!["step".to_owned(), "seconds".into()];
        header.extend(self.cores.iter().map(|on| super::text::plural(on.cores, "core")));
        let mut rows = vec![header];
        for step in &self.steps {
            rows.push(std::iter::once(step.name.to_owned()).chain(columns(step.seconds, &step.on_cores)).collect());
        }
        let totals: Vec<f64> = self.cores.iter().map(|on| on.seconds).collect();
        rows.push(std::iter::once("total".to_owned()).chain(columns(self.seconds, &totals)).collect());
        table(&rows)
    }
}

fn columns(first: f64, others: &[f64]) -> impl Iterator<Item = String> + '_ {
    std::iter::once(first).chain(others.iter().copied()).map(|seconds| format!("{seconds:.3}"))
}

/// A run's steps beside what the measured times of their operations add up to.
#[derive(Serialize)]
pub(super) struct MeasuredRun {
    #[serde(flatten)]
    times: Times,
    /// Of all steps: Σ operations × time.
    seconds: f64,
    /// The server's time by that.
    server_by_counted: f64,
    steps: Vec<MeasuredStep>,
}

#[derive(Serialize)]
struct MeasuredStep {
    name: &'static str,
    lookups: usize,
    /// What the server took.
    seconds: f64,
    /// Σ operations × time.
    counted: f64,
}

impl MeasuredRun {
    /// Of a run that took the server `seconds`, with the times of its steps.
    pub(super) fn new(times: Times, statistics: &Statistics, server: f64) -> Self {
        let step = |step: &StepStatistics| MeasuredStep {
            name: step.name,
            lookups: step.lookups,
            seconds: step.seconds,
            counted: times.of_step(step),
        };
        let (steps, seconds) = (statistics.steps.iter().map(step).collect(), times.of_all(statistics));
        Self { times, seconds, server_by_counted: server / seconds, steps }
    }

    pub(super) fn text(&self) -> String {
        let header = ["step", "lookups", "time", "counted", "ratio"].map(String::from).to_vec();
        let row = |step: &MeasuredStep| {
            let ratio = if step.counted > 0.0 { format!("{:.2}", step.seconds / step.counted) } else { "-".into() };
            vec![
                step.name.to_owned(),
                super::text::count(step.lookups),
                seconds(step.seconds),
                seconds(step.counted),
                ratio,
            ]
        };
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(self.steps.iter().map(row)).collect();
        [
            format!("Times: {}", self.times.text()),
            format!(
                "  the server's time is {:.2} times that of the operations that are counted",
                self.server_by_counted
            ),
            String::new(),
            table(&rows),
        ]
        .join("\n")
    }
}
