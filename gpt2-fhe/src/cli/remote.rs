//! A server by HTTP that computes blocks (`docs/28-the-server.md`), as a client sees it.
//!
//! What the server sends is believed in nothing: answers are read as any bytes, and what is shown of its words is one line of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{anyhow, bail};
use gpt2_fhe::block::agreement::{BlockAgreement, BlockRequest, keys_file};
use gpt2_fhe::block::keys::needs;
use gpt2_fhe::run::RunError;
use gpt2_fhe::run::block::{BlockParty, RemoteServer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tfhe_core::format::{self, Kind};
use tfhe_core::keys::Answer;
use ureq::http::{Response, StatusCode, request};
use ureq::{Agent, Body, SendBody};

use super::progress::{RemoteProgress, while_showing};
use super::source::check_file;

/// How often the state of a request is asked for, at first and later.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// The most bytes of JSON that a server may answer.
const MAX_JSON: u64 = 1 << 20;
/// The most characters of a server's line that are shown.
const MAX_LINE: usize = 500;
/// How long a server may take to begin an answer; a computation is asked for again and again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many times a server that is busy, or does not answer, is asked again.
const TRIES: u32 = 5;
/// What a client does at the end may take so long.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a server has of the client that this process is.
static LEFT: Mutex<Option<Left>> = Mutex::new(None);

/// What a server keeps for a client, and is to forget at the end, however that comes.
struct Left {
    connection: Connection,
    /// Deleted in this order: what is being computed, what was computed before it, and what it is computed with.
    request: Option<String>,
    text: String,
    /// Of keys whose secret is kept nowhere.
    keys: Option<String>,
}

fn left() -> MutexGuard<'static, Option<Left>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After a signal: nothing is computed any more, and nothing kept that is of no use to anybody.
pub(super) fn abandon() {
    let mut left = left();
    delete(left.take());
    // What waits for the request finds it gone, and is not to report that: it stops where it would tidy up, as the process ends now.
    std::mem::forget(left);
}

fn delete(left: Option<Left>) {
    let Some(Left { connection, request, text, keys }) = left else { return };
    [request, Some(text), keys].into_iter().flatten().for_each(|path| connection.delete(&path));
}

/// What the server computes for this client now.
fn set_request(path: Option<String>) {
    if let Some(left) = left().as_mut() {
        left.request = path;
    }
}

/// Where a server is, and the word that it asks for.
#[derive(Clone)]
struct Connection {
    agent: Agent,
    url: String,
    token: Option<String>,
}

/// A server with the keys of one client, and one text.
pub(super) struct Remote<'a> {
    connection: Connection,
    party: &'a BlockParty,
    keys: String,
    text: String,
    progress: RemoteProgress,
}

#[derive(Deserialize)]
struct Programs {
    programs: Vec<Program>,
}

#[derive(Deserialize)]
struct Program {
    fingerprint: String,
}

#[derive(Deserialize)]
struct Mistake {
    error: String,
}

#[derive(Deserialize)]
struct State {
    state: String,
    #[serde(default)]
    place: Option<u64>,
    #[serde(default)]
    step: Option<String>,
    #[serde(default)]
    done: Option<u64>,
    #[serde(default)]
    total: Option<u64>,
    #[serde(default)]
    error: Option<String>,
}

