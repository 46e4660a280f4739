//! Bytes that are coming in: they are on the disk, and gone with whoever was sending them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Hub;
use super::state::State;
use crate::failure::Failure;
use crate::folder::{Part, remove};
use crate::name::Name;

/// A file without a name yet. Dropped, it is removed, and its bytes of the disk are free again.
pub(crate) struct Incoming {
    hub: Arc<Hub>,
    part: Part,
    path: PathBuf,
    bytes: u64,
    is_placed: bool,
}

impl Incoming {
    /// A new file.
    pub(crate) fn new(hub: &Arc<Hub>, part: Part) -> io::Result<(Self, File)> {
        let number = hub.incoming.fetch_add(1, Ordering::Relaxed);
        let (file, path) = hub.folder.unfinished(part, number)?;
        Ok((Self { hub: hub.clone(), part, path, bytes: 0, is_placed: false }, file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether so many bytes more could be kept, which are only announced.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), Failure> {
        let mut state = self.hub.state();
        state.charge(bytes, self.hub.arguments.disk.as_u64())?;
        state.release(bytes);
        Ok(())
    }

    /// So many bytes more are about to be written.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Failure> {
        self.hub.state().charge(bytes, self.hub.arguments.disk.as_u64())?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives the file its name. Its bytes are those of whoever has the name now.
    pub(crate) fn place(mut self, state: &mut State, name: &Name) -> io::Result<()> {
        // Whatever happens, it is not dropped as others are: the state is locked.
        self.is_placed = true;
        let placed = self.hub.folder.place(&self.path, self.part, name);
        if placed.is_err() {
            state.release(self.bytes);
            let _ = remove(&self.path);
        }
        placed
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_placed {
            // What cannot be removed now is removed at the next start.
            let _ = remove(&self.path);
            self.hub.state().release(self.bytes);
        }
    }
}
