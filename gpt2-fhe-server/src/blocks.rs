//! The engine of whole blocks: `gpt2_fhe` without its client.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gpt2_fhe::block::agreement::{BlockAgreement, BlockRequest, keys_bytes, prepared_keys_bytes, read_keys};
use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::block::compute::{ComputeError, compute, look_ahead};
use gpt2_fhe::block::encoding::BlockEncoding;
use gpt2_fhe::block::keys::{Rotators, bootstrapping_keys};
use gpt2_fhe::block::layout::HeadBeyondRing;
use gpt2_fhe::block::state::kept_bytes;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::store::{Store, StoreError, open_file};
use gpt2_fhe::track::{EvaluationError, Observer};
use gpt2_fhe_worker::batch::KeyName;
use gpt2_fhe_worker::dispatcher::{Dispatcher, KeyFile, LookupSession};
use gpt2_fhe_worker::info::RequestInfo;
use gpt2_fhe_worker::keys::write_keys;
use nn::record::{QuantizedFile, ServerHalf};
use tfhe_core::format::{self, FormatError, Header, Kind};
use tfhe_core::keys::{EvaluationKeys, SeededEvaluationKeys};
use tfhe_core::simd::{Backend, BackendError};

use crate::engine::{Checked, Engine, EngineCount, ProgramInfo, Progress, Refusal, RefusalClass};

/// Why there is nothing to compute.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A file cannot be read, or is not what it should be.
    #[error(transparent)]
    File(#[from] nn::Error),
    /// It holds something else.
    #[error(
        "{path} holds no half of blocks for a server: make it with `gpt2-fhe quantize --encrypt model --server-out FILE`"
    )]
    NoBlocks {
        /// The file.
        path: PathBuf,
    },
    /// Two files hold the same.
    #[error("{path} holds the same blocks as another file: give each once")]
    Twice {
        /// The second one.
        path: PathBuf,
    },
    /// A head does not fit a ciphertext.
    #[error(transparent)]
    Head(#[from] HeadBeyondRing),
    /// The environment asks for vector instructions that cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Blocks of one model or several.
#[derive(Debug)]
pub struct BlockEngine {
    programs: Vec<BlockCircuit>,
    /// Who hands lookups to workers, if there may be workers.
    dispatcher: Option<Dispatcher>,
    /// Where records of what they took are written.
    records: Option<PathBuf>,
}

/// Evaluation keys, ready.
#[derive(Debug)]
pub struct BlockServerKeys {
    keys: EvaluationKeys,
    /// Those of them that workers need.
    file: Option<Arc<KeyFile>>,
}

impl BlockEngine {
    /// With the server's halves in these files.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn load(paths: &[PathBuf]) -> Result<Self, ProgramError> {
        Backend::selected()?;
        let mut programs: Vec<BlockCircuit> = Vec::new();
        for path in paths {
            let file = QuantizedFile::read(path)?;
            let fingerprint = file.fingerprint();
            let Some(ServerHalf::Blocks(program)) = file.into_halves().0 else {
                return Err(ProgramError::NoBlocks { path: path.clone() });
            };
            let circuit = BlockCircuit::new(*program, &fingerprint)?;
            if programs.iter().any(|other| other.fingerprint() == circuit.fingerprint()) {
                return Err(ProgramError::Twice { path: path.clone() });
            }
            programs.push(circuit);
        }
        Ok(Self { programs, dispatcher: None, records: None })
    }

    /// The names of the parameter sets of its programs.
    pub fn set_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.programs.iter().map(|circuit| circuit.parameters().name().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The same with lookups handed to workers, too; of each request a record of them is written to the folder `records`, if there is one.
    #[must_use]
    pub fn with_workers(self, dispatcher: Dispatcher, records: Option<PathBuf>) -> Self {
        Self { dispatcher: Some(dispatcher), records, ..self }
    }

    /// The request in a file, and the program that it is to.
    fn read(&self, path: &Path) -> Result<(&BlockCircuit, BlockRequest), Refusal> {
        let header = header_of(path)?;
        let found = self.programs.iter().find(|circuit| *circuit.fingerprint() == header.context);
        let circuit = match (found, self.programs.first()) {
            (Some(circuit), _) => circuit,
            // What is wrong with it is said by whoever reads it: that it is no request, or to another program.
            (None, Some(any)) => any,
            (None, None) => return Err(Refusal::new(RefusalClass::Unfit, "this server has no program")),
        };
        let (mut file, length) = opened(path)?;
        let request = circuit.agreement().read_request(&mut file, length, circuit.fingerprint());
        Ok((circuit, request.map_err(refused)?))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalClass::Internal, error.to_string())
}

fn opened(path: &Path) -> Result<(File, u64), Refusal> {
    open_file(path).map_err(internal)?.ok_or_else(|| internal("a file is not there any more"))
}

/// What a file says that it is of.
fn header_of(path: &Path) -> Result<Header, Refusal> {
    format::header(&mut opened(path)?.0).map_err(refused)
}

/// Why bytes of the other party are no good.
fn refused(error: FormatError) -> Refusal {
    let class = match &error {
        FormatError::Io(_) => RefusalClass::Internal,
        FormatError::Other(_) | FormatError::Key(_) | FormatError::Edge(_) => RefusalClass::Unfit,
        FormatError::Length { .. } => RefusalClass::TooLarge,
        _ => RefusalClass::Malformed,
    };
    Refusal::new(class, format!("the file that was sent cannot be used: {error}"))
}

/// That a text's folder cannot be used. Where it is, is nobody's business but the server's.
fn not_stored(error: &StoreError) -> Refusal {
    match error {
        StoreError::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Refusal::new(RefusalClass::DiskFull, "the server's disk is full: try again later")
        }
        StoreError::Write { source, .. } => {
            internal(format!("the server cannot keep what it has of this text: {}", source.kind()))
        }
        StoreError::Read { source, .. } => {
            internal(format!("what the server has of this text is damaged, begin it anew: {source}"))
        }
    }
}

