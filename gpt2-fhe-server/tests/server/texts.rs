//! Texts that grow by one request after the other.

use crate::support::Toy;

fn begin(toy: &Toy, keys: &str) -> String {
    let response = toy.ask("POST", &format!("/v1/texts?keys={keys}"));
    assert_eq!(response.status, 201, "{response:?}");
    response.word("text")
}

#[test]
fn requests_of_a_text_are_computed_in_their_order() {
    let toy = Toy::start(&["--parallel", "4"]);
    let keys = toy.keys("ann");
    let texts = [begin(&toy, &keys), begin(&toy, &keys)];
    let mut last = Vec::new();
    for (text, echo) in [(0, "a"), (0, "b"), (1, "x"), (0, "c"), (1, "y")] {
        last.push(toy.request(&format!("keys={keys}&text={}", texts[text]), "ann 10 5 -", echo));
    }
    toy.wait(&last[3], "done");
    toy.wait(&last[4], "done");
    let answers: Vec<String> = last.iter().map(|request| toy.answer(request).text()).collect();
    assert_eq!(answers, ["a", "ab", "x", "abc", "xy"]);
    assert_eq!(toy.ask("GET", &format!("/v1/keys/{keys}")).json()["texts"], 2);
    // Each text's file and what belongs to it; five answers; the keys.
    assert_eq!(toy.figure("disk_bytes"), f64::from(3 + 2 + 2 * 4096 + (1 + 2 + 1 + 3 + 2) + 5 * 4096 + 9));
    // Texts go with their keys, answers stay.
    assert_eq!(toy.ask("DELETE", &format!("/v1/texts/{}", texts[0])).status, 204);
    assert_eq!(toy.ask("DELETE", &format!("/v1/keys/{keys}")).status, 204);
    assert_eq!((toy.files("texts").len(), toy.figure("texts")), (0, 0.0));
    assert_eq!(toy.answer(&last[3]).text(), "abc");
}

#[test]
fn texts_belong_to_their_keys_and_stay_while_they_are_busy() {
    let toy = Toy::start(&["--most-texts", "1"]);
    let (ann, bob) = (toy.keys("ann"), toy.keys("bob"));
    toy.ask("POST", &format!("/v1/texts?keys={}", "0".repeat(64))).assert_error(404, "PUT /v1/keys");
    let text = begin(&toy, &ann);
    toy.ask("POST", &format!("/v1/texts?keys={ann}")).assert_error(507, "1 texts are kept");
    toy.ask("POST", &format!("/v1/texts?keys={ann}&text={text}")).assert_error(400, "leave text=NAME out");
    let path = |keys: &str, text: &str| format!("/v1/requests?keys={keys}&text={text}");
    toy.put("POST", &path(&bob, &text), "request bob 1 1 -").assert_error(422, "other keys");
    toy.put("POST", &path(&ann, &"0".repeat(32)), "request ann 1 1 -").assert_error(404, "POST /v1/texts");
    let request = toy.request(&format!("keys={ann}&text={text}"), "ann 1000 10 -", "a");
    toy.ask("DELETE", &format!("/v1/texts/{text}")).assert_error(409, "not finished");
    toy.ask("DELETE", &format!("/v1/requests/{request}"));
    toy.wait(&request, "gone");
    assert_eq!(toy.ask("DELETE", &format!("/v1/texts/{text}")).status, 204);
    toy.put("POST", &path(&ann, &text), "request ann 1 1 -").assert_error(404, "POST /v1/texts");
}

#[test]
fn what_follows_a_cancelled_request_of_its_text_is_not_computed() {
    let toy = Toy::start(&[]);
    let keys = toy.keys("ann");
    let [text, other] = [begin(&toy, &keys), begin(&toy, &keys)];
    let target = format!("keys={keys}&text={text}");
    let first = toy.request(&target, "ann 50 5 -", "a");
    let second = toy.request(&target, "ann 1000 10 -", "b");
    let third = toy.request(&target, "ann 1 1 -", "c");
    let unrelated = toy.request(&format!("keys={keys}&text={other}"), "ann 1 1 -", "x");
    // One that waits takes those behind it with it, and not the one before.
    assert_eq!(toy.ask("DELETE", &format!("/v1/requests/{second}")).status, 204);
    assert_eq!(toy.state(&third), "failed");
    toy.answer(&third).assert_error(409, "a request before it in its text");
    toy.wait(&first, "done");
    toy.wait(&unrelated, "done");
    // And so does one that is computed, or fails.
    for line in ["ann 1000 10 -", "ann 20 10 refuse"] {
        let first = toy.request(&target, line, "d");
        let second = toy.request(&target, "ann 1 1 -", "e");
        toy.wait(&first, "running");
        if line.ends_with('-') {
            toy.ask("DELETE", &format!("/v1/requests/{first}"));
        }
        toy.wait(&second, "failed");
    }
    let last = toy.request(&target, "ann 1 1 -", "z");
    toy.wait(&last, "done");
    assert_eq!(toy.answer(&last).text(), "az");
    assert_eq!(toy.figure("requests_total{outcome=\"superseded\"}"), 3.0);
}
