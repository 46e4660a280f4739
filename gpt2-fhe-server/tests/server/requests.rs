//! Requests, from queue to answer.

use std::time::Duration;

use crate::support::{Response, Toy, wait_until};

fn delete(toy: &Toy, request: &str) -> Response {
    toy.ask("DELETE", &format!("/v1/requests/{request}"))
}

#[test]
fn a_request_is_queued_computed_and_answered() {
    let toy = Toy::start(&[]);
    let keys = toy.keys("ann");
    let target = format!("keys={keys}");
    let request = toy.request(&target, "ann 30 10 -", "hello");
    toy.wait(&request, "running");
    wait_until(
        || toy.ask("GET", &format!("/v1/requests/{request}")).json()["done"].as_u64() > Some(2),
        "nothing is done",
    );
    let status = toy.ask("GET", &format!("/v1/requests/{request}")).json();
    assert_eq!((&status["step"], &status["total"], &status["keys"]), (&"counting".into(), &30.into(), &keys.into()));
    assert!(status["seconds"].as_f64().unwrap() > 0.02, "{status}");
    let early = toy.answer(&request);
    early.assert_error(409, "not finished");
    assert!(early.head.contains("retry-after: 1\r\n"), "{early:?}");
    // The same bytes are the same request, computed or answered.
    let again = |state: &str| {
        let response = toy.put("POST", &format!("/v1/requests?{target}"), "request ann 30 10 -\nhello");
        assert_eq!(
            (response.status, response.word("request"), response.word("state")),
            (200, request.clone(), state.into())
        );
    };
    again("running");
    toy.wait(&request, "done");
    again("done");
    assert_eq!(*toy.engine.begun.lock().unwrap(), ["hello"]);
    for _ in 0..2 {
        let answer = toy.answer(&request);
        assert_eq!((answer.status, answer.text()), (200, "hello".into()));
        assert!(answer.head.contains("content-length: 5\r\n"), "{answer:?}");
    }
    assert_eq!(delete(&toy, &request).status, 204);
    delete(&toy, &request).assert_error(404, "no request of this name");
    toy.answer(&request).assert_error(404, "no request of this name");
    assert_eq!((toy.figure("disk_bytes"), toy.figure("sent_bytes_total")), (9.0, 10.0));
    assert_eq!((toy.figure("operations_total"), toy.figure("requests_total{outcome=\"answered\"}")), (30.0, 1.0));
    assert!(toy.files("requests").is_empty() && toy.files("answers").is_empty());
}

#[test]
fn mistakes_are_told_before_anything_is_computed() {
    let toy = Toy::start(&[]);
    let (ann, bob) = (toy.keys("ann"), toy.keys("bob"));
    let send = |keys: &str, body: &str| toy.put("POST", &format!("/v1/requests?keys={keys}"), body);
    send(&ann, "please").assert_error(400, "no request to a toy");
    send(&bob, "request ann 1 1 -").assert_error(422, "other keys");
    send(&"0".repeat(64), "request ann 1 1 -").assert_error(404, "PUT /v1/keys");
    send(&ann, &format!("request ann 1 1 -\n{}", "x".repeat(5000))).assert_error(413, "a request has at most");
    assert!(toy.files("requests").is_empty() && toy.engine.begun.lock().unwrap().is_empty());
    assert_eq!(toy.figure("requests_total{outcome=\"refused\"}"), 2.0);
}

#[test]
fn what_goes_wrong_in_a_computation_is_its_answer() {
    let toy = Toy::start(&[]);
    let target = format!("keys={}", toy.keys("ann"));
    let refused = toy.request(&target, "ann 1 1 refuse", "a");
    let panicked = toy.request(&target, "ann 1 1 panic", "b");
    let good = toy.request(&target, "ann 1 1 -", "c");
    toy.wait(&good, "done");
    let status = toy.ask("GET", &format!("/v1/requests/{refused}")).json();
    assert_eq!((&status["state"], &status["error"]), (&"failed".into(), &"this does not follow".into()));
    toy.answer(&refused).assert_error(409, "this does not follow");
    toy.answer(&panicked).assert_error(500, "mistake in the server");
    // It may come again.
    assert_eq!(toy.request(&target, "ann 1 1 panic", "b"), panicked);
    toy.wait(&panicked, "failed");
    assert_eq!(toy.figure("requests_total{outcome=\"failed\"}"), 3.0);
}

