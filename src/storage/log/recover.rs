//! What a start makes of the segment files.
//!
//! Why it exists: after a power cut the last batch may be torn, and that is the only damage that is
//! no fault. It is cut off and overwritten with zeros. Everything else (a bad checksum with valid
//! batches after it, a missing segment, a jump of the lsn) means that acknowledged bytes are gone:
//! the log refuses to open and names the file and the offset.
//!
//! What a start finds counts as durable for everyone above, but a process that was killed, or whose
//! last sync failed, may have left a batch that is in the cache only. So the last batch and the
//! names are made durable (again) before anybody hears of them.
//!
//! Relies on: segments are written one after the other, and a segment's header (synced before its
//! first batch) names the lsn that the segment before it ended with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{self, BATCH_HEADER, BatchHeader, Record, SECTOR, SegmentHeader, VERSION};
use super::kept::Kept;
use super::segment::{Segment, Spares, segment_path, segment_seq};
use super::types::LogOptions;
use crate::storage::{Disk, OpenMode, StorageError};

/// Where the writer goes on.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) segment: Arc<Segment>,
    pub(super) salt: u64,
    pub(super) offset: u64,
}

#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) kept: Kept,
    pub(super) spares: Spares,
    pub(super) position: Option<Position>,
    /// The newest segment number ever seen here.
    pub(super) seq: u64,
    /// The last durable batch.
    pub(super) lsn: u64,
}

/// Where the batches of one segment end.
struct End {
    offset: u64,
    /// Start of the last batch; of the header if there is none.
    last: u64,
    reason: &'static str,
}

fn corrupt(path: &Path, offset: u64, reason: impl Into<String>) -> StorageError {
    StorageError::Corrupt { path: path.to_owned(), offset, reason: reason.into() }
}

/// Reads all segments; leaves the directory so that writing can go on.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &LogOptions,
) -> Result<Recovered, StorageError> {
    disk.create_dir(dir).map_err(|error| StorageError::io("create log directory", dir, error))?;
    if let Some(parent) = dir.parent() {
        disk.sync_dir(parent)
            .map_err(|error| StorageError::io("sync parent of log directory", parent, error))?;
    }
    let names =
        disk.list(dir).map_err(|error| StorageError::io("list log directory", dir, error))?;
    let spares = Spares::open(Arc::clone(disk), dir, &names, options.segment_bytes)?;
    let mut seqs: Vec<u64> = names.iter().filter_map(|name| segment_seq(name)).collect();
    seqs.sort_unstable();
    for (seq, next) in seqs.iter().zip(seqs.iter().skip(1)) {
        if seq + 1 != *next {
            let reason = format!("the segment is missing; {seq} and {next} are there");
            return Err(corrupt(&segment_path(dir, seq + 1), 0, reason));
        }
    }
    let mut recovery = Recovery {
        disk: Arc::clone(disk),
        out: Recovered { kept: Kept::default(), spares, position: None, seq: 0, lsn: 0 },
        before: None,
    };
    // Names too may be in the cache only: a segment that vanished later would take its batches along.
    disk.sync_dir(dir).map_err(|error| StorageError::io("sync log directory", dir, error))?;
    for (at, seq) in seqs.iter().enumerate() {
        recovery.segment(&segment_path(dir, *seq), *seq, at + 1 == seqs.len(), options)?;
    }
    recovery.check_holes(dir)?;
    Ok(recovery.out)
}

struct Recovery {
    disk: Arc<dyn Disk>,
    out: Recovered,
    /// The segment before the one at hand: its path, where it ended and why there.
    before: Option<(PathBuf, End)>,
}

