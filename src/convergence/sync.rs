//! State syncs: pages of rows for others, and what pages of others do here.
//!
//! Why it exists: who was away for longer than the log reaches back takes rows instead of operations.
//! Source and reader go through the same order of *positions*: a cell's is its row's key, and behind it
//! come those of the losses on record there. A page holds all that its source has between two positions,
//! at one moment; its reader compares that with what it has between them.
//!
//! Promises: a page may be newer than the first one of its sync, and a sync may end anywhere: each page
//! is merged by what its source knew exactly then, and the vector moves only at the end, by what the
//! source knew at the beginning (rule R1). Dots that come early stand above the vector, where own writes
//! do not touch them (R3), until their operations come and change nothing. A page that changes nothing
//! writes nothing. Relies on `merge_cell`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;

use super::batch::Batch;
use super::draft::{Place, decode_cell};
use super::part::Bounds;
use super::rows::{LostAt, after};
use super::shard::Shard;
use super::words::{BucketSet, ReadError, SnapshotPage, Stop};
use super::worker::Command;
use crate::model::eventual::digest::bucket_of;
use crate::model::eventual::{Cell, Field, LostRecord, Merge, Record, Vector, merge_cell, rows};
use crate::runtime::limits::{SHARD_SCAN_ROWS, SNAPSHOT_PAGE_BYTES, SNAPSHOT_PAGE_ROWS};

/// What a page is made of at most, while nothing is applied.
const PAGE: Bounds = Bounds { rows: SNAPSHOT_PAGE_ROWS, bytes: SNAPSHOT_PAGE_BYTES };

/// What a step of a merge reads.
const MERGE: Bounds = Bounds { rows: SHARD_SCAN_ROWS, bytes: SNAPSHOT_PAGE_BYTES };

/// A position as the key of a row of losses.
fn as_lost(position: &Bytes) -> Bytes {
    with_kind(rows::LOST_AT, position)
}

/// The key of a row of losses as a position.
fn position_of_lost(row: &Bytes) -> Bytes {
    with_kind(rows::CELL, row)
}

fn with_kind(kind: u8, row: &Bytes) -> Bytes {
    let mut other = row.to_vec();
    if let Some(first) = other.first_mut() {
        *first = kind;
    }
    other.into()
}

fn is_wanted(buckets: Option<&Arc<BucketSet>>, key: &[u8]) -> bool {
    buckets.is_none_or(|buckets| buckets.contains(bucket_of(key)))
}

/// The record that a row of losses by place names.
pub(super) fn lost_record(place: &Place, at: &Bytes) -> Result<LostRecord, ReadError> {
    let record = place.get(&LostAt::decode(at)?.row)?;
    let record = record.ok_or_else(|| ReadError { reason: "a loss has no record".to_owned() })?;
    Ok(LostRecord::decode(&record)?)
}

impl Shard {
    /// A page of all that is here from a position on. Without `from` it is the first one; without
    /// `to` in it, the last.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn snapshot_page(
        &self,
        from: Option<Bytes>,
        buckets: Option<Arc<BucketSet>>,
        bytes_max: usize,
    ) -> Result<SnapshotPage, ReadError> {
        let shard = self.clone();
        let page = move || shard.snapshot_page_now(from, buckets, bytes_max);
        self.inner.env.tasks.blocking(page).await
    }

    fn snapshot_page_now(
        &self,
        from: Option<Bytes>,
        buckets: Option<Arc<BucketSet>>,
        bytes_max: usize,
    ) -> Result<SnapshotPage, ReadError> {
        let all = rows::all_cells();
        let range = from.unwrap_or_else(|| all.start.clone())..all.end;
        let place = &self.inner.place;
        // Nothing is applied while this is held, so that rows and vector are of one moment.
        let live = self.inner.live.read();
        let cells = place.part(&range, PAGE)?;
        let lost = place.part(&(as_lost(&range.start)..as_lost(&range.end)), PAGE)?;
        let ends = cells.next.into_iter().chain(lost.next.as_ref().map(position_of_lost));
        let mut to = ends.min();
        let lost = lost.rows.iter().map(|(row, at)| (position_of_lost(row), at, false));
        let cells = cells.rows.iter().map(|(row, cell)| (row.clone(), cell, true));
        let mut found: Vec<_> = cells.chain(lost).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let vector = (*live.vector).clone();
        let mut page = SnapshotPage { vector, from: range.start, ..empty(buckets) };
        let mut bytes = 0;
        for (position, value, is_cell) in found {
            if to.as_ref().is_some_and(|to| position >= *to) {
                break;
            }
            let added = if is_cell {
                page.add_cell(&position, value)?
            } else {
                page.add_lost(place, &position, value)?
            };
            bytes += added;
            if bytes >= bytes_max.min(SNAPSHOT_PAGE_BYTES) {
                to = Some(after(&position));
                break;
            }
        }
        page.to = to;
        Ok(page)
    }

    /// Takes a page of a state sync.
    ///
    /// # Errors
    ///
    /// When the shard has stopped.
    pub async fn merge(&self, page: SnapshotPage) -> Result<(), Stop> {
        let mut from = page.from.clone();
        let incoming = Arc::new(Incoming::of(page));
        loop {
            let part = Arc::clone(&incoming);
            let rest = self.ask(|answer| Command::Merge(part, from, answer)).await?;
            let Some(rest) = rest else { return Ok(()) };
            from = rest;
        }
    }
}