#[test]
fn eight_clients_take_turns() {
    let toy = Toy::start(&["--queue-per-keys", "20"]);
    let owners: Vec<String> = (0..8).map(|number| format!("owner{number}")).collect();
    let targets: Vec<String> = owners.iter().map(|owner| format!("keys={}", toy.keys(owner))).collect();
    // While this one is computed, all others come: many of the first, and two of each of the others at once.
    let first = toy.request(&targets[0], "owner0 1000 5 -", "first");
    toy.wait(&first, "running");
    for number in 0..12 {
        toy.request(&targets[0], "owner0 1 1 -", &format!("0.{number}"));
    }
    std::thread::scope(|scope| {
        for (index, (owner, target)) in owners.iter().zip(&targets).enumerate().skip(1) {
            let toy = &toy;
            scope.spawn(move || {
                for number in 0..2 {
                    toy.request(target, &format!("{owner} 1 1 -"), &format!("{index}.{number}"));
                }
            });
        }
    });
    let last = toy.put("POST", &format!("/v1/requests?{}", targets[0]), "request owner0 1 1 -\n0.11");
    assert_eq!(last.json()["place"], 12 + 14 - 1);
    delete(&toy, &first);
    toy.wait(&last.word("request"), "done");
    let begun = toy.engine.begun.lock().unwrap().clone();
    let owner_of = |echo: &String| echo.split('.').next().unwrap().to_owned();
    // Two rounds of all eight, in an order that is theirs, the same in both; then what the first has left.
    let rounds: Vec<Vec<String>> = begun[1..17].chunks(8).map(|round| round.iter().map(owner_of).collect()).collect();
    let mut all = rounds[0].clone();
    all.sort();
    assert_eq!(all, (0..8).map(|number: usize| number.to_string()).collect::<Vec<_>>(), "{begun:?}");
    assert_eq!(rounds[0], rounds[1], "{begun:?}");
    assert_eq!(begun[17..], (2..12).map(|number| format!("0.{number}")).collect::<Vec<_>>());
    for index in 0..8 {
        let own: Vec<&String> = begun[1..].iter().filter(|echo| owner_of(echo) == index.to_string()).collect();
        assert!(own.is_sorted_by_key(|echo| echo.split('.').nth(1).unwrap().parse::<usize>().unwrap()), "{own:?}");
    }
}

#[test]
fn cancelled_requests_stop_costing() {
    let toy = Toy::start(&[]);
    let target = format!("keys={}", toy.keys("ann"));
    let running = toy.request(&target, "ann 1000 10 -", "running");
    toy.wait(&running, "running");
    let waiting = toy.request(&target, "ann 1 1 -", "waiting");
    assert_eq!(toy.ask("GET", &format!("/v1/requests/{waiting}")).json()["place"], 0);
    assert_eq!(delete(&toy, &waiting).status, 204);
    assert_eq!(toy.state(&waiting), "gone");
    assert_eq!(delete(&toy, &running).status, 202);
    toy.wait(&running, "gone");
    let other = toy.request(&target, "ann 1 1 -", "other");
    toy.wait(&other, "done");
    assert_eq!(*toy.engine.begun.lock().unwrap(), ["running", "other"]);
    assert!(toy.figure("operations_total") < 500.0);
    assert_eq!(toy.figure("requests_total{outcome=\"cancelled\"}"), 2.0);
}

#[test]
fn the_queue_is_limited() {
    let toy = Toy::start(&["--queue", "3", "--queue-per-keys", "2"]);
    let (ann, bob) = (format!("keys={}", toy.keys("ann")), format!("keys={}", toy.keys("bob")));
    let running = toy.request(&ann, "ann 1000 10 -", "running");
    toy.wait(&running, "running");
    toy.request(&ann, "ann 1 1 -", "a");
    toy.request(&ann, "ann 1 1 -", "b");
    let full = toy.put("POST", &format!("/v1/requests?{ann}"), "request ann 1 1 -\nc");
    full.assert_error(429, "2 requests of these keys");
    assert!(full.head.contains("retry-after: "), "{full:?}");
    toy.request(&bob, "bob 1 1 -", "a");
    toy.put("POST", &format!("/v1/requests?{bob}"), "request bob 1 1 -\nb").assert_error(429, "3 requests wait");
    delete(&toy, &running);
}

