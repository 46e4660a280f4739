//! What more machines give: a plan's lookups computed by workers, in a closed form and simulated.

use std::path::Path;

use anyhow::{anyhow, bail};
use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::block::keys::{GADGETS, result_bits};
use gpt2_fhe::block::schedule::{OwnOperation, Schedule, Scheduled};
use gpt2_fhe_worker::cutting::{Cutting, IN_FLIGHT};
use gpt2_fhe_worker::scale::{ClosedForm, Cluster, Durations, LookupCall, MessageSizes, OwnWork, RunRecord, simulate};
use serde::Serialize;
use tfhe_core::sets::PRECISE;

use super::arguments::{NotApplicable, PlanArguments, ScaleArguments};
use super::text::{bytes, line, seconds, table};
use super::timing::Times;

/// The most cores that one is asked about.
const MAX_CORES: usize = 1 << 16;
/// What a simulation draws from: any number does.
const SEED: u64 = 1;

/// What the columns mean, and what is not in them.
const LEGEND: &str = "  \
  cores: cores of workers, each of which computes one batch of blind rotations at a time
  rotations: what these take, with the last batch of each call waited for; server: key switches, packing, products and linear maps, which
             stay with the server; network: what bytes, messages that the server writes and reads, and waiting for them add; formula: the
             sum of the three
  simulated: the same by events, one for each batch and message, with durations drawn from the record, if one was given
  limit: the largest part; rotations are in two, what more cores would share, and one batch of each call, which is one rotation where cores
         are as many. Not counted: sums and copies of the server, workers that fail, other requests, and that a rotation alone takes longer
         than in a batch of 8, which reads the key once";

/// Checks what was given, before anything is computed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(arguments: &PlanArguments) -> anyhow::Result<()> {
    let PlanArguments { scale, measure, pbs_ms, .. } = arguments;
    if scale.workers.is_empty() {
        return Ok(());
    }
    let cores = scale.workers.iter().chain([&scale.server_cores]);
    if let Some(wrong) = cores.clone().find(|cores| !(1..=MAX_CORES).contains(*cores)) {
        bail!("--workers or --server-cores has {wrong}; 1 to {MAX_CORES} are possible");
    }
    if scale.batch == 0 || scale.together == Some(0) {
        bail!("--batch and --together are at least 1");
    }
    if !measure && (pbs_ms.is_empty() || scale.own_ms.is_empty() || scale.message_ms.is_empty()) {
        let what = "--workers needs times of all operations; measure them by --measure, or give them by --pbs-ms, --own-ms and --message-ms";
        return Err(NotApplicable::new(what).into());
    }
    Ok(())
}

/// What more machines give to one request.
#[derive(Serialize)]
pub(super) struct ScaledPlan {
    server_cores: usize,
    bandwidth_bits: f64,
    latency_seconds: f64,
    rotations: usize,
    /// Of a blind rotation by gadget, on one core.
    rotation_ms: [f64; GADGETS],
    /// Where that is from.
    source: &'static str,
    /// By the number of the workers' cores.
    workers: Vec<ScaledTo>,
    /// Of the record that was given; null without.
    record: Option<RecordReport>,
}

#[derive(Serialize)]
struct ScaledTo {
    workers: usize,
    /// Calls of lookups, one after the other.
    calls: usize,
    /// By the closed form: the sum of the next three.
    seconds: f64,
    rotations_seconds: f64,
    server_seconds: f64,
    network_seconds: f64,
    simulated_seconds: f64,
    limit: &'static str,
    bytes_out: f64,
    bytes_back: f64,
}

/// A record beside its own simulation.
#[derive(Serialize)]
struct RecordReport {
    calls: usize,
    workers: usize,
    server_cores: usize,
    seconds: f64,
    server_seconds: f64,
    replayed_seconds: f64,
}

impl RecordReport {
    fn new(record: &RunRecord) -> anyhow::Result<Self> {
        let replayed = record.replay(&record.cluster(), &MessageSizes::none(GADGETS), SEED)?;
        Ok(Self {
            calls: record.calls.len(),
            workers: record.header.workers,
            server_cores: record.header.server_cores,
            seconds: record.seconds(),
            server_seconds: record.calls.iter().map(|call| call.own_seconds).sum(),
            replayed_seconds: replayed.seconds,
        })
    }

    fn text(&self) -> String {
        format!(
            "{} calls on {} cores of workers and {} of the server took {}, of which {} were the server's own work; simulated as \
             recorded: {}, {:.2} times that",
            self.calls,
            self.workers,
            self.server_cores,
            seconds(self.seconds),
            seconds(self.server_seconds),
            seconds(self.replayed_seconds),
            self.replayed_seconds / self.seconds,
        )
    }
}

/// Reads a record.
///
/// # Errors
/// That it is none.
pub(super) fn record(path: Option<&Path>) -> anyhow::Result<Option<RunRecord>> {
    let read =
        |path: &Path| RunRecord::read(path).map_err(|error| anyhow!("cannot use --record {}: {error}", path.display()));
    path.map(read).transpose()
}

