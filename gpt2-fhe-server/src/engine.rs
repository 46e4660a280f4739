//! What the server asks of the cryptography behind it.
//!
//! The server stores, queues and answers; what a file of keys or a request means, only the [`Engine`] knows. It is given files that the
//! other party sent, and answers what it does not accept by a [`Refusal`].

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Computes on encrypted data, for any number of keys.
pub trait Engine: Send + Sync + 'static {
    /// Evaluation keys of one key owner, read and prepared.
    type Keys: Send + Sync + 'static;

    /// What can be computed here.
    fn programs(&self) -> Vec<ProgramInfo>;

    /// The most bytes that a file of keys can have.
    fn key_limit(&self) -> u64;

    /// The most bytes that a request can have.
    fn request_limit(&self) -> u64;

    /// Whether a file is as long as one of keys and begins like one: what is quickly seen. Room in memory is made for those alone.
    fn may_be_keys(&self, file: &Path) -> bool;

    /// Reads, checks and prepares a file of keys: when it is sent, to refuse what is none, and before a computation where it is not in
    /// memory any more.
    ///
    /// # Errors
    /// Whatever is wrong with the file.
    fn load_keys(&self, file: &Path) -> Result<Self::Keys, Refusal>;

    /// Bytes of memory that prepared keys take.
    fn memory_of(&self, keys: &Self::Keys) -> u64;

    /// As many, of keys that are not read yet: room is made for them before.
    fn memory_for_keys(&self) -> u64;

    /// Checks, before it is queued, that a request is one, that it belongs to a program and to the keys in the file `keys`. It is to be
    /// quick: it reads what names the keys, and does not prepare them.
    ///
    /// Of a request that goes on with a text, `text` is the text's folder. Requests before it may not be finished, and the folder may be
    /// written to meanwhile: whether the request follows what is in it is for [`compute`](Self::compute) to say.
    ///
    /// # Errors
    /// Whatever is wrong with the request.
    fn check(&self, keys: &Path, request: &Path, text: Option<&Path>) -> Result<Checked, Refusal>;

    /// What it has counted since it started, besides operations, for whoever watches the server.
    fn counts(&self) -> Vec<EngineCount> {
        Vec::new()
    }

    /// Computes the answer to a request.
    ///
    /// `text` is a folder that is the engine's alone: it is empty at first, and what the engine writes there is what later requests of
    /// the text go on from. No two requests of a text are computed at the same time, and they come in the order in which they were sent. A
    /// computation may end at any moment, with the process, too. Then the same request comes again, or another one instead of it: the
    /// folder must serve for both. And a request may come again though it was finished, if the answer did not reach the disk: the answer
    /// is the same.
    ///
    /// # Errors
    /// Whatever is wrong; any error, if `progress` said to stop.
    fn compute(
        &self,
        keys: &Self::Keys,
        request: &Path,
        text: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, Refusal>;
}

/// Something that an engine counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineCount {
    /// Of it alone, in small letters with underscores.
    pub name: &'static str,
    /// What is counted, in a few words.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_total: bool,
    /// How many.
    pub value: u64,
}

/// Is told how far a computation has come, and may stop it.
pub trait Progress {
    /// How many operations there will be in all, as [`Engine::check`] has said; 0 if that is not known.
    fn total(&self) -> u64 {
        0
    }

    /// A step begins, or goes on, with so many more lookups or products.
    fn begin(&mut self, step: &str, operations: usize);

    /// So many of them are done. False stops the computation.
    fn advance(&mut self, operations: usize) -> bool;
}

/// One program, as [`Engine::programs`] lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramInfo {
    /// Of weights, tables, scales and of how requests are encoded, in hex.
    pub fingerprint: String,
    /// Name of the circuit.
    pub circuit: String,
    /// Name of the parameter set.
    pub parameter_set: String,
    /// Of all numbers of the parameter set, in hex.
    pub parameter_set_fingerprint: String,
    /// The most tokens that a text can have.
    pub most_tokens: u64,
    /// Bytes of a file of keys.
    pub key_bytes: u64,
    /// Bytes of the largest request.
    pub request_bytes: u64,
}

/// What is known of a request before it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Lookups and products: the end of what [`Progress::advance`] counts.
    pub operations: u64,
    /// The most bytes that its answer, and what is kept of it for the text, take on the disk.
    pub disk_bytes: u64,
}

/// What kind of mistake something was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// It is not what it should be: another kind of file, damaged, of an unknown version. Status 400.
    Malformed,
    /// It is what it should be, but for other keys, another program, or with too many tokens. Status 422.
    Unfit,
    /// It does not follow what the text holds. Status 409.
    OutOfOrder,
    /// It is too long. Status 413.
    TooLarge,
    /// The disk is full. Status 507.
    DiskFull,
    /// It is the server's own fault. Status 500.
    Internal,
}

/// Why something was refused, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}")]
pub struct Refusal {
    /// The kind of mistake.
    pub class: RefusalClass,
    /// What is wrong, and what to do.
    pub line: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(class: RefusalClass, line: impl Into<String>) -> Self {
        Self { class, line: line.into() }
    }
}
