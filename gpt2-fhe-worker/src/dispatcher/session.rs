//! One request's way to workers.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tfhe_core::blind_rotation::{BlindRotator, TOGETHER, Wanted};
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::keys::Identity;
use tfhe_core::lwe::LweCiphertext;

use super::call::{Call, FOR_EACH_THREAD};
use super::{Dispatcher, locked};
use crate::batch::KeyName;
use crate::info::RequestInfo;
use crate::scale::record::{CallRecord, RecordHeader, RunRecord};

/// Writes a file of keys, as often as it is asked to.
pub type WriteKeys = Box<dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync>;

/// A file of bootstrapping keys, for workers.
pub struct KeyFile {
    /// The hash of its bytes.
    pub name: KeyName,
    /// Writes its bytes.
    pub write: WriteKeys,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One request, from its beginning to its end: a rotator for each of its bootstrapping keys.
#[derive(Debug)]
pub struct Session<'a> {
    dispatcher: &'a Dispatcher,
    number: u64,
    failure: Arc<Mutex<Option<String>>>,
    recording: Arc<Mutex<Option<Recording>>>,
    keys: Vec<SessionKey<'a>>,
}

/// What a session's calls leave.
#[derive(Debug)]
struct Recording {
    record: RunRecord,
    /// When the last call ended.
    ended: Instant,
}

/// One bootstrapping key of a session.
#[derive(Debug)]
pub(super) struct SessionKey<'a> {
    dispatcher: &'a Dispatcher,
    pub(super) key: &'a BootstrappingKey,
    pub(super) gadget: usize,
    pub(super) identity: Identity,
    pub(super) file: Arc<KeyFile>,
    failure: Arc<Mutex<Option<String>>>,
    recording: Arc<Mutex<Option<Recording>>>,
}

impl SessionKey<'_> {
    /// Notes why the request has to end; the first reason counts.
    pub(super) fn fail(&self, line: String) {
        locked(&self.failure).get_or_insert(line);
    }

    /// Notes a call that is done, if calls are recorded.
    pub(super) fn note(&self, call: CallRecord, begun: Instant) {
        if let Some(Recording { record, ended }) = &mut *locked(&self.recording) {
            let own_seconds = begun.saturating_duration_since(*ended).as_secs_f64();
            record.calls.push(CallRecord { own_seconds, seconds: begun.elapsed().as_secs_f64(), ..call });
            *ended = Instant::now();
        }
    }
}

impl Dispatcher {
    /// Begins a request: with bootstrapping keys by gadget, whose they are, and the file that workers get.
    pub fn begin<'a>(
        &'a self,
        keys: impl IntoIterator<Item = &'a BootstrappingKey>,
        identity: Identity,
        file: &Arc<KeyFile>,
    ) -> Session<'a> {
        let failure = Arc::<Mutex<Option<String>>>::default();
        let recording = Arc::<Mutex<Option<Recording>>>::default();
        let key = |(gadget, key)| SessionKey {
            dispatcher: self,
            key,
            gadget,
            identity,
            file: file.clone(),
            failure: failure.clone(),
            recording: recording.clone(),
        };
        let keys = keys.into_iter().enumerate().map(key).collect();
        let number = self.shared.new_id().number;
        self.shared.has_keys(file);
        Session { dispatcher: self, number, failure, recording: recording.clone(), keys }
    }
}

impl Session<'_> {
    /// Who does blind rotations with bootstrapping gadget number `gadget`.
    ///
    /// # Panics
    /// If the session has no such key.
    pub fn rotator(&self, gadget: usize) -> &dyn BlindRotator {
        &self.keys[gadget]
    }

    /// Why the request has to end, if it has: what was computed cannot be relied on.
    pub fn failure(&self) -> Option<String> {
        locked(&self.failure).clone()
    }

    /// From now on calls are recorded, until [`Self::take_record`].
    pub fn record(&self, note: &str) {
        let (workers, own) = (self.dispatcher.worker_threads(), self.dispatcher.own_threads());
        let record = RunRecord::new(RecordHeader::here(workers, own, note));
        *locked(&self.recording) = Some(Recording { record, ended: Instant::now() });
    }

    /// What was recorded, if anything was.
    pub fn take_record(&self) -> Option<RunRecord> {
        locked(&self.recording).take().map(|recording| recording.record)
    }

    /// Notes how far the request is, for whoever watches.
    pub fn note(&self, info: RequestInfo) {
        locked(&self.dispatcher.shared.requests).insert(self.number, info);
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        locked(&self.dispatcher.shared.requests).remove(&self.number);
    }
}

impl BlindRotator for SessionKey<'_> {
    fn rotate(
        &self,
        inputs: &[LweCiphertext],
        polynomials: &[&GlweCiphertext],
        wanted: &Wanted<'_>,
    ) -> Vec<GlweCiphertext> {
        Call { dispatcher: self.dispatcher, session: self, inputs, polynomials, wanted }.run()
    }

    fn together(&self) -> usize {
        (self.dispatcher.threads() * FOR_EACH_THREAD).max(TOGETHER)
    }
}
