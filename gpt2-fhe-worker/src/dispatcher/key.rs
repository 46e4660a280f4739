//! One bootstrapping key of a request.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::keys::Identity;

use super::handle::Dispatcher;
use super::key_file::KeyFile;
use super::lock::locked;
use crate::scale::record::{CallRecord, RunRecord};

/// What a session's calls leave.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) record: RunRecord,
    /// When the last call ended.
    pub(super) ended: Instant,
}

/// One bootstrapping key of a session.
#[derive(Debug)]
pub(super) struct SessionKey<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) key: &'a BootstrappingKey,
    pub(super) gadget: usize,
    pub(super) identity: Identity,
    pub(super) file: Arc<KeyFile>,
    pub(super) failure: Arc<Mutex<Option<String>>>,
    pub(super) recording: Arc<Mutex<Option<Recording>>>,
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
