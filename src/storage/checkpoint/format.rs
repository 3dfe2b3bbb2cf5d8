//! The bytes of a checkpoint file.
//!
//! ```text
//! header  magic "TTRCKPT\n" | version u8 | group u64 | applied index u64 | mark length u32 | mark | CRC-32C of all before
//! block   payload length u32 | CRC-32C of the payload | payload: (key length u32, value length u32, key, value)*
//! index   for each block: offset u64, length of its first key u32, that key
//! footer  index offset u64 | rows u64 | digest u64 | row bytes u64 | CRC-32C of the index | CRC-32C of the footer so far | end magic
//! ```
//!
//! Little endian throughout. Rows are in ascending key order. Behind the rows, in blocks of their own,
//! stands the group's history as rows whose keys begin with a byte of [`HISTORY`] or above: they are
//! no part of the footer's figures, and no lookup or pass over the rows shows them. Every part carries its own checksum,
//! because the file is read in place for years and is also what a follower is sent.

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Applied;
use crate::runtime::limits::CHECKPOINT_PART_BYTES_MAX;
use crate::storage::{GroupId, StorageError};

pub(super) const MAGIC: &[u8; 8] = b"TTRCKPT\n";
pub(super) const END_MAGIC: &[u8; 8] = b"TTRCKEND";
/// Version 1 knew no history.
pub(super) const VERSION: u8 = 2;
/// First byte of the keys from which on a file holds history.
pub(crate) const HISTORY: u8 = 0x80;
/// Bytes of the header before the mark.
pub(super) const HEADER_FIXED: usize = 8 + 1 + 8 + 8 + 4;
/// Bytes of a block before its payload.
pub(super) const BLOCK_HEAD: usize = 8;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 4 * 8 + 2 * 4 + 8;
/// Bytes of a row in a block beside its key and value.
pub(super) const ROW_HEAD: usize = 8;

/// Rows and their order-free sum of hashes: equal for equal sets of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many rows.
    pub rows: u64,
    /// Wrapping sum of a hash of each row.
    pub digest: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
}

impl Tally {
    /// Counts a row in.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.digest = self.digest.wrapping_add(row_hash(key, value));
        self.bytes = self.bytes.wrapping_add(row_bytes(key, value));
    }

    /// Counts a row out.
    pub fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(row_hash(key, value));
        self.bytes = self.bytes.wrapping_sub(row_bytes(key, value));
    }
}

fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64(key))
}

fn row_bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// A length as the format stores it.
pub(super) fn length(len: usize) -> u32 {
    u32::try_from(len).expect("keys, values and marks are bounded far below 4 GiB")
}

pub(super) fn encode_header(group: GroupId, applied: &Applied) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_FIXED + applied.mark.len() + 4);
    out.put_slice(MAGIC);
    out.put_u8(VERSION);
    out.put_u64_le(group);
    out.put_u64_le(applied.index);
    out.put_u32_le(length(applied.mark.len()));
    out.put_slice(&applied.mark);
    out.put_u32_le(crc32c::crc32c(&out));
    out.freeze()
}

/// What the end of the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) index_offset: u64,
    pub(super) tally: Tally,
    pub(super) index_crc: u32,
}

pub(super) fn encode_footer(footer: &Footer) -> Bytes {
    let mut out = BytesMut::with_capacity(FOOTER_BYTES);
    out.put_u64_le(footer.index_offset);
    out.put_u64_le(footer.tally.rows);
    out.put_u64_le(footer.tally.digest);
    out.put_u64_le(footer.tally.bytes);
    out.put_u32_le(footer.index_crc);
    out.put_u32_le(crc32c::crc32c(&out));
    out.put_slice(END_MAGIC);
    out.freeze()
}

/// Reads the header; returns it with its length in bytes.
pub(super) fn decode_header(
    path: &Path,
    read: &mut dyn FnMut(u64, usize) -> Result<Bytes, StorageError>,
) -> Result<(GroupId, Applied, u64), StorageError> {
    let fixed = read(0, HEADER_FIXED)?;
    let mut rest = fixed.clone();
    if rest.copy_to_bytes(8) != MAGIC[..] {
        return Err(corrupt(path, 0, "the file does not start like a checkpoint"));
    }
    let version = rest.get_u8();
    if !(1..=VERSION).contains(&version) {
        return Err(StorageError::Version {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    let (group, index, mark_len) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u32_le());
    let mark_len = part_length(path, 25, mark_len)?;
    let mut tail = read(HEADER_FIXED as u64, mark_len + 4)?;
    let mark = tail.split_to(mark_len);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&fixed), &mark);
    if crc != tail.get_u32_le() {
        return Err(corrupt(path, 0, "the header's checksum does not match"));
    }
    Ok((group, Applied { index, mark }, (HEADER_FIXED + mark_len + 4) as u64))
}

/// Reads a footer that stands at `offset`.
#[allow(clippy::indexing_slicing, reason = "the caller read FOOTER_BYTES bytes")]
pub(super) fn decode_footer(
    path: &Path,
    offset: u64,
    mut bytes: Bytes,
) -> Result<Footer, StorageError> {
    let crc = crc32c::crc32c(&bytes[..FOOTER_BYTES - 12]);
    let index_offset = bytes.get_u64_le();
    let tally =
        Tally { rows: bytes.get_u64_le(), digest: bytes.get_u64_le(), bytes: bytes.get_u64_le() };
    let (index_crc, found) = (bytes.get_u32_le(), bytes.get_u32_le());
    if crc != found || bytes != END_MAGIC[..] {
        return Err(corrupt(path, offset, "the file does not end with a checkpoint's footer"));
    }
    Ok(Footer { index_offset, tally, index_crc })
}

/// Takes one row off the front of a block's payload.
pub(super) fn decode_row(
    path: &Path,
    offset: u64,
    payload: &mut Bytes,
) -> Result<(Bytes, Bytes), StorageError> {
    let short = || corrupt(path, offset, "a row reaches beyond its block");
    if payload.len() < ROW_HEAD {
        return Err(short());
    }
    let key_len = part_length(path, offset, payload.get_u32_le())?;
    let value_len = part_length(path, offset, payload.get_u32_le())?;
    if payload.len() < key_len + value_len {
        return Err(short());
    }
    Ok((payload.split_to(key_len), payload.split_to(value_len)))
}

/// The same without a handle for each part: a lookup passes over many rows.
pub(super) fn split_row<'a>(
    path: &Path,
    offset: u64,
    payload: &mut &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), StorageError> {
    let split = || {
        let (key_len, rest) = payload.split_first_chunk()?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len).try_into().ok()?)?;
        let len = u32::from_le_bytes(*value_len).try_into().ok()?;
        let (value, rest) = rest.split_at_checked(len)?;
        Some((key, value, rest))
    };
    let Some((key, value, rest)) = split() else {
        return Err(corrupt(path, offset, "a row reaches beyond its block"));
    };
    *payload = rest;
    Ok((key, value))
}

/// A length that was read: refused before memory is asked for when it cannot be right.
pub(super) fn part_length(path: &Path, offset: u64, len: u32) -> Result<usize, StorageError> {
    usize::try_from(len)
        .ok()
        .filter(|len| *len <= CHECKPOINT_PART_BYTES_MAX)
        .ok_or_else(|| corrupt(path, offset, &format!("a length of {len} bytes is impossible")))
}

pub(super) fn corrupt(path: &Path, offset: u64, reason: &str) -> StorageError {
    StorageError::Corrupt { path: PathBuf::from(path), offset, reason: reason.to_owned() }
}