fn empty(buckets: Option<Arc<BucketSet>>) -> SnapshotPage {
    SnapshotPage {
        vector: Vector::default(),
        from: Bytes::new(),
        to: None,
        buckets,
        entries: Vec::new(),
        lost: Vec::new(),
    }
}

impl SnapshotPage {
    /// Whether no page comes before it.
    pub fn is_first(&self) -> bool {
        self.from == rows::all_cells().start
    }

    fn add_cell(&mut self, row: &Bytes, value: &Bytes) -> Result<usize, ReadError> {
        let (key, field, cell) = decode_cell(row, value)?;
        if !is_wanted(self.buckets.as_ref(), &key) {
            return Ok(0);
        }
        self.entries.push((key, field, cell));
        Ok(row.len() + value.len())
    }

    fn add_lost(
        &mut self,
        place: &Place,
        position: &Bytes,
        at: &Bytes,
    ) -> Result<usize, ReadError> {
        // By the key alone: the record may have a long value in it.
        let of = rows::split_lost_at_key(&as_lost(position));
        if of.is_some_and(|(key, ..)| !is_wanted(self.buckets.as_ref(), &key)) {
            return Ok(0);
        }
        let lost = lost_record(place, at)?;
        let bytes = lost.encode().len();
        self.lost.push(lost);
        Ok(bytes)
    }
}

/// A page that was received, by position.
#[derive(Debug)]
pub(super) struct Incoming {
    vector: Vector,
    range: Range<Bytes>,
    buckets: Option<Arc<BucketSet>>,
    cells: BTreeMap<Bytes, (Bytes, Field, Cell)>,
    lost: BTreeMap<Bytes, LostRecord>,
}

impl Incoming {
    fn of(page: SnapshotPage) -> Self {
        let SnapshotPage { vector, from, to, buckets, entries, lost } = page;
        let all = rows::all_cells();
        let range = from.max(all.start)..to.unwrap_or_else(|| all.end.clone()).min(all.end);
        let cells = entries.into_iter();
        let cells = cells.map(|entry| (rows::cell_key(&entry.0, &entry.1), entry)).collect();
        let lost = lost.into_iter().map(|lost| {
            let row = rows::lost_at_key(&lost.key, &lost.field, lost.dot);
            (position_of_lost(&row), lost)
        });
        Self { vector, range, buckets, cells, lost: lost.collect() }
    }

    /// Merges what stands from a position on into a draft; returns where to go on.
    pub(super) fn merge_into(
        &self,
        batch: &mut Batch,
        from: &Bytes,
    ) -> Result<Option<Bytes>, ReadError> {
        let draft = &batch.draft;
        let mine = draft.part(&(from.clone()..self.range.end.clone()), MERGE)?;
        let mut upto = mine.next.unwrap_or_else(|| self.range.end.clone());
        let mine: BTreeMap<Bytes, Bytes> = mine.rows.into_iter().collect();
        let here = || (Bound::Included(from.clone()), Bound::Excluded(upto.clone()));
        let theirs = if *from < upto { Some(self.cells.range(here())) } else { None };
        let theirs = theirs.into_iter().flatten().map(|(row, _)| row);
        let positions: BTreeSet<Bytes> = mine.keys().chain(theirs).cloned().collect();
        let mut merge = Merge { vector: self.vector.clone(), ..Merge::default() };
        let mut bytes = 0;
        for row in positions {
            let before = mine.get(&row);
            let Some((key, field, cell)) = self.merged(&batch.draft.head.vector, &row, before)?
            else {
                continue;
            };
            bytes += row.len() + before.map_or(64, Bytes::len);
            bytes += cell.as_ref().map_or(0, |cell| cell.encode().len());
            merge.cells.push((key, field, cell));
            if bytes >= SNAPSHOT_PAGE_BYTES {
                upto = after(&row);
                break;
            }
        }
        if *from < upto {
            let here = (Bound::Included(from.clone()), Bound::Excluded(upto.clone()));
            for (_, lost) in self.lost.range::<Bytes, _>(here) {
                let known = batch.draft.recorded(&lost.key, &lost.field, lost.dot)?;
                if known.is_none_or(|known| lost.swept && known.swept_by.is_none()) {
                    merge.lost.push(lost.clone());
                }
            }
        }
        if !merge.cells.is_empty() || !merge.lost.is_empty() {
            batch.record(&Record::Merge(merge))?;
        }
        Ok((upto < self.range.end).then_some(upto))
    }

    /// The cell of a row after the merge; `None` if nothing changes.
    #[allow(clippy::type_complexity, reason = "the parts of a merge, as its record lists them")]
    fn merged(
        &self,
        vector: &Vector,
        row: &Bytes,
        before: Option<&Bytes>,
    ) -> Result<Option<(Bytes, Field, Option<Cell>)>, ReadError> {
        let theirs = self.cells.get(row);
        let (key, field, mine) = match (before, theirs) {
            (Some(before), _) => {
                let (key, field, cell) = decode_cell(row, before)?;
                (key, field, Some(cell))
            }
            (None, Some((key, field, _))) => (key.clone(), field.clone(), None),
            (None, None) => return Ok(None),
        };
        if !is_wanted(self.buckets.as_ref(), &key) {
            return Ok(None);
        }
        let theirs = theirs.map(|(_, _, cell)| cell.clone());
        let merged = merge_cell(mine.clone(), vector, theirs, &self.vector);
        Ok((merged != mine).then_some((key, field, merged)))
    }
}
