//! A server in this process, or in one of its own, and the other end of its connections.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use gpt2_fhe_server::arguments::ServerArguments;
use gpt2_fhe_server::service::{Service, StartError};
use serde_json::Value;
use tempfile::TempDir;

use crate::engine::ToyEngine;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    server: ServerArguments,
}

/// The options of a server for a test: a free port, and those given.
pub(crate) fn arguments(data: &Path, options: &[&str]) -> ServerArguments {
    let data = data.to_str().expect("UTF-8");
    // An option can be given once.
    let defaults = [
        ("--listen", "127.0.0.1:0"),
        ("--patience", "400ms"),
        ("--slowest", "1MB"),
        ("--grace", "5s"),
        ("--log", "json"),
    ];
    let defaults = defaults.iter().filter(|(option, _)| !options.contains(option));
    let mut words = vec!["toy", "--data", data];
    words.extend(defaults.flat_map(|(option, value)| [*option, *value]));
    words.extend(options);
    CommandLine::parse_from(words).server
}

/// Starts a server in this process.
pub(crate) fn try_start(data: &Path, options: &[&str]) -> Result<(Service, ToyEngine), StartError> {
    let engine = ToyEngine::default();
    Service::start(engine.clone(), &arguments(data, options)).map(|service| (service, engine))
}

/// A server in this process, on a folder of its own.
pub(crate) struct Toy {
    pub(crate) data: Arc<TempDir>,
    pub(crate) engine: ToyEngine,
    service: Option<Service>,
    pub(crate) address: SocketAddr,
}

impl Toy {
    pub(crate) fn start(options: &[&str]) -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let (service, engine) = try_start(data.path(), options).unwrap();
        Self { address: service.address(), service: Some(service), engine, data }
    }

    /// Another server on the same folder, after this one has ended.
    pub(crate) fn restart(mut self, options: &[&str]) -> Self {
        self.stop();
        let (service, engine) = try_start(self.data.path(), options).unwrap();
        Self { address: service.address(), service: Some(service), engine, data: self.data.clone() }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
    }

    pub(crate) fn take_service(&mut self) -> Service {
        self.service.take().unwrap()
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Response {
        send(self.address, method, path, "", None)
    }

    pub(crate) fn put(&self, method: &str, path: &str, body: &str) -> Response {
        send(self.address, method, path, "", Some(body.as_bytes()))
    }

    /// Sends keys, and gives their name.
    pub(crate) fn keys(&self, owner: &str) -> String {
        let response = self.put("PUT", "/v1/keys", &format!("keys {owner}\n"));
        assert_eq!(response.status, 201, "{response:?}");
        response.word("keys")
    }

    /// Sends a request that is new, and gives its name.
    pub(crate) fn request(&self, target: &str, line: &str, echo: &str) -> String {
        let response = self.put("POST", &format!("/v1/requests?{target}"), &format!("request {line}\n{echo}"));
        assert_eq!(response.status, 202, "{response:?}");
        response.word("request")
    }

    pub(crate) fn state(&self, request: &str) -> String {
        let response = self.ask("GET", &format!("/v1/requests/{request}"));
        if response.status == 404 { "gone".into() } else { response.word("state") }
    }

    /// Waits until a request has this state.
    pub(crate) fn wait(&self, request: &str, state: &str) {
        wait_until(|| self.state(request) == state, &format!("{request} is not {state}"));
    }

    pub(crate) fn answer(&self, request: &str) -> Response {
        self.ask("GET", &format!("/v1/requests/{request}/answer"))
    }

    /// A figure of the metrics.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        self.ask("GET", "/metrics").figure(name)
    }

    /// The files in a part of the folder.
    pub(crate) fn files(&self, part: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.data.path().join(part)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn wait_until(is_so: impl Fn() -> bool, otherwise: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a server answers.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Of metrics, one.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let text = self.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("gpt2_fhe_server_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn word(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_else(|| panic!("no {field}: {self:?}")).to_owned()
    }

    /// Asserts that it is a mistake of this status, in one line that has these words.
    pub(crate) fn assert_error(&self, status: u16, words: &str) {
        let line = self.word("error");
        assert!(self.status == status && line.contains(words) && !line.contains('\n'), "{self:?}");
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // Keys are prepared before they are answered, on a machine that may be busy.
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    stream
}

pub(crate) fn head(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n")
}

pub(crate) fn send(address: SocketAddr, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Response {
    let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
    let mut stream = connect(address);
    stream.write_all(head(method, path, &format!("{headers}{length}")).as_bytes()).unwrap();
    // A server that refuses a body does not read it all.
    let _ = stream.write_all(body.unwrap_or_default());
    receive(stream)
}

/// The same of a server that may be gone.
pub(crate) fn try_send(address: SocketAddr, method: &str, path: &str, body: Option<&[u8]>) -> io::Result<Response> {
    let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(head(method, path, &length).as_bytes())?;
    stream.write_all(body.unwrap_or_default())?;
    try_receive(stream)
}

/// All that a server sends until it closes.
pub(crate) fn receive(stream: TcpStream) -> Response {
    try_receive(stream).unwrap()
}

fn try_receive(mut stream: TcpStream) -> io::Result<Response> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Response { status, head, body: bytes[end..].to_vec() })
}

/// A server in a process of its own.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn command(data: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_toy-server")));
        command.args(["--listen", "127.0.0.1:0", "--log", "json", "--data"]).arg(data).args(options);
        command.stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(data: &Path, options: &[&str]) -> Self {
        Self::of(Self::command(data, options))
    }

    /// Of a command that logs in JSON.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = lines.by_ref().map_while(Result::ok).filter_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            line["address"].as_str()?.parse().ok()
        });
        let address = addresses.next().expect("it says where it listens");
        // Somebody has to read what it logs.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// A line of what the system knows of the process (Linux), like `VmRSS`.
    pub(crate) fn status(&self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has: the code.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        self.child.wait().unwrap().code()
    }

    pub(crate) fn wait_for_end(mut self) {
        self.child.wait().unwrap();
    }
}
