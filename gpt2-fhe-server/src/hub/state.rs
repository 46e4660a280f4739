//! What the server knows of keys, texts and requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::name::Name;
use crate::queue::FairQueue;
use crate::tracker::{Stop, Tracker};

/// What each thing is taken to need on the disk beside its bytes: a block of its record, its entries in folders.
pub(crate) const OVERHEAD: u64 = 4096;

/// A file of keys.
#[derive(Debug)]
pub(crate) struct KeysEntry {
    pub(crate) bytes: u64,
    pub(crate) used: SystemTime,
    /// Requests that are being checked against them.
    pub(crate) checks: usize,
    /// Whether they are deleted, and go when what is computed with them has stopped.
    pub(crate) is_leaving: bool,
}

/// What is kept of a text beside its folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TextRecord {
    pub(crate) keys: Name,
}

/// A text.
#[derive(Debug)]
pub(crate) struct TextEntry {
    pub(crate) keys: Name,
    /// Bytes of its folder when it was looked at last.
    pub(crate) bytes: u64,
    pub(crate) used: SystemTime,
    /// Whether a request of it is computed.
    pub(crate) is_running: bool,
    /// Whether it is deleted, and goes when its request has stopped.
    pub(crate) is_leaving: bool,
}

/// What is kept of a request beside its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RequestRecord {
    pub(crate) keys: Name,
    pub(crate) text: Option<Name>,
    /// Requests are computed in this order, as far as turns allow.
    pub(crate) sequence: u64,
    /// Milliseconds since 1970.
    pub(crate) created: u64,
    pub(crate) operations: u64,
    /// The most bytes of its answer and of what it adds to its text.
    pub(crate) disk_bytes: u64,
    /// How often its computation was begun and ended with the process, unasked.
    pub(crate) attempts: u32,
    pub(crate) finished: Option<Finished>,
}

/// How a request ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// How long it was computed.
    pub(crate) seconds: f64,
    /// Why there is no answer.
    pub(crate) failure: Option<Failure>,
}

/// A request.
#[derive(Debug)]
pub(crate) struct RequestEntry {
    pub(crate) record: RequestRecord,
    /// Bytes on the disk that it has, or that are reserved for it.
    pub(crate) bytes: u64,
    /// Since when it is computed.
    pub(crate) running: Option<Instant>,
    pub(crate) tracker: Arc<Tracker>,
}

impl RequestEntry {
    pub(crate) fn is_unfinished(&self) -> bool {
        self.record.finished.is_none()
    }

    /// Whether there is an answer, or will be.
    pub(crate) fn is_good(&self) -> bool {
        self.record.finished.as_ref().is_none_or(|finished| finished.failure.is_none())
    }

    /// Whether it is computed, but will be deleted as soon as it has stopped.
    fn is_cancelled(&self) -> bool {
        self.running.is_some() && self.tracker.stop() == Some(Stop::Cancelled)
    }

    pub(crate) fn is_of_text(&self, text: &Name) -> bool {
        self.record.text.as_ref() == Some(text)
    }
}

/// What anyone is told of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RequestStatus {
    pub(crate) request: Name,
    pub(crate) keys: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<Name>,
    /// `queued`, `running`, `stopping`, `done`, `failed`.
    pub(crate) state: &'static str,
    /// How many are before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<String>,
    pub(crate) done: u64,
    pub(crate) total: u64,
    /// Of its computation.
    pub(crate) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Everything, behind one lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) keys: BTreeMap<Name, KeysEntry>,
    pub(crate) texts: BTreeMap<Name, TextEntry>,
    pub(crate) requests: BTreeMap<Name, RequestEntry>,
    pub(crate) queue: FairQueue,
    /// Of the next request.
    pub(crate) sequence: u64,
    /// Bytes on the disk, and those that are reserved.
    pub(crate) disk: u64,
    pub(crate) running: usize,
    /// Whether nothing is accepted or begun any more.
    pub(crate) is_stopping: bool,
}

impl State {
    pub(crate) fn check_open(&self) -> Result<(), Failure> {
        if self.is_stopping { Err(Failure::stopping()) } else { Ok(()) }
    }

    /// That there are these keys.
    pub(crate) fn check_keys(&self, name: &Name) -> Result<&KeysEntry, Failure> {
        let line = "no keys of this name are here: send them with PUT /v1/keys";
        self.keys.get(name).filter(|keys| !keys.is_leaving).ok_or_else(|| Failure::not_found(line))
    }

    /// That there is this text, and that it is of these keys.
    pub(crate) fn check_text(&self, name: &Name, keys: &Name) -> Result<(), Failure> {
        match self.texts.get(name).filter(|text| !text.is_leaving) {
            None => Err(no_text()),
            Some(text) if text.keys != *keys => {
                let line = "the text belongs to other keys: begin a text of your own with POST /v1/texts";
                Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, line))
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether all unfinished requests that are chosen have been cancelled, and only have to stop.
    pub(crate) fn only_stops(&self, is_chosen: impl Fn(&RequestEntry) -> bool) -> bool {
        let mut unfinished = self.requests.values().filter(|entry| entry.is_unfinished() && is_chosen(entry));
        unfinished.all(RequestEntry::is_cancelled)
    }

    /// Takes bytes of the disk.
    pub(crate) fn charge(&mut self, bytes: u64, limit: u64) -> Result<(), Failure> {
        match self.disk.checked_add(bytes).filter(|&sum| sum <= limit) {
            Some(sum) => self.disk = sum,
            None => return Err(Failure::no_space("the server's disk limit is reached: delete answers, texts or keys")),
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, bytes: u64) {
        self.disk = self.disk.saturating_sub(bytes);
    }

    pub(crate) fn status(&self, name: &Name) -> Result<RequestStatus, Failure> {
        let entry = self.requests.get(name).ok_or_else(no_request)?;
        let (record, done) = (&entry.record, entry.tracker.done());
        let failure = record.finished.as_ref().and_then(|finished| finished.failure.as_ref());
        let state = match (&record.finished, entry.running) {
            (Some(_), _) if failure.is_some() => "failed",
            (Some(_), _) => "done",
            (None, Some(_)) if entry.tracker.stop().is_some() => "stopping",
            (None, Some(_)) => "running",
            (None, None) => "queued",
        };
        let running = entry.running.map(|since| since.elapsed().as_secs_f64());
        Ok(RequestStatus {
            request: name.clone(),
            keys: record.keys.clone(),
            text: record.text.clone(),
            state,
            place: self.queue.place(name),
            step: entry.running.map(|_| entry.tracker.step()),
            done: if state == "done" { record.operations } else { done.min(record.operations) },
            total: record.operations,
            seconds: record.finished.as_ref().map(|finished| finished.seconds).or(running).unwrap_or(0.0),
            error: failure.map(|failure| failure.line.clone()),
        })
    }
}

pub(crate) fn no_text() -> Failure {
    Failure::not_found("no text of this name is here: begin one with POST /v1/texts, or its time is over")
}

pub(crate) fn no_request() -> Failure {
    Failure::not_found("no request of this name is here: it was never sent, was deleted, or its time is over")
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Whether so much time has passed since then.
pub(crate) fn is_over(since: u64, time: Duration) -> bool {
    u128::from(now().saturating_sub(since)) >= time.as_millis()
}
