//! Sums over all rows: at open, and to see whether those in memory are right.
//!
//! Why it exists: a digest that was kept wrong would call replicas equal that differ, or the other way
//! round. Promises: an audit compares sums and rows of one moment, and lets nobody wait: while writes go
//! on it tries again some times, and then leaves it to the next one.

use std::sync::atomic::Ordering;

use super::draft::{Place, decode_cell};
use super::rows::{LostAt, after};
use super::shard::Shard;
use super::sums::{Change, Sums};
use super::words::{Audit, ReadError};
use crate::model::eventual::rows;
use crate::runtime::limits::{AUDIT_TRIES, SHARD_SCAN_ROWS};

/// Sums over the visible rows, and how many there are.
pub(super) fn sums(place: &Place) -> Result<(Sums, u64), ReadError> {
    let mut change = Change::default();
    let mut count = 0;
    let mut range = rows::all_cells();
    loop {
        let found = place.scan(&range, SHARD_SCAN_ROWS)?;
        for (row, value) in &found {
            let (key, field, cell) = decode_cell(row, value)?;
            change.add_cell(row.len() + value.len(), &key, &field, &cell);
            for dot in cell.swept.keys() {
                if let Some(at) = place.get(&rows::lost_at_key(&key, &field, *dot))? {
                    let swept_by = LostAt::decode(&at)?.swept_by;
                    change.turn_lost(false, (&key, &field, *dot), swept_by);
                }
            }
            count += 1;
        }
        let Some((last, _)) = found.last().filter(|_| found.len() >= SHARD_SCAN_ROWS) else {
            break;
        };
        range.start = after(last);
    }
    let mut range = rows::prefix_lost(&[]);
    loop {
        let found = place.scan(&range, SHARD_SCAN_ROWS)?;
        for (row, at) in &found {
            let (key, field, dot) = rows::split_lost_at_key(row).ok_or_else(|| ReadError {
                reason: "a loss's row has a key of another kind".to_owned(),
            })?;
            change.count_lost();
            change.turn_lost(true, (&key, &field, dot), LostAt::decode(at)?.swept_by);
            count += 1;
        }
        let Some((last, _)) = found.last().filter(|_| found.len() >= SHARD_SCAN_ROWS) else {
            break;
        };
        range.start = after(last);
    }
    let mut sums = Sums::default();
    sums.add(&change);
    Ok((sums, count))
}

impl Shard {
    /// Sums up all rows and compares that with what is kept in memory; `None` if writes were made
    /// during every pass.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn audit(&self) -> Result<Option<Audit>, ReadError> {
        let shard = self.clone();
        let found = self.inner.env.tasks.blocking(move || shard.audit_now()).await?;
        if let Some(Audit { wrong, rows }) = &found {
            let count = wrong.len() as u64;
            self.inner.counts.distrusted.store(count, Ordering::Relaxed);
            let (namespace, rows) = (self.namespace(), *rows);
            if count > 0 {
                tracing::error!(
                    %namespace, rows, buckets = count,
                    "the digests of an eventual namespace are not those of its rows: they are \
                     summed up anew when the node starts"
                );
            } else {
                tracing::debug!(%namespace, rows, "digests and rows agree");
            }
        }
        Ok(found)
    }

    /// Whether the last audit found digests that are not those of the rows.
    pub fn is_distrusted(&self) -> bool {
        self.inner.counts.distrusted.load(Ordering::Relaxed) > 0
    }

    fn audit_now(&self) -> Result<Option<Audit>, ReadError> {
        for _try in 0..AUDIT_TRIES {
            // Its rows go behind it.
            if self.inner.stop.is_cancelled() {
                return Ok(None);
            }
            let before = self.log_tail();
            let (found, rows) = sums(&self.inner.place)?;
            let live = self.inner.live.read();
            if live.index == before && !self.inner.stop.is_cancelled() {
                return Ok(Some(Audit { wrong: live.sums.differ(&found), rows }));
            }
        }
        Ok(None)
    }
}
