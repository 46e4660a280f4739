//! The engine of blocks, with real keys.

use std::path::{Path, PathBuf};
use std::process::Command;

use gpt2_fhe::block::agreement::{prepared_keys_bytes, write_keys};
use gpt2_fhe_server::blocks::BlockEngine;
use gpt2_fhe_server::service::Service;
use nn::block::BlockPart;
use tempfile::TempDir;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::sets;

use crate::party::{Blocks, Owner};
use crate::support::{Process, Response, arguments, send, wait_until};

/// A server of blocks in this process.
struct Served {
    folder: TempDir,
    service: Option<Service>,
}

impl Served {
    fn start(blocks: &Blocks) -> Self {
        let folder = tempfile::tempdir().unwrap();
        blocks.write_server_half(&folder.path().join("blocks"));
        let engine = BlockEngine::load(&[folder.path().join("blocks")]).unwrap();
        let service = Service::start(engine, &arguments(&folder.path().join("data"), &[])).unwrap();
        Self { folder, service: Some(service) }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&[u8]>) -> Response {
        send(self.service.as_ref().unwrap().address(), method, path, "", body)
    }

    fn request(&self, target: &str, body: &[u8]) -> Response {
        self.ask("POST", &format!("/v1/requests?{target}"), Some(body))
    }

    /// The answer to a request, when it is there, or why there is none.
    fn answer(&self, request: &str) -> Response {
        let path = format!("/v1/requests/{request}");
        let is_over = || ["done", "failed"].contains(&&*self.ask("GET", &path, None).word("state"));
        wait_until(is_over, "it is not computed");
        self.ask("GET", &format!("{path}/answer"), None)
    }

