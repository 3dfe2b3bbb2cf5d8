//! An engine whose first failure, error or panic, is its last word.
//!
//! Why it exists: sled answers damage with a panic at any point, and a sled that has failed once may
//! answer anything. Nothing is lost by giving it up, because it never holds the only copy: the node
//! stops, and its next start throws the index away and applies the log again.
//!
//! Promises: no panic of the engine leaves it; after the first failure no call reaches the engine,
//! every one gets that failure, and the node has been told to stop with the reason.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Engine, EngineRow, Space};
use crate::runtime::Tasks;
use crate::runtime::task::panic_text;
use crate::storage::StorageError;

/// The first failure of a state, in words; its engine and what stands above share it.
pub type Failure = Arc<Mutex<Option<String>>>;

/// Any engine, behind a guard.
#[derive(Debug)]
pub struct GuardedEngine<E> {
    engine: E,
    failure: Failure,
    tasks: Tasks,
    /// After a close every call fails, and that is nobody's fault. Also lets calls pass that do not
    /// need the lock of `failure`: a lookup must not meet others there.
    closed: AtomicBool,
    failed: AtomicBool,
}

impl<E: Engine> GuardedEngine<E> {
    /// Guards an engine; `failure` is set and `tasks` are stopped when it fails.
    pub fn new(engine: E, failure: Failure, tasks: Tasks) -> Self {
        Self { engine, failure, tasks, closed: false.into(), failed: false.into() }
    }

    fn guard<T>(
        &self,
        call: impl FnOnce(&E) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if self.failed.load(Ordering::Acquire) {
            let reason = self.failure.lock().clone().unwrap_or_default();
            return Err(StorageError::Poisoned { reason });
        }
        let error = match catch_unwind(AssertUnwindSafe(|| call(&self.engine))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(panic) => {
                StorageError::Index { reason: format!("it panicked: {}", panic_text(&*panic)) }
            }
        };
        if !self.closed.load(Ordering::Acquire) {
            let reason = format!("{error}; a restart makes it anew from checkpoints and log");
            self.failure.lock().get_or_insert(reason.clone());
            self.failed.store(true, Ordering::Release);
            self.tasks.fail(reason);
        }
        Err(error)
    }
}

impl<E: Engine> Engine for GuardedEngine<E> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.guard(|engine| engine.get(space, key))
    }

    fn insert(
        &self,
        space: Space,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Bytes>, StorageError> {
        self.guard(|engine| engine.insert(space, key, value))
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.guard(|engine| engine.remove(space, key))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        self.guard(|engine| engine.scan(space, from, limit))
    }

    fn scan_back(
        &self,
        space: Space,
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        self.guard(|engine| engine.scan_back(space, below, limit))
    }

    fn clear(&self, space: Space) -> Result<(), StorageError> {
        self.guard(|engine| engine.clear(space))
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.guard(Engine::flush)
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    fn close(&self) -> Result<(), StorageError> {
        let closed = self.guard(Engine::close);
        self.closed.store(true, Ordering::Release);
        closed
    }
}
