//! What workers and servers tell whoever watches.

use serde::{Deserialize, Serialize};

/// The version of everything that is sent: messages of another one are not read.
pub const PROTOCOL: u32 = 1;

/// What a worker says of itself, every second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The version of the program.
    pub version: String,
    /// Its name: chosen at random when it starts.
    pub worker: String,
    /// Whoever runs it: the machine's name, say.
    pub host: String,
    /// How its transforms round: batches are for workers with the same one ([`arithmetic`]).
    pub arithmetic: String,
    /// The names of the parameter sets of its batches.
    pub sets: Vec<String>,
    /// How many batches it computes at the same time, each on one core.
    pub threads: u32,
    /// How many of them are at work.
    pub busy: u32,
    /// Batches that it has computed since it started.
    pub batches: u64,
    /// Blind rotations that it has computed since it started.
    pub rotations: u64,
    /// Seconds of computing, of all threads together.
    pub seconds: f64,
    /// Batches that it has refused.
    pub refused: u64,
    /// Keys that it has prepared in memory, as the first characters of their names.
    pub keys: Vec<String>,
}

/// What a server says of itself, every second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The version of the program.
    pub version: String,
    /// Its run: chosen at random when it starts.
    pub run: String,
    /// As of workers.
    pub host: String,
    /// As of workers.
    pub arithmetic: String,
    /// The names of the parameter sets of its batches; if there are none, it may be any.
    pub sets: Vec<String>,
    /// What is being computed.
    pub requests: Vec<RequestInfo>,
    /// What has been handed out since the server started.
    pub counts: Counts,
}

/// A request that is being computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestInfo {
    /// The step that it is at.
    pub step: String,
    /// Lookups and products that are done.
    pub done: u64,
    /// Of how many.
    pub operations: u64,
    /// Seconds since it was begun.
    pub seconds: f64,
}

/// What a dispatcher has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Blind rotations that are done, whoever computed them.
    pub rotations: u64,
    /// Of these, computed by workers.
    pub by_workers: u64,
    /// Batches that were published.
    pub published: u64,
    /// Results that were used.
    pub used: u64,
    /// Results that came twice, or too late: after the batch was computed elsewhere, or for a request that has ended.
    pub late: u64,
    /// Results that are none: damaged, or not what was asked for.
    pub damaged: u64,
    /// Batches that workers have refused.
    pub refused: u64,
    /// Batches that were given to somebody else because they took too long.
    pub overdue: u64,
    /// Results that were computed again and compared.
    pub verified: u64,
    /// Results that were wrong: whoever computed them is not believed any more.
    pub wrong: u64,
    /// Bytes of batches.
    pub bytes_out: u64,
    /// Bytes of results.
    pub bytes_in: u64,
    /// How many times the exchange could not be reached.
    pub disconnected: u64,
}

/// Whether batches of a server that has these sets are for a worker that has those.
pub fn is_for(server: &[String], worker: &[String]) -> bool {
    server.is_empty() || server.iter().any(|set| worker.contains(set))
}

/// How transforms of this process round: their instruction set, and how butterflies add. Two processes with the same name compute the same
/// bits ([`tfhe_core::simd`]).
pub fn arithmetic() -> String {
    tfhe_core::simd::arithmetic_name()
}

/// The name of this machine.
pub fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
