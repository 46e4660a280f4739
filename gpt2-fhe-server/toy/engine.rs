//! An engine that only counts and echoes.
//!
//! A file of keys begins with a line `keys OWNER`, a request with `request OWNER STEPS MILLISECONDS BEHAVIOR`, and what follows that line
//! is echoed. A text holds what was echoed in it, and so does each answer.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use gpt2_fhe_server::engine::{Checked, Engine, ProgramInfo, Progress, Refusal, RefusalClass};

/// The most bytes of a file of keys, and of a request.
pub(crate) const KEY_LIMIT: u64 = 1 << 16;
pub(crate) const REQUEST_LIMIT: u64 = 1 << 12;

/// What keys take in memory.
const KEY_MEMORY: u64 = 1000;

/// The bytes of a long answer: more than a connection holds that nobody reads from.
pub(crate) const LONG_ANSWER: usize = 1 << 25;

/// What has happened, for tests to look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToyEngine {
    /// Files of keys that were read.
    pub(crate) loads: Arc<AtomicUsize>,
    /// How many keys are in memory, and were at most.
    keys: Arc<AtomicUsize>,
    pub(crate) most_keys: Arc<AtomicUsize>,
    /// What was echoed, in order of the begin.
    pub(crate) begun: Arc<Mutex<Vec<String>>>,
}

/// Keys in memory.
pub(crate) struct ToyKeys {
    owner: String,
    count: Arc<AtomicUsize>,
}

impl Drop for ToyKeys {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a request says.
struct Parsed {
    owner: String,
    steps: usize,
    pause: Duration,
    behavior: String,
    echo: String,
}

fn refused(class: RefusalClass, line: &str) -> Refusal {
    Refusal::new(class, line)
}

fn read(file: &Path) -> Result<String, Refusal> {
    let text = fs::read_to_string(file);
    text.map_err(|error| refused(RefusalClass::Malformed, &format!("this is no text of a toy: {error}")))
}

fn owner_of(keys: &Path) -> Result<String, Refusal> {
    let unreadable = |_| refused(RefusalClass::Internal, "the keys cannot be read");
    let mut begin = Vec::new();
    fs::File::open(keys).map_err(unreadable)?.take(100).read_to_end(&mut begin).map_err(unreadable)?;
    let line = String::from_utf8_lossy(&begin).lines().next().unwrap_or_default().to_owned();
    let owner = line.strip_prefix("keys ").filter(|owner| !owner.is_empty());
    owner.map(str::to_owned).ok_or_else(|| refused(RefusalClass::Malformed, "these are no keys of a toy"))
}

fn parse(request: &Path) -> Result<Parsed, Refusal> {
    let text = read(request)?;
    let (line, echo) = text.split_once('\n').unwrap_or((&text, ""));
    let words: Vec<&str> = line.split(' ').collect();
    let ["request", owner, steps, pause, behavior] = words[..] else {
        return Err(refused(RefusalClass::Malformed, "this is no request to a toy"));
    };
    let number = |word: &str| word.parse().map_err(|_| refused(RefusalClass::Malformed, "a number is none"));
    Ok(Parsed {
        owner: owner.into(),
        steps: number(steps)? as usize,
        pause: Duration::from_millis(number(pause)?),
        behavior: behavior.into(),
        echo: echo.into(),
    })
}

impl Engine for ToyEngine {
    type Keys = ToyKeys;

    fn programs(&self) -> Vec<ProgramInfo> {
        vec![ProgramInfo {
            fingerprint: "00".repeat(32),
            circuit: "toy".into(),
            parameter_set: "none".into(),
            parameter_set_fingerprint: "11".repeat(32),
            most_tokens: 1,
            key_bytes: 16,
            request_bytes: 32,
        }]
    }

    fn key_limit(&self) -> u64 {
        KEY_LIMIT
    }

    fn request_limit(&self) -> u64 {
        REQUEST_LIMIT
    }

    fn may_be_keys(&self, file: &Path) -> bool {
        owner_of(file).is_ok()
    }

    fn load_keys(&self, file: &Path) -> Result<ToyKeys, Refusal> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let owner = owner_of(file)?;
        let now = self.keys.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_keys.fetch_max(now, Ordering::Relaxed);
        Ok(ToyKeys { owner, count: self.keys.clone() })
    }

    fn memory_of(&self, _keys: &ToyKeys) -> u64 {
        KEY_MEMORY
    }

    fn memory_for_keys(&self) -> u64 {
        KEY_MEMORY
    }

    fn check(&self, keys: &Path, request: &Path, _text: Option<&Path>) -> Result<Checked, Refusal> {
        let parsed = parse(request)?;
        if parsed.owner != owner_of(keys)? {
            return Err(refused(RefusalClass::Unfit, "the request belongs to other keys"));
        }
        if parsed.behavior == "ponder" {
            sleep(Duration::from_millis(1500));
        }
        Ok(Checked { operations: parsed.steps as u64, disk_bytes: 1000 })
    }

    fn compute(
        &self,
        keys: &ToyKeys,
        request: &Path,
        text: Option<&Path>,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, Refusal> {
        let parsed = parse(request)?;
        assert_eq!(keys.owner, parsed.owner, "an answer with the wrong keys");
        self.begun.lock().unwrap().push(parsed.echo.clone());
        progress.begin("counting", parsed.steps);
        for _ in 0..parsed.steps {
            sleep(parsed.pause);
            if !progress.advance(1) {
                return Err(refused(RefusalClass::Internal, "stopped"));
            }
        }
        match &*parsed.behavior {
            "refuse" => return Err(refused(RefusalClass::OutOfOrder, "this does not\nfollow")),
            "panic" => panic!("as asked"),
            "abort" => std::process::abort(),
            "long" => return Ok(vec![b'x'; LONG_ANSWER]),
            _ => {}
        }
        let Some(text) = text else { return Ok(parsed.echo.into_bytes()) };
        // The same request again adds nothing.
        let file = text.join("echoes");
        let held = if file.exists() { read(&file)? } else { String::new() };
        let all = if held.ends_with(&parsed.echo) { held } else { held + &parsed.echo };
        fs::write(&file, &all).map_err(|error| refused(RefusalClass::DiskFull, &error.to_string()))?;
        Ok(all.into_bytes())
    }
}
