//! Servers that end, in order or not, and what the next one finds.

use std::time::{Duration, Instant};

use crate::support::{Process, Response, Toy, send, try_start, wait_until};

fn ask(process: &Process, method: &str, path: &str, body: Option<&str>) -> Response {
    send(process.address, method, path, "", body.map(str::as_bytes))
}

fn state(process: &Process, request: &str) -> String {
    ask(process, "GET", &format!("/v1/requests/{request}"), None).word("state")
}

fn answer(process: &Process, request: &str) -> String {
    ask(process, "GET", &format!("/v1/requests/{request}/answer"), None).text()
}

fn keys(process: &Process) -> String {
    ask(process, "PUT", "/v1/keys", Some("keys ann\n")).word("keys")
}

fn request(process: &Process, target: &str, body: &str) -> String {
    ask(process, "POST", &format!("/v1/requests?{target}"), Some(body)).word("request")
}

#[test]
fn what_was_not_finished_when_the_process_was_killed_is_computed_again() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let keys = keys(&process);
    let text = ask(&process, "POST", &format!("/v1/texts?keys={keys}"), None).word("text");
    let target = format!("keys={keys}&text={text}");
    let done = request(&process, &target, "request ann 1 1 -\na");
    wait_until(|| state(&process, &done) == "done", "the first is not done");
    let running = request(&process, &target, "request ann 40 10 -\nb");
    let waiting = request(&process, &target, "request ann 1 1 -\nc");
    let failed = request(&process, &format!("keys={keys}"), "request ann 1 1 refuse\n");
    wait_until(|| state(&process, &running) == "running", "the second is not computed");
    process.kill();
    // What an upload that was interrupted leaves, and what no record speaks of.
    std::fs::write(data.path().join("keys/7.tmp"), "half").unwrap();
    std::fs::write(data.path().join(format!("answers/{}", "ab".repeat(32))), "old").unwrap();
    std::fs::create_dir(data.path().join(format!("texts/{}", "cd".repeat(16)))).unwrap();
    let process = Process::start(data.path(), &[]);
    assert_eq!(answer(&process, &done), "a");
    wait_until(|| state(&process, &waiting) == "done", "the last is not done");
    assert_eq!([answer(&process, &running), answer(&process, &waiting)], ["ab", "abc"]);
    wait_until(|| state(&process, &failed) == "failed", "it has not failed");
    for (part, count) in [("keys", 1), ("texts", 2), ("answers", 3), ("requests", 4)] {
        assert_eq!(std::fs::read_dir(data.path().join(part)).unwrap().count(), count, "{part}");
    }
    let metrics = ask(&process, "GET", "/metrics", None).text();
    process.kill();
    // The next one finds what this one counted.
    let process = Process::start(data.path(), &[]);
    let disk =
        |text: &str| text.lines().find(|line| line.starts_with("gpt2_fhe_server_disk_bytes ")).map(str::to_owned);
    assert_eq!(disk(&ask(&process, "GET", "/metrics", None).text()), disk(&metrics));
    assert_eq!(state(&process, &failed), "failed");
    process.kill();
}

#[test]
fn a_request_that_ends_the_process_is_given_up() {
    let data = tempfile::tempdir().unwrap();
    let mut name = String::new();
    for start in 0..5 {
        let process = Process::start(data.path(), &[]);
        if start == 0 {
            let keys = keys(&process);
            name = request(&process, &format!("keys={keys}"), "request ann 10 10 abort\n");
        }
        process.wait_for_end();
    }
    let process = Process::start(data.path(), &[]);
    let told = ask(&process, "GET", &format!("/v1/requests/{name}/answer"), None);
    told.assert_error(500, "begun 5 times");
    process.kill();
}

#[test]
fn one_server_uses_a_folder() {
    let toy = Toy::start(&[]);
    let error = try_start(toy.data.path(), &[]).err().unwrap().to_string();
    assert!(error.starts_with("another server uses ") && error.contains("--data"), "{error}");
    let output = Process::command(toy.data.path(), &[]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("error: another server uses ") && text.lines().count() == 1, "{text}");
}

#[test]
fn what_runs_may_finish_and_nothing_new_is_accepted() {
    let mut toy = Toy::start(&[]);
    let target = format!("keys={}", toy.keys("ann"));
    let running = toy.request(&target, "ann 60 10 -", "a");
    let waiting = toy.request(&target, "ann 1 1 -", "b");
    toy.wait(&running, "running");
    let service = toy.take_service();
    let stopping = std::thread::spawn(|| service.stop());
    let refused = || toy.put("PUT", "/v1/keys", "keys bob\n").status == 503;
    wait_until(refused, "keys are still accepted");
    let refused = toy.put("POST", &format!("/v1/requests?{target}"), "request ann 1 1 -\nc");
    refused.assert_error(503, "shutting down");
    assert!(refused.head.contains("retry-after: "), "{refused:?}");
    toy.ask("POST", &format!("/v1/texts?{target}")).assert_error(503, "shutting down");
    assert_eq!(toy.state(&running), "running");
    stopping.join().unwrap();
    let toy = toy.restart(&[]);
    assert_eq!(toy.answer(&running).text(), "a");
    toy.wait(&waiting, "done");
    assert_eq!(*toy.engine.begun.lock().unwrap(), ["b"]);
}

#[test]
fn what_takes_longer_than_the_grace_is_left_to_the_next_start() {
    let toy = Toy::start(&["--grace", "50ms"]);
    let request = toy.request(&format!("keys={}", toy.keys("ann")), "ann 30 20 -", "a");
    toy.wait(&request, "running");
    let begun = Instant::now();
    let toy = toy.restart(&[]);
    assert!(begun.elapsed() < Duration::from_secs(3));
    toy.wait(&request, "done");
    assert_eq!((toy.answer(&request).text(), toy.engine.begun.lock().unwrap().len()), ("a".into(), 1));
}

#[cfg(unix)]
#[test]
fn a_process_that_is_asked_to_end_ends_in_order() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &["--grace", "10s"]);
    let keys = keys(&process);
    let running = request(&process, &format!("keys={keys}"), "request ann 20 10 -\na");
    wait_until(|| state(&process, &running) == "running", "it is not computed");
    assert_eq!(process.terminate(), Some(0));
    let process = Process::start(data.path(), &[]);
    assert_eq!(answer(&process, &running), "a");
    process.kill();
}
