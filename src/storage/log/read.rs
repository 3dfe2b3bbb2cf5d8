//! Entries that are no longer in memory, from the segment files.

use bytes::Bytes;

use super::format::Fields;
use super::kept::{Kept, Place};
use super::segment::Segment;
use super::types::Entry;
use crate::runtime::limits::{LOG_READ_GAP_BYTES, LOG_READ_SPAN_BYTES};
use crate::storage::{GroupId, StorageError};

/// Bytes before an entry: its length and its checksum.
const BEFORE: u32 = 8;

/// Consecutive entries that lie close together in one segment.
pub(super) struct Run {
    pub(super) segment: std::sync::Arc<Segment>,
    pub(super) first: u64,
    pub(super) places: Vec<Place>,
}

/// Plans the reads of a range, up to `bytes_max`; stops early where an entry is not on disk.
pub(super) fn plan(
    kept: &Kept,
    group: GroupId,
    range: std::ops::Range<u64>,
    bytes_max: usize,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let Some(kept_group) = kept.groups.get(&group) else { return runs };
    let mut bytes = 0u64;
    for index in range.clone() {
        let Some(place) = kept_group.place(index) else { break };
        bytes += u64::from(place.len);
        if bytes > bytes_max as u64 && index != range.start {
            break;
        }
        if let Some(run) = runs.last_mut().filter(|run| run.joins(index, place)) {
            run.places.push(place);
        } else {
            let Some(segment) = kept.segments.get(&place.seq) else { break };
            runs.push(Run::new(segment, index, place));
        }
    }
    runs
}

impl Run {
    pub(super) fn new(segment: &std::sync::Arc<Segment>, first: u64, place: Place) -> Self {
        Self { segment: std::sync::Arc::clone(segment), first, places: vec![place] }
    }

    /// Whether an entry is the next one, and worth the same read.
    pub(super) fn joins(&self, index: u64, place: Place) -> bool {
        let (Some(first), Some(last)) = (self.places.first(), self.places.last()) else {
            return false;
        };
        let end = u64::from(place.offset) + u64::from(place.len);
        index == self.first + self.places.len() as u64
            && place.seq == first.seq
            && place.offset > last.offset
            && place.offset - last.offset - last.len <= LOG_READ_GAP_BYTES
            && end - u64::from(first.offset) <= LOG_READ_SPAN_BYTES
    }
}

/// Reads entries that stand in this order in a segment, with one read; checks every one.
pub(super) fn read_run(
    segment: &Segment,
    first_index: u64,
    places: &[Place],
) -> Result<Vec<Entry>, StorageError> {
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return Ok(Vec::new());
    };
    let start = u64::from(first.offset - BEFORE);
    let end = u64::from(last.offset) + u64::from(last.len);
    let mut buffer = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
    let count = segment
        .file
        .read_at(start, &mut buffer)
        .map_err(|error| StorageError::io("read log segment", &segment.path, error))?;
    buffer.truncate(count);
    let bytes = Bytes::from(buffer);
    let mut entries = Vec::with_capacity(places.len());
    for (index, place) in (first_index..).zip(places) {
        let at = usize::try_from(u64::from(place.offset - BEFORE) - start).unwrap_or(usize::MAX);
        let mut fields = Fields(bytes.get(at..).unwrap_or_default());
        let found = (fields.u32(), fields.u32(), fields.take(place.len as usize));
        match found {
            (Some(len), Some(crc), Some(entry))
                if len == place.len && crc == crc32c::crc32c(entry) =>
            {
                entries.push(Entry { index, bytes: bytes.slice_ref(entry) });
            }
            _ => {
                return Err(StorageError::Corrupt {
                    path: segment.path.clone(),
                    offset: u64::from(place.offset),
                    reason: format!("entry {index} does not match its checksum"),
                });
            }
        }
    }
    Ok(entries)
}
