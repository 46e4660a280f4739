//! Requests: how they come, are asked for, and go.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use super::keys::HeldKeys;
use super::state::{Finished, OVERHEAD, RequestEntry, RequestRecord, RequestStatus, State, no_request, now};
use super::{Hub, Incoming};
use crate::engine::Checked;
use crate::failure::Failure;
use crate::folder::{Part, remove};
use crate::metrics::Outcome;
use crate::name::Name;
use crate::tracker::{Stop, Tracker};

/// What a request is for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) keys: Name,
    pub(crate) text: Option<Name>,
}

fn check_target(state: &State, target: &Target) -> Result<(), Failure> {
    state.check_open()?;
    state.check_keys(&target.keys)?;
    target.text.as_ref().map_or(Ok(()), |text| state.check_text(text, &target.keys))
}

impl Hub {
    /// Whether what a request is for is here, before its bytes are taken. Whether there is room is asked after them: one that is known
    /// already needs none.
    ///
    /// # Errors
    /// Status 404 if keys or text are not here, 422 if they do not belong together, 503.
    pub(crate) fn check_target(&self, target: &Target) -> Result<(), Failure> {
        check_target(&self.state(), target)
    }

    fn check_room(&self, state: &State, target: &Target) -> Result<(), Failure> {
        if state.requests.len() >= self.arguments.most_requests {
            let line = format!("{} requests are kept here: fetch answers and delete them", state.requests.len());
            return Err(Failure::no_space(line));
        }
        let (all, own) = (state.queue.len(), state.queue.len_of(&target.keys));
        if all >= self.arguments.queue {
            return Err(Failure::busy(format!("{all} requests wait, and no more can"), self.usual_time()));
        }
        if own >= self.arguments.queue_per_keys {
            let line = format!("{own} requests of these keys wait, and no more can");
            return Err(Failure::busy(line, self.usual_time()));
        }
        Ok(())
    }

    /// How long a request has taken, on average: after that, one has left the queue.
    fn usual_time(&self) -> Duration {
        let (seconds, answered) = (self.metrics.seconds.get(), self.metrics.answered());
        let mean = if answered == 0 { 10.0 } else { seconds / answered as f64 };
        Duration::from_secs_f64(mean.clamp(1.0, 3600.0))
    }

    /// Checks a request that has come, and queues it. Whether it is new; the same bytes are the same request.
    ///
    /// # Errors
    /// As of [`check_target`](Self::check_target), 409 of one that is just being stopped, 429, 507, and what the engine refuses.
    pub(crate) fn submit(&self, incoming: Incoming, name: &Name, target: &Target) -> Result<bool, Failure> {
        let held = {
            let mut state = self.state();
            if self.known(&state, name)? {
                return Ok(false);
            }
            check_target(&state, target)?;
            HeldKeys::new(self, &mut state, &target.keys)
        };
        let checked = self.check(&incoming, target);
        drop(held);
        if let Err(failure) = &checked {
            // If the text went meanwhile, that is what is wrong.
            self.check_target(target)?;
            self.metrics.count(Outcome::Refused);
            tracing::info!(request = %name, keys = %target.keys, reason = failure.line, "request refused");
        }
        let checked = checked?;
        // What comes in locks the state when it is dropped, and so has to outlive the lock.
        let mut incoming = Some(incoming);
        let mut state = self.state();
        if self.known(&state, name)? {
            return Ok(false);
        }
        check_target(&state, target)?;
        self.check_room(&state, target)?;
        self.enqueue(&mut state, &mut incoming, name, target, checked)?;
        drop(state);
        self.announce();
        Ok(true)
    }

    /// What the engine knows of a request that has come. Its keys have to stay meanwhile.
    fn check(&self, incoming: &Incoming, target: &Target) -> Result<Checked, Failure> {
        let key_file = self.folder.path(Part::Keys, &target.keys);
        let text = target.text.as_ref().map(|text| self.folder.path(Part::Texts, text));
        Ok(self.machine.check(&key_file, incoming.path(), text.as_deref())?)
    }

    /// Whether a request is unfinished or answered. One that has failed may come again.
    fn known(&self, state: &State, name: &Name) -> Result<bool, Failure> {
        let Some(entry) = state.requests.get(name) else { return Ok(false) };
        if entry.is_unfinished() && entry.tracker.stop() == Some(Stop::Cancelled) {
            let line = "this request is just being stopped: send it again in a moment";
            return Err(Failure::conflict(line).after(Duration::from_secs(1)));
        }
        Ok(entry.is_good())
    }

