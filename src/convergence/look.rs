//! What can be read of a shard: keys, fates, losses.
//!
//! Why it exists: every replica answers by itself, also when it is cut off. Promises: a single key's
//! rows and the vector given with them are of one moment; a page of keys shows at least what its vector
//! says; a walk from page to page passes over no key that stands all the time.

use std::sync::Arc;

use bytes::Bytes;

use super::draft::{decode_cell, is_ranked};
use super::open::Pieces;
use super::rows::{LostAt, after};
use super::shard::Shard;
use super::sync::lost_record;
use super::words::{
    ConflictPage, FateView, KeyPage, LogGone, Logged, LoggedOp, LossTotals, LostSince, PageAsk,
    ReadError, WriteError, WriteRequest, Wrote,
};
use crate::model::eventual::fate::{fate, losses};
use crate::model::eventual::{
    Ask, Cell, Content, DataType, Dot, Fate, Field, FieldAsk, FieldEdit, FieldKind, LostRecord,
    Record, Shown, Vector, What, dot_of, read, rows,
};
use crate::runtime::Moment;
use crate::runtime::limits::{
    KEY_CELLS_MAX, SHARD_LOOK_ROWS, SHARD_PAGE_ROWS_MAX, SHARD_SCAN_ROWS,
};
use crate::storage::state::Page;

