//! Checkpoints: one sorted, checksummed file per group and applied index.
//!
//! Why it exists: together with the log this is the truth of a node. The log is purged only behind
//! a durable checkpoint; the same file is the snapshot that a follower is sent.
//!
//! Promises: a file under its final name is complete and durable; a [`Checkpoint`] handle keeps its
//! file in place; an older file is removed once a newer durable one exists and nobody holds it.
//! Relies on: `Disk`, whose rename is atomic.

mod format;
mod reader;
mod receive;
mod shelf;
mod table;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Disk, GroupId, StorageError};

pub(crate) use format::HISTORY;
pub use format::Tally;
pub use reader::CheckpointReader;
pub use receive::Receiver;
pub(crate) use shelf::Shelf;
pub(crate) use table::Table;
pub(crate) use writer::Writer;

/// Up to where a group's log has been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The index of the last applied entry.
    pub index: u64,
    /// What the owner wants to find beside it (log id, membership); opaque here.
    pub mark: Bytes,
}

/// A complete file, wherever it stands.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    pub(crate) group: GroupId,
    pub(crate) applied: Applied,
    pub(crate) bytes: u64,
    pub(crate) tally: Tally,
}

/// A durable checkpoint; cheap to clone. The file stays as long as a handle does.
#[derive(Clone, Debug)]
pub struct Checkpoint(Arc<Held>);

#[derive(Debug)]
struct Held {
    disk: Arc<dyn Disk>,
    written: Written,
    // Changes once: from the temporary to the final place, when a received file is installed.
    path: Mutex<PathBuf>,
    // Set when a newer one is durable, and for a received file until it is installed.
    doomed: AtomicBool,
}

impl Checkpoint {
    fn placed(disk: Arc<dyn Disk>, written: Written) -> Self {
        Self::held(disk, written, false)
    }

    fn received(disk: Arc<dyn Disk>, written: Written) -> Self {
        Self::held(disk, written, true)
    }

    fn held(disk: Arc<dyn Disk>, written: Written, doomed: bool) -> Self {
        let path = Mutex::new(written.path.clone());
        Self(Arc::new(Held { disk, written, path, doomed: AtomicBool::new(doomed) }))
    }

    /// The group whose rows it holds.
    pub fn group(&self) -> GroupId {
        self.0.written.group
    }

    /// Up to where its rows reflect the log.
    pub fn applied(&self) -> &Applied {
        &self.0.written.applied
    }

    /// The length of its file.
    pub fn bytes(&self) -> u64 {
        self.0.written.bytes
    }

    /// How many rows it holds.
    pub fn rows(&self) -> u64 {
        self.0.written.tally.rows
    }

    /// The order-free sum of its rows' hashes: equal on replicas that agree.
    pub fn digest(&self) -> u64 {
        self.0.written.tally.digest
    }

    /// Rows, digest and bytes of the rows.
    pub fn tally(&self) -> Tally {
        self.0.written.tally
    }

    /// Where it stands, relative to the data directory.
    pub fn path(&self) -> PathBuf {
        self.0.path.lock().clone()
    }

    /// Reads its file from the start.
    pub fn open(&self) -> Result<CheckpointReader, StorageError> {
        let file = reader::open(&*self.0.disk, &self.path())?;
        Ok(CheckpointReader::new(self.clone(), file))
    }

    fn doom(&self) {
        self.0.doomed.store(true, Ordering::Release);
    }

    fn place(&self, path: PathBuf) {
        *self.0.path.lock() = path;
        self.0.doomed.store(false, Ordering::Release);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire) {
            remove_quietly(&*self.disk, &self.path.lock());
        }
    }
}

/// Removes a file that no longer counts; if that fails the next open removes it.
fn remove_quietly(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove(path) {
        tracing::warn!(path = %path.display(), %error, "a file that is not needed stays for now");
    }
}