    fn enqueue(
        &self,
        state: &mut State,
        incoming: &mut Option<Incoming>,
        name: &Name,
        target: &Target,
        checked: Checked,
    ) -> Result<(), Failure> {
        // One that has failed.
        self.remove_request(state, name)?;
        let reserved = checked.disk_bytes.saturating_add(OVERHEAD);
        state.charge(reserved, self.arguments.disk.as_u64())?;
        let record = RequestRecord {
            keys: target.keys.clone(),
            text: target.text.clone(),
            sequence: state.sequence,
            created: now(),
            operations: checked.operations,
            disk_bytes: checked.disk_bytes,
            attempts: 0,
            finished: None,
        };
        // The bytes first: what counts is the record.
        let Some(incoming) = incoming.take() else { return Err(Failure::internal("a request came without bytes")) };
        let bytes = incoming.bytes();
        if let Err(error) = incoming.place(state, name) {
            state.release(reserved);
            return Err(error.into());
        }
        if let Err(error) = self.write_record(name, &record) {
            state.release(reserved + bytes);
            let _ = remove(&self.folder.path(Part::Requests, name));
            return Err(error.into());
        }
        state.sequence += 1;
        state.queue.push(&target.keys, name.clone(), target.text.clone());
        self.touch_keys(state, &target.keys);
        let entry =
            RequestEntry { record, bytes: reserved + bytes, running: None, tracker: Arc::new(Tracker::default()) };
        state.requests.insert(name.clone(), entry);
        tracing::info!(request = %name, keys = %target.keys, bytes, operations = checked.operations, "request queued");
        Ok(())
    }

    pub(super) fn write_record(&self, name: &Name, record: &RequestRecord) -> std::io::Result<()> {
        self.folder.write(&self.folder.record(Part::Requests, name), &serde_json::to_vec(record)?)
    }

    /// The state of a request.
    ///
    /// # Errors
    /// Status 404.
    pub(crate) fn status(&self, name: &Name) -> Result<RequestStatus, Failure> {
        self.state().status(name)
    }

    /// The answer to a request, and its bytes.
    ///
    /// # Errors
    /// Status 404, 409 if it is not finished, or why there is none.
    pub(crate) fn answer(&self, name: &Name) -> Result<(File, u64), Failure> {
        let state = self.state();
        let entry = state.requests.get(name).ok_or_else(no_request)?;
        match &entry.record.finished {
            None => {
                let line = "the request is not finished: ask for its state, or follow its events";
                Err(Failure::conflict(line).after(Duration::from_secs(1)))
            }
            Some(Finished { failure: Some(failure), .. }) => Err(failure.clone()),
            Some(_) => {
                let file = File::open(self.folder.path(Part::Answers, name))?;
                let bytes = file.metadata()?.len();
                Ok((file, bytes))
            }
        }
    }

    /// Forgets a request and its answer. One that is being computed stops first: whether that is so.
    ///
    /// # Errors
    /// Status 404.
    pub(crate) fn delete_request(&self, name: &Name) -> Result<bool, Failure> {
        let mut state = self.state();
        let entry = state.requests.get(name).ok_or_else(no_request)?;
        if entry.running.is_some() && entry.is_unfinished() {
            entry.tracker.ask(Stop::Cancelled);
            tracing::info!(request = %name, "request to be stopped");
            drop(state);
            self.announce();
            return Ok(true);
        }
        if entry.is_unfinished() {
            self.metrics.count(Outcome::Cancelled);
            self.supersede(&mut state, name);
        }
        self.remove_request(&mut state, name)?;
        drop(state);
        tracing::info!(request = %name, "request deleted");
        self.announce();
        Ok(false)
    }

    /// Requests that follow one in its text cannot be computed without it.
    pub(super) fn supersede(&self, state: &mut State, name: &Name) {
        let Some(RequestEntry { record: RequestRecord { text: Some(text), sequence, .. }, .. }) =
            state.requests.get(name)
        else {
            return;
        };
        let (text, sequence) = (text.clone(), *sequence);
        let follows =
            |entry: &RequestEntry| entry.is_unfinished() && entry.is_of_text(&text) && entry.record.sequence > sequence;
        let all = state.requests.iter().filter(|(_, entry)| follows(entry));
        let following: Vec<Name> = all.map(|(other, _)| other.clone()).collect();
        let line = "a request before it in its text was not finished: send both again";
        for other in following {
            self.metrics.count(Outcome::Superseded);
            self.fail(state, &other, Failure::new(StatusCode::CONFLICT, line), 0.0);
        }
    }

    /// There will be no answer to a request.
    pub(super) fn fail(&self, state: &mut State, name: &Name, failure: Failure, seconds: f64) {
        tracing::info!(request = %name, status = failure.status, reason = failure.line, seconds, "request failed");
        state.queue.remove(name);
        let Some(entry) = state.requests.get_mut(name) else { return };
        entry.running = None;
        entry.record.finished = Some(Finished { at: now(), seconds, failure: Some(failure) });
        let freed = entry.bytes.saturating_sub(OVERHEAD);
        entry.bytes -= freed;
        // If it cannot be noted, it is computed again at the next start.
        if let Err(error) = self.write_record(name, &entry.record) {
            tracing::error!(request = %name, %error, "cannot note that a request has failed");
        }
        let _ = remove(&self.folder.path(Part::Requests, name));
        state.release(freed);
    }

    /// Removes all that there is of a request that is not being computed: the record first, for without it the rest is nothing.
    pub(super) fn remove_request(&self, state: &mut State, name: &Name) -> Result<(), Failure> {
        if !state.requests.contains_key(name) {
            return Ok(());
        }
        remove(&self.folder.record(Part::Requests, name))?;
        remove(&self.folder.path(Part::Requests, name))?;
        remove(&self.folder.path(Part::Answers, name))?;
        state.queue.remove(name);
        if let Some(entry) = state.requests.remove(name) {
            state.release(entry.bytes);
        }
        Ok(())
    }
}
