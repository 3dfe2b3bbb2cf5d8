//! Bytes of a segment: its header, batches, and the records in them.
//!
//! A segment starts with one sector of header: what it is, its number, a random salt, the lsn of its
//! first batch, and the floor: the oldest segment that was still needed. Batches follow, each at the start of a sector, so that no sector that holds an
//! acknowledged byte is ever written again. A batch names its segment and the salt: what an earlier
//! life of a recycled file left behind has another salt, and a value that imitates a batch cannot
//! know it. A batch names the floor as well: only once that is durable may older segments go, so that a
//! start can tell a segment that is gone from one that is missing. Integers are little-endian.

use bytes::Bytes;

use crate::storage::GroupId;

/// Where batches may start.
pub(super) const SECTOR: u64 = 512;
/// The same, for lengths in memory.
pub(super) const SECTOR_LEN: usize = 512;
/// Version of all that is in a segment.
pub(super) const VERSION: u8 = 1;
/// Bytes of a batch before its records.
pub(super) const BATCH_HEADER: usize = 56;

const SEGMENT_MAGIC: u32 = u32::from_le_bytes(*b"TTSG");
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"TTBT");
const SEGMENT_HEADER: usize = 48;

/// Rounds up to the start of a sector.
pub(super) fn align(offset: u64) -> u64 {
    offset.div_ceil(SECTOR) * SECTOR
}

/// A length that a `u32` on disk holds; segments are at most 4 GiB.
pub(super) fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("lengths are below a segment's size, which is below 4 GiB")
}

/// Reads fields off the front of a slice.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn blob(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.u32()?).ok()?;
        Some(Bytes::copy_from_slice(self.take(len)?))
    }
}

/// The first sector of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) version: u8,
    pub(super) seq: u64,
    pub(super) salt: u64,
    pub(super) first_lsn: u64,
    pub(super) floor: u64,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR_LEN);
        out.extend_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        out.extend_from_slice(&[self.version, 0, 0, 0]);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.first_lsn.to_le_bytes());
        out.extend_from_slice(&self.floor.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out.resize(SECTOR_LEN, 0);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let covered = bytes.get(..SEGMENT_HEADER - 8)?;
        if fields.u32()? != SEGMENT_MAGIC {
            return None;
        }
        let version = fields.u8()?;
        fields.take(3)?;
        let header = Self {
            version,
            seq: fields.u64()?,
            salt: fields.u64()?,
            first_lsn: fields.u64()?,
            floor: fields.u64()?,
        };
        (fields.u32()? == crc32c::crc32c(covered)).then_some(header)
    }
}

/// What stands before the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) version: u8,
    pub(super) seq: u64,
    pub(super) salt: u64,
    pub(super) lsn: u64,
    pub(super) floor: u64,
    pub(super) body_len: u32,
    pub(super) body_crc: u32,
}

impl BatchHeader {
    pub(super) fn encode(&self) -> [u8; BATCH_HEADER] {
        let mut out = Vec::with_capacity(BATCH_HEADER);
        out.extend_from_slice(&BATCH_MAGIC.to_le_bytes());
        out.extend_from_slice(&[self.version, 0, 0, 0]);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.lsn.to_le_bytes());
        out.extend_from_slice(&self.floor.to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.try_into().expect("the fields add up to the header's length")
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let covered = bytes.get(..BATCH_HEADER - 8)?;
        if fields.u32()? != BATCH_MAGIC {
            return None;
        }
        let version = fields.u8()?;
        fields.take(3)?;
        let header = Self {
            version,
            seq: fields.u64()?,
            salt: fields.u64()?,
            lsn: fields.u64()?,
            floor: fields.u64()?,
            body_len: fields.u32()?,
            body_crc: fields.u32()?,
        };
        (fields.u32()? == crc32c::crc32c(covered)).then_some(header)
    }

    /// The records after the header, if they are whole.
    pub(super) fn body<'a>(&self, at_header: &'a [u8]) -> Option<&'a [u8]> {
        let end = BATCH_HEADER.checked_add(usize::try_from(self.body_len).ok()?)?;
        let body = at_header.get(BATCH_HEADER..end)?;
        (crc32c::crc32c(body) == self.body_crc).then_some(body)
    }
}

/// A record as it is read, with start and length of each entry's bytes in the batch.
pub(super) type Read = (Record, Vec<(usize, usize)>);

