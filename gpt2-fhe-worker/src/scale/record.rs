//! What a run leaves for the model: its calls, and how long their batches took.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, LookupCall, MessageSizes, OwnWork};
use super::durations::{Durations, NoDuration};
use super::messages::MessageSeconds;
use super::simulation::{Simulated, simulate};
use crate::cutting::{Cutting, IN_FLIGHT};

/// What a record's header says that it is.
const KIND: &str = "gpt2-fhe record of lookups";
/// Of the form below.
const VERSION: u32 = 1;
/// The most bytes of a record that is read: that of a run of days has less.
const MOST_BYTES: u64 = 1 << 30;
/// More than any number of cores of a run.
const MOST_CORES: usize = 1 << 20;
/// More than any number of seconds that a record is about.
const MOST_SECONDS: f64 = 1e9;

/// Where and of what a record was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordHeader {
    /// Always the same: what kind of file it is.
    pub kind: String,
    /// Of the file's form.
    pub version: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// The server's CPU, if the system tells.
    pub cpu: Option<String>,
    /// How transforms round ([`crate::info::arithmetic`]).
    pub arithmetic: String,
    /// Cores of the server's machine.
    pub cores: usize,
    /// How many programs wanted a core in the last minute, as the system counts them, if it tells.
    pub load: Option<f64>,
    /// Seconds since 1970-01-01, UTC.
    pub date: u64,
    /// Cores of workers; 0 where the server computed everything.
    pub workers: usize,
    /// How many of the server's cores computed batches.
    pub server_cores: usize,
    /// Anything else: what was computed, the commit.
    pub note: String,
}

impl RecordHeader {
    /// Of this machine, now.
    pub fn here(workers: usize, server_cores: usize, note: &str) -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        let cpu = read("/proc/cpuinfo").and_then(|text| {
            let name = text.lines().find(|line| line.starts_with("model name"))?;
            Some(name.split_once(':')?.1.trim().to_owned())
        });
        Self {
            kind: KIND.into(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            cpu,
            arithmetic: crate::info::arithmetic(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: read("/proc/loadavg").and_then(|text| text.split_whitespace().next()?.parse().ok()),
            date: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            workers,
            server_cores,
            note: note.into(),
        }
    }
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Its blind rotations.
    pub rotations: usize,
    /// Seconds of computing, on one core.
    pub seconds: f64,
    /// Seconds from when it was published to when its result was there; where the server computed it, those of computing.
    pub turnaround: f64,
    /// Bytes that went to a worker; 0 where the server computed it.
    pub bytes_out: u64,
    /// Bytes that came back.
    pub bytes_back: u64,
    /// Whether the server computed it.
    pub by_server: bool,
}

/// One call of lookups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The number of the set's bootstrapping gadget.
    pub gadget: usize,
    /// Its blind rotations.
    pub rotations: usize,
    /// Its different polynomials.
    pub tables: usize,
    /// Seconds from the end of the call before, or from the beginning, to this one: the server's own work.
    pub own_seconds: f64,
    /// Seconds of the call itself.
    pub seconds: f64,
    /// Its batches, in the order in which they were cut.
    pub batches: Vec<BatchRecord>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Where and of what.
    pub header: RecordHeader,
    /// Its calls, in order.
    pub calls: Vec<CallRecord>,
}

/// A record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not one.
    #[error("not a record of lookups, as `compute --record` writes them: {0}")]
    Other(String),
}

impl RunRecord {
    /// Of a run that begins.
    pub fn new(header: RecordHeader) -> Self {
        Self { header, calls: Vec::new() }
    }

    /// Seconds of its calls, and of what the server did between them.
    pub fn seconds(&self) -> f64 {
        self.calls.iter().map(|call| call.own_seconds + call.seconds).sum()
    }

    /// How many seconds a message took that nothing had to be waited for, one way: half of what batches took that were back first, besides
    /// computing. The shortest tenth of them, as others waited for a worker. `None` if no worker computed any.
    pub fn latency(&self) -> Option<f64> {
        let batches = self.calls.iter().flat_map(|call| &call.batches).filter(|batch| !batch.by_server);
        let mut ways: Vec<f64> = batches.map(|batch| (batch.turnaround - batch.seconds).max(0.0) / 2.0).collect();
        ways.sort_by(f64::total_cmp);
        ways.get(ways.len() / 10).copied()
    }

    /// How long its batches took.
    pub fn durations(&self) -> Durations {
        let gadgets = self.calls.iter().map(|call| call.gadget + 1).max().unwrap_or(0);
        let mut by_gadget = vec![Vec::new(); gadgets];
        for call in &self.calls {
            let of_batch = call.batches.iter().map(|batch| batch.seconds / batch.rotations as f64);
            by_gadget[call.gadget].extend(of_batch);
        }
        Durations::known(by_gadget)
    }

