//! Files of keys.

use std::fs::File;
use std::time::SystemTime;

use super::state::{KeysEntry, State};
use super::{Hub, Incoming};
use crate::failure::Failure;
use crate::folder::{Part, remove};
use crate::name::Name;

impl Hub {
    /// Whether the keys are here; then they count as used.
    pub(crate) fn has_keys(&self, name: &Name) -> bool {
        self.keep_keys(&mut self.state(), name)
    }

    /// Keys that have come again, if they are here. Those that were about to go stay.
    fn keep_keys(&self, state: &mut State, name: &Name) -> bool {
        if let Some(entry) = state.keys.get_mut(name) {
            entry.is_leaving = false;
        }
        self.touch_keys(state, name)
    }

    /// Bytes of keys, which count as used, and how many texts and unfinished requests use them.
    pub(crate) fn describe_keys(&self, name: &Name) -> Result<(u64, usize, usize), Failure> {
        let mut state = self.state();
        // Whoever asks is about to use them.
        self.touch_keys(&mut state, name);
        let bytes = state.check_keys(name)?.bytes;
        let texts = state.texts.values().filter(|text| text.keys == *name).count();
        Ok((bytes, texts, unfinished_of(&state, name)))
    }

    /// Keeps keys that have come, if they are some. Whether they are new here.
    pub(crate) fn admit_keys(&self, incoming: Incoming, name: &Name) -> Result<bool, Failure> {
        if self.has_keys(name) {
            return Ok(false);
        }
        self.check_key_count(&self.state())?;
        if let Err(refusal) = self.machine.admit(name, incoming.path()) {
            tracing::info!(keys = %name, bytes = incoming.bytes(), reason = refusal.line, "keys refused");
            return Err(refusal.into());
        }
        let admitted = self.place_keys(incoming, name);
        if admitted.is_err() {
            self.machine.forget(name);
        }
        admitted
    }

    fn place_keys(&self, incoming: Incoming, name: &Name) -> Result<bool, Failure> {
        // The lock goes before what has come in, which locks the state when it is dropped.
        let bytes = incoming.bytes();
        let mut state = self.state();
        // The same keys may have come twice at the same time.
        if self.keep_keys(&mut state, name) {
            return Ok(false);
        }
        state.check_open()?;
        self.check_key_count(&state)?;
        incoming.place(&mut state, name)?;
        state.keys.insert(name.clone(), KeysEntry { bytes, used: SystemTime::now(), checks: 0, is_leaving: false });
        tracing::info!(keys = %name, bytes, "keys kept");
        Ok(true)
    }

    fn check_key_count(&self, state: &State) -> Result<(), Failure> {
        if state.keys.len() < self.arguments.most_keys {
            return Ok(());
        }
        let line = format!("{} files of keys are kept here, and there is no room for more", state.keys.len());
        Err(Failure::no_space(line))
    }

    /// Notes on the disk, too, that keys are used: what is not used for long is removed.
    pub(super) fn touch_keys(&self, state: &mut State, name: &Name) -> bool {
        let Some(entry) = state.keys.get_mut(name) else { return false };
        entry.used = SystemTime::now();
        let file = File::options().append(true).open(self.folder.path(Part::Keys, name));
        if let Err(error) = file.and_then(|file| file.set_modified(entry.used)) {
            tracing::warn!(keys = %name, %error, "cannot note that keys are used");
        }
        true
    }

    /// Removes keys and their texts. Whether requests with them, which were deleted before, have to stop first.
    ///
    /// # Errors
    /// Status 404, or 409 while other requests use them.
    pub(crate) fn delete_keys(&self, name: &Name) -> Result<bool, Failure> {
        let mut state = self.state();
        let is_checked = state.check_keys(name)?.checks > 0;
        let unfinished = unfinished_of(&state, name);
        if is_checked || !state.only_stops(|entry| entry.record.keys == *name) {
            let line = format!("{unfinished} unfinished requests use these keys: wait for them, or delete them first");
            return Err(Failure::conflict(line));
        }
        let is_busy = unfinished > 0;
        if is_busy {
            let texts = state.texts.values_mut().filter(|text| text.keys == *name);
            texts.for_each(|text| text.is_leaving = true);
            if let Some(entry) = state.keys.get_mut(name) {
                entry.is_leaving = true;
            }
        } else {
            self.remove_keys(&mut state, name)?;
        }
        tracing::info!(keys = %name, "keys deleted");
        Ok(is_busy)
    }

    /// Removes keys that no unfinished request uses, and their texts.
    pub(super) fn remove_keys(&self, state: &mut State, name: &Name) -> Result<(), Failure> {
        let texts: Vec<Name> =
            state.texts.iter().filter(|(_, text)| text.keys == *name).map(|(text, _)| text.clone()).collect();
        for text in texts {
            self.remove_text(state, &text)?;
        }
        remove(&self.folder.path(Part::Keys, name))?;
        if let Some(entry) = state.keys.remove(name) {
            state.release(entry.bytes);
        }
        self.machine.forget(name);
        Ok(())
    }
}

/// How many unfinished requests use keys, with those that are not queued yet.
pub(super) fn unfinished_of(state: &State, keys: &Name) -> usize {
    let checks = state.keys.get(keys).map_or(0, |entry| entry.checks);
    checks + state.requests.values().filter(|entry| entry.is_unfinished() && entry.record.keys == *keys).count()
}

/// Keys that stay while a request is checked against them.
pub(super) struct HeldKeys<'a> {
    hub: &'a Hub,
    name: &'a Name,
}

impl<'a> HeldKeys<'a> {
    /// Of keys that are here.
    pub(super) fn new(hub: &'a Hub, state: &mut State, name: &'a Name) -> Self {
        if let Some(entry) = state.keys.get_mut(name) {
            entry.checks += 1;
        }
        Self { hub, name }
    }
}

impl Drop for HeldKeys<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.hub.state().keys.get_mut(self.name) {
            entry.checks -= 1;
        }
    }
}
