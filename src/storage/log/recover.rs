//! What a start makes of the segment files.
//!
//! Why it exists: after a power cut the last batch may be torn, and that is the only damage that is
//! no fault. It is cut off and overwritten with zeros. Everything else (a bad checksum with valid
//! batches after it, a missing segment, a jump of the lsn) means that acknowledged bytes are gone:
//! the log refuses to open and names the file and the offset.
//!
//! What it found is durable when `recover` returns: after a killed process the last batch may be no
//! more than memory of the system, and after a failed sync not even that.
//!
//! Relies on: segments are written one after the other, and a segment's header (synced before its
//! first batch) names the lsn that the segment before it ended with. Headers and batches name the
//! floor, below which no segment is needed: one at or above it that is missing is damage.

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
    pub(super) numbers: Numbers,
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// The newest segment.
    pub(super) seq: u64,
    /// The last durable batch.
    pub(super) lsn: u64,
    /// The oldest segment that is needed.
    pub(super) floor: u64,
}

/// Where the batches of one segment end.
struct End {
    offset: u64,
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
    for synced in dir.parent().into_iter().chain([dir]) {
        disk.sync_dir(synced)
            .map_err(|error| StorageError::io("sync log directory", synced, error))?;
    }
    let names =
        disk.list(dir).map_err(|error| StorageError::io("list log directory", dir, error))?;
    let spares = Spares::open(Arc::clone(disk), dir, &names, options.segment_bytes)?;
    let mut seqs: Vec<u64> = names.iter().filter_map(|name| segment_seq(name)).collect();
    seqs.sort_unstable();
    let gap = seqs.iter().zip(seqs.iter().skip(1)).rposition(|(seq, next)| seq + 1 != *next);
    let (strays, run) = seqs.split_at(gap.map_or(0, |at| at + 1));
    let mut recovery = Recovery {
        disk: Arc::clone(disk),
        out: Recovered {
            kept: Kept::default(),
            spares,
            position: None,
            numbers: Numbers::default(),
        },
        before: None,
    };
    for (at, seq) in run.iter().enumerate() {
        recovery.segment(&segment_path(dir, *seq), *seq, at + 1 == run.len(), options)?;
    }
    recovery.check_floor(dir, run.first().copied())?;
    recovery.check_holes(dir)?;
    for seq in strays {
        let path = segment_path(dir, *seq);
        let removed = disk.remove(&path);
        removed.map_err(|error| StorageError::io("remove log segment", &path, error))?;
    }
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
        if is_last {
            // Earlier ones were synced before the next was begun.
            file.sync().and_then(|()| file.forget()).map_err(failed)?;
        }
        let len = file.len().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let count = file.read_at(0, &mut bytes).map_err(failed)?;
        bytes.truncate(count);
        self.out.numbers.seq = seq;
        let Some(header) = SegmentHeader::decode(&bytes).filter(|header| header.seq == seq) else {
            return self.without_header(path, seq, is_last, &bytes, options);
        };
        check_version(path, header.version)?;
        self.check_joint(path, &header)?;
        self.raise_floor(path, seq, header.floor)?;
        let segment = Arc::new(Segment { seq, path: path.to_owned(), file, len });
        self.out.kept.segments.insert(seq, Arc::clone(&segment));
        let end = self.batches(path, &header, &bytes)?;
        if is_last {
            self.check_nothing_after(path, &header, &bytes, &end)?;
            zero_rest(&segment, &bytes, end.offset)?;
            let (salt, offset) = (header.salt, end.offset);
            self.out.position = Some(Position { segment, salt, offset });
        }
        self.before = Some((path.to_owned(), end));
        Ok(())
    }

    /// A segment must begin where the one before it ended.
    fn check_joint(&mut self, path: &Path, header: &SegmentHeader) -> Result<(), StorageError> {
        match &self.before {
            None => self.out.numbers.lsn = header.first_lsn.saturating_sub(1),
            Some(_) if header.first_lsn == self.out.numbers.lsn + 1 => {}
            Some((before, end)) if header.first_lsn > self.out.numbers.lsn => {
                let (lsn, next) = (self.out.numbers.lsn, header.first_lsn);
                let reason = format!(
                    "{}; batches end with {lsn}, but {} goes on with {next}",
                    end.reason,
                    path.display()
                );
                return Err(corrupt(before, end.offset, reason));
            }
            Some(_) => {
                let (lsn, next) = (self.out.numbers.lsn, header.first_lsn);
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
        let begun = find_batch(bytes, SECTOR, |batch| batch.seq == seq).is_some();
        // Only the first segment of all has none before it.
        if !is_last || begun || (self.before.is_none() && seq > 1) {
            return Err(corrupt(path, 0, "the segment header is damaged"));
        }
        self.out.spares.give(path, bytes.len() as u64, options.recycle_max)?;
        self.out.numbers.seq = seq - 1;
        let Some((before, end)) = self.before.take() else { return Ok(()) };
        // The segment before it is the last one after all.
        let Some(segment) = self.out.kept.segments.get(&(seq - 1)).cloned() else { return Ok(()) };
        let mut bytes = vec![0; usize::try_from(segment.len).unwrap_or(usize::MAX)];
        let failed = |error| StorageError::io("read log segment", &before, error);
        let count = segment.file.read_at(0, &mut bytes).map_err(failed)?;
        bytes.truncate(count);
        let header = SegmentHeader::decode(&bytes)
            .ok_or_else(|| corrupt(&before, 0, "the segment header changed while it was read"))?;
        self.check_nothing_after(&before, &header, &bytes, &end)?;
        zero_rest(&segment, &bytes, end.offset)?;
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
        let mut offset = SECTOR;
        loop {
            let end = |reason| Ok(End { offset, reason });
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
            let expected = self.out.numbers.lsn + 1;
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
            self.out.numbers.lsn = batch.lsn;
            self.raise_floor(path, segment.seq, batch.floor)?;
            offset = format::align(offset + (BATCH_HEADER + body.len()) as u64);
        }
    }

    fn check_nothing_after(
        &self,
        path: &Path,
        header: &SegmentHeader,
        bytes: &[u8],
        end: &End,
    ) -> Result<(), StorageError> {
        let later = |batch: &BatchHeader| {
            (batch.seq, batch.salt) == (header.seq, header.salt) && batch.lsn > self.out.numbers.lsn
        };
        if let Some((later, lsn)) = find_batch(bytes, end.offset + SECTOR, later) {
            let reason = format!("{}, but batch {lsn} at offset {later} is whole", end.reason);
            return Err(corrupt(path, end.offset, reason));
        }
        Ok(())
    }

    fn raise_floor(&mut self, path: &Path, seq: u64, floor: u64) -> Result<(), StorageError> {
        if floor > seq {
            return Err(corrupt(path, 0, format!("names segment {floor} as the oldest needed")));
        }
        self.out.numbers.floor = self.out.numbers.floor.max(floor);
        Ok(())
    }

    /// Every segment from the floor on must be there, and nothing below it may be alive.
    fn check_floor(&self, dir: &Path, first: Option<u64>) -> Result<(), StorageError> {
        let floor = self.out.numbers.floor;
        if let Some(first) = first.filter(|first| *first > floor.max(1)) {
            let reason =
                format!("the segment is missing: from {} on they are needed", floor.max(1));
            return Err(corrupt(&segment_path(dir, first - 1), 0, reason));
        }
        let below = self.out.kept.segments.range(..floor);
        for (seq, segment) in below {
            if self.out.kept.live_of(*seq).items > 0 {
                let reason = format!("nothing before segment {floor} should be needed, this is");
                return Err(corrupt(&segment.path, 0, reason));
            }
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

/// The first whole batch at or after an offset that is asked for.
fn find_batch(bytes: &[u8], from: u64, asked: impl Fn(&BatchHeader) -> bool) -> Option<(u64, u64)> {
    let step = usize::try_from(SECTOR).unwrap_or(usize::MAX);
    let start = usize::try_from(from).unwrap_or(usize::MAX);
    (start..bytes.len()).step_by(step).find_map(|at| {
        let rest = bytes.get(at..)?;
        let batch = BatchHeader::decode(rest)?;
        (asked(&batch) && batch.body(rest).is_some()).then_some((at as u64, batch.lsn))
    })
}

/// Overwrites what a torn batch or an earlier life of the file left behind the last batch.
fn zero_rest(segment: &Segment, bytes: &[u8], from: u64) -> Result<(), StorageError> {
    const CHUNK: usize = 64 * 1024;
    let failed = |error| StorageError::io("cut the torn tail of log segment", &segment.path, error);
    let start = usize::try_from(from).unwrap_or(usize::MAX);
    let rest = bytes.get(start..).unwrap_or_default();
    let mut dirty = false;
    for (at, chunk) in rest.chunks(CHUNK).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            let offset = from + (at * CHUNK) as u64;
            segment.file.write_at(offset, &vec![0; chunk.len()]).map_err(failed)?;
            dirty = true;
        }
    }
    if dirty {
        segment.file.sync().map_err(failed)?;
    }
    Ok(())
}
