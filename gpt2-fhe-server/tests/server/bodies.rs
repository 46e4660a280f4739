//! Bodies that are too long, too slow, or never whole.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::engine::{KEY_LIMIT, LONG_ANSWER};
use crate::support::{Response, Toy, connect, head, receive, wait_until};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Sends chunks of so many bytes, as many as there are pauses between them, and reads what is answered.
fn send_chunks(toy: &Toy, bytes: usize, pauses: &[Duration]) -> Response {
    let mut stream = connect(toy.address);
    stream.write_all(head("PUT", "/v1/keys", CHUNKED).as_bytes()).unwrap();
    let chunk = format!("{bytes:x}\r\n{}\r\n", "k".repeat(bytes));
    for pause in pauses {
        sleep(*pause);
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    receive(stream)
}

fn assert_nothing_is_left(toy: &Toy) {
    wait_until(|| toy.files("keys").is_empty() && toy.figure("disk_bytes") == 0.0, "something is left");
}

#[test]
fn what_is_announced_too_long_is_refused_before_it_comes() {
    let toy = Toy::start(&[]);
    for length in [KEY_LIMIT + 1, u64::MAX - 10] {
        let mut stream = connect(toy.address);
        stream.write_all(head("PUT", "/v1/keys", &format!("Content-Length: {length}\r\n")).as_bytes()).unwrap();
        receive(stream).assert_error(413, "a file of keys has at most 65536 bytes");
    }
    assert_nothing_is_left(&toy);
}

#[test]
fn what_is_too_long_without_saying_so_is_refused_as_it_comes() {
    let toy = Toy::start(&[]);
    send_chunks(&toy, 1 << 14, &[Duration::ZERO; 6]).assert_error(413, "at most 65536 bytes");
    assert_nothing_is_left(&toy);
}

#[test]
fn a_body_has_a_length() {
    let toy = Toy::start(&[]);
    toy.ask("PUT", "/v1/keys").assert_error(411, "Content-Length");
    let keys = toy.keys("ann");
    toy.ask("POST", &format!("/v1/requests?keys={keys}")).assert_error(411, "Content-Length");
}

#[test]
fn who_sends_nothing_is_given_up() {
    let toy = Toy::start(&["--patience", "200ms"]);
    let begun = Instant::now();
    let mut stream = connect(toy.address);
    stream.write_all(head("PUT", "/v1/keys", "Content-Length: 100\r\n").as_bytes()).unwrap();
    stream.write_all(b"keys ann").unwrap();
    receive(stream).assert_error(408, "too slowly");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_nothing_is_left(&toy);
}

#[test]
fn who_sends_a_little_now_and_then_is_given_up() {
    let toy = Toy::start(&["--patience", "400ms", "--slowest", "1KB"]);
    // Never longer than the patience, but 10 bytes each time.
    send_chunks(&toy, 10, &[Duration::from_millis(100); 20]).assert_error(408, "too slowly");
    assert_nothing_is_left(&toy);
}

#[test]
fn who_never_ends_the_head_is_closed() {
    let toy = Toy::start(&["--patience", "200ms"]);
    let mut stream = connect(toy.address);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
}

#[test]
fn who_takes_nothing_is_closed() {
    let toy = Toy::start(&["--patience", "300ms"]);
    let request = toy.request(&format!("keys={}", toy.keys("ann")), "ann 1 1 long", "");
    toy.wait(&request, "done");
    let mut stream = connect(toy.address);
    stream.write_all(head("GET", &format!("/v1/requests/{request}/answer"), "").as_bytes()).unwrap();
    wait_until(|| toy.figure("connections") == 2.0, "the answer is not sent");
    wait_until(|| toy.figure("connections") == 1.0, "the connection is still there");
    assert_eq!(toy.answer(&request).body.len(), LONG_ANSWER);
    drop(stream);
}

#[test]
fn who_waits_to_be_asked_is_asked_or_refused() {
    let toy = Toy::start(&[]);
    let expecting = |length: u64| {
        let mut stream = connect(toy.address);
        let headers = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n");
        stream.write_all(head("PUT", "/v1/keys", &headers).as_bytes()).unwrap();
        stream
    };
    receive(expecting(KEY_LIMIT + 1)).assert_error(413, "at most");
    let mut stream = expecting(9);
    let mut line = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut line).unwrap();
    assert_eq!(line, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"keys ann\n").unwrap();
    assert_eq!(receive(stream).status, 201);
}

#[test]
fn a_dropped_connection_leaves_nothing() {
    let toy = Toy::start(&["--patience", "30s"]);
    let mut stream = connect(toy.address);
    stream.write_all(head("PUT", "/v1/keys", "Content-Length: 1000\r\n").as_bytes()).unwrap();
    stream.write_all(b"keys ann").unwrap();
    wait_until(|| toy.figure("disk_bytes") == 8.0, "nothing has come");
    assert_eq!(toy.files("keys").len(), 1);
    drop(stream);
    assert_nothing_is_left(&toy);
    wait_until(|| toy.figure("connections") == 1.0, "the connection is still there");
}

#[test]
fn the_disk_is_limited() {
    let toy = Toy::start(&["--disk", "10KB"]);
    let mut stream = connect(toy.address);
    stream.write_all(head("PUT", "/v1/keys", "Content-Length: 10001\r\n").as_bytes()).unwrap();
    receive(stream).assert_error(507, "disk limit");
    send_chunks(&toy, 6000, &[Duration::ZERO; 2]).assert_error(507, "disk limit");
    assert_nothing_is_left(&toy);
    // A request takes 4096 bytes and 1000 for its answer, and there is room for one.
    let keys = toy.keys("ann");
    let target = format!("keys={keys}");
    let request = toy.request(&target, "ann 200 10 -", "a");
    let path = format!("/v1/requests?{target}");
    toy.put("POST", &path, "request ann 1 1 -\nb").assert_error(507, "disk limit");
    toy.ask("DELETE", &format!("/v1/requests/{request}"));
    toy.wait(&request, "gone");
    assert_eq!(toy.figure("disk_bytes"), 9.0);
    toy.request(&target, "ann 1 1 -", "b");
}
