//! Where checkpoints stand: `checkpoints/g<group>/<applied index>.ckpt`, and which one is current.
//!
//! Promises: publishing is atomic and durable (rename, then sync of the directory); at open,
//! temporary and superseded files are removed, and the newest of each group is current and durable,
//! also after a process that ended between rename and sync. A newest file with a damaged header or
//! footer refuses to open: the log behind it may be gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::format::corrupt;
use super::{Checkpoint, Receiver, Written, reader, remove_quietly};
use crate::storage::{Disk, GroupId, StorageError};

const ROOT: &str = "checkpoints";

/// All checkpoints of a node.
#[derive(Debug)]
pub(crate) struct Shelf {
    disk: Arc<dyn Disk>,
    current: Mutex<BTreeMap<GroupId, Checkpoint>>,
    next_temporary: AtomicU64,
}

impl Shelf {
    /// Finds the newest checkpoint of every group and removes the rest.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, StorageError> {
        let shelf =
            Self { disk, current: Mutex::new(BTreeMap::new()), next_temporary: AtomicU64::new(0) };
        let names = shelf.list(Path::new(ROOT))?;
        if !names.is_empty() {
            shelf.sync_above()?;
        }
        for name in names {
            let Some(group) = group_of(&name) else { continue };
            // What a start finds may be a name that only the cache knows: the process before ended,
            // or failed, between rename and sync. Nobody may purge a log behind such a file.
            shelf.sync(&directory(group))?;
            if let Some(newest) = shelf.newest(group)? {
                shelf.current.lock().insert(group, newest);
            }
        }
        Ok(shelf)
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.current.lock().keys().copied().collect()
    }

    pub(crate) fn current(&self, group: GroupId) -> Option<Checkpoint> {
        self.current.lock().get(&group).cloned()
    }

    /// Bytes of all current files.
    pub(crate) fn bytes(&self) -> u64 {
        self.current.lock().values().map(Checkpoint::bytes).sum()
    }

    /// A name nobody else uses, in the group's directory, which is made if it is missing.
    pub(crate) fn temporary(&self, group: GroupId) -> Result<PathBuf, StorageError> {
        let dir = directory(group);
        self.disk
            .create_dir(&dir)
            .map_err(|e| StorageError::io("create checkpoint directory", &dir, e))?;
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        Ok(dir.join(format!("{number}.tmp")))
    }

    pub(crate) fn receive(&self, group: GroupId) -> Result<Receiver, StorageError> {
        Receiver::create(self, group)
    }

    /// Gives a finished file its place and makes it the current one; durable when it returns.
    pub(crate) fn publish(&self, written: Written) -> Result<Checkpoint, StorageError> {
        let place = self.rename(&written.path, written.group, written.applied.index)?;
        let checkpoint = Checkpoint::placed(self.disk.clone(), Written { path: place, ..written });
        self.make_current(checkpoint.clone());
        Ok(checkpoint)
    }

    /// The same for a received one.
    pub(crate) fn adopt(&self, received: Checkpoint) -> Result<Checkpoint, StorageError> {
        let place = self.rename(&received.path(), received.group(), received.applied().index)?;
        received.place(place);
        self.make_current(received.clone());
        Ok(received)
    }

    /// Forgets a group, durably unless somebody still reads its file: that goes with its last
    /// handle. The directory stays.
    pub(crate) fn forget(&self, group: GroupId) -> Result<(), StorageError> {
        let removed = self.current.lock().remove(&group);
        let Some(old) = removed else { return Ok(()) };
        old.doom();
        drop(old);
        self.sync(&directory(group))
    }

    fn make_current(&self, checkpoint: Checkpoint) {
        let old = self.current.lock().insert(checkpoint.group(), checkpoint);
        // Outside the lock: the last handle removes a file when it is dropped.
        if let Some(old) = old {
            old.doom();
        }
    }

    fn rename(&self, from: &Path, group: GroupId, index: u64) -> Result<PathBuf, StorageError> {
        let dir = directory(group);
        // A second checkpoint at the same index (an install of what is here already) must not
        // replace a file that somebody may be reading.
        let taken: Vec<(u64, u64)> =
            self.list(&dir)?.iter().filter_map(|name| place_of(name)).collect();
        let copy = taken.iter().filter(|(i, _)| *i == index).map(|(_, copy)| copy + 1).max();
        let place = match copy {
            None => dir.join(format!("{index:020}.ckpt")),
            Some(copy) => dir.join(format!("{index:020}-{copy}.ckpt")),
        };
        self.disk
            .rename(from, &place)
            .map_err(|e| StorageError::io("rename checkpoint", &place, e))?;
        // The directories above are synced too: the first checkpoint of a group made them.
        self.sync(&dir)?;
        self.sync_above()?;
        Ok(place)
    }

    fn sync_above(&self) -> Result<(), StorageError> {
        self.sync(Path::new(ROOT))?;
        self.sync(Path::new(""))
    }

    fn sync(&self, dir: &Path) -> Result<(), StorageError> {
        self.disk.sync_dir(dir).map_err(|e| StorageError::io("sync checkpoint directory", dir, e))
    }

    fn newest(&self, group: GroupId) -> Result<Option<Checkpoint>, StorageError> {
        let dir = directory(group);
        let mut places = Vec::new();
        for name in self.list(&dir)? {
            let path = dir.join(&name);
            if let Some(place) = place_of(&name) {
                places.push((place, path));
            } else if name.extension().is_some_and(|e| e == "tmp") {
                remove_quietly(&*self.disk, &path);
            }
        }
        places.sort();
        let Some(((index, _), path)) = places.pop() else { return Ok(None) };
        let written = reader::inspect(&*self.disk, &path)?;
        if (written.group, written.applied.index) != (group, index) {
            return Err(corrupt(&path, 0, "its header says another group or index than its name"));
        }
        for (_, old) in places {
            remove_quietly(&*self.disk, &old);
        }
        Ok(Some(Checkpoint::placed(self.disk.clone(), written)))
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
        let names =
            self.disk.list(dir).map_err(|e| StorageError::io("list checkpoints in", dir, e))?;
        // Tolerates disks that list whole paths.
        Ok(names.iter().filter_map(|name| name.file_name().map(PathBuf::from)).collect())
    }
}

fn directory(group: GroupId) -> PathBuf {
    Path::new(ROOT).join(format!("g{group}"))
}

fn group_of(name: &Path) -> Option<GroupId> {
    name.to_str()?.strip_prefix('g')?.parse().ok()
}

/// Index and copy number of a checkpoint's file name.
fn place_of(name: &Path) -> Option<(u64, u64)> {
    let stem = name.to_str()?.strip_suffix(".ckpt")?;
    match stem.split_once('-') {
        None => Some((stem.parse().ok()?, 0)),
        Some((index, copy)) => Some((index.parse().ok()?, copy.parse().ok()?)),
    }
}
