//! Prepared keys in the memory of a worker.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tfhe_core::keys::{EvaluationKeys, Identity};
use tfhe_core::sets;
use tfhe_core::simd::BackendError;

use crate::batch::KeyName;
use crate::keys::{KeyFileError, needs, read_keys};

/// A file of keys that is being fetched.
pub struct KeyStream {
    /// How many bytes it has.
    pub bytes: u64,
    /// They.
    pub input: Box<dyn Read>,
}

impl fmt::Debug for KeyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyStream({} bytes)", self.bytes)
    }
}

/// Where files of keys come from.
pub trait KeySource: Send + Sync {
    /// The file of this name.
    ///
    /// # Errors
    /// If it is not there, or cannot be reached.
    fn fetch(&self, name: KeyName) -> io::Result<KeyStream>;
}

impl<F: Fn(KeyName) -> io::Result<KeyStream> + Send + Sync> KeySource for F {
    fn fetch(&self, name: KeyName) -> io::Result<KeyStream> {
        self(name)
    }
}

/// Why a worker does not have the keys that a batch asks for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    /// They cannot be fetched.
    #[error("the file of evaluation keys {0} cannot be fetched: {1}")]
    Fetch(KeyName, Arc<io::Error>),
    /// What was fetched is refused.
    #[error(transparent)]
    File(Arc<KeyFileError>),
    /// They are of a parameter set that is not one of [`tfhe_core::sets`].
    #[error("they are of a parameter set that this program does not know: run one version of server and workers")]
    Set,
    /// They were fetched for another batch, which said that they were somebody else's.
    #[error("the evaluation keys {0} are not those of whoever sends the batch")]
    Identity(KeyName),
    /// They are larger than all keys together may be.
    #[error(
        "the evaluation keys {name} take {bytes} bytes of memory, and {limit} are allowed: allow this worker more memory \
         for keys"
    )]
    Memory {
        /// Which.
        name: KeyName,
        /// What they take.
        bytes: usize,
        /// What all of them may take.
        limit: usize,
    },
    /// The environment asks for instructions that this processor does not have.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

type Prepared = Result<Arc<EvaluationKeys>, KeyError>;

/// Keys that somebody has asked for.
struct Held {
    /// Filled by the first who asks; the others wait.
    keys: Arc<OnceLock<Prepared>>,
    used: Instant,
}

impl Held {
    fn bytes(&self) -> usize {
        self.keys.get().map_or(0, |keys| keys.as_ref().map_or(0, |keys| keys.bytes()))
    }

    /// Whether they are prepared, and nobody computes with them.
    fn is_free(&self) -> bool {
        matches!(self.keys.get(), Some(Ok(keys)) if Arc::strong_count(keys) == 1)
    }
}

/// Keys, fetched and prepared once, and kept until others need their memory or nobody has used them for some time. Keys that somebody
/// computes with stay, so for as long as a batch takes there may be more than the limit.
pub struct KeyCache {
    source: Box<dyn KeySource>,
    limit: usize,
    idle: Duration,
    held: Mutex<HashMap<KeyName, Held>>,
    /// Held while keys are prepared: what that takes besides is taken once.
    preparing: Mutex<()>,
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("limit", &self.limit).field("idle", &self.idle).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeyCache {
    /// Of files from `source`. All keys together take at most `limit` bytes of memory, and what was not used for as long as `idle` is dropped
    /// ([`Self::drop_unused`]).
    pub fn new(source: impl KeySource + 'static, limit: usize, idle: Duration) -> Self {
        let (held, preparing) = (Mutex::default(), Mutex::default());
        Self { source: Box::new(source), limit, idle, held, preparing }
    }

    /// The keys of this name, which are those of `identity`. If several ask at the same time, one of them fetches and prepares them, and the
    /// others wait; if that fails, all of them are told, and the next one who asks tries again. Keys are prepared by the threads of rayon's
    /// pool: the global one, where nobody has chosen another.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn get(&self, name: KeyName, identity: &Identity) -> Prepared {
        let now = Instant::now();
        let cell = {
            let mut held = lock(&self.held);
            let held = held.entry(name).or_insert_with(|| Held { keys: Arc::default(), used: now });
            held.used = now;
            Arc::clone(&held.keys)
        };
        let keys = cell.get_or_init(|| self.prepare(name, identity)).clone();
        let mut held = lock(&self.held);
        match &keys {
            Ok(_) => self.make_room(&mut held, name, self.limit),
            // Unless somebody else has begun anew.
            Err(_) => {
                held.extract_if(|other, held| *other == name && Arc::ptr_eq(&held.keys, &cell)).for_each(drop);
            }
        }
        drop(held);
        match keys? {
            keys if keys.identity() == identity => Ok(keys),
            _ => Err(KeyError::Identity(name)),
        }
    }

