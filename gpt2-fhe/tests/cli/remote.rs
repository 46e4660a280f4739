//! `generate --server`: with a server in this process, with none, and with something that is none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use gpt2_fhe::block::agreement::{BlockAgreement, BlockSizes};
use gpt2_fhe_server::arguments::ServerArguments;
use gpt2_fhe_server::blocks::BlockEngine;
use gpt2_fhe_server::service::Service;
use nn::record::{ClientHalf, QuantizedFile};

use super::parties::Parties;
use super::system::{send, with_usual_signals};
use super::*;

/// How long a client may take to say that something is no server.
const SOON: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: ServerArguments,
}

/// Starts a server of the blocks in a file, at a free port.
fn start(parties: &Parties, blocks: &str, options: &[&str]) -> Service {
    let data = parties.path(&format!("data-of-{blocks}"));
    let words = ["server", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let arguments = Options::parse_from(words.iter().chain(options)).server;
    let engine = BlockEngine::load(&[parties.path("server").join(blocks)]).unwrap();
    Service::start(engine, &arguments).unwrap()
}

/// A text that is continued by a server, by a client who has a new secret.
fn generate(parties: &Parties, url: &str, tokens: &str) -> Command {
    let mut command = program();
    // On a slow machine it says what takes its time.
    command.args(["generate", "--quiet", "--prompt", "He", "--tokens", tokens, "--server", url]);
    command.arg("--model").arg(parties.path("client/model")).arg("--quantized").arg(parties.path("client/blocks"));
    command
}

/// The same with keys that are there.
fn generate_with_keys(parties: &Parties, url: &str, tokens: &str) -> Command {
    let mut command = generate(parties, url, tokens);
    command.arg("--secret").arg(parties.path("client/secret"));
    command.arg("--evaluation-keys").arg(parties.path("server/keys"));
    command
}

fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// A figure of a server's metrics.
fn figure(service: &Service, name: &str) -> f64 {
    let mut stream = TcpStream::connect(service.address()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let figure = text.lines().find_map(|line| line.strip_prefix(&format!("gpt2_fhe_server_{name} ")));
    figure.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

fn wait_until(is_so: impl Fn() -> bool, otherwise: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The text is that of the same blocks without encryption, whoever has the keys, which are sent once; and nothing of it stays.
#[test]
fn a_server_continues_the_text_and_is_sent_keys_once() {
    let parties = Parties::new();
    parties.keygen("11", "secret", "keys");
    let keys = std::fs::metadata(parties.path("server/keys")).unwrap().len() as f64;
    let service = start(&parties, "blocks", &[]);
    let url = url_of(service.address());
    let expected = success(&mut parties.clear("He", "3"));
    let received = || figure(&service, "received_bytes_total");

    assert_eq!(success(&mut generate_with_keys(&parties, &url, "3")), expected);
    let first = received();
    assert!(first > keys, "{first} bytes came, and the keys have {keys}");
    // A slash at the end changes nothing, and keys that are made again are the same.
    let mut again = generate(&parties, &format!("{url}/"), "3");
    let lines = json_lines(again.arg("--secret").arg(parties.path("client/secret")));
    let text: String = lines[..3].iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(format!("He{text}\n"), expected);
    assert!(lines[0]["bytes"]["request"].as_u64().unwrap() > 0 && lines[0]["bytes"]["response"].as_u64().unwrap() > 0);
    let second = received() - first;
    assert!(second > 0.0 && second < keys / 10.0, "{second} bytes came again, and the keys have {keys}");
    assert_eq!(
        [figure(&service, "keys"), figure(&service, "texts"), figure(&service, "queue_length")],
        [1.0, 0.0, 0.0]
    );
    let data = parties.path("data-of-blocks");
    for part in ["requests", "answers"] {
        assert_eq!(std::fs::read_dir(data.join(part)).unwrap().count(), 0, "{part}");
    }

    // A server of other blocks is no server of these.
    parties.quantize_otherwise("otherwise");
    let other = start(&parties, "otherwise", &[]);
    assert_error(
        &mut generate(&parties, &url_of(other.address()), "1"),
        "does not compute the blocks of --quantized: start it with the server's half of the same file",
    );
    assert_eq!(figure(&other, "received_bytes_total"), 0.0);
    // Keys of somebody else.
    parties.keygen("12", "other-secret", "other-keys");
    let mut mixed = generate(&parties, &url, "1");
    mixed.arg("--secret").arg(parties.path("client/secret"));
    assert_error(
        mixed.arg("--evaluation-keys").arg(parties.path("server/other-keys")),
        "it belongs to other keys than --secret",
    );
    other.stop();
    service.stop();
}

/// Ctrl-C takes the request back: it is computed no further, and nothing of the text stays; nor do keys whose secret is kept nowhere.
#[test]
fn an_interrupted_client_takes_its_request_and_its_text_back() {
    let parties = Parties::new();
    parties.keygen("13", "secret", "keys");
    let service = start(&parties, "blocks", &[]);
    let url = url_of(service.address());
    let mut cancelled = 0.0;
    for generate in [generate_with_keys(&parties, &url, "6"), generate(&parties, &url, "6")] {
        let child = with_usual_signals(&generate).spawn().unwrap();
        wait_until(|| figure(&service, "running") == 1.0, "nothing is computed");
        assert_eq!(figure(&service, "texts"), 1.0);
        send("-INT", &child);
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert_eq!(status.code(), Some(130), "{}", String::from_utf8_lossy(&stderr));
        wait_until(|| figure(&service, "running") == 0.0, "it is still computed");
        wait_until(|| figure(&service, "texts") == 0.0, "its text is still there");
        // Those of `keygen`, whose secret is in a file.
        wait_until(|| figure(&service, "keys") == 1.0, "its keys are still there");
        for part in ["requests", "texts"] {
            let path = parties.path("data-of-blocks").join(part);
            assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "{part}");
        }
        cancelled += 1.0;
        assert_eq!(figure(&service, "requests_total{outcome=\"cancelled\"}"), cancelled);
    }
    service.stop();
}

#[test]
fn the_word_that_a_server_asks_for_is_given() {
    let parties = Parties::new();
    parties.keygen("14", "secret", "keys");
    let token = |name: &str, word: &str| {
        let path = parties.path(name);
        std::fs::write(&path, word).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let right = token("right", "a word that is none\n".replace(' ', "-").trim());
    let service = start(&parties, "blocks", &["--token-file", right.to_str().unwrap()]);
    let url = url_of(service.address());
    let refused = "refuses (status 401): this server asks for its token";
    assert_error(&mut generate(&parties, &url, "1"), refused);
    for (path, what) in [
        (token("wrong", "another-word-of-somebody"), refused),
        (token("empty", "\n"), "has to hold one word"),
        (token("two", "two words"), "has to hold one word"),
        (token("strange", "wörd"), "has to hold one word"),
        (parties.path("absent"), "absent"),
        (parties.path("client"), "is a folder; give --token-file a file"),
    ] {
        assert_error(generate(&parties, &url, "1").arg("--token-file").arg(path), what);
    }
    let expected = success(&mut parties.clear("He", "1"));
    assert_eq!(success(generate_with_keys(&parties, &url, "1").arg("--token-file").arg(right)), expected);
    service.stop();
}

/// What a server that is none answers.
#[derive(Clone)]
enum Reply {
    Bytes(Vec<u8>),
    /// These bytes, and then a space again and again.
    Endless(Vec<u8>),
}

type Script = dyn Fn(&str, &str) -> Reply + Send + Sync;

fn reply(status: &str, headers: &str, body: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn ok(body: &str) -> Reply {
    reply("200 OK", "", body.as_bytes())
}

/// Answers everybody by a script, from method and path, until the process ends: where.
fn scripted(script: Arc<Script>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = script.clone();
            // Who goes away in the middle is no concern of this.
            std::thread::spawn(move || drop(converse(stream, &*script)));
        }
    });
    url_of(address)
}

fn converse(stream: TcpStream, script: &Script) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    while head.last() != Some(&String::new()) {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        head.push(line.trim_end().to_lowercase());
    }
    let value = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
    // Who expects to be asked for a body sends none before.
    if value("expect:").is_none() {
        match value("content-length:").and_then(|length| length.trim().parse().ok()) {
            Some(length) => drop(std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?),
            None if value("transfer-encoding:").is_some() => {
                let mut body = Vec::new();
                while !body.ends_with(b"0\r\n\r\n") && reader.read_until(b'\n', &mut body)? > 0 {}
            }
            None => {}
        }
    }
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut stream = reader.into_inner();
    match script(method, path) {
        Reply::Bytes(bytes) => stream.write_all(&bytes),
        Reply::Endless(bytes) => {
            stream.write_all(&bytes)?;
            loop {
                stream.write_all(&[b' '; 1 << 12])?;
            }
        }
    }
}

/// The fingerprint of the client's blocks, as servers say it.
fn fingerprint(parties: &Parties) -> String {
    let file = QuantizedFile::read(&parties.path("client/blocks")).unwrap();
    let Some(ClientHalf::Blocks(half)) = file.client() else { panic!("no blocks") };
    let fingerprint = BlockAgreement::new(BlockSizes::of(half)).unwrap().fingerprint(&file.fingerprint());
    fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server that answers at once, with `answer`, and everything as it should but for one path.
fn all_but(fingerprint: &str, answer: &[u8], (method, end): (&'static str, &'static str), other: Reply) -> String {
    let programs = format!(r#"{{"programs": [{{"fingerprint": "{fingerprint}"}}]}}"#);
    let (name, text, answer) = ("cd".repeat(32), "ab".repeat(16), reply("200 OK", "", answer));
    scripted(Arc::new(move |asked, path| {
        let path = path.split('?').next().unwrap_or_default();
        match (asked, path) {
            _ if asked == method && path.ends_with(end) => other.clone(),
            (_, "/v1/programs") => ok(&programs),
            ("post", "/v1/texts") => ok(&format!(r#"{{"text": "{text}"}}"#)),
            ("post", "/v1/requests") => ok(&format!(r#"{{"request": "{name}"}}"#)),
            ("get", path) if path.ends_with("/answer") => answer.clone(),
            ("get", _) => ok(r#"{"state": "done"}"#),
            _ => reply("200 OK", "", b""),
        }
    }))
}

/// Asserts that a client says it soon, in one line without control characters, whatever the server has sent.
fn assert_soon(command: &mut Command, what: &str) {
    let begun = Instant::now();
    // The text begins with the prompt, and tokens in JSON do not.
    let Output { status, stdout, stderr } = output(command.arg("--json"));
    let said = String::from_utf8(stderr).unwrap();
    assert!(begun.elapsed() < SOON, "{what}: {:?}", begun.elapsed());
    assert_eq!((status.code(), stdout.len()), (Some(1), 0), "{command:?}: {said}");
    let is_one_line = said.starts_with("error: ") && said.len() < 1000 && !said.trim_end().contains(char::is_control);
    assert!(is_one_line && said.contains(what), "{command:?}: {said:?} without {what:?}");
}

#[test]
fn addresses_at_which_there_is_no_server_are_one_line() {
    let parties = Parties::new();
    for (url, what) in [
        ("https://127.0.0.1:8077", "it has to begin with http:// (for TLS, let a proxy on this computer connect)"),
        ("127.0.0.1:8077", "it has to begin with http://"),
        ("", "it has to begin with http://"),
        ("http://", "it has to begin with http://"),
        ("ftp://127.0.0.1", "it has to begin with http://"),
        ("http://127.0.0.1:8077/?keys=1", "give it an address and a port"),
        ("http://somebody@127.0.0.1", "give it an address and a port"),
        ("http://127.0.0.1 8077", "give it an address and a port"),
        ("http://127.0.0.1:port", "http://127.0.0.1:port"),
        ("http://127.0.0.1:99999", "http://127.0.0.1:99999"),
        ("http://[::1", "http://[::1"),
    ] {
        assert_soon(&mut generate(&parties, url, "1"), what);
    }
    // A port at which nobody listens any more.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_soon(&mut generate(&parties, &url_of(address), "1"), "cannot reach http://127.0.0.1:");
}

#[test]
fn what_answers_as_no_server_does_is_one_line() {
    let parties = Parties::new();
    let nonsense = "does not answer as a gpt2-fhe-server does";
    let json_head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let endless = [&json_head[..], b"{\"programs\": ["].concat();
    let mistake = format!("{{\"error\": \"one\\ntwo \\u001b[31m{}\"}}", "and more ".repeat(10_000));
    for (answer, what) in [
        (Reply::Bytes(Vec::new()), "cannot reach"),
        (Reply::Bytes(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), "cannot reach"),
        (Reply::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), "cannot reach"),
        (ok("<!DOCTYPE html><html><body>It works!</body></html>"), nonsense),
        (reply("404 Not Found", "", b"<html>nothing</html>"), "refuses (status 404): it says no more"),
        (reply("302 Found", "Location: http://127.0.0.1:1/\r\n", b""), "refuses (status 302)"),
        (reply("500 Internal Server Error", "", mistake.as_bytes()), "refuses (status 500): one two [31mand more"),
        (Reply::Endless(endless), nonsense),
        (ok(&format!("{{\"programs\": [{}]}}", "1, ".repeat(1 << 20))), nonsense),
        (ok(&"[".repeat(1 << 19)), nonsense),
        (ok("{\"programs\": 3}"), nonsense),
        (Reply::Bytes([&json_head[..], b"{\"programs\": ["].concat()), nonsense),
        (ok("{\"programs\": []}"), "does not compute the blocks of --quantized"),
    ] {
        let url = scripted(Arc::new(move |_, _| answer.clone()));
        assert_soon(&mut generate(&parties, &url, "1"), what);
    }
}

mod long {
    use super::*;

    /// A server of these blocks that says and sends what it should not.
    #[test]
    #[ignore = "long: half a minute"]
    fn nothing_that_a_server_sends_is_believed() {
        let parties = Parties::new();
        parties.keygen("15", "secret", "keys");
        let fingerprint = fingerprint(&parties);
        // The answer to a request of the same client, which is not that of this run.
        let own = parties.answer_to_another();
        let cut = [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n", &own[..200]].concat();
        let endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        let nonsense = "does not answer as a gpt2-fhe-server does";
        let usual = ("get", "/answer");
        for (place, other, what) in [
            (("post", "/v1/texts"), ok(r#"{"text": "../../etc"}"#), "it names no"),
            (("post", "/v1/texts"), ok("7"), nonsense),
            (("post", "/v1/texts"), reply("507 Full", "", br#"{"error": "no room"}"#), "refuses (status 507): no room"),
            (("post", "/v1/requests"), ok(r#"{"request": ""}"#), "it names no"),
            (
                ("post", "/v1/requests"),
                reply("429 Too Many Requests", "Retry-After: 0\r\n", br#"{"error": "busy"}"#),
                "refuses (status 429): busy",
            ),
            (("get", "cd"), ok(r#"{"state": "dancing"}"#), "the state \"dancing\""),
            (("get", "cd"), ok(r#"{"state": "failed", "error": "a\nb"}"#), "has not computed it: a b"),
            (usual, reply("200 OK", "", b"<html>no answer</html>"), "cannot be used: it is no file of this program"),
            (usual, Reply::Bytes(cut), "was cut off"),
            (usual, Reply::Endless(endless), "cannot be used: "),
            (usual, reply("200 OK", "", &[&own[..], b"\0"].concat()), "something was appended to it"),
            (usual, reply("200 OK", "", &own), "the answer is to another request"),
        ] {
            let url = all_but(&fingerprint, &own, place, other);
            assert_soon(&mut generate_with_keys(&parties, &url, "1"), what);
        }
        // Of keys: that they are refused before they are sent, and that others have come.
        for (status, body, what) in [
            ("507 Full", r#"{"error": "no room"}"#, "refuses (status 507): no room"),
            ("201 Created", r#"{"keys": "ab"}"#, "has received other keys than were sent"),
        ] {
            let (programs, put) = (
                format!(r#"{{"programs": [{{"fingerprint": "{fingerprint}"}}]}}"#),
                reply(status, "", body.as_bytes()),
            );
            let url = scripted(Arc::new(move |method, _| match method {
                "get" => ok(&programs),
                "put" => put.clone(),
                _ => Reply::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()),
            }));
            assert_soon(&mut generate_with_keys(&parties, &url, "1"), what);
        }
    }
}