impl Shard {
    /// What a key holds, and what is in it.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub fn read(&self, key: &[u8]) -> Result<(Shown, Arc<Vector>), ReadError> {
        let (cells, vector) = self.cells(key)?;
        Ok((read(self.data_type(), &cells), vector))
    }

    /// The same where nobody may wait, of what may be large; `None` when it has more than
    /// [`KEY_CELLS_MAX`] elements or fields.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn get(&self, key: &Bytes) -> Result<Option<(Shown, Arc<Vector>)>, ReadError> {
        if matches!(self.data_type(), DataType::Lww | DataType::Mv | DataType::Counter) {
            return self.read(key).map(Some);
        }
        let (shard, key) = (self.clone(), key.clone());
        let read = move || {
            let range = rows::key_cells(&key);
            let found = shard.inner.place.count(&range, KEY_CELLS_MAX + 1)?;
            if found > KEY_CELLS_MAX { Ok(None) } else { shard.read(&key).map(Some) }
        };
        self.inner.env.tasks.blocking(read).await
    }

    /// Whether a key holds anything, which takes a look at few of its rows.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub fn is_there(&self, key: &[u8]) -> Result<bool, ReadError> {
        let mut range = rows::key_cells(key);
        loop {
            let found = self.inner.place.scan(&range, SHARD_LOOK_ROWS)?;
            for (row, value) in &found {
                if !decode_cell(row, value)?.2.live.is_empty() {
                    return Ok(true);
                }
            }
            let Some((last, _)) = found.last().filter(|_| found.len() >= SHARD_LOOK_ROWS) else {
                return Ok(false);
            };
            range.start = after(last);
        }
    }

    #[allow(clippy::type_complexity, reason = "the cells of a key, as they are shown")]
    fn cells(&self, key: &[u8]) -> Result<(Vec<(Field, Cell)>, Arc<Vector>), ReadError> {
        let live = self.inner.live.read();
        let found = self.inner.place.scan(&rows::key_cells(key), usize::MAX)?;
        let vector = Arc::clone(&live.vector);
        drop(live);
        let cells: Result<_, _> = found
            .iter()
            .map(|(row, value)| decode_cell(row, value).map(|(_, f, c)| (f, c)))
            .collect();
        Ok((cells?, vector))
    }

    /// A page of keys.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn page(&self, ask: PageAsk) -> Result<KeyPage, ReadError> {
        let shard = self.clone();
        self.inner.env.tasks.blocking(move || shard.page_now(&ask)).await
    }

    fn page_now(&self, ask: &PageAsk) -> Result<KeyPage, ReadError> {
        let vector = self.vector();
        let mut from = rows::cells_from(&ask.from);
        let end = ask.to.as_ref().map_or_else(|| rows::all_cells().end, |to| rows::cells_from(to));
        let mut to = end;
        let mut page =
            Filling { ask, data_type: self.data_type(), page: Vec::new(), bytes: 0, key: None };
        let mut looked = 0;
        loop {
            let rows = self.rows(&from, &to, ask.reverse)?;
            let Some((last, _)) = rows.0.last() else {
                page.close();
                return Ok(page.done(vector, false));
            };
            if ask.reverse {
                to = last.clone();
            } else {
                from = after(last);
            }
            looked += rows.0.len();
            for (row, value) in &rows.0 {
                let (key, field, cell) = decode_cell(row, value)?;
                if page.take(key, field, cell, row.len() + value.len()) {
                    return Ok(page.done(vector, true));
                }
            }
            if !rows.1 {
                page.close();
                return Ok(page.done(vector, false));
            }
            if looked >= SHARD_PAGE_ROWS_MAX && !page.page.is_empty() {
                return Ok(page.done(vector, true));
            }
        }
    }

    /// Some rows of a range, in order or backward, and whether there are more.
    #[allow(clippy::type_complexity, reason = "rows as the state gives them")]
    fn rows(
        &self,
        from: &Bytes,
        to: &Bytes,
        reverse: bool,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), ReadError> {
        let page = Page {
            from: from.clone(),
            to: Some(to.clone()),
            reverse,
            at: None,
            limit: SHARD_SCAN_ROWS,
            bytes_max: usize::MAX,
            keys_only: false,
        };
        let rows = self.inner.place.state.page(self.inner.place.group, page)?;
        let rows = rows.map_err(|gone| ReadError { reason: gone.to_string() })?;
        Ok((rows.rows, rows.more))
    }

    /// What became of a write to a key, as far as it is known here. Blocks.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub fn fate(&self, dot: Dot, key: &[u8]) -> Result<FateView, ReadError> {
        let (cells, vector) = self.cells(key)?;
        let recorded = self.losses_of(dot, key)?;
        let data_type = self.data_type();
        let mut best: Option<FateView> = None;
        for (field, cell) in &cells {
            let place = (field.kind, is_ranked(data_type, field));
            let lost = recorded.iter().find(|lost| lost.field == *field);
            let (fate, is_final) = fate(dot, place, Some(cell), lost, &vector);
            if rank(fate) > best.as_ref().map_or(0, |best| rank(best.fate)) {
                let (field, lost) = (Some(field.clone()), lost.cloned());
                best = Some(FateView { fate, is_final, field, lost });
            }
        }
        if best.as_ref().is_none_or(|best| rank(best.fate) < 2)
            && let Some(lost) = recorded.into_iter().next()
        {
            let (fate, field) = (Fate::Lost { by: lost.by }, Some(lost.field.clone()));
            return Ok(FateView { fate, is_final: true, field, lost: Some(lost) });
        }
        Ok(best.unwrap_or_else(|| {
            let kind = match data_type {
                DataType::Counter => FieldKind::Counter,
                DataType::Lww | DataType::Mv | DataType::Set | DataType::Map => FieldKind::Register,
            };
            let (fate, is_final) = fate(dot, (kind, data_type.ranks()), None, None, &vector);
            FateView { fate, is_final, field: None, lost: None }
        }))
    }

    /// The records of a write's losses at a key.
    fn losses_of(&self, dot: Dot, key: &[u8]) -> Result<Vec<LostRecord>, ReadError> {
        let mut range = rows::key_lost(key);
        let mut records = Vec::new();
        loop {
            let found = self.inner.place.scan(&range, SHARD_SCAN_ROWS)?;
            for (row, at) in &found {
                if rows::split_lost_at_key(row).is_some_and(|(_, _, lost)| lost == dot) {
                    records.push(lost_record(&self.inner.place, at)?);
                }
            }
            let Some((last, _)) = found.last().filter(|_| found.len() >= SHARD_SCAN_ROWS) else {
                return Ok(records);
            };
            range.start = after(last);
        }
    }

    /// Lost writes on record, of keys that begin so, the oldest first.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn conflicts(
        &self,
        cursor: Option<Bytes>,
        limit: usize,
        prefix: Bytes,
    ) -> Result<ConflictPage, ReadError> {
        let place = self.inner.place.clone();
        let page = move || {
            let all = rows::all_lost();
            let mut from = cursor.map_or(all.start.clone(), |row| after(&row).max(all.start));
            let mut page = ConflictPage::default();
            let mut looked = 0;
            loop {
                let found = place.scan(&(from.clone()..all.end.clone()), SHARD_SCAN_ROWS)?;
                for (row, value) in &found {
                    looked += 1;
                    let lost = LostRecord::decode(value)?;
                    if lost.key.starts_with(&prefix) {
                        page.records.push(lost);
                    }
                    if page.records.len() >= limit.max(1) || looked >= SHARD_PAGE_ROWS_MAX {
                        page.next = Some(Bytes::copy_from_slice(row));
                        return Ok(page);
                    }
                }
                let full = found.len() >= SHARD_SCAN_ROWS;
                let Some((last, _)) = found.last().filter(|_| full) else { return Ok(page) };
                from = after(last);
            }
        };
        self.inner.env.tasks.blocking(page).await
    }

    /// How much was lost, of keys that begin so.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn totals(&self, prefix: Bytes) -> Result<LossTotals, ReadError> {
        let shard = self.clone();
        self.inner.env.tasks.blocking(move || shard.totals_now(&prefix)).await
    }

    fn totals_now(&self, prefix: &[u8]) -> Result<LossTotals, ReadError> {
        let place = &self.inner.place;
        let mut totals = LossTotals::default();
        let mut range = rows::prefix_cells(prefix);
        loop {
            let found = place.scan(&range, SHARD_SCAN_ROWS)?;
            for (row, value) in &found {
                let (key, field, cell) = decode_cell(row, value)?;
                let ranked = is_ranked(place.data_type, &field);
                totals.cells += 1;
                if ranked {
                    totals.without_effect += cell.without_effect();
                }
                for loss in losses(ranked, &cell) {
                    let at = place.get(&rows::lost_at_key(&key, &field, loss.loser))?;
                    let known = at.as_ref().map(LostAt::decode).transpose()?;
                    let is_open = known.is_none_or(|at| loss.swept && at.swept_by.is_none());
                    totals.open += u64::from(is_open);
                }
            }
            let Some((last, _)) = found.last().filter(|_| found.len() >= SHARD_SCAN_ROWS) else {
                break;
            };
            range.start = after(last);
        }
        if prefix.is_empty() {
            let all = self.inner.live.read().head.totals;
            return Ok(LossTotals { lost: all.lost, lost_bytes: all.lost_bytes, ..totals });
        }
        let mut range = rows::prefix_lost(prefix);
        loop {
            let found = place.scan(&range, SHARD_SCAN_ROWS)?;
            for (_, at) in &found {
                let lost = lost_record(place, at)?;
                totals.lost += 1;
                totals.lost_bytes += lost.content.as_ref().map_or(0, super::draft::content_bytes);
            }
            let Some((last, _)) = found.last().filter(|_| found.len() >= SHARD_SCAN_ROWS) else {
                break;
            };
            range.start = after(last);
        }
        Ok(totals)
    }

    /// Puts a lost value back, as a new write that has seen what is there.
    ///
    /// # Errors
    ///
    /// [`WriteError::Restore`] when there is no such loss, or its value is kept no more.
    pub async fn restore(
        &self,
        key: Bytes,
        dot: Dot,
        deadline: Moment,
    ) -> Result<Wrote, WriteError> {
        let unread = |error: ReadError| super::words::Stop { reason: error.reason };
        let (shard, of_key) = (self.clone(), key.clone());
        let records = move || shard.losses_of(dot, &of_key);
        let records = self.inner.env.tasks.blocking(records).await.map_err(unread)?;
        let ask = restored(self.data_type(), records);
        let ask = ask.map_err(|reason| WriteError::Restore { reason })?;
        let context = match self.data_type() {
            // What stands there is replaced; of many values none is, since nobody was asked.
            DataType::Mv => Some(Vec::new()),
            _ => None,
        };
        let request = WriteRequest { key, ask, context, once: None, show: false, deadline };
        self.write(request).await
    }

    // --- the log --------------------------------------------------------------------------------

    /// Operations of the log from an entry on: those that are applied.
    ///
    /// # Errors
    ///
    /// [`LogGone::Trimmed`] when the log begins later.
    pub fn read_ops(&self, from: u64, bytes_max: usize) -> Result<Logged, LogGone> {
        let mut logged = Logged { ops: Vec::new(), next: from };
        for (index, bytes) in self.entries(from, bytes_max)? {
            logged.next = index + 1;
            if let Some(dot) = dot_of(&bytes) {
                logged.ops.push(LoggedOp { index, dot, bytes });
            }
        }
        Ok(logged)
    }

    /// Losses that came on record from an entry on. Blocks. It goes on from the first entry of a
    /// record, which may be several.
    ///
    /// # Errors
    ///
    /// [`LogGone::Trimmed`] when the log begins later.
    pub fn lost_since(&self, from: u64, bytes_max: usize) -> Result<LostSince, LogGone> {
        let mut since = LostSince { records: Vec::new(), next: from };
        let (mut pieces, mut next) = (Pieces::default(), from);
        loop {
            let entries = self.entries(next, bytes_max)?;
            if entries.is_empty() {
                return Ok(since);
            }
            for (index, bytes) in entries {
                next = index + 1;
                let record = match dot_of(&bytes) {
                    Some(_) => None,
                    None => pieces.take(Record::decode(&bytes).map_err(ReadError::from)?)?,
                };
                if pieces.is_empty() {
                    since.next = next;
                }
                match record {
                    Some(Record::Final(lost)) => since.records.extend(lost),
                    Some(Record::Merge(merge)) => since.records.extend(merge.lost),
                    _ => {}
                }
            }
            if pieces.is_empty() {
                return Ok(since);
            }
        }
    }

    fn entries(&self, from: u64, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, LogGone> {
        let tail = self.log_tail();
        if from <= self.base().index {
            return Err(LogGone::Trimmed);
        }
        let group = self.inner.place.group;
        let entries = self.inner.log.read(group, from, tail.saturating_add(1), bytes_max);
        let entries = entries.map_err(ReadError::from)?;
        // Cut off meanwhile: what was read may begin late.
        if from <= self.base().index || entries.first().is_some_and(|first| first.index != from) {
            return Err(LogGone::Trimmed);
        }
        Ok(entries.into_iter().map(|entry| (entry.index, entry.bytes)).collect())
    }
}