    fn prepare(&self, name: KeyName, identity: &Identity) -> Prepared {
        let parameters = sets::by_fingerprint(&identity.set).ok_or(KeyError::Set)?;
        let bytes = EvaluationKeys::predicted_bytes(&parameters, &needs(&parameters)).map_err(|_| KeyError::Set)?;
        let limit = self.limit;
        let room = limit.checked_sub(bytes).ok_or(KeyError::Memory { name, bytes, limit })?;
        let _one = lock(&self.preparing);
        // Before they are fetched, so that they are not in memory beside those that have to go.
        self.make_room(&mut lock(&self.held), name, room);
        let KeyStream { bytes, mut input } =
            self.source.fetch(name).map_err(|error| KeyError::Fetch(name, error.into()))?;
        let keys = read_keys(name, &mut input, bytes, (*identity, &parameters));
        Ok(Arc::new(keys.map_err(|error| KeyError::File(error.into()))?.prepare()?))
    }

    /// Drops the keys that were not used for longest until all are within `limit`, but not those of `name`, nor what somebody computes with.
    fn make_room(&self, held: &mut HashMap<KeyName, Held>, name: KeyName, limit: usize) {
        let mut bytes: usize = held.values().map(Held::bytes).sum();
        while bytes > limit {
            let free = held.iter().filter(|(other, held)| **other != name && held.is_free());
            let Some((&oldest, _)) = free.min_by_key(|(_, held)| held.used) else { break };
            bytes -= held.remove(&oldest).map_or(0, |held| held.bytes());
        }
    }

    /// Drops keys that nobody has used for as long as was said, as of `now`.
    pub fn drop_unused(&self, now: Instant) {
        lock(&self.held).retain(|_, held| !held.is_free() || now.saturating_duration_since(held.used) < self.idle);
    }

    /// The names of the keys that are prepared, in order.
    pub fn names(&self) -> Vec<KeyName> {
        let held = lock(&self.held);
        let prepared = held.iter().filter(|(_, held)| matches!(held.keys.get(), Some(Ok(_))));
        let mut names: Vec<KeyName> = prepared.map(|(&name, _)| name).collect();
        names.sort_unstable_by_key(|name| name.0);
        names
    }

    /// Bytes of memory of all prepared keys.
    pub fn bytes(&self) -> usize {
        lock(&self.held).values().map(Held::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::testing::Toy;

    /// Files in memory, and how many were fetched.
    #[derive(Default)]
    struct Files {
        files: Mutex<HashMap<KeyName, Vec<u8>>>,
        fetched: AtomicUsize,
    }

    impl Files {
        fn of(toys: &[Toy]) -> Arc<Self> {
            let files = toys.iter().map(|toy| (toy.name, toy.file.clone())).collect();
            Arc::new(Self { files: Mutex::new(files), fetched: AtomicUsize::new(0) })
        }

        fn fetched(&self) -> usize {
            self.fetched.load(Ordering::SeqCst)
        }
    }

    impl KeySource for Arc<Files> {
        fn fetch(&self, name: KeyName) -> io::Result<KeyStream> {
            self.fetched.fetch_add(1, Ordering::SeqCst);
            // Whoever asks meanwhile has time to come.
            std::thread::sleep(Duration::from_millis(20));
            let file = lock(&self.files).get(&name).cloned().ok_or(io::ErrorKind::NotFound)?;
            Ok(KeyStream { bytes: file.len() as u64, input: Box::new(io::Cursor::new(file)) })
        }
    }

    const IDLE: Duration = Duration::from_secs(60);

    fn get(cache: &KeyCache, toy: &Toy) -> Prepared {
        cache.get(toy.name, toy.sent.identity())
    }

    #[test]
    fn keys_are_fetched_and_prepared_once() {
        let toys = [Toy::new(1)];
        let files = Files::of(&toys);
        let cache = KeyCache::new(Arc::clone(&files), usize::MAX, IDLE);
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| get(&cache, &toys[0]).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|keys| Arc::ptr_eq(keys, &all[0])));
        assert_eq!((files.fetched(), cache.names(), cache.bytes()), (1, vec![toys[0].name], all[0].bytes()));
        assert!(all[0].bytes() > 0);
    }

