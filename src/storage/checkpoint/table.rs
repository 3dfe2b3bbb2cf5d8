//! A checkpoint file as a table of rows that is read in place.
//!
//! Why it exists: the newest checkpoint holds almost all rows of a group, sorted and checksummed.
//! Copying them into the working index would cost the space twice and sled's write amplification on
//! top, so reads that find no newer row come here.
//!
//! Promises: a row is returned only after the checksum of its block matched. In memory is only the
//! first key of each block; a lookup is one read of one block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::format::{self, BLOCK_HEAD, Tally};
use super::reader::{self, Outline};
use crate::storage::{Disk, DiskFile, StorageError};

/// The rows of one block, in key order.
pub(crate) type Block = Vec<(Bytes, Bytes)>;

/// An open checkpoint file with its block index.
#[derive(Debug)]
pub(crate) struct Table {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    outline: Outline,
    index: Vec<Start>,
}

/// Where a block starts, in the file and in the key order.
#[derive(Debug)]
struct Start {
    offset: u64,
    // A slice of the one buffer that the whole index was read into.
    key: Bytes,
}

impl Table {
    /// Opens the file, checks header and footer, and reads the index.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let file = reader::open(disk, path)?;
        let outline = reader::outline(&*file, path)?;
        let at = outline.footer.index_offset;
        let wrong = |reason: &str| format::corrupt(path, at, reason);
        let len = usize::try_from(outline.footer_offset - at)
            .map_err(|_too_large| wrong("the index does not fit into memory"))?;
        let mut bytes = reader::read_exactly(&*file, path, at, len)?;
        if crc32c::crc32c(&bytes) != outline.footer.index_crc {
            return Err(wrong("the index's checksum does not match"));
        }
        let mut index = Vec::new();
        while !bytes.is_empty() {
            if bytes.len() < 12 {
                return Err(wrong("the index ends within an entry"));
            }
            let offset = bytes.get_u64_le();
            let key_len = format::part_length(path, at, bytes.get_u32_le())?;
            if bytes.len() < key_len || offset > at {
                return Err(wrong("an index entry reaches beyond its place"));
            }
            index.push(Start { offset, key: bytes.split_to(key_len) });
        }
        Ok(Self { file, path: path.to_owned(), outline, index })
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.index.len()
    }

    /// The block that holds `key` if any does.
    pub(crate) fn block_of(&self, key: &[u8]) -> usize {
        self.index.partition_point(|start| &start.key[..] <= key).saturating_sub(1)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let number = self.block_of(key);
        if number >= self.index.len() {
            return Ok(None);
        }
        let (at, mut payload) = self.payload(number)?;
        while !payload.is_empty() {
            let (found, value) = format::decode_row(&self.path, at, &mut payload)?;
            match (*found).cmp(key) {
                // Copied, so that a small value does not keep its whole block in memory.
                std::cmp::Ordering::Equal => return Ok(Some(Bytes::copy_from_slice(&value))),
                std::cmp::Ordering::Greater => return Ok(None),
                std::cmp::Ordering::Less => {}
            }
        }
        Ok(None)
    }

    /// The rows of a block; `number` is below `blocks`.
    pub(crate) fn block(&self, number: usize) -> Result<Block, StorageError> {
        let (at, mut payload) = self.payload(number)?;
        let mut rows = Vec::new();
        while !payload.is_empty() {
            rows.push(format::decode_row(&self.path, at, &mut payload)?);
        }
        Ok(rows)
    }

    /// Reads everything and checks every checksum, the order and the totals.
    pub(crate) fn verify(&self) -> Result<(), StorageError> {
        let mut tally = Tally::default();
        let mut last: Option<Bytes> = None;
        for number in 0..self.index.len() {
            for (key, value) in self.block(number)? {
                if last.as_ref().is_some_and(|last| *last >= key) {
                    let at = self.bounds(number).0;
                    return Err(format::corrupt(&self.path, at, "keys do not ascend"));
                }
                tally.add(&key, &value);
                last = Some(key);
            }
        }
        if tally != self.outline.footer.tally {
            let at = self.outline.footer_offset;
            return Err(format::corrupt(&self.path, at, "rows do not add up to the footer"));
        }
        Ok(())
    }

    /// Start and end of a block in the file.
    fn bounds(&self, number: usize) -> (u64, u64) {
        let start = self.index.get(number).map_or(self.outline.first_block, |start| start.offset);
        let next = self.index.get(number + 1).map(|next| next.offset);
        (start, next.unwrap_or(self.outline.footer.index_offset))
    }

    fn payload(&self, number: usize) -> Result<(u64, Bytes), StorageError> {
        let (at, end) = self.bounds(number);
        let wrong = |reason: &str| format::corrupt(&self.path, at, reason);
        let len = u32::try_from(end.saturating_sub(at))
            .map_err(|_too_large| wrong("a block is impossibly long"))?;
        let len = format::part_length(&self.path, at, len)?;
        if len < BLOCK_HEAD {
            return Err(wrong("a block is shorter than its head"));
        }
        let mut bytes = reader::read_exactly(&*self.file, &self.path, at, len)?;
        let (found, crc) = (bytes.get_u32_le(), bytes.get_u32_le());
        if format::length(bytes.len()) != found {
            return Err(wrong("the block's length does not match the index"));
        }
        if crc32c::crc32c(&bytes) != crc {
            return Err(wrong("the block's checksum does not match"));
        }
        Ok((at, bytes))
    }
}
