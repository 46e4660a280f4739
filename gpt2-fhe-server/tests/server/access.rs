//! Who may ask, and what is there to be asked.

use crate::engine::{KEY_LIMIT, REQUEST_LIMIT};
use crate::support::{Toy, send, try_start};

#[cfg(unix)]
#[test]
fn a_token_is_asked_for_everywhere_but_for_health() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "right-horse-battery").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let toy = Toy::start(&["--token-file", file.to_str().unwrap()]);
    for (method, path) in [("GET", "/v1/programs"), ("GET", "/metrics"), ("PUT", "/v1/keys"), ("GET", "/nowhere")] {
        toy.ask(method, path).assert_error(401, "Bearer TOKEN");
        let wrong = send(toy.address, method, path, "Authorization: Bearer wrong-horse-battery\r\n", None);
        wrong.assert_error(401, "Bearer TOKEN");
        assert!(wrong.head.contains("www-authenticate: bearer"), "{wrong:?}");
    }
    assert_eq!(toy.ask("GET", "/healthz").status, 200);
    let right = send(toy.address, "GET", "/v1/programs", "Authorization: Bearer right-horse-battery\r\n", None);
    assert_eq!(right.status, 200);
}

#[test]
fn other_computers_need_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let error = try_start(folder.path(), &["--listen", "0.0.0.0:0"]).err().unwrap().to_string();
    assert!(error.contains("--token-file"), "{error}");
    // Nothing was made before that was clear.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn web_pages_are_refused() {
    let toy = Toy::start(&[]);
    let page = send(toy.address, "POST", "/v1/texts?keys=0", "Origin: http://example.com\r\n", None);
    page.assert_error(403, "not for web pages");
}

#[test]
fn what_there_is_can_be_asked() {
    let toy = Toy::start(&[]);
    let programs = toy.ask("GET", "/v1/programs").json();
    assert_eq!(programs["programs"][0]["circuit"], "toy");
    assert_eq!(programs["limits"]["key_bytes"], KEY_LIMIT);
    assert_eq!(programs["limits"]["request_bytes"], REQUEST_LIMIT);
    toy.ask("GET", "/v2").assert_error(404, "/v1");
    toy.ask("POST", "/v1/programs").assert_error(405, "method");
    toy.ask("GET", "/v1/requests/..%2f..%2flock").assert_error(404, "hex");
    toy.ask("GET", "/v1/requests/%ff").assert_error(404, "hex");
    for query in ["", "?keys=1", "?keys=..", "?other=1", "?keys=1&keys=1"] {
        toy.put("POST", &format!("/v1/requests{query}"), "").assert_error(400, "");
    }
    assert_eq!(toy.figure("queue_length"), 0.0);
    assert!(toy.figure("resident_memory_bytes") > 1e6);
    assert!(toy.ask("GET", "/metrics").text().ends_with("# EOF\n"));
}