/// What puts the values of a write back: of a map's all fields that it has lost.
fn restored(data_type: DataType, records: Vec<LostRecord>) -> Result<Ask, &'static str> {
    let mut fields = Vec::new();
    let mut is_any = false;
    for lost in records {
        is_any = true;
        match lost.content {
            None => return Err("its value is kept no more"),
            Some(Content::Value { value, content_type }) if data_type != DataType::Map => {
                return Ok(Ask::Put { value, content_type });
            }
            Some(Content::Value { value, .. }) => {
                fields.push(FieldAsk { path: lost.field.path, edit: FieldEdit::Put(value) });
            }
            Some(Content::Total(_) | Content::Present | Content::Dropped) => {}
        }
    }
    match (is_any, fields.is_empty()) {
        (false, _) => Err("no such loss is on record"),
        (true, true) => Err("it is no value"),
        (true, false) => Ok(Ask::Fields(fields)),
    }
}

/// Of what several cells say of one write, that counts which ranks highest.
const fn rank(fate: Fate) -> u8 {
    match fate {
        Fate::Lost { .. } => 2,
        Fate::Current => 1,
        Fate::Unknown | Fate::Superseded | Fate::Merged => 0,
    }
}

/// A page of keys that is being filled.
struct Filling<'a> {
    ask: &'a PageAsk,
    data_type: DataType,
    page: Vec<(Bytes, Shown)>,
    bytes: usize,
    /// The key whose cells are being gathered.
    key: Option<(Bytes, Vec<(Field, Cell)>)>,
}

impl Filling<'_> {
    /// Takes a row; says whether the page is full, and the row no part of it.
    fn take(&mut self, key: Bytes, field: Field, cell: Cell, bytes: usize) -> bool {
        if self.key.as_ref().is_some_and(|(gathered, _)| *gathered != key) {
            self.close();
        }
        if self.key.is_none() {
            let is_full = self.page.len() >= self.ask.limit || self.bytes >= self.ask.bytes_max;
            if is_full && !self.page.is_empty() {
                return true;
            }
            self.key = Some((key, Vec::new()));
        }
        if let Some((_, cells)) = &mut self.key {
            cells.push((field, cell));
            self.bytes += bytes;
        }
        false
    }

    /// All cells of the key are gathered.
    fn close(&mut self) {
        let Some((key, mut cells)) = self.key.take() else { return };
        if self.ask.reverse {
            cells.reverse();
        }
        let shown = read(self.data_type, &cells);
        if shown.what != What::Missing {
            self.page.push((key, shown));
        }
    }

    fn done(self, vector: Arc<Vector>, more: bool) -> KeyPage {
        let next = self.page.last().filter(|_| more).map(|(key, _)| key.clone());
        KeyPage { keys: self.page, next, vector }
    }
}
