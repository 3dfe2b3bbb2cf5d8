//! sled as the working index; the only file that names it.
//!
//! Why it is held at arm's length: on Linux sled 0.34 calls `sync_file_range`, which makes nothing
//! durable, and reuses segments in an order that relies on it. After a power cut it panics at open
//! or opens empty. So it is opened where a panic is contained, runs behind a guard that ends it at
//! its first failure, never holds the only copy of anything, and its files count after a clean stop only: `close` ends its threads and then syncs
//! every file. Measured: plain inserts are three to five times cheaper than small batches, and a
//! file grows to about five times its rows, so only rows newer than a checkpoint stand here.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Engine, EngineRow, Space};
use crate::runtime::task::panic_text;
use crate::storage::StorageError;

/// Rows in a sled database, one tree for each space.
#[derive(Debug)]
pub struct SledEngine {
    dir: PathBuf,
    // `None` once closed.
    open: RwLock<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    // The trees go first: the database ends its threads with its last handle.
    trees: HashMap<Space, sled::Tree>,
    db: sled::Db,
}

impl SledEngine {
    /// Opens or creates the database in `dir`; a panic of sled becomes an error.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StorageError> {
        let config = sled::Config::default()
            .path(dir)
            .cache_capacity(cache_bytes)
            .mode(sled::Mode::LowSpace)
            .flush_every_ms(Some(1000));
        let db = contain(move || config.open().map_err(failed))??;
        let open = Open { trees: HashMap::new(), db };
        Ok(Self { dir: dir.to_owned(), open: RwLock::new(Some(open)) })
    }

    fn tree(&self, space: Space) -> Result<sled::Tree, StorageError> {
        if let Some(tree) = self.open.read().as_ref().ok_or_else(closed)?.trees.get(&space) {
            return Ok(tree.clone());
        }
        let mut open = self.open.write();
        let open = open.as_mut().ok_or_else(closed)?;
        let tree = open.db.open_tree(space.to_be_bytes()).map_err(failed)?;
        open.trees.insert(space, tree.clone());
        Ok(tree)
    }
}

impl Engine for SledEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let value = self.tree(space)?.get(key).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn insert(
        &self,
        space: Space,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Bytes>, StorageError> {
        let previous = self.tree(space)?.insert(key, value).map_err(failed)?;
        Ok(previous.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let previous = self.tree(space)?.remove(key).map_err(failed)?;
        Ok(previous.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        self.tree(space)?.range(from..).take(limit).map(copied).collect()
    }

    fn scan_back(
        &self,
        space: Space,
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        let tree = self.tree(space)?;
        let rows = match below {
            Some(below) => tree.range(..below),
            None => tree.iter(),
        };
        rows.rev().take(limit).map(copied).collect()
    }

    fn clear(&self, space: Space) -> Result<(), StorageError> {
        let db = {
            let mut open = self.open.write();
            let open = open.as_mut().ok_or_else(closed)?;
            open.trees.remove(&space);
            open.db.clone()
        };
        // Takes a while for a large space: other spaces are read meanwhile.
        db.drop_tree(space.to_be_bytes()).map_err(failed)?;
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        let db = self.open.read().as_ref().ok_or_else(closed)?.db.clone();
        db.flush().map_err(failed)?;
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        directory_bytes(&self.dir).unwrap_or(0)
    }

    fn close(&self) -> Result<(), StorageError> {
        let Some(open) = self.open.write().take() else { return Ok(()) };
        contain(move || {
            open.db.flush().map_err(failed)?;
            drop(open);
            wait_unlocked(&self.dir).map_err(|e| StorageError::io("wait for", &self.dir, e))
        })??;
        sync_files(&self.dir).map_err(|e| StorageError::io("sync working index", &self.dir, e))
    }
}

/// Runs a call of sled on a thread of its own, where a panic is an error.
pub(crate) fn contain<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, StorageError> {
    std::thread::scope(|scope| scope.spawn(work).join()).map_err(|panic| StorageError::Index {
        reason: format!("sled panicked: {}", panic_text(&*panic)),
    })
}

fn copied(row: sled::Result<(sled::IVec, sled::IVec)>) -> Result<EngineRow, StorageError> {
    let (key, value) = row.map_err(failed)?;
    Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
}

fn failed(error: sled::Error) -> StorageError {
    match error {
        sled::Error::Io(source) => StorageError::io("use working index", "index", source),
        other => StorageError::Index { reason: other.to_string() },
    }
}

fn closed() -> StorageError {
    StorageError::Index { reason: "it is closed".to_owned() }
}

/// Waits until nobody has sled's file any more, and with it the lock that the next opening takes: with
/// its last handle sled joins the thread that flushes but not its pool, and a process that was started
/// just now has copies of all open files until it runs its program.
#[allow(clippy::disallowed_methods, reason = "sled's directory is outside of Disk")]
fn wait_unlocked(dir: &Path) -> io::Result<()> {
    let file = fs::File::open(dir.join("db"))?;
    file.lock()?;
    file.unlock()
}

/// What the files take on disk, holes not counted.
fn directory_bytes(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() {
            directory_bytes(&entry.path())?
        } else {
            // `blocks` counts units of 512 bytes on every Unix.
            found.blocks() * 512
        };
    }
    Ok(bytes)
}

fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else {
            fs::OpenOptions::new().read(true).open(&path)?.sync_all()?;
        }
    }
    fs::OpenOptions::new().read(true).open(dir)?.sync_all()
}
