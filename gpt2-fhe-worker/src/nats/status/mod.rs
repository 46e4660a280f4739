//! What servers and workers do, seen from outside.

mod table;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{Context, ErrorCode};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Builder;

pub use self::table::table;
use super::connection::{Link, NatsError, NatsOptions, reason};
use super::names;
use crate::info::{PROTOCOL, RequestInfo, ServerInfo, WorkerInfo, is_for};

/// How long it takes to see everybody twice, who speak once a second.
pub const WATCH_TIME: Duration = Duration::from_millis(2500);
/// The most bytes of what somebody says of itself.
const MOST_INFO: usize = 64 << 10;
/// The most workers, and servers, that are told apart.
const MOST_SEEN: usize = 16_384;

/// Everybody who has said something while it was watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "status")]
pub struct Status {
    /// Workers, by host and name.
    pub workers: Vec<WorkerStatus>,
    /// Servers, by host and run.
    pub servers: Vec<ServerStatus>,
    /// Batches that no worker has finished yet; nothing where no server has been.
    pub waiting: Option<u64>,
    /// Lookups a second that all workers compute together.
    pub worker_rate: f64,
    /// Lookups a second that servers have, whoever computes them.
    pub server_rate: f64,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// What it says. Of another version, what there is of it.
    #[serde(flatten)]
    pub info: WorkerInfo,
    /// Lookups a second, if it was heard twice.
    pub rate: Option<f64>,
    /// Why it gets no batches, and what can be done.
    pub gets_nothing: Option<String>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// What it says. Of another version, what there is of it.
    #[serde(flatten)]
    pub info: ServerInfo,
    /// Lookups a second, if it was heard twice.
    pub rate: Option<f64>,
    /// For each of its requests, the seconds that it still takes if the rest is as fast; nothing if it is not known.
    pub seconds_left: Vec<Option<f64>>,
}

/// What was heard of one of them: the first and the last word, and when.
struct Heard<T> {
    first: (Instant, T),
    last: (Instant, T),
}

impl<T: Clone> Heard<T> {
    fn note(seen: &mut BTreeMap<String, Self>, name: String, info: T) {
        let now = (Instant::now(), info);
        if seen.len() < MOST_SEEN || seen.contains_key(&name) {
            let heard = seen.entry(name).or_insert_with(|| Self { first: now.clone(), last: now.clone() });
            heard.last = now;
        }
    }

    /// How much of `count` there is a second. A name that began anew in between has no rate.
    fn rate(&self, count: impl Fn(&T) -> u64) -> Option<f64> {
        let seconds = self.last.0.duration_since(self.first.0).as_secs_f64();
        let done = count(&self.last.1).checked_sub(count(&self.first.1))?;
        (seconds > 0.5).then(|| done as f64 / seconds)
    }
}

/// Listens for a while, [`WATCH_TIME`] as a rule.
///
/// # Errors
/// [`NatsError`].
pub fn watch(options: &NatsOptions, time: Duration) -> Result<Status, NatsError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let link = Link::connect(options, ("status", "gpt2-fhe status")).await?;
        let (mut workers, mut servers) = (BTreeMap::new(), BTreeMap::new());
        let subscribe =
            async |subject| link.client.subscribe(subject).await.map_err(|error| link.failure(reason(&error)));
        let mut from_workers = subscribe(names::WORKER_SUBJECT).await?;
        let mut from_servers = subscribe(names::SERVER_SUBJECT).await?;
        let mut end = std::pin::pin!(tokio::time::sleep(time));
        loop {
            tokio::select! {
                Some(message) = from_workers.next() => if let Some(info) = worker_info(&message.payload) {
                    Heard::note(&mut workers, info.worker.clone(), info);
                },
                Some(message) = from_servers.next() => if let Some(info) = server_info(&message.payload) {
                    Heard::note(&mut servers, info.run.clone(), info);
                },
                () = &mut end => break,
            }
        }
        if !link.state.borrow().is_connected {
            return Err(NatsError::NoServer(options.url.clone(), "the connection was lost".to_owned()));
        }
        if link.is_forbidden() {
            return Err(link.failure(String::new()));
        }
        let waiting = waiting(&link.jetstream).await.map_err(|reason| link.failure(reason))?;
        Ok(status(&workers, &servers, waiting))
    })
}

/// How many batches are in the stream.
async fn waiting(jetstream: &Context) -> Result<Option<u64>, String> {
    match jetstream.get_stream(names::WORK_STREAM).await {
        Ok(stream) => Ok(Some(stream.cached_info().state.messages)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            _ => Err(reason(&error)),
        },
    }
}