fn not_computed(error: ComputeError) -> Refusal {
    let class = match &error {
        ComputeError::Text(error) => return not_stored(error),
        ComputeError::Place { .. } => RefusalClass::OutOfOrder,
        ComputeError::Unreliable(_) => RefusalClass::Unfit,
        ComputeError::Evaluation(EvaluationError::Refused(_)) => RefusalClass::Unfit,
        ComputeError::Evaluation(EvaluationError::Unkept(_)) => {
            return Refusal::new(
                RefusalClass::DiskFull,
                "the server cannot keep what it computes: its disk may be full, try again later",
            );
        }
        ComputeError::Evaluation(EvaluationError::Cancelled) => RefusalClass::Internal,
    };
    Refusal::new(class, error.to_string())
}

/// Tells the server, and whoever watches workers, what the computation tells.
struct Told<'a> {
    progress: &'a mut dyn Progress,
    watched: Option<Watched<'a>>,
}

/// A request whose lookups are handed to workers.
struct Watched<'a> {
    session: &'a LookupSession<'a>,
    info: RequestInfo,
    begun: Instant,
}

impl Observer for Told<'_> {
    fn begin(&mut self, step: &'static str, operations: usize) {
        if let Some(watched) = &mut self.watched {
            step.clone_into(&mut watched.info.step);
        }
        self.progress.begin(step, operations);
    }

    fn advance(&mut self, operations: usize) -> bool {
        let goes_on = self.progress.advance(operations);
        let Some(Watched { session, info, begun }) = &mut self.watched else { return goes_on };
        info.done += operations as u64;
        info.seconds = begun.elapsed().as_secs_f64();
        session.note(info.clone());
        goes_on && session.failure().is_none()
    }
}

/// Held while bootstrapping keys are handed to workers: one client's are in memory for that at a time.
static HANDING_OUT: Mutex<()> = Mutex::new(());

/// Bootstrapping keys of a client's file, as workers get them. The file stays open: it has another name once it is known to be right.
fn key_file((file, length): (File, u64), keys: &SeededEvaluationKeys) -> Result<KeyFile, Refusal> {
    let (name, file) = (KeyName::of(keys).map_err(internal)?, Mutex::new(file));
    let write = move |output: &mut dyn Write| {
        let _one = HANDING_OUT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.rewind()?;
        write_keys(&read_keys(&mut *file, length).map_err(io::Error::other)?, output)
    };
    Ok(KeyFile { name, write: Box::new(write) })
}

impl Engine for BlockEngine {
    type Keys = BlockServerKeys;

    fn programs(&self) -> Vec<ProgramInfo> {
        let info = |circuit: &BlockCircuit| ProgramInfo {
            fingerprint: hex(circuit.fingerprint().as_bytes()),
            circuit: BlockEncoding::CIRCUIT.into(),
            parameter_set: circuit.parameters().name().into(),
            parameter_set_fingerprint: hex(circuit.parameters().fingerprint().as_bytes()),
            most_tokens: circuit.agreement().max_tokens() as u64,
            key_bytes: keys_bytes(),
            request_bytes: circuit.agreement().request_limit(),
        };
        self.programs.iter().map(info).collect()
    }

    fn key_limit(&self) -> u64 {
        keys_bytes()
    }

    fn request_limit(&self) -> u64 {
        self.programs.iter().map(|circuit| circuit.agreement().request_limit()).max().unwrap_or(0)
    }

    fn may_be_keys(&self, path: &Path) -> bool {
        let begins = |(mut file, length): (File, u64)| {
            let header = format::header(&mut file).ok()?;
            let set = self.programs.first()?.parameters().fingerprint();
            Some(length == keys_bytes() && header.kind == Kind::EVALUATION_KEYS && header.identity.set == set)
        };
        opened(path).ok().and_then(begins).unwrap_or(false)
    }

