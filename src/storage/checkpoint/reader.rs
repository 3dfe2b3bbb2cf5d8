//! Reads a checkpoint's file: its outline (header and footer), and its bytes for sending.
//!
//! Promises: memory is bounded by one chunk; a file that is shorter than its handle says is
//! reported as corrupt with its path and offset.

use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::format::{self, FOOTER_BYTES, Footer};
use super::{Applied, Checkpoint, Written};
use crate::storage::{Disk, DiskFile, GroupId, OpenMode, StorageError};

/// Reads a checkpoint's file from its start, as bytes.
#[derive(Debug)]
pub struct CheckpointReader {
    // Holds the file in place: it is removed only when no handle is left.
    checkpoint: Checkpoint,
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl CheckpointReader {
    pub(super) fn new(checkpoint: Checkpoint, file: Arc<dyn DiskFile>) -> Self {
        Self { checkpoint, file, offset: 0 }
    }

    /// The next bytes, at most `max` of them; `None` at the end. Blocks.
    pub fn read(&mut self, max: usize) -> Result<Option<Bytes>, StorageError> {
        let left = self.checkpoint.bytes().saturating_sub(self.offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(max);
        if want == 0 {
            return Ok(None);
        }
        let bytes = read_exactly(&*self.file, &self.checkpoint.path(), self.offset, want)?;
        self.offset += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// What the start and the end of a checkpoint file say.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) group: GroupId,
    pub(super) applied: Applied,
    pub(super) first_block: u64,
    pub(super) footer_offset: u64,
    pub(super) footer: Footer,
}

pub(super) fn outline(file: &dyn DiskFile, path: &Path) -> Result<Outline, StorageError> {
    let len = file.len().map_err(|e| StorageError::io("read checkpoint", path, e))?;
    let mut read = |offset, want| read_exactly(file, path, offset, want);
    let (group, applied, first_block) = format::decode_header(path, &mut read)?;
    let footer_offset = len.saturating_sub(FOOTER_BYTES as u64);
    if footer_offset < first_block {
        return Err(format::corrupt(path, len, "the file ends before its footer"));
    }
    let bytes = read(footer_offset, FOOTER_BYTES)?;
    let footer = format::decode_footer(path, footer_offset, bytes)?;
    if footer.index_offset < first_block || footer.index_offset > footer_offset {
        return Err(format::corrupt(path, footer_offset, "the index lies outside of the file"));
    }
    Ok(Outline { group, applied, first_block, footer_offset, footer })
}

/// Opens a file and checks its header and footer only.
pub(super) fn inspect(disk: &dyn Disk, path: &Path) -> Result<Written, StorageError> {
    let file = open(disk, path)?;
    let found = outline(&*file, path)?;
    Ok(Written {
        path: path.to_owned(),
        group: found.group,
        applied: found.applied,
        bytes: found.footer_offset + FOOTER_BYTES as u64,
        tally: found.footer.tally,
    })
}

pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>, StorageError> {
    disk.open(path, OpenMode::Read).map_err(|e| StorageError::io("open checkpoint", path, e))
}

pub(super) fn read_exactly(
    file: &dyn DiskFile,
    path: &Path,
    offset: u64,
    want: usize,
) -> Result<Bytes, StorageError> {
    let mut buffer = BytesMut::zeroed(want);
    fill(file, path, offset, &mut buffer)?;
    Ok(buffer.freeze())
}

/// Reads as many bytes as the buffer has.
pub(super) fn fill(
    file: &dyn DiskFile,
    path: &Path,
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), StorageError> {
    let want = buffer.len();
    let got =
        file.read_at(offset, buffer).map_err(|e| StorageError::io("read checkpoint", path, e))?;
    if got < want {
        let reason = format!("the file ends within {want} bytes that must be there");
        return Err(format::corrupt(path, offset + got as u64, &reason));
    }
    Ok(())
}