/// One line of what a server says, of printable characters.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|character| !character.is_control()).take(MAX_LINE).collect()
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Connection {
    fn new(url: &str, token: Option<&Path>) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("http://").filter(|rest| !rest.is_empty()) else {
            bail!("--server is {url}; it has to begin with http:// (for TLS, let a proxy on this computer connect)");
        };
        if rest.contains(['?', '#', '@']) || rest.contains(char::is_whitespace) {
            bail!("--server is {url}; give it an address and a port, like http://127.0.0.1:8077");
        }
        let token = token.map(|path| {
            check_file(path, "--token-file")?;
            let text =
                std::fs::read_to_string(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
            let word = text.trim().to_owned();
            let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
            if is_word { Ok(word) } else { Err(anyhow!("{} has to hold one word", path.display())) }
        });
        let config = Agent::config_builder().http_status_as_error(false).timeout_recv_response(Some(PATIENCE));
        let config = config.timeout_connect(Some(PATIENCE)).max_redirects(0).proxy(None).build();
        Ok(Self { agent: config.into(), url: url.trim_end_matches('/').to_owned(), token: token.transpose()? })
    }

    /// A request to the server, with the word that it asks for.
    fn request(&self, method: &str, path: &str) -> request::Builder {
        let request = request::Builder::new().method(method).uri(format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn send(&self, method: &str, path: &str, body: SendBody<'_>) -> Result<Response<Body>, ureq::Error> {
        self.agent.run(self.request(method, path).body(body)?)
    }

    /// That there is no response, in words.
    fn unreachable(&self, error: &ureq::Error) -> RunError {
        RunError::Remote(format!("cannot reach {}: {}", self.url, one_line(&error.to_string())))
    }

    /// That a response is none that is expected: what the server says.
    fn refused(&self, response: Response<Body>) -> RunError {
        let status = response.status();
        let said = json::<Mistake>(response).map_or_else(|_| "it says no more".into(), |mistake| mistake.error);
        RunError::Remote(format!("{} refuses (status {}): {}", self.url, status.as_u16(), one_line(&said)))
    }

    /// A request without a body, which may be made again.
    fn ask(&self, method: &str, path: &str) -> Result<Response<Body>, RunError> {
        let mut tries = 1;
        loop {
            match self.send(method, path, SendBody::none()) {
                Ok(response) => return Ok(response),
                Err(_) if tries < TRIES => sleep(Duration::from_millis(200 << tries)),
                Err(error) => return Err(self.unreachable(&error)),
            }
            tries += 1;
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RunError> {
        let response = self.ask("GET", path)?;
        if !response.status().is_success() {
            return Err(self.refused(response));
        }
        json(response).map_err(|error| self.nonsense(&error))
    }

    /// That a server does not speak as it should.
    fn nonsense(&self, error: &dyn std::fmt::Display) -> RunError {
        let error = one_line(&error.to_string());
        RunError::Remote(format!("{} does not answer as a gpt2-fhe-server does: {error}", self.url))
    }

    /// The name that the server gives to something: the member `what` of what it says.
    fn named(&self, response: Response<Body>, what: &str) -> Result<String, RunError> {
        if !response.status().is_success() {
            return Err(self.refused(response));
        }
        let said: BTreeMap<String, Value> = json(response).map_err(|error| self.nonsense(&error))?;
        let name = said.get(what).and_then(Value::as_str).filter(|name| is_name(name));
        name.map(str::to_owned).ok_or_else(|| self.nonsense(&format!("it names no {what}")))
    }

    /// Deletes something, if it can be done soon; nobody is told if not.
    fn delete(&self, path: &str) {
        if let Ok(request) = self.request("DELETE", path).body(()) {
            let request = self.agent.configure_request(request).timeout_global(Some(FAREWELL)).build();
            drop(self.agent.run(request));
        }
    }
}

fn json<T: DeserializeOwned>(response: Response<Body>) -> Result<T, ureq::Error> {
    response.into_body().into_with_config().limit(MAX_JSON).read_json()
}

/// Hashes what is written.
struct Hashed<W>(W, Sha256);

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W> Hashed<W> {
    fn name(self) -> (W, String) {
        (self.0, self.1.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The evaluation keys of a client as a file at its beginning, with its length and its name.
fn evaluation_keys(party: &BlockParty, file: Option<&Path>) -> anyhow::Result<(File, u64, String)> {
    let (mut keys, name) = match file {
        Some(path) => {
            let (mut file, _) = super::exchange::open(path, "--evaluation-keys", Kind::EVALUATION_KEYS)?;
            let header = format::header(&mut file).map_err(|error| super::exchange::refused(path, &error))?;
            if header.identity != *party.client().identity() {
                bail!("cannot use {}: it belongs to other keys than --secret", path.display());
            }
            file.rewind()?;
            let mut hashed = Hashed(io::sink(), Sha256::new());
            io::copy(&mut file, &mut hashed)?;
            (file, hashed.name().1)
        }
        None => while_showing("making the keys", || {
            let keys = party.client().evaluation_keys(&needs())?;
            let (header, contents) = keys_file(&keys);
            let mut hashed = Hashed(tempfile::tempfile()?, Sha256::new());
            format::write(&mut hashed, &header, contents)?;
            Ok::<_, anyhow::Error>(hashed.name())
        })?,
    };
    keys.rewind()?;
    let length = keys.metadata()?.len();
    Ok((keys, length, name))
}

impl<'a> Remote<'a> {
    /// Connects to a server, gives it the client's evaluation keys if it does not have them, and begins a text. `forgets_keys`: they are
    /// deleted there at the end.
    ///
    /// # Errors
    /// That the address is none, or nothing answers there; that the server does not have the program of these blocks; what it refuses.
    pub(super) fn connect(
        (url, token): (&str, Option<&Path>),
        party: &'a BlockParty,
        (keys, forgets_keys): (Option<&Path>, bool),
    ) -> anyhow::Result<Self> {
        let connection = Connection::new(url, token)?;
        let own: String = party.fingerprint().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let Programs { programs } = connection.get("/v1/programs")?;
        if !programs.iter().any(|program| program.fingerprint.eq_ignore_ascii_case(&own)) {
            bail!("{url} does not compute the blocks of --quantized: start it with the server's half of the same file");
        }
        let (mut file, length, name) = evaluation_keys(party, keys)?;
        if connection.ask("HEAD", &format!("/v1/keys/{name}"))?.status() != StatusCode::OK {
            let sent = while_showing("sending the keys", || {
                let request = connection.request("PUT", "/v1/keys").header("content-length", length.to_string());
                let request = request.header("expect", "100-continue").body(SendBody::from_reader(&mut file))?;
                connection.agent.run(request)
            });
            let kept = connection.named(sent.map_err(|error| connection.unreachable(&error))?, "keys")?;
            if kept != name {
                bail!("{url} has received other keys than were sent: something between changes them");
            }
        }
        let text = connection.named(connection.ask("POST", &format!("/v1/texts?keys={name}"))?, "text")?;
        *left() = Some(Left {
            connection: connection.clone(),
            request: None,
            text: format!("/v1/texts/{text}"),
            keys: forgets_keys.then(|| format!("/v1/keys/{name}")),
        });
        Ok(Self { connection, party, keys: name, text, progress: RemoteProgress::default() })
    }

    /// The name that a server gives to a request: what is deleted if the process is stopped before the server has said it.
    fn name_of(&self, bytes: &[u8]) -> String {
        let mut hashed = Hashed(io::sink(), Sha256::new());
        for part in [self.keys.as_bytes(), &[0], self.text.as_bytes(), &[0], bytes] {
            hashed.1.update(part);
        }
        hashed.name().1
    }

    /// Sends a request, again where the server is busy: its name.
    fn submit(&self, bytes: &[u8]) -> Result<String, RunError> {
        let (connection, path) = (&self.connection, format!("/v1/requests?keys={}&text={}", self.keys, self.text));
        let mut tries = 1;
        loop {
            let response = connection.send("POST", &path, SendBody::from_reader(&mut &bytes[..]));
            let pause = match response {
                Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS && tries < TRIES => {
                    let seconds =
                        response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                    Duration::from_secs(seconds.unwrap_or(1).min(60))
                }
                Ok(response) => return connection.named(response, "request"),
                // Sent again, it is the same request.
                Err(_) if tries < TRIES => Duration::from_millis(200 << tries),
                Err(error) => return Err(connection.unreachable(&error)),
            };
            sleep(pause);
            tries += 1;
        }
    }

    /// Waits until a request is answered.
    fn wait(&mut self, path: &str) -> Result<(), RunError> {
        let mut pause = PAUSES[0];
        loop {
            let state: State = self.connection.get(path)?;
            match &state.state[..] {
                "done" => return Ok(()),
                "queued" | "running" | "stopping" => self.progress.set(in_words(&state), counts(&state)),
                "failed" => {
                    let why = one_line(state.error.as_deref().unwrap_or("it says no more"));
                    return Err(RunError::Remote(format!("{} has not computed it: {why}", self.connection.url)));
                }
                other => return Err(self.connection.nonsense(&format!("the state {other:?}"))),
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSES[1]);
        }
    }

    fn fetch(&self, path: &str, request: &BlockRequest) -> Result<(Answer, usize), RunError> {
        let response = self.connection.ask("GET", &format!("{path}/answer"))?;
        if !response.status().is_success() {
            return Err(self.connection.refused(response));
        }
        let limit = self.party.agreement().answer_bytes(request.tokens);
        let mut bytes = Vec::new();
        let read = response.into_body().into_reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| RunError::Remote(format!("the answer of {} was cut off: {error}", self.connection.url)))?;
        let place = (self.party.client().identity(), request.tokens);
        let answer =
            self.party.agreement().read_answer(&mut &bytes[..], bytes.len() as u64, place, self.party.fingerprint());
        let refused =
            |error| RunError::Remote(format!("the answer of {} cannot be used: {error}", self.connection.url));
        Ok((answer.map_err(refused)?, bytes.len()))
    }
}

fn in_words(state: &State) -> String {
    match (&state.state[..], state.place, &state.step) {
        ("queued", Some(place), _) => format!("waiting for the server, {place} before this"),
        ("running", _, Some(step)) => format!("server: {}", one_line(step).replace('_', " ")),
        _ => "waiting for the server".into(),
    }
}

fn counts(state: &State) -> [usize; 2] {
    [state.done, state.total].map(|count| count.unwrap_or(0).min(u64::from(u32::MAX)) as usize)
}

impl RemoteServer for Remote<'_> {
    fn answer(&mut self, request: &BlockRequest) -> Result<(Answer, [usize; 2]), RunError> {
        let (header, contents) = BlockAgreement::request_file(request, self.party.fingerprint());
        let mut bytes = Vec::new();
        let failed = |error| RunError::Remote(format!("the request cannot be written: {error}"));
        format::write(&mut bytes, &header, contents).map_err(failed)?;
        let path = |name: &str| format!("/v1/requests/{name}");
        set_request(Some(path(&self.name_of(&bytes))));
        let path = path(&self.submit(&bytes)?);
        set_request(Some(path.clone()));
        let waited = self.wait(&path);
        self.progress.end();
        waited?;
        let (answer, received) = self.fetch(&path, request)?;
        self.connection.delete(&path);
        set_request(None);
        Ok((answer, [bytes.len(), received]))
    }
}

impl Drop for Remote<'_> {
    /// The text is over.
    fn drop(&mut self) {
        let left = left().take();
        delete(left);
    }
}