    #[test]
    fn the_keys_that_were_used_last_stay() {
        let toys = [Toy::new(1), Toy::new(2), Toy::new(3)];
        let files = Files::of(&toys);
        let one = get(&KeyCache::new(Arc::clone(&files), usize::MAX, IDLE), &toys[0]).unwrap().bytes();
        let cache = KeyCache::new(Arc::clone(&files), 2 * one, IDLE);
        let names = |toys: &[usize], all: &[Toy]| {
            let mut names: Vec<_> = toys.iter().map(|&toy| all[toy].name).collect();
            names.sort_unstable_by_key(|name| name.0);
            names
        };
        for (toy, kept) in [(0, &[0][..]), (1, &[0, 1]), (0, &[0, 1]), (2, &[0, 2]), (1, &[1, 2])] {
            get(&cache, &toys[toy]).unwrap();
            assert_eq!(cache.names(), names(kept, &toys), "{toy}");
        }
        // What somebody computes with is not dropped.
        let used = [get(&cache, &toys[1]).unwrap(), get(&cache, &toys[2]).unwrap()];
        get(&cache, &toys[0]).unwrap();
        assert_eq!(cache.names(), names(&[0, 1, 2], &toys));
        drop(used);
        get(&cache, &toys[0]).unwrap();
        assert_eq!(cache.names().len(), 2);

        let small = KeyCache::new(Arc::clone(&files), one - 1, IDLE);
        let refused = get(&small, &toys[0]).unwrap_err().to_string();
        assert!(refused.contains("allow this worker more memory"), "{refused}");
        assert_eq!((small.names(), small.bytes()), (Vec::new(), 0));
        // Nothing was fetched for that: what keys take is known before.
        let fetched = files.fetched();
        assert!(get(&small, &toys[0]).is_err() && files.fetched() == fetched);
    }

    #[test]
    fn keys_that_nobody_uses_are_dropped() {
        let toys = [Toy::new(1), Toy::new(2)];
        let files = Files::of(&toys);
        let cache = KeyCache::new(Arc::clone(&files), usize::MAX, IDLE);
        let begin = Instant::now();
        let used = get(&cache, &toys[0]).unwrap();
        get(&cache, &toys[1]).unwrap();
        cache.drop_unused(begin);
        assert_eq!(cache.names().len(), 2);
        cache.drop_unused(Instant::now() + IDLE);
        assert_eq!(cache.names(), [toys[0].name], "with which somebody computes");
        drop(used);
        cache.drop_unused(Instant::now() + IDLE);
        assert_eq!(cache.bytes(), 0);
        get(&cache, &toys[0]).unwrap();
        assert_eq!(files.fetched(), 3);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let toys = [Toy::new(1), Toy::new(2)];
        let files = Files::of(&toys);
        let cache = KeyCache::new(Arc::clone(&files), usize::MAX, IDLE);
        let file = lock(&files.files).remove(&toys[0].name).unwrap();
        let failed = |expected: &str| {
            let error = get(&cache, &toys[0]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        failed("cannot be fetched: entity not found");
        // Somebody else's file under this name, and a damaged one.
        lock(&files.files).insert(toys[0].name, toys[1].file.clone());
        failed("it belongs to other keys");
        lock(&files.files).insert(toys[0].name, file[..file.len() - 1].to_vec());
        failed("it was cut off");
        lock(&files.files).insert(toys[0].name, file);
        assert!(get(&cache, &toys[0]).is_ok());
        // Keys that are there, by whoever has others.
        let refused = cache.get(toys[0].name, toys[1].sent.identity()).unwrap_err();
        assert!(matches!(refused, KeyError::Identity(_)), "{refused}");
    }
}