/// What a batch is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Consecutive entries from `first` on. Also the form of an entry that is written anew.
    Entries { group: GroupId, first: u64, entries: Vec<Bytes> },
    /// The group's newest vote.
    Vote { group: GroupId, vote: Bytes },
    /// The group's newest commit mark.
    Committed { group: GroupId, committed: Bytes },
    /// Entries after the index are gone; `None`: all are.
    TruncateAfter { group: GroupId, index: Option<u64> },
    /// Entries up to the index are gone.
    Purge { group: GroupId, index: u64, mark: Bytes },
    /// Everything of the group but its vote is gone.
    Drop { group: GroupId },
    /// The newest value of a note.
    Note { key: u64, value: Bytes },
}

impl Record {
    /// Bytes of a record of entries before the first of them.
    pub(super) const ENTRIES_HEAD: usize = 21;

    /// Bytes before each entry: its length and its checksum.
    pub(super) const ENTRY_OVERHEAD: usize = 8;

    /// Upper bound of the bytes that `encode` adds.
    pub(super) fn encoded_len(&self) -> usize {
        match self {
            Self::Entries { entries, .. } => {
                let bytes = |entry: &Bytes| Self::ENTRY_OVERHEAD + entry.len();
                Self::ENTRIES_HEAD + entries.iter().map(bytes).sum::<usize>()
            }
            Self::Vote { vote: blob, .. }
            | Self::Committed { committed: blob, .. }
            | Self::Note { value: blob, .. } => 13 + blob.len(),
            Self::TruncateAfter { .. } => 18,
            Self::Purge { mark, .. } => 21 + mark.len(),
            Self::Drop { .. } => 9,
        }
    }

    /// Appends the record; for entries, pushes where each one's bytes start in `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>, starts: &mut Vec<usize>) {
        let mut head = |kind: u8, group: u64| {
            out.push(kind);
            out.extend_from_slice(&group.to_le_bytes());
        };
        match self {
            Self::Entries { group, first, entries } => {
                head(1, *group);
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&len32(entries.len()).to_le_bytes());
                for entry in entries {
                    out.extend_from_slice(&len32(entry.len()).to_le_bytes());
                    out.extend_from_slice(&crc32c::crc32c(entry).to_le_bytes());
                    starts.push(out.len());
                    out.extend_from_slice(entry);
                }
            }
            Self::Vote { group, vote } => {
                head(2, *group);
                put_blob(out, vote);
            }
            Self::Committed { group, committed } => {
                head(3, *group);
                put_blob(out, committed);
            }
            Self::TruncateAfter { group, index } => {
                head(4, *group);
                out.push(u8::from(index.is_some()));
                out.extend_from_slice(&index.unwrap_or(0).to_le_bytes());
            }
            Self::Purge { group, index, mark } => {
                head(5, *group);
                out.extend_from_slice(&index.to_le_bytes());
                put_blob(out, mark);
            }
            Self::Drop { group } => head(6, *group),
            Self::Note { key, value } => {
                head(7, *key);
                put_blob(out, value);
            }
        }
    }

    /// Reads all records of a batch; entries come as the places of their bytes in `body`, and
    /// without the bytes.
    pub(super) fn decode_all(body: &[u8]) -> Option<Vec<Read>> {
        let mut fields = Fields(body);
        let mut records = Vec::new();
        while !fields.0.is_empty() {
            let mut places = Vec::new();
            let record = Self::decode(&mut fields, body.len(), &mut places)?;
            records.push((record, places));
        }
        Some(records)
    }

    fn decode(
        fields: &mut Fields<'_>,
        body_len: usize,
        places: &mut Vec<(usize, usize)>,
    ) -> Option<Self> {
        let kind = fields.u8()?;
        let group = fields.u64()?;
        Some(match kind {
            1 => {
                let first = fields.u64()?;
                for _ in 0..fields.u32()? {
                    let len = usize::try_from(fields.u32()?).ok()?;
                    fields.u32()?;
                    places.push((body_len - fields.0.len(), len));
                    fields.take(len)?;
                }
                Self::Entries { group, first, entries: Vec::new() }
            }
            2 => Self::Vote { group, vote: fields.blob()? },
            3 => Self::Committed { group, committed: fields.blob()? },
            4 => {
                let present = fields.u8()? == 1;
                let index = fields.u64()?;
                Self::TruncateAfter { group, index: present.then_some(index) }
            }
            5 => Self::Purge { group, index: fields.u64()?, mark: fields.blob()? },
            6 => Self::Drop { group },
            7 => Self::Note { key: group, value: fields.blob()? },
            _ => return None,
        })
    }
}

fn put_blob(out: &mut Vec<u8>, blob: &[u8]) {
    out.extend_from_slice(&len32(blob.len()).to_le_bytes());
    out.extend_from_slice(blob);
}
