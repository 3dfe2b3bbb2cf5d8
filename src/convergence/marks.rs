//! How a draft puts cells, and losses on record.
//!
//! Why it exists: a swept write stands as a mark in its cell until its loss is final, and then in a
//! record of its own; in the sums it counts once, wherever it stands. Promises: the sums change by what
//! the rows do. Relies on every change of a cell or of a record to go this way: so a mark that stood
//! alone is not on record, and a write to a cell with many marks looks up few of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::draft::{Draft, content_bytes, is_ranked};
use super::rows::{self as own_rows, LostAt};
use super::words::ReadError;
use crate::model::eventual::fate::losses;
use crate::model::eventual::{Cell, Dot, Field, LostRecord, rows, settle};
use crate::runtime::limits::{LOST_VALUE_BYTES, SWEPT_VALUE_BYTES};

impl Draft {
    /// Puts a cell in the place of what stood there, without marks of what is on record.
    pub(super) fn put_cell(
        &mut self,
        place: (&Bytes, &Field),
        before: Option<&Bytes>,
        cell: Option<Cell>,
    ) -> Result<(), ReadError> {
        let old = before.map(Cell::decode).transpose()?;
        if let (Some(bytes), Some(old)) = (before, &old) {
            self.take_out(place, bytes, old)?;
        }
        self.put_in(place, old.as_ref(), cell, &BTreeSet::new())
    }

    /// Takes a cell out of the sums, while it stands nowhere.
    fn take_out(
        &mut self,
        (key, field): (&Bytes, &Field),
        bytes: &Bytes,
        cell: &Cell,
    ) -> Result<(), ReadError> {
        let row_bytes = rows::cell_key(key, field).len() + bytes.len();
        self.change.turn_cell(false, row_bytes, (key, field), cell);
        self.turn_records(true, (key, field), cell)
    }

    /// Puts a cell in whose predecessor was taken out. A mark that stood alone in the old one is not on
    /// record as swept, or it would have gone by that; so only the others are looked up, and those that
    /// came on record since. While a member is away a cell may have many.
    fn put_in(
        &mut self,
        (key, field): (&Bytes, &Field),
        old: Option<&Cell>,
        cell: Option<Cell>,
        since: &BTreeSet<Dot>,
    ) -> Result<(), ReadError> {
        let row = rows::cell_key(key, field);
        let ranked = is_ranked(self.place.data_type, field);
        let stood = |dot: &Dot| {
            old.is_some_and(|old| old.swept.contains_key(dot) && !old.live.contains_key(dot))
                && !since.contains(dot)
        };
        let (mut swept, mut is_open) = (BTreeSet::new(), false);
        for loss in cell.iter().flat_map(|cell| losses(ranked, cell)) {
            if loss.swept && stood(&loss.loser) {
                is_open = true;
                continue;
            }
            match self.recorded(key, field, loss.loser)? {
                Some(LostAt { swept_by: Some(_), .. }) => drop(swept.insert(loss.loser)),
                Some(_) => is_open |= loss.swept,
                None => is_open = true,
            }
        }
        let mut cell = settle(cell, |dot| swept.contains(&dot));
        if let Some(cell) = &mut cell {
            cell.drop_values(SWEPT_VALUE_BYTES);
        }
        let was_open = old.is_some_and(|old| losses(ranked, old).next().is_some());
        if is_open || was_open {
            self.put(own_rows::open_key(&row), is_open.then(Bytes::new));
        }
        let (none, place) = (BTreeMap::new(), (&key[..], field));
        let before = old.map_or(&none, |old| &old.swept);
        let after = cell.as_ref().map_or(&none, |cell| &cell.swept);
        self.change.turn_marks(place, before, after);
        let value = cell.as_ref().map(Cell::encode);
        if let (Some(cell), Some(bytes)) = (&cell, &value) {
            self.change.turn_cell(true, row.len() + bytes.len(), place, cell);
            self.turn_records(false, (key, field), cell)?;
        }
        self.put(row, value);
        Ok(())
    }

