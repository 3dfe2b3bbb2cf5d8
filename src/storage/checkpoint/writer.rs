//! Writes a checkpoint to a temporary name in bounded memory.
//!
//! Blocks are gathered into larger writes, since one system call for each would cost more than the
//! block. Promises: after `finish` the file is complete and synced, under its temporary name; giving it
//! its place is the shelf's part. A writer that is dropped early leaves only a temporary file,
//! which is removed at the next open.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::format::{self, BLOCK_HEAD, Footer, HISTORY, ROW_HEAD, Tally};
use super::{Applied, Written};
use crate::runtime::limits::{
    CHECKPOINT_BLOCK_BYTES, CHECKPOINT_SYNC_BYTES, CHECKPOINT_WRITE_BYTES,
};
use crate::storage::{Disk, DiskFile, GroupId, OpenMode, StorageError};

/// An unfinished checkpoint.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    group: GroupId,
    applied: Applied,
    offset: u64,
    synced: u64,
    pending: BytesMut,
    block: BytesMut,
    // One entry a block: about one byte for every forty of rows.
    index: BytesMut,
    tally: Tally,
    in_history: bool,
}

impl Writer {
    /// Creates the file and writes the header.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: PathBuf,
        group: GroupId,
        applied: Applied,
    ) -> Result<Self, StorageError> {
        let file = disk
            .open(&path, OpenMode::Create)
            .map_err(|e| StorageError::io("create checkpoint", &path, e))?;
        let block = BytesMut::with_capacity(CHECKPOINT_BLOCK_BYTES + BLOCK_HEAD);
        let (pending, index, tally) = (BytesMut::new(), BytesMut::new(), Tally::default());
        let (offset, synced, in_history) = (0, 0, false);
        let mut writer = Self {
            file,
            path,
            group,
            applied,
            offset,
            synced,
            pending,
            block,
            index,
            tally,
            in_history,
        };
        let header = format::encode_header(group, &writer.applied);
        writer.write(&header)?;
        writer.start_block();
        Ok(writer)
    }

    /// Adds a row; keys ascend, all below [`HISTORY`].
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.tally.add(key, value);
        self.put(key, value)
    }

    /// Adds a row of the history, behind all others; keys ascend, all from [`HISTORY`] on.
    pub(crate) fn push_history(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        assert!(key >= &[HISTORY][..], "a row of the history stands behind all other rows");
        if !self.in_history {
            self.in_history = true;
            if self.block.len() > BLOCK_HEAD {
                self.end_block()?;
            }
        }
        self.put(key, value)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        if self.block.len() > BLOCK_HEAD
            && self.block.len() + ROW_HEAD + key.len() + value.len() > CHECKPOINT_BLOCK_BYTES
        {
            self.end_block()?;
        }
        if self.block.len() == BLOCK_HEAD {
            self.index.put_u64_le(self.offset);
            self.index.put_u32_le(format::length(key.len()));
            self.index.put_slice(key);
        }
        self.block.put_u32_le(format::length(key.len()));
        self.block.put_u32_le(format::length(value.len()));
        self.block.put_slice(key);
        self.block.put_slice(value);
        Ok(())
    }

    /// Writes the footer and syncs the file.
    pub(crate) fn finish(mut self) -> Result<Written, StorageError> {
        if self.block.len() > BLOCK_HEAD {
            self.end_block()?;
        }
        let index = std::mem::take(&mut self.index);
        let footer = Footer {
            index_offset: self.offset,
            tally: self.tally,
            index_crc: crc32c::crc32c(&index),
        };
        self.write(&index)?;
        self.write(&format::encode_footer(&footer))?;
        self.write_pending()?;
        self.sync()?;
        Ok(Written {
            path: self.path,
            group: self.group,
            applied: self.applied,
            bytes: self.offset,
            tally: self.tally,
        })
    }

    fn start_block(&mut self) {
        self.block.clear();
        self.block.put_bytes(0, BLOCK_HEAD);
    }

    #[allow(clippy::indexing_slicing, reason = "a started block has its head")]
    fn end_block(&mut self) -> Result<(), StorageError> {
        let mut block = std::mem::take(&mut self.block);
        let payload = &block[BLOCK_HEAD..];
        let (len, crc) = (format::length(payload.len()), crc32c::crc32c(payload));
        block[..4].copy_from_slice(&len.to_le_bytes());
        block[4..BLOCK_HEAD].copy_from_slice(&crc.to_le_bytes());
        self.write(&block)?;
        self.block = block;
        self.start_block();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.pending.put_slice(bytes);
        self.offset += bytes.len() as u64;
        if self.pending.len() >= CHECKPOINT_WRITE_BYTES { self.write_pending() } else { Ok(()) }
    }

    fn write_pending(&mut self) -> Result<(), StorageError> {
        let start = self.offset - self.pending.len() as u64;
        self.file
            .write_at(start, &self.pending)
            .map_err(|e| StorageError::io("write checkpoint", &self.path, e))?;
        self.pending.clear();
        if self.offset - self.synced >= CHECKPOINT_SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.synced = self.offset;
        self.file.sync().map_err(|e| StorageError::io("sync checkpoint", &self.path, e))
    }
}
