//! A checkpoint file as a table of rows that is read in place.
//!
//! Why it exists: the newest checkpoint holds almost all rows of a group, sorted and checksummed.
//! Copying them into the working index would cost the space twice and sled's write amplification on
//! top, so reads that find no newer row come here.
//!
//! Promises: a row is returned only after the checksum of its block matched. In memory is only the
//! first key of each block, and one buffer per thread that a lookup reads its block into; a lookup is
//! one read of one block. Blocks are not cached here: the operating system does that, and copying
//! and checking one costs half a microsecond.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::Applied;
use super::format::{self, BLOCK_HEAD, HISTORY, Tally};
use super::reader::{self, Outline};
use crate::runtime::limits::CHECKPOINT_READ_BUFFER_BYTES_MAX;
use crate::storage::{Disk, DiskFile, StorageError};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The rows of one block, in key order.
pub(crate) type Block = Vec<(Bytes, Bytes)>;

/// An open checkpoint file with its block index.
#[derive(Debug)]
pub(crate) struct Table {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    outline: Outline,
    index: Vec<Start>,
    /// How many of the blocks hold rows; those behind hold history.
    row_blocks: usize,
    /// The whole index as it was read; holds the first keys.
    keys: Bytes,
    /// Bytes that all first keys begin with.
    common: usize,
    /// The eight bytes after those as numbers, so that a search touches a few lines of memory.
    heads: Vec<u64>,
}

/// Where a block starts, in the file and in the key order.
#[derive(Debug)]
struct Start {
    offset: u64,
    key_at: usize,
    key_len: usize,
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
        let keys = reader::read_exactly(&*file, path, at, len)?;
        if crc32c::crc32c(&keys) != outline.footer.index_crc {
            return Err(wrong("the index's checksum does not match"));
        }
        let (mut index, mut bytes) = (Vec::new(), keys.clone());
        while !bytes.is_empty() {
            if bytes.len() < 12 {
                return Err(wrong("the index ends within an entry"));
            }
            let offset = bytes.get_u64_le();
            let key_len = format::part_length(path, at, bytes.get_u32_le())?;
            if bytes.len() < key_len || offset > at {
                return Err(wrong("an index entry reaches beyond its place"));
            }
            index.push(Start { offset, key_at: keys.len() - bytes.len(), key_len });
            bytes.advance(key_len);
        }
        let (common, heads, path) = (0, Vec::new(), path.to_owned());
        let mut table = Self { file, path, outline, index, row_blocks: 0, keys, common, heads };
        table.prepare_search();
        Ok(table)
    }

    fn prepare_search(&mut self) {
        let is_row = |start: &Start| self.first_key(start) < &[HISTORY][..];
        self.row_blocks = self.index.partition_point(is_row);
        let rows = self.rows();
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            let (first, last) = (self.first_key(first), self.first_key(last));
            let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
            let head = |start| head(self.first_key(start), common);
            let heads = rows.iter().map(head).collect();
            (self.common, self.heads) = (common, heads);
        }
    }

    /// The blocks that hold rows.
    fn rows(&self) -> &[Start] {
        self.index.get(..self.row_blocks).unwrap_or_default()
    }

    fn first_key(&self, start: &Start) -> &[u8] {
        self.keys.get(start.key_at..start.key_at + start.key_len).unwrap_or_default()
    }

    /// How many blocks of rows there are.
    pub(crate) fn blocks(&self) -> usize {
        self.row_blocks
    }

    /// The numbers of the blocks that hold history.
    pub(crate) fn history_blocks(&self) -> std::ops::Range<usize> {
        self.row_blocks..self.index.len()
    }

    /// The applied index of its group.
    pub(crate) fn applied(&self) -> &Applied {
        &self.outline.applied
    }

    /// Its file has something in it that was not written like this.
    pub(crate) fn corrupt(&self, number: usize, reason: &str) -> StorageError {
        format::corrupt(&self.path, self.bounds(number).0, reason)
    }

    /// The block that holds `key` if any does.
    pub(crate) fn block_of(&self, key: &[u8]) -> usize {
        let Some(first) = self.rows().first() else { return 0 };
        let common = self.first_key(first).get(..self.common).unwrap_or_default();
        let after = if key.starts_with(common) {
            let wanted = head(key, self.common);
            let from = self.heads.partition_point(|head| *head < wanted);
            let rest = self.heads.get(from..).unwrap_or_default();
            let equal = rest.partition_point(|head| *head == wanted);
            let among = self.rows().get(from..from + equal).unwrap_or_default();
            from + among.partition_point(|start| self.first_key(start) <= key)
        } else if key < common {
            0
        } else {
            self.row_blocks
        };
        after.saturating_sub(1)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let number = self.block_of(key);
        if number >= self.row_blocks {
            return Ok(None);
        }
        let (at, len) = self.place(number)?;
        if len > CHECKPOINT_READ_BUFFER_BYTES_MAX {
            return self.find(at, key, &mut vec![0; len]);
        }
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            self.find(at, key, buffer.get_mut(..len).unwrap_or_default())
        })
    }

    /// Reads the block at `at` into a buffer of its length and looks for a key.
    fn find(&self, at: u64, key: &[u8], buffer: &mut [u8]) -> Result<Option<Bytes>, StorageError> {
        reader::fill(&*self.file, &self.path, at, buffer)?;
        let mut rest = self.checked(at, buffer)?;
        while !rest.is_empty() {
            let (found, value) = format::split_row(&self.path, at, &mut rest)?;
            match found.cmp(key) {
                // Copied: the buffer is used again.
                std::cmp::Ordering::Equal => return Ok(Some(Bytes::copy_from_slice(value))),
                std::cmp::Ordering::Greater => return Ok(None),
                std::cmp::Ordering::Less => {}
            }
        }
        Ok(None)
    }

    /// The rows of a block; `number` is below `blocks`, or one of `history_blocks`.
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
                if number < self.row_blocks {
                    tally.add(&key, &value);
                }
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

    /// Where a block starts, and its length with its head.
    fn place(&self, number: usize) -> Result<(u64, usize), StorageError> {
        let (at, end) = self.bounds(number);
        let wrong = |reason: &str| format::corrupt(&self.path, at, reason);
        let len = u32::try_from(end.saturating_sub(at))
            .map_err(|_too_large| wrong("a block is impossibly long"))?;
        Ok((at, format::part_length(&self.path, at, len)?))
    }

    /// The payload of a block whose checksum matches.
    fn checked<'a>(&self, at: u64, block: &'a [u8]) -> Result<&'a [u8], StorageError> {
        let wrong = |reason: &str| format::corrupt(&self.path, at, reason);
        let Some((mut head, payload)) = block.split_at_checked(BLOCK_HEAD) else {
            return Err(wrong("a block is shorter than its head"));
        };
        let (found, crc) = (head.get_u32_le(), head.get_u32_le());
        if format::length(payload.len()) != found {
            return Err(wrong("the block's length does not match the index"));
        }
        if crc32c::crc32c(payload) != crc {
            return Err(wrong("the block's checksum does not match"));
        }
        Ok(payload)
    }

    fn payload(&self, number: usize) -> Result<(u64, Bytes), StorageError> {
        let (at, len) = self.place(number)?;
        let mut bytes = reader::read_exactly(&*self.file, &self.path, at, len)?;
        self.checked(at, &bytes)?;
        bytes.advance(BLOCK_HEAD);
        Ok((at, bytes))
    }
}

