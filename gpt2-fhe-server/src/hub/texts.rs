//! Texts that grow: of each a folder, which is the engine's.

use std::time::SystemTime;

use super::Hub;
use super::state::{OVERHEAD, State, TextEntry, TextRecord, no_text};
use crate::failure::Failure;
use crate::folder::{Part, bytes_of, remove};
use crate::name::Name;

impl Hub {
    /// Begins a text.
    ///
    /// # Errors
    /// Status 404 if there are no such keys, 507 if there is no room, 503.
    pub(crate) fn begin_text(&self, keys: &Name) -> Result<Name, Failure> {
        let name = Name::drawn().map_err(|error| Failure::internal(format!("no random bytes: {error}")))?;
        let mut state = self.state();
        state.check_open()?;
        state.check_keys(keys)?;
        if state.texts.len() >= self.arguments.most_texts {
            let line = format!("{} texts are kept here, and there is no room for more", state.texts.len());
            return Err(Failure::no_space(line));
        }
        state.charge(OVERHEAD, self.arguments.disk.as_u64())?;
        if let Err(error) = self.make_text(&name, keys) {
            state.release(OVERHEAD);
            return Err(error.into());
        }
        self.touch_keys(&mut state, keys);
        let (keys, used) = (keys.clone(), SystemTime::now());
        tracing::info!(text = %name, %keys, "text begun");
        let entry = TextEntry { keys, bytes: 0, used, is_running: false, is_leaving: false };
        state.texts.insert(name.clone(), entry);
        Ok(name)
    }

    /// The folder first: what counts is the record.
    fn make_text(&self, name: &Name, keys: &Name) -> std::io::Result<()> {
        self.folder.make_text(name)?;
        let record = serde_json::to_vec(&TextRecord { keys: keys.clone() })?;
        self.folder.write(&self.folder.record(Part::Texts, name), &record)
    }

    /// Removes a text. Whether its request, which was deleted before, has to stop first.
    ///
    /// # Errors
    /// Status 404, or 409 while it has other unfinished requests.
    pub(crate) fn delete_text(&self, name: &Name) -> Result<bool, Failure> {
        let mut state = self.state();
        let (is_busy, only_stops) = (is_busy(&state, name), state.only_stops(|entry| entry.is_of_text(name)));
        let entry = state.texts.get_mut(name).ok_or_else(no_text)?;
        if !only_stops {
            let line = "requests of this text are not finished: wait for them, or delete them first";
            return Err(Failure::conflict(line));
        }
        entry.is_leaving = is_busy;
        if !is_busy {
            self.remove_text(&mut state, name)?;
        }
        tracing::info!(text = %name, "text deleted");
        Ok(is_busy)
    }

    /// Removes a text that no unfinished request is of: the record first, for without it the folder is nothing.
    pub(super) fn remove_text(&self, state: &mut State, name: &Name) -> Result<(), Failure> {
        remove(&self.folder.record(Part::Texts, name))?;
        if let Some(entry) = state.texts.remove(name) {
            state.release(entry.bytes + OVERHEAD);
        }
        Ok(remove(&self.folder.path(Part::Texts, name))?)
    }

    /// Counts what is in a text's folder now. Its bytes are there, whatever the limit is.
    pub(super) fn weigh_text(&self, name: &Name) {
        let bytes = bytes_of(&self.folder.path(Part::Texts, name));
        let mut state = self.state();
        let Some(entry) = state.texts.get_mut(name) else { return };
        entry.used = SystemTime::now();
        let before = std::mem::replace(&mut entry.bytes, bytes);
        state.disk = state.disk.saturating_sub(before).saturating_add(bytes);
    }
}

/// Whether a text has unfinished requests.
pub(super) fn is_busy(state: &State, text: &Name) -> bool {
    state.requests.values().any(|entry| entry.is_unfinished() && entry.is_of_text(text))
}