    /// Sizes of messages with polynomials as large as they were on the way to workers; with those that `sizes` has, if none went there.
    pub fn message_sizes(&self, sizes: MessageSizes) -> MessageSizes {
        let (mut bytes, mut tables) = (0.0, 0.0);
        for call in &self.calls {
            for batch in call.batches.iter().filter(|batch| !batch.by_server) {
                bytes += batch.bytes_out as f64 - sizes.batch - batch.rotations as f64 * sizes.input;
                tables += call.tables.min(batch.rotations) as f64;
            }
        }
        if tables > 0.0 { MessageSizes { table: (bytes / tables).max(0.0), ..sizes } } else { sizes }
    }

    /// The same run on other machines, simulated: calls and batches as they are, of the durations that they had, drawn anew. The server's own
    /// work takes as long as it did.
    ///
    /// # Errors
    /// [`NoDuration`]: never of a record that was [read](Self::read).
    pub fn replay(&self, cluster: &Cluster, sizes: &MessageSizes, seed: u64) -> Result<Simulated, NoDuration> {
        let call = |call: &CallRecord| LookupCall {
            gadget: call.gadget,
            rotations: call.rotations,
            tables: call.tables,
            own: vec![OwnWork { seconds: call.own_seconds, parts: 1 }],
        };
        let calls: Vec<LookupCall> = self.calls.iter().map(call).collect();
        let rotations = |call: &CallRecord| call.batches.iter().map(|batch| batch.rotations).collect();
        let batches: Vec<Vec<usize>> = self.calls.iter().map(rotations).collect();
        simulate((&calls, Some(&batches)), sizes, &self.durations(), cluster, seed)
    }

    /// The machines that it was recorded on, as far as it says: a way of no limit, and the [latency](Self::latency) that it had.
    pub fn cluster(&self) -> Cluster {
        let RecordHeader { workers, server_cores, .. } = self.header;
        Cluster {
            workers,
            server_cores,
            own_lookups: self.calls.iter().flat_map(|call| &call.batches).any(|batch| batch.by_server),
            bandwidth: f64::INFINITY,
            latency: self.latency().unwrap_or(0.0),
            // They are in the latency.
            messages: MessageSeconds::default(),
            in_flight: IN_FLIGHT,
            cutting: Cutting::default(),
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn write_to(&self, writer: impl Write) -> io::Result<()> {
        Ok(serde_json::to_writer(writer, self)?)
    }

    /// Writes it to a new file, or over the one that is there, once it is whole.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        let mut file = io::BufWriter::new(File::create(&part)?);
        self.write_to(&mut file).and_then(|()| file.flush()).and_then(|()| fs::rename(&part, path)).inspect_err(|_| {
            // What is left of it is no record.
            let _ = fs::remove_file(&part);
        })
    }

    /// Reads one, which anybody may have written.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let file = File::open(path)?;
        if file.metadata()?.len() > MOST_BYTES {
            return Err(RecordError::Other(format!("it has more than {MOST_BYTES} bytes")));
        }
        let record: Self = serde_json::from_reader(BufReader::new(file.take(MOST_BYTES)))
            .map_err(|error| RecordError::Other(error.to_string()))?;
        record.check().map_err(RecordError::Other)?;
        Ok(record)
    }

    /// What everything that uses it relies on.
    fn check(&self) -> Result<(), String> {
        let RecordHeader { kind, version, .. } = &self.header;
        if kind != KIND || *version != VERSION {
            return Err(format!(
                "its header says \"{kind}\", version {version}; \"{KIND}\", version {VERSION}, is needed"
            ));
        }
        let RecordHeader { workers, server_cores, .. } = self.header;
        if workers > MOST_CORES || server_cores > MOST_CORES {
            return Err(format!("its header says {workers} cores of workers and {server_cores} of the server"));
        }
        let are_times = |times: &[f64]| times.iter().all(|time| (0.0..=MOST_SECONDS).contains(time));
        for (index, call) in self.calls.iter().enumerate() {
            let batches = call.batches.iter();
            let sum = batches.clone().try_fold(0, |sum: usize, batch| sum.checked_add(batch.rotations));
            if call.rotations == 0 || sum != Some(call.rotations) || batches.clone().any(|batch| batch.rotations == 0) {
                return Err(format!("call {index} has {} rotations, and its batches others", call.rotations));
            }
            if !are_times(&[call.own_seconds, call.seconds])
                || batches.clone().any(|batch| !are_times(&[batch.seconds, batch.turnaround]))
            {
                return Err(format!("a time of call {index} is none"));
            }
            if call.gadget >= 64 {
                return Err(format!("call {index} has gadget {}", call.gadget));
            }
        }
        if self.seconds() > 0.0 { Ok(()) } else { Err("it has no calls, or they took no time".into()) }
    }
}