/// The eight bytes of a key from `from` on as a number that orders like them.
fn head(key: &[u8], from: usize) -> u64 {
    let mut bytes = [0; 8];
    for (to, byte) in bytes.iter_mut().zip(key.iter().skip(from)) {
        *to = *byte;
    }
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::Disk;
    use crate::storage::checkpoint::{Applied, Writer};
    use crate::storage::disk::SimDisk;

    fn table(rows: &[(Vec<u8>, Vec<u8>)]) -> Table {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let applied = Applied { index: 1, mark: Bytes::new() };
        let mut writer = Writer::create(&*disk, "file".into(), 1, applied).unwrap();
        for (key, value) in rows {
            writer.push(key, value).unwrap();
        }
        for number in 0..40u8 {
            writer.push_history(&[HISTORY, number], &[number; 90]).unwrap();
        }
        writer.finish().unwrap();
        Table::open(&*disk, Path::new("file")).unwrap()
    }

    #[test]
    fn every_key_is_found_and_no_other_whatever_keys_have_in_common() {
        let seed = 11;
        let mut chance = fastrand::Rng::with_seed(seed);
        for prefix in [&b""[..], b"\x10\0\0\0\0\0\0\0\x01user:", b"\x7f\xff"] {
            let mut keys: Vec<Vec<u8>> = (0..3000)
                .map(|_| {
                    let tail = (0..chance.usize(0..14)).map(|_| chance.choice([0, 1, 7, 127]));
                    prefix.iter().copied().chain(tail.flatten()).collect()
                })
                .collect();
            keys.sort();
            keys.dedup();
            // Every other key is written.
            let rows: Vec<_> = keys.iter().step_by(2).map(|k| (k.clone(), vec![7; 90])).collect();
            let table = table(&rows);
            assert!(table.blocks() > 3 && table.history_blocks().len() > 1);
            table.verify().unwrap();
            assert_eq!(table.outline.footer.tally.rows, rows.len() as u64);
            for (number, key) in keys.iter().enumerate() {
                let found = table.get(key).unwrap().is_some();
                assert_eq!(found, number % 2 == 0, "seed {seed}, prefix {prefix:?}, key {key:?}");
            }
            for key in
                [&b""[..], b"\x10", b"\x11", b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
            {
                let expected = rows.iter().any(|(found, _)| found == key);
                assert_eq!(table.get(key).unwrap().is_some(), expected, "key {key:?}");
            }
        }
    }

    #[test]
    fn history_is_no_row_and_stands_in_blocks_of_its_own() {
        for rows in [vec![], vec![(b"k".to_vec(), b"v".to_vec())]] {
            let table = table(&rows);
            assert_eq!(table.blocks(), rows.len());
            assert_eq!(table.get(&[HISTORY, 3]).unwrap(), None);
            let history: Vec<_> =
                table.history_blocks().flat_map(|number| table.block(number).unwrap()).collect();
            assert_eq!(history.len(), 40);
            assert!(history.iter().all(|(key, _)| key[0] == HISTORY));
            table.verify().unwrap();
        }
    }

    #[test]
    fn a_table_without_rows_and_a_row_larger_than_the_buffer_are_read() {
        assert_eq!(table(&[]).get(b"k").unwrap(), None);
        let value = vec![3; CHECKPOINT_READ_BUFFER_BYTES_MAX * 2];
        let table = table(&[(b"k".to_vec(), value.clone())]);
        assert_eq!(table.get(b"k").unwrap().as_deref(), Some(&value[..]));
        assert_eq!(table.get(b"l").unwrap(), None);
    }
}