impl Recovery {
    fn segment(
        &mut self,
        path: &Path,
        seq: u64,
        is_last: bool,
        options: &LogOptions,
    ) -> Result<(), StorageError> {
        let failed = |error| StorageError::io("read log segment", path, error);
        let file = self.disk.open(path, OpenMode::ReadWrite).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let count = file.read_at(0, &mut bytes).map_err(failed)?;
        bytes.truncate(count);
        self.out.seq = seq;
        let Some(header) = SegmentHeader::decode(&bytes).filter(|header| header.seq == seq) else {
            return self.without_header(path, seq, is_last, &bytes, options);
        };
        check_version(path, header.version)?;
        self.check_joint(path, &header)?;
        let segment = Arc::new(Segment { seq, path: path.to_owned(), file, len });
        self.out.kept.segments.insert(seq, Arc::clone(&segment));
        let end = self.batches(path, &header, &bytes)?;
        if is_last {
            self.check_nothing_after(path, seq, &bytes, &end)?;
            settle(&segment, &bytes, &end)?;
            let (salt, offset) = (header.salt, end.offset);
            self.out.position = Some(Position { segment, salt, offset });
        }
        self.before = Some((path.to_owned(), end));
        Ok(())
    }

    /// A segment must begin where the one before it ended.
    fn check_joint(&mut self, path: &Path, header: &SegmentHeader) -> Result<(), StorageError> {
        match &self.before {
            None => self.out.lsn = header.first_lsn.saturating_sub(1),
            Some(_) if header.first_lsn == self.out.lsn + 1 => {}
            Some((before, end)) if header.first_lsn > self.out.lsn => {
                let (lsn, next) = (self.out.lsn, header.first_lsn);
                let reason = format!(
                    "{}; batches end with {lsn}, but {} goes on with {next}",
                    end.reason,
                    path.display()
                );
                return Err(corrupt(before, end.offset, reason));
            }
            Some(_) => {
                let (lsn, next) = (self.out.lsn, header.first_lsn);
                let reason = format!("begins with batch {next}, but {lsn} came before");
                return Err(corrupt(path, 0, reason));
            }
        }
        Ok(())
    }

    /// A roll that a power cut interrupted leaves a last segment without header and batches.
    fn without_header(
        &mut self,
        path: &Path,
        seq: u64,
        is_last: bool,
        bytes: &[u8],
        options: &LogOptions,
    ) -> Result<(), StorageError> {
        if !is_last || find_batch(bytes, SECTOR, seq, 0).is_some() {
            return Err(corrupt(path, 0, "the segment header is damaged"));
        }
        self.out.spares.give(path, bytes.len() as u64, options.recycle_max)?;
        self.out.seq = seq - 1;
        let Some((before, end)) = self.before.take() else { return Ok(()) };
        // The segment before it is the last one after all.
        let Some(segment) = self.out.kept.segments.get(&(seq - 1)).cloned() else { return Ok(()) };
        let mut bytes = vec![0; usize::try_from(segment.len).unwrap_or(usize::MAX)];
        let failed = |error| StorageError::io("read log segment", &before, error);
        let count = segment.file.read_at(0, &mut bytes).map_err(failed)?;
        bytes.truncate(count);
        let header = SegmentHeader::decode(&bytes)
            .ok_or_else(|| corrupt(&before, 0, "the segment header changed while it was read"))?;
        self.check_nothing_after(&before, seq - 1, &bytes, &end)?;
        settle(&segment, &bytes, &end)?;
        let (salt, offset) = (header.salt, end.offset);
        self.out.position = Some(Position { segment, salt, offset });
        Ok(())
    }