impl ScaledPlan {
    /// Of a plan's schedule, with times of operations, or those of blind rotations from a record.
    ///
    /// # Errors
    /// That a record has none of some gadget.
    pub(super) fn new(
        arguments: &ScaleArguments,
        circuit: &BlockCircuit,
        schedule: &Schedule,
        (times, record): (&Times, Option<&RunRecord>),
    ) -> anyhow::Result<Self> {
        let (Some(own), Some(messages)) = (times.own_seconds(), times.message_seconds()) else {
            bail!("nothing says how long the server's own operations take")
        };
        let levels = circuit.prediction().levels();
        let switch = own[0];
        // A bootstrapping's time has its argument's key switch, which is the server's; of several levels there is one.
        let rotation = |gadget: usize| {
            let share = if gadget == PRECISE { levels as f64 } else { 1.0 };
            (times.of_one(gadget) - switch / share).max(0.0)
        };
        let mut rotation_seconds: [f64; GADGETS] = std::array::from_fn(rotation);
        let durations = record.map_or_else(|| Durations::constant(&rotation_seconds), RunRecord::durations);
        for (gadget, seconds) in rotation_seconds.iter_mut().enumerate() {
            *seconds = durations.mean(gadget)?;
        }
        let sizes = message_sizes(circuit)?;
        let sizes = match record {
            Some(record) => record.message_sizes(sizes),
            None => sizes,
        };
        let cutting = Cutting { least: arguments.batch, ..Cutting::default() };
        let scaled = |&workers: &usize| {
            let cluster = Cluster {
                workers,
                server_cores: arguments.server_cores,
                own_lookups: arguments.own_lookups,
                bandwidth: arguments.bandwidth.0 / 8.0,
                latency: arguments.latency.0,
                messages,
                in_flight: IN_FLIGHT,
                cutting,
            };
            let calls = calls(schedule, &own, arguments.together.unwrap_or_else(|| cutting.together(cluster.cores())));
            let closed = ClosedForm::new(&calls, &sizes, &durations, &cluster)?;
            let simulated = simulate((&calls, None), &sizes, &durations, &cluster, SEED)?;
            Ok(ScaledTo {
                workers,
                calls: calls.iter().filter(|call| call.rotations > 0).count(),
                seconds: closed.seconds(),
                rotations_seconds: closed.rotations,
                server_seconds: closed.server,
                network_seconds: closed.network,
                simulated_seconds: simulated.seconds,
                limit: closed.binding().name(),
                bytes_out: closed.bytes_out,
                bytes_back: closed.bytes_back,
            })
        };
        Ok(Self {
            server_cores: arguments.server_cores,
            bandwidth_bits: arguments.bandwidth.0,
            latency_seconds: arguments.latency.0,
            rotations: schedule.rotations(),
            rotation_ms: rotation_seconds.map(|seconds| 1000.0 * seconds),
            source: if record.is_some() { "record" } else { "times" },
            workers: arguments.workers.iter().map(scaled).collect::<anyhow::Result<_>>()?,
            record: record.map(RecordReport::new).transpose()?,
        })
    }

    /// Lines and a table.
    pub(super) fn text(&self) -> String {
        let by_gadget = self.rotation_ms.map(|ms| format!("{ms:.3}")).join(", ");
        let way =
            format!("{:.3} Gbit/s each way, {} a message", self.bandwidth_bits / 1e9, seconds(self.latency_seconds));
        let mut lines = vec![
            "Lookups by workers".to_owned(),
            line("blind rotations", format!("{}: {by_gadget} ms by gadget", self.rotations)),
            line("server and network", format!("{} cores; {way}", self.server_cores)),
        ];
        lines.extend(self.record.iter().map(|record| line("record", record.text())));
        let header =
            ["cores", "calls", "rotations", "server", "network", "formula", "simulated", "out", "back", "limit"];
        let mut rows = vec![header.map(String::from).to_vec()];
        for to in &self.workers {
            let parts = [to.rotations_seconds, to.server_seconds, to.network_seconds, to.seconds, to.simulated_seconds];
            let mut row = vec![to.workers.to_string(), to.calls.to_string()];
            row.extend(parts.map(|seconds| format!("{seconds:.2}")));
            row.extend([to.bytes_out, to.bytes_back].map(|count| bytes(count as usize)));
            row.push(to.limit.into());
            rows.push(row);
        }
        lines.push(format!("\n{}\n\n{LEGEND}", table(&rows)));
        lines.join("\n")
    }
}

/// What the model is asked: calls of at most `together` lookups, as the server makes them.
fn calls(schedule: &Schedule, own: &[f64; OwnOperation::ALL.len()], together: usize) -> Vec<LookupCall> {
    let seconds = |operation: OwnOperation, count: usize| {
        let index = OwnOperation::ALL.iter().position(|&other| other == operation).unwrap_or(0);
        own[index] * count as f64
    };
    let (mut calls, mut before) = (Vec::new(), Vec::new());
    for scheduled in &schedule.0 {
        match *scheduled {
            Scheduled::Own { operation, count, parts } => {
                before.push(OwnWork { seconds: seconds(operation, count), parts });
            }
            Scheduled::Lookups { gadget, lookups, rotations, switches, tables, .. } => {
                for first in (0..lookups).step_by(together) {
                    let now = together.min(lookups - first);
                    let mut own = std::mem::take(&mut before);
                    own.push(OwnWork { seconds: seconds(OwnOperation::KeySwitch, now * switches), parts: now });
                    calls.push(LookupCall {
                        gadget,
                        rotations: now * rotations,
                        tables: tables.min(now * rotations),
                        own,
                    });
                }
            }
        }
    }
    calls.push(LookupCall { own: before, ..LookupCall::default() });
    calls
}

fn message_sizes(circuit: &BlockCircuit) -> anyhow::Result<MessageSizes> {
    let parameters = circuit.parameters();
    let bits = (0..GADGETS).map(|gadget| result_bits(parameters, gadget)).collect::<Result<Vec<_>, _>>()?;
    let sizes = MessageSizes::of_formats(parameters.lookup().shape, parameters.small().lwe_dimension(), &bits);
    Ok(sizes.with_smooth_tables())
}
