use super::*;
use crate::info::Counts;

fn worker(name: &str, arithmetic: &str, rotations: u64) -> WorkerInfo {
    WorkerInfo {
        protocol: PROTOCOL,
        version: "1.0".into(),
        worker: name.into(),
        host: "host".into(),
        arithmetic: arithmetic.into(),
        sets: vec!["toy".into(), "packed_block".into()],
        threads: 4,
        busy: 3,
        batches: 0,
        rotations,
        seconds: 0.0,
        refused: 0,
        keys: vec!["ab".into()],
    }
}

fn server(arithmetic: &str, requests: Vec<RequestInfo>) -> ServerInfo {
    let counts = Counts { rotations: 70, by_workers: 40, overdue: 2, ..Counts::default() };
    ServerInfo {
        protocol: PROTOCOL,
        version: "1.0".into(),
        run: "0123".into(),
        host: "front".into(),
        arithmetic: arithmetic.into(),
        sets: vec!["packed_block".into()],
        requests,
        counts,
    }
}

/// Heard twice, two seconds apart.
fn twice<T: Clone>(first: T, last: T) -> Heard<T> {
    let now = Instant::now();
    Heard { first: (now, first), last: (now + Duration::from_secs(2), last) }
}

fn seen(workers: &[(&str, &str)]) -> BTreeMap<String, Heard<WorkerInfo>> {
    let heard = |&(name, kind): &(&str, &str)| (name.to_owned(), twice(worker(name, kind, 10), worker(name, kind, 30)));
    workers.iter().map(heard).collect()
}

#[test]
fn rates_are_of_what_was_heard_twice() {
    let servers = [("s".to_owned(), twice(server("avx2", vec![]), server("avx2", vec![])))].into();
    let status = status(&seen(&[("a", "avx2"), ("b", "avx2")]), &servers, Some(5));
    assert_eq!(status.workers.iter().map(|worker| worker.rate).collect::<Vec<_>>(), [Some(10.0); 2]);
    assert_eq!((status.worker_rate, status.server_rate, status.waiting), (20.0, 0.0, Some(5)));
    let once = Heard { first: (Instant::now(), 5u64), last: (Instant::now(), 9) };
    assert_eq!(once.rate(|&count| count), None);
    // It has begun anew.
    assert_eq!(twice(9u64, 5).rate(|&count| count), None);
}

#[test]
fn who_gets_nothing_is_told_why() {
    let reason = |info: &WorkerInfo, servers: Vec<ServerInfo>| {
        let servers = servers.into_iter().map(|info| ServerStatus { info, rate: None, seconds_left: vec![] });
        gets_nothing(info, &servers.collect::<Vec<_>>())
    };
    let info = worker("a", "avx2", 0);
    assert_eq!(reason(&info, vec![server("avx512", vec![]), server("avx2", vec![])]), None);
    assert_eq!(reason(&info, vec![]).unwrap(), "there is no server");
    let other = reason(&info, vec![server("avx512-adders", vec![])]).unwrap();
    assert!(other.contains("avx512-adders") && other.contains("TFHE_BACKEND=avx2"), "{other}");
    let toy = WorkerInfo { sets: vec!["toy".into()], ..info.clone() };
    let other = reason(&toy, vec![server("avx2", vec![])]).unwrap();
    assert!(other.contains("sets are toy, and those of servers packed_block"), "{other}");
    assert_eq!(reason(&toy, vec![ServerInfo { sets: vec![], ..server("avx2", vec![]) }]), None);
    let old = reason(&WorkerInfo { protocol: 0, ..info }, vec![server("avx2", vec![])]).unwrap();
    assert!(old.contains("version"), "{old}");
}

#[test]
fn another_version_is_seen_and_nonsense_is_not() {
    let text = br#"{"protocol": 999, "version": "9", "worker": "w", "threads": {}}"#;
    let info = worker_info(text).unwrap();
    assert_eq!((info.protocol, &*info.version, &*info.worker, &*info.host), (999, "9", "w", "?"));
    assert_eq!(server_info(br#"{"protocol": 999}"#).unwrap().run, "?");
    for text in [&b"{}"[..], b"[]", b"\xff", br#"{"protocol": 1}"#, br#"{"protocol": -1}"#, br#"{"protocol": 1e99}"#] {
        assert!(worker_info(text).is_none() && server_info(text).is_none(), "{text:?}");
    }
    let whole = serde_json::to_vec(&worker("a", "avx2", 7)).unwrap();
    assert_eq!(worker_info(&whole), Some(worker("a", "avx2", 7)));
    assert!(worker_info(&vec![b' '; MOST_INFO + 1]).is_none());
}

#[test]
fn the_table_has_everyone_and_no_control_characters() {
    let request = |done, seconds| RequestInfo { step: "block 3, GELU".into(), done, operations: 400, seconds };
    let said = server("avx512", vec![request(100, 60.0), request(0, 1.0)]);
    let before = ServerInfo { counts: Counts::default(), ..said.clone() };
    let servers = [("s".to_owned(), twice(before, said))].into();
    let status = status(&seen(&[("a", "avx512"), ("evil\u{1b}[2J", "portable")]), &servers, None);
    let text = table(&status);
    assert!(!text.contains('\u{1b}'), "{text}");
    for line in [
        "evil?[2J gets nothing: its vector instructions are portable, and servers have avx512, whose",
        "0123: block 3, GELU: 100 of 400 operations, about 3m left",
        "0123: block 3, GELU: 0 of 400 operations, time left not known yet",
        "0123: 2 batches took too long and were computed elsewhere",
        "35 lookups a second, 20 of them by workers; no stream of batches yet",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let none = table(&super::status(&BTreeMap::new(), &BTreeMap::new(), None));
    assert!(none.contains("\n0 lookups a second, 0 of them"), "{none}");
    assert!(none.contains("no workers") && none.contains("no servers"), "{none}");
    // Both directions of JSON.
    let json = serde_json::to_string(&status).unwrap();
    assert!(json.starts_with(r#"{"type":"status","#), "{json}");
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
}
