//! One request's way to workers.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tfhe_core::blind_rotation::{BlindRotator, Wanted};
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::keys::Identity;
use tfhe_core::lwe::LweCiphertext;

use super::call::Call;
use super::handle::Dispatcher;
use super::key::{Recording, SessionKey};
use super::key_file::KeyFile;
use super::lock::locked;
use crate::cutting::Cutting;
use crate::info::RequestInfo;
use crate::scale::record::{RecordHeader, RunRecord};

/// One request, from its beginning to its end: a rotator for each of its bootstrapping keys.
#[derive(Debug)]
pub struct LookupSession<'a> {
    dispatcher: &'a Dispatcher,
    number: u64,
    failure: Arc<Mutex<Option<String>>>,
    recording: Arc<Mutex<Option<Recording>>>,
    keys: Vec<SessionKey<'a>>,
}

impl Dispatcher {
    /// Begins a request: with bootstrapping keys by gadget, whose they are, and the file that workers get.
    pub fn begin<'a>(
        &'a self,
        keys: impl IntoIterator<Item = &'a BootstrappingKey>,
        identity: Identity,
        file: &Arc<KeyFile>,
    ) -> LookupSession<'a> {
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
        LookupSession { dispatcher: self, number, failure, recording: recording.clone(), keys }
    }
}

impl LookupSession<'_> {
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

impl Drop for LookupSession<'_> {
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
        Cutting::default().together(self.dispatcher.threads())
    }
}
