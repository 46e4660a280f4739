//! The engine of whole blocks: `gpt2_fhe` without its client.

use std::fs::File;
use std::path::{Path, PathBuf};

use gpt2_fhe::block::agreement::{BlockAgreement, BlockRequest, keys_bytes, read_keys};
use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::block::compute::{ComputeError, compute, look_ahead};
use gpt2_fhe::block::encoding::BlockEncoding;
use gpt2_fhe::block::layout::HeadBeyondRing;
use gpt2_fhe::block::state::kept_bytes;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::store::{Store, StoreError, open_file};
use gpt2_fhe::track::{EvaluationError, Observer};
use nn::record::{QuantizedFile, ServerHalf};
use tfhe_core::format::{self, FormatError, Header};
use tfhe_core::keys::EvaluationKeys;
use tfhe_core::simd::{Backend, BackendError};

use crate::engine::{Checked, Engine, ProgramInfo, Progress, Refusal, RefusalClass};

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
        Ok(Self { programs })
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

/// Tells the server what the computation tells.
struct Told<'a>(&'a mut dyn Progress);

impl Observer for Told<'_> {
    fn begin(&mut self, step: &'static str, operations: usize) {
        self.0.begin(step, operations);
    }

    fn advance(&mut self, operations: usize) -> bool {
        self.0.advance(operations)
    }
}

impl Engine for BlockEngine {
    type Keys = EvaluationKeys;

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

    fn load_keys(&self, path: &Path) -> Result<EvaluationKeys, Refusal> {
        let (mut file, length) = opened(path)?;
        read_keys(&mut file, length).map_err(refused)?.prepare().map_err(internal)
    }

    fn memory_of(&self, keys: &EvaluationKeys) -> u64 {
        keys.bytes() as u64
    }

    /// A file has bodies. Masks, which are made again from its seeds, are as large, and both are kept.
    fn memory_for(&self, file_bytes: u64) -> u64 {
        file_bytes.saturating_mul(2)
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
        keys: &EvaluationKeys,
        request: &Path,
        text: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, Refusal> {
        let (circuit, request) = self.read(request)?;
        let text = text.map(Store::open).transpose().map_err(|error| not_stored(&error))?;
        let (answer, _) = compute(circuit, (keys, None), &request, text, &mut Told(progress)).map_err(not_computed)?;
        let (header, contents) = BlockAgreement::answer_file(&answer, circuit.fingerprint());
        let mut bytes = Vec::new();
        format::write(&mut bytes, &header, contents).map_err(internal)?;
        Ok(bytes)
    }
}
