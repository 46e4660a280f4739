//! What the server counts, as Prometheus reads it.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::engine::EngineCount;

type Labels = Vec<(&'static str, String)>;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Failed,
    Refused,
    Cancelled,
    Expired,
    Superseded,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
        }
    }
}

/// What there is at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Levels {
    pub(crate) queued: usize,
    pub(crate) running: usize,
    pub(crate) keys: usize,
    pub(crate) key_bytes: u64,
    pub(crate) keys_in_memory: usize,
    pub(crate) key_memory: u64,
    pub(crate) texts: usize,
    pub(crate) disk: u64,
    pub(crate) connections: usize,
}

/// What is counted from the start on.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    responses: Family<Labels, Counter>,
    pub(crate) operations: Counter,
    pub(crate) seconds: Counter<f64, AtomicU64>,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

impl Metrics {
    /// A request has ended.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.requests.get_or_create(&vec![("outcome", outcome.name().into())]).inc();
    }

    /// How many requests have ended in an answer.
    pub(crate) fn answered(&self) -> u64 {
        self.requests.get_or_create(&vec![("outcome", Outcome::Answered.name().into())]).get()
    }

    /// A response was given.
    pub(crate) fn responded(&self, status: u16) {
        self.responses.get_or_create(&vec![("status", status.to_string())]).inc();
    }

    /// Everything as text.
    ///
    /// # Errors
    /// None that can come: writing to memory.
    pub(crate) fn text(&self, levels: &Levels, engine: &[EngineCount]) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("gpt2_fhe_server");
        registry.register("requests", "Requests that have ended, by outcome", self.requests.clone());
        registry.register("responses", "Responses, by status", self.responses.clone());
        registry.register("operations", "Lookups and products computed", self.operations.clone());
        registry.register_with_unit("computing", "Time of computations", Unit::Seconds, self.seconds.clone());
        registry.register_with_unit("received", "Keys and requests, as they came", Unit::Bytes, self.bytes_in.clone());
        registry.register_with_unit("sent", "Answers, as they were sent", Unit::Bytes, self.bytes_out.clone());
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            match unit {
                Some(unit) => registry.register_with_unit(name, help, unit, gauge),
                None => registry.register(name, help, gauge),
            }
        };
        gauge("queue_length", "Requests that wait", None, levels.queued as u64);
        gauge("running", "Requests that are computed", None, levels.running as u64);
        gauge("keys", "Files of keys on disk", None, levels.keys as u64);
        gauge("keys_disk", "What they take", Some(Unit::Bytes), levels.key_bytes);
        gauge("prepared_keys", "Keys that are in memory", None, levels.keys_in_memory as u64);
        gauge("prepared_keys_memory", "What they take", Some(Unit::Bytes), levels.key_memory);
        gauge("texts", "Texts that are kept", None, levels.texts as u64);
        gauge("disk", "Everything in the data folder, and what is reserved", Some(Unit::Bytes), levels.disk);
        gauge("connections", "Connections that are open", None, levels.connections as u64);
        if let Some(bytes) = resident_bytes() {
            gauge("resident_memory", "Memory of the process", Some(Unit::Bytes), bytes);
        }
        let mut totals = Vec::new();
        for &EngineCount { name, help, is_total, value } in engine {
            if is_total {
                totals.push((name, help, value));
            } else {
                gauge(name, help, None, value);
            }
        }
        for (name, help, value) in totals {
            let counter = Counter::<u64>::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Memory of this process, where the system says it (Linux).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
