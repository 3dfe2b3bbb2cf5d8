//! The engine contract, run on every engine.

use std::sync::Arc;

use super::*;
use crate::runtime::{Tasks, causes};

fn contract(engine: &dyn Engine) {
    assert_eq!(engine.get(1, b"a").unwrap(), None);
    assert_eq!(engine.insert(1, b"a", b"1").unwrap(), None);
    assert_eq!(engine.insert(1, b"a", b"2").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(engine.insert(2, b"a", b"other space").unwrap(), None);
    engine.insert(1, b"c", b"").unwrap();
    engine.insert(1, b"b", b"3").unwrap();
    assert_eq!(engine.get(1, b"a").unwrap().as_deref(), Some(&b"2"[..]));
    let keys = |from: &[u8], limit| -> Vec<Bytes> {
        engine.scan(1, from, limit).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(b"", 9), ["a", "b", "c"]);
    assert_eq!(keys(b"", 2), ["a", "b"]);
    assert_eq!(keys(b"aa", 9), ["b", "c"]);
    let back = |below: Option<&[u8]>, limit| -> Vec<Bytes> {
        let rows = engine.scan_back(1, below, limit).unwrap();
        rows.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(back(None, 9), ["c", "b", "a"]);
    assert_eq!(back(None, 1), ["c"]);
    assert_eq!(back(Some(b"c"), 9), ["b", "a"]);
    assert_eq!(back(Some(b"bb"), 1), ["b"]);
    assert!(back(Some(b"a"), 9).is_empty());
    assert!(engine.scan_back(3, None, 9).unwrap().is_empty());
    assert_eq!(engine.remove(1, b"b").unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(engine.remove(1, b"b").unwrap(), None);
    assert_eq!(keys(b"", 9), ["a", "c"]);
    engine.clear(1).unwrap();
    assert!(keys(b"", 9).is_empty());
    assert_eq!(engine.get(2, b"a").unwrap().as_deref(), Some(&b"other space"[..]));
    engine.insert(1, b"z", b"again").unwrap();
    assert_eq!(keys(b"", 9), ["z"]);
    engine.flush().unwrap();
}

#[test]
fn the_memory_engine_keeps_the_contract() {
    contract(&MemoryEngine::default());
}

#[test]
fn sled_keeps_the_contract_and_its_rows_after_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let engine = SledEngine::open(&path, 16 << 20).unwrap();
    contract(&engine);
    assert!(engine.disk_bytes() > 0);
    engine.close().unwrap();
    engine.close().unwrap();
    assert!(engine.get(1, b"z").is_err(), "closed");
    let engine = SledEngine::open(&path, 16 << 20).unwrap();
    assert_eq!(engine.get(1, b"z").unwrap().as_deref(), Some(&b"again"[..]));
    assert_eq!(engine.get(2, b"a").unwrap().as_deref(), Some(&b"other space"[..]));
}

#[test]
fn a_closed_sled_opens_again_at_once_while_other_processes_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let reopen = || {
        for round in 0..100_u64 {
            let engine = SledEngine::open(&path, 16 << 20).map_err(|error| causes(&error));
            let engine = engine.unwrap_or_else(|error| panic!("round {round}: {error}"));
            for row in 0..20_u64 {
                engine.insert(row % 3, &row.to_be_bytes(), &round.to_be_bytes()).unwrap();
            }
            engine.close().unwrap();
        }
    };
    let mut started = 0;
    std::thread::scope(|scope| {
        let reopening = scope.spawn(reopen);
        while !reopening.is_finished() {
            assert!(std::process::Command::new("true").status().unwrap().success());
            started += 1;
        }
    });
    assert!(started > 0);
}

/// Panics or fails at the next call once told to.
#[derive(Debug, Default)]
pub(crate) struct Breakable {
    rows: MemoryEngine,
    mood: parking_lot::Mutex<Mood>,
    calls: std::sync::atomic::AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Mood {
    #[default]
    Good,
    Fails,
    Panics,
}

impl Breakable {
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    fn mood(&self) -> Result<(), StorageError> {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mood = *self.mood.lock();
        match mood {
            Mood::Good => Ok(()),
            Mood::Fails => Err(StorageError::Index { reason: "a page is bad".to_owned() }),
            Mood::Panics => panic!("a page is very bad"),
        }
    }
}

impl Engine for Arc<Breakable> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.mood()?;
        self.rows.get(space, key)
    }

    fn insert(
        &self,
        space: Space,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Bytes>, StorageError> {
        self.mood()?;
        self.rows.insert(space, key, value)
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.mood()?;
        self.rows.remove(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        self.mood()?;
        self.rows.scan(space, from, limit)
    }

    fn scan_back(
        &self,
        space: Space,
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        self.mood()?;
        self.rows.scan_back(space, below, limit)
    }

    fn clear(&self, space: Space) -> Result<(), StorageError> {
        self.mood()?;
        self.rows.clear(space)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.mood()
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn close(&self) -> Result<(), StorageError> {
        self.mood()
    }
}

#[test]
fn a_guarded_engine_keeps_the_contract() {
    let tasks = Tasks::default();
    contract(&GuardedEngine::new(MemoryEngine::default(), Failure::default(), tasks));
}

#[test]
fn the_first_error_or_panic_of_an_engine_is_its_last_word_and_stops_the_node() {
    for (mood, said) in [(Mood::Fails, "a page is bad"), (Mood::Panics, "a page is very bad")] {
        let (engine, failure) = (Arc::new(Breakable::default()), Failure::default());
        let tasks = Tasks::default();
        let guarded = GuardedEngine::new(engine.clone(), failure.clone(), tasks.clone());
        guarded.insert(1, b"k", b"v").unwrap();
        engine.set(mood);
        let first = guarded.get(1, b"k").unwrap_err();
        assert!(matches!(first, StorageError::Index { .. }) && first.to_string().contains(said));
        let reason = tasks.failure().unwrap();
        assert!(reason.contains(said) && reason.contains("a restart"), "{reason}");
        assert_eq!(*failure.lock(), Some(reason));
        engine.set(Mood::Good);
        let calls = engine.calls.load(std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(guarded.get(1, b"k"), Err(StorageError::Poisoned { .. })));
        assert!(guarded.close().is_err(), "so that no clean marker is written");
        assert_eq!(engine.calls.load(std::sync::atomic::Ordering::Relaxed), calls);
    }
}

#[test]
fn calls_after_a_close_fail_but_are_no_reason_to_stop_the_node() {
    let (engine, tasks) = (Arc::new(Breakable::default()), Tasks::default());
    let guarded = GuardedEngine::new(engine.clone(), Failure::default(), tasks.clone());
    guarded.close().unwrap();
    engine.set(Mood::Fails);
    assert!(guarded.get(1, b"k").is_err());
    assert!(tasks.failure().is_none());
}

#[test]
fn a_sled_that_cannot_open_is_an_error_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    std::fs::write(&path, b"a file where the directory should be").unwrap();
    assert!(SledEngine::open(&path, 16 << 20).is_err());
}