    fn load_keys(&self, path: &Path) -> Result<BlockServerKeys, Refusal> {
        let (mut file, length) = opened(path)?;
        let seeded = read_keys(&mut file, length).map_err(refused)?;
        let file = self.dispatcher.is_some().then(|| key_file((file, length), &seeded)).transpose()?.map(Arc::new);
        Ok(BlockServerKeys { keys: seeded.prepare().map_err(internal)?, file })
    }

    fn memory_of(&self, keys: &BlockServerKeys) -> u64 {
        keys.keys.bytes() as u64
    }

    fn memory_for_keys(&self) -> u64 {
        prepared_keys_bytes()
    }

    fn counts(&self) -> Vec<EngineCount> {
        let Some(dispatcher) = &self.dispatcher else { return Vec::new() };
        let counts = dispatcher.counts();
        let count = |name, help, is_total, value| EngineCount { name, help, is_total, value };
        vec![
            count(
                "worker_threads",
                "Threads of workers that can be given batches",
                false,
                dispatcher.worker_threads() as u64,
            ),
            count("worker_exchange_up", "1 if the NATS server can be reached", false, dispatcher.is_connected().into()),
            count("rotations", "Blind rotations that are done, whoever computed them", true, counts.rotations),
            count("worker_rotations", "Blind rotations that workers computed", true, counts.by_workers),
            count("worker_batches", "Batches handed to workers", true, counts.published),
            count("worker_results", "Results of workers that were used", true, counts.used),
            count("worker_results_late", "Results that came twice or too late", true, counts.late),
            count("worker_results_damaged", "Results that could not be read", true, counts.damaged),
            count("worker_results_verified", "Results that were computed again", true, counts.verified),
            count("worker_results_wrong", "Results that were wrong", true, counts.wrong),
            count("worker_batches_refused", "Batches that workers refused", true, counts.refused),
            count("worker_batches_overdue", "Batches that took too long", true, counts.overdue),
            count("worker_bytes_sent", "Bytes of batches", true, counts.bytes_out),
            count("worker_bytes_received", "Bytes of results", true, counts.bytes_in),
            count("worker_exchange_lost", "How often the NATS server was lost", true, counts.disconnected),
        ]
    }

    fn check(&self, keys: &Path, request: &Path, text: Option<&Path>) -> Result<Checked, Refusal> {
        let (circuit, BlockRequest { earlier, tokens, request }) = self.read(request)?;
        if *request.label().identity() != header_of(keys)?.identity {
            let line = "the request belongs to other keys: send it with the name of those of its client";
            return Err(Refusal::new(RefusalClass::Unfit, line));
        }
        if earlier > 0 && text.is_none() {
            let line = format!(
                "the request follows {earlier} tokens of a text: begin one by POST /v1/texts, and send all its requests to it"
            );
            return Err(Refusal::new(RefusalClass::OutOfOrder, line));
        }
        let operations = look_ahead(circuit, earlier, tokens).map_err(not_computed)?.operations as u64;
        let kept = if text.is_some() { kept_bytes(circuit, tokens).map_err(internal)? } else { 0 };
        Ok(Checked { operations, disk_bytes: kept + circuit.agreement().answer_bytes(tokens) })
    }

    fn compute(
        &self,
        BlockServerKeys { keys, file }: &BlockServerKeys,
        request: &Path,
        text: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, Refusal> {
        let (circuit, request) = self.read(request)?;
        let text = text.map(Store::open).transpose().map_err(|error| not_stored(&error))?;
        let session = match (&self.dispatcher, file) {
            (Some(dispatcher), Some(file)) => {
                let bootstrapping = bootstrapping_keys(keys).map_err(internal)?;
                Some(dispatcher.begin(bootstrapping, *keys.identity(), file))
            }
            _ => None,
        };
        if let (Some(session), Some(_)) = (&session, &self.records) {
            session.record("");
        }
        let rotators: Option<Rotators<'_>> =
            session.as_ref().map(|session| std::array::from_fn(|gadget| session.rotator(gadget)));
        let operations = progress.total();
        let watched = session.as_ref().map(|session| Watched {
            session,
            info: RequestInfo { step: String::new(), done: 0, operations, seconds: 0.0 },
            begun: Instant::now(),
        });
        let computed = compute(circuit, (keys, rotators), &request, text, &mut Told { progress, watched });
        if let Some(line) = session.as_ref().and_then(LookupSession::failure) {
            return Err(internal(line));
        }
        let (answer, _) = computed.map_err(not_computed)?;
        if let (Some(folder), Some(record)) = (&self.records, session.as_ref().and_then(LookupSession::take_record)) {
            let file = folder.join(format!("{}.json", hex(request.request.label().fingerprint().as_bytes())));
            match record.write(&file) {
                Ok(()) => tracing::info!("a record of lookups is written to {}", file.display()),
                Err(error) => tracing::warn!(%error, "a record of lookups cannot be written to {}", file.display()),
            }
        }
        let (header, contents) = BlockAgreement::answer_file(&answer, circuit.fingerprint());
        let mut bytes = Vec::new();
        format::write(&mut bytes, &header, contents).map_err(internal)?;
        Ok(bytes)
    }
}
