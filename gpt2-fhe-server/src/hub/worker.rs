//! Threads that compute, one request after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::http::StatusCode;

use super::Hub;
use super::state::{Finished, OVERHEAD, State, now};
use crate::failure::Failure;
use crate::folder::{Part, remove};
use crate::keyring::Work;
use crate::metrics::Outcome;
use crate::name::Name;
use crate::tracker::{Stop, Tracker, Tracking};

/// How often the computation of a request may end with the process before it is given up: it may be what ends it.
const MOST_ATTEMPTS: u32 = 5;

/// A request that is to be computed now.
struct Job {
    name: Name,
    keys: Name,
    text: Option<Name>,
    tracker: Arc<Tracker>,
    begun: Instant,
    operations: u64,
}

impl Hub {
    /// Computes requests until the server stops.
    pub(crate) fn work(&self) {
        while let Some(job) = self.next_job() {
            let result = self.compute(&job);
            if let Some(text) = &job.text {
                self.weigh_text(text);
            }
            self.finish(&job, result);
        }
    }

    /// The next request, when there is one; `None` when the server stops.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.is_stopping {
                return None;
            }
            let State { queue, texts, .. } = &mut *state;
            match queue.take(|text| texts.get(text).is_some_and(|text| text.is_running)) {
                Some(name) => {
                    if let Some(job) = self.begin(&mut state, name) {
                        drop(state);
                        self.announce();
                        return Some(job);
                    }
                }
                None => state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn begin(&self, state: &mut State, name: Name) -> Option<Job> {
        let entry = state.requests.get_mut(&name)?;
        if entry.record.attempts >= MOST_ATTEMPTS {
            let line =
                format!("its computation was begun {MOST_ATTEMPTS} times, and each time the server ended with it");
            self.metrics.count(Outcome::Failed);
            self.supersede(state, &name);
            self.fail(state, &name, Failure::internal(line), 0.0);
            return None;
        }
        entry.record.attempts += 1;
        if let Err(error) = self.write_record(&name, &entry.record) {
            tracing::warn!(request = %name, %error, "cannot note that a request is begun");
        }
        let begun = Instant::now();
        entry.running = Some(begun);
        let (keys, text, tracker) = (entry.record.keys.clone(), entry.record.text.clone(), entry.tracker.clone());
        let operations = entry.record.operations;
        if let Some(text) = text.as_ref().and_then(|text| state.texts.get_mut(text)) {
            text.is_running = true;
        }
        state.running += 1;
        tracing::info!(request = %name, "request begun");
        Some(Job { name, keys, text, tracker, begun, operations })
    }

    /// The answer, in its file.
    fn compute(&self, job: &Job) -> Result<u64, Failure> {
        let path = |part, name: &Name| self.folder.path(part, name);
        let (key_file, request) = (path(Part::Keys, &job.keys), path(Part::Requests, &job.name));
        let text: Option<PathBuf> = job.text.as_ref().map(|text| path(Part::Texts, text));
        let work = Work { keys: &job.keys, key_file: &key_file, request: &request, text: text.as_deref() };
        let mut progress = Tracking { tracker: &job.tracker, metrics: &self.metrics, total: job.operations };
        let computed = catch_unwind(AssertUnwindSafe(|| self.machine.compute(&work, &mut progress)));
        let Ok(answer) = computed else {
            tracing::error!(request = %job.name, "a computation has panicked");
            return Err(Failure::internal("the computation failed by a mistake in the server; its log has more"));
        };
        let answer = answer?;
        self.folder.write(&path(Part::Answers, &job.name), &answer)?;
        Ok(answer.len() as u64)
    }

    /// Notes how a computation has ended.
    fn finish(&self, job: &Job, result: Result<u64, Failure>) {
        let seconds = job.begun.elapsed().as_secs_f64();
        self.metrics.seconds.inc_by(seconds);
        let mut state = self.state();
        state.running -= 1;
        if let Some(text) = job.text.as_ref().and_then(|text| state.texts.get_mut(text)) {
            text.is_running = false;
        }
        let stop = job.tracker.stop();
        match (result, stop) {
            (_, Some(Stop::Cancelled)) => self.finish_cancelled(&mut state, job, seconds),
            (Ok(bytes), _) => self.finish_answered(&mut state, job, bytes, seconds),
            (Err(_), Some(Stop::Left)) => self.finish_left(&mut state, job),
            (Err(_), Some(Stop::Expired)) => self.expire(&mut state, &job.name, seconds),
            (Err(failure), None) => {
                self.metrics.count(Outcome::Failed);
                self.supersede(&mut state, &job.name);
                self.fail(&mut state, &job.name, failure, seconds);
            }
        }
        drop(state);
        if stop == Some(Stop::Cancelled) {
            self.tidy_leaving();
        }
        self.announce();
    }

    fn finish_cancelled(&self, state: &mut State, job: &Job, seconds: f64) {
        self.metrics.count(Outcome::Cancelled);
        self.supersede(state, &job.name);
        if let Some(entry) = state.requests.get_mut(&job.name) {
            entry.running = None;
        }
        match self.remove_request(state, &job.name) {
            Ok(()) => tracing::info!(request = %job.name, seconds, "request stopped"),
            Err(failure) => self.fail(state, &job.name, failure, seconds),
        }
    }

    fn finish_answered(&self, state: &mut State, job: &Job, bytes: u64, seconds: f64) {
        self.metrics.count(Outcome::Answered);
        let Some(entry) = state.requests.get_mut(&job.name) else { return };
        entry.running = None;
        entry.record.finished = Some(Finished { at: now(), seconds, failure: None });
        let before = std::mem::replace(&mut entry.bytes, bytes + OVERHEAD);
        // If it cannot be noted, it is computed again at the next start.
        if let Err(error) = self.write_record(&job.name, &entry.record) {
            tracing::error!(request = %job.name, %error, "cannot note that a request is answered");
        }
        state.disk = state.disk.saturating_sub(before).saturating_add(bytes + OVERHEAD);
        let _ = remove(&self.folder.path(Part::Requests, &job.name));
        tracing::info!(request = %job.name, seconds, bytes, "request answered");
    }

    /// That the server stopped is no fault of the request.
    fn finish_left(&self, state: &mut State, job: &Job) {
        let Some(entry) = state.requests.get_mut(&job.name) else { return };
        entry.running = None;
        entry.record.attempts -= 1;
        if let Err(error) = self.write_record(&job.name, &entry.record) {
            tracing::warn!(request = %job.name, %error, "cannot note that a request is left");
        }
        tracing::info!(request = %job.name, "request left to the next start");
    }

    /// The time of a request is over.
    pub(super) fn expire(&self, state: &mut State, name: &Name, seconds: f64) {
        self.metrics.count(Outcome::Expired);
        self.supersede(state, name);
        let line = "the time that a request may take here was over before it was computed: send it again";
        self.fail(state, name, Failure::new(StatusCode::GONE, line), seconds);
    }
}
