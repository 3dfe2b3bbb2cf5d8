//! Receives a checkpoint from another node into a temporary file.
//!
//! Promises: `finish` returns a checkpoint only after every checksum in it matched and it is synced;
//! it belongs to the expected group. It takes its place only by `State::install`; a receiver or a
//! received checkpoint that is dropped removes its file.

use std::path::PathBuf;
use std::sync::Arc;

use super::format::corrupt;
use super::{Checkpoint, Shelf, Table, reader};
use crate::storage::{Disk, DiskFile, GroupId, StorageError};

/// An unfinished file from elsewhere.
#[derive(Debug)]
pub struct Receiver {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    path: Option<PathBuf>,
    group: GroupId,
    offset: u64,
}

impl Receiver {
    pub(super) fn create(shelf: &Shelf, group: GroupId) -> Result<Self, StorageError> {
        let path = shelf.temporary(group)?;
        let disk = shelf.disk();
        let file = disk
            .open(&path, crate::storage::OpenMode::Create)
            .map_err(|e| StorageError::io("create received checkpoint", &path, e))?;
        Ok(Self { disk, file, path: Some(path), group, offset: 0 })
    }

    /// Appends the next bytes of the file. Blocks.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.path.clone().unwrap_or_default();
        self.file
            .write_at(self.offset, bytes)
            .map_err(|e| StorageError::io("write received checkpoint", path, e))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Verifies every checksum and makes the file durable. Blocks.
    pub fn finish(mut self) -> Result<Checkpoint, StorageError> {
        let path = self.path.clone().unwrap_or_default();
        self.file.sync().map_err(|e| StorageError::io("sync received checkpoint", &path, e))?;
        let written = reader::inspect(&*self.disk, &path)?;
        Table::open(&*self.disk, &path)?.verify()?;
        if written.group != self.group {
            let reason = format!("it is of group {}, not {}", written.group, self.group);
            return Err(corrupt(&path, 0, &reason));
        }
        self.path = None;
        Ok(Checkpoint::received(self.disk.clone(), written))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            super::remove_quietly(&*self.disk, &path);
        }
    }
}
