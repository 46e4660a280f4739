//! Prepared keys in memory: the least recently used ones make room.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::{Checked, Engine, EngineCount, ProgramInfo, Progress, Refusal};
use crate::name::Name;

/// An engine and the keys that it has prepared, of whatever type they are.
pub(crate) trait Machine: Send + Sync {
    fn programs(&self) -> Vec<ProgramInfo>;
    fn key_limit(&self) -> u64;
    fn request_limit(&self) -> u64;
    /// Prepares keys, whose name is new, to see whether they are some.
    fn admit(&self, name: &Name, file: &Path) -> Result<(), Refusal>;
    /// Drops keys.
    fn forget(&self, name: &Name);
    fn check(&self, keys: &Path, request: &Path, text: Option<&Path>) -> Result<Checked, Refusal>;
    fn compute(&self, work: &Work<'_>, progress: &mut dyn Progress) -> Result<Vec<u8>, Refusal>;
    fn counts(&self) -> Vec<EngineCount>;
    /// How many keys are in memory, and the bytes they take.
    fn memory(&self) -> (usize, u64);
}

/// What is to be computed, and with which keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    pub(crate) keys: &'a Name,
    pub(crate) key_file: &'a Path,
    pub(crate) request: &'a Path,
    pub(crate) text: Option<&'a Path>,
}

struct Slot<K> {
    keys: Arc<K>,
    bytes: u64,
    /// When it was used last, in uses.
    used: u64,
}

struct Slots<K> {
    slots: BTreeMap<Name, Slot<K>>,
    uses: u64,
}

impl<K> Slots<K> {
    fn get(&mut self, name: &Name) -> Option<Arc<K>> {
        self.uses += 1;
        let slot = self.slots.get_mut(name)?;
        slot.used = self.uses;
        Some(slot.keys.clone())
    }

    fn bytes(&self) -> u64 {
        self.slots.values().map(|slot| slot.bytes).sum()
    }

    /// Drops keys until there are at most so many bytes, but none that are in use.
    fn shrink(&mut self, limit: u64) {
        while self.bytes() > limit {
            let idle = self.slots.iter().filter(|(_, slot)| Arc::strong_count(&slot.keys) == 1);
            let Some((oldest, _)) = idle.min_by_key(|(_, slot)| slot.used) else { return };
            let oldest = oldest.clone();
            self.slots.remove(&oldest);
        }
    }
}

/// The only [`Machine`].
pub(crate) struct Keyring<E: Engine> {
    engine: E,
    limit: u64,
    slots: Mutex<Slots<E::Keys>>,
    /// Held while keys are read: one file at a time, whatever is asked for.
    reading: Mutex<()>,
}

impl<E: Engine> Keyring<E> {
    /// An engine, and the bytes that its keys may take.
    pub(crate) fn new(engine: E, limit: u64) -> Self {
        Self { engine, limit, slots: Mutex::new(Slots { slots: BTreeMap::new(), uses: 0 }), reading: Mutex::new(()) }
    }

    fn slots(&self) -> MutexGuard<'_, Slots<E::Keys>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self, name: &Name, file: &Path) -> Result<Arc<E::Keys>, Refusal> {
        if let Some(keys) = self.slots().get(name) {
            return Ok(keys);
        }
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // They may have been read meanwhile.
        if let Some(keys) = self.slots().get(name) {
            return Ok(keys);
        }
        // Room is made before, so that they are not in memory beside those that have to go: not for what cannot be keys, or whoever sends it would
        // have others' keys dropped.
        if self.engine.may_be_keys(file) {
            self.slots().shrink(self.limit.saturating_sub(self.engine.memory_for_keys()));
        }
        let keys = Arc::new(self.engine.load_keys(file)?);
        let bytes = self.engine.memory_of(&keys);
        let mut slots = self.slots();
        let used = slots.uses;
        slots.slots.insert(name.clone(), Slot { keys: keys.clone(), bytes, used });
        slots.shrink(self.limit);
        Ok(keys)
    }
}

impl<E: Engine> Machine for Keyring<E> {
    fn programs(&self) -> Vec<ProgramInfo> {
        self.engine.programs()
    }

    fn key_limit(&self) -> u64 {
        self.engine.key_limit()
    }

    fn request_limit(&self) -> u64 {
        self.engine.request_limit()
    }

    fn admit(&self, name: &Name, file: &Path) -> Result<(), Refusal> {
        drop(self.keys(name, file)?);
        self.slots().shrink(self.limit);
        Ok(())
    }

    fn forget(&self, name: &Name) {
        self.slots().slots.remove(name);
    }

    fn check(&self, keys: &Path, request: &Path, text: Option<&Path>) -> Result<Checked, Refusal> {
        self.engine.check(keys, request, text)
    }

    fn compute(&self, work: &Work<'_>, progress: &mut dyn Progress) -> Result<Vec<u8>, Refusal> {
        let keys = self.keys(work.keys, work.key_file)?;
        let answer = self.engine.compute(&keys, work.request, work.text, progress);
        drop(keys);
        self.slots().shrink(self.limit);
        answer
    }

    fn counts(&self) -> Vec<EngineCount> {
        self.engine.counts()
    }

    fn memory(&self) -> (usize, u64) {
        let slots = self.slots();
        (slots.slots.len(), slots.bytes())
    }
}
