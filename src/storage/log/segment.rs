//! Segment files: their names, the stock of empty ones, and filling new ones with zeros.
//!
//! Why it exists: a sync of a file whose size does not change costs about two thirds of one that
//! grows, so segments have their full size before they are used, and emptied ones are used again.
//!
//! Promises: a renamed file is written to only after the directory was synced, so that a power cut
//! never finds new content under an old name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::{Disk, DiskFile, OpenMode, StorageError};

const ZEROS: &[u8] = &[0; 256 * 1024];
/// Bytes of zeros after which a file being prepared is synced, so that no single sync is long.
const FILL_SYNC_BYTES: u64 = 4 * 1024 * 1024;

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

/// A file that is being filled with zeros.
#[derive(Debug)]
struct Filling {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    filled: u64,
    synced: u64,
}

/// The stock of files for segments to come.
#[derive(Debug)]
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes: u64,
    free: Vec<PathBuf>,
    next_number: u64,
    filling: Option<Filling>,
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
            disk,
            dir: dir.to_owned(),
            bytes,
            free: Vec::new(),
            next_number: 0,
            filling: None,
        };
        for name in names {
            let Some(number) = spare_number(name) else { continue };
            spares.next_number = spares.next_number.max(number + 1);
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

    /// Puts an emptied segment in stock, or removes it.
    pub(super) fn give(&mut self, path: &Path, len: u64, max: usize) -> Result<(), StorageError> {
        if len == self.bytes && self.free.len() < max {
            let spare = self.next_path();
            self.disk
                .rename(path, &spare)
                .map_err(|error| StorageError::io("recycle log segment", path, error))?;
            self.free.push(spare);
        } else {
            self.remove(path)?;
        }
        // One sync per name: were several lost in part, a hole in the sequence would be found.
        self.sync_dir()
    }

    /// Fills the next file up to `target` bytes, unless one is in stock.
    pub(super) fn prepare(&mut self, target: u64) -> Result<(), StorageError> {
        if !self.free.is_empty() {
            return Ok(());
        }
        match self.fill(target) {
            Ok(()) => Ok(()),
            Err(error) => {
                // The half-filled file gives its bytes back, which others may need more.
                if let Some(filling) = self.filling.take() {
                    self.remove(&filling.path)?;
                }
                Err(error)
            }
        }
    }

    fn fill(&mut self, target: u64) -> Result<(), StorageError> {
        if self.filling.is_none() {
            let path = self.next_path();
            let file = self
                .disk
                .open(&path, OpenMode::Create)
                .map_err(|error| StorageError::io("create log segment", &path, error))?;
            self.filling = Some(Filling { path, file, filled: 0, synced: 0 });
        }
        let bytes = self.bytes;
        let Some(filling) = &mut self.filling else { return Ok(()) };
        let failed = |error| StorageError::io("preallocate log segment", &filling.path, error);
        while filling.filled < target.min(bytes) {
            let left = usize::try_from(bytes - filling.filled).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..left).unwrap_or(ZEROS);
            filling.file.write_at(filling.filled, zeros).map_err(failed)?;
            filling.filled += zeros.len() as u64;
            if filling.filled == bytes || filling.filled - filling.synced >= FILL_SYNC_BYTES {
                filling.file.sync().map_err(failed)?;
                filling.synced = filling.filled;
            }
        }
        if filling.filled >= bytes
            && let Some(filling) = self.filling.take()
        {
            self.free.push(filling.path);
        }
        Ok(())
    }

    /// Turns a spare into a segment; its header is still to be written.
    pub(super) fn take(&mut self, seq: u64) -> Result<Segment, StorageError> {
        self.prepare(self.bytes)?;
        let spare = self.free.pop().expect("prepare leaves at least one whole file in stock");
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

    fn next_path(&mut self) -> PathBuf {
        self.next_number += 1;
        spare_path(&self.dir, self.next_number)
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
