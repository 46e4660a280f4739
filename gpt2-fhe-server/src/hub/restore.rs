//! What a folder holds of an earlier server.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use super::Hub;
use super::state::{KeysEntry, OVERHEAD, RequestEntry, RequestRecord, State, TextEntry, TextRecord};
use crate::arguments::ServerArguments;
use crate::folder::{DataFolder, FolderError, Part, bytes_of, remove};
use crate::keyring::Machine;
use crate::name::Name;
use crate::tracker::Tracker;

/// The most bytes of a record.
const RECORD_LIMIT: u64 = 1 << 16;

impl Hub {
    /// Opens the data folder. Unfinished requests in it wait again, in their order.
    ///
    /// # Errors
    /// [`FolderError`].
    pub(crate) fn open(machine: Arc<dyn Machine>, arguments: ServerArguments) -> Result<Self, FolderError> {
        let folder = DataFolder::open(&arguments.data)?;
        let state = restore(&folder).map_err(|error| FolderError::Unusable(arguments.data.clone(), error))?;
        let (keys, texts, queued) = (state.keys.len(), state.texts.len(), state.queue.len());
        tracing::info!(keys, texts, requests = state.requests.len(), queued, disk = state.disk, "data folder opened");
        Ok(Self::new(machine, arguments, folder, state))
    }
}

fn restore(folder: &DataFolder) -> io::Result<State> {
    let mut state = State::default();
    for name in folder.names(Part::Keys)? {
        let metadata = fs::metadata(folder.path(Part::Keys, &name))?;
        state.disk += metadata.len();
        state.keys.insert(
            name,
            KeysEntry { bytes: metadata.len(), used: metadata.modified()?, checks: 0, is_leaving: false },
        );
    }
    for name in folder.names(Part::Texts)? {
        restore_text(folder, &mut state, name)?;
    }
    for name in folder.names(Part::Requests)? {
        restore_request(folder, &mut state, name)?;
    }
    // An answer is written before the record says so, and goes after it.
    for name in folder.names(Part::Answers)? {
        let is_known = state.requests.get(&name).is_some_and(|entry| !entry.is_unfinished());
        if !is_known {
            remove(&folder.path(Part::Answers, &name))?;
        }
    }
    let mut waiting: Vec<_> = state.requests.iter().filter(|(_, entry)| entry.is_unfinished()).collect();
    waiting.sort_by_key(|(_, entry)| entry.record.sequence);
    for (name, entry) in waiting {
        state.queue.push(&entry.record.keys, name.clone(), entry.record.text.clone());
    }
    state.sequence = state.requests.values().map(|entry| entry.record.sequence + 1).max().unwrap_or(0);
    Ok(state)
}

fn restore_text(folder: &DataFolder, state: &mut State, name: Name) -> io::Result<()> {
    let (path, record_path) = (folder.path(Part::Texts, &name), folder.record(Part::Texts, &name));
    let record: Option<TextRecord> = read_record(&record_path);
    match record.filter(|record| path.is_dir() && state.keys.contains_key(&record.keys)) {
        Some(record) => {
            let bytes = bytes_of(&path);
            state.disk += bytes + OVERHEAD;
            let used = newest(&path)?.max(fs::metadata(&record_path)?.modified()?);
            state
                .texts
                .insert(name, TextEntry { keys: record.keys, bytes, used, is_running: false, is_leaving: false });
            Ok(())
        }
        None => {
            tracing::warn!(text = %name, "removed what is left of a text");
            remove(&record_path)?;
            remove(&path)
        }
    }
}

/// When the folder, or something directly in it, was written last.
fn newest(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = fs::metadata(folder)?.modified()?;
    for entry in fs::read_dir(folder)? {
        newest = newest.max(entry?.metadata()?.modified()?);
    }
    Ok(newest)
}

fn restore_request(folder: &DataFolder, state: &mut State, name: Name) -> io::Result<()> {
    let (path, record_path) = (folder.path(Part::Requests, &name), folder.record(Part::Requests, &name));
    let answer = folder.path(Part::Answers, &name);
    let is_whole = |record: &RequestRecord| match &record.finished {
        Some(finished) => finished.failure.is_some() || answer.is_file(),
        None => {
            let has_text = record.text.as_ref().is_none_or(|text| state.texts.contains_key(text));
            path.is_file() && has_text && state.keys.contains_key(&record.keys)
        }
    };
    let record: Option<RequestRecord> = read_record(&record_path);
    let Some(record) = record.filter(is_whole) else {
        tracing::warn!(request = %name, "removed what is left of a request");
        remove(&record_path)?;
        return remove(&path);
    };
    let bytes = match &record.finished {
        Some(_) => {
            remove(&path)?;
            bytes_of(&answer)
        }
        None => bytes_of(&path).saturating_add(record.disk_bytes),
    };
    let bytes = bytes.saturating_add(OVERHEAD);
    state.disk = state.disk.saturating_add(bytes);
    let entry = RequestEntry { record, bytes, running: None, tracker: Arc::new(Tracker::default()) };
    state.requests.insert(name, entry);
    Ok(())
}

/// A record, if it is one. It was written by this program, and renamed when it was whole: what is none was not.
fn read_record<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let is_short = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= RECORD_LIMIT);
    is_short.then(|| serde_json::from_slice(&fs::read(path).ok()?).ok()).flatten()
}
