//! Changes that are not flushed yet, over the rows that are visible.
//!
//! Why it exists: several operations are flushed together, and the later ones must see what the earlier
//! ones did; none may be seen by anybody else before that. Replay folds the same records over the same
//! rows with the same code.
//!
//! Promises: [`Draft::fold`] is a function of the rows and the record, without clock or chance, so that
//! rows are what the log comes to; what is in a draft is visible all at once or never. Relies on its
//! owner to throw a draft away after the first failure.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use bytes::Bytes;

use super::rows::{self as own_rows, LostAt, Once, Own};
use super::sums::Change;
use super::words::ReadError;
use crate::model::eventual::fate::{Beat, note_beat};
use crate::model::eventual::{
    Act, Cell, Cells, Content, DataType, Dot, Field, FieldKind, Head, Member, Op, Record, apply,
    rows,
};
use crate::runtime::limits::{
    EVENTUAL_ONCE_FORGET, EVENTUAL_ONCE_KEEP_MS, EVENTUAL_ONCE_MAX, SHARD_SCAN_ROWS,
};
use crate::storage::{Effect, GroupId, State, StorageError};

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        Self { reason: error.to_string() }
    }
}

impl From<crate::model::codec::CodecError> for ReadError {
    fn from(error: crate::model::codec::CodecError) -> Self {
        Self { reason: error.to_string() }
    }
}

/// Where a shard's rows are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) state: State,
    pub(super) group: GroupId,
    pub(super) data_type: DataType,
    /// Who originates here.
    pub(super) member: Member,
}

impl Place {
    /// A visible row.
    pub(super) fn get(&self, row: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.state.get(self.group, row)?.value)
    }

    /// Some visible rows of a range.
    pub(super) fn scan(
        &self,
        range: &Range<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (from, to) = (Bound::Included(&range.start[..]), Bound::Excluded(&range.end[..]));
        Ok(self.state.scan(self.group, from, to, limit)?.0)
    }
}

impl Place {
    /// How many visible rows of a range there are, up to a bound.
    pub(super) fn count(&self, range: &Range<Bytes>, most: usize) -> Result<usize, ReadError> {
        let (mut count, mut range) = (0, range.clone());
        while count < most {
            let step = SHARD_SCAN_ROWS.min(most - count);
            let found = self.scan(&range, step)?;
            count += found.len();
            let Some((last, _)) = found.last().filter(|_| found.len() >= step) else { break };
            range.start = own_rows::after(last);
        }
        Ok(count)
    }
}

/// Bytes of a value.
pub(super) fn content_bytes(content: &Content) -> u64 {
    match content {
        Content::Value { value, .. } => value.len() as u64,
        Content::Total(_) | Content::Present | Content::Dropped => 0,
    }
}

/// Whether of concurrent values in a cell only one is shown, so that the others are lost.
pub(super) fn is_ranked(data_type: DataType, field: &Field) -> bool {
    data_type.ranks() && field.kind == FieldKind::Register
}

/// Changes over the visible rows.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) place: Place,
    pub(super) rows: BTreeMap<Bytes, Option<Bytes>>,
    /// What is applied, and what is known of others.
    pub(super) head: Head,
    /// What the replica knows of itself.
    pub(super) own: Own,
    /// How digests and figures change.
    pub(super) change: Change,
    /// Whether anything but beats was folded.
    pub(super) is_news: bool,
    /// How many operations were folded.
    pub(super) ops: u64,
}

impl Draft {
    /// No changes yet.
    pub(super) fn new(place: Place, head: Head, own: Own) -> Self {
        let (rows, change) = (BTreeMap::new(), Change::default());
        Self { place, rows, head, own, change, is_news: false, ops: 0 }
    }

    /// A row as it will be.
    pub(super) fn get(&self, row: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.rows.get(row) {
            Some(changed) => Ok(changed.clone()),
            None => self.place.get(row),
        }
    }

