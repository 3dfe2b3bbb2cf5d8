//! Segment files: their names, and the stock of empty ones.
//!
//! Why it exists: emptied segments are used again, since a file of full size is quicker to sync than
//! one that grows (`fill` makes the new ones).
//!
//! Promises: a renamed file is written to only after the directory was synced, so that a power cut
//! never finds new content under an old name. Whatever stands in a spare is never read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fill::Filler;
use crate::runtime::Tasks;
use crate::storage::{Disk, DiskFile, OpenMode, StorageError};

/// A segment file in use.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) seq: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) len: u64,
}

/// The name of a segment.
pub(super) fn segment_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("segment-{seq:010}.log"))
}

/// The number in a segment's name.
pub(super) fn segment_seq(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix("segment-")?.strip_suffix(".log")?.parse().ok()
}

fn spare_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("spare-{number:010}.log"))
}

fn spare_number(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix("spare-")?.strip_suffix(".log")?.parse().ok()
}

/// The stock of files for segments to come.
#[derive(Debug)]
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes: u64,
    free: Vec<PathBuf>,
    next_number: u64,
    filler: Filler,
}

impl Spares {
    /// Takes stock of a directory; spares of another size are removed.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        names: &[PathBuf],
        bytes: u64,
    ) -> Result<Self, StorageError> {
        let mut spares = Self {
            filler: Filler::new(Arc::clone(&disk), bytes),
            disk,
            dir: dir.to_owned(),
            bytes,
            free: Vec::new(),
            next_number: 0,
        };
        for name in names {
            let Some(number) = spare_number(name) else { continue };
            spares.next_number = spares.next_number.max(number);
            let path = dir.join(name);
            let len = spares
                .disk
                .open(&path, OpenMode::Read)
                .and_then(|file| file.len())
                .map_err(|error| StorageError::io("read log spare", &path, error))?;
            if len == bytes {
                spares.free.push(path);
            } else {
                spares.remove(&path)?;
            }
        }
        Ok(spares)
    }

    /// Whole files in stock.
    pub(super) fn len(&self) -> usize {
        self.free.len()
    }

    /// From now on new files are filled on a thread of their own.
    pub(super) fn fill_aside(&mut self, tasks: &Tasks) {
        self.filler.set_aside(tasks);
    }

    /// Puts an emptied segment in stock, or removes it.
    pub(super) fn give(&mut self, path: &Path, len: u64, max: usize) -> Result<(), StorageError> {
        if len == self.bytes && self.free.len() < max {
            let spare = next_path(&self.dir, &mut self.next_number);
            self.disk
                .rename(path, &spare)
                .map_err(|error| StorageError::io("recycle log segment", path, error))?;
            self.free.push(spare);
        } else {
            self.remove(path)?;
        }
        self.sync_dir()
    }

    /// Goes on filling the next file, by hand up to `target` bytes, unless one is in stock.
    pub(super) fn prepare(&mut self, target: u64) -> Result<(), StorageError> {
        if self.free.is_empty() {
            let next_path = || next_path(&self.dir, &mut self.next_number);
            self.free.extend(self.filler.advance(target, next_path)?);
        }
        Ok(())
    }

    /// Turns a spare into a segment; its header is still to be written.
    pub(super) fn take(&mut self, seq: u64) -> Result<Segment, StorageError> {
        let spare = match self.free.pop() {
            Some(spare) => spare,
            None => self.filler.wait(|| next_path(&self.dir, &mut self.next_number))?,
        };
        let path = segment_path(&self.dir, seq);
        self.disk
            .rename(&spare, &path)
            .map_err(|error| StorageError::io("rename log segment", &spare, error))?;
        self.sync_dir()?;
        let file = self
            .disk
            .open(&path, OpenMode::ReadWrite)
            .map_err(|error| StorageError::io("open log segment", &path, error))?;
        Ok(Segment { seq, path, file, len: self.bytes })
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        self.disk.remove(path).map_err(|error| StorageError::io("remove log segment", path, error))
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.disk
            .sync_dir(&self.dir)
            .map_err(|error| StorageError::io("sync log directory", &self.dir, error))
    }
}

fn next_path(dir: &Path, number: &mut u64) -> PathBuf {
    *number += 1;
    spare_path(dir, *number)
}
