//! Many clients of the program at once, which is killed in the middle.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use std::net::{SocketAddr, TcpListener};

use nn::block::BlockPart;

use crate::party::{Blocks, Owner};
use crate::support::{Process, Response, try_send};

/// How many clients there are, and how many requests all of them send.
const CLIENTS: usize = 8;
const REQUESTS: usize = 200;
/// Prepared keys of fewer clients than there are have room: each has some 0.6 GB.
const KEY_MEMORY: &str = "2GiB";

fn command(folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt2-fhe-server"));
    command.args(["--log", "json", "--key-memory", KEY_MEMORY, "--listen", &address.to_string()]);
    command.arg("--data").arg(folder.join("data")).arg("--quantized").arg(folder.join("blocks"));
    command
}

/// A client that asks again until the server is there.
struct Patient {
    address: SocketAddr,
}

impl Patient {
    fn ask(&self, method: &str, path: &str, body: Option<&[u8]>) -> Response {
        let begun = Instant::now();
        loop {
            match try_send(self.address, method, path, body) {
                Ok(response) if response.status != 429 && response.status != 503 => return response,
                Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "the server is not there any more");
        }
    }

    /// Sends a request, waits, and fetches the answer.
    fn answer(&self, keys: &str, request: &[u8]) -> Vec<u8> {
        let name = self.ask("POST", &format!("/v1/requests?keys={keys}"), Some(request)).word("request");
        let path = format!("/v1/requests/{name}");
        loop {
            let state = self.ask("GET", &path, None);
            match &*state.word("state") {
                "done" => break,
                "failed" => panic!("a request is lost: {state:?}"),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        let answer = self.ask("GET", &format!("{path}/answer"), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        // A server that was killed before it said so may have deleted it.
        let deleted = self.ask("DELETE", &path, None);
        assert!([204, 404].contains(&deleted.status), "{deleted:?}");
        answer.body
    }
}

/// What one client sends, and what comes of it.
fn client(blocks: &Blocks, owner: &Owner, keys: &str, server: &Patient, answered: &AtomicUsize) {
    let tokens = blocks.hidden.rows();
    let requests = (0..REQUESTS / CLIENTS).map(|number| {
        let hidden = blocks.hidden.row_range(number % tokens..number % tokens + 1);
        (owner.request(&hidden, 0), hidden)
    });
    let requests: Vec<_> = requests.collect();
    // Some of them wait at the server at the same time.
    std::thread::scope(|scope| {
        for lane in requests.chunks(requests.len().div_ceil(4)) {
            scope.spawn(move || {
                for ((request, bytes), hidden) in lane {
                    let answer = server.answer(keys, bytes);
                    blocks.assert_near(&owner.output(&answer, request), hidden);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
}

fn report_memory(process: &Process, when: &str) {
    let [now, most] = ["VmRSS", "VmHWM"].map(|name| process.status(name).unwrap_or_else(|| "unknown".into()));
    println!("memory of the server {when}: {now}, at most {most}");
}

mod by_hand {
    use super::*;

    /// No request is lost, and each answer is right.
    #[test]
    #[ignore = "minutes, 2.3 GB on the disk and 3 GB of memory: prints figures of the machine"]
    fn requests_of_many_clients_survive_a_kill() {
        let blocks = Blocks::new(16, 1, BlockPart::FeedForward, 16);
        let folder = tempfile::tempdir().unwrap();
        blocks.write_server_half(&folder.path().join("blocks"));
        // The next process has to be where the first one was.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Process::of(command(folder.path(), address));
        let owners: Vec<Owner> = (0..CLIENTS).map(|seed| Owner::new(&blocks, seed as u64)).collect();
        let server = Patient { address };
        let put = |owner: &Owner| server.ask("PUT", "/v1/keys", Some(&owner.keys())).word("keys");
        let keys: Vec<String> = owners.iter().map(put).collect();
        report_memory(&process, "with the keys of all clients");
        let (answered, begun) = (AtomicUsize::new(0), Instant::now());
        let process = std::thread::scope(|scope| {
            for (owner, keys) in owners.iter().zip(&keys) {
                let (blocks, server, answered) = (&blocks, &server, &answered);
                scope.spawn(move || client(blocks, owner, keys, server, answered));
            }
            wait(&answered, REQUESTS / 2);
            report_memory(&process, "after half of the requests");
            process.kill();
            println!("killed after {} answers", answered.load(Ordering::Relaxed));
            Process::of(command(folder.path(), address))
        });
        let (count, seconds) = (answered.into_inner(), begun.elapsed().as_secs_f64());
        report_memory(&process, "after all of them, in the second process");
        println!("{CLIENTS} clients, {count} requests in {seconds:.1} s: {:.2} a second", count as f64 / seconds);
        println!("requests lost: {}", REQUESTS - count);
        assert_eq!(count, REQUESTS);
        for part in ["requests", "answers"] {
            assert_eq!(std::fs::read_dir(folder.path().join("data").join(part)).unwrap().count(), 0, "{part}");
        }
        process.kill();
    }
}

fn wait(answered: &AtomicUsize, count: usize) {
    let begun = Instant::now();
    while answered.load(Ordering::Relaxed) < count {
        assert!(begun.elapsed() < Duration::from_secs(1800), "clients are not answered any more");
        std::thread::sleep(Duration::from_millis(20));
    }
}