    /// Some rows of a range as they will be.
    pub(super) fn scan(
        &self,
        range: &Range<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let mut found = Vec::new();
        let mut from = range.start.clone();
        let step = limit.clamp(1, SHARD_SCAN_ROWS);
        while found.len() < limit && from < range.end {
            let visible = self.place.scan(&(from.clone()..range.end.clone()), step)?;
            // Up to where the visible rows are known, changed ones are merged in.
            let full = visible.len() >= step;
            let upto = visible.last().filter(|_| full).map(|(row, _)| own_rows::after(row));
            let upto = upto.unwrap_or_else(|| range.end.clone());
            let mut merged: BTreeMap<Bytes, Option<Bytes>> =
                visible.into_iter().map(|(row, value)| (row, Some(value))).collect();
            let changed =
                self.rows.range::<Bytes, _>((Bound::Included(&from), Bound::Excluded(&upto)));
            merged.extend(changed.map(|(row, value)| (row.clone(), value.clone())));
            found.extend(merged.into_iter().filter_map(|(row, value)| Some((row, value?))));
            from = upto;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// So many cells of a key, or all of them.
    pub(super) fn some_cells_of(
        &self,
        key: &[u8],
        limit: usize,
    ) -> Result<Vec<(Field, Cell)>, ReadError> {
        let found = self.scan(&rows::key_cells(key), limit)?;
        found.iter().map(|(row, value)| decode_cell(row, value).map(|(_, f, c)| (f, c))).collect()
    }

    pub(super) fn put(&mut self, row: Bytes, value: Option<Bytes>) {
        self.rows.insert(row, value);
    }

    /// Where a loss is on record, if it is.
    pub(super) fn recorded(
        &self,
        key: &[u8],
        field: &Field,
        dot: Dot,
    ) -> Result<Option<LostAt>, ReadError> {
        let at = self.get(&rows::lost_at_key(key, field, dot))?;
        Ok(at.as_ref().map(LostAt::decode).transpose()?)
    }

    /// Makes the record's changes.
    pub(super) fn fold(&mut self, record: &Record) -> Result<(), ReadError> {
        self.own.closed = matches!(record, Record::Closed);
        match record {
            Record::Op(op) => self.fold_op(op)?,
            Record::Merge(merge) => {
                for (key, field, cell) in &merge.cells {
                    let row = rows::cell_key(key, field);
                    let before = self.get(&row)?;
                    self.put_cell((key, field), before.as_ref(), cell.clone())?;
                }
                self.put_on_record(&merge.lost)?;
                self.own.ahead.join(&merge.vector);
                self.is_news = true;
            }
            Record::Reached(reached) => {
                for (actor, counter) in &reached.vector.0 {
                    // The log says all operations of the others.
                    if *counter > self.head.vector.of(*actor) {
                        self.own.jumped.0.insert(*actor, *counter);
                    }
                }
                self.head.vector.join(&reached.vector);
                for beat in reached.beats.values() {
                    note_beat(&mut self.head.beats, beat.clone());
                }
                self.head.hlc = self.head.hlc.max(reached.hlc);
                self.is_news = true;
            }
            Record::Final(losses) => self.put_on_record(losses)?,
            Record::Closed => {}
            Record::Gate(gate) => self.own.gate = Some(*gate),
            Record::Piece { .. } => {
                let reason = "a part of a record is no record".to_owned();
                return Err(ReadError { reason });
            }
        }
        if self.head.vector.includes(&self.own.ahead) {
            self.own.ahead = Default::default();
        }
        Ok(())
    }

    fn fold_op(&mut self, op: &Op) -> Result<(), ReadError> {
        match &op.act {
            Act::Write { key, changes, once, .. } => {
                for change in changes {
                    let row = rows::cell_key(key, &change.field);
                    let before = self.get(&row)?;
                    let cell = before.as_ref().map(Cell::decode).transpose()?;
                    let cell = apply(cell, op.dot, op.hlc, change);
                    self.put_cell((key, &change.field), before.as_ref(), cell)?;
                }
                if let Some((hash, body)) = once {
                    self.remember(*hash, Once { body: *body, dot: op.dot, hlc: op.hlc })?;
                }
                self.is_news = true;
            }
            Act::Beat { vector, members } => {
                let (vector, members) = (vector.clone(), *members);
                let beat = Beat { dot: op.dot, hlc: op.hlc, vector, members };
                note_beat(&mut self.head.beats, beat);
            }
        }
        self.ops += 1;
        self.head.vector.advance(op.dot);
        self.head.hlc = self.head.hlc.max(op.hlc);
        if Member::from(op.dot.actor) == self.place.member {
            self.own.stamp = self.own.stamp.max(op.hlc);
        }
        Ok(())
    }

    /// What a once key was used for, if that is remembered and not too long ago.
    pub(super) fn asked(&self, hash: u64, now_ms: u64) -> Result<Option<Once>, ReadError> {
        let once = self.get(&rows::once_key(hash))?.as_ref().map(Once::decode).transpose()?;
        Ok(once.filter(|once| once.hlc.ms() + EVENTUAL_ONCE_KEEP_MS >= now_ms))
    }

    fn remember(&mut self, hash: u64, once: Once) -> Result<(), ReadError> {
        let row = rows::once_key(hash);
        if let Some(before) = self.get(&row)?.as_ref().map(Once::decode).transpose()? {
            if before.hlc.ms() + EVENTUAL_ONCE_KEEP_MS >= once.hlc.ms() {
                return Ok(());
            }
            self.put(own_rows::once_age_key(before.hlc, hash), None);
            self.own.once -= 1;
        }
        self.put(row, Some(once.encode()));
        self.put(own_rows::once_age_key(once.hlc, hash), Some(Bytes::new()));
        self.own.once += 1;
        let oldest = self.scan(&own_rows::all_once_ages(), EVENTUAL_ONCE_FORGET)?;
        for (age_row, _) in oldest {
            let Some((hlc, hash)) = own_rows::split_once_age_key(&age_row) else { continue };
            let is_old = hlc.ms() + EVENTUAL_ONCE_KEEP_MS < once.hlc.ms();
            if !is_old && self.own.once <= EVENTUAL_ONCE_MAX {
                break;
            }
            self.put(Bytes::copy_from_slice(&age_row), None);
            self.put(rows::once_key(hash), None);
            self.own.once -= 1;
        }
        Ok(())
    }

    /// The changes of rows, and what was counted of them.
    pub(super) fn finish(mut self) -> Finished {
        self.put(Bytes::from_static(rows::HEAD_KEY), Some(self.head.encode()));
        self.put(Bytes::from_static(own_rows::OWN_KEY), Some(self.own.encode()));
        let effects = self.rows.into_iter().map(|(row, value)| Effect::plain(row, value)).collect();
        let Self { head, own, change, is_news, ops, .. } = self;
        Finished { effects, head, own, change, is_news, ops }
    }
}

/// A draft that is to become visible.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) effects: Vec<Effect>,
    pub(super) head: Head,
    pub(super) own: Own,
    pub(super) change: Change,
    pub(super) is_news: bool,
    pub(super) ops: u64,
}

impl Cells for Draft {
    type Error = ReadError;

    fn cell(&self, key: &[u8], field: &Field) -> Result<Option<Cell>, ReadError> {
        let row = self.get(&rows::cell_key(key, field))?;
        Ok(row.as_ref().map(Cell::decode).transpose()?)
    }

    fn cells_of(&self, key: &[u8]) -> Result<Vec<(Field, Cell)>, ReadError> {
        self.some_cells_of(key, usize::MAX)
    }
}

/// Key, field and cell of a row.
pub(super) fn decode_cell(row: &[u8], value: &Bytes) -> Result<(Bytes, Field, Cell), ReadError> {
    let (key, field) = rows::split_cell_key(row)
        .ok_or_else(|| ReadError { reason: "a cell's row has a key of another kind".to_owned() })?;
    Ok((key, field, Cell::decode(value)?))
}