#[test]
fn the_number_of_requests_that_are_known_is_limited() {
    let toy = Toy::start(&["--most-requests", "2"]);
    let target = format!("keys={}", toy.keys("ann"));
    let requests = [("a", "-"), ("b", "refuse")].map(|(echo, behavior)| {
        let request = toy.request(&target, &format!("ann 1 1 {behavior}"), echo);
        wait_until(|| toy.figure("queue_length") + toy.figure("running") == 0.0, "it is not computed");
        request
    });
    toy.put("POST", &format!("/v1/requests?{target}"), "request ann 1 1 -\nc").assert_error(507, "2 requests are kept");
    // Known ones are told all the same.
    let known = toy.put("POST", &format!("/v1/requests?{target}"), "request ann 1 1 -\na");
    assert_eq!((known.status, known.word("request")), (200, requests[0].clone()));
    delete(&toy, &requests[1]);
    toy.request(&target, "ann 1 1 -", "c");
}

#[test]
fn several_are_computed_at_the_same_time_if_asked_for() {
    let toy = Toy::start(&["--parallel", "3"]);
    let target = format!("keys={}", toy.keys("ann"));
    let requests: Vec<String> =
        (0..4).map(|number| toy.request(&target, "ann 1000 10 -", &number.to_string())).collect();
    wait_until(|| toy.figure("running") == 3.0, "three are not computed");
    assert_eq!(toy.state(&requests[3]), "queued");
    delete(&toy, &requests[1]);
    toy.wait(&requests[3], "running");
    requests.iter().for_each(|request| drop(delete(&toy, request)));
}

#[test]
fn a_request_can_be_followed() {
    let toy = Toy::start(&[]);
    let target = format!("keys={}", toy.keys("ann"));
    let before = toy.request(&target, "ann 20 10 -", "a");
    let request = toy.request(&target, "ann 70 10 -", "b");
    let gone = toy.request(&target, "ann 1000 10 -", "c");
    let events = toy.ask("GET", &format!("/v1/requests/{request}/events"));
    assert!(events.head.contains("content-type: text/event-stream"), "{events:?}");
    let text = events.text();
    let told = |event: &str| text.matches(&format!("event: {event}\n")).count();
    assert!(told("queued") >= 1 && told("running") >= 2 && told("done") == 1, "{text}");
    assert!(text.contains("\"place\":0") && text.contains("\"done\":70,\"total\":70"), "{text}");
    assert_eq!(toy.state(&before), "done");
    let deleting = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            delete(&toy, &gone);
        });
        toy.ask("GET", &format!("/v1/requests/{gone}/events")).text()
    });
    assert!(deleting.contains("event: gone\n"), "{deleting}");
    toy.ask("GET", &format!("/v1/requests/{gone}/events")).assert_error(404, "no request");
}

#[test]
fn answers_are_kept_for_a_while_and_requests_given_up_after_one() {
    let toy = Toy::start(&["--keep-answers", "300ms"]);
    let target = format!("keys={}", toy.keys("ann"));
    let request = toy.request(&target, "ann 1 1 -", "a");
    toy.wait(&request, "gone");
    assert!(toy.files("answers").is_empty() && toy.files("requests").is_empty());
    let toy = toy.restart(&["--request-time", "300ms"]);
    // It is asked to stop after two seconds: by then the time of the one behind it is over as well.
    let running = toy.request(&target, "ann 5 2000 -", "b");
    let waiting = toy.request(&target, "ann 1 1 -", "c");
    toy.wait(&running, "failed");
    toy.answer(&running).assert_error(410, "the time that a request may take");
    toy.wait(&waiting, "failed");
    assert_eq!(*toy.engine.begun.lock().unwrap(), ["b"]);
    assert_eq!(toy.figure("requests_total{outcome=\"expired\"}"), 2.0);
}
