//! Texts that are interrupted, on ciphertexts, and go on from what was kept.

use std::path::{Path, PathBuf};

use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SecretSeed;

use super::*;
use crate::block::circuit::BlockCircuit;
use crate::run::block::tiny::{KEYS, TOKENS, circuit};
use crate::run::block::{BlockKeyPair, BlockSession, GoingOn};
use crate::run::error::RunError;
use crate::track::{EvaluationError, Observer, Unobserved};

/// A text in a folder.
struct Kept<'a> {
    circuit: &'a BlockCircuit,
    keys: &'a BlockKeyPair,
    folder: &'a Path,
}

impl<'a> Kept<'a> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn session(&self, observer: &'a mut dyn Observer) -> Result<(BlockSession<'a>, GoingOn), RunError> {
        let mut session = BlockSession::new(self.circuit, self.keys, observer)?;
        let [client, server] = ["client", "server"].map(|name| Store::open(&self.path(name)).unwrap());
        let going_on = session.keep_in(client, server, TOKENS.len())?;
        Ok((session, going_on))
    }

    fn refused(&self) -> String {
        let observer = Box::leak(Box::new(Unobserved));
        self.session(observer).map(|_| ()).unwrap_err().to_string()
    }
}

/// Stops once a file is there.
struct StopAt(PathBuf);

impl Observer for StopAt {
    fn begin(&mut self, _: &'static str, _: usize) {}

    fn advance(&mut self, _: usize) -> bool {
        !self.0.exists()
    }
}

/// Stopped after the first block of each of two requests, with public tokens before: the answers are those of a run that was not stopped, to the
/// last bit; and what was answered is not asked for again.
#[test]
fn a_text_goes_on_to_the_same_bits() {
    let (circuit, requests) = circuit(0.7);
    let mut observer = Unobserved;
    let mut session = BlockSession::new(&circuit, &KEYS, &mut observer).unwrap();
    let expected: Vec<_> = requests.iter().map(|turns| session.answer(turns).unwrap()).collect();

    let folder = tempfile::tempdir().unwrap();
    let kept = Kept { circuit: &circuit, keys: &KEYS, folder: folder.path() };
    for (stopped, file) in ["server/request-0-block-0", "server/request-1-block-0"].into_iter().enumerate() {
        let mut observer = StopAt(kept.path(file));
        let (mut session, _) = kept.session(&mut observer).unwrap();
        let answers: Vec<_> = requests.iter().map(|turns| session.answer(turns)).take(stopped + 1).collect();
        assert!(matches!(answers[stopped], Err(RunError::Evaluation(EvaluationError::Cancelled))));
        drop(session);
        let mut observer = Unobserved;
        let (mut session, going_on) = kept.session(&mut observer).unwrap();
        assert_eq!(going_on, GoingOn { answered: stopped, blocks: 1 });
        for (turns, expected) in requests.iter().zip(&expected).take(stopped + 1) {
            let answer = session.answer(turns).unwrap();
            assert_eq!((answer.numbers, answer.bytes.request), (expected.numbers.clone(), expected.bytes.request));
            assert_eq!(answer.bytes.response, expected.bytes.response);
        }
    }
    let mut observer = StopAt(kept.path("server/stream"));
    let (mut session, going_on) = kept.session(&mut observer).unwrap();
    assert_eq!(going_on, GoingOn { answered: 2, blocks: 0 });
    for (turns, expected) in requests.iter().zip(&expected) {
        assert_eq!(session.answer(turns).unwrap().numbers, expected.numbers);
    }
}

/// Whatever is not what was kept of this text, whole, is refused by a line that names the file.
#[test]
fn what_is_damaged_or_of_another_text_is_refused() {
    let (circuit, requests) = circuit(0.7);
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept { circuit: &circuit, keys: &KEYS, folder: folder.path() };
    let mut observer = StopAt(kept.path("server/request-0-block-0"));
    let (mut session, _) = kept.session(&mut observer).unwrap();
    assert!(session.answer(&requests[0]).is_err());
    drop(session);
    // Another request than the one in work.
    let mut observer = Unobserved;
    let other = kept.session(&mut observer).unwrap().0.answer(&requests[1]).unwrap_err().to_string();
    assert!(other.contains("the numbers to be encrypted are not those of that run"), "{other}");

    for file in ["server/stream", "server/request-0-block-0", "client/journal"] {
        let (path, whole) = (kept.path(file), std::fs::read(kept.path(file)).unwrap());
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let refused = kept.refused();
            assert!(refused.starts_with(&format!("cannot go on from {}: ", path.display())), "{refused}");
            refused
        };
        let changed = |position: usize| {
            let mut bytes = whole.clone();
            bytes[position] ^= 1;
            refused(&bytes)
        };
        assert!(refused(&whole[..whole.len() - 1]).contains("it was cut off"));
        assert!(refused(&whole[..50]).contains("it was cut off"));
        assert!(refused(&[]).contains("it was cut off"));
        assert!(changed(0).contains("it is no file of this program"));
        assert!(changed(8).contains("only version 2 is read"));
        assert!(changed(30).contains("its checksum is wrong") && changed(whole.len() - 1).contains("checksum"));
        let mut huge = whole.clone();
        huge[122] = 0xff;
        assert!(refused(&huge).contains("bytes, and"));
        std::fs::write(&path, &whole).unwrap();
    }
    let path = kept.path("server/request-0-block-0");
    let cache = std::fs::read(&path).unwrap();
    std::fs::write(&path, std::fs::read(kept.path("server/stream")).unwrap()).unwrap();
    assert!(kept.refused().contains("it holds \"stream\", and \"cache\" is needed"));
    std::fs::remove_file(&path).unwrap();
    assert!(kept.refused().contains("this file of the checkpoint is not there"));
    std::fs::write(&path, cache).unwrap();

    // Other keys, and other blocks.
    let keys = BlockKeyPair::new(circuit.parameters(), &ClientSeed::stored(SecretSeed::from_number(4))).unwrap();
    assert!(Kept { keys: &keys, ..kept }.refused().contains("it belongs to other keys"));
    let (others, _) = crate::run::block::tiny::circuit(0.9);
    let of_others = Kept { circuit: &others, keys: &KEYS, folder: folder.path() };
    assert!(of_others.refused().contains("it belongs to other work"));
    // A server that knows of a request which this client did not send.
    std::fs::remove_file(folder.path().join("client/journal")).unwrap();
    let kept = Kept { circuit: &circuit, keys: &KEYS, folder: folder.path() };
    assert!(kept.refused().contains("what the server kept is of another run"));
}

/// A request that the server had not begun is encrypted anew where randomness is fresh, and no mask is used twice.
#[test]
fn a_request_that_was_not_begun_has_new_masks() {
    let (circuit, requests) = circuit(0.7);
    let seed = ClientSeed::stored(SecretSeed::from_number(5));
    let keys = BlockKeyPair::new(circuit.parameters(), &seed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept { circuit: &circuit, keys: &keys, folder: folder.path() };
    let label = || {
        let mut observer = StopAt(folder.path().into());
        let (mut session, going_on) = kept.session(&mut observer).unwrap();
        assert_eq!(going_on, GoingOn::default());
        assert!(session.answer(&requests[0]).is_err());
        let owner = (*keys.identity(), *circuit.fingerprint());
        let store = Store::open(&kept.path("client")).unwrap();
        let journal = Journal::open(store, owner, circuit.channels(), TOKENS.len()).unwrap();
        journal.in_work.unwrap().1
    };
    assert_ne!(label(), label());
}