    fn files(&self, part: &str) -> usize {
        std::fs::read_dir(self.folder.path().join("data").join(part)).unwrap().count()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.service.take().into_iter().for_each(Service::stop);
    }
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

/// The beginning of a file that says that it has far more contents.
fn boasting(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes[..1000].to_vec();
    bytes[116..124].copy_from_slice(&(1_u64 << 60).to_le_bytes());
    bytes
}

#[test]
fn files_that_are_no_keys_of_blocks_are_refused_and_leave_nothing() {
    let blocks = Blocks::new(16, 1, BlockPart::FeedForward, 16);
    let (served, owner) = (Served::start(&blocks), Owner::new(&blocks, 1));
    let keys = owner.keys();
    let toy = ClientKeys::generate(&sets::TOY.compile().unwrap(), &ClientSeed::from_number(1)).unwrap();
    let mut of_toy = Vec::new();
    write_keys(&mut of_toy, &toy.evaluation_keys(&Needs::default()).unwrap()).unwrap();
    let mut other_version = keys[..1000].to_vec();
    other_version[8] = 1;
    for (bytes, status, what) in [
        (b"keys, some".repeat(20), 400, "it is no file of this program"),
        (Vec::new(), 400, "it was cut off"),
        (keys[..1 << 20].to_vec(), 400, "it was cut off"),
        (boasting(&keys), 413, "it says that its contents have 1152921504606846976 bytes"),
        (other_version, 400, "of version 1 of the format"),
        (owner.request(&blocks.hidden.row_range(0..1), 0).1, 400, "it holds \"request\", and "),
        (of_toy, 422, "it belongs to another parameter set"),
        ([&keys[..], b"\0"].concat(), 413, "a file of keys has at most"),
        (flipped(&keys), 400, "its checksum is wrong"),
    ] {
        served.ask("PUT", "/v1/keys", Some(&bytes)).assert_error(status, what);
        assert_eq!(served.files("keys"), 0, "{what}");
    }
    assert_eq!(served.ask("PUT", "/v1/keys", Some(&keys)).status, 201);
    assert_eq!(served.files("keys"), 1);
}

#[test]
fn requests_are_answered_or_refused_for_what_they_are() {
    let blocks = Blocks::new(16, 1, BlockPart::Whole, 16);
    let other = Blocks::new(16, 1, BlockPart::Whole, 17);
    let served = Served::start(&blocks);
    let [ann, bob] = [2, 3].map(|seed| Owner::new(&blocks, seed));
    let [of_ann, of_bob] = [&ann, &bob].map(|owner| served.ask("PUT", "/v1/keys", Some(&owner.keys())).word("keys"));
    // As many bytes as room is made for before keys are read.
    let memory = served.ask("GET", "/metrics", None).figure("prepared_keys_memory_bytes");
    assert_eq!(memory, 2.0 * prepared_keys_bytes() as f64);
    let rows = |range| blocks.hidden.row_range(range);
    let (request, bytes) = ann.request(&rows(0..1), 0);
    let (_, later) = ann.request(&rows(1..2), 1);
    let target = format!("keys={of_ann}");
    let (_, to_other) = Owner::new(&other, 2).request(&rows(0..1), 0);
    let limit = served.ask("GET", "/v1/programs", None).json()["limits"]["request_bytes"].as_u64().unwrap();
    for (target, bytes, status, what) in [
        (&format!("keys={of_bob}"), bytes.clone(), 422, "the request belongs to other keys"),
        (&target, to_other, 422, "it belongs to another program: to blocks of other weights"),
        (&target, flipped(&bytes), 400, "its checksum is wrong"),
        (&target, bytes[..bytes.len() - 1].to_vec(), 400, "it was cut off"),
        (&target, [&bytes[..], b"\0"].concat(), 400, "something was appended to it"),
        (&target, boasting(&bytes), 413, "it says that its contents have"),
        (&target, vec![0; limit as usize + 1], 413, "a request has at most"),
        (&target, b"a letter".repeat(30), 400, "it is no file of this program"),
        (&target, later.clone(), 409, "begin one by POST /v1/texts"),
    ] {
        served.request(target, &bytes).assert_error(status, what);
        assert_eq!(served.files("requests"), 0, "{what}");
    }

    // In their order.
    let text = |keys: &str| served.ask("POST", &format!("/v1/texts?keys={keys}"), None).word("text");
    let in_text = format!("{target}&text={}", text(&of_ann));
    let name = served.request(&in_text, &bytes).word("request");
    let answer = served.answer(&name);
    blocks.assert_near(&ann.output(&answer.body, &request), &rows(0..1));
    served.ask("PUT", "/v1/keys", Some(&answer.body)).assert_error(400, "it holds \"answer\", and ");
    let (second, bytes_of_second) = ann.request(&rows(1..3), 1);
    let name = served.request(&in_text, &bytes_of_second).word("request");
    blocks.assert_near(&ann.output(&served.answer(&name).body, &second), &rows(0..3));
    // Sent again, it is the same.
    assert_eq!(served.request(&in_text, &bytes_of_second).status, 200);

    // Not in their order, and to the text of another client.
    let name = served.request(&in_text, &later).word("request");
    served.answer(&name).assert_error(409, "the request is of new tokens after 1, and the server has 3 of this text");
    let name = served.request(&format!("{target}&text={}", text(&of_ann)), &later).word("request");
    served.answer(&name).assert_error(409, "the server has 0 of this text");
    let foreign = format!("{target}&text={}", text(&of_bob));
    served.request(&foreign, &bytes).assert_error(422, "text");
}

/// Eight channels leave the second block's LayerNorm too little room: what one process refuses, a server refuses too, before it queues it.
#[test]
fn requests_that_may_fail_are_refused() {
    let blocks = Blocks::new(8, 2, BlockPart::Whole, 16);
    let (served, owner) = (Served::start(&blocks), Owner::new(&blocks, 4));
    let keys = served.ask("PUT", "/v1/keys", Some(&owner.keys())).word("keys");
    let (_, bytes) = owner.request(&blocks.hidden.row_range(0..1), 0);
    let refused = served.request(&format!("keys={keys}"), &bytes);
    refused.assert_error(422, "cannot be evaluated with a chance of failure of at most 2^-40");
    assert_eq!(served.files("requests"), 0);
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_gpt2-fhe-server")));
    command.args(["--listen", "127.0.0.1:0", "--log", "json", "--data"]).arg(folder.join("data"));
    command.arg("--quantized").arg(folder.join("blocks"));
    command
}

/// The program itself, killed in the middle of a request: the next one goes on after the last block that was done.
#[test]
fn a_server_that_was_killed_goes_on_after_its_last_block() {
    let blocks = Blocks::new(16, 2, BlockPart::Whole, 16);
    let (folder, owner) = (tempfile::tempdir().unwrap(), Owner::new(&blocks, 4));
    blocks.write_server_half(&folder.path().join("blocks"));
    let process = Process::of(command(folder.path()));
    let keys = send(process.address, "PUT", "/v1/keys", "", Some(&owner.keys())).word("keys");
    let text = send(process.address, "POST", &format!("/v1/texts?keys={keys}"), "", None).word("text");
    let hidden = blocks.hidden.row_range(0..3);
    let (request, bytes) = owner.request(&hidden, 0);
    let target = format!("/v1/requests?keys={keys}&text={text}");
    let name = send(process.address, "POST", &target, "", Some(&bytes)).word("request");
    let kept = folder.path().join("data/texts").join(&text).join("stream");
    wait_until(|| kept.exists(), "no block is done");
    let path = format!("/v1/requests/{name}");
    assert_eq!(send(process.address, "GET", &path, "", None).word("state"), "running");
    process.kill();

    let process = Process::of(command(folder.path()));
    let state = || send(process.address, "GET", &path, "", None);
    wait_until(|| state().word("state") == "done", "it is not computed");
    let answer = send(process.address, "GET", &format!("{path}/answer"), "", None);
    blocks.assert_near(&owner.output(&answer.body, &request), &hidden);
    let metrics = send(process.address, "GET", "/metrics", "", None).text();
    let computed = metrics.lines().find_map(|line| line.strip_prefix("gpt2_fhe_server_operations_total "));
    let (computed, all) = (computed.unwrap().parse::<f64>().unwrap(), state().json()["total"].as_f64().unwrap());
    assert!(computed > 0.0 && computed < 0.9 * all, "{computed} operations of {all} were computed again");
    process.kill();
}