fn status(
    workers: &BTreeMap<String, Heard<WorkerInfo>>,
    servers: &BTreeMap<String, Heard<ServerInfo>>,
    waiting: Option<u64>,
) -> Status {
    let server = |heard: &Heard<ServerInfo>| ServerStatus {
        info: heard.last.1.clone(),
        rate: heard.rate(|info| info.counts.rotations),
        seconds_left: heard.last.1.requests.iter().map(seconds_left).collect(),
    };
    let mut servers: Vec<ServerStatus> = servers.values().map(server).collect();
    servers.sort_by(|a, b| (&a.info.host, &a.info.run).cmp(&(&b.info.host, &b.info.run)));
    let worker = |heard: &Heard<WorkerInfo>| WorkerStatus {
        info: heard.last.1.clone(),
        rate: heard.rate(|info| info.rotations),
        gets_nothing: gets_nothing(&heard.last.1, &servers),
    };
    let mut workers: Vec<WorkerStatus> = workers.values().map(worker).collect();
    workers.sort_by(|a, b| (&a.info.host, &a.info.worker).cmp(&(&b.info.host, &b.info.worker)));
    // A sum of nothing is -0 otherwise.
    let sum = |rates: &mut dyn Iterator<Item = f64>| rates.fold(0.0, |sum, rate| sum + rate);
    let worker_rate = sum(&mut workers.iter().filter_map(|worker| worker.rate));
    let server_rate = sum(&mut servers.iter().filter_map(|server| server.rate));
    Status { workers, servers, waiting, worker_rate, server_rate }
}

/// Why no server has something for a worker.
fn gets_nothing(worker: &WorkerInfo, servers: &[ServerStatus]) -> Option<String> {
    let same_version = |server: &&ServerStatus| server.info.protocol == worker.protocol;
    if servers.is_empty() {
        return Some("there is no server".to_owned());
    }
    if !servers.iter().any(|server| same_version(&server)) {
        let versions = list(servers.iter().map(|server| server.info.version.clone()));
        return Some(format!(
            "it is of version {}, and servers are of {versions}: use one version everywhere",
            worker.version
        ));
    }
    let same_sets = |server: &&ServerStatus| is_for(&server.info.sets, &worker.sets);
    if !servers.iter().filter(same_version).any(|server| same_sets(&server)) {
        let theirs = list(servers.iter().filter(same_version).flat_map(|server| server.info.sets.clone()));
        return Some(format!(
            "its parameter sets are {}, and those of servers {theirs}: start it without --set, or with another one",
            list(worker.sets.iter().cloned())
        ));
    }
    let is_for_it = |server: &ServerStatus| server.info.arithmetic == worker.arithmetic && same_sets(&server);
    if servers.iter().filter(same_version).any(is_for_it) {
        return None;
    }
    let theirs = list(servers.iter().filter(same_version).map(|server| server.info.arithmetic.clone()));
    Some(format!(
        "its vector instructions are {}, and servers have {theirs}, whose results have other last bits: set TFHE_BACKEND=avx2 for all \
         of them, or portable for those that do not have AVX2",
        worker.arithmetic
    ))
}

fn list(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

/// By how fast it was until now.
fn seconds_left(request: &RequestInfo) -> Option<f64> {
    let left = request.operations.checked_sub(request.done)?;
    (request.done > 0).then(|| request.seconds * left as f64 / request.done as f64)
}

/// What a worker says of itself. Of another version only what everyone says.
fn worker_info(bytes: &[u8]) -> Option<WorkerInfo> {
    let value = json(bytes)?;
    if value["protocol"] == PROTOCOL {
        return serde_json::from_value(value).ok();
    }
    Some(WorkerInfo {
        protocol: protocol(&value)?,
        version: word(&value, "version"),
        worker: word(&value, "worker"),
        host: word(&value, "host"),
        arithmetic: word(&value, "arithmetic"),
        ..WorkerInfo::default()
    })
}

/// What a server says of itself. Of another version only what everyone says.
fn server_info(bytes: &[u8]) -> Option<ServerInfo> {
    let value = json(bytes)?;
    if value["protocol"] == PROTOCOL {
        return serde_json::from_value(value).ok();
    }
    Some(ServerInfo {
        protocol: protocol(&value)?,
        version: word(&value, "version"),
        run: word(&value, "run"),
        host: word(&value, "host"),
        arithmetic: word(&value, "arithmetic"),
        sets: Vec::new(),
        requests: Vec::new(),
        counts: Default::default(),
    })
}

fn json(bytes: &[u8]) -> Option<Value> {
    if bytes.len() > MOST_INFO {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

fn protocol(value: &Value) -> Option<u32> {
    value["protocol"].as_u64()?.try_into().ok()
}

fn word(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests;
