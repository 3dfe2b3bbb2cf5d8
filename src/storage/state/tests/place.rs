//! Where a state under test lives, and short words for what tests do with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::runtime::Env;
use crate::runtime::metrics::Metrics;
use crate::storage::checkpoint::{Applied, Checkpoint, Receiver};
use crate::storage::disk::RealDisk;
use crate::storage::state::{State, StateMetrics, StateOptions};
use crate::storage::{Disk, Effect, StorageError};

/// A directory, and whether the working index is sled's or in memory.
pub(super) struct Place {
    dir: tempfile::TempDir,
    sled: bool,
}

impl Place {
    pub(super) fn in_memory() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), sled: false }
    }

    pub(super) fn on_sled() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), sled: true }
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(RealDisk::new(self.root()).unwrap())
    }

    pub(super) fn open(&self) -> State {
        self.try_open().unwrap()
    }

    pub(super) fn try_open(&self) -> Result<State, StorageError> {
        let root: Option<PathBuf> = self.sled.then(|| self.root().to_owned());
        let options = StateOptions { index_cache_bytes: 16 << 20, ..Default::default() };
        let metrics = StateMetrics::new(&Metrics::default());
        State::open(self.disk(), root, options, &Env::system(), metrics, &|_| {})
    }

    /// The same files in another place.
    pub(super) fn copy(&self) -> Self {
        let copy = Self { dir: tempfile::tempdir().unwrap(), sled: self.sled };
        copy_dir(self.root(), copy.root());
        copy
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn applied(index: u64) -> Applied {
    Applied { index, mark: Bytes::from(format!("mark {index}")) }
}

pub(super) fn put(state: &State, group: u64, index: u64, key: &str, value: Option<&str>) {
    let effect = Effect::plain(
        Bytes::copy_from_slice(key.as_bytes()),
        value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
    );
    let done = state.apply(group, |applying| {
        applying.put_effects(index, vec![effect]);
        applying.set_applied(applied(index));
        Ok(())
    });
    done.unwrap();
}

pub(super) fn value_of(state: &State, group: u64, key: &str) -> Option<Bytes> {
    state.get(group, key.as_bytes()).unwrap().value
}

/// Writes all memtables to the working index now.
pub(super) fn flush_all(state: &State) {
    let inner = &*state.0.inner;
    while inner.flush_largest().unwrap() {}
}

/// Sends a checkpoint's bytes as another node would.
pub(super) fn transfer(
    checkpoint: &Checkpoint,
    mut receiver: Receiver,
) -> Result<Checkpoint, StorageError> {
    let mut reader = checkpoint.open()?;
    while let Some(chunk) = reader.read(1000)? {
        receiver.write(&chunk)?;
    }
    receiver.finish()
}

pub(super) fn send(checkpoint: &Checkpoint, to: &State) {
    let group = checkpoint.group();
    let received = transfer(checkpoint, to.receive(group).unwrap()).unwrap();
    to.install(group, received).unwrap();
}