    /// Records of what is marked as well do not count beside their marks: they come to count when the
    /// cell goes, and count no more when it comes. A mark stands beside its record only where the
    /// version is live too.
    fn turn_records(
        &mut self,
        count: bool,
        (key, field): (&Bytes, &Field),
        cell: &Cell,
    ) -> Result<(), ReadError> {
        for dot in cell.live.keys().filter(|dot| cell.swept.contains_key(*dot)) {
            if let Some(LostAt { swept_by, .. }) = self.recorded(key, field, *dot)? {
                self.change.turn_lost(count, (key, field, *dot), swept_by);
            }
        }
        Ok(())
    }

    /// Puts losses on record, and drops their marks.
    pub(super) fn put_on_record(&mut self, lost: &[LostRecord]) -> Result<(), ReadError> {
        for of_cell in lost.chunk_by(|a, b| a.key == b.key && a.field == b.field) {
            let Some(LostRecord { key, field, .. }) = of_cell.first() else { continue };
            let before = self.get(&rows::cell_key(key, field))?;
            let cell = before.as_ref().map(Cell::decode).transpose()?;
            if let (Some(before), Some(cell)) = (&before, &cell) {
                self.take_out((key, field), before, cell)?;
            }
            for lost in of_cell {
                self.note(lost)?;
            }
            if let Some(cell) = cell {
                let since = of_cell.iter().map(|lost| lost.dot).collect();
                self.put_in((key, field), Some(&cell), Some(cell.clone()), &since)?;
            }
        }
        Ok(())
    }

    /// Notes a loss, unless it is on record. That something was swept takes the place of that it was
    /// outranked.
    fn note(&mut self, lost: &LostRecord) -> Result<(), ReadError> {
        let LostRecord { key, field, dot, .. } = lost;
        let known = self.recorded(key, field, *dot)?;
        if known.as_ref().is_some_and(|known| known.swept_by.is_some() || !lost.swept) {
            return Ok(());
        }
        let row = rows::lost_key(lost.hlc, *dot, field);
        let bytes = lost.content.as_ref().map_or(0, content_bytes);
        let mut lost = lost.clone();
        if known.is_some() {
            self.change.turn_lost(false, (key, field, *dot), None);
            lost.content = self
                .get(&row)?
                .as_ref()
                .map(LostRecord::decode)
                .transpose()?
                .and_then(|known| known.content);
        } else {
            self.change.count_lost();
            self.head.totals.lost += 1;
            self.head.totals.lost_bytes += bytes;
            if row <= self.own.stripped {
                lost.content = None;
            } else {
                self.own.lost_bytes += bytes;
            }
        }
        let swept_by = lost.swept.then_some(lost.by);
        let at = LostAt { swept_by, row: row.clone() };
        self.put(rows::lost_at_key(&lost.key, &lost.field, lost.dot), Some(at.encode()));
        self.change.turn_lost(true, (&lost.key, &lost.field, lost.dot), swept_by);
        self.put(row, Some(lost.encode()));
        self.strip()
    }

    /// Takes the oldest lost values away while there are too many bytes of them.
    fn strip(&mut self) -> Result<(), ReadError> {
        while self.own.lost_bytes > LOST_VALUE_BYTES {
            let from = own_rows::after(&self.own.stripped).max(rows::all_lost().start);
            let oldest = self.scan(&(from..rows::all_lost().end), 1)?;
            let Some((row, bytes)) = oldest.into_iter().next() else { return Ok(()) };
            let mut lost = LostRecord::decode(&bytes)?;
            let freed = lost.content.take().as_ref().map_or(0, content_bytes);
            self.own.lost_bytes = self.own.lost_bytes.saturating_sub(freed);
            let row = Bytes::copy_from_slice(&row);
            self.own.stripped = row.clone();
            self.put(row, Some(lost.encode()));
        }
        Ok(())
    }
}
