//! Every decoder on the files of `fuzz/corpus`, and on files that are made of them by changes, the same each time.

use std::path::{Path, PathBuf};

use decoders::{Target, samples, wrong};
use tfhe_core::random::{SampleSeed, SampleStream};

/// Changed files for each target.
const MUTATIONS: usize = 20_000;

fn folder(target: Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name())
}

/// All files of a target, in the order of their names.
fn corpus(target: Target) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder(target)).expect("the folder of a target's files");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

/// The files that were committed are those that the generator makes, and are accepted.
#[test]
fn the_corpus_is_what_is_generated() {
    for target in Target::ALL {
        let corpus = corpus(target);
        for (name, bytes) in samples(target) {
            let committed = corpus.iter().find(|(found, _)| found == name).map(|(_, bytes)| bytes);
            let again = "run cargo run -p decoders --example corpus";
            assert!(committed == Some(&bytes), "{}/{name} is not what is written now: {again}", target.name());
            assert!(target.read(&bytes), "{}/{name} is refused", target.name());
        }
    }
}

/// A stream is kept after a block, and never before the first, and each request has new tokens.
#[test]
fn streams_that_cannot_be_are_refused() {
    for (what, target, bytes) in wrong() {
        assert!(!target.read(&bytes), "{what}");
    }
}

/// Changes of files.
struct Mutator {
    stream: SampleStream,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    fn new(target: Target) -> Self {
        let stream = SampleSeed::from_number(target as u64).stream(0);
        Self { stream, corpus: corpus(target).into_iter().map(|(_, bytes)| bytes).collect() }
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.stream.uniform() % limit.max(1) as u64) as usize
    }

    fn any(&mut self) -> Vec<u8> {
        let index = self.below(self.corpus.len());
        self.corpus[index].clone()
    }

    /// Where something is: half of the time among the first bytes, which say what the others are.
    fn place(&mut self, length: usize) -> usize {
        let limit = if self.below(2) == 0 { length.min(320) } else { length };
        self.below(limit)
    }

    /// A file with one to four changes.
    fn next(&mut self) -> Vec<u8> {
        let mut file = self.any();
        for _ in 0..1 + self.below(4) {
            self.change(&mut file);
        }
        file
    }

    fn change(&mut self, file: &mut Vec<u8>) {
        /// Integers where counts go wrong.
        const INTEGERS: [u64; 10] = [0, 1, 2, 65, 1 << 16, 1 << 32, (1 << 48) - 1, 1 << 60, 1 << 63, u64::MAX];
        if file.is_empty() {
            return;
        }
        let at = self.place(file.len());
        match self.below(7) {
            0 => file[at] ^= 1 << self.below(8),
            1 => file[at] = self.below(256) as u8,
            2 => {
                // In integers' places, counted from the end of the header.
                let at = 124 % 8 + at / 8 * 8;
                let integer = INTEGERS[self.below(INTEGERS.len())].to_le_bytes();
                file.iter_mut().skip(at).zip(integer).for_each(|(byte, new)| *byte = new);
            }
            3 => file.truncate(at),
            4 => {
                // The begin of one and the end of another.
                let other = self.any();
                let from = self.place(other.len());
                file.truncate(at);
                file.extend(&other[from..]);
            }
            5 => {
                let copied: Vec<u8> =
                    file.iter().skip(at).take(1 + self.stream.uniform() as usize % 64).copied().collect();
                let to = self.place(file.len());
                file.splice(to..to, copied);
            }
            _ => {
                let end = file.len().min(at + 1 + self.below(64));
                file.drain(at..end);
            }
        }
    }
}

/// No decoder panics, whatever is changed; and of what is changed, some is still accepted, so that they are looked into.
fn mutate(target: Target) {
    let mut mutator = Mutator::new(target);
    let accepted = (0..MUTATIONS).filter(|_| target.read(&mutator.next())).count();
    println!("{}: {MUTATIONS} changed files, of which {accepted} are right", target.name());
    assert!((1..MUTATIONS).contains(&accepted), "{accepted}");
}

#[test]
fn changed_envelopes() {
    mutate(Target::Envelope);
}

#[test]
fn changed_requests() {
    mutate(Target::Request);
}

#[test]
fn changed_answers() {
    mutate(Target::Answer);
}

#[test]
fn changed_evaluation_keys() {
    mutate(Target::EvaluationKeys);
}

#[test]
fn changed_secrets() {
    mutate(Target::Secret);
}

#[test]
fn changed_streams() {
    mutate(Target::Stream);
}

#[test]
fn changed_batches() {
    mutate(Target::Batch);
}

#[test]
fn changed_results() {
    mutate(Target::BatchResult);
}

#[test]
fn changed_keys_of_workers() {
    mutate(Target::WorkerKeys);
}
