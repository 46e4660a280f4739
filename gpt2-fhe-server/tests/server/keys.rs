//! Files of keys.

use std::sync::atomic::Ordering;

use crate::support::Toy;

#[test]
fn keys_are_named_by_their_hash_and_kept_once() {
    let toy = Toy::start(&[]);
    let name = toy.keys("ann");
    // sha256sum of the line.
    assert_eq!(name, "0af1f64ca49e51a212391a39da168cd03c89fb8c24f3502f3f9245afc147c178");
    let path = format!("/v1/keys/{name}");
    let [loads, disk] = [toy.engine.loads.load(Ordering::Relaxed) as f64, toy.figure("disk_bytes")];
    let again = toy.put("PUT", "/v1/keys", "keys ann\n");
    assert_eq!((again.status, again.word("keys")), (200, name.clone()));
    assert_eq!([toy.engine.loads.load(Ordering::Relaxed) as f64, toy.figure("disk_bytes")], [loads, disk]);
    assert_eq!(toy.files("keys"), [&*name]);
    let head = toy.ask("HEAD", &path);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(toy.ask("GET", &path).json()["bytes"], 9);
    assert_eq!(toy.ask("DELETE", &path).status, 204);
    assert_eq!(toy.ask("HEAD", &path).status, 404);
    toy.ask("DELETE", &path).assert_error(404, "PUT /v1/keys");
    assert_eq!((toy.files("keys").len(), toy.figure("disk_bytes"), toy.figure("prepared_keys")), (0, 0.0, 0.0));
}

#[test]
fn what_is_no_keys_is_refused_and_leaves_nothing() {
    let toy = Toy::start(&[]);
    toy.put("PUT", "/v1/keys", "keyhole").assert_error(400, "no keys of a toy");
    toy.put("PUT", "/v1/keys", "").assert_error(400, "no keys of a toy");
    assert_eq!((toy.files("keys").len(), toy.figure("disk_bytes")), (0, 0.0));
}

/// What is deleted while a deleted request still stops goes when it has; keys that come again in between stay.
#[test]
fn what_is_deleted_while_a_request_stops_goes_when_it_has() {
    let toy = Toy::start(&[]);
    for comes_again in [false, true] {
        let keys = toy.keys("ann");
        let text = toy.ask("POST", &format!("/v1/texts?keys={keys}")).word("text");
        // Steps of a second, after each of which the engine looks whether it should stop.
        let request = toy.request(&format!("keys={keys}&text={text}"), "ann 60 1000 -", &format!("{comes_again}"));
        toy.wait(&request, "running");
        let delete = |path: &str| toy.ask("DELETE", path).status;
        assert_eq!(delete(&format!("/v1/requests/{request}")), 202);
        assert_eq!([delete(&format!("/v1/texts/{text}")), delete(&format!("/v1/keys/{keys}"))], [202, 202]);
        toy.ask("POST", &format!("/v1/texts?keys={keys}")).assert_error(404, "PUT /v1/keys");
        if comes_again {
            assert_eq!(toy.put("PUT", "/v1/keys", "keys ann\n").status, 200);
        }
        toy.wait(&request, "gone");
        crate::support::wait_until(|| toy.figure("texts") == 0.0, "the text is still there");
        crate::support::wait_until(|| toy.figure("keys") == f64::from(u8::from(comes_again)), "there are other keys");
    }
}

#[test]
fn keys_in_use_stay() {
    let toy = Toy::start(&[]);
    let keys = toy.keys("ann");
    let request = toy.request(&format!("keys={keys}"), "ann 200 10 -", "a");
    let path = format!("/v1/keys/{keys}");
    assert_eq!(toy.ask("GET", &path).json()["unfinished_requests"], 1);
    toy.ask("DELETE", &path).assert_error(409, "1 unfinished requests");
    toy.ask("DELETE", &format!("/v1/requests/{request}"));
    toy.wait(&request, "gone");
    assert_eq!(toy.ask("DELETE", &path).status, 204);
    toy.put("POST", &format!("/v1/requests?keys={keys}"), "request ann 1 1 -").assert_error(404, "PUT /v1/keys");
}

#[test]
fn keys_stay_while_a_request_is_checked_against_them() {
    let toy = Toy::start(&[]);
    let keys = toy.keys("ann");
    let path = format!("/v1/keys/{keys}");
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| toy.request(&format!("keys={keys}"), "ann 1 1 ponder", "a"));
        let checked = || toy.ask("GET", &path).json()["unfinished_requests"] == 1;
        crate::support::wait_until(checked, "it is not checked");
        assert_eq!(toy.figure("queue_length") + toy.figure("running"), 0.0);
        toy.ask("DELETE", &path).assert_error(409, "1 unfinished requests");
        toy.wait(&sent.join().unwrap(), "done");
    });
    assert_eq!(toy.ask("DELETE", &path).status, 204);
}

#[test]
fn the_number_of_keys_is_limited() {
    let toy = Toy::start(&["--most-keys", "2"]);
    let first = toy.keys("ann");
    toy.keys("bob");
    toy.put("PUT", "/v1/keys", "keys cid\n").assert_error(507, "2 files of keys");
    assert_eq!(toy.put("PUT", "/v1/keys", "keys bob\n").status, 200);
    toy.ask("DELETE", &format!("/v1/keys/{first}"));
    toy.keys("cid");
}

#[test]
fn the_least_recently_used_keys_make_room_in_memory() {
    // Each of a toy's takes 1000 bytes.
    let toy = Toy::start(&["--key-memory", "2500B"]);
    let keys = ["ann", "bob", "cid"].map(|owner| (owner, toy.keys(owner)));
    let loads = || toy.engine.loads.load(Ordering::Relaxed);
    assert_eq!((loads(), toy.figure("prepared_keys_memory_bytes")), (3, 2000.0));
    let compute = |index: usize, echo: &str| {
        let (owner, keys) = &keys[index];
        let request = toy.request(&format!("keys={keys}"), &format!("{owner} 1 1 -"), echo);
        toy.wait(&request, "done");
        loads()
    };
    // Ann's went first; then bob's are the oldest.
    assert_eq!([compute(2, "a"), compute(1, "b"), compute(0, "c")], [3, 3, 4]);
    assert_eq!([compute(1, "d"), compute(0, "e"), compute(2, "f")], [4, 4, 5]);
    // They go before others are read.
    assert_eq!(toy.engine.most_keys.load(Ordering::Relaxed), 2);
    // But not for what are none.
    assert_eq!(toy.put("PUT", "/v1/keys", "x").status, 400);
    assert_eq!(toy.figure("prepared_keys_memory_bytes"), 2000.0);
}

#[test]
fn keys_that_nobody_uses_go() {
    let toy = Toy::start(&["--keep-idle", "2s"]);
    let keys = toy.keys("ann");
    let text = toy.ask("POST", &format!("/v1/texts?keys={keys}")).word("text");
    crate::support::wait_until(|| toy.files("keys").is_empty(), "keys are still there");
    assert!(toy.files("texts").is_empty());
    toy.ask("DELETE", &format!("/v1/texts/{text}")).assert_error(404, "POST /v1/texts");
    assert_eq!(toy.figure("disk_bytes"), 0.0);
}