    fn batches(
        &mut self,
        path: &Path,
        segment: &SegmentHeader,
        bytes: &[u8],
    ) -> Result<End, StorageError> {
        let (mut offset, mut last) = (SECTOR, 0);
        loop {
            let end = |reason| Ok(End { offset, last, reason });
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = bytes.get(at..).unwrap_or_default();
            let ours = |batch: &BatchHeader| (batch.seq, batch.salt) == (segment.seq, segment.salt);
            let Some(batch) = BatchHeader::decode(rest).filter(ours) else {
                return end("there is no batch header");
            };
            let Some(body) = batch.body(rest) else {
                return end("the checksum of the batch is wrong");
            };
            check_version(path, batch.version)?;
            let expected = self.out.lsn + 1;
            if batch.lsn != expected {
                let reason = format!("batch {} where {expected} is due", batch.lsn);
                return Err(corrupt(path, offset, reason));
            }
            let records = Record::decode_all(body)
                .ok_or_else(|| corrupt(path, offset, "the batch holds a malformed record"))?;
            for (record, places) in records {
                let places: Vec<(u32, u32)> = places
                    .iter()
                    .map(|(start, len)| {
                        let start = at + BATCH_HEADER + start;
                        (format::len32(start), format::len32(*len))
                    })
                    .collect();
                self.out.kept.run(&record, segment.seq, &places).ok_or_else(|| {
                    corrupt(path, offset, "the batch holds an entry out of all order")
                })?;
            }
            self.out.lsn = batch.lsn;
            last = offset;
            offset = format::align(offset + (BATCH_HEADER + body.len()) as u64);
        }
    }

    fn check_nothing_after(
        &self,
        path: &Path,
        seq: u64,
        bytes: &[u8],
        end: &End,
    ) -> Result<(), StorageError> {
        if let Some((later, lsn)) = find_batch(bytes, end.offset + SECTOR, seq, self.out.lsn + 1) {
            let reason = format!("{}, but batch {lsn} at offset {later} is whole", end.reason);
            return Err(corrupt(path, end.offset, reason));
        }
        Ok(())
    }

    fn check_holes(&self, dir: &Path) -> Result<(), StorageError> {
        for (group, kept) in &self.out.kept.groups {
            if let Some(index) = kept.hole() {
                let reason = format!("group {group} misses entry {index}");
                let first = self.out.kept.segments.first_key_value();
                let path = first.map_or(dir, |(_, segment)| &segment.path);
                return Err(corrupt(path, 0, reason));
            }
        }
        Ok(())
    }
}

fn check_version(path: &Path, found: u8) -> Result<(), StorageError> {
    if found > VERSION {
        return Err(StorageError::Version { path: path.to_owned(), found, known: VERSION });
    }
    Ok(())
}

/// The first whole batch of a segment at or after an offset, no older than `lsn`.
fn find_batch(bytes: &[u8], from: u64, seq: u64, lsn: u64) -> Option<(u64, u64)> {
    let step = usize::try_from(SECTOR).unwrap_or(usize::MAX);
    let start = usize::try_from(from).unwrap_or(usize::MAX);
    (start..bytes.len()).step_by(step).find_map(|at| {
        let rest = bytes.get(at..)?;
        let batch = BatchHeader::decode(rest)?;
        let matches = batch.seq == seq && batch.lsn >= lsn && batch.body(rest).is_some();
        matches.then_some((at as u64, batch.lsn))
    })
}

/// Makes the last segment durable as it was read, with zeros for what a torn batch or an earlier life
/// of the file left behind the last batch.
fn settle(segment: &Segment, bytes: &[u8], end: &End) -> Result<(), StorageError> {
    const CHUNK: usize = 64 * 1024;
    let failed = |error| StorageError::io("settle the end of log segment", &segment.path, error);
    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    // A sync alone would not do: after a failed one Linux takes the pages for written. Only the
    // batch after the last good sync can be affected, and a header without batches.
    for (from, to) in [(0, SECTOR), (end.last, end.offset)] {
        let kept = bytes.get(place(from)..place(to).min(bytes.len())).unwrap_or_default();
        segment.file.write_at(from, kept).map_err(failed)?;
    }
    let rest = bytes.get(place(end.offset)..).unwrap_or_default();
    for (at, chunk) in rest.chunks(CHUNK).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            let offset = end.offset + (at * CHUNK) as u64;
            segment.file.write_at(offset, &vec![0; chunk.len()]).map_err(failed)?;
        }
    }
    segment.file.sync().map_err(failed)
}
